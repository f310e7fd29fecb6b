//! A register put in force while the proxy runs: all or nothing.
//!
//! The policy folder is read and compiled as at start. A register with a fault changes nothing: the one in force stays, and
//! log, metric and record say so. One without takes effect once it is on record: what is open is judged again within a
//! second ([`crate::proxy::guard`]), what is not on record yet is decided anew, and everything later is decided on it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::audit::RecordUnavailable;
use crate::folder::{self, FolderFault};
use crate::proxy::Corridor;
use crate::record::Lifecycle;
use crate::register::Version;
use crate::register::compile::{Circumstances, Compiled, compile_in};
use crate::register::fault::{Fault, Faults};

/// A register that is in force after a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// Its version.
    pub version: Version,
    /// Whether it says something else than the one before.
    pub is_new: bool,
    /// What is odd about it but no fault.
    pub warnings: Vec<Fault>,
}

/// Why the register in force stays.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Debug, thiserror::Error)]
pub enum ReloadFault {
    #[error(transparent)]
    Folder(#[from] FolderFault),
    #[error("{0}")]
    Faults(Faults),
    #[error("the change of the register cannot be recorded")]
    Record(#[from] RecordUnavailable),
}

impl ReloadFault {
    /// How many faults stand in the policy files; 0 where something else kept the register from being used.
    fn faults(&self) -> u64 {
        match self {
            ReloadFault::Faults(faults) => faults.0.len() as u64,
            ReloadFault::Folder(_) | ReloadFault::Record(_) => 0,
        }
    }
}

/// Reads the policy files of `folder` again and puts them in force.
///
/// # Errors
/// [`ReloadFault`]; the register in force stays.
pub async fn reload(corridor: &Corridor, folder: PathBuf) -> Result<Reloaded, ReloadFault> {
    let reloaded = match read(folder, corridor.holding.hold, corridor.audit.clock().wall()).await {
        Ok(compiled) => take(corridor, compiled).await,
        Err(fault) => Err(fault),
    };
    corridor.metrics.reloaded(reloaded.is_ok());
    if let Err(fault) = &reloaded {
        note_refusal(corridor, fault).await;
    }
    reloaded
}

/// Files and a compilation of seconds belong on no thread that serves exchanges.
async fn read(folder: PathBuf, hold_limit: u64, at: Timestamp) -> Result<Compiled, ReloadFault> {
    let reading = spawn_blocking(move || {
        let texts = folder::read(&folder)?;
        let documents = |file: &str| folder::document(&folder, file);
        let circumstances = Circumstances { hold_limit, at: Some(at), documents: Some(&documents) };
        compile_in(&texts, &circumstances).map_err(ReloadFault::Faults)
    });
    reading.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

/// On record first: a decision that names a version must find it in the log.
async fn take(corridor: &Corridor, compiled: Compiled) -> Result<Reloaded, ReloadFault> {
    let Compiled { register, warnings } = compiled;
    let version = register.version.clone();
    let is_new = version != corridor.register.load().version;
    if is_new {
        let transfers = register.transfers.len() as u64;
        let loaded = Lifecycle::RegisterLoaded { version: version.clone(), transfers, warnings: warnings.len() as u64 };
        corridor.audit.note(loaded).await?;
        corridor.metrics.register_loaded(&register, corridor.audit.clock().wall());
        corridor.register.store(Arc::new(register));
    }
    Ok(Reloaded { version, is_new, warnings })
}

async fn note_refusal(corridor: &Corridor, fault: &ReloadFault) {
    let in_force = corridor.register.load().version.clone();
    let refused = Lifecycle::RegisterRefused { in_force, faults: fault.faults() };
    if let Err(unavailable) = corridor.audit.note(refused).await {
        tracing::error!(%unavailable, "that a register was refused could not be recorded");
    }
}

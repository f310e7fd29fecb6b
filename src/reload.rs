//! A register put in force while the proxy runs: all or nothing.
//!
//! The policy folder is read and compiled as at start. A register with a fault changes nothing: the one in force stays, and
//! log, metric and record say so. One without takes effect once it is on record: what is open is judged again within a
//! second ([`crate::proxy::guard`]), what is not on record yet is decided anew, and everything later is decided on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::archive::Source;
use crate::audit::RecordUnavailable;
use crate::folder::{self, FolderFault, Seen, Shelf};
use crate::proxy::Corridor;
use crate::proxy::error::told;
use crate::record::{Asker, Lifecycle, Origin};
use crate::register::compile::{Circumstances, Compiled, Examined, examine_in};
use crate::register::fault::{Fault, Faults, Text};
use crate::register::{Order, Register, Version};

pub mod enter;
mod files;
pub mod orders;
mod origin;
mod watch;

use enter::{Entered, Entering, Gate};
pub use files::Files;
use orders::OrderFault;
pub use origin::asker;
use origin::origin;
pub use watch::Watch;

/// A register that is in force after a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// Its version.
    pub version: Version,
    /// Whether it says something else than the one before.
    pub is_new: bool,
    /// What is odd about it but no fault.
    pub warnings: Vec<Fault>,
    /// What it changed; `None` where it says the same as the one before.
    pub entered: Option<Entered>,
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
    #[error("the orders of the policy files cannot be kept")]
    Orders(#[from] OrderFault),
}

impl ReloadFault {
    /// How many faults stand in the policy files; 0 where something else kept the register from being used.
    fn faults(&self) -> u64 {
        match self {
            ReloadFault::Faults(faults) => faults.0.len() as u64,
            ReloadFault::Folder(_) | ReloadFault::Record(_) | ReloadFault::Orders(_) => 0,
        }
    }
}

/// Reads the policy files of a folder again whenever it is asked to; what it read last it remembers.
pub struct Reloader {
    folder: PathBuf,
    remembered: Arc<Mutex<Remembered>>,
    /// One reload after the other.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Remembered {
    /// The files as they were just before they were read last, whether or not they were taken.
    seen: Seen,
    shelf: Shelf,
}

impl Reloader {
    /// Reads this folder, whose files were read before when they looked like this.
    pub fn new(folder: PathBuf, seen: Seen) -> Reloader {
        let remembered = Arc::new(Mutex::new(Remembered { seen, shelf: Shelf::default() }));
        Reloader { folder, remembered, turn: tokio::sync::Mutex::default() }
    }

    /// The folder that is read.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How the files looked just before they were read last.
    pub fn read_last(&self) -> Seen {
        lock(&self.remembered).seen.clone()
    }

    /// Reads the policy files again and puts them in force.
    ///
    /// # Errors
    /// [`ReloadFault`]; the register in force stays.
    pub async fn reload(&self, corridor: &Corridor) -> Result<Reloaded, ReloadFault> {
        self.reload_for(corridor, None).await
    }

    /// Like [`Reloader::reload`]; who asked for it goes on record.
    ///
    /// # Errors
    /// [`ReloadFault`]; the register in force stays.
    pub async fn reload_for(&self, corridor: &Corridor, asked_by: Option<Asker>) -> Result<Reloaded, ReloadFault> {
        let _turn = self.turn.lock().await;
        let remembered = corridor.docket.lock().await.remembered();
        let reading = self.read(corridor.holding.hold, corridor.audit.clock().wall(), remembered);
        let (read, origin) = reading.await;
        let origin = Origin { asked_by, ..origin };
        let reloaded = match read {
            Ok((examined, texts)) => self.take(corridor, examined, texts, &origin).await,
            Err(fault) => Err(fault),
        };
        corridor.metrics.reloaded(reloaded.is_ok());
        corridor.refused.store(reloaded.as_ref().err().map(|fault| Arc::new(fault.faults())));
        if let Err(fault) = &reloaded {
            note_refusal(corridor, fault, origin).await;
        }
        reloaded
    }

    /// Files and a compilation of seconds belong on no thread that serves exchanges.
    async fn read(
        &self,
        hold_limit: u64,
        at: Timestamp,
        orders: Vec<Order>,
    ) -> (Result<(Examined, Vec<Text>), ReloadFault>, Origin) {
        let (folder, remembered) = (self.folder.clone(), self.remembered.clone());
        let reading = spawn_blocking(move || {
            // Looked at first: what changes while it is read looks different afterwards, and is read again.
            let seen = match Seen::of(&folder) {
                Ok(seen) => seen.unwrap_or_default(),
                Err(fault) => return (Err(fault.into()), Origin::default()),
            };
            let mut remembered = lock(&remembered);
            let origin = origin(&folder, &remembered.seen, &seen);
            remembered.seen = seen;
            let texts = remembered.shelf.read(&folder);
            drop(remembered);
            let documents = |file: &str| folder::document(&folder, file);
            let circumstances =
                Circumstances { hold_limit, at: Some(at), documents: Some(&documents), remembered: &orders };
            let examine = |texts: Vec<Text>| (examine_in(&texts, &circumstances), texts);
            (texts.map(examine).map_err(ReloadFault::from), origin)
        });
        reading.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    /// All or nothing, but for an order: that is in force as soon as it can be read.
    async fn take(
        &self,
        corridor: &Corridor,
        examined: Examined,
        texts: Vec<Text>,
        origin: &Origin,
    ) -> Result<Reloaded, ReloadFault> {
        let Examined { faults, mut warnings, register, suspensions } = examined;
        let Some(register) = register else {
            let orders = orders::take_readable(corridor, &suspensions, origin).await;
            match orders {
                Ok(0) => {}
                Ok(orders) => tracing::warn!(orders, "the policy files have faults; the orders in them are in force"),
                Err(fault) => tracing::error!(fault = told(&fault), "the orders of faulty policy files"),
            }
            return Err(ReloadFault::Faults(Faults(faults)));
        };
        let (register, beside) = orders::join(corridor, register, origin).await?;
        let folder = self.folder.display();
        let doubts = beside.doubts(&register).into_iter();
        warnings.extend(doubts.map(|(code, problem)| Fault::of_no_line(folder.to_string(), code, problem)));
        let source = Source { texts, hold_limit: corridor.holding.hold, remembered: beside.remembered() };
        match take(corridor, Compiled { register, warnings }, source, origin).await {
            Ok(reloaded) => {
                beside.entered(corridor).await;
                Ok(reloaded)
            }
            Err(fault) => {
                beside.turned_away(corridor);
                Err(fault)
            }
        }
    }
}

/// What is remembered is whole at every moment, so that a panic elsewhere spoils nothing.
fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the policy files of `folder` and puts them in force, remembering nothing.
///
/// # Errors
/// [`ReloadFault`]; the register in force stays.
pub async fn reload(corridor: &Corridor, folder: PathBuf) -> Result<Reloaded, ReloadFault> {
    Reloader::new(folder, Seen::default()).reload(corridor).await
}

/// Kept and on record first: a decision that names a version must find it in the log and in the state folder.
async fn take(
    corridor: &Corridor,
    compiled: Compiled,
    source: Source,
    origin: &Origin,
) -> Result<Reloaded, ReloadFault> {
    let Compiled { register, warnings } = compiled;
    let (version, before) = (register.version.clone(), corridor.register.load_full());
    if version == before.version {
        return Ok(Reloaded { version, is_new: false, warnings, entered: None });
    }
    let (count, origin) = (warnings.len() as u64, origin.clone());
    let entering = Entering { register: Arc::new(register), source, warnings: count, origin };
    let enforce = |register: Arc<Register>| {
        corridor.register.store(register.clone());
        corridor.metrics.register_loaded(&register, corridor.audit.clock().wall());
    };
    let entered = corridor.gate().enter(entering, Some(before), enforce).await?;
    enter::tell(&entered, &version);
    Ok(Reloaded { version, is_new: true, warnings, entered: Some(entered) })
}

impl Corridor {
    fn gate(&self) -> Gate<'_> {
        Gate { audit: &self.audit, archive: &self.archive, metrics: &self.metrics }
    }
}

async fn note_refusal(corridor: &Corridor, fault: &ReloadFault, origin: Origin) {
    let in_force = corridor.register.load().version.clone();
    let refused = Lifecycle::RegisterRefused { in_force, faults: fault.faults(), origin };
    if let Err(unavailable) = corridor.audit.note(refused).await {
        tracing::error!(%unavailable, "that a register was refused could not be recorded");
    }
}

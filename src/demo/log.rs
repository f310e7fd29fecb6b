//! The demo's reader of records: from disk, as anybody could, not from the proxy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::{self, Audit, DigestKey, OpenFault, Options, read::ReadFault};
use crate::record::past::{self, Kind, Past, PastFault};

/// Why the records could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The state folder cannot be read.
    #[error("cannot read the records in `{}`: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment is damaged.
    #[error("the log cannot be read: {0}")]
    Segment(#[from] ReadFault),
    /// A record is not one.
    #[error("a record cannot be understood: {0}")]
    Record(#[from] PastFault),
    /// The log does not open any more.
    #[error("the log does not open: {0}")]
    Open(#[from] OpenFault),
}

impl LogFault {
    /// Whether the evidence itself is damaged.
    pub fn is_integrity(&self) -> bool {
        match self {
            LogFault::Segment(ReadFault::Damaged { .. }) | LogFault::Record(_) => true,
            LogFault::Open(fault) => fault.is_integrity(),
            LogFault::Segment(ReadFault::Io { .. }) | LogFault::Folder { .. } => false,
        }
    }
}

/// The records of one run: an older log in the same folder is passed over.
#[derive(Debug)]
pub struct Log {
    state: PathBuf,
    first: u64,
    shown: u64,
}

impl Log {
    /// Begins behind what the state folder holds now.
    ///
    /// # Errors
    /// There are records, and they cannot be read.
    pub fn from_here(state: &Path) -> Result<Log, LogFault> {
        let mut log = Log { state: state.to_owned(), first: 0, shown: 0 };
        if state.join("log").is_dir() {
            log.first = log.all()?.last().map_or(0, |newest| newest.sequence + 1);
            log.shown = log.first;
        }
        Ok(log)
    }

    /// Whether the log began with this run.
    pub fn is_first(&self) -> bool {
        self.first == 0
    }

    /// Every record of this run, oldest first.
    ///
    /// # Errors
    /// [`LogFault`].
    pub fn all(&self) -> Result<Vec<Past>, LogFault> {
        let folder = |source| LogFault::Folder { folder: self.state.clone(), source };
        let mut records = Vec::new();
        for json in audit::read(&self.state).map_err(folder)? {
            let record = past::read(&json?)?;
            if record.sequence >= self.first {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// The decisions that this was not asked for before.
    ///
    /// # Errors
    /// [`LogFault`].
    pub fn news(&mut self) -> Result<Vec<Past>, LogFault> {
        let mut records = self.all()?;
        records.retain(|record| record.sequence >= self.shown);
        self.shown = records.last().map_or(self.shown, |newest| newest.sequence + 1);
        records.retain(|record| record.kind == Kind::Decision);
        Ok(records)
    }

    /// The key of the digests in these records, as it lies in the state folder (see `audit/state.rs`).
    ///
    /// # Errors
    /// There is none of the right length.
    pub fn digest_key(&self) -> Result<DigestKey, LogFault> {
        let folder = |source| LogFault::Folder { folder: self.state.clone(), source };
        let secret = fs::read(self.state.join("body-digest.key")).map_err(folder)?;
        let length = |_| folder(io::Error::new(io::ErrorKind::InvalidData, "the digest key has not 32 bytes"));
        Ok(DigestKey::new(secret.as_slice().try_into().map_err(length)?))
    }

    /// Opens the log as a proxy does at its start, with everything that is verified then, and closes it again. To be
    /// called while no proxy runs. What was left open or torn is told.
    ///
    /// # Errors
    /// It does not open.
    pub async fn open(&self) -> Result<audit::Recovery, LogFault> {
        let (audit, recovery) = Audit::open(&self.state, Options { node: "demo".into(), ..Options::default() })?;
        audit.finish().await;
        Ok(recovery)
    }
}

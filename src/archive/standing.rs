//! What was put in force last: written after its record, so that a start that finds it older than the record tells the
//! same difference once more, and none is lost.

use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::KeptFault;
use crate::register::Version;
use crate::register::diff::Notice;

/// Its file in the archive.
pub(super) const FILE: &str = "in-force.json";

/// The register in force, and what follows from those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its version, in hex.
    version: String,
    /// Since when it is in force.
    pub since: Timestamp,
    /// When a register that protects less than the one before it was put in force last.
    pub weakened: Option<Timestamp>,
    /// What the authority must still be told of all changes since registers are kept.
    pub open: Vec<Notice>,
}

impl Standing {
    /// A register is in force since `since`, as the first one.
    pub fn first(version: &Version, since: Timestamp) -> Standing {
        Standing { version: version.0.to_string(), since, weakened: None, open: Vec::new() }
    }

    /// Another register is in force since `since`; what is open stays open.
    pub fn followed_by(self, version: &Version, since: Timestamp) -> Standing {
        Standing { version: version.0.to_string(), since, ..self }
    }

    /// Version of the register in force.
    pub fn version(&self) -> Version {
        Version(self.version.as_str().into())
    }

    pub(super) fn read(path: &Path) -> Result<Option<Standing>, KeptFault> {
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KeptFault::Io { path: path.to_owned(), error }),
            Ok(read) => serde_json::from_slice(&read)
                .map(Some)
                .map_err(|fault| KeptFault::Damaged { file: path.to_owned(), what: fault.to_string() }),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and times have a JSON form")
    }
}

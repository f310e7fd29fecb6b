//! Reading the records of several state folders for a command: faults are told and counted, and never end the reading.

use std::path::{Path, PathBuf};

use crate::audit;
use crate::record::past::{self, Past};

/// Gives each record of each folder, in the order of its log, to `take`. How many places could not be read.
///
/// # Errors
/// The exit code, after the fault was printed: a folder has no log.
pub(super) fn read(command: &str, states: &[PathBuf], mut take: impl FnMut(&Path, Past)) -> Result<u64, u8> {
    let mut faults = 0;
    for state in states {
        let records = audit::read(state).map_err(|error| {
            let place = state.display();
            eprintln!("tasrih {command}: there is no log in {place}: {error}; name a state folder with --state");
            super::UNREADABLE
        })?;
        for record in records {
            let read = record.map_err(|fault| fault.to_string());
            match read.and_then(|json| past::read(&json).map_err(|fault| fault.to_string())) {
                Ok(past) => take(state, past),
                Err(fault) => {
                    faults += 1;
                    eprintln!("tasrih {command}: {}: {fault}", state.display());
                }
            }
        }
    }
    Ok(faults)
}

/// Ends a command: what could not be read is a finding.
pub(super) fn conclude(command: &str, written: std::io::Result<()>, faults: u64) -> u8 {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("tasrih {command}: cannot print: {error}");
            super::UNREADABLE
        }
        _ if faults > 0 => super::FINDINGS,
        _ => super::FINE,
    }
}

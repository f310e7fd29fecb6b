//! Promise 2 at its root: what the writer acknowledged is there after whatever happens, and what it cannot keep it does
//! not acknowledge.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it cannot go on")]

#[path = "support/exchanges.rs"]
mod exchanges;
#[path = "support/forgetful.rs"]
mod forgetful;
#[path = "support/ocsf.rs"]
mod ocsf;

#[path = "evidence/limits.rs"]
mod limits;
#[path = "evidence/power.rs"]
mod power;
#[path = "evidence/records.rs"]
mod records;
#[path = "evidence/state.rs"]
mod state;
#[path = "evidence/tail.rs"]
mod tail;
#[path = "evidence/writer.rs"]
mod writer;

use std::path::Path;
use std::sync::Arc;

use forgetful::Forgetful;
use jiff::Timestamp;
use tasrih::audit::frame::{Frame, Frames};
use tasrih::audit::{Audit, OpenFault, Options, Recovery};
use tasrih::clock::ManualClock;
use tasrih::record::past::{self, Past};

/// Nothing here depends on the day on which it runs.
fn noon() -> Timestamp {
    "2031-05-02T12:00:00Z".parse().expect("a literal time")
}

/// Options with a clock that stands at [`noon`] and segments of `segment_size` bytes on `disk`.
fn options(disk: &Forgetful, segment_size: u64) -> Options {
    let clock = Arc::new(ManualClock::at(noon()));
    Options { segment_size, reserve: 0, clock, storage: Some(Arc::new(disk.clone())), ..Options::default() }
}

/// A folder for lock and key that needs no disk, where there is such a place: these tests open thousands of logs.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Opens a log on `disk`, with lock and key in a state folder of its own.
fn open(disk: &Forgetful, segment_size: u64) -> Result<(Audit, Recovery, tempfile::TempDir), OpenFault> {
    let state = scratch();
    let (audit, recovery) = Audit::open(state.path(), options(disk, segment_size))?;
    Ok((audit, recovery, state))
}

/// Every record on a disk, whatever its segment, as far as each segment is intact.
fn logged(disk: &Forgetful) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for (_, bytes) in disk.contents() {
        records.extend(Frames::of(&bytes).filter_map(|(_, frame)| match frame {
            Frame::Record(json) => Some(json.to_vec()),
            Frame::Batch(_) => None,
        }));
    }
    records
}

/// Every record of a state folder, each checked against OCSF.
fn read(state: &Path) -> Vec<Past> {
    let records = tasrih::audit::read(state).expect("the log can be listed");
    records.map(|record| understood(&record.expect("the log is whole"))).collect()
}

/// A record, checked against OCSF and read back.
fn understood(json: &[u8]) -> Past {
    ocsf::assert_valid(json);
    past::read(json).expect("what was written can be read")
}

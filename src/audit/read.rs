//! Reading records without a lock, while the writer may be writing.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use jiff::Timestamp;

use super::frame::{self, Frame, Frames, HEADER, Header};
use super::state;
use super::storage::{Folder, Storage};
use crate::record::{self, past};

/// The records of a state folder's log, oldest first, as logged.
///
/// Takes no lock. A tail that is still growing ends the reading; a damaged segment gives one fault, and reading goes on
/// with the next.
///
/// # Errors
/// If the folder has no log that can be listed.
pub fn read(state: &Path) -> io::Result<Records> {
    let folder = Folder::existing(&state::log_folder(state));
    let mut names = folder.names()?;
    names.retain(|name| frame::segment_base(name).is_some());
    names.sort_by(|one, other| other.cmp(one));
    Ok(Records { folder, names, segment: None })
}

/// The newest records of a state folder's log, oldest first: those of its last two segments, however long the log is.
///
/// # Errors
/// As [`read`].
pub fn read_newest(state: &Path) -> io::Result<Records> {
    let mut records = read(state)?;
    records.names.truncate(2);
    Ok(records)
}

/// The records of a state folder's log from a moment on, oldest first, preceded by the rest of the segment that the
/// moment falls in.
///
/// # Errors
/// As [`read`].
pub fn read_since(state: &Path, since: Timestamp) -> io::Result<Records> {
    let mut records = read(state)?;
    let folder = state::log_folder(state);
    let begins_before = |name: &String| first_time(&folder.join(name)).is_none_or(|time| time < since);
    // Newest first. Of those that begin before the moment, only the last has something of what follows it.
    if let Some(place) = records.names.iter().position(begins_before) {
        records.names.truncate(place + 1);
    }
    Ok(records)
}

/// The time of a segment's first record, as far as its beginning tells one.
fn first_time(segment: &Path) -> Option<Timestamp> {
    let mut beginning = Vec::new();
    let most = HEADER + 2 * record::MAX_BYTES as u64;
    File::open(segment).ok()?.take(most).read_to_end(&mut beginning).ok()?;
    Header::decode(&beginning)?;
    Frames::from(&beginning, HEADER).find_map(|(_, frame)| match frame {
        Frame::Record(json) => past::read(json).ok().map(|past| past.time),
        Frame::Batch(_) => None,
    })
}

/// Why records of a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// A frame in the middle of the log is not intact.
    #[error("{file} is damaged at offset {offset}; what follows in it was not read")]
    Damaged {
        /// Name of the segment file.
        file: String,
        /// Where in it the damage begins.
        offset: u64,
    },
    /// The file system failed.
    #[error("cannot read {file}: {error}")]
    Io {
        /// Name of the segment file.
        file: String,
        /// How it failed.
        error: io::Error,
    },
}

/// An iterator over the records of a log.
pub struct Records {
    folder: Folder,
    /// Segments to be read, the oldest last.
    names: Vec<String>,
    segment: Option<Segment>,
}

struct Segment {
    name: String,
    bytes: Vec<u8>,
    offset: u64,
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, ReadFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(segment) = &mut self.segment else {
                let name = self.names.pop()?;
                match self.folder.read(&name) {
                    Ok(bytes) => self.segment = Some(Segment { name, offset: HEADER, bytes }),
                    Err(error) => return Some(Err(ReadFault::Io { file: name, error })),
                }
                continue;
            };
            if let Some(json) = segment.next_record() {
                return Some(Ok(json));
            }
            let ended = self.segment.take()?;
            if let Some(fault) = ended.fault()
                && !self.names.is_empty()
            {
                return Some(Err(fault));
            }
        }
    }
}

impl Segment {
    fn next_record(&mut self) -> Option<Vec<u8>> {
        Header::decode(&self.bytes)?;
        let mut frames = Frames::from(&self.bytes, self.offset);
        let found = frames.by_ref().find_map(|(_, frame)| match frame {
            Frame::Record(json) => Some(json.to_vec()),
            Frame::Batch(_) => None,
        });
        self.offset = frames.offset();
        found
    }

    fn fault(self) -> Option<ReadFault> {
        let whole = self.offset == self.bytes.len() as u64 && Header::decode(&self.bytes).is_some();
        (!whole).then_some(ReadFault::Damaged { file: self.name, offset: self.offset })
    }
}

//! What happens to the log at start: every frame is read, a torn tail is cut, damage refuses, and what was left open is
//! found.
//!
//! The rule (issue 2, point 6): damage above the highest position that a batch or segment names as synced was never
//! acknowledged; it is cut and recorded. Damage below was acknowledged once; then nothing is changed and the process
//! refuses to start.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::frame::{self, Frame, Frames, HEADER, Header};
use super::log::{Bounds, End, Log};
use super::storage::Storage;
use super::{OpenFault, Recovery};
use crate::policy::{Decision, PastExchange};
use crate::record::history::History;
use crate::record::{Lifecycle, past};

/// A tail that was cut because nothing in it was ever acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Name of the segment file.
    pub segment: String,
    /// Offset in it from which it was cut.
    pub offset: u64,
    /// Bytes cut.
    pub bytes: u64,
}

impl Torn {
    pub(super) fn lifecycle(&self) -> Lifecycle {
        Lifecycle::TornTail { segment: self.segment.clone(), offset: self.offset, bytes: self.bytes }
    }
}

/// A log that may be written to, and what was in it.
pub(super) struct Opened {
    pub(super) log: Log,
    /// Decisions without an outcome, as logged, in their order.
    pub(super) open: Vec<Vec<u8>>,
    pub(super) recovery: Recovery,
}

/// Takes each exchange of the last day or so that was let through, in the order of the decisions.
pub(super) type Each<'e> = &'e mut dyn FnMut(PastExchange);

/// Verifies and opens a log; begins one where there is none. Of exchanges decided before `since` nothing is told.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    bounds: Bounds,
    since: Timestamp,
    each: Each<'_>,
) -> Result<Opened, OpenFault> {
    let scan = scan(&*storage, since, each)?;
    let torn = scan.torn.as_ref().map(|torn| cut(&*storage, torn)).transpose()?;
    let log = match scan.end {
        Some(end) => Log::resume(storage, end, bounds),
        None => Log::create(storage, bounds),
    };
    let log = log.map_err(io_fault("log"))?;
    let last_time = scan.memory.history.newest();
    let open = scan.memory.close();
    let recovery = Recovery { last_time, interrupted: open.len() as u64, torn };
    Ok(Opened { log, open, recovery })
}

struct Scan<'e> {
    end: Option<End>,
    torn: Option<Torn>,
    memory: Memory<'e>,
}

fn scan<'e>(storage: &dyn Storage, since: Timestamp, each: Each<'e>) -> Result<Scan<'e>, OpenFault> {
    let mut names: Vec<String> = storage.names().map_err(io_fault("log"))?;
    names.retain(|name| frame::segment_base(name).is_some());
    names.sort();
    let memory = Memory { history: History::default(), open: HashMap::new(), since, each };
    let mut scan = Scan { end: None, torn: None, memory };
    for (place, name) in names.iter().enumerate() {
        let bytes = storage.read(name).map_err(io_fault(name))?;
        scan.segment(name, &bytes, place + 1 == names.len())?;
    }
    Ok(scan)
}

impl Scan<'_> {
    fn segment(&mut self, name: &str, bytes: &[u8], is_last: bool) -> Result<(), OpenFault> {
        let damaged = |offset, what| OpenFault::Damaged { file: name.to_owned(), offset, what };
        let (base, first) = self.end.map_or((0, 0), |end| (end.base + end.length, end.sequence));
        let claimed = frame::highest_synced(bytes);
        let Some(header) = Header::decode(bytes) else {
            // A crash between making a segment and syncing its header; the segment before it then still was the last.
            if is_last && claimed.is_none() {
                self.torn = Some(Torn { segment: name.to_owned(), offset: 0, bytes: bytes.len() as u64 });
                return Ok(());
            }
            return Err(damaged(0, "the segment's header is not intact"));
        };
        if (Header { base, first }) != header || frame::segment_base(name) != Some(base) {
            return Err(damaged(
                0,
                "the segment does not follow the one before it: a file is missing, shortened or misnamed",
            ));
        }
        let (end, sequence) = self.frames(name, bytes, header)?;
        let length = bytes.len() as u64;
        if end < length {
            let below = !is_last || claimed.is_some_and(|synced| synced > base + end);
            if below {
                return Err(damaged(end, "a frame that was durable is not intact"));
            }
            self.torn = Some(Torn { segment: name.to_owned(), offset: end, bytes: length - end });
        }
        self.end = Some(End { base, length: end, sequence });
        Ok(())
    }

    /// Reads a segment's intact frames; gives the offset behind them and the next sequence number.
    fn frames(&mut self, name: &str, bytes: &[u8], header: Header) -> Result<(u64, u64), OpenFault> {
        let mut sequence = header.first;
        let mut frames = Frames::of(bytes);
        for (offset, frame) in frames.by_ref() {
            let damaged = |what| OpenFault::Damaged { file: name.to_owned(), offset, what };
            match frame {
                Frame::Batch(batch) if batch.synced != header.base + offset || batch.first != sequence => {
                    return Err(damaged(
                        "a batch is not where it was written: frames before it are missing or doubled",
                    ));
                }
                Frame::Batch(_) => {}
                Frame::Record(json) => {
                    let past = past::read(json).map_err(|_| damaged("a record cannot be read by this release"))?;
                    self.memory.take(&past, json);
                    sequence += 1;
                }
            }
        }
        Ok((frames.offset(), sequence))
    }
}

/// Cuts a torn tail; a segment without a header goes altogether.
fn cut(storage: &dyn Storage, torn: &Torn) -> Result<Torn, OpenFault> {
    let done = if torn.offset < HEADER {
        storage.remove(&torn.segment).and_then(|()| storage.sync_folder())
    } else {
        storage.open(&torn.segment).and_then(|mut segment| {
            segment.truncate(torn.offset)?;
            segment.sync()
        })
    };
    done.map_err(io_fault(&torn.segment))?;
    Ok(torn.clone())
}

fn io_fault(name: &str) -> impl Fn(io::Error) -> OpenFault {
    let path = PathBuf::from(name);
    move |error| OpenFault::Io { path: path.clone(), error }
}

/// What is remembered of the records while they pass by: open decisions, and the exchanges behind the first of them.
struct Memory<'e> {
    history: History,
    /// Of exchanges decided before this nothing is told.
    since: Timestamp,
    each: Each<'e>,
    /// Decisions without an outcome: sequence number, and the record as logged.
    open: HashMap<String, (u64, Vec<u8>)>,
}

impl Memory<'_> {
    fn take(&mut self, past: &past::Past, json: &[u8]) {
        self.history.take(past);
        while let Some(settled) = self.history.next_settled() {
            self.tell(settled);
        }
        let Some(exchange) = &past.exchange else { return };
        match past.kind {
            past::Kind::Decision if past.decision != Some(Decision::Denial) => {
                self.open.insert(exchange.clone(), (past.sequence, json.to_vec()));
            }
            past::Kind::Outcome => drop(self.open.remove(exchange)),
            past::Kind::Decision | past::Kind::Lifecycle(_) => {}
        }
    }

    fn tell(&mut self, past: PastExchange) {
        if past.time >= self.since {
            (self.each)(past);
        }
    }

    /// Tells the rest, which has open decisions as exchanges without outcome; gives these as logged, in their order.
    fn close(mut self) -> Vec<Vec<u8>> {
        for past in self.history.exchanges() {
            self.tell(past);
        }
        let mut open: Vec<(u64, Vec<u8>)> = self.open.into_values().collect();
        open.sort_by_key(|(sequence, _)| *sequence);
        open.into_iter().map(|(_, json)| json).collect()
    }
}

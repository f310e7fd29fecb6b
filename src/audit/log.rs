//! The log as its writer holds it: where the next batch goes, what is durable, and how much room is promised to
//! outcomes.
//!
//! No thread and no queue is here (that is `writer`), so that a test can drive it step by step. Two kinds of failure
//! are kept apart. Too little room, noticed when blocks are allocated *before* anything is written, refuses what wanted
//! the room and mends itself. A write or sync that fails leaves it unknown what is on the disk: the log is latched, and
//! only a restart, which reads everything again, opens it. (After a failed `fsync` the kernel may drop the dirty pages,
//! so trying once more would report a success that is none.)

use std::io;
use std::sync::Arc;

use super::frame::{self, BATCH, Batch, FRAME, HEADER, Header};
use super::storage::{Segment, Storage};
use super::{Cause, Latch};

/// Room is allocated in steps of this many bytes, so that not every batch has to ask for it.
const ALLOCATION_STEP: u64 = 1 << 20;

/// Where the log ends, as recovery found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Base of the last segment.
    pub base: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Sequence number of the next record.
    pub sequence: u64,
}

/// Bounds of a log on its disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A segment that would grow beyond this is followed by a new one.
    pub segment: u64,
    /// Free room that decisions leave alone.
    pub reserve: u64,
}

/// The writing end of a node's log.
pub struct Log {
    storage: Arc<dyn Storage>,
    segment: Box<dyn Segment>,
    base: u64,
    /// Length of the current segment; all of it is durable between two batches.
    length: u64,
    /// Offset in the current segment up to which blocks are allocated.
    allocated: u64,
    sequence: u64,
    /// Bytes promised to the outcomes of open permits, inside the allocated room.
    reserved: u64,
    bounds: Bounds,
    latch: Option<Latch>,
}

/// Why a batch was not written.
#[derive(Debug)]
pub enum WriteFault {
    /// Too little room; nothing was written, and the next attempt may succeed.
    NoRoom,
    /// A write or sync failed, now or earlier.
    Latched(Latch),
}

impl Log {
    /// Begins an empty log.
    pub fn create(storage: Arc<dyn Storage>, bounds: Bounds) -> io::Result<Log> {
        let mut segment = claim_segment(&*storage, 0, HEADER)?;
        begin_segment(&*storage, &mut *segment, Header { base: 0, first: 0 })?;
        Ok(Log::at(storage, segment, End { base: 0, length: HEADER, sequence: 0 }, bounds))
    }

    /// Goes on where recovery found the end; the last segment is durable up to there.
    pub fn resume(storage: Arc<dyn Storage>, end: End, bounds: Bounds) -> io::Result<Log> {
        let segment = storage.open(&frame::segment_name(end.base))?;
        Ok(Log::at(storage, segment, end, bounds))
    }

    fn at(storage: Arc<dyn Storage>, segment: Box<dyn Segment>, end: End, bounds: Bounds) -> Log {
        let End { base, length, sequence } = end;
        Log { storage, segment, base, length, allocated: length, sequence, reserved: 0, bounds, latch: None }
    }

    /// Sequence number of the next record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Position up to which everything is durable.
    pub fn synced(&self) -> u64 {
        self.base + self.length
    }

    /// Bytes promised to the outcomes of open permits.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Whether there is room for decisions beyond the reserve.
    ///
    /// The reserve is for what goes on being written while decisions are refused: what the proxy has to say of itself,
    /// and outcomes on a file system that cannot allocate ahead. Room that cannot be told is no reason to refuse: the
    /// record itself then shows whether it can be written.
    pub fn is_above_reserve(&self) -> bool {
        self.bounds.reserve == 0 || self.storage.free().map_or(true, |free| free >= self.bounds.reserve)
    }

    /// Writes `records` as one batch and returns when it is durable.
    ///
    /// `promised` bytes are newly reserved for outcomes; `kept` bytes of earlier promises are used up or given back by
    /// this batch. On [`WriteFault::NoRoom`] neither has happened.
    pub fn append(&mut self, records: &[Vec<u8>], promised: u64, kept: u64) -> Result<(), WriteFault> {
        if let Some(latch) = &self.latch {
            return Err(WriteFault::Latched(latch.clone()));
        }
        let size: u64 = BATCH + records.iter().map(|json| FRAME + json.len() as u64).sum::<u64>();
        let reserved = self.reserved.saturating_sub(kept) + promised;
        self.make_room(size, reserved)?;
        self.write(records).map_err(|error| self.latch(&error))?;
        self.reserved = reserved;
        self.sequence += records.len() as u64;
        Ok(())
    }

    /// Writes a batch without records: it says that all before it is durable, so that damage there is never taken for a
    /// torn tail.
    pub fn seal(&mut self) -> Result<(), WriteFault> {
        self.append(&[], 0, 0)?;
        // Blocks allocated ahead go back to the file system; what was written stays as it is, so a failure here loses
        // nothing.
        let _ = self.segment.truncate(self.length);
        self.allocated = self.length;
        Ok(())
    }

    fn write(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::push_batch(&mut bytes, Batch { synced: self.synced(), first: self.sequence });
        for json in records {
            frame::push_record(&mut bytes, json);
        }
        self.segment.append(&bytes)?;
        self.segment.sync()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Sees to it that `size` bytes can be written now and `reserved` later, in a new segment if this one is full.
    fn make_room(&mut self, size: u64, reserved: u64) -> Result<(), WriteFault> {
        if self.length > HEADER && self.length + size > self.bounds.segment && self.rotate(size + reserved)? {
            return Ok(());
        }
        // The segment may be full and no room for a new one: outcomes still go where room was allocated for them.
        let needed = self.length + size + reserved;
        if needed <= self.allocated {
            return Ok(());
        }
        let generous = needed + ALLOCATION_STEP;
        self.allocated = match self.segment.allocate(generous) {
            Ok(()) => generous,
            Err(error) if is_no_room(&error) => {
                self.segment.allocate(needed).map_err(|error| self.no_room_or_latch(&error))?;
                needed
            }
            Err(error) => return Err(self.latch(&error)),
        };
        Ok(())
    }

    /// Goes on in a new segment with `room` bytes allocated; false where there is no room for one.
    fn rotate(&mut self, room: u64) -> Result<bool, WriteFault> {
        let header = Header { base: self.synced(), first: self.sequence };
        let mut segment = match claim_segment(&*self.storage, header.base, HEADER + room) {
            Ok(segment) => segment,
            Err(error) if is_no_room(&error) => return Ok(false),
            Err(error) => return Err(self.latch(&error)),
        };
        begin_segment(&*self.storage, &mut *segment, header).map_err(|error| self.latch(&error))?;
        // As in `seal`: only blocks behind the end are given back.
        let _ = self.segment.truncate(self.length);
        (self.segment, self.base, self.length, self.allocated) = (segment, header.base, HEADER, HEADER + room);
        Ok(true)
    }

    fn no_room_or_latch(&mut self, error: &io::Error) -> WriteFault {
        if is_no_room(error) { WriteFault::NoRoom } else { self.latch(error) }
    }

    fn latch(&mut self, error: &io::Error) -> WriteFault {
        let fault = format!("segment {}: {error}", frame::segment_name(self.base));
        let latch = Latch { cause: Cause::of(error), fault };
        self.latch = Some(latch.clone());
        WriteFault::Latched(latch)
    }
}

/// Makes an empty file with room allocated up to `end`; leaves none where there is no room.
fn claim_segment(storage: &dyn Storage, base: u64, end: u64) -> io::Result<Box<dyn Segment>> {
    let name = frame::segment_name(base);
    let mut segment = storage.create(&name)?;
    match segment.allocate(end) {
        Ok(()) => Ok(segment),
        Err(error) => {
            // An empty file that stays behind is what recovery takes away; creating it again then fails and latches,
            // which is safe.
            let _ = storage.remove(&name);
            Err(error)
        }
    }
}

/// Makes the header and the name of a claimed segment durable.
fn begin_segment(storage: &dyn Storage, segment: &mut dyn Segment, header: Header) -> io::Result<()> {
    segment.append(&header.encode())?;
    segment.sync()?;
    storage.sync_folder()
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

//! The real folder of the log, which runs out of room, fails to sync or does not come back from it when a test says so.
//!
//! It never grants room far ahead, so that running out is felt by the next record and not a megabyte later.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tasrih::audit::storage::{Folder, Segment, Storage};

/// The folder; told where it lies before the log is opened.
#[derive(Default)]
pub struct Flaky {
    folder: OnceLock<Folder>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    no_room: AtomicBool,
    no_sync: AtomicBool,
    held: AtomicBool,
}

impl Flaky {
    /// Lies where a proxy with this state folder looks for its log.
    pub fn lie_in(&self, state: &Path) {
        let folder = Folder::open_or_create(&state.join("log")).expect("a folder");
        assert!(self.folder.set(folder).is_ok(), "a storage lies in one place");
    }

    /// From now on there is no room for another byte, or there is again.
    pub fn no_room(&self, no_room: bool) {
        self.faults.no_room.store(no_room, Ordering::Release);
    }

    /// From now on syncs fail.
    pub fn no_sync(&self) {
        self.faults.no_sync.store(true, Ordering::Release);
    }

    /// From now on syncs do not return, or they do again.
    pub fn hold(&self, held: bool) {
        self.faults.held.store(held, Ordering::Release);
    }

    fn folder(&self) -> &Folder {
        self.folder.get().expect("the storage was told where it lies")
    }

    fn wrapped(&self, segment: Box<dyn Segment>) -> Box<dyn Segment> {
        Box::new(FlakySegment { segment, faults: self.faults.clone(), length: 0 })
    }
}

impl Storage for Flaky {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder().names()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.folder().read(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        Ok(self.wrapped(self.folder().create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        Ok(self.wrapped(self.folder().open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder().remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder().sync_folder()
    }

    fn free(&self) -> io::Result<u64> {
        self.folder().free()
    }
}

struct FlakySegment {
    segment: Box<dyn Segment>,
    faults: Arc<Faults>,
    length: u64,
}

/// More than the room of a record and its outcome, less than a writer asks for at once where it can.
const AHEAD: u64 = 1 << 20;

impl Segment for FlakySegment {
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        match self.faults.no_room.load(Ordering::Acquire) || end > self.length + AHEAD {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.segment.allocate(end),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.segment.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        while self.faults.held.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        match self.faults.no_sync.load(Ordering::Acquire) {
            true => Err(io::Error::other("the disk does not answer")),
            false => self.segment.sync(),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.segment.truncate(length)
    }
}

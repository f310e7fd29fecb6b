//! A folder of segments that forgets what was not synced, fails when told to, and has as much room as it is given.
//!
//! It keeps, for each file, the bytes that are durable and those that are only written; for the folder, the names that
//! are durable. [`Forgetful::cut_power`] leaves what a disk may: everything durable, and of the rest a prefix of its
//! bytes, some of them spoilt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tasrih::audit::storage::{Segment, Storage};

/// The folder; clones are handles to the same one.
#[derive(Clone, Default)]
pub struct Forgetful(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    durable_names: BTreeSet<String>,
    faults: Faults,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    allocated: u64,
}

/// What goes wrong.
#[derive(Clone, Default)]
pub struct Faults {
    /// Syncs say that they succeeded, and do nothing.
    pub ignore_sync: bool,
    /// Appending fails.
    pub fail_append: bool,
    /// Syncing fails.
    pub fail_sync: bool,
    /// Bytes that may be allocated in all files together.
    pub room: Option<u64>,
    /// Bytes that the next append still writes before the power is gone; nothing works from then on.
    pub power: Option<u64>,
}

impl Forgetful {
    /// Sets what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// The disk after a power cut: `dice` gives for each file how many of its unsynced bytes are there (of how many),
    /// and whether one of them is spoilt, and for each name that was not synced whether it is there.
    pub fn cut_power(&self, mut dice: impl FnMut(u64) -> u64) -> Forgetful {
        let state = self.state();
        let mut after = State::default();
        for (name, file) in &state.files {
            if !state.durable_names.contains(name) && dice(2) == 0 {
                continue;
            }
            let mut bytes = file.durable.clone();
            if file.bytes.starts_with(&file.durable) {
                let pending = &file.bytes[file.durable.len()..];
                let kept = dice(pending.len() as u64 + 1) as usize;
                bytes.extend(&pending[..kept]);
                if kept > 0 && dice(2) == 0 {
                    let spoilt = file.durable.len() + dice(kept as u64) as usize;
                    bytes[spoilt] ^= 0x20;
                }
            }
            after.durable_names.insert(name.clone());
            after.files.insert(name.clone(), File { durable: bytes.clone(), bytes, allocated: 0 });
        }
        Forgetful(Arc::new(Mutex::new(after)))
    }

    /// A copy of the disk as it is, with all of it durable.
    pub fn copy(&self) -> Forgetful {
        let state = self.state();
        let durable = |file: &File| File { durable: file.bytes.clone(), ..file.clone() };
        let files: BTreeMap<String, File> =
            state.files.iter().map(|(name, file)| (name.clone(), durable(file))).collect();
        let durable_names = files.keys().cloned().collect();
        Forgetful(Arc::new(Mutex::new(State { files, durable_names, faults: Faults::default() })))
    }

    /// Changes the bytes of a file, as rot or an intruder would.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.files.get_mut(name).expect("the file is there");
        change(&mut file.bytes);
        file.durable = file.bytes.clone();
    }

    /// Names and bytes of all files, in order.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        self.state().files.iter().map(|(name, file)| (name.clone(), file.bytes.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

impl Storage for Forgetful {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.files.get(name).map(|file| file.bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        let mut state = self.state();
        state.works()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), File::default());
        Ok(Box::new(Handle { folder: self.clone(), name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        self.read(name)?;
        Ok(Box::new(Handle { folder: self.clone(), name: name.to_owned() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.works()?;
        state.durable_names.remove(name);
        state.files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.works()?;
        if state.faults.fail_sync {
            return Err(io::Error::from_raw_os_error(5));
        }
        if !state.faults.ignore_sync {
            state.durable_names = state.files.keys().cloned().collect();
        }
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.faults.room.map_or(u64::MAX, |room| room.saturating_sub(state.allocated())))
    }
}

struct Handle {
    folder: Forgetful,
    name: String,
}

impl State {
    fn works(&self) -> io::Result<()> {
        if self.faults.power == Some(0) { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn allocated(&self) -> u64 {
        self.files.values().map(|file| file.allocated).sum()
    }
}

impl Handle {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.folder.state();
        state.works()?;
        act(&mut state)
    }
}

impl Segment for Handle {
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        self.with(|state| {
            let room = state.faults.room.unwrap_or(u64::MAX);
            let (all, own) = (state.allocated(), state.files[&self.name].allocated);
            if end > own && all - own + end > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.files.get_mut(&self.name).expect("open files stay").allocated = end.max(own);
            Ok(())
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let power = state.faults.power.unwrap_or(u64::MAX);
            let written = bytes.len().min(usize::try_from(power).unwrap_or(usize::MAX));
            let fails = state.faults.fail_append;
            let written = if fails { written / 2 } else { written };
            let file = state.files.get_mut(&self.name).expect("open files stay");
            file.bytes.extend(&bytes[..written]);
            let inside = file.bytes.len() as u64 <= file.allocated || file.allocated == 0;
            state.faults.power = state.faults.power.map(|power| power - written as u64);
            assert!(inside || fails, "written beyond the room that was allocated");
            if written < bytes.len() { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            if state.faults.fail_sync {
                return Err(io::Error::from_raw_os_error(5));
            }
            if !state.faults.ignore_sync {
                let file = state.files.get_mut(&self.name).expect("open files stay");
                file.durable = file.bytes.clone();
            }
            Ok(())
        })
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.with(|state| {
            let file = state.files.get_mut(&self.name).expect("open files stay");
            file.bytes.truncate(usize::try_from(length).expect("segments fit into memory"));
            file.allocated = length;
            Ok(())
        })
    }
}

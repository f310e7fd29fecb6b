//! The state folder: who may use it (one process), what version it has, and the key that lies in it.
//!
//! ```text
//! state/              0700
//!   VERSION           "tasrih state 1"
//!   lock              held (flock) by the process that writes
//!   body-digest.key   0600, 32 random bytes, made at first start
//!   log/              segments
//!   registers/        registers by version (`crate::archive`)
//!   orders            orders that were ever taken (`crate::docket`)
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rustix::fs::FlockOperation;

use super::DigestKey;
use super::storage::{self, place};

/// What `VERSION` says in this release.
const VERSION: &str = "tasrih state 1\n";

/// Why a state folder was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Another process writes to it.
    #[error("another process uses the state folder {0:?}; stop it, or give this one a folder of its own with --state")]
    Locked(PathBuf),
    /// It was written by a release that this one does not know.
    #[error(
        "the state folder {folder:?} has version {found:?}, and this release reads \"tasrih state 1\"; \
         use the release that wrote it"
    )]
    Version {
        /// The state folder.
        folder: PathBuf,
        /// What `VERSION` says.
        found: String,
    },
    /// The key can be read by others.
    #[error("{file:?} has mode {mode:04o} and may be read by others; run `chmod 600` on it")]
    KeyExposed {
        /// The key's file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key is not one.
    #[error("{0:?} is not a key of 32 bytes; digests in the log were made with the key that stood there, restore it")]
    KeySpoiled(PathBuf),
    /// What was acknowledged once is damaged: exit code 3.
    #[error(
        "the log is damaged in {file} at offset {offset}: {what}; nothing was changed, restore the file from a copy"
    )]
    Damaged {
        /// Name of the segment file.
        file: String,
        /// Where in it the damage begins.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file system failed.
    #[error("cannot use {path:?}: {error}")]
    Io {
        /// What was used.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
    /// The first records of this process could not be written.
    #[error("cannot write to the log: {0}")]
    Unwritable(String),
}

impl OpenFault {
    /// Whether the evidence itself is in doubt, so that the process must refuse to start (exit code 3).
    pub fn is_integrity(&self) -> bool {
        matches!(self, OpenFault::Damaged { .. } | OpenFault::KeySpoiled(_))
    }
}

/// Holds a state folder that no proxy runs on, until what is given back is dropped. The folder must be there.
///
/// # Errors
/// [`OpenFault::Locked`] where another process holds it.
pub fn hold(state: &Path) -> Result<Held, OpenFault> {
    let version = state.join("VERSION");
    std::fs::metadata(&version).map_err(|error| OpenFault::Io { path: version, error })?;
    Folder::open(state).map(|folder| Held { _folder: folder })
}

/// A state folder that this process holds without writing to its log.
pub struct Held {
    _folder: Folder,
}

/// A state folder that this process holds; the lock ends with the value.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, made if need be, and its lock.
    pub(super) fn open(path: &Path) -> Result<Folder, OpenFault> {
        let fault = |error| OpenFault::Io { path: path.to_owned(), error };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
            storage::sync_parent(path).map_err(fault)?;
        }
        let lock = lock(path)?;
        check_version(path)?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    /// The folder of segments.
    pub(super) fn segments(&self) -> Result<storage::Folder, OpenFault> {
        let path = log_folder(&self.path);
        storage::Folder::open_or_create(&path).map_err(|error| OpenFault::Io { path, error })
    }

    /// The digest key, made at first start.
    pub(super) fn digest_key(&self) -> Result<DigestKey, OpenFault> {
        let path = self.path.join("body-digest.key");
        let fault = |error| OpenFault::Io { path: path.clone(), error };
        match File::open(&path) {
            Ok(file) => read_key(file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path).map_err(fault),
            Err(error) => Err(fault(error)),
        }
    }
}

/// The digest key of a state folder that another process may hold; none is made.
///
/// # Errors
/// [`OpenFault`].
pub fn stored_digest_key(state: &Path) -> Result<DigestKey, OpenFault> {
    let path = state.join("body-digest.key");
    let file = File::open(&path).map_err(|error| OpenFault::Io { path: path.clone(), error })?;
    read_key(file, &path)
}

/// Where a state folder has its segments.
pub(super) fn log_folder(state: &Path) -> PathBuf {
    state.join("log")
}

fn lock(folder: &Path) -> Result<File, OpenFault> {
    let path = folder.join("lock");
    let fault = |error| OpenFault::Io { path: path.clone(), error };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fault)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenFault::Locked(folder.to_owned())),
        Err(error) => Err(fault(error.into())),
    }
}

fn check_version(folder: &Path) -> Result<(), OpenFault> {
    let path = folder.join("VERSION");
    let fault = |error| OpenFault::Io { path: path.clone(), error };
    match std::fs::read_to_string(&path) {
        Ok(found) if found == VERSION => Ok(()),
        Ok(found) => {
            Err(OpenFault::Version { folder: folder.to_owned(), found: found.trim().chars().take(40).collect() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => place(&path, VERSION.as_bytes()).map_err(fault),
        Err(error) => Err(fault(error)),
    }
}

fn read_key(file: File, path: &Path) -> Result<DigestKey, OpenFault> {
    let fault = |error| OpenFault::Io { path: path.to_owned(), error };
    let mode = file.metadata().map_err(fault)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenFault::KeyExposed { file: path.to_owned(), mode });
    }
    let mut secret = Vec::new();
    file.take(DigestKey::LENGTH as u64 + 1).read_to_end(&mut secret).map_err(fault)?;
    let secret = secret.as_slice().try_into().map_err(|_| OpenFault::KeySpoiled(path.to_owned()))?;
    Ok(DigestKey::new(secret))
}

fn make_key(path: &Path) -> io::Result<DigestKey> {
    let mut secret = [0; DigestKey::LENGTH];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("the system gave no random bytes"))?;
    place(path, &secret)?;
    Ok(DigestKey::new(&secret))
}

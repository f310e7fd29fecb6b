//! The registers that were in force, kept by version in the state folder, so that a past decision can be explained from
//! what it was made from.
//!
//! ```text
//! state/registers/
//!   texts/SHA-256              one policy file as written; the same text is stored once, however many versions have it
//!   versions/VERSION.json      which texts a register was compiled from, under what names, and in what circumstances
//!   in-force.json              what was put in force last, and what the authority must still be told (`standing.rs`)
//! ```
//!
//! Whatever is put in force is kept here first, durably, and then goes on record: a version that a record names is found
//! here. Where it cannot be kept (no room, a fault of the disk) it is put in force all the same: a register mostly narrows
//! or stops something, and an authority's order must not wait for a disk. The record then says `kept: false`, a metric
//! alerts, and [`Archive::retry`] keeps it as soon as there is room.
//!
//! The folder grows by the files that change: by one of them and a manifest of a few hundred bytes for each reload. Nothing
//! is removed, because every record names a version and records are kept without end; what retention erases one day takes
//! its versions along.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::audit::storage::{available, place, sync_parent};
use crate::register::compile::{Circumstances, Text, compile_in};
use crate::register::{Order, Register, Version};

mod manifest;
mod standing;

pub use manifest::Manifest;
pub use standing::Standing;

/// What a register is made from: all that is needed to have it again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The policy files as read.
    pub texts: Vec<Text>,
    /// How much of a body was held, in bytes: a larger `max_body` is a fault.
    pub hold_limit: u64,
    /// The orders that were ever taken, which stand beside the files.
    pub remembered: Vec<Order>,
}

/// Why a register is not kept, or cannot be had again.
#[derive(Debug, thiserror::Error)]
pub enum KeptFault {
    /// Nothing is known of it.
    #[error(
        "{folder:?} keeps no register {}: it was in force before this release kept them, or the folder was lost; \
         name policy files of then with --policies, such as a checkout of their commit", version.short()
    )]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
        /// What was looked for.
        version: Version,
    },
    /// A file is not what was written.
    #[error("{file:?} is damaged: {what}; restore it from a copy, or name policy files of then with --policies")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Its files mean something else to this release.
    #[error(
        "this release reads the files of register {} otherwise than release {release}, which kept them; explain with \
         that release", version.short()
    )]
    OtherRelease {
        /// What was looked for.
        version: Version,
        /// Which release kept it.
        release: String,
    },
    /// Decisions and their outcomes need what is left of the disk.
    #[error("{wanted} bytes are needed and the disk has {free}, of which {reserve} are for records (`disk.reserve`)")]
    NoRoom {
        /// Bytes of the files that are not there yet.
        wanted: u64,
        /// Bytes that are free for us.
        free: u64,
        /// Bytes that are left alone.
        reserve: u64,
    },
    /// The file system failed.
    #[error("cannot use {path:?}: {error}")]
    Io {
        /// What was used.
        path: PathBuf,
        /// How it failed.
        error: io::Error,
    },
}

/// The folder of registers of one state folder. Reading takes no lock; only the process that holds the state folder
/// writes.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    /// Free bytes on the disk that are left alone (`disk.reserve`).
    reserve: u64,
    /// What could not be kept yet. Held while it is tried, by one thread that may block.
    unkept: Mutex<Option<(Version, Source, Timestamp)>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Registers.
    pub versions: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether the register in force is among them.
    pub is_whole: bool,
}

impl Archive {
    /// The archive of a state folder; nothing is made before something is kept. `reserve` bytes of its disk are left alone.
    pub fn of(state: &Path, reserve: u64) -> Archive {
        Archive { folder: state.join("registers"), reserve, unkept: Mutex::default() }
    }

    /// Keeps a register durably, which is in force from `at` on; does nothing where it is kept. Blocks.
    ///
    /// # Errors
    /// [`KeptFault`]; what it is made from is then remembered for [`Archive::retry`].
    pub fn keep(&self, version: &Version, source: Source, at: Timestamp) -> Result<(), KeptFault> {
        let kept = self.write(version, &source, at);
        *self.unkept() = kept.is_err().then(|| (version.clone(), source, at));
        kept
    }

    /// Tries again what could not be kept; whether everything is kept now. Blocks.
    pub fn retry(&self) -> bool {
        let mut unkept = self.unkept();
        if let Some((version, source, at)) = &*unkept
            && self.write(version, source, *at).is_ok()
        {
            *unkept = None;
        }
        unkept.is_none()
    }

    /// A register that was in force, compiled again. Blocks.
    ///
    /// # Errors
    /// [`KeptFault`].
    pub fn load(&self, version: &Version) -> Result<(Register, Manifest), KeptFault> {
        let manifest = self.manifest(version)?;
        let texts = manifest.files.iter().map(|file| {
            let text = self.text(&file.sha256)?;
            Ok(Text { name: file.name.clone(), text })
        });
        let texts = texts.collect::<Result<Vec<Text>, KeptFault>>()?;
        let damaged =
            || KeptFault::Damaged { file: self.manifest_path(version), what: "an order in it is none".to_owned() };
        let remembered = manifest.remembered().ok_or_else(damaged)?;
        let circumstances =
            Circumstances { hold_limit: manifest.hold_limit, remembered: &remembered, ..Circumstances::default() };
        let compiled = compile_in(&texts, &circumstances).ok();
        let compiled = compiled.map(|compiled| compiled.register.with_orders(&remembered));
        match compiled.filter(|register| register.version == *version) {
            Some(register) => Ok((register, manifest)),
            None => Err(KeptFault::OtherRelease { version: version.clone(), release: manifest.release }),
        }
    }

    /// Keeps the register that differs from the kept one `before` by the orders that stand beside its files alone, and
    /// remembers that it is in force. Blocks.
    ///
    /// # Errors
    /// [`KeptFault`]; the records of the orders say all the same what it was made of.
    pub fn keep_with_orders(
        &self,
        before: &Version,
        version: &Version,
        remembered: &[Order],
        at: Timestamp,
    ) -> Result<(), KeptFault> {
        if !self.is_kept(version) {
            let manifest = self.manifest(before)?.with_orders(version, remembered, at);
            self.room(0)?;
            let path = self.manifest_path(version);
            place(&path, &manifest.to_json()).map_err(fault(&path))?;
        }
        match self.standing()? {
            Some(standing) => self.stand(&standing.followed_by(version, at)),
            None => Ok(()),
        }
    }

    /// What is known of a version.
    ///
    /// # Errors
    /// [`KeptFault`].
    pub fn manifest(&self, version: &Version) -> Result<Manifest, KeptFault> {
        let path = self.manifest_path(version);
        let missing = || KeptFault::Missing { folder: self.folder.clone(), version: version.clone() };
        // A version comes from a record, and becomes a path.
        if !version.0.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let read = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            read => read.map_err(fault(&path))?,
        };
        let damaged = |what: String| KeptFault::Damaged { file: path.clone(), what };
        let manifest: Manifest = serde_json::from_slice(&read).map_err(|fault| damaged(fault.to_string()))?;
        match manifest.version == *version.0 {
            true => Ok(manifest),
            false => Err(damaged(format!("it is of register {}", manifest.version))),
        }
    }

    /// The one version kept that begins so.
    ///
    /// # Errors
    /// None does, or several do, in words.
    pub fn beginning(&self, beginning: &str) -> Result<Version, String> {
        let entries = fs::read_dir(self.versions()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let versions = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned));
        let found: Vec<String> = versions.filter(|version| version.starts_with(beginning)).collect();
        match &found[..] {
            [one] => Ok(Version(one.as_str().into())),
            [] => Err(format!("{:?} keeps no register that begins with {beginning:?}", self.folder)),
            several => Err(format!("{} registers begin with {beginning:?}; write more of it", several.len())),
        }
    }

    /// What was put in force last; `None` where nothing was since this release keeps registers.
    ///
    /// # Errors
    /// [`KeptFault`].
    pub fn standing(&self) -> Result<Option<Standing>, KeptFault> {
        Standing::read(&self.folder.join(standing::FILE))
    }

    /// Remembers what is in force now, durably. Blocks.
    ///
    /// # Errors
    /// [`KeptFault::Io`].
    pub fn stand(&self, standing: &Standing) -> Result<(), KeptFault> {
        self.make(&self.folder)?;
        let path = self.folder.join(standing::FILE);
        place(&path, &standing.to_json()).map_err(fault(&path))
    }

    /// How much is kept. Blocks, for one look at each file.
    pub fn size(&self) -> Kept {
        let lengths = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).collect::<Vec<u64>>()
        };
        let (versions, texts) = (lengths(self.versions()), lengths(self.texts()));
        Kept {
            versions: versions.len() as u64,
            bytes: versions.iter().chain(&texts).sum(),
            is_whole: self.unkept().is_none(),
        }
    }

    /// The folder, as errors name it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn write(&self, version: &Version, source: &Source, at: Timestamp) -> Result<(), KeptFault> {
        if self.is_kept(version) {
            return Ok(());
        }
        let named: Vec<(String, &Text)> = source.texts.iter().map(|text| (hex(&text.text), text)).collect();
        let mut seen = HashSet::new();
        let missing: Vec<&(String, &Text)> =
            named.iter().filter(|(sha256, text)| !self.has(sha256, text) && seen.insert(sha256)).collect();
        self.room(missing.iter().map(|(_, text)| text.text.len() as u64).sum())?;
        for folder in [self.folder.clone(), self.texts(), self.versions()] {
            self.make(&folder)?;
        }
        for (sha256, text) in missing {
            let path = self.texts().join(sha256);
            place(&path, text.text.as_bytes()).map_err(fault(&path))?;
        }
        let manifest = Manifest::new(version, source, &named, at);
        let path = self.manifest_path(version);
        place(&path, &manifest.to_json()).map_err(fault(&path))
    }

    /// Whether a version and all its texts are there; the texts' content is looked at when they are read.
    fn is_kept(&self, version: &Version) -> bool {
        self.manifest(version).is_ok_and(|manifest| {
            let has = |file: &manifest::File| self.length(&file.sha256) == Some(file.bytes);
            manifest.files.iter().all(has)
        })
    }

    fn has(&self, sha256: &str, text: &Text) -> bool {
        self.length(sha256) == Some(text.text.len() as u64)
    }

    fn length(&self, sha256: &str) -> Option<u64> {
        fs::metadata(self.texts().join(sha256)).ok().map(|metadata| metadata.len())
    }

    fn text(&self, sha256: &str) -> Result<String, KeptFault> {
        let path = self.texts().join(sha256);
        let damaged = |what: &str| KeptFault::Damaged { file: path.clone(), what: what.to_owned() };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged("it is no text")),
            read => read.map_err(fault(&path))?,
        };
        if hex(&text) == sha256 { Ok(text) } else { Err(damaged("its SHA-256 is not its name")) }
    }

    fn room(&self, wanted: u64) -> Result<(), KeptFault> {
        let state = self.folder.parent().unwrap_or(Path::new("."));
        let free = available(&rustix::fs::statvfs(state).map_err(|error| fault(state)(error.into()))?);
        match free < wanted.saturating_add(self.reserve) {
            true => Err(KeptFault::NoRoom { wanted, free, reserve: self.reserve }),
            false => Ok(()),
        }
    }

    fn make(&self, folder: &Path) -> Result<(), KeptFault> {
        if folder.is_dir() {
            return Ok(());
        }
        let made = DirBuilder::new().mode(0o700).create(folder).and_then(|()| sync_parent(folder));
        made.map_err(fault(folder))
    }

    fn texts(&self) -> PathBuf {
        self.folder.join("texts")
    }

    fn versions(&self) -> PathBuf {
        self.folder.join("versions")
    }

    fn manifest_path(&self, version: &Version) -> PathBuf {
        self.versions().join(format!("{}.json", version.0))
    }

    fn unkept(&self) -> MutexGuard<'_, Option<(Version, Source, Timestamp)>> {
        // It is replaced whole, so that a panic elsewhere spoils nothing.
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault(path: &Path) -> impl Fn(io::Error) -> KeptFault {
    let path = path.to_owned();
    move |error| KeptFault::Io { path: path.clone(), error }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing into a string does not fail");
        hex
    })
}

#[cfg(test)]
mod tests;

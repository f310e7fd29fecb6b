//! Where segments lie: a folder of files, behind a trait that tests put a forgetful folder behind.
//!
//! The trait names exactly what durability rests on: a file's bytes are safe after [`Segment::sync`], its name in the
//! folder after [`Storage::sync_folder`], and nothing else is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// A folder of segments.
pub trait Storage: Send + Sync {
    /// Names of the files in the folder, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A file's bytes.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Makes a new, empty file; fails if there is one.
    fn create(&self, name: &str) -> io::Result<Box<dyn Segment>>;
    /// Opens a file to append to.
    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names of the folder durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// Bytes that are free for us on the file system.
    fn free(&self) -> io::Result<u64>;
}

/// A file that is appended to.
pub trait Segment: Send {
    /// Allocates room up to `end`, counted from the file's beginning, without changing the file's length.
    fn allocate(&mut self, end: u64) -> io::Result<()>;
    /// Writes all of `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file, and gives allocated room behind its end back.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The real file system.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Takes a folder, made if need be for its owner alone; its own name is then durable in its parent.
    pub fn open_or_create(path: &Path) -> io::Result<Folder> {
        if !path.is_dir() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            sync_parent(path)?;
        }
        Ok(Folder { path: path.to_owned() })
    }

    /// Takes a folder that is there, for reading.
    pub fn existing(path: &Path) -> Folder {
        Folder { path: path.to_owned() }
    }
}

/// Makes the name of `path` durable in its folder.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Makes a file that is there whole or not at all, also after a power cut, and that its owner alone may read.
///
/// # Errors
/// As the file system has it; a draft may be left beside it, which the next attempt writes over.
pub fn place(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    sync_parent(path)
}

impl Storage for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        Ok(Box::new(SegmentFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(SegmentFile(OpenOptions::new().append(true).open(self.path.join(name))?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        Ok(available(&rustix::fs::statvfs(&self.path)?))
    }
}

/// Bytes of a file system that are free for us: what only root may use is no room.
pub fn available(disk: &rustix::fs::StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

struct SegmentFile(File);

impl Segment for SegmentFile {
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        // A signal that comes meanwhile is no fault of the disk.
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, end)) {
            // A file system that cannot allocate ahead (NFS before 4.2) makes the write itself the test of room.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

//! Where held bodies wait: memory up to a bound, then an unlinked temporary file.
//!
//! What is written to the file is sealed with AES-256-GCM under a key that lives only in this value, so that nothing of
//! a body can be read from the disk after its exchange. All held bodies together stay under one [`Budget`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use bytes::{Bytes, BytesMut};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::descriptors::{self, Descriptors};

/// Plain bytes of one sealed piece of a file.
const PIECE: usize = 256 * 1024;
/// Length of the tag behind each piece.
const TAG: usize = 16;

/// Bytes that all held bodies may take together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    held: AtomicU64,
    jobs: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget { limit, held: AtomicU64::new(0), jobs: AtomicU64::new(0) })
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Jobs of the spool that wait for the disk or are at it now; at most one for each open exchange.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    /// An empty lease on `budget`.
    pub fn new(budget: &Arc<Budget>) -> Lease {
        Lease { budget: budget.clone(), bytes: 0 }
    }

    /// Takes `bytes` more; false where the budget is spent.
    pub fn extend(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Takes what is missing to `bytes` in all; false where the budget is spent.
    pub fn cover(&mut self, bytes: u64) -> bool {
        bytes <= self.bytes || self.extend(bytes - self.bytes)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where bodies wait that are too large for memory.
#[derive(Clone, Debug)]
pub struct Spool {
    /// The folder; its file system is the one that may be full.
    pub folder: PathBuf,
    /// Some of them must be left over.
    pub descriptors: Descriptors,
    /// Counts what the disk is asked for.
    pub budget: Arc<Budget>,
}

impl Spool {
    /// Makes a file; it has no name from the first moment on. Room for `announced` bytes is allocated before any is asked
    /// for, where the file system can do that: a disk that is full refuses at once.
    ///
    /// # Errors
    /// Whatever the file system says, and where there are too few descriptors left.
    pub async fn create(&self, announced: u64) -> io::Result<SpoolWriter> {
        let Spool { folder, descriptors, budget } = self.clone();
        let file = blocking(&self.budget, move || {
            let file = tempfile::tempfile_in(folder)?;
            if !descriptors.fits(&file) {
                return Err(descriptors::shortage());
            }
            allocate(&file, announced)?;
            Ok(file)
        })
        .await?;
        SpoolWriter::of(file, budget)
    }
}

/// Allocates what `size` plain bytes take when they are sealed.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    let sealed = size + size.div_ceil(PIECE as u64) * TAG as u64;
    if sealed == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, sealed) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

/// A body being written to an unlinked file.
#[derive(Debug)]
pub struct SpoolWriter {
    file: Arc<File>,
    budget: Arc<Budget>,
    key: Arc<LessSafeKey>,
    pending: BytesMut,
    pieces: u32,
    size: u64,
}

impl SpoolWriter {
    fn of(file: File, budget: Arc<Budget>) -> io::Result<SpoolWriter> {
        let mut secret = [0_u8; 32];
        rand::fill(&mut secret).map_err(|_| io::Error::other("no random bytes"))?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| io::Error::other("no cipher"))?;
        Ok(SpoolWriter {
            file: Arc::new(file),
            budget,
            key: Arc::new(LessSafeKey::new(key)),
            pending: BytesMut::new(),
            pieces: 0,
            size: 0,
        })
    }

    /// Adds bytes; whole pieces go to the file.
    ///
    /// # Errors
    /// Whatever the file system says; the body is lost then, never cut short.
    pub async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        while self.pending.len() >= PIECE {
            let piece = self.pending.split_to(PIECE);
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Writes what is left and turns to reading.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub async fn finish(mut self) -> io::Result<Spooled> {
        if !self.pending.is_empty() {
            let piece = std::mem::take(&mut self.pending);
            self.write(piece).await?;
        }
        let SpoolWriter { file, budget, key, pieces, size, .. } = self;
        Ok(Spooled { file, budget, key, pieces, next: 0, size })
    }

    async fn write(&mut self, mut piece: BytesMut) -> io::Result<()> {
        let (file, key, number) = (self.file.clone(), self.key.clone(), self.pieces);
        self.pieces += 1;
        blocking(&self.budget, move || {
            let tag = key
                .seal_in_place_separate_tag(nonce(number), Aad::empty(), &mut piece)
                .map_err(|_| io::Error::other("a piece of a held body could not be sealed"))?;
            piece.extend_from_slice(tag.as_ref());
            file.write_all_at(&piece, place(number))
        })
        .await
    }
}

/// A body in a file, read once from its beginning.
#[derive(Debug)]
pub struct Spooled {
    file: Arc<File>,
    budget: Arc<Budget>,
    key: Arc<LessSafeKey>,
    pieces: u32,
    next: u32,
    size: u64,
}

impl Spooled {
    /// Whether every piece was handed out.
    pub fn is_read(&self) -> bool {
        self.next >= self.pieces
    }

    /// A job for a thread that may block: reads and opens the next piece.
    pub fn next_piece(&mut self) -> impl FnOnce() -> io::Result<Bytes> + Send + 'static {
        let number = self.next;
        self.next += 1;
        let plain = (self.size - u64::from(number) * PIECE as u64).min(PIECE as u64) as usize;
        let (file, key, job) = (self.file.clone(), self.key.clone(), Job::begin(&self.budget));
        move || {
            let _job = job;
            let mut sealed = vec![0_u8; plain + TAG];
            file.read_exact_at(&mut sealed, place(number))?;
            key.open_in_place(nonce(number), Aad::empty(), &mut sealed)
                .map_err(|_| io::Error::other("a held body was changed on disk"))?;
            sealed.truncate(plain);
            Ok(Bytes::from(sealed))
        }
    }
}

fn place(number: u32) -> u64 {
    u64::from(number) * (PIECE + TAG) as u64
}

/// The number of the piece: a key seals one body, and each piece of it once.
fn nonce(number: u32) -> Nonce {
    let mut bytes = [0_u8; NONCE_LEN];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Something that the disk is asked for; counted while it lives.
struct Job(Arc<Budget>);

impl Job {
    fn begin(budget: &Arc<Budget>) -> Job {
        budget.jobs.fetch_add(1, Ordering::Relaxed);
        Job(budget.clone())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.jobs.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(
    budget: &Arc<Budget>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let job = Job::begin(budget);
    let work = move || {
        let _job = job;
        work()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_back_and_is_unreadable_on_disk() {
        let budget = Budget::new(1 << 20);
        let spool =
            Spool { folder: std::env::temp_dir(), descriptors: Descriptors::of_process(), budget: budget.clone() };
        let body: Vec<u8> = b"passport ".iter().copied().cycle().take(PIECE * 2 + 777).collect();
        let mut writer = spool.create(body.len() as u64).await.unwrap();
        for part in body.chunks(10_000) {
            writer.push(part).await.unwrap();
        }
        let mut spooled = writer.finish().await.unwrap();
        let mut raw = vec![0; 4096];
        spooled.file.read_exact_at(&mut raw, 0).unwrap();
        assert!(!raw.windows(8).any(|window| window == b"passport"));
        let mut back = Vec::new();
        while !spooled.is_read() {
            back.extend_from_slice(&spooled.next_piece()().unwrap());
        }
        assert!(back == body);
        assert_eq!(budget.jobs(), 0);
    }

    #[test]
    fn a_budget_is_kept_and_given_back() {
        let budget = Budget::new(10);
        let mut first = Lease::new(&budget);
        let mut second = Lease::new(&budget);
        assert!(first.extend(8));
        assert!(!second.extend(3));
        assert!(second.extend(2));
        drop(first);
        assert!(second.extend(8));
        assert_eq!(budget.held(), 10);
    }
}

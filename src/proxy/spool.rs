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

/// Plain bytes of one sealed piece of a file.
const PIECE: usize = 256 * 1024;
/// Length of the tag behind each piece.
const TAG: usize = 16;

/// Bytes that all held bodies may take together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    held: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Budget> {
        Arc::new(Budget { limit, held: AtomicU64::new(0) })
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body being written to an unlinked file.
#[derive(Debug)]
pub struct SpoolWriter {
    file: Arc<File>,
    key: Arc<LessSafeKey>,
    pending: BytesMut,
    pieces: u32,
    size: u64,
}

impl SpoolWriter {
    /// Makes the file in `folder`; it has no name from the first moment on.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub async fn create(folder: PathBuf) -> io::Result<SpoolWriter> {
        let file = blocking(move || tempfile::tempfile_in(folder)).await?;
        let mut secret = [0_u8; 32];
        rand::fill(&mut secret).map_err(|_| io::Error::other("no random bytes"))?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| io::Error::other("no cipher"))?;
        Ok(SpoolWriter {
            file: Arc::new(file),
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
        Ok(Spooled { file: self.file, key: self.key, pieces: self.pieces, next: 0, size: self.size })
    }

    async fn write(&mut self, mut piece: BytesMut) -> io::Result<()> {
        let (file, key, number) = (self.file.clone(), self.key.clone(), self.pieces);
        self.pieces += 1;
        blocking(move || {
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
        let (file, key) = (self.file.clone(), self.key.clone());
        move || {
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

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_back_and_is_unreadable_on_disk() {
        let mut writer = SpoolWriter::create(std::env::temp_dir()).await.unwrap();
        let body: Vec<u8> = b"passport ".iter().copied().cycle().take(PIECE * 2 + 777).collect();
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

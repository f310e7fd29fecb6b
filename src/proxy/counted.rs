//! A stream that counts what it received, so that a silent end can be told from one in the middle of a head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with its count.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    received: Arc<Received>,
}

/// Bytes received, and how many of them belong to requests that were already seen.
#[derive(Debug, Default)]
pub struct Received {
    all: AtomicU64,
    marked: AtomicU64,
}

impl Received {
    /// A request was answered: what came so far is accounted for.
    pub fn mark(&self) {
        self.marked.store(self.all.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Bytes received since the last request was answered.
    pub fn since_mark(&self) -> u64 {
        self.all.load(Ordering::Relaxed) - self.marked.load(Ordering::Relaxed)
    }
}

impl<S> Counted<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> (Counted<S>, Arc<Received>) {
        let received = Arc::new(Received::default());
        (Counted { stream, received: received.clone() }, received)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.received.all.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! A client's stream: counts what it received, so that a silent end can be told from one in the middle of a head, and
//! fails where the client takes nothing for too long, so that nobody holds a place by not reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream with its count.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    received: Arc<Received>,
    /// How long the client may take nothing.
    idle: Duration,
    /// Runs while it takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
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

    /// Whether anything was received at all.
    pub fn is_any(&self) -> bool {
        self.all.load(Ordering::Relaxed) > 0
    }

    /// Bytes received since the last request was answered.
    pub fn since_mark(&self) -> u64 {
        self.all.load(Ordering::Relaxed) - self.marked.load(Ordering::Relaxed)
    }
}

impl<S> Counted<S> {
    /// Wraps a stream.
    pub fn new(stream: S, idle: Duration) -> (Counted<S>, Arc<Received>) {
        let received = Arc::new(Received::default());
        (Counted { stream, received: received.clone(), idle, stall: None }, received)
    }

    /// Passes on what a write came to; one that waits too long fails.
    fn taken<T>(&mut self, wrote: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stall = None;
            return wrote;
        }
        let idle = self.idle;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(idle)));
        stall.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(wrote, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.taken(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.taken(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

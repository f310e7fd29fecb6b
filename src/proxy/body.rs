//! Bodies: held until they are judged, then sent; and responses relayed while they are counted.
//!
//! [`hold`] reads a request body to its end, shows every chunk to the inspector and the digest, and keeps the bytes in
//! memory or in the spool. Trailers are dropped: nothing would judge them. [`Outgoing`] is what hyper sends: its size
//! is exact, so that a recipient gets one canonical framing, and it counts what it hands over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::pace::{Pace, Paced, Slow};
use super::progress::Progress;
use super::spool::{Budget, Lease, Spool, Spooled};
use super::upload::Upload;
use crate::audit::DigestKey;
use crate::inspect::{Inspector, Unread};
use crate::policy::BodyFacts;

/// Bytes of a body in memory that are handed over at once.
const PIECE: usize = 64 * 1024;

/// How bodies are held.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Bytes of one body that stay in memory.
    pub memory: u64,
    /// Bytes of one body at most.
    pub hold: u64,
    /// Where larger bodies wait.
    pub spool: Spool,
    /// What all of them may take together.
    pub budget: Arc<Budget>,
    /// How fast a client must send.
    pub pace: Pace,
}

/// What happens to a body that is larger than may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// It is refused.
    Refuse,
    /// It passes unread: only under observe, which suspends the first promise (DESIGN §5).
    Pass,
}

/// Why a body could not be held.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Debug, thiserror::Error)]
pub enum HoldFault {
    #[error("the body is larger than the {limit} bytes that may be held")]
    TooLarge { limit: u64 },
    #[error("too many bodies are held at once")]
    Full,
    #[error("the body ended before it was whole")]
    Broken,
    #[error("the body is not framed as its head says")]
    Malformed,
    #[error(transparent)]
    Slow(#[from] Slow),
    #[error("the spool cannot take the body: {0}")]
    Spool(#[from] io::Error),
}

/// A body waiting for its decision: whole, or under observe its beginning.
#[derive(Debug)]
pub struct Held {
    store: Store,
    size: u64,
    rest: Option<Upload>,
    lease: Lease,
}

#[derive(Debug)]
enum Store {
    Memory(Bytes),
    File(Spooled),
}

/// Reads a body to its end. `limit` is the smaller of what the candidates allow and what may be held at all.
///
/// # Errors
/// [`HoldFault`]: the body is too large, broken or too slow, or there is no room for it.
pub async fn hold(
    mut upload: Upload,
    limit: u64,
    beyond: Beyond,
    holding: &Holding,
    digests: &DigestKey,
    mut inspector: Box<dyn Inspector>,
) -> Result<(Held, BodyFacts), HoldFault> {
    // What announces that it is too large is not asked for (100-continue), and not read for nothing.
    let announced = upload.size_hint().exact();
    if beyond == Beyond::Refuse && announced.is_some_and(|size| size > limit) {
        return Err(HoldFault::TooLarge { limit });
    }
    // Nor is what there is no room for now: the room of an announced size is taken before the first byte.
    let announced = announced.unwrap_or_default().min(limit);
    let mut lease = Lease::new(&holding.budget);
    if !lease.extend(announced) {
        return Err(HoldFault::Full);
    }
    let mut spool = match announced > holding.memory {
        true => Some(holding.spool.create(announced).await?),
        false => None,
    };
    let mut paced = Paced::begin(holding.pace);
    let mut over = false;
    let mut digest = digests.hasher();
    // One buffer: chunks kept as they came would take many times their size where a client sends byte by byte.
    let mut memory = BytesMut::new();
    let mut size = 0_u64;
    while let Some(chunk) = next_chunk(&mut upload, &mut paced).await? {
        size += chunk.len() as u64;
        over = size > limit;
        if over && beyond == Beyond::Refuse {
            return Err(HoldFault::TooLarge { limit });
        }
        if !lease.cover(size) {
            return Err(HoldFault::Full);
        }
        digest.update(&chunk);
        inspector.push(&chunk);
        if spool.is_none() && size > holding.memory {
            let mut writer = holding.spool.create(0).await?;
            writer.push(&std::mem::take(&mut memory)).await?;
            spool = Some(writer);
        }
        match &mut spool {
            Some(writer) => writer.push(&chunk).await?,
            None => memory.extend_from_slice(&chunk),
        }
        if over {
            break;
        }
    }
    let mut facts = BodyFacts { size, digest: Some(digest.finish()), findings: inspector.findings() };
    if over {
        facts.digest = None;
        facts.findings.unread = Some(Unread::OverBudget);
    }
    let store = match spool {
        Some(writer) => Store::File(writer.finish().await?),
        None => Store::Memory(memory.freeze()),
    };
    Ok((Held { store, size, rest: over.then_some(upload), lease }, facts))
}

/// The next bytes of content; trailers are read over.
async fn next_chunk(upload: &mut Upload, paced: &mut Paced) -> Result<Option<Bytes>, HoldFault> {
    loop {
        match paced.next(upload.frame()).await? {
            None => return Ok(None),
            Some(Err(fault)) if fault.is_malformed() => return Err(HoldFault::Malformed),
            Some(Err(_)) => return Err(HoldFault::Broken),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    paced.took(data.len() as u64);
                    return Ok(Some(data));
                }
                Err(_trailers) => {}
            },
        }
    }
}

impl Held {
    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The body to send; what it hands over is counted in `progress`.
    pub fn into_outgoing(self, progress: Arc<Progress>) -> Outgoing {
        if self.size == 0 {
            progress.finished();
        }
        let Held { store, size, rest, lease } = self;
        Outgoing { store, left: size, reading: None, rest, progress, _lease: lease }
    }
}

/// A judged body on its way out.
#[derive(Debug)]
pub struct Outgoing {
    store: Store,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    rest: Option<Upload>,
    progress: Arc<Progress>,
    _lease: Lease,
}

impl Outgoing {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.store {
            Store::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Store::Memory(bytes) => Poll::Ready(Some(Ok(bytes.split_to(PIECE.min(bytes.len()))))),
            Store::File(spooled) => {
                if self.reading.is_none() && spooled.is_read() {
                    return Poll::Ready(None);
                }
                let reading = self.reading.get_or_insert_with(|| tokio::task::spawn_blocking(spooled.next_piece()));
                let piece =
                    ready!(Pin::new(reading).poll(context)).unwrap_or_else(|ended| Err(io::Error::other(ended)));
                self.reading = None;
                Poll::Ready(Some(piece))
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let piece = match (&mut this.rest, this.left) {
            (Some(rest), 0) => ready!(poll_rest(rest, context)),
            _ => ready!(this.poll_piece(context)),
        };
        if let Some(Ok(bytes)) = &piece {
            this.left = this.left.saturating_sub(bytes.len() as u64);
            if !this.progress.add(bytes.len() as u64) {
                return Poll::Ready(Some(Err(io::Error::other("the exchange has ended"))));
            }
            if this.left == 0 && this.rest.is_none() {
                this.progress.finished();
            }
        }
        if piece.is_none() {
            this.progress.finished();
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            None => SizeHint::with_exact(self.left),
            Some(_) => SizeHint::default(),
        }
    }
}

/// Content that was not held; trailers are read over.
fn poll_rest(rest: &mut Upload, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
    loop {
        match ready!(Pin::new(&mut *rest).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(fault)) => return Poll::Ready(Some(Err(io::Error::other(fault)))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}

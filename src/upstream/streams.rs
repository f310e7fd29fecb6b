//! Streams of HTTP/2 (RFC 9113), the same towards clients and towards recipients: a body that comes in over one, and a
//! body that is sent over one.
//!
//! The `h2` crate is used by itself here, where HTTP/1.1 is hyper's: hyper shows neither which stream a body belongs to
//! nor a way to reset one whose peer takes nothing, and an exchange that is cut must end without its neighbours.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::timeout;

/// Streams of one connection at once. RFC 9113 §6.5.2 recommends no fewer.
pub const STREAMS: u32 = 100;
/// Bytes that a peer may send on one stream before they are read: enough for 25 MB/s at a round trip of 10 ms.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// The same on one connection: all streams together, so that those which are not read stall none of the others.
///
/// It is fixed and not adaptive: an adaptive window grows with what the peer is able to send and would be no bound.
pub const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Bytes of one stream that wait here to be sent.
pub const SEND_BUFFER: usize = 256 * 1024;
/// Streams that are remembered after we reset them, so that what was on the way is not taken for a fault.
pub const REMEMBERED: usize = 2 * STREAMS as usize;
/// Streams that one connection may make us reset by breaking the rules, before it is closed.
pub const FAULTS: usize = 128;
/// Overhead of frames whose data wait to be read: bytes come with flow control, frames of one byte would not.
pub const FRAME_BUDGET: usize = 1024 * 1024;

/// A body that comes in over a stream. What is read makes room for more.
#[derive(Debug)]
pub struct StreamBody {
    stream: RecvStream,
    /// Announced in the head; `h2` holds the body against it.
    length: Option<u64>,
    read: u64,
    /// Trailers are next.
    data_over: bool,
}

impl StreamBody {
    /// The body behind a head with these fields.
    pub fn new(stream: RecvStream, head: &HeaderMap) -> StreamBody {
        let length = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        StreamBody { stream, length, read: 0, data_over: false }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_over {
            if let Some(data) = ready!(self.stream.poll_data(context)) {
                let data = data?;
                self.read += data.len() as u64;
                // It fails only on a stream that is over, where nobody waits for room.
                let _ = self.stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_over = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            _ if self.stream.is_end_stream() => SizeHint::with_exact(0),
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.read)),
            None => SizeHint::default(),
        }
    }
}

/// Why a body was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum PumpFault<E> {
    /// The peer gave the stream up, or the connection ended.
    #[error("the stream was given up by the other side")]
    Gone,
    /// The peer made no room for too long.
    #[error("the other side took nothing for too long")]
    Still,
    /// The body itself failed.
    #[error("the body failed")]
    Body(#[source] E),
}

/// Sends a body to its end. A stream whose body is not sent to its end is reset, at once and with what waits to be sent.
///
/// # Errors
/// [`PumpFault`]; `Still` where the peer makes no room for `patience`.
pub async fn pump<B>(body: B, stream: &mut SendStream<Bytes>, patience: Duration) -> Result<(), PumpFault<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let pumped = pump_all(body, stream, patience).await;
    match &pumped {
        Ok(()) | Err(PumpFault::Gone) => {}
        Err(PumpFault::Still) => stream.send_reset(Reason::CANCEL),
        Err(PumpFault::Body(_)) => stream.send_reset(Reason::INTERNAL_ERROR),
    }
    pumped
}

async fn pump_all<B>(body: B, stream: &mut SendStream<Bytes>, patience: Duration) -> Result<(), PumpFault<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    loop {
        let next = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(Err(PumpFault::Gone));
            }
            body.as_mut().poll_frame(context).map(Ok)
        });
        let frame = match next.await? {
            None => return push(stream, Bytes::new(), true, patience).await,
            Some(Err(fault)) => return Err(PumpFault::Body(fault)),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                push(stream, data, is_last, patience).await?;
                if is_last {
                    return Ok(());
                }
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { continue };
                return stream.send_trailers(trailers).map_err(|_| PumpFault::Gone);
            }
        }
    }
}

/// Sends bytes as the peer makes room for them. Room is asked for only with the bytes in hand: room that is kept for a
/// body that is still to come would be missing to the other streams.
async fn push<E>(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
    patience: Duration,
) -> Result<(), PumpFault<E>> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        if stream.capacity() == 0 {
            let room = timeout(patience, poll_fn(|context| stream.poll_capacity(context)));
            match room.await.map_err(|_| PumpFault::Still)? {
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Err(PumpFault::Gone),
            }
        }
        let piece = data.split_to(stream.capacity().min(data.len()));
        let ends = is_last && data.is_empty();
        stream.send_data(piece, ends).map_err(|_| PumpFault::Gone)?;
        if ends {
            return Ok(());
        }
    }
    match is_last {
        true => stream.send_data(Bytes::new(), true).map_err(|_| PumpFault::Gone),
        false => Ok(()),
    }
}

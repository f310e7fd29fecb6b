//! A client's stream of HTTP/2 frames, followed as they go by (RFC 9113 §4).
//!
//! `h2` refuses by itself what breaks the rules, and tells nobody of single streams: what it refused stands in the frames
//! that it sends. Nor does it keep time: a head that does not end is seen here, and a client that takes nothing.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// What a client of HTTP/2 begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
/// Streams that are remembered after the client reset them: more than can be coming to their end at once.
const GIVEN_UP: usize = 512;

/// A stream whose frames are followed.
#[derive(Debug)]
pub struct Followed<S> {
    stream: S,
    frames: Arc<Frames>,
    idle: Duration,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What the frames of a connection said so far. Shared by the stream and by whoever serves it.
#[derive(Debug, Default)]
pub struct Frames {
    state: Mutex<State>,
    /// Told when a stream was refused.
    refused: Notify,
}

#[derive(Debug, Default)]
struct State {
    read: Reader,
    written: Reader,
    /// The newest stream of the client.
    newest: u32,
    /// The last streams that the client reset.
    given_up: VecDeque<u32>,
    /// Heads that were begun and not ended, since when.
    head_since: Option<Instant>,
    /// Heads of the client's requests that were ended.
    heads: u64,
    /// Streams that were refused because too many are open: the client knows that nothing was done about them.
    turned_away: u64,
    /// Streams that were reset because they break the rules.
    faulty: u64,
    /// Heads and trailers that were sent, by us and by `h2` itself.
    answers: u64,
}

impl Frames {
    /// Ends when a stream may have been refused since this was last asked.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    /// How long a head has been on its way.
    pub fn head_for(&self) -> Option<Duration> {
        self.lock().head_since.map(|since| since.elapsed())
    }

    /// Requests that were refused for breaking the rules, before they could be asked for: `asked` were, and `told` heads and
    /// trailers are ours. At most one for each stream that was reset so or answered by `h2` itself.
    pub fn unparsed(&self, asked: u64, told: u64) -> u64 {
        let state = self.lock();
        let unasked = state.heads.saturating_sub(asked).saturating_sub(state.turned_away);
        unasked.min(state.faulty + state.answers.saturating_sub(told))
    }

    /// Whether the client has reset this stream itself.
    pub fn is_given_up(&self, stream: u32) -> bool {
        self.lock().given_up.contains(&stream)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { read, newest, heads, given_up, .. } = &mut *state;
        read.follow(bytes, |frame| {
            if frame.kind == RST_STREAM {
                given_up.truncate(GIVEN_UP - 1);
                given_up.push_front(frame.stream);
            }
            let is_head = matches!(frame.kind, HEADERS | CONTINUATION);
            if is_head && frame.flags & END_HEADERS != 0 && frame.stream > *newest {
                (*newest, *heads) = (frame.stream, *heads + 1);
            }
        });
        state.head_since = match state.read.is_in_head() {
            true => state.head_since.or_else(|| Some(Instant::now())),
            false => None,
        };
    }

    fn wrote(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { written, turned_away, faulty, answers, .. } = &mut *state;
        let mut is_refusal = false;
        written.follow(bytes, |frame| match (frame.kind, frame.code) {
            (RST_STREAM, PROTOCOL_ERROR) => (*faulty, is_refusal) = (*faulty + 1, true),
            (RST_STREAM, REFUSED_STREAM) => *turned_away += 1,
            (HEADERS, _) => (*answers, is_refusal) = (*answers + 1, true),
            _ => {}
        });
        drop(state);
        if is_refusal {
            self.refused.notify_one();
        }
    }
}

/// Tells frames apart in bytes that come in any pieces.
#[derive(Debug, Default)]
struct Reader {
    /// Bytes of the preface that went by; servers send none.
    preface: usize,
    head: [u8; HEAD],
    /// Bytes of the frame's head that are there.
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    left: usize,
    /// The first bytes of the payload: of RST_STREAM its code.
    first: [u8; 4],
    firsts: usize,
    /// A block of header fields goes on in the next frame.
    continued: bool,
}

/// A frame that went by.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of RST_STREAM.
    code: u32,
}

impl Reader {
    fn follow(&mut self, mut bytes: &[u8], mut went_by: impl FnMut(&Frame)) {
        if self.have == 0 && self.preface < PREFACE.len() && !bytes.is_empty() {
            let count = bytes.iter().zip(&PREFACE[self.preface..]).take_while(|(byte, other)| byte == other).count();
            self.preface = if count == 0 { PREFACE.len() } else { self.preface + count };
            bytes = &bytes[count..];
        }
        while !bytes.is_empty() {
            if self.have < HEAD {
                let count = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                (self.have, bytes) = (self.have + count, &bytes[count..]);
                if self.have == HEAD {
                    self.left =
                        usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
                    self.firsts = 0;
                }
            } else {
                let count = bytes.len().min(self.left);
                let kept = count.min(self.first.len() - self.firsts);
                self.first[self.firsts..self.firsts + kept].copy_from_slice(&bytes[..kept]);
                (self.left, self.firsts, bytes) = (self.left - count, self.firsts + kept, &bytes[count..]);
            }
            if self.have == HEAD && self.left == 0 {
                self.end(&mut went_by);
            }
        }
    }

    fn end(&mut self, went_by: &mut impl FnMut(&Frame)) {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.continued = flags & END_HEADERS == 0;
        }
        self.have = 0;
        went_by(&Frame { kind, flags, stream, code: u32::from_be_bytes(self.first) });
    }

    /// Whether more of a head must come: of a frame's own, of header fields, of a block of them. Data may take their time.
    fn is_in_head(&self) -> bool {
        let is_fields = matches!(self.head[3], HEADERS | CONTINUATION);
        self.continued || (1..HEAD).contains(&self.have) || (self.have == HEAD && is_fields)
    }
}

impl<S> Followed<S> {
    /// Wraps a stream. A write that the client does not take for `idle` fails.
    pub fn new(stream: S, idle: Duration) -> (Followed<S>, Arc<Frames>) {
        let frames = Arc::<Frames>::default();
        (Followed { stream, frames: frames.clone(), idle, stall: None }, frames)
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

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.frames.read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = wrote {
            self.frames.wrote(&bytes[..count]);
        }
        self.taken(wrote, context)
    }

    // Vectored writes are not passed on: pieces would have to be followed one by one, and TLS joins them anyway.

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.taken(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.taken(ended, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The same bytes in pieces of every size.
    fn followed(read: &[u8], wrote: &[u8], check: impl Fn(&Frames)) {
        for piece in 1..=read.len().max(wrote.len()) {
            let frames = Frames::default();
            read.chunks(piece).for_each(|bytes| frames.read(bytes));
            wrote.chunks(piece).for_each(|bytes| frames.wrote(bytes));
            check(&frames);
        }
    }

    #[test]
    fn a_request_that_was_reset_unasked_is_unparsed() {
        let read = [
            PREFACE,
            &frame(4, 0, 0, &[]),
            &frame(HEADERS, END_HEADERS, 1, b"good"),
            &frame(HEADERS, 0, 3, b"bad"),
            &frame(CONTINUATION, END_HEADERS, 3, b"..."),
            &frame(0, 1, 1, b"data"),
            &frame(HEADERS, END_HEADERS, 1, b"trailers"),
        ]
        .concat();
        let settings = frame(4, 0, 0, &[0; 18]);
        let reset = frame(RST_STREAM, 0, 3, &PROTOCOL_ERROR.to_be_bytes());
        followed(&read, &[settings.clone(), reset].concat(), |frames| {
            assert_eq!(frames.unparsed(1, 0), 1);
            assert_eq!(frames.unparsed(2, 0), 0, "a stream that was asked for has its own record");
            assert_eq!(frames.head_for(), None);
        });
        let turned_away = frame(RST_STREAM, 0, 3, &REFUSED_STREAM.to_be_bytes());
        followed(&read, &[settings.clone(), turned_away].concat(), |frames| assert_eq!(frames.unparsed(1, 0), 0));
        let answered = frame(HEADERS, END_HEADERS, 3, b"431");
        followed(&read, &[settings, answered].concat(), |frames| {
            assert_eq!(frames.unparsed(1, 0), 1);
            assert_eq!(frames.unparsed(1, 1), 0, "our own answer");
        });
    }

    #[test]
    fn a_head_is_under_way_until_its_block_ends_and_data_never_are() {
        let begun = [PREFACE, &frame(HEADERS, 0, 1, b"fields")].concat();
        followed(&begun, &[], |frames| assert!(frames.head_for().is_some()));
        let part = &frame(HEADERS, END_HEADERS, 1, b"fields")[..12];
        followed(part, &[], |frames| assert!(frames.head_for().is_some()));
        followed(&part[..4], &[], |frames| assert!(frames.head_for().is_some()));
        let data = &frame(0, 0, 1, b"data")[..11];
        followed(data, &[], |frames| assert_eq!(frames.head_for(), None));
    }
}

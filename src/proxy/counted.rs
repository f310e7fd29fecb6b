//! A client's stream: knows whose turn it is, so that a head that does not end in time can be told from a connection that
//! merely rests, and fails where the client takes nothing for too long, so that nobody holds a place by not reading.
//!
//! hyper could time heads by itself, but it would close resting connections after the same time. It is not asked to.
//! [`Upload`](super::upload::Upload) and [`Answered`](super::upload::Answered) tell when a turn ends.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::frames::PREFACE;

/// Bytes that are read over after a reply to a request whose body was not read. Closing with such bytes unread makes the
/// kernel send a reset, which may reach the client before it has read why it was refused (RFC 9112 §9.6).
pub(super) const LINGER_BYTES: u64 = 4 << 20;
/// How long they are read over at most; the client's place is taken meanwhile.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(3);
/// Bytes that are read over at once.
const LINGER_BUFFER: usize = 8 * 1024;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its end; for the first head, from the beginning of the connection.
    pub head: Duration,
    /// Between two requests, and while the client takes nothing.
    pub idle: Duration,
}

/// A stream with its turns.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    turns: Arc<Turns>,
    patience: Patience,
    /// Runs while a head is waited for; made anew for each turn.
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// Runs after our last word: until when, and how many bytes were read over.
    lingering: Option<(Pin<Box<Sleep>>, u64)>,
}

/// Whose turn it is on a connection. Shared by the stream, the request's body and the answer's.
#[derive(Debug)]
pub struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    turn: Turn,
    /// Grows with every turn.
    number: u64,
    /// Bytes received in all.
    received: u64,
    /// The first of them that are those of HTTP/2's preface.
    of_preface: usize,
    /// Bytes of the head that is waited for.
    of_head: u64,
    /// The request's body is not read to its end.
    body_open: bool,
    /// The answer is not handed over to its end.
    answer_open: bool,
    /// The last request's body was given up: what the client still sends of it nobody reads.
    unread: bool,
    /// A head did not end in time.
    slow: bool,
    /// Whoever waits for bytes while no time is kept: to be woken when it is kept again.
    reader: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The first head is waited for.
    First,
    /// The connection rests between two requests.
    Resting,
    /// A head has begun.
    Head,
    /// A request is with us.
    Ours,
    /// The last body was given up: the connection ends, or rests if hyper could read over what was left of it.
    Leaving,
    /// The connection is no longer HTTP; whoever has it keeps its time.
    HandedOver,
}

impl Turns {
    fn new() -> Arc<Turns> {
        Arc::new(Turns(Mutex::new(State {
            turn: Turn::First,
            number: 0,
            received: 0,
            of_preface: 0,
            of_head: 0,
            body_open: false,
            answer_open: false,
            unread: false,
            slow: false,
            reader: None,
        })))
    }

    /// Whether the client began as one that speaks HTTP/2 does: with the line that no server of HTTP/1 takes for a request.
    pub fn is_preface(&self) -> bool {
        self.lock().of_preface >= b"PRI * HTTP/2.0\r\n".len()
    }

    /// A head is whole.
    pub fn request(&self, has_body: bool) {
        let mut state = self.lock();
        (state.body_open, state.answer_open, state.unread, state.of_head) = (has_body, true, false, 0);
        state.turn_to(Turn::Ours);
    }

    /// The request's body is over: read to its end, or given up.
    pub fn body_over(&self, is_whole: bool) {
        let mut state = self.lock();
        state.body_open = false;
        state.unread |= !is_whole;
        state.rest_if_over();
    }

    /// The answer is over.
    pub fn answer_over(&self) {
        let mut state = self.lock();
        state.answer_open = false;
        state.rest_if_over();
    }

    /// More may come that nobody will read: the end of the connection waits for it a little.
    pub fn expect_more(&self) {
        self.lock().unread = true;
    }

    /// The connection becomes something else than HTTP.
    pub fn hand_over(&self) {
        self.lock().turn_to(Turn::HandedOver);
    }

    /// Whether the last request's body was given up before its end.
    pub fn is_unread(&self) -> bool {
        self.lock().unread
    }

    /// Whether anything was received at all.
    pub fn is_any(&self) -> bool {
        self.lock().received > 0
    }

    /// Whether the connection ended because a head did not end in time.
    pub fn is_slow(&self) -> bool {
        self.lock().slow
    }

    /// Held for a few assignments, never across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn_to(&mut self, turn: Turn) {
        self.turn = turn;
        self.number += 1;
        // hyper does not read again by itself where a read was pending already; without a read no time is kept.
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn rest_if_over(&mut self) {
        if self.turn == Turn::Ours && !self.body_open && !self.answer_open {
            self.turn_to(if self.unread { Turn::Leaving } else { Turn::Resting });
        }
    }

    fn receive(&mut self, received: &[u8]) {
        let bytes = received.len() as u64;
        if self.received == self.of_preface as u64 {
            let preface = &PREFACE[self.of_preface..];
            self.of_preface += received.iter().zip(preface).take_while(|(byte, other)| byte == other).count();
        }
        self.received += bytes;
        match self.turn {
            Turn::First | Turn::Head => self.of_head += bytes,
            Turn::Resting if bytes > 0 => {
                self.of_head = bytes;
                self.turn_to(Turn::Head);
            }
            Turn::Resting | Turn::Ours | Turn::Leaving | Turn::HandedOver => {}
        }
    }

    /// How long the client may say nothing from now on; `None` where that is not asked here.
    fn patience(&self, patience: Patience) -> Option<Duration> {
        match self.turn {
            Turn::First | Turn::Head => Some(patience.head),
            Turn::Resting | Turn::Leaving => Some(patience.idle),
            Turn::Ours | Turn::HandedOver => None,
        }
    }

    /// Whether closing now could reset the connection under a reply.
    fn may_lose_reply(&self) -> bool {
        self.unread || matches!(self.turn, Turn::First | Turn::Head) && self.of_head > 0
    }
}

impl<S> Counted<S> {
    /// Wraps a stream.
    pub fn new(stream: S, patience: Patience) -> (Counted<S>, Arc<Turns>) {
        let turns = Turns::new();
        let counted = Counted { stream, turns: turns.clone(), patience, waiting: None, stall: None, lingering: None };
        (counted, turns)
    }

    /// Passes on what a write came to; one that waits too long fails.
    fn taken<T>(&mut self, wrote: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stall = None;
            return wrote;
        }
        let idle = self.patience.idle;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(idle)));
        stall.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Nothing came yet: ends the connection where that lasts too long. A head that was begun fails; where there was
    /// none, the client has ended nothing, and its silence looks like the end of the stream.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.turns.lock();
        let Some(patience) = state.patience(self.patience) else {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let number = state.number;
        let (_, waiting) = match &mut self.waiting {
            Some(waiting) if waiting.0 == number => waiting,
            Some((of, waiting)) => {
                waiting.as_mut().reset(Instant::now() + patience);
                *of = number;
                self.waiting.as_mut().expect("it was just looked at")
            }
            none => none.insert((number, Box::pin(sleep(patience)))),
        };
        ready!(waiting.as_mut().poll(context));
        state.slow = state.of_head > 0;
        Poll::Ready(if state.slow { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) })
    }
}

impl<S: AsyncRead + Unpin> Counted<S> {
    /// Reads over what still comes, within bounds.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((until, over)) = &mut self.lingering else { return Poll::Ready(()) };
        let mut bytes = [0; LINGER_BUFFER];
        while *over < LINGER_BYTES && until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *over += buffer.filled().len() as u64,
                // The client has ended, too.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.turns.lock().receive(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
            Poll::Pending => self.wait(context),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Counted<S> {
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
        if self.lingering.is_none() {
            let ended = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.taken(ended, context))?;
            if !self.turns.lock().may_lose_reply() {
                return Poll::Ready(Ok(()));
            }
            self.lingering = Some((Box::pin(sleep(LINGER_TIME)), 0));
        }
        self.linger(context).map(Ok)
    }
}

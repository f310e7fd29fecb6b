//! A request's body on its way in, and the answer on its way out, as the connection sees them: when both are over, it is
//! the client's turn again ([`Turns`]).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

use super::counted::Turns;
use super::reply::{ReplyBody, ReplyFault};
use crate::upstream::streams::StreamBody;

/// The body of a request. The client is asked to go on (100) when it is first read: by hyper, or by whoever is told.
#[derive(Debug)]
pub struct Upload {
    coming: Coming,
    /// Its end was read; of chunks hyper does not tell it afterwards.
    ended: bool,
    /// Streams have no turns.
    turns: Option<Arc<Turns>>,
    /// What the task of the stream learns of the body.
    told: Option<Arc<Told>>,
    is_read: bool,
}

/// What the task of a stream learns of its request's body, which goes down the corridor.
#[derive(Debug, Default)]
pub struct Told {
    wanted: Notify,
    unread: Mutex<Option<StreamBody>>,
}

impl Told {
    /// Ends when the body is first read.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// What was given up before its end.
    pub fn unread(&self) -> Option<StreamBody> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<StreamBody>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Coming {
    Http1(Incoming),
    Http2(StreamBody),
    Over,
}

/// How a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum UploadFault {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(hyper::Error),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(h2::Error),
}

impl UploadFault {
    /// Whether the body breaks the rules of its framing. hyper tells only by the kind of the error inside.
    pub fn is_malformed(&self) -> bool {
        match self {
            UploadFault::Http1(fault) => {
                let inner = std::error::Error::source(fault).and_then(|source| source.downcast_ref::<io::Error>());
                matches!(inner.map(io::Error::kind), Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
            }
            UploadFault::Http2(fault) => fault.is_library() && fault.reason() == Some(h2::Reason::PROTOCOL_ERROR),
        }
    }
}

impl Upload {
    /// The body of a request that was just received on the connection with these turns.
    pub fn begin(incoming: Incoming, turns: Arc<Turns>) -> Upload {
        turns.request(!incoming.is_end_stream());
        Upload { coming: Coming::Http1(incoming), ended: false, turns: Some(turns), told: None, is_read: false }
    }

    /// The body of a request that came over a stream of its own, behind a head with these fields. `told` learns of it.
    pub fn of_stream(incoming: h2::RecvStream, head: &HeaderMap, told: Arc<Told>) -> Upload {
        let coming = Coming::Http2(StreamBody::new(incoming, head));
        Upload { coming, ended: false, turns: None, told: Some(told), is_read: false }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        if !std::mem::replace(&mut self.is_read, true)
            && let Some(told) = &self.told
        {
            told.wanted.notify_one();
        }
        let frame = match &mut self.coming {
            Coming::Http1(incoming) => {
                ready!(Pin::new(incoming).poll_frame(context)).map(|frame| frame.map_err(UploadFault::Http1))
            }
            Coming::Http2(stream) => {
                ready!(Pin::new(stream).poll_frame(context)).map(|frame| frame.map_err(UploadFault::Http2))
            }
            Coming::Over => None,
        };
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.coming {
            Coming::Http1(incoming) => incoming.is_end_stream(),
            Coming::Http2(stream) => stream.is_end_stream(),
            Coming::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.coming {
            Coming::Http1(incoming) => incoming.size_hint(),
            Coming::Http2(stream) => stream.size_hint(),
            Coming::Over => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let is_whole = self.ended || self.is_end_stream();
        if let Some(turns) = &self.turns {
            turns.body_over(is_whole);
        }
        if let Some(told) = self.told.as_ref().filter(|_| !is_whole)
            && let Coming::Http2(body) = std::mem::replace(&mut self.coming, Coming::Over)
        {
            *told.lock() = Some(body);
        }
    }
}

/// The body of an answer.
pub struct Answered {
    body: ReplyBody,
    turns: Arc<Turns>,
}

impl Answered {
    /// The body of the answer to the request that is open on the connection with these turns.
    pub fn new(body: ReplyBody, turns: Arc<Turns>) -> Answered {
        Answered { body, turns }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = ReplyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyFault>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.turns.answer_over();
    }
}

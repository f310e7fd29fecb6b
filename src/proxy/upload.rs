//! A request's body on its way in, and the answer on its way out, as the connection sees them: when both are over, it is
//! the client's turn again ([`Turns`]).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::counted::Turns;
use super::reply::{ReplyBody, ReplyFault};

/// The body of a request. hyper asks the client to go on (100) when it is first read.
#[derive(Debug)]
pub struct Upload {
    incoming: Incoming,
    /// Its end was read; of chunks hyper does not tell it afterwards.
    ended: bool,
    turns: Arc<Turns>,
}

impl Upload {
    /// The body of a request that was just received on the connection with these turns.
    pub fn begin(incoming: Incoming, turns: Arc<Turns>) -> Upload {
        turns.request(!incoming.is_end_stream());
        Upload { incoming, ended: false, turns }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.turns.body_over(self.ended || self.incoming.is_end_stream());
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

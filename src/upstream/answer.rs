//! The body of a recipient's answer, whatever version of HTTP it comes over.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::streams::StreamBody;

/// A body on its way in.
#[derive(Debug)]
pub enum AnswerBody {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over a stream of HTTP/2.
    Http2(StreamBody),
}

/// How it broke off.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(hyper::Error),
    /// Over a stream of HTTP/2.
    #[error(transparent)]
    Http2(h2::Error),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match self.get_mut() {
            AnswerBody::Http1(incoming) => Pin::new(incoming).poll_frame(context).map_err(AnswerFault::Http1),
            AnswerBody::Http2(stream) => Pin::new(stream).poll_frame(context).map_err(AnswerFault::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Http1(incoming) => incoming.is_end_stream(),
            AnswerBody::Http2(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Http1(incoming) => incoming.size_hint(),
            AnswerBody::Http2(stream) => stream.size_hint(),
        }
    }
}

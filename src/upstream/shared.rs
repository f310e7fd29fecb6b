//! A connection of HTTP/2 to a recipient, which exchanges of one standing share: each has a stream of its own.
//!
//! What happens to one stream never happens to its neighbours: an exchange that is cut resets its stream, with whatever
//! of it still waits to be sent. The connection closes when nobody uses it and the pool no longer keeps it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri, Version};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::UpstreamBody;
use super::answer::AnswerBody;
use super::connection::{Outcome, SendFault, Task};
use super::dialer::MAX_HEAD;
use super::streams::{
    CONNECTION_WINDOW, FAULTS, FRAME_BUDGET, REMEMBERED, SEND_BUFFER, STREAM_WINDOW, STREAMS, StreamBody, pump,
};
use crate::policy::ConnectionFacts;

/// How long a recipient may take nothing of a body is watched by whoever waits for its answer.
const PATIENCE: Duration = Duration::MAX;

/// A connection with its streams.
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    task: Task,
    facts: ConnectionFacts,
    // Held for an assignment or two, never across an await.
    seats: Mutex<Seats>,
    /// Nobody else may join.
    retired: AtomicBool,
}

#[derive(Debug)]
struct Seats {
    open: usize,
    /// When the last was left.
    since: Instant,
}

/// A place for one exchange.
pub(super) struct Seat {
    shared: Arc<Shared>,
    /// Ends the stream, if there is one.
    cut: Arc<Notify>,
}

impl Shared {
    /// Begins to speak HTTP/2 where that was agreed on. Nothing of an exchange is sent.
    pub(super) async fn begin<S>(stream: S, facts: ConnectionFacts) -> Result<Arc<Shared>, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = speaking().handshake(stream).await?;
        let address = facts.address;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection to a recipient ended with an error");
            }
        });
        let seats = Mutex::new(Seats { open: 0, since: Instant::now() });
        Ok(Arc::new(Shared { sender, task: task.into(), facts, seats, retired: AtomicBool::new(false) }))
    }

    /// A place, where one is free and the connection is open.
    pub(super) fn seat(self: &Arc<Shared>) -> Option<Seat> {
        if self.is_closed() {
            return None;
        }
        let mut seats = self.lock();
        // The recipient may allow fewer streams; more would wait for each other.
        let most = self.sender.current_max_send_streams().min(STREAMS as usize);
        (seats.open < most).then(|| {
            seats.open += 1;
            Seat { shared: self.clone(), cut: Arc::default() }
        })
    }

    pub(super) fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// How long nobody has used it; `None` while somebody does.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let seats = self.lock();
        (seats.open == 0).then(|| seats.since.elapsed())
    }

    /// Whether it serves no other exchange: it ended, the recipient said that it will, or it was retired.
    pub(super) fn is_closed(&self) -> bool {
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        let is_refused = matches!(ready, std::task::Poll::Ready(Err(_)));
        self.retired.load(Ordering::Acquire) || self.task.is_over() || is_refused
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every bound of `h2`, written out. The windows are those of answers: a client that takes its own slowly must not stall
/// the others'.
fn speaking() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(STREAMS as usize)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(REMEMBERED)
        .max_local_error_reset_streams(Some(FAULTS))
        .data_frame_budget(FRAME_BUDGET);
    builder
}

impl Seat {
    pub(super) fn facts(&self) -> &ConnectionFacts {
        &self.shared.facts
    }

    /// What ends the stream.
    pub(super) fn cut(&self) -> &Arc<Notify> {
        &self.cut
    }

    /// Nobody else joins the connection any more.
    pub(super) fn retire(&self) {
        self.shared.retired.store(true, Ordering::Release);
    }

    /// Sends a request over a stream of its own. It is given back only where the connection had ended before.
    pub(super) async fn try_send(&self, request: Request<UpstreamBody>) -> Result<Outcome, SendFault> {
        let failed = |fault: h2::Error| SendFault::Failed(fault.into());
        let Ok(mut sender) = self.shared.sender.clone().ready().await else {
            return Ok(Outcome::Unsent(Box::new(request)));
        };
        let (head, body) = head_of(request);
        let is_over = body.is_end_stream();
        let (answer, stream) = sender.send_request(head, is_over).map_err(failed)?;
        tokio::spawn(carry((!is_over).then_some(body), stream, self.cut.clone()));
        let answer = answer.await.map_err(failed)?;
        let (head, body) = answer.into_parts();
        let body = AnswerBody::Http2(StreamBody::new(body, &head.headers));
        Ok(Outcome::Answered(http::Response::from_parts(head, body)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // A stream that is over already is not reset any more; one that is not ends with its exchange.
        self.cut.notify_one();
        let mut seats = self.shared.lock();
        (seats.open, seats.since) = (seats.open - 1, Instant::now());
    }
}

/// Sends the body, and stays to reset the stream when the exchange is over or cut.
async fn carry(body: Option<UpstreamBody>, mut stream: SendStream<Bytes>, cut: Arc<Notify>) {
    if let Some(body) = body {
        tokio::select! {
            // Whether the body arrived is told by the answer.
            _ = pump(body, &mut stream, PATIENCE) => {}
            () = cut.notified() => return stream.send_reset(Reason::CANCEL),
        }
    }
    cut.notified().await;
    stream.send_reset(Reason::CANCEL);
}

/// The head as HTTP/2 has it: the destination in the target, the length of the body that is really sent.
fn head_of(request: Request<UpstreamBody>) -> (Request<()>, UpstreamBody) {
    let (mut parts, body) = request.into_parts();
    let authority = parts.headers.remove(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut target = parts.uri.into_parts();
    (target.scheme, target.authority) = (authority.is_some().then_some(Scheme::HTTPS), authority);
    // Without an authority it stays as it was, and `h2` refuses to send it.
    parts.uri = Uri::from_parts(target).unwrap_or_default();
    parts.version = Version::HTTP_2;
    let with_body = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0 || with_body) {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    (Request::from_parts(parts, ()), body)
}

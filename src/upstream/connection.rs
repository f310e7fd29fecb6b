//! The way of one exchange to its recipient: a connection of HTTP/1.1, sending one request at a time, or a place on one of
//! HTTP/2 (`shared`).
//!
//! A connection of HTTP/1.1 owns the task that drives it: dropping it aborts the task and closes the socket, so an
//! exchange that is cut or forgotten leaves nothing running. It is kept for later only by [`Connection::release`], after
//! its answer was read to the end. Of HTTP/2 the stream is reset instead, and the connection is the pool's.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::client::conn::http1::SendRequest;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

use super::UpstreamBody;
use super::answer::AnswerBody;
use super::dialer::{DialFault, Dialer};
use super::pool::{Pool, Standing};
use super::shared::Seat;
use crate::audit::Recorded;
use crate::policy::ConnectionFacts;

/// A connection to a recipient.
pub struct Connection {
    parts: Parts,
    /// What a new connection would need, as it was when this one was opened.
    standing: Standing,
    dialer: Dialer,
    /// Nothing seen so far forbids that another exchange uses it.
    reusable: bool,
}

/// What makes a connection, whether in use or idle.
pub(super) struct Parts {
    pub(super) wire: Wire,
    pub(super) facts: ConnectionFacts,
}

/// What requests go over.
pub(super) enum Wire {
    /// HTTP/1.1.
    Own { sender: SendRequest<UpstreamBody>, task: Task },
    /// HTTP/2.
    Shared(Seat),
}

impl Parts {
    /// Whether a connection of HTTP/1.1 can serve another exchange now.
    pub(super) fn is_ready(&self) -> bool {
        match &self.wire {
            Wire::Own { sender, .. } => sender.is_ready(),
            Wire::Shared(_) => false,
        }
    }
}

/// Ends an exchange's way to its recipient, at once.
#[derive(Clone, Debug)]
pub enum Cutter {
    /// Closes the connection.
    Connection(AbortHandle),
    /// Resets the stream.
    Stream(Arc<Notify>),
}

impl Cutter {
    /// Cuts. What follows over the connection or stream fails.
    pub fn cut(&self) {
        match self {
            Cutter::Connection(task) => task.abort(),
            Cutter::Stream(cut) => cut.notify_one(),
        }
    }
}

/// The task that drives a connection; aborted when dropped.
pub(super) struct Task(JoinHandle<()>);

impl From<JoinHandle<()>> for Task {
    fn from(handle: JoinHandle<()>) -> Task {
        Task(handle)
    }
}

impl Task {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    /// The connection was closed before anything was written, and no other one could be opened. Nothing left.
    #[error("the connection was closed before anything was sent, and cannot be opened again")]
    Reopen(#[source] DialFault),
    /// The same, and the new connection shows an identity that the declaration does not accept. Nothing left.
    #[error("the connection was closed before anything was sent, and {0} now shows an identity that is not declared")]
    OtherIdentity(SocketAddr),
    /// The connection failed; bytes may have left, so the request is never sent again.
    #[error("the connection failed while sending the request or waiting for its answer")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer's framing can be read in two ways.
    #[error("the answer's framing is ambiguous: {0}")]
    Framing(&'static str),
    /// The recipient switched protocols unasked.
    #[error("the recipient answered {0}, which nobody asked for")]
    UnaskedSwitch(StatusCode),
}

impl SendFault {
    /// Whether bytes of the request may have left.
    pub fn bytes_may_have_left(&self) -> bool {
        match self {
            SendFault::Reopen(_) | SendFault::OtherIdentity(_) => false,
            SendFault::Failed(_) | SendFault::Framing(_) | SendFault::UnaskedSwitch(_) => true,
        }
    }
}

impl Connection {
    pub(super) fn new(parts: Parts, standing: Standing, dialer: Dialer) -> Connection {
        Connection { parts, standing, dialer, reusable: true }
    }

    /// What is known of the connection.
    pub fn facts(&self) -> &ConnectionFacts {
        &self.parts.facts
    }

    /// What cuts the way as it is now.
    pub fn cutter(&self) -> Cutter {
        match &self.parts.wire {
            Wire::Own { task, .. } => Cutter::Connection(task.0.abort_handle()),
            Wire::Shared(seat) => Cutter::Stream(seat.cut().clone()),
        }
    }

    /// Closes a connection that is not what it should be, or leaves it: no other exchange joins it.
    pub fn retire(self) {
        if let Wire::Shared(seat) = &self.parts.wire {
            seat.retire();
        }
    }

    /// Sends a request and waits for the head of its answer. The proof of its record must be in hand.
    ///
    /// A connection that the recipient closed before anything was written (it was idle, or held while a body came in) is
    /// replaced once by a new one to the *same* address, if `accepts` finds that its identity is what was judged for. A
    /// request of which a byte may have left is never sent again. Dropping the future closes the connection with it, if the caller drops the connection.
    pub async fn send(
        &mut self,
        _recorded: &Recorded,
        request: Request<UpstreamBody>,
        accepts: impl Fn(&ConnectionFacts) -> bool,
    ) -> Result<Response<AnswerBody>, SendFault> {
        self.reusable &= !authenticates_connection(request.headers());
        let unsent = match self.try_send(request).await? {
            Outcome::Answered(response) => return self.checked(response),
            Outcome::Unsent(request) => request,
        };
        self.reopen(accepts).await?;
        match self.try_send(*unsent).await? {
            Outcome::Answered(response) => self.checked(response),
            Outcome::Unsent(_) => {
                let closed = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let destination = self.standing.destination().clone();
                Err(SendFault::Reopen(DialFault::Unreachable { destination, tried: 1, last: closed }))
            }
        }
    }

    /// Gives the connection back for another exchange, once the answer's body was read to its end. One that is not fit
    /// for that is closed.
    pub fn release(self) {
        let Connection { parts, standing, dialer, reusable } = self;
        let Parts { wire: Wire::Own { mut sender, task }, facts } = parts else { return };
        if !reusable || sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            let parts = Parts { wire: Wire::Own { sender, task }, facts };
            return Pool::park(dialer.pool(), standing, parts);
        }
        // The driving task has still to see that the body ended: it needs a turn, and gets one.
        tokio::spawn(async move {
            let ready = tokio::time::timeout(SETTLE_TIME, sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                let parts = Parts { wire: Wire::Own { sender, task }, facts };
                Pool::park(dialer.pool(), standing, parts);
            }
        });
    }

    async fn try_send(&mut self, mut request: Request<UpstreamBody>) -> Result<Outcome, SendFault> {
        let sender = match &mut self.parts.wire {
            Wire::Own { sender, .. } => sender,
            Wire::Shared(seat) => return seat.try_send(request).await,
        };
        // Of one connection only; trailers are relayed from one stream to another.
        request.headers_mut().remove(TE);
        match sender.try_send_request(request).await {
            Ok(response) => Ok(Outcome::Answered(response.map(AnswerBody::Http1))),
            // hyper gives the request back only if it had not begun to write it.
            Err(mut error) => match error.take_message() {
                Some(request) => Ok(Outcome::Unsent(Box::new(request))),
                None => {
                    self.reusable = false;
                    Err(SendFault::Failed(error.into_error().into()))
                }
            },
        }
    }

    async fn reopen(&mut self, accepts: impl Fn(&ConnectionFacts) -> bool) -> Result<(), SendFault> {
        let address = self.parts.facts.address;
        let parts = self.dialer.dial(&self.standing, &[address]).await.map_err(SendFault::Reopen)?;
        // What address and country were found for a name stays as it was judged; only the handshake is new.
        let shown = parts.facts;
        let (tls, certificate_ends) = (shown.tls, shown.certificate_ends);
        let facts = ConnectionFacts { tls, certificate_ends, ..self.parts.facts.clone() };
        if !accepts(&facts) {
            if let Wire::Shared(seat) = &parts.wire {
                seat.retire();
            }
            return Err(SendFault::OtherIdentity(address));
        }
        self.parts = Parts { wire: parts.wire, facts };
        Ok(())
    }

    /// Refuses what two readers could frame in two ways (RFC 9112 §6.1, §6.3; hyper's client lets both pass).
    fn checked(&mut self, mut response: Response<AnswerBody>) -> Result<Response<AnswerBody>, SendFault> {
        let fault = if response.status().is_informational() {
            Some(SendFault::UnaskedSwitch(response.status()))
        } else {
            framing(response.headers_mut()).err().map(SendFault::Framing)
        };
        let Some(fault) = fault else { return Ok(response) };
        self.reusable = false;
        self.cutter().cut();
        Err(fault)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("facts", &self.parts.facts)
            .field("reusable", &self.reusable)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt to send.
pub(super) enum Outcome {
    Answered(Response<AnswerBody>),
    Unsent(Box<Request<UpstreamBody>>),
}

/// How long the driving task may take to see that an answer was read to its end.
const SETTLE_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// NTLM and Negotiate authenticate a connection instead of a request: whoever used it next would be taken for this user.
pub fn authenticates_connection(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        [&b"ntlm"[..], b"negotiate"].iter().any(|name| scheme.eq_ignore_ascii_case(name))
    })
}

/// One framing, or none at all. Equal lengths that were sent twice are made one.
fn framing(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if codings.next().is_some() || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err("a transfer coding other than chunked");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next().cloned() else { return Ok(()) };
    if coding.is_some() {
        return Err("both Content-Length and Transfer-Encoding");
    }
    if lengths.any(|other| *other != length) {
        return Err("two lengths that differ");
    }
    headers.insert(CONTENT_LENGTH, length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&'static str, &'static str)]) -> Result<usize, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        framing(&mut headers)?;
        Ok(headers.len())
    }

    #[test]
    fn one_framing_or_none() {
        assert_eq!(check(&[]), Ok(0));
        assert_eq!(check(&[("content-length", "3")]), Ok(1));
        assert_eq!(check(&[("transfer-encoding", "Chunked")]), Ok(1));
        assert_eq!(check(&[("content-length", "3"), ("content-length", "3")]), Ok(1));
        for refused in [
            &[("content-length", "3"), ("content-length", "4")][..],
            &[("content-length", "3"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(check(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn schemes_that_authenticate_a_connection_are_known() {
        let with = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a value"))]);
        assert!(authenticates_connection(&with("NTLM TlRM")));
        assert!(authenticates_connection(&with("negotiate YII=")));
        assert!(!authenticates_connection(&with("Bearer ntlm")));
    }
}

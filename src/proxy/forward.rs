//! Sending what was let through, and relaying the answer.
//!
//! One canonical request leaves: origin form, `Host` from the destination that was decided on, framing from the body
//! that was judged, `Via`, and the stamp. The answer is relayed unread; its end, whichever it is, closes the exchange.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::body::Held;
use super::error::told;
use super::guard::{Guard, reason_of};
use super::progress::Progress;
use super::reply::{self, ReplyBody, ReplyFault};
use super::request::Asked;
use super::watch::{Watched, stands_still};
use super::{Corridor, headers};
use crate::destination::Destination;
use crate::policy::{Denial, End, Reason, Stage, Verdict};
use crate::upstream::{AnswerBody, Connection, SendFault, UpstreamBody};

/// Bytes that are read of an answer whose client has left.
const UNHEARD: u64 = 1 << 20;

/// The stamp of the transfer that was used; none for allowances and where the recipient rejects it.
pub fn stamp_of(verdict: &Verdict, record: Uuid) -> Option<HeaderValue> {
    let transfer = verdict.transfer().filter(|transfer| transfer.stamp)?;
    let receipt = transfer.processing.receipt.as_ref().map(|receipt| receipt.reference.as_str());
    let filing = transfer.filing.as_ref().and_then(|filing| filing.reference.as_deref());
    headers::stamp(receipt, filing, &record.to_string())
}

/// Sends the request and gives the answer back; a failure after the record is the outcome's end, not a denial.
///
/// It is sent by a task of its own: a client that leaves takes its half of the exchange with it, and what the recipient
/// holds whole by then is not torn out of its hands (DESIGN §5 "A client that leaves").
pub async fn send(
    corridor: &Arc<Corridor>,
    connection: Connection,
    asked: Asked,
    stamp: Option<HeaderValue>,
    held: Held,
    guard: Guard,
) -> Response<ReplyBody> {
    let (tell, told) = oneshot::channel();
    let sending = deliver(corridor.clone(), connection, asked, stamp, held, guard, tell);
    super::spawn(corridor.halt.clone(), sending);
    // The task ends without an answer only when the proxy does.
    told.await.unwrap_or_else(|_| reply::bare(StatusCode::SERVICE_UNAVAILABLE))
}

/// Sends the request, and tells the client what came of it; `tell` is closed when the client has left.
async fn deliver(
    corridor: Arc<Corridor>,
    mut connection: Connection,
    asked: Asked,
    stamp: Option<HeaderValue>,
    held: Held,
    mut guard: Guard,
    mut tell: oneshot::Sender<Response<ReplyBody>>,
) {
    let (client, is_multiplexed) = (asked.headers.clone(), asked.version == Version::HTTP_2);
    let (Some((recorded, progress)), Some(verdict)) = (guard.sending(), guard.verdict()) else { return };
    let body: UpstreamBody = held.into_outgoing(progress.clone()).boxed_unsync();
    let request = outgoing(&corridor, asked, stamp, body);
    progress.begin();
    let sent = tokio::select! {
        sent = connection.send(recorded, request, |facts| verdict.accepts(facts)) => {
            sent.map_err(|fault| Unanswered::Failed(Box::new(fault)))
        }
        // Measured from the last byte that the recipient took: a large body on a slow line is no silence.
        () = stands_still(|| progress.moved(), corridor.limits.answer) => Err(Unanswered::Slow),
        end = guard.cut() => Err(Unanswered::Cut(end)),
        () = deserted(&mut tell, &progress) => Err(Unanswered::Deserted),
    };
    let response = match sent {
        Ok(answer) if tell.is_closed() => return hear_out(&corridor, answer, connection, guard, &progress).await,
        Ok(answer) => relay(&corridor, answer, connection, guard, progress, is_multiplexed),
        Err(unanswered) => {
            // What is not answered is over: nothing more is handed to the connection. One that is silent may be dead, and
            // would let down whoever shares it next.
            match unanswered {
                Unanswered::Slow => connection.retire(),
                Unanswered::Failed(_) | Unanswered::Cut(_) | Unanswered::Deserted => drop(connection),
            }
            let (end, fault) = unanswered.end(&progress);
            guard.close(end);
            failed(&corridor, fault, &client, &guard)
        }
    };
    // A client that left by now leaves an answer that is dropped, which writes the outcome.
    let _ = tell.send(response);
}

/// Why a request that was let through has no answer.
enum Unanswered {
    /// The connection failed.
    Failed(Box<SendFault>),
    /// The recipient took nothing and said nothing for too long.
    Slow,
    /// The exchange may not go on.
    Cut(End),
    /// The client left before the recipient held the whole body.
    Deserted,
}

impl Unanswered {
    /// The outcome's end, and what the client is told.
    fn end(self, progress: &Progress) -> (End, Denial) {
        match self {
            Unanswered::Failed(fault) => {
                if !fault.bytes_may_have_left() {
                    progress.nothing_left();
                }
                (End::UpstreamFault, upstream_fault(502, told(fault.as_ref())))
            }
            Unanswered::Slow => (End::Timeout, upstream_fault(504, "the recipient did not answer in time".to_owned())),
            Unanswered::Cut(end) => {
                let cut = Denial::new(reason_of(end), Stage::Record);
                (end, cut.with_detail("the exchange was cut while it was sent"))
            }
            Unanswered::Deserted => (End::ClientClosed, Denial::new(Reason::ClientClosed, Stage::Record)),
        }
    }
}

/// Ends when the client has left and the recipient does not hold the whole body.
async fn deserted(tell: &mut oneshot::Sender<Response<ReplyBody>>, progress: &Progress) {
    tell.closed().await;
    if progress.is_whole() {
        pending::<()>().await;
    }
}

/// Reads an answer that nobody waits for any more: its status belongs on record, and a recipient that is cut short
/// might take back what it has accepted.
async fn hear_out(
    corridor: &Corridor,
    answer: Response<AnswerBody>,
    connection: Connection,
    mut guard: Guard,
    progress: &Progress,
) {
    let (parts, mut body) = answer.into_parts();
    guard.answered(parts.status.as_u16());
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            progress.receive(frame.data_ref().map_or(0, |data| data.len() as u64));
            if progress.received() > UNHEARD {
                break;
            }
        }
    };
    // Slow or endless: nobody waits for the rest.
    let _ = timeout(corridor.limits.idle, reading).await;
    let is_read = body.is_end_stream();
    guard.close(End::ClientClosed);
    if is_read {
        connection.release();
    }
}

/// The request that leaves.
fn outgoing(
    corridor: &Corridor,
    asked: Asked,
    stamp: Option<HeaderValue>,
    body: UpstreamBody,
) -> Request<UpstreamBody> {
    let Asked { destination, method, headers: mut fields, target, version, reads_trailers, .. } = asked;
    headers::add_via(&mut fields, version, &corridor.pseudonym);
    if reads_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = host_field(&destination) {
        fields.insert(header::HOST, host);
    }
    if let Some(stamp) = stamp {
        fields.insert(headers::STAMP, stamp);
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = target;
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = fields;
    outgoing
}

fn host_field(destination: &Destination) -> Option<HeaderValue> {
    let text = match Some(destination.port) == destination.scheme.default_port() {
        true => destination.host.to_string(),
        false => format!("{}:{}", destination.host, destination.port),
    };
    HeaderValue::from_str(&text).ok()
}

/// Turns the recipient's answer into ours; its body carries the guard to the end.
fn relay(
    corridor: &Corridor,
    answer: Response<AnswerBody>,
    connection: Connection,
    mut guard: Guard,
    progress: Arc<Progress>,
    is_multiplexed: bool,
) -> Response<ReplyBody> {
    let (mut parts, body) = answer.into_parts();
    let with_trailers = is_multiplexed && matches!(body, AnswerBody::Http2(_));
    guard.answered(parts.status.as_u16());
    parts.headers = headers::of_response(&parts.headers);
    headers::add_via(&mut parts.headers, parts.version, &corridor.pseudonym);
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    let watched = Watched::begin(guard, progress, connection.cutter(), &corridor.limits);
    Response::from_parts(parts, Relayed { body, with_trailers, connection: Some(connection), watched }.boxed_unsync())
}

fn upstream_fault(status: u16, detail: String) -> Denial {
    Denial::new(Reason::UpstreamFault, Stage::Record).with_detail(detail).with_status(status)
}

/// The reply to a request that was let through and not answered.
fn failed(corridor: &Corridor, fault: Denial, client: &HeaderMap, guard: &Guard) -> Response<ReplyBody> {
    reply::refusal(&guard.told(&fault, Some(guard.id())), &corridor.pseudonym, client)
}

/// The body of an answer on its way to the client.
struct Relayed {
    body: AnswerBody,
    /// HTTP/2 on both legs: a client of HTTP/1.1 might take trailers for fields of the head.
    with_trailers: bool,
    connection: Option<Connection>,
    watched: Watched,
}

impl Relayed {
    /// Writes the outcome; false where the exchange was ended before its answer was.
    fn close(&mut self, end: End) -> bool {
        let is_first = self.watched.close(end);
        // A connection whose answer was not read to its end is dropped, and so closed.
        if let Some(connection) = self.connection.take().filter(|_| is_first && end == End::Answered) {
            connection.release();
        }
        is_first
    }
}

impl Relayed {
    /// Trailers that reach the client. They end the answer.
    fn trailers(&mut self, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, ReplyFault>> {
        let trailers = frame.into_trailers().ok().filter(|_| self.with_trailers)?;
        match self.connection.is_none() || self.close(End::Answered) {
            true => Some(Ok(Frame::trailers(headers::of_trailers(&trailers)))),
            false => Some(Err("the exchange was cut".into())),
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = ReplyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyFault>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => match self.trailers(frame) {
                            Some(trailers) => return Poll::Ready(Some(trailers)),
                            None => continue,
                        },
                    };
                    if !self.watched.received(data.len() as u64) {
                        self.close(End::CutLimit);
                        return Poll::Ready(Some(Err("the answer is larger than any may be".into())));
                    }
                    if self.body.is_end_stream() {
                        self.close(End::Answered);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(fault)) => {
                    self.close(End::UpstreamFault);
                    return Poll::Ready(Some(Err(fault.into())));
                }
                // A connection that was closed under the answer looks like its end; `connection` is gone where it was.
                None if self.connection.is_none() || self.close(End::Answered) => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err("the exchange was cut".into()))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        // hyper does not poll a body that has ended already (204, HEAD): that is an answer, not a client that left.
        if self.body.is_end_stream() {
            self.close(End::Answered);
        }
    }
}

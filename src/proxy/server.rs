//! Connections: bytes become HTTP/1.1 requests, each with the [`Door`] that it came through.
//!
//! hyper parses; it also answers some malformed heads by itself, and [`unparsed`] sees to it that these are on record
//! and counted like every other refusal.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::counted::{Counted, Patience, Turns};
use super::guard::Guard;
use super::reply::ReplyBody;
use super::request::Door;
use super::upload::{Answered, Upload};
use super::{Corridor, Limits, StopSignal, connect, exchange, handout, stopped};
use crate::metrics::Side;
use crate::policy::{Denial, Reason, Stage};
use crate::tls::ProxyAcceptor;

/// While the proxy stops, a connection that was just accepted has this long to send the first bytes of its request;
/// browsers open some in advance, and a stop must not wait for them.
pub(super) const FIRST_BYTES: Duration = Duration::from_secs(1);

/// The handshake of a listener that speaks TLS, then the same as without it. One that fails is counted and logged and is
/// no record: nothing was asked for yet.
pub async fn client_over_tls(
    corridor: Arc<Corridor>,
    mut door: Door,
    tls: Arc<ProxyAcceptor>,
    stream: TcpStream,
    mut shutdown: StopSignal,
) {
    let timed = corridor.metrics.shaking_hands(Side::Listener);
    let accepted = tokio::select! {
        accepted = timeout(corridor.limits.header_time, tls.accept(stream)) => accepted,
        // A client that has proved nothing yet is not waited for longer than one that has sent no request.
        () = async { stopped(&mut shutdown).await; sleep(FIRST_BYTES).await } => return,
    };
    drop(timed);
    let why = match accepted {
        Ok(Ok((stream, certificate))) => {
            door.proofs.certificate = certificate.map(Arc::new);
            return client(corridor, door, stream, shutdown).await;
        }
        Ok(Err(fault)) => fault.word(),
        Err(_) => "time-out",
    };
    corridor.metrics.handshake_failed(Side::Listener);
    tracing::warn!(connection = %door.connection, why, "a client did not complete the handshake with a TLS listener");
}

/// Serves a client's connection to its end.
pub async fn client<S>(corridor: Arc<Corridor>, door: Door, stream: S, shutdown: StopSignal)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let fate = speak_http(&corridor, Arc::new(door.clone()), stream, shutdown).await;
    unparsed(&corridor, &door, fate.fault).await;
}

/// How a connection ended.
pub struct Fate {
    /// Requests that reached the corridor.
    pub requests: u64,
    /// What hyper could not parse, or what stopped in the middle of a head.
    pub fault: Option<Unparsed>,
}

/// Why hyper ended a connection without asking us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// Bytes that are no request.
    Malformed,
    /// HTTP/2 where it was not agreed on.
    Preface,
    /// Frames that break the rules of HTTP/2.
    Frames,
    /// A head that did not end in time.
    Slow,
}

/// Speaks HTTP/1.1 on a stream until it ends. The same for a client's connection and for an intercepted one.
pub async fn speak_http<S>(corridor: &Arc<Corridor>, door: Arc<Door>, stream: S, mut shutdown: StopSignal) -> Fate
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(AtomicU64::new(0));
    let proofs = door.proofs.clone();
    let (stream, turns) = Counted::new(stream, patience(&corridor.limits));
    let service = {
        let (corridor, requests, turns) = (corridor.clone(), requests.clone(), turns.clone());
        service_fn(move |request| {
            requests.fetch_add(1, Ordering::Relaxed);
            let (corridor, door) = (corridor.clone(), door.clone());
            in_turn(turns.clone(), request, |request| answer(corridor, door, request))
        })
    };
    let served = speaking(&corridor.limits).serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        // What was asked for already is ended by its guard, each with its record.
        () = proofs.certificate_lost() => {
            served.as_mut().graceful_shutdown();
            served.as_mut().await
        }
        () = stopped(&mut shutdown) => {
            tokio::select! {
                ended = served.as_mut() => ended,
                () = first_bytes(&turns) => {
                    served.as_mut().graceful_shutdown();
                    served.as_mut().await
                }
            }
        }
    };
    let fault = match ended {
        Err(fault) if fault.is_parse() && turns.is_preface() => Some(Unparsed::Preface),
        Err(fault) if fault.is_parse() => Some(Unparsed::Malformed),
        _ if turns.is_slow() => Some(Unparsed::Slow),
        _ => None,
    };
    Fate { requests: requests.load(Ordering::Relaxed), fault }
}

/// Speaks HTTP/1.1 for one request, which `tell` answers.
pub async fn speak_once<S, A>(corridor: &Corridor, stream: S, tell: impl Fn(Request<Upload>) -> A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Future<Output = Response<ReplyBody>>,
{
    let (stream, turns) = Counted::new(stream, patience(&corridor.limits));
    let service = service_fn(|request| in_turn(turns.clone(), request, &tell));
    let served = speaking(&corridor.limits).keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // However it ended: what is owed is recorded by whoever asked.
    let _ = served.await;
}

fn patience(limits: &Limits) -> Patience {
    Patience { head: limits.header_time, idle: limits.idle }
}

/// hyper keeps no time: [`Counted`] does.
fn speaking(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(limits.head).max_headers(limits.head_fields);
    builder
}

/// Answers one request and keeps account of whose turn it is.
async fn in_turn<A>(
    turns: Arc<Turns>,
    request: Request<Incoming>,
    answer: impl FnOnce(Request<Upload>) -> A,
) -> Result<Response<Answered>, Infallible>
where
    A: Future<Output = Response<ReplyBody>>,
{
    let is_connect = request.method() == Method::CONNECT;
    // In a room of its own: hyper sets aside the whole size of this future with each connection, and most of them rest.
    let answering = Box::pin(answer(request.map(|incoming| Upload::begin(incoming, turns.clone()))));
    let mut response = answering.await;
    match (is_connect, response.status().is_success()) {
        (true, true) => turns.hand_over(),
        // What was sent ahead of our answer is no request.
        (true, false) => turns.expect_more(),
        (false, _) => {}
    }
    if turns.is_unread() {
        // Nobody can tell what still comes of this body from the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answered::new(body, turns)))
}

/// Ends when something was received, or after [`FIRST_BYTES`]. hyper's graceful shutdown closes a connection on which
/// nothing was read yet, although its request may be on the way: whoever was just accepted would see an attempt fail.
async fn first_bytes(turns: &Turns) {
    let until = Instant::now() + FIRST_BYTES;
    while !turns.is_any() && Instant::now() < until {
        sleep(FIRST_BYTES / 100).await;
    }
}

/// Answers a request, whatever it came over.
pub async fn answer(corridor: Arc<Corridor>, door: Arc<Door>, request: Request<Upload>) -> Response<ReplyBody> {
    match request.method() {
        &Method::CONNECT => connect::connect(corridor, door, request).await,
        _ => {
            let (parts, body) = request.into_parts();
            match handout::answer(&corridor, &door, &parts, &body) {
                Some(handed_out) => handed_out,
                None => exchange::exchange(corridor, door, Request::from_parts(parts, body)).await,
            }
        }
    }
}

/// Records a request that hyper refused by itself: its reply has gone already, the record follows it.
pub async fn unparsed(corridor: &Arc<Corridor>, door: &Door, fault: Option<Unparsed>) {
    let (reason, detail) = match fault {
        None => return,
        Some(Unparsed::Malformed) => (Reason::MalformedRequest, "the bytes are no HTTP/1.1 request head"),
        Some(Unparsed::Preface) => (
            Reason::MalformedRequest,
            "the client began with HTTP/2, which is spoken only where TLS agreed on it (ALPN `h2`)",
        ),
        Some(Unparsed::Frames) => (Reason::MalformedRequest, "what came breaks the rules of HTTP/2"),
        Some(Unparsed::Slow) => (Reason::ClientTimeout, "the request head did not end in time"),
    };
    tracing::debug!(connection = %door.connection, reason = reason.as_str(), "{detail}");
    corridor.metrics.parser_refused();
    Guard::begin(corridor, door).note(Denial::new(reason, Stage::Head).with_detail(detail)).await;
}

//! Listeners and connections: sockets become HTTP/1.1 requests, each with the [`Door`] that it came through.
//!
//! hyper parses; it also answers some malformed heads by itself, and [`unparsed`] sees to it that these are on record
//! and counted like every other refusal.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::counted::{Counted, Received};
use super::guard::Guard;
use super::reply::ReplyBody;
use super::request::{Door, Place};
use super::{Corridor, StopSignal, connect, exchange, handout, stopped};
use crate::metrics::Side;
use crate::policy::{Denial, EntryPoint, Reason, Stage};
use crate::tls::ProxyAcceptor;

/// Bytes that one request head may take.
const HEAD_BYTES: usize = 64 * 1024;
/// Fields that one request head may have.
const HEAD_FIELDS: usize = 100;
/// Rest after an accept that failed: descriptors or memory may come back.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// While the proxy stops, a connection that was just accepted has this long to send the first bytes of its request;
/// browsers open some in advance, and a stop must not wait for them.
const FIRST_BYTES: Duration = Duration::from_secs(1);

/// A socket that listens, and how clients are spoken to that come through it.
pub struct Listening {
    /// Bound already.
    pub socket: TcpListener,
    /// With it, clients speak TLS to the proxy itself.
    pub tls: Option<Arc<ProxyAcceptor>>,
}

/// Accepts connections until `shutdown` turns true, then returns; open connections go on under their own tasks.
pub async fn serve(corridor: Arc<Corridor>, listening: Listening, mut shutdown: StopSignal) {
    loop {
        let accepted = tokio::select! {
            accepted = listening.socket.accept() => accepted,
            () = stopped(&mut shutdown) => return,
        };
        match accepted {
            Ok((stream, peer)) => admit_connection(&corridor, &listening, stream, peer, &mut shutdown).await,
            Err(fault) => {
                tracing::warn!(%fault, "a connection could not be accepted");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Waits for a place among the open connections, then gives the connection a task of its own.
async fn admit_connection(
    corridor: &Arc<Corridor>,
    listening: &Listening,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: &mut StopSignal,
) {
    let place = tokio::select! {
        place = corridor.connections.clone().acquire_owned() => place,
        () = stopped(shutdown) => return,
    };
    let Ok(place) = place else { return };
    let place = Place::new(place, corridor.metrics.connection_opened());
    let Ok(proxy) = stream.local_addr() else { return };
    // Small writes (heads, TLS records) must not wait for an acknowledgement; a socket without the option still works.
    let _ = stream.set_nodelay(true);
    let entry = if listening.tls.is_some() { EntryPoint::HttpsProxy } else { EntryPoint::Forward };
    let (connection, certificate) = (connection_name(), Arc::default());
    let door = Door { entry, peer, proxy, certificate, connection, outer: None, place };
    match listening.tls.clone() {
        None => super::spawn(corridor.halt.clone(), client(corridor.clone(), door, stream, shutdown.clone())),
        Some(tls) => {
            super::spawn(corridor.halt.clone(), client_over_tls(corridor.clone(), door, tls, stream, shutdown.clone()));
        }
    }
}

/// The handshake of a listener that speaks TLS, then the same as without it. One that fails is counted and logged and is
/// no record: nothing was asked for yet.
async fn client_over_tls(
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
        Ok(Ok((stream, names))) => {
            door.certificate = names.into();
            return client(corridor, door, stream, shutdown).await;
        }
        Ok(Err(fault)) => fault.word(),
        Err(_) => "time-out",
    };
    corridor.metrics.handshake_failed(Side::Listener);
    tracing::warn!(connection = %door.connection, why, "a client did not complete the handshake with a TLS listener");
}

async fn client<S>(corridor: Arc<Corridor>, door: Door, stream: S, shutdown: StopSignal)
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
    /// A head that did not end in time.
    Slow,
}

/// Speaks HTTP/1.1 on a stream until it ends. The same for a client's connection and for an intercepted one.
pub async fn speak_http<S>(corridor: &Arc<Corridor>, door: Arc<Door>, stream: S, mut shutdown: StopSignal) -> Fate
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(AtomicU64::new(0));
    let (stream, received) = Counted::new(stream, corridor.limits.idle);
    let service = {
        let (corridor, requests, received) = (corridor.clone(), requests.clone(), received.clone());
        service_fn(move |request| {
            requests.fetch_add(1, Ordering::Relaxed);
            let (received, answer) = (received.clone(), answer(corridor.clone(), door.clone(), request));
            async move {
                let answered = answer.await;
                received.mark();
                answered
            }
        })
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(corridor.limits.header_time)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut shutdown) => {
            tokio::select! {
                ended = served.as_mut() => ended,
                () = first_bytes(&received) => {
                    served.as_mut().graceful_shutdown();
                    served.as_mut().await
                }
            }
        }
    };
    let fault = ended.err().and_then(|fault| {
        // A silent keep-alive connection that is closed was no attempt to send anything.
        let silent = received.since_mark() == 0;
        match (fault.is_parse(), fault.is_timeout()) {
            (true, _) => Some(Unparsed::Malformed),
            (false, true) if !silent => Some(Unparsed::Slow),
            _ => None,
        }
    });
    Fate { requests: requests.load(Ordering::Relaxed), fault }
}

/// Speaks HTTP/1.1 for one request, which `tell` answers.
pub async fn speak_once<S, A>(corridor: &Corridor, stream: S, tell: impl Fn(http::Request<Incoming>) -> A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Future<Output = Response<ReplyBody>>,
{
    let (stream, _) = Counted::new(stream, corridor.limits.idle);
    let service = service_fn(|request| {
        let answer = tell(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(corridor.limits.header_time)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // However it ended: what is owed is recorded by whoever asked.
    let _ = served.await;
}

/// Ends when something was received, or after [`FIRST_BYTES`]. hyper's graceful shutdown closes a connection on which
/// nothing was read yet, although its request may be on the way: whoever was just accepted would see an attempt fail.
async fn first_bytes(received: &Received) {
    let until = Instant::now() + FIRST_BYTES;
    while !received.is_any() && Instant::now() < until {
        sleep(FIRST_BYTES / 100).await;
    }
}

async fn answer(
    corridor: Arc<Corridor>,
    door: Arc<Door>,
    request: http::Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let response = match request.method() {
        &Method::CONNECT => connect::connect(corridor, door, request).await,
        _ => {
            let (parts, body) = request.into_parts();
            match handout::answer(&corridor, &door, &parts, &body) {
                Some(handed_out) => handed_out,
                None => exchange::exchange(corridor, door, http::Request::from_parts(parts, body)).await,
            }
        }
    };
    Ok(response)
}

/// Records a request that hyper refused by itself: its reply has gone already, the record follows it.
pub async fn unparsed(corridor: &Arc<Corridor>, door: &Door, fault: Option<Unparsed>) {
    let (reason, detail) = match fault {
        None => return,
        Some(Unparsed::Malformed) => (Reason::MalformedRequest, "the bytes are no HTTP/1.1 request head"),
        Some(Unparsed::Slow) => (Reason::ClientTimeout, "the request head did not end in time"),
    };
    corridor.metrics.parser_refused();
    Guard::begin(corridor, door).note(Denial::new(reason, Stage::Head).with_detail(detail)).await;
}

/// Names a connection in records; says nothing about the client.
fn connection_name() -> String {
    Uuid::now_v7().simple().to_string()
}

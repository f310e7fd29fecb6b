//! A connection that a client asks for before it asks for anything in it: by CONNECT, by SOCKS, or because the network
//! led it here. Whatever asked, it becomes the same value and goes the same way from here on (DESIGN §6).
//!
//! Which of the things that are declared for a host and port may go over it is judged before it is answered; which of
//! them does is told by its first bytes: TLS is intercepted or relayed, HTTP in clear is read request by request, and what
//! is neither is relayed to a destination that is declared `protocol: tcp`. There the recipient may be who speaks first.
//!
//! An intercepted connection is no exchange: the requests inside it are. Only one that ends without any gets a record,
//! because then something kept the client from asking: usually it does not trust the interception authority.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::credentials::{self, Given};
use super::guard::Guard;
use super::reply;
use super::request::Door;
use super::tunnel::{self, Prepared};
use super::{Corridor, multiplex, opaque, server};
use crate::destination::{Destination, Host, Scheme};
use crate::inspect::protocol::{self, First, Protocol};
use crate::metrics::Side;
use crate::policy::{self, Carriage, Denial, Reason, Stage};
use crate::tls::authority::spoken;
use crate::tls::client_hello::Replayed;
use crate::tls::{ACCESS_DENIED, AcceptFault, HttpVersion, ServerStream};

/// What a client's connection must be.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A connection that was let in.
pub struct Opening {
    destination: Destination,
    course: Course,
}

/// What goes over it, as far as that is known before its first bytes.
enum Course {
    /// TLS, which is opened.
    Intercept,
    /// Bytes that are relayed unread. The recipient is connected already, so that who cannot be reached is told at once.
    Tunnel(Box<Prepared>),
    /// Requests in clear.
    Plain,
}

/// Judges who asks, and what may go over a connection to this host and port, as far as that can be judged without its
/// bytes.
///
/// # Errors
/// The denial, before anything is answered.
pub async fn admit(
    corridor: &Corridor,
    door: &mut Door,
    host: Host,
    port: u16,
    given: Given,
    guard: &mut Guard,
) -> Result<Opening, Denial> {
    guard.account.destined(&Destination { scheme: Scheme::Https, host: host.clone(), port });
    corridor.has_turn(door)?;
    credentials::identify(corridor, door, given, guard).await?;
    let (destination, carriage) = choose(corridor, door, &host, port, guard)?;
    let course = match (destination.scheme, carriage) {
        (Scheme::Http, _) => Course::Plain,
        (Scheme::Https | Scheme::Tcp, Carriage::Intercept) => Course::Intercept,
        (Scheme::Https | Scheme::Tcp, Carriage::Tunnel) => {
            Course::Tunnel(Box::new(tunnel::prepare(corridor, door, &destination, guard).await?))
        }
    };
    Ok(Opening { destination, course })
}

/// The first of the things that may be declared for a host and port and is let in; where none is, the denial of that
/// which came nearest, TLS before the others.
fn choose(
    corridor: &Corridor,
    door: &Door,
    host: &Host,
    port: u16,
    guard: &mut Guard,
) -> Result<(Destination, Carriage), Denial> {
    let _timed = corridor.metrics.deciding(Stage::Head);
    let judged = |scheme| {
        let destination = Destination { scheme, host: host.clone(), port };
        let carriage = judge(corridor, door, &destination, guard);
        (destination, carriage)
    };
    let (mut nearest, mut carriage) = judged(Scheme::Https);
    for scheme in [Scheme::Tcp, Scheme::Http] {
        let Err(denial) = &carriage else { break };
        let (destination, other) = judged(scheme);
        if other.as_ref().err().is_none_or(|other| nearness(other) > nearness(denial)) {
            (nearest, carriage) = (destination, other);
        }
    }
    guard.account.destined(&nearest);
    carriage.map(|carriage| (nearest, carriage))
}

/// An order outranks what else is wrong; then what is declared comes nearer than what is not; of two of a kind, that whose
/// reason stands later in the list.
fn nearness(denial: &Denial) -> (bool, bool, Reason) {
    (denial.reason == Reason::SuspendedByOrder, !denial.candidates.is_empty(), denial.reason)
}

fn judge(corridor: &Corridor, door: &Door, destination: &Destination, guard: &Guard) -> Result<Carriage, Denial> {
    policy::connect(guard.register(), &corridor.addresses, &corridor.head(door, destination, None))
}

/// Carries on a connection that was let in and answered.
pub async fn run(corridor: Arc<Corridor>, door: Door, opening: Opening, mut stream: impl Stream, mut guard: Guard) {
    let Opening { destination, course } = opening;
    let until = Instant::now() + corridor.limits.header_time;
    if destination.scheme == Scheme::Tcp
        && let Course::Tunnel(prepared) = course
    {
        return opaque::relay(corridor, door, destination, *prepared, stream, until, guard).await;
    }
    let to_tcp = Destination { scheme: Scheme::Tcp, ..destination.clone() };
    let is_opaque_too = judge(&corridor, &door, &to_tcp, &guard).is_ok();
    let patience = if is_opaque_too { until.min(Instant::now() + SPEAKS_FIRST) } else { until };
    let mut seen = Vec::new();
    let first = timeout_at(patience, first_bytes(&mut stream, &mut seen, corridor.limits.head)).await;
    let stream = Replayed::new(seen, stream);
    let first = match first.unwrap_or(Err(Silence::Slow)) {
        Ok(first) => first,
        Err(Silence::Slow) if is_opaque_too => {
            return opaque::connect(corridor, door, to_tcp, stream, until, guard).await;
        }
        Err(silence) => {
            if matches!(course, Course::Intercept) {
                corridor.metrics.handshake_failed(Side::Client);
            }
            return refuse(stream, silence.into(), guard).await;
        }
    };
    let over_tls = Destination { scheme: Scheme::Https, ..destination.clone() };
    match (first, course) {
        (First::Tls, Course::Tunnel(prepared)) => tunnel::run(corridor, *prepared, stream, guard).await,
        (First::Tls, Course::Intercept) => intercept(corridor, door, destination, stream, until, guard).await,
        (First::Tls, Course::Plain) => match judge(&corridor, &door, &over_tls, &guard) {
            Ok(_) => intercept(corridor, door, over_tls, stream, until, guard).await,
            Err(denial) => {
                guard.account.destined(&over_tls);
                refuse(stream, denial, guard).await;
            }
        },
        // Whether requests in clear may go there is judged of each, and each is answered.
        (First::Http, _) => plain(corridor, door, destination, stream, guard).await,
        (First::Other(_), _) if is_opaque_too => {
            opaque::connect(corridor, door, to_tcp, stream, until, guard).await;
        }
        (First::Other(protocol), course) => {
            if matches!(course, Course::Intercept) {
                corridor.metrics.handshake_failed(Side::Client);
            }
            guard.account.speaks(protocol);
            let detail =
                "the first bytes are neither TLS nor HTTP, and the destination is not declared `protocol: tcp`";
            refuse(stream, Denial::new(Reason::Uninspectable, Stage::Connection).with_detail(detail), guard).await;
        }
    }
}

/// Where a client may mean TLS or another protocol and sends nothing, it is taken for one whose recipient speaks first.
pub(super) const SPEAKS_FIRST: Duration = Duration::from_secs(2);

/// Reads until it can be told what the bytes are; all of them are in `seen` then.
pub(super) async fn first_bytes(stream: &mut impl Stream, seen: &mut Vec<u8>, most: usize) -> Result<First, Silence> {
    loop {
        if let Some(first) = protocol::of_client(seen) {
            return Ok(first);
        }
        if seen.len() >= most {
            return Ok(First::Other(Protocol::Unknown));
        }
        match stream.take((most - seen.len()) as u64).read_buf(seen).await {
            Ok(0) | Err(_) if seen.is_empty() => return Err(Silence::Closed),
            Ok(0) | Err(_) => return Ok(First::Other(Protocol::Unknown)),
            Ok(_) => {}
        }
    }
}

/// A client that was let in and sends nothing that could be judged.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Silence {
    #[error("the client closed the connection that it asked for before it sent anything")]
    Closed,
    #[error("the client began nothing in time over the connection that it asked for")]
    Slow,
}

impl From<Silence> for Denial {
    fn from(silence: Silence) -> Denial {
        let reason = match silence {
            Silence::Closed => Reason::ClientClosed,
            Silence::Slow => Reason::ClientTimeout,
        };
        Denial::new(reason, Stage::Connection).with_detail(silence.to_string())
    }
}

/// A refusal after the answer: on record, and then an end that a TLS client understands.
pub async fn refuse(mut stream: impl Stream, denial: Denial, guard: Guard) {
    guard.note(denial).await;
    // The client may be gone; the refusal is on record either way.
    let _ = stream.write_all(&ACCESS_DENIED).await;
    let _ = stream.shutdown().await;
}

/// Speaks TLS with the client in the recipient's name and reads the requests inside.
async fn intercept(
    corridor: Arc<Corridor>,
    door: Door,
    to: Destination,
    stream: impl Stream,
    until: Instant,
    mut guard: Guard,
) {
    let stream = match shake_hands(&corridor, &door, &to.host, stream, HttpVersion::V2, until, &mut guard).await {
        Ok(stream) => stream,
        Err(denial) => return guard.note(denial).await,
    };
    let version = spoken(&stream);
    inside(corridor, door, to, stream, version, guard).await;
}

/// Reads requests in clear that are all for one host and port.
pub(super) async fn plain(corridor: Arc<Corridor>, door: Door, to: Destination, stream: impl Stream, mut guard: Guard) {
    let to = Destination { scheme: Scheme::Http, ..to };
    guard.account.destined(&to);
    inside(corridor, door, to, stream, HttpVersion::V1, guard).await;
}

/// Reads the requests inside the connection; one record where there is none.
async fn inside(
    corridor: Arc<Corridor>,
    door: Door,
    to: Destination,
    stream: impl Stream,
    version: HttpVersion,
    guard: Guard,
) {
    let door = Arc::new(Door { outer: Some(to), ..door });
    let shutdown = corridor.shutdown.clone();
    let fate = match version {
        HttpVersion::V1 => server::speak_http(&corridor, door.clone(), stream, shutdown).await,
        HttpVersion::V2 => multiplex::speak_http2(&corridor, door.clone(), stream, shutdown).await,
    };
    match (fate.requests, fate.fault) {
        (0, None) => guard.note(silent("the client sent no request inside the connection")).await,
        (_, fault) => {
            guard.stand_down();
            server::unparsed(&corridor, &door, fault).await;
        }
    }
}

async fn shake_hands<S: Stream>(
    corridor: &Corridor,
    door: &Door,
    host: &Host,
    stream: S,
    newest: HttpVersion,
    until: Instant,
    guard: &mut Guard,
) -> Result<ServerStream<S>, Denial> {
    let _timed = corridor.metrics.shaking_hands(Side::Client);
    match timeout_at(until, corridor.authority.accept_up_to(newest, stream, host)).await {
        Ok(Ok((stream, _))) => Ok(stream),
        Ok(Err(fault)) => {
            guard.account.alerted(fault.alert());
            if fault.is_distrust() {
                corridor.metrics.client_distrusts(guard.account.exchange().source.as_ref());
            }
            Err(unaccepted(corridor, door, fault))
        }
        Err(_) => {
            let detail = "the client completed no TLS handshake in time";
            Err(Denial::new(Reason::ClientTimeout, Stage::Head).with_detail(detail))
        }
    }
}

/// Tells a refusal inside the connection, where browsers show it: the first request gets it as its reply, nothing is
/// resolved or dialled, and the connection ends. One record, also where the client asks for nothing.
pub async fn refuse_inside(
    corridor: Arc<Corridor>,
    door: Door,
    mut stream: impl Stream,
    mut guard: Guard,
    denial: Denial,
) {
    let refused = guard.account.exchange().destination.as_ref().map(|destination| destination.host.clone());
    let until = Instant::now() + corridor.limits.header_time;
    let mut seen = Vec::new();
    let first = timeout_at(until, first_bytes(&mut stream, &mut seen, corridor.limits.head)).await;
    let stream = Replayed::new(seen, stream);
    match (first, refused) {
        (Ok(Ok(First::Http)), _) => tell(&corridor, stream, guard, denial).await,
        (Ok(Ok(First::Tls)), Some(host)) => {
            // One request is all that is answered there: nothing newer is needed for it.
            match shake_hands(&corridor, &door, &host, stream, HttpVersion::V1, until, &mut guard).await {
                Ok(stream) => tell(&corridor, stream, guard, denial).await,
                Err(_) => guard.note(denial).await,
            }
        }
        (_, _) => guard.note(denial).await,
    }
}

/// Answers the first request with the refusal; recorded also where none comes.
pub(super) async fn tell(corridor: &Corridor, stream: impl Stream, guard: Guard, denial: Denial) {
    let owed = Arc::new(Mutex::new(Some((guard, denial))));
    let telling = owed.clone();
    server::speak_once(corridor, stream, move |request| {
        let told = take(&telling);
        async move {
            match told {
                Some((guard, denial)) => reply::last(guard.refuse(denial, request.headers()).await),
                None => reply::last(reply::bare(StatusCode::FORBIDDEN)),
            }
        }
    })
    .await;
    if let Some((guard, denial)) = take(&owed) {
        guard.note(denial).await;
    }
}

fn take<T>(owed: &Mutex<Option<T>>) -> Option<T> {
    owed.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What the client did wrong in the handshake, or that it left, usually because it does not trust the authority.
fn unaccepted(corridor: &Corridor, door: &Door, fault: AcceptFault) -> Denial {
    corridor.metrics.handshake_failed(Side::Client);
    let why = fault.word();
    tracing::debug!(connection = %door.connection, why, "a client did not complete the intercepted handshake");
    match fault {
        AcceptFault::Hello(fault) => Denial::from(fault),
        AcceptFault::OtherName => Denial::new(Reason::SniMismatch, Stage::Connection).with_detail(fault.to_string()),
        AcceptFault::TooOld => Denial::new(Reason::TlsTooOld, Stage::Connection).with_detail(fault.to_string()),
        AcceptFault::Alert(_)
        | AcceptFault::ClientCertificate
        | AcceptFault::Protocol(_)
        | AcceptFault::Closed
        | AcceptFault::Io(_)
        | AcceptFault::Issue(_) => {
            silent(&format!("the client ended the TLS handshake with the interception authority: {fault}"))
        }
    }
}

fn silent(detail: &str) -> Denial {
    Denial::new(Reason::ClientClosed, Stage::Head).with_detail(detail)
}

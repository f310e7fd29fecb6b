//! CONNECT: refused at once, intercepted, or opened as a tunnel (DESIGN §6 "CONNECT").
//!
//! An intercepted CONNECT is no exchange: the requests inside it are. Only one that ends without any gets a record,
//! because then something kept the client from asking: usually it does not trust the interception authority.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::guard::Guard;
use super::reply::{self, ReplyBody};
use super::request::{self, Door};
use super::upload::Upload;
use super::{Corridor, server, tunnel};
use crate::destination::{Destination, Host};
use crate::metrics::Side;
use crate::policy::{self, Carriage, Denial, EntryPoint, Reason, Stage};
use crate::tls::{AcceptFault, ServerStream};

/// An answer that is still to come. Named, because an intercepted connection leads back to this room.
pub type Answer = Pin<Box<dyn Future<Output = Response<ReplyBody>> + Send>>;

/// Answers a CONNECT.
pub fn connect(corridor: Arc<Corridor>, door: Arc<Door>, request: Request<Upload>) -> Answer {
    Box::pin(answer(corridor, door, request))
}

async fn answer(corridor: Arc<Corridor>, door: Arc<Door>, mut request: Request<Upload>) -> Response<ReplyBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    // Over TLS the listener's entry point stays: what it proves is the same for a request and for a CONNECT.
    let entry = if door.entry == EntryPoint::Forward { EntryPoint::Connect } else { door.entry };
    let door = Door { entry, ..(*door).clone() };
    let mut guard = Guard::begin(&corridor, &door);
    match judge(&corridor, &door, &parts, &body, &mut guard) {
        Ok((destination, Carriage::Intercept)) => {
            let inner = Door { outer: Some(destination.clone()), ..door };
            super::spawn(corridor.halt.clone(), intercept(corridor, inner, destination, upgrade, guard));
            reply::connected()
        }
        Ok((destination, Carriage::Tunnel)) => {
            match tunnel::prepare(&corridor, &door, &destination, &mut guard).await {
                Ok(prepared) => {
                    super::spawn(corridor.halt.clone(), tunnel::run(corridor, prepared, upgrade, guard));
                    reply::connected()
                }
                Err(denial) => refuse(guard, denial, &parts).await,
            }
        }
        // Malformed CONNECTs and unknown sources have no declared source here: they are refused at once.
        Err(denial) if denial.source.as_ref().is_some_and(|source| source.refusals_inside) => {
            super::spawn(corridor.halt.clone(), refuse_inside(corridor, door, upgrade, guard, denial));
            reply::connected()
        }
        Err(denial) => refuse(guard, denial, &parts).await,
    }
}

/// hyper would read what follows a refused CONNECT as a new request: the connection ends (`research/field.md` §6).
async fn refuse(guard: Guard, denial: Denial, parts: &Parts) -> Response<ReplyBody> {
    reply::last(guard.refuse(denial, &parts.headers).await)
}

fn judge(
    corridor: &Corridor,
    door: &Door,
    parts: &Parts,
    body: &Upload,
    guard: &mut Guard,
) -> Result<(Destination, Carriage), Denial> {
    guard.account.asks_connect(parts.version);
    if door.outer.is_some() {
        return Err(Denial::new(Reason::MalformedRequest, Stage::Head)
            .with_detail("a CONNECT may not stand inside another one"));
    }
    let destination = request::read_connect(parts, body, &corridor.pseudonym)?;
    guard.account.destined(&destination);
    corridor.has_turn(door)?;
    let head = corridor.head(door, &destination, None);
    let _timed = corridor.metrics.deciding(Stage::Head);
    let carriage = policy::connect(guard.register(), &corridor.addresses, &head)?;
    Ok((destination, carriage))
}

/// Speaks TLS with the client in the recipient's name and reads the requests inside.
async fn intercept(corridor: Arc<Corridor>, door: Door, to: Destination, upgrade: OnUpgrade, mut guard: Guard) {
    let Ok(upgraded) = upgrade.await else { return };
    let stream = match shake_hands(&corridor, &door, &to.host, upgraded, &mut guard).await {
        Ok(stream) => stream,
        Err(denial) => return guard.note(denial).await,
    };
    let door = Arc::new(door);
    let fate = server::speak_http(&corridor, door.clone(), stream, corridor.shutdown.clone()).await;
    match (fate.requests, fate.fault) {
        (0, None) => guard.note(silent("the client sent no request inside the connection")).await,
        (_, fault) => {
            guard.stand_down();
            server::unparsed(&corridor, &door, fault).await;
        }
    }
}

type Secured = ServerStream<TokioIo<Upgraded>>;

async fn shake_hands(
    corridor: &Corridor,
    door: &Door,
    host: &Host,
    upgraded: Upgraded,
    guard: &mut Guard,
) -> Result<Secured, Denial> {
    let _timed = corridor.metrics.shaking_hands(Side::Client);
    let accepting = corridor.authority.accept(TokioIo::new(upgraded), host);
    match timeout(corridor.limits.header_time, accepting).await {
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
async fn refuse_inside(corridor: Arc<Corridor>, door: Door, upgrade: OnUpgrade, mut guard: Guard, denial: Denial) {
    let refused = guard.account.exchange().destination.as_ref().map(|destination| destination.host.clone());
    let stream = match (refused, upgrade.await) {
        (Some(host), Ok(upgraded)) => shake_hands(&corridor, &door, &host, upgraded, &mut guard).await.ok(),
        _ => None,
    };
    let owed = Arc::new(Mutex::new(Some((guard, denial))));
    if let Some(stream) = stream {
        let telling = owed.clone();
        server::speak_once(&corridor, stream, move |request| {
            let told = take(&telling);
            async move {
                match told {
                    Some((guard, denial)) => reply::last(guard.refuse(denial, request.headers()).await),
                    None => reply::last(reply::bare(StatusCode::FORBIDDEN)),
                }
            }
        })
        .await;
    }
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

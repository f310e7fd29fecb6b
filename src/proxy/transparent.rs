//! Connections that the network led here: the client means somebody else, and knows nothing of a proxy.
//!
//! The address that the client dialled proves nothing and is never dialled: a client may put any name in front of any
//! address. The destination is the name that it asks for (SNI, Host) with the port that it dialled, resolved anew by us;
//! the dialled address is on record beside it, so that a lie can be seen. An address in place of a name must be the one
//! that was dialled.
//!
//! REDIRECT leaves that address with the kernel's connection tracking; under TPROXY it is our own end of the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::accept::canonical;
use super::credentials::Given;
use super::guard::Guard;
use super::opening::{self, SPEAKS_FIRST, Silence, Stream, first_bytes};
use super::request::Door;
use super::server::{self, FIRST_BYTES};
use super::{Corridor, StopSignal, opaque, stopped};
use crate::destination::{AddressClass, Destination, Host, Scheme};
use crate::inspect::protocol::{First, Protocol};
use crate::policy::{self, Denial, Reason, Stage};
use crate::tls::client_hello::{self, Replayed};

/// How the network leads connections to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By changing their destination (`REDIRECT`, `DNAT`).
    Redirect,
    /// By handing them over as they are (`TPROXY`).
    Tproxy,
}

/// What the connections of a listener are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// What their first bytes are.
    Any,
    /// Requests in clear.
    Http,
    /// TLS.
    Tls,
}

/// Serves a connection to its end.
pub async fn client(
    corridor: Arc<Corridor>,
    door: Door,
    way: Way,
    reads: Reads,
    mut stream: TcpStream,
    mut shutdown: StopSignal,
) {
    let meant = meant(&corridor, &stream, way);
    let until = Instant::now() + corridor.limits.header_time;
    // The recipient may be who speaks first, if anything is declared there that does.
    let may_be_opaque = reads == Reads::Any && meant.as_ref().is_ok_and(|at| is_opaque(&corridor, &door, *at));
    let patience = if may_be_opaque { until.min(Instant::now() + SPEAKS_FIRST) } else { until };
    let mut seen = Vec::new();
    let first = tokio::select! {
        first = timeout_at(patience, first_bytes(&mut stream, &mut seen, corridor.limits.head)) => first,
        // As with every client that has not begun: it is not waited for when the proxy stops.
        () = async { stopped(&mut shutdown).await; sleep(FIRST_BYTES).await } => return,
    };
    let is_begun = !seen.is_empty();
    let stream = Replayed::new(seen, stream);
    let first = match first.unwrap_or(Err(Silence::Slow)) {
        Ok(first) => first,
        Err(Silence::Slow) if may_be_opaque => First::Other(Protocol::Unknown),
        // Whoever only looks whether somebody listens has asked for nothing.
        Err(_) if !is_begun => return,
        Err(silence) => return Guard::begin(&corridor, &door).note(silence.into()).await,
    };
    let door = match meant {
        Ok(address) => Door { redirected: Some(address), ..door },
        Err(denial) => {
            let guard = Guard::begin(&corridor, &door);
            return match first {
                First::Http => opening::tell(&corridor, stream, guard, denial).await,
                First::Tls | First::Other(_) => opening::refuse(stream, denial, guard).await,
            };
        }
    };
    match (reads, first) {
        // What is no request is told so by the parser.
        (Reads::Http, _) | (Reads::Any, First::Http) => server::client(corridor, door, stream, shutdown).await,
        (Reads::Any | Reads::Tls, First::Tls) => tls(corridor, door, stream, until).await,
        (Reads::Any, First::Other(_)) => other(corridor, door, stream).await,
        (Reads::Tls, First::Http | First::Other(_)) => {
            let denial = Denial::new(Reason::Uninspectable, Stage::Head).with_detail("the first bytes are not TLS");
            let guard = Guard::begin(&corridor, &door);
            opening::refuse(stream, denial, guard).await;
        }
    }
}

/// Whether another protocol than HTTP may go to this address.
fn is_opaque(corridor: &Corridor, door: &Door, at: SocketAddr) -> bool {
    let head = corridor.head(door, &by_address(at), None);
    policy::connect(&corridor.register.load_full(), &corridor.addresses, &head).is_ok()
}

/// Another protocol tells no name: the address stands for it, and is declared by itself or by its network.
fn by_address(at: SocketAddr) -> Destination {
    Destination { scheme: Scheme::Tcp, host: Host::Address(at.ip()), port: at.port() }
}

/// Relays what is neither TLS nor HTTP.
async fn other(corridor: Arc<Corridor>, door: Door, stream: impl Stream) {
    let guard = Guard::begin(&corridor, &door);
    let to = by_address(door.redirected.unwrap_or(door.proxy));
    if let Err(denial) = corridor.has_turn(&door) {
        return opening::refuse(stream, denial, guard).await;
    }
    let until = Instant::now() + corridor.limits.header_time;
    opaque::connect(corridor, door, to, stream, until, guard).await;
}

/// TLS: its first message says where to.
async fn tls(corridor: Arc<Corridor>, mut door: Door, mut stream: impl Stream, until: Instant) {
    let mut guard = Guard::begin(&corridor, &door);
    let mut seen = Vec::new();
    let asked = read_name(&door, &mut stream, &mut seen, until).await;
    let stream = Replayed::new(seen, stream);
    let (host, port) = match asked {
        Ok(asked) => asked,
        Err(denial) => return opening::refuse(stream, denial, guard).await,
    };
    let is_named = host.name().is_some();
    match opening::admit(&corridor, &mut door, host, port, Given::Nothing, &mut guard).await {
        Ok(opening) => opening::run(corridor, door, opening, stream, guard).await,
        Err(denial) if denial.source.as_ref().is_some_and(|source| source.refusals_inside) => {
            opening::refuse_inside(corridor, door, stream, guard, denial).await;
        }
        // An address is declared by itself or not at all: what is missing is the name.
        Err(denial) if !is_named && matches!(denial.reason, Reason::NoDeclaration | Reason::AddressRefused) => {
            let detail = "the ClientHello asks for no name, and nothing is declared for the address";
            let unnamed = Denial::new(Reason::SniMismatch, Stage::Head).with_detail(detail);
            opening::refuse(stream, unnamed, guard).await;
        }
        Err(denial) => opening::refuse(stream, denial, guard).await,
    }
}

/// The name that a ClientHello asks for. One that asks for none means the address that it was sent to (RFC 6066 §3).
async fn read_name(
    door: &Door,
    stream: &mut impl Stream,
    seen: &mut Vec<u8>,
    until: Instant,
) -> Result<(Host, u16), Denial> {
    let hello = timeout_at(until, client_hello::read(stream, seen)).await.map_err(|_| Silence::Slow)??;
    let dialled = door.redirected.unwrap_or(door.proxy);
    match hello.sni {
        Some(Host::Address(_)) => {
            let detail = "the ClientHello asks for an address in place of a name";
            Err(Denial::new(Reason::SniMismatch, Stage::Head).with_detail(detail))
        }
        Some(host @ Host::Name(_)) => Ok((host, dialled.port())),
        None => Ok((Host::Address(dialled.ip()), dialled.port())),
    }
}

/// The address that the client dialled.
///
/// # Errors
/// `loop`: it dialled the listener itself, and to go on would lead back to it.
fn meant(corridor: &Corridor, stream: &TcpStream, way: Way) -> Result<SocketAddr, Denial> {
    let own = || {
        Denial::new(Reason::Loop, Stage::Head)
            .with_detail("nothing led this connection here: it is to the listener itself")
    };
    let here = stream.local_addr().map(canonical).map_err(|_| own())?;
    let dialled = match way {
        Way::Tproxy => here,
        // Where nothing was changed, the kernel knows of no other address, or of this one.
        Way::Redirect => {
            redirected(stream, here.ip()).map(canonical).ok().filter(|dialled| *dialled != here).ok_or_else(own)?
        }
    };
    match corridor.addresses.check(dialled) {
        Err(AddressClass::Own) => Err(own()),
        Ok(()) | Err(_) => Ok(dialled),
    }
}

fn redirected(stream: &TcpStream, here: IpAddr) -> io::Result<SocketAddr> {
    use rustix::net::sockopt;
    Ok(match here {
        IpAddr::V4(_) => SocketAddr::V4(sockopt::ip_original_dst(stream)?),
        IpAddr::V6(_) => SocketAddr::V6(sockopt::ipv6_original_dst(stream)?),
    })
}

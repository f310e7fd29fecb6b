//! Listeners: who may come in, and what happens when no more can.
//!
//! The loop survives everything that accept(2) may say, and a table of descriptors that is full: connections wait in the
//! kernel's queue meanwhile, and come in when others have left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::guard::Guard;
use super::proofs::Proofs;
use super::proxy_protocol::{self, Fault};
use super::request::{Door, Place};
use super::sources::Presence;
use super::transparent::{self, Reads, Way};
use super::{Corridor, StopSignal, server, socks, stopped};

use crate::descriptors;
use crate::metrics::{AcceptFault, Open, Unserved};
use crate::policy::EntryPoint;
use crate::tls::ProxyAcceptor;

/// Rest after an accept that failed: descriptors or memory may come back.
const REST: Duration = Duration::from_millis(50);

/// A socket that listens, and how clients are spoken to that come through it.
pub struct Listening {
    /// Bound already.
    pub socket: TcpListener,
    /// What is spoken on it.
    pub speaks: Speaks,
    /// Peers that say for whom they speak, and must.
    pub balancers: Vec<IpNetwork>,
}

/// What clients speak to a listener.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP to a proxy.
    Http,
    /// The same inside TLS with the proxy itself.
    HttpOverTls(Arc<ProxyAcceptor>),
    /// SOCKS version 5.
    Socks5,
    /// Whatever they would speak to whom they mean.
    Transparent(Way, Reads),
}

impl Speaks {
    /// Whose files are read again.
    pub fn tls(&self) -> Option<&Arc<ProxyAcceptor>> {
        match self {
            Speaks::HttpOverTls(tls) => Some(tls),
            Speaks::Http | Speaks::Socks5 | Speaks::Transparent(..) => None,
        }
    }

    fn entry(&self) -> EntryPoint {
        match self {
            Speaks::Http => EntryPoint::Forward,
            Speaks::HttpOverTls(_) => EntryPoint::HttpsProxy,
            Speaks::Socks5 => EntryPoint::Socks5,
            Speaks::Transparent(..) => EntryPoint::Transparent,
        }
    }
}

/// Accepts connections until `shutdown` turns true, then returns; open connections go on under their own tasks.
pub async fn serve(corridor: Arc<Corridor>, listening: Listening, mut shutdown: StopSignal) {
    loop {
        let accepted = tokio::select! {
            accepted = listening.socket.accept() => accepted,
            () = stopped(&mut shutdown) => return,
        };
        let went = match accepted {
            Ok((stream, peer)) => let_in(&corridor, &listening, stream, peer, &mut shutdown).await,
            Err(fault) => {
                failed(&corridor, &fault);
                rest(&mut shutdown).await
            }
        };
        if went.is_none() {
            return;
        }
    }
}

/// A connection that has its place, before it is known whose it is.
struct Arrival {
    /// The other end of the connection.
    from: SocketAddr,
    /// Our own end of it.
    proxy: SocketAddr,
    speaks: Speaks,
    place: OwnedSemaphorePermit,
    open: Open,
}

/// Waits until there is room for one connection more, then gives it a task of its own; `None` where the proxy stops.
async fn let_in(
    corridor: &Arc<Corridor>,
    listening: &Listening,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: &mut StopSignal,
) -> Option<()> {
    let from = canonical(peer);
    let is_balancer = listening.balancers.iter().any(|network| network.contains(from.ip()));
    // Before any waiting: who has more than its share must not keep others waiting. A balancer has the shares of its clients.
    let presence = match is_balancer {
        true => None,
        false => match enter(corridor, from) {
            Some(presence) => Some(presence),
            None => return Some(()),
        },
    };
    leave_descriptors(corridor, &stream, shutdown).await?;
    let place = tokio::select! {
        place = corridor.connections.clone().acquire_owned() => place.ok()?,
        () = stopped(shutdown) => return None,
    };
    // A client that is gone already has no address any more.
    let Ok(proxy) = stream.local_addr().map(canonical) else { return Some(()) };
    // Small writes (heads, TLS records) must not wait for an acknowledgement; a socket without the option still works.
    let _ = stream.set_nodelay(true);
    let (speaks, open) = (listening.speaks.clone(), corridor.metrics.connection_opened());
    let arrival = Arrival { from, proxy, speaks, place, open };
    match presence {
        Some(presence) => begin(corridor, arrival, None, presence, stream, shutdown),
        None => {
            let (corridor, shutdown) = (corridor.clone(), shutdown.clone());
            super::spawn(corridor.halt.clone(), ask_balancer(corridor, arrival, stream, shutdown));
        }
    }
    Some(())
}

/// Where an address has as many connections as it may, this one is closed.
fn enter(corridor: &Corridor, peer: SocketAddr) -> Option<Presence> {
    let presence = corridor.sources.enter(peer.ip());
    if presence.is_none() {
        corridor.metrics.connection_unserved(Unserved::PerSource);
        tracing::warn!("an address has `limits.connections_per_source` connections; further ones are closed");
    }
    presence
}

/// Reads from a balancer whose connection this is; it counts as that one's.
async fn ask_balancer(corridor: Arc<Corridor>, arrival: Arrival, mut stream: TcpStream, mut shutdown: StopSignal) {
    let read = tokio::select! {
        read = timeout(corridor.limits.header_time, proxy_protocol::read(&mut stream)) => read,
        () = async { stopped(&mut shutdown).await; sleep(server::FIRST_BYTES).await } => return,
    };
    let read = read.unwrap_or(Err(Fault::Slow));
    let peer = match &read {
        Err(Fault::Nothing) => return,
        Ok(Some(client)) => *client,
        Ok(None) | Err(_) => arrival.from,
    };
    let Some(presence) = enter(&corridor, peer) else { return };
    match read {
        Ok(client) => begin(&corridor, arrival, client, presence, stream, &shutdown),
        Err(fault) => {
            let door = door(arrival, None, presence).0;
            Guard::begin(&corridor, &door).note(fault.into()).await;
        }
    }
}

/// Serves a connection in a task of its own. `client` is for whom a balancer speaks.
fn begin(
    corridor: &Arc<Corridor>,
    arrival: Arrival,
    client: Option<SocketAddr>,
    presence: Presence,
    stream: TcpStream,
    shutdown: &StopSignal,
) {
    let (halt, corridor, shutdown) = (corridor.halt.clone(), corridor.clone(), shutdown.clone());
    let (door, speaks) = door(arrival, client, presence);
    match speaks {
        Speaks::Http => super::spawn(halt, server::client(corridor, door, stream, shutdown)),
        Speaks::HttpOverTls(tls) => super::spawn(halt, server::client_over_tls(corridor, door, tls, stream, shutdown)),
        Speaks::Socks5 => super::spawn(halt, socks::client(corridor, door, stream, shutdown)),
        Speaks::Transparent(way, reads) => {
            super::spawn(halt, transparent::client(corridor, door, way, reads, stream, shutdown));
        }
    }
}

fn door(arrival: Arrival, client: Option<SocketAddr>, presence: Presence) -> (Door, Speaks) {
    let Arrival { from, proxy, speaks, place, open } = arrival;
    let door = Door {
        entry: speaks.entry(),
        peer: client.unwrap_or(from),
        balancer: client.map(|_| from),
        proxy,
        proofs: Proofs::default(),
        connection: connection_name(),
        outer: None,
        redirected: None,
        place: Place::new(place, presence, open),
    };
    (door, speaks)
}

/// Waits while the descriptors that are left are those of the reserve. One that is taken for a moment tells.
async fn leave_descriptors(corridor: &Corridor, stream: &TcpStream, shutdown: &mut StopSignal) -> Option<()> {
    let mut is_room = corridor.descriptors.fits_client(stream);
    while !is_room {
        failed(corridor, &descriptors::shortage());
        rest(shutdown).await?;
        let probe = rustix::io::fcntl_dupfd_cloexec(stream, 0);
        is_room = probe.is_ok_and(|probe| corridor.descriptors.fits_client(&probe));
    }
    Some(())
}

/// `None` where the proxy stops meanwhile.
async fn rest(shutdown: &mut StopSignal) -> Option<()> {
    tokio::select! {
        () = sleep(REST) => Some(()),
        () = stopped(shutdown) => None,
    }
}

fn failed(corridor: &Corridor, fault: &io::Error) {
    let kind = kind_of(fault);
    corridor.metrics.accept_failed(kind);
    let kind = kind.as_str();
    tracing::warn!(%fault, kind, "connections cannot be accepted now; clients wait");
}

/// What accept(2) may fail with.
fn kind_of(fault: &io::Error) -> AcceptFault {
    use rustix::io::Errno;
    match Errno::from_io_error(fault) {
        Some(Errno::MFILE | Errno::NFILE) => AcceptFault::Descriptors,
        Some(Errno::NOBUFS | Errno::NOMEM) => AcceptFault::Memory,
        Some(
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PROTO
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::HOSTDOWN,
        ) => AcceptFault::ClientGone,
        _ => AcceptFault::Other,
    }
}

/// A socket of IPv6 shows IPv4 inside IPv6; records show addresses as their networks have them.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Names a connection in records; says nothing about the client.
fn connection_name() -> String {
    Uuid::now_v7().simple().to_string()
}

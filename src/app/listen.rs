//! The sockets of a proxy: taken over from a service manager or bound here, each with what is spoken on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nix::sys::socket::sockopt::IpTransparent;
use nix::sys::socket::{getsockopt, setsockopt};
use tokio::net::TcpListener;

use super::StartFault;
use crate::config::{ClientCertificates, Entry, Listener, ListenerTls, Settings};
use crate::proxy::accept::{Listening, Speaks};
use crate::proxy::transparent::{Reads, Way};
use crate::service::Sockets;
use crate::tls::ProxyAcceptor;
use crate::tls::issue::now;
use crate::tls::listener::{ClientFiles, Files};

/// Every socket of a proxy, bound, with the addresses that were really taken.
pub(super) struct Bound {
    pub(super) listeners: Vec<Listening>,
    pub(super) proxies: Vec<SocketAddr>,
    pub(super) admin_socket: TcpListener,
    pub(super) admin: SocketAddr,
    pub(super) metrics_socket: Option<TcpListener>,
    pub(super) metrics: Option<SocketAddr>,
}

impl Bound {
    /// Binds what the settings name. Files are read first: a socket that is bound takes connections.
    pub(super) async fn all(settings: &Settings, sockets: &mut Sockets) -> Result<Bound, StartFault> {
        let spoken: Result<Vec<_>, StartFault> = settings.listeners.iter().map(speaks).collect();
        let (mut listeners, mut proxies) = (Vec::new(), Vec::new());
        for (listener, speaks) in settings.listeners.iter().zip(spoken?) {
            let socket = match listener.tproxy {
                true => bind_tproxy(sockets, listener)?,
                false => bind(sockets, &listener.name, listener.bind).await?,
            };
            proxies.push(local(&socket, listener.bind));
            listeners.push(Listening { socket, speaks, balancers: listener.proxy_protocol.clone() });
        }
        let admin_socket = bind(sockets, "admin", settings.admin).await?;
        let metrics_socket = match settings.metrics {
            Some(address) => Some(bind(sockets, "metrics", address).await?),
            None => None,
        };
        sockets.all_taken()?;
        let admin = local(&admin_socket, settings.admin);
        let metrics = metrics_socket.as_ref().and_then(|socket| socket.local_addr().ok());
        Ok(Bound { listeners, proxies, admin_socket, admin, metrics_socket, metrics })
    }

    /// Every address under which a listener can be reached: one that listens on all addresses is reached under each.
    ///
    /// An interface that comes up later is not among them; a request that comes back through it is told by its `Via`.
    pub(super) fn own_addresses(&self) -> Vec<SocketAddr> {
        let interfaces: Vec<IpAddr> =
            nix::ifaddrs::getifaddrs().map(|found| found.filter_map(ip_of).collect()).unwrap_or_default();
        let mut own = Vec::new();
        for address in self.proxies.iter().copied().chain([self.admin]).chain(self.metrics) {
            own.push(address);
            if address.ip().is_unspecified() {
                own.extend(interfaces.iter().map(|ip| SocketAddr::new(*ip, address.port())));
            }
        }
        own
    }
}

/// The files of a listener's TLS, as `tls/` takes them.
pub fn files(tls: &ListenerTls) -> Files {
    let required = tls.client_certificates == ClientCertificates::Required;
    let clients = tls.client_ca.clone().map(|authorities| ClientFiles { authorities, crl: tls.crl.clone(), required });
    Files { certificate: tls.certificate.clone(), key: tls.key.clone(), clients }
}

fn speaks(listener: &Listener) -> Result<Speaks, StartFault> {
    match listener.entry {
        Entry::Forward => Ok(secure(listener)?.map_or(Speaks::Http, Speaks::HttpOverTls)),
        Entry::Socks5 => Ok(Speaks::Socks5),
        Entry::Transparent => Ok(transparent(listener, Reads::Any)),
        Entry::TransparentHttp => Ok(transparent(listener, Reads::Http)),
        Entry::TransparentTls => Ok(transparent(listener, Reads::Tls)),
    }
}

fn transparent(listener: &Listener, reads: Reads) -> Speaks {
    Speaks::Transparent(if listener.tproxy { Way::Tproxy } else { Way::Redirect }, reads)
}

fn secure(listener: &Listener) -> Result<Option<Arc<ProxyAcceptor>>, StartFault> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    match ProxyAcceptor::load(&files(tls)) {
        Ok(acceptor) => {
            if acceptor.facts().not_after < now() {
                tracing::warn!(
                    listener = listener.name,
                    "the listener's certificate has ended: clients will refuse it"
                );
            }
            Ok(Some(Arc::new(acceptor)))
        }
        Err(source) => Err(StartFault::ListenerTls { name: listener.name.clone(), source }),
    }
}

/// The socket that was handed over for `address`, or a new one.
async fn bind(sockets: &mut Sockets, name: &str, address: SocketAddr) -> Result<TcpListener, StartFault> {
    if let Some(inherited) = sockets.take(address)? {
        return Ok(inherited);
    }
    let listening = TcpListener::bind(address).await;
    listening.map_err(|source| StartFault::Listen { name: name.to_owned(), address, source })
}

/// A socket that takes connections to every address, as TPROXY hands them over.
fn bind_tproxy(sockets: &mut Sockets, listener: &Listener) -> Result<TcpListener, StartFault> {
    let name = || listener.name.clone();
    if let Some(inherited) = sockets.take(listener.bind)? {
        return match getsockopt(&inherited, IpTransparent) {
            Ok(true) => Ok(inherited),
            Ok(false) | Err(_) => Err(StartFault::NotTransparent { name: name() }),
        };
    }
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => StartFault::MayNotBeTransparent { name: name() },
        _ => StartFault::Listen { name: name(), address: listener.bind, source },
    };
    let socket = tproxy_socket(listener.bind).map_err(failed)?;
    TcpListener::from_std(socket).map_err(failed)
}

/// Makes such a socket, which listens.
///
/// # Errors
/// What the system says; `PermissionDenied` without `CAP_NET_ADMIN`.
pub fn tproxy_socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    // The option of IPv4 is the one of the whole socket, whatever its family (ip(7), tproxy.rst of the kernel).
    setsockopt(&socket, IpTransparent, &true)?;
    net::sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Connections that wait in the kernel to be accepted, as tokio has it for the other listeners.
const BACKLOG: i32 = 1024;

/// The address that was really taken: port 0 takes a free one.
fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn ip_of(interface: nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

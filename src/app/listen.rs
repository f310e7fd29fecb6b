//! The sockets of a proxy: taken over from a service manager or bound here, each with what is spoken on it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::StartFault;
use crate::config::{ClientCertificates, Entry, Listener, ListenerTls, Settings};
use crate::proxy::accept::{Listening, Speaks};
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
            let socket = bind(sockets, &listener.name, listener.bind).await?;
            proxies.push(local(&socket, listener.bind));
            listeners.push(Listening { socket, speaks });
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
    }
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

/// The address that was really taken: port 0 takes a free one.
fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn ip_of(interface: nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

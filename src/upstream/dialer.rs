//! Opens connections to the addresses of a [`Pinned`], and to nothing else.
//!
//! Opening sends a TCP and a TLS handshake and, where HTTP/2 was agreed on, its preface and settings, which are always the
//! same; not a byte of the exchange (DESIGN §2). Whether the identity that was
//! found is the right one is judged in `policy/` from the [`ConnectionFacts`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Parts, Wire};
use super::pool::{MAX_IDLE, Pool, Standing};
use super::shared::Shared;
use crate::descriptors::{self, Descriptors};
use crate::destination::{Destination, Scheme};
use crate::metrics::{Metrics, Side};
use crate::policy::{ConnectionFacts, Pinned};
use crate::register::Id;
use crate::tls::trust::spoken;
use crate::tls::{HttpVersion, TlsFault, Trust, certificate_ends};

/// Most bytes of an answer's head.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// How long an address may be silent before the next one is tried beside it (RFC 8305 §8).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// How long the parts of a connection's opening may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialTimes {
    /// Of each address, until TCP is connected.
    pub connect: Duration,
    /// Until the TLS handshake is complete.
    pub handshake: Duration,
}

impl Default for DialTimes {
    fn default() -> DialTimes {
        DialTimes { connect: Duration::from_secs(5), handshake: Duration::from_secs(10) }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// No address accepts a connection.
    #[error("no address of {destination} accepts a connection ({tried} tried)")]
    Unreachable {
        /// Where to.
        destination: Destination,
        /// How many addresses were tried.
        tried: usize,
        /// What the last address answered.
        #[source]
        last: io::Error,
    },
    /// There are no descriptors left for another connection.
    #[error("too many connections are open at once")]
    Full(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("no TLS with {address}")]
    Tls {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        fault: TlsFault,
    },
    /// The TLS handshake took too long.
    #[error("no TLS with {address} within {} s", after.as_secs())]
    TlsTimeout {
        /// Which address.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// A destination that does not speak HTTP was asked for an HTTP connection.
    #[error("{0} does not speak http")]
    NotHttp(Destination),
    /// The connection failed before anything was sent.
    #[error("the connection to {address} failed before anything was sent")]
    Http {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DialFault {
    /// Whether the TLS handshake is what failed.
    pub fn is_tls(&self) -> bool {
        matches!(self, DialFault::Tls { .. } | DialFault::TlsTimeout { .. })
    }

    /// Whether the other side took too long, which is answered 504 instead of 502.
    pub fn is_timeout(&self) -> bool {
        match self {
            DialFault::Unreachable { last, .. } => last.kind() == io::ErrorKind::TimedOut,
            DialFault::TlsTimeout { .. } => true,
            DialFault::Full(_) | DialFault::Tls { .. } | DialFault::NotHttp(_) | DialFault::Http { .. } => false,
        }
    }
}

/// Opens connections, and keeps idle ones. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Dialer {
    trust: Trust,
    times: DialTimes,
    pool: Arc<Pool>,
    descriptors: Descriptors,
    /// Where the time of connecting and of handshakes is told, if anywhere.
    metrics: Option<Metrics>,
}

impl Dialer {
    /// A dialer that trusts these roots.
    pub fn new(trust: Trust, times: DialTimes) -> Dialer {
        Dialer { trust, times, pool: Arc::default(), descriptors: Descriptors::of_process(), metrics: None }
    }

    /// The same dialer, telling `metrics` how long connecting and handshakes take.
    pub fn timed_by(self, metrics: Metrics) -> Dialer {
        Dialer { metrics: Some(metrics), ..self }
    }

    /// [`Dialer::open_up_to`] HTTP/1.1.
    pub async fn open(&self, pinned: &Pinned) -> Result<(Connection, ConnectionFacts), DialFault> {
        self.open_up_to(HttpVersion::V1, pinned).await
    }

    /// A connection that speaks HTTP to the destination of `pinned`, no newer than `newest`: an idle one or a place on one
    /// that is shared, if it is what a new one would be.
    ///
    /// Nothing of an exchange is sent. Dropping the connection closes it, or leaves its place.
    pub async fn open_up_to(
        &self,
        newest: HttpVersion,
        pinned: &Pinned,
    ) -> Result<(Connection, ConnectionFacts), DialFault> {
        let standing = Standing::of(pinned, newest);
        let parts = match self.pool.take(&standing, pinned.addresses()) {
            Some(parts) => parts,
            None if newest == HttpVersion::V1 => self.dial(&standing, pinned.addresses()).await?,
            None => self.dial_once(&standing, pinned.addresses()).await?,
        };
        let facts = parts.facts.clone();
        Ok((Connection::new(parts, standing, self.clone()), facts))
    }

    /// A TCP connection for a tunnel, with the address that accepted it.
    pub async fn open_tcp(&self, pinned: &Pinned) -> Result<(TcpStream, SocketAddr), DialFault> {
        self.connect(pinned.destination(), pinned.addresses()).await
    }

    /// How many connections are kept idle.
    pub fn idle(&self) -> usize {
        self.pool.len()
    }

    /// Closes the idle connections of sources and destinations for which `is_kept` says no.
    pub fn keep_idle(&self, is_kept: impl Fn(&Destination, Option<&Id>) -> bool) {
        self.pool.keep(is_kept);
    }

    /// How many connections may be kept idle.
    pub fn idle_limit(&self) -> usize {
        MAX_IDLE
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Dials where nobody else does for the same; else waits for what they find, because it may be shared.
    async fn dial_once(&self, standing: &Standing, addresses: &[SocketAddr]) -> Result<Parts, DialFault> {
        let mut waiting = match self.pool.lead(standing) {
            Ok(_leading) => return self.dial(standing, addresses).await,
            Err(waiting) => waiting,
        };
        // It ends when whoever leads is done or gone.
        let _ = waiting.changed().await;
        match self.pool.take(standing, addresses) {
            Some(parts) => Ok(parts),
            None => self.dial(standing, addresses).await,
        }
    }

    /// Opens a connection to addresses that a [`Pinned`] was made of: only [`Dialer::open_up_to`] and a [`Connection`] that
    /// it opened before call this.
    pub(super) async fn dial(&self, standing: &Standing, addresses: &[SocketAddr]) -> Result<Parts, DialFault> {
        let destination = standing.destination();
        if destination.scheme == Scheme::Tcp {
            return Err(DialFault::NotHttp(destination.clone()));
        }
        let (stream, address) = self.connect(destination, addresses).await?;
        if destination.scheme == Scheme::Http {
            let facts = ConnectionFacts { address, tls: None, country: None, certificate_ends: None };
            return parts(stream, facts).await;
        }
        let _timed = self.metrics.as_ref().map(|metrics| metrics.shaking_hands(Side::Recipient));
        let handshake = self.trust.connect_up_to(standing.newest(), &destination.host, stream);
        match timeout(self.times.handshake, handshake).await {
            Err(_) => Err(DialFault::TlsTimeout { address, after: self.times.handshake }),
            Ok(Err(fault)) => Err(DialFault::Tls { address, fault }),
            Ok(Ok((stream, tls))) => {
                let certificate_ends = certificate_ends(&stream);
                let facts = ConnectionFacts { address, tls: Some(tls), country: None, certificate_ends };
                match spoken(&stream) {
                    HttpVersion::V1 => parts(stream, facts).await,
                    HttpVersion::V2 => self.shared(standing, stream, facts).await,
                }
            }
        }
    }

    /// A place on a new connection of HTTP/2, which others with the same standing find from now on.
    async fn shared<S>(&self, standing: &Standing, stream: S, facts: ConnectionFacts) -> Result<Parts, DialFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = facts.address;
        let failed = |source: h2::Error| DialFault::Http { address, source: source.into() };
        let shared = Shared::begin(stream, facts.clone()).await.map_err(failed)?;
        let seat = shared.seat().ok_or_else(|| failed(h2::Reason::REFUSED_STREAM.into()))?;
        Pool::share(&self.pool, standing.clone(), shared);
        Ok(Parts { wire: Wire::Shared(seat), facts })
    }

    /// Tries the addresses, the two families in turn, each as soon as the one before has failed or been silent for
    /// [`NEXT_ATTEMPT`]; the first that accepts is taken (RFC 8305 §5). Only TCP decides: whoever accepts and then fails in
    /// TLS is not asked to be someone else. Nothing but addresses that were judged is tried.
    async fn connect(
        &self,
        destination: &Destination,
        addresses: &[SocketAddr],
    ) -> Result<(TcpStream, SocketAddr), DialFault> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut waiting = in_turn(addresses).into_iter();
        // What is still being tried when one accepts is dropped with the set.
        let mut attempts = JoinSet::new();
        loop {
            if let Some(address) = waiting.next() {
                attempts.spawn(attempt(address, self.times.connect, self.metrics.clone()));
            }
            let next_is_due = async {
                match waiting.len() {
                    0 => std::future::pending().await,
                    _ => sleep(NEXT_ATTEMPT).await,
                }
            };
            let tried = tokio::select! {
                tried = attempts.join_next() => tried,
                () = next_is_due => continue,
            };
            let (address, connected) = match tried {
                Some(Ok(tried)) => tried,
                Some(Err(ended)) => std::panic::resume_unwind(ended.into_panic()),
                None => break,
            };
            match connected {
                Ok(stream) if !self.descriptors.fits(&stream) => return Err(DialFault::Full(descriptors::shortage())),
                Ok(stream) => {
                    // Heads and small bodies go out at once; a failure only costs time.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Err(error) if descriptors::is_shortage(&error) => return Err(DialFault::Full(error)),
                Err(error) => last = error,
            }
            tracing::debug!(%address, error = %last, "an address does not accept a connection");
        }
        Err(DialFault::Unreachable { destination: destination.clone(), tried: addresses.len(), last })
    }
}

/// Tries one address.
async fn attempt(
    address: SocketAddr,
    within: Duration,
    metrics: Option<Metrics>,
) -> (SocketAddr, io::Result<TcpStream>) {
    let _timed = metrics.as_ref().map(Metrics::connecting);
    let connected = timeout(within, TcpStream::connect(address)).await;
    (address, connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
}

/// The addresses of both families in turn, beginning with that of the first, each family in its own order (RFC 8305 §4).
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let begins_with_six = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == begins_with_six);
    let longest = first.len().max(second.len());
    (0..longest).flat_map(|place| [first.get(place), second.get(place)]).flatten().copied().collect()
}

async fn parts<S>(stream: S, facts: ConnectionFacts) -> Result<Parts, DialFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = facts.address;
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|source| DialFault::Http { address, source: source.into() })?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "a connection to a recipient ended with an error");
        }
    });
    Ok(Parts { wire: Wire::Own { sender, task: task.into() }, facts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"].map(address);
        assert_eq!(in_turn(&all), ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"].map(address));
        assert_eq!(in_turn(&all[3..]), all[3..]);
        assert_eq!(in_turn(&[]), []);
    }
}

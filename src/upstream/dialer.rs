//! Opens connections to the addresses of a [`Pinned`], and to nothing else.
//!
//! Opening sends a TCP and a TLS handshake and not a byte of the exchange (DESIGN §2). Whether the identity that was
//! found is the right one is judged in `policy/` from the [`ConnectionFacts`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{Connection, Parts};
use super::pool::{MAX_IDLE, Pool, Standing};
use crate::descriptors::{self, Descriptors};
use crate::destination::{Destination, Scheme};
use crate::metrics::{Metrics, Side};
use crate::policy::{ConnectionFacts, Pinned};
use crate::register::Id;
use crate::tls::{TlsFault, Trust, certificate_ends};

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;

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
        source: hyper::Error,
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

    /// A connection that speaks HTTP/1.1 to the destination of `pinned`: an idle one, if it is what a new one would be.
    ///
    /// Nothing of an exchange is sent. Dropping the connection closes it.
    pub async fn open(&self, pinned: &Pinned) -> Result<(Connection, ConnectionFacts), DialFault> {
        let standing = Standing::of(pinned);
        let parts = match self.pool.take(&standing, pinned.addresses()) {
            Some(parts) => parts,
            None => self.dial(pinned.destination(), pinned.addresses()).await?,
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

    /// Opens a connection to addresses that a [`Pinned`] was made of: only [`Dialer::open`] and a [`Connection`] that it
    /// opened before call this.
    pub(super) async fn dial(&self, destination: &Destination, addresses: &[SocketAddr]) -> Result<Parts, DialFault> {
        if destination.scheme == Scheme::Tcp {
            return Err(DialFault::NotHttp(destination.clone()));
        }
        let (stream, address) = self.connect(destination, addresses).await?;
        if destination.scheme == Scheme::Http {
            let facts = ConnectionFacts { address, tls: None, country: None, certificate_ends: None };
            return parts(stream, facts).await;
        }
        let _timed = self.metrics.as_ref().map(|metrics| metrics.shaking_hands(Side::Recipient));
        let handshake = self.trust.connect(&destination.host, stream);
        match timeout(self.times.handshake, handshake).await {
            Err(_) => Err(DialFault::TlsTimeout { address, after: self.times.handshake }),
            Ok(Err(fault)) => Err(DialFault::Tls { address, fault }),
            Ok(Ok((stream, tls))) => {
                let certificate_ends = certificate_ends(&stream);
                let facts = ConnectionFacts { address, tls: Some(tls), country: None, certificate_ends };
                parts(stream, facts).await
            }
        }
    }

    /// Tries the addresses one after another. Only a failed TCP connection leads to the next: whoever accepts one and
    /// then fails in TLS is not asked to be someone else.
    async fn connect(
        &self,
        destination: &Destination,
        addresses: &[SocketAddr],
    ) -> Result<(TcpStream, SocketAddr), DialFault> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &address in addresses {
            let _timed = self.metrics.as_ref().map(Metrics::connecting);
            match timeout(self.times.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) if !self.descriptors.fits(&stream) => {
                    return Err(DialFault::Full(descriptors::shortage()));
                }
                Ok(Ok(stream)) => {
                    // Heads and small bodies go out at once; a failure only costs time.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Ok(Err(error)) if descriptors::is_shortage(&error) => return Err(DialFault::Full(error)),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
            tracing::debug!(%address, error = %last, "an address does not accept a connection");
        }
        Err(DialFault::Unreachable { destination: destination.clone(), tried: addresses.len(), last })
    }
}

async fn parts<S>(stream: S, facts: ConnectionFacts) -> Result<Parts, DialFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = facts.address;
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|source| DialFault::Http { address, source })?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "a connection to a recipient ended with an error");
        }
    });
    Ok(Parts { sender, task: task.into(), facts })
}

//! Looking at a destination without an exchange, for `tasrih probe`: TCP and TLS handshakes, and nothing after them.
//!
//! It asks for no [`Pinned`](crate::policy::Pinned), because nothing is sent; what may be dialled is the same: addresses
//! that [`AddressRules`] let pass and that lie in the networks of the endpoint.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::DialTimes;
use crate::destination::{AddressClass, AddressRules, Destination, Scheme};
use crate::tls::{Look, Trust};

/// What one address showed.
#[derive(Debug)]
pub enum Sight {
    /// Its class may not be dialled.
    Refused(AddressClass),
    /// The recipient declares networks, and it lies in none of them.
    Outside,
    /// It does not accept a connection.
    Unreachable(io::Error),
    /// It accepts connections; there is no TLS to be looked at.
    Open {
        /// Time until TCP was connected.
        after: Duration,
    },
    /// It accepts connections and was asked for TLS.
    Tls {
        /// Time until TCP was connected.
        after: Duration,
        /// What the handshake showed; nothing where it did not end in time.
        look: Option<Look>,
    },
}

/// Looks at `address` as the dialer would dial it. Nothing but handshakes is sent.
pub async fn look(
    destination: &Destination,
    address: IpAddr,
    networks: &[IpNetwork],
    rules: &AddressRules,
    trust: &Trust,
    times: DialTimes,
) -> Sight {
    let address = SocketAddr::new(address, destination.port);
    if let Err(class) = rules.check(address) {
        return Sight::Refused(class);
    }
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(address.ip())) {
        return Sight::Outside;
    }
    let begun = Instant::now();
    let stream = match timeout(times.connect, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(fault)) => return Sight::Unreachable(fault),
        Err(_) => return Sight::Unreachable(io::ErrorKind::TimedOut.into()),
    };
    let after = begun.elapsed();
    match destination.scheme {
        Scheme::Http | Scheme::Tcp => Sight::Open { after },
        Scheme::Https => {
            let look = timeout(times.handshake, trust.look(&destination.host, stream)).await.ok();
            Sight::Tls { after, look }
        }
    }
}

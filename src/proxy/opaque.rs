//! Relaying another protocol than HTTP, to a destination that is declared `protocol: tcp`. The recipient may be who speaks
//! first; what is said first, by whomever, names the protocol on record.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Corridor;
use super::guard::Guard;
use super::opening::{self, Silence, Stream, first_bytes};
use super::request::Door;
use super::tunnel::{self, Flow, Limits, Prepared};
use crate::destination::{Destination, Host};
use crate::inspect::protocol::{self, First, Protocol};
use crate::metrics::Carriage;
use crate::policy::{Denial, TlsFacts};
use crate::record::Verified;
use crate::tls::client_hello::{self, Replayed};

/// Bytes of a recipient that speaks first which its protocol is known by.
const MAX_BANNER: usize = 512;

/// Connects to a destination of another protocol than HTTP, then carries on as [`relay`].
pub(super) async fn connect(
    corridor: Arc<Corridor>,
    door: Door,
    to: Destination,
    stream: impl Stream,
    until: Instant,
    mut guard: Guard,
) {
    guard.account.destined(&to);
    match tunnel::prepare(&corridor, &door, &to, &mut guard).await {
        Ok(prepared) => relay(corridor, door, to, prepared, stream, until, guard).await,
        Err(denial) => opening::refuse(stream, denial, guard).await,
    }
}

/// Relays another protocol than HTTP. Whoever speaks first names it; requests in clear are read all the same, because
/// they can be.
pub(super) async fn relay(
    corridor: Arc<Corridor>,
    door: Door,
    to: Destination,
    prepared: Prepared,
    mut stream: impl Stream,
    until: Instant,
    guard: Guard,
) {
    let mut seen = Vec::new();
    let spoken = tokio::select! {
        first = timeout_at(until, first_bytes(&mut stream, &mut seen, corridor.limits.head)) => {
            first.unwrap_or(Err(Silence::Slow)).map(Some)
        }
        () = prepared.recipient_speaks() => Ok(None),
    };
    let stream = Replayed::new(seen, stream);
    let first = match spoken {
        Ok(Some(First::Http)) => return opening::plain(corridor, door, to, stream, guard).await,
        Ok(Some(First::Tls)) => Some(Protocol::Tls),
        Ok(Some(First::Other(protocol))) => Some(protocol),
        Ok(None) => None,
        Err(silence) => return opening::refuse(stream, silence.into(), guard).await,
    };
    run(corridor, prepared, stream, first, guard).await;
}

/// The life of a tunnel for another protocol than HTTP, from where somebody has spoken. What the client has sent comes
/// from its stream again; what the recipient says first is looked at for the protocol's name, and waits for the record.
async fn run(
    corridor: Arc<Corridor>,
    prepared: Prepared,
    mut client: impl Stream,
    first: Option<Protocol>,
    mut guard: Guard,
) {
    let _place = prepared.place.clone();
    let opened = open(&corridor, prepared, &mut client, first, &mut guard).await;
    let Opaque { recipient, limits, hello, banner } = match opened {
        Ok(opened) => opened,
        Err(denial) => return opening::refuse(client, denial, guard).await,
    };
    let _open = corridor.metrics.tunnel_opened();
    corridor.metrics.not_inspected(Carriage::Tunnel);
    let client = Replayed::new(hello, client);
    let mut flow = Flow { corridor: &corridor, client, recipient, limits, guard };
    let end = flow.run_opaque(&banner).await;
    flow.guard.close(end);
}

/// A tunnel for another protocol whose decision is on record.
struct Opaque {
    recipient: TcpStream,
    limits: Limits,
    /// What was read of the client.
    hello: Vec<u8>,
    /// What was read of the recipient.
    banner: Vec<u8>,
}

async fn open(
    corridor: &Corridor,
    prepared: Prepared,
    client: &mut impl Stream,
    first: Option<Protocol>,
    guard: &mut Guard,
) -> Result<Opaque, Denial> {
    let Prepared { pinned, recipient, mut facts, .. } = prepared;
    let (mut hello, mut banner) = (Vec::new(), Vec::new());
    let mut verified: &[Verified] = &[];
    let protocol = match first {
        Some(Protocol::Tls) => {
            // Whom it asks for is a fact of the decision here too; that it asks at all is not demanded.
            let asked = timeout(corridor.limits.header_time, client_hello::read(client, &mut hello)).await;
            let asked = asked.map_err(|_| tunnel::silent())??;
            guard.account.greeted(&asked);
            let sni = asked.sni.as_ref().map(Host::to_string);
            verified = if sni.is_some() { &[Verified::Sni] } else { &[] };
            facts.tls = Some(TlsFacts { version: asked.newest, sni, spki_sha256: None });
            Protocol::Tls
        }
        Some(protocol) => protocol,
        None => {
            banner.resize(MAX_BANNER, 0);
            let count = recipient.try_read(&mut banner).unwrap_or_default();
            banner.truncate(count);
            protocol::of_server(&banner)
        }
    };
    guard.account.speaks(protocol);
    guard.account.connected(&facts, verified);
    let limits = tunnel::on_record(corridor, pinned, facts, guard).await?;
    Ok(Opaque { recipient, limits, hello, banner })
}

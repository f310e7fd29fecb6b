//! Tunnels: exchanges that are relayed unread, because their declaration says `interception: never`.
//!
//! What can be verified is verified: the client must speak TLS and ask for the declared name, and the version that the
//! recipient chooses is read from its ServerHello before further bytes of the client pass. Bytes and time are limited
//! while it flows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::body::Progress;
use super::guard::Guard;
use super::request::Door;
use super::{Corridor, exchange, stopped};
use crate::destination::{Destination, Host};
use crate::policy::{self, ConnectionFacts, Denial, End, Pinned, Reason, Stage, TlsFacts, TlsVersion};
use crate::record::Verified;
use crate::tls::client_hello::{self, ClientHelloFacts};
use crate::tls::wire::{self, ServerFirst};
use crate::tls::{ACCESS_DENIED, HelloFault};

/// Bytes moved at once in one direction.
const BUFFER: usize = 32 * 1024;
/// Bytes of the recipient in which its ServerHello must end.
const FIRST_BYTES: usize = 20 * 1024;

/// A tunnel that may be opened: everything but the client's first bytes is judged.
pub struct Prepared {
    pinned: Pinned,
    recipient: TcpStream,
    facts: ConnectionFacts,
    host: Host,
}

/// Judges head and address and connects, so that a refusal is still the answer to the CONNECT.
///
/// # Errors
/// The denial.
pub async fn prepare(
    corridor: &Corridor,
    door: &Door,
    destination: &Destination,
    guard: &mut Guard,
) -> Result<Prepared, Denial> {
    guard.account.becomes_tunnel();
    let head = corridor.head(door, destination, None);
    let permit = policy::admit(guard.register(), &corridor.addresses, &mut corridor.ledger(), head)?;
    let pinned = exchange::resolve(corridor, permit, guard).await?;
    let (recipient, address) = match corridor.dialer.open_tcp(&pinned).await {
        Ok(opened) => opened,
        Err(fault) => return Err(pinned.abandon(fault.into())),
    };
    let facts = ConnectionFacts { address, tls: None, country: None };
    guard.account.connected(&facts, &[]);
    Ok(Prepared { pinned, recipient, facts, host: destination.host.clone() })
}

/// The rest of a tunnel's life, after its 200.
pub async fn run(corridor: Arc<Corridor>, prepared: Prepared, upgrade: OnUpgrade, mut guard: Guard) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut client = TokioIo::new(upgraded);
    let mut seen = Vec::new();
    let hello = timeout(corridor.limits.header_time, client_hello::read(&mut client, &mut seen)).await;
    let hello = hello.map_err(|_| silent()).and_then(|hello| hello.map_err(Denial::from));
    let opened = match hello {
        Ok(hello) => open(&corridor, prepared, &hello, &mut guard).await,
        Err(denial) => Err(denial),
    };
    let (recipient, limits) = match opened {
        Ok(opened) => opened,
        Err(denial) => {
            guard.note(denial).await;
            // The client may be gone; the refusal is on record either way.
            let _ = client.write_all(&ACCESS_DENIED).await;
            let _ = client.shutdown().await;
            return;
        }
    };
    let _open = corridor.metrics.tunnel_opened();
    corridor.metrics.not_inspected();
    let mut flow = Flow { corridor: &corridor, client, recipient, limits, guard };
    let end = flow.run(seen).await;
    flow.guard.close(end);
}

/// Judges the ClientHello and puts the decision on record: from here on bytes may leave.
async fn open(
    corridor: &Corridor,
    prepared: Prepared,
    hello: &ClientHelloFacts,
    guard: &mut Guard,
) -> Result<(TcpStream, Limits), Denial> {
    let Prepared { pinned, recipient, mut facts, host } = prepared;
    if !names(hello, &host) {
        let detail = "the ClientHello does not ask for the host of the CONNECT";
        return Err(Denial::new(Reason::SniMismatch, Stage::Connection).with_detail(detail));
    }
    facts.tls =
        Some(TlsFacts { version: hello.newest, sni: hello.sni.as_ref().map(Host::to_string), spki_sha256: None });
    guard.account.connected(&facts, &[Verified::Sni]);
    let connected = pinned.connected(facts)?;
    let obligations = connected.obligations();
    let limits = Limits {
        min_tls: obligations.min_tls,
        bytes_up: obligations.tunnel.as_ref().and_then(|tunnel| tunnel.max_bytes).unwrap_or(u64::MAX),
        until: Instant::now()
            + obligations.tunnel.as_ref().map_or(Duration::from_secs(3600), |tunnel| tunnel.max_duration),
        idle: corridor.limits.idle,
    };
    let verdict = connected.judge_tunnel(&mut corridor.ledger());
    guard.permit(verdict).await?;
    Ok((recipient, limits))
}

/// A name must be asked for; to an address, TLS asks for none (RFC 6066 §3).
fn names(hello: &ClientHelloFacts, host: &Host) -> bool {
    match (&hello.sni, host) {
        (Some(sni), host) => sni == host,
        (None, Host::Address(_)) => true,
        (None, Host::Name(_)) => false,
    }
}

fn silent() -> Denial {
    Denial::new(Reason::ClientTimeout, Stage::Connection).with_detail("the client began no TLS handshake in time")
}

impl From<HelloFault> for Denial {
    fn from(fault: HelloFault) -> Denial {
        let reason = match &fault {
            HelloFault::Closed | HelloFault::Io(_) => Reason::ClientClosed,
            HelloFault::Name(_) => Reason::SniMismatch,
            HelloFault::NotTls | HelloFault::Malformed(_) | HelloFault::TooLong => Reason::Uninspectable,
        };
        Denial::new(reason, Stage::Connection).with_detail(fault.to_string())
    }
}

struct Limits {
    min_tls: TlsVersion,
    /// What one tunnel may send: the day's room when it was opened, or what an `unread` allowance gives.
    bytes_up: u64,
    until: Instant,
    idle: Duration,
}

/// A tunnel that flows.
struct Flow<'a> {
    corridor: &'a Corridor,
    client: TokioIo<Upgraded>,
    recipient: TcpStream,
    limits: Limits,
    guard: Guard,
}

impl Flow<'_> {
    async fn run(&mut self, hello: Vec<u8>) -> End {
        let Some((_, progress)) = self.guard.sending() else { return End::Shutdown };
        progress.begin();
        match self.shake_hands(&hello, &progress).await {
            Ok(()) => self.relay(&progress).await,
            Err(end) => end,
        }
    }

    /// Sends the ClientHello and reads which version the recipient chose; only then further bytes of the client pass.
    async fn shake_hands(&mut self, hello: &[u8], progress: &Progress) -> Result<(), End> {
        self.up(hello, progress).await?;
        let mut first = Vec::with_capacity(4096);
        let chosen = loop {
            match wire::server_first(&first) {
                Ok(Some(chosen)) => break chosen,
                Ok(None) if first.len() < FIRST_BYTES => {}
                Ok(None) | Err(_) => return Err(End::UpstreamFault),
            }
            let reading = timeout(self.corridor.limits.header_time, self.recipient.read_buf(&mut first));
            match reading.await.map_err(|_| End::Timeout)? {
                Ok(0) | Err(_) => return Err(End::UpstreamFault),
                Ok(_) => {}
            }
        };
        if matches!(chosen, ServerFirst::Hello(version) if version < self.limits.min_tls) {
            // The recipient's own alert would need its keys: closing is all there is.
            return Err(End::UpstreamFault);
        }
        self.down(&first).await
    }

    /// Moves bytes both ways until both sides ended, a limit is reached or the proxy stops. Neither direction waits for
    /// the other.
    async fn relay(&mut self, progress: &Progress) -> End {
        let mut shutdown = self.corridor.shutdown.clone();
        let (client_reads, client_writes) = tokio::io::split(&mut self.client);
        let (recipient_reads, recipient_writes) = self.recipient.split();
        let (moves, received) = (AtomicU64::new(0), AtomicU64::new(0));
        let cut = self.guard.cut();
        let bytes_up = self.limits.bytes_up;
        let guard = &mut self.guard;
        let up = pump(client_reads, recipient_writes, &moves, |bytes| {
            // Bytes leave only if this tunnel and the day's volume have room for them.
            let drawn = progress.bytes() + bytes <= bytes_up && guard.draw(bytes);
            progress.add(if drawn { bytes } else { 0 });
            drawn
        });
        let down = pump(recipient_reads, client_writes, &moves, |bytes| {
            received.fetch_add(bytes, Ordering::Relaxed);
            true
        });
        let both = async {
            let up = async { up.await.map_err(|stop| stop.end(End::ClientClosed, End::UpstreamFault)) };
            let down = async { down.await.map_err(|stop| stop.end(End::UpstreamFault, End::ClientClosed)) };
            tokio::try_join!(up, down)
        };
        let end = tokio::select! {
            ended = both => ended.err().unwrap_or(End::Answered),
            () = sleep_until(self.limits.until) => End::CutLimit,
            end = cut => end,
            () = stands_still(&moves, self.limits.idle) => End::Timeout,
            () = stopped(&mut shutdown) => End::Shutdown,
        };
        self.guard.received(received.into_inner());
        end
    }

    async fn up(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), End> {
        if progress.bytes() + bytes.len() as u64 > self.limits.bytes_up || !self.guard.draw(bytes.len() as u64) {
            return Err(End::CutLimit);
        }
        progress.add(bytes.len() as u64);
        within(self.limits.idle, self.recipient.write_all(bytes))
            .await
            .map_err(|timed| timed.unwrap_or(End::UpstreamFault))
    }

    async fn down(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.guard.received(bytes.len() as u64);
        within(self.limits.idle, self.client.write_all(bytes)).await.map_err(|timed| timed.unwrap_or(End::ClientClosed))
    }
}

/// Why one direction stopped before its end.
enum Stop {
    /// The side that is read failed.
    Read,
    /// The side that is written to failed.
    Write,
    /// The limit is reached.
    Limit,
}

impl Stop {
    fn end(&self, read: End, write: End) -> End {
        match self {
            Stop::Read => read,
            Stop::Write => write,
            Stop::Limit => End::CutLimit,
        }
    }
}

/// Moves bytes in one direction until its end, which it passes on. `may_pass` is asked before each write.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moves: &AtomicU64,
    mut may_pass: impl FnMut(u64) -> bool,
) -> Result<(), Stop> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Stop::Read)?;
        if count == 0 {
            return to.shutdown().await.map_err(|_| Stop::Write);
        }
        if !may_pass(count as u64) {
            return Err(Stop::Limit);
        }
        to.write_all(&buffer[..count]).await.map_err(|_| Stop::Write)?;
        moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends when nothing was moved for `idle`.
async fn stands_still(moves: &AtomicU64, idle: Duration) {
    let mut before = u64::MAX;
    loop {
        let now = moves.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
        sleep(idle).await;
    }
}

/// A write that must not stand still: `Err(Some(Timeout))` if it does, `Err(None)` if it failed.
async fn within(idle: Duration, write: impl Future<Output = io::Result<()>>) -> Result<(), Option<End>> {
    match timeout(idle, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(None),
        Err(_) => Err(Some(End::Timeout)),
    }
}

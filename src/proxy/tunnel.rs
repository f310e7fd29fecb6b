//! Tunnels: exchanges that are relayed unread, because their declaration says `interception: never`.
//!
//! What can be verified is verified: the client must speak TLS and ask for the declared name, and the version that the
//! recipient chooses is read from its ServerHello before further bytes of the client pass. Bytes and time are limited
//! while it flows.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::guard::Guard;
use super::opening::{self, Stream};
use super::progress::Progress;
use super::request::{Door, Place};
use super::watch::stands_still;
use super::{Corridor, exchange};
use crate::destination::{Destination, Host};
use crate::metrics::Carriage;
use crate::policy::{self, ConnectionFacts, Denial, End, Obligations, Pinned, Reason, Stage, TlsFacts, TlsVersion};
use crate::record::Verified;
use crate::tls::HelloFault;
use crate::tls::client_hello::{self, ClientHelloFacts};
use crate::tls::wire::{self, ServerFirst};

/// Bytes moved at once in one direction.
const BUFFER: usize = 32 * 1024;
/// Longest time of a tunnel that no declaration bounds; one that is declared has its own, or DESIGN §4's default.
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of the recipient in which its ServerHello must end.
const FIRST_BYTES: usize = 20 * 1024;

/// A tunnel that may be opened: everything but the client's first bytes is judged.
pub struct Prepared {
    pub(super) pinned: Pinned,
    pub(super) recipient: TcpStream,
    pub(super) facts: ConnectionFacts,
    pub(super) host: Host,
    pub(super) place: Arc<Place>,
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
    let deciding = corridor.metrics.deciding(Stage::Head);
    let permit = policy::admit(guard.register(), &corridor.addresses, &mut corridor.ledger(), head)?;
    drop(deciding);
    let pinned = exchange::resolve(corridor, permit, guard).await?;
    let (recipient, address) = match corridor.dialer.open_tcp(&pinned).await {
        Ok(opened) => opened,
        Err(fault) => return Err(pinned.abandon(fault.into())),
    };
    let facts = ConnectionFacts { address, tls: None, country: None, certificate_ends: None };
    guard.account.connected(&facts, &[]);
    Ok(Prepared { pinned, recipient, facts, host: destination.host.clone(), place: door.place.clone() })
}

impl Prepared {
    /// Ends when the recipient has said something, or closed.
    pub async fn recipient_speaks(&self) {
        // An error is met again by whoever reads.
        let _ = self.recipient.readable().await;
    }
}

/// The rest of a tunnel's life, after the client was answered.
pub async fn run(corridor: Arc<Corridor>, prepared: Prepared, mut client: impl Stream, mut guard: Guard) {
    let _place = prepared.place.clone();
    let mut seen = Vec::new();
    let hello = timeout(corridor.limits.header_time, client_hello::read(&mut client, &mut seen)).await;
    let hello = hello.map_err(|_| silent()).and_then(|hello| hello.map_err(Denial::from));
    let opened = match hello {
        Ok(hello) => {
            // What the client sent behind its ClientHello waits for the recipient's version.
            let early = seen.split_off(hello.length.min(seen.len()));
            open(&corridor, prepared, &hello, &mut guard).await.map(|(recipient, limits)| (recipient, limits, early))
        }
        Err(denial) => Err(denial),
    };
    let (recipient, limits, early) = match opened {
        Ok(opened) => opened,
        Err(denial) => return opening::refuse(client, denial, guard).await,
    };
    let _open = corridor.metrics.tunnel_opened();
    corridor.metrics.not_inspected(Carriage::Tunnel);
    let mut flow = Flow { corridor: &corridor, client, recipient, limits, guard };
    let end = flow.run(&seen, &early).await;
    flow.guard.close(end);
}

/// Judges the ClientHello and puts the decision on record: from here on bytes may leave.
async fn open(
    corridor: &Corridor,
    prepared: Prepared,
    hello: &ClientHelloFacts,
    guard: &mut Guard,
) -> Result<(TcpStream, Limits), Denial> {
    let Prepared { pinned, recipient, mut facts, host, .. } = prepared;
    guard.account.greeted(hello);
    if !names(hello, &host) {
        let detail = "the ClientHello does not ask for the host of the CONNECT";
        return Err(Denial::new(Reason::SniMismatch, Stage::Connection).with_detail(detail));
    }
    facts.tls =
        Some(TlsFacts { version: hello.newest, sni: hello.sni.as_ref().map(Host::to_string), spki_sha256: None });
    guard.account.connected(&facts, &[Verified::Sni]);
    let limits = on_record(corridor, pinned, facts, guard).await?;
    Ok((recipient, limits))
}

/// The end of a tunnel's stages: the decision is on record, and what bounds the tunnel is known.
pub(super) async fn on_record(
    corridor: &Corridor,
    pinned: Pinned,
    facts: ConnectionFacts,
    guard: &mut Guard,
) -> Result<Limits, Denial> {
    let connected = pinned.connected(facts)?;
    let verdict = connected.judge_tunnel(&mut corridor.ledger());
    guard.permit(verdict).await?;
    match guard.verdict() {
        Some(verdict) => Ok(Limits::of(verdict.obligations(), corridor.limits.idle)),
        // Not reached: what is on record has its verdict.
        None => Err(Denial::new(Reason::RecordUnavailable, Stage::Record)),
    }
}

/// A name must be asked for; to an address, TLS asks for none (RFC 6066 §3).
fn names(hello: &ClientHelloFacts, host: &Host) -> bool {
    match (&hello.sni, host) {
        (Some(sni), host) => sni == host,
        (None, Host::Address(_)) => true,
        (None, Host::Name(_)) => false,
    }
}

pub(super) fn silent() -> Denial {
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

pub(super) struct Limits {
    min_tls: TlsVersion,
    /// What one tunnel may send: the day's room when it was opened, or what an `unread` allowance gives.
    bytes_up: u64,
    until: Instant,
    idle: Duration,
}

impl Limits {
    fn of(obligations: &Obligations, idle: Duration) -> Limits {
        let tunnel = obligations.tunnel.as_ref();
        Limits {
            min_tls: obligations.min_tls,
            bytes_up: tunnel.and_then(|tunnel| tunnel.max_bytes).unwrap_or(u64::MAX),
            until: Instant::now() + tunnel.map_or(LONGEST, |tunnel| tunnel.max_duration),
            idle,
        }
    }

    /// Charges bytes of the client before they leave; false where this tunnel or the day's volume has no room for them.
    fn let_up(&self, guard: &mut Guard, progress: &Progress, bytes: u64) -> bool {
        let fits = progress.sent().saturating_add(bytes) <= self.bytes_up;
        fits && guard.draw(bytes) && progress.add(bytes)
    }
}

/// A tunnel that flows.
pub(super) struct Flow<'a, S> {
    pub(super) corridor: &'a Corridor,
    pub(super) client: S,
    pub(super) recipient: TcpStream,
    pub(super) limits: Limits,
    pub(super) guard: Guard,
}

impl<S: Stream> Flow<'_, S> {
    async fn run(&mut self, hello: &[u8], early: &[u8]) -> End {
        let Some((_, progress)) = self.guard.sending() else { return End::Shutdown };
        progress.begin();
        let cut = self.guard.cut();
        let greeted = tokio::select! {
            greeted = self.greet(hello, early, &progress) => greeted,
            // A recipient that says nothing holds up no order, no end of a validity and no stop.
            end = cut => Err(end),
        };
        match greeted {
            Ok(()) => self.relay(&progress).await,
            Err(end) => end,
        }
    }

    pub(super) async fn run_opaque(&mut self, banner: &[u8]) -> End {
        let Some((_, progress)) = self.guard.sending() else { return End::Shutdown };
        progress.begin();
        match self.down(banner, &progress).await {
            Ok(()) => self.relay(&progress).await,
            Err(end) => end,
        }
    }

    async fn greet(&mut self, hello: &[u8], early: &[u8], progress: &Progress) -> Result<(), End> {
        self.shake_hands(hello, progress).await?;
        self.up(early, progress).await
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
        match chosen {
            // The recipient's own alert would need its keys: closing is all there is.
            ServerFirst::Hello(version) if version < self.limits.min_tls => Err(End::UpstreamFault),
            ServerFirst::Hello(_) => self.down(&first, progress).await,
            // The client hears why, and there is no version under which more of it could pass.
            ServerFirst::Alert(_) => self.down(&first, progress).await.and(Err(End::UpstreamFault)),
        }
    }

    /// Moves bytes both ways until both sides ended, a limit is reached or the proxy stops. Neither direction waits for
    /// the other.
    ///
    /// When the proxy is told to stop, a tunnel has all of `limits.drain`, also one in which nothing moves: unread, one that
    /// stands idle cannot be told from one whose client waits for an answer. Who spoke last does not tell either, since
    /// session tickets and HTTP/2's acknowledgements come from the recipient before it answers.
    async fn relay(&mut self, progress: &Progress) -> End {
        let (client_reads, client_writes) = tokio::io::split(&mut self.client);
        let (recipient_reads, recipient_writes) = self.recipient.split();
        let cut = self.guard.cut();
        let (guard, limits) = (&mut self.guard, &self.limits);
        let up = pump(client_reads, recipient_writes, |bytes| limits.let_up(guard, progress, bytes));
        let down = pump(recipient_reads, client_writes, |bytes| {
            progress.receive(bytes);
            true
        });
        let both = async {
            let up = async { up.await.map_err(|stop| stop.end(End::ClientClosed, End::UpstreamFault)) };
            let down = async { down.await.map_err(|stop| stop.end(End::UpstreamFault, End::ClientClosed)) };
            tokio::try_join!(up, down)
        };
        tokio::select! {
            ended = both => ended.err().unwrap_or(End::Answered),
            () = sleep_until(self.limits.until) => End::CutLimit,
            end = cut => end,
            () = stands_still(|| progress.moved(), self.limits.idle) => End::Timeout,
        }
    }

    async fn up(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), End> {
        if !self.limits.let_up(&mut self.guard, progress, bytes.len() as u64) {
            return Err(End::CutLimit);
        }
        within(self.limits.idle, self.recipient.write_all(bytes))
            .await
            .map_err(|timed| timed.unwrap_or(End::UpstreamFault))
    }

    async fn down(&mut self, bytes: &[u8], progress: &Progress) -> Result<(), End> {
        progress.receive(bytes.len() as u64);
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

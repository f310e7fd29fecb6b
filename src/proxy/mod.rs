//! The data path: how an exchange is carried from a client to a recipient, or refused.
//!
//! [`accept`] lets connections in, [`server`] turns them into requests, [`connect`], [`socks`] and [`transparent`] ask for connections that
//! [`opening`] carries on, and every request, whatever door it came
//! through, goes down the one corridor of [`exchange`]. [`guard`] sees to it that each ends on record. Nothing here
//! decides: that is `policy/`; nothing here writes records: that is `audit/`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::archive::Archive;
use crate::audit::Audit;
use crate::descriptors::Descriptors;
use crate::destination::{AddressRules, Destination, Host};
use crate::docket::Docket;
use crate::flow::{Sighting, Watched};
use crate::metrics::{Metrics, Reread, Resolved};
use crate::policy::{Denial, Head, Ledger, Peer, Reason, Request, Stage};
use crate::register::Register;
use crate::tls::Authority;
use crate::upstream::{Dialer, Found, Resolve, ResolveFault};
use crate::users::Users;

pub mod accept;
pub mod account;
pub mod body;
pub mod connect;
pub mod counted;
pub mod credentials;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod frames;
pub mod guard;
pub mod handout;
pub mod headers;
pub mod multiplex;
pub mod opaque;
pub mod opening;
pub mod pace;
pub mod page;
pub mod progress;
pub mod proofs;
pub mod proxy_protocol;
pub mod reply;
pub mod request;
pub mod server;
pub mod socks;
pub mod sources;
pub mod spool;
pub mod transparent;
pub mod tunnel;
pub mod upload;
pub mod watch;
mod words;

use request::Door;
use sources::Sources;

/// What every exchange needs; made once in `app.rs` and shared by all connections.
pub struct Corridor {
    /// Name of this node in records.
    pub node: Arc<str>,
    /// Our name in `Via` and `Proxy-Status`.
    pub pseudonym: String,
    /// The register in force; an exchange takes one and keeps it to its end.
    pub register: ArcSwap<Register>,
    /// How many faults the policy files had that were refused last; none where they are in force.
    pub refused: ArcSwapOption<u64>,
    /// What else was read again and refused, so that something older is in use.
    pub refused_files: ArcSwap<BTreeSet<Reread>>,
    /// The counters of the limits. Held for the length of one decision, never across an await.
    pub ledger: Mutex<Ledger>,
    /// Where decisions go before anything leaves.
    pub audit: Audit,
    /// Where registers are kept by version.
    pub archive: Arc<Archive>,
    /// The orders that were ever taken. Held while one is taken, from what is kept to what is in force.
    pub docket: Arc<tokio::sync::Mutex<Docket>>,
    /// Names to addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Which addresses may be dialled at all.
    pub addresses: AddressRules,
    /// The only way to a recipient.
    pub dialer: Dialer,
    /// The interception authority.
    pub authority: Authority,
    /// How bodies are held.
    pub holding: body::Holding,
    /// Bounds on what a peer can hold open.
    pub limits: Limits,
    /// Places for open client connections.
    pub connections: Arc<Semaphore>,
    /// What each peer address has of them, and how often it may ask.
    pub sources: Arc<Sources>,
    /// Who can be known by a password.
    pub users: Users,
    /// Of which connections must leave some over.
    pub descriptors: Descriptors,
    /// What recurs. Held for the length of one sighting, never across an await.
    pub flows: Mutex<Watched>,
    /// Counters.
    pub metrics: Metrics,
    /// Turns true when the proxy stops: nothing new is accepted, what is open is finished.
    pub shutdown: StopSignal,
    /// Turns true when the time for what is open is over: it is cut.
    pub halt: StopSignal,
}

/// Turns true once.
pub type StopSignal = tokio::sync::watch::Receiver<bool>;

/// Bounds in time and size.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of clients at once.
    pub connections: usize,
    /// A request head, a TLS handshake with a client.
    pub header_time: Duration,
    /// Bytes of a request head.
    pub head: usize,
    /// Fields of a request head.
    pub head_fields: usize,
    /// Silence between requests, of a tunnel, of an answer, and of a client that takes nothing.
    pub idle: Duration,
    /// Silence of a recipient that is being sent a request, until the head of its answer.
    pub answer: Duration,
    /// An exchange of HTTP, from the first byte of its head to the end of its answer. Tunnels have `max_duration`.
    pub longest_exchange: Duration,
    /// Bytes of an answer's body.
    pub largest_answer: u64,
}

impl Corridor {
    /// Whether this address may ask now.
    ///
    /// # Errors
    /// `busy`: it asked too often within the last second.
    fn has_turn(&self, door: &Door) -> Result<(), Denial> {
        self.sources.ask(door.peer.ip()).map_err(|wait| {
            Denial::new(Reason::Busy, Stage::Head)
                .with_detail("this address sends more requests a second than it may")
                .with_retry_after(wait)
        })
    }

    /// A body could not be held: counts and tells where that is the spool's fault.
    fn tell_spool(&self, fault: &body::HoldFault) {
        let body::HoldFault::Spool(fault) = fault else { return };
        self.metrics.spool_failed();
        let folder = self.holding.spool.folder.display();
        tracing::warn!(%folder, %fault, "the spool cannot take bodies; their uploads are refused as `busy`");
    }

    /// The time that decisions are made at.
    pub fn now(&self) -> Timestamp {
        self.audit.clock().now()
    }

    /// The counters. A panic while they were held cannot have left them half-changed in a way that opens the gate:
    /// reservations are only ever added before they are used.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a decision that is on record among the flows.
    fn seen(&self, sighting: Option<&Sighting>) {
        if let Some(sighting) = sighting {
            self.flows().see(sighting);
        }
    }

    /// What recurs. A panic while it was held cannot have done more than miscount.
    pub fn flows(&self) -> MutexGuard<'_, Watched> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is judged at the head; without a request, it is of a CONNECT or a tunnel.
    fn head(&self, door: &Door, destination: &Destination, request: Option<Request>) -> Head {
        Head { time: self.now(), entry: door.entry, peer: door.peer(), destination: destination.clone(), request }
    }

    /// Whether the time for what is open is over.
    fn is_halted(&self) -> bool {
        *self.halt.borrow()
    }

    /// What an admitted host stands for; an address literal is its own.
    async fn resolve(&self, host: &Host) -> Result<Found, ResolveFault> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address].into()),
            Host::Name(name) => name,
        };
        let _timed = self.metrics.resolving();
        let resolved = self.resolver.resolve(name).await;
        self.metrics.resolved(match &resolved {
            Ok(_) => Resolved::Answered,
            Err(ResolveFault::NoAddress(_)) => Resolved::NoAddress,
            Err(ResolveFault::Timeout { .. }) => Resolved::Timeout,
            Err(ResolveFault::Failed { .. }) => Resolved::Failed,
        });
        resolved
    }
}

/// Ends when the proxy stops. A sender that is gone means the same as one that says stop.
pub async fn stopped(shutdown: &mut StopSignal) {
    let _ = shutdown.wait_for(|down| *down).await;
}

/// What is cut when the proxy stops has this long to tell its client.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Runs work for a client in a task of its own. Shortly after the time for what is open is over, it is dropped where it
/// stands; its guards then write what is owed.
fn spawn(mut halt: StopSignal, work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = halted(&mut halt) => {}
        }
    });
}

async fn halted(halt: &mut StopSignal) {
    stopped(halt).await;
    tokio::time::sleep(LAST_WORDS).await;
}

impl Door {
    /// Who sends, by every proof that this listener has.
    pub fn peer(&self) -> Peer {
        let (certificate, user) = (self.proofs.names().to_vec(), self.proofs.user().map(str::to_owned));
        Peer { certificate, user, ..Peer::at(self.peer.ip()) }
    }
}

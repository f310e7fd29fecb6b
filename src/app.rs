//! The program put together, in one place: settings, a register and clocks go in, a running proxy comes out.
//!
//! `run`, the demo and the tests all start through [`start`]; what differs between them is in [`Parts`].

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::admin::control::{Control, Wish};
use crate::admin::observed::Observed;
use crate::admin::{self, Pages};
use crate::archive::{Archive, Source};
use crate::audit::{self, Audit, OpenFault, Recovery};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Entry, Settings};
use crate::descriptors::Descriptors;
use crate::destination::AddressRules;
use crate::docket::DocketFault;
use crate::metrics::{Bounded, Metrics};
use crate::policy::{self, CandidateKind, Ledger, PastExchange};
use crate::proxy::body::Holding;
use crate::proxy::pace::Pace;
use crate::proxy::sources::Sources;
use crate::proxy::spool::{Budget, Spool};
use crate::proxy::{Corridor, Limits, accept, stopped};
use crate::record::Origin;
use crate::register::compile::{Compiled, Text};
use crate::register::{Id, Register};
use crate::reload::enter::{self, Entering, Gate};
use crate::reload::{Files, orders};
use crate::service::{SocketFault, Sockets};
use crate::tls::{Authority, AuthorityFault, ListenerFault, Root, Trust, TrustFault};
use crate::upstream::{DialTimes, Dialer, NameServerFault, Resolve, StaticHosts, SystemResolver};
use crate::users::Users;
use crate::users::file::UsersFault;

pub mod flows;
pub mod listen;

use listen::Bound;

/// A heartbeat record is written this often, so that silence is evidence too (DESIGN §6).
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often clock and disk are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a state folder that another process holds is tried again: what a restart adds to the wait of a client.
const LOCK_POLL: Duration = Duration::from_millis(10);
/// What is cut has this long to write its outcome; it waits for nothing but the writer.
const CUT_TIME: Duration = Duration::from_secs(2);

/// What a proxy is made of.
pub struct Parts {
    /// How it runs.
    pub settings: Settings,
    /// What it decides from.
    pub register: Compiled,
    /// The policy files that the register was compiled from, to be kept.
    pub texts: Vec<Text>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Who is asked for names that `settings.upstream.hosts` does not know, where the settings name no name servers.
    pub resolver: Arc<dyn Resolve>,
    /// Where segments lie, if not in the state folder: for tests that inject faults.
    pub storage: Option<Arc<dyn audit::storage::Storage>>,
}

impl Parts {
    /// The parts of a proxy in earnest: the machine's clock and resolver.
    pub fn new(settings: Settings, register: Compiled, texts: Vec<Text>) -> Parts {
        let resolver = Arc::new(SystemResolver::within(settings.limits.resolve_time));
        let clock = Arc::new(SystemClock::default());
        Parts { settings, register, texts, clock, resolver, storage: None }
    }
}

/// What a process takes over from the one before it, so that connection attempts wait while it is replaced.
#[derive(Debug, Default)]
pub struct Succession {
    /// Sockets that listen already, held by a service manager. Each stands for the listener with its address; all of them
    /// must be named by the settings.
    pub sockets: Sockets,
    /// How long to wait for a state folder that another process holds. Zero: a held folder is a fault at once.
    pub patience: Duration,
}

/// How a proxy came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange ended by itself.
    Finished,
    /// Time was up: what was still open was cut, with the outcome `shutdown`.
    TimeUp,
    /// The drain was ended from outside: what was still open was cut, with the outcome `shutdown`.
    Hurried,
}

/// Why a proxy does not start.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    #[error(transparent)]
    State(#[from] OpenFault),
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    #[error(transparent)]
    Trust(#[from] TrustFault),
    #[error("cannot listen on {address} ({name})")]
    Listen { name: String, address: SocketAddr, source: io::Error },
    #[error(
        "the listener `{name}` may not take connections to other addresses: `tproxy` wants CAP_NET_ADMIN, or a socket unit \
         of systemd with `Transparent=yes`"
    )]
    MayNotBeTransparent { name: String },
    #[error(
        "the socket that was handed over for the listener `{name}` takes no connections to other addresses: write \
         `Transparent=yes` in its unit"
    )]
    NotTransparent { name: String },
    #[error("the listener `{name}` cannot speak TLS")]
    ListenerTls { name: String, source: ListenerFault },
    #[error(transparent)]
    NameServer(#[from] NameServerFault),
    #[error(transparent)]
    Users(#[from] UsersFault),
    #[error(transparent)]
    Inherited(#[from] SocketFault),
    #[error("cannot make the spool folder `{}`", path.display())]
    Spool { path: PathBuf, source: io::Error },
    #[error("the start cannot be recorded")]
    Record(#[from] audit::RecordUnavailable),
    #[error(transparent)]
    Orders(#[from] DocketFault),
}

impl StartFault {
    /// Whether the evidence itself is damaged: exit code 3.
    pub fn is_integrity(&self) -> bool {
        match self {
            StartFault::State(fault) => fault.is_integrity(),
            StartFault::Orders(fault) => fault.is_integrity(),
            _ => false,
        }
    }
}

/// A proxy that runs.
pub struct Running {
    /// Addresses of the listeners, in the order of the settings.
    pub proxies: Vec<SocketAddr>,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// Address of the metrics listener, where there is one.
    pub metrics: Option<SocketAddr>,
    /// What was found when the log was opened.
    pub recovery: Recovery,
    corridor: Arc<Corridor>,
    files: Files,
    stop: watch::Sender<bool>,
    halt: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    drain: Duration,
    /// The state folder, where the control socket is.
    state: PathBuf,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("proxies", &self.proxies).field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// Starts a proxy. When this returns, it accepts connections, and start and register are on record.
///
/// Opening the log blocks; nothing is served before.
///
/// # Errors
/// [`StartFault`]; nothing listens then.
pub async fn start(parts: Parts) -> Result<Running, StartFault> {
    start_after(parts, Succession::default()).await
}

/// Starts a proxy in the place of another one, which may still be finishing its exchanges.
///
/// # Errors
/// [`StartFault`]; nothing is accepted then.
pub async fn start_after(parts: Parts, succession: Succession) -> Result<Running, StartFault> {
    let Parts { settings, register, texts, clock, resolver, storage } = parts;
    let options = audit::Options {
        node: settings.node.as_str().into(),
        segment_size: settings.disk.segment,
        reserve: settings.disk.reserve,
        clock,
        storage,
    };
    let (audit, recovery, before) = open_log(&settings, &options, &register.register, succession.patience).await?;
    let Compiled { register, warnings } = register;
    let (docket, register) = orders::at_start(&settings.state, register, audit.clock().wall())?;
    let register = Arc::new(register);
    let mut sockets = succession.sockets;
    let listening = Bound::all(&settings, &mut sockets).await?;

    let archive = Arc::new(Archive::of(&settings.state, settings.disk.reserve));
    let descriptors = descriptors_for(&settings.limits);
    let metrics = Metrics::new();
    let users = Users::load(settings.users.as_deref(), metrics.clone())?;
    metrics.register_loaded(&register, audit.clock().wall());
    metrics.orders_not_in_files(docket.missing(&register).len() as u64);
    metrics.remember(&before.last);
    let trust = Trust::new(&roots(&settings))?;
    let answer_time = settings.limits.resolve_time;
    let resolver = StaticHosts::configured(&settings.upstream, answer_time, &trust, resolver)?;
    let (stop, shutdown) = watch::channel(false);
    let (halt, halted) = watch::channel(false);
    let corridor = Arc::new(Corridor {
        node: settings.node.as_str().into(),
        pseudonym: format!("tasrih-{}", settings.node),
        register: ArcSwap::from(register.clone()),
        refused: ArcSwapOption::empty(),
        ledger: Mutex::new(before.ledger),
        resolver: Arc::new(resolver),
        addresses: AddressRules { internal: settings.internal_destinations.clone(), own: listening.own_addresses() },
        dialer: Dialer::new(trust, dial_times(&settings.limits)).timed_by(metrics.clone()),
        authority: Authority::load_or_create(&settings.interception.certificate, &settings.interception.key)?
            .with_crl_url(settings.interception.crl_url.clone()),
        holding: holding(&settings, descriptors)?,
        limits: limits(&settings),
        connections: Arc::new(Semaphore::new(settings.limits.connections)),
        sources: Sources::new(
            settings.limits.connections_per_source,
            settings.limits.requests_per_source,
            settings.limits.connections,
        ),
        descriptors,
        flows: Mutex::default(),
        metrics,
        shutdown: shutdown.clone(),
        halt: halted,
        users,
        refused_files: ArcSwap::default(),
        archive: archive.clone(),
        audit: audit.clone(),
        docket: Arc::new(tokio::sync::Mutex::new(docket)),
    });
    let gate = Gate { audit: &audit, archive: &archive, metrics: &corridor.metrics };
    let remembered = corridor.docket.lock().await.remembered();
    let (version, hold_limit) = (register.version.clone(), settings.limits.hold);
    let source = Source { texts, hold_limit, remembered };
    let entering = Entering { register, source, warnings: warnings.len() as u64, origin: Origin::default() };
    let entered = gate.enter(entering, None, drop).await?;
    enter::tell(&entered, &version);
    orders::note_owed(&corridor).await?;

    let (proxies, admin, metrics) = (listening.proxies, listening.admin, listening.metrics);
    // What clients are told to use is a proxy in their settings' sense, wherever it stands in the list.
    let first = settings.listeners.iter().position(|listener| listener.entry == Entry::Forward).unwrap_or_default();
    let first = (proxies[first], settings.listeners[first].tls.is_some());
    let secured = listening.listeners.iter().filter_map(|listener| listener.speaks.tls().cloned());
    let files = Files::new(&corridor, secured.collect());
    let mut tasks: Vec<_> = listening
        .listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept::serve(corridor.clone(), listener, shutdown.clone())))
        .collect();
    let observed = Arc::new(Observed::new(corridor.clone(), settings.state.clone(), first));
    corridor.metrics.set_limit(Bounded::Connections, settings.limits.connections as u64);
    if let Some(socket) = listening.metrics_socket {
        tasks.push(tokio::spawn(serve_admin(socket, Pages::Metrics, observed.clone(), shutdown.clone())));
    }
    tasks.push(tokio::spawn(serve_admin(listening.admin_socket, Pages::All, observed, shutdown.clone())));
    tasks.push(tokio::spawn(flows::remember(corridor.clone(), settings.state.clone(), recovery.last_time)));
    tasks.push(tokio::spawn(keep_time(corridor.clone(), shutdown)));
    let drain = settings.limits.drain;
    let state = settings.state;
    Ok(Running { proxies, admin, metrics, recovery, corridor, files, stop, halt, tasks, drain, state })
}

impl Running {
    /// The corridor that all exchanges go through.
    pub fn corridor(&self) -> &Arc<Corridor> {
        &self.corridor
    }

    /// Opens the control socket. Reloads that are asked for there come to whoever holds the receiver.
    ///
    /// # Errors
    /// The socket cannot be made in the state folder.
    pub fn control(&mut self) -> io::Result<mpsc::Receiver<Wish>> {
        let (control, wished) = Control::bind(&self.state, self.corridor.clone())?;
        let mut shutdown = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            if let Err(fault) = control.serve(async move { stopped(&mut shutdown).await }).await {
                tracing::error!(%fault, "the control socket ended");
            }
        }));
        Ok(wished)
    }

    /// What is read again while the proxy runs, beside the register.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Stops accepting, gives open exchanges their time (`limits.drain`), cuts what is left, writes what is queued and a
    /// stop record. Idle connections end at once.
    pub async fn stop(self) -> Drained {
        self.stop_unless(std::future::pending()).await
    }

    /// Like [`Running::stop`]; when `hurry` is done, what is still open is cut without waiting any longer.
    pub async fn stop_unless(self, hurry: impl Future<Output = ()>) -> Drained {
        let Running { corridor, stop, halt, tasks, drain, .. } = self;
        let audit = corridor.audit.clone();
        // Whatever serves a client holds the corridor, and with it a receiver: when all are gone, so is all work.
        drop(corridor);
        // Nobody left to be told is as good as everybody told.
        let _ = stop.send(true);
        let drained = tokio::select! {
            () = stop.closed() => Drained::Finished,
            () = sleep(drain) => Drained::TimeUp,
            () = hurry => Drained::Hurried,
        };
        if drained != Drained::Finished {
            let _ = halt.send(true);
            tasks.iter().for_each(JoinHandle::abort);
            if timeout(CUT_TIME, stop.closed()).await.is_err() {
                tracing::error!("something that was cut does not end; its exchange is closed at the next start");
            }
        }
        audit.finish().await;
        drained
    }
}

/// Opens the log, after waiting as long as `patience` for a process that holds the state folder.
/// What an earlier process let through in the last day.
#[derive(Default)]
struct Before {
    ledger: Ledger,
    /// When something last left under each transfer.
    last: HashMap<Id, Timestamp>,
}

impl Before {
    fn take(&mut self, register: &Register, past: PastExchange) {
        self.ledger.replay(register, &past);
        if past.used.kind == CandidateKind::Transfer {
            self.last.insert(past.used.id, past.time);
        }
    }
}

async fn open_log(
    settings: &Settings,
    options: &audit::Options,
    register: &Register,
    patience: Duration,
) -> Result<(Audit, Recovery, Before), OpenFault> {
    let until = Instant::now() + patience;
    let mut told = false;
    loop {
        let mut before = Before::default();
        match Audit::open_and_tell(&settings.state, options.clone(), &mut |past| before.take(register, past)) {
            Err(OpenFault::Locked(folder)) if Instant::now() < until => {
                if !told {
                    let (folder, seconds) = (folder.display(), patience.as_secs());
                    tracing::info!(%folder, seconds, "another process holds the state folder; waiting for its end");
                    told = true;
                }
                sleep(LOCK_POLL).await;
            }
            opened => return opened.map(|(audit, recovery)| (audit, recovery, before)),
        }
    }
}

fn roots(settings: &Settings) -> Vec<Root> {
    let root = |root: &config::Root| match root {
        config::Root::System => Root::System,
        config::Root::File(path) => Root::File(path.clone()),
    };
    settings.upstream.roots.iter().map(root).collect()
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        connections: settings.limits.connections,
        header_time: settings.limits.header_time,
        head: settings.limits.head,
        head_fields: settings.limits.head_fields,
        idle: settings.limits.idle,
        answer: settings.limits.answer_time,
        longest_exchange: settings.limits.exchange_time,
        largest_answer: settings.limits.answer,
    }
}

fn dial_times(limits: &config::Limits) -> DialTimes {
    DialTimes { connect: limits.connect_time, handshake: limits.handshake_time }
}

/// The limit of the process; says so where it does not allow for all connections.
fn descriptors_for(limits: &config::Limits) -> Descriptors {
    let descriptors = Descriptors::of_process();
    if let Some(wanted) = descriptors.wanted_for(limits.connections) {
        let (limit, connections) = (descriptors.limit(), limits.connections);
        tracing::warn!(
            limit,
            wanted,
            connections,
            "too few file descriptors for all connections: set LimitNOFILE, or lower `limits.connections`; further clients will wait"
        );
    }
    descriptors
}

fn holding(settings: &Settings, descriptors: Descriptors) -> Result<Holding, StartFault> {
    let folder = settings.spool_folder();
    std::fs::create_dir_all(&folder).map_err(|source| StartFault::Spool { path: folder.clone(), source })?;
    let limits = &settings.limits;
    let budget = Budget::new(limits.held_total);
    Ok(Holding {
        memory: limits.hold_memory,
        hold: limits.hold,
        spool: Spool { folder, descriptors, budget: budget.clone() },
        budget,
        pace: Pace {
            rate: limits.body_rate,
            window: limits.body_window,
            silence: limits.idle,
            longest: limits.body_time,
        },
    })
}

async fn serve_admin(
    listener: TcpListener,
    pages: Pages,
    observed: Arc<Observed>,
    mut shutdown: watch::Receiver<bool>,
) {
    let down = async move { stopped(&mut shutdown).await };
    if let Err(fault) = admin::serve(listener, pages, observed, down).await {
        tracing::error!(%fault, "the admin listener ended");
    }
}

/// Each second a look at clock and disk; once a minute the heartbeat, and forgetting what no limit asks for any more.
async fn keep_time(corridor: Arc<Corridor>, mut shutdown: watch::Receiver<bool>) {
    let mut minute = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let mut second = interval_at(Instant::now() + LOOK, LOOK);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minute.tick() => {}
            _ = second.tick() => {
                if let Err(unavailable) = corridor.audit.watch().await {
                    tracing::error!(%unavailable, "a step of the clock could not be recorded");
                }
                close_refused(&corridor);
                continue;
            }
            () = stopped(&mut shutdown) => return,
        }
        let version = corridor.register.load().version.clone();
        if let Err(unavailable) = corridor.audit.heartbeat(version).await {
            tracing::error!(%unavailable, "the heartbeat could not be recorded");
        }
        corridor.ledger().prune(corridor.now());
        flows::look(&corridor).await;
        keep_again(&corridor).await;
    }
}

/// Keeps a register that could not be kept, as soon as there is room.
async fn keep_again(corridor: &Corridor) {
    let (archive, metrics) = (corridor.archive.clone(), corridor.metrics.clone());
    if let Err(ended) = tokio::task::spawn_blocking(move || enter::retry(&archive, &metrics)).await {
        std::panic::resume_unwind(ended.into_panic());
    }
}

/// Closes idle connections over which nothing may be sent any more.
fn close_refused(corridor: &Corridor) {
    let (register, now) = (corridor.register.load_full(), corridor.now());
    corridor.dialer.keep_idle(|destination, source| policy::is_open(&register, source, destination, now));
}

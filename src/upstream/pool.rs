//! Connections kept for exchanges that would open just the same one: idle ones of HTTP/1.1, and those of HTTP/2, which
//! several exchanges share.
//!
//! A connection serves another exchange only if a new one would have been opened to an address that is pinned *now*, by
//! the same source, under the same identity rules (DESIGN §6). The identity itself is judged again from the facts that
//! the connection carries. Sources never share: recipients may know a sender by its connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::{Parts, Wire};
use super::shared::Shared;
use crate::destination::Destination;
use crate::policy::{Pinned, TlsVersion};
use crate::register::Id;
use crate::tls::HttpVersion;

/// Most idle connections with one standing.
const MAX_ALIKE: usize = 8;
/// Most idle connections.
pub(super) const MAX_IDLE: usize = 512;
/// Longest idleness: shorter than common servers allow, so that few are found closed.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often old ones are looked for.
const SWEEP_TIME: Duration = Duration::from_secs(5);

/// What a new connection would need, as the register in force says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standing {
    destination: Destination,
    source: Option<Id>,
    pins: Vec<Vec<[u8; 32]>>,
    min_tls: TlsVersion,
    /// What is offered to the recipient at most.
    newest: HttpVersion,
}

impl Standing {
    pub(super) fn of(pinned: &Pinned, newest: HttpVersion) -> Standing {
        let obligations = pinned.obligations();
        Standing {
            destination: pinned.destination().clone(),
            source: pinned.permit().source().map(|source| source.id.clone()),
            pins: obligations.pins.clone(),
            min_tls: obligations.min_tls,
            newest,
        }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    pub(super) fn newest(&self) -> HttpVersion {
        self.newest
    }
}

/// The idle connections of one dialer.
#[derive(Default)]
pub(super) struct Pool {
    // Held for a few map operations and never across an await; what stands between can leave nothing half done.
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    by_standing: HashMap<Standing, Vec<Parked>>,
    count: usize,
    /// Connections of HTTP/2, in use or not.
    shared: HashMap<Standing, Vec<Arc<Shared>>>,
    /// Where somebody dials what may be shared; ends when they are done.
    dialled: HashMap<Standing, watch::Receiver<()>>,
    /// A task is there that closes what was idle too long.
    swept: bool,
}

struct Parked {
    since: Instant,
    parts: Parts,
}

impl Pool {
    /// A place on a connection, or the youngest connection that is open, of this standing and to one of these addresses.
    pub(super) fn take(&self, standing: &Standing, addresses: &[SocketAddr]) -> Option<Parts> {
        let mut idle = self.lock();
        let here = |shared: &&Arc<Shared>| addresses.contains(&shared.facts().address);
        let seat = idle.shared.get(standing).and_then(|alike| alike.iter().filter(here).find_map(Shared::seat));
        if let Some(seat) = seat {
            let facts = seat.facts().clone();
            return Some(Parts { wire: Wire::Shared(seat), facts });
        }
        let alike = idle.by_standing.get_mut(standing)?;
        let before = alike.len();
        alike.retain(|parked| parked.parts.is_ready());
        let place = alike.iter().rposition(|parked| addresses.contains(&parked.parts.facts.address));
        let taken = place.map(|place| alike.remove(place).parts);
        idle.count -= before - alike.len();
        taken
    }

    /// Keeps a connection for a while. Where there is no room it is closed.
    pub(super) fn park(pool: &Arc<Pool>, standing: Standing, parts: Parts) {
        let mut idle = pool.lock();
        if idle.count >= MAX_IDLE {
            return;
        }
        let alike = idle.by_standing.entry(standing).or_default();
        if alike.len() >= MAX_ALIKE {
            return;
        }
        alike.push(Parked { since: Instant::now(), parts });
        idle.count += 1;
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(pool)));
        }
    }

    /// Lets others with the same standing have places on a connection.
    pub(super) fn share(pool: &Arc<Pool>, standing: Standing, shared: Arc<Shared>) {
        let mut idle = pool.lock();
        // One more than may be kept serves the exchange that opened it, and closes.
        if idle.shared.len() >= MAX_IDLE {
            return;
        }
        idle.shared.entry(standing).or_default().push(shared);
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(pool)));
        }
    }

    /// The lead in dialling for a standing; where somebody has it, what tells when they are done.
    pub(super) fn lead(self: &Arc<Pool>, standing: &Standing) -> Result<Leading, watch::Receiver<()>> {
        let mut idle = self.lock();
        if let Some(waiting) = idle.dialled.get(standing) {
            return Err(waiting.clone());
        }
        let (done, waiting) = watch::channel(());
        idle.dialled.insert(standing.clone(), waiting);
        Ok(Leading { pool: self.clone(), standing: standing.clone(), _done: done })
    }

    /// How many connections nobody uses.
    pub(super) fn len(&self) -> usize {
        let idle = self.lock();
        let unused = idle.shared.values().flatten().filter(|shared| shared.idle_for().is_some()).count();
        idle.count + unused
    }

    /// Closes what is not to be kept.
    pub(super) fn keep(&self, is_kept: impl Fn(&Destination, Option<&Id>) -> bool) {
        let mut idle = self.lock();
        idle.by_standing.retain(|standing, _| is_kept(&standing.destination, standing.source.as_ref()));
        idle.count = idle.by_standing.values().map(Vec::len).sum();
        // What goes on over them is judged by itself, each second; they close with their last stream.
        idle.shared.retain(|standing, _| is_kept(&standing.destination, standing.source.as_ref()));
    }

    /// Closes what was idle too long or is closed already; tells whether anything is left.
    fn close_old(&self) -> bool {
        let mut idle = self.lock();
        let mut count = 0;
        idle.by_standing.retain(|_, alike| {
            alike.retain(|parked| parked.since.elapsed() < IDLE_TIME && parked.parts.is_ready());
            count += alike.len();
            !alike.is_empty()
        });
        idle.count = count;
        let is_young = |shared: &Arc<Shared>| shared.idle_for().is_none_or(|idle| idle < IDLE_TIME);
        idle.shared.retain(|_, alike| {
            alike.retain(|shared| !shared.is_closed() && is_young(shared));
            !alike.is_empty()
        });
        idle.swept = count > 0 || !idle.shared.is_empty();
        idle.swept
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has it dials; whoever waits goes on when it is dropped.
pub(super) struct Leading {
    pool: Arc<Pool>,
    standing: Standing,
    _done: watch::Sender<()>,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.pool.lock().dialled.remove(&self.standing);
    }
}

/// Runs while connections are kept, one task for all of them: a timer for each would outnumber them many times over.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_TIME).await;
        match pool.upgrade() {
            Some(pool) if pool.close_old() => {}
            _ => return,
        }
    }
}

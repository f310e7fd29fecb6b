//! Idle connections, kept for exchanges that would open just the same one.
//!
//! A connection serves another exchange only if a new one would have been opened to an address that is pinned *now*, by
//! the same source, under the same identity rules (DESIGN §6). The identity itself is judged again from the facts that
//! the connection carries. Sources never share: recipients may know a sender by its connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Parts;
use crate::destination::Destination;
use crate::policy::{Pinned, TlsVersion};
use crate::register::Id;

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
}

impl Standing {
    pub(super) fn of(pinned: &Pinned) -> Standing {
        let obligations = pinned.obligations();
        Standing {
            destination: pinned.destination().clone(),
            source: pinned.permit().source().map(|source| source.id.clone()),
            pins: obligations.pins.clone(),
            min_tls: obligations.min_tls,
        }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
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
    /// A task is there that closes what was idle too long.
    swept: bool,
}

struct Parked {
    since: Instant,
    parts: Parts,
}

impl Pool {
    /// The youngest connection that is open, of this standing, and to one of these addresses.
    pub(super) fn take(&self, standing: &Standing, addresses: &[SocketAddr]) -> Option<Parts> {
        let mut idle = self.lock();
        let alike = idle.by_standing.get_mut(standing)?;
        let before = alike.len();
        alike.retain(|parked| parked.parts.sender.is_ready());
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

    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    /// Closes what is not to be kept.
    pub(super) fn keep(&self, is_kept: impl Fn(&Destination, Option<&Id>) -> bool) {
        let mut idle = self.lock();
        idle.by_standing.retain(|standing, _| is_kept(&standing.destination, standing.source.as_ref()));
        idle.count = idle.by_standing.values().map(Vec::len).sum();
    }

    /// Closes what was idle too long or is closed already; tells whether anything is left.
    fn close_old(&self) -> bool {
        let mut idle = self.lock();
        let mut count = 0;
        idle.by_standing.retain(|_, alike| {
            alike.retain(|parked| parked.since.elapsed() < IDLE_TIME && parked.parts.sender.is_ready());
            count += alike.len();
            !alike.is_empty()
        });
        idle.count = count;
        idle.swept = count > 0;
        idle.swept
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while connections are idle, one task for all of them: a timer for each would outnumber them many times over.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_TIME).await;
        match pool.upgrade() {
            Some(pool) if pool.close_old() => {}
            _ => return,
        }
    }
}

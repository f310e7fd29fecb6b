//! How the writer is, for readiness, metrics and heartbeats: counters that it keeps and others read.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::{Cause, Latch};

/// How the writer is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What latched the log: until restart nothing is recorded, and nothing may be let through.
    pub latch: Option<Latch>,
    /// Whether decisions are refused for too little room.
    pub no_room: bool,
    /// Sequence number of the next record.
    pub sequence: u64,
    /// Position up to which the log is durable, in bytes.
    pub synced: u64,
    /// When a batch was last synced, in Unix seconds by the wall clock.
    pub durable_at: i64,
    /// Bytes allocated for the outcomes of open exchanges.
    pub reserved: u64,
    /// Batches synced since start.
    pub batches: u64,
    /// Decisions recorded since start whose outcome is not.
    pub open: u64,
    /// Permits recorded since start.
    pub permits: u64,
    /// Denials recorded since start, folded ones included.
    pub denials: u64,
    /// Would-denies recorded since start.
    pub would_denials: u64,
    /// Records refused since start, for lack of room or behind the latch.
    pub unavailable: u64,
    /// Steps of the wall clock noticed since start.
    pub clock_steps: u64,
    /// Kinds of denials that are counted for folding now.
    pub folded_kinds: u64,
}

impl Health {
    /// Whether decisions can be recorded, as far as is known.
    pub fn is_ready(&self) -> bool {
        self.cause().is_none()
    }

    /// Why decisions cannot be recorded. What latched the log outlasts a lack of room.
    pub fn cause(&self) -> Option<Cause> {
        self.latch.as_ref().map(|latch| latch.cause).or(self.no_room.then_some(Cause::NoRoom))
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    latch: Mutex<Option<Latch>>,
    no_room: AtomicBool,
    pub(super) sequence: AtomicU64,
    pub(super) synced: AtomicU64,
    pub(super) durable_at: AtomicI64,
    pub(super) reserved: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) permits: AtomicU64,
    pub(super) denials: AtomicU64,
    pub(super) would_denials: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) folded_kinds: AtomicU64,
    clock_steps: AtomicU64,
}

impl Shared {
    pub(super) fn snapshot(&self) -> Health {
        Health {
            latch: self.latch.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            no_room: self.no_room.load(Relaxed),
            sequence: self.sequence.load(Relaxed),
            synced: self.synced.load(Relaxed),
            durable_at: self.durable_at.load(Relaxed),
            reserved: self.reserved.load(Relaxed),
            batches: self.batches.load(Relaxed),
            open: self.open.load(Relaxed),
            permits: self.permits.load(Relaxed),
            denials: self.denials.load(Relaxed),
            would_denials: self.would_denials.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            clock_steps: self.clock_steps.load(Relaxed),
            folded_kinds: self.folded_kinds.load(Relaxed),
        }
    }

    /// Notes what latched the log; only the first time is news.
    pub(super) fn latch(&self, latch: &Latch) {
        let mut known = self.latch.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let (cause, remedy) = (latch.cause.as_str(), latch.cause.remedy());
            tracing::error!(cause, fault = latch.fault, remedy, "records cannot be written any more; all is refused");
            *known = Some(latch.clone());
        }
    }

    /// Notes whether there is room for decisions; only a change is news.
    pub(super) fn no_room(&self, no_room: bool) {
        if self.no_room.swap(no_room, Relaxed) == no_room {
            return;
        }
        let (cause, remedy) = (Cause::NoRoom.as_str(), Cause::NoRoom.remedy());
        match no_room {
            true => tracing::error!(cause, remedy, "too little room for records; new exchanges are refused"),
            false => tracing::info!(cause, "there is room for records again; exchanges are let through"),
        }
    }

    pub(super) fn clock_stepped(&self) {
        self.clock_steps.fetch_add(1, Relaxed);
    }
}

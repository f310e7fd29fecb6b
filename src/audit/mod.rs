//! The evidence: one writer thread that makes records durable, and the proof that it did.
//!
//! [`Audit`] is a cheap handle. [`Audit::permit`] returns when the decision is on stable storage, with a [`Recorded`]:
//! the value that sending wants to see, and that nothing else can make. When it is closed, or dropped in whatever way,
//! the outcome is written; room for it was allocated beforehand. `writer` is the thread, `job` what it is asked, `log` the segments behind it,
//! `frame` how bytes lie in them, `recover` what happens at start, `state` the folder with its lock and key, [`read`]
//! how records are read back without a lock.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use crate::clock::{Clock, DecisionClock, SystemClock};
use crate::policy::{Decision, End, PastExchange};
use crate::record::past::MEMORY;
use crate::record::{DecisionRecord, Heartbeat, Lifecycle, OutcomeRecord};
use crate::register::Version;
use job::Job;

mod cause;
mod digest;
mod fold;
pub mod frame;
mod health;
mod job;
mod log;
pub mod read;
mod recover;
mod state;
pub mod storage;
mod writer;

pub use cause::{Cause, Latch};
pub use digest::{DigestKey, Hasher};
pub use health::Health;
pub use read::{read, read_newest, read_since};
pub use recover::Torn;
pub use state::{Held, OpenFault, hold, stored_digest_key};

/// The most decisions that wait for the writer at once; further ones wait before its queue.
const QUEUE: usize = 4_096;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// Name of the node; the log's name is made of it.
    pub node: Arc<str>,
    /// A segment that would grow beyond this many bytes is followed by a new one.
    pub segment_size: u64,
    /// Free bytes that decisions leave alone: below them they are refused, and only what is open is closed.
    pub reserve: u64,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where segments lie, if not in the state folder's `log/`: for tests that inject faults.
    pub storage: Option<Arc<dyn storage::Storage>>,
}

impl Default for Options {
    fn default() -> Options {
        let clock = Arc::new(SystemClock::default());
        Options { node: "egress-1".into(), segment_size: 64 << 20, reserve: 64 << 20, clock, storage: None }
    }
}

/// What was found when the log was opened.
#[derive(Debug)]
pub struct Recovery {
    /// Time of the newest record.
    pub last_time: Option<Timestamp>,
    /// Decisions of an earlier process that got an `interrupted` outcome now.
    pub interrupted: u64,
    /// The unacknowledged tail that was cut.
    pub torn: Option<Torn>,
}

/// Why something could not be put on record. Whoever gets it lets nothing through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordUnavailable {
    /// Too little room for the record and the outcome that would follow; mends itself when there is room again.
    #[error("too little room in the state folder for another record")]
    NoRoom,
    /// A write or sync failed; nothing is recorded until a restart has read the log again.
    #[error("the log stopped at a failed write ({}); restart to verify it", .0.fault)]
    Latched(Latch),
    /// The writer ended.
    #[error("the log is closed")]
    Closed,
}

/// A handle to the one writer of a node's log.
#[derive(Clone)]
pub struct Audit {
    jobs: UnboundedSender<Job>,
    /// Bounds the queue: a job that makes the log grow by a decision holds one until it is answered.
    slots: Arc<Semaphore>,
    clock: Arc<DecisionClock>,
    health: Arc<health::Shared>,
    key: DigestKey,
    node: Arc<str>,
    reserve: u64,
}

impl Audit {
    /// Opens the state folder (made if need be), verifies its log, closes what an earlier process left open, and starts
    /// the writer.
    ///
    /// A start record, and one for a torn tail, is durable when this returns. Blocks: to be called before the reactor
    /// carries traffic.
    ///
    /// # Errors
    /// [`OpenFault`]; nothing was changed where it is about integrity.
    pub fn open(state: &Path, options: Options) -> Result<(Audit, Recovery), OpenFault> {
        Audit::open_and_tell(state, options, &mut |_| {})
    }

    /// [`Audit::open`], which tells what the limits must remember: each exchange that was let through in the last day or
    /// so, in the order of the decisions, without outcome where it has none. A start that fails may have told some.
    ///
    /// # Errors
    /// [`OpenFault`]; nothing was changed where it is about integrity.
    pub fn open_and_tell(
        state: &Path,
        options: Options,
        each: &mut dyn FnMut(PastExchange),
    ) -> Result<(Audit, Recovery), OpenFault> {
        let folder = state::Folder::open(state)?;
        let key = folder.digest_key()?;
        let storage = match options.storage {
            Some(storage) => storage,
            None => Arc::new(folder.segments()?),
        };
        let bounds = log::Bounds { segment: options.segment_size, reserve: options.reserve };
        let since = options.clock.wall().checked_sub(MEMORY).unwrap_or(Timestamp::MIN);
        let opened = recover::open(storage, bounds, since, each)?;
        let clock = Arc::new(DecisionClock::new(options.clock, opened.recovery.last_time));
        let health = Arc::new(health::Shared::default());
        let writer = writer::Writer::new(opened.log, folder, clock.clone(), health.clone(), options.node.clone());
        let jobs = writer.start(opened.open, opened.recovery.torn.as_ref())?;
        let slots = Arc::new(Semaphore::new(QUEUE));
        Ok((Audit { jobs, slots, clock, health, key, node: options.node, reserve: options.reserve }, opened.recovery))
    }

    /// Puts a denial on record; it is durable when this returns. The id is that of the record which stands for it: the
    /// record's own, or that of a record into which like denials are folded.
    pub async fn deny(&self, record: DecisionRecord) -> Result<Uuid, RecordUnavailable> {
        debug_assert_eq!(record.decision, Decision::Denial);
        self.ask(|slot, answer| Job::Denial { record: Box::new(record), slot, answer }).await
    }

    /// Puts a permit or would-deny on record; it is durable when this returns, and room for its outcome is allocated.
    ///
    /// Dropping the future is safe: a decision that was written after all gets the outcome `client-closed`, with
    /// nothing sent.
    pub async fn permit(&self, record: DecisionRecord) -> Result<Recorded, RecordUnavailable> {
        let place = self.place().await?;
        self.permit_in(place, record).await
    }

    /// Waits for a place in the writer's queue. Nothing is asked of the writer yet: whoever is dropped while waiting
    /// leaves no record behind.
    pub async fn place(&self) -> Result<Place, RecordUnavailable> {
        self.slots.clone().acquire_owned().await.map(Place).map_err(|_| RecordUnavailable::Closed)
    }

    /// [`Audit::permit`], with a place in the queue at hand: the record is the writer's as soon as this is polled.
    pub async fn permit_in(&self, place: Place, record: DecisionRecord) -> Result<Recorded, RecordUnavailable> {
        let guard = (self.jobs.clone(), self.clock.clone());
        let record = Arc::new(record);
        let mut recorded = self.ask_in(place, |slot, answer| Job::Permit { record, guard, slot, answer }).await?;
        recorded.delivered = true;
        Ok(recorded)
    }

    /// Puts the outcome on record. Never blocks and never fails the caller: if it cannot be written any more, the
    /// decision stands open and the next start closes it as `interrupted`.
    pub fn close(&self, mut recorded: Recorded, outcome: OutcomeRecord) {
        recorded.send(outcome);
    }

    /// Puts something that happened to the proxy on record, with the time and the node; it is durable when this
    /// returns.
    pub async fn note(&self, event: Lifecycle) -> Result<(), RecordUnavailable> {
        self.ask(|slot, answer| Job::Note { event, slot, answer }).await
    }

    /// What is looked at each second: whether the wall clock stepped, which is put on record, and whether there is room
    /// again. The caller beats the time.
    pub async fn watch(&self) -> Result<(), RecordUnavailable> {
        if self.health().no_room
            && let Ok(slot) = self.slots.clone().try_acquire_owned()
        {
            // A writer that has ended has no room to find.
            let _ = self.jobs.send(Job::Look { _slot: slot });
        }
        let Some(by) = self.clock.step() else { return Ok(()) };
        self.health.clock_stepped();
        tracing::warn!(seconds = by.as_secs(), "the wall clock was set; decisions never run behind the newest record");
        self.note(Lifecycle::ClockStep { by }).await
    }

    /// The record of each minute. The caller beats the time.
    pub async fn heartbeat(&self, register_version: Version) -> Result<(), RecordUnavailable> {
        self.watch().await?;
        let Health { permits, denials, would_denials, open, .. } = self.health();
        let clock_ahead = self.clock.ahead();
        let beat = Heartbeat { register_version, permits, denials, would_denials, open, clock_ahead };
        self.note(Lifecycle::Heartbeat(beat)).await
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Arc<DecisionClock> {
        &self.clock
    }

    /// Name of the node.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// How many records wait for the writer.
    pub fn queued(&self) -> usize {
        QUEUE - self.slots.available_permits()
    }

    /// How many records may wait for the writer.
    pub fn queue_limit(&self) -> usize {
        QUEUE
    }

    /// Free bytes on the disk that decisions leave alone.
    pub fn reserve(&self) -> u64 {
        self.reserve
    }

    /// How many kinds of denials may be counted for folding.
    pub fn folded_limit(&self) -> u64 {
        fold::MOST_KINDS as u64
    }

    /// How the writer is.
    pub fn health(&self) -> Health {
        self.health.snapshot()
    }

    /// The key that digests of bodies and paths are made with.
    pub fn body_digest_key(&self) -> &DigestKey {
        &self.key
    }

    /// Writes what is queued and a stop record, ends the writer and gives the state folder's lock back. Whatever comes
    /// later is refused as [`RecordUnavailable::Closed`].
    pub async fn finish(self) {
        let (answer, done) = oneshot::channel();
        if self.jobs.send(Job::Finish { answer }).is_ok() {
            // An error means that the writer is gone already, which is all that is waited for.
            let _ = done.await;
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(job::Slot, job::Answer<T>) -> Job) -> Result<T, RecordUnavailable> {
        let place = self.place().await?;
        self.ask_in(place, job).await
    }

    async fn ask_in<T>(
        &self,
        place: Place,
        job: impl FnOnce(job::Slot, job::Answer<T>) -> Job,
    ) -> Result<T, RecordUnavailable> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(place.0, answer)).map_err(|_| RecordUnavailable::Closed)?;
        answered.await.unwrap_or(Err(RecordUnavailable::Closed))
    }
}

/// A place in the writer's queue.
#[must_use = "it is given back when this is dropped"]
pub struct Place(OwnedSemaphorePermit);

/// Proof that a decision is on stable storage: without one, nothing is sent. Only the writer's acknowledgement makes
/// it.
///
/// It is also the guard of the outcome. [`Audit::close`] consumes it; if it is dropped instead (a cancelled future, a
/// panic), the outcome is written all the same, with the end that [`Recorded::if_dropped`] named.
#[must_use = "dropping it writes an outcome that says `interrupted`"]
pub struct Recorded {
    decision: Arc<DecisionRecord>,
    room: u64,
    jobs: Option<UnboundedSender<Job>>,
    clock: Arc<DecisionClock>,
    delivered: bool,
    if_dropped: End,
}

impl Recorded {
    /// The decision that is on record.
    pub fn decision(&self) -> &DecisionRecord {
        &self.decision
    }

    /// Id of the exchange.
    pub fn id(&self) -> Uuid {
        self.decision.exchange.id
    }

    /// An outcome of this decision, of which nothing was sent yet, at the present time: to be filled in.
    pub fn outcome(&self, end: End) -> OutcomeRecord {
        OutcomeRecord::of(&self.decision, self.clock.now(), end)
    }

    /// The end that is recorded when this is dropped without being closed; `interrupted` until it is set.
    pub fn if_dropped(&mut self, end: End) {
        self.if_dropped = end;
    }

    fn send(&mut self, outcome: OutcomeRecord) {
        if let Some(jobs) = self.jobs.take() {
            // The writer may be gone: then the next start closes the decision as interrupted.
            let _ = jobs.send(Job::Outcome { record: Box::new(outcome), room: self.room });
        }
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorded").field(&self.id()).finish()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.jobs.is_none() {
            return;
        }
        let mut outcome = self.outcome(self.if_dropped);
        if self.delivered {
            // How much was sent is not known here; the limits must not be given back what may have left.
            outcome.content_left = true;
        } else {
            outcome.end = End::ClientClosed;
        }
        self.send(outcome);
    }
}

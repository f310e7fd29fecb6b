//! The evidence: one writer thread that makes records durable, and the proof that it did.
//!
//! [`Audit`] is a cheap handle. [`Audit::permit`] returns when the decision is on stable storage, with a [`Recorded`]:
//! the value that sending wants to see, and that nothing else can make. When it is closed, or dropped in whatever way,
//! the outcome is written; room for it was allocated beforehand. `writer` is the thread, `log` the segments behind it,
//! `frame` how bytes lie in them, `recover` what happens at start, `state` the folder with its lock and key, [`read`]
//! how records are read back without a lock.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::clock::{Clock, DecisionClock, SystemClock};
use crate::policy::{Decision, End, PastExchange};
use crate::record::{DecisionRecord, Heartbeat, Lifecycle, OutcomeRecord};
use crate::register::Version;
use writer::Job;

mod digest;
mod fold;
pub mod frame;
mod health;
mod log;
pub mod read;
mod recover;
mod state;
pub mod storage;
mod writer;

pub use digest::{DigestKey, Hasher};
pub use health::Health;
pub use read::{read, read_newest};
pub use recover::Torn;
pub use state::OpenFault;

/// The most decisions that wait for the writer at once; further ones wait before its queue.
const QUEUE: usize = 4_096;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// Name of the node; the log's name is made of it.
    pub node: Arc<str>,
    /// A segment that would grow beyond this many bytes is followed by a new one.
    pub segment_size: u64,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where segments lie, if not in the state folder's `log/`: for tests that inject faults.
    pub storage: Option<Arc<dyn storage::Storage>>,
}

impl Default for Options {
    fn default() -> Options {
        let clock = Arc::new(SystemClock::default());
        Options { node: "egress-1".into(), segment_size: 64 << 20, clock, storage: None }
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
    /// What the limits must remember: the exchanges let through in the last day or so, oldest first.
    pub history: Vec<PastExchange>,
}

/// Why something could not be put on record. Whoever gets it lets nothing through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordUnavailable {
    /// Too little room for the record and the outcome that would follow; mends itself when there is room again.
    #[error("too little room in the state folder for another record")]
    NoRoom,
    /// A write or sync failed; nothing is recorded until a restart has read the log again.
    #[error("the log stopped at a failed write ({0}); restart to verify it")]
    Latched(String),
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
}

impl Audit {
    /// Opens the state folder (made if need be), verifies its log, closes what an earlier process left open, and starts
    /// the writer.
    ///
    /// A start record, and one for a torn tail, is durable when this returns. Blocks: to be called before the reactor
    /// carries traffic.
    pub fn open(state: &Path, options: Options) -> Result<(Audit, Recovery), OpenFault> {
        let folder = state::Folder::open(state)?;
        let key = folder.digest_key()?;
        let storage = match options.storage {
            Some(storage) => storage,
            None => Arc::new(folder.segments()?),
        };
        let opened = recover::open(storage, options.segment_size)?;
        let clock = Arc::new(DecisionClock::new(options.clock, opened.recovery.last_time));
        let health = Arc::new(health::Shared::default());
        let writer = writer::Writer::new(opened.log, folder, clock.clone(), health.clone(), options.node.clone());
        let jobs = writer.start(opened.open, opened.recovery.torn.as_ref())?;
        let slots = Arc::new(Semaphore::new(QUEUE));
        Ok((Audit { jobs, slots, clock, health, key, node: options.node }, opened.recovery))
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
        let guard = (self.jobs.clone(), self.clock.clone());
        let record = Arc::new(record);
        let mut recorded = self.ask(|slot, answer| Job::Permit { record, guard, slot, answer }).await?;
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

    /// The record of each minute: a heartbeat, and a clock step if there was one. The caller beats the time.
    pub async fn heartbeat(&self, register_version: Version) -> Result<(), RecordUnavailable> {
        if let Some(by) = self.clock.step() {
            self.health.clock_stepped();
            self.note(Lifecycle::ClockStep { by }).await?;
        }
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

    async fn ask<T>(&self, job: impl FnOnce(writer::Slot, writer::Answer<T>) -> Job) -> Result<T, RecordUnavailable> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| RecordUnavailable::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(slot, answer)).map_err(|_| RecordUnavailable::Closed)?;
        answered.await.unwrap_or(Err(RecordUnavailable::Closed))
    }
}

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

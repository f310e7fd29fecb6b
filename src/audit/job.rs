//! What the writer is asked to do, and what it holds of each record while its batch is under way.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::frame::{BATCH, FRAME};
use super::{RecordUnavailable, Recorded};
use crate::clock::DecisionClock;
use crate::record::{DecisionRecord, Lifecycle, OUTCOME_MARGIN, OutcomeRecord, Record};

/// A place in the queue, held until the job is answered.
pub(super) type Slot = OwnedSemaphorePermit;
/// Where the answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, RecordUnavailable>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Denial {
        record: Box<DecisionRecord>,
        slot: Slot,
        answer: Answer<Uuid>,
    },
    Permit {
        record: Arc<DecisionRecord>,
        guard: (UnboundedSender<Job>, Arc<DecisionClock>),
        slot: Slot,
        answer: Answer<Recorded>,
    },
    Note {
        event: Lifecycle,
        slot: Slot,
        answer: Answer<()>,
    },
    Outcome {
        record: Box<OutcomeRecord>,
        room: u64,
    },
    /// Asks for nothing but a look whether there is room again.
    Look {
        _slot: Slot,
    },
    Finish {
        answer: oneshot::Sender<()>,
    },
}

/// A record of the batch under way, and whom to tell.
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) tell: Tell,
}

/// Whom to tell that a record is durable.
pub(super) enum Tell {
    Denied(Uuid, Slot, Answer<Uuid>),
    Permitted((UnboundedSender<Job>, Arc<DecisionClock>), Slot, Answer<Recorded>),
    Noted(Slot, Answer<()>),
    /// An outcome: nobody waits; its promised room is used up.
    Closed(u64),
    /// A record of the writer's own.
    Nobody,
}

/// A denial that is folded into another record, answered together with the batch.
pub(super) type Folded = (Uuid, Slot, Answer<Uuid>);

impl Entry {
    /// A permit, a would-deny or a denial that somebody waits for.
    pub(super) fn is_decision(&self) -> bool {
        matches!(self.tell, Tell::Denied(..) | Tell::Permitted(..))
    }

    pub(super) fn tells_room_again(&self) -> bool {
        matches!(&self.record, Record::Lifecycle(record) if matches!(record.event, Lifecycle::RoomAgain { .. }))
    }

    /// Bytes that the outcome of this entry may take, in a batch of its own.
    pub(super) fn promised(&self, decision: usize) -> u64 {
        match self.tell {
            Tell::Permitted(..) => BATCH + FRAME + (decision + OUTCOME_MARGIN) as u64,
            Tell::Denied(..) | Tell::Noted(..) | Tell::Closed(_) | Tell::Nobody => 0,
        }
    }
}

/// A denial that somebody waits for.
pub(super) fn denial(record: DecisionRecord, slot: Slot, answer: Answer<Uuid>) -> Entry {
    let id = record.exchange.id;
    Entry { record: Record::Decision(Arc::new(record)), tell: Tell::Denied(id, slot, answer) }
}

/// The closing record of a folding.
pub(super) fn own_denial(record: DecisionRecord) -> Entry {
    Entry { record: Record::Decision(Arc::new(record)), tell: Tell::Nobody }
}

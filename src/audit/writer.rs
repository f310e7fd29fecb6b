//! The writer: one thread that takes all that is queued, writes it as one batch, syncs once, and then answers everyone.
//!
//! Nobody is answered before the sync has returned. Outcomes come without a question and always find room; whatever
//! asks (decisions, notes) is refused when there is none. The thread ends with [`Job::Finish`], or when the last handle
//! is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::fold::{Fold, Folding};
use super::job::{Entry, Folded, Job, Tell, denial, own_denial};
use super::log::{Log, WriteFault};
use super::state::Folder;
use super::{Cause, Latch, OpenFault, RecordUnavailable, Recorded, Torn, health};
use crate::clock::DecisionClock;
use crate::policy::{Decision, End};
use crate::record::{Lifecycle, LifecycleRecord, Record, past};

/// The most jobs in one batch: about a mebibyte of records.
const MOST_JOBS: usize = 512;

pub(super) struct Writer {
    log: Log,
    /// Holds the lock of the state folder for as long as the log may be written.
    folder: Folder,
    clock: Arc<DecisionClock>,
    health: Arc<health::Shared>,
    node: Arc<str>,
    log_name: String,
    fold: Fold,
    /// Closing records of foldings that found no room, to be written before anything else.
    owed: Vec<Entry>,
    /// Records refused for lack of room since there was room last.
    refused: u64,
}

impl Writer {
    pub(super) fn new(
        log: Log,
        folder: Folder,
        clock: Arc<DecisionClock>,
        health: Arc<health::Shared>,
        node: Arc<str>,
    ) -> Writer {
        let log_name = format!("tasrih/{node}");
        Writer { log, folder, clock, health, node, log_name, fold: Fold::default(), owed: Vec::new(), refused: 0 }
    }

    /// Writes what recovery leaves to be said, then starts the thread.
    pub(super) fn start(mut self, open: Vec<Vec<u8>>, torn: Option<&Torn>) -> Result<UnboundedSender<Job>, OpenFault> {
        self.write_start(open, torn).map_err(|fault| OpenFault::Unwritable(fault.to_string()))?;
        #[allow(clippy::disallowed_methods, reason = "decisions are bounded by slots, outcomes by the open permits")]
        let (sender, jobs) = unbounded_channel();
        let thread = thread::Builder::new().name("audit-writer".to_owned());
        thread.spawn(move || self.run(jobs)).map_err(|error| OpenFault::Unwritable(error.to_string()))?;
        Ok(sender)
    }

    fn write_start(&mut self, open: Vec<Vec<u8>>, torn: Option<&Torn>) -> Result<(), RecordUnavailable> {
        let time = self.clock.now();
        let mut entries = Vec::new();
        entries.extend(torn.map(|torn| self.own(torn.lifecycle())));
        let interrupted = open.len() as u64;
        for decision in open {
            let record = past::Interrupted::new(&decision, time)
                .map_err(|fault| Latch { cause: Cause::LatchedOther, fault: fault.to_string() })
                .map_err(RecordUnavailable::Latched)?;
            entries.push(Entry { record: Record::Interrupted(Box::new(record)), tell: Tell::Nobody });
        }
        entries.push(self.own(Lifecycle::Start { interrupted }));
        self.append(&entries).map(drop).map_err(|fault| self.unavailable(&fault))
    }

    fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        let mut batch = Vec::new();
        while let Some(first) = jobs.blocking_recv() {
            batch.push(first);
            while batch.len() < MOST_JOBS
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            if let Some(answer) = self.write(std::mem::take(&mut batch)) {
                return self.finish(jobs, answer);
            }
        }
        // The last handle is gone without an orderly stop; the log says at least that it is durable up to here.
        let _ = self.log.seal();
    }

    fn finish(mut self, mut jobs: UnboundedReceiver<Job>, answer: oneshot::Sender<()>) {
        jobs.close();
        let mut left = Vec::new();
        while let Ok(job) = jobs.try_recv() {
            left.push(job);
        }
        self.write(left);
        let mut last = std::mem::take(&mut self.owed);
        last.extend(self.fold.all(self.clock.now()).into_iter().map(own_denial));
        last.push(self.own(Lifecycle::Stop));
        // A log that cannot take the stop record ends without one, as it would in a crash.
        let _ = self.append(&last);
        let _ = self.log.seal();
        // The lock is given back before the answer, so that whoever waits for it may open the folder again.
        drop(self.folder);
        let _ = answer.send(());
    }

    /// Writes a batch and tells everyone; gives back who asked for the end, if someone did.
    fn write(&mut self, jobs: Vec<Job>) -> Option<oneshot::Sender<()>> {
        let mut entries = std::mem::take(&mut self.owed);
        entries.extend(self.fold.due(self.clock.now()).into_iter().map(own_denial));
        let (mut folded, mut finish) = (Vec::new(), None);
        for job in jobs {
            match job {
                Job::Denial { record, slot, answer } => match self.fold.take(record) {
                    Folding::Write(record) => entries.push(denial(*record, slot, answer)),
                    Folding::Into(id) => folded.push((id, slot, answer)),
                },
                Job::Permit { record, guard, slot, answer } => {
                    entries
                        .push(Entry { record: Record::Decision(record), tell: Tell::Permitted(guard, slot, answer) });
                }
                Job::Note { event, slot, answer } => {
                    let entry = self.own(event);
                    entries.push(Entry { tell: Tell::Noted(slot, answer), ..entry });
                }
                Job::Outcome { record, room } => {
                    entries.push(Entry { record: Record::Outcome(record), tell: Tell::Closed(room) });
                }
                Job::Look { .. } => {}
                Job::Finish { answer } => finish = Some(answer),
            }
        }
        self.health.folded_kinds.store(self.fold.kinds() as u64, Relaxed);
        let entries = self.keep_reserve(entries);
        self.commit(entries, folded);
        finish
    }

    /// Refuses decisions while the disk is down to its reserve; what remains may use it.
    fn keep_reserve(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let decides = entries.iter().any(Entry::is_decision);
        if !decides && self.refused == 0 {
            return entries;
        }
        if self.log.is_above_reserve() {
            if self.refused > 0 {
                entries.insert(0, self.own(Lifecycle::RoomAgain { refused: self.refused }));
            }
            return entries;
        }
        let (decisions, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::is_decision);
        self.refuse_for_room(decisions);
        others
    }

    fn commit(&mut self, entries: Vec<Entry>, folded: Vec<Folded>) {
        if entries.is_empty() {
            return self.answer_folded(folded, Ok(()));
        }
        let mends = entries.iter().any(Entry::tells_room_again);
        match self.append(&entries) {
            Ok(rooms) => {
                self.refused = if mends { 0 } else { self.refused };
                self.tell_health();
                self.acknowledge(entries, &rooms);
                self.answer_folded(folded, Ok(()));
            }
            Err(WriteFault::NoRoom) => self.commit_outcomes_alone(entries, folded),
            Err(fault) => {
                let why = self.unavailable(&fault);
                entries.into_iter().for_each(|entry| self.refuse(entry, &why));
                self.answer_folded(folded, Err(why));
            }
        }
    }

    /// There is no room for what asks; the outcomes among them have theirs, and the counts of foldings can wait.
    fn commit_outcomes_alone(&mut self, entries: Vec<Entry>, folded: Vec<Folded>) {
        let (mut outcomes, mut asking) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.tell {
                Tell::Closed(_) => outcomes.push(entry),
                Tell::Nobody if matches!(entry.record, Record::Decision(_)) => self.owed.push(entry),
                Tell::Nobody => {}
                Tell::Denied(..) | Tell::Permitted(..) | Tell::Noted(..) => asking.push(entry),
            }
        }
        self.refuse_for_room(asking);
        self.answer_folded(folded, Ok(()));
        if outcomes.is_empty() {
            return;
        }
        match self.append(&outcomes) {
            Ok(rooms) => self.acknowledge(outcomes, &rooms),
            Err(fault) => {
                let why = self.unavailable(&fault);
                outcomes.into_iter().for_each(|entry| self.refuse(entry, &why));
            }
        }
    }

    /// Makes the entries durable. Gives the room that was promised for the outcome of each.
    fn append(&mut self, entries: &[Entry]) -> Result<Vec<u64>, WriteFault> {
        let logged = self.clock.wall();
        let numbered = entries.iter().zip(self.log.sequence()..);
        let records: Vec<Vec<u8>> =
            numbered.map(|(entry, sequence)| entry.record.to_json(sequence, &self.log_name, logged)).collect();
        let rooms: Vec<u64> = entries.iter().zip(&records).map(|(entry, json)| entry.promised(json.len())).collect();
        let kept = entries.iter().map(|entry| if let Tell::Closed(room) = entry.tell { room } else { 0 }).sum();
        self.log.append(&records, rooms.iter().sum(), kept)?;
        self.health.batches.fetch_add(1, Relaxed);
        self.health.durable_at.store(self.clock.wall().as_second(), Relaxed);
        self.health.reserved.store(self.log.reserved(), Relaxed);
        Ok(rooms)
    }

    fn acknowledge(&mut self, entries: Vec<Entry>, rooms: &[u64]) {
        for (entry, room) in entries.into_iter().zip(rooms) {
            match (entry.tell, entry.record) {
                (Tell::Denied(id, slot, answer), _) => {
                    self.health.denials.fetch_add(1, Relaxed);
                    drop(slot);
                    let _ = answer.send(Ok(id));
                }
                (Tell::Permitted(guard, slot, answer), Record::Decision(decision)) => {
                    self.count_let_through(decision.decision);
                    drop(slot);
                    let (jobs, clock) = guard;
                    let (room, jobs, if_dropped) = (*room, Some(jobs), End::Interrupted);
                    // Where the asker is gone, the value comes back and its drop writes the outcome.
                    let _ = answer.send(Ok(Recorded { decision, room, jobs, clock, delivered: false, if_dropped }));
                }
                (Tell::Noted(slot, answer), _) => {
                    drop(slot);
                    let _ = answer.send(Ok(()));
                }
                (Tell::Closed(_), _) => {
                    self.health.open.fetch_sub(1, Relaxed);
                }
                (Tell::Permitted(..) | Tell::Nobody, _) => {}
            }
        }
    }

    fn count_let_through(&self, decision: Decision) {
        self.health.open.fetch_add(1, Relaxed);
        match decision {
            Decision::WouldDeny => self.health.would_denials.fetch_add(1, Relaxed),
            Decision::Permit | Decision::Denial => self.health.permits.fetch_add(1, Relaxed),
        };
    }

    fn refuse_for_room(&mut self, asking: Vec<Entry>) {
        self.refused += asking.len() as u64;
        self.tell_health();
        asking.into_iter().for_each(|entry| self.refuse(entry, &RecordUnavailable::NoRoom));
    }

    fn refuse(&mut self, entry: Entry, why: &RecordUnavailable) {
        self.health.unavailable.fetch_add(1, Relaxed);
        match entry.tell {
            Tell::Denied(id, _, answer) => {
                self.fold.abandon(id);
                let _ = answer.send(Err(why.clone()));
            }
            Tell::Permitted(_, _, answer) => drop(answer.send(Err(why.clone()))),
            Tell::Noted(_, answer) => drop(answer.send(Err(why.clone()))),
            Tell::Closed(_) | Tell::Nobody => {}
        }
    }

    /// A denial that is folded needs no room of its own, if the record that it is folded into found room.
    fn answer_folded(&self, folded: Vec<Folded>, result: Result<(), RecordUnavailable>) {
        for (id, _, answer) in folded {
            let result = match self.refused == 0 || self.fold.is_open(id) {
                true => result.clone(),
                false => result.clone().and(Err(RecordUnavailable::NoRoom)),
            };
            if result.is_ok() {
                self.health.denials.fetch_add(1, Relaxed);
            }
            let _ = answer.send(result.map(|()| id));
        }
    }

    fn unavailable(&self, fault: &WriteFault) -> RecordUnavailable {
        match fault {
            WriteFault::NoRoom => RecordUnavailable::NoRoom,
            WriteFault::Latched(latch) => {
                self.health.latch(latch);
                RecordUnavailable::Latched(latch.clone())
            }
        }
    }

    fn tell_health(&self) {
        self.health.no_room(self.refused > 0);
        self.health.sequence.store(self.log.sequence(), Relaxed);
        self.health.synced.store(self.log.synced(), Relaxed);
    }

    fn own(&self, event: Lifecycle) -> Entry {
        let record = LifecycleRecord { time: self.clock.now(), node: self.node.clone(), event };
        Entry { record: Record::Lifecycle(Box::new(record)), tell: Tell::Nobody }
    }
}

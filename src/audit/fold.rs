//! Folding: many like denials within a minute become one counted record, so that a loop in some client cannot flood the
//! log.
//!
//! The first [`WRITTEN`] are written one by one. The next opens a folding: it is written, and durable before it is
//! answered, like any denial. What follows within the minute is counted and answered with the id of the opening record;
//! a closing record, joined to it by `correlation_uid`, holds the count. A process that is killed in between loses a
//! count of at most one minute, and no record.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::destination::Destination;
use crate::policy::{EntryPoint, Reason};
use crate::record::{DecisionRecord, Folded};
use crate::register::Id;

/// Like denials within a minute that are written one by one.
const WRITTEN: u64 = 60;
/// Kinds of denials that are counted at once; further ones are written one by one.
pub(super) const MOST_KINDS: usize = 1_024;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// Counts like denials.
#[derive(Default)]
pub(super) struct Fold {
    runs: HashMap<Like, Run>,
}

/// What is to be done with a denial.
pub(super) enum Folding {
    /// It is to be written.
    Write(Box<DecisionRecord>),
    /// It is counted; the record with this id stands for it.
    Into(Uuid),
}

/// What makes two denials alike.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Like {
    source: Option<Id>,
    /// Where no source is known.
    peer: Option<IpAddr>,
    entry: EntryPoint,
    reason: Option<Reason>,
    destination: Option<Destination>,
}

struct Run {
    since: Timestamp,
    seen: u64,
    /// The record that opened a folding; what came after it is `seen` beyond [`WRITTEN`] + 1.
    opened: Option<Box<DecisionRecord>>,
}

impl Fold {
    /// Takes a denial.
    pub(super) fn take(&mut self, mut record: Box<DecisionRecord>) -> Folding {
        let like = Like::of(&record);
        if !self.runs.contains_key(&like) && self.runs.len() >= MOST_KINDS {
            return Folding::Write(record);
        }
        let run = self.runs.entry(like).or_insert(Run { since: record.time, seen: 0, opened: None });
        run.seen += 1;
        if let Some(opened) = &run.opened {
            return Folding::Into(opened.exchange.id);
        }
        if run.seen > WRITTEN {
            record.folded = Some(Folded { count: 1, since: record.time, opened_by: None });
            run.opened = Some(record.clone());
        }
        Folding::Write(record)
    }

    /// Kinds of denials that are counted now.
    pub(super) fn kinds(&self) -> usize {
        self.runs.len()
    }

    /// Ends the runs that are older than a minute, and gives the closing records of those that had a folding.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<DecisionRecord> {
        self.close(now, |run| now.duration_since(run.since) >= MINUTE)
    }

    /// Ends all runs.
    pub(super) fn all(&mut self, now: Timestamp) -> Vec<DecisionRecord> {
        self.close(now, |_| true)
    }

    /// Forgets a folding whose opening record could not be written.
    pub(super) fn abandon(&mut self, id: Uuid) {
        self.runs.retain(|_, run| run.opened.as_ref().is_none_or(|opened| opened.exchange.id != id));
    }

    /// Whether a folding is open that this record stands for.
    pub(super) fn is_open(&self, id: Uuid) -> bool {
        self.runs.values().any(|run| run.opened.as_ref().is_some_and(|opened| opened.exchange.id == id))
    }

    fn close(&mut self, now: Timestamp, ends: impl Fn(&Run) -> bool) -> Vec<DecisionRecord> {
        let ended = self.runs.extract_if(|_, run| ends(run)).filter_map(|(_, run)| run.closing(now));
        ended.collect()
    }
}

impl Run {
    fn closing(self, now: Timestamp) -> Option<DecisionRecord> {
        let mut record = *self.opened?;
        let count = self.seen.saturating_sub(WRITTEN + 1);
        record.folded = Some(Folded { count, since: record.time, opened_by: Some(record.exchange.id) });
        record.exchange.id = Uuid::now_v7();
        record.time = now.max(record.time);
        (count > 0).then_some(record)
    }
}

impl Like {
    fn of(record: &DecisionRecord) -> Like {
        let source = record.exchange.source.clone();
        let peer = source.is_none().then(|| record.exchange.peer.ip());
        let destination = record.exchange.destination.clone();
        Like { source, peer, entry: record.exchange.entry, reason: record.reason, destination }
    }
}

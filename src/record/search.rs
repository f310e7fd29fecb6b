//! Finding exchanges among records: which are asked for, and decision and outcome joined into one row.

use std::collections::HashMap;

use jiff::Timestamp;

use super::past::{Kind, Past};
use crate::policy::{Decision, Reason};

/// What is asked for. An empty list asks for nothing in particular; of several values one must fit.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The first moment.
    pub since: Option<Timestamp>,
    /// The first moment that is too late.
    pub until: Option<Timestamp>,
    /// Ids of sources; an address where the source is unknown.
    pub sources: Vec<String>,
    /// Ids of recipients.
    pub recipients: Vec<String>,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// Why it was refused.
    pub reasons: Vec<Reason>,
    /// Ids of the transfers or allowances used.
    pub transfers: Vec<String>,
}

impl Query {
    /// Whether a record is asked for. An outcome is not asked by itself: it follows its decision (see [`Followers`]).
    pub fn asks_for(&self, past: &Past) -> bool {
        self.is_in_time(past.time)
            && match past.kind {
                Kind::Decision => self.fits(past),
                Kind::Outcome => false,
                Kind::Lifecycle(_) => self.is_only_of_time(),
            }
    }

    fn is_in_time(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    fn fits(&self, past: &Past) -> bool {
        let who = past.source.as_ref().or(past.peer.as_ref());
        among(&self.sources, who)
            && among(&self.recipients, past.recipient.as_ref())
            && among(&self.decisions, past.decision.as_ref())
            && among(&self.reasons, past.reason.as_ref())
            && among(&self.transfers, past.used.as_ref().map(|(_, id)| id))
    }

    /// Whether every exchange is asked for, so that the proxy's own happenings are too.
    fn is_only_of_time(&self) -> bool {
        self.sources.is_empty()
            && self.recipients.is_empty()
            && self.decisions.is_empty()
            && self.reasons.is_empty()
            && self.transfers.is_empty()
    }
}

fn among<T: PartialEq>(asked: &[T], found: Option<&T>) -> bool {
    asked.is_empty() || found.is_some_and(|found| asked.contains(found))
}

/// An exchange: its decision, and its outcome as soon as there is one.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was decided.
    pub decision: Past,
    /// How it ended; `None` for a denial, and while it is under way.
    pub outcome: Option<Past>,
}

impl Row {
    /// The references that it left under, or was to leave under: filing, else receipt.
    pub fn reference(&self) -> Option<&str> {
        self.decision.filing.as_deref().or(self.decision.receipt.as_deref())
    }

    /// Bytes that left: none for a denial, unknown while it is under way and where it was interrupted.
    pub fn bytes(&self) -> Option<u64> {
        match (self.decision.decision, &self.outcome) {
            (Some(Decision::Denial) | None, _) => Some(0),
            (_, outcome) => outcome.as_ref().and_then(Past::sent).map(|sent| sent.bytes),
        }
    }
}

/// Exchanges of a log in the order of their decisions, with outcomes that may come much later.
#[derive(Debug, Default)]
pub struct Followers {
    rows: Vec<Row>,
    /// Where the row of an exchange that waits for its outcome is.
    open: HashMap<String, usize>,
}

impl Followers {
    /// Takes a record in the order of the log; whether it is asked for, or follows one that was.
    pub fn take(&mut self, past: Past, query: &Query) -> bool {
        if past.kind == Kind::Outcome {
            return self.follow(past);
        }
        let asked = query.asks_for(&past);
        if asked && past.kind == Kind::Decision {
            self.open.extend(past.exchange.clone().map(|exchange| (exchange, self.rows.len())));
            self.rows.push(Row { decision: past, outcome: None });
        }
        asked
    }

    fn follow(&mut self, outcome: Past) -> bool {
        let place = outcome.exchange.as_ref().and_then(|exchange| self.open.remove(exchange));
        let row = place.and_then(|place| self.rows.get_mut(place));
        row.map(|row| row.outcome = Some(outcome)).is_some()
    }

    /// The exchanges.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

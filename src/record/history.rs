//! The exchanges that the limits remember, gathered while records pass by in the order of the log: what a start counts
//! again, and what an explanation of a past decision counts up to it.
//!
//! They are counted in the order of their decisions, and end in any order. Whoever takes them as they settle holds no more
//! than was under way at once, however long the log is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::past::{Kind, MEMORY, Past};
use crate::policy::{Decision, PastExchange};

/// The exchanges of the last day, open ones included.
#[derive(Debug, Default)]
pub struct History {
    newest: Option<Timestamp>,
    /// By exchange; with the sequence number of the decision.
    open: HashMap<String, (u64, Option<PastExchange>)>,
    /// Those of them that are charged, in the order of `closed`.
    charged: BTreeSet<(Timestamp, u64)>,
    /// By time of the decision and its sequence number.
    closed: BTreeMap<(Timestamp, u64), PastExchange>,
}

impl History {
    /// Takes the next record of the log.
    pub fn take(&mut self, past: &Past) {
        self.newest = self.newest.max(Some(past.time));
        let Some(exchange) = &past.exchange else { return };
        match past.kind {
            Kind::Decision if past.decision != Some(Decision::Denial) => {
                let charged = past.charged();
                self.charged.extend(charged.as_ref().map(|charged| (charged.time, past.sequence)));
                self.open.insert(exchange.clone(), (past.sequence, charged));
            }
            Kind::Outcome => {
                let Some((sequence, Some(charged))) = self.open.remove(exchange) else { return };
                self.charged.remove(&(charged.time, sequence));
                self.remember(sequence, PastExchange { outcome: past.sent(), ..charged });
            }
            Kind::Decision | Kind::Lifecycle(_) => {}
        }
    }

    /// Time of the newest record.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// What is remembered, in the order of the decisions. What is still open counts as sent.
    pub fn exchanges(&self) -> Vec<PastExchange> {
        let open = self.open.values().filter_map(|(sequence, charged)| {
            let charged = charged.clone()?;
            Some(((charged.time, *sequence), charged))
        });
        let mut all = self.closed.clone();
        all.extend(open);
        all.into_values().collect()
    }

    /// Takes out the first that has ended, if no decision before it is still open.
    pub fn next_settled(&mut self) -> Option<PastExchange> {
        let first = self.closed.first_entry()?;
        let is_settled = self.charged.first().is_none_or(|open| first.key() < open);
        is_settled.then(|| first.remove())
    }

    fn remember(&mut self, sequence: u64, charged: PastExchange) {
        self.closed.insert((charged.time, sequence), charged);
        let Some(oldest) = self.newest.and_then(|newest| newest.checked_sub(MEMORY).ok()) else { return };
        while self.closed.first_key_value().is_some_and(|((time, _), _)| *time < oldest) {
            self.closed.pop_first();
        }
    }
}

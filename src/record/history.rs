//! The exchanges that the limits remember, gathered while records pass by in the order of the log: what a start counts
//! again, and what an explanation of a past decision counts up to it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::past::{Kind, MEMORY, Past};
use crate::policy::{Decision, PastExchange};

/// The exchanges of the last day, open ones included.
#[derive(Debug, Default)]
pub struct History {
    newest: Option<Timestamp>,
    /// By exchange; with the sequence number of the decision.
    open: HashMap<String, (u64, Option<PastExchange>)>,
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
                self.open.insert(exchange.clone(), (past.sequence, past.charged()));
            }
            Kind::Outcome => {
                let Some((sequence, charged)) = self.open.remove(exchange) else { return };
                self.remember(sequence, charged.map(|charged| PastExchange { outcome: past.sent(), ..charged }));
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

    fn remember(&mut self, sequence: u64, charged: Option<PastExchange>) {
        self.closed.extend(charged.map(|charged| ((charged.time, sequence), charged)));
        let Some(oldest) = self.newest.and_then(|newest| newest.checked_sub(MEMORY).ok()) else { return };
        while self.closed.first_key_value().is_some_and(|((time, _), _)| *time < oldest) {
            self.closed.pop_first();
        }
    }
}

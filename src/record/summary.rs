//! Exchanges added up: how many of one source with one recipient were decided alike, and for which reason.
//!
//! What `observe` let pass and `enforce` would have refused is found here before an officer turns the mode.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::search::Row;
use crate::policy::{CandidateKind, Decision, Reason};

/// What exchanges have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// What was decided.
    pub decision: Decision,
    /// Why it was refused, or would have been.
    pub reason: Option<Reason>,
    /// Id of the declared source, else the address of the client.
    pub source: String,
    /// Id of the recipient, else the destination.
    pub recipient: String,
    /// The transfer or allowance used.
    pub used: Option<(CandidateKind, String)>,
}

/// How many, how much and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Exchanges, those included that a folded record stands for.
    pub exchanges: u64,
    /// Bytes that left; of exchanges under way or interrupted none are counted.
    pub bytes: u64,
    /// The first decision.
    pub first: Timestamp,
    /// The last decision.
    pub last: Timestamp,
}

impl Sum {
    fn with(self, other: Sum) -> Sum {
        Sum {
            exchanges: self.exchanges.saturating_add(other.exchanges),
            bytes: self.bytes.saturating_add(other.bytes),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// Adds exchanges up. What left undeclared comes first (`would-deny`), then what was refused, then what was permitted;
/// within each the most frequent.
pub fn summary(rows: &[Row]) -> Vec<(Alike, Sum)> {
    let mut sums: BTreeMap<Alike, Sum> = BTreeMap::new();
    for row in rows {
        let Some(alike) = alike(row) else { continue };
        let past = &row.decision;
        let one = Sum { exchanges: past.count, bytes: row.bytes().unwrap_or(0), first: past.time, last: past.time };
        sums.entry(alike).and_modify(|sum| *sum = sum.with(one)).or_insert(one);
    }
    let mut sums: Vec<(Alike, Sum)> = sums.into_iter().collect();
    sums.sort_by_key(|(alike, sum)| (Reverse(alike.decision), Reverse(sum.exchanges)));
    sums
}

/// `None` for a record that is no exchange.
fn alike(row: &Row) -> Option<Alike> {
    let past = &row.decision;
    let known = |first: &Option<String>, second: &Option<String>| {
        first.as_ref().or(second.as_ref()).map_or("?", String::as_str).to_owned()
    };
    Some(Alike {
        decision: past.decision?,
        reason: past.reason,
        source: known(&past.source, &past.peer),
        recipient: known(&past.recipient, &past.destination),
        used: past.used.clone(),
    })
}

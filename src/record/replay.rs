//! Recorded exchanges, decided again by another register: what it would change, and what the records do not tell.
//!
//! Records hold no body, query or hidden path segment, so not everything can be decided again. What was refused before
//! its body was read can be followed to the end of the head: [`After::Onward`] says that the other register would read
//! on. Frequencies and volumes are counted as they would have been under the other register.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::facts::{Facts, is_of_no_register};
use super::past::{Kind, Past};
use crate::policy::{Decision, Ledger, Reason};
use crate::register::Register;

/// A register that recorded exchanges are decided by again.
pub struct Replay {
    register: Arc<Register>,
    ledger: Ledger,
}

/// A decision as it was, and as it would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Compared {
    /// As it was.
    pub before: Before,
    /// As it would be.
    pub after: After,
}

/// A decision as it was.
pub type Before = Ruled;

/// What was decided, why, and what was used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ruled {
    /// The decision's word.
    pub decision: &'static str,
    /// The reason's word.
    pub reason: Option<&'static str>,
    /// Id of the transfer or allowance used.
    pub used: Option<String>,
}

/// A decision as it would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// This.
    Ruled(Ruled),
    /// It would get further than it did; what would be judged next is not on record.
    Onward,
}

/// Why something cannot be decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// It was refused for what no register decides: a fault of the client, the way, or the proxy.
    NotOfRegister,
    /// A path segment is not shown in the record, and the register asks for it.
    HiddenPath,
    /// It names no destination, or the record is of no exchange that can be asked again.
    Incomplete,
}

impl Unknown {
    /// The sentence for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unknown::NotOfRegister => "ended by the client, the way or the proxy, where no register has a say",
            Unknown::HiddenPath => "the path is not shown in the record, and the new register asks for it",
            Unknown::Incomplete => "the record does not say enough of the request",
        }
    }
}

impl Ruled {
    pub(super) fn of(decision: Decision, reason: Option<Reason>, used: Option<String>) -> Ruled {
        Ruled { decision: decision.as_str(), reason: reason.map(Reason::as_str), used }
    }
}

impl std::fmt::Display for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.decision)?;
        self.reason.iter().try_for_each(|reason| write!(f, " {reason}"))?;
        match (self.reason, &self.used) {
            (None, Some(used)) => write!(f, " under {used}"),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            After::Ruled(ruled) => ruled.fmt(f),
            After::Onward => f.write_str("goes on to what was not read then"),
        }
    }
}

impl Compared {
    /// Whether the other register decides otherwise.
    pub fn differs(&self) -> bool {
        self.after != After::Ruled(self.before.clone())
    }
}

impl Replay {
    /// Decides by `register`; nothing was sent before.
    pub fn new(register: Arc<Register>) -> Replay {
        Replay { register, ledger: Ledger::default() }
    }

    /// Decides a recorded decision again. `outcome` is how it ended, where it was let through.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn again(&mut self, past: &Past, outcome: Option<&Past>) -> Result<Compared, Unknown> {
        if past.kind != Kind::Decision {
            return Err(Unknown::Incomplete);
        }
        if past.reason.is_some_and(is_of_no_register) {
            return Err(Unknown::NotOfRegister);
        }
        let facts = Facts::of(past, &self.register)?;
        let answer = facts.answer(&self.register, &mut self.ledger, outcome);
        facts.compare(&answer)
    }

    /// Forgets charges that no limit asks for any more.
    pub fn prune(&mut self, now: Timestamp) {
        self.ledger.prune(now);
    }
}

/// Decisions that change alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Source, or address.
    pub source: String,
    /// `host:port`.
    pub destination: String,
    /// Before and after.
    pub compared: Compared,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Tally {
    groups: BTreeMap<(Compared, String, String), Group>,
    /// Decisions that would be the same.
    pub same: u64,
    /// Decisions that cannot be made again, by cause.
    pub unknown: BTreeMap<Unknown, u64>,
}

impl Tally {
    /// Adds what came of one decision.
    pub fn add(&mut self, past: &Past, compared: Result<Compared, Unknown>) {
        let compared = match compared {
            Err(unknown) => return *self.unknown.entry(unknown).or_default() += past.count,
            Ok(compared) if !compared.differs() => return self.same += past.count,
            Ok(compared) => compared,
        };
        let source = past.source.clone().or_else(|| past.peer.clone()).unwrap_or_default();
        let destination = past.destination.clone().unwrap_or_default();
        let key = (compared.clone(), source.clone(), destination.clone());
        let new = || Group { source, destination, compared, count: 0, first: past.time, last: past.time };
        let group = self.groups.entry(key).or_insert_with(new);
        group.count += past.count;
        group.first = group.first.min(past.time);
        group.last = group.last.max(past.time);
    }

    /// What changes, the most frequent first.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }

    /// How many decisions change.
    pub fn changed(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// How many decisions could not be made again.
    pub fn unknown(&self) -> u64 {
        self.unknown.values().sum()
    }
}

//! The two sides held against each other: what a recipient says it received, and what the records say was let through.
//!
//! Pure. A request under a transfer carries the id of its record in its stamp, so it is matched with exactly that record;
//! one under an allowance has no stamp and is matched by its size. Of an exchange that was cut off, the records say that it
//! may have arrived: it is no disagreement that it did, nor that it did not.

use std::collections::HashMap;
use std::fmt;

use crate::policy::{CandidateKind, Decision, Digest, End};
use crate::record::past::{Kind, Past};

/// What a recipient says.
#[derive(Clone, Debug)]
pub struct Account {
    /// What people call it.
    pub name: &'static str,
    /// `host:port`, as records name it.
    pub destination: String,
    /// Whether anything may reach it at all.
    pub may_receive: bool,
    /// Connections it accepted.
    pub connections: u64,
    /// Bytes that came through them, TLS handshakes included.
    pub bytes: u64,
    /// Requests that arrived whole, in their order.
    pub requests: Vec<Arrived>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The record's id in its stamp, if it has one.
    pub record: Option<String>,
    /// Bytes of its body.
    pub size: u64,
    /// Digest of its body under the log's key.
    pub digest: Digest,
}

/// Where the two sides differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// A request arrived that no record lets through.
    NoRecord {
        /// The id in its stamp.
        stamped: Option<String>,
    },
    /// Two requests arrived for one record.
    Twice {
        /// The record.
        record: String,
    },
    /// Another body arrived than the one on record.
    Body {
        /// The record.
        record: String,
    },
    /// The records say that the recipient answered, and it knows nothing of it.
    NotArrived {
        /// The record.
        record: String,
    },
    /// Somebody to whom nothing may go was reached all the same.
    Reached {
        /// Connections that it saw.
        connections: u64,
        /// Bytes that it saw.
        bytes: u64,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::NoRecord { stamped: Some(id) } => {
                write!(f, "a request arrived under record {id}, and there is none")
            }
            Disagreement::NoRecord { stamped: None } => write!(f, "a request arrived that no record lets through"),
            Disagreement::Twice { record } => write!(f, "two requests arrived under record {record}"),
            Disagreement::Body { record } => write!(f, "another body arrived than the one in record {record}"),
            Disagreement::NotArrived { record } => write!(f, "record {record} was answered, and nothing arrived"),
            Disagreement::Reached { connections, bytes } => {
                write!(f, "{connections} connections and {bytes} bytes, where nothing may arrive")
            }
        }
    }
}

/// One recipient, from both sides.
#[derive(Clone, Debug)]
pub struct Side {
    /// What the recipient says.
    pub account: Account,
    /// Exchanges that the records let through to it.
    pub let_through: usize,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// How many of them were cut off.
    pub interrupted: usize,
    /// Where the two differ; empty if they agree.
    pub disagreements: Vec<Disagreement>,
}

impl Side {
    /// Bytes of the bodies that arrived.
    pub fn arrived_bytes(&self) -> u64 {
        self.account.requests.iter().map(|request| request.size).sum()
    }
}

/// Holds the account of one recipient against all records of the run.
pub fn compare(account: Account, records: &[Past]) -> Side {
    let ends = ends(records);
    let let_through: Vec<&Past> = let_through(records)
        .filter(|decision| decision.destination.as_deref() == Some(account.destination.as_str()))
        .collect();
    let size = |decision: &Past| decision.body.map_or(0, |(size, _)| size);
    let end = |decision: &Past| ends.get(decision.exchange.as_deref().unwrap_or_default()).copied();
    let mut disagreements = Vec::new();
    let mut unmatched = let_through.clone();
    for arrived in &account.requests {
        match unmatched.iter().position(|decision| is_of(arrived, decision)) {
            Some(place) => {
                let decision = unmatched.remove(place);
                if !same_body(arrived, decision) {
                    disagreements.push(Disagreement::Body { record: decision.uid.clone() });
                }
            }
            None => disagreements.push(without_record(arrived, &let_through)),
        }
    }
    let missing = unmatched.iter().filter(|decision| end(decision) == Some(End::Answered));
    disagreements.extend(missing.map(|decision| Disagreement::NotArrived { record: decision.uid.clone() }));
    if !account.may_receive && (account.connections > 0 || account.bytes > 0) {
        disagreements.push(Disagreement::Reached { connections: account.connections, bytes: account.bytes });
    }
    Side {
        let_through: let_through.len(),
        bytes: let_through.iter().map(|decision| size(decision)).sum(),
        interrupted: let_through.iter().filter(|decision| end(decision) == Some(End::Interrupted)).count(),
        disagreements,
        account,
    }
}

/// The decisions that let an exchange through.
pub fn let_through(records: &[Past]) -> impl Iterator<Item = &Past> {
    let lets = |record: &&Past| matches!(record.decision, Some(Decision::Permit | Decision::WouldDeny));
    records.iter().filter(|record| record.kind == Kind::Decision).filter(lets)
}

/// How each exchange ended, by its id.
pub fn ends(records: &[Past]) -> HashMap<&str, End> {
    let outcomes = records.iter().filter(|record| record.kind == Kind::Outcome);
    outcomes.filter_map(|outcome| Some((outcome.exchange.as_deref()?, outcome.end?))).collect()
}

fn is_of(arrived: &Arrived, decision: &Past) -> bool {
    match &arrived.record {
        Some(id) => decision.uid == *id,
        None => {
            let allowed = matches!(decision.used, Some((CandidateKind::Allowance, _)));
            allowed && decision.body.map_or(0, |(size, _)| size) == arrived.size
        }
    }
}

fn same_body(arrived: &Arrived, decision: &Past) -> bool {
    let (size, digest) = decision.body.unwrap_or((0, None));
    size == arrived.size && digest.is_none_or(|digest| digest == arrived.digest)
}

fn without_record(arrived: &Arrived, let_through: &[&Past]) -> Disagreement {
    match &arrived.record {
        Some(id) if let_through.iter().any(|decision| decision.uid == *id) => {
            Disagreement::Twice { record: id.clone() }
        }
        stamped => Disagreement::NoRecord { stamped: stamped.clone() },
    }
}

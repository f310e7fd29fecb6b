//! Flows: the recurring exchanges of one source with one destination, and the period that they keep.
//!
//! The case that this project began with was a flow: a picture every five minutes, for years, and nobody had declared it.
//! [`Flows`] takes exchanges one by one, in bounded memory; [`beat`] finds the period; [`draft`] makes a declaration of
//! what was seen. A flow belongs to the declared source, however many addresses it sends from; who is no declared source
//! is known by the address.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::policy::{CandidateKind, Decision, Reason};
use crate::record::DecisionRecord;
use crate::record::past::{Kind, Past};

pub mod beat;
pub mod draft;
mod shape;
mod watch;
mod written;

pub use beat::Beat;
pub use shape::Shape;
pub use watch::{Look, Watched};

/// Moments of one flow that its period is looked for in: at five minutes nearly two days.
const MOMENTS: usize = 512;
/// Exchanges closer to the last moment than this are part of it, in milliseconds: parallel requests of one page.
const AT_ONCE: i64 = 250;
/// Categories and addresses remembered of one flow.
const MOST_SEEN: usize = 32;

/// Names a flow: the first 48 bits of SHA-256 over source and destination, so that it stays the same from run to run and
/// from node to node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId([u8; 6]);

impl FlowId {
    /// The id of the flow from `source` (an id, or an address) to `destination` (`host:port`).
    pub fn of(source: &str, destination: &str) -> FlowId {
        let digest = Sha256::new().chain_update(source).chain_update([0]).chain_update(destination).finalize();
        let mut id = [0; 6];
        id.copy_from_slice(&digest[..6]);
        FlowId(id)
    }

    /// Reads twelve hexadecimal digits.
    pub fn parse(text: &str) -> Option<FlowId> {
        let is_hex = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u64::from_str_radix(text, 16).ok())??;
        let mut id = [0; 6];
        id.copy_from_slice(&number.to_be_bytes()[2..]);
        Some(FlowId(id))
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One decision, as far as flows are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it was decided.
    pub time: Timestamp,
    /// The declared source, or the client's address.
    pub source: String,
    /// The client's address.
    pub peer: Option<String>,
    /// `host:port`.
    pub destination: String,
    /// The recipient that the destination belongs to.
    pub recipient: Option<String>,
    /// What was decided.
    pub decision: Decision,
    /// Why it was, or would have been, refused.
    pub reason: Option<Reason>,
    /// The transfer or allowance used.
    pub used: Option<(CandidateKind, String)>,
    /// What target and body were taken for.
    pub categories: Vec<String>,
    /// Exchanges that it stands for.
    pub count: u64,
}

impl Sighting {
    /// What a record read back says; `None` for what is no decision about a destination.
    pub fn of_past(past: &Past) -> Option<Sighting> {
        if past.kind != Kind::Decision {
            return None;
        }
        Some(Sighting {
            time: past.time,
            source: past.source.clone().or_else(|| past.peer.clone())?,
            peer: past.peer.clone(),
            destination: past.destination.clone()?,
            recipient: past.recipient.clone(),
            decision: past.decision?,
            reason: past.reason,
            used: past.used.clone(),
            categories: past.seen.categories.clone(),
            count: past.count,
        })
    }

    /// What a record about to be written says; `None` where no destination was understood.
    pub fn of_record(record: &DecisionRecord) -> Option<Sighting> {
        let (exchange, peer) = (&record.exchange, record.exchange.peer.ip().to_string());
        let destination = exchange.destination.as_ref()?;
        Some(Sighting {
            time: record.time,
            source: exchange.source.as_ref().map_or_else(|| peer.clone(), ToString::to_string),
            peer: Some(peer),
            destination: crate::record::past::place(&destination.host.to_string(), Some(destination.port)),
            recipient: record.recipient.as_ref().map(ToString::to_string),
            decision: record.decision,
            reason: record.reason,
            used: record.used.as_ref().map(|used| (used.kind, used.id.to_string())),
            categories: record.categories.iter().map(ToString::to_string).collect(),
            count: record.folded.as_ref().map_or(1, |folded| folded.count),
        })
    }
}

/// What the register says to a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leaves under a transfer or an allowance.
    Declared(CandidateKind, String),
    /// No declaration lets it leave, for this reason.
    Undeclared(Reason),
    /// Nothing but faults, limits and orders was seen: they say nothing about declarations.
    Unknown,
}

/// The exchanges of one source with one destination.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub id: FlowId,
    /// The declared source, or the client's address.
    pub source: String,
    /// `host:port`.
    pub destination: String,
    /// The recipient that the destination belongs to; `None` where nobody is declared.
    pub recipient: Option<String>,
    /// Addresses that it came from, as far as they are remembered.
    pub peers: BTreeSet<String>,
    /// Exchanges, refused ones included.
    pub count: u64,
    /// Bytes that left.
    pub bytes: u64,
    /// The first exchange.
    pub first: Timestamp,
    /// The last exchange.
    pub last: Timestamp,
    /// What was seen in it.
    pub categories: BTreeSet<String>,
    /// What was decided last, and why.
    pub decision: (Decision, Option<Reason>),
    /// Whether it is declared.
    pub standing: Standing,
    /// The newest moments, ascending, in milliseconds.
    moments: VecDeque<i64>,
}

impl Flow {
    fn new(id: FlowId, sighting: &Sighting) -> Flow {
        Flow {
            id,
            source: sighting.source.clone(),
            destination: sighting.destination.clone(),
            recipient: None,
            peers: BTreeSet::new(),
            count: 0,
            bytes: 0,
            first: sighting.time,
            last: sighting.time,
            categories: BTreeSet::new(),
            decision: (sighting.decision, sighting.reason),
            standing: Standing::Unknown,
            moments: VecDeque::new(),
        }
    }

    /// The period that it keeps, if it keeps one. Looked for anew each time, which takes some milliseconds.
    pub fn beat(&self) -> Option<Beat> {
        beat::find(&self.moments.iter().copied().collect::<Vec<_>>())
    }

    /// Whether no declaration lets it leave.
    pub fn is_undeclared(&self) -> bool {
        matches!(self.standing, Standing::Undeclared(_))
    }

    fn take(&mut self, sighting: &Sighting) {
        self.count += sighting.count;
        self.first = self.first.min(sighting.time);
        if sighting.time >= self.last {
            self.last = sighting.time;
            self.decision = (sighting.decision, sighting.reason);
            self.recipient.clone_from(&sighting.recipient);
            self.stand(sighting);
        }
        let room = MOST_SEEN.saturating_sub(self.categories.len());
        self.categories.extend(sighting.categories.iter().take(room).cloned());
        if self.peers.len() < MOST_SEEN {
            self.peers.extend(sighting.peer.clone());
        }
        self.mark(sighting.time.as_millisecond());
    }

    fn stand(&mut self, sighting: &Sighting) {
        match (sighting.reason, &sighting.used) {
            (None, Some((kind, id))) => self.standing = Standing::Declared(*kind, id.clone()),
            (Some(reason), _) if is_of_declarations(reason) => self.standing = Standing::Undeclared(reason),
            _ => {}
        }
    }

    /// Remembers a moment. Logs of several nodes may bring older ones later.
    fn mark(&mut self, moment: i64) {
        let place = self.moments.partition_point(|known| *known <= moment);
        let near = |other: Option<&i64>| other.is_some_and(|other| (other - moment).abs() < AT_ONCE);
        if near(place.checked_sub(1).and_then(|before| self.moments.get(before))) || near(self.moments.get(place)) {
            return;
        }
        self.moments.insert(place, moment);
        if self.moments.len() > MOMENTS {
            self.moments.pop_front();
        }
    }
}

/// Whether a reason says that a declaration is missing, or does not cover what is sent. Limits, orders, and faults of the
/// client, the way or the proxy do not.
fn is_of_declarations(reason: Reason) -> bool {
    match reason {
        Reason::SourceUnknown
        | Reason::PortNotDeclared
        | Reason::CleartextNotDeclared
        | Reason::NoDeclaration
        | Reason::SourceNotDeclared
        | Reason::FilingMissing
        | Reason::FilingNotGranted
        | Reason::FilingRefused
        | Reason::FilingSuspended
        | Reason::FilingWithdrawn
        | Reason::NotYetValid
        | Reason::Expired
        | Reason::ReceiptMissing
        | Reason::BasisImpossible
        | Reason::MethodNotDeclared
        | Reason::PathNotDeclared
        | Reason::ContentTypeNotDeclared
        | Reason::Uninspectable
        | Reason::CategoryNotDeclared
        | Reason::SensitiveNotAuthorised => true,
        Reason::MalformedRequest
        | Reason::AmbiguousDestination
        | Reason::Loop
        | Reason::CredentialsRequired
        | Reason::ClientTimeout
        | Reason::ClientClosed
        | Reason::SuspendedByOrder
        | Reason::AddressRefused
        | Reason::NumericHost
        | Reason::Unresolvable
        | Reason::Unreachable
        | Reason::UpstreamFault
        | Reason::SniMismatch
        | Reason::TlsIdentityMismatch
        | Reason::TlsTooOld
        | Reason::MeasureMissing
        | Reason::CountryMismatch
        | Reason::TooLarge
        | Reason::TooFrequent
        | Reason::DayLimit
        | Reason::VolumeLimit
        | Reason::Busy
        | Reason::RecordUnavailable => false,
    }
}

/// All flows, up to a bound: when there are more, those with fewest exchanges that were silent longest are forgotten.
#[derive(Debug)]
pub struct Flows {
    flows: HashMap<FlowId, Flow>,
    most: usize,
    forgotten: u64,
}

impl Flows {
    /// The most flows that a running proxy remembers: some 16 MiB if each is at its fullest.
    pub const MOST: usize = 4_096;

    /// None yet, and room for `most`.
    pub fn new(most: usize) -> Flows {
        Flows { flows: HashMap::new(), most: most.max(1), forgotten: 0 }
    }

    /// Takes a decision; gives the flow that it belongs to.
    pub fn see(&mut self, sighting: &Sighting) -> &Flow {
        let id = FlowId::of(&sighting.source, &sighting.destination);
        if self.flows.len() >= self.most && !self.flows.contains_key(&id) {
            self.forget_some();
        }
        let flow = self.flows.entry(id).or_insert_with(|| Flow::new(id, sighting));
        flow.take(sighting);
        flow
    }

    /// Counts bytes that left, where the flow is known.
    pub fn sent(&mut self, source: &str, destination: &str, bytes: u64) {
        if let Some(flow) = self.flows.get_mut(&FlowId::of(source, destination)) {
            flow.bytes += bytes;
        }
    }

    /// Takes a record read back, whatever it is about.
    pub fn take(&mut self, past: &Past) {
        if let Some(sighting) = Sighting::of_past(past) {
            self.see(&sighting);
        } else if past.kind == Kind::Outcome
            && let (Some(source), Some(destination)) =
                (past.source.as_ref().or(past.peer.as_ref()), past.destination.as_ref())
        {
            self.sent(source, destination, past.bytes_out);
        }
    }

    /// The flow of this name.
    pub fn get(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(&id)
    }

    /// Every flow, in the order of source and destination.
    pub fn sorted(&self) -> Vec<&Flow> {
        let mut flows: Vec<&Flow> = self.flows.values().collect();
        flows.sort_by(|one, other| (&one.source, &one.destination).cmp(&(&other.source, &other.destination)));
        flows
    }

    /// How many flows were forgotten for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Makes room for some. Who asks for ten thousand hosts once must not push out what another source sends every five
    /// minutes: the source with most flows gives up its own.
    fn forget_some(&mut self) {
        let mut of_source: HashMap<&str, usize> = HashMap::new();
        for flow in self.flows.values() {
            *of_source.entry(&flow.source).or_default() += 1;
        }
        let rank = |flow: &Flow| (Reverse(of_source[flow.source.as_str()]), flow.moments.len().min(8), flow.last);
        let mut ranked: Vec<_> = self.flows.values().map(|flow| (rank(flow), flow.id)).collect();
        ranked.sort_unstable();
        for (_, id) in ranked.into_iter().take((self.most / 16).max(1)) {
            self.flows.remove(&id);
            self.forgotten += 1;
        }
    }
}

/// A duration as people say it: `5 min`, `1 h 30 min`, `2.5 s`.
pub fn spoken(duration: std::time::Duration) -> String {
    let tenths = (duration.as_secs_f64() * 10.0).round();
    let seconds = (tenths / 10.0).round() as u64;
    let two = |large: u64, unit: &str, small: u64, of: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {of}"),
    };
    match seconds {
        0..=9 if tenths % 10.0 != 0.0 => format!("{:.1} s", tenths / 10.0),
        0..=59 => format!("{seconds} s"),
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", (seconds % 3_600 + 30) / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", (seconds % 86_400 + 1_800) / 3_600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests;

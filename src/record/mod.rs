//! What an exchange leaves behind: records as plain structs, and the OCSF 1.8.0 event that each becomes.
//!
//! A permit or would-deny has two records, the decision and the outcome, joined by `metadata.correlation_uid`; a denial
//! has one. The proxy's own life (start, stop, register loaded, heartbeat) is on record too, because silence must be
//! visible. Nothing here holds a query, a cookie, a credential, a body or a value that was found; [`path`] shows what a
//! path may show. Nothing here writes: [`crate::audit`] gives each record its sequence number and keeps it. [`past`]
//! reads records back, [`search`] finds exchanges among them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::destination::Destination;
use crate::inspect::{Content, Findings, protocol::Protocol};
use crate::policy::{CandidateKind, CandidateReport, Decision, Digest, End, EntryPoint, Reason, Stage, TlsFacts};
use crate::register::{Allowance, Id, Mode, Transfer, Version};
use crate::vocabulary::{Country, Regime, Term};

mod event;
pub mod facts;
mod happening;
pub mod history;
mod lifecycle;
pub mod past;
pub mod path;
pub mod replay;
pub mod search;
pub mod summary;
mod unmapped;

pub use happening::{Asker, Heartbeat, Lifecycle, LifecycleRecord, Ordered, Origin, RecognisedFlow, Since};

/// The most bytes that one record may take (C2SP tlog-tiles allows 65,535 for an entry; the rest is room for what joins
/// it later).
pub const MAX_BYTES: usize = 60_000;

/// By how much an outcome may be larger than the decision that it closes, in bytes: its own members are numbers and
/// closed words.
pub const OUTCOME_MARGIN: usize = 1_024;

/// Anything that the log holds.
#[derive(Clone, Debug)]
pub enum Record {
    /// What was decided about an exchange, before any byte of it left.
    Decision(Arc<DecisionRecord>),
    /// How a permitted exchange ended.
    Outcome(Box<OutcomeRecord>),
    /// The `interrupted` outcome of a decision that an earlier process left open.
    Interrupted(Box<past::Interrupted>),
    /// What happened to the proxy itself.
    Lifecycle(Box<LifecycleRecord>),
}

impl Record {
    /// The record as canonical JSON (RFC 8785), at most [`MAX_BYTES`] long.
    ///
    /// `sequence` is the record's place in the node's log, `log_name` the log's name, `logged` when the writer took it.
    pub fn to_json(&self, sequence: u64, log_name: &str, logged: Timestamp) -> Vec<u8> {
        let place = event::Place { sequence, log_name, logged };
        match self {
            Record::Decision(decision) => event::decision(decision, &place),
            Record::Outcome(outcome) => event::outcome(outcome, &place),
            Record::Interrupted(interrupted) => event::bounded(interrupted.event(&place)),
            Record::Lifecycle(lifecycle) => event::bounded(lifecycle::event(lifecycle, &place)),
        }
    }

    /// When what is recorded happened.
    pub fn time(&self) -> Timestamp {
        match self {
            Record::Decision(decision) => decision.time,
            Record::Outcome(outcome) => outcome.time,
            Record::Interrupted(interrupted) => interrupted.time,
            Record::Lifecycle(lifecycle) => lifecycle.time,
        }
    }
}

/// What decision and outcome both say about an exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// UUIDv7: `metadata.uid` of the decision, `metadata.correlation_uid` of both.
    pub id: Uuid,
    /// Name of the node.
    pub node: Arc<str>,
    /// Names the client's connection, so that the exchanges of one connection can be seen together.
    pub connection: String,
    /// How the traffic came in.
    pub entry: EntryPoint,
    /// The client's address, as the listener saw it.
    pub peer: SocketAddr,
    /// The listener's own address on this connection.
    pub proxy: SocketAddr,
    /// The declared source, once it is identified.
    pub source: Option<Id>,
    /// User name that the client proved, if any.
    pub user: Option<String>,
    /// Where the exchange is to go; absent while the request names none that can be understood.
    pub destination: Option<Destination>,
    /// The HTTP request; absent for a tunnel, and for a CONNECT that was judged before its inner requests.
    pub request: Option<RequestShown>,
    /// Version of the register that decided.
    pub register_version: Version,
    /// The names that the destination's name was an alias of when it was resolved, in the order of the chain.
    pub aliases: Vec<String>,
    /// The checked address, once one is chosen.
    pub address: Option<SocketAddr>,
    /// Country of that address, where it is known.
    pub country: Option<Country>,
    /// TLS towards the recipient.
    pub tls: Option<TlsFacts>,
    /// The alert with which the client refused the interception authority's certificate, as RFC 8446 §6 names it.
    pub client_alert: Option<String>,
    /// The client offered an encrypted ClientHello: the name that was seen is the outer one.
    pub ech_offered: bool,
    /// What is spoken over a connection that is neither HTTP nor TLS, by its first bytes.
    pub protocol: Option<Protocol>,
    /// The balancer that named the client's address; without one it is the other end of the connection.
    pub balancer: Option<SocketAddr>,
    /// The address that the client dialled, where the network led it to the proxy; it is not the one that is dialled by us.
    pub redirected: Option<SocketAddr>,
}

/// What a record shows of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestShown {
    /// Method as sent.
    pub method: String,
    /// The path as [`path::shown`] gives it.
    pub path: String,
    /// Keyed digest of the whole path, where there is a path.
    pub path_digest: Option<Digest>,
    /// `1.0` or `1.1`.
    pub http_version: &'static str,
    /// The declared media type, without parameters.
    pub content_type: Option<String>,
    /// The declared length in bytes.
    pub length: Option<u64>,
}

/// What was verified before the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verified {
    /// The address dialled came from resolving the declared name.
    Name,
    /// The server name that the client asked for is the declared one.
    Sni,
    /// The recipient's certificate chain and name (and pins, where declared).
    Certificate,
    /// Method, path and content type of the request.
    Request,
    /// The whole body.
    Body,
}

impl Verified {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Verified::Name => "name",
            Verified::Sni => "sni",
            Verified::Certificate => "certificate",
            Verified::Request => "request",
            Verified::Body => "body",
        }
    }
}

impl DecisionRecord {
    /// Whether there was anything in the exchange beside method and path; without, it is charged to no limit.
    pub fn has_content(&self) -> bool {
        let nothing = matches!(self.findings.content, Content::Empty)
            && self.findings.found.is_empty()
            && self.findings.unread.is_none();
        !nothing || self.body.as_ref().is_some_and(|body| body.size > 0)
    }
}

/// Size and digest of a body that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyShown {
    /// Bytes after transfer-coding, before content-coding.
    pub size: u64,
    /// Keyed digest; absent where the body was not held.
    pub digest: Option<Digest>,
}

/// What a record says about the transfer or allowance that was used, as its declaration had it at that moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// A transfer or an allowance.
    pub kind: CandidateKind,
    /// Its id.
    pub id: Id,
    /// The processing that it belongs to.
    pub processing: Option<Id>,
    /// The recipient's id.
    pub recipient: Option<Id>,
    /// The recipient's name.
    pub recipient_name: Option<String>,
    /// The recipient's declared country.
    pub country: Option<Country>,
    /// Reference of the filing.
    pub filing: Option<String>,
    /// Reference of the processing's base receipt.
    pub receipt: Option<String>,
    /// The article that the transfer rests on, by regime.
    pub legal_basis: BTreeMap<Regime, Term>,
    /// Declared purposes.
    pub purposes: Vec<Term>,
    /// Declared categories.
    pub data_categories: Vec<Term>,
}

impl Declaration {
    /// What a record says about a transfer.
    pub fn of_transfer(transfer: &Transfer) -> Declaration {
        Declaration {
            kind: CandidateKind::Transfer,
            id: transfer.id.clone(),
            processing: Some(transfer.processing.id.clone()),
            recipient: Some(transfer.to.id.clone()),
            recipient_name: Some(transfer.to.name.clone()),
            country: Some(transfer.to.country),
            filing: transfer.filing.as_ref().and_then(|filing| filing.reference.clone()),
            receipt: transfer.processing.receipt.as_ref().map(|receipt| receipt.reference.clone()),
            legal_basis: BTreeMap::clone(&transfer.legal_basis),
            purposes: transfer.purposes.to_vec(),
            data_categories: transfer.data_categories.to_vec(),
        }
    }

    /// What a record says about an allowance: it has no recipient, filing or categories.
    pub fn of_allowance(allowance: &Allowance) -> Declaration {
        Declaration {
            kind: CandidateKind::Allowance,
            id: allowance.id.clone(),
            processing: None,
            recipient: None,
            recipient_name: None,
            country: None,
            filing: None,
            receipt: None,
            legal_basis: BTreeMap::new(),
            purposes: Vec::new(),
            data_categories: Vec::new(),
        }
    }
}

/// What was decided about an exchange.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    /// The time that the decision was made at.
    pub time: Timestamp,
    /// What the outcome will say too.
    pub exchange: Exchange,
    /// `permit`, `denial` or `would-deny`.
    pub decision: Decision,
    /// Why; absent for a permit.
    pub reason: Option<Reason>,
    /// The stage that refused, or the last one passed.
    pub stage: Stage,
    /// The mode that was in force.
    pub mode: Mode,
    /// The transfer or allowance used; absent for a denial, and for a would-deny that nothing declares.
    pub used: Option<Declaration>,
    /// The recipient that the destination belongs to, also where nothing was permitted.
    pub recipient: Option<Id>,
    /// Failing conditions of the exchange itself, whatever the candidate.
    pub failed: Vec<Reason>,
    /// Each candidate with its failing conditions.
    pub candidates: Vec<CandidateReport>,
    /// The categories that target and body were taken for.
    pub categories: Vec<Term>,
    /// Whether `carries` stood for something that could not be read.
    pub presumed: bool,
    /// Whether the address lies in another country than the recipient.
    pub country_mismatch: bool,
    /// What was found in target and body; never the values.
    pub findings: Findings,
    /// The body that was judged.
    pub body: Option<BodyShown>,
    /// What was verified.
    pub verified: Vec<Verified>,
    /// A short text for a reader: an address class, a name that did not match. Never content.
    pub detail: Option<String>,
    /// Status of the reply that the proxy makes itself; absent for a permit.
    pub status: Option<u16>,
    /// Set on records that stand for many like denials.
    pub folded: Option<Folded>,
}

/// A record that stands for many like denials (DESIGN §6 "Records").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Denials that this record stands for: 1 where it opens a folding, and those that followed where it closes one.
    /// Summed over all records, no denial is counted twice.
    pub count: u64,
    /// The first of them.
    pub since: Timestamp,
    /// The record that opened the folding, where this one closes it.
    pub opened_by: Option<Uuid>,
}

/// How an exchange that was let through ended.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// When it ended.
    pub time: Timestamp,
    /// As in the decision.
    pub exchange: Exchange,
    /// As in the decision.
    pub decision: Decision,
    /// As in the decision.
    pub used: Option<Declaration>,
    /// As in the decision.
    pub recipient: Option<Id>,
    /// How it ended.
    pub end: End,
    /// Status of the recipient's answer.
    pub status: Option<u16>,
    /// Bytes of the body (or tunnel) towards the recipient.
    pub bytes_out: u64,
    /// Bytes of the answer's body (or tunnel) towards the client.
    pub bytes_in: u64,
    /// Whether a byte of the exchange, head included, left towards the recipient.
    pub content_left: bool,
    /// From the decision to the end.
    pub duration: Duration,
}

impl OutcomeRecord {
    /// The outcome of `decision`, of which nothing left yet; the caller fills in what it knows better.
    pub fn of(decision: &DecisionRecord, time: Timestamp, end: End) -> OutcomeRecord {
        OutcomeRecord {
            time,
            exchange: decision.exchange.clone(),
            decision: decision.decision,
            used: decision.used.clone(),
            recipient: decision.recipient.clone(),
            end,
            status: None,
            bytes_out: 0,
            bytes_in: 0,
            content_left: false,
            duration: Duration::try_from(time.duration_since(decision.time)).unwrap_or_default(),
        }
    }
}

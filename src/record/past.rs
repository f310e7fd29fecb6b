//! Reading records back: what a search shows, what the limits must remember, and what a decision left open becomes.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::{self, Place};
use super::unmapped::DIGEST_PREFIX;
use crate::policy::{CandidateKind, Decision, Digest, End, PastExchange, PastRequest, Reason, Sent, Used};
use crate::register::Id;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was decided.
    Decision,
    /// How it ended.
    Outcome,
    /// Something that happened to the proxy; its word.
    Lifecycle(String),
}

/// A record, read back as far as this program needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// What it is about.
    pub kind: Kind,
    /// When that happened, to the millisecond.
    pub time: Timestamp,
    /// Its place in the node's log.
    pub sequence: u64,
    /// Name of the node that wrote it.
    pub node: String,
    /// Its own id.
    pub uid: String,
    /// The exchange's id, which decision and outcome share; of a folded denial that of the record which opened the
    /// folding.
    pub exchange: Option<String>,
    /// Absent in lifecycle records.
    pub decision: Option<Decision>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// How it ended: outcomes only.
    pub end: Option<End>,
    /// The declared source.
    pub source: Option<String>,
    /// The client's address.
    pub peer: Option<String>,
    /// The recipient that the destination belongs to.
    pub recipient: Option<String>,
    /// `host:port` of the destination.
    pub destination: Option<String>,
    /// The transfer or allowance used.
    pub used: Option<(CandidateKind, String)>,
    /// Reference of the filing.
    pub filing: Option<String>,
    /// Reference of the base receipt.
    pub receipt: Option<String>,
    /// Method, and path as shown.
    pub request: Option<(String, String)>,
    /// Keyed digest of the whole path.
    pub path_digest: Option<Digest>,
    /// Size and keyed digest of the body.
    pub body: Option<(u64, Option<Digest>)>,
    /// Whether there was anything beside method and path.
    pub has_content: bool,
    /// Whether a byte left: outcomes only.
    pub content_left: bool,
    /// Status answered, by the recipient or by the proxy itself.
    pub status: Option<u16>,
    /// Bytes towards the recipient: outcomes only.
    pub bytes_out: u64,
    /// Denials that the record stands for.
    pub count: u64,
    /// What only some readers ask for: those who look at flows, draft declarations, or decide again.
    pub seen: Seen,
}

/// What was seen of an exchange beside who sent what to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `https`, `http` or `tcp`.
    pub scheme: Option<String>,
    /// Declared media type.
    pub content_type: Option<String>,
    /// Length of the body as the head declares it, in bytes.
    pub declared_length: Option<u64>,
    /// What target and body were taken for: decisions only.
    pub categories: Vec<String>,
    /// Format of an image or video, or `other`.
    pub content: Option<String>,
    /// Why a body could not be read.
    pub unread: Option<String>,
    /// User name that the client proved.
    pub user: Option<String>,
    /// Version of the register that decided.
    pub register_version: Option<String>,
    /// Version of TLS towards the recipient, as records write it: `TLSv1.3`.
    pub tls_version: Option<String>,
    /// Server name that was asked for.
    pub sni: Option<String>,
    /// SHA-256 of the recipient's key, in hex.
    pub spki_sha256: Option<String>,
    /// Address that was dialled.
    pub address: Option<String>,
    /// Country of that address, where it is known.
    pub country: Option<String>,
    /// The last stage that was judged.
    pub stage: Option<String>,
    /// The flow that a lifecycle record is about.
    pub flow: Option<String>,
}

/// Word of the lifecycle record about an undeclared flow that recurs.
pub const FLOW_RECOGNISED: &str = "flow-recognised";

/// Why a record could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum PastFault {
    /// It is no JSON, or lacks what every record has.
    #[error("not a record: {0}")]
    Shape(#[from] serde_json::Error),
    /// A word that this release does not know.
    #[error("{member} is {found:?}, a word that this release does not know")]
    Word {
        /// The member that holds it.
        member: &'static str,
        /// The word.
        found: String,
    },
}

/// Reads one record.
pub fn read(json: &[u8]) -> Result<Past, PastFault> {
    let event: Event = serde_json::from_slice(json)?;
    let ours = event.unmapped.transfer;
    let kind = match ours.record.as_str() {
        "decision" => Kind::Decision,
        "outcome" => Kind::Outcome,
        word => Kind::Lifecycle(word.to_owned()),
    };
    let used = ours.transfer.map(|id| (CandidateKind::Transfer, id));
    let used = used.or_else(|| ours.allowance.map(|id| (CandidateKind::Allowance, id)));
    let declared_length = event.http_request.as_ref().and_then(|request| request.body_length);
    let url = event.http_request.map(|request| request.url.path);
    let (tls_version, sni) = event.tls.map_or((None, None), |tls| (tls.version, tls.sni));
    let dialled = event.dst_endpoint.as_ref().filter(|endpoint| endpoint.hostname.is_some());
    let seen = Seen {
        scheme: ours.scheme,
        content_type: ours.content_type,
        declared_length,
        categories: ours.categories,
        content: ours.content,
        unread: ours.unread,
        user: event.actor.and_then(|actor| actor.user).and_then(|user| user.name),
        register_version: ours.register_version,
        tls_version,
        sni,
        spki_sha256: ours.spki_sha256,
        address: dialled.and_then(|endpoint| endpoint.ip.clone()),
        country: event.dst_endpoint.as_ref().and_then(|endpoint| endpoint.location.as_ref()?.country.clone()),
        stage: ours.stage,
        flow: ours.flow,
    };
    let word = |member, found: Option<String>| found.map(|found| Word { member, found });
    Ok(Past {
        kind,
        time: Timestamp::from_millisecond(event.time)
            .map_err(|_| PastFault::Word { member: "time", found: event.time.to_string() })?,
        sequence: event.metadata.sequence,
        node: event.metadata.product.uid,
        uid: event.metadata.uid,
        exchange: event.metadata.correlation_uid,
        decision: word("decision", ours.decision).map(|word| word.read(Decision::parse)).transpose()?,
        reason: word("reason", ours.reason).map(|word| word.read(Reason::parse)).transpose()?,
        end: word("end", ours.end)
            .map(|word| word.read(|end| End::ALL.into_iter().find(|one| one.as_str() == end)))
            .transpose()?,
        source: ours.source,
        peer: event.src_endpoint.and_then(|peer| peer.ip),
        recipient: ours.recipient,
        destination: event.dst_endpoint.map(Endpoint::shown),
        used,
        filing: ours.filing,
        receipt: ours.receipt,
        request: ours.method.zip(url),
        path_digest: ours.path_digest.as_deref().and_then(digest),
        body: ours.body_size.map(|size| (size, ours.body_digest.as_deref().and_then(digest))),
        has_content: ours.has_content,
        content_left: ours.content_left,
        status: event.status_code.and_then(|status| status.parse().ok()),
        bytes_out: event.traffic.map_or(0, |traffic| traffic.bytes_out),
        count: event.count.unwrap_or(1),
        seen,
    })
}

impl Past {
    /// What the limits must remember of a decision that let an exchange through, before its outcome is known; `None`
    /// where nothing was charged.
    pub fn charged(&self) -> Option<PastExchange> {
        let let_through = matches!(self.decision, Some(Decision::Permit | Decision::WouldDeny));
        if self.kind != Kind::Decision || !let_through {
            return None;
        }
        let (kind, id) = self.used.as_ref()?;
        let request = self.request.as_ref().zip(self.path_digest).map(|((method, _), path_digest)| PastRequest {
            method: method.clone(),
            path_digest,
            size: self.body.map_or(0, |body| body.0),
            digest: self.body.and_then(|body| body.1),
            has_content: self.has_content,
        });
        let used = Used { kind: *kind, id: Id::new(id)? };
        Some(PastExchange { time: self.time, source: Id::new(self.source.as_ref()?)?, used, request, outcome: None })
    }

    /// What the limits must remember of an outcome; `None` for another record, and for an interrupted exchange, of
    /// which nobody knows what left: without an outcome it counts as sent.
    pub fn sent(&self) -> Option<Sent> {
        let known = self.end.is_some_and(|end| end != End::Interrupted);
        known.then(|| Sent {
            bytes: self.bytes_out,
            content_left: self.content_left,
            answered_2xx: self.end == Some(End::Answered)
                && self.status.is_some_and(|status| (200..300).contains(&status)),
            time: self.time,
        })
    }
}

/// The `interrupted` outcome of a decision that an earlier process left open.
#[derive(Clone, Debug)]
pub struct Interrupted {
    /// When it is closed: the start of the process that found it open.
    pub time: Timestamp,
    decision: Value,
}

/// Members of a decision's `unmapped.transfer` that an outcome does not repeat.
const DECISION_ONLY: [&str; 19] = [
    "aliases",
    "body_digest",
    "body_size",
    "candidates",
    "categories",
    "categories_found",
    "content",
    "country_mismatch",
    "detail",
    "failed",
    "folding",
    "has_content",
    "mode",
    "presumed",
    "reason",
    "stage",
    "unread",
    "verified",
    "record",
];

impl Interrupted {
    /// Takes the decision as logged.
    pub fn new(decision: &[u8], time: Timestamp) -> Result<Interrupted, PastFault> {
        Ok(Interrupted { time, decision: serde_json::from_slice(decision)? })
    }

    /// The outcome's event. What left is not known: no traffic is stated, and for the limits it counts as sent.
    pub(super) fn event(&self, place: &Place<'_>) -> Value {
        let mut event = self.decision.clone();
        let correlation = event["metadata"]["correlation_uid"].as_str().unwrap_or_default().to_owned();
        let Some(members) = event.as_object_mut() else { return event };
        event::put_time(members, self.time);
        if members.get("class_uid") == Some(&json!(4001)) {
            let (id, name) = event::tunnel_end(End::Interrupted);
            event::put_activity(members, 4001, "Network Activity", id, name);
        }
        event::put(members, "status_id", json!(2));
        event::put(members, "status", json!("Failure"));
        members.remove("status_detail");
        let metadata = &mut event["metadata"];
        metadata["uid"] = json!(event::outcome_uid(&correlation));
        metadata["sequence"] = json!(place.sequence);
        metadata["log_name"] = json!(place.log_name);
        metadata["logged_time"] = json!(place.logged.as_millisecond());
        metadata["event_code"] = json!(End::Interrupted.as_str());
        if let Some(ours) = event["unmapped"]["transfer"].as_object_mut() {
            DECISION_ONLY.iter().for_each(|member| drop(ours.remove(*member)));
            ours.insert("record".to_owned(), json!("outcome"));
            ours.insert("end".to_owned(), json!(End::Interrupted.as_str()));
            ours.insert("content_left".to_owned(), json!(true));
        }
        event
    }
}

/// A destination as it is shown: `host:port`, an IPv6 address in brackets.
pub fn place(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    port.map_or(host.clone(), |port| format!("{host}:{port}"))
}

/// For how long an exchange matters to the limits: the longest calendar day, and an hour of tolerance.
pub const MEMORY: Duration = Duration::from_secs(26 * 3600);

struct Word {
    member: &'static str,
    found: String,
}

impl Word {
    fn read<T>(self, parse: impl Fn(&str) -> Option<T>) -> Result<T, PastFault> {
        parse(&self.found).ok_or(PastFault::Word { member: self.member, found: self.found })
    }
}

fn digest(text: &str) -> Option<Digest> {
    let text = text.strip_prefix(DIGEST_PREFIX)?;
    let mut digest = Digest([0; 32]);
    for (place, byte) in digest.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(digest)
}

#[derive(Deserialize)]
struct Event {
    time: i64,
    metadata: Metadata,
    unmapped: Unmapped,
    src_endpoint: Option<Endpoint>,
    dst_endpoint: Option<Endpoint>,
    http_request: Option<Request>,
    traffic: Option<Traffic>,
    status_code: Option<String>,
    count: Option<u64>,
    tls: Option<Tls>,
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Tls {
    version: Option<String>,
    sni: Option<String>,
}

#[derive(Deserialize)]
struct Actor {
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    product: Product,
    uid: String,
    sequence: u64,
    correlation_uid: Option<String>,
}

#[derive(Deserialize)]
struct Product {
    uid: String,
}

#[derive(Deserialize)]
struct Unmapped {
    transfer: Ours,
}

#[derive(Deserialize)]
struct Ours {
    record: String,
    decision: Option<String>,
    reason: Option<String>,
    end: Option<String>,
    source: Option<String>,
    recipient: Option<String>,
    transfer: Option<String>,
    allowance: Option<String>,
    filing: Option<String>,
    receipt: Option<String>,
    method: Option<String>,
    path_digest: Option<String>,
    body_size: Option<u64>,
    body_digest: Option<String>,
    scheme: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    categories: Vec<String>,
    content: Option<String>,
    unread: Option<String>,
    register_version: Option<String>,
    spki_sha256: Option<String>,
    stage: Option<String>,
    flow: Option<String>,
    #[serde(default)]
    has_content: bool,
    #[serde(default)]
    content_left: bool,
}

#[derive(Deserialize)]
struct Endpoint {
    hostname: Option<String>,
    ip: Option<String>,
    port: Option<u16>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    country: Option<String>,
}

impl Endpoint {
    fn shown(self) -> String {
        place(&self.hostname.or(self.ip).unwrap_or_default(), self.port)
    }
}

#[derive(Deserialize)]
struct Request {
    url: Url,
    body_length: Option<u64>,
}

#[derive(Deserialize)]
struct Url {
    path: String,
}

#[derive(Deserialize)]
struct Traffic {
    #[serde(default)]
    bytes_out: u64,
}

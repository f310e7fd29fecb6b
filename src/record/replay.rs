//! Recorded exchanges, decided again by another register: what it would change, and what the records do not tell.
//!
//! Records hold no body, query or hidden path segment, so not everything can be decided again. What was refused before
//! its body was read can be followed to the end of the head: [`After::Onward`] says that the other register would read
//! on. Frequencies and volumes are counted as they would have been under the other register.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::past::{Kind, Past};
use crate::destination::AddressRules;
use crate::inspect::format::{Format, Medium};
use crate::inspect::{Content, Findings, Unread};
use crate::policy::dry::{self, Answer, Question, Supposed};
use crate::policy::{BodyFacts, Decision, Ledger, Peer, Reason, Sent, Stage, TlsVersion};
use crate::register::Register;
use crate::vocabulary::Country;

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
    fn of(decision: Decision, reason: Option<Reason>, used: Option<String>) -> Ruled {
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

/// The facts of a decision, as far as its record tells them.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is asked again; a body may be put in, where it is at hand.
    pub question: Question,
    rules: AddressRules,
    known: Known,
    past: Past,
}

impl Facts {
    /// Takes the facts of a decision from its record. A register is needed for the certificate of the source.
    ///
    /// # Errors
    /// [`Unknown::Incomplete`].
    pub fn of(past: &Past, register: &Register) -> Result<Facts, Unknown> {
        let known = Known::of(past);
        let question = question(past, &known, register)?;
        Ok(Facts { question, rules: opened(past), known, past: past.clone() })
    }

    /// Decides again, with what `ledger` remembers, and charges it with what `outcome` says was sent.
    pub fn answer(&self, register: &Arc<Register>, ledger: &mut Ledger, outcome: Option<&Past>) -> Answer {
        let sent = outcome.and_then(Past::sent).unwrap_or_else(|| supposed_sent(&self.past));
        dry::answer_on(register, &self.rules, &self.question, ledger, Some(sent))
    }

    /// The answer beside what was decided.
    ///
    /// # Errors
    /// Why the two cannot be compared.
    pub fn compare(&self, answer: &Answer) -> Result<Compared, Unknown> {
        let past = &self.past;
        let decision = past.decision.ok_or(Unknown::Incomplete)?;
        if past.reason.is_some_and(is_of_no_register) {
            return Err(Unknown::NotOfRegister);
        }
        let used = past.used.as_ref().map(|(_, id)| id.clone());
        Ok(Compared { before: Ruled::of(decision, past.reason, used), after: after(answer, &self.known, past)? })
    }

    /// What the record does not tell, one line each: what is supposed in its place.
    pub fn supposed(&self, register: &Register) -> Vec<String> {
        let (past, mut lines) = (&self.past, Vec::new());
        let content = past.seen.content.as_deref().unwrap_or("empty");
        match (&self.known, &self.question.body) {
            (_, Some(_)) => {}
            (Known::Whole(body), None) if body.size > 0 => {
                lines.push(format!(
                    "the body: it is taken for what was seen of it then ({} bytes, {content})",
                    body.size
                ));
            }
            (Known::Whole(_), None) => {}
            (Known::Head, None) => lines.push("the body: it was never read, because the head was refused".to_owned()),
            (Known::Connect, None) => lines.push("what would have followed the CONNECT".to_owned()),
            (Known::Tunnel, None) => lines.push("what the tunnel carried: it is relayed unread".to_owned()),
        }
        if is_hidden(past) {
            lines.push("what stands behind `*` in the path: the record has only a digest of it".to_owned());
        }
        if !matches!(self.known, Known::Tunnel) {
            lines.push("query and header fields: records hold none".to_owned());
        }
        let source = register.sources.iter().find(|one| Some(one.id.as_str()) == past.source.as_deref());
        if let Some(name) = source.and_then(|source| source.client_certificate.as_ref()) {
            lines.push(format!("the names in the client's certificate: it is taken for that of its source, {name}"));
        }
        if past.count > 1 {
            let like = past.count - 1;
            lines.push(format!("the {like} like denials that are folded into this record: they are counted, not told"));
        }
        lines
    }
}

fn question(past: &Past, known: &Known, register: &Register) -> Result<Question, Unknown> {
    let seen = &past.seen;
    let address = past.peer.as_ref().and_then(|peer| peer.parse().ok()).ok_or(Unknown::Incomplete)?;
    let destination = past.destination.as_ref().ok_or(Unknown::Incomplete)?;
    let scheme = seen.scheme.as_deref().unwrap_or("https");
    let (method, path) = match (known, &past.request) {
        (Known::Tunnel, _) => ("CONNECT".to_owned(), String::new()),
        // What follows a CONNECT is not on record: the conditions that come before the request can be asked.
        (Known::Connect, _) => ("GET".to_owned(), "/".to_owned()),
        (_, Some((method, path))) => (method.clone(), path.clone()),
        (_, None) => return Err(Unknown::Incomplete),
    };
    // A record names no certificate, only the source that was proved by it.
    let declared = register.sources.iter().find(|one| Some(one.id.as_str()) == past.source.as_deref());
    let certificate = declared.and_then(|source| source.client_certificate.clone()).into_iter().collect();
    Ok(Question {
        at: past.time,
        peer: Peer { address, certificate, user: seen.user.clone() },
        method,
        url: format!("{scheme}://{destination}{path}"),
        content_type: seen.content_type.clone(),
        body: None,
        supposed: Supposed {
            tls_version: seen
                .tls_version
                .as_deref()
                .and_then(|text| TlsVersion::parse(text.trim_start_matches("TLSv"))),
            sni: seen.sni.clone(),
            spki_sha256: seen.spki_sha256.as_deref().and_then(unhex),
            ip_country: seen.country.as_deref().and_then(|code| Country::parse(code).ok()),
            addresses: seen.address.iter().filter_map(|address| address.parse().ok()).collect(),
            body: if let Known::Whole(body) = known { Some(body.clone()) } else { None },
            declared_length: if let Known::Head = known { seen.declared_length } else { None },
            path_digest: past.path_digest,
            ..Supposed::default()
        },
    })
}

/// How much of an exchange is on record.
#[derive(Clone, Debug)]
enum Known {
    /// Head and body.
    Whole(BodyFacts),
    /// The head; its body was never read.
    Head,
    /// A CONNECT, and nothing of what was to follow.
    Connect,
    /// A tunnel that was relayed unread.
    Tunnel,
}

impl Known {
    fn of(past: &Past) -> Known {
        let was_judged = past
            .seen
            .stage
            .as_deref()
            .is_some_and(|stage| stage == Stage::Body.as_str() || stage == Stage::Record.as_str());
        match &past.request {
            None => Known::Tunnel,
            Some((method, _)) if method == "CONNECT" => Known::Connect,
            Some(_) if was_judged || past.decision != Some(Decision::Denial) => Known::Whole(body(past)),
            Some(_) => Known::Head,
        }
    }
}

/// What a record says of the body that was judged.
fn body(past: &Past) -> BodyFacts {
    let seen = &past.seen;
    let format = |word: &str| Format::ALL.into_iter().find(|format| format.as_str() == word);
    let content = match seen.content.as_deref() {
        None => Content::Empty,
        Some(word) => match format(word).map(|format| (format, format.medium())) {
            Some((format, Medium::Image)) => Content::Image(format),
            Some((format, Medium::Video)) => Content::Video(format),
            None => Content::Other,
        },
    };
    let unread = seen.unread.as_deref().and_then(|word| Unread::ALL.into_iter().find(|one| one.as_str() == word));
    let (size, digest) = past.body.unwrap_or_default();
    BodyFacts { size, digest, findings: Findings { content, found: Vec::new(), unread } }
}

fn after(answer: &Answer, known: &Known, past: &Past) -> Result<After, Unknown> {
    let reason = answer.reason();
    let is_past_head =
        reason.is_none_or(|reason| answer.stage > Stage::Head && reason.rank() > Reason::BasisImpossible.rank());
    let asks_for_request = reason.is_some_and(|reason| {
        matches!(reason, Reason::MethodNotDeclared | Reason::PathNotDeclared | Reason::ContentTypeNotDeclared)
    });
    match known {
        Known::Connect if is_past_head || asks_for_request => return Ok(After::Onward),
        Known::Head if is_past_head => return Ok(After::Onward),
        Known::Whole(_) | Known::Head
            if is_hidden(past) && reason == Some(Reason::PathNotDeclared) && past.reason != reason =>
        {
            return Err(Unknown::HiddenPath);
        }
        _ => {}
    }
    let used = answer.used.as_ref().map(|used| used.id.to_string());
    Ok(After::Ruled(Ruled::of(answer.decision, reason, used)))
}

/// Whether the record does not show the whole path.
fn is_hidden(past: &Past) -> bool {
    past.request.as_ref().is_some_and(|(_, path)| path.split('/').any(|segment| segment == "*"))
}

/// What counts as sent of an exchange that was refused then, should the other register let it leave.
fn supposed_sent(past: &Past) -> Sent {
    let bytes = past.body.map_or(0, |(size, _)| size);
    Sent { bytes, content_left: past.has_content || bytes > 0, answered_2xx: true, time: past.time }
}

/// The address that was dialled then may be dialled again.
fn opened(past: &Past) -> AddressRules {
    let network = past.seen.address.as_ref().and_then(|address| address.parse::<std::net::IpAddr>().ok());
    AddressRules { internal: network.map(ipnetwork::IpNetwork::from).into_iter().collect(), ..AddressRules::default() }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(bytes)
}

/// What follows from the client, the way or the proxy whatever is declared.
fn is_of_no_register(reason: Reason) -> bool {
    reason.is_fault_of_the_way()
        || matches!(
            reason,
            Reason::MalformedRequest
                | Reason::AmbiguousDestination
                | Reason::Loop
                | Reason::CredentialsRequired
                | Reason::ClientTimeout
                | Reason::ClientClosed
                | Reason::AddressRefused
                | Reason::NumericHost
                | Reason::SniMismatch
                | Reason::TlsTooOld
                | Reason::Busy
                | Reason::RecordUnavailable
        )
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

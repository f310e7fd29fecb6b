//! The facts of a past decision, taken from its record: what is asked again, what of it is only supposed, and how the
//! answer stands beside what was decided.
//!
//! Records hold no body, query or hidden path segment. What was refused before its body was read can be followed to the
//! end of the head: [`After::Onward`] says that a register would read on.

use std::sync::Arc;

use super::past::Past;
use super::replay::{After, Compared, Ruled, Unknown};
use crate::destination::AddressRules;
use crate::inspect::format::{Format, Medium};
use crate::inspect::{Content, Findings, Unread};
use crate::policy::dry::{self, Answer, Question, Supposed};
use crate::policy::{BodyFacts, Decision, Ledger, Peer, Reason, Sent, Stage, TlsVersion};
use crate::register::Register;
use crate::vocabulary::Country;

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
pub(super) fn is_of_no_register(reason: Reason) -> bool {
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

//! What a record says beyond OCSF, in `unmapped.transfer`: the declaration, the candidates, what was found and
//! verified.

use serde_json::{Map, Value, json};

use super::event::Cutter;
use super::{DecisionRecord, Declaration, Exchange, OutcomeRecord};
use crate::inspect::{Content, Findings};
use crate::policy::{CandidateKind, CandidateReport, Digest, Reason};
use crate::register::{Id, Mode};
use crate::vocabulary::Term;

const MOST_CANDIDATES: usize = 32;
const MOST_TERMS: usize = 64;
const MOST_FINDINGS: usize = 128;
const MOST_ALIASES: usize = 16;

/// The members of a decision.
pub(super) fn decision(record: &DecisionRecord, cut: &Cutter) -> Value {
    let mut ours = common(&record.exchange, record.recipient.as_ref(), record.used.as_ref(), cut);
    put(&mut ours, "record", json!("decision"));
    put(&mut ours, "decision", json!(record.decision.as_str()));
    put(&mut ours, "stage", json!(record.stage.as_str()));
    put(&mut ours, "mode", json!(mode(record.mode)));
    put(&mut ours, "has_content", json!(record.has_content()));
    put(&mut ours, "failed", reasons(&record.failed));
    put(&mut ours, "candidates", candidates(&record.candidates, cut));
    put(&mut ours, "categories", terms(&record.categories, cut));
    let aliases = cut.list(&record.exchange.aliases, MOST_ALIASES).iter();
    let aliases: Value = aliases.map(|alias| json!(cut.text(alias, 253))).collect();
    put_some(&mut ours, "aliases", (!record.exchange.aliases.is_empty()).then_some(aliases));
    put(&mut ours, "verified", record.verified.iter().map(|verified| json!(verified.as_str())).collect());
    put_some(&mut ours, "reason", record.reason.map(|reason| json!(reason.as_str())));
    put_some(&mut ours, "detail", record.detail.as_ref().map(|detail| json!(cut.text(detail, 512))));
    add_findings(&mut ours, &record.findings, cut);
    if let Some(body) = &record.body {
        put(&mut ours, "body_size", json!(body.size));
        put_some(&mut ours, "body_digest", body.digest.as_ref().map(digest));
    }
    for (name, flag) in [("presumed", record.presumed), ("country_mismatch", record.country_mismatch)] {
        put_some(&mut ours, name, flag.then_some(json!(true)));
    }
    if let Some(folded) = &record.folded {
        put(&mut ours, "folding", json!(if folded.opened_by.is_some() { "closed" } else { "opened" }));
    }
    Value::Object(ours)
}

/// The members of an outcome.
pub(super) fn outcome(record: &OutcomeRecord, cut: &Cutter) -> Value {
    let mut ours = common(&record.exchange, record.recipient.as_ref(), record.used.as_ref(), cut);
    put(&mut ours, "record", json!("outcome"));
    put(&mut ours, "decision", json!(record.decision.as_str()));
    put(&mut ours, "end", json!(record.end.as_str()));
    put(&mut ours, "content_left", json!(record.content_left));
    Value::Object(ours)
}

/// A digest as records write it.
pub(super) fn digest(digest: &Digest) -> Value {
    json!(format!("{DIGEST_PREFIX}{}", hex(&digest.0)))
}

/// What stands before a keyed digest.
pub(super) const DIGEST_PREFIX: &str = "hmac-sha256:";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn common(exchange: &Exchange, recipient: Option<&Id>, used: Option<&Declaration>, cut: &Cutter) -> Map<String, Value> {
    let mut ours = Map::new();
    put(&mut ours, "entry", json!(exchange.entry.as_str()));
    put(&mut ours, "register_version", json!(&*exchange.register_version.0));
    put_some(&mut ours, "source", exchange.source.as_ref().map(|id| json!(cut.text(id.as_str(), 128))));
    put_some(&mut ours, "recipient", recipient.map(|id| json!(cut.text(id.as_str(), 128))));
    if let Some(destination) = &exchange.destination {
        put(&mut ours, "scheme", json!(destination.scheme.as_str()));
    }
    if let Some(request) = &exchange.request {
        put(&mut ours, "method", json!(cut.text(&request.method, 32)));
        put_some(&mut ours, "path_digest", request.path_digest.as_ref().map(digest));
        put_some(&mut ours, "content_type", request.content_type.as_ref().map(|kind| json!(cut.text(kind, 128))));
    }
    let spki = exchange.tls.as_ref().and_then(|tls| tls.spki_sha256);
    put_some(&mut ours, "spki_sha256", spki.map(|spki| json!(hex(&spki))));
    put_some(&mut ours, "client_alert", exchange.client_alert.as_ref().map(|alert| json!(cut.text(alert, 64))));
    put_some(&mut ours, "ech", exchange.ech_offered.then_some(json!("offered")));
    put_some(&mut ours, "protocol", exchange.protocol.map(|protocol| json!(protocol.as_str())));
    put_some(&mut ours, "balancer", exchange.balancer.map(|balancer| json!(balancer.to_string())));
    put_some(&mut ours, "redirected_from", exchange.redirected.map(|dialled| json!(dialled.to_string())));
    if let Some(used) = used {
        add_declaration(&mut ours, used, cut);
    }
    ours
}

fn add_declaration(ours: &mut Map<String, Value>, used: &Declaration, cut: &Cutter) {
    let id = |id: &Id| json!(cut.text(id.as_str(), 128));
    let text = |text: &String| json!(cut.text(text, 256));
    put(ours, used.kind.as_str(), id(&used.id));
    put_some(ours, "processing", used.processing.as_ref().map(id));
    put_some(ours, "recipient", used.recipient.as_ref().map(id));
    put_some(ours, "recipient_name", used.recipient_name.as_ref().map(text));
    put_some(ours, "recipient_country", used.country.map(|country| json!(country.as_str())));
    put_some(ours, "filing", used.filing.as_ref().map(text));
    put_some(ours, "receipt", used.receipt.as_ref().map(text));
    if used.kind == CandidateKind::Transfer {
        let basis = used.legal_basis.iter().map(|(regime, basis)| (regime.as_str().to_owned(), json!(basis.as_str())));
        put(ours, "legal_basis", Value::Object(basis.collect()));
        put(ours, "purposes", terms(&used.purposes, cut));
        put(ours, "categories_declared", terms(&used.data_categories, cut));
    }
}

fn add_findings(ours: &mut Map<String, Value>, findings: &Findings, cut: &Cutter) {
    put_some(ours, "content", content(&findings.content));
    put_some(ours, "unread", findings.unread.map(|unread| json!(unread.as_str())));
    let found = cut.list(&findings.found, MOST_FINDINGS).iter();
    let found =
        found.map(|one| json!({ "category": one.category.as_str(), "count": one.count, "detector": one.detector }));
    put(ours, "categories_found", found.collect());
}

fn content(content: &Content) -> Option<Value> {
    match content {
        Content::Empty => None,
        Content::Image(format) | Content::Video(format) => Some(json!(format.as_str())),
        Content::Other => Some(json!("other")),
    }
}

fn candidates(candidates: &[CandidateReport], cut: &Cutter) -> Value {
    let shown = cut.list(candidates, MOST_CANDIDATES).iter().map(|candidate| {
        json!({ "failed": reasons(&candidate.failed), "id": cut.text(candidate.id.as_str(), 128), "kind": candidate.kind.as_str() })
    });
    shown.collect()
}

fn reasons(reasons: &[Reason]) -> Value {
    reasons.iter().map(|reason| json!(reason.as_str())).collect()
}

fn terms(terms: &[Term], cut: &Cutter) -> Value {
    cut.list(terms, MOST_TERMS).iter().map(|term| json!(cut.text(term.as_str(), 64))).collect()
}

/// The word for a mode.
fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

fn put(ours: &mut Map<String, Value>, name: &str, value: Value) {
    ours.insert(name.to_owned(), value);
}

fn put_some(ours: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        put(ours, name, value);
    }
}

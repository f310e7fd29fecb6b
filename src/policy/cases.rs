//! Policy cases: facts with the decision that they are expected to give (DESIGN §4).
//!
//! A case file is a list of cases, or one case alone. It is read as strictly as the register, with the same reader and
//! the same faults. Reading a body's file is the caller's.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::candidate::{CandidateKind, Used};
use super::decision::Decision;
use super::dry::{Answer, Question, Supposed};
use super::facts::{Peer, TlsVersion};
use super::reason::Reason;
use crate::register::Id;
use crate::register::compile::{Faults, Text};
use crate::register::document::{self, Node, Scalar, Value};
use crate::register::fault::{Collector, Problem, meant};
use crate::register::fields::{Fields, Read};
use crate::register::scalar;

/// Facts, and what is expected of them.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// When; `explain` asks about now where it is left out.
    pub at: Option<Timestamp>,
    /// The question, its body apart.
    pub question: Question,
    /// Where the body comes from.
    pub body: Option<BodySource>,
    /// `None` only where a case is asked about by `explain`.
    pub expected: Option<Expected>,
}

/// Where a case's body comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodySource {
    /// A file beside the case file.
    File(String),
    /// These characters.
    Text(String),
}

/// The decision that is expected; what is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The decision.
    pub decision: Decision,
    /// The reason of a denial or would-deny.
    pub reason: Option<Reason>,
    /// What it leaves under.
    pub used: Option<Used>,
}

impl Expected {
    /// Whether an answer is what was expected.
    pub fn is_met_by(&self, answer: &Answer) -> bool {
        self.decision == answer.decision
            && self.reason.is_none_or(|reason| answer.reason() == Some(reason))
            && self.used.as_ref().is_none_or(|used| answer.used.as_ref() == Some(used))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.decision, self.reason, self.used.as_ref())
    }
}

/// An answer in the words of an expectation.
pub struct Shown<'a>(pub &'a Answer);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0.decision, self.0.reason(), self.0.used.as_ref())
    }
}

fn show(f: &mut fmt::Formatter<'_>, decision: Decision, reason: Option<Reason>, used: Option<&Used>) -> fmt::Result {
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let used = used.map(|used| format!(" under {used}")).unwrap_or_default();
    f.pad(&format!("{decision}{reason}{used}"))
}

/// Reads a case file. A case that is to be tested needs `at` and `expect`; `explain` does without both.
pub fn parse(text: &Text, wants: Wants) -> Result<Vec<Case>, Faults> {
    let texts = [text.clone()];
    let collector = Collector::new(&texts);
    let mut cases = Vec::new();
    if let Some(root) = document::read(0, &text.text, &collector) {
        let nodes: Vec<&Node> = match &root.value {
            Value::List(nodes) => nodes.iter().collect(),
            Value::Map(_) | Value::Scalar(_) | Value::Broken => vec![&root],
        };
        cases.extend(nodes.into_iter().filter_map(|node| case(node, wants, &collector)));
    }
    match collector.finish() {
        (faults, _) if faults.is_empty() => Ok(cases),
        (faults, _) => Err(Faults(faults)),
    }
}

/// Who reads a case file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// `tasrih test`.
    Expectation,
    /// `tasrih explain --facts`.
    Facts,
}

fn case(node: &Node, wants: Wants, collector: &Collector<'_>) -> Option<Case> {
    let mut fields = Fields::open(node, "a case", collector)?;
    let tested = wants == Wants::Expectation;
    let name = if tested { fields.required("name", scalar::text) } else { fields.optional("name", scalar::text) };
    let at = if tested { fields.required("at", time) } else { fields.optional("at", time) };
    let peer = fields.map("source", "a source", source);
    let request = fields.map("request", "a request", request);
    let supposed = fields.map("facts", "facts", |fields| Some(facts(fields)));
    let expected = fields.map("expect", "an expectation", expected);
    for (key, is_missing) in [
        ("source", !fields_hold(node, "source")),
        ("request", !fields_hold(node, "request")),
        ("expect", tested && !fields_hold(node, "expect")),
    ] {
        if is_missing {
            collector.fault(node.place, Problem::new(format!("a case needs `{key}`")));
        }
    }
    fields.close();
    let (method, url, content_type, body) = request?;
    let question = Question {
        at: at.unwrap_or(Timestamp::UNIX_EPOCH),
        peer: peer?,
        method,
        url,
        content_type,
        body: None,
        supposed: supposed.unwrap_or_default(),
    };
    Some(Case { name: name.unwrap_or_default(), at, question, body, expected })
}

fn fields_hold(node: &Node, wanted: &str) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.iter().any(|(key, _)| key.text == wanted))
}

fn source(fields: &mut Fields<'_>) -> Option<Peer> {
    let address = fields.required("address", parsed("an IP address"));
    let certificate = fields.optional("certificate", scalar::text);
    let user = fields.optional("user", scalar::text);
    Some(Peer { address: address?, certificate: certificate.into_iter().collect(), user })
}

type RequestParts = (String, String, Option<String>, Option<BodySource>);

fn request(fields: &mut Fields<'_>) -> Option<RequestParts> {
    let url = fields.required("url", scalar::text);
    let body = fields.map("body", "a body", body);
    let method = fields.optional("method", scalar::text);
    let content_type = fields.optional("content_type", scalar::text);
    let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    Some((method, url?, content_type, body))
}

fn body(fields: &mut Fields<'_>) -> Option<BodySource> {
    let file = fields.optional("file", scalar::text);
    let text = fields.optional("text", scalar::text);
    match (file, text) {
        (Some(file), None) => Some(BodySource::File(file)),
        (None, Some(text)) => Some(BodySource::Text(text)),
        (Some(_), Some(_)) => {
            fields.refuse("text", Problem::new("a body has both `file` and `text`").hint("leave one out"));
            None
        }
        (None, None) => None,
    }
}

fn facts(fields: &mut Fields<'_>) -> Supposed {
    let tls = fields.map("tls", "tls", |fields| {
        let version = fields.optional("version", version);
        let sni = fields.optional("sni", scalar::text);
        let spki = fields.optional("spki_sha256", scalar::pin);
        Some((version, sni, spki))
    });
    let (tls_version, sni, spki_sha256) = tls.unwrap_or_default();
    Supposed {
        tls_version,
        sni,
        spki_sha256,
        ip_country: fields.optional("ip_country", scalar::country),
        addresses: fields.list("addresses", parsed("an IP address")).into_iter().map(|at| at.value).collect(),
        previous: fields.list("previous", time).into_iter().map(|at| at.value).collect(),
        bytes_today: fields.optional("bytes_today", scalar::size).unwrap_or(0),
        body: None,
        record_unavailable: fields
            .optional("record", scalar::choice(&[("available", false), ("unavailable", true)]))
            .unwrap_or(false),
        declared_length: None,
        path_digest: None,
    }
}

fn expected(fields: &mut Fields<'_>) -> Option<Expected> {
    let decision = fields.required("decision", decision);
    let reason = fields.optional("reason", reason);
    let transfer = fields.optional("transfer", scalar::id);
    let allowance = fields.optional("allowance", scalar::id);
    if transfer.is_some() && allowance.is_some() {
        fields.refuse("allowance", Problem::new("an exchange leaves under one: `transfer` or `allowance`"));
    }
    let named = |kind, id: Option<Id>| id.map(|id| Used { kind, id });
    let used = named(CandidateKind::Transfer, transfer).or(named(CandidateKind::Allowance, allowance));
    Some(Expected { decision: decision?, reason, used })
}

fn time(scalar: &Scalar) -> Read<Timestamp> {
    let hint = "a date and time with its offset: `2024-05-02T10:00:00+01:00`";
    let fault = |_| Problem::new(format!("`{}` is not a moment", scalar.text)).hint(hint);
    scalar.text.parse::<Timestamp>().map(|time| (time, Json::String(time.to_string()))).map_err(fault)
}

fn parsed<T: std::str::FromStr>(what: &'static str) -> impl Fn(&Scalar) -> Read<T> {
    move |scalar| {
        let fault = |_| Problem::new(format!("`{}` is not {what}", scalar.text));
        scalar.text.parse::<T>().map(|value| (value, Json::String(scalar.text.clone()))).map_err(fault)
    }
}

fn decision(scalar: &Scalar) -> Read<Decision> {
    let words = Decision::ALL.iter().map(|decision| decision.as_str());
    word(scalar, Decision::parse(&scalar.text), words)
}

fn reason(scalar: &Scalar) -> Read<Reason> {
    word(scalar, Reason::parse(&scalar.text), Reason::ALL.iter().map(|reason| reason.as_str()))
}

fn word<T>(scalar: &Scalar, found: Option<T>, words: impl Iterator<Item = &'static str>) -> Read<T> {
    let unknown =
        || Problem { message: format!("`{}` is not known here", scalar.text), hint: meant(&scalar.text, words) };
    found.map(|value| (value, Json::Null)).ok_or_else(unknown)
}

fn version(scalar: &Scalar) -> Read<TlsVersion> {
    let fault = || Problem::new(format!("`{}` is not a version of TLS", scalar.text)).hint("\"1.2\" or \"1.3\"");
    TlsVersion::parse(&scalar.text).map(|version| (version, Json::Null)).ok_or_else(fault)
}

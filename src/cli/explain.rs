//! `tasrih explain`: one decision, dry, step by step. Nothing is resolved, dialled or recorded. `record` explains one of
//! the past.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::steps::Steps;
use super::test::{register_with, unreadable, with_body};
use super::{FINDINGS, FINE, UNREADABLE};
use crate::clock::{Clock as _, SystemClock};
use crate::destination::AddressRules;
use crate::docket::{Docket, DocketFault};
use crate::policy::cases::{self, Case, Expected, Wants};
use crate::policy::dry::{self, Answer, Question, Supposed};
use crate::policy::{Carriage, Check, Peer};
use crate::register::compile::Text;
use crate::register::{Order, Register};

mod record;

/// Explain one decision, step by step, sending nothing
#[derive(clap::Args)]
pub struct Arguments {
    /// Address that sends
    #[arg(long, value_name = "IP", required_unless_present_any = ["facts", "record"])]
    source: Option<IpAddr>,
    /// Where to: https://host[:port]/path, or tcp://host:port
    #[arg(long, value_name = "URL", required_unless_present_any = ["facts", "record"])]
    to: Option<String>,
    /// Method of the request; CONNECT asks for a tunnel [default: POST with a body, else GET]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Content type of the body
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// File to take the body from
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// User that sends
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Name in the client certificate of the sender
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// When, with offset: 2024-05-02T10:00:00+01:00 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Folder of the policy files [default: policies; with --record the register that decided, kept in the state folder]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// File with one policy case, instead of the options that describe an exchange
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "to", "method", "content_type", "body", "user", "certificate"])]
    facts: Option<PathBuf>,
    /// Id of a record: explain that decision of the past
    #[arg(long, value_name = "ID", conflicts_with_all = ["source", "to", "method", "content_type", "user", "certificate", "at", "facts"])]
    record: Option<String>,
    /// State folder whose records are searched, and whose orders stand; may be given several times
    #[arg(long = "state", value_name = "DIR", default_value = "var")]
    states: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    if let Some(id) = &arguments.record {
        return record::explain(&arguments, id);
    }
    let folder = arguments.policies.as_deref().unwrap_or(Path::new("policies"));
    let remembered = match remembered(&arguments.states) {
        Ok(remembered) => remembered,
        Err(fault) => return say(&fault.to_string()),
    };
    let Some(register) = register_with(folder, &remembered) else { return UNREADABLE };
    let (question, expected) = match question(&arguments) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let answer = dry::answer(&register, &AddressRules::default(), &question);
    match arguments.json {
        true => println!("{:#}", as_json(&register, &question, &answer)),
        false => print!("{}", Steps::of(&register, &question, &answer)),
    }
    match expected.filter(|expected| !expected.is_met_by(&answer)) {
        Some(expected) => {
            eprintln!("tasrih: expected {expected}");
            FINDINGS
        }
        None => FINE,
    }
}

/// What is asked, from the options or from a file of facts; an exit code after the fault was printed.
fn question(arguments: &Arguments) -> Result<(Question, Option<Expected>), u8> {
    if let Some(path) = &arguments.facts {
        let case = facts(path)?;
        let at = arguments.at.or(case.at).unwrap_or_else(now);
        return Ok((Question { at, ..case.question }, case.expected));
    }
    let body = match &arguments.body {
        None => None,
        Some(path) => Some(fs::read(path).map_err(|error| say(&format!("cannot read {}: {error}", path.display())))?),
    };
    let address = arguments.source.ok_or_else(|| say("--source is missing"))?;
    let url = arguments.to.clone().ok_or_else(|| say("--to is missing"))?;
    let method = arguments.method.clone().unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    let question = Question {
        at: arguments.at.unwrap_or_else(now),
        peer: Peer {
            address,
            certificate: arguments.certificate.iter().cloned().collect(),
            user: arguments.user.clone(),
        },
        method,
        url,
        content_type: arguments.content_type.clone(),
        body,
        supposed: Supposed::default(),
    };
    Ok((question, None))
}

/// The orders that proxies on these folders ever took: whatever the policy files say, they stand.
fn remembered(states: &[PathBuf]) -> Result<Vec<Order>, DocketFault> {
    let dockets = states.iter().map(|state| Docket::read(state)).collect::<Result<Vec<_>, _>>()?;
    Ok(dockets.iter().flat_map(Docket::remembered).collect())
}

fn now() -> Timestamp {
    SystemClock::default().wall()
}

fn facts(path: &Path) -> Result<Case, u8> {
    let read = fs::read_to_string(path).map_err(|error| say(&format!("cannot read {}: {error}", path.display())))?;
    let text = Text { name: path.display().to_string(), text: read };
    let mut cases = cases::parse(&text, Wants::Facts).map_err(|faults| {
        eprint!("{faults}");
        UNREADABLE
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    match (cases.pop(), cases.is_empty()) {
        (Some(case), true) => with_body(case, folder).map_err(|fault| say(&fault)),
        (Some(_), false) => Err(say(&format!("{} holds several cases; `tasrih test` runs them", path.display()))),
        (None, _) => Err(say(&format!("{} holds no case", path.display()))),
    }
}

fn say(message: &str) -> u8 {
    unreadable(&std::io::Error::other(message))
}

fn as_json(register: &Arc<Register>, question: &Question, answer: &Answer) -> Value {
    let denial = answer.denial.as_ref();
    let candidate = |trace: &crate::policy::CandidateTrace| json!({"kind": trace.kind.as_str(), "id": trace.id.as_str(), "conditions": conditions(&trace.checks)});
    json!({
        "time": question.at.to_string(),
        "register": register.version.0.as_ref(),
        "source": answer.source.as_ref().map(|source| source.id.as_str()),
        "destination": answer.destination.as_ref().map(ToString::to_string),
        "carriage": match answer.carriage { Carriage::Intercept => "intercept", Carriage::Tunnel => "tunnel" },
        "decision": answer.decision.as_str(),
        "stage": answer.stage.as_str(),
        "reason": answer.reason().map(|reason| reason.as_str()),
        "status": denial.map(|denial| denial.status),
        "retry_after": denial.and_then(|denial| denial.retry_after).map(|wait| wait.as_secs()),
        "detail": denial.and_then(|denial| denial.detail.as_deref()),
        "used": answer.used.as_ref().map(|used| json!({"kind": used.kind.as_str(), "id": used.id.as_str()})),
        "categories": answer.categories.iter().map(|term| term.as_str()).collect::<Vec<_>>(),
        "conditions": conditions(&answer.trace.general),
        "candidates": answer.trace.candidates.iter().map(candidate).collect::<Vec<_>>(),
    })
}

fn conditions(checks: &[Check]) -> Value {
    let condition = |check: &Check| {
        let failures = check.failures.iter().map(|failure| {
            json!({"reason": failure.reason.as_str(), "detail": failure.detail,
                   "retry_after": failure.retry_after.map(|wait| wait.as_secs())})
        });
        json!({"stage": check.stage.as_str(), "condition": check.condition.as_str(),
               "passed": check.failures.is_empty(), "failures": failures.collect::<Vec<_>>()})
    };
    checks.iter().map(condition).collect()
}

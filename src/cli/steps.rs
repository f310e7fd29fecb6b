//! The steps of a decision as `explain` prints them: one line a condition, aligned, with what is declared beside it.

use std::fmt;
use std::sync::Arc;

use crate::inspect::Content;
use crate::policy::dry::{Answer, Question};
use crate::policy::{CandidateKind, CandidateTrace, Carriage, Check, Condition, Decision, Language, Stage};
use crate::register::{Allowance, Filing, Limits, Register, Requests, Transfer};

/// A decision to be printed.
pub(super) struct Steps<'a> {
    register: &'a Register,
    question: &'a Question,
    answer: &'a Answer,
}

/// What a candidate declares.
enum Declared<'a> {
    Transfer(&'a Transfer),
    Allowance(&'a Allowance),
}

impl<'a> Steps<'a> {
    pub(super) fn of(register: &'a Arc<Register>, question: &'a Question, answer: &'a Answer) -> Steps<'a> {
        Steps { register, question, answer }
    }

    fn facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.register.time_zone();
        let time = zone.to_datetime(self.question.at);
        let source = self.answer.source.as_ref().map_or("unknown source".to_owned(), |source| source.id.to_string());
        let way = match self.answer.carriage {
            Carriage::Intercept => self.question.method.as_str(),
            Carriage::Tunnel => "tunnel",
        };
        writeln!(f, "{way} {}", self.question.url)?;
        writeln!(f, "  at    {} {}", time.strftime("%Y-%m-%d %H:%M:%S"), zone.iana_name().unwrap_or("UTC"))?;
        writeln!(f, "  from  {} ({source})", self.question.peer.address)?;
        let known = self.question.supposed.body.as_ref().map(|body| body.size).filter(|size| *size > 0);
        if let Some(size) = self.question.body.as_ref().map(|body| body.len() as u64).or(known) {
            writeln!(f, "  body  {size} bytes, {}", self.seen())?;
        }
        Ok(())
    }

    fn seen(&self) -> String {
        let findings = &self.answer.findings;
        let content = match findings.content {
            Content::Empty => "empty".to_owned(),
            Content::Image(format) => format!("an image ({})", format.as_str()),
            Content::Video(format) => format!("a video ({})", format.as_str()),
            Content::Other => "neither image nor video".to_owned(),
        };
        let unread = findings.unread.map(|unread| format!(", unread: {}", unread.as_str())).unwrap_or_default();
        let taken: Vec<&str> = self.answer.categories.iter().map(|term| term.as_str()).collect();
        let taken = if taken.is_empty() { String::new() } else { format!(", taken for {}", taken.join(", ")) };
        format!("{content}{unread}{taken}")
    }

    fn general(&self, condition: Condition) -> String {
        match condition {
            Condition::Source => self.answer.source.as_ref().map(|source| source.id.to_string()).unwrap_or_default(),
            Condition::Destination => self.answer.destination.as_ref().map(ToString::to_string).unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn declared(&self, trace: &CandidateTrace) -> Option<Declared<'a>> {
        match trace.kind {
            CandidateKind::Transfer => {
                let transfer = self.register.transfer(&trace.id)?;
                Some(Declared::Transfer(transfer))
            }
            CandidateKind::Allowance => {
                let allowance = self.register.allowance(&trace.id)?;
                Some(Declared::Allowance(allowance))
            }
        }
    }

    fn decision(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.answer.used.as_ref().map(|used| format!(" under {used}")).unwrap_or_default();
        let reason = self.answer.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(f, "\n{}{used}{reason}", self.answer.decision)?;
        let Some(denial) = &self.answer.denial else { return Ok(()) };
        writeln!(f, "  {}", denial.reason.sentence(Language::En))?;
        if let Some(detail) = &denial.detail {
            writeln!(f, "  {detail}")?;
        }
        if self.answer.decision == Decision::Denial {
            let wait = denial.retry_after.map(|wait| format!(", Retry-After: {}", wait.as_secs())).unwrap_or_default();
            writeln!(f, "  answered with status {}{wait}", denial.status)?;
        }
        Ok(())
    }
}

impl fmt::Display for Steps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts(f)?;
        writeln!(f, "\nexchange")?;
        lines(f, &self.answer.trace.general, |condition| self.general(condition))?;
        for trace in &self.answer.trace.candidates {
            writeln!(f, "\n{} {}", trace.kind.as_str(), trace.id)?;
            let declared = self.declared(trace);
            lines(f, &trace.checks, |condition| declared.as_ref().map(|it| it.shown(condition)).unwrap_or_default())?;
        }
        if self.answer.stage < Stage::Body && self.answer.carriage == Carriage::Intercept {
            writeln!(f, "\nthe stages after \"{}\" are not judged", self.answer.stage.as_str())?;
        }
        self.decision(f)
    }
}

/// One line a condition: stage (where it changes), condition, outcome, what is declared or what failed.
fn lines(f: &mut fmt::Formatter<'_>, checks: &[Check], shown: impl Fn(Condition) -> String) -> fmt::Result {
    let mut stage = None;
    for check in checks {
        let name = if stage == Some(check.stage) { "" } else { check.stage.as_str() };
        stage = Some(check.stage);
        if check.failures.is_empty() {
            let line = format!("  {name:<10}  {:<12}  passes  {}", check.condition, shown(check.condition));
            writeln!(f, "{}", line.trim_end())?;
        }
        for failure in &check.failures {
            writeln!(f, "  {name:<10}  {:<12}  FAILS   {}: {}", check.condition, failure.reason, failure.detail)?;
        }
    }
    Ok(())
}

impl Declared<'_> {
    /// What is declared about a condition, in a few words.
    fn shown(&self, condition: Condition) -> String {
        match condition {
            Condition::Filing => {
                self.transfer().and_then(|transfer| transfer.filing.as_ref()).map_or(String::new(), filing)
            }
            Condition::Receipt => {
                let receipt = self.transfer().and_then(|transfer| transfer.processing.receipt.as_ref());
                receipt.map(|receipt| receipt.reference.clone()).unwrap_or_default()
            }
            Condition::LegalBasis => self.transfer().map_or(String::new(), basis),
            Condition::Method => listed(&self.requests().methods),
            Condition::Path => listed(&self.requests().paths),
            Condition::ContentType => listed(&self.requests().content_types),
            Condition::Categories => {
                self.transfer().map_or("none declared".to_owned(), |it| listed(&it.data_categories))
            }
            Condition::Size => self.limits().max_body.map_or(String::new(), |limit| format!("at most {limit} bytes")),
            Condition::Limits => limits(self.limits()),
            Condition::Measures => self.transfer().map_or(String::new(), |transfer| listed(&transfer.measures)),
            Condition::Country => self.transfer().map_or(String::new(), |transfer| transfer.to.country.to_string()),
            Condition::Source
            | Condition::Order
            | Condition::Address
            | Condition::Destination
            | Condition::Tunnel
            | Condition::ServerName
            | Condition::Certificate
            | Condition::TlsVersion
            | Condition::Target
            | Condition::Readable => String::new(),
        }
    }

    fn transfer(&self) -> Option<&Transfer> {
        match self {
            Declared::Transfer(transfer) => Some(transfer),
            Declared::Allowance(_) => None,
        }
    }

    fn requests(&self) -> &Requests {
        match self {
            Declared::Transfer(transfer) => &transfer.requests,
            Declared::Allowance(allowance) => &allowance.requests,
        }
    }

    fn limits(&self) -> &Limits {
        match self {
            Declared::Transfer(transfer) => &transfer.limits,
            Declared::Allowance(allowance) => &allowance.limits,
        }
    }
}

fn filing(filing: &Filing) -> String {
    let reference = filing.reference.as_deref().unwrap_or("without reference");
    let from = filing.valid_from.map(|day| format!(", from {day}")).unwrap_or_default();
    let until = filing.valid_until.map(|day| format!(", until {day}")).unwrap_or_default();
    format!("{reference}, {}{from}{until}", filing.authority)
}

fn basis(transfer: &Transfer) -> String {
    let pairs = transfer.legal_basis.iter().map(|(regime, basis)| format!("{}: {basis}", regime.as_str()));
    let pairs: Vec<String> = pairs.collect();
    format!("{} to {}", if pairs.is_empty() { "none needed".to_owned() } else { pairs.join(", ") }, transfer.to.country)
}

fn limits(limits: &Limits) -> String {
    let interval = limits.min_interval.map(|every| format!("one every {} s", every.as_secs()));
    let number = limits.max_per_day.map(|number| format!("{number} a day"));
    let bytes = limits.max_bytes_per_day.map(|bytes| format!("{bytes} bytes a day"));
    [interval, number, bytes].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

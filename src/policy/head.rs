//! The conditions of the head stage: what can be judged before a name is resolved or a byte of the body read.
//!
//! First those of the exchange itself (source, orders, address literal, destination), then those of each candidate.

use std::net::SocketAddr;

use jiff::civil::Date;

use super::candidate::{Candidate, Kept};
use super::content;
use super::decision::Stage;
use super::facts::{Head, Request};
use super::filing::{judge_basis, judge_filing, judge_receipt};
use super::reason::Reason;
use super::trace::{Check, Condition, Failure};
use super::tunnel;
use super::undeclared::undeclared;
use crate::destination::{AddressRules, Destination, Host};
use crate::register::{Order, Register, Source};

/// Judges the exchange itself.
pub(super) fn judge_general(rules: &AddressRules, kept: &mut Kept) {
    let (register, head, source) = (&kept.register, &kept.head, kept.source.as_deref());
    let unknown = match source {
        Some(_) => Vec::new(),
        None => vec![Failure::new(Reason::SourceUnknown, format!("no declared source matches {}", head.peer.address))],
    };
    let orders = register.orders_against(source, &head.destination.host).into_iter().map(stopped).collect();
    let address = literal(rules, &head.destination).into_iter().collect();
    let undeclared = match kept.standings.is_empty() {
        true => undeclared(register, source, &head.destination),
        false => Vec::new(),
    };
    for (condition, failures) in [
        (Condition::Source, unknown),
        (Condition::Order, orders),
        (Condition::Address, address),
        (Condition::Destination, undeclared),
    ] {
        kept.general.push(Check { stage: Stage::Head, condition, failures });
    }
}

/// What each candidate is judged by at the head.
pub(super) struct AtHead<'a> {
    pub register: &'a Register,
    pub head: &'a Head,
    pub source: &'a Source,
    pub day: Date,
    /// A tunnel is to be admitted, not a CONNECT or a request.
    pub is_tunnel: bool,
}

/// Judges one candidate, limits apart.
pub(super) fn judge(at: &AtHead<'_>, candidate: &Candidate, checks: &mut Vec<Check>) {
    let mut note = |condition, failures| checks.push(Check { stage: Stage::Head, condition, failures });
    if let Some(transfer) = candidate.transfer() {
        let orders = at.register.orders_on_transfer(&transfer.id).map(stopped);
        note(Condition::Order, orders.collect());
        note(Condition::Filing, judge_filing(at.register, transfer, at.day));
        note(Condition::Receipt, judge_receipt(transfer, at.day).into_iter().collect());
        note(Condition::LegalBasis, judge_basis(at.register, transfer));
    }
    if at.is_tunnel {
        note(Condition::Tunnel, tunnel::judge(at, candidate).into_iter().collect());
    }
    if let Some(request) = &at.head.request {
        note(Condition::Method, method(request, candidate).into_iter().collect());
        note(Condition::Path, path(request, candidate).into_iter().collect());
        note(Condition::ContentType, content_type(request, candidate).into_iter().collect());
        note(Condition::Target, target(at, request, candidate));
        note(Condition::Size, size(request.body.length(), candidate).into_iter().collect());
    }
}

fn stopped(order: &Order) -> Failure {
    Failure::new(Reason::SuspendedByOrder, format!("{} order \"{}\"", order.authority, order.reference))
}

/// Whether an address that stands in place of a name may be dialled.
fn literal(rules: &AddressRules, destination: &Destination) -> Option<Failure> {
    let Host::Address(address) = destination.host else { return None };
    let class = rules.check(SocketAddr::new(address, destination.port)).err()?;
    Some(Failure::new(Reason::AddressRefused, format!("{address} is a {} address", class.as_str())))
}

fn method(request: &Request, candidate: &Candidate) -> Option<Failure> {
    let methods = &candidate.requests().methods;
    let is_declared = methods.is_empty() || methods.contains(&request.method);
    (!is_declared).then(|| {
        let detail = format!("{:?} is not among {}", request.method, methods.join(", "));
        Failure::new(Reason::MethodNotDeclared, detail)
    })
}

/// A path that two readers may take differently is refused unless it is declared literally, also where no path is.
fn path(request: &Request, candidate: &Candidate) -> Option<Failure> {
    let paths = &candidate.requests().paths;
    let is_free = paths.is_empty() && !request.path.is_irregular();
    let is_declared = is_free || paths.iter().any(|pattern| pattern.matches(&request.path));
    (!is_declared).then(|| {
        let detail = match paths.is_empty() {
            true => "the path can be read in two ways, and is not declared literally".to_owned(),
            false => format!("the path does not match {}", joined(paths)),
        };
        Failure::new(Reason::PathNotDeclared, detail)
    })
}

/// A request without body has no content to have a type.
fn content_type(request: &Request, candidate: &Candidate) -> Option<Failure> {
    let types = &candidate.requests().content_types;
    if types.is_empty() || !request.body.may_be_present() {
        return None;
    }
    let is_declared = request.content_type.as_deref().is_some_and(|given| types.iter().any(|kind| kind.matches(given)));
    (!is_declared).then(|| {
        // Parameters may hold a name of a file, and belong on no record.
        let essence = |given: &String| format!("{:?}", given.split(';').next().unwrap_or_default().trim());
        let given = request.content_type.as_ref().map_or("no content type".to_owned(), essence);
        Failure::new(Reason::ContentTypeNotDeclared, format!("{given} is not among {}", joined(types)))
    })
}

/// What the query and the header fields hold. The host labels that a wildcard matched belong to the target too
/// (`HostPattern::wildcard_labels`): nothing can read them yet, so that nothing is found in them.
fn target(at: &AtHead<'_>, request: &Request, candidate: &Candidate) -> Vec<Failure> {
    let taken = content::taken(&request.target, at.source, candidate);
    let unread = taken.unread.map(|detail| Failure::new(Reason::Uninspectable, format!("the query: {detail}")));
    unread.into_iter().chain(content::judge_categories(&taken.categories, candidate)).collect()
}

/// Whether a body of this size is declared.
pub(super) fn size(size: Option<u64>, candidate: &Candidate) -> Option<Failure> {
    let (size, limit) = (size?, candidate.limits().max_body?);
    (size > limit).then(|| Failure::new(Reason::TooLarge, format!("{size} bytes, {limit} are declared")))
}

fn joined<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

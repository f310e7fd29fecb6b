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
use crate::destination::{AddressRules, Destination, Host, HostPattern, Scheme};
use crate::register::{Endpoint, Order, OrderAction, Register, Scope, Source};

/// Judges the exchange itself.
pub(super) fn judge_general(rules: &AddressRules, kept: &mut Kept) {
    let (register, head, source) = (&kept.register, &kept.head, kept.source.as_deref());
    let unknown = match source {
        Some(_) => Vec::new(),
        None => vec![Failure::new(Reason::SourceUnknown, format!("no declared source matches {}", head.peer.address))],
    };
    let orders = register.orders.iter().filter_map(|order| stops(order, register, source, &head.destination)).collect();
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
pub(super) fn judge(at: &AtHead<'_>, candidate: &Candidate) -> Vec<(Condition, Vec<Failure>)> {
    let mut outcomes = Vec::with_capacity(9);
    if let Some(transfer) = candidate.transfer() {
        let orders = at.register.orders.iter().filter_map(|order| {
            let suspends = matches!(suspension(order), Some(Scope::Transfer(id)) if *id == transfer.id);
            suspends.then(|| stopped(order))
        });
        outcomes.push((Condition::Order, orders.collect()));
        outcomes.push((Condition::Filing, judge_filing(at.register, transfer, at.day)));
        outcomes.push((Condition::Receipt, judge_receipt(transfer, at.day).into_iter().collect()));
        outcomes.push((Condition::LegalBasis, judge_basis(at.register, transfer)));
    }
    if at.is_tunnel {
        outcomes.push((Condition::Tunnel, tunnel::judge(at, candidate).into_iter().collect()));
    }
    if let Some(request) = &at.head.request {
        outcomes.push((Condition::Method, method(request, candidate).into_iter().collect()));
        outcomes.push((Condition::Path, path(request, candidate).into_iter().collect()));
        outcomes.push((Condition::ContentType, content_type(request, candidate).into_iter().collect()));
        outcomes.push((Condition::Target, target(at, request, candidate)));
        outcomes.push((Condition::Size, size(request.body.length(), candidate).into_iter().collect()));
    }
    outcomes
}

/// The scope of an order that suspends and was not lifted.
fn suspension(order: &Order) -> Option<&Scope> {
    match &order.action {
        OrderAction::Suspend { scope, lifted: false } => Some(scope),
        OrderAction::Suspend { lifted: true, .. } | OrderAction::Comply { .. } | OrderAction::Lift { .. } => None,
    }
}

fn stopped(order: &Order) -> Failure {
    Failure::new(Reason::SuspendedByOrder, format!("{} order \"{}\"", order.authority, order.reference))
}

/// Whether an order stops the exchange itself, whatever it would leave under. An order on a recipient or country
/// stops its hosts on every port: what an authority stops is a person, not a service.
pub(super) fn stops(
    order: &Order,
    register: &Register,
    source: Option<&Source>,
    destination: &Destination,
) -> Option<Failure> {
    let applies = match suspension(order)? {
        Scope::Everything => true,
        Scope::Source(id) => source.is_some_and(|source| source.id == *id),
        Scope::Recipient(id) => register.recipients_at(&destination.host).any(|recipient| recipient.id == *id),
        Scope::Country(country) => {
            register.recipients_at(&destination.host).any(|recipient| recipient.country == *country)
        }
        Scope::Transfer(_) => false,
    };
    applies.then(|| stopped(order))
}

/// Whether an address that stands in place of a name may be dialled.
fn literal(rules: &AddressRules, destination: &Destination) -> Option<Failure> {
    let Host::Address(address) = destination.host else { return None };
    let class = rules.check(SocketAddr::new(address, destination.port)).err()?;
    Some(Failure::new(Reason::AddressRefused, format!("{address} is a {} address", class.as_str())))
}

/// Why no candidate matches: of all that is declared for the host, that which comes nearest says it.
///
/// An endpoint for any host declares no host in particular, and so only counts where it fits in port and scheme.
fn undeclared(register: &Register, source: Option<&Source>, destination: &Destination) -> Vec<Failure> {
    let transfers = register.transfers.iter().map(|transfer| (&transfer.from, &transfer.to.endpoints));
    let allowances = register.allowances.iter().map(|allowance| (&allowance.from, &allowance.to));
    let near = transfers.chain(allowances).flat_map(|(from, endpoints)| {
        let is_for_source = source.is_none_or(|source| from.includes(&source.id));
        endpoints.iter().filter_map(move |endpoint| away(endpoint, destination, is_for_source))
    });
    let nearest = near.max_by_key(|failures| failures.iter().map(|failure| failure.reason).min());
    match nearest {
        // A destination that is declared lacks only the source, and that it is unknown is said already.
        Some(failures) => failures,
        None => vec![Failure::new(Reason::NoDeclaration, format!("nothing is declared for {}", destination.host))],
    }
}

/// How far an endpoint with the right host is from the destination; `None` for another host.
fn away(endpoint: &Endpoint, destination: &Destination, is_for_source: bool) -> Option<Vec<Failure>> {
    let fits = endpoint.matches(destination);
    let is_any = matches!(endpoint.host, HostPattern::Any);
    if !endpoint.host.matches(&destination.host) || (is_any && !fits) {
        return None;
    }
    let mut failures = Vec::new();
    let declared =
        || format!("{} on port {} is declared for {}", endpoint.scheme.as_str(), endpoint.port, endpoint.host);
    let is_cleartext = destination.scheme == Scheme::Http && endpoint.scheme != Scheme::Http;
    // `http://` in front of a host that is declared for TLS means port 80 without saying so: the scheme is at fault.
    let is_implied = is_cleartext
        && Some(destination.port) == destination.scheme.default_port()
        && Some(endpoint.port) == endpoint.scheme.default_port();
    let is_port = endpoint.port == destination.port && (endpoint.scheme == destination.scheme || is_cleartext);
    if !is_port && !is_implied {
        let detail = format!("{}, not {} on port {}", declared(), destination.scheme.as_str(), destination.port);
        failures.push(Failure::new(Reason::PortNotDeclared, detail));
    }
    if is_cleartext {
        failures.push(Failure::new(Reason::CleartextNotDeclared, format!("{}, not http", declared())));
    }
    if !is_for_source {
        let detail = format!("{} is declared for other sources", endpoint.host);
        failures.push(Failure::new(Reason::SourceNotDeclared, detail));
    }
    Some(failures)
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

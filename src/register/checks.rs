//! What no single entry of a register can tell and must not load: entries that contradict each other, rules that could
//! not be enforced, wildcards that belong to nobody. What is only doubtful is told in `lint.rs`.

use std::collections::{BTreeSet, HashMap};

use ipnetwork::IpNetwork;

use super::compile::Declared;
use super::fault::{Collector, Place, Problem};
use super::fields::Places;
use super::source::tie;
use super::tunnels;
use super::{Endpoint, From, Source};
use crate::destination::{Host, HostPattern, Scheme};

/// Checks the entries against each other; entries at fault are left out.
pub fn check(declared: &Declared, collector: &Collector<'_>) {
    controller(declared, collector);
    sources(declared, collector);
    recipients(declared, collector);
    public_suffixes(declared, collector);
    tunnels::check(declared, collector);
}

/// Without a controller neither its country nor its day is known.
fn controller(declared: &Declared, collector: &Collector<'_>) {
    if declared.controller.is_some() || collector.has_faults() {
        return;
    }
    let transfers = declared.transfers.entries().map(|(_, places)| places);
    let first =
        transfers.chain(declared.allowances.entries().map(|(_, places)| places)).map(|places| places.of("id")).min();
    if let Some(place) = first {
        let problem = Problem::new("no file says who the `controller` is")
            .hint("write `controller: {name: …, country: MA, time_zone: Africa/Casablanca}`");
        collector.fault(place, problem);
    }
}

fn sources(declared: &Declared, collector: &Collector<'_>) {
    let sources: Vec<(&Source, &Places)> =
        declared.sources.entries().map(|(source, places)| (source.as_ref(), places)).collect();
    let alone: Vec<&Source> = sources.iter().map(|(source, _)| *source).collect();
    for (earlier, later) in alike(&alone) {
        let ((earlier, first), (source, places)) = (sources[earlier], sources[later]);
        let Some(network) = tie(earlier, source) else { continue };
        let shared =
            network.map_or_else(|| "a peer may prove both".to_owned(), |network| format!("both are at {network}"));
        let message = format!(
            "sources `{}` and `{}` cannot be told apart, {shared}; the other is at {}",
            source.id,
            earlier.id,
            collector.cite(first.of("id"))
        );
        let hint = "give one of the two a longer prefix or another kind of proof";
        collector.fault(places.of("networks"), Problem::new(message).hint(hint));
    }
}

/// The pairs of sources that [`tie`] might find a tie between, so that not every pair has to be looked at: those that
/// share a network, or have none, and that neither certificate nor user tells apart.
pub(super) fn alike(sources: &[&Source]) -> BTreeSet<(usize, usize)> {
    type Proofs<'s> = (Option<IpNetwork>, Option<String>, Option<&'s str>);
    let mut known: HashMap<Proofs<'_>, Vec<usize>> = HashMap::new();
    let mut of_kinds: HashMap<(Option<IpNetwork>, bool, bool), Vec<usize>> = HashMap::new();
    let mut pairs = BTreeSet::new();
    for (later, source) in sources.iter().enumerate() {
        let certificate = source.client_certificate.as_ref().map(|name| name.to_ascii_lowercase());
        let user = source.user.as_deref();
        let anywhere = source.networks.is_empty().then_some(None);
        for network in source.networks.iter().copied().map(Some).chain(anywhere) {
            let same = known.entry((network, certificate.clone(), user)).or_default();
            pairs.extend(same.iter().map(|earlier| (*earlier, later)));
            same.push(later);
            // A certificate here and a user there are as many kinds of proof, and a peer may have both.
            let (by_certificate, by_user) = (certificate.is_some(), user.is_some());
            if by_certificate != by_user {
                let other = of_kinds.get(&(network, by_user, by_certificate)).into_iter().flatten();
                pairs.extend(other.map(|earlier| (*earlier, later)));
                of_kinds.entry((network, by_certificate, by_user)).or_default().push(later);
            }
        }
    }
    pairs
}

/// Where one host, port and scheme is declared.
struct Declaration<'d> {
    recipient: &'d str,
    endpoint: &'d Endpoint,
    place: Place,
}

/// One destination under two recipients would leave open who receives; the same one twice under one recipient, with
/// which pins.
fn recipients(declared: &Declared, collector: &Collector<'_>) {
    let mut exact: HashMap<(&str, u16, Scheme), Vec<Declaration<'_>>> = HashMap::new();
    let hosts: Vec<(String, Declaration<'_>)> = declared
        .recipients
        .entries()
        .flat_map(|(recipient, places)| {
            let each = recipient.endpoints.iter().enumerate();
            each.map(|(position, endpoint)| {
                let place = places.of(&format!("destinations[{position}].host"));
                (endpoint.host.to_string(), Declaration { recipient: recipient.id.as_str(), endpoint, place })
            })
        })
        .collect();
    for (host, declaration) in &hosts {
        let endpoint = declaration.endpoint;
        let written = Declaration { recipient: declaration.recipient, endpoint, place: declaration.place };
        exact.entry((host, endpoint.port, endpoint.scheme)).or_default().push(written);
    }
    for (host, declaration) in &hosts {
        for pattern in wider(host, &declaration.endpoint.host) {
            let endpoint = declaration.endpoint;
            for other in exact.get(&(pattern.as_str(), endpoint.port, endpoint.scheme)).into_iter().flatten() {
                overlap(declaration, other, collector);
            }
        }
    }
}

/// The texts of all patterns that cover this host or suffix: itself, and `*.` of each name above it.
fn wider(host: &str, pattern: &HostPattern) -> Vec<String> {
    let name = match pattern {
        HostPattern::Exact(Host::Name(name)) | HostPattern::Suffix(name) => name.as_str(),
        HostPattern::Exact(Host::Address(_)) | HostPattern::Any => return vec![host.to_owned()],
    };
    let above = name.match_indices('.').map(|(dot, _)| format!("*.{}", &name[dot + 1..]));
    std::iter::once(host.to_owned()).chain(above).collect()
}

fn overlap(declaration: &Declaration<'_>, other: &Declaration<'_>, collector: &Collector<'_>) {
    let (host, port) = (&declaration.endpoint.host, declaration.endpoint.port);
    if declaration.recipient == other.recipient {
        // A host beside its own suffix is a refinement; only a literal repetition is a slip.
        if declaration.place > other.place && declaration.endpoint.host == other.endpoint.host {
            let message = format!("`{host}` port {port} is written twice, first at {}", collector.cite(other.place));
            collector.fault(declaration.place, Problem::new(message).hint("keep one of the two"));
        }
        return;
    }
    // Equal patterns meet from both sides; the later one is told.
    if declaration.endpoint.host == other.endpoint.host && declaration.place < other.place {
        return;
    }
    let message = format!(
        "`{host}` port {port} is under two recipients, `{}` and `{}` (`{}` at {})",
        declaration.recipient,
        other.recipient,
        other.endpoint.host,
        collector.cite(other.place)
    );
    collector
        .fault(declaration.place, Problem::new(message).hint("a destination has one recipient, who answers for it"));
}

/// A name under which strangers register their own: what matches there belongs to nobody in particular.
fn public_suffixes(declared: &Declared, collector: &Collector<'_>) {
    let recipients =
        declared.recipients.entries().map(|(recipient, places)| (&recipient.endpoints, places, "destinations"));
    let allowances = declared.allowances.entries().map(|(allowance, places)| (&allowance.to, places, "to"));
    for (endpoints, places, key) in recipients.chain(allowances) {
        for (position, endpoint) in endpoints.iter().enumerate() {
            let HostPattern::Suffix(suffix) = &endpoint.host else { continue };
            // A last label that the list does not know may be the organisation's own, such as `corp`: that is a warning.
            let public = psl::suffix(suffix.as_str().as_bytes()).filter(psl::Suffix::is_known);
            if public.is_some_and(|public| public == suffix.as_str().as_bytes()) {
                let message = format!("`*.{suffix}` is every name under `{suffix}`, where anyone can register one");
                let problem = Problem::new(message)
                    .hint(format!("name the hosts, or a suffix of the recipient's own: `*.name.{suffix}`"));
                collector.fault(places.of(&format!("{key}[{position}].host")), problem);
            }
        }
    }
}

/// The sources that a transfer or allowance is for, in the order of their ids.
pub fn sources_of<'d>(from: &From, declared: &'d Declared) -> Vec<&'d Source> {
    match from {
        From::Any => declared.sources.entries().map(|(source, _)| source.as_ref()).collect(),
        From::Sources(ids) => {
            let mut found: Vec<&Source> = ids.iter().filter_map(|id| declared.sources.value(id)).collect();
            found.sort_by_key(|source| &source.id);
            found
        }
    }
}

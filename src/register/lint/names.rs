//! Names and networks: wildcards that cover a whole domain, networks of millions of addresses, names that look alike.

use std::collections::HashMap;

use ipnetwork::IpNetwork;

use super::{Lint, Linting};
use crate::destination::{HostPattern, confusable};
use crate::register::Endpoint;
use crate::register::fault::Place;
use crate::register::fields::Places;

/// A source's network is told from this prefix upwards: an organisation's own numbering is narrower, even all of 10/8.
const WIDE_IPV4: u8 = 8;
const WIDE_IPV6: u8 = 32;

pub(super) fn lint(linting: &Linting<'_>) {
    let mut hosts = Alike::default();
    for (recipient, places) in linting.declared.recipients.entries() {
        endpoints(linting, &recipient.endpoints, places, "destinations", &mut hosts);
    }
    for (allowance, places) in linting.declared.allowances.entries() {
        endpoints(linting, &allowance.to, places, "to", &mut hosts);
    }
    for (source, places) in linting.declared.sources.entries() {
        networks(linting, &source.networks, places);
    }
    ids(linting);
}

fn endpoints(linting: &Linting<'_>, endpoints: &[Endpoint], places: &Places, key: &str, hosts: &mut Alike) {
    for (position, endpoint) in endpoints.iter().enumerate() {
        let place = places.of(&format!("{key}[{position}].host"));
        hosts.note(linting, "host", &endpoint.host.to_string(), place);
        let HostPattern::Suffix(suffix) = &endpoint.host else { continue };
        if is_whole_domain(suffix.as_str()) {
            let message = format!("`*.{suffix}` covers every name that the owner of `{suffix}` ever gives to anyone");
            linting.warn(place, Lint::WildcardWide, message, "name the hosts, or a suffix further down");
        }
    }
}

/// Whether a suffix is what its owner registered and not a part of it, or a last label of the organisation's own. Public
/// suffixes are faults already.
fn is_whole_domain(suffix: &str) -> bool {
    psl::domain_str(suffix).is_none_or(|domain| domain == suffix)
}

fn networks(linting: &Linting<'_>, networks: &[IpNetwork], places: &Places) {
    for network in networks {
        let wide = match network {
            IpNetwork::V4(network) => network.prefix() < WIDE_IPV4,
            IpNetwork::V6(network) => network.prefix() < WIDE_IPV6,
        };
        if wide {
            let message =
                format!("`{network}` takes in machines of others: whoever connects from there is this source");
            linting.warn(places.of("networks"), Lint::NetworkWide, message, "write the networks of the system itself");
        }
    }
}

fn ids(linting: &Linting<'_>) {
    let declared = linting.declared;
    let mut alike = Alike::default();
    for (processing, places) in declared.processings.entries() {
        alike.note(linting, "processing", processing.id.as_str(), places.of("id"));
    }
    let mut alike = Alike::default();
    for (source, places) in declared.sources.entries() {
        alike.note(linting, "source", source.id.as_str(), places.of("id"));
    }
    let mut alike = Alike::default();
    for (recipient, places) in declared.recipients.entries() {
        alike.note(linting, "recipient", recipient.id.as_str(), places.of("id"));
    }
    let mut alike = Alike::default();
    for (transfer, places) in declared.transfers.entries() {
        alike.note(linting, "transfer", transfer.id.as_str(), places.of("id"));
    }
}

/// Names of one kind by how they look.
#[derive(Default)]
struct Alike(HashMap<String, (String, Place)>);

impl Alike {
    /// Tells a name that looks like an earlier one and is another.
    fn note(&mut self, linting: &Linting<'_>, what: &str, name: &str, place: Place) {
        let look = confusable::skeleton(name);
        let Some((earlier, first)) = self.0.get(&look) else {
            self.0.insert(look, (name.to_owned(), place));
            return;
        };
        if earlier == name {
            return;
        }
        let shown = |name: &str| match confusable::in_letters(name) {
            Some(letters) => format!("`{name}` (shown as `{letters}`)"),
            None => format!("`{name}`"),
        };
        let message = format!(
            "{what} {} looks like {}, which is at {}",
            shown(name),
            shown(earlier),
            linting.collector.cite(*first)
        );
        linting.warn(place, Lint::LookAlike, message, "if both are meant, make sure whose each of them is");
    }
}

//! Why nothing at all is declared for an exchange: of what is declared for the host, that which comes nearest says it.

use super::reason::Reason;
use super::trace::Failure;
use crate::destination::{Destination, HostPattern, Scheme};
use crate::register::{Endpoint, Register, Source};

/// Why no candidate matches: of all that is declared for the host, that which comes nearest says it.
///
/// An endpoint for any host declares no host in particular, and so only counts where it fits in port and scheme.
pub(super) fn undeclared(register: &Register, source: Option<&Source>, destination: &Destination) -> Vec<Failure> {
    let near = register.near(source.map(|source| &source.id), &destination.host).into_iter();
    let near = near.filter_map(|near| away(near.endpoint, destination, near.is_for_source));
    let nearest = near.max_by_key(|failures| failures.iter().map(|failure| failure.reason).min());
    match nearest {
        // A destination that is declared lacks only the source, and that it is unknown is said already.
        Some(failures) => failures,
        None => vec![Failure::new(Reason::NoDeclaration, format!("nothing is declared for {}", destination.host))],
    }
}

/// How far an endpoint with the right host is from the destination; `None` where it says nothing of that host.
fn away(endpoint: &Endpoint, destination: &Destination, is_for_source: bool) -> Option<Vec<Failure>> {
    let fits = endpoint.matches(destination);
    let is_any = matches!(endpoint.host, HostPattern::Any);
    if is_any && !fits {
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
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::register::linear::{Case, cases};

    /// All that is declared, read from end to end.
    fn scanned(register: &Register, source: Option<&Source>, destination: &Destination) -> Vec<Failure> {
        let transfers = register.transfers.iter().map(|transfer| (&transfer.from, &transfer.to.endpoints));
        let allowances = register.allowances.iter().map(|allowance| (&allowance.from, &allowance.to));
        let near = transfers.chain(allowances).flat_map(|(from, endpoints)| {
            let is_for_source = source.is_none_or(|source| from.includes(&source.id));
            let here = endpoints.iter().filter(|endpoint| endpoint.host.matches(&destination.host));
            here.filter_map(move |endpoint| away(endpoint, destination, is_for_source))
        });
        match near.max_by_key(|failures| failures.iter().map(|failure| failure.reason).min()) {
            Some(failures) => failures,
            None => vec![Failure::new(Reason::NoDeclaration, format!("nothing is declared for {}", destination.host))],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_comes_nearest_is_what_a_scan_finds(case in cases()) {
            let Case { register, destination, .. } = &case;
            for source in register.sources.iter().map(|source| Some(source.as_ref())).chain([None]) {
                let told = |failures: Vec<Failure>| failures.iter().map(|failure| format!("{failure:?}")).collect::<Vec<_>>();
                let found = told(undeclared(register, source, destination));
                prop_assert_eq!(found, told(scanned(register, source, destination)));
            }
        }
    }
}

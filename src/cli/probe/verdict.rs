//! What the register would decide on an exchange with a destination that was looked at: each transfer, from each of its
//! sources, with a request that its patterns allow and no body.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use super::Address;
use crate::destination::{AddressRules, Destination};
use crate::policy::dry::{self, Question, Supposed};
use crate::policy::{Carriage, Peer, TlsVersion};
use crate::register::{Recipient, Register, Source, Transfer};

/// One answer of the register.
#[derive(Serialize)]
pub(in crate::cli) struct Verdict {
    pub(in crate::cli) transfer: String,
    pub(in crate::cli) source: String,
    /// The request that was asked about.
    pub(in crate::cli) request: String,
    pub(in crate::cli) decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) detail: Option<String>,
}

/// Asks for every transfer to `recipient` that covers `destination`.
pub(super) fn ask(
    register: &Arc<Register>,
    recipient: &Recipient,
    destination: &Destination,
    rules: &AddressRules,
    seen: &[Address],
    now: Timestamp,
) -> Vec<Verdict> {
    let covers = |transfer: &&Arc<Transfer>| {
        transfer.to.id == recipient.id && transfer.to.endpoints.iter().any(|endpoint| endpoint.matches(destination))
    };
    let mut verdicts = Vec::new();
    for transfer in register.transfers.iter().filter(covers) {
        for source in register.sources.iter().filter(|source| transfer.from.includes(&source.id)) {
            let question = question(transfer, source, destination, supposed(seen), now);
            let answer = dry::answer(register, rules, &question);
            let request = match answer.carriage {
                Carriage::Intercept => format!("{} {}", question.method, question.url),
                Carriage::Tunnel => format!("tunnel to {destination}"),
            };
            verdicts.push(Verdict {
                transfer: transfer.id.to_string(),
                source: source.id.to_string(),
                request,
                decision: answer.decision.as_str(),
                reason: answer.reason().map(|reason| reason.as_str()),
                detail: answer.denial.as_ref().and_then(|denial| denial.detail.clone()),
            });
        }
    }
    verdicts
}

fn question(
    transfer: &Transfer,
    source: &Source,
    destination: &Destination,
    supposed: Supposed,
    at: Timestamp,
) -> Question {
    let requests = &transfer.requests;
    let path = requests.paths.first().map_or("/".to_owned(), |pattern| sample(&pattern.to_string()));
    let address = source.networks.first().map_or(IpAddr::from([127, 0, 0, 1]), |network| network.ip());
    Question {
        at,
        peer: Peer {
            address,
            certificate: source.client_certificate.iter().cloned().collect(),
            user: source.user.clone(),
        },
        method: requests.methods.first().map_or("POST", String::as_str).to_owned(),
        url: format!("{destination}{path}"),
        content_type: requests.content_types.first().map(|pattern| sample(&pattern.to_string())),
        body: None,
        supposed,
    }
}

/// A text that a pattern matches.
fn sample(pattern: &str) -> String {
    pattern.replace("**", "probe").replace('*', "probe")
}

/// The first address that can be used; where there is none, the answer shows why.
fn supposed(seen: &[Address]) -> Supposed {
    let usable = seen.iter().find(|address| address.fault.is_none()).or(seen.first());
    let own = usable.and_then(|address| address.chain.first());
    Supposed {
        addresses: usable.map(|address| address.address).into_iter().collect(),
        tls_version: usable.and_then(|address| address.tls).and_then(TlsVersion::parse),
        spki_sha256: own.and_then(|own| STANDARD.decode(&own.spki_sha256).ok()?.try_into().ok()),
        ..Supposed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::pattern::PathPattern;

    #[test]
    fn a_sample_matches_its_pattern() {
        for text in ["/cctv/**", "/a/*/b", "/plain"] {
            let pattern = PathPattern::parse(text).expect("a pattern");
            let path = crate::destination::RequestPath::parse(&sample(&pattern.to_string())).expect("a path");
            assert!(pattern.matches(&path), "{text}: {}", path.as_str());
        }
    }
}

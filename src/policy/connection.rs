//! The conditions of the connection stage: the addresses of a resolved name, and who answers there.

use std::net::{IpAddr, SocketAddr};

use super::candidate::{Candidate, Kept};
use super::decision::{Stage, Verdict};
use super::facts::{ConnectionFacts, TlsFacts, TlsVersion};
use super::reason::Reason;
use super::trace::{Check, Condition, Failure};
use crate::destination::{AddressRules, Destination, Host, Scheme};

/// Older versions are refused to every recipient.
pub(super) const MIN_TLS: TlsVersion = TlsVersion::V1_2;

/// The measure of DPV that TLS to the recipient fulfils.
const ENCRYPTION_IN_TRANSFER: &str = "dpv:EncryptionInTransfer";

/// Judges the addresses that a name resolved to; gives those that may be dialled under some candidate left.
///
/// One address of a refused class refuses the whole answer: a public name that also leads inside is how names are bound
/// anew to reach what stands there, and no recipient needs it.
pub(super) fn judge_addresses(kept: &mut Kept, rules: &AddressRules, resolved: &[IpAddr]) -> Vec<SocketAddr> {
    let port = kept.head.destination.port;
    let mut failures = Vec::new();
    let mut open = Vec::new();
    for address in resolved.iter().map(|address| SocketAddr::new(*address, port)) {
        match rules.check(address) {
            Ok(()) if open.contains(&address) => {}
            Ok(()) => open.push(address),
            Err(class) => {
                let detail = format!("{} is a {} address", address.ip(), class.as_str());
                failures.push(Failure::new(Reason::AddressRefused, detail));
            }
        }
    }
    if open.is_empty() && failures.is_empty() {
        failures.push(Failure::new(Reason::AddressRefused, "the name has no address"));
    }
    kept.general.push(Check { stage: Stage::Connection, condition: Condition::Address, failures });
    let all_open = open.clone();
    for standing in kept.standings.iter_mut().filter(|standing| standing.is_left) {
        let outside = all_open.iter().all(|address| outside_networks(&standing.candidate, address.ip()).is_some());
        let failure = match all_open.first() {
            Some(address) if outside => outside_networks(&standing.candidate, address.ip()),
            Some(_) | None => None,
        };
        standing.note(Stage::Connection, Condition::Address, failure.into_iter().collect());
    }
    let fits = |address: &SocketAddr| {
        kept.standings.is_empty()
            || kept.left().any(|standing| outside_networks(&standing.candidate, address.ip()).is_none())
    };
    open.retain(fits);
    open
}

/// The networks written on an endpoint narrow; they never open a refused class.
fn outside_networks(candidate: &Candidate, address: IpAddr) -> Option<Failure> {
    let networks = &candidate.endpoint().networks;
    let is_inside = networks.is_empty() || networks.iter().any(|network| network.contains(address));
    (!is_inside)
        .then(|| Failure::new(Reason::AddressRefused, format!("{address} lies outside the recipient's networks")))
}

/// Judges who answers at the address that was dialled.
pub(super) fn judge_identity(kept: &mut Kept, facts: &ConnectionFacts, is_pinned: bool) {
    let is_tunnel = kept.head.request.is_none();
    if !is_pinned {
        let failure = Failure::new(Reason::AddressRefused, format!("{} was not pinned", facts.address));
        kept.general.push(Check { stage: Stage::Connection, condition: Condition::Address, failures: vec![failure] });
    }
    let destination = &kept.head.destination;
    for (condition, failures) in [
        (Condition::ServerName, server_name(destination, facts, is_tunnel).into_iter().collect()),
        (Condition::TlsVersion, version(facts).into_iter().collect()),
        (Condition::Certificate, no_tls(destination, facts).into_iter().collect()),
    ] {
        kept.general.push(Check { stage: Stage::Connection, condition, failures });
    }
    for standing in kept.standings.iter_mut().filter(|standing| standing.is_left) {
        let candidate = &standing.candidate;
        // Of several addresses that were pinned, the one dialled may lie outside the networks of some candidates.
        let outside = outside_networks(candidate, facts.address.ip());
        let outcomes = [
            (Condition::Certificate, certificate(candidate, facts)),
            (Condition::Measures, measures(candidate, facts)),
            (Condition::Country, country(candidate, facts).filter(|_| refuses_country(candidate))),
        ];
        if let Some(failure) = outside {
            standing.note(Stage::Connection, Condition::Address, vec![failure]);
        }
        for (condition, failure) in outcomes {
            standing.note(Stage::Connection, condition, failure.into_iter().collect());
        }
    }
}

impl Verdict {
    /// Whether a connection that was opened anew may carry what was judged on an earlier one: the identity found there is
    /// judged by the same rules, so that one of several keys behind an address is as good as another, and a pin, a name
    /// or a version is as binding as before. Where nothing was declared that it leaves under, every candidate must agree.
    pub fn accepts(&self, facts: &ConnectionFacts) -> bool {
        let head = &self.kept.head;
        let is_general = server_name(&head.destination, facts, head.request.is_none())
            .or_else(|| version(facts))
            .or_else(|| no_tls(&head.destination, facts))
            .is_none();
        let mut standings = self.kept.standings.iter().enumerate();
        is_general
            && standings.all(|(place, standing)| {
                self.used.is_some_and(|used| used != place) || fits(&standing.candidate, facts)
            })
    }
}

/// Whether who answers is who this candidate means.
fn fits(candidate: &Candidate, facts: &ConnectionFacts) -> bool {
    outside_networks(candidate, facts.address.ip())
        .or_else(|| certificate(candidate, facts))
        .or_else(|| measures(candidate, facts))
        .or_else(|| country(candidate, facts).filter(|_| refuses_country(candidate)))
        .is_none()
}

/// Authority, `Host` and SNI must agree. An address has no SNI; plain HTTP and raw TCP have none either.
fn server_name(destination: &Destination, facts: &ConnectionFacts, is_tunnel: bool) -> Option<Failure> {
    let tls = facts.tls.as_ref()?;
    let agrees = match (&destination.host, &tls.sni) {
        (Host::Name(name), Some(sni)) => {
            sni == name.as_str() || Host::parse(sni).is_ok_and(|sni| sni == Host::Name(name.clone()))
        }
        // A tunnel whose ClientHello hides or leaves out its name could go to any site behind the address.
        (Host::Name(_), None) => !is_tunnel || destination.scheme == Scheme::Tcp,
        (Host::Address(_), None) => true,
        (Host::Address(_), Some(_)) => false,
    };
    (!agrees).then(|| {
        let asked = tls.sni.as_ref().map_or("no name".to_owned(), |sni| format!("{sni:?}"));
        Failure::new(Reason::SniMismatch, format!("{asked} was asked for, not {}", destination.host))
    })
}

fn version(facts: &ConnectionFacts) -> Option<Failure> {
    let version = facts.tls.as_ref()?.version;
    (version < MIN_TLS).then(|| Failure::new(Reason::TlsTooOld, format!("TLS {version}, at least {MIN_TLS} is wanted")))
}

fn no_tls(destination: &Destination, facts: &ConnectionFacts) -> Option<Failure> {
    let is_missing = destination.scheme == Scheme::Https && facts.tls.is_none();
    is_missing.then(|| Failure::new(Reason::TlsIdentityMismatch, "the connection has no TLS"))
}

/// The recipient's pins. Where no certificate can be seen (a tunnel in TLS 1.3), no pin can be verified.
fn certificate(candidate: &Candidate, facts: &ConnectionFacts) -> Option<Failure> {
    let pins = &candidate.endpoint().pins;
    if pins.is_empty() {
        return None;
    }
    let detail = match facts.tls.as_ref().and_then(|tls: &TlsFacts| tls.spki_sha256) {
        Some(key) if pins.contains(&key) => return None,
        Some(_) => "the key is not among the recipient's pins",
        None => "the certificate cannot be seen, and pins are declared",
    };
    Some(Failure::new(Reason::TlsIdentityMismatch, detail))
}

/// Encryption in transfer is the measure that can be seen on a connection; the others are the officer's to show.
fn measures(candidate: &Candidate, facts: &ConnectionFacts) -> Option<Failure> {
    let transfer = candidate.transfer()?;
    let is_promised = transfer.measures.iter().any(|measure| measure.as_str() == ENCRYPTION_IN_TRANSFER);
    (is_promised && facts.tls.is_none())
        .then(|| Failure::new(Reason::MeasureMissing, format!("{ENCRYPTION_IN_TRANSFER} without TLS")))
}

/// Whether the address is known to lie in another country than the recipient.
pub(super) fn country(candidate: &Candidate, facts: &ConnectionFacts) -> Option<Failure> {
    let declared = candidate.transfer()?.to.country;
    let seen = facts.country.filter(|seen| *seen != declared)?;
    let detail = format!("{} lies in {seen}, the recipient in {declared}", facts.address.ip());
    Some(Failure::new(Reason::CountryMismatch, detail))
}

fn refuses_country(candidate: &Candidate) -> bool {
    candidate.transfer().is_some_and(|transfer| transfer.country_mismatch_refuses)
}

//! The stages of a decision as types: each is made only here, from the one before, so that none can be skipped.
//!
//! [`admit`] → [`Permit`] → [`Pinned`] → [`Connected`] → [`Verdict`]. The dialer takes a `&Pinned`; whatever sends takes
//! a record that `audit/` made of a [`Verdict`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::calendar::Today;
use super::candidate::{Candidate, Kept, Standing};
use super::connection;
use super::content::{judge_categories, taken};
use super::decision::{Denial, Stage, Verdict};
use super::facts::{BodyFacts, ConnectionFacts, Head, TunnelLimits, is_nothing};
use super::head::{self, AtHead};
use super::limits::{Account, Attempt, Charge, Ledger, Reservations};
use super::obligations::Obligations;
use super::reason::Reason;
use super::trace::{Check, Condition, Failure, Trace};
use super::tunnel::{self, Carriage};
use crate::destination::{AddressRules, Destination};
use crate::register::{Mode, Register, Source};
use crate::vocabulary::Term;

/// Judges a CONNECT: what of the head stage needs no request. Its inner requests, or the tunnel, are admitted apart.
pub fn connect(register: &Arc<Register>, rules: &AddressRules, head: &Head) -> Result<Carriage, Denial> {
    let head = Head { request: None, ..head.clone() };
    let mut kept = identify(register, rules, head);
    judge_head(&mut kept, None);
    kept.conclude(Stage::Head)?;
    Ok(tunnel::carriage(&kept))
}

/// The head stage once more, limits apart; nothing is reserved.
pub(super) fn judge_again(register: &Arc<Register>, rules: &AddressRules, head: Head) -> Result<(), Denial> {
    let mut kept = identify(register, rules, head);
    judge_head(&mut kept, None);
    kept.conclude(Stage::Head)
}

/// The head stage. Reserves the limits of every candidate left; dropping the [`Permit`] gives them back. Under `observe`
/// a refusal that it lifts becomes a permit with [`Permit::would_deny`]. A head without request is a tunnel.
pub fn admit(
    register: &Arc<Register>,
    rules: &AddressRules,
    ledger: &mut Ledger,
    head: Head,
) -> Result<Permit, Denial> {
    ledger.collect();
    let mut kept = identify(register, rules, head);
    judge_head(&mut kept, Some(ledger));
    kept.conclude(Stage::Head)?;
    let obligations = Obligations::of(&kept, tunnel_limits(&kept, ledger));
    if kept.would_deny.is_none() {
        reserve(&mut kept, ledger);
    }
    Ok(Permit { kept, obligations })
}

fn identify(register: &Arc<Register>, rules: &AddressRules, head: Head) -> Box<Kept> {
    let peer = &head.peer;
    let position = register.position_of(peer.address, &peer.certificate, peer.user.as_deref());
    let source = position.map(|position| register.sources[position as usize].clone());
    let candidates = match position {
        Some(source) => Candidate::all_at(register, source, &head.destination).map(Standing::new).collect(),
        None => Vec::new(),
    };
    let mut kept = Box::new(Kept {
        register: Arc::clone(register),
        source,
        general: Vec::with_capacity(8),
        standings: candidates,
        today: Today::at(head.time, register.time_zone()),
        reservations: Reservations::default(),
        would_deny: None,
        head,
    });
    head::judge_general(rules, &mut kept);
    kept
}

/// Judges each candidate; the limits, and whether it may be a tunnel, only where something is to be admitted.
fn judge_head(kept: &mut Kept, ledger: Option<&Ledger>) {
    let Some(source) = kept.source.clone() else { return };
    let is_tunnel = ledger.is_some() && kept.head.request.is_none();
    let Kept { register, head, today, standings, .. } = kept;
    let at = AtHead { register, head, source: &source, day: today.date, is_tunnel };
    for standing in standings {
        head::judge(&at, &standing.candidate, &mut standing.checks);
        if let Some(ledger) = ledger.filter(|_| is_charged(head)) {
            let charge = charge(&standing.candidate, head, &source, today, announced(head));
            standing.note(Stage::Head, Condition::Limits, ledger.judge_head(&charge));
        }
    }
}

fn reserve(kept: &mut Kept, ledger: &mut Ledger) {
    let Some(source) = kept.source.clone() else { return };
    if !is_charged(&kept.head) {
        return;
    }
    for standing in kept.standings.iter().filter(|standing| standing.is_left) {
        let charge = charge(&standing.candidate, &kept.head, &source, &kept.today, announced(&kept.head));
        ledger.reserve(&charge, &mut kept.reservations);
    }
}

/// A request without body and without findings is charged to no limit.
fn is_charged(head: &Head) -> bool {
    head.request.as_ref().is_none_or(super::facts::Request::may_have_content)
}

fn announced(head: &Head) -> u64 {
    head.request.as_ref().and_then(|request| request.body.length()).unwrap_or(0)
}

fn charge<'a>(
    candidate: &'a Candidate,
    head: &'a Head,
    source: &'a Source,
    today: &'a Today,
    bytes: u64,
) -> Charge<'a> {
    let limits = candidate.limits();
    let attempt = head.request.as_ref().map(|request| Attempt {
        source: &source.id,
        method: &request.method,
        path: request.path_digest,
    });
    let account = Account::of(candidate.name(), &source.id, limits);
    Charge { account, limits, today, attempt, bytes }
}

/// What bounds a tunnel; `None` for a request.
fn tunnel_limits(kept: &Kept, ledger: &Ledger) -> Option<TunnelLimits> {
    if kept.head.request.is_some() {
        return None;
    }
    let room = |candidate: &Candidate| {
        let source = kept.source.as_ref().filter(|_| kept.would_deny.is_none())?;
        ledger.room(&charge(candidate, &kept.head, source, &kept.today, 0))
    };
    let left = kept.left().map(|standing| &standing.candidate);
    Some(tunnel::limits(left.map(|candidate| (candidate, room(candidate)))))
}

/// The head stage is passed: the destination may be resolved.
#[must_use = "a permit holds reservations: go on with it, or abandon it"]
#[derive(Debug)]
pub struct Permit {
    kept: Box<Kept>,
    obligations: Obligations,
}

impl Permit {
    /// What was judged.
    pub fn head(&self) -> &Head {
        &self.kept.head
    }

    /// What must be kept from here on.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The register that it is decided on.
    pub fn register(&self) -> &Arc<Register> {
        &self.kept.register
    }

    /// Who sends; `None` only for an unknown source under `observe`.
    pub fn source(&self) -> Option<&Arc<Source>> {
        self.kept.source.as_ref()
    }

    /// The refusal that `observe` lifted.
    pub fn would_deny(&self) -> Option<&Denial> {
        self.kept.would_deny.as_ref()
    }

    /// Each condition that was judged so far.
    pub fn trace(&self) -> Trace {
        self.kept.trace()
    }

    /// A network that some candidate left wants the address to lie in; for dry runs.
    pub(super) fn declared_network(&self) -> Option<ipnetwork::IpNetwork> {
        self.kept.left().find_map(|standing| standing.candidate.endpoint().networks.first().copied())
    }

    /// Ends the exchange for a cause outside the register (a fault of the way, a client that left), with the
    /// candidates of so far in the denial.
    pub fn abandon(self, denial: Denial) -> Denial {
        self.kept.told(denial)
    }

    /// The address part of the connection stage: keeps the addresses that may be dialled.
    pub fn pin(mut self, rules: &AddressRules, resolved: &[IpAddr]) -> Result<Pinned, Denial> {
        let addresses = connection::judge_addresses(&mut self.kept, rules, resolved);
        self.kept.conclude(Stage::Connection)?;
        Ok(Pinned { permit: self, addresses })
    }
}

/// A permit with the addresses that passed. The dialer takes nothing else.
#[must_use = "a pinned permit holds reservations: go on with it, or abandon it"]
#[derive(Debug)]
pub struct Pinned {
    permit: Permit,
    addresses: Vec<SocketAddr>,
}

impl Pinned {
    /// Where to, by name.
    pub fn destination(&self) -> &Destination {
        &self.permit.kept.head.destination
    }

    /// The addresses that may be dialled, in the order of the resolver; never empty.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What must be kept from here on.
    pub fn obligations(&self) -> &Obligations {
        &self.permit.obligations
    }

    /// The permit.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// As [`Permit::abandon`].
    pub fn abandon(self, denial: Denial) -> Denial {
        self.permit.kept.told(denial)
    }

    /// The rest of the connection stage: TLS identity, pins, version, measures, country.
    pub fn connected(self, facts: ConnectionFacts) -> Result<Connected, Denial> {
        let Permit { mut kept, obligations } = self.permit;
        connection::judge_identity(&mut kept, &facts, self.addresses.contains(&facts.address));
        kept.conclude(Stage::Connection)?;
        Ok(Connected { kept, obligations, facts })
    }
}

/// Connected to a recipient whose identity passed.
#[must_use = "it holds reservations: judge it, or abandon it"]
#[derive(Debug)]
pub struct Connected {
    kept: Box<Kept>,
    obligations: Obligations,
    facts: ConnectionFacts,
}

impl Connected {
    /// What was judged at the head.
    pub fn head(&self) -> &Head {
        &self.kept.head
    }

    /// What must be kept from here on.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The connection.
    pub fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// The refusal that `observe` lifted.
    pub fn would_deny(&self) -> Option<&Denial> {
        self.kept.would_deny.as_ref()
    }

    /// Whether `observe` is in force, which may lift a refusal of the body.
    pub fn is_observed(&self) -> bool {
        self.kept.mode() == Mode::Observe
    }

    /// As [`Permit::abandon`].
    pub fn abandon(self, denial: Denial) -> Denial {
        self.kept.told(denial)
    }

    /// The body stage: judges the whole body, picks the candidate that is used, and keeps only its reservation.
    pub fn judge(mut self, ledger: &mut Ledger, body: BodyFacts) -> Result<Verdict, Denial> {
        ledger.collect();
        let is_judged = self.kept.would_deny.is_none();
        if is_judged {
            judge_body(&mut self.kept, ledger, &body);
            self.kept.conclude(Stage::Body)?;
        }
        let verdict = self.verdict(body);
        Ok(charged(verdict, ledger))
    }

    /// The end of a tunnel's stages: there is no body to judge.
    pub fn judge_tunnel(self, ledger: &mut Ledger) -> Verdict {
        charged(self.verdict(BodyFacts::none()), ledger)
    }

    fn verdict(self, body: BodyFacts) -> Verdict {
        let used = if self.kept.would_deny.is_some() { None } else { self.kept.preferred() };
        let mismatch = used.and_then(|place| connection::country(&self.kept.standings[place].candidate, &self.facts));
        let (categories, presumed) = taken_for(&self.kept, used, &body);
        let Connected { kept, obligations, facts } = self;
        let country_mismatch = mismatch.is_some();
        Verdict { kept, body, used, categories, presumed, country_mismatch, obligations, facts }
    }
}

/// The categories of target and body under the candidate used; nothing is presumed of a would-deny.
fn taken_for(kept: &Kept, used: Option<usize>, body: &BodyFacts) -> (Vec<Term>, bool) {
    let (Some(source), Some(place)) = (&kept.source, used) else { return (Vec::new(), false) };
    let target = kept.head.request.as_ref().map(|request| &request.target);
    let mut categories = Vec::new();
    let mut presumed = false;
    for findings in target.into_iter().chain([&body.findings]) {
        let taken = taken(findings, source, &kept.standings[place].candidate);
        categories.extend(taken.categories);
        presumed |= taken.is_presumed;
    }
    categories.sort();
    categories.dedup();
    (categories, presumed)
}

fn judge_body(kept: &mut Kept, ledger: &Ledger, body: &BodyFacts) {
    let is_empty = is_empty(&kept.head, body);
    let Kept { source: Some(source), head, today, standings, reservations, .. } = kept else { return };
    for standing in standings.iter_mut().filter(|standing| standing.is_left) {
        let Standing { candidate, checks, .. } = standing;
        let mut note = |condition, failures| checks.push(Check { stage: Stage::Body, condition, failures });
        let taken = taken(&body.findings, source, candidate);
        let unread = taken.unread.map(|detail| Failure::new(Reason::Uninspectable, format!("the body: {detail}")));
        note(Condition::Readable, unread.into_iter().collect());
        note(Condition::Categories, judge_categories(&taken.categories, candidate));
        note(Condition::Size, head::size(Some(body.size), candidate).into_iter().collect());
        if !is_empty {
            let charge = charge(candidate, head, source, today, body.size);
            note(Condition::Limits, ledger.judge_body(&charge, body.digest, reservations));
        }
    }
}

/// Whether it turned out to have no content at all.
fn is_empty(head: &Head, body: &BodyFacts) -> bool {
    let is_quiet = head.request.as_ref().is_some_and(|request| is_nothing(&request.target));
    is_quiet && body.size == 0 && is_nothing(&body.findings)
}

/// Corrects the reservation of the candidate used, and gives back what the others hold.
fn charged(mut verdict: Verdict, ledger: &mut Ledger) -> Verdict {
    let (body, kept) = (&verdict.body, &mut verdict.kept);
    let used = verdict.used.map(|place| &kept.standings[place].candidate);
    match (used, &kept.source) {
        (Some(candidate), Some(source)) if !is_empty(&kept.head, body) => {
            let charge = charge(candidate, &kept.head, source, &kept.today, body.size);
            ledger.keep(&charge, body.digest, &mut kept.reservations);
        }
        _ => ledger.give_back(std::mem::take(&mut kept.reservations)),
    }
    verdict
}

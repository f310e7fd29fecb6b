//! Exchanges judged again. When a day ends, an order comes in, or a newer register is loaded, what was let through may
//! have to be cut ([`Verdict::recheck`]), and a body that comes in need not come in whole ([`Connected::recheck`]); what is not on record yet is decided anew ([`Verdict::anew`]).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;

use super::calendar::day_of;
use super::candidate::Candidate;
use super::decision::{Denial, End, Verdict};
use super::facts::{EntryPoint, Head, Peer};
use super::head::{AtHead, judge};
use super::limits::Ledger;
use super::reason::Reason;
use super::stages::{Connected, admit, judge_again};
use super::trace::{Check, Condition};
use crate::destination::{AddressRules, Destination};
use crate::register::{Id, Mode, Register};

impl Verdict {
    /// Decides the same exchange once more, on another register and at another time, from the facts that were gathered:
    /// an exchange is decided on one register, and on one that came into force before its record, on that (DESIGN §4).
    ///
    /// # Errors
    /// The denial of any stage, with the candidates of the new register.
    pub fn anew(
        mut self,
        register: &Arc<Register>,
        rules: &AddressRules,
        ledger: &mut Ledger,
        time: Timestamp,
    ) -> Result<Verdict, Denial> {
        // What it holds would stand in its own way.
        ledger.give_back(self.take_reservations());
        let Verdict { kept, body, facts, .. } = self;
        let head = Head { time, ..kept.head };
        let is_tunnel = head.request.is_none();
        let pinned = admit(register, rules, ledger, head)?.pin(rules, &[facts.address.ip()])?;
        let connected = pinned.connected(facts)?;
        if is_tunnel { Ok(connected.judge_tunnel(ledger)) } else { connected.judge(ledger, body) }
    }

    /// Whether it may go on under `register` at `time`; if not, how it ends: [`End::CutOrder`], [`End::CutExpiry`] or
    /// [`End::CutRegister`]. A would-deny has no declaration to lose: only an order cuts it.
    pub fn recheck(&self, register: &Register, time: Timestamp) -> Result<(), End> {
        let head = &self.kept.head;
        let peer = &head.peer;
        let source = register.source_of(peer.address, &peer.certificate, peer.user.as_deref());
        if !register.orders_against(source.map(AsRef::as_ref), &head.destination.host).is_empty() {
            return Err(End::CutOrder);
        }
        let Some(used) = self.used() else { return Ok(()) };
        let source =
            source.filter(|now| self.source().is_some_and(|then| then.id == now.id)).ok_or(End::CutRegister)?;
        let mut candidates = Candidate::all(register, source, &head.destination);
        let candidate = candidates.find(|candidate| candidate.name() == used).ok_or(End::CutRegister)?;
        let is_tunnel = head.request.is_none();
        // The request itself was judged, and its bytes are on their way: only what the papers say may have changed.
        let head = Head { request: None, ..head.clone() };
        let day = day_of(time, &register.time_zone());
        let at = AtHead { register, head: &head, source, day, is_tunnel };
        let checks = judged(&at, &candidate);
        let ends =
            checks.iter().flat_map(|check| check.failures.iter().map(|failure| end(check.condition, failure.reason)));
        ends.min().map_or(Ok(()), Err)
    }
}

impl Connected {
    /// Judges the head once more while the body comes in, on the register and at the time of now. Limits are not asked
    /// again: what this exchange reserved stands in nobody's way.
    ///
    /// # Errors
    /// The denial of the head stage, with the candidates of this register.
    pub fn recheck(&self, register: &Arc<Register>, rules: &AddressRules, time: Timestamp) -> Result<(), Denial> {
        judge_again(register, rules, Head { time, ..self.head().clone() })
    }
}

/// Whether a source may send anything to a destination under a register at a time: no order stops it, and the papers
/// of something that is declared for the two are in order; or `observe` lets pass what is not declared.
pub fn is_open(register: &Register, source: Option<&Id>, destination: &Destination, time: Timestamp) -> bool {
    let source = source.and_then(|id| register.source(id));
    if !register.orders_against(source.map(AsRef::as_ref), &destination.host).is_empty() {
        return false;
    }
    let day = day_of(time, &register.time_zone());
    let observes = source.and_then(|source| source.mode).unwrap_or(register.mode).on(day) == Mode::Observe;
    let Some(source) = source else { return observes };
    let peer = Peer::at(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let head = Head { time, entry: EntryPoint::Forward, peer, destination: destination.clone(), request: None };
    let at = AtHead { register, head: &head, source, day, is_tunnel: false };
    let mut candidates = Candidate::all(register, source, destination);
    let is_in_order = |candidate: Candidate| judged(&at, &candidate).iter().all(|check| check.failures.is_empty());
    observes || candidates.any(is_in_order)
}

fn judged(at: &AtHead<'_>, candidate: &Candidate) -> Vec<Check> {
    let mut checks = Vec::new();
    judge(at, candidate, &mut checks);
    checks
}

fn end(condition: Condition, reason: Reason) -> End {
    match (condition, reason) {
        (Condition::Order, _) => End::CutOrder,
        (_, Reason::Expired) => End::CutExpiry,
        (_, _) => End::CutRegister,
    }
}

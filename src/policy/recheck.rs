//! Exchanges judged again. When a day ends, an order comes in, or a newer register is loaded, what was let through may
//! have to be cut ([`Verdict::recheck`]); what is not on record yet is decided anew ([`Verdict::anew`]).

use std::sync::Arc;

use jiff::Timestamp;

use super::calendar::day_of;
use super::candidate::Candidate;
use super::decision::{Denial, End, Verdict};
use super::facts::Head;
use super::head::{AtHead, judge};
use super::limits::Ledger;
use super::reason::Reason;
use super::stages::admit;
use super::trace::Condition;
use crate::destination::AddressRules;
use crate::register::Register;

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
        let mut candidates = Candidate::all(register, source, &head.destination).into_iter();
        let candidate = candidates.find(|candidate| candidate.name() == used).ok_or(End::CutRegister)?;
        let is_tunnel = head.request.is_none();
        // The request itself was judged, and its bytes are on their way: only what the papers say may have changed.
        let head = Head { request: None, ..head.clone() };
        let day = day_of(time, &register.time_zone());
        let at = AtHead { register, head: &head, source, day, is_tunnel };
        let failed = judge(&at, &candidate)
            .into_iter()
            .flat_map(|(condition, failures)| failures.into_iter().map(move |failure| end(condition, failure.reason)));
        failed.min().map_or(Ok(()), Err)
    }
}

fn end(condition: Condition, reason: Reason) -> End {
    match (condition, reason) {
        (Condition::Order, _) => End::CutOrder,
        (_, Reason::Expired) => End::CutExpiry,
        (_, _) => End::CutRegister,
    }
}

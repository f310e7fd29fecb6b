//! The figures that follow from the register: its version, its transfers and their filings, orders, observe.
//!
//! Most of them depend on the day, so they are computed again at each scrape ([`Metrics::register_at`]). Only declared
//! transfers have series, and not more than [`MAX_TRANSFERS`] of them.

use std::collections::HashMap;
use std::sync::PoisonError;

use jiff::Timestamp;
use jiff::civil::Date;

use super::series::{DEADLINES, KINDS, OTHER, SCOPES};
use super::{Metrics, signed};
use crate::policy::Decision;
use crate::register::diff::Counts;
use crate::register::{Filing, FilingStatus, Id, Mode, ModeSetting, Order, OrderAction, Register, Scope, Transfer};

/// Most transfers that have series of their own; the rest is counted as `other`.
const MAX_TRANSFERS: usize = 1000;
/// Most sources that have series of their own, likewise.
const MAX_SOURCES: usize = 1000;

impl Metrics {
    /// A register is in force since `now`: its version, and series for its transfers.
    pub fn register_loaded(&self, register: &Register, now: Timestamp) {
        let series = &self.0;
        series.register_info.reset();
        series.register_info.with_label_values(&[&*register.version.0]).set(1);
        series.register_loaded.set(now.as_second());
        let counts = [
            register.processings.len(),
            register.sources.len(),
            register.recipients.len(),
            register.transfers.len(),
            register.allowances.len(),
        ];
        for (kind, count) in KINDS.into_iter().zip(counts) {
            series.declarations.with_label_values(&[kind]).set(signed(count as u64));
        }
        self.name_transfers(register, now);
        self.name_sources(register);
        self.filings(register);
        self.name_recipients(register);
        self.register_at(register, now);
    }

    /// So many orders in force were taken out of the policy files.
    pub fn orders_not_in_files(&self, count: u64) {
        self.0.orders_not_in_files.set(signed(count));
    }

    /// What is in force at `now`: the day decides about filings and `observe`.
    pub fn register_at(&self, register: &Register, now: Timestamp) {
        let series = &self.0;
        let day = register.time_zone().to_datetime(now).date();
        let suspending: Vec<&Scope> = register.orders.iter().filter_map(suspension).collect();
        series.orders_in_force.set(signed(suspending.len() as u64));
        let open = register.deadlines(now);
        let left: Vec<i32> = open.iter().filter_map(|(_, left)| *left).collect();
        let (all, overdue) = (open.len(), left.iter().filter(|left| **left < 0).count());
        for (standing, count) in DEADLINES.into_iter().zip([all - overdue, overdue]) {
            series.comply_open.with_label_values(&[standing]).set(signed(count as u64));
        }
        series.comply_left.reset();
        if let Some(nearest) = left.first() {
            series.comply_left.with_label_values(&[] as &[&str]).set(i64::from(*nearest) * 86_400);
        }
        let sources = register.sources.iter().filter_map(|source| source.mode);
        let counts = [
            observed([register.mode].into_iter(), day),
            observed(sources, day),
            observed(register.modes_of_transfers(), day),
            observed(register.modes_of_allowances(), day),
        ];
        for (scope, count) in SCOPES.into_iter().zip(counts) {
            series.observe_in_force.with_label_values(&[scope]).set(count);
        }
        for transfer in self.named_transfers(register) {
            let in_force = transfer.filing.as_ref().is_none_or(|filing| is_valid(filing, day))
                && !suspending.iter().any(|scope| suspends(scope, transfer));
            series.transfer_in_force.with_label_values(&[transfer.id.as_str()]).set(in_force.into());
        }
    }

    /// A register differs from the one before in these transfers.
    pub fn register_changed(&self, transfers: Counts) {
        for (change, count) in transfers.each() {
            self.0.register_changes.with_label_values(&[change]).inc_by(count);
        }
    }

    /// What follows from the registers so far: what the authority must still be told, and since when; and when one
    /// protected less than the one before.
    pub fn registers_stand(&self, open: u64, oldest: Option<Timestamp>, weakened: Option<Timestamp>) {
        let second = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_second);
        self.0.notices_open.set(signed(open));
        self.0.notices_oldest.set(second(oldest));
        self.0.register_weakened.set(second(weakened));
    }

    /// How many registers are kept, in how many bytes, and whether that in force is among them.
    pub fn registers_kept(&self, count: u64, bytes: u64, is_whole: bool) {
        self.0.registers_kept.set(signed(count));
        self.0.registers_kept_bytes.set(signed(bytes));
        self.0.register_kept.set(is_whole.into());
    }

    /// An exchange was decided that a transfer was used for, or that came furthest under it.
    pub fn transfer_decided(&self, transfer: &Id, decision: Decision, now: Timestamp) {
        let named = self.is_named(transfer);
        let label = if named { transfer.as_str() } else { OTHER };
        self.0.transfer_exchanges.with_label_values(&[label, decision.as_str()]).inc();
        if named && decision == Decision::Permit {
            self.0.transfer_last_exchange.with_label_values(&[label]).set(now.as_second());
        }
    }

    /// An exchange of a transfer succeeded or failed.
    pub fn transfer_went(&self, transfer: &Id, well: bool) {
        if self.is_named(transfer) {
            let in_row = self.0.transfer_failures_in_row.with_label_values(&[transfer.as_str()]);
            if well { in_row.set(0) } else { in_row.inc() }
        }
    }

    /// When an earlier process last let something through under each transfer: a restart does not end a silence.
    pub fn remember(&self, last: &HashMap<Id, Timestamp>) {
        for (transfer, time) in last.iter().filter(|(transfer, _)| self.is_named(transfer)) {
            self.0.transfer_last_exchange.with_label_values(&[transfer.as_str()]).set(time.as_second());
        }
    }

    /// Gives the transfers of a register their series, and takes the gauges of those that are gone.
    fn name_transfers(&self, register: &Register, now: Timestamp) {
        let series = &self.0;
        let mut named = series.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in named.iter().filter(|id| register.transfer(id).is_none()) {
            for gauges in [&series.transfer_failures_in_row, &series.transfer_in_force, &series.transfer_last_exchange]
            {
                // One that was taken away before has none.
                let _ = gauges.remove_label_values(&[gone.as_str()]);
            }
        }
        for transfer in &register.transfers {
            let id = transfer.id.as_str();
            // A counter that vanishes reads as a restart, so transfers that are gone keep theirs while there is room.
            if !named.contains(&transfer.id) {
                if named.len() >= MAX_TRANSFERS {
                    continue;
                }
                named.insert(transfer.id.clone());
                series.transfer_at_zero(id);
            }
            series.transfer_failures_in_row.with_label_values(&[id]);
            let last = series.transfer_last_exchange.with_label_values(&[id]);
            if last.get() == 0 {
                last.set(now.as_second());
            }
        }
    }

    /// Gives the sources of a register their series. Those that are gone keep theirs: a counter that vanishes reads as a
    /// restart.
    fn name_sources(&self, register: &Register) {
        let mut named = self.0.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in &register.sources {
            if named.len() < MAX_SOURCES && named.insert(source.id.clone()) {
                self.0.client_distrust.with_label_values(&[source.id.as_str()]);
            }
        }
    }

    /// The label of a declared source.
    pub(super) fn named_source<'a>(&self, source: &'a Id) -> &'a str {
        let named = self.0.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(source) { source.as_str() } else { OTHER }
    }

    fn filings(&self, register: &Register) {
        let series = &self.0;
        series.filing_valid_until.reset();
        series.transfer_period.reset();
        for transfer in self.named_transfers(register) {
            let id = transfer.id.as_str();
            if let Some(end) = transfer.filing.as_ref().and_then(|filing| end_of(filing, register)) {
                series.filing_valid_until.with_label_values(&[id]).set(end.as_second());
            }
            if let Some(period) = transfer.limits.min_interval {
                series.transfer_period.with_label_values(&[id]).set(signed(period.as_secs()));
            }
        }
    }

    /// The transfers of a register that have series: at most [`MAX_TRANSFERS`], however many it has.
    fn named_transfers<'r>(&self, register: &'r Register) -> Vec<&'r Transfer> {
        let named = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        named.iter().filter_map(|id| register.transfer(id).map(AsRef::as_ref)).collect()
    }

    fn is_named(&self, transfer: &Id) -> bool {
        self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner).contains(transfer)
    }
}

/// Validity ends with the last day, in the controller's time zone.
fn end_of(filing: &Filing, register: &Register) -> Option<Timestamp> {
    let after = filing.valid_until?.tomorrow().ok()?;
    register.time_zone().to_timestamp(after.at(0, 0, 0, 0)).ok()
}

fn is_valid(filing: &Filing, day: Date) -> bool {
    filing.status == FilingStatus::Granted
        && filing.valid_from.is_none_or(|from| day >= from)
        && filing.valid_until.is_none_or(|until| day <= until)
}

fn suspension(order: &Order) -> Option<&Scope> {
    match &order.action {
        OrderAction::Suspend { scope, lifted: false } => Some(scope),
        OrderAction::Suspend { lifted: true, .. }
        | OrderAction::Comply { .. }
        | OrderAction::Complied { .. }
        | OrderAction::Lift { .. } => None,
    }
}

/// Whether an order stops all of a transfer; one on a source may stop a part of it.
fn suspends(scope: &Scope, transfer: &Transfer) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Transfer(id) => *id == transfer.id,
        Scope::Recipient(id) => *id == transfer.to.id,
        Scope::Country(country) => *country == transfer.to.country,
        Scope::Source(_) => false,
    }
}

fn observed(settings: impl Iterator<Item = ModeSetting>, day: Date) -> i64 {
    signed(settings.filter(|setting| setting.on(day) == Mode::Observe).count() as u64)
}

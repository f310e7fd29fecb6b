//! What is doubtful in a register and loads all the same: each warning has a code ([`Lint`]), a place and a remedy.
//!
//! Entries at fault are left out, so that one slip is told once. The day, and what lies in the folder beside the policy
//! files, are handed in ([`Circumstances`]): the same files at the same time give the same warnings, anywhere. What can
//! be told from one entry alone while it is read is told there (`parties.rs`, `transfers.rs`, `tunnels.rs`).

use jiff::Timestamp;
use jiff::civil::Date;

use super::compile::{Declared, HOLD_LIMIT};
use super::fault::{Collector, Place, Problem};
use super::fields::Places;
use super::{Mode, ModeSetting, Order};
use crate::vocabulary::Country;

pub mod code;
mod documents;
mod filing;
mod limits;
mod names;
mod processing;
mod protection;

pub use code::Lint;
pub use documents::Found;

/// What a register is compiled in: facts that no policy file states.
pub struct Circumstances<'c> {
    /// How much of a body is held, in bytes: a larger `max_body` is a fault.
    pub hold_limit: u64,
    /// The moment for which it is judged. Without one nothing is said that depends on the day.
    pub at: Option<Timestamp>,
    /// What lies at the path of a document. Without it documents are not looked for.
    pub documents: Option<&'c dyn Fn(&str) -> Found>,
    /// Orders that were read into force before, or given by command: a lift may name one that no file holds.
    pub remembered: &'c [Order],
}

impl Default for Circumstances<'_> {
    fn default() -> Self {
        Circumstances { hold_limit: HOLD_LIMIT, at: None, documents: None, remembered: &[] }
    }
}

/// The register's own mode and where it is written.
pub(super) type Written = Option<(ModeSetting, Place)>;

/// Says everything doubtful that one entry alone does not tell.
pub(super) fn lint(declared: &Declared, mode: Written, circumstances: &Circumstances<'_>, collector: &Collector<'_>) {
    let zone = declared.controller.as_ref().map(|controller| controller.time_zone.clone());
    let linting = Linting {
        declared,
        home: declared.controller.as_ref().map(|controller| controller.country),
        today: circumstances.at.zip(zone).map(|(at, zone)| zone.to_datetime(at).date()),
        collector,
    };
    filing::lint(&linting);
    processing::lint(&linting);
    limits::lint(&linting);
    names::lint(&linting);
    protection::lint(&linting);
    linting.modes(mode);
    if let Some(look) = circumstances.documents {
        documents::lint(&linting, look);
    }
}

/// What every lint needs.
struct Linting<'l> {
    declared: &'l Declared,
    /// The controller's country.
    home: Option<Country>,
    /// The day in the controller's time zone.
    today: Option<Date>,
    collector: &'l Collector<'l>,
}

impl Linting<'_> {
    fn warn(&self, place: Place, lint: Lint, message: String, remedy: impl Into<String>) {
        self.collector.lint(place, lint, Problem::new(message).hint(remedy));
    }

    /// Whether a recipient there is no foreign one.
    fn is_home(&self, country: Country) -> bool {
        self.home == Some(country)
    }

    fn modes(&self, register: Written) {
        if let Some((setting, place)) = register {
            self.mode(Some(setting), place, "the register");
        }
        let Linting { declared, .. } = self;
        let at = |places: &Places| places.of("mode");
        for (source, places) in declared.sources.entries() {
            self.mode(source.mode, at(places), &format!("source `{}`", source.id));
        }
        for (transfer, places) in declared.transfers.entries() {
            self.mode(transfer.mode, at(places), &format!("transfer `{}`", transfer.id));
        }
        for (allowance, places) in declared.allowances.entries() {
            self.mode(allowance.mode, at(places), &format!("allowance `{}`", allowance.id));
        }
    }

    fn mode(&self, setting: Option<ModeSetting>, place: Place, what: &str) {
        if setting == Some(ModeSetting { mode: Mode::Observe, until: None }) {
            let message = format!("{what} observes without an end: what is not declared leaves, and is only noted");
            self.warn(place, Lint::ObserveWithoutEnd, message, "write `mode: {is: observe, until: 2024-06-30}`");
        }
    }
}

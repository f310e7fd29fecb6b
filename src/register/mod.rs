//! The register: everything that is declared, compiled into one immutable value that decisions are made from.
//!
//! [`document`] is the YAML as written; [`compile`] turns documents into a [`Register`] or reports every fault of every
//! file at once; [`lint`] tells what is doubtful and loads all the same; [`pattern`] matches paths and content types;
//! [`source`] knows which source a peer is, and `lookup.rs` what is declared for it. Nothing here reads files (that is
//! `folder.rs`) or judges an exchange (that is `policy/`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;

mod canonical;
mod checks;
pub mod compile;
pub mod diff;
pub mod document;
mod entries;
pub mod fault;
pub mod fields;
mod index;
pub mod keys;
#[cfg(test)]
pub mod linear;
pub mod lint;
mod lookup;
mod networks;
mod orders;
mod parties;
pub mod pattern;
pub mod scalar;
pub mod schema;
pub mod source;
pub mod standing;
mod transfers;
mod tunnels;
pub mod wildcards;

pub use entries::{
    Allowance, Controller, Document, Endpoint, Filing, FilingStatus, From, Interception, Label, Limits, Notification,
    Order, OrderAction, Processing, Receipt, ReceiptKind, Recipient, Requests, Scope, Source, Transfer, Unread,
};
pub use lookup::{Near, Permission};

/// An id as written: `[a-z0-9][a-z0-9-]*`, unique within its kind, never `any`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// Takes a text that has the form of an id; `None` where it has not.
    pub fn new(text: &str) -> Option<Id> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(fits);
        let rest = text.bytes().all(|byte| fits(byte) || byte == b'-');
        (first && rest && text != "any").then(|| Id(text.into()))
    }

    /// The id as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a refusal is carried out or only noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// What is not declared is let through and recorded as `would-deny`.
    Observe,
    /// What is not declared is refused.
    Enforce,
}

/// A mode as written, with the day on which an `observe` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSetting {
    /// The mode as written.
    pub mode: Mode,
    /// Last day of an `observe`, in the controller's time zone; after it the mode is [`Mode::Enforce`].
    pub until: Option<Date>,
}

impl ModeSetting {
    /// The mode in force on `day`.
    pub fn on(self, day: Date) -> Mode {
        match self.until {
            Some(until) if day > until => Mode::Enforce,
            _ => self.mode,
        }
    }
}

/// SHA-256 of a register's canonical form, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub Arc<str>);

impl Version {
    /// Its beginning, which tells registers apart for a person.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// All that is declared. Immutable; an exchange is decided on one register.
#[derive(Clone, Debug)]
pub struct Register {
    /// SHA-256 of the canonical form: of the policy files, and of the orders that stand beside them ([`standing`]).
    pub version: Version,
    /// The mode where neither source nor transfer sets one.
    pub mode: ModeSetting,
    /// Who answers for the data; absent only in a register that declares nothing.
    pub controller: Option<Controller>,
    /// Declared treatments of personal data.
    pub processings: BTreeMap<Id, Arc<Processing>>,
    /// Internal systems that send, in the order of their ids.
    pub sources: Vec<Arc<Source>>,
    /// Legal persons who receive, in the order of their ids.
    pub recipients: Vec<Arc<Recipient>>,
    /// Declared permissions, in the order of their ids.
    pub transfers: Vec<Arc<Transfer>>,
    /// Destinations opened for traffic without personal data, in the order of their ids.
    pub allowances: Vec<Arc<Allowance>>,
    /// An authority's instructions, lifts already applied to them.
    pub orders: Vec<Order>,
    /// What was told to the authority after a change.
    pub notifications: Vec<Notification>,
    /// The document that the version is the digest of: RFC 8785 JSON.
    pub canonical: Arc<str>,
    /// What the policy files say of orders, without those that stand beside them.
    written: Arc<standing::Written>,
    /// Where each of these is found.
    index: Arc<index::Index>,
    /// The orders that are in force, by what they stop.
    suspensions: index::Suspensions,
}

impl Register {
    /// The zone that days are counted in; UTC without a controller.
    pub fn time_zone(&self) -> TimeZone {
        self.controller.as_ref().map_or(TimeZone::UTC, |controller| controller.time_zone.clone())
    }
}

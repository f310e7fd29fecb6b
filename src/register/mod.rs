//! The register: everything that is declared, compiled into one immutable value that decisions are made from.
//!
//! [`document`] is the YAML as written; [`compile`] turns documents into a [`Register`] or reports every fault of every
//! file at once; [`pattern`] matches paths and methods. Nothing here reads files (that is `folder.rs`) or judges an
//! exchange (that is `policy/`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::destination::{Destination, Host, HostPattern, Scheme};
use crate::vocabulary::{Country, Regime, Term};
use pattern::{ContentTypePattern, PathPattern};

pub mod pattern;

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

/// All that is declared. Immutable; an exchange is decided on one register.
#[derive(Debug)]
pub struct Register {
    /// SHA-256 of the canonical form.
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
}

/// The organisation that runs the proxy and answers for the data.
#[derive(Clone, Debug)]
pub struct Controller {
    pub name: String,
    pub country: Country,
    pub address: Option<String>,
    /// Days, limits and validity are counted in it.
    pub time_zone: TimeZone,
    pub dpo: Option<String>,
    pub rights_contact: Option<String>,
    /// Receipt of the proxy's own processing, for the foot of the refusal page.
    pub notice_receipt: Option<String>,
}

/// A text in the languages it was written in.
#[derive(Clone, Debug, Default)]
pub struct Label {
    pub ar: Option<String>,
    pub fr: Option<String>,
    pub en: Option<String>,
    pub zgh: Option<String>,
}

/// What an authority gave back for a processing.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub kind: ReceiptKind,
    pub authority: String,
    pub reference: String,
    pub date: Option<Date>,
}

/// The kinds of base receipt of law 09-08 (articles 12 to 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    Declaration,
    SimplifiedDeclaration,
    Authorisation,
}

/// A declared treatment of personal data.
#[derive(Clone, Debug)]
pub struct Processing {
    pub id: Id,
    pub label: Label,
    pub purposes: Vec<Term>,
    pub data_categories: Vec<Term>,
    pub data_subjects: Vec<Term>,
    pub retention: Option<Span>,
    /// The base receipt; a transfer of a processing without one is refused with `receipt-missing`.
    pub receipt: Option<Receipt>,
}

/// An internal system that sends. Everything written must match.
#[derive(Clone, Debug)]
pub struct Source {
    pub id: Id,
    pub label: Label,
    pub networks: Vec<IpNetwork>,
    /// Subject alternative name of the client certificate.
    pub client_certificate: Option<String>,
    pub user: Option<String>,
    /// Categories presumed of every image and video that this system sends.
    pub carries: Vec<Term>,
    pub interception: Interception,
    /// Refusals are shown inside an intercepted connection.
    pub refusals_inside: bool,
    pub mode: Option<ModeSetting>,
}

/// Whether an exchange may be decrypted, as one side writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Interception {
    /// Never relayed unread.
    Required,
    /// Intercepted unless the other side says never.
    #[default]
    Allowed,
    /// Relayed unread.
    Never,
}

/// A legal person who receives.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub id: Id,
    pub name: String,
    pub kind: Option<Term>,
    pub country: Country,
    pub contact: Option<String>,
    pub endpoints: Vec<Endpoint>,
}

/// One destination of a recipient or allowance, as declared.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub host: HostPattern,
    pub port: u16,
    pub scheme: Scheme,
    /// SHA-256 of acceptable subject public key infos; empty: any that the roots vouch for.
    pub pins: Vec<[u8; 32]>,
    /// Addresses that the name may resolve to; empty: any. Never opens a refused class.
    pub networks: Vec<IpNetwork>,
    pub interception: Interception,
}

impl Endpoint {
    /// Whether host, port and scheme of a destination are those of this endpoint.
    pub fn matches(&self, destination: &Destination) -> bool {
        self.host.matches(&destination.host) && self.port == destination.port && self.scheme == destination.scheme
    }
}

/// Which sources a transfer or allowance is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Every *declared* source.
    Any,
    /// These sources.
    Sources(Vec<Id>),
}

impl From {
    /// Whether `source` is among them.
    pub fn includes(&self, source: &Id) -> bool {
        match self {
            From::Any => true,
            From::Sources(ids) => ids.contains(source),
        }
    }
}

/// A *declared* permission to send.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub id: Id,
    pub processing: Arc<Processing>,
    pub from: From,
    pub to: Arc<Recipient>,
    pub role: Option<Term>,
    /// All must pass.
    pub regimes: Vec<Regime>,
    pub legal_basis: BTreeMap<Regime, Term>,
    pub purposes: Vec<Term>,
    pub data_categories: Vec<Term>,
    pub data_subjects: Vec<Term>,
    /// Sensitive data (article 1 (3)) are covered by the filing.
    pub sensitive: bool,
    pub filing: Option<Filing>,
    pub requests: Requests,
    pub limits: Limits,
    pub measures: Vec<Term>,
    pub retention_exporter: Option<Span>,
    pub retention_recipient: Option<Span>,
    pub onward: Option<String>,
    pub documents: Vec<Document>,
    /// A body that cannot be read is taken for what the source carries.
    pub unreadable_presumed: bool,
    /// A country mismatch refuses instead of raising an alarm.
    pub country_mismatch_refuses: bool,
    /// `stamp: none`: the recipient rejects the stamp.
    pub stamp: bool,
    pub mode: Option<ModeSetting>,
}

/// What was sent to the authority for a transfer.
#[derive(Clone, Debug)]
pub struct Filing {
    pub authority: String,
    pub form: Option<String>,
    pub reference: Option<String>,
    pub status: FilingStatus,
    pub filed: Option<Date>,
    pub decided: Option<Date>,
    pub valid_from: Option<Date>,
    pub valid_until: Option<Date>,
}

/// Where a filing stands with the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilingStatus {
    Draft,
    Filed,
    Reclassified,
    Granted,
    Refused,
    Suspended,
    Withdrawn,
}

/// Which requests a transfer or allowance covers; an empty list restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Methods in upper case.
    pub methods: Vec<String>,
    pub paths: Vec<PathPattern>,
    pub content_types: Vec<ContentTypePattern>,
}

/// How much and how often.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// A long-run rate (GCRA).
    pub min_interval: Option<Duration>,
    /// How early an exchange may come; default a tenth of the interval.
    pub tolerance: Option<Duration>,
    pub max_per_day: Option<u64>,
    /// Body after transfer-coding, before content-coding, in bytes.
    pub max_body: Option<u64>,
    pub max_bytes_per_day: Option<u64>,
    pub retries: u32,
    /// Counted for each source by itself.
    pub per_source: bool,
    /// Longest life of a tunnel; default one hour.
    pub max_duration: Option<Duration>,
}

impl Limits {
    /// How early an exchange may come: as written, or a tenth of the interval.
    pub fn tolerance(&self) -> Duration {
        self.tolerance.or_else(|| self.min_interval.map(|interval| interval / 10)).unwrap_or_default()
    }
}

/// A document that backs a transfer.
#[derive(Clone, Debug)]
pub struct Document {
    pub title: String,
    pub date: Option<Date>,
    pub sha256: Option<String>,
    pub file: Option<String>,
}

/// A destination opened for traffic in which no personal data is found.
#[derive(Clone, Debug)]
pub struct Allowance {
    pub id: Id,
    pub to: Vec<Endpoint>,
    pub from: From,
    pub note: Option<String>,
    pub requests: Requests,
    pub limits: Limits,
    pub mode: Option<ModeSetting>,
    pub unread: Option<Unread>,
}

/// The one named exception for clients that cannot be intercepted (DESIGN §5).
#[derive(Clone, Debug)]
pub struct Unread {
    pub max_bytes_up: u64,
    pub max_duration: Duration,
    pub reason: String,
    /// Last day, in the controller's time zone.
    pub until: Date,
}

/// An authority's instruction; beats everything.
#[derive(Clone, Debug)]
pub struct Order {
    pub authority: String,
    pub reference: String,
    pub date: Option<Date>,
    pub action: OrderAction,
}

/// What an order wants.
#[derive(Clone, Debug)]
pub enum OrderAction {
    /// Transfers in `scope` stop at once, unless lifted by a later order.
    Suspend { scope: Scope, lifted: bool },
    /// A deadline that stops nothing.
    Comply { due: Option<Date>, note: Option<String> },
    /// Lifts the order with this reference of the same authority.
    Lift { lifts: String },
}

/// What a suspension covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Transfer(Id),
    Recipient(Id),
    Country(Country),
    Source(Id),
    Everything,
}

/// What was told to the authority after a change (law 09-08 art. 15).
#[derive(Clone, Debug)]
pub struct Notification {
    pub change: String,
    pub authority: String,
    pub date: Date,
    pub reference: Option<String>,
}

impl Register {
    /// The zone that days are counted in; UTC without a controller.
    pub fn time_zone(&self) -> TimeZone {
        self.controller.as_ref().map_or(TimeZone::UTC, |controller| controller.time_zone.clone())
    }

    /// The recipients one of whose endpoints has this host, whatever the port and scheme.
    pub fn recipients_at<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Arc<Recipient>> {
        self.recipients
            .iter()
            .filter(|recipient| recipient.endpoints.iter().any(|endpoint| endpoint.host.matches(host)))
    }
}

//! The entries of a register as compiled: who takes part, what is permitted, what was ordered.
//!
//! Values here are parsed and cannot be wrong in form; what they mean together is decided in `policy/`. The keys that
//! they are written with are those of DESIGN §4.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::pattern::{ContentTypePattern, PathPattern};
use super::{Id, ModeSetting};
use crate::destination::{Destination, HostPattern, Scheme};
use crate::vocabulary::{Country, Regime, Term};

/// The organisation that runs the proxy and answers for the data.
#[derive(Clone, Debug)]
pub struct Controller {
    /// As the authority knows it.
    pub name: String,
    /// Where it is established; a recipient there is not abroad.
    pub country: Country,
    /// Postal address.
    pub address: Option<String>,
    /// Days, limits and validity are counted in it.
    pub time_zone: TimeZone,
    /// Address of the data-protection officer, shown on refusals.
    pub dpo: Option<String>,
    /// Where persons exercise their rights.
    pub rights_contact: Option<String>,
    /// Receipt of the proxy's own processing, for the foot of the refusal page.
    pub notice_receipt: Option<String>,
}

/// A text in the languages it was written in.
#[derive(Clone, Debug, Default)]
pub struct Label {
    /// Arabic.
    pub ar: Option<String>,
    /// French.
    pub fr: Option<String>,
    /// English.
    pub en: Option<String>,
    /// Standard Moroccan Tamazight.
    pub zgh: Option<String>,
}

/// What an authority gave back for a processing.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What was asked for.
    pub kind: ReceiptKind,
    /// Who gave it.
    pub authority: String,
    /// Its number, such as `D-GC-298/2022`.
    pub reference: String,
    /// Its day; the processing may start then.
    pub date: Option<Date>,
}

/// The kinds of base receipt of law 09-08 (articles 12 to 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// Article 15, form F211.
    Declaration,
    /// Article 16, form F214.
    SimplifiedDeclaration,
    /// Article 12, forms F112 and F113.
    Authorisation,
}

/// A declared treatment of personal data.
#[derive(Clone, Debug)]
pub struct Processing {
    /// Unique among processings.
    pub id: Id,
    /// Its name for people.
    pub label: Label,
    /// What it is for.
    pub purposes: Vec<Term>,
    /// What it treats.
    pub data_categories: Vec<Term>,
    /// Whom it is about.
    pub data_subjects: Vec<Term>,
    /// How long the data are kept.
    pub retention: Option<Span>,
    /// The base receipt; a transfer of a processing without one is refused with `receipt-missing`.
    pub receipt: Option<Receipt>,
}

/// An internal system that sends. Everything written must match.
#[derive(Clone, Debug)]
pub struct Source {
    /// Unique among sources.
    pub id: Id,
    /// Its name for people.
    pub label: Label,
    /// Where it connects from; empty: anywhere, if certificate or user prove it.
    pub networks: Vec<IpNetwork>,
    /// Subject alternative name of the client certificate.
    pub client_certificate: Option<String>,
    /// Name that it logs in with.
    pub user: Option<String>,
    /// Categories presumed of every image and video that this system sends.
    pub carries: Vec<Term>,
    /// Whether its exchanges may be decrypted.
    pub interception: Interception,
    /// Refusals are shown inside an intercepted connection.
    pub refusals_inside: bool,
    /// Set explicitly on this source.
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
    /// Unique among recipients.
    pub id: Id,
    /// As declared to the authority.
    pub name: String,
    /// What kind of body it is.
    pub kind: Option<Term>,
    /// Where it is established.
    pub country: Country,
    /// Whom to write to there.
    pub contact: Option<String>,
    /// Where it receives; no other recipient receives there.
    pub endpoints: Vec<Endpoint>,
}

/// One destination of a recipient or allowance, as declared.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Exact, a suffix, or (allowances only) any.
    pub host: HostPattern,
    /// TCP port.
    pub port: u16,
    /// HTTPS, or plain HTTP, or another protocol where it is written.
    pub scheme: Scheme,
    /// SHA-256 of acceptable subject public key infos; empty: any that the roots vouch for.
    pub pins: Vec<[u8; 32]>,
    /// Addresses that the name may resolve to; empty: any. Never opens a refused class.
    pub networks: Vec<IpNetwork>,
    /// Whether exchanges with it may be decrypted.
    pub interception: Interception,
}

impl Endpoint {
    /// Whether host, port and scheme of a destination are those of this endpoint. Whoever dials an address for another
    /// protocol than HTTP tells no name: there the networks stand for it.
    pub fn matches(&self, destination: &Destination) -> bool {
        let has_host = self.host.matches(&destination.host)
            || self.scheme == Scheme::Tcp
                && destination
                    .host
                    .address()
                    .is_some_and(|address| self.networks.iter().any(|it| it.contains(address)));
        has_host && self.port == destination.port && self.scheme == destination.scheme
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
    /// Unique among transfers.
    pub id: Id,
    /// The treatment whose data it sends.
    pub processing: Arc<Processing>,
    /// Who may send.
    pub from: From,
    /// Who receives.
    pub to: Arc<Recipient>,
    /// What the controller is in this transfer.
    pub role: Option<Term>,
    /// All must pass.
    pub regimes: Arc<[Regime]>,
    /// The article that it rests on in each regime.
    pub legal_basis: Arc<BTreeMap<Regime, Term>>,
    /// What it is for.
    pub purposes: Arc<[Term]>,
    /// What may be found in what is sent.
    pub data_categories: Arc<[Term]>,
    /// Whom the data are about.
    pub data_subjects: Arc<[Term]>,
    /// Sensitive data (article 1 (3)) are covered by the filing.
    pub sensitive: bool,
    /// What was sent to the authority.
    pub filing: Option<Filing>,
    /// Which requests it covers.
    pub requests: Arc<Requests>,
    /// How much and how often, all its sources together.
    pub limits: Limits,
    /// What protects the data.
    pub measures: Arc<[Term]>,
    /// How long the controller keeps what it sent.
    pub retention_exporter: Option<Span>,
    /// How long the recipient keeps it.
    pub retention_recipient: Option<Span>,
    /// Whether the recipient may pass it on, as agreed.
    pub onward: Option<String>,
    /// What it can be shown with.
    pub documents: Vec<Document>,
    /// A body that cannot be read is taken for what the source carries.
    pub unreadable_presumed: bool,
    /// A country mismatch refuses instead of raising an alarm.
    pub country_mismatch_refuses: bool,
    /// `stamp: none`: the recipient rejects the stamp.
    pub stamp: bool,
    /// Set explicitly on this transfer.
    pub mode: Option<ModeSetting>,
}

/// What was sent to the authority for a transfer.
#[derive(Clone, Debug)]
pub struct Filing {
    /// To whom, such as CNDP.
    pub authority: String,
    /// On which form, such as F118.
    pub form: Option<String>,
    /// What the authority calls it; stamped on every request.
    pub reference: Option<String>,
    /// Where it stands.
    pub status: FilingStatus,
    /// Day on which it was sent.
    pub filed: Option<Date>,
    /// Day of the decision.
    pub decided: Option<Date>,
    /// First day, in the controller's time zone.
    pub valid_from: Option<Date>,
    /// Last day, in the controller's time zone; without it there is no end.
    pub valid_until: Option<Date>,
}

/// Where a filing stands with the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilingStatus {
    /// Not sent yet.
    Draft,
    /// Sent, not decided.
    Filed,
    /// Moved to another procedure (art. 20), not decided.
    Reclassified,
    /// Transfers may happen while it is valid.
    Granted,
    /// Turned down.
    Refused,
    /// Stopped for a time.
    Suspended,
    /// Taken back (art. 51).
    Withdrawn,
}

/// Which requests a transfer or allowance covers; an empty list restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests {
    /// Methods in upper case.
    pub methods: Vec<String>,
    /// Patterns of the path without its query.
    pub paths: Vec<PathPattern>,
    /// Patterns of the media type.
    pub content_types: Vec<ContentTypePattern>,
}

/// How much and how often.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// A long-run rate (GCRA).
    pub min_interval: Option<Duration>,
    /// How early an exchange may come; default a tenth of the interval.
    pub tolerance: Option<Duration>,
    /// Exchanges in a calendar day of the controller's zone.
    pub max_per_day: Option<u64>,
    /// Body after transfer-coding, before content-coding, in bytes.
    pub max_body: Option<u64>,
    /// Bytes as sent in a calendar day.
    pub max_bytes_per_day: Option<u64>,
    /// How often the same body may come again after an outcome without 2xx.
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
    /// What it is.
    pub title: String,
    /// Its day.
    pub date: Option<Date>,
    /// Its SHA-256 in lower-case hex.
    pub sha256: Option<String>,
    /// Where a copy lies.
    pub file: Option<String>,
}

/// A destination opened for traffic in which no personal data is found.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Unique among allowances.
    pub id: Id,
    /// What is opened.
    pub to: Vec<Endpoint>,
    /// For whom.
    pub from: From,
    /// What it is for.
    pub note: Option<String>,
    /// Which requests it covers.
    pub requests: Arc<Requests>,
    /// How much and how often.
    pub limits: Limits,
    /// Set explicitly on this allowance.
    pub mode: Option<ModeSetting>,
    /// Lets tunnels pass unread.
    pub unread: Option<Unread>,
}

/// The one named exception for clients that cannot be intercepted (DESIGN §5).
#[derive(Clone, Debug)]
pub struct Unread {
    /// Most bytes from the client in one tunnel.
    pub max_bytes_up: u64,
    /// Longest life of one tunnel.
    pub max_duration: Duration,
    /// Why it cannot be intercepted.
    pub reason: String,
    /// Last day, in the controller's time zone.
    pub until: Date,
}

/// An authority's instruction; beats everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who ordered it.
    pub authority: String,
    /// What the authority calls it; unique for that authority.
    pub reference: String,
    /// Its day, for information: it works from the moment it is read.
    pub date: Option<Date>,
    /// What it wants.
    pub action: OrderAction,
}

/// What an order wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderAction {
    /// Transfers in `scope` stop at once, unless lifted by a later order.
    Suspend {
        /// What stops.
        scope: Scope,
        /// A lift names this order.
        lifted: bool,
    },
    /// A deadline that stops nothing.
    Comply {
        /// The deadline.
        due: Option<Date>,
        /// What is to be done.
        note: Option<String>,
        /// An answer names this order.
        complied: bool,
    },
    /// Tells that the order with this reference of the same authority is complied with.
    Complied {
        /// Reference of the order.
        answers: String,
    },
    /// Lifts the order with this reference of the same authority.
    Lift {
        /// Reference of the lifted order.
        lifts: String,
    },
}

/// What a suspension covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One transfer; judged by candidate.
    Transfer(Id),
    /// Every exchange to that recipient's destinations.
    Recipient(Id),
    /// Every exchange to the destinations of recipients there.
    Country(Country),
    /// Every exchange of that source.
    Source(Id),
    /// Every exchange, allowances included.
    Everything,
}

/// What was told to the authority after a change (law 09-08 art. 15).
#[derive(Clone, Debug)]
pub struct Notification {
    /// What changed.
    pub change: String,
    /// Who was told.
    pub authority: String,
    /// When.
    pub date: Date,
    /// What the authority calls it.
    pub reference: Option<String>,
}

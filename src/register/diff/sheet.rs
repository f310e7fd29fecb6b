//! Entries laid out as fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;

use super::field::{Effect, Field, FieldChange};
use super::value::{READ, Value, interception, label, maybe, mode, readability, retention, sized, texts};
use super::{Kind, What};
use crate::register::{
    Allowance, Controller, Endpoint, Filing, FilingStatus, From, Limits, Order, OrderAction, Processing, Recipient,
    Register, Requests, Scope, Source, Transfer,
};

/// One entry.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) fields: BTreeMap<Field, Value>,
    /// What it comes to that the entry is new, and that it is gone.
    pub(super) added: Effect,
    pub(super) removed: Effect,
    pub(super) weakens_added: bool,
    pub(super) weakens_removed: bool,
    /// What keeps a new entry from permitting anything.
    pub(super) remark: Option<&'static str>,
    /// It permits nothing whatever its fields say: its filing is not granted.
    pub(super) is_idle: bool,
}

/// Takes an entry's kind and id, and how it is laid out in the older and in the newer register.
type Take<'t> = dyn FnMut(Kind, &str, Option<&Sheet>, Option<&Sheet>) + 't;

/// Lays out every entry of two registers, in the order of [`Kind`] and id, and gives each with its counterpart to `take`.
/// Only one pair is laid out at a time: the sheets of a large register take several times the room of the register.
pub(super) fn pairs(old: &Register, new: &Register, take: &mut Take<'_>) {
    let order_id = |order: &Order| format!("{} {}", order.authority, order.reference);
    let register = |one: &Register| Sheet::default().with(Field::Mode, mode(Some(one.mode)));
    take(Kind::Register, "", Some(&register(old)), Some(&register(new)));
    each(Kind::Order, (old.orders.iter(), new.orders.iter()), order_id, of_order, take);
    each(Kind::Transfer, (arcs(&old.transfers), arcs(&new.transfers)), |one| one.id.to_string(), of_transfer, take);
    each(Kind::Allowance, (arcs(&old.allowances), arcs(&new.allowances)), |one| one.id.to_string(), of_allowance, take);
    each(Kind::Recipient, (arcs(&old.recipients), arcs(&new.recipients)), |one| one.id.to_string(), of_recipient, take);
    each(Kind::Source, (arcs(&old.sources), arcs(&new.sources)), |one| one.id.to_string(), of_source, take);
    let processings = (old.processings.values().map(AsRef::as_ref), new.processings.values().map(AsRef::as_ref));
    each(Kind::Processing, processings, |one| one.id.to_string(), of_processing, take);
    let controller = |one: &Register| one.controller.as_ref().map(of_controller);
    take(Kind::Controller, "", controller(old).as_ref(), controller(new).as_ref());
}

fn arcs<T>(entries: &[Arc<T>]) -> impl Iterator<Item = &T> {
    entries.iter().map(AsRef::as_ref)
}

/// The entries of one kind, by id.
fn each<'r, T: 'r>(
    kind: Kind,
    (old, new): (impl Iterator<Item = &'r T>, impl Iterator<Item = &'r T>),
    id: impl Fn(&T) -> String,
    sheet: impl Fn(&T) -> Sheet,
    take: &mut Take<'_>,
) {
    let mut entries: BTreeMap<String, (Option<&T>, Option<&T>)> = BTreeMap::new();
    old.for_each(|entry| entries.entry(id(entry)).or_default().0 = Some(entry));
    new.for_each(|entry| entries.entry(id(entry)).or_default().1 = Some(entry));
    for (id, (old, new)) in entries {
        take(kind, &id, old.map(&sheet).as_ref(), new.map(&sheet).as_ref());
    }
}

impl Sheet {
    fn with(mut self, field: Field, value: Value) -> Sheet {
        self.fields.insert(field, value);
        self
    }

    /// What an entry that is new or gone is about.
    pub(super) fn headline(&self, what: What) -> Vec<FieldChange> {
        let shown = self.fields.iter().filter(|(field, _)| HEADLINE.contains(field));
        let fields = shown.filter_map(|(field, value)| {
            let (texts, is_list) = (value.texts(), value.is_list());
            let (old, new) = if what == What::Added { (Vec::new(), texts) } else { (texts, Vec::new()) };
            let is_told = !(old.is_empty() && new.is_empty());
            is_told.then_some(FieldChange { field: *field, old, new, is_list, effect: Effect::Neutral, weakens: false })
        });
        fields.collect()
    }
}

/// The fields that say what an entry is about.
const HEADLINE: [Field; 11] = [
    Field::Name,
    Field::Country,
    Field::Sources,
    Field::Recipient,
    Field::Destinations,
    Field::Networks,
    Field::Categories,
    Field::FilingStatus,
    Field::FilingReference,
    Field::Unread,
    Field::Order,
];

fn of_controller(controller: &Controller) -> Sheet {
    let zone = controller.time_zone.iana_name().unwrap_or("UTC").to_owned();
    Sheet::default()
        .with(Field::Name, Value::Text(controller.name.clone()))
        .with(Field::Country, Value::Text(controller.country.as_str().to_owned()))
        .with(Field::Address, maybe(controller.address.as_ref()))
        .with(Field::TimeZone, Value::Text(zone))
        .with(Field::Dpo, maybe(controller.dpo.as_ref()))
        .with(Field::RightsContact, maybe(controller.rights_contact.as_ref()))
        .with(Field::Notice, maybe(controller.notice_receipt.as_ref()))
}

fn of_processing(processing: &Processing) -> Sheet {
    let receipt = processing.receipt.as_ref();
    let receipt = receipt.map(|receipt| format!("{} {}", receipt.authority, receipt.reference));
    Sheet::default()
        .with(Field::Label, label(&processing.label))
        .with(Field::Purposes, Value::List(texts(&processing.purposes)))
        .with(Field::Categories, Value::List(texts(&processing.data_categories)))
        .with(Field::Subjects, Value::List(texts(&processing.data_subjects)))
        .with(Field::RetentionHere, retention(processing.retention))
        // Without a receipt every transfer of it is refused.
        .with(Field::Receipt, Value::Rank(u8::from(receipt.is_none()), receipt.unwrap_or_default()))
}

fn of_source(source: &Source) -> Sheet {
    Sheet {
        ..Sheet::default()
            .with(Field::Label, label(&source.label))
            .with(Field::Networks, Value::Permits(texts(&source.networks)))
            .with(Field::Certificate, Value::Restricts(source.client_certificate.iter().cloned().collect()))
            .with(Field::User, Value::Restricts(source.user.iter().cloned().collect()))
            .with(Field::Carries, Value::List(texts(&source.carries)))
            .with(Field::Interception, interception(source.interception))
            .with(Field::Refusals, Value::Text(if source.refusals_inside { "inside" } else { "" }.to_owned()))
            .with(Field::Mode, mode(source.mode))
    }
}

fn of_recipient(recipient: &Recipient) -> Sheet {
    let kind = recipient.kind.as_ref().map(ToString::to_string);
    endpoints(&recipient.endpoints)
        .with(Field::Name, Value::Text(recipient.name.clone()))
        .with(Field::Country, Value::Text(recipient.country.as_str().to_owned()))
        .with(Field::BodyKind, maybe(kind.as_ref()))
        .with(Field::Contact, maybe(recipient.contact.as_ref()))
}

fn endpoints(endpoints: &[Endpoint]) -> Sheet {
    let places = |endpoint: &Endpoint| format!("{}://{}:{}", endpoint.scheme, endpoint.host, endpoint.port);
    // A rule of one destination is told with the destination, as each has its own.
    let each = |shown: &dyn Fn(&Endpoint) -> Vec<String>| -> BTreeSet<String> {
        endpoints.iter().flat_map(|one| shown(one).into_iter().map(|text| format!("{} {text}", one.host))).collect()
    };
    let pins = each(&|one| {
        one.pins.iter().map(|pin| pin.iter().take(6).map(|byte| format!("{byte:02x}")).collect()).collect()
    });
    let networks = each(&|one| one.networks.iter().map(ToString::to_string).collect());
    let least = endpoints.iter().map(|one| one.interception).map(readability).min().unwrap_or(1);
    Sheet::default()
        .with(Field::Destinations, Value::Permits(endpoints.iter().map(places).collect()))
        .with(Field::Pins, Value::Restricts(pins))
        .with(Field::Addresses, Value::Restricts(networks))
        .with(Field::Interception, Value::Rank(least, READ[usize::from(least)].to_owned()))
}

fn of_transfer(transfer: &Transfer) -> Sheet {
    let basis = transfer.legal_basis.iter().map(|(regime, term)| format!("{}: {term}", regime.as_str())).collect();
    let document = |one: &crate::register::Document| {
        let hash = one.sha256.as_ref().map(|hash| format!(" ({}…)", &hash[..hash.len().min(8)]));
        format!("{}{}", one.title, hash.unwrap_or_default())
    };
    let word = |open: bool, opened: &str, closed: &str| {
        Value::Rank(u8::from(!open), if open { opened } else { closed }.to_owned())
    };
    let is_granted = transfer.filing.as_ref().is_none_or(|filing| filing.status == FilingStatus::Granted);
    let sheet = Sheet {
        added: if is_granted { Effect::Widened } else { Effect::Neutral },
        removed: if is_granted { Effect::Narrowed } else { Effect::Neutral },
        remark: (!is_granted).then_some("it permits nothing: its filing is not granted"),
        is_idle: !is_granted,
        ..Sheet::default()
    };
    let sheet = sheet
        .with(Field::Processing, Value::Text(transfer.processing.id.to_string()))
        .with(Field::Sources, from(&transfer.from))
        .with(Field::Recipient, Value::Text(transfer.to.id.to_string()))
        .with(Field::Role, maybe(transfer.role.as_ref().map(ToString::to_string).as_ref()))
        .with(Field::Regimes, Value::Demands(transfer.regimes.iter().map(|one| one.as_str().to_owned()).collect()))
        .with(Field::Basis, Value::List(basis))
        .with(Field::Purposes, Value::List(texts(&transfer.purposes)))
        .with(Field::Categories, Value::Permits(texts(&transfer.data_categories)))
        .with(Field::Subjects, Value::List(texts(&transfer.data_subjects)))
        .with(Field::Sensitive, word(transfer.sensitive, "covered", "not covered"))
        .with(Field::Measures, Value::Demands(texts(&transfer.measures)))
        .with(Field::RetentionHere, retention(transfer.retention_exporter))
        .with(Field::RetentionThere, retention(transfer.retention_recipient))
        .with(Field::Onward, maybe(transfer.onward.as_ref()))
        .with(Field::Documents, Value::Demands(transfer.documents.iter().map(document).collect()))
        .with(Field::Unreadable, word(transfer.unreadable_presumed, "passes as what the source carries", "refused"))
        .with(Field::CountryMismatch, word(!transfer.country_mismatch_refuses, "raises an alarm", "refused"))
        .with(Field::Stamp, word(!transfer.stamp, "none", "on every request"))
        .with(Field::Mode, mode(transfer.mode));
    limits(requests(filing(sheet, transfer.filing.as_ref()), &transfer.requests), &transfer.limits)
}

fn filing(sheet: Sheet, filing: Option<&Filing>) -> Sheet {
    let status = match filing.map(|filing| filing.status) {
        None => "none",
        Some(FilingStatus::Draft) => "draft",
        Some(FilingStatus::Filed) => "filed",
        Some(FilingStatus::Reclassified) => "reclassified",
        Some(FilingStatus::Granted) => "granted",
        Some(FilingStatus::Refused) => "refused",
        Some(FilingStatus::Suspended) => "suspended",
        Some(FilingStatus::Withdrawn) => "withdrawn",
    };
    let day = |date: Option<Date>| date.map(|date| (date.duration_since(Date::ZERO).as_hours() / 24).unsigned_abs());
    let shown = |date: Option<Date>| date.map_or(String::new(), |date| date.to_string());
    let (begin, end) = (filing.and_then(|one| one.valid_from), filing.and_then(|one| one.valid_until));
    let reference = filing.and_then(|one| one.reference.as_ref());
    sheet
        .with(Field::FilingStatus, Value::Rank(u8::from(status != "granted"), status.to_owned()))
        .with(Field::FilingReference, maybe(reference))
        .with(Field::ValidFrom, Value::AtLeast(day(begin), shown(begin)))
        .with(Field::ValidUntil, Value::AtMost(day(end), if end.is_none() { "no end".to_owned() } else { shown(end) }))
}

fn of_allowance(allowance: &Allowance) -> Sheet {
    let unread = allowance
        .unread
        .as_ref()
        .map(|unread| format!("up to {} bytes, until {}: {}", unread.max_bytes_up, unread.until, unread.reason));
    let sheet = Sheet {
        added: Effect::Widened,
        removed: Effect::Narrowed,
        weakens_added: unread.is_some(),
        ..endpoints(&allowance.to)
            .with(Field::Sources, from(&allowance.from))
            .with(Field::Note, maybe(allowance.note.as_ref()))
            .with(Field::Unread, Value::Rank(u8::from(unread.is_none()), unread.unwrap_or_default()))
            .with(Field::Mode, mode(allowance.mode))
    };
    limits(requests(sheet, &allowance.requests), &allowance.limits)
}

fn of_order(order: &Order) -> Sheet {
    let scope = |scope: &Scope| match scope {
        Scope::Transfer(id) => format!("transfer {id}"),
        Scope::Recipient(id) => format!("all to recipient {id}"),
        Scope::Country(country) => format!("all to {}", country.as_str()),
        Scope::Source(id) => format!("all of source {id}"),
        Scope::Everything => "everything".to_owned(),
    };
    let (rank, text, added) = match &order.action {
        OrderAction::Suspend { scope: what, lifted: false } => (1, format!("stops {}", scope(what)), Effect::Narrowed),
        OrderAction::Suspend { scope: what, lifted: true } => {
            (0, format!("stopped {}, and is lifted", scope(what)), Effect::Neutral)
        }
        OrderAction::Comply { due, note, complied } => {
            let due = due.map_or(String::new(), |due| format!(" by {due}"));
            let done = if *complied { ", and is complied with" } else { "" };
            (0, format!("wants{due}: {}{done}", note.as_deref().unwrap_or("no note")), Effect::Neutral)
        }
        OrderAction::Lift { lifts } => (0, format!("lifts {lifts}"), Effect::Neutral),
        OrderAction::Complied { answers } => (0, format!("says that {answers} is complied with"), Effect::Neutral),
    };
    let removed = if added == Effect::Narrowed { Effect::Widened } else { Effect::Neutral };
    // An order ends by a lift, never by being taken out of the files.
    let weakens_removed = added == Effect::Narrowed;
    Sheet { added, removed, weakens_removed, ..Sheet::default().with(Field::Order, Value::Rank(rank, text)) }
}

fn requests(sheet: Sheet, requests: &Requests) -> Sheet {
    sheet
        .with(Field::Methods, Value::Restricts(texts(&requests.methods)))
        .with(Field::Paths, Value::Restricts(texts(&requests.paths)))
        .with(Field::ContentTypes, Value::Restricts(texts(&requests.content_types)))
}

fn limits(sheet: Sheet, limits: &Limits) -> Sheet {
    let milliseconds =
        |one: Option<std::time::Duration>| one.map(|one| u64::try_from(one.as_millis()).unwrap_or(u64::MAX));
    let spoken =
        |one: Option<std::time::Duration>| one.map_or("none".to_owned(), |one| format!("{} s", one.as_secs_f64()));
    let number = |one: Option<u64>| one.map_or("without bound".to_owned(), |one| one.to_string());
    let size = |one: Option<u64>| one.map_or("without bound".to_owned(), sized);
    // Written or not, it follows the interval; only what is written is told.
    let tolerance = limits.tolerance.or(limits.min_interval.map(|_| limits.tolerance()));
    let tolerance_shown = limits.tolerance.map_or("a tenth".to_owned(), |_| spoken(limits.tolerance));
    sheet
        .with(Field::Interval, Value::AtLeast(milliseconds(limits.min_interval), spoken(limits.min_interval)))
        .with(Field::Tolerance, Value::AtMost(Some(milliseconds(tolerance).unwrap_or_default()), tolerance_shown))
        .with(Field::PerDay, Value::AtMost(limits.max_per_day, number(limits.max_per_day)))
        .with(Field::Body, Value::AtMost(limits.max_body, size(limits.max_body)))
        .with(Field::BytesPerDay, Value::AtMost(limits.max_bytes_per_day, size(limits.max_bytes_per_day)))
        .with(Field::Retries, Value::AtMost(Some(limits.retries.into()), limits.retries.to_string()))
        .with(
            Field::Per,
            Value::Rank(
                u8::from(!limits.per_source),
                if limits.per_source { "for each source" } else { "for all sources together" }.to_owned(),
            ),
        )
        .with(Field::Duration, Value::AtMost(milliseconds(limits.max_duration), spoken(limits.max_duration)))
}

fn from(from: &From) -> Value {
    match from {
        From::Any => Value::Restricts(BTreeSet::new()),
        From::Sources(ids) => Value::Restricts(texts(ids)),
    }
}

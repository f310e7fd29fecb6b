//! What changed between two registers, in the officer's words: what may leave now that could not, what no longer may,
//! what protects less than before, and what the authority must be told without delay.
//!
//! Every entry is laid out as a sheet of fields ([`sheet`]); a field knows which way it opens. Law 09-08 article 15 lists
//! what a declaration holds and ends with the duty to notify any change or deletion of it without delay: the fields that
//! are of that list are [`Field::is_declared`]. A `notifications` entry closes what it names. `words` prints a [`Diff`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::civil::Date;

use super::{FilingStatus, From, Notification, Register, Transfer, Version};

mod brief;
mod field;
mod notice;
mod sheet;
mod value;
mod words;

pub use brief::{Brief, Counts, Listed};
pub use field::{Effect, Field, FieldChange};
pub use notice::{Notice, carry};
use sheet::Sheet;
use value::compare;

/// The difference of two registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Version of the older register.
    pub old: Version,
    /// Version of the newer register.
    pub new: Version,
    /// Entries that differ, by kind and id.
    pub changes: Vec<Change>,
}

/// The kinds of entries, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What holds for all entries: the mode.
    Register,
    /// An authority's order.
    Order,
    /// A transfer.
    Transfer,
    /// An allowance.
    Allowance,
    /// A recipient.
    Recipient,
    /// A source.
    Source,
    /// A processing.
    Processing,
    /// The controller.
    Controller,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Order => "order",
            Kind::Transfer => "transfer",
            Kind::Allowance => "allowance",
            Kind::Recipient => "recipient",
            Kind::Source => "source",
            Kind::Processing => "processing",
            Kind::Controller => "controller",
        }
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Some of its fields differ.
    Changed,
}

/// One entry that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of entry it is.
    pub kind: Kind,
    /// Its id; of an order, authority and reference; empty where there is only one of the kind.
    pub id: String,
    /// What became of it.
    pub what: What,
    /// Whether more or less may leave than before.
    pub effect: Effect,
    /// Its fields: those that differ, and of an entry that is new or gone what it is about.
    pub fields: Vec<FieldChange>,
    /// A remark on an entry that is new: what keeps it from permitting anything.
    pub remark: Option<&'static str>,
    /// It protects less than before.
    pub weakens: bool,
    /// Transfers that refer to it.
    pub transfers: Vec<String>,
    /// What the authority must be told.
    pub due: Vec<Due>,
}

/// Something to be notified to the authority without delay (law 09-08 art. 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What changed, as a `notifications` entry names it: `transfer cctv-to-ministry-a: recipient`.
    pub change: String,
    /// The notification that closes it: day and reference.
    pub closed: Option<(Date, Option<String>)>,
}

/// Compares two registers.
pub fn diff(old: &Register, new: &Register) -> Diff {
    let mut changes = Vec::new();
    sheet::pairs(old, new, &mut |kind, id, old, new| changes.extend(change(kind, id, old, new)));
    let told = Told::between(old, new);
    let referring = Referring::of(old, new);
    for change in &mut changes {
        change.transfers = referring.transfers(change);
        change.due = dues(change, old, new, &told);
    }
    Diff { old: old.version.clone(), new: new.version.clone(), changes }
}

fn change(kind: Kind, id: &str, old: Option<&Sheet>, new: Option<&Sheet>) -> Option<Change> {
    let (what, effect, fields, remark) = match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => (What::Added, new.added, new.headline(What::Added), new.remark),
        (Some(old), None) => (What::Removed, old.removed, old.headline(What::Removed), None),
        (Some(old), Some(new)) => {
            let fields = compare(old, new);
            if fields.is_empty() {
                return None;
            }
            let effect = match (old.is_idle, new.is_idle) {
                (false, false) => fields.iter().map(|field| field.effect).fold(Effect::Neutral, Effect::and),
                (true, false) => Effect::Widened,
                (false, true) => Effect::Narrowed,
                (true, true) => Effect::Neutral,
            };
            (What::Changed, effect, fields, None)
        }
    };
    let weakens = match what {
        What::Added => new.is_some_and(|new| new.weakens_added),
        What::Removed => old.is_some_and(|old| old.weakens_removed),
        What::Changed => new.is_some_and(|new| !new.is_idle) && fields.iter().any(|field| field.weakens),
    };
    let (transfers, due) = (Vec::new(), Vec::new());
    Some(Change { kind, id: id.to_owned(), what, effect, fields, remark, weakens, transfers, due })
}

/// Transfers of either register by what they refer to.
#[derive(Default)]
struct Referring<'a> {
    to: HashMap<(Kind, &'a str), BTreeSet<&'a str>>,
    /// Those that are for every source.
    any: BTreeSet<&'a str>,
}

impl<'a> Referring<'a> {
    fn of(old: &'a Register, new: &'a Register) -> Referring<'a> {
        let mut referring = Referring::default();
        for transfer in new.transfers.iter().chain(&old.transfers) {
            let id = transfer.id.as_str();
            let mut put = |kind, entry| {
                referring.to.entry((kind, entry)).or_default().insert(id);
            };
            put(Kind::Recipient, transfer.to.id.as_str());
            put(Kind::Processing, transfer.processing.id.as_str());
            match &transfer.from {
                From::Sources(sources) => sources.iter().for_each(|source| put(Kind::Source, source.as_str())),
                From::Any => {
                    referring.any.insert(id);
                }
            }
        }
        referring
    }

    fn transfers(&self, change: &Change) -> Vec<String> {
        let named = self.to.get(&(change.kind, change.id.as_str())).into_iter().flatten();
        let any = self.any.iter().filter(|_| change.kind == Kind::Source);
        let ids: BTreeSet<&str> = named.chain(any).copied().collect();
        ids.into_iter().map(str::to_owned).collect()
    }
}

/// What was told to the authority: notifications that the older register had not.
struct Told<'a>(Vec<&'a Notification>);

impl<'a> Told<'a> {
    fn between(old: &Register, new: &'a Register) -> Told<'a> {
        let known = |one: &&Notification| {
            old.notifications.iter().any(|other| {
                (&other.change, &other.authority, other.date, &other.reference)
                    == (&one.change, &one.authority, one.date, &one.reference)
            })
        };
        Told(new.notifications.iter().filter(|one| !known(one)).collect())
    }

    /// The notification of a change: it names the entry, and the field or nothing more than the entry.
    fn closes(&self, subject: &str, field: &str) -> Option<(Date, Option<String>)> {
        let words = |text: &str| text.to_lowercase();
        let fits = |told: &&&Notification| {
            let change = words(&told.change);
            let rest = change.strip_prefix(&words(subject)).map(str::trim);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix(':').is_some_and(|rest| rest.contains(&words(field)))
            })
        };
        self.0.iter().find(fits).map(|told| (told.date, told.reference.clone()))
    }
}

fn dues(change: &Change, old: &Register, new: &Register, told: &Told<'_>) -> Vec<Due> {
    let subject = change.subject();
    // A recipient's change may be told as one of the transfer: `transfer cctv-to-ministry-a: recipient address`.
    let through =
        || change.transfers.iter().find_map(|id| told.closes(&format!("transfer {id}"), change.kind.as_str()));
    let closed = |field: &str| told.closes(&subject, field).or_else(through);
    let due = |field: &str| Due { change: format!("{subject}: {field}"), closed: closed(field) };
    let had_receipt = super::Id::new(&change.id)
        .and_then(|id| old.processings.get(&id))
        .is_some_and(|processing| processing.receipt.is_some());
    match (change.kind, change.what) {
        (Kind::Transfer, _) if !was_told(&change.id, old) && !is_used_unfiled(&change.id, new) => Vec::new(),
        (Kind::Transfer, What::Added) => vec![due("added")],
        (Kind::Processing, _) if !had_receipt => Vec::new(),
        (Kind::Transfer | Kind::Processing, What::Removed) => vec![due("removed")],
        // What no filed transfer refers to was never declared to the authority.
        (Kind::Recipient, _) if !change.transfers.iter().any(|id| was_told(id, old)) => Vec::new(),
        (_, What::Changed) => {
            change.fields.iter().filter(|one| one.field.is_declared()).map(|one| due(one.field.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the authority knows a transfer of a register: something was filed.
fn was_told(id: &str, register: &Register) -> bool {
    transfer(id, register).is_some_and(|transfer| match &transfer.filing {
        Some(filing) => filing.status != FilingStatus::Draft,
        // Without a filing of its own it rests on the base declaration, which lists recipients (art. 15 (d)).
        None => transfer.processing.receipt.is_some(),
    })
}

/// Transfers stand in the order of their ids.
fn transfer<'a>(id: &str, register: &'a Register) -> Option<&'a Arc<Transfer>> {
    let place = register.transfers.binary_search_by(|transfer| transfer.id.as_str().cmp(id)).ok()?;
    register.transfers.get(place)
}

/// A new transfer that rests on the base declaration alone: nothing was filed for it.
fn is_used_unfiled(id: &str, register: &Register) -> bool {
    transfer(id, register).is_some_and(|transfer| transfer.filing.is_none() && transfer.processing.receipt.is_some())
}

impl Diff {
    /// Whether the registers mean the same.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether something protects less than before.
    pub fn weakens(&self) -> bool {
        self.changes.iter().any(|change| change.weakens)
    }

    /// What the authority must still be told.
    pub fn open(&self) -> impl Iterator<Item = &Due> {
        self.dues().filter(|due| due.closed.is_none())
    }

    /// What the authority must be told, closed ones included.
    pub fn dues(&self) -> impl Iterator<Item = &Due> {
        self.changes.iter().flat_map(|change| &change.due)
    }

    /// Every transfer that differs, by itself or through what it refers to, with what that comes to.
    pub fn transfers(&self) -> BTreeMap<&str, (What, Effect)> {
        let mut transfers: BTreeMap<&str, (What, Effect)> = BTreeMap::new();
        for change in &self.changes {
            let own = (change.kind == Kind::Transfer).then_some(change.id.as_str());
            for id in own.into_iter().chain(change.transfers.iter().map(String::as_str)) {
                let what = if own.is_some() { change.what } else { What::Changed };
                let entry = transfers.entry(id).or_insert((what, Effect::Neutral));
                if own.is_some() || entry.0 == What::Changed {
                    entry.0 = what.min(entry.0);
                }
                entry.1 = entry.1.and(change.effect);
            }
        }
        transfers
    }
}

//! Values of fields, each with the way in which it opens or closes, and what a change of one comes to.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::field::{Effect, Field, FieldChange};
use super::sheet::Sheet;
use crate::register::{Interception, Label, Mode, ModeSetting};
use crate::vocabulary::{Term, TermKind};

/// A value, with what more or less of it means.
pub(super) enum Value {
    /// Says nothing about what may leave.
    Text(String),
    /// A list that says nothing about it either.
    List(BTreeSet<String>),
    /// Each more lets more leave.
    Permits(BTreeSet<String>),
    /// Lets only these leave; empty, everything.
    Restricts(BTreeSet<String>),
    /// Each more is asked for.
    Demands(BTreeSet<String>),
    /// No more than this; `None`, without bound.
    AtMost(Option<u64>, String),
    /// No less than this; `None`, without bound.
    AtLeast(Option<u64>, String),
    /// The higher, the less may leave.
    Rank(u8, String),
}

/// The fields of two sheets that differ.
pub(super) fn compare(old: &Sheet, new: &Sheet) -> Vec<FieldChange> {
    let fields: BTreeSet<&Field> = old.fields.keys().chain(new.fields.keys()).collect();
    // Sheets of one kind have the same fields.
    let both = fields.into_iter().filter_map(|field| Some((*field, old.fields.get(field)?, new.fields.get(field)?)));
    both.filter_map(|(field, old, new)| differing(field, old, new)).collect()
}

fn differing(field: Field, old: &Value, new: &Value) -> Option<FieldChange> {
    let (before, after) = (old.texts(), new.texts());
    if before == after {
        return None;
    }
    let is_list = old.is_list() && new.is_list();
    let mut gone: Vec<String> = before.iter().filter(|one| !is_list || !after.contains(one)).cloned().collect();
    let mut come: Vec<String> = after.iter().filter(|one| !is_list || !before.contains(one)).cloned().collect();
    // What a wider entry of the other side covers is neither lost nor gained.
    let loses = gone.iter().any(|one| !after.iter().any(|other| covers(field, other, one)));
    let gains = come.iter().any(|one| !before.iter().any(|other| covers(field, other, one)));
    let effect = effect(old, new, loses, gains);
    if matches!((old, new), (Value::Restricts(_), Value::Restricts(_))) {
        let any = || vec!["any".to_owned()];
        gone = if before.is_empty() { any() } else { gone };
        come = if after.is_empty() { any() } else { come };
    }
    let weakens = field.protects() && effect.widens();
    Some(FieldChange { field, old: gone, new: come, is_list, effect, weakens })
}

fn effect(old: &Value, new: &Value, has_gone: bool, has_come: bool) -> Effect {
    let each = |widens: bool, narrows: bool| match (widens, narrows) {
        (true, true) => Effect::Both,
        (true, false) => Effect::Widened,
        (false, true) => Effect::Narrowed,
        (false, false) => Effect::Neutral,
    };
    match (old, new) {
        (Value::Permits(_), Value::Permits(_)) => each(has_come, has_gone),
        (Value::Demands(_), Value::Demands(_)) => each(has_gone, has_come),
        (Value::Restricts(old), Value::Restricts(new)) => match (old.is_empty(), new.is_empty()) {
            (true, _) => Effect::Narrowed,
            (_, true) => Effect::Widened,
            _ => each(has_come, has_gone),
        },
        (Value::AtMost(old, _), Value::AtMost(new, _)) => {
            let bound = |one: &Option<u64>| one.unwrap_or(u64::MAX);
            each(bound(new) > bound(old), bound(new) < bound(old))
        }
        (Value::AtLeast(old, _), Value::AtLeast(new, _)) => {
            let bound = |one: &Option<u64>| one.unwrap_or(0);
            each(bound(new) < bound(old), bound(new) > bound(old))
        }
        (Value::Rank(old, _), Value::Rank(new, _)) => each(new < old, new > old),
        _ => Effect::Neutral,
    }
}

/// Whether what one text of a field lets leave is part of what another does.
fn covers(field: Field, wide: &str, narrow: &str) -> bool {
    match field {
        Field::Networks | Field::Addresses => {
            let read = |text: &str| text.rsplit(' ').next().and_then(|text| text.parse::<IpNetwork>().ok());
            let pair = read(wide).zip(read(narrow));
            pair.is_some_and(|(wide, narrow)| wide.prefix() <= narrow.prefix() && wide.contains(narrow.network()))
        }
        Field::Categories => {
            let read = |text| Term::parse(text, TermKind::DataCategory).ok();
            read(wide).zip(read(narrow)).is_some_and(|(wide, narrow)| wide.covers(&narrow))
        }
        Field::Destinations => wide.split_once("*.").is_some_and(|(scheme, suffix)| {
            narrow.strip_prefix(scheme).is_some_and(|host| host.ends_with(&format!(".{suffix}")))
        }),
        Field::Paths => wide.strip_suffix("/**").is_some_and(|above| {
            !above.contains('*')
                && narrow.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
        _ => false,
    }
}

impl Value {
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Value::List(_) | Value::Permits(_) | Value::Restricts(_) | Value::Demands(_))
    }

    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Value::List(set) | Value::Permits(set) | Value::Restricts(set) | Value::Demands(set) => {
                set.iter().cloned().collect()
            }
            Value::Text(text) | Value::AtMost(_, text) | Value::AtLeast(_, text) | Value::Rank(_, text) => {
                Some(text.clone()).filter(|text| !text.is_empty()).into_iter().collect()
            }
        }
    }
}

/// Whether bodies are read, from never to always.
pub(super) const READ: [&str; 3] = ["never read", "read where the other side allows it", "always read"];

pub(super) fn readability(interception: Interception) -> u8 {
    match interception {
        Interception::Never => 0,
        Interception::Allowed => 1,
        Interception::Required => 2,
    }
}

pub(super) fn interception(interception: Interception) -> Value {
    let rank = readability(interception);
    Value::Rank(rank, READ[usize::from(rank)].to_owned())
}

/// A mode that is not written is the register's: stricter than `observe`, weaker than `enforce`.
pub(super) fn mode(setting: Option<ModeSetting>) -> Value {
    match setting {
        None => Value::Rank(1, "the register's".to_owned()),
        Some(ModeSetting { mode: Mode::Enforce, .. }) => Value::Rank(2, "enforce".to_owned()),
        Some(ModeSetting { mode: Mode::Observe, until: None }) => Value::Rank(0, "observe, without end".to_owned()),
        Some(ModeSetting { mode: Mode::Observe, until: Some(until) }) => {
            Value::Rank(0, format!("observe until {until}"))
        }
    }
}

/// What is kept for longer; months and years as calendars have them on average.
pub(super) fn retention(span: Option<jiff::Span>) -> Value {
    let days = |span: jiff::Span| {
        let months = f64::from(span.get_years()) * 12.0 + f64::from(span.get_months());
        months * 30.44 + f64::from(span.get_weeks()) * 7.0 + f64::from(span.get_days())
    };
    Value::AtMost(
        span.map(|span| days(span).round() as u64),
        span.map_or("no bound".to_owned(), |span| span.to_string()),
    )
}

pub(super) fn label(label: &Label) -> Value {
    let each = [("ar", &label.ar), ("fr", &label.fr), ("en", &label.en), ("zgh", &label.zgh)];
    Value::List(each.iter().filter_map(|(language, text)| Some(format!("{language}: {}", text.as_ref()?))).collect())
}

pub(super) fn maybe(text: Option<&String>) -> Value {
    Value::Text(text.cloned().unwrap_or_default())
}

pub(super) fn texts<T: ToString>(values: &[T]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn sized(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or(format!("{bytes} bytes"), |(bits, unit)| format!("{} {unit}", bytes >> bits))
}

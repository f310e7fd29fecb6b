//! Reads an authority's orders, with their lifts, and what was told to the authority.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use jiff::civil::Date;
use serde_json::Value as Json;

use super::compile::Declared;
use super::document::Node;
use super::fault::{Collector, Problem, meant};
use super::fields::{Fields, Places, sorted};
use super::keys::tables::{NOTIFICATION, ORDER};
use super::lint::{Circumstances, Lint};
use super::scalar::{self, choice};
use super::standing::days_between;
use super::{Notification, Order, OrderAction, Scope};

/// Orders by authority and reference; `None` where one is at fault.
type Known = BTreeMap<(String, String), (Option<Order>, Places)>;

/// All orders, lifts applied, in the order of authority and reference; and their canonical form.
pub fn orders<'a>(
    nodes: &[&'a Node],
    declared: &Declared,
    circumstances: &Circumstances<'_>,
    collector: &'a Collector<'a>,
) -> (Vec<Order>, Json) {
    let mut orders = Known::new();
    let mut forms = Vec::new();
    for node in nodes {
        let Some(mut fields) = Fields::open_as(node, "an order", Some(&ORDER), collector) else { continue };
        let authority = fields.required("authority", scalar::text);
        let reference = fields.required("ref", scalar::text);
        let order = order(&mut fields, authority.clone(), reference.clone(), declared);
        let (form, places) = fields.close();
        forms.push(form);
        let (Some(authority), Some(reference)) = (authority, reference) else { continue };
        match orders.entry((authority, reference)) {
            Slot::Vacant(slot) => {
                slot.insert((order, places));
            }
            Slot::Occupied(slot) => {
                let ((authority, reference), first) = (slot.key(), collector.cite(slot.get().1.of("ref")));
                let message = format!("order `{reference}` of {authority} is written twice, first at {first}");
                collector.fault(
                    places.of("ref"),
                    Problem::new(message).hint("a lift is an entry with a reference of its own"),
                );
            }
        }
    }
    lift(&mut orders, circumstances.remembered, collector);
    answer(&mut orders, collector);
    let zone = declared.controller.as_ref().map(|controller| controller.time_zone.clone());
    if let Some((at, zone)) = circumstances.at.zip(zone) {
        deadlines(&orders, zone.to_datetime(at).date(), collector);
    }
    (orders.into_values().filter_map(|(order, _)| order).collect(), sorted(forms))
}

/// What was told to the authority, as written; and its canonical form.
pub fn notifications<'a>(nodes: &[&'a Node], collector: &'a Collector<'a>) -> (Vec<Notification>, Json) {
    let mut notifications = Vec::new();
    let mut forms = Vec::new();
    for node in nodes {
        let Some(mut fields) = Fields::open_as(node, "a notification", Some(&NOTIFICATION), collector) else {
            continue;
        };
        notifications.extend(notification(&mut fields));
        forms.push(fields.close().0);
    }
    (notifications, sorted(forms))
}

fn notification(fields: &mut Fields<'_>) -> Option<Notification> {
    let change = fields.required("change", scalar::text);
    let authority = fields.required("authority", scalar::text);
    let date = fields.required("date", scalar::date);
    let reference = fields.optional("ref", scalar::text);
    Some(Notification { change: change?, authority: authority?, date: date?, reference })
}

#[derive(Clone, Copy)]
enum Action {
    Suspend,
    Comply,
    Lift,
    Complied,
}

fn order(
    fields: &mut Fields<'_>,
    authority: Option<String>,
    reference: Option<String>,
    declared: &Declared,
) -> Option<Order> {
    let date = fields.optional("date", scalar::date);
    let action = fields.required(
        "action",
        choice(&[
            ("suspend", Action::Suspend),
            ("comply", Action::Comply),
            ("lift", Action::Lift),
            ("complied", Action::Complied),
        ]),
    );
    let scope = fields.optional("scope", scalar::scope);
    if let Some(Err(problem)) = scope.as_ref().map(|scope| resolve(scope, declared)) {
        // It is an order all the same: what it names may be in a file that cannot be read.
        fields.collector().fault(
            fields.places().of("scope"),
            Problem { message: format!("`scope`: {}", problem.message), ..problem },
        );
    }
    let due = fields.optional("due", scalar::date);
    let note = fields.optional("note", scalar::text);
    let lifts = fields.optional("lifts", scalar::text);
    let answers = fields.optional("answers", scalar::text);
    let action = match action? {
        Action::Suspend => {
            only(fields, "suspend", "scope", &["due", "lifts", "answers"]);
            OrderAction::Suspend { scope: scope?, lifted: false }
        }
        Action::Comply => {
            only(fields, "comply", "", &["scope", "lifts", "answers"]);
            OrderAction::Comply { due, note, complied: false }
        }
        Action::Lift => {
            only(fields, "lift", "lifts", &["scope", "due", "answers"]);
            OrderAction::Lift { lifts: lifts? }
        }
        Action::Complied => {
            only(fields, "complied", "answers", &["scope", "due", "lifts"]);
            OrderAction::Complied { answers: answers? }
        }
    };
    Some(Order { authority: authority?, reference: reference?, date, action })
}

/// A scope that names nothing declared would stop nothing, and nobody would notice.
fn resolve(scope: &Scope, declared: &Declared) -> Result<(), Problem> {
    match scope {
        Scope::Transfer(id) => declared.transfers.require(id, "transfer"),
        Scope::Recipient(id) => declared.recipients.require(id, "recipient"),
        Scope::Source(id) => declared.sources.require(id, "source"),
        Scope::Country(_) | Scope::Everything => Ok(()),
    }
}

fn only(fields: &Fields<'_>, action: &str, needed: &str, refused: &[&str]) {
    if !needed.is_empty() && fields.places().written(needed).is_none() {
        let problem = Problem::new(format!("`action: {action}` needs `{needed}`"));
        fields.collector().fault(fields.places().of("action"), problem);
    }
    for key in refused {
        fields.refuse(key, Problem::new(format!("`{key}` means nothing with `action: {action}`")).hint("leave it out"));
    }
}

/// Marks what is lifted. A lift names a suspension of the same authority, in the files or remembered.
fn lift(orders: &mut Known, remembered: &[Order], collector: &Collector<'_>) {
    let lifts: Vec<(String, String, Option<Date>, Places)> = orders
        .values()
        .filter_map(|(order, places)| match order {
            Some(Order { authority, date, action: OrderAction::Lift { lifts }, .. }) => {
                Some((authority.clone(), lifts.clone(), *date, places.clone()))
            }
            _ => None,
        })
        .collect();
    for (authority, reference, date, places) in lifts {
        match orders.get_mut(&(authority.clone(), reference.clone())) {
            Some((Some(Order { action: OrderAction::Suspend { lifted, .. }, date: suspended, .. }), _)) => {
                *lifted = true;
                if let (Some(suspended), Some(date)) = (suspended, date)
                    && date < *suspended
                {
                    let problem = Problem::new(format!("lifted on {date}, before the suspension of {suspended}"))
                        .hint("compare both days with the authority's letters");
                    collector.lint(places.of("date"), Lint::LiftBeforeOrder, problem);
                }
            }
            // That order is at fault itself, which is told there.
            Some((None, _)) => {}
            _ if remembered.iter().any(|order| order.suspends_as(&authority, &reference)) => {}
            Some((Some(_), _)) | None => {
                let message = format!("{authority} has no suspension `{reference}` to lift");
                let hint = meant(&reference, suspensions(orders, &authority)).or_else(|| {
                    Some(
                        "an order that was taken out of the files, or given by command, is known with --state"
                            .to_owned(),
                    )
                });
                collector.fault(places.of("lifts"), Problem { message, hint });
            }
        }
    }
}

/// Marks what is complied with. An answer names a `comply` of the same authority.
fn answer(orders: &mut Known, collector: &Collector<'_>) {
    let answers = |(order, places): &(Option<Order>, Places)| match order {
        Some(Order { authority, action: OrderAction::Complied { answers }, .. }) => {
            Some((authority.clone(), answers.clone(), places.clone()))
        }
        _ => None,
    };
    let answers: Vec<_> = orders.values().filter_map(answers).collect();
    for (authority, reference, places) in answers {
        match orders.get_mut(&(authority.clone(), reference.clone())) {
            Some((Some(Order { action: OrderAction::Comply { complied, .. }, .. }), _)) => *complied = true,
            // That order is at fault itself, which is told there.
            Some((None, _)) => {}
            Some((Some(_), _)) | None => {
                let problem = Problem::new(format!("{authority} has no `comply` `{reference}` to answer"));
                collector.fault(places.of("answers"), problem.hint("a suspension ends by `action: lift`"));
            }
        }
    }
}

/// How many days before an authority's deadline it is warned about.
const SOON: i32 = 30;

/// Tells the deadlines that are near or over.
fn deadlines(orders: &Known, today: Date, collector: &Collector<'_>) {
    for (order, places) in orders.values() {
        let Some(Order { authority, reference, action, .. }) = order else { continue };
        let OrderAction::Comply { due: Some(due), complied: false, .. } = action else { continue };
        let left = days_between(today, *due);
        let (lint, told) = match left {
            ..0 => (Lint::ComplyOverdue, format!("is overdue since {due}, for {}", days(-left))),
            0 => (Lint::ComplyDueSoon, "is due today".to_owned()),
            1..=SOON => (Lint::ComplyDueSoon, format!("is due on {due}, in {}", days(left))),
            _ => continue,
        };
        let problem = Problem::new(format!("`{reference}` of {authority} {told}"));
        let hint =
            format!("when it is met, write `{{action: complied, answers: \"{reference}\"}}` with a `ref` of its own");
        collector.lint(places.of("due"), lint, problem.hint(hint));
    }
}

fn days(count: i32) -> String {
    format!("{count} {}", if count == 1 { "day" } else { "days" })
}

/// References of an authority's suspensions.
fn suspensions<'o>(orders: &'o Known, authority: &str) -> Vec<&'o str> {
    let of_authority = orders.iter().filter(|((by, _), _)| by == authority);
    let suspending = of_authority.filter(|(_, (order, _))| {
        order.as_ref().is_some_and(|order| matches!(order.action, OrderAction::Suspend { .. }))
    });
    suspending.map(|((_, reference), _)| reference.as_str()).collect()
}

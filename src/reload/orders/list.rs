//! All orders, for people: where each came from, what it stops, and what is left of each deadline.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::docket::{Docket, Entry, Means, Suspension};
use crate::register::{OrderAction, Register};

/// All orders, as `tasrih order list` shows them: suspensions, oldest first, and the deadlines of the register in force,
/// where there is one.
pub fn list(docket: &Docket, register: Option<&Register>, now: Timestamp) -> Value {
    let suspension = |known: Suspension<'_>| {
        let Entry { at, way, authority, reference, date, note, .. } = known.entry;
        let in_files = register.map(|register| {
            register
                .orders_of_files()
                .iter()
                .any(|order| order.is(authority, reference) && order.scope() == Some(known.scope))
        });
        let in_force = register.map_or(known.lift.is_none(), |register| {
            let mut orders = register.orders.iter().filter(|order| order.is(authority, reference));
            orders.any(|order| order.suspends() == Some(known.scope))
        });
        let by = way.origin.asked_by.as_ref();
        json!({
            "action": "suspend", "authority": authority, "ref": reference, "scope": known.scope.to_string(),
            "in_force": in_force, "since": at.to_string(),
            "means": match way.means { Means::Files => "files", Means::Command => "command" },
            "by": by.and_then(|asker| asker.user.clone()), "by_uid": by.map(|asker| asker.uid),
            "file": way.origin.file, "in_files": in_files,
            "stops_nothing": register.is_some_and(|register| register.knows(known.scope).is_err()),
            "lifted_by": known.lift.map(|lift| lift.reference.clone()),
            "lifted": known.lift.map(|lift| lift.at.to_string()),
            "date": date.map(|date| date.to_string()), "note": note,
        })
    };
    let mut orders: Vec<Value> = docket.suspensions().map(suspension).collect();
    let deadlines = register.map(|register| register.deadlines(now)).unwrap_or_default();
    orders.extend(deadlines.into_iter().map(|(order, left)| {
        let OrderAction::Comply { due, note, .. } = &order.action else { return Value::Null };
        json!({
            "action": "comply", "authority": order.authority, "ref": order.reference,
            "due": due.map(|due| due.to_string()), "days_left": left,
            "date": order.date.map(|date| date.to_string()), "note": note,
        })
    }));
    json!({ "register": register.map(|register| register.version.0.clone()), "orders": orders })
}

//! Orders that stand beside the policy files: given by command, or read from files that do not hold them any more.
//!
//! Orders only ever come: one ends by a lift, an entry of its own, and never by being taken out of a file. So what is in
//! force is what the files say together with what is remembered (`docket.rs` keeps that). Making the register of both
//! costs no compilation, however large it is.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, Unit};
use serde_json::{Value as Json, json};

use super::document::Scalar;
use super::fault::{Problem, nearest};
use super::index::suspensions;
use super::{Id, Order, OrderAction, Register, Scope, Version, canonical, scalar};

/// What the policy files alone say of orders.
#[derive(Debug)]
pub(super) struct Written {
    /// Version of the register that the files alone make.
    pub version: Version,
    /// The document that this version is the digest of.
    pub canonical: Arc<str>,
    /// The orders of the files, their lifts applied.
    pub orders: Vec<Order>,
}

impl Register {
    /// The register that these orders make of the policy files of this one: suspensions in force that the files do not
    /// hold, and lifts of suspensions that they do. `remembered` is all that was ever taken, each suspension marked
    /// `lifted` or not, in any order; what this register remembered before is forgotten.
    ///
    /// Where nothing stands beside the files, the version is that of the files. Otherwise it is the SHA-256 of
    /// `{"orders":[…],"register":VERSION}`, so that it is the same whichever way an order came and went.
    #[must_use]
    pub fn with_orders(&self, remembered: &[Order]) -> Register {
        let written = &self.written;
        let mut orders = written.orders.clone();
        let mut forms = Vec::new();
        for order in remembered {
            let OrderAction::Suspend { scope, lifted } = &order.action else { continue };
            let (authority, reference) = (&order.authority, &order.reference);
            let is_same = |other: &Order| other.is(authority, reference) && other.scope() == Some(scope);
            let in_files = orders[..written.orders.len()].iter_mut().find(|order| is_same(order));
            let form = json!({ "authority": authority, "ref": reference, "scope": scope.to_string() });
            match (in_files.map(|order| &mut order.action), lifted) {
                (Some(OrderAction::Suspend { lifted, .. }), true) if !*lifted => {
                    *lifted = true;
                    forms.push(json!({ "lifted": form }));
                }
                (Some(_), _) | (None, true) => {}
                (None, false) if written.lifts(authority, reference) => {}
                (None, false) => {
                    orders.push(order.clone());
                    forms.push(json!({ "stands": form }));
                }
            }
        }
        let key = |order: &Order| (order.authority.clone(), order.reference.clone());
        orders.sort_by_cached_key(key);
        let (canonical, version) = written.beside(forms);
        let suspensions = suspensions(&orders);
        Register { version, canonical, orders, suspensions, ..self.clone() }
    }

    /// The version of the policy files alone.
    pub fn version_of_files(&self) -> &Version {
        &self.written.version
    }

    /// The orders of the policy files alone, their lifts applied.
    pub fn orders_of_files(&self) -> &[Order] {
        &self.written.orders
    }

    /// Whether something is declared that a scope can stop.
    ///
    /// # Errors
    /// Names what is not declared, and the nearest id.
    pub fn knows(&self, scope: &Scope) -> Result<(), Problem> {
        fn among<'i>(ids: impl Iterator<Item = &'i Id>, kind: &str, id: &Id) -> Problem {
            let problem = Problem::new(format!("there is no {kind} `{id}`"));
            // Looking at every id of a large register is a matter of milliseconds, once.
            match nearest(id.as_str(), ids.map(Id::as_str)) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint("the ids are those of the policy files in force"),
            }
        }
        match scope {
            Scope::Transfer(id) if self.transfer(id).is_none() => {
                Err(among(self.transfers.iter().map(|one| &one.id), "transfer", id))
            }
            Scope::Recipient(id) if self.recipient(id).is_none() => {
                Err(among(self.recipients.iter().map(|one| &one.id), "recipient", id))
            }
            Scope::Source(id) if self.source(id).is_none() => {
                Err(among(self.sources.iter().map(|one| &one.id), "source", id))
            }
            Scope::Transfer(_) | Scope::Recipient(_) | Scope::Source(_) | Scope::Country(_) | Scope::Everything => {
                Ok(())
            }
        }
    }

    /// The days left until the deadlines of an authority that nothing says to be complied with, fewest first; negative
    /// where one is over. `None` where the order names no day: those come last.
    pub fn deadlines(&self, now: Timestamp) -> Vec<(&Order, Option<i32>)> {
        let today = self.time_zone().to_datetime(now).date();
        let open = self.orders.iter().filter_map(|order| match &order.action {
            OrderAction::Comply { due, complied: false, .. } => Some((order, due.map(|due| days_between(today, due)))),
            OrderAction::Comply { complied: true, .. }
            | OrderAction::Suspend { .. }
            | OrderAction::Lift { .. }
            | OrderAction::Complied { .. } => None,
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(_, left)| left.unwrap_or(i32::MAX));
        open
    }
}

impl Written {
    /// Whether an entry of the files lifts this order.
    fn lifts(&self, authority: &str, reference: &str) -> bool {
        self.orders.iter().any(|order| {
            order.authority == authority && matches!(&order.action, OrderAction::Lift { lifts } if lifts == reference)
        })
    }

    fn beside(&self, mut forms: Vec<Json>) -> (Arc<str>, Version) {
        if forms.is_empty() {
            return (self.canonical.clone(), self.version.clone());
        }
        forms.sort_by_cached_key(Json::to_string);
        let text = canonical::entry(json!({ "orders": forms, "register": &*self.version.0 }));
        let version = canonical::digest(&text);
        (text.into(), version)
    }
}

impl Order {
    /// Whether it is the one that an authority calls so.
    pub fn is(&self, authority: &str, reference: &str) -> bool {
        self.authority == authority && self.reference == reference
    }

    /// What it stops or stopped; `None` where it is no suspension.
    pub fn scope(&self) -> Option<&Scope> {
        match &self.action {
            OrderAction::Suspend { scope, .. } => Some(scope),
            OrderAction::Comply { .. } | OrderAction::Lift { .. } | OrderAction::Complied { .. } => None,
        }
    }

    /// What it stops; `None` where it is no suspension, or was lifted.
    pub fn suspends(&self) -> Option<&Scope> {
        match &self.action {
            OrderAction::Suspend { scope, lifted: false } => Some(scope),
            OrderAction::Suspend { lifted: true, .. }
            | OrderAction::Comply { .. }
            | OrderAction::Lift { .. }
            | OrderAction::Complied { .. } => None,
        }
    }

    /// Whether it is a suspension that an authority calls so, lifted or not.
    pub fn suspends_as(&self, authority: &str, reference: &str) -> bool {
        self.is(authority, reference) && self.scope().is_some()
    }
}

impl Scope {
    /// Reads it as a policy file writes it.
    ///
    /// # Errors
    /// Quotes what is no scope, and says what is one.
    pub fn parse(text: &str) -> Result<Scope, Problem> {
        scalar::scope(&Scalar { text: text.to_owned(), plain: false }).map(|(scope, _)| scope)
    }
}

/// As a policy file writes it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Transfer(id) => write!(f, "transfer:{id}"),
            Scope::Recipient(id) => write!(f, "recipient:{id}"),
            Scope::Source(id) => write!(f, "source:{id}"),
            Scope::Country(country) => write!(f, "country:{}", country.as_str()),
            Scope::Everything => f.write_str("everything"),
        }
    }
}

/// Days from one day to another; negative where that is past.
pub(super) fn days_between(from: Date, to: Date) -> i32 {
    from.until((Unit::Day, to)).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::super::compile::{Circumstances, Text, compile_in};
    use super::*;

    const DECLARED: &str = "recipients: [{id: a, name: A, country: FR, destinations: [{host: a.example}]}]\n";

    fn register(orders: &str, remembered: &[Order]) -> Register {
        let text = Text { name: "a.yaml".into(), text: format!("{DECLARED}{orders}") };
        let circumstances = Circumstances { remembered, ..Circumstances::default() };
        compile_in(&[text], &circumstances).expect("no fault").register
    }

    fn suspension(reference: &str, scope: &str, lifted: bool) -> Order {
        let action = OrderAction::Suspend { scope: Scope::parse(scope).expect("a scope"), lifted };
        Order { authority: "CNDP".to_owned(), reference: reference.to_owned(), date: None, action }
    }

    fn in_force(register: &Register) -> Vec<String> {
        register.orders.iter().filter_map(Order::suspends).map(ToString::to_string).collect()
    }

    const SUSPENDS: &str = "orders: [{authority: CNDP, ref: o-1, action: suspend, scope: \"recipient:a\"}]";
    const LIFTS: &str = "orders: [{authority: CNDP, ref: o-2, action: lift, lifts: o-1}]";

    #[test]
    fn an_order_stands_beside_files_that_do_not_hold_it_and_the_version_says_so() {
        let bare = register("", &[]);
        let order = suspension("o-1", "recipient:a", false);
        let stands = bare.with_orders(std::slice::from_ref(&order));
        assert_eq!(in_force(&stands), ["recipient:a"]);
        assert_ne!(stands.version, bare.version);
        assert_eq!(stands.version, canonical::digest(&stands.canonical), "the version is that of its document");
        assert_eq!(stands.version_of_files(), &bare.version);
        // The same order in the files: nothing stands beside them, and both ways of remembering it agree.
        let files = register(SUSPENDS, &[]);
        assert_eq!(files.with_orders(std::slice::from_ref(&order)).version, files.version);
        assert_eq!(in_force(&files.with_orders(std::slice::from_ref(&order))), ["recipient:a"], "once");
        // Lifted in the files while it is remembered only.
        let lifted = register(LIFTS, std::slice::from_ref(&order));
        assert!(in_force(&lifted.with_orders(&[order])).is_empty());
        // What is over leaves no trace in the version.
        assert_eq!(stands.with_orders(&[suspension("o-1", "recipient:a", true)]).version, bare.version);
    }

    #[test]
    fn a_lift_by_command_holds_against_the_files_and_another_scope_is_another_order() {
        let files = register(SUSPENDS, &[]);
        let lifted = files.with_orders(&[suspension("o-1", "recipient:a", true)]);
        assert!(in_force(&lifted).is_empty());
        assert_ne!(lifted.version, files.version);
        let wider = files.with_orders(&[suspension("o-1", "country:FR", false)]);
        assert_eq!(in_force(&wider), ["recipient:a", "country:FR"]);
        let other = suspension("o-9", "country:DE", false);
        let (one, two) =
            ([suspension("o-1", "country:FR", false), other.clone()], [other, suspension("o-1", "country:FR", false)]);
        assert_eq!(
            files.with_orders(&one).version,
            files.with_orders(&two).version,
            "the order of orders says nothing"
        );
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        assert_eq!(days_between(day("2023-01-09"), day("2023-02-28")), 50);
        assert_eq!(days_between(day("2024-02-28"), day("2024-03-01")), 2);
        assert_eq!(days_between(day("2024-03-01"), day("2024-02-28")), -2);
    }
}

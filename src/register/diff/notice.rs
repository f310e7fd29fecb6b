//! What the authority must still be told, carried from one register to the next until it is told (law 09-08 art. 15).
//!
//! A [`Notice`] holds the net change since the authority was told last: a field that is as it was before, or an entry that
//! is back as it was, needs no notice any more. A `notifications` entry closes what it names if it came after the change:
//! one that stood there before speaks of an earlier change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, Diff, Told, What};
use crate::register::Register;

/// Something that the authority must still be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The entry: `transfer cctv-to-ministry-a`.
    pub entry: String,
    /// The field that changed; `None` where the entry is new or gone.
    pub field: Option<String>,
    /// What is no longer so.
    pub was: BTreeSet<String>,
    /// What is so now.
    pub is: BTreeSet<String>,
    /// When the first register with the change was put in force.
    pub since: Timestamp,
}

impl Notice {
    /// The change as a `notifications` entry names it: `transfer cctv-to-ministry-a: recipient`.
    pub fn change(&self) -> String {
        format!("{}: {}", self.entry, self.what())
    }

    fn what(&self) -> &str {
        match &self.field {
            Some(field) => field,
            None if self.is.is_empty() => "removed",
            None => "added",
        }
    }

    fn key(&self) -> Key {
        (self.entry.clone(), self.field.clone())
    }

    /// Follows a further change of the same; whether something is left to tell.
    fn follow(&mut self, gone: &BTreeSet<String>, come: &BTreeSet<String>) -> bool {
        let was = &(&self.was - come) | &(gone - &self.is);
        let is = &(&self.is - gone) | &(come - &self.was);
        (self.was, self.is) = (was, is);
        !(self.was.is_empty() && self.is.is_empty())
    }
}

type Key = (String, Option<String>);

/// What is still open after a register was put in force at `at`: what was open, as far as it is not told or taken back,
/// and what the difference adds.
pub fn carry(open: Vec<Notice>, diff: &Diff, old: &Register, new: &Register, at: Timestamp) -> Vec<Notice> {
    let mut notices: BTreeMap<Key, Notice> = open.into_iter().map(|notice| (notice.key(), notice)).collect();
    for change in &diff.changes {
        changed(&mut notices, change, at);
    }
    let told = Told::between(old, new);
    if !told.0.is_empty() {
        notices.retain(|_, notice| !is_told(notice, &told, old, new));
    }
    notices.into_values().collect()
}

fn changed(notices: &mut BTreeMap<Key, Notice>, change: &Change, at: Timestamp) {
    let entry = change.subject();
    let due = change.due.iter().filter_map(|due| due.change.strip_prefix(&entry)?.strip_prefix(": "));
    let due: BTreeSet<&str> = due.collect();
    for (field, was, is) in parts(change) {
        let key = (entry.clone(), field.clone());
        let is_due = due.contains(field.as_deref().unwrap_or(change.what.as_str()));
        if let Some(notice) = notices.get_mut(&key) {
            if !notice.follow(&was, &is) {
                notices.remove(&key);
            }
        } else if is_due {
            notices.insert(key, Notice { entry: entry.clone(), field, was, is, since: at });
        }
    }
}

/// What of an entry changed: field, what went and what came. An entry that is new or gone is one part.
fn parts(change: &Change) -> Vec<(Option<String>, BTreeSet<String>, BTreeSet<String>)> {
    let set = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<String>>();
    let about = || {
        let line = |texts: &[String], field: &str| format!("{field}: {}", texts.join(", "));
        let of = |field: &super::FieldChange| {
            line(if change.what == What::Added { &field.new } else { &field.old }, field.field.as_str())
        };
        change.fields.iter().map(of).collect::<BTreeSet<String>>()
    };
    match change.what {
        What::Added => vec![(None, BTreeSet::new(), about())],
        What::Removed => vec![(None, about(), BTreeSet::new())],
        What::Changed => {
            let part =
                |field: &super::FieldChange| (Some(field.field.as_str().to_owned()), set(&field.old), set(&field.new));
            change.fields.iter().map(part).collect()
        }
    }
}

/// Whether a notification that is new names it; a recipient's change may be told as one of a transfer:
/// `transfer cctv-to-ministry-a: recipient address`.
fn is_told(notice: &Notice, told: &Told<'_>, old: &Register, new: &Register) -> bool {
    let through = || {
        let (kind, id) = notice.entry.split_once(' ')?;
        let transfers = new.transfers.iter().chain(&old.transfers);
        let refers = |transfer: &&std::sync::Arc<crate::register::Transfer>| match kind {
            "recipient" => transfer.to.id.as_str() == id,
            "processing" => transfer.processing.id.as_str() == id,
            _ => false,
        };
        transfers.filter(refers).find_map(|transfer| told.closes(&format!("transfer {}", transfer.id), kind))
    };
    told.closes(&notice.entry, notice.what()).or_else(through).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::*;
    use crate::register::compile::{Text, compile};

    const BASE: &str = "
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - {id: cctv, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}}
sources: [{id: uploader, networks: [10.0.0.0/28], carries: [x:CCTVFrame]}]
recipients: [{id: ministry-a, name: Ministry A, country: FR, destinations: [{host: a.example}]}]
transfers:
  - {id: to-a, processing: cctv, from: [uploader], to: ministry-a, regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43}, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], filing: {authority: CNDP, ref: A-GC-1/2023, status: granted}}
";

    fn register(edits: &[(&str, &str)], more: &str) -> Register {
        let mut text = BASE.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        compile(&[Text { name: "a.yaml".to_owned(), text: text + more }])
            .unwrap_or_else(|faults| panic!("{faults}"))
            .register
    }

    /// The changes that are open after these registers were in force, one after the other.
    fn open(registers: &[Register]) -> Vec<String> {
        let mut notices = Vec::new();
        for pair in registers.windows(2) {
            let diff = diff(&pair[0], &pair[1]);
            notices = carry(notices, &diff, &pair[0], &pair[1], Timestamp::UNIX_EPOCH);
        }
        notices.iter().map(Notice::change).collect()
    }

    const RENAMED: (&str, &str) = ("name: Ministry A", "name: Ministry of A");
    const NAME: &str = "recipient ministry-a: name";

    fn told(reference: &str, change: &str) -> String {
        format!("notifications: [{{change: \"{change}\", authority: CNDP, date: 2024-02-01, ref: {reference}}}]\n")
    }

    #[test]
    fn a_change_stays_open_over_other_changes_until_it_is_told() {
        let narrowed = ("regimes:", "requests: {methods: [POST]}, regimes:");
        let both = || register(&[RENAMED, narrowed], "");
        assert_eq!(open(&[register(&[], ""), register(&[RENAMED], ""), both()]), [NAME]);
        let notified = register(&[RENAMED, narrowed], &told("N-1", NAME));
        assert_eq!(open(&[register(&[], ""), register(&[RENAMED], ""), both(), notified]), [""; 0]);
        let through = register(&[RENAMED], &told("N-1", "transfer to-a: recipient name"));
        assert_eq!(open(&[register(&[], ""), register(&[RENAMED], ""), through]), [""; 0]);
        let other = register(&[RENAMED], &told("N-1", "recipient ministry-b: name"));
        assert_eq!(open(&[register(&[], ""), register(&[RENAMED], ""), other]), [NAME], "the near miss");
    }

    #[test]
    fn an_older_notification_closes_no_later_change() {
        let n1 = told("N-1", NAME);
        let away = ("name: Ministry A", "name: Ministry Z");
        let registers = [register(&[], ""), register(&[RENAMED], &n1), register(&[away], &n1)];
        assert_eq!(open(&registers), [NAME]);
    }

    #[test]
    fn what_is_taken_back_before_it_was_told_needs_no_notice() {
        assert_eq!(open(&[register(&[], ""), register(&[RENAMED], ""), register(&[], "")]), [""; 0]);
        let away = ("name: Ministry A", "name: Ministry Z");
        let back = [register(&[], ""), register(&[RENAMED], ""), register(&[away], ""), register(&[], "")];
        assert_eq!(open(&back), [""; 0], "by way of a third name");
        let gone = || ("  - {id: to-a, processing", "  - {id: to-b, processing");
        assert_eq!(open(&[register(&[], ""), register(&[gone()], "")]), ["transfer to-a: removed"]);
        assert_eq!(open(&[register(&[], ""), register(&[gone()], ""), register(&[], "")]), ["transfer to-b: removed"]);
    }
}

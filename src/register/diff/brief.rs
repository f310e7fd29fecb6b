//! A difference in brief, for records and logs: counts of transfers, and lists that are cut with a count of the rest. The
//! whole of it is what `tasrih diff` prints, from the registers that are kept.

use std::fmt;

use serde_json::{Value as Json, json};

use super::{Change, Diff, Effect, What};
use crate::register::Version;

/// Most bytes of each list in a record, which has at most 60,000 in all.
const MOST_CHANGES: usize = 16_000;
const MOST_TOLD: usize = 8_000;
/// Longest line of a list, in characters.
const LONGEST_LINE: usize = 300;

/// A difference in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Version of the older register.
    pub previous: Version,
    /// What became of transfers.
    pub transfers: Counts,
    /// One line for each entry that differs.
    pub changes: Listed,
    /// Entries that protect less than before; empty where none does.
    pub weaker: Listed,
    /// What the authority must be told because of it.
    pub notify: Listed,
}

/// How many transfers became what; entries that transfers refer to count with the transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 6]);

/// The words of [`Counts`], in its order.
const WORDS: [&str; 6] = ["added", "widened", "narrowed", "widened and narrowed", "changed otherwise", "removed"];

/// The same for programs: in records and as labels of metrics.
const LABELS: [&str; 6] = ["added", "widened", "narrowed", "widened-and-narrowed", "changed", "removed"];

/// The beginning of a list, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// What is told.
    pub shown: Vec<String>,
    /// How many are left out.
    pub more: u64,
}

impl Brief {
    /// Tells a difference in brief.
    pub fn of(diff: &Diff) -> Brief {
        let weaker = diff.changes.iter().filter(|change| change.weakens);
        Brief {
            previous: diff.old.clone(),
            transfers: Counts::of(diff),
            changes: Listed::of(diff.changes.iter().map(Change::in_brief), MOST_CHANGES),
            weaker: Listed::of(weaker.map(|change| change.subject() + &change.weak_fields()), MOST_TOLD),
            notify: Listed::of(diff.open().map(|due| due.change.clone()), MOST_TOLD),
        }
    }

    /// Whether something protects less than before.
    pub fn weakens(&self) -> bool {
        self.weaker.count() > 0
    }

    /// Its members in a record.
    pub fn to_json(&self) -> Json {
        let counts = self.transfers.each().map(|(label, count)| (label.to_owned(), json!(count))).collect();
        let mut json = json!({ "transfers": Json::Object(counts), "weakens": self.weakens() });
        for (member, list) in [("changes", &self.changes), ("weaker", &self.weaker), ("notify", &self.notify)] {
            if list.count() > 0 {
                json[member] = json!(list.shown);
            }
            if list.more > 0 {
                json[format!("{member}_more")] = json!(list.more);
            }
        }
        json
    }
}

impl Change {
    /// `transfer cctv-to-ministry-a narrowed: largest body, methods`.
    fn in_brief(&self) -> String {
        let word = match self.what {
            What::Changed => self.effect.as_str(),
            what => what.as_str(),
        };
        let fields: Vec<&str> = match self.what {
            What::Changed => self.fields.iter().map(|field| field.field.as_str()).collect(),
            What::Added | What::Removed => Vec::new(),
        };
        let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        format!("{} {word}{fields}", self.subject())
    }
}

impl Counts {
    /// Counts the transfers of a difference.
    pub fn of(diff: &Diff) -> Counts {
        let mut counts = Counts::default();
        for (what, effect) in diff.transfers().into_values() {
            let place = match (what, effect) {
                (What::Added, _) => 0,
                (What::Changed, Effect::Widened) => 1,
                (What::Changed, Effect::Narrowed) => 2,
                (What::Changed, Effect::Both) => 3,
                (What::Changed, Effect::Neutral) => 4,
                (What::Removed, _) => 5,
            };
            counts.0[place] += 1;
        }
        counts
    }

    /// What may become of a transfer, in a word for programs.
    pub const LABELS: [&'static str; 6] = LABELS;

    /// Each label with its count.
    pub fn each(self) -> impl Iterator<Item = (&'static str, u64)> {
        LABELS.into_iter().zip(self.0)
    }
}

impl fmt::Display for Counts {
    /// `transfers: 1 added, 2 widened, 1 removed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = WORDS
            .iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        match told.is_empty() {
            true => f.write_str("transfers: none changed"),
            false => write!(f, "transfers: {}", told.join(", ")),
        }
    }
}

impl Listed {
    /// As many of `lines` as fit into `most` bytes of a record.
    fn of(lines: impl Iterator<Item = String>, most: usize) -> Listed {
        let mut listed = Listed::default();
        let mut room = most;
        for line in lines {
            let line = shortened(line);
            // As it is written in JSON, with quotes and a comma.
            let length = Json::from(line.as_str()).to_string().len() + 1;
            match room.checked_sub(length).filter(|_| listed.more == 0) {
                Some(left) => {
                    room = left;
                    listed.shown.push(line);
                }
                None => listed.more += 1,
            }
        }
        listed
    }

    /// How many there are, those left out included.
    pub fn count(&self) -> u64 {
        self.shown.len() as u64 + self.more
    }
}

impl fmt::Display for Listed {
    /// The first few, for a line of the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 5;
        let few = self.shown.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join("; ");
        f.write_str(&few)?;
        match self.count().saturating_sub(FEW as u64) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

fn shortened(line: String) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_with_a_count_and_one_that_fits_is_not() {
        let lines = |count: usize| (0..count).map(|number| format!("transfer t-{number:03} added"));
        let whole = Listed::of(lines(10), 10 * 23);
        assert_eq!((whole.shown.len(), whole.more), (10, 0));
        let cut = Listed::of(lines(100), 10 * 23);
        assert_eq!((cut.shown.len(), cut.more, cut.count()), (10, 90, 100));
        assert!(cut.to_string().ends_with("; transfer t-004 added; and 95 more"), "{cut}");
        let long = Listed::of(std::iter::once("ت".repeat(1_000)), MOST_TOLD);
        assert_eq!(long.shown[0].chars().count(), LONGEST_LINE + 1);
    }

    #[test]
    fn the_largest_brief_fits_into_a_record() {
        let lines = || Listed::of((0..100_000).map(|_| "\u{1}".repeat(400)), MOST_CHANGES);
        let told = || Listed::of((0..100_000).map(|_| "\u{1}".repeat(400)), MOST_TOLD);
        let brief = Brief {
            previous: Version("0".repeat(64).into()),
            transfers: Counts([u64::MAX; 6]),
            changes: lines(),
            weaker: told(),
            notify: told(),
        };
        let length = brief.to_json().to_string().len();
        assert!(length < 40_000, "{length}");
    }
}

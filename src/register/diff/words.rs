//! A difference as the officer reads it, and as JSON.

use std::fmt;

use serde_json::{Value as Json, json};

use super::{Change, Counts, Diff, Due, FieldChange, Kind, What};

/// Lists longer than this are cut: the officer reads the file then.
const MOST_SHOWN: usize = 12;

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changed");
        }
        writeln!(f, "register {} → {}", self.old.short(), self.new.short())?;
        writeln!(f, "{}\n", self.summary())?;
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        let weaker: Vec<&Change> = self.changes.iter().filter(|change| change.weakens).collect();
        if !weaker.is_empty() {
            writeln!(f, "\nProtects less than before:")?;
            for change in weaker {
                writeln!(f, "  {}{}", change.subject(), change.weak_fields())?;
            }
        }
        if self.dues().next().is_some() {
            writeln!(f, "\nTo be notified to the authority without delay (law 09-08 art. 15):")?;
            self.dues().try_for_each(|due| writeln!(f, "  {due}"))?;
        }
        Ok(())
    }
}

impl Diff {
    /// `transfers: 1 added, 2 widened, 1 removed`; entries that transfers refer to count with the transfers.
    pub fn summary(&self) -> String {
        Counts::of(self).to_string()
    }

    /// The same for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "old": &*self.old.0,
            "new": &*self.new.0,
            "weakens": self.weakens(),
            "transfers": self.transfers().iter().map(|(id, (what, effect))| json!({
                "id": id, "what": what.as_str(), "effect": effect.as_str(),
            })).collect::<Json>(),
            "changes": self.changes.iter().map(Change::to_json).collect::<Json>(),
            "notify": self.dues().map(Due::to_json).collect::<Json>(),
        })
    }
}

impl What {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Added => "added",
            What::Removed => "removed",
            What::Changed => "changed",
        }
    }
}

impl Change {
    /// `transfer cctv-to-ministry-a`.
    pub(super) fn subject(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.id).trim_end().to_owned()
    }

    /// Which of the fields protect less.
    pub(super) fn weak_fields(&self) -> String {
        let weak: Vec<&str> =
            self.fields.iter().filter(|field| field.weakens).map(|field| field.field.as_str()).collect();
        match (weak.is_empty(), self.what, self.kind) {
            (false, ..) => format!(": {}", weak.join(", ")),
            (true, What::Removed, Kind::Order) => ": an order ends by a lift, not by being taken out".to_owned(),
            (true, what, _) => format!(": {}", what.as_str()),
        }
    }

    fn to_json(&self) -> Json {
        json!({
            "kind": self.kind.as_str(),
            "id": self.id,
            "what": self.what.as_str(),
            "effect": self.effect.as_str(),
            "weakens": self.weakens,
            "remark": self.remark,
            "transfers": self.transfers,
            "fields": self.fields.iter().map(|field| json!({
                "field": field.field.as_str(), "old": field.old, "new": field.new,
                "effect": field.effect.as_str(), "weakens": field.weakens,
            })).collect::<Json>(),
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.what {
            What::Changed => self.effect.as_str(),
            what => what.as_str(),
        };
        write!(f, "{} {}", self.subject(), word.to_uppercase())?;
        if let Some(remark) = self.remark {
            write!(f, " ({remark})")?;
        }
        writeln!(f)?;
        for field in &self.fields {
            match self.what {
                What::Changed => write!(f, "{field}")?,
                // Of an entry that is new or gone, what it is about.
                What::Added => writeln!(f, "  {}: {}", field.field.as_str(), field.new.join(", "))?,
                What::Removed => writeln!(f, "  {}: {}", field.field.as_str(), field.old.join(", "))?,
            }
        }
        if self.what == What::Changed && !self.transfers.is_empty() {
            writeln!(f, "  in transfers: {}", self.transfers.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.field.as_str();
        if self.is_list {
            for (sign, list) in [('-', &self.old), ('+', &self.new)] {
                list.iter().take(MOST_SHOWN).try_for_each(|one| writeln!(f, "  {word}: {sign} {one}"))?;
                if list.len() > MOST_SHOWN {
                    writeln!(f, "  {word}: {sign} and {} more", list.len() - MOST_SHOWN)?;
                }
            }
            return Ok(());
        }
        let one = |side: &[String]| side.first().cloned().unwrap_or_else(|| "nothing".to_owned());
        writeln!(f, "  {word}: {} → {}", one(&self.old), one(&self.new))
    }
}

impl Due {
    fn to_json(&self) -> Json {
        let closed = self.closed.as_ref();
        let closed = closed.map(|(date, reference)| json!({ "date": date.to_string(), "ref": reference }));
        json!({ "change": self.change, "closed": closed })
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.closed {
            None => write!(f, "{}", self.change),
            Some((date, None)) => write!(f, "{} (notified on {date})", self.change),
            Some((date, Some(reference))) => write!(f, "{} (notified on {date}, {reference})", self.change),
        }
    }
}

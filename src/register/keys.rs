//! The keys that a policy file may have, written down once: the readers (`fields.rs`) take which keys are known from
//! here, and the JSON Schema (`schema.rs`) is made of the same tables, with the comments as its descriptions. A reader
//! that asks for a key that is not in its table, or leaves one of it unasked, fails in every build with debug assertions.
//!
//! The tables are those of DESIGN §4; [`tables`] has them.

use crate::vocabulary::TermKind;

pub mod tables;

/// The keys of one kind of map.
#[derive(Debug)]
pub struct Table {
    /// What the map is.
    pub meaning: &'static str,
    /// In the order in which they are usually written.
    pub keys: &'static [Key],
}

/// A key of a map.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What it says, in whole sentences.
    pub meaning: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    /// What stands behind it.
    pub shape: Shape,
}

/// What may stand behind a key.
#[derive(Debug)]
pub enum Shape {
    /// A single value.
    One(Kind),
    /// A list of single values, not empty.
    List(Kind),
    /// A map.
    Map(&'static Table),
    /// A list of maps, not empty.
    Maps(&'static Table),
    /// The entries of a top-level list, which may be empty.
    Entries(&'static Table),
    /// A word, or a map.
    OneOrMap(Kind, &'static Table),
    /// A map from categories to counts of findings.
    Counts,
    /// Refused by this build rather than silently not enforced.
    NotBuilt,
}

/// What a single value is; `scalar.rs` reads each.
#[derive(Debug)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// An id, or a reference to one.
    Id,
    /// The id of a source, or `any`.
    IdOrAny,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// A whole number of at least this.
    Count(u64),
    /// A TCP port.
    Port,
    /// A number of bytes.
    Size,
    /// A length of time.
    Duration,
    /// A stretch of the calendar.
    Period,
    /// A day.
    Date,
    /// An IANA time zone.
    TimeZone,
    /// A country.
    Country,
    /// A regime.
    Regime,
    /// A term of the vocabulary.
    Term(TermKind),
    /// A host, `*.suffix` or `any`.
    Host,
    /// A network in CIDR form.
    Network,
    /// SHA-256 in base64.
    Pin,
    /// SHA-256 in hex.
    Hash,
    /// A request method.
    Method,
    /// A pattern of paths.
    Path,
    /// A pattern of media types.
    ContentType,
    /// What an order covers.
    Scope,
}

/// How a reader asks for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a single value.
    One,
    /// As a list of single values.
    List,
    /// As a map.
    Map,
    /// As a list of maps.
    Maps,
}

impl Table {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The table of the maps behind a key.
    pub fn below(&self, name: &str) -> Option<&'static Table> {
        match self.key(name)?.shape {
            Shape::Map(table) | Shape::Maps(table) | Shape::Entries(table) | Shape::OneOrMap(_, table) => Some(table),
            Shape::One(_) | Shape::List(_) | Shape::Counts | Shape::NotBuilt => None,
        }
    }
}

impl Shape {
    /// Whether a reader may ask for it in this form.
    pub fn has(&self, form: Form) -> bool {
        match self {
            Shape::One(_) | Shape::NotBuilt => form == Form::One,
            Shape::List(_) => form == Form::List,
            Shape::Map(_) | Shape::Counts => form == Form::Map,
            Shape::Maps(_) | Shape::Entries(_) => form == Form::Maps,
            Shape::OneOrMap(..) => matches!(form, Form::One | Form::Map),
        }
    }
}

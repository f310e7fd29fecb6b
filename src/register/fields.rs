//! Reads the maps and lists of a document and collects everything that is wrong with them, instead of stopping at the
//! first fault; on the way it writes down the canonical form of what it reads.
//!
//! Every key that [`Fields`] is asked for is a known key; [`Fields::close`] reports the others with the nearest known
//! one. A value equal to its default leaves no trace in the canonical form, so that writing a default changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::document::{Key, Kind, Node, Scalar, Value};
use super::fault::{Collector, Place, Problem, meant};
use super::keys::{Form, Table};
use super::lint::Lint;

/// A value with the canonical form of how it was written, or what is wrong with it.
pub type Read<T> = Result<(T, Json), Problem>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// Where the keys of an entry stand, by their dotted path (`limits.max_body`, `destinations[0].port`).
#[derive(Clone, Debug)]
pub struct Places {
    entry: Place,
    keys: BTreeMap<Rc<str>, Place>,
}

impl Places {
    /// Where this key stands; the entry itself where it is not written.
    pub fn of(&self, key: &str) -> Place {
        self.keys.get(key).copied().unwrap_or(self.entry)
    }

    /// Where this key stands, if it is written.
    pub fn written(&self, key: &str) -> Option<Place> {
        self.keys.get(key).copied()
    }
}

/// A map being read.
pub struct Fields<'a> {
    collector: &'a Collector<'a>,
    /// What the map is, for messages: "a transfer".
    what: &'static str,
    entries: &'a [(Key, Node)],
    /// The keys that are known, where they are written down: in policy files.
    table: Option<&'static Table>,
    asked: Vec<&'static str>,
    canonical: Map<String, Json>,
    places: Places,
}

impl<'a> Fields<'a> {
    /// Opens a map; anything else at `node` is a fault.
    pub fn open(node: &'a Node, what: &'static str, collector: &'a Collector<'a>) -> Option<Fields<'a>> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Broken => return None,
            other => {
                let message = format!("{what} is a map of keys, not {}", describe(other));
                collector.fault(node.place, Problem::new(message));
                return None;
            }
        };
        let places = Places { entry: node.place, keys: BTreeMap::new() };
        Some(Fields { collector, what, entries, table: None, asked: Vec::new(), canonical: Map::new(), places })
    }

    /// Opens a map whose keys are those of a table; anything else at `node` is a fault.
    pub fn open_as(
        node: &'a Node,
        what: &'static str,
        table: Option<&'static Table>,
        collector: &'a Collector<'a>,
    ) -> Option<Fields<'a>> {
        Some(Fields { table, ..Fields::open(node, what, collector)? })
    }

    /// Who gathers the faults of this map.
    pub fn collector(&self) -> &'a Collector<'a> {
        self.collector
    }

    /// Where the keys asked so far stand.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The value of a key, or `None` where it is absent (no fault) or wrong (a fault).
    pub fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(&Scalar) -> Read<T>) -> Option<T> {
        self.form(key, Form::One);
        let node = self.node(key)?;
        let (value, canonical) = scalar(node, key, self.collector, read)?;
        self.canonical.insert(key.to_owned(), canonical);
        Some(value)
    }

    /// The value of a key that has to be there.
    pub fn required<T>(&mut self, key: &'static str, read: impl FnOnce(&Scalar) -> Read<T>) -> Option<T> {
        self.require(key);
        self.optional(key, read)
    }

    /// The value of a key, or the default where it is absent or wrong.
    pub fn or_default<T: PartialEq>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Scalar) -> Read<T>,
    ) -> T {
        match self.optional(key, read) {
            Some(value) if value != default => value,
            _ => {
                self.canonical.remove(key);
                default
            }
        }
    }

    /// A list of scalars; empty where the key is absent. A list that is written may not be empty, because an empty list
    /// reads as "none" to one and as "any" to another. Order and repetition mean nothing in any list of the register.
    pub fn list<T>(&mut self, key: &'static str, read: impl Fn(&Scalar) -> Read<T>) -> Vec<At<T>> {
        self.form(key, Form::List);
        let Some(nodes) = self.node(key).and_then(|node| self.entries_of(node, key)) else { return Vec::new() };
        let mut values = Vec::new();
        let mut forms: Vec<Json> = Vec::new();
        let mut seen = HashSet::new();
        for node in nodes {
            let Some((value, canonical)) = scalar(node, key, self.collector, &read) else { continue };
            if !seen.insert(canonical.to_string()) {
                let message = format!("{canonical} stands twice in `{key}`");
                self.collector.lint(node.place, Lint::Repeated, Problem::new(message).hint("remove one of the two"));
                continue;
            }
            forms.push(canonical);
            values.push(At { value, place: node.place });
        }
        self.canonical.insert(key.to_owned(), sorted(forms));
        values
    }

    /// A list of scalars that has to be there.
    pub fn required_list<T>(&mut self, key: &'static str, read: impl Fn(&Scalar) -> Read<T>) -> Vec<At<T>> {
        self.require(key);
        self.list(key, read)
    }

    /// A nested map; `what` names it in messages.
    pub fn map<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        self.form(key, Form::Map);
        let node = self.node(key)?;
        let mut fields = Fields::open_as(node, what, self.below(key), self.collector)?;
        let value = read(&mut fields);
        let canonical = self.adopt(key, fields);
        if canonical.as_object().is_none_or(|object| !object.is_empty()) {
            self.canonical.insert(key.to_owned(), canonical);
        }
        value
    }

    /// A list of maps; empty where the key is absent, and never empty where it is written.
    pub fn maps<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        mut read: impl FnMut(&mut Fields<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.form(key, Form::Maps);
        let table = self.below(key);
        let Some(nodes) = self.node(key).and_then(|node| self.entries_of(node, key)) else { return Vec::new() };
        let mut values = Vec::new();
        let mut forms = Vec::new();
        for (position, node) in nodes.iter().enumerate() {
            let Some(mut fields) = Fields::open_as(node, what, table, self.collector) else { continue };
            values.extend(read(&mut fields));
            forms.push(self.adopt(&format!("{key}[{position}]"), fields));
        }
        values.shrink_to_fit();
        self.canonical.insert(key.to_owned(), sorted(forms));
        values
    }

    /// A list of maps that has to be there.
    pub fn required_maps<T>(
        &mut self,
        key: &'static str,
        what: &'static str,
        read: impl FnMut(&mut Fields<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.require(key);
        self.maps(key, what, read)
    }

    /// A map whose keys are values too, such as terms with a number each.
    pub fn terms<K: Ord, T>(
        &mut self,
        key: &'static str,
        name: impl Fn(&Scalar) -> Read<K>,
        read: impl Fn(&Scalar) -> Read<T>,
    ) -> BTreeMap<K, T> {
        self.form(key, Form::Map);
        let mut values = BTreeMap::new();
        let Some(node) = self.node(key) else { return values };
        let Some(fields) = Fields::open(node, "a map of terms", self.collector) else { return values };
        let mut forms = Map::new();
        for (written, node) in fields.entries {
            let name = match name(&Scalar { text: written.text.clone(), plain: true }) {
                Ok((name, _)) => name,
                Err(problem) => {
                    self.collector.fault(written.place, problem);
                    continue;
                }
            };
            let Some((value, canonical)) = scalar(node, &written.text, self.collector, &read) else { continue };
            forms.insert(written.text.clone(), canonical);
            values.insert(name, value);
        }
        self.canonical.insert(key.to_owned(), Json::Object(forms));
        values
    }

    /// Whether a key holds a map; for keys that are written as a word or as a map.
    pub fn holds_map(&self, key: &str) -> bool {
        self.entries.iter().any(|(written, node)| written.text == key && matches!(node.value, Value::Map(_)))
    }

    /// Replaces the canonical form of a key that can be written in two ways.
    pub fn rewrite(&mut self, key: &str, form: Json) {
        self.canonical.insert(key.to_owned(), form);
    }

    /// A key whose enforcement this build does not have: refused rather than silently not enforced.
    pub fn not_built(&mut self, key: &'static str, consequence: &str) {
        self.note(key);
        if let Some((written, _)) = self.entries.iter().find(|(written, _)| written.text == key) {
            let problem =
                Problem::new(format!("`{key}` is not built yet")).hint(format!("leave it out: {consequence}"));
            self.collector.fault(written.place, problem);
        }
    }

    /// A fault at a key that is written; nothing where it is not.
    pub fn refuse(&self, key: &str, problem: Problem) {
        if let Some(place) = self.places.written(key) {
            self.collector.fault(place, problem);
        }
    }

    /// The node of a key whose value the caller reads by itself.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.note(key);
        let (_, node) = self.entries.iter().find(|(written, _)| written.text == key)?;
        self.places.keys.insert(self.collector.key(key), node.place);
        match &node.value {
            Value::Scalar(scalar) if scalar.kind() == Kind::Null => {
                let problem = Problem::new(format!("`{key}` has no value")).hint("write one, or leave the key out");
                self.collector.fault(node.place, problem);
                None
            }
            _ => Some(node),
        }
    }

    /// Reports the keys that nobody asked for; gives the canonical form of the others, and their places.
    pub fn close(self) -> (Json, Places) {
        debug_assert!(
            self.table.is_none_or(|table| table.keys.iter().all(|key| self.asked.contains(&key.name))),
            "the reader of {} leaves keys of its table unasked: {:?}",
            self.what,
            self.asked
        );
        for (key, _) in self.entries {
            if self.asked.contains(&key.text.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}` in {}", key.text, self.what);
            let problem = Problem { message, hint: meant(&key.text, self.asked.iter().copied()) };
            self.collector.fault(key.place, problem);
        }
        (Json::Object(self.canonical), self.places)
    }

    fn note(&mut self, key: &'static str) {
        debug_assert!(
            self.table.is_none_or(|table| table.key(key).is_some()),
            "{} has no `{key}` in its table",
            self.what
        );
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    /// The table of the maps behind a key.
    fn below(&self, key: &str) -> Option<&'static Table> {
        self.table.and_then(|table| table.below(key))
    }

    /// The table says how a key is asked for; one that it has not is told by `note`.
    fn form(&self, key: &str, form: Form) {
        let known = self.table.and_then(|table| table.key(key));
        debug_assert!(known.is_none_or(|key| key.shape.has(form)), "`{key}` of {} is asked for as {form:?}", self.what);
    }

    fn require(&self, key: &str) {
        debug_assert!(
            self.table.and_then(|table| table.key(key)).is_none_or(|key| key.required),
            "{} needs `{key}`, and its table does not say so",
            self.what
        );
        if !self.entries.iter().any(|(written, _)| written.text == key) {
            self.collector.fault(self.places.entry, Problem::new(format!("{} needs `{key}`", self.what)));
        }
    }

    fn entries_of(&self, node: &'a Node, key: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(nodes) if nodes.is_empty() => {
                let problem =
                    Problem::new(format!("`{key}` is an empty list")).hint("leave the key out, or write what is meant");
                self.collector.fault(node.place, problem);
                None
            }
            Value::List(nodes) => Some(nodes),
            Value::Broken => None,
            other => {
                let problem = Problem::new(format!("`{key}` is a list, not {}", describe(other)));
                let hint = matches!(other, Value::Scalar(_)).then(|| format!("write `{key}: [{}]`", text_of(other)));
                self.collector.fault(node.place, Problem { hint, ..problem });
                None
            }
        }
    }

    /// Takes the places of a nested map over and closes it.
    fn adopt(&mut self, key: &str, fields: Fields<'a>) -> Json {
        let (canonical, places) = fields.close();
        self.places.keys.insert(self.collector.key(key), places.entry);
        let collector = self.collector;
        let nested = places.keys.into_iter().map(|(name, place)| (collector.key(&format!("{key}.{name}")), place));
        self.places.keys.extend(nested);
        canonical
    }
}

/// A list whose order means nothing, in the order of its entries' canonical text.
pub fn sorted(mut forms: Vec<Json>) -> Json {
    forms.sort_by_cached_key(Json::to_string);
    forms.dedup();
    Json::Array(forms)
}

fn scalar<T>(
    node: &Node,
    key: &str,
    collector: &Collector<'_>,
    read: impl FnOnce(&Scalar) -> Read<T>,
) -> Option<(T, Json)> {
    match &node.value {
        Value::Scalar(scalar) => match read(scalar) {
            Ok(read) => Some(read),
            Err(problem) => {
                collector.fault(node.place, Problem { message: format!("`{key}`: {}", problem.message), ..problem });
                None
            }
        },
        Value::Broken => None,
        other => {
            collector.fault(node.place, Problem::new(format!("`{key}` is a single value, not {}", describe(other))));
            None
        }
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Scalar(_) => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Broken => "something unreadable",
    }
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::Scalar(scalar) => &scalar.text,
        Value::List(_) | Value::Map(_) | Value::Broken => "…",
    }
}

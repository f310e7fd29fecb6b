//! Compiles policy files into a [`Register`], or reports every fault of every file at once.
//!
//! In order: each file is read by itself (`document.rs`), the lists of all files are put together, parties before what
//! refers to them (`parties.rs`, `transfers.rs`, `orders.rs`), then what no single entry can tell is checked
//! (`checks.rs`) and what is doubtful is told (`lint.rs`), and what was written is brought into one canonical form (`canonical.rs`).

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::canonical;
use super::document::{self, Kind, Node, Scalar, Value};
use super::fault::{Collector, Place, Problem};
pub use super::fault::{Fault, Faults, Text};
use super::fields::{Fields, Places, Read};
use super::index::{Index, Lists, suspensions};
use super::keys::tables::FILE;
pub use super::lint::Circumstances;
use super::lint::{self, Lint};
use super::scalar::{self, choice};
use super::standing::Written;
use super::{
    Allowance, Controller, Id, Mode, ModeSetting, Notification, Order, Processing, Recipient, Register, Requests,
    Source, Transfer,
};
use super::{checks, orders, parties, transfers};
use crate::vocabulary::{Regime, Term};

/// How much of a body is held, in bytes, where no configuration says otherwise (DESIGN §4b, `limits.hold`).
pub const HOLD_LIMIT: u64 = 64 * 1024 * 1024;

/// A register, and what is doubtful in it.
#[derive(Debug)]
pub struct Compiled {
    /// What decisions are made from.
    pub register: Register,
    /// What is doubtful and loads all the same, in the order of files and lines.
    pub warnings: Vec<Fault>,
}

/// Compiles with the default hold limit. No texts at all give a register that denies everything.
///
/// # Errors
/// Every fault of every text.
pub fn compile(texts: &[Text]) -> Result<Compiled, Faults> {
    compile_with(texts, HOLD_LIMIT)
}

/// Compiles for a proxy that holds bodies up to `hold_limit` bytes: a larger `max_body` is a fault.
///
/// # Errors
/// Every fault of every text.
pub fn compile_with(texts: &[Text], hold_limit: u64) -> Result<Compiled, Faults> {
    compile_in(texts, &Circumstances { hold_limit, ..Circumstances::default() })
}

/// Compiles in these circumstances.
///
/// # Errors
/// Every fault of every text.
pub fn compile_in(texts: &[Text], circumstances: &Circumstances<'_>) -> Result<Compiled, Faults> {
    let Examined { faults, warnings, register, .. } = examine_in(texts, circumstances);
    match register {
        Some(register) => Ok(Compiled { register, warnings }),
        None => Err(Faults(faults)),
    }
}

/// Everything that is to be said of some policy files.
#[derive(Debug)]
pub struct Examined {
    /// In the order of files and lines.
    pub faults: Vec<Fault>,
    /// In the order of files and lines; also told where there are faults.
    pub warnings: Vec<Fault>,
    /// The register, where there is no fault.
    pub register: Option<Register>,
    /// The suspensions that could be read and that no entry of the files lifts, whatever else is at fault: an order never
    /// waits for the rest.
    pub suspensions: Vec<Order>,
}

/// Reads the files and says all that is wrong or doubtful in them. `hold_limit` as in [`compile_with`].
pub fn examine(texts: &[Text], hold_limit: u64) -> Examined {
    examine_in(texts, &Circumstances { hold_limit, ..Circumstances::default() })
}

/// Reads the files and says all that is wrong or doubtful in them, in these circumstances.
pub fn examine_in(texts: &[Text], circumstances: &Circumstances<'_>) -> Examined {
    let collector = Collector::new(texts);
    let read = |(file, text): (usize, &Text)| document::read(file, &text.text, &collector);
    let files: Vec<Node> = texts.iter().enumerate().filter_map(read).collect();
    let gathered = gather(&files, circumstances, &collector);
    let suspensions = gathered.orders.iter().filter(|order| order.suspends().is_some()).cloned().collect();
    // What was read of a large register takes more room than the register.
    drop(files);
    let register = assemble(gathered, circumstances, &collector);
    let (faults, warnings) = collector.finish();
    let register = faults.is_empty().then_some(register);
    Examined { faults, warnings, register, suspensions }
}

/// What the entries of a register may refer to.
pub(super) struct Declared {
    pub controller: Option<Controller>,
    pub processings: Table<Processing>,
    pub sources: Table<Source>,
    pub recipients: Table<Recipient>,
    pub transfers: Table<Transfer>,
    pub allowances: Table<Allowance>,
    /// What transfers and allowances say of requests.
    pub requests: Shared<Requests>,
    /// What transfers rest on.
    pub bases: Shared<BTreeMap<Regime, Term>>,
    /// The laws that transfers are under.
    pub regimes: Shared<[Regime]>,
    /// What transfers say of purposes, categories, persons and measures.
    pub terms: Shared<[Term]>,
    /// Largest body that is held, in bytes.
    pub hold_limit: u64,
}

/// Values that many entries have alike, each kept once.
pub(super) struct Shared<T: ?Sized>(RefCell<HashSet<Arc<T>>>);

impl<T: Eq + Hash + ?Sized> Shared<T> {
    fn new() -> Shared<T> {
        Shared(RefCell::new(HashSet::new()))
    }

    /// The same value, shared with whatever else has it.
    pub fn once<V: Borrow<T> + Into<Arc<T>>>(&self, value: V) -> Arc<T> {
        let mut known = self.0.borrow_mut();
        if let Some(known) = known.get(value.borrow()) {
            return known.clone();
        }
        let new: Arc<T> = value.into();
        known.insert(new.clone());
        new
    }
}

/// The entries of one kind by their ids, also those that are at fault: a reference to one of these is no second fault.
pub(super) struct Table<T>(pub BTreeMap<Id, Entry<T>>, Cell<usize>);

/// How many ids of a table are looked at for those that a wrong reference could have meant. A file that is missing from a
/// large register makes thousands of references wrong, and looking at every id for each would take minutes.
const MOST_COMPARED: usize = 5_000_000;

/// One entry of a table.
pub(super) struct Entry<T> {
    /// `None` where the entry is at fault.
    pub value: Option<Arc<T>>,
    pub places: Places,
    /// Its canonical text.
    form: String,
}

impl<T> Table<T> {
    fn new() -> Table<T> {
        Table(BTreeMap::new(), Cell::new(0))
    }

    /// A reader of references into this table: an unknown id is a fault that names the nearest, an entry at fault gives
    /// `None`.
    pub fn reference(&self, what: &'static str) -> impl Fn(&Scalar) -> Read<Option<Arc<T>>> {
        move |scalar| {
            let (id, canonical) = scalar::id(scalar)?;
            self.require(&id, what)?;
            Ok((self.0.get(&id).and_then(|entry| entry.value.clone()), canonical))
        }
    }

    /// Whether an id is in this table.
    ///
    /// # Errors
    /// Names the nearest id where it is not.
    pub fn require(&self, id: &Id, what: &str) -> Result<(), Problem> {
        match self.0.contains_key(id) {
            true => Ok(()),
            false => {
                let compared = self.1.get() + self.0.len();
                self.1.set(compared);
                let known = if compared <= MOST_COMPARED { self.0.len() } else { 0 };
                Err(transfers::unresolved(what, id, self.0.keys().take(known)))
            }
        }
    }

    /// The entry with this id, unless it is at fault.
    pub fn value(&self, id: &Id) -> Option<&T> {
        self.0.get(id).and_then(|entry| entry.value.as_deref())
    }

    /// The entries without fault, in the order of their ids.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<T>, &Places)> {
        self.0.values().filter_map(|entry| entry.value.as_ref().map(|value| (value, &entry.places)))
    }

    fn values(&self) -> Vec<Arc<T>> {
        self.entries().map(|(value, _)| value.clone()).collect()
    }

    /// The canonical text of all entries, which are not needed for that again.
    fn take_forms(&mut self) -> String {
        let text = canonical::list(self.0.values().map(|entry| entry.form.as_str()));
        self.0.values_mut().for_each(|entry| entry.form = String::new());
        text
    }
}

/// What was read of all files, before anything is checked that no single entry tells.
struct Gathered {
    declared: Declared,
    orders: Vec<Order>,
    notifications: Vec<Notification>,
    mode: Option<ModeSetting>,
    /// Where the mode is written.
    mode_at: Option<Place>,
    /// The canonical texts of the keys.
    forms: BTreeMap<&'static str, String>,
}

fn gather<'a>(files: &'a [Node], circumstances: &Circumstances<'_>, collector: &'a Collector<'a>) -> Gathered {
    let top = Top::gather(files, collector);
    let mut declared = Declared {
        controller: top.controller.clone(),
        processings: top.table("processing", "a processing", parties::processing),
        sources: top.table("sources", "a source", parties::source),
        recipients: top.table("recipients", "a recipient", parties::recipient),
        transfers: Table::new(),
        allowances: Table::new(),
        requests: Shared::new(),
        bases: Shared::new(),
        regimes: Shared::new(),
        terms: Shared::new(),
        hold_limit: circumstances.hold_limit,
    };
    declared.transfers = top.table("transfers", "a transfer", |fields, id| transfers::transfer(fields, id, &declared));
    declared.allowances =
        top.table("allowances", "an allowance", |fields, id| transfers::allowance(fields, id, &declared));
    let (orders, order_forms) = orders::orders(top.entries("orders"), &declared, circumstances, collector);
    let (notifications, notification_forms) = orders::notifications(top.entries("notifications"), collector);

    let mut forms = BTreeMap::new();
    for (key, form) in top.form {
        let key = SINGLE.into_iter().find(|single| *single == key).unwrap_or("schema");
        forms.insert(key, canonical::entry(form));
    }
    forms.insert("processing", declared.processings.take_forms());
    forms.insert("sources", declared.sources.take_forms());
    forms.insert("recipients", declared.recipients.take_forms());
    forms.insert("transfers", declared.transfers.take_forms());
    forms.insert("allowances", declared.allowances.take_forms());
    forms.insert("orders", canonical::entry(order_forms));
    forms.insert("notifications", canonical::entry(notification_forms));
    let mode_at = top.single.get("mode").copied();
    Gathered { declared, orders, notifications, mode: top.mode, mode_at, forms }
}

/// The register of what was gathered, with everything told that is wrong or doubtful in it.
fn assemble(gathered: Gathered, circumstances: &Circumstances<'_>, collector: &Collector<'_>) -> Register {
    let Gathered { declared, orders, notifications, mode, mode_at, forms } = gathered;
    let (canonical, version) = canonical::version(forms);
    checks::check(&declared, collector);
    lint::lint(&declared, mode.zip(mode_at), circumstances, collector);
    let (sources, recipients) = (declared.sources.values(), declared.recipients.values());
    let (transfers, allowances) = (declared.transfers.values(), declared.allowances.values());
    let index = Index::of(&Lists {
        sources: &sources,
        recipients: &recipients,
        transfers: &transfers,
        allowances: &allowances,
    });
    let written = Written { version: version.clone(), canonical: canonical.clone(), orders: orders.clone() };
    Register {
        version,
        mode: mode.unwrap_or(ModeSetting { mode: Mode::Enforce, until: None }),
        processings: declared.processings.entries().map(|(value, _)| (value.id.clone(), value.clone())).collect(),
        sources,
        recipients,
        transfers,
        allowances,
        controller: declared.controller,
        notifications,
        canonical,
        written: Arc::new(written),
        index: Arc::new(index),
        suspensions: suspensions(&orders),
        orders,
    }
}

/// The top level of all files together.
struct Top<'a> {
    collector: &'a Collector<'a>,
    mode: Option<ModeSetting>,
    controller: Option<Controller>,
    /// Canonical form of the keys that stand once in a register.
    form: Map<String, Json>,
    /// Where these keys stand.
    single: BTreeMap<&'static str, Place>,
    lists: BTreeMap<&'static str, Vec<&'a Node>>,
}

/// The keys that hold a list of entries.
const LISTS: [&str; 7] = ["processing", "sources", "recipients", "transfers", "allowances", "orders", "notifications"];
/// The keys that a register has once, in whichever file.
const SINGLE: [&str; 3] = ["mode", "controller", "retention"];

impl<'a> Top<'a> {
    fn gather(files: &'a [Node], collector: &'a Collector<'a>) -> Top<'a> {
        let mut top = Top {
            collector,
            mode: None,
            controller: None,
            form: Map::new(),
            single: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        for node in files.iter().filter(|node| !is_null(node)) {
            let Some(fields) = Fields::open_as(node, "a policy file", Some(&FILE), collector) else { continue };
            top.file(fields);
        }
        // Any file may name the schema, and a register without the key is of the same schema.
        top.form.insert("schema".to_owned(), Json::from(SCHEMA));
        if top.form.get("mode").is_some_and(|mode| mode == "enforce") {
            top.form.remove("mode");
        }
        top
    }

    fn file(&mut self, mut fields: Fields<'a>) {
        fields.optional("schema", choice(&[(SCHEMA, ())]));
        let mode = parties::mode(&mut fields);
        let controller = fields.map("controller", "the controller", parties::controller);
        if fields.optional("retention", scalar::period).is_some() {
            let problem = Problem::new("`retention` of records is not built yet: records are kept without end")
                .hint("what is kept for longer than declared has to be erased by hand");
            self.collector.lint(fields.places().of("retention"), Lint::NotBuilt, problem);
        }
        fields.not_built("categories", "this build knows the categories of DPV and its own");
        for key in LISTS {
            let Some(node) = fields.node(key) else { continue };
            match &node.value {
                Value::List(entries) => self.lists.entry(key).or_default().extend(entries),
                Value::Broken => {}
                Value::Scalar(_) | Value::Map(_) => {
                    let problem = Problem::new(format!("`{key}` is a list")).hint("begin each entry with `- `");
                    self.collector.fault(node.place, problem);
                }
            }
        }
        let (form, places) = fields.close();
        for key in SINGLE {
            let Some(place) = places.written(key) else { continue };
            match self.single.entry(key) {
                Slot::Vacant(slot) => {
                    slot.insert(place);
                }
                Slot::Occupied(slot) => {
                    let message = format!("`{key}` is written twice, first at {}", self.collector.cite(*slot.get()));
                    self.collector.fault(place, Problem::new(message).hint("a register has one; keep one of the two"));
                }
            }
        }
        self.mode = self.mode.or(mode);
        self.controller = self.controller.take().or(controller);
        if let Json::Object(form) = form {
            self.form.extend(form);
        }
    }

    fn entries(&self, key: &str) -> &[&'a Node] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    fn table<T>(
        &self,
        key: &str,
        what: &'static str,
        mut read: impl FnMut(&mut Fields<'a>, Option<Id>) -> Option<T>,
    ) -> Table<T> {
        let mut table = Table::new();
        for node in self.entries(key) {
            let Some(mut fields) = Fields::open_as(node, what, FILE.below(key), self.collector) else { continue };
            let id = fields.required("id", scalar::id);
            let value = read(&mut fields, id.clone()).map(Arc::new);
            let (form, places) = fields.close();
            let Some(id) = id else { continue };
            match table.0.entry(id) {
                Slot::Vacant(slot) => {
                    slot.insert(Entry { value, places, form: canonical::entry(form) });
                }
                Slot::Occupied(slot) => self.twice(slot.key(), what, &places, &slot.get().places),
            }
        }
        table
    }

    fn twice(&self, id: &Id, what: &str, places: &Places, first: &Places) {
        let message = format!("{what} `{id}` is written twice, first at {}", self.collector.cite(first.of("id")));
        self.collector.fault(places.of("id"), Problem::new(message).hint("give one of the two another id"));
    }
}

/// The schema that this build reads.
const SCHEMA: &str = "tasrih/1";

fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.kind() == Kind::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[&str]) -> Vec<Text> {
        let named = files.iter().enumerate();
        named.map(|(position, text)| Text { name: format!("{position}.yaml"), text: (*text).to_owned() }).collect()
    }

    #[test]
    fn no_files_and_empty_files_declare_nothing() {
        let none = compile(&[]).expect("an empty register is one").register;
        let empty = compile(&texts(&["", "# nothing yet\n", "---\n", "sources: []\n"])).expect("so is this").register;
        assert_eq!(none.canonical.as_ref(), r#"{"schema":"tasrih/1"}"#);
        assert_eq!(none.version, empty.version);
        assert!(none.transfers.is_empty() && none.allowances.is_empty() && none.controller.is_none());
    }

    #[test]
    fn an_entry_at_fault_is_no_second_fault_where_it_is_referred_to() {
        let faults = compile(&texts(&["processing: [{id: cctv, purposes: [dpv:Nothing], data_categories: [pd:Picture]}]\ntransfers: [{id: t, processing: cctv}]"])).expect_err("faulty");
        assert!(!faults.0.iter().any(|fault| fault.message.contains("there is no processing")), "{faults}");
    }
}

//! The JSON Schema (draft 2020-12) of the policy files, for editors: made of the tables of keys that the readers use.
//!
//! It says less than the readers: what one file refuses because of another, or one key because of another, no schema of
//! a single file can tell. What it refuses the readers refuse; a test holds the two against each other.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::keys::{Key, Kind, Shape, Table, tables};
use crate::vocabulary::{Country, Regime, Term, TermKind};

/// The schema of one policy file.
pub fn schema() -> Json {
    let mut definitions = BTreeMap::new();
    let mut file = table(&tables::FILE, &mut definitions);
    // A file of comments alone is one, too.
    file["type"] = json!(["object", "null"]);
    file["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    file["$id"] = json!("urn:tasrih:policies:1");
    file["title"] = json!("Tasrih policy file");
    file["$defs"] = json!(definitions);
    file
}

/// The definitions that several keys share, by name.
type Definitions = BTreeMap<&'static str, Json>;

fn table(table: &Table, definitions: &mut Definitions) -> Json {
    let mut properties = Map::new();
    for key in table.keys {
        properties.insert(key.name.to_owned(), property(key, definitions));
    }
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": said(table.meaning),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &Key, definitions: &mut Definitions) -> Json {
    let mut schema = match &key.shape {
        Shape::One(kind) => one(kind, definitions),
        Shape::List(kind) => json!({"type": "array", "minItems": 1, "items": one(kind, definitions)}),
        Shape::Map(below) => table(below, definitions),
        Shape::Maps(below) => json!({"type": "array", "minItems": 1, "items": table(below, definitions)}),
        Shape::Entries(below) => json!({"type": "array", "items": table(below, definitions)}),
        Shape::OneOrMap(kind, below) => json!({"anyOf": [one(kind, definitions), table(below, definitions)]}),
        Shape::Counts => json!({
            "type": "object",
            "propertyNames": one(&Kind::Term(TermKind::DataCategory), definitions),
            "additionalProperties": one(&Kind::Count(1), definitions),
        }),
        Shape::NotBuilt => json!({"not": {}}),
    };
    schema["description"] = json!(said(key.meaning));
    schema
}

/// A comment without the space that stands before it on each line.
fn said(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<&str>>().join(" ")
}

fn one(kind: &Kind, definitions: &mut Definitions) -> Json {
    match kind {
        Kind::Text => json!({"type": "string", "pattern": r"\S"}),
        Kind::Id => json!({"type": "string", "pattern": ID, "not": {"const": "any"}}),
        Kind::IdOrAny => json!({"type": "string", "pattern": ID}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Count(least) => json!({"type": "integer", "minimum": least}),
        Kind::Port => json!({"type": "integer", "minimum": 1, "maximum": u16::MAX}),
        Kind::Size => json!({"anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^[1-9][0-9]*(B|KiB|MiB|GiB|TiB)?$"},
        ]}),
        Kind::Duration | Kind::Period => json!({"type": "string", "pattern": SPAN}),
        Kind::Date => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
        Kind::TimeZone => json!({"type": "string", "pattern": r"\S"}),
        Kind::Country => defined("country", definitions, countries),
        Kind::Regime => json!({"enum": Regime::ALL.map(Regime::as_str)}),
        Kind::Term(kind) => defined(definition(*kind), definitions, || terms(*kind)),
        Kind::Host => json!({"type": "string", "pattern": r"^(\*\.)?[A-Za-z0-9._:\[\]-]+$"}),
        Kind::Network => json!({"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9.]+)?$"}),
        Kind::Pin => json!({"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"}),
        Kind::Hash => json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
        Kind::Method => json!({"type": "string", "pattern": "^[A-Z_-]+$", "not": {"const": "CONNECT"}}),
        Kind::Path => json!({"type": "string", "pattern": "^/"}),
        Kind::ContentType => json!({"type": "string", "pattern": "/"}),
        Kind::Scope => {
            json!({"type": "string", "pattern": r"^(everything|(transfer|recipient|source|country):.*\S.*)$"})
        }
    }
}

const ID: &str = "^[a-z0-9][a-z0-9-]*$";
/// ISO 8601: years to weeks, days, then hours to seconds.
const SPAN: &str = r"^P([0-9]+[YMWD])*(T([0-9]+(\.[0-9]+)?[HMS])+)?$";

/// A reference to a definition that is written once.
fn defined(name: &'static str, definitions: &mut Definitions, make: impl FnOnce() -> Json) -> Json {
    definitions.entry(name).or_insert_with(make);
    json!({"$ref": format!("#/$defs/{name}")})
}

fn countries() -> Json {
    let (codes, names): (Vec<String>, Vec<&str>) =
        Country::all().map(|country| (country.to_string(), country.name())).unzip();
    json!({"enum": codes, "enumDescriptions": names})
}

fn terms(kind: TermKind) -> Json {
    let named = |term: Term| (term.to_string(), term.label().names().collect::<Vec<&str>>().join(" · "));
    let (terms, names): (Vec<String>, Vec<String>) = Term::all(kind).map(named).unzip();
    json!({"enum": terms, "enumDescriptions": names})
}

fn definition(kind: TermKind) -> &'static str {
    match kind {
        TermKind::Purpose => "purpose",
        TermKind::DataCategory => "data-category",
        TermKind::DataSubject => "data-subject",
        TermKind::Role => "role",
        TermKind::OrganisationKind => "kind-of-organisation",
        TermKind::Measure => "measure",
        TermKind::LegalBasis => "legal-basis",
    }
}

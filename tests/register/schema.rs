//! The JSON Schema beside the readers: what the schema refuses the readers refuse, what they accept it accepts. What
//! only the readers refuse is listed: a schema sees one key of one file, and they see the register.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Map, Value as Json, json};
use tasrih::folder;
use tasrih::register::compile::{HOLD_LIMIT, Text, examine};
use tasrih::register::document::{self, Kind, Node, Value};
use tasrih::register::fault::{Collector, Faults};
use tasrih::register::schema::schema;

/// Files that the readers refuse and the schema cannot, and why.
const BY_NATURE: &[(&str, &str)] = &[
    ("faults/cleartext.yaml", "`scheme: http` against port, pins"),
    ("faults/duplicate-key.yaml", "YAML: a parser that keeps the last of two sees one key"),
    ("faults/filing-dates.yaml", "one day against another"),
    ("faults/interception-required-and-never.yaml", "source against destination"),
    ("faults/max-body-above-the-hold-limit.yaml", "the proxy's configuration"),
    ("faults/no-controller.yaml", "a key that another file may have"),
    ("faults/one-basis-without-regime.yaml", "`legal_basis` against `regimes`"),
    ("faults/one-controller-unsaid.yaml", "a key that another file may have"),
    ("faults/one-day-that-is-none.yaml", "a calendar"),
    ("faults/one-destination-two-recipients.yaml", "recipient against recipient"),
    ("faults/one-end-before-begin.yaml", "one day against another"),
    ("faults/one-end-of-enforce.yaml", "`until` against `is`"),
    ("faults/one-granted-without-reference.yaml", "`ref` against `status`"),
    ("faults/one-interval-in-a-tunnel.yaml", "transfer against destination"),
    ("faults/one-answer-to-nothing.yaml", "order against order"),
    ("faults/one-lift-of-nothing.yaml", "order against order"),
    ("faults/one-network-with-host-bits.yaml", "address arithmetic"),
    ("faults/one-order-for-nothing.yaml", "order against transfers"),
    ("faults/one-public-suffix-private.yaml", "the public suffix list"),
    ("faults/one-public-suffix.yaml", "the public suffix list"),
    ("faults/one-rule-in-a-tunnel.yaml", "transfer against destination"),
    ("faults/one-shared-destination.yaml", "recipient against recipient"),
    ("faults/one-source-without-proof.yaml", "one of three keys"),
    ("faults/one-unknown-recipient.yaml", "a reference"),
    ("faults/one-unknown-source.yaml", "a reference"),
    ("faults/rules-inside-a-tunnel.yaml", "transfer against destination"),
    ("faults/sources-that-stay-equal.yaml", "source against source"),
    ("faults/several-documents.yaml", "YAML: the first document is one"),
    ("faults/tags.yaml", "YAML: tags are not seen in values"),
    ("faults/same-id-in-two-files/20-b.yaml", "entry against entry"),
    ("faults/two-controllers/99-b.yaml", "file against file"),
];

#[test]
fn the_schema_in_the_tree_is_the_one_that_the_command_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_tasrih")).arg("schema").output().expect("the program starts");
    let printed = String::from_utf8(output.stdout).expect("text");
    let path = root().join("policies/schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &printed).expect("the schema can be written");
    }
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    assert!(shipped == printed, "policies/schema.json is not what `tasrih schema` prints: UPDATE_GOLDEN=1 writes it");
    assert_eq!(serde_json::from_str::<Json>(&printed).expect("JSON"), schema());
    jsonschema::meta::validate(&schema()).expect("a schema of draft 2020-12");
}

#[test]
fn shipped_files_name_the_schema_and_every_key_is_described() {
    for file in yaml_files(&root().join("policies")) {
        let text = fs::read_to_string(&file).expect("readable");
        let first = text.lines().next();
        assert_eq!(first, Some("# yaml-language-server: $schema=schema.json"), "{}", file.display());
    }
    fn described(schema: &Json, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let said = property["description"].as_str().unwrap_or_default();
            assert!(said.ends_with('.') && said.len() > 4, "{path}.{name}: {said:?}");
            described(property, &format!("{path}.{name}"));
            described(&property["items"], &format!("{path}.{name}"));
        }
    }
    described(&schema(), "");
}

#[test]
fn schema_and_readers_agree_on_good_and_broken_files() {
    let schema = validator();
    let mut checked = 0;
    let mut unlisted = Vec::new();
    for folder in ["policies", "tests/fixtures/registers/v1", "deploy/debian/policies"] {
        for (file, json, refused) in judged(&root().join(folder)) {
            assert!(!refused && schema.is_valid(&json), "{folder}/{file}: {:?}", told(&schema, &json));
            checked += 1;
        }
    }
    for kind in ["faults", "loads", "lints", "silent"] {
        for entry in entries(&root().join("tests/register").join(kind)) {
            for (file, json, refused) in judged(&entry) {
                let name = match entry.is_dir() {
                    true => format!("{kind}/{}/{file}", entry.file_name().expect("named").to_string_lossy()),
                    false => format!("{kind}/{file}"),
                };
                let accepted = schema.is_valid(&json);
                assert!(accepted || refused, "{name} loads, and the schema refuses it: {:?}", told(&schema, &json));
                let listed = BY_NATURE.iter().any(|(by_nature, _)| *by_nature == name);
                if (accepted && refused) != listed {
                    unlisted
                        .push(format!("{name}: schema accepts {accepted}, readers refuse {refused}, listed {listed}"));
                }
                checked += 1;
            }
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    assert!(checked >= 150, "{checked} files");
}

/// Every value of a register with every key, left out and replaced by other kinds of value: by a few of them, each time
/// others, and with `TASRIH_LONG=1` by all.
#[test]
fn what_the_schema_refuses_the_readers_refuse() {
    let schema = validator();
    let whole = merged(&root().join("tests/fixtures/registers/v1"));
    assert!(loads(&whole) && schema.is_valid(&whole), "the register with every key is one");
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(""),
        json!(" "),
        json!("any"),
        json!("text"),
        json!("Text"),
        json!("2024-02-30"),
        json!("2024-02-29"),
        json!("P1Y"),
        json!("PT5M"),
        json!("443"),
        json!("2MiB"),
        json!("a.example"),
        json!("*.a.example"),
        json!("10.0.0.0/8"),
        json!("/a"),
        json!("pd:Picture"),
        json!("POST"),
        json!("observe"),
        json!("none"),
        json!([]),
        json!([""]),
        json!(["pd:Picture"]),
        json!({}),
        json!({"a": 1}),
        json!({"is": "observe"}),
        json!([{}]),
    ];
    let (mut tried, mut refused, mut seen) = (0, 0, 0);
    let most = if std::env::var_os("TASRIH_LONG").is_some() { others.len() } else { 3 };
    for (position, path) in paths(&whole).into_iter().enumerate() {
        let some = others.iter().cycle().skip(position * most % others.len()).take(most);
        for other in some.map(Some).chain([None]) {
            let changed = replaced(&whole, &path, other);
            let (loads, accepts) = (loads(&changed), schema.is_valid(&changed));
            assert!(!loads || accepts, "{path} as {other:?} loads; the schema: {:?}", told(&schema, &changed));
            tried += 1;
            refused += usize::from(!loads);
            seen += usize::from(!accepts);
        }
    }
    assert!(tried > 1_000, "{tried} changes");
    assert!(seen * 100 > refused * 85, "the schema sees {seen} of {refused} changes that are refused");
}

/// Where a word of a closed list is wanted, the readers' hint lists the words: they are those of the schema.
#[test]
fn closed_lists_of_words_are_the_same_in_both() {
    let whole = merged(&root().join("tests/fixtures/registers/v1"));
    let mut lists = Vec::new();
    words(&schema(), &whole, String::new(), &mut lists);
    for (path, words) in &lists {
        let text = replaced(&whole, path, Some(&json!("§"))).to_string();
        let examined = examine(&[Text { name: "whole.yaml".to_owned(), text }], HOLD_LIMIT);
        let hints: Vec<&str> = examined.faults.iter().filter_map(|fault| fault.hint.as_deref()).collect();
        let listed = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        assert!(hints.contains(&format!("one of {listed}").as_str()), "{path}: the schema has {listed}, not {hints:?}");
    }
    assert!(lists.len() >= 25, "{} closed lists", lists.len());
}

/// Every value of the register for which the schema lists words, with the words; long lists are told by the terms' tests.
fn words(schema: &Json, json: &Json, path: String, found: &mut Vec<(String, Vec<String>)>) {
    let below = |name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
    if let (Some(words), Json::String(_)) = (schema["enum"].as_array(), json) {
        let words: Vec<String> = words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
        if words.len() <= 12 {
            found.push((path.clone(), words));
        }
    }
    for (name, value) in json.as_object().into_iter().flatten() {
        words(&schema["properties"][name], value, below(name), found);
    }
    for (position, value) in json.as_array().into_iter().flatten().enumerate() {
        words(&schema["items"], value, below(&position.to_string()), found);
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

fn told(schema: &Validator, json: &Json) -> Vec<String> {
    schema.iter_errors(json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| !path.is_dir()).collect()
}

/// YAML files and folders, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).expect("the folder is in the tree").map(|entry| entry.expect("readable").path());
    let mut entries: Vec<PathBuf> =
        listed.filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "yaml")).collect();
    entries.sort();
    entries
}

/// Each file that can be read as YAML, as an editor sees it, and whether the readers find a fault in it.
fn judged(entry: &Path) -> Vec<(String, Json, bool)> {
    let files = if entry.is_dir() { yaml_files(entry) } else { vec![entry.to_owned()] };
    let text = |file: &PathBuf| Text {
        name: file.file_name().expect("named").to_string_lossy().into_owned(),
        text: fs::read_to_string(file).expect("text"),
    };
    let texts: Vec<Text> = files.iter().map(text).collect();
    let faults = examine(&texts, HOLD_LIMIT).faults;
    let collector = Collector::new(&texts);
    let tree = |position: usize| document::read(position, &texts[position].text, &collector);
    let named = texts.iter().enumerate().filter_map(|(position, text)| {
        let json = as_json(&tree(position)?)?;
        Some((text.name.clone(), json, faults.iter().any(|fault| fault.file == text.name)))
    });
    named.collect()
}

/// The tree by YAML's core schema; `None` where something in it is no JSON, such as an alias.
fn as_json(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Scalar(scalar) => match scalar.kind() {
            Kind::Null => Json::Null,
            Kind::Boolean(value) => Json::from(value),
            Kind::Integer => scalar.text.parse::<i64>().map_or(json!(1), Json::from),
            Kind::Float => scalar.text.parse::<f64>().map_or(json!(1.5), Json::from),
            Kind::Text => Json::from(scalar.text.as_str()),
        },
        Value::List(nodes) => Json::Array(nodes.iter().map(as_json).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let entry = |(key, node): &(document::Key, Node)| Some((key.text.clone(), as_json(node)?));
            Json::Object(entries.iter().map(entry).collect::<Option<Map<_, _>>>()?)
        }
        Value::Broken => return None,
    })
}

/// All files of a register as one.
fn merged(folder: &Path) -> Json {
    let mut whole = Map::new();
    for (_, file, _) in judged(folder) {
        for (key, value) in file.as_object().expect("a map").clone() {
            match (whole.get_mut(&key), value) {
                (Some(Json::Array(entries)), Json::Array(more)) => entries.extend(more),
                (_, value) => drop(whole.insert(key, value)),
            }
        }
    }
    assert!(!folder::read(folder).expect("readable").is_empty());
    Json::Object(whole)
}

/// JSON is YAML.
fn loads(json: &Json) -> bool {
    let texts = [Text { name: "whole.yaml".to_owned(), text: json.to_string() }];
    let examined = examine(&texts, HOLD_LIMIT);
    assert_eq!(examined.register.is_some(), examined.faults.is_empty(), "{}", Faults(examined.faults));
    examined.register.is_some()
}

/// JSON pointers of every value.
fn paths(json: &Json) -> Vec<String> {
    fn walk(json: &Json, path: &str, found: &mut Vec<String>) {
        let below: Vec<(String, &Json)> = match json {
            Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Json::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
            _ => Vec::new(),
        };
        for (name, value) in below {
            let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            found.push(path.clone());
            walk(value, &path, found);
        }
    }
    let mut found = Vec::new();
    walk(json, "", &mut found);
    found
}

/// The same with another value there, or none.
fn replaced(json: &Json, path: &str, other: Option<&Json>) -> Json {
    let mut json = json.clone();
    match other {
        Some(other) => *json.pointer_mut(path).expect("a path of it") = other.clone(),
        None => {
            let (above, name) = path.rsplit_once('/').expect("paths begin with a slash");
            match json.pointer_mut(above).expect("a path of it") {
                Json::Object(map) => drop(map.remove(&name.replace("~1", "/").replace("~0", "~"))),
                Json::Array(list) => drop(list.remove(name.parse().expect("a position"))),
                _ => unreachable!("only these have something below"),
            }
        }
    }
    json
}

//! Checks records against the JSON Schema of the OCSF classes that Tasrih writes (see `tests/ocsf/`).

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("../ocsf/schema-1.8.0.json")).expect("the schema is JSON");
    jsonschema::draft202012::new(&schema).expect("the schema is a JSON Schema")
});

/// Everything that is wrong with a record: its faults against OCSF, a form that is not canonical, too great a length.
pub fn faults(record: &[u8]) -> Vec<String> {
    let event: Value = match serde_json::from_slice(record) {
        Ok(event) => event,
        Err(error) => return vec![format!("no JSON: {error}")],
    };
    let mut faults: Vec<String> =
        SCHEMA.iter_errors(&event).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if serde_json_canonicalizer::to_vec(&event).expect("JSON can be made canonical") != record {
        faults.push("not canonical JSON".to_owned());
    }
    if record.len() > 60_000 {
        faults.push(format!("{} bytes long", record.len()));
    }
    faults
}

/// Panics with every fault of a record, if it has any.
#[track_caller]
pub fn assert_valid(record: &[u8]) {
    let faults = faults(record);
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), String::from_utf8_lossy(record));
}

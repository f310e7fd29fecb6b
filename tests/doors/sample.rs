//! The commented sample `deploy/tasrih.yaml`: every key, each at its default, and those without one can be uncommented.

use std::collections::BTreeSet;

use tasrih::config::{self, Settings};
use tasrih::register::fault::Text;

const SAMPLE: &str = include_str!("../../deploy/tasrih.yaml");

fn read(text: &str) -> Settings {
    let loaded = config::read(&Text { name: "deploy/tasrih.yaml".to_owned(), text: text.to_owned() });
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.settings
}

/// The sample with the keys that have no default written.
fn uncommented() -> String {
    let mut text = SAMPLE.replace("\nspool: {}\n", "\n");
    for line in SAMPLE.lines() {
        let is_key = line.starts_with('#') && !line.starts_with("# ") && line != "#";
        let is_key = is_key || line.strip_prefix("#  ").is_some_and(|rest| !rest.starts_with(" tasrih"));
        if is_key {
            text = text.replace(&format!("\n{line}\n"), &format!("\n{}\n", &line[1..]));
        }
    }
    text
}

/// The names of all fields that a value of the settings has, as `Debug` prints them: they are named like their keys.
fn fields(settings: &Settings) -> BTreeSet<String> {
    let printed = format!("{settings:?}");
    let words = printed.split([' ', '{', '}', '[', ']', '(', ')', ',']);
    let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !word.is_empty();
    words.filter_map(|word| word.strip_suffix(':')).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn it_says_what_is_so_without_it() {
    assert_eq!(read(SAMPLE), Settings::default());
}

#[test]
fn every_key_is_in_it_once() {
    let settings = read(&uncommented());
    assert_eq!((settings.listeners.len(), settings.metrics.is_some()), (4, true), "all is uncommented");
    let keys = fields(&settings);
    assert!(keys.contains("crl") && keys.contains("hold_memory") && keys.contains("folder"), "{keys:?}");
    // A network is one value, however it is kept.
    for key in keys.into_iter().filter(|key| !["addr", "prefix"].contains(&key.as_str())) {
        let written = SAMPLE.lines().any(|line| {
            let line = line.trim_start_matches('#').trim_start().trim_start_matches("- ");
            line.starts_with(&format!("{key}:"))
        });
        assert!(written, "deploy/tasrih.yaml does not show `{key}`");
    }
}

#[test]
fn every_value_has_its_unit_or_meaning_beside_it() {
    let limits = SAMPLE.split("\nlimits:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("limits");
    for line in limits.lines() {
        assert!(line.contains("  # "), "what does `{line}` mean?");
    }
}

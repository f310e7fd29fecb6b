//! README is run: its commands in their order, in a folder as a user has it, with the outputs that it quotes; its examples
//! are read, and what it names exists. `readme/page.rs` takes the page apart, `readme/clone.rs` runs the commands,
//! `readme/alike.rs` compares.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "readme/alike.rs"]
mod alike;
#[path = "readme/clone.rs"]
mod clone;
#[path = "readme/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use clone::{Clone, wait_for_port};
use page::{Block, blocks, spans};
use serde_json::Value;
use tasrih::config::{self, Settings};
use tasrih::metrics::Metrics;
use tasrih::policy::{Decision, End};
use tasrih::register::compile::{Text, compile};

const README: &str = include_str!("../README.md");

fn is(language: &str) -> impl Fn(&&Block) -> bool {
    move |block| block.language == language
}

#[test]
fn the_commands_run_and_say_what_is_quoted() {
    wait_for_port(3128);
    wait_for_port(9180);
    let mut clone = Clone::new();
    let blocks = blocks(README);
    assert!(blocks.iter().filter(is("sh")).count() >= 6, "README has lost its commands");
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| is("sh")(block)) {
        clone.run(block, blocks.get(place + 1).filter(|next| next.follows).filter(is("text")));
    }
    assert_eq!(clone.calls(), 1, "README says how to run the tests, once");
    the_records_are_real(&clone, &blocks);
}

/// Every abridged record is part of one that the commands just left.
fn the_records_are_real(clone: &Clone, blocks: &[Block]) {
    let printed =
        clone.command("tasrih").args(["transfers", "--state", "var/demo", "--json"]).output().expect("records");
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let records: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let quoted: Vec<Value> = blocks
        .iter()
        .filter(is("json"))
        .flat_map(|block| serde_json::Deserializer::from_str(&block.text).into_iter::<Value>())
        .map(|value| value.expect("JSON"))
        .collect();
    for one in &quoted {
        assert!(records.iter().any(|record| alike::is_part_of(one, record)), "no record is like {one:#}\n{printed}");
    }
    for decision in [Decision::Permit, Decision::Denial] {
        let is_shown = |record: &Value| record["unmapped"]["transfer"]["decision"] == decision.as_str();
        assert!(quoted.iter().any(is_shown), "README shows no {decision}");
    }
}

#[test]
fn the_policy_examples_are_a_register() {
    let (cases, policies): (Vec<Block>, Vec<Block>) = examples().partition(|block| block.text.starts_with("- name:"));
    let texts: Vec<Text> = policies
        .iter()
        .map(|block| Text { name: format!("README line {}", block.line), text: block.text.clone() })
        .collect();
    let compiled = compile(&texts).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);

    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("cases")).expect("a folder");
    fs::copy("policies/cases/frame.jpg", folder.path().join("cases/frame.jpg")).expect("a copy");
    for (place, text) in texts.iter().enumerate() {
        fs::write(folder.path().join(format!("{place:02}.yaml")), &text.text).expect("written");
    }
    for block in &cases {
        fs::write(folder.path().join("cases").join(format!("{}.yaml", block.line)), &block.text).expect("written");
    }
    let said = tasrih(&["test", folder.path().to_str().expect("ASCII")]);
    assert!(!cases.is_empty() && said.contains("1 of 1 cases as expected"), "{said}");
}

#[test]
fn the_configuration_example_is_the_default() {
    let block = blocks(README).into_iter().find(is_configuration).expect("an example of tasrih.yaml");
    let loaded = config::read(&Text { name: "README.md".to_owned(), text: block.text });
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

fn is_configuration(block: &Block) -> bool {
    block.text.starts_with("# tasrih.yaml\n")
}

/// Everything in YAML but the configuration.
fn examples() -> impl Iterator<Item = Block> {
    blocks(README).into_iter().filter(|block| block.language == "yaml" && !is_configuration(block))
}

#[test]
fn every_subcommand_and_option_exists() {
    let named = commands(&tasrih(&["--help"]));
    let help: BTreeMap<String, String> =
        named.into_iter().map(|name| (name.clone(), tasrih(&[&name, "--help"]))).collect();
    let everywhere: String = help.values().cloned().collect();
    for line in code() {
        let (words, option_help) = match line.split_once("tasrih ") {
            Some((before, rest)) if before.is_empty() || before.ends_with(' ') => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                // A subcommand of a subcommand, as `tasrih ca export`, has a help of its own.
                let nested =
                    words.get(1).is_some_and(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()));
                let inner = nested.then(|| format!("{}{}", help[words[0]], tasrih(&[words[0], words[1], "--help"])));
                let help = inner.as_ref().or(help.get(words[0])).cloned();
                (words.clone(), help.unwrap_or_else(|| panic!("README names `tasrih {}`, which is none", words[0])))
            }
            _ if line.starts_with("--") => (line.split_whitespace().collect(), everywhere.clone()),
            _ => continue,
        };
        for option in words.iter().take_while(|word| **word != "#").filter(|word| word.starts_with("--")) {
            assert!(option_help.contains(option), "README names `{option}` in `{line}`, and there is none");
        }
    }
}

/// The subcommands that `--help` lists.
fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    list.lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

/// Each command line and code span, in one line.
fn code() -> impl Iterator<Item = String> {
    let shell = blocks(README).into_iter().filter(|block| block.language == "sh");
    let lines = shell.flat_map(|block| {
        block
            .text
            .replace("\\\n", " ")
            .lines()
            .map(|line| line.replace("cargo run --release --", "tasrih"))
            .collect::<Vec<_>>()
    });
    lines.chain(spans(README).into_iter().map(|span| span.replace("cargo run --release --", "tasrih")))
}

#[test]
fn every_key_metric_end_and_path_exists() {
    let sources = sources(Path::new("src"));
    let commented = examples().flat_map(|block| {
        block.text.lines().filter_map(|line| Some(line.split_once("# ")?.1.to_owned())).collect::<Vec<_>>()
    });
    for text in spans(README).into_iter().chain(commented) {
        if let Some(key) = key(&text) {
            assert!(sources.contains(&format!("\"{key}\"")), "README names the key `{key}`, and nothing reads it");
        }
        if text.starts_with("tasrih_") && text.len() > "tasrih_".len() {
            assert!(Metrics::new().encode().contains(&format!("# TYPE {text} ")), "README names the metric `{text}`");
        }
    }
    for end in End::ALL {
        assert!(spans(README).iter().any(|span| span == end.as_str()), "README does not name the end `{end:?}`");
    }
    for path in README.split(|one: char| !one.is_ascii_alphanumeric() && !"/._-".contains(one)) {
        let path = path.trim_end_matches('.');
        if ["src/", "tests/", "policies/", ".ci/"].iter().any(|folder| path.starts_with(folder)) {
            assert!(Path::new(path).exists(), "README names {path}, and it is not there");
        }
    }
}

/// `hold_memory`, `unreadable: presumed`, `lifts:`: a key, with or without a value. Prefixes of terms are none.
fn key(text: &str) -> Option<&str> {
    let (key, is_valued) = match text.split_once(':') {
        Some((key, value)) if value.is_empty() || value.starts_with(' ') => (key, true),
        Some(_) => return None,
        None => (text, false),
    };
    let is_name = !key.is_empty() && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let is_other = ["dpv", "pd", "x", "default"].contains(&key) || key.starts_with("tasrih_");
    (is_name && !is_other && (is_valued || key.contains('_'))).then_some(key)
}

fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &fs::read_to_string(&path).expect("UTF-8");
        }
    }
    text
}

#[test]
fn continuous_integration_runs_the_tests_as_readme_says() {
    let script = fs::read_to_string(".ci/run").expect(".ci/run");
    let called = |text: &str| text.lines().any(|line| line.split_whitespace().any(|word| word == "tests/run"));
    assert!(called(&script), ".ci/run does not run tests/run:\n{script}");
    assert!(blocks(README).iter().filter(is("sh")).any(|block| called(&block.text)), "README does not say tests/run");
}

/// What the program prints; it must succeed.
fn tasrih(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tasrih")).args(arguments).output().expect("it starts");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "tasrih {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

//! `tasrih check` as a command: what it prints and how it exits; and the cases that are shipped with the policies.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

#[test]
fn the_shipped_policies_are_clean() {
    // While the former contractor's filing was in force, and now that the entry is kept for its name alone.
    let then = check(&["policies", "--deny-warnings", "--at", "2022-06-01T10:00:00Z"]);
    assert_eq!(then.status.code(), Some(0), "{then:?}");
    let now = check(&["policies", "--json", "--at", "2026-12-01T10:00:00Z"]);
    let said: Json = serde_json::from_slice(&now.stdout).expect("one JSON object");
    assert_eq!((&said["warnings"][0]["code"], &said["warnings"][1]), (&Json::from("filing-expired"), &Json::Null));
    let said = text(&then);
    assert!(
        said.starts_with(
            "1 processing, 1 source, 3 recipients, 3 transfers, 1 allowance, 2 orders; 0 warnings; version "
        ),
        "{said}"
    );
    assert!(
        said.contains("\n  transfer cctv-to-ministry-a: path /cctv/** covers /cctv and every path below it\n"),
        "{said}"
    );
}

#[test]
fn the_shipped_cases_are_decided_as_they_say() {
    let output = tasrih(&["test", "policies"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn faults_exit_with_1_and_warnings_only_where_they_are_denied() {
    let warned = "tests/fixtures/registers/v1";
    assert_eq!(check(&["tests/register/faults"]).status.code(), Some(1));
    assert_eq!(check(&[warned]).status.code(), Some(0));
    assert_eq!(check(&[warned, "--deny-warnings"]).status.code(), Some(1));
}

#[test]
fn faults_of_all_files_and_warnings_are_printed_together() {
    let output = check(&["tests/register/faults/faults-of-all-files"]);
    let said = text(&output);
    for file in ["a.yaml:1:53: ", "b.yaml:1:9: ", "c.yaml:1:7: "] {
        assert!(said.contains(&format!("tests/register/faults/faults-of-all-files/{file}")), "{said}");
    }
    assert!(said.ends_with("3 faults, 0 warnings\n"), "{said}");
}

#[test]
fn json_gives_the_same_places() {
    for arguments in [["--json"].as_slice(), &["--format", "json"]] {
        let output = check(&[["tests/register/faults/faults-of-all-files"].as_slice(), arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        let said: Json = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(said["faults"].as_array().map(Vec::len), Some(3));
        assert_eq!((&said["faults"][0]["line"], &said["faults"][0]["column"]), (&Json::from(1), &Json::from(53)));
        assert_eq!(said["register"], Json::Null);
    }
    let said: Json = serde_json::from_slice(&check(&["policies", "--json"]).stdout).expect("one JSON object");
    assert_eq!(said["register"]["transfers"], 3);
    assert_eq!(said["register"]["version"].as_str().map(str::len), Some(64));
}

#[test]
fn sarif_gives_each_finding_its_rule_and_place() {
    let output = check(&["tests/register/lints", "--format", "sarif"]);
    let said: Json = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((said["version"].as_str(), output.status.code()), (Some("2.1.0"), Some(1)));
    let run = &said["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let rules: Vec<&Json> =
        run["tool"]["driver"]["rules"].as_array().expect("rules").iter().map(|rule| &rule["id"]).collect();
    let results = run["results"].as_array().expect("results");
    assert!(results.iter().all(|result| rules.contains(&&result["ruleId"])), "every result has its rule");
    let place = |result: &Json| result["locations"][0]["physicalLocation"].clone();
    let twice =
        results.iter().find(|result| result["ruleId"] == "fault").expect("ids are written twice in these files");
    assert_eq!(twice["level"], "error");
    for result in results {
        assert!(place(result)["region"]["startLine"].as_u64().is_some_and(|line| line > 0), "{result}");
        assert!(
            place(result)["artifactLocation"]["uri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("tests/register/lints/"))
        );
    }
    let clean = check(&["policies", "--format", "sarif", "--at", "2022-06-01T10:00:00Z"]);
    let said: Json = serde_json::from_slice(&clean.stdout).expect("one JSON object");
    assert_eq!((said["runs"][0]["results"].as_array().map(Vec::len), clean.status.code()), (Some(0), Some(0)));
}

#[test]
fn the_codes_are_listed_with_what_they_mean() {
    let said = text(&check(&["--codes"]));
    assert!(said.lines().any(|line| line.starts_with("single-pin ") && line.ends_with("without a spare.")), "{said}");
    assert_eq!(said.lines().count(), tasrih::register::lint::Lint::ALL.len());
}

#[test]
fn the_vocabulary_is_a_tree_and_is_searched_in_three_languages() {
    let tree = text(&tasrih(&["vocabulary", "--kind", "data-category"]));
    for line in [
        "\n        pd:Picture  Picture · Image · صورة\n",
        "\n          pd:Passport  Passport · Passeport · جواز السفر\n            x:PassportMRZ  ",
    ] {
        assert!(tree.contains(line), "{line}\n{tree}");
    }
    let found = |words: &str| text(&tasrih(&["vocabulary", "--json", "--search", words]));
    for words in ["passport", "Passeport", "جواز"] {
        let terms: Vec<Json> = found(words).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let passport = terms.iter().find(|term| term["term"] == "pd:Passport").expect("found");
        assert_eq!(
            (&passport["broader"][0], &passport["narrower"][0]),
            (&Json::from("pd:OfficialID"), &Json::from("x:PassportMRZ"))
        );
    }
    let said = text(&tasrih(&["vocabulary", "--search", "carte nationale"]));
    assert!(said.contains("covered by pd:OfficialID, pd:Identifying") && !said.contains("pd:Passport"), "{said}");
    let nothing = tasrih(&["vocabulary", "--search", "kangaroo"]);
    assert_eq!((nothing.status.code(), nothing.stdout.is_empty()), (Some(1), true));
}

#[test]
fn what_cannot_be_read_exits_with_2_and_names_the_path() {
    let missing = check(&["no/such/folder"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/folder"), "{missing:?}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("latin1.yaml"), b"controller: {name: Pr\xe9fecture}\n").expect("written");
    let latin = check(&[folder.path().to_str().expect("a path of text")]);
    assert_eq!(latin.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&latin.stderr).contains("latin1.yaml"), "{latin:?}");
}

#[test]
fn an_empty_folder_is_a_register_that_denies_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("cases")).expect("made");
    fs::write(folder.path().join("cases/case.yaml"), "- name: no policy file").expect("written");
    fs::write(folder.path().join(".half-written.yaml"), "{").expect("written");
    fs::write(folder.path().join("notes.txt"), "{").expect("written");
    let output = check(&[folder.path().to_str().expect("a path of text")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output).starts_with("0 processings, 0 sources, 0 recipients, 0 transfers"), "{output:?}");
}

fn check(arguments: &[&str]) -> Output {
    tasrih(&[["check"].as_slice(), arguments].concat())
}

fn tasrih(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).args(arguments);
    command.output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

//! `tasrih transfers` over the state folder that the first release left behind: the table, the records as logged, and
//! the filters.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "support/ocsf.rs"]
mod ocsf;

fn state() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state/v1")
}

fn transfers(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.arg("transfers").arg("--state").arg(state()).args(arguments).env("TZ", "Africa/Tunis");
    command.output().expect("the program was built")
}

fn lines(arguments: &[&str]) -> Vec<String> {
    let output = transfers(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the output is text").lines().map(str::to_owned).collect()
}

#[test]
fn the_table_joins_decision_and_outcome() {
    let lines = lines(&[]);
    let cells =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = lines.iter().map(|line| cells(line)).collect();
    assert_eq!(rows[0], ["TIME", "SOURCE → RECIPIENT", "BYTES", "DECISION", "REASON", "REFERENCE"]);
    let time = "2031-05-02 13:00:00";
    assert_eq!(rows[1], [time, "cctv-uploader → ministry-b", "0", "denial", "filing-not-granted"]);
    let sent = [time, "cctv-uploader → ministry-a", "204800", "permit", "answered 200", "A-GC-1/2023"];
    assert_eq!(rows[2], sent);
    let open = [time, "cctv-uploader → ministry-a", "?", "permit", "under way", "A-GC-1/2023"];
    assert_eq!(rows[3], open);
    assert_eq!(rows.len(), 4);
}

#[test]
fn json_is_the_records_as_logged() {
    let all = lines(&["--json"]);
    assert_eq!(all.len(), 5, "start, denial, two permits, one outcome");
    all.iter().for_each(|record| ocsf::assert_valid(record.as_bytes()));
    assert_eq!(lines(&["--json", "--decision", "permit"]).len(), 3, "an outcome follows its decision");
    assert_eq!(lines(&["--json", "--reason", "filing-not-granted"]).len(), 1);
}

#[test]
fn filters_narrow() {
    let rows = |arguments: &[&str]| lines(arguments).len() - 1;
    assert_eq!(rows(&["--recipient", "ministry-b"]), 1);
    assert_eq!(rows(&["--recipient", "ministry-b", "--recipient", "ministry-a"]), 3);
    assert_eq!(rows(&["--transfer", "cctv-to-ministry-a"]), 2);
    assert_eq!(rows(&["--source", "cctv-uploader"]), 3);
    assert_eq!(rows(&["--source", "somebody"]), 0);
    assert_eq!(rows(&["--since", "2031-05-02", "--until", "2031-05-02"]), 3);
    assert_eq!(rows(&["--until", "2031-05-01"]), 0);
    assert_eq!(rows(&["--since", "2031-05-02T13:00:01+01:00"]), 0);
}

#[test]
fn several_states_are_merged() {
    let again = state();
    assert_eq!(lines(&["--state", again.to_str().expect("a path of this tree is text")]).len(), 1 + 6);
}

#[test]
fn csv_has_a_heading_and_a_line_an_exchange() {
    let lines = lines(&["--csv"]);
    assert!(lines[0].starts_with("time,node,exchange,source,"), "{}", lines[0]);
    assert_eq!(lines.len(), 4);
    assert!(lines[2].ends_with("D-GC-298/2022,answered,2031-05-02T12:00:00Z,200,204800"), "{}", lines[2]);
}

#[test]
fn a_summary_counts_what_was_decided_alike() {
    let rows = lines(&["--summary"]);
    let cells =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|");
    assert_eq!(cells(&rows[0]), "EXCHANGES|BYTES|DECISION|REASON|SOURCE → RECIPIENT|DECLARATION|FIRST|LAST");
    let time = "2031-05-02 13:00:00";
    assert_eq!(cells(&rows[1]), format!("1|0|denial|filing-not-granted|cctv-uploader → ministry-b|{time}|{time}"));
    let permits = format!("2|204800|permit|cctv-uploader → ministry-a|cctv-to-ministry-a|{time}|{time}");
    assert_eq!(cells(&rows[2]), permits);
    assert_eq!(rows.len(), 3, "nothing was observed, so that nothing is said of it");
    assert_eq!(lines(&["--summary", "--csv", "--decision", "permit"])[1].split(',').next(), Some("2"));
    let json: serde_json::Value = serde_json::from_str(&lines(&["--summary", "--json"])[1]).expect("an object a line");
    assert_eq!((&json["exchanges"], &json["declaration"]), (&2.into(), &"cctv-to-ministry-a".into()));
}

#[test]
fn slips_are_told() {
    let told = |arguments: &[&str]| {
        let output = transfers(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).expect("messages are text")
    };
    assert!(told(&["--reason", "filing-not-grantd"]).contains("did you mean filing-not-granted?"));
    assert!(told(&["--decision", "allow"]).contains("permit, denial, would-deny"));
    assert!(told(&["--since", "yesterday"]).contains("PT6H"));
    assert!(told(&["--state", "/nonexistent"]).contains("there is no log in /nonexistent"));
}

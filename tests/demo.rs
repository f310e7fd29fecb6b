//! The demo as a person starts it, and the comparison that its exit code rests on.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use tasrih::demo::compare::{Account, Arrived, Disagreement, Side, compare};
use tasrih::demo::verdict::{Evidence, Told};
use tasrih::policy::Digest;
use tasrih::record::past::{self, Past};

/// Plays the demo once in empty folders, and gives what it said; nothing may be left in them.
fn play(command: &mut Command, arguments: &[&str]) -> Output {
    let (work, temporary) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    command.arg("demo").arg("--once").args(arguments).current_dir(work.path()).env("TMPDIR", temporary.path());
    let output = command.output().expect("the demo starts");
    for folder in [work.path(), temporary.path()] {
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0, "something is left in {folder:?}");
    }
    output
}

fn said(output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains('\x1b'), "colour where no terminal is: {said}");
    said
}

/// Whether a line of `said` has all these words in this order.
fn has(said: &str, words: &[&str]) -> bool {
    said.lines().any(|line| {
        let mut rest = line;
        words.iter().all(|word| {
            let Some(place) = rest.find(word) else { return false };
            rest = &rest[place + word.len()..];
            true
        })
    })
}

const LINES: [&[&str]; 17] = [
    &["cctv-uploader → Ministry A", "31,929", "permit", "A-GC-1/2023"],
    &["cctv-uploader → Ministry B", " 0 ", "denial", "filing-not-granted", "…"],
    &["cctv-uploader → former contractor", " 0 ", "denial", "expired"],
    &["cctv-uploader → undeclared host", " 0 ", "denial", "no-declaration"],
    &["127.0.0.99", "→ Ministry A", " 0 ", "denial", "source-unknown"],
    &["office-pc", "→ vendor updates", "permit", "vendor-updates"],
    &["cctv-uploader → vendor updates", " 0 ", "denial", "category-not-declared"],
    &["cctv-uploader → Ministry A", " 0 ", "denial", "too-frequent"],
    &["is dead: SIGKILL"],
    &["closed as interrupted"],
    &["Ministry A ", " 5 ", " 5 ", "agree", "1 of them was cut off"],
    &["Ministry B ", " 0 ", " 0 ", " 0 ", " 0 ", "agree"],
    &["yes", "undeclared recipients: 0 bytes, 0 connections"],
    &["yes", "13 decisions on record for 13 exchanges"],
    &["yes", "6 of 6 exchanges let through have their outcome"],
    &["yes", "the log opens"],
    &["The two sides agree."],
];

#[test]
fn the_case_ends_with_both_sides_in_agreement() {
    let output = play(&mut Command::new(env!("CARGO_BIN_EXE_tasrih")), &[]);
    let said = said(&output);
    for words in LINES {
        assert!(has(&said, words), "no line has {words:?} in\n{said}");
    }
}

#[test]
fn records_stay_where_they_are_wanted_and_may_be_there_before() {
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path().join("records");
    let arguments = ["--state", state.to_str().expect("a path of ASCII")];
    let mut sequences = Vec::new();
    for _ in 0..2 {
        said(&play(&mut Command::new(env!("CARGO_BIN_EXE_tasrih")), &arguments));
        sequences = records(&state).into_iter().map(|record| record.sequence).collect();
    }
    assert!(sequences.len() > 40, "{sequences:?}");
    assert!(sequences.iter().copied().eq(0..sequences.len() as u64), "{sequences:?}");
}

fn records(state: &Path) -> Vec<Past> {
    let records = tasrih::audit::read(state).expect("a log");
    records.map(|json| past::read(&json.expect("a record")).expect("a record of ours")).collect()
}

/// The certificates and the register must be dated from the same clock as the decisions.
#[test]
fn it_plays_in_2031_too() {
    if Command::new("faketime").arg("--version").output().is_err() {
        eprintln!("skipped: faketime is not installed");
        return;
    }
    let mut command = Command::new("faketime");
    command.arg("2031-05-02 10:00:00").arg(env!("CARGO_BIN_EXE_tasrih"));
    assert!(said(&play(&mut command, &[])).contains("The two sides agree."));
}

#[test]
fn a_damaged_log_refuses_with_exit_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("records");
    let arguments = ["--state", state.to_str().expect("a path of ASCII")];
    said(&play(&mut Command::new(env!("CARGO_BIN_EXE_tasrih")), &arguments));
    let segment =
        std::fs::read_dir(state.join("log")).expect("a log").next().expect("a segment").expect("an entry").path();
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let output = play(&mut Command::new(env!("CARGO_BIN_EXE_tasrih")), &arguments);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the log is damaged"), "{output:?}");
}

const A: &str = "0199-aaaa";
const B: &str = "0199-bbbb";

fn permit(sequence: u64, id: &str) -> Past {
    record(&json!({
        "time": 0, "metadata": {"uid": id, "sequence": sequence, "correlation_uid": id, "product": {"uid": "n"}},
        "dst_endpoint": {"hostname": "intake.example", "port": 443},
        "unmapped": {"transfer": {"record": "decision", "decision": "permit", "transfer": "t", "body_size": 3,
            "body_digest": format!("hmac-sha256:{}", "07".repeat(32))}},
    }))
}

fn outcome(sequence: u64, id: &str, end: &str) -> Past {
    record(&json!({
        "time": 0, "metadata": {"uid": format!("{id}.outcome"), "sequence": sequence, "correlation_uid": id, "product": {"uid": "n"}},
        "dst_endpoint": {"hostname": "intake.example", "port": 443},
        "unmapped": {"transfer": {"record": "outcome", "decision": "permit", "end": end, "transfer": "t"}},
    }))
}

fn record(json: &serde_json::Value) -> Past {
    past::read(json.to_string().as_bytes()).expect("a record")
}

fn arrived(id: Option<&str>) -> Arrived {
    Arrived { record: id.map(str::to_owned), size: 3, digest: Digest([7; 32]) }
}

fn log() -> Vec<Past> {
    vec![permit(0, A), outcome(1, A, "answered"), permit(2, B), outcome(3, B, "interrupted")]
}

fn side(requests: Vec<Arrived>, may_receive: bool) -> Side {
    let destination = "intake.example:443".to_owned();
    let connections = u64::from(!requests.is_empty());
    compare(Account { name: "it", destination, may_receive, connections, bytes: 9 * connections, requests }, &log())
}

fn disagreements(requests: Vec<Arrived>, may_receive: bool) -> Vec<Disagreement> {
    side(requests, may_receive).disagreements
}

/// The numbers of the points that do not hold.
fn failing(side: Side, records: &[Past], refusals: &[Told], begun: usize) -> Vec<usize> {
    let sides = [side];
    let points = Evidence { sides: &sides, records, refusals, begun, guests: false }.points();
    points.iter().enumerate().filter(|(_, point)| !point.holds).map(|(number, _)| number).collect()
}

#[test]
fn each_point_of_the_verdict_can_fail() {
    let both = || vec![arrived(Some(A)), arrived(Some(B))];
    assert_eq!(failing(side(both(), true), &log(), &[], 2), [0; 0]);
    let more = [both(), vec![arrived(None)]].concat();
    assert_eq!(failing(side(more, true), &log(), &[], 2), [0], "one request more than the records say");
    assert_eq!(failing(side(both(), false), &log(), &[], 2), [0, 1], "reached though undeclared");
    let told = Told { reason: "expired".to_owned(), record: "0199-cccc".to_owned() };
    assert_eq!(failing(side(both(), true), &log(), &[told], 2), [2], "a refusal that is not on record");
    assert_eq!(failing(side(both(), true), &log(), &[], 3), [3], "an exchange without a decision");
    assert_eq!(failing(side(both(), true), &log()[..3], &[], 2), [4], "a decision without an outcome");
    let gap = [&log()[..3], &[outcome(4, B, "answered")]].concat();
    assert_eq!(failing(side(both(), true), &gap, &[], 2), [5], "a record is missing");
}

#[test]
fn sides_that_agree_agree() {
    assert_eq!(disagreements(vec![arrived(Some(A)), arrived(Some(B))], true), []);
    assert_eq!(disagreements(vec![arrived(Some(A))], true), [], "what was cut off may not have arrived");
}

#[test]
fn every_kind_of_disagreement_is_found() {
    let (a, b, none) = (arrived(Some(A)), arrived(Some(B)), arrived(None));
    let (record, stranger) = (A.to_owned(), "0199-cccc");
    let cases = [
        (vec![a.clone(), b.clone(), a.clone()], Disagreement::Twice { record: record.clone() }),
        (vec![a.clone(), arrived(Some(stranger))], Disagreement::NoRecord { stamped: Some(stranger.to_owned()) }),
        (vec![a.clone(), none], Disagreement::NoRecord { stamped: None }),
        (vec![b.clone()], Disagreement::NotArrived { record: record.clone() }),
        (vec![Arrived { size: 4, ..a.clone() }], Disagreement::Body { record: record.clone() }),
        (vec![Arrived { digest: Digest([8; 32]), ..a.clone() }], Disagreement::Body { record }),
    ];
    for (requests, expected) in cases {
        assert_eq!(disagreements(requests, true), [expected]);
    }
    assert_eq!(disagreements(vec![a], false), [Disagreement::Reached { connections: 1, bytes: 9 }]);
}

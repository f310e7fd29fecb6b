//! `tasrih flows` and `tasrih declare` over a day of the case.

use std::fs;
use std::path::Path;

use tasrih::flow::FlowId;
use tasrih::policy::{Decision, Reason};

use crate::ground::{a_day, decided, said, tasrih};

#[tokio::test]
async fn recurring_flows_are_listed_undeclared_first() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let folder = state.path().to_str().expect("ASCII");
    let table = said(&["flows", "--state", folder], 0);
    let lines: Vec<String> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert_eq!(lines[0], "FLOW SOURCE DESTINATION RECIPIENT EVERY JITTER COUNT BYTES FIRST LAST DECISION");
    let id = FlowId::of("cctv-uploader", "frames.elsewhere.example:443");
    let start = format!("{id} cctv-uploader frames.elsewhere.example:443 nobody declared 5 min ");
    assert!(lines[1].starts_with(&start), "{table}");
    assert!(lines[1].ends_with("% 40 0 2024-05-02 08:30 2024-05-02 11:44 denial no-declaration"), "{table}");
    assert!(lines[2].contains("recepcion.ministry-b.example:443 ministry-b 5 min"), "{table}");
    assert!(lines[2].ends_with("denial filing-not-granted"), "{table}");
    assert!(lines[3].contains("intake.ministry-a.example:443 ministry-a 5 min"), "{table}");
    assert!(lines[3].contains(" 40 8192000 ") && lines[3].ends_with("permit under cctv-to-ministry-a"), "{table}");
    assert_eq!(lines[4], "and 1 without a period; --all shows them");
}

#[tokio::test]
async fn lists_are_narrowed_and_given_as_json() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let folder = state.path().to_str().expect("ASCII");
    let undeclared = said(&["flows", "--undeclared", "--json", "--state", folder], 0);
    let flows: Vec<serde_json::Value> =
        undeclared.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(flows.len(), 2, "{undeclared}");
    assert_eq!(flows[0]["undeclared_because"], "no-declaration");
    assert_eq!((&flows[0]["recipient"], &flows[1]["recipient"]), (&serde_json::Value::Null, &"ministry-b".into()));
    let period = flows[0]["period_seconds"].as_f64().expect("a number");
    assert!((period - 300.0).abs() < 2.0, "{undeclared}");
    let all = said(&["flows", "--all", "--json", "--state", folder], 0);
    assert_eq!(all.lines().count(), 4, "{all}");
    let last = all.lines().last().expect("a line");
    assert!(last.contains("\"source\":\"10.30.0.7\"") && last.contains("\"period_seconds\":null"), "{last}");
    let late = said(&["flows", "--since", "2024-05-02T11:30:00Z", "--state", folder], 0);
    assert_eq!(late, "no flow keeps a period; 4 without one, --all shows them\n");
    let missing = tasrih(&["flows", "--state", "no/such/folder"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/folder"));
}

/// The policies of the case, with a file beside them.
fn policies_with(draft: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir("policies").expect("policies") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    fs::write(folder.path().join("90-draft.yaml"), draft).expect("written");
    folder
}

const FRAMES: &str = "https://frames.elsewhere.example/cctv/cam1";

#[tokio::test]
async fn a_draft_joins_the_register_and_permits_nothing() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let folder = state.path().to_str().expect("ASCII");
    let id = FlowId::of("cctv-uploader", "frames.elsewhere.example:443").to_string();
    let draft = said(&["declare", "--flow", &id, "--country", "FR", "--state", folder], 0);
    for line in [
        "    processing: cctv",
        "    from: [cctv-uploader]",
        "    to: frames-elsewhere-example",
        "    data_categories: [x:CCTVFrame]    # ? nothing was read: which are they?",
        "    requests: {methods: [\"POST\"], paths: [\"/cctv/*\"], content_types: [\"image/jpeg\"]}",
        "    limits: {min_interval: PT300S, max_per_day: 288}",
        "    # ? legal_basis: {ma-09-08: ma-0908:A43} FR is on the list (ma-09-08, data of 2026-11-23).",
        "      status: draft",
    ] {
        assert!(draft.lines().any(|found| found == line), "{line}\nis not in\n{draft}");
    }
    let questions = draft.lines().filter(|line| line.contains("# ?")).count();
    assert!(questions >= 8, "{questions} questions in\n{draft}");

    assert_eq!(decided(Path::new("policies"), "10.20.0.5", FRAMES), (Decision::Denial, Some(Reason::NoDeclaration)));
    let policies = policies_with(&draft);
    let refused = (Decision::Denial, Some(Reason::FilingNotGranted));
    assert_eq!(decided(policies.path(), "10.20.0.5", FRAMES), refused);
    // The near miss: what the officer adds when the authority has granted it, and nothing else, lets it leave.
    let granted = draft
        .replace("      status: draft", "      status: granted\n      ref: A-GC-9/2024\n      valid_from: 2024-03-01")
        .replace("    # ? legal_basis: {ma-09-08: ma-0908:A43} FR", "    legal_basis: {ma-09-08: ma-0908:A43} # FR");
    assert_eq!(decided(policies_with(&granted).path(), "10.20.0.5", FRAMES), (Decision::Permit, None));
}

#[tokio::test]
async fn what_nobody_declared_gets_entries_of_its_own() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let folder = state.path().to_str().expect("ASCII");
    let id = FlowId::of("10.30.0.7", "news.example:443").to_string();
    let unanswered = tasrih(&["declare", "--flow", &id, "--state", folder]);
    let hint = String::from_utf8_lossy(&unanswered.stderr).into_owned();
    assert_eq!(unanswered.status.code(), Some(0));
    assert_eq!(hint, "tasrih declare: before it loads, answer: the recipient's country (or give --country)\n");
    let out = state.path().join("draft.yaml");
    let out = out.to_str().expect("ASCII");
    said(&["declare", "--flow", &id, "--country", "GB", "--state", folder, "--out", out], 0);
    let draft = fs::read_to_string(out).expect("the draft");
    assert!(draft.contains("  - id: 10-30-0-7\n") && draft.contains("networks: [\"10.30.0.7/32\"]"), "{draft}");
    let policies = policies_with(&draft);
    let refused = (Decision::Denial, Some(Reason::FilingNotGranted));
    assert_eq!(decided(policies.path(), "10.30.0.7", "https://news.example/cctv/a"), refused);
    assert_eq!(
        tasrih(&["declare", "--flow", &id, "--state", folder, "--out", out]).status.code(),
        Some(2),
        "overwritten"
    );
}

#[tokio::test]
async fn a_record_names_its_flow() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let folder = state.path().to_str().expect("ASCII");
    let records = said(&["transfers", "--json", "--recipient", "ministry-b", "--state", folder], 0);
    let record: serde_json::Value = serde_json::from_str(records.lines().next().expect("one")).expect("an object");
    let uid = record["metadata"]["uid"].as_str().expect("an id");
    let draft = said(&["declare", "--record", uid, "--state", folder], 0);
    assert!(draft.contains("#    ministry-b: Ministry B, consular affairs, ES; declared."), "{draft}");
    assert!(draft.contains("  - id: cctv-uploader-to-ministry-b\n") && !draft.contains("recipients:"), "{draft}");
    tasrih::register::compile::compile(&tasrih::folder::read(policies_with(&draft).path()).expect("readable"))
        .unwrap_or_else(|faults| panic!("{faults}"));
    for wrong in [&["--record", "none"][..], &["--flow", "000000000000"], &["--flow", "x"], &[]] {
        assert_eq!(tasrih(&[&["declare", "--state", folder], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

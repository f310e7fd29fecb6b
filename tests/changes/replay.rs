//! A day of the case, decided again by other policy files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tasrih::policy::{Decision, Reason, Stage};
use tasrih::record::past::{self, Past};
use tasrih::record::replay::{Replay, Tally, Unknown};
use tasrih::record::{DecisionRecord, Folded, Record, RequestShown};

use crate::exchanges::{denial, permit};
use crate::ground::{a_day, morning, said, tasrih, to_nobody};

/// The policies of the case with texts replaced in one of the files.
fn policies(file: &str, edits: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir("policies").expect("policies") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let mut text = fs::read_to_string(&path).expect("text");
        let name = path.file_name().expect("a name");
        if name == file {
            for (from, to) in edits {
                assert!(text.contains(from), "{from:?} is not in {file}");
                text = text.replace(from, to);
            }
        }
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

async fn replayed(file: &str, edits: &[(&str, &str)], code: i32) -> String {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let policies = policies(file, edits);
    let [state, policies] = [state.path(), policies.path()].map(|path: &Path| path.to_str().expect("ASCII").to_owned());
    said(&["replay", "--policies", &policies, "--state", &state], code)
}

fn beginning(text: &str) -> String {
    let (before, after) = text.split_once("by register ").expect("a version");
    format!("{before}{}", &after[14..])
}

#[tokio::test]
async fn the_same_policies_decide_the_same() {
    let told = replayed("", &[], 0).await;
    assert_eq!(beginning(&told), "127 decisions made again 0 change, 127 stay\n", "{told}");
}

#[tokio::test]
async fn an_expired_filing_refuses_what_left() {
    let edits = [("valid_until: 2032-02-20", "valid_until: 2024-01-31")];
    let told = replayed("30-ministry-a.yaml", &edits, 1).await;
    assert_eq!(
        beginning(&told),
        "127 decisions made again 40 change, 87 stay\n\n\
         40 × cctv-uploader → intake.ministry-a.example:443, 2024-05-02 08:30 to 2024-05-02 11:44\n  \
         was       permit under cctv-to-ministry-a\n  would be  denial expired\n"
    );
}

#[tokio::test]
async fn a_granted_filing_reads_on_where_the_body_was_never_read() {
    let edits = [("status: filed, filed: 2023-01-27", "status: granted, ref: A-GC-2/2023, filed: 2023-01-27")];
    let told = replayed("31-ministry-b.yaml", &edits, 1).await;
    let change = "40 × cctv-uploader → recepcion.ministry-b.example:443, 2024-05-02 08:30 to 2024-05-02 11:44\n  \
                  was       denial filing-not-granted\n  would be  goes on to what was not read then\n";
    assert!(told.ends_with(change), "{told}");
}

#[tokio::test]
async fn limits_are_counted_as_they_would_have_been() {
    // Every ten minutes instead of every five: each second frame comes too soon.
    let told = replayed("30-ministry-a.yaml", &[("min_interval: PT5M", "min_interval: PT10M")], 1).await;
    let change = "20 × cctv-uploader → intake.ministry-a.example:443, 2024-05-02 08:34 to 2024-05-02 11:44\n  \
                  was       permit under cctv-to-ministry-a\n  would be  denial too-frequent\n";
    assert!(told.ends_with(change), "{told}");
    let told = replayed("30-ministry-a.yaml", &[("max_per_day: 288", "max_per_day: 30")], 1).await;
    assert!(told.contains("10 × cctv-uploader") && told.contains("would be  denial day-limit"), "{told}");
}

#[tokio::test]
async fn categories_sizes_and_sources_are_judged_from_the_record() {
    for (file, from, to, reason) in [
        (
            "30-ministry-a.yaml",
            "data_categories: [x:CCTVFrame]",
            "data_categories: [pd:Passport]",
            "category-not-declared",
        ),
        ("30-ministry-a.yaml", "max_body: 2MiB", "max_body: 100KiB", "too-large"),
        (
            "30-ministry-a.yaml",
            "content_types: [image/jpeg]",
            "content_types: [image/png]",
            "content-type-not-declared",
        ),
        ("20-source-cctv-uploader.yaml", "10.20.0.0/28", "10.99.0.0/28", "source-unknown"),
    ] {
        let told = replayed(file, &[(from, to)], 1).await;
        assert!(told.contains(&format!("would be  denial {reason}\n")), "{reason}: {told}");
    }
}

#[tokio::test]
async fn what_the_records_do_not_tell_is_said() {
    let told = replayed("30-ministry-a.yaml", &[("paths: [/cctv/**]", "paths: [/cctv/cam1]")], 0).await;
    assert!(told.ends_with("  40: the path is not shown in the record, and the new register asks for it\n"), "{told}");
}

#[tokio::test]
async fn json_and_since() {
    let state = tempfile::tempdir().expect("a folder");
    a_day(state.path()).await;
    let policies = policies("30-ministry-a.yaml", &[("min_interval: PT5M", "min_interval: PT10M")]);
    let [state, policies] = [state.path(), policies.path()].map(|path: &Path| path.to_str().expect("ASCII").to_owned());
    let since = ["replay", "--policies", &policies, "--state", &state, "--since", "2024-05-02T11:00:00Z", "--json"];
    let told: serde_json::Value = serde_json::from_str(&said(&since, 1)).expect("JSON");
    let (changed, same) = (told["changed"].as_u64().expect("a number"), told["same"].as_u64().expect("a number"));
    assert!((4..=5).contains(&changed) && same >= 20, "{told:#}");
    assert_eq!(told["changes"][0]["would_be"], "denial too-frequent");
    assert_eq!(tasrih(&["replay", "--policies", "no/such/folder", "--state", &state]).status.code(), Some(2));
    assert_eq!(tasrih(&["replay", "--policies", &policies, "--state", "no/such"]).status.code(), Some(2));
}

fn read_back(record: DecisionRecord) -> Past {
    let json = Record::Decision(Arc::new(record)).to_json(7, "tasrih/egress-1", Timestamp::UNIX_EPOCH);
    past::read(&json).expect("a record")
}

/// A replay by the policies of the case, with a tunnel to `vpn.example` and a recipient at `new.example`.
fn replay() -> Replay {
    let mut texts = tasrih::folder::read(Path::new("policies")).expect("policies");
    let common = "processing: cctv, from: [cctv-uploader, desk], regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43}, \
                  purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], filing: {authority: CNDP, ref: A-2/2023, status: granted}";
    let text = format!(
        "sources:\n  - {{id: desk, networks: [10.30.0.0/28]}}\nrecipients:\n  \
         - {{id: vpn, name: V, country: FR, destinations: [{{host: vpn.example, interception: never}}]}}\n  \
         - {{id: new, name: N, country: FR, destinations: [{{host: new.example}}]}}\ntransfers:\n  \
         - {{id: to-vpn, to: vpn, {}}}\n  - {{id: to-new, to: new, {common}}}\n",
        common.replace("cctv-uploader, ", "")
    );
    texts.push(tasrih::register::fault::Text { name: "more.yaml".to_owned(), text });
    let compiled = tasrih::register::compile::compile(&texts).unwrap_or_else(|faults| panic!("{faults}"));
    Replay::new(Arc::new(compiled.register))
}

fn compared(record: DecisionRecord) -> Result<String, Unknown> {
    let compared = replay().again(&read_back(record), None)?;
    Ok(format!("{} → {}", compared.before, compared.after))
}

fn connect(name: &str) -> DecisionRecord {
    let mut record = to_nobody(morning(), name, true);
    record.exchange.request = Some(RequestShown {
        method: "CONNECT".to_owned(),
        path: String::new(),
        path_digest: None,
        http_version: "1.1",
        content_type: None,
        length: None,
    });
    record
}

fn tunnel(decision: Decision) -> DecisionRecord {
    let mut record = to_nobody(morning(), "vpn.example", false);
    record.exchange.request = None;
    record.exchange.peer = "10.30.0.7:1".parse().expect("an address");
    (record.decision, record.stage) = (decision, Stage::Record);
    record
}

#[test]
fn connects_and_tunnels_are_decided_as_far_as_they_are_known() {
    let onward = "denial no-declaration → goes on to what was not read then";
    assert_eq!(compared(connect("new.example")).as_deref(), Ok(onward));
    assert_eq!(compared(connect("other.example")).as_deref(), Ok("denial no-declaration → denial no-declaration"));
    let refused = DecisionRecord { stage: Stage::Head, ..tunnel(Decision::Denial) };
    assert_eq!(compared(refused).as_deref(), Ok("denial source-unknown → permit under to-vpn"));
}

#[test]
fn what_no_register_decides_is_not_decided_again() {
    for reason in [Reason::Unreachable, Reason::ClientClosed, Reason::RecordUnavailable, Reason::MalformedRequest] {
        let record = DecisionRecord { reason: Some(reason), ..denial(morning()) };
        assert_eq!(compared(record), Err(Unknown::NotOfRegister), "{reason}");
    }
    // The near miss: a reason of the register.
    let record = DecisionRecord { reason: Some(Reason::NotYetValid), ..denial(morning()) };
    assert!(compared(record).is_ok());
    let nowhere = DecisionRecord { reason: Some(Reason::SourceUnknown), ..denial(morning()) };
    let mut nowhere = nowhere;
    nowhere.exchange.destination = None;
    assert_eq!(compared(nowhere), Err(Unknown::Incomplete));
}

#[test]
fn a_folded_record_counts_for_all_that_it_stands_for() {
    let mut record = to_nobody(morning(), "new.example", true);
    record.folded = Some(Folded { count: 812, since: morning(), opened_by: None });
    let past = read_back(record);
    let mut tally = Tally::default();
    let compared = replay().again(&past, None);
    tally.add(&past, compared);
    let past = read_back(permit(morning()));
    let unread = replay().again(&past, None);
    tally.add(&past, unread);
    assert_eq!((tally.changed(), tally.groups()[0].count), (812 + u64::from(tally.same == 0), 812));
}

//! A day of the case, decided again by other policy files.

use std::fs;
use std::path::Path;

use crate::ground::{a_day, said, tasrih};

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

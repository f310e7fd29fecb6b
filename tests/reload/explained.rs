//! `tasrih explain --record`: decisions of the past, made anew from the register of then.

use std::path::Path;
use std::process::{Command, Output};

use super::*;

fn explain(house: &House, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.args(["explain", "--state"]).arg(house.folder.path().join("state")).args(arguments);
    command.output().expect("it runs")
}

fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn last_id(house: &House) -> String {
    let last = house.decisions().pop().expect("a decision");
    last["metadata"]["uid"].as_str().expect("an id").to_owned()
}

/// Asserts that the last decision is explained as it was decided.
fn explained(house: &House, decided: &str) -> String {
    let told = said(&explain(house, &["--record", &last_id(house)]), 0);
    let again = format!("  decided   {decided}\n  again     the same\n");
    assert!(told.contains(&again), "{decided}: {told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_denials_a_would_deny_and_a_tunnel_are_explained_as_they_were_decided() {
    let limited = transfer('a', "A-GC-1/2023").replace(
        "    filing:",
        "    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}\n    limits: {min_interval: PT5M, max_body: 2MiB}\n    filing:",
    );
    let policy = register(&[limited, transfer('b', "A-GC-2/2023")]);
    let house = Plan::new(&policy).site("a.example", Site::Tls).site("b.example", Site::Tls).build().await;
    let target = |path: &str| house.base("https", "a.example") + path;

    house.send(UPLOADER, frame(target("/cctv/cam1"))).await;
    let id = last_id(&house);
    house.outcome(&id).await;
    let told = explained(&house, "permit under cctv-to-ministry-a");
    for line in [
        "that of then",
        "not told  the body: it is taken for what was seen of it then",
        "head        source",
        "categories    passes",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let outcome = said(&explain(&house, &["--record", &format!("{id}.outcome")]), 0);
    assert_eq!(outcome, told, "an outcome leads to its decision");

    // Too soon: known only from the records before it.
    house.send(UPLOADER, frame(target("/cctv/cam1"))).await;
    explained(&house, "denial too-frequent");
    house.send(UPLOADER, http::Request::put(target("/cctv/cam1")).body(Bytes::from_static(FRAME)).expect("one")).await;
    explained(&house, "denial method-not-declared");
    house.send(UPLOADER, frame(target("/elsewhere"))).await;
    explained(&house, "denial path-not-declared");
    house.send(support::STRANGER, frame(target("/cctv/cam1"))).await;
    explained(&house, "denial source-unknown");
    house.send(UPLOADER, frame("https://nobody.example/".to_owned())).await;
    explained(&house, "denial no-declaration");

    let tunnel = format!("b.example:{}", house.recipient("b.example").address.port());
    let opened = house.client(UPLOADER).open(&tunnel).await.expect("an answer").expect("let in");
    let inside = support::wire::tls_as(TokioIo::new(opened), "b.example").await.expect("a handshake");
    house.until_decisions(7).await;
    let told = explained(&house, "permit under cctv-to-ministry-b");
    assert!(told.contains("not told  what the tunnel carried: it is relayed unread"), "{told}");
    drop(inside);

    put(&house, &(policy.clone() + "mode: observe\n").replace("granted", "suspended")).await.expect("no fault");
    house.send(UPLOADER, frame(target("/cctv/cam2"))).await;
    explained(&house, "would-deny filing-suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_register_of_then_explains_and_another_one_may_be_asked() {
    let house = house().await;
    house.send(UPLOADER, frame_to(&house, "a.example")).await;
    let id = last_id(&house);
    house.outcome(&id).await;
    let suspended = register(&[transfer('a', "A-GC-1/2023")]).replace("granted", "suspended");
    put(&house, &suspended).await.expect("no fault");
    let told = said(&explain(&house, &["--record", &id]), 0);
    assert!(
        told.contains("again     the same\n") && told.contains("filing        passes  A-GC-1/2023, CNDP"),
        "{told}"
    );

    let now = house.folder.path().join("policies");
    let now = now.to_str().expect("text");
    let told = said(&explain(&house, &["--record", &id, "--policies", now]), 0);
    assert!(told.contains("not that of then") && told.contains("again     denial filing-suspended\n"), "{told}");
    let json: Value = serde_json::from_str(&said(&explain(&house, &["--record", &id, "--policies", now, "--json"]), 0))
        .expect("JSON");
    assert_eq!((&json["record"]["same"], &json["reason"]), (&false.into(), &"filing-suspended".into()), "{json:#}");
    assert_eq!(json["record"]["register_is_of_then"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_held_against_its_digest() {
    let house = house().await;
    house.send(UPLOADER, frame_to(&house, "a.example")).await;
    let id = last_id(&house);
    let (same, other) = ("policies/cases/frame.jpg", "Cargo.toml");
    let told = said(&explain(&house, &["--record", &id, "--body", same]), 0);
    assert!(told.contains("again     the same\n") && !told.contains("the body: it is taken"), "{told}");
    let told = said(&explain(&house, &["--record", &id, "--body", other]), 2);
    assert!(told.contains("Cargo.toml is not the body that was sent: its digest is another one"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_says_why_and_what_helps() {
    let house = house().await;
    house.send(UPLOADER, frame_to(&house, "a.example")).await;
    let id = last_id(&house);
    let unknown = said(&explain(&house, &["--record", "0190-nothing"]), 2);
    assert!(
        unknown.contains("there is no record \"0190-nothing\" in") && unknown.contains("tasrih transfers"),
        "{unknown}"
    );
    let start = lifecycle(&house, "register-loaded").remove(0);
    let start = start["metadata"]["uid"].as_str().expect("an id").to_owned();
    let lifecycle = said(&explain(&house, &["--record", &start]), 2);
    assert!(lifecycle.contains("is `register-loaded`, by which nothing was decided"), "{lifecycle}");

    let texts = house.folder.path().join("state/registers/texts");
    let text = std::fs::read_dir(&texts).expect("a folder").next().expect("one").expect("one").path();
    std::fs::write(&text, "spoiled").expect("written");
    let damaged = said(&explain(&house, &["--record", &id]), 2);
    assert!(damaged.contains("is damaged: its SHA-256 is not its name; restore it from a copy"), "{damaged}");
    std::fs::remove_dir_all(house.folder.path().join("state/registers")).expect("removed");
    let missing = said(&explain(&house, &["--record", &id]), 2);
    assert!(missing.contains("keeps no register") && missing.contains("with --policies"), "{missing}");
    let nowhere =
        Command::new(env!("CARGO_BIN_EXE_tasrih")).args(["explain", "--record", &id, "--state", "no/such"]).output();
    let nowhere = said(&nowhere.expect("it runs"), 2);
    assert!(nowhere.contains("there is no log in no/such"), "{nowhere}");
}

#[test]
fn a_state_folder_of_an_earlier_release_says_that_it_keeps_no_registers() {
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state/v2");
    let records = tasrih::audit::read(&state).expect("a log");
    let records = records.map(|json| serde_json::from_slice::<Value>(&json.expect("a record")).expect("JSON"));
    let decision = records.into_iter().find(support::is_decision).expect("a decision");
    let id = decision["metadata"]["uid"].as_str().expect("an id");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.args(["explain", "--record", id, "--state"]).arg(&state);
    let told = said(&command.output().expect("it runs"), 2);
    assert!(told.contains("it was in force before this release kept them"), "{told}");
}

//! `tasrih doctor` on a live installation, and on the same one with one thing broken at a time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tasrih::tls::{Root, Trust};

use super::ground::{Ground, INTAKE, Listening, Process, output};

/// What the doctor says: the exit code and its lines.
async fn doctor(ground: &Ground, at: Listening) -> (Option<i32>, Vec<Value>) {
    let mut command = ground.command(&["doctor", "--json"]);
    command.args(["--proxy", &at.proxy.to_string(), "--admin", &at.admin.to_string()]);
    let output = output(command).await;
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json["lines"].as_array().expect("lines").clone())
}

fn line<'a>(lines: &'a [Value], check: &str) -> &'a Value {
    lines.iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("no line on {check}: {lines:#?}"))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_installation_is_well_and_each_broken_part_is_named() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    let (code, lines) = doctor(&ground, at).await;
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(lines.iter().all(|line| line["level"] == "ok"), "{lines:#?}");

    // The probe was refused, and its record is in the log.
    let refusal = line(&lines, "refusal")["found"].as_str().expect("text").to_owned();
    let record = refusal.rsplit(' ').next().expect("an id");
    let records = ground.records();
    let found = records.iter().find(|found| found["metadata"]["uid"] == record).expect("on record");
    assert_eq!(found["metadata"]["event_code"], "source-unknown");

    for (check, path, open, closed) in [
        ("CA key", ground.path("ca.key"), 0o644, 0o600),
        ("digest key", ground.path("state/body-digest.key"), 0o640, 0o600),
        ("state", ground.path("state"), 0o755, 0o700),
        ("policies", ground.path("policies"), 0o777, 0o755),
    ] {
        set_mode(&path, open);
        let (code, lines) = doctor(&ground, at).await;
        assert_eq!((code, &line(&lines, check)["level"]), (Some(1), &Value::from("fault")), "{check}: {lines:#?}");
        let remedy = line(&lines, check)["do"].as_str().expect("a remedy");
        assert!(remedy.starts_with("chmod ") && remedy.contains(&path.display().to_string()), "{remedy}");
        set_mode(&path, closed);
    }
    assert_eq!(doctor(&ground, at).await.0, Some(0), "all is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_runs_from_what_is_written() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;

    // A client that does not trust the authority.
    let stranger = tasrih::demo::uploader::Uploader {
        trust: Trust::new(&[Root::File(ground.path("roots.pem"))]).expect("trust"),
        ..ground.client(at.proxy)
    };
    let target = format!("https://{INTAKE}:{}/", ground.intake.address.port()).parse().expect("a target");
    assert!(stranger.tunnel(&target).await.is_err(), "it refuses the certificate");
    // Policies that were changed and not loaded.
    let policy = fs::read_to_string(ground.path("policies/cctv.yaml")).expect("a policy");
    fs::write(ground.path("policies/cctv.yaml"), policy.replace("name: Ministry T", "name: Ministry of T"))
        .expect("written");

    let (code, lines) = doctor(&ground, at).await;
    assert_eq!(code, Some(0), "warnings are no faults: {lines:#?}");
    for check in ["distrust", "running"] {
        assert_eq!(line(&lines, check)["level"], "warning", "{check}: {lines:#?}");
    }
    let found = line(&lines, "distrust")["found"].as_str().expect("text");
    assert!(found.starts_with("1 ") && found.contains("(cameras 1)"), "counted by source: {found}");
    assert!(found.contains("cameras at 127.0.0.5, unknown_ca ×1, last 20"), "and listed: {found}");

    // Policies that do not compile.
    fs::write(ground.path("policies/more.yaml"), "transfer: []\n").expect("written");
    let (code, lines) = doctor(&ground, at).await;
    assert_eq!((code, &line(&lines, "register")["level"]), (Some(1), &Value::from("fault")));

    // A proxy that does not run.
    process.signal(Signal::TERM);
    process.ended().await;
    let (code, lines) = doctor(&ground, at).await;
    assert_eq!(code, Some(1));
    for check in ["running", "metrics", "refusal", "served"] {
        assert_eq!(line(&lines, check)["level"], "fault", "{check}: {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_state_folder_is_noticed() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    let other = Ground::lay("PT5S").await;
    Process::spawn(other.run(), other.folder.path()).ready().await;
    // The files of one installation, and the process of another: its record is not in this log.
    let (code, lines) = doctor(&other, at).await;
    assert_eq!((code, &line(&lines, "refusal")["level"]), (Some(1), &Value::from("fault")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_pass_is_told_without_a_byte_or_a_record() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    let before = ground.records().len();
    let (_, lines) = doctor(&ground, at).await;
    let found = line(&lines, "passing")["found"].as_str().expect("text");
    assert!(found.starts_with("cctv-to-a from cameras would pass"), "{found}");
    assert_eq!(line(&lines, "served")["level"], "ok", "{lines:#?}");
    assert_eq!(ground.records().len(), before + 1, "the CONNECT that must be refused, and nothing else");
    for recipient in [&ground.plain, &ground.intake, &ground.tunnel] {
        assert!(recipient.requests().is_empty(), "nothing was sent");
    }

    // With the first recipient gone another transfer stands for all: the pinned one, over TLS.
    let policy = fs::read_to_string(ground.path("policies/cctv.yaml")).expect("a policy");
    let without_a = policy.replace("ref: A-GC-1/2023, status: granted", "ref: A-GC-1/2023, status: filed");
    fs::write(ground.path("policies/cctv.yaml"), &without_a).expect("written");
    let (_, lines) = doctor(&ground, at).await;
    let found = line(&lines, "passing")["found"].as_str().expect("text");
    assert!(found.starts_with("cctv-to-b from cameras would pass") && found.contains("TLS 1.3"), "{found}");

    // No filing is granted: each transfer is named with its reason.
    fs::write(ground.path("policies/cctv.yaml"), policy.replace("status: granted", "status: filed")).expect("written");
    let (code, lines) = doctor(&ground, at).await;
    let passing = line(&lines, "passing");
    assert_eq!((code, &passing["level"]), (Some(1), &Value::from("fault")), "{lines:#?}");
    let found = passing["found"].as_str().expect("text");
    for wanted in ["cctv-to-a: filing-not-granted", "cctv-to-b: filing-not-granted", "cctv-to-t: filing-not-granted"] {
        assert!(found.contains(wanted), "{found}");
    }

    // The next authority is made and the proxy does not know it yet.
    fs::write(ground.path("policies/cctv.yaml"), policy).expect("written");
    let mut rotate = std::process::Command::new(env!("CARGO_BIN_EXE_tasrih"));
    rotate.args(["ca", "rotate", "--certs"]).arg(ground.folder.path());
    assert!(output(rotate).await.status.success());
    let (code, lines) = doctor(&ground, at).await;
    assert_eq!((code, &line(&lines, "served")["level"]), (Some(0), &Value::from("warning")), "{lines:#?}");
    assert!(line(&lines, "CA")["found"].as_str().is_some_and(|found| found.contains("is to follow it")), "{lines:#?}");
}

//! What a restart keeps: limits, the lock, the refusal to start on damaged evidence or a faulty register.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{Plan, Site, UPLOADER, frame, reason_of};
use tasrih::audit::OpenFault;

const REGISTER: &str = "
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - id: cctv
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}
sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations: [{host: intake.ministry-a.example, port: {port:intake.ministry-a.example}}]
transfers:
  - id: cctv-to-ministry-a
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    limits: {max_per_day: 2}
";

fn plan() -> Plan {
    Plan::new(REGISTER).site("intake.ministry-a.example", Site::Tls)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_rebuilt_from_the_log() {
    let house = plan().build().await;
    let target = |house: &support::House| house.base("https", "intake.ministry-a.example") + "/cctv/cam1";
    let first = house.send(UPLOADER, frame(target(&house))).await;
    assert_eq!(first.status, 200, "{first:?}");
    let folder = house.stop().await;

    let house = plan().on(folder).build().await;
    let second = house.send(UPLOADER, frame(target(&house))).await;
    assert_eq!(second.status, 200, "one more is within the day's number: {second:?}");
    let third = house.send(UPLOADER, frame(target(&house))).await;
    assert_eq!((third.status, third.proxy_status("reason").as_deref()), (429, Some("day-limit")), "{third:?}");
    assert!(third.headers.contains_key("retry-after"));
    assert_eq!(house.recipient("intake.ministry-a.example").requests().len(), 1, "this house's recipient is new");
    assert_eq!(reason_of(house.decisions().last().expect("a decision")), "day-limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_state_folder_refuses() {
    let house = plan().build().await;
    let state = house.folder.path().join("state");
    let fault = tasrih::audit::Audit::open(&state, tasrih::audit::Options::default()).err().expect("locked");
    assert!(matches!(fault, OpenFault::Locked { .. }), "{fault}");
    let folder = house.stop().await;
    // The near miss: once the first has stopped, the folder is free.
    let house = plan().on(folder).build().await;
    assert_eq!(house.running.recovery.interrupted, 0);
}

fn run(folder: &Path, policies: &str) -> Output {
    std::fs::create_dir_all(folder.join("policies")).expect("a folder");
    std::fs::write(folder.join("policies/register.yaml"), policies).expect("written");
    std::fs::write(
        folder.join("tasrih.yaml"),
        "listeners: [{bind: \"127.0.0.1:0\", entry: forward}]\nadmin: {bind: \"127.0.0.1:0\"}\n",
    )
    .expect("written");
    let mut command = Command::new("timeout");
    command.args(["--signal=TERM", "3", env!("CARGO_BIN_EXE_tasrih"), "run", "--config", "tasrih.yaml"]);
    command.current_dir(folder).output().expect("the proxy runs")
}

#[test]
fn a_faulty_register_does_not_start_and_tells_every_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), "schema: tasrih/1\nsource: []\ntransfer: []\n");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("register.yaml:2:1") && told.contains("did you mean `sources`"), "{told}");
    assert!(told.contains("register.yaml:3:1") && told.contains("did you mean `transfers`"), "{told}");
    assert!(!folder.path().join("var").exists(), "nothing is opened before the register is read");

    // The near miss: an empty register starts, and says that it refuses everything. `timeout` ends it with SIGTERM.
    let output = run(folder.path(), "schema: tasrih/1\n");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("nothing is declared: everything is refused"), "{said}");
}

#[test]
fn damaged_evidence_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), "schema: tasrih/1\n");
    run(folder.path(), "schema: tasrih/1\n");
    let log = folder.path().join("var/log");
    let segment = std::fs::read_dir(&log).expect("a log").next().expect("a segment").expect("an entry").path();
    let mut bytes = std::fs::read(&segment).expect("read");
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let output = run(folder.path(), "schema: tasrih/1\n");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&segment.file_name().expect("a name").to_string_lossy().into_owned()), "{told}");
}

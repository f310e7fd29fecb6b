//! SIGHUP: the policy files are put in force as they are; faulty ones change nothing, and the log says what and where.

use std::fs;

use rustix::process::Signal;

use super::ground::{Ground, Process, until};

#[tokio::test(flavor = "multi_thread")]
async fn sighup_puts_the_policy_files_in_force_and_a_faulty_one_changes_nothing() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let client = ground.client(process.ready().await.proxy);
    assert_eq!(client.send(ground.frame()).await.expect("a reply").status, 200);

    let file = ground.path("policies/cctv.yaml");
    let good = fs::read_to_string(&file).expect("the policy");
    fs::write(&file, good.replace("ref: A-GC-1/2023, status: granted", "ref: A-GC-1/2023, status: grnated"))
        .expect("written");
    process.signal(Signal::HUP);
    until("the fault is logged", || process.log().contains("the register was refused")).await;
    assert!(process.log().contains("grnated"), "{}", process.log());
    assert_eq!(client.send(ground.frame()).await.expect("a reply").status, 200, "the one before is in force");

    assert!(!process.log().contains("load with warnings"), "{}", process.log());
    let suspended = good.replace("ref: A-GC-1/2023, status: granted", "ref: A-GC-1/2023, status: suspended");
    fs::write(&file, suspended.replace("    receipt:", "    retention: P1Y\n    receipt:")).expect("written");
    process.signal(Signal::HUP);
    until("it is in force", || process.log().contains("a new register is in force")).await;
    until("the warning is counted", || process.log().contains("the policy files load with warnings")).await;
    assert!(process.log().contains("warnings=1"), "{}", process.log());
    let refused = client.send(ground.frame()).await.expect("a reply");
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("filing-suspended")));

    assert!(!process.log().contains("protects less"), "a suspension weakens nothing: {}", process.log());

    let (before, pins) = good.split_once(", tls_spki_sha256:").expect("pins");
    fs::write(&file, before.to_owned() + pins.split_once(']').expect("a list").1).expect("written");
    process.signal(Signal::HUP);
    until("the weakening is logged", || process.log().contains("the register protects less than the one before")).await;
    assert!(process.log().contains("recipient ministry-b: pinned keys"), "{}", process.log());

    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    let codes: Vec<_> = ground.records().iter().map(|record| record["metadata"]["event_code"].to_string()).collect();
    assert_eq!(codes.iter().filter(|code| code.contains("register-")).count(), 4, "{codes:?}");
}

//! Flows while the proxy runs: an undeclared one that recurs is on record once, and counted.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tasrih::app::flows::look;
use tasrih::clock::ManualClock;
use tasrih::demo::uploader::Reply;
use tasrih::flow::FlowId;
use tasrih::reload::reload;

use crate::ground::said;
use crate::support::{House, OFFICE, Plan, Site, UPLOADER, frame, series};

const REGISTER: &str = "
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - {id: cctv, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], receipt: {kind: declaration, authority: CNDP, ref: D-1/2022, date: 2022-05-10}}
sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32, 127.0.0.6/32], carries: [x:CCTVFrame]}
recipients:
  - {id: ministry-a, name: Ministry A, country: FR, destinations: [{host: a.example, port: {port:a.example}, scheme: http}]}
transfers:
  - {id: to-a, processing: cctv, from: [cctv-uploader], to: ministry-a, regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43}, purposes: [dpv:EnforceSecurity],
     data_categories: [x:CCTVFrame], filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}}
";

fn plan(clock: &Arc<ManualClock>) -> Plan {
    Plan::new(REGISTER).site("a.example", Site::Plain).clock(clock.clone())
}

/// Frames to the ministry and to a host that nobody declared, every five minutes, from two addresses of one source in
/// turn.
async fn frames(house: &House, clock: &ManualClock, count: usize) {
    for number in 0..count {
        let from = if number % 2 == 0 { UPLOADER } else { OFFICE };
        assert_eq!(house.send(from, frame(house.base("http", "a.example") + "/cctv/cam1")).await.status, 200);
        assert_eq!(house.send(from, frame("http://nobody.example/cctv/cam1")).await.status, 403);
        clock.advance(Duration::from_secs(300));
    }
}

fn recognised(house: &House) -> Vec<Value> {
    house.records().into_iter().filter(|record| record["metadata"]["event_code"] == "flow-recognised").collect()
}

#[tokio::test]
async fn an_undeclared_flow_that_recurs_is_recorded_once_and_counted() {
    let clock = Arc::new(ManualClock::at("2024-05-02T08:30:00Z".parse().expect("a time")));
    let house = plan(&clock).build().await;
    frames(&house, &clock, 5).await;
    look(house.running.corridor()).await;
    assert!(recognised(&house).is_empty(), "five are no period");
    frames(&house, &clock, 9).await;
    look(house.running.corridor()).await;
    frames(&house, &clock, 9).await;
    look(house.running.corridor()).await;
    let told = recognised(&house);
    assert_eq!(told.len(), 1, "{told:?}");
    let ours = &told[0]["unmapped"]["transfer"];
    assert_eq!(ours["flow"], FlowId::of("cctv-uploader", "nobody.example:80").to_string());
    assert_eq!((&ours["period_ms"], &ours["reason"]), (&300_000.into(), &"no-declaration".into()));
    assert_eq!(told[0]["severity"], "High");
    let metrics = house.metrics().await;
    for standing in ["declared", "undeclared"] {
        let label = format!("standing=\"{standing}\"");
        assert_eq!(series(&metrics, "tasrih_flows", &[&label]), 1, "{standing}");
    }

    // What fell silent is not counted, and a restart neither forgets nor tells it again.
    let folder = house.stop().await;
    let house = plan(&clock).on(folder).build().await;
    let label = ["standing=\"undeclared\""];
    for _ in 0..200 {
        look(house.running.corridor()).await;
        if series(&house.metrics().await, "tasrih_flows", &label) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(series(&house.metrics().await, "tasrih_flows", &label), 1, "the last day was read again");
    assert_eq!(recognised(&house).len(), 1);
    clock.advance(Duration::from_secs(7_200));
    look(house.running.corridor()).await;
    assert_eq!(series(&house.metrics().await, "tasrih_flows", &label), 0);
    house.stop().await;
}

/// From `tasrih flows` to a draft, to a granted transfer in force, without a restart.
#[tokio::test]
async fn a_flow_becomes_a_transfer_in_force_while_the_proxy_runs() {
    let clock = Arc::new(ManualClock::at("2024-05-02T08:30:00Z".parse().expect("a time")));
    let house = plan(&clock).site("b.example", Site::Plain).build().await;
    let port = |host: &str| house.recipient(host).address.port().to_string();
    let policies = house.folder.path().join("policies");
    fs::create_dir(&policies).expect("a folder");
    fs::write(policies.join("register.yaml"), REGISTER.replace("{port:a.example}", &port("a.example")))
        .expect("written");
    let target = house.base("http", "b.example") + "/cctv/cam1";
    for _ in 0..8 {
        assert_eq!(house.send(UPLOADER, frame(&*target)).await.status, 403);
        clock.advance(Duration::from_secs(300));
    }
    let state = house.folder.path().join("state");
    let [state, folder] = [&state, &policies].map(|path| path.to_str().expect("ASCII"));
    let listed = said(&["flows", "--undeclared", "--state", state], 0);
    let line = listed.lines().nth(1).expect("a flow");
    assert!(line.contains("cctv-uploader") && line.contains("b.example:") && line.contains(" 5 min "), "{listed}");
    let flow = line.split_whitespace().next().expect("an id");
    let draft = policies.join("b.yaml");
    let out = draft.to_str().expect("ASCII");
    said(&["declare", "--flow", flow, "--state", state, "--policies", folder, "--country", "FR", "--out", out], 0);

    let reason = |reply: Reply| reply.proxy_status("reason").unwrap_or_default();
    reload(house.running.corridor(), policies.clone()).await.expect("the draft loads");
    assert_eq!(reason(house.send(UPLOADER, frame(&*target)).await), "filing-not-granted");
    assert!(house.recipient("b.example").requests().is_empty(), "a draft permits nothing");

    let text = fs::read_to_string(&draft).expect("the draft");
    let granted = text
        .replace("      status: draft", "      status: granted\n      ref: A-GC-9/2024\n      valid_from: 2024-03-01")
        .replace("    # ? legal_basis: {ma-09-08: ma-0908:A43} FR", "    legal_basis: {ma-09-08: ma-0908:A43} # FR");
    fs::write(&draft, granted).expect("written");
    reload(house.running.corridor(), policies).await.expect("it loads");
    clock.advance(Duration::from_secs(300));
    assert_eq!(house.send(UPLOADER, frame(&*target)).await.status, 200);
    assert_eq!(house.recipient("b.example").requests().len(), 1);
    assert_eq!(reason(house.send(UPLOADER, frame(&*target)).await), "too-frequent", "the interval is as it was seen");
    look(house.running.corridor()).await;
    house.stop().await;
}

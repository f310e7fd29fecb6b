//! Flows while the proxy runs: an undeclared one that recurs is on record once, and counted.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tasrih::app::flows::look;
use tasrih::clock::ManualClock;
use tasrih::flow::FlowId;

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

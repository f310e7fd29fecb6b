//! The house of these tests: a clock that they move, one source, and recipients with what they need.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tasrih::clock::ManualClock;

use crate::support::{House, Plan, Site, UPLOADER, frame};

const REGISTER: &str = r#"
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: ZONE, dpo: dpo@visa-centre.example}
processing:
  - id: cctv
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}
sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
recipients:
RECIPIENTS
transfers:
"#;

/// A transfer: its recipient's destination without host and port, and what else stands in it.
pub struct Declared {
    pub host: &'static str,
    pub destination: &'static str,
    pub filing: &'static str,
    pub rest: &'static str,
}

/// A register with these transfers.
pub fn register(zone: &str, declared: &[Declared]) -> String {
    let (mut recipients, mut transfers) = (String::new(), String::new());
    for (place, Declared { host, destination, filing, rest }) in declared.iter().enumerate() {
        recipients += &format!(
            "  - {{id: r{place}, name: R{place}, country: FR, destinations: [{{host: {host}, port: {{port:{host}}}, {destination}}}]}}\n"
        );
        transfers += &format!(
            "  - id: t{place}\n    processing: cctv\n    from: [uploader]\n    to: r{place}\n    regimes: [ma-09-08]\n    \
             legal_basis: {{ma-09-08: ma-0908:A43}}\n    purposes: [dpv:EnforceSecurity]\n    data_categories: [x:CCTVFrame]\n    \
             filing: {{authority: CNDP, ref: A-GC-{place}/2023, status: granted{filing}}}\n    {rest}\n"
        );
    }
    REGISTER.replace("ZONE", zone).replace("RECIPIENTS\n", &recipients) + &transfers
}

/// A moment by the clocks on the wall of a zone.
pub fn local(zone: &str, time: &str) -> Timestamp {
    let zone = TimeZone::get(zone).expect("the zones are bundled");
    zone.to_timestamp(time.parse::<DateTime>().expect("a time")).expect("a moment")
}

/// A proxy with one plain recipient under these limits, at this time.
pub async fn limited(zone: &'static str, limits: &'static str, at: Timestamp) -> (House, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(at));
    let declared = [Declared { host: "plain.example", destination: "scheme: http", filing: "", rest: limits }];
    let plan = Plan::new(&register(zone, &declared)).site("plain.example", Site::Plain);
    (plan.clock(clock.clone()).build().await, clock)
}

/// Sends a frame; gives `permit`, or the reason word of the refusal.
pub async fn send(house: &House) -> String {
    let reply = house.send(UPLOADER, frame(house.base("http", "plain.example") + "/")).await;
    match reply.status {
        200 => "permit".to_owned(),
        _ => reply.proxy_status("reason").expect("a reason"),
    }
}

/// The time that a record gives as its own.
pub fn time_of(record: &Value) -> Timestamp {
    record["time_dt"].as_str().and_then(|time| time.parse().ok()).expect("a time")
}

/// Waits until a step of the clock is on record, and gives its seconds.
pub async fn until_step(house: &House) -> i64 {
    for _ in 0..500 {
        let mut steps = house.records().into_iter().filter(|record| record["metadata"]["event_code"] == "clock-step");
        if let Some(step) = steps.next_back() {
            let milliseconds = step["unmapped"]["transfer"]["step_ms"].as_i64().expect("a number");
            return SignedDuration::from_millis(milliseconds).as_secs();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no step is on record");
}

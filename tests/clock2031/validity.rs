//! Validity begins and ends with the day in the controller's time zone, also for what is under way: it is judged again
//! within a second or so.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use tasrih::clock::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::house::{Declared, local, register};
use crate::support::stand::Stand;
use crate::support::wire::client_hello;
use crate::support::{FRAME, House, Plan, Site, UPLOADER, frame, post};

const ZONE: &str = "Africa/Casablanca";

/// Takes what comes as soon as it may, and then answers.
async fn waits(go_on: watch::Receiver<bool>) -> Stand {
    Stand::start(move |mut stream, _| {
        let mut go_on = go_on.clone();
        async move {
            let _ = go_on.wait_for(|it| *it).await;
            let mut buffer = vec![0; 1 << 20];
            // Until the sender pauses: then the whole request is here.
            while let Ok(Ok(1..)) = timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {}
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.read(&mut buffer).await;
        }
    })
    .await
}

fn end_of(outcome: &Value) -> &str {
    outcome["unmapped"]["transfer"]["end"].as_str().expect("an end")
}

fn ends(house: &House) -> usize {
    house.records().iter().filter(|record| record["unmapped"]["transfer"]["end"].is_string()).count()
}

/// The id of the decision about this host.
async fn decided(house: &House, host: &str, count: usize) -> String {
    let decisions = house.until_decisions(count).await;
    let about = |record: &&Value| record["dst_endpoint"]["hostname"] == host;
    decisions.iter().find(about).and_then(|record| record["metadata"]["uid"].as_str()).expect("a decision").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_cut_when_its_filing_ends_at_midnight_and_one_that_stays_valid_is_not() {
    let (go_on, may) = watch::channel(false);
    let (ending, staying, tunnel) = (waits(may.clone()).await, waits(may.clone()).await, waits(may).await);
    let last_day = ", valid_until: 2025-03-15";
    let declared = [
        Declared { host: "ending.example", destination: "scheme: http", filing: last_day, rest: "" },
        Declared { host: "staying.example", destination: "scheme: http", filing: "", rest: "" },
        Declared { host: "tunnel.example", destination: "interception: never", filing: last_day, rest: "" },
    ];
    // Within Ramadan, when Morocco keeps UTC: an hour later by summer's clocks the day would be over already.
    let midnight = local(ZONE, "2025-03-16T00:00:00");
    assert_eq!(midnight.to_string(), "2025-03-16T00:00:00Z");
    let clock = Arc::new(ManualClock::at(midnight - SignedDuration::from_secs(30)));
    let plan = Plan::new(&register(ZONE, &declared)).clock(clock.clone());
    let plan = plan.place("ending.example", ending.address).place("staying.example", staying.address);
    let house = Arc::new(plan.place("tunnel.example", tunnel.address).build().await);

    // Larger than what the sockets on the way hold, so that both are in the middle of it.
    let upload = |host: &str, port: u16| {
        let request = post(format!("http://{host}:{port}/"), "image/jpeg", [FRAME, &[0; 24 << 20]].concat());
        let house = house.clone();
        tokio::spawn(async move { house.client(UPLOADER).send(request).await })
    };
    let cut = upload("ending.example", ending.address.port());
    let kept = upload("staying.example", staying.address.port());
    let opened = house.client(UPLOADER).open(&format!("tunnel.example:{}", tunnel.address.port())).await;
    let mut inside = hyper_util::rt::TokioIo::new(opened.expect("an answer").expect("let in"));
    inside.write_all(&client_hello(Some("tunnel.example"), 0x0303)).await.expect("sent");
    let record = decided(&house, "ending.example", 3).await;
    let relayed = decided(&house, "tunnel.example", 3).await;
    let other = decided(&house, "staying.example", 3).await;

    // A second before the end they are judged and stay.
    clock.set_wall(midnight - SignedDuration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(ends(&house), 0);
    clock.set_wall(midnight);
    for id in [&record, &relayed] {
        assert_eq!(end_of(&house.outcome(id).await), "cut-expiry");
    }
    let refused = cut.await.expect("no panic");
    assert!(refused.as_ref().map_or(true, |reply| reply.status == 403), "{refused:?}");
    let mut rest = Vec::new();
    assert!(timeout(Duration::from_secs(5), inside.read_to_end(&mut rest)).await.is_ok(), "the tunnel is closed");
    assert_eq!(ends(&house), 2, "what is still valid goes on");
    go_on.send(true).expect("recipients wait");
    assert_eq!(kept.await.expect("no panic").expect("a reply").status, 200);
    assert_eq!(end_of(&house.outcome(&other).await), "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filing_begins_with_its_first_day() {
    let first = local("Europe/Paris", "2025-03-30T00:00:00");
    let clock = Arc::new(ManualClock::at(first - SignedDuration::from_secs(1)));
    let filing = ", valid_from: 2025-03-30, valid_until: 2025-03-30";
    let declared = [Declared { host: "plain.example", destination: "scheme: http", filing, rest: "" }];
    let plan = Plan::new(&register("Europe/Paris", &declared)).site("plain.example", Site::Plain);
    let house = plan.clock(clock.clone()).build().await;
    let send = || async {
        let reply = house.send(UPLOADER, frame(house.base("http", "plain.example") + "/")).await;
        (reply.status, reply.proxy_status("reason").unwrap_or_default())
    };
    assert_eq!(send().await, (403, "not-yet-valid".into()));
    clock.set_wall(first);
    assert_eq!(send().await, (200, String::new()));
    // Its only day has 23 hours.
    clock.set_wall(first + SignedDuration::from_hours(23) - SignedDuration::from_secs(1));
    assert_eq!(send().await, (200, String::new()));
    clock.set_wall(first + SignedDuration::from_hours(23));
    assert_eq!(send().await, (403, "expired".into()));
}

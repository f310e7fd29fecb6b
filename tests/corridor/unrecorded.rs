//! Exchanges that meet a writer which is full, or whose log is latched: what is recorded, answered and counted then.

use std::sync::Arc;
use std::time::Duration;

use tasrih::record::Lifecycle;

use crate::support::flaky::Flaky;
use crate::support::{FRAME, House, Plan, STRANGER, Site, UPLOADER, frame, reason_of, series};

/// A house whose log lies on a storage that does as it is told.
async fn house_on(flaky: &Arc<Flaky>) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    flaky.lie_in(&folder.path().join("state"));
    let plan = Plan::new(&super::register()).on(folder).storage(flaky.clone());
    let plan = plan.site("intake.ministry-a.example", Site::Tls).site("plain.ministry-a.example", Site::Plain);
    plan.site("intake.ministry-b.example", Site::Tls).site("undeclared.example", Site::Plain).build().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_the_writers_queue_is_full_leaves_one_record() {
    let flaky = Arc::new(Flaky::default());
    let house = house_on(&flaky).await;
    flaky.hold(true);
    let audit = house.running.corridor().audit.clone();
    for _ in 0..audit.queue_limit() {
        let audit = audit.clone();
        tokio::spawn(async move { audit.note(Lifecycle::RoomAgain { refused: 1 }).await });
    }
    until(|| audit.queued() == audit.queue_limit()).await;

    // One would be refused, and one let through; both wait for a place in the queue when their clients leave.
    let mut refused = house.raw(STRANGER).await;
    refused.send("GET http://undeclared.example/ HTTP/1.1\r\nhost: undeclared.example\r\n\r\n").await;
    let port = house.recipient("plain.ministry-a.example").address.port();
    let mut permitted = house.raw(UPLOADER).await;
    let head = format!(
        "POST http://plain.ministry-a.example:{port}/cctv/cam1 HTTP/1.1\r\nhost: plain.ministry-a.example:{port}\r\n\
         content-type: image/jpeg\r\ncontent-length: {}\r\n\r\n",
        FRAME.len()
    );
    permitted.send(head).await;
    permitted.send(FRAME).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop((refused, permitted));
    tokio::time::sleep(Duration::from_millis(300)).await;
    flaky.hold(false);

    let mut reasons: Vec<String> =
        house.until_decisions(2).await.iter().map(|record| reason_of(record).to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["client-closed", "source-unknown"]);
    until(|| audit.queued() == 0).await;
    assert_eq!(house.decisions().len(), 2, "one record each");
    assert_eq!(house.recipient("plain.ministry-a.example").requests().len(), 0);
    // The near-miss: a client that stays.
    let reply = house.send(UPLOADER, frame(house.base("http", "plain.ministry-a.example") + "/cctv/cam1")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_what_is_counted() {
    let flaky = Arc::new(Flaky::default());
    let house = house_on(&flaky).await;
    let send = || house.send(STRANGER, frame(house.base("http", "undeclared.example") + "/"));
    let reply = send().await;
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("source-unknown")));
    flaky.no_sync();
    let reply = send().await;
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (503, Some("record-unavailable")));
    assert_eq!(reply.proxy_status("record"), None, "no record is named that no log holds");
    let metrics = house.metrics().await;
    let counted = |reason: &str| series(&metrics, "tasrih_decisions_total", &[&format!("reason=\"{reason}\"")]);
    assert_eq!((counted("source-unknown"), counted("record-unavailable")), (1, 1));
    assert_eq!(series(&metrics, "tasrih_record_fault", &["latched-other"]), 1);
}

async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain waited");
}

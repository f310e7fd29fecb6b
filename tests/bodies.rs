//! Bodies on their way through: held, judged whole, sent once, given up in every way in which one can be.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use support::stand::Stand;
use support::{FRAME, House, OFFICE, Plan, Site, UPLOADER, post, reason_of, series};
use tasrih::clock::ManualClock;
use tasrih::demo::recipient::Answer;
use tasrih::policy::Decision;
use tasrih::record::past;
use tasrih::record::search::{Followers, Query};
use tasrih::record::summary::summary;

const REGISTER: &str = concat!(
    "MODE\n",
    include_str!("support/case.yaml"),
    r"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: office, networks: [127.0.0.6/32]}
recipients:
  - id: ministry
    name: Ministry
    country: FR
    destinations: [{host: plain.example, scheme: http, port: {port:plain.example}}, {host: tls.example, port: {port:tls.example}}]
transfers:
  - id: frames
    processing: cctv
    from: [uploader]
    to: ministry
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    LIMITS
"
);

const NOW: &str = "2026-05-02T12:00:00Z";
const MIB: usize = 1024 * 1024;

fn plan(limits: &str) -> (Plan, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW.parse().expect("a time")));
    let plan = Plan::new(&REGISTER.replace("MODE", "mode: enforce").replace("LIMITS", limits));
    (plan.site("plain.example", Site::Plain).site("tls.example", Site::Tls).clock(clock.clone()), clock)
}

/// What begins as a JPEG does, and is not the same anywhere.
fn large(size: usize) -> Bytes {
    let mut bytes = FRAME.to_vec();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

fn jpeg(house: &House, host: &str, body: Bytes) -> Request<Bytes> {
    let scheme = if host == "plain.example" { "http" } else { "https" };
    post(house.base(scheme, host) + "/cctv/cam1", "image/jpeg", body)
}

/// The head of a raw POST to the plain recipient with a body of this size.
fn head(house: &House, size: usize) -> String {
    let port = house.recipient("plain.example").address.port();
    format!(
        "POST http://plain.example:{port}/cctv/cam1 HTTP/1.1\r\nHost: plain.example:{port}\r\nContent-Type: \
         image/jpeg\r\nContent-Length: {size}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_memory_is_spooled_and_arrives_as_it_was() {
    let (plan, _) = plan("");
    let house = plan.build().await;
    for size in [MIB - 1, MIB, MIB + 1, 5_000_000] {
        for host in ["plain.example", "tls.example"] {
            let body = large(size);
            let reply = house.send(UPLOADER, jpeg(&house, host, body.clone())).await;
            assert_eq!(reply.status, 200, "{size} to {host}: {reply:?}");
            let received = house.recipient(host).requests();
            assert!(received.last().expect("a request").body == body, "{size} to {host} is not what was sent");
            let outcome = house.outcome(&record_of(&house)).await;
            assert_eq!(outcome["traffic"]["bytes_out"], size as u64);
        }
    }
    let spool = house.folder.path().join("state/spool");
    assert_eq!(std::fs::read_dir(spool).expect("a folder").count(), 0, "the spool has no names");
}

fn record_of(house: &House) -> String {
    house.decisions().last().expect("a decision")["metadata"]["uid"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_hold_limit_is_413_and_at_it_passes() {
    let (plan, _) = plan("");
    let plan = plan.settings(|settings| {
        settings.limits.hold_memory = 64 * 1024;
        settings.limits.hold = 256 * 1024;
    });
    let house = plan.build().await;
    let reply = house.send(UPLOADER, jpeg(&house, "plain.example", large(256 * 1024 + 1))).await;
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (413, Some("too-large")));
    assert_eq!(house.recipient("plain.example").bytes(), 0);
    let reply = house.send(UPLOADER, jpeg(&house, "plain.example", large(256 * 1024))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(house.decisions().iter().map(reason_of).collect::<Vec<_>>(), ["too-large", "permit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_held_bodies_share_one_bound_and_give_it_back() {
    let (plan, _) = plan("");
    let house = plan.settings(|settings| settings.limits.held_total = 750 * 1024).build().await;
    // Two clients announce 300 KiB each, send 200 KiB of them, and do not end.
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = house.raw(UPLOADER).await;
        client.send(head(&house, 300 * 1024)).await;
        client.send(large(200 * 1024)).await;
        holding.push(client);
    }
    until(|| async { series(&house.metrics().await, "tasrih_held_bytes", &[]) == 600 * 1024 }).await;
    let reply = house.send(UPLOADER, jpeg(&house, "plain.example", large(200 * 1024))).await;
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (503, Some("busy")));
    assert!(reply.headers.contains_key("retry-after"), "busy says when to come again");
    let rest = large(300 * 1024).slice(200 * 1024..);
    let mut first = holding.remove(0);
    first.send(rest).await;
    assert_eq!(first.reply().await.expect("a reply").status, 200);
    let reply = house.send(UPLOADER, jpeg(&house, "plain.example", large(200 * 1024))).await;
    assert_eq!(reply.status, 200, "there is room again: {reply:?}");
    drop(holding);
    until(|| async { series(&house.metrics().await, "tasrih_held_bytes", &[]) == 0 }).await;
}

async fn until<F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it comes so far");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_leaves_one_record_and_no_charge() {
    let (plan, _) = plan("limits: {min_interval: PT5M, max_per_day: 1, max_bytes_per_day: 40KiB}");
    let house = plan.build().await;
    for round in 1..=3 {
        let mut client = house.raw(UPLOADER).await;
        client.send(head(&house, FRAME.len())).await;
        client.send(&FRAME[..FRAME.len() / 2]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(client);
        let decisions = house.until_decisions(round).await;
        assert_eq!(decisions.len(), round, "one record each");
        assert_eq!(reason_of(decisions.last().expect("a record")), "client-closed");
    }
    assert_eq!(house.recipient("plain.example").bytes(), 0);
    let reply = house.send(UPLOADER, jpeg(&house, "plain.example", FRAME.into())).await;
    assert_eq!(reply.status, 200, "what was reserved was given back: {reply:?}");
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_decisions_total", &["reason=\"client-closed\""]), 3);
    let second = house.send(UPLOADER, jpeg(&house, "plain.example", FRAME.into())).await;
    assert_eq!(second.status, 429, "and the one that left is charged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_the_body_gives_its_reservation_back() {
    let (plan, _) = plan("limits: {max_per_day: 1}");
    let house = plan.build().await;
    let refused = house.send(UPLOADER, jpeg(&house, "plain.example", Bytes::from_static(b"no picture"))).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("uninspectable")));
    assert_eq!(house.send(UPLOADER, jpeg(&house, "plain.example", FRAME.into())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_when_the_recipient_has_its_body_whole_does_not_cut_the_request() {
    let (plan, _) = plan("");
    let house = plan.build().await;
    let slow = Answer { after: Duration::from_millis(700), ..Answer::status(201) };
    house.recipient("plain.example").answer_next(slow);
    let mut client = house.raw(UPLOADER).await;
    client.send(head(&house, FRAME.len())).await;
    client.send(FRAME).await;
    let decisions = house.until_decisions(1).await;
    until(|| async { house.recipient("plain.example").requests().len() == 1 }).await;
    drop(client);
    let id = decisions[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    let outcome = house.outcome(&id).await;
    assert_eq!(reason_of(&decisions[0]), "permit");
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "client-closed", "{outcome:#}");
    assert_eq!(outcome["traffic"]["bytes_out"], FRAME.len() as u64, "the whole body was handed over");
    assert_eq!(outcome["http_response"]["code"], 201, "the recipient's answer is on record: {outcome:#}");
    assert!(outcome["duration"].as_u64().expect("milliseconds") >= 600, "it was waited for: {outcome:#}");
    let counted = series(&house.metrics().await, "tasrih_outcomes_total", &["end=\"client-closed\""]);
    assert_eq!(counted, 1);
    assert_eq!(house.decisions().len(), 1);
    let next = house.send(UPLOADER, jpeg(&house, "plain.example", FRAME.into())).await;
    assert_eq!((next.status, house.recipient("plain.example").connections()), (200, 1), "its connection is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_503_passes_and_another_body_does_not() {
    let (plan, clock) = plan("limits: {min_interval: PT5M, max_per_day: 2, retries: 2}");
    let house = plan.build().await;
    let send = |body: Bytes| house.send(UPLOADER, jpeg(&house, "plain.example", body));
    house.recipient("plain.example").answer_next(Answer::status(503));
    assert_eq!(send(FRAME.into()).await.status, 503, "the recipient's own answer is relayed");
    house.outcome(&record_of(&house)).await;
    clock.advance(Duration::from_secs(2));
    let other = send(large(FRAME.len() + 8)).await;
    assert_eq!((other.status, other.proxy_status("reason").as_deref()), (429, Some("too-frequent")));
    assert!(other.headers.contains_key("retry-after"));
    house.recipient("plain.example").answer_next(Answer::status(500));
    assert_eq!(send(FRAME.into()).await.status, 500, "the first retry");
    house.outcome(&record_of(&house)).await;
    assert_eq!(send(FRAME.into()).await.status, 200, "the second retry");
    house.outcome(&record_of(&house)).await;
    let third = send(FRAME.into()).await;
    assert_eq!((third.status, third.proxy_status("reason").as_deref()), (429, Some("too-frequent")), "it has arrived");
    assert_eq!(house.recipient("plain.example").requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_passes_and_says_what_it_would_have_refused() {
    let register = REGISTER.replace("MODE", "mode: observe").replace("LIMITS", "limits: {max_body: 64KiB}");
    let plan = Plan::new(&register).site("plain.example", Site::Plain).site("tls.example", Site::Tls);
    let plan = plan.site("nobody.example", Site::Tls).settings(|settings| {
        settings.limits.hold_memory = 64 * 1024;
        settings.limits.hold = 128 * 1024;
    });
    let house = plan.build().await;
    let base = house.base("https", "tls.example");
    let cases = [
        (UPLOADER, jpeg(&house, "tls.example", FRAME.into()), "permit", "permit"),
        (UPLOADER, post(base.clone() + "/cctv/cam1", "application/json", "{}"), "would-deny", "uninspectable"),
        (UPLOADER, post(base.clone() + "/cctv/cam1", "image/png", FRAME), "would-deny", "uninspectable"),
        (OFFICE, jpeg(&house, "tls.example", FRAME.into()), "would-deny", "source-not-declared"),
        (support::STRANGER, jpeg(&house, "tls.example", FRAME.into()), "would-deny", "source-unknown"),
        (
            UPLOADER,
            post(house.base("https", "nobody.example") + "/", "image/jpeg", FRAME),
            "would-deny",
            "no-declaration",
        ),
        (UPLOADER, jpeg(&house, "tls.example", large(100 * 1024)), "would-deny", "too-large"),
        // Beyond the hold limit the rest passes unread.
        (UPLOADER, jpeg(&house, "tls.example", large(600 * 1024)), "would-deny", "too-large"),
    ];
    let (mut count, mut bodies) = (0, Vec::new());
    for (from, request, decision, reason) in cases {
        bodies.push(request.body().clone());
        let reply = house.send(from, request).await;
        assert_eq!(reply.status, 200, "{reason}: {reply:?}");
        assert!(!reply.headers.contains_key("proxy-status"), "the client is told nothing");
        let decisions = house.decisions();
        count += 1;
        assert_eq!(decisions.len(), count, "{reason}: one decision each");
        let record = decisions.last().expect("a record");
        assert_eq!(record["unmapped"]["transfer"]["decision"], decision, "{record:#}");
        assert_eq!(record["unmapped"]["transfer"]["reason"].as_str().unwrap_or("permit"), reason, "{record:#}");
        let action = if decision == "permit" { 1 } else { 3 };
        assert_eq!(record["action_id"], action, "Allowed or Observed");
        house.outcome(record["metadata"]["uid"].as_str().expect("an id")).await;
    }
    let received = ["tls.example", "nobody.example"].map(|host| house.recipient(host).requests()).concat();
    for body in bodies {
        assert!(received.iter().any(|request| request.body == body), "{} bytes arrived whole", body.len());
    }
    let last = house.decisions().pop().expect("a record");
    assert_eq!(last["unmapped"]["transfer"]["unread"], "over-budget", "{last:#}");
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_not_inspected_total", &[]), 3, "what was not read is counted apart");
    assert_eq!(series(&metrics, "tasrih_decisions_total", &["decision=\"would-deny\""]), 7);

    let mut followers = Followers::default();
    for record in house.records() {
        let json = serde_json::to_vec(&record).expect("it was read from JSON");
        followers.take(past::read(&json).expect("a record"), &Query::default());
    }
    let sums = summary(&followers.into_rows());
    let told: Vec<(u64, &str)> = sums
        .iter()
        .filter(|(alike, _)| alike.decision == Decision::WouldDeny)
        .map(|(alike, sum)| (sum.exchanges, alike.reason.expect("why it would be refused").as_str()))
        .collect();
    assert_eq!(told[..2], [(2, "uninspectable"), (2, "too-large")], "the most frequent first: {sums:?}");
    assert_eq!(told.iter().map(|(exchanges, _)| exchanges).sum::<u64>(), 7);
    assert_eq!(sums.last().map(|(alike, _)| alike.decision), Some(Decision::Permit), "what was permitted is last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_stops_reading_holds_up_nobody_else() {
    let stuck = Stand::start(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(stream);
    })
    .await;
    let register = REGISTER.replace("MODE", "").replace("LIMITS", "").replace("plain.example", "stuck.example");
    let house = Plan::new(&register).place("stuck.example", stuck.address).site("tls.example", Site::Tls).build().await;
    let mut client = house.raw(UPLOADER).await;
    let port = stuck.address.port();
    let body = large(8 * MIB);
    client
        .send(format!(
            "POST http://stuck.example:{port}/cctv/cam1 HTTP/1.1\r\nHost: stuck.example:{port}\r\nContent-Type: \
             image/jpeg\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    client.send(&body).await;
    house.until_decisions(1).await;
    assert_eq!(house.send(UPLOADER, jpeg(&house, "tls.example", FRAME.into())).await.status, 200);
    drop(client);
    let first = house.decisions()[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    let outcome = house.outcome(&first).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "client-closed");
    let out = outcome["traffic"]["bytes_out"].as_u64().expect("a count");
    assert!(out < body.len() as u64, "the request was cut: {out}");
    until(|| async { series(&house.metrics().await, "tasrih_held_bytes", &[]) == 0 }).await;
}

//! The recipient's leg: HTTP/2 where the client speaks it and the recipient takes it, and an account as exact as that of
//! HTTP/1.1.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tasrih::reload::reload;

use super::support::multiplexed::Multiplexed;
use super::support::streams::{Streams, upload, whole};
use super::support::{FRAME, House, OFFICE, UPLOADER, post, reason_of};
use super::{HOST, NEW, frame_to, house_with, picture, register};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("it never came: {what}");
}

fn id_of(record: &serde_json::Value) -> String {
    record["metadata"]["uid"].as_str().expect("an id").to_owned()
}

fn posted(house: &House, path: &str, body: Bytes) -> Request<Bytes> {
    post(format!("https://{NEW}:{}{path}", house.port(NEW)), "image/jpeg", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_gets_http2_where_the_client_speaks_it_and_streams_share_a_connection() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let mut sending: Vec<_> = (0..20).map(|_| Box::pin(client.send(frame_to(&house, NEW, "/cctv/cam1")))).collect();
    for answer in &mut sending {
        let answer = answer.await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.headers.contains_key("alt-svc"), "nobody is led around the proxy");
        assert!(answer.headers["via"].to_str().expect("ASCII").starts_with("2 tasrih-"));
    }
    let seen = &recipient.seen;
    assert_eq!((seen.count(|seen| &seen.connections), seen.count(|seen| &seen.begun)), (1, 20));
    for (received, decision) in seen.requests().iter().zip(house.decisions()) {
        assert!(received.body == FRAME, "the frame arrives whole");
        assert_eq!(received.target, format!("https://{NEW}:{}/cctv/cam1", house.port(NEW)));
        assert_eq!(received.headers["content-length"], FRAME.len().to_string());
        assert!(received.headers.contains_key("personal-data-transfer") && !received.headers.contains_key("host"));
        assert_eq!(decision["tls"]["version"], "TLSv1.3");
    }
    // Another source has a connection of its own, and so has a client of HTTP/1.1, which is offered nothing else.
    let office = Streams::open(&house, OFFICE, NEW).await;
    assert_eq!(office.send(frame_to(&house, NEW, "/cctv/cam1")).await.status, 200);
    assert_eq!(seen.count(|seen| &seen.connections), 2);
    assert_eq!(house.send(UPLOADER, frame_to(&house, NEW, "/cctv/cam1")).await.status, 200);
    assert_eq!((seen.count(|seen| &seen.connections), seen.count(|seen| &seen.of_http1)), (3, 1));
    // Where the recipient speaks HTTP/1.1 only, the client does not notice.
    let old = Streams::open(&house, UPLOADER, HOST).await;
    assert_eq!(old.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    assert_eq!(house.recipient(HOST).requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_counted_to_the_byte() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let body = picture(20 << 20);
    assert_eq!(client.send(posted(&house, "/cctv/large", body.clone())).await.body.len(), 8 << 20);
    assert!(recipient.seen.requests()[0].body == body);
    let outcome = house.outcome(&id_of(&house.decisions()[0])).await;
    assert_eq!(outcome["traffic"]["bytes_out"], body.len() as u64);
    assert_eq!(outcome["traffic"]["bytes_in"], 8 << 20);
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_never_reaches_the_recipient() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let (good, refused, unread) = tokio::join!(
        client.send(frame_to(&house, NEW, "/cctv/cam1")),
        client.send(frame_to(&house, NEW, "/other")),
        client.send(posted(&house, "/cctv/cam2", Bytes::from_static(b"no picture"))),
    );
    assert_eq!((good.status, refused.status, unread.status), (200, 403, 403));
    assert_eq!(unread.proxy_status("reason").as_deref(), Some("uninspectable"));
    assert_eq!(recipient.seen.count(|seen| &seen.begun), 1);
    assert_eq!(recipient.seen.count(|seen| &seen.bytes), FRAME.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_gets_its_trailers_and_is_refused_with_a_status() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let call = |path: &str| {
        let target = format!("https://{NEW}:{}{path}", house.port(NEW));
        let mut call = post(target, "application/grpc", &b"\0\0\0\0\x03abc"[..]);
        call.headers_mut().insert("te", "trailers".parse().expect("a value"));
        call
    };
    let answer = client.send(call("/calls/Take")).await;
    let trailers = answer.trailers.expect("trailers");
    assert_eq!((answer.status, trailers["grpc-status"].to_str().expect("ASCII")), (200, "0"));
    assert!(!trailers.contains_key("proxy-status"), "only we may say that");
    assert_eq!(recipient.seen.requests()[0].headers["te"], "trailers");
    let outcome = house.outcome(&id_of(&house.decisions()[0])).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "answered");
    // The near miss: where what cannot be read may not pass, the call never leaves.
    let refused = client.send(call("/cctv/Take")).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("uninspectable")));
    assert_eq!(recipient.seen.count(|seen| &seen.begun), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_its_answer_before_it_ends_is_told_that_it_stood_still() {
    let recipient = Multiplexed::start(NEW).await;
    let house = super::plan()
        .place(NEW, recipient.address)
        .root(recipient.issuing.certificate_pem())
        .settings(|settings| settings.limits.idle = ms(700))
        .build()
        .await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let target = format!("https://{NEW}:{}/calls/Talk", house.port(NEW));
    let head = Request::post(target).header("content-type", "application/grpc").body(()).expect("a head");
    let (answer, mut stream) = client.begin(head, false).await;
    upload(&mut stream, Bytes::from_static(b"\0\0\0\0\x03abc"), false).await.expect("room");
    let answer = whole(answer).await.expect("an answer");
    assert_eq!((answer.status, answer.proxy_status("reason").as_deref()), (408, Some("client-timeout")));
    let decisions = house.decisions();
    let detail = decisions[0]["unmapped"]["transfer"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("stood still"), "{detail}");
    assert_eq!(recipient.seen.count(|seen| &seen.begun), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_resets_its_stream_and_leaves_the_neighbours() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let target = format!("https://{NEW}:{}/calls/wait", house.port(NEW));
    let call = post(target, "application/grpc", &b"\0\0\0\0\x03abc"[..]);
    let (stuck, call, ()) = tokio::join!(
        client.try_send(posted(&house, "/cctv/stuck", picture(2 << 20))),
        client.send(call),
        async {
            until("both are under way", || {
                let seen = &recipient.seen;
                seen.requests().len() == 1 && seen.count(|seen| &seen.begun) == 2
            })
            .await;
            tokio::time::sleep(ms(300)).await;
            let order = "orders: [{authority: CNDP, ref: o-1, date: 2026-01-10, action: suspend, scope: \"transfer:to-new\"}]\n";
            put(&house, &(register() + order)).await;
            until("the stream is reset", || recipient.seen.count(|seen| &seen.broken) == 1).await;
            recipient.seen.go_on.notify_one();
        },
    );
    assert_eq!(call.status, 200, "another transfer's stream goes on");
    assert!(stuck.is_ok_and(|answer| answer.status == 403), "what was cut is told as refused");
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 1);
    let decisions = house.decisions();
    let cut = decisions.iter().find(|record| record["firewall_rule"]["uid"] == "to-new").expect("a record");
    let outcome = house.outcome(&id_of(cut)).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "cut-order");
    let arrived = recipient.seen.count(|seen| &seen.bytes) - 8;
    let counted = outcome["traffic"]["bytes_out"].as_u64().expect("a count");
    // Never less than what arrived, and no more than what may wait to be sent.
    assert!(arrived <= counted && counted <= arrived + (512 << 10), "{arrived} arrived, {counted} counted");
    // The order stands for what comes after it on the same connections.
    let refused = client.send(frame_to(&house, NEW, "/cctv/cam1")).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(recipient.seen.count(|seen| &seen.begun), 2);
}

/// Puts another register in force.
async fn put(house: &House, policy: &str) {
    let folder = house.folder.path().join("policies");
    std::fs::create_dir_all(&folder).expect("a folder");
    let policy = [HOST, NEW].iter().fold(policy.to_owned(), |policy, host| {
        policy.replace(&format!("{{port:{host}}}"), &house.port(host).to_string())
    });
    std::fs::write(folder.join("register.yaml"), policy).expect("a policy file");
    reload(house.running.corridor(), folder).await.expect("a register without fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_stream_along_and_no_other() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let leaving = Streams::open(&house, UPLOADER, NEW).await;
    let request = posted(&house, "/cctv/stuck", picture(2 << 20));
    let lost = tokio::spawn(async move { leaving.try_send(request).await });
    until("it is under way", || recipient.seen.count(|seen| &seen.bytes) > 0).await;
    let (waiting, ()) = tokio::join!(client.send(posted(&house, "/cctv/wait", FRAME.into())), async {
        until("both are there", || recipient.seen.requests().len() == 1).await;
        lost.abort();
        until("the stream is reset", || recipient.seen.count(|seen| &seen.broken) == 1).await;
        recipient.seen.go_on.notify_one();
    });
    assert_eq!(waiting.status, 200);
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 1);
    let mut ends = Vec::new();
    for record in house.decisions() {
        let outcome = house.outcome(&id_of(&record)).await;
        ends.push(outcome["unmapped"]["transfer"]["end"].as_str().expect("an end").to_owned());
    }
    ends.sort_unstable();
    assert_eq!(ends, ["answered", "client-closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_recipient_turns_away_is_a_fault_and_is_not_sent_again() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let answer = client.send(posted(&house, "/cctv/refused", FRAME.into())).await;
    assert_eq!((answer.status, answer.proxy_status("reason").as_deref()), (502, Some("upstream-fault")));
    assert_eq!(recipient.seen.count(|seen| &seen.begun), 1);
    let outcome = house.outcome(&id_of(&house.decisions()[0])).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "upstream-fault");
    assert_eq!(client.send(frame_to(&house, NEW, "/cctv/cam1")).await.status, 200, "the connection goes on");
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_recipient_ends_is_replaced() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    assert_eq!(client.send(frame_to(&house, NEW, "/cctv/cam1")).await.status, 200);
    // While a body is held, the recipient ends the connection that was opened for it.
    let head = Request::from_parts(frame_to(&house, NEW, "/cctv/cam2").into_parts().0, ());
    let (answer, mut stream) = client.begin(head, false).await;
    upload(&mut stream, Bytes::from_static(&FRAME[..1000]), false).await.expect("room");
    tokio::time::sleep(ms(200)).await;
    recipient.seen.close.notify_waiters();
    tokio::time::sleep(ms(200)).await;
    upload(&mut stream, Bytes::from_static(&FRAME[1000..]), true).await.expect("room");
    assert_eq!(whole(answer).await.expect("an answer").status, 200);
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 2);
    assert_eq!(recipient.seen.requests().len(), 2);
    assert_eq!(house.decisions().iter().map(reason_of).collect::<Vec<_>>(), ["permit", "permit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_is_not_joined_again() {
    let recipient = Multiplexed::start(NEW).await;
    let house = super::plan()
        .place(NEW, recipient.address)
        .root(recipient.issuing.certificate_pem())
        .settings(|settings| settings.limits.answer_time = ms(800))
        .build()
        .await;
    let client = Streams::open(&house, UPLOADER, NEW).await;
    let answer = client.send(posted(&house, "/cctv/wait", FRAME.into())).await;
    assert_eq!((answer.status, answer.proxy_status("reason").as_deref()), (504, Some("upstream-fault")));
    let outcome = house.outcome(&id_of(&house.decisions()[0])).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "timeout");
    assert_eq!(client.send(frame_to(&house, NEW, "/cctv/cam1")).await.status, 200);
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answer_stalls_nobody_elses() {
    let recipient = Multiplexed::start(NEW).await;
    let house = house_with(&recipient).await;
    let lazy = Streams::open(&house, UPLOADER, NEW).await;
    let mut untaken = Vec::new();
    for _ in 0..20 {
        let head = Request::get(format!("https://{NEW}:{}/cctv/large", house.port(NEW))).body(()).expect("a head");
        untaken.push(lazy.begin(head, true).await.0.await.expect("a head"));
    }
    let client = Streams::open(&house, UPLOADER, NEW).await;
    assert_eq!(client.send(posted(&house, "/cctv/large", FRAME.into())).await.body.len(), 8 << 20);
    assert_eq!(recipient.seen.count(|seen| &seen.connections), 1);
}

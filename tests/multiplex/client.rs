//! The client's leg: what a well-behaved client of HTTP/2 gets.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::support::streams::{Streams, upload, whole};
use super::support::{FRAME, UPLOADER, post, reason_of, series};
use super::{HOST, frame_to, house, picture, plan};

#[tokio::test(flavor = "multi_thread")]
async fn curl_posts_a_picture_over_http2() {
    let house = house().await;
    let body = picture(200 * 1024);
    let path = house.folder.path().join("picture.jpg");
    std::fs::write(&path, &body).expect("written");
    for (version, shown, status, at) in
        [("--http2", "2", 200, "/cctv/cam1"), ("--http1.1", "1.1", 200, "/cctv/cam1"), ("--http2", "2", 403, "/other")]
    {
        let mut command = Command::new("curl");
        let ca = house.folder.path().join("ca.pem");
        command.args(["-sS", "--max-time", "20", "-x", &format!("http://{}", house.proxy()), "--noproxy", "", version]);
        command.args(["--cacert", ca.to_str().expect("a path"), "-H", "Content-Type: image/jpeg"]);
        command.args(["--data-binary", &format!("@{}", path.display()), "-w", "\n%{http_version} %{http_code}"]);
        command.arg(house.base("https", HOST) + at);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a task").expect("curl runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed} {}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.ends_with(&format!("\n{shown} {status}")), "{printed}");
        let last = house.decisions().pop().expect("a record");
        assert_eq!(last["http_request"]["version"], shown);
    }
    let received = house.recipient(HOST).requests();
    assert_eq!(received.len(), 2, "what was refused never arrives");
    for (received, version) in received.iter().zip(["2", "1.1"]) {
        assert!(received.body == body, "the picture is not the one that was sent");
        let via = received.headers["via"].to_str().expect("ASCII");
        assert!(via.starts_with(&format!("{version} tasrih-")), "{via}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_exchanges_and_a_refused_one_leaves_the_others() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    for round in 0..3 {
        let (good, bad) = tokio::join!(
            client.send(frame_to(&house, HOST, &format!("/cctv/cam{round}"))),
            client.send(frame_to(&house, HOST, "/other")),
        );
        assert_eq!((good.status, bad.status), (200, 403), "{good:?} {bad:?}");
        assert_eq!(bad.proxy_status("reason").as_deref(), Some("path-not-declared"));
        assert!(!bad.headers.contains_key("connection"));
        let problem: Value = serde_json::from_slice(&bad.body).expect("JSON");
        assert_eq!(problem["record"].as_str(), bad.proxy_status("record").as_deref());
    }
    let decisions = house.decisions();
    let permits = decisions.iter().filter(|record| reason_of(record) == "permit").count();
    assert_eq!((decisions.len(), permits), (6, 3));
    for record in &decisions {
        assert_eq!(record["http_request"]["version"], "2");
        assert_eq!(record["unmapped"]["transfer"]["entry"], "connect");
        assert_eq!(record["connection_info"]["uid"], decisions[0]["connection_info"]["uid"]);
    }
    let requests = house.recipient(HOST).requests();
    assert!(requests.len() == 3 && requests.iter().all(|request| request.body == FRAME));
    assert_eq!(house.recipient(HOST).body_bytes(), 3 * FRAME.len() as u64);
    assert_eq!(series(&house.metrics().await, "tasrih_decisions_total", &["entry=\"connect\""]), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mebibytes_arrive_whole() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let body = picture(20 << 20);
    let target = house.base("https", HOST) + "/cctv/cam1";
    let answer = client.send(post(target, "image/jpeg", body.clone())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(house.recipient(HOST).requests()[0].body == body);
    let id = house.decisions()[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    assert_eq!(house.outcome(&id).await["traffic"]["bytes_out"], body.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_streams_stall_none_of_the_others() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let body = picture(1 << 20);
    let head = || Request::from_parts(frame_to(&house, HOST, "/cctv/slow").into_parts().0, ());
    let mut slow = Vec::new();
    for _ in 0..10 {
        let (answer, mut stream) = client.begin(head(), false).await;
        upload(&mut stream, body.slice(..512 << 10), false).await.expect("room");
        slow.push((answer, stream));
    }
    let target = house.base("https", HOST) + "/cctv/cam1";
    let quick = (0..40).map(|_| {
        let (client, request) = (&client, post(&target, "image/jpeg", body.clone()));
        async move { client.send(request).await.status }
    });
    let mut quick: Vec<_> = quick.map(Box::pin).collect();
    for answer in &mut quick {
        assert_eq!(answer.await, 200);
    }
    assert_eq!(house.recipient(HOST).requests().len(), 40, "nothing of what is held has left");
    for (answer, mut stream) in slow {
        upload(&mut stream, body.slice(512 << 10..), true).await.expect("room");
        assert_eq!(whole(answer).await.expect("an answer").status, 200);
    }
    assert_eq!(house.recipient(HOST).body_bytes(), 50 * body.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_given_up_is_one_record_and_nothing_leaves() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let head = Request::from_parts(frame_to(&house, HOST, "/cctv/cam1").into_parts().0, ());
    let (_answer, mut stream) = client.begin(head, false).await;
    upload(&mut stream, Bytes::from_static(&FRAME[..1000]), false).await.expect("room");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream.send_reset(h2::Reason::CANCEL);
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["client-closed"]);
    assert_eq!(client.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    assert_eq!(house.recipient(HOST).requests().len(), 1);
    assert_eq!(house.recipient(HOST).body_bytes(), FRAME.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn crumbs_are_joined_and_trailers_end_here() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let mut head = Request::from_parts(frame_to(&house, HOST, "/cctv/cam1").into_parts().0, ());
    for crumb in ["a=b", "c=d"] {
        head.headers_mut().append("cookie", crumb.parse().expect("a value"));
    }
    let (answer, mut stream) = client.begin(head, false).await;
    upload(&mut stream, Bytes::from_static(FRAME), false).await.expect("room");
    let trailers = http::HeaderMap::from_iter([("x-late".parse().expect("a name"), "1".parse().expect("a value"))]);
    stream.send_trailers(trailers).expect("open");
    assert_eq!(whole(answer).await.expect("an answer").status, 200);
    let received = &house.recipient(HOST).requests()[0];
    assert!(received.body == FRAME && !received.headers.contains_key("x-late"));
    assert_eq!(received.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=b; c=d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked_once_its_head_is_admitted() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let head = |path| {
        let mut head = Request::from_parts(frame_to(&house, HOST, path).into_parts().0, ());
        head.headers_mut().insert("expect", "100-continue".parse().expect("a value"));
        head
    };
    let (mut answer, mut stream) = client.begin(head("/cctv/cam1"), false).await;
    let asked = std::future::poll_fn(|context| answer.poll_informational(context)).await;
    assert_eq!(asked.expect("a word").expect("a head").status(), 100);
    upload(&mut stream, Bytes::from_static(FRAME), true).await.expect("room");
    assert_eq!(whole(answer).await.expect("an answer").status, 200);
    let (answer, _stream) = client.begin(head("/other"), false).await;
    assert_eq!(whole(answer).await.expect("an answer").status, 403, "refused without its body");
}

/// What stands on record whatever the request came over.
fn comparable(mut record: Value) -> Value {
    let own =
        ["time", "time_dt", "start_time", "start_time_dt", "metadata", "connection_info", "observables", "message"];
    let fields = record.as_object_mut().expect("an object");
    for name in own {
        fields.remove(name);
    }
    for (object, name) in
        [("http_request", "version"), ("http_request", "uid"), ("src_endpoint", "port"), ("tls", "extension_list")]
    {
        if let Some(object) = record[object].as_object_mut() {
            object.remove(name);
        }
    }
    if let Some(transfer) = record["unmapped"]["transfer"].as_object_mut() {
        transfer.remove("exchange");
    }
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_has_the_same_end_over_either_version() {
    let house = plan()
        .place("h2.example", std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
        .settings(|settings| (settings.limits.hold, settings.node) = (1 << 20, "node".into()))
        .build()
        .await;
    let base = house.base("https", HOST);
    let with = |name: &'static str, value: &'static str| {
        let mut request = frame_to(&house, HOST, "/cctv/cam1");
        request.headers_mut().insert(name, value.parse().expect("a value"));
        request
    };
    let cases = [
        ("permit", frame_to(&house, HOST, "/cctv/cam1")),
        ("permit", super::support::get(base.clone() + "/cctv/cam1")),
        ("uninspectable", super::support::get(base.clone() + "/cctv/cam1?size=small")),
        ("path-not-declared", frame_to(&house, HOST, "/other")),
        ("path-not-declared", frame_to(&house, HOST, "/cctv/../other")),
        ("method-not-declared", Request::put(base.clone() + "/cctv/cam1").body(FRAME.into()).expect("a request")),
        ("uninspectable", post(base.clone() + "/cctv/cam1", "image/jpeg", "no picture")),
        ("uninspectable", with("content-encoding", "zstd")),
        ("too-large", post(base.clone() + "/cctv/cam1", "image/jpeg", picture(2 << 20))),
        ("uninspectable", post(base.clone() + "/cctv/cam1", "text/plain", "a line")),
        ("ambiguous-destination", with("host", "undeclared.example")),
        ("malformed-request", with("expect", "200-maybe")),
        ("loop", with("via", "1.1 tasrih-node")),
    ];
    for (reason, request) in cases {
        let mut told = Vec::new();
        for is_second in [false, true] {
            let before = house.decisions().len();
            let answer = match is_second {
                false => {
                    let reply = house.send(UPLOADER, request.clone()).await;
                    (reply.status, reply.headers, reply.body)
                }
                true => {
                    let answer = Streams::open(&house, UPLOADER, HOST).await.send(request.clone()).await;
                    (answer.status, answer.headers, answer.body)
                }
            };
            let record = house.until_decisions(before + 1).await.pop().expect("a record");
            assert_eq!(reason_of(&record), reason, "{record:#}");
            let told_reason = answer
                .1
                .get("proxy-status")
                .map(|value| value.to_str().expect("ASCII").split("record=").next().expect("a part").to_owned());
            let mut problem: Value = serde_json::from_slice(&answer.2).unwrap_or_default();
            if let Some(fields) = problem.as_object_mut() {
                fields.retain(|name, _| name != "record" && name != "instance");
            }
            told.push((answer.0, told_reason, problem, comparable(record)));
        }
        assert_eq!(told[0], told[1], "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_open_streams_end_and_takes_no_more() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let head = Request::from_parts(frame_to(&house, HOST, "/cctv/cam1").into_parts().0, ());
    let (answer, mut stream) = client.begin(head, false).await;
    upload(&mut stream, Bytes::from_static(&FRAME[..1000]), false).await.expect("room");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let finishing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        upload(&mut stream, Bytes::from_static(&FRAME[1000..]), true).await.expect("room");
        whole(answer).await.expect("an answer").status
    });
    let support::House { running, recipients, .. } = house;
    let stopping = tokio::spawn(running.stop());
    assert_eq!(finishing.await.expect("a task"), 200);
    let refused = client.try_send(Request::get("https://tls.example/cctv/x").body(Bytes::new()).expect("a request"));
    let refused = refused.await.expect_err("the proxy goes");
    assert!(refused.is_go_away() || refused.is_io() || refused.reason().is_some(), "{refused:?}");
    stopping.await.expect("a stop");
    assert!(recipients[HOST].requests()[0].body == FRAME);
}

use super::support;

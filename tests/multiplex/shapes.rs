//! Heads that are no request, and what nobody may ask for over HTTP/2.

use super::support::streams::{END_HEADERS, END_STREAM, Streams, headers, preface, tunnel};
use super::support::wire::Raw;
use super::support::{House, UPLOADER, reason_of};
use super::{HOST, frame_to, house};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// Sends frames, then a good request on stream 9 where the connection is to go on.
async fn records_after(house: &House, frames: Vec<u8>) -> Vec<String> {
    let before = house.decisions().len();
    let mut client = Raw::new(tunnel(house, UPLOADER, HOST).await);
    client.send([preface(), frames].concat()).await;
    let records = house.until_decisions(before + 1).await;
    drop(client);
    records[before..].iter().map(|record| reason_of(record).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_is_malformed_and_on_record_once() {
    let house = house().await;
    let authority = format!("{HOST}:{}", house.port(HOST));
    let good = [(":method", "GET"), (":scheme", "https"), (":authority", &authority), (":path", "/cctv/x")];
    let with = |name, value| [&good[..], &[(name, value)]].concat();
    let without = |name| good.iter().copied().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let bad = [
        ("a field of a connection", with("connection", "close")),
        ("an upgrade", with("upgrade", "h2c")),
        ("a transfer coding", with("transfer-encoding", "chunked")),
        ("a te that is not trailers", with("te", "gzip")),
        ("a name in upper case", with("X-Upper", "1")),
        ("a pseudo field behind others", with(":path", "/cctv/y")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("a length that is none", with("content-length", "many")),
    ];
    for (what, fields) in bad {
        let records = records_after(&house, headers(WHOLE, 1, &fields)).await;
        assert_eq!(records, ["malformed-request"], "{what}");
    }
    let records = records_after(&house, headers(WHOLE, 1, &with("te", "trailers"))).await;
    assert_eq!(records, ["permit"], "the near miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_stream_leaves_the_others() {
    let house = house().await;
    let authority = format!("{HOST}:{}", house.port(HOST));
    let good = [(":method", "GET"), (":scheme", "https"), (":authority", &authority), (":path", "/cctv/x")];
    let bad = [&good[..], &[("connection", "close")]].concat();
    let frames = [headers(WHOLE, 1, &good), headers(WHOLE, 3, &bad), headers(WHOLE, 5, &good)].concat();
    let mut client = Raw::new(tunnel(&house, UPLOADER, HOST).await);
    client.send([preface(), frames].concat()).await;
    let records = house.until_decisions(3).await;
    let mut reasons: Vec<_> = records.iter().map(reason_of).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["malformed-request", "permit", "permit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_as_long_as_announced_is_malformed() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    for (length, status) in [("70000", None), ("3", None)] {
        let mut request = frame_to(&house, HOST, "/cctv/cam1");
        request.headers_mut().insert("content-length", length.parse().expect("a value"));
        let before = house.decisions().len();
        let told = client.try_send(request).await.ok().map(|answer| answer.status);
        assert_eq!(told, status, "{length}");
        let records = house.until_decisions(before + 1).await;
        assert_eq!(records[before..].iter().map(reason_of).collect::<Vec<_>>(), ["malformed-request"], "{length}");
    }
    assert_eq!(client.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200, "the near miss");
    assert_eq!(house.recipient(HOST).requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn authority_host_and_connection_must_agree() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let here = house.base("https", HOST);
    let port = house.port(HOST);
    for (target, host, status, reason) in [
        ("https://undeclared.example/cctv/x".to_owned(), None, 403, "ambiguous-destination"),
        (format!("https://{HOST}:1/cctv/x"), None, 403, "ambiguous-destination"),
        (format!("http://{HOST}:{port}/cctv/x"), None, 403, "ambiguous-destination"),
        (here.clone() + "/cctv/x", Some("undeclared.example".to_owned()), 403, "ambiguous-destination"),
        (here.clone() + "/cctv/x", Some(format!("{HOST}:{port}")), 200, "permit"),
        (here.to_uppercase().replace("HTTPS", "https") + "/cctv/x", None, 200, "permit"),
    ] {
        let mut request = super::support::get(&target);
        if let Some(host) = &host {
            request.headers_mut().insert("host", host.parse().expect("a value"));
        }
        let answer = client.send(request).await;
        let record = house.decisions().pop().expect("a record");
        assert_eq!((answer.status, reason_of(&record)), (status, reason), "{target} {host:?}");
    }
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_may_be_asked_for_inside_another() {
    let house = house().await;
    let authority = format!("{HOST}:{}", house.port(HOST));
    let plain = [(":method", "CONNECT"), (":authority", &authority)];
    let socket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/cctv/x"),
    ];
    for fields in [&plain[..], &socket] {
        let records = records_after(&house, headers(END_HEADERS, 1, fields)).await;
        assert_eq!(records, ["malformed-request"], "{fields:?}");
    }
    assert_eq!(house.recipient(HOST).connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_in_clear_is_malformed() {
    let house = house().await;
    let mut client = house.raw(UPLOADER).await;
    client.send(preface()).await;
    client.rest().await;
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["malformed-request"]);
    let detail = decisions[0]["unmapped"]["transfer"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("HTTP/2"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_http2_in_clear_is_not_passed_on() {
    let house = house().await;
    let client = house.client(UPLOADER);
    let mut request = frame_to(&house, HOST, "/cctv/cam1");
    for (name, value) in [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]
    {
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    assert_eq!(client.send(request).await.expect("a reply").status, 200);
    let received = &house.recipient(HOST).requests()[0];
    for name in ["connection", "upgrade", "http2-settings"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
}

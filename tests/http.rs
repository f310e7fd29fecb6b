//! Raw HTTP/1.1 at the proxy's door, seen from both ends: what is refused before anything happens, what leaves in which
//! form, and what a recipient's answer may do.

mod support;

#[path = "http/responses.rs"]
mod responses;

#[path = "http/shapes.rs"]
mod shapes;

use std::time::Duration;

use support::stand::Stand;
use support::wire::Raw;
use support::{FRAME, House, Plan, Site, UPLOADER, reason_of, series};
use tokio::net::TcpStream;

/// One camera, one recipient in clear, one over TLS, one behind an allowance.
const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r#"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
recipients:
  - id: ministry
    name: Ministry
    country: FR
    destinations: [{host: plain.example, scheme: http, port: {port:plain.example}}, {host: "127.0.0.1", scheme: http, port: {port:plain.example}}]
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
    requests: {paths: [/cctv/**, /literal/..;/x]}
allowances:
  - {id: updates, from: [uploader], to: [{host: updates.example, scheme: http, port: {port:updates.example}}]}
"#
);

async fn house() -> House {
    Plan::new(REGISTER).site("plain.example", Site::Plain).site("updates.example", Site::Plain).build().await
}

/// The same, with a recipient of the test's own in place of the ministry's.
async fn house_with(stand: &Stand) -> House {
    Plan::new(REGISTER).place("plain.example", stand.address).site("updates.example", Site::Plain).build().await
}

/// Raw bytes in which `PORT` stands for the port of the recipient.
fn filled(bytes: &str, house: &House) -> String {
    let port = house.running.corridor().register.load().recipients[0].endpoints[0].port;
    bytes.replace("PORT", &port.to_string())
}

async fn asks(house: &House, bytes: &str) -> Raw<TcpStream> {
    let mut client = house.raw(UPLOADER).await;
    client.send(filled(bytes, house)).await;
    client
}

/// Counted decisions.
async fn counted(house: &House) -> u64 {
    series(&house.metrics().await, "tasrih_decisions_total", &[])
}

const HEAD: &str = "POST http://plain.example:PORT/cctv/cam1 HTTP/1.1\r\nHost: plain.example:PORT\r\n";

/// The head of a frame's POST with these fields added.
fn post(fields: &str) -> String {
    format!("{HEAD}Content-Type: image/jpeg\r\n{fields}Content-Length: {}\r\n\r\n", FRAME.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_gets_no_100_and_its_body_is_never_read() {
    let house = house().await;
    let refused = post("Expect: 100-continue\r\n").replace("/cctv/cam1", "/elsewhere");
    let mut client = asks(&house, &refused).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("path-not-declared")));
    client.send(FRAME).await;
    assert!(client.rest().await.is_empty(), "after the refusal the connection ends, whatever the client still sends");
    assert_eq!(house.recipient("plain.example").connections(), 0, "and nothing was dialled");

    let mut client = asks(&house, &post("Expect: 100-continue\r\n")).await;
    assert_eq!(client.reply().await.expect("an interim reply").status, 100);
    client.send(FRAME).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    let received = &house.recipient("plain.example").requests()[0];
    assert!(received.body == FRAME);
    assert!(!received.headers.contains_key("expect"), "the expectation was ours to meet");
    assert_eq!(house.decisions().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_on_one_connection_are_several_exchanges() {
    let house = house().await;
    let mut client = house.raw(UPLOADER).await;
    for round in 0..3 {
        client.send(filled(&post(""), &house)).await;
        client.send(FRAME).await;
        assert_eq!(client.reply().await.expect("a reply").status, 200, "{round}");
        // A refusal of the policy does not end the connection, as long as its body was read or is none.
        client.send(filled(&HEAD.replace("POST", "GET").replace("/cctv", "/other"), &house) + "\r\n").await;
        let refused = client.reply().await.expect("a reply");
        assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("path-not-declared")));
    }
    assert_eq!(house.decisions().len(), 6);
    assert_eq!(counted(&house).await, 6);
    assert_eq!(house.recipient("plain.example").requests().len(), 3);
    let connections: std::collections::BTreeSet<_> =
        house.decisions().iter().map(|record| record["connection_info"]["uid"].to_string()).collect();
    assert_eq!(connections.len(), 1, "one connection, as the records say");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let house = house().await;
    let one = [filled(&post(""), &house).into_bytes(), FRAME.to_vec()].concat();
    let two = filled(&HEAD.replace("POST", "GET").replace("/cctv", "/other"), &house) + "\r\n";
    let mut client = house.raw(UPLOADER).await;
    client.send([&one[..], two.as_bytes(), &one].concat()).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(client.reply().await.expect("a reply").status);
    }
    assert_eq!(told, [200, 403, 200]);
    assert_eq!(house.decisions().iter().map(reason_of).collect::<Vec<_>>(), ["permit", "path-not-declared", "permit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_these_fields_reach_the_recipient() {
    let stand =
        Stand::answering(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.0 inner\r\n\r\nok"], false).await;
    let house = house_with(&stand).await;
    let fields = "Connection: X-Listed, close\r\nX-Listed: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
                  Proxy-Authorization: Basic eDp5\r\nTE: trailers\r\nTrailer: X-Late\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\
                  Forwarded: for=10.0.0.1\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: a\r\nX-Real-IP: 10.0.0.1\r\n\
                  Personal-Data-Transfer: ref=\"forged\"\r\nVia: 1.0 fred\r\nUser-Agent: camera\r\nX-Own: kept\r\n";
    let mut client = asks(&house, &post(fields)).await;
    client.send(FRAME).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("via").as_deref(), Some("1.0 inner, 1.1 tasrih-egress-1"), "Via on the way back");

    let received = &stand.requests()[0];
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    assert!(received[end + 4..] == *FRAME);
    let head = String::from_utf8(received[..end].to_vec()).expect("ASCII");
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("POST /cctv/cam1 HTTP/1.1"), "origin form");
    let mut fields: Vec<String> = lines.map(str::to_ascii_lowercase).collect();
    fields.sort();
    let id = house.decisions()[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    let mut expected = vec![
        format!("content-length: {}", FRAME.len()),
        "content-type: image/jpeg".into(),
        filled("host: plain.example:PORT", &house),
        format!("personal-data-transfer: ref=\"d-gc-298/2022\", filing=\"a-gc-1/2023\", id=\"{id}\""),
        "user-agent: camera".into(),
        "via: 1.0 fred".into(),
        "via: 1.1 tasrih-egress-1".into(),
        "x-own: kept".into(),
    ];
    expected.sort();
    assert_eq!(fields, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_leaves_with_its_length_and_without_trailers() {
    let stand = Stand::answering(vec![b"HTTP/1.1 204 No Content\r\n\r\n"], false).await;
    let house = house_with(&stand).await;
    let mut client = asks(
        &house,
        &format!("{HEAD}Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"),
    )
    .await;
    for chunk in FRAME.chunks(7000) {
        client.send([format!("{:X};extension=1\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).await;
    }
    client.send("0\r\nX-Late: 1\r\nContent-Length: 3\r\n\r\n").await;
    assert_eq!(client.reply().await.expect("a reply").status, 204);
    let received = &stand.requests()[0];
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    assert!(head.contains(&format!("content-length: {}", FRAME.len())), "{head}");
    assert!(!head.contains("transfer-encoding") && !head.contains("trailer"), "{head}");
    assert!(received[end + 4..] == *FRAME, "not a byte more, not a byte less");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_keep_alive_connection_is_no_attempt() {
    let house = Plan::new(REGISTER)
        .site("plain.example", Site::Plain)
        .site("updates.example", Site::Plain)
        .settings(|settings| {
            settings.limits.header_time = Duration::from_millis(300);
            settings.limits.idle = Duration::from_millis(300);
        })
        .build()
        .await;
    let mut silent = house.raw(UPLOADER).await;
    let mut used = asks(&house, &post("")).await;
    used.send(FRAME).await;
    assert_eq!(used.reply().await.expect("a reply").status, 200);
    assert!(silent.rest().await.is_empty());
    assert!(used.rest().await.is_empty());
    assert_eq!(house.decisions().len(), 1, "only the request is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_passes_requests_without_a_body_only() {
    let house = house().await;
    let base = house.base("http", "updates.example");
    assert_eq!(house.send(UPLOADER, support::get(base.clone() + "/pool/a.deb")).await.status, 200);
    for (request, reason) in [
        (support::get(base.clone() + "/pool?q=1"), "uninspectable"),
        (support::post(base.clone() + "/pool", "text/plain", "x"), "uninspectable"),
        (support::frame(base.clone() + "/pool"), "category-not-declared"),
    ] {
        let reply = house.send(UPLOADER, request).await;
        assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some(reason)));
    }
    let received = house.recipient("updates.example").requests();
    assert_eq!(received.len(), 1);
    assert!(!received[0].headers.contains_key("personal-data-transfer"), "an allowance has no reference to carry");
}

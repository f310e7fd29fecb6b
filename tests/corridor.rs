//! The corridor from outside: what the recipient saw, what the client was told, what is on record.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod support;
#[path = "corridor/unrecorded.rs"]
mod unrecorded;

use bytes::Bytes;
use http::Request;
use support::{FRAME, Plan, STRANGER, Site, UPLOADER, frame, get, post, reason_of};

const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r"sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame], interception: required}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations:
      - {host: intake.ministry-a.example, port: {port:intake.ministry-a.example}}
      - {host: plain.ministry-a.example, scheme: http, port: {port:plain.ministry-a.example}}
  - id: ministry-b
    name: Ministry B
    country: FR
    destinations: [{host: intake.ministry-b.example, port: {port:intake.ministry-b.example}}]
transfers:
  - &shared
"
);

fn register() -> String {
    let transfer = |id: &str, to: &str, status: &str| {
        format!(
            "  - id: {id}\n    processing: cctv\n    from: [cctv-uploader]\n    to: {to}\n    regimes: [ma-09-08]\n    \
             legal_basis: {{ma-09-08: ma-0908:A43}}\n    purposes: [dpv:EnforceSecurity]\n    \
             data_categories: [x:CCTVFrame]\n    \
             filing: {{authority: CNDP, ref: A-GC-1/2023, status: {status}, valid_from: 2023-02-21}}\n    \
             requests: {{methods: [POST, PUT], paths: [/cctv/**], content_types: [image/jpeg]}}\n"
        )
    };
    REGISTER.replace("  - &shared\n", "")
        + &transfer("cctv-to-ministry-a", "ministry-a", "granted")
        + &transfer("cctv-to-ministry-b", "ministry-b", "filed")
}

async fn house() -> support::House {
    Plan::new(&register())
        .site("intake.ministry-a.example", Site::Tls)
        .site("plain.ministry-a.example", Site::Plain)
        .site("intake.ministry-b.example", Site::Tls)
        .site("undeclared.example", Site::Tls)
        .build()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_frame_arrives_whole_with_its_stamp() {
    let house = house().await;
    let target = house.base("https", "intake.ministry-a.example") + "/cctv/cam1";
    let reply = house.send(UPLOADER, frame(target)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let received = house.recipient("intake.ministry-a.example").requests();
    assert_eq!(received.len(), 1);
    assert!(received[0].body == FRAME, "the body is not the one that was sent");
    let stamp = received[0].headers["personal-data-transfer"].to_str().unwrap().to_owned();
    assert!(stamp.starts_with("ref=\"D-GC-298/2022\", filing=\"A-GC-1/2023\", id=\""), "{stamp}");
    let decisions = house.decisions();
    assert_eq!(decisions.len(), 1);
    let id = decisions[0]["metadata"]["uid"].as_str().unwrap();
    assert!(stamp.contains(id), "{stamp} {id}");
    let outcome = house.outcome(id).await;
    assert_eq!(outcome["traffic"]["bytes_out"], FRAME.len() as u64);
    assert_eq!(outcome["http_response"]["code"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_the_same_way() {
    let house = house().await;
    let target = house.base("http", "plain.ministry-a.example") + "/cctv/cam1";
    let reply = house.send(UPLOADER, frame(target)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(house.recipient("plain.ministry-a.example").requests()[0].body == FRAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_does_not_leave() {
    let house = house().await;
    let at_b = house.base("https", "intake.ministry-b.example") + "/cctv/cam1";
    let at_a = house.base("https", "intake.ministry-a.example");
    let undeclared = house.base("https", "undeclared.example") + "/cctv/cam1";
    let cases: Vec<(Request<Bytes>, std::net::IpAddr, &str, u16)> = vec![
        (frame(&undeclared), UPLOADER, "no-declaration", 403),
        (frame(&at_b), UPLOADER, "filing-not-granted", 403),
        (frame(at_a.clone() + "/cctv/cam1"), STRANGER, "source-unknown", 403),
        (frame(at_a.clone() + "/other"), UPLOADER, "path-not-declared", 403),
        (post(at_a.clone() + "/cctv/cam1", "text/plain", "hello"), UPLOADER, "content-type-not-declared", 403),
        (post(at_a.clone() + "/cctv/cam1", "image/jpeg", "no jpeg"), UPLOADER, "uninspectable", 403),
        (get(at_a.clone() + "/cctv/cam1"), UPLOADER, "method-not-declared", 403),
    ];
    for (place, (request, from, reason, status)) in cases.into_iter().enumerate() {
        let reply = house.send(from, request).await;
        assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (status, Some(reason)));
        let decisions = house.decisions();
        assert_eq!(decisions.len(), place + 1, "one record a refusal");
        assert_eq!(reason_of(&decisions[place]), reason);
        assert_eq!(decisions[place]["metadata"]["uid"].as_str(), reply.proxy_status("record").as_deref());
    }
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
    assert_eq!(house.recipient("intake.ministry-b.example").connections(), 0);
    assert_eq!(house.recipient("intake.ministry-a.example").bytes(), 0, "only handshakes");
}

//! What a peer may hold open, seen from outside: time, room, descriptors, and floods.
//!
//! `time`: how long each phase may last. `room`: bodies that do not fit, connections and requests of one address.
//! `descriptors` and `floods` run the real process and look at it through `/proc`.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

mod support;

#[path = "limits/descriptors.rs"]
mod descriptors;
#[path = "limits/floods.rs"]
mod floods;
#[path = "operate/ground.rs"]
#[allow(dead_code, reason = "each test file uses its part of the ground")]
mod ground;
#[path = "limits/room.rs"]
mod room;
#[path = "limits/time.rs"]
mod time;

use support::wire::Raw;
use support::{FRAME, House, Plan, Site, UPLOADER};
use tasrih::config::Limits;
use tokio::net::TcpStream;

const HOST: &str = "plain.example";

/// Two cameras and one recipient in clear.
const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: office, networks: [127.0.0.6/32], carries: [x:CCTVFrame]}
recipients:
  - id: ministry
    name: Ministry
    country: FR
    destinations: [{host: plain.example, scheme: http, port: {port:plain.example}}, {host: tls.example}]
transfers:
  - id: frames
    processing: cctv
    from: [uploader, office]
    to: ministry
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}
"
);

async fn house(change: impl FnOnce(&mut Limits) + Send + 'static) -> House {
    Plan::new(REGISTER).site(HOST, Site::Plain).settings(|settings| change(&mut settings.limits)).build().await
}

/// The head of a POST to `path` with a body of this length, and these fields added.
fn head(house: &House, path: &str, length: usize, fields: &str) -> String {
    let at = format!("{HOST}:{}", port(house));
    format!(
        "POST http://{at}{path} HTTP/1.1\r\nhost: {at}\r\ncontent-type: image/jpeg\r\n{fields}content-length: {length}\r\n\r\n"
    )
}

fn port(house: &House) -> u16 {
    house.running.corridor().register.load().recipients[0].endpoints[0].port
}

/// A picture of this many bytes.
fn picture(size: usize) -> Vec<u8> {
    FRAME.iter().copied().cycle().take(size).collect()
}

/// A client that has sent these bytes.
async fn says(house: &House, bytes: impl AsRef<[u8]>) -> Raw<TcpStream> {
    let mut client = house.raw(UPLOADER).await;
    client.send(bytes).await;
    client
}

/// A client that sends a frame in one go and is let through.
async fn sends_a_frame(house: &House, client: &mut Raw<TcpStream>) {
    client.send(head(house, "/cctv/cam1", FRAME.len(), "")).await;
    client.send(FRAME).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
}

//! HTTP/2 on both legs of an interception: each stream is an exchange like any other, and keeps out of the others' way.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod support;

#[path = "multiplex/client.rs"]
mod client;

#[path = "multiplex/floods.rs"]
mod floods;

#[path = "multiplex/recipient.rs"]
mod recipient;

#[path = "multiplex/shapes.rs"]
mod shapes;

use bytes::Bytes;
use http::Request;
use support::multiplexed::Multiplexed;
use support::{FRAME, House, Plan, Site};

const HOST: &str = "tls.example";
const NEW: &str = "h2.example";

const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: office, networks: [127.0.0.6/32], carries: [x:CCTVFrame]}
  - {id: loopback, networks: [127.0.0.1/32], carries: [x:CCTVFrame]}
recipients:
  - {id: old, name: Old, country: FR, destinations: [{host: tls.example, port: {port:tls.example}}]}
  - {id: new, name: New, country: FR, destinations: [{host: h2.example, port: {port:h2.example}}]}
transfers:
"
);

/// Frames may go to a recipient that speaks HTTP/1.1 only and to one that speaks HTTP/2 as well; calls to the second.
fn register() -> String {
    let transfer = |id: &str, to: &str, more: &str| {
        format!(
            "  - id: {id}\n    processing: cctv\n    from: [uploader, office, loopback]\n    to: {to}\n    \
             regimes: [ma-09-08]\n    legal_basis: {{ma-09-08: ma-0908:A43}}\n    purposes: [dpv:EnforceSecurity]\n    \
             data_categories: [x:CCTVFrame]\n    \
             filing: {{authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}}\n    {more}\n"
        )
    };
    let frames = "requests: {methods: [POST, GET], paths: [/cctv/**]}";
    let calls = "requests: {methods: [POST], paths: [/calls/**]}\n    unreadable: presumed";
    REGISTER.to_owned()
        + &transfer("to-old", "old", frames)
        + &transfer("to-new", "new", frames)
        + &transfer("calls", "new", calls)
}

fn plan() -> Plan {
    Plan::new(&register()).site(HOST, Site::Tls).site("undeclared.example", Site::Tls)
}

/// A house whose one recipient speaks HTTP/1.1 only.
async fn house() -> House {
    plan().place("h2.example", std::net::SocketAddr::from(([127, 0, 0, 1], 1))).build().await
}

/// A frame for a camera's path at a host.
fn frame_to(house: &House, host: &str, path: &str) -> Request<Bytes> {
    support::frame(format!("https://{host}:{}{path}", house.port(host)))
}

/// A picture of this many bytes.
fn picture(size: usize) -> Bytes {
    let mut bytes = FRAME.to_vec();
    bytes.extend((FRAME.len()..size).map(|place| u8::try_from(place * 31 % 251).expect("a byte")));
    bytes.into()
}

/// A house with a recipient that speaks HTTP/2 at `h2.example`.
async fn house_with(recipient: &Multiplexed) -> House {
    plan().place(NEW, recipient.address).root(recipient.issuing.certificate_pem()).build().await
}

//! What a sceptical reader tried against the corridor: each attack, and beside it the legal traffic that it resembles.

mod support;

#[path = "review/bodies.rs"]
mod bodies;
#[path = "review/ends.rs"]
mod ends;
#[path = "review/heads.rs"]
mod heads;
#[path = "review/tunnels.rs"]
mod tunnels;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use support::{House, Plan, UPLOADER};
use tasrih::clock::ManualClock;
use tasrih::config::Settings;
use tasrih::destination::HostName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const HOST: &str = "plain.example";
const TUNNEL: &str = "tunnel.example";
/// A day before the filing of [`REGISTER`] ends.
const NOW: &str = "2026-05-02T12:00:00Z";

const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r#"sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame], refusals: inside}
  - {id: office, networks: [127.0.0.6/32]}
recipients:
  - id: ministry
    name: Ministry
    country: FR
    destinations:
      - {host: plain.example, scheme: http, port: PORT}
      - {host: tls.example, port: 443}
  - id: relayed
    name: Relayed
    country: FR
    destinations: [{host: tunnel.example, port: PORT, interception: never}]
transfers:
  - id: frames
    processing: cctv
    from: [cctv-uploader]
    to: ministry
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21, valid_until: 2026-05-03}
    requests: {paths: [/cctv/**]}
  - id: unread-frames
    processing: cctv
    from: [cctv-uploader]
    to: relayed
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21, valid_until: 2026-05-03}
allowances:
  - id: pinned-updater
    to: [{host: tunnel.example, port: PORT}]
    from: [office]
    unread: {max_bytes_up: 64KiB, max_duration: PT10M, reason: "a pinned updater", until: 2026-06-30}
"#
);

/// A house whose recipients all are `stand`, and its clock.
async fn house(stand: SocketAddr, change: impl FnOnce(&mut Settings) + Send + 'static) -> (House, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW.parse().expect("a time")));
    let plan = Plan::new(&REGISTER.replace("PORT", &stand.port().to_string())).clock(clock.clone());
    let house = plan.settings(move |settings| {
        for host in [HOST, TUNNEL] {
            settings.upstream.hosts.insert(HostName::parse(host).expect("a name"), vec![stand.ip()]);
        }
        change(settings);
    });
    (house.build().await, clock)
}

/// Gives every connection to `play`.
async fn stand<F>(play: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(play(stream));
        }
    });
    address
}

async fn client(house: &House) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(UPLOADER, 0)).expect("a loopback address");
    socket.connect(house.proxy()).await.expect("a connection")
}

/// The head of a POST of `length` bytes to the plain recipient.
fn head(stand: SocketAddr, path: &str, length: usize) -> String {
    let host = format!("{HOST}:{}", stand.port());
    format!(
        "POST http://{host}{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: image/jpeg\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// A picture of `size` bytes, as far as its first bytes tell.
fn picture(size: usize) -> Vec<u8> {
    let mut bytes = support::FRAME.to_vec();
    bytes.resize(size, 0x55);
    bytes
}

/// Reads until `wanted` stands in what was read, or the stream ends.
async fn read_until(stream: &mut TcpStream, wanted: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        let more = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut read)).await;
        match more.expect("the peer says something, or closes") {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    read
}

/// Reads to the end of the stream; a reset counts as one.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut read)).await.expect("an end");
    read
}

async fn say(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    // A peer that closed says so by what it answered.
    let _ = stream.write_all(bytes.as_ref()).await;
}

/// The outcome of the only exchange that was let through.
async fn only_outcome(house: &House) -> Value {
    let decisions = house.until_decisions(1).await;
    house.outcome(decisions[0]["metadata"]["uid"].as_str().expect("an id")).await
}

fn end_of(outcome: &Value) -> &str {
    outcome["unmapped"]["transfer"]["end"].as_str().expect("an end")
}

fn bytes_out(outcome: &Value) -> u64 {
    outcome["traffic"]["bytes_out"].as_u64().expect("a number of bytes")
}

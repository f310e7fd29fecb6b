//! A register with one destination of each kind, and a proxy with one listener of each entry point.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

use tasrih::config::{Entry, Listener, Settings};

use super::support::wire::{Raw, dial};
use super::support::{House, Plan, Site};

/// People behind a browser: refusals are shown inside.
pub const PEOPLE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

const REGISTER: &str = concat!(
    include_str!("../support/case.yaml"),
    r#"sources:
  - {id: uploader, networks: [127.0.0.5/32, 10.9.0.2/32, "fd09::2/128"], carries: [x:CCTVFrame]}
  - {id: amal, user: amal, networks: [127.0.0.10/32], carries: [x:CCTVFrame]}
  - {id: people, networks: [127.0.0.7/32], refusals: inside}
recipients:
  - id: ministry
    name: Ministry
    country: FR
    destinations:
      - {host: tls.example, port: {port:tls.example}}
      - {host: plain.example, port: {port:plain.example}, scheme: http}
      - {host: "127.0.0.1", port: {port:plain.example}, scheme: http}
      - {host: nowhere.example}
      - {host: closed.example, port: 1, scheme: http}
      - {host: closed-tunnel.example, port: 1, interception: never}
  - {id: relayed, name: Relayed, country: FR, destinations: [{host: tunnel.example, port: {port:tunnel.example}, interception: never}]}
  - {id: machines, name: Machines, country: FR, destinations: [{host: ssh.example, port: {port:ssh.example}, protocol: tcp, networks: [127.0.0.1/32, 10.9.1.0/24]}]}
transfers:
  - id: machine
    processing: cctv
    from: [uploader]
    to: machines
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-3/2023, status: granted, valid_from: 2023-02-21}
  - id: frames
    processing: cctv
    from: [uploader, amal]
    to: ministry
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
  - id: unread
    processing: cctv
    from: [uploader]
    to: relayed
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-2/2023, status: granted, valid_from: 2023-02-21}
"#
);

/// The recipients under the register, nobody among them who speaks another protocol.
pub fn plan() -> Plan {
    plan_with(nowhere(2))
}

fn nowhere(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The same with a machine that is declared `protocol: tcp`.
pub fn plan_with(machine: SocketAddr) -> Plan {
    Plan::new(REGISTER)
        .site("tls.example", Site::Tls)
        .site("tunnel.example", Site::Tls)
        .site("plain.example", Site::Plain)
        .site("undeclared.example", Site::Plain)
        .place("ssh.example", machine)
        .place("closed.example", nowhere(1))
        .place("closed-tunnel.example", nowhere(1))
}

/// A listener of this kind beside the first, on a free port of the same address.
pub fn listener(settings: &mut Settings, entry: Entry) {
    let first = settings.listeners[0].clone();
    settings.listeners.push(Listener { name: format!("{entry:?}"), entry, ..first });
}

/// A house with a SOCKS listener.
pub async fn with_socks() -> House {
    plan().settings(|settings| listener(settings, Entry::Socks5)).build().await
}

/// The address of the second listener.
pub fn second(house: &House) -> SocketAddr {
    house.running.proxies[1]
}

/// A raw connection to the second listener.
pub async fn raw(house: &House, from: IpAddr) -> Raw<tokio::net::TcpStream> {
    Raw::new(dial(from, second(house)).await)
}

/// Runs curl as the uploader.
pub async fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--noproxy", "", "--interface", "127.0.0.5"]).args(arguments);
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("a task");
    done.expect("curl runs; tests/run installs it")
}

/// The certificate that clients of a house must trust.
pub fn authority(house: &House) -> String {
    house.folder.path().join("ca.pem").display().to_string()
}

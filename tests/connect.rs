//! CONNECT: opened with the organisation's own authority, refused, or relayed unread; with curl and with raw bytes.

mod support;

#[path = "connect/interception.rs"]
mod interception;

#[path = "connect/tunnels.rs"]
mod tunnels;

use std::sync::Arc;

use support::{House, Plan, Site};
use tasrih::clock::ManualClock;
use tasrih::config::Settings;
use tasrih::tls::recipient::Issuing;

const NOW: &str = "2026-05-02T12:00:00Z";

const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: loopback, networks: [127.0.0.1/32], carries: [x:CCTVFrame]}
recipients:
  - id: opened
    name: Opened
    country: FR
    destinations: [{host: tls.example, port: {port:tls.example}}]
  - id: relayed
    name: Relayed
    country: FR
    destinations: [{host: tunnel.example, port: {port:tunnel.example}, interception: never}]
transfers:
  - id: frames
    processing: cctv
    from: [uploader, loopback]
    to: opened
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    requests: {paths: [/cctv/**]}
  - id: unread
    processing: cctv
    from: [uploader, loopback]
    to: relayed
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-2/2023, status: granted, valid_from: 2023-02-21}
    LIMITS
"
);

/// A recipient to intercept, one to tunnel to, one that nobody declared.
async fn house() -> House {
    plan("").site("tunnel.example", Site::Tls).build().await
}

fn plan(limits: &str) -> Plan {
    let clock = Arc::new(ManualClock::at(NOW.parse().expect("a time")));
    let plan = Plan::new(&REGISTER.replace("LIMITS", limits)).clock(clock);
    plan.site("tls.example", Site::Tls).site("undeclared.example", Site::Tls)
}

/// The same with a tunnel to a recipient of the test's own.
async fn house_to(
    stand: &support::stand::Stand,
    limits: &str,
    issuing: &Issuing,
    change: impl FnOnce(&mut Settings) + Send + 'static,
) -> House {
    plan(limits).place("tunnel.example", stand.address).root(issuing.certificate_pem()).settings(change).build().await
}

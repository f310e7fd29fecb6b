//! A little of everything that a proxy meets, for as long as a test needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tasrih::demo::uploader::Uploader;
use tasrih::tls::{Root, Trust};
use tokio::task::JoinHandle;

use super::support::{House, OFFICE, Plan, STRANGER, Site, UPLOADER, frame, get};

pub const MINISTRY: &str = "intake.ministry-a.example";
const VENDOR: &str = "pinned.vendor.example";
pub const UNDECLARED: &str = "undeclared.example";

const REGISTER: &str = concat!(
    include_str!("../support/case.yaml"),
    r"sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame], interception: required}
  - {id: office, networks: [127.0.0.6/32], mode: observe}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations: [{host: intake.ministry-a.example, port: {port:intake.ministry-a.example}}]
  - id: ministry-b
    name: Ministry B
    country: FR
    destinations: [{host: intake.ministry-b.example}]
transfers:
  - id: cctv-to-ministry-b
    processing: cctv
    from: [cctv-uploader]
    to: ministry-b
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-2/2023, status: granted, valid_from: 2023-02-21}
  - id: cctv-to-ministry-c
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-3/2023, status: granted, valid_from: 2023-02-21, valid_until: 2024-02-20}
    requests: {methods: [PUT], paths: [/elsewhere/**], content_types: [image/jpeg]}
  - id: cctv-to-ministry-a
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21, valid_until: 2099-02-20}
    requests: {methods: [POST, PUT], paths: [/cctv/**], content_types: [image/jpeg]}
    limits: {min_interval: PT1S}
allowances:
  - id: pinned-updater
    to: [{host: pinned.vendor.example, port: {port:pinned.vendor.example}, interception: never}]
    from: [office]
    note: an updater that accepts no other certificate
    unread: {max_bytes_up: 64KiB, max_duration: PT10M, reason: pinned updater, until: 2099-12-31}
orders:
  - {authority: CNDP, ref: D-1/2026, date: 2026-01-02, action: suspend, scope: recipient:ministry-b}
  - {authority: CNDP, ref: D-2/2026, date: 2026-01-02, action: comply, due: 2026-02-28}
"
);

/// A proxy with a declared recipient, a tunnel that may pass, and a host that nobody declared.
pub async fn house() -> House {
    plan(REGISTER).build().await
}

/// The same, where frames may follow each other at once.
pub async fn house_without_interval() -> House {
    plan_without_interval().build().await
}

pub fn plan_without_interval() -> Plan {
    plan(&REGISTER.replace("    limits: {min_interval: PT1S}\n", ""))
}

fn plan(register: &str) -> Plan {
    Plan::new(register).site(MINISTRY, Site::Tls).site(VENDOR, Site::Tls).site(UNDECLARED, Site::Tls)
}

/// A client that trusts the recipients themselves: inside a tunnel it is their certificate that is seen.
pub fn updater(house: &House) -> Uploader {
    let trust = Trust::new(&[Root::File(house.folder.path().join("roots.pem"))]).expect("trust");
    Uploader { proxy: house.proxy(), from: OFFICE, trust }
}

/// Where the updater asks.
pub fn update(house: &House) -> String {
    format!("{}/update", house.base("https", VENDOR))
}

/// Clients that go on until they are stopped.
pub struct Traffic {
    ended: Arc<AtomicBool>,
    clients: JoinHandle<()>,
}

impl Traffic {
    pub fn start(house: &House) -> Traffic {
        let ended = Arc::new(AtomicBool::new(false));
        let (uploader, stranger, office) = (house.client(UPLOADER), house.client(STRANGER), house.client(OFFICE));
        let (updater, update) = (updater(house), update(house));
        let upload = format!("{}/cctv/entrance", house.base("https", MINISTRY));
        let elsewhere = format!("{}/", house.base("https", UNDECLARED));
        let stop = ended.clone();
        let clients = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // What becomes of each is not asked here: refusals are a part of the traffic.
                let _ = uploader.send(frame(upload.clone())).await;
                let _ = uploader.send(get(elsewhere.clone())).await;
                let _ = updater.send(get(update.clone())).await;
                let _ = office.send(get(elsewhere.clone())).await;
                let _ = stranger.send(get(elsewhere.clone())).await;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Traffic { ended, clients }
    }

    pub async fn stop(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.await.expect("the clients end");
    }
}

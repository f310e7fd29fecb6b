//! What a decision costs: the stages from head to verdict, and a refusal at the head, on small and large registers.
//!
//! `cargo bench --bench decision`. Plain timing without a framework: each figure is the median of many rounds.

#![allow(clippy::panic, reason = "a bench that cannot be set up has nothing to measure")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tasrih::destination::{AddressRules, Destination, Host, RequestPath, Scheme};
use tasrih::inspect;
use tasrih::policy::{
    BodyFacts, ConnectionFacts, DeclaredBody, Digest, EntryPoint, Head, Ledger, Peer, Request, Sent, TlsFacts,
    TlsVersion, admit,
};
use tasrih::register::Register;
use tasrih::register::compile::{Text, compile};

const ROUNDS: usize = 101;
const EACH: u32 = 200;

fn main() {
    for transfers in [1, 100, 1000] {
        let register = register(transfers);
        report(transfers, "permit", || permit(&register));
        report(transfers, "denial", || refuse(&register));
    }
}

fn report(transfers: usize, what: &str, mut decide: impl FnMut()) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..EACH).for_each(|_| decide());
            start.elapsed() / EACH
        })
        .collect();
    rounds.sort();
    println!("{transfers:>5} transfers  {what}  {:>10.2?}", rounds[ROUNDS / 2]);
}

/// From head to verdict, settled.
fn permit(register: &Arc<Register>) {
    let (rules, mut ledger) = (AddressRules::default(), Ledger::default());
    let permit = admit(register, &rules, &mut ledger, head("recipient-0.example")).expect("declared");
    let pinned = permit.pin(&rules, &["8.8.8.8".parse().expect("an address")]).expect("global");
    let tls = TlsFacts { version: TlsVersion::V1_3, sni: Some("recipient-0.example".into()), spki_sha256: None };
    let facts =
        ConnectionFacts { address: pinned.addresses()[0], tls: Some(tls), country: None, certificate_ends: None };
    let connected = pinned.connected(facts).expect("the recipient");
    let mut inspector = inspect::body(Some("image/jpeg"), None);
    inspector.push(b"\xFF\xD8\xFF\xE0\x00\x10JFIF\x00");
    let body = BodyFacts { size: 64, digest: Some(Digest([1; 32])), findings: inspector.findings() };
    let mut verdict = connected.judge(&mut ledger, body).expect("declared");
    let sent = Sent { bytes: 64, content_left: true, answered_2xx: true, time: noon() };
    ledger.settle(black_box(&mut verdict).take_reservations(), sent);
}

/// Nothing is declared for the host.
fn refuse(register: &Arc<Register>) {
    let denial = admit(register, &AddressRules::default(), &mut Ledger::default(), head("nobody.example"));
    black_box(denial.is_err());
}

fn head(host: &str) -> Head {
    Head {
        time: noon(),
        entry: EntryPoint::Connect,
        peer: Peer::at("10.20.0.5".parse().expect("an address")),
        destination: Destination { scheme: Scheme::Https, host: Host::parse(host).expect("a host"), port: 443 },
        request: Some(Request {
            method: "POST".into(),
            path: RequestPath::parse("/cctv/cam1").expect("a path"),
            content_type: Some("image/jpeg".into()),
            body: DeclaredBody::Length(64),
            target: inspect::target(None),
            path_digest: Digest([0; 32]),
        }),
    }
}

fn noon() -> Timestamp {
    "2024-05-02T11:00:00Z".parse().expect("a time")
}

/// One source, and as many recipients as transfers.
fn register(transfers: usize) -> Arc<Register> {
    let mut text = String::from(
        "schema: tasrih/1\ncontroller: {name: C, country: MA, time_zone: Africa/Casablanca}\nprocessing:\n  - {id: cctv, \
         purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], receipt: {kind: declaration, authority: CNDP, \
         ref: D-1/2022}}\nsources:\n  - {id: uploader, networks: [10.20.0.0/28], carries: [x:CCTVFrame]}\nrecipients:\n",
    );
    for number in 0..transfers {
        let _ = writeln!(
            text,
            "  - {{id: r{number}, name: R, country: FR, destinations: [{{host: recipient-{number}.example, port: 443}}]}}"
        );
    }
    text.push_str("transfers:\n");
    for number in 0..transfers {
        let _ = writeln!(
            text,
            "  - {{id: t{number}, processing: cctv, from: [uploader], to: r{number}, regimes: [ma-09-08], legal_basis: \
             {{ma-09-08: ma-0908:A43}}, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], filing: \
             {{authority: CNDP, ref: A-1/2023, status: granted}}, requests: {{methods: [POST], paths: [/cctv/**]}}, \
             limits: {{min_interval: PT5M, max_per_day: 288, max_body: 2MiB, retries: 3}}}}"
        );
    }
    let compiled = compile(&[Text { name: "bench.yaml".into(), text }]);
    Arc::new(compiled.unwrap_or_else(|faults| panic!("{faults}")).register)
}

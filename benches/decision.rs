//! What a decision costs: the stages from head to verdict, and a refusal at the head, on small and large registers.
//!
//! `cargo bench --bench decision`. Plain timing without a framework: each figure is the median (p50) and the 99th
//! percentile of many rounds of 200 decisions, and the ratio says what a larger register costs.

#![allow(clippy::panic, reason = "a bench that cannot be set up has nothing to measure")]

#[path = "support/registers.rs"]
mod registers;

use std::hint::black_box;
use std::net::IpAddr;
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
use tasrih::register::compile::compile;

/// As in `main.rs`. The C library's allocator is slow after a large register was compiled: what was freed lies in pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROUNDS: usize = 101;
const EACH: usize = 200;
/// How many transfers of a register are decided on in turn.
const VARIETY: usize = 1_024;

fn main() {
    let small = measure(1);
    for transfers in [1_000, 100_000] {
        let large = measure(transfers);
        let ratio = |at: usize| large[at].as_secs_f64() / small[at].as_secs_f64();
        println!("{transfers:>7} / 1      permit {:.2}, denial {:.2}", ratio(0), ratio(1));
    }
}

/// Median of a permit and of a denial on a register with so many transfers.
fn measure(transfers: usize) -> [Duration; 2] {
    let compiled = compile(&registers::texts(transfers)).unwrap_or_else(|faults| panic!("{faults}"));
    let register = Arc::new(compiled.register);
    // Spread over the register, so that large ones do not answer from the processor's cache alone.
    let numbers: Vec<usize> = (0..VARIETY).map(|step| step * 7_919 % transfers).collect();
    let heads: Vec<Head> = numbers
        .iter()
        .map(|number| head(registers::address(*number, transfers).into(), &registers::host(*number)))
        .collect();
    let nobody = head(registers::address(0, transfers).into(), "nobody.example");
    let asks = |round: usize| Asked::of(&heads[round % VARIETY]);
    [
        report(transfers, "permit", asks, |asked| permit(&register, asked)),
        report(transfers, "denial", |_| Asked::of(&nobody), |asked| refuse(&register, asked)),
    ]
}

/// What is gathered is made ready before the clock runs: only deciding is timed.
fn report(transfers: usize, what: &str, asks: impl Fn(usize) -> Asked, mut decide: impl FnMut(&mut Asked)) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let mut asked: Vec<Asked> = (0..EACH).map(|each| asks(round * EACH + each)).collect();
            let start = Instant::now();
            asked.iter_mut().for_each(&mut decide);
            start.elapsed() / EACH as u32
        })
        .collect();
    rounds.sort();
    let (median, most) = (rounds[ROUNDS / 2], rounds[ROUNDS * 99 / 100]);
    println!("{transfers:>7} transfers  {what}  p50 {median:>9.2?}  p99 {most:>9.2?}");
    median
}

/// What is seen of an exchange, and counters of its own: the same transfer would be too frequent for the next.
struct Asked {
    head: Option<Head>,
    rules: AddressRules,
    ledger: Ledger,
    resolved: [IpAddr; 1],
    tls: Option<TlsFacts>,
    body: Option<BodyFacts>,
    sent: Option<Sent>,
}

impl Asked {
    fn of(head: &Head) -> Asked {
        let mut inspector = inspect::body(Some("image/jpeg"), None);
        inspector.push(b"\xFF\xD8\xFF\xE0\x00\x10JFIF\x00");
        let sni = Some(head.destination.host.to_string());
        Asked {
            head: Some(head.clone()),
            rules: AddressRules::default(),
            ledger: Ledger::default(),
            resolved: ["8.8.8.8".parse().expect("an address")],
            tls: Some(TlsFacts { version: TlsVersion::V1_3, sni, spki_sha256: None }),
            body: Some(BodyFacts { size: 64, digest: Some(Digest([1; 32])), findings: inspector.findings() }),
            sent: Some(Sent { bytes: 64, content_left: true, answered_2xx: true, time: noon() }),
        }
    }
}

/// From head to verdict, settled.
fn permit(register: &Arc<Register>, asked: &mut Asked) {
    let Asked { head, rules, ledger, resolved, tls, body, sent } = asked;
    let permit = admit(register, rules, ledger, head.take().expect("asked once")).expect("declared");
    let pinned = permit.pin(rules, resolved).expect("global");
    let address = pinned.addresses()[0];
    let facts = ConnectionFacts { address, tls: tls.take(), country: None, certificate_ends: None };
    let connected = pinned.connected(facts).expect("the recipient");
    let mut verdict = connected.judge(ledger, body.take().expect("asked once")).expect("declared");
    ledger.settle(black_box(&mut verdict).take_reservations(), sent.take().expect("asked once"));
}

/// Nothing is declared for the host.
fn refuse(register: &Arc<Register>, asked: &mut Asked) {
    let Asked { head, rules, ledger, .. } = asked;
    let denial = admit(register, rules, ledger, head.take().expect("asked once"));
    black_box(denial.is_err());
}

fn head(source: IpAddr, host: &str) -> Head {
    Head {
        time: noon(),
        entry: EntryPoint::Connect,
        peer: Peer::at(source),
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

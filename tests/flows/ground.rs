//! A state folder of a day of the case: frames to ministry A, to ministry B and to nobody that is declared.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tasrih::audit::{Audit, Options};
use tasrih::clock::ManualClock;
use tasrih::destination::{Destination, Scheme};
use tasrih::inspect::Content;
use tasrih::inspect::format::Format;
use tasrih::policy::{Decision, End, Reason};
use tasrih::record::{DecisionRecord, OutcomeRecord};

use crate::exchanges::{denial, host, permit};

/// Half past eight of a day in May 2024, in UTC.
pub fn morning() -> Timestamp {
    "2024-05-02T08:30:00Z".parse().expect("a time")
}

/// The frame to a host that nobody declared, from a declared source or from an address.
pub fn to_nobody(time: Timestamp, name: &str, declared_source: bool) -> DecisionRecord {
    let mut record = denial(time);
    record.reason = Some(Reason::NoDeclaration);
    record.recipient = None;
    record.candidates = Vec::new();
    record.exchange.address = None;
    record.exchange.country = None;
    record.exchange.tls = None;
    record.exchange.destination = Some(Destination { scheme: Scheme::Https, host: host(name), port: 443 });
    if !declared_source {
        record.exchange.source = None;
        record.exchange.peer = "10.30.0.7:40000".parse().expect("an address");
        record.reason = Some(Reason::SourceUnknown);
    }
    record
}

/// Every five minutes a frame to each of the ministries and one to `frames.elsewhere.example`; now and then something of
/// a desk.
pub async fn a_day(state: &Path) {
    let clock = Arc::new(ManualClock::at(morning()));
    let (audit, _) = Audit::open(state, Options { clock: clock.clone(), ..Options::default() }).expect("a new log");
    for frame in 0..40u64 {
        let now = audit.clock().now();
        let mut frame_record = permit(now);
        frame_record.findings.content = Content::Image(Format::Jpeg);
        let recorded = audit.permit(frame_record).await.expect("recorded");
        let sent = OutcomeRecord {
            status: Some(200),
            bytes_out: 204_800,
            content_left: true,
            ..recorded.outcome(End::Answered)
        };
        audit.close(recorded, sent);
        let mut refused = denial(now);
        refused.exchange.destination =
            Some(Destination { scheme: Scheme::Https, host: host("recepcion.ministry-b.example"), port: 443 });
        audit.deny(refused).await.expect("recorded");
        audit.deny(to_nobody(now, "frames.elsewhere.example", true)).await.expect("recorded");
        if frame % 2 == 1 && frame % 3 == 0 {
            audit.deny(to_nobody(now, "news.example", false)).await.expect("recorded");
        }
        clock.advance(Duration::from_secs(298 + (frame * 7) % 5));
    }
    audit.finish().await;
}

/// Runs the program in the tree, in UTC.
pub fn tasrih(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("TZ", "UTC").args(arguments);
    command.output().expect("the program starts")
}

/// What it printed; it must have ended with this code.
pub fn said(arguments: &[&str], code: i32) -> String {
    let output = tasrih(arguments);
    let faults = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {faults}");
    String::from_utf8(output.stdout).expect("text")
}

/// The decision on a question against the policy files of a folder.
pub fn decided(policies: &Path, source: &str, url: &str) -> (Decision, Option<Reason>) {
    use tasrih::destination::AddressRules;
    use tasrih::policy::Peer;
    use tasrih::policy::dry::{Question, Supposed, answer};
    let texts = tasrih::folder::read(policies).expect("readable");
    let compiled = tasrih::register::compile::compile(&texts).unwrap_or_else(|faults| panic!("{faults}"));
    let frame = std::fs::read("policies/cases/frame.jpg").expect("the frame");
    let question = Question {
        at: morning(),
        peer: Peer { address: source.parse().expect("an address"), certificate: Vec::new(), user: None },
        method: "POST".to_owned(),
        url: url.to_owned(),
        content_type: Some("image/jpeg".to_owned()),
        body: Some(frame),
        supposed: Supposed::default(),
    };
    let answer = answer(&Arc::new(compiled.register), &AddressRules::default(), &question);
    (answer.decision, answer.reason())
}

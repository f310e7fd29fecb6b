//! Every shape of record is an OCSF event, within its bound, and reads back; and the check can fail.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tasrih::destination::{Destination, Scheme};
use tasrih::policy::{CandidateKind, CandidateReport, Decision, End, Reason};
use tasrih::record::past::{self, Interrupted, Kind};
use tasrih::record::{
    Asker, DecisionRecord, Exchange, Folded, Heartbeat, Lifecycle, LifecycleRecord, MAX_BYTES, OUTCOME_MARGIN, Origin,
    OutcomeRecord, RecognisedFlow, Record, Since,
};
use tasrih::register::Version;

use crate::exchanges::{denial, exchange, host, id, permit};
use crate::{noon, ocsf, understood};

fn json_of(record: &Record) -> Vec<u8> {
    record.to_json(42, "tasrih/egress-1", noon())
}

fn decided(record: DecisionRecord) -> Vec<u8> {
    json_of(&Record::Decision(record.into()))
}

fn tunnel(exchange: Exchange) -> Exchange {
    Exchange { request: None, ..exchange }
}

#[test]
fn a_permit_reads_back() {
    let past = understood(&decided(permit(noon())));
    assert_eq!((past.kind, past.sequence, past.time), (Kind::Decision, 42, noon()));
    assert_eq!(past.exchange, Some(past.uid));
    assert_eq!(past.used, Some((CandidateKind::Transfer, "cctv-to-ministry-a".to_owned())));
    assert_eq!((past.filing.as_deref(), past.receipt.as_deref()), (Some("A-GC-1/2023"), Some("D-GC-298/2022")));
    assert_eq!(past.destination.as_deref(), Some("intake.ministry-a.example:443"));
    assert_eq!(past.request, Some(("POST".to_owned(), "/cctv/*".to_owned())));
    assert_eq!(past.body.map(|body| body.0), Some(204_800));
    assert!(past.has_content);
}

#[test]
fn each_reason_makes_a_valid_denial_of_a_request_and_of_a_tunnel() {
    for reason in Reason::ALL {
        let request = DecisionRecord { reason: Some(reason), status: Some(reason.status()), ..denial(noon()) };
        assert_eq!(understood(&decided(request.clone())).reason, Some(reason));
        let bare =
            Exchange { destination: None, source: None, tls: None, address: None, country: None, ..tunnel(exchange()) };
        assert_eq!(understood(&decided(DecisionRecord { exchange: bare, ..request })).reason, Some(reason));
    }
}

#[test]
fn each_end_makes_a_valid_outcome_within_its_reserved_room() {
    for end in End::ALL {
        for decision in [Decision::Permit, Decision::WouldDeny] {
            for exchange in [exchange(), tunnel(exchange())] {
                let decided_on = DecisionRecord { decision, exchange, ..permit(noon()) };
                let outcome = OutcomeRecord {
                    status: Some(503),
                    bytes_out: u64::MAX >> 11,
                    bytes_in: u64::MAX >> 12,
                    content_left: true,
                    duration: Duration::from_secs(u64::from(u32::MAX)),
                    ..OutcomeRecord::of(&decided_on, noon(), end)
                };
                let json = json_of(&Record::Outcome(Box::new(outcome)));
                assert_eq!((understood(&json).kind, understood(&json).end), (Kind::Outcome, Some(end)));
                assert!(json.len() <= decided(decided_on).len() + OUTCOME_MARGIN, "{end:?}");
            }
        }
    }
}

#[test]
fn an_interrupted_decision_becomes_a_valid_outcome_of_it() {
    for exchange in [exchange(), tunnel(exchange())] {
        let decision = decided(DecisionRecord { exchange, ..permit(noon()) });
        let later = noon() + SignedDuration::from_secs(90);
        let json = json_of(&Record::Interrupted(Box::new(Interrupted::new(&decision, later).expect("a decision"))));
        let past = understood(&json);
        assert_eq!((past.kind.clone(), past.end, past.time), (Kind::Outcome, Some(End::Interrupted), later));
        assert_eq!(past.exchange, understood(&decision).exchange);
        assert_eq!(past.sent(), None, "nobody knows what left, so that it counts as sent");
    }
}

fn origin() -> Origin {
    Origin {
        file: Some("cctv.yaml".to_owned()),
        owner: Some(1_000),
        commit: Some("93b5".repeat(10)),
        brought_by: Some("Amal B. <amal@visa-centre.example>".to_owned()),
        asked_by: Some(Asker { uid: 1000, user: Some("amal".to_owned()) }),
    }
}

pub fn flow() -> RecognisedFlow {
    RecognisedFlow {
        flow: "9962f344ef6f".to_owned(),
        source: "cctv-uploader".to_owned(),
        destination: "frames.elsewhere.example:443".to_owned(),
        recipient: None,
        period: Duration::from_secs(300),
        jitter_percent: 1,
        count: 24,
        first: noon(),
        reason: Reason::NoDeclaration,
    }
}

#[test]
fn each_happening_of_the_proxy_is_a_valid_event() {
    let version = Version("5f2a".repeat(16).into());
    let beat = Heartbeat {
        register_version: version.clone(),
        permits: 3,
        denials: 2,
        would_denials: 1,
        open: 1,
        clock_ahead: Duration::from_millis(1_500),
    };
    for event in [
        Lifecycle::Start { interrupted: 2 },
        Lifecycle::Stop,
        Lifecycle::RegisterRefused { in_force: version.clone(), faults: 2, origin: origin() },
        Lifecycle::RegisterLoaded {
            version: version.clone(),
            transfers: 3,
            warnings: 0,
            origin: Origin::default(),
            since: Since::Unknown(version),
            kept: false,
            open_notices: 2,
        },
        Lifecycle::Heartbeat(beat),
        Lifecycle::TornTail { segment: "00000000000000000000.seg".to_owned(), offset: 99, bytes: 7 },
        Lifecycle::ClockStep { by: SignedDuration::from_secs(-3_600) },
        Lifecycle::RoomAgain { refused: 12 },
        Lifecycle::FlowRecognised(Box::new(flow())),
    ] {
        let record = LifecycleRecord { time: noon(), node: "egress-1".into(), event };
        assert!(matches!(understood(&json_of(&Record::Lifecycle(Box::new(record)))).kind, Kind::Lifecycle(_)));
    }
}

#[test]
fn odd_exchanges_are_valid_too() {
    let v6 = Destination { scheme: Scheme::Http, host: host("[2001:db8::1]"), port: 8080 };
    let odd = Exchange { destination: Some(v6), address: None, user: Some("amina".to_owned()), ..exchange() };
    assert_eq!(
        understood(&decided(DecisionRecord { exchange: odd, ..denial(noon()) })).destination.unwrap(),
        "[2001:db8::1]:8080"
    );

    let mut purge = permit(noon());
    purge.exchange.request.as_mut().unwrap().method = "PURGE".to_owned();
    assert_eq!(understood(&decided(purge)).request.unwrap().0, "PURGE");

    let mut texts = denial(noon());
    texts.detail = Some("\u{7f}\u{85}\u{2028}\u{feff}😀/\\\"\u{8}\u{c}\n\r\t\u{1f}المراقبة".to_owned());
    understood(&decided(texts));

    let folded = Folded { count: 812, since: noon(), opened_by: Some(exchange().id) };
    let past = understood(&decided(DecisionRecord { folded: Some(folded.clone()), ..denial(noon()) }));
    assert_eq!((past.count, past.exchange), (812, folded.opened_by.map(|id| id.to_string())));
}

#[test]
fn a_record_keeps_to_its_bound_and_says_that_it_was_cut() {
    let mut long = permit(noon());
    let request = long.exchange.request.as_mut().unwrap();
    request.path = "/é\u{1}".repeat(40_000);
    request.content_type = Some("x".repeat(70_000));
    long.detail = Some("\u{7}".repeat(70_000));
    long.exchange.user = Some("ü".repeat(70_000));
    let candidate =
        CandidateReport { id: id(&"a".repeat(200)), kind: CandidateKind::Transfer, failed: Reason::ALL.to_vec() };
    long.candidates = vec![candidate; 5_000];
    let json = decided(long);
    assert!(json.len() <= MAX_BYTES);
    understood(&json);
    let event: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(event["metadata"]["is_truncated"], json!(true));
}

#[test]
fn no_query_value_or_digest_key_is_shown() {
    let text = String::from_utf8(decided(permit(noon()))).unwrap();
    assert!(text.contains(r#""path_digest":"hmac-sha256:cdcd"#) && !text.contains("cam1") && !text.contains('?'));
}

/// The check can fail: what OCSF does not know, a wrong type number, a missing profile, a missing requirement, a loose
/// form.
#[test]
fn the_check_finds_faults() {
    let good: Value = serde_json::from_slice(&decided(permit(noon()))).unwrap();
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        ocsf::faults(&serde_json_canonicalizer::to_vec(&event).unwrap())
    };
    assert_eq!(spoil(&|_| {}), Vec::<String>::new());
    assert!(!spoil(&|event| event["src_endpoint"]["colour"] = json!("blue")).is_empty());
    assert!(!spoil(&|event| event["type_uid"] = json!(400_203)).is_empty());
    assert!(!spoil(&|event| event["metadata"]["profiles"] = json!(["datetime"])).is_empty());
    assert!(!spoil(&|event| drop(event.as_object_mut().unwrap().remove("time"))).is_empty());
    assert!(!spoil(&|event| drop(event["http_request"]["url"].as_object_mut().unwrap().remove("path"))).is_empty());
    assert!(!spoil(&|event| event["dst_endpoint"] = json!({ "port": 443 })).is_empty());
    assert!(!spoil(&|event| event["action"] = json!("Denied")).is_empty());
    assert!(!ocsf::faults(serde_json::to_string_pretty(&good).unwrap().as_bytes()).is_empty());
    assert!(past::read(b"{}").is_err());
}

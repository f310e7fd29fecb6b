//! Drafts of odd flows: each loads beside the register that it was made for, and permits nothing.

use std::fs;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tasrih::destination::{Destination, Host, Scheme};
use tasrih::flow::draft::{Answers, Draft, draft};
use tasrih::flow::{Flow, Flows, Shape, Sighting};
use tasrih::record::{DecisionRecord, Record, past};
use tasrih::register::Register;
use tasrih::register::compile::{Text, compile};
use tasrih::vocabulary::Country;

use crate::exchanges::denial;
use crate::ground::morning;

fn texts() -> Vec<Text> {
    let files = fs::read_dir("policies").expect("policies").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    let text = |path: std::path::PathBuf| Text {
        name: path.display().to_string(),
        text: fs::read_to_string(path).expect("text"),
    };
    files.into_iter().map(text).collect()
}

fn register(texts: &[Text]) -> Register {
    compile(texts).unwrap_or_else(|faults| panic!("{faults}")).register
}

/// The flow of a dozen such exchanges, one every ten minutes, as it is read back from the log.
fn flow(change: impl Fn(&mut DecisionRecord)) -> (Flow, Shape) {
    let (mut flows, mut shape) = (Flows::new(1), Shape::default());
    for number in 0..12 {
        let mut record = denial(morning() + SignedDuration::from_secs(600 * number));
        record.recipient = None;
        change(&mut record);
        let json = Record::Decision(Arc::new(record)).to_json(1, "tasrih/egress-1", Timestamp::UNIX_EPOCH);
        let past = past::read(&json).expect("a record");
        flows.see(&Sighting::of_past(&past).expect("a decision"));
        shape.take(&past);
    }
    (flows.sorted()[0].clone(), shape)
}

fn drafted(register: &Register, change: impl Fn(&mut DecisionRecord), country: Option<&str>) -> Draft {
    let (flow, shape) = flow(change);
    let answers = Answers { country: country.map(|code| Country::parse(code).expect("a country")), processing: None };
    draft(register, &flow, &shape, &answers, morning())
}

fn to(record: &mut DecisionRecord, scheme: Scheme, host: &str, port: u16) {
    let host = Host::parse(host).expect("a host");
    record.exchange.destination = Some(Destination { scheme, host, port });
    record.exchange.address = None;
    record.exchange.country = None;
}

#[test]
fn each_odd_flow_has_a_draft_that_loads() {
    type Change = fn(&mut DecisionRecord);
    let cases: [(&str, Change, &[&str]); 6] = [
        ("plain HTTP", |record| to(record, Scheme::Http, "frames.example", 80), &["        scheme: http", "port: 80"]),
        ("an IPv6 address", |record| to(record, Scheme::Https, "[2001:db8::1]", 8443), &["port: 8443", "2001:db8::1"]),
        (
            "a tunnel",
            |record| {
                to(record, Scheme::Https, "vpn.example", 443);
                record.exchange.request = None;
            },
            &["interception: never", "# ? A tunnel allows only limits"],
        ),
        (
            "an id that is taken",
            |record| {
                to(record, Scheme::Https, "ministry.a", 443);
                record.exchange.source = None;
            },
            &["  - id: ministry-a-2\n", "  - id: 10-20-0-5\n", "networks: [\"10.20.0.5/32\"]"],
        ),
        (
            "categories that were read",
            |record| {
                to(record, Scheme::Https, "hr.example", 443);
                record.categories = vec![
                    tasrih::vocabulary::Term::parse("pd:Passport", tasrih::vocabulary::TermKind::DataCategory)
                        .expect("a term"),
                ];
            },
            &["data_categories: [pd:Passport]", "  - id: processing-of-cctv-uploader\n", "purposes: [dpv:Purpose]"],
        ),
        (
            "a large body",
            |record| {
                to(record, Scheme::Https, "big.example", 443);
                record.body = Some(tasrih::record::BodyShown { size: 1_500_000, digest: None });
            },
            &["limits: {min_interval: PT600S, max_per_day: 144, max_body: 2048KiB}"],
        ),
    ];
    for (what, change, lines) in cases {
        let mut texts = texts();
        // An address of a declared source would be two sources at once.
        let register_before = if what == "an id that is taken" {
            texts.retain(|text| !text.text.contains("from: [cctv-uploader]") && !text.text.contains("sources:"));
            texts.push(Text {
                name: "recipient.yaml".into(),
                text: "recipients: [{id: ministry-a, name: A, country: FR, destinations: [{host: a.example}]}]".into(),
            });
            texts.retain(|text| !text.text.contains("allowances:"));
            register(&texts)
        } else {
            register(&texts)
        };
        let draft = drafted(&register_before, change, Some("FR"));
        assert!(draft.unanswered.is_empty(), "{what}: {:?}", draft.unanswered);
        for line in lines {
            assert!(draft.text.contains(line), "{what}: {line:?} is not in\n{}", draft.text);
        }
        texts.push(Text { name: "draft.yaml".to_owned(), text: draft.text.clone() });
        let after = compile(&texts).unwrap_or_else(|faults| panic!("{what}: {faults}\n{}", draft.text)).register;
        assert_eq!(after.transfers.len(), register_before.transfers.len() + 1, "{what}");
    }
}

#[test]
fn the_country_is_guessed_or_asked_for() {
    let register = register(&texts());
    let fr = drafted(&register, |record| to(record, Scheme::Https, "depot.exemple.fr", 443), None);
    assert!(fr.text.contains("    country: FR ") && fr.text.contains("# ? guessed"), "{}", fr.text);
    assert!(fr.unanswered.is_empty());
    let unknown = drafted(&register, |record| to(record, Scheme::Https, "depot.example", 443), None);
    assert_eq!(unknown.unanswered.len(), 1, "{}", unknown.text);
    let nobody = drafted(&self::register(&[]), |record| to(record, Scheme::Https, "depot.exemple.fr", 443), None);
    assert_eq!(nobody.unanswered, ["who the controller is: no policy file names one"]);
}

#[test]
fn texts_from_outside_end_no_comment_and_no_list() {
    let register = register(&texts());
    let draft = drafted(
        &register,
        |record| {
            to(record, Scheme::Https, "depot.exemple.fr", 443);
            record.exchange.source = None;
            record.exchange.user = Some("x\ntransfers: []".to_owned());
            let request = record.exchange.request.as_mut().expect("a request");
            request.content_type = Some("image/jpeg\", evil: \"x".to_owned());
            request.path = "/a]: }\n".to_owned();
        },
        None,
    );
    assert_eq!(draft.text.matches("transfers:").count(), 2, "{}", draft.text);
    assert!(!draft.text.lines().any(|line| line.starts_with("transfers: []")), "{}", draft.text);
    assert!(draft.text.contains(r#"content_types: ["image/jpeg\", evil: \"x"]"#), "{}", draft.text);
}

//! Observe lets through what is not declared, and says so; it never lifts orders, addresses or TLS identity.

use tasrih::policy::dry::Supposed;
use tasrih::policy::{DeclaredBody, Reason};

use crate::harness::{CLOCKS, Edit, Line, Send, body, check, check_permitted, frame, get, register, time};

const OBSERVE: Edit = ("mode: enforce", "mode: observe");
const ALLOWANCES: &str = "allowances:\n";

fn ordered(scope: &str) -> Edit {
    let text = format!(
        "orders:\n  - {{authority: CNDP, ref: o, action: suspend, date: 2023-01-01, scope: \"{scope}\"}}\nallowances:\n"
    );
    (ALLOWANCES, Box::leak(text.into_boxed_str()))
}

#[test]
fn what_is_not_declared_is_let_through_and_told() {
    let observed = |sent: &Send, reason: Reason| check(&[OBSERVE], sent, &format!("would-deny {reason}"));
    let path = |url| Send { url, ..frame() };
    observed(&Send { source: "10.99.0.1", ..frame() }, Reason::SourceUnknown);
    observed(&path("https://nobody.example/"), Reason::NoDeclaration);
    observed(&path("https://intake.ministry-a.example:8443/"), Reason::PortNotDeclared);
    observed(&path("http://intake.ministry-a.example/"), Reason::CleartextNotDeclared);
    observed(&Send { source: "10.30.0.1", ..frame() }, Reason::SourceNotDeclared);
    observed(&path("https://intake.ministry-a.example/x"), Reason::PathNotDeclared);
    observed(&Send { body: Some(b"names".to_vec()), ..frame() }, Reason::Uninspectable);
    observed(&Send { previous: vec!["09:59:00"], ..frame() }, Reason::TooFrequent);
    check(&[OBSERVE, ("status: granted", "status: draft")], &frame(), "would-deny filing-not-granted");
    check_permitted(&[OBSERVE], &frame());
}

#[test]
fn orders_addresses_and_identity_are_never_lifted() {
    let refused = |edits: &[Edit], sent: &Send, reason: Reason| {
        check(&[&[OBSERVE], edits].concat(), sent, &format!("denial {reason}"));
    };
    let supposed = |supposed| Send { supposed, ..frame() };
    for scope in ["everything", "recipient:ministry-a", "source:cctv-uploader", "transfer:cctv-to-ministry-a"] {
        refused(&[ordered(scope)], &frame(), Reason::SuspendedByOrder);
    }
    // An order outlives what observe would lift beside it: an unknown source, a path that is not declared.
    refused(&[ordered("everything")], &Send { source: "10.99.0.1", ..frame() }, Reason::SuspendedByOrder);
    let elsewhere = Send { url: "https://intake.ministry-a.example/x", ..frame() };
    refused(&[ordered("transfer:cctv-to-ministry-a")], &elsewhere, Reason::SuspendedByOrder);
    refused(&[], &get("https://127.0.0.1/"), Reason::AddressRefused);
    refused(&[], &get("https://0177.0.0.1/"), Reason::NumericHost);
    let metadata = Supposed { addresses: vec!["169.254.169.254".parse().expect("an address")], ..Supposed::default() };
    refused(&[], &supposed(metadata.clone()), Reason::AddressRefused);
    refused(&[], &Send { url: "https://nobody.example/", ..supposed(metadata) }, Reason::AddressRefused);
    let misled = Supposed { sni: Some("other.example".into()), ..Supposed::default() };
    refused(&[], &supposed(misled.clone()), Reason::SniMismatch);
    refused(&[], &Send { url: "https://nobody.example/", ..supposed(misled) }, Reason::SniMismatch);
    let unrecorded = Supposed { record_unavailable: true, ..Supposed::default() };
    refused(&[], &Send { url: "https://nobody.example/", ..supposed(unrecorded) }, Reason::RecordUnavailable);
}

#[test]
fn the_strictest_explicit_mode_counts_else_the_registers() {
    let transfer = |mode: &'static str| -> Edit { ("    data_subjects: [dpv:Visitor]\n    filing", mode) };
    let observing = transfer("    data_subjects: [dpv:Visitor]\n    mode: observe\n    filing");
    let enforcing = transfer("    data_subjects: [dpv:Visitor]\n    mode: enforce\n    filing");
    let source = |mode: &'static str| -> Edit { ("carries: [x:CCTVFrame]}", mode) };
    let watched = source("carries: [x:CCTVFrame], mode: observe}");
    let strict = source("carries: [x:CCTVFrame], mode: enforce}");
    let elsewhere = Send { url: "https://intake.ministry-a.example/x", ..frame() };
    let undeclared = Send { url: "https://nobody.example/x", ..frame() };
    check(&[observing], &elsewhere, "would-deny path-not-declared");
    check(&[OBSERVE, enforcing], &elsewhere, "denial path-not-declared");
    check(&[watched, enforcing], &elsewhere, "denial path-not-declared");
    check(&[strict, observing], &elsewhere, "denial path-not-declared");
    check(&[watched, observing], &elsewhere, "would-deny path-not-declared");
    // Without candidates only the source has a word, and else the register.
    check(&[observing], &undeclared, "denial no-declaration");
    check(&[watched], &undeclared, "would-deny no-declaration");
    check(&[OBSERVE, strict], &undeclared, "denial no-declaration");
}

#[test]
fn observe_ends_with_its_last_day() {
    let undeclared = Send { url: "https://nobody.example/x", ..frame() };
    let until = |mode: &'static str| -> Edit { ("mode: enforce", mode) };
    check(&[until("mode: {is: observe, until: DAY}")], &undeclared, "would-deny no-declaration");
    check(&[until("mode: {is: observe, until: EVE}")], &undeclared, "denial no-declaration");
}

#[test]
fn a_would_deny_leaves_under_nothing_and_charges_nothing() {
    let noon = time("2024-05-02T11:00:00Z");
    let mut line = Line::new(register(&[OBSERVE], CLOCKS[0]));
    let mut verdict = line.offer(noon, b"names").expect("observed");
    assert_eq!(verdict.used(), None);
    assert_eq!(verdict.would_deny().map(|denial| denial.reason), Some(Reason::Uninspectable));
    assert!(verdict.take_reservations().is_empty());
    assert_eq!(line.send(noon, &body(1), 200), Ok(()));
    let permit = line.admit(Line::head(noon, DeclaredBody::Length(10))).expect("observed");
    assert_eq!(permit.would_deny().map(|denial| denial.reason), Some(Reason::TooFrequent));
    assert_eq!(permit.obligations().max_body, None);
}

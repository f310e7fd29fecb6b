//! Candidates are judged whole and alone, never added up; one of them is used and charged.

use std::sync::Arc;

use tasrih::policy::{CandidateKind, Reason};
use tasrih::register::Register;

use crate::harness::{
    CLOCKS, Edit, Line, POLICY, Send, body, check, check_permitted, check_refused, compiled, frame, time,
};

const ALLOWANCES: &str = "allowances:\n";
const CARRIES: &str = "carries: [x:CCTVFrame]";

/// A second transfer to the same recipient, as text in front of the allowances.
fn beside(transfer: &str) -> Edit {
    let text = format!(
        "  - id: second\n    processing: cctv\n    from: [cctv-uploader]\n    to: ministry-a\n    regimes: [ma-09-08]\n    \
         legal_basis: {{ma-09-08: ma-0908:A43}}\n    purposes: [dpv:EnforceSecurity]\n{transfer}allowances:\n"
    );
    (ALLOWANCES, Box::leak(text.into_boxed_str()))
}

const GRANTED: &str = "    filing: {authority: CNDP, form: F118, ref: A-GC-2/2023, status: granted}\n";

fn second(categories: &str, rest: &str) -> Edit {
    beside(&format!("    data_categories: [{categories}]\n{GRANTED}{rest}"))
}

#[test]
fn categories_of_two_transfers_never_add_up() {
    let both = (CARRIES, "carries: [x:CCTVFrame, pd:Passport]");
    check_refused(&[both, second("pd:Passport", "")], &frame(), Reason::CategoryNotDeclared);
    check(&[both, second("pd:Passport, x:CCTVFrame", "")], &frame(), "permit under transfer second");
}

#[test]
fn requests_and_filing_of_two_transfers_never_add_up() {
    let draft = beside("    data_categories: [x:CCTVFrame]\n    filing: {authority: CNDP, status: draft}\n");
    let patch = Send { method: "PATCH", ..frame() };
    // One is granted but has no PATCH, the other has any method but is a draft: the first came furthest.
    check_refused(&[draft], &patch, Reason::MethodNotDeclared);
    let answer = patch.ask(&crate::harness::register(&[draft], CLOCKS[0]), CLOCKS[0]);
    let denial = answer.denial.expect("refused");
    let failed: Vec<(&str, &[Reason])> =
        denial.candidates.iter().map(|report| (report.id.as_str(), report.failed.as_slice())).collect();
    assert_eq!(
        failed,
        [("cctv-to-ministry-a", &[Reason::MethodNotDeclared][..]), ("second", &[Reason::FilingNotGranted][..])]
    );
}

#[test]
fn every_failing_condition_of_a_stage_is_recorded_and_the_first_is_the_reason() {
    let sent =
        Send { method: "PATCH", url: "https://intake.ministry-a.example/x", content_type: Some("a/b"), ..frame() };
    let answer = sent.ask(&crate::harness::register(&[], CLOCKS[0]), CLOCKS[0]);
    let denial = answer.denial.expect("refused");
    assert_eq!(denial.reason, Reason::MethodNotDeclared);
    assert_eq!(
        denial.candidates[0].failed,
        [Reason::MethodNotDeclared, Reason::PathNotDeclared, Reason::ContentTypeNotDeclared]
    );
}

#[test]
fn used_is_the_transfer_then_the_fewest_categories_then_the_smaller_id() {
    let open = (ALLOWANCES, "allowances:\n  - {id: aaa, to: [{host: intake.ministry-a.example}], from: [any]}\n");
    let get = Send { method: "GET", body: None, content_type: None, ..frame() };
    check_permitted(&[open, ("methods: [POST, PUT]", "methods: [GET]")], &get);
    check(&[open], &get, "permit under allowance aaa");
    check_permitted(&[second("x:CCTVFrame", "")], &frame());
    check_permitted(&[second("x:CCTVFrame, pd:Passport", "")], &frame());
    check(
        &[
            second("pd:Picture", ""),
            (
                "data_categories: [x:CCTVFrame]\n    data_subjects: [dpv:Visitor]\n    filing",
                "data_categories: [x:CCTVFrame, pd:Passport]\n    data_subjects: [dpv:Visitor]\n    filing",
            ),
        ],
        &frame(),
        "permit under transfer second",
    );
}

#[test]
fn a_transfer_that_is_too_frequent_leaves_the_other_one() {
    let sent = Send { previous: vec!["09:59:00"], ..frame() };
    check(&[second("x:CCTVFrame, pd:Passport", "")], &sent, "permit under transfer second");
}

#[test]
fn only_the_limits_of_the_one_that_is_used_are_charged() {
    let noon = time("2024-05-02T11:00:00Z");
    let limits = second("x:CCTVFrame, pd:Passport", "    limits: {min_interval: PT5M, retries: 1}\n");
    let mut line = Line::new(crate::harness::register(&[limits], CLOCKS[0]));
    // The first is used; the second, judged too, is given back, and so takes the next exchange.
    for expected in ["cctv-to-ministry-a", "second"] {
        let verdict = line.offer(noon, &body(1)).unwrap_or_else(|denial| panic!("{}", denial.reason));
        let used = verdict.used().expect("used");
        assert_eq!((used.kind, used.id.as_str()), (CandidateKind::Transfer, expected));
        line.end(verdict, noon, Some(200));
    }
    let refused = line.offer(noon, &body(3)).expect_err("both are charged");
    assert_eq!(refused.reason, Reason::TooFrequent);
    assert_eq!(refused.candidates.len(), 2);
}

#[test]
fn the_nearest_declaration_says_why_a_destination_is_not_declared() {
    let elsewhere = POLICY.replace(ALLOWANCES, "allowances:\n  - {id: desk-only, to: [{host: intake.ministry-a.example, port: 8443}], from: [desk]}\n  - {id: wide, to: [{host: any, scheme: http, port: 8080}], from: [desk]}\n");
    let register: Arc<Register> = compiled(&elsewhere);
    let reason = |url| Send { url, ..frame() }.ask(&register, CLOCKS[0]).reason();
    // Declared for this source on 443, for another on 8443: the latter lacks only the source.
    assert_eq!(reason("https://intake.ministry-a.example:8443/"), Some(Reason::SourceNotDeclared));
    assert_eq!(reason("https://intake.ministry-a.example:9443/"), Some(Reason::PortNotDeclared));
    assert_eq!(reason("http://intake.ministry-a.example:443/"), Some(Reason::CleartextNotDeclared));
    // `host: any` declares no host in particular.
    assert_eq!(reason("http://elsewhere.example:8080/"), Some(Reason::SourceNotDeclared));
    assert_eq!(reason("http://elsewhere.example/"), Some(Reason::NoDeclaration));
}

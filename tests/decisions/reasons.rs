//! Every reason that policy can give, once refused and once missed by a hair.

use std::collections::BTreeSet;

use tasrih::policy::dry::Supposed;
use tasrih::policy::{Reason, TlsVersion};
use tasrih::vocabulary::Country;

use crate::harness::{Edit, FRAME, Send, check, check_permitted, check_refused, frame, get};

/// A reason with what is refused for it and what nearly is: edits of the policy, and what is sent.
struct Row {
    reason: Reason,
    refused: (Vec<Edit>, Send),
    missed: (Vec<Edit>, Send),
}

const FILING: &str = "status: granted, valid_from: 2023-02-21, valid_until: 2032-02-20";
const WHOLE_FILING: &str = "    filing: {authority: CNDP, form: F118, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21, valid_until: 2032-02-20}\n";
const RECEIPT: &str = "    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}\n";
const HOST: &str = "{host: intake.ministry-a.example, port: 443}";
const PINNED: &str = "{host: intake.ministry-a.example, port: 443, tls_spki_sha256: [\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\", \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"]}";
const ALLOWANCES: &str = "allowances:\n";
const LIMITS: &str = "max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB";

fn supposing(supposed: Supposed) -> Send {
    Send { supposed, ..frame() }
}

/// Refused and missed differ in what is sent alone.
fn sent(reason: Reason, refused: Send, missed: Send) -> Row {
    Row { reason, refused: (vec![], refused), missed: (vec![], missed) }
}

/// Refused and missed differ in the policy alone.
fn written(reason: Reason, refused: Vec<Edit>, missed: Vec<Edit>) -> Row {
    Row { reason, refused: (refused, frame()), missed: (missed, frame()) }
}

fn order(scope: &'static str) -> Vec<Edit> {
    vec![(ALLOWANCES, scope)]
}

#[rustfmt::skip]
fn who_and_where() -> Vec<Row> {
    let network: Edit = (HOST, "{host: intake.ministry-a.example, port: 443, networks: [8.8.8.0/24]}");
    let at = |address: &str| supposing(Supposed { addresses: vec![address.parse().expect("an address")], ..Supposed::default() });
    vec![
        sent(Reason::SourceUnknown, Send { source: "10.20.0.16", ..frame() }, Send { source: "10.20.0.15", ..frame() }),
        written(Reason::SuspendedByOrder,
            order("orders:\n  - {authority: CNDP, ref: o-1, date: DAY, action: suspend, scope: \"transfer:cctv-to-ministry-a\"}\nallowances:\n"),
            order("orders:\n  - {authority: CNDP, ref: o-1, date: DAY, action: suspend, scope: \"transfer:cctv-to-ministry-a\"}\n  - {authority: CNDP, ref: o-2, date: DAY, action: lift, lifts: o-1}\nallowances:\n")),
        Row { reason: Reason::AddressRefused, refused: (vec![], at("169.254.169.254")), missed: (vec![], at("8.8.8.8")) },
        Row { reason: Reason::AddressRefused, refused: (vec![network], at("8.8.4.4")), missed: (vec![network], at("8.8.8.4")) },
        sent(Reason::NumericHost, Send { url: "https://0x7f.1/cctv/cam1", ..frame() }, frame()),
        sent(Reason::PortNotDeclared,
            Send { url: "https://intake.ministry-a.example:8443/cctv/cam1", ..frame() },
            Send { url: "https://intake.ministry-a.example:443/cctv/cam1", ..frame() }),
        sent(Reason::CleartextNotDeclared, Send { url: "http://intake.ministry-a.example/cctv/cam1", ..frame() }, frame()),
        sent(Reason::NoDeclaration, Send { url: "https://www.intake.ministry-a.example/cctv/cam1", ..frame() },
            Send { url: "https://INTAKE.ministry-a.example./cctv/cam1", ..frame() }),
        Row { reason: Reason::SourceNotDeclared,
            refused: (vec![], Send { source: "10.30.0.1", ..frame() }),
            missed: (vec![("from: [cctv-uploader]", "from: [any]"), ("networks: [10.30.0.0/24]", "networks: [10.30.0.0/24], carries: [x:CCTVFrame]")], Send { source: "10.30.0.1", ..frame() }) },
    ]
}

#[rustfmt::skip]
fn papers() -> Vec<Row> {
    let status = |text: &'static str| vec![(FILING, text)];
    vec![
        written(Reason::FilingMissing, vec![(WHOLE_FILING, "")], vec![(WHOLE_FILING, ""), ("name: Ministry A\n    country: FR", "name: Ministry A\n    country: MA")]),
        written(Reason::FilingNotGranted, status("status: draft"), vec![]),
        written(Reason::FilingNotGranted, status("status: filed"), vec![]),
        written(Reason::FilingNotGranted, status("status: reclassified"), vec![]),
        written(Reason::FilingRefused, status("status: refused"), vec![]),
        written(Reason::FilingSuspended, status("status: suspended"), vec![]),
        written(Reason::FilingWithdrawn, status("status: withdrawn"), vec![]),
        Row { reason: Reason::NotYetValid,
            refused: (status("status: granted, valid_from: DAY"), Send { clock: "eve 23:59:59", ..frame() }),
            missed: (status("status: granted, valid_from: DAY"), Send { clock: "00:00:00", ..frame() }) },
        Row { reason: Reason::Expired,
            refused: (status("status: granted, valid_until: EVE"), Send { clock: "00:00:00", ..frame() }),
            missed: (status("status: granted, valid_until: EVE"), Send { clock: "eve 23:59:59", ..frame() }) },
        written(Reason::ReceiptMissing, vec![(RECEIPT, "")], vec![]),
        written(Reason::ReceiptMissing, vec![("date: 2022-05-10", "date: 2035-01-01")], vec![("date: 2022-05-10", "date: DAY")]),
        written(Reason::BasisImpossible, vec![("name: Ministry A\n    country: FR", "name: Ministry A\n    country: US")],
            vec![("name: Ministry A\n    country: FR", "name: Ministry A\n    country: US"), ("{ma-09-08: ma-0908:A43}", "{ma-09-08: ma-0908:A44-3}")]),
    ]
}

#[rustfmt::skip]
fn identity() -> Vec<Row> {
    let name = |sni: &str| supposing(Supposed { sni: Some(sni.into()), ..Supposed::default() });
    let version = |version| supposing(Supposed { tls_version: Some(version), ..Supposed::default() });
    let key = |byte| supposing(Supposed { spki_sha256: Some([byte; 32]), ..Supposed::default() });
    let country = |code| supposing(Supposed { ip_country: Some(Country::parse(code).expect("a country")), ..Supposed::default() });
    let clear: Edit = (HOST, "{host: intake.ministry-a.example, port: 80, scheme: http}");
    let promised: Edit = ("    data_subjects: [dpv:Visitor]\n    filing", "    data_subjects: [dpv:Visitor]\n    measures: [dpv:EncryptionInTransfer]\n    filing");
    let refuses: Edit = ("    data_subjects: [dpv:Visitor]\n    filing", "    data_subjects: [dpv:Visitor]\n    country_mismatch: refuse\n    filing");
    let in_clear = Send { url: "http://intake.ministry-a.example/cctv/cam1", ..frame() };
    vec![
        sent(Reason::SniMismatch, name("www.ministry-a.example"), name("Intake.Ministry-A.example")),
        Row { reason: Reason::TlsIdentityMismatch, refused: (vec![(HOST, PINNED)], key(8)), missed: (vec![(HOST, PINNED)], key(9)) },
        sent(Reason::TlsTooOld, version(TlsVersion::V1_1), version(TlsVersion::V1_2)),
        Row { reason: Reason::MeasureMissing, refused: (vec![clear, promised], in_clear.clone()), missed: (vec![clear], in_clear) },
        Row { reason: Reason::CountryMismatch, refused: (vec![refuses], country("IE")), missed: (vec![refuses], country("FR")) },
        Row { reason: Reason::CountryMismatch, refused: (vec![refuses], country("IE")), missed: (vec![], country("IE")) },
    ]
}

#[rustfmt::skip]
fn request_and_content() -> Vec<Row> {
    let path = |url| Send { url, ..frame() };
    let text = |text: &str| Send { body: Some(text.as_bytes().to_vec()), ..frame() };
    let no_type: Edit = (", content_types: [image/jpeg]", "");
    let presumed: Edit = ("    data_subjects: [dpv:Visitor]\n    filing", "    data_subjects: [dpv:Visitor]\n    unreadable: presumed\n    filing");
    let as_text = Send { content_type: Some("text/plain"), ..text("Ahmed") };
    let query = path("https://intake.ministry-a.example/cctv/cam1?at=noon");
    let health: Edit = ("carries: [x:CCTVFrame]", "carries: [pd:MedicalHealth]");
    let declared: Edit = ("    data_categories: [x:CCTVFrame]\n    data_subjects: [dpv:Visitor]\n    filing", "    data_categories: [pd:MedicalHealth]\n    data_subjects: [dpv:Visitor]\n    filing");
    let covered: Edit = ("    data_categories: [x:CCTVFrame]\n    data_subjects: [dpv:Visitor]\n    filing", "    data_categories: [pd:MedicalHealth]\n    sensitive: true\n    data_subjects: [dpv:Visitor]\n    filing");
    vec![
        sent(Reason::MethodNotDeclared, Send { method: "PATCH", ..frame() }, Send { method: "PUT", ..frame() }),
        sent(Reason::PathNotDeclared, path("https://intake.ministry-a.example/cctvs/cam1"), path("https://intake.ministry-a.example/cctv/a/b%2Dc")),
        sent(Reason::PathNotDeclared, path("https://intake.ministry-a.example/cctv/../admin"), path("https://intake.ministry-a.example/cctv/..admin")),
        sent(Reason::ContentTypeNotDeclared, Send { content_type: Some("image/png"), ..frame() }, Send { content_type: Some("Image/JPEG; q=1"), ..frame() }),
        sent(Reason::ContentTypeNotDeclared, Send { content_type: None, ..frame() }, Send { body: None, content_type: None, ..frame() }),
        // A label that the bytes contradict is never presumed; a text that cannot be read is, where that is declared.
        Row { reason: Reason::Uninspectable, refused: (vec![presumed], text("a list of names")), missed: (vec![no_type, presumed], as_text.clone()) },
        Row { reason: Reason::Uninspectable, refused: (vec![no_type], as_text), missed: (vec![no_type], frame()) },
        Row { reason: Reason::Uninspectable, refused: (vec![], query.clone()), missed: (vec![presumed], query) },
        written(Reason::CategoryNotDeclared,
            vec![("carries: [x:CCTVFrame]", "carries: [x:CCTVFrame, pd:Passport]")],
            vec![("    data_categories: [x:CCTVFrame]\n    data_subjects: [dpv:Visitor]\n    filing", "    data_categories: [pd:Picture]\n    data_subjects: [dpv:Visitor]\n    filing")]),
        written(Reason::SensitiveNotAuthorised, vec![health, declared], vec![health, covered]),
    ]
}

#[rustfmt::skip]
fn how_much_and_how_often() -> Vec<Row> {
    let body = |size: usize| { let mut body = FRAME.to_vec(); body.resize(size, b'.'); body };
    let sized = |size| Send { body: Some(body(size)), ..frame() };
    let after = |previous| Send { previous: vec![previous], ..frame() };
    let today = |bytes_today| Send { supposed: Supposed { bytes_today, ..Supposed::default() }, ..sized(1024) };
    let twice: Edit = (LIMITS, "max_per_day: 2, max_body: 2MiB, max_bytes_per_day: 512MiB");
    let times = |previous: &[&'static str]| Send { previous: previous.to_vec(), ..frame() };
    let unrecorded = supposing(Supposed { record_unavailable: true, ..Supposed::default() });
    vec![
        sent(Reason::TooLarge, sized(2 * 1024 * 1024 + 1), sized(2 * 1024 * 1024)),
        sent(Reason::TooFrequent, after("09:55:31"), after("09:55:30")),
        Row { reason: Reason::DayLimit,
            refused: (vec![twice], times(&["00:00:01", "00:05:01"])),
            missed: (vec![twice], times(&["eve 23:59:59", "00:05:01"])) },
        sent(Reason::VolumeLimit, today(512 * 1024 * 1024 - 1023), today(512 * 1024 * 1024 - 1024)),
        sent(Reason::RecordUnavailable, unrecorded, frame()),
    ]
}

fn rows() -> Vec<Row> {
    [who_and_where(), papers(), identity(), request_and_content(), how_much_and_how_often()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_reason_refuses_and_is_missed_by_a_hair() {
    for Row { reason, refused, missed } in rows() {
        check_refused(&refused.0, &refused.1, reason);
        check_permitted(&missed.0, &missed.1);
    }
}

#[test]
fn the_table_has_every_reason_that_policy_gives() {
    let elsewhere = [
        Reason::MalformedRequest,
        Reason::AmbiguousDestination,
        Reason::Loop,
        Reason::CredentialsRequired,
        Reason::ClientTimeout,
        Reason::ClientClosed,
        Reason::Unresolvable,
        Reason::Unreachable,
        Reason::UpstreamFault,
        Reason::Busy,
    ];
    let tested: BTreeSet<Reason> = rows().iter().map(|row| row.reason).collect();
    let expected: BTreeSet<Reason> = Reason::ALL.into_iter().filter(|reason| !elsewhere.contains(reason)).collect();
    assert_eq!(tested, expected);
}

#[test]
fn an_allowance_passes_requests_without_body_and_nothing_else() {
    check(&[], &get("http://updates.vendor.example/dists/stable"), "permit under allowance updates");
    check(&[], &get("http://updates.vendor.example/dists?arch=amd64"), "denial uninspectable");
    let picture = Send { url: "http://updates.vendor.example/upload", ..frame() };
    check(&[], &picture, "denial category-not-declared");
    let text = Send { body: Some(b"names".to_vec()), content_type: Some("text/plain"), ..picture };
    check(&[], &text, "denial uninspectable");
}

#[test]
fn orders_stop_what_their_scope_says_and_allowances_only_with_everything() {
    let order = |scope: &'static str| [(ALLOWANCES, scope)];
    let ordered = |scope| {
        let text = format!(
            "orders:\n  - {{authority: CNDP, ref: o, action: suspend, date: 2023-01-01, scope: \"{scope}\"}}\nallowances:\n"
        );
        order(Box::leak(text.into_boxed_str()))
    };
    let update = get("http://updates.vendor.example/dists");
    for scope in ["recipient:ministry-a", "country:FR", "source:cctv-uploader", "everything"] {
        check_refused(&ordered(scope), &frame(), Reason::SuspendedByOrder);
    }
    check_permitted(&ordered("country:ES"), &frame());
    check_permitted(&ordered("source:desk"), &frame());
    check_refused(&ordered("everything"), &update, Reason::SuspendedByOrder);
    check_refused(&ordered("source:cctv-uploader"), &update, Reason::SuspendedByOrder);
    check(&ordered("country:FR"), &update, "permit under allowance updates");
    // A person is stopped on every port, declared or not.
    let elsewhere = Send { url: "https://intake.ministry-a.example:8443/", ..frame() };
    check_refused(&ordered("recipient:ministry-a"), &elsewhere, Reason::SuspendedByOrder);
}

#[test]
fn european_regimes_want_a_document_for_safeguards_and_a_filing_for_those_of_46_3() {
    const REGIME: &str = "    regimes: [ma-09-08]\n    legal_basis: {ma-09-08: ma-0908:A43}\n";
    let us = ("name: Ministry A\n    country: FR", "name: Ministry A\n    country: US");
    let morocco = ("Centre de Visas SA, country: MA", "Centre de Visas SA, country: ES");
    let no_filing = (WHOLE_FILING, "");
    let clauses = (REGIME, "    regimes: [eu-gdpr]\n    legal_basis: {eu-gdpr: eu-gdpr:A46-2-c}\n");
    let signed = (
        REGIME,
        "    regimes: [eu-gdpr]\n    legal_basis: {eu-gdpr: eu-gdpr:A46-2-c}\n    documents: [{title: clauses, sha256: \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]\n",
    );
    let arranged = (
        REGIME,
        "    regimes: [eu-gdpr]\n    legal_basis: {eu-gdpr: eu-gdpr:A46-3-b}\n    documents: [{title: arrangement, sha256: \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]\n",
    );
    let adequate = (REGIME, "    regimes: [eu-gdpr]\n    legal_basis: {eu-gdpr: eu-gdpr:A45-3}\n");
    check_refused(&[us, morocco, no_filing, clauses], &frame(), Reason::FilingMissing);
    check_permitted(&[us, morocco, no_filing, signed], &frame());
    check_refused(&[us, morocco, no_filing, arranged], &frame(), Reason::FilingMissing);
    check_permitted(&[us, morocco, arranged], &frame());
    check_permitted(&[us, morocco, no_filing, adequate], &frame());
    // All regimes must pass: what suffices for the one does not help under the other.
    let both = (
        REGIME,
        "    regimes: [ma-09-08, eu-gdpr]\n    legal_basis: {ma-09-08: ma-0908:A43, eu-gdpr: eu-gdpr:A45-3}\n",
    );
    check_refused(&[us, both], &frame(), Reason::BasisImpossible);
}

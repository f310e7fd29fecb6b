//! The stages one by one: CONNECT, addresses, obligations, tunnels, and exchanges judged again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tasrih::destination::{AddressRules, Destination, Host, Scheme};
use tasrih::policy::{
    BodyFacts, Carriage, ConnectionFacts, DeclaredBody, Denial, End, Head, Reason, Stage, TlsFacts, TlsVersion, connect,
};

use crate::harness::{CLOCKS, Edit, Line, body, connected, register, time};

const HOST: &str = "{host: intake.ministry-a.example, port: 443}";
const REQUESTS: &str = "    requests: {methods: [POST, PUT], paths: [/cctv/**], content_types: [image/jpeg]}\n";
const LIMITS: &str =
    "    limits: {min_interval: PT5M, max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB, retries: 3}\n";
const NEVER: Edit = (HOST, "{host: intake.ministry-a.example, port: 443, interception: never}");

fn noon() -> jiff::Timestamp {
    time("2024-05-02T11:00:00Z")
}

fn head() -> Head {
    Line::head(noon(), DeclaredBody::Length(60))
}

/// A register that relays the transfer unread, bounded by bytes.
fn tunnelled() -> Line {
    let bytes = (LIMITS, "    limits: {max_bytes_per_day: 100B, max_duration: PT10M}\n");
    Line::new(register(&[NEVER, (REQUESTS, ""), bytes], CLOCKS[0]))
}

#[test]
fn a_connect_is_judged_by_what_needs_no_request() {
    let rules = AddressRules::default();
    let carriage = |edits: &[Edit], head: &Head| {
        connect(&register(edits, CLOCKS[0]), &rules, head).map_err(|denial| denial.reason)
    };
    assert_eq!(carriage(&[], &head()), Ok(Carriage::Intercept));
    let required = ("carries: [x:CCTVFrame]", "carries: [x:CCTVFrame], interception: required");
    assert_eq!(carriage(&[required], &head()), Ok(Carriage::Intercept));
    assert_eq!(carriage(&[NEVER, (REQUESTS, ""), (LIMITS, "")], &head()), Ok(Carriage::Tunnel));
    assert_eq!(carriage(&[("status: granted", "status: refused")], &head()), Err(Reason::FilingRefused));
    let mut other = head();
    other.destination.port = 8443;
    assert_eq!(carriage(&[], &other), Err(Reason::PortNotDeclared));
}

#[test]
fn only_addresses_that_passed_are_pinned() {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let mut line = Line::new(register(&[], CLOCKS[0]));
    let resolved = ["8.8.8.8", "8.8.8.8", "8.8.4.4"].map(address);
    let pinned = line.admit(head()).expect("declared").pin(&line.rules, &resolved).expect("two may be dialled");
    assert_eq!(
        pinned.addresses(),
        ["8.8.8.8:443", "8.8.4.4:443"].map(|text| text.parse::<SocketAddr>().expect("an address"))
    );
    drop(pinned);

    // One address that nobody may dial refuses the whole answer, wherever it stands in it.
    for inside in ["10.0.0.1", "::ffff:169.254.169.254"].map(address) {
        for mixed in [vec![inside], vec![resolved[0], inside], vec![inside, resolved[0]]] {
            let refused = line.admit(head()).expect("declared").pin(&line.rules, &mixed).expect_err("private");
            assert_eq!((refused.reason, refused.stage), (Reason::AddressRefused, Stage::Connection));
        }
    }
    let nothing = line.admit(head()).expect("given back").pin(&line.rules, &[]).expect_err("no address");
    assert_eq!(nothing.reason, Reason::AddressRefused);
}

#[test]
fn an_abandoned_permit_tells_its_candidates_and_gives_back() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    let permit = line.admit(head()).expect("declared");
    let denial = permit.abandon(Denial::new(Reason::Unresolvable, Stage::Connection).with_status(504));
    assert_eq!((denial.reason, denial.status, denial.candidates.len()), (Reason::Unresolvable, 504, 1));
    assert_eq!(denial.source.map(|source| source.id.to_string()).as_deref(), Some("cctv-uploader"));
    assert_eq!(line.send(noon(), &body(1), 200), Ok(()));
}

#[test]
fn a_connection_opened_anew_is_judged_by_the_same_rules() {
    let pinned: Edit = (
        HOST,
        "{host: intake.ministry-a.example, port: 443, tls_spki_sha256: [\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\", \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"]}",
    );
    let shown = |key: u8, sni: &str, version| ConnectionFacts {
        address: "8.8.8.8:443".parse().expect("an address"),
        tls: Some(TlsFacts { version, sni: Some(sni.to_owned()), spki_sha256: Some([key; 32]) }),
        country: None,
        certificate_ends: None,
    };
    const NAME: &str = "intake.ministry-a.example";
    for (edits, any_key) in [(vec![pinned], false), (vec![], true)] {
        let mut line = Line::new(register(&edits, CLOCKS[0]));
        let permit = line.admit(head()).expect("declared");
        let pinned = permit.pin(&line.rules, &["8.8.8.8".parse().expect("an address")]).expect("public");
        let connected = pinned.connected(shown(7, NAME, TlsVersion::V1_3)).expect("the declared identity");
        let facts = BodyFacts { size: 60, ..BodyFacts::none() };
        let verdict = connected.judge(&mut line.ledger, facts);
        let verdict = verdict.unwrap_or_else(|denial| panic!("{}", denial.reason));
        assert!(verdict.accepts(&shown(7, NAME, TlsVersion::V1_2)), "the same key, an older version that is allowed");
        assert!(verdict.accepts(&shown(9, NAME, TlsVersion::V1_3)), "the other pin");
        assert_eq!(verdict.accepts(&shown(8, NAME, TlsVersion::V1_3)), any_key, "a key that is not pinned");
        assert!(!verdict.accepts(&shown(7, "elsewhere.example", TlsVersion::V1_3)), "another name");
        assert!(!verdict.accepts(&shown(7, NAME, TlsVersion::V1_1)), "too old");
        let bare = ConnectionFacts { tls: None, ..shown(7, NAME, TlsVersion::V1_3) };
        assert!(!verdict.accepts(&bare), "no TLS");
    }
}

#[test]
fn obligations_keep_what_every_candidate_wants() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    let permit = line.admit(head()).expect("declared");
    let obligations = permit.obligations();
    assert_eq!((obligations.max_body, obligations.min_tls), (Some(2 * 1024 * 1024), TlsVersion::V1_2));
    assert_eq!((obligations.pins.len(), obligations.tunnel), (1, None));
}

#[test]
fn an_address_literal_is_judged_at_the_head_by_the_rules_of_the_proxy() {
    let literal = (HOST, "{host: 10.9.9.9, port: 443}");
    let mut line = Line::new(register(&[literal], CLOCKS[0]));
    let mut head = head();
    head.destination = Destination { scheme: Scheme::Https, host: Host::parse("10.9.9.9").expect("a host"), port: 443 };
    let denial = line.admit(head.clone()).map(drop).expect_err("a private address");
    assert_eq!((denial.reason, denial.stage), (Reason::AddressRefused, Stage::Head));
    line.rules.internal.push("10.9.9.0/24".parse().expect("a network"));
    assert!(line.admit(head).is_ok());
}

#[test]
fn a_tunnel_is_bounded_by_the_day_and_two_share_its_bytes() {
    let mut line = tunnelled();
    let tunnel = || Head { request: None, ..head() };
    let open = |line: &mut Line| {
        let permit = line.admit(tunnel()).map_err(|denial| denial.reason)?;
        let bounds = permit.obligations().tunnel.expect("a tunnel");
        assert_eq!(bounds.max_duration, Duration::from_secs(600));
        let connected = connected(permit, &line.rules).map_err(|refused| refused.reason)?;
        Ok((bounds.max_bytes, connected.judge_tunnel(&mut line.ledger)))
    };
    let (room, mut first) = open(&mut line).expect("declared");
    assert_eq!(room, Some(100));
    assert_eq!(first.used().map(|used| used.id.to_string()).as_deref(), Some("cctv-to-ministry-a"));
    let (_, mut second) = open(&mut line).expect("nothing flowed so far");
    assert!(line.ledger.draw(first.reservations_mut(), 60));
    assert!(!line.ledger.draw(second.reservations_mut(), 41));
    assert!(line.ledger.draw(second.reservations_mut(), 40));
    let refused: Result<_, Reason> = open(&mut line);
    assert_eq!(refused.map(|_| ()), Err(Reason::VolumeLimit));
}

#[test]
fn a_tunnel_passes_only_where_it_is_declared() {
    let tunnel = Head { request: None, ..head() };
    let mut line = Line::new(register(&[], CLOCKS[0]));
    assert_eq!(line.admit(tunnel).map(drop).map_err(|denial| denial.reason), Err(Reason::Uninspectable));
}

#[test]
fn a_tunnel_without_the_name_it_goes_to_is_refused() {
    use tasrih::policy::{ConnectionFacts, TlsFacts};
    for (sni, version, expected) in [
        (None, TlsVersion::V1_3, Err(Reason::SniMismatch)),
        (Some("other.example"), TlsVersion::V1_3, Err(Reason::SniMismatch)),
        (Some("intake.ministry-a.example"), TlsVersion::V1_1, Err(Reason::TlsTooOld)),
        (Some("intake.ministry-a.example"), TlsVersion::V1_2, Ok(())),
    ] {
        let mut line = tunnelled();
        let permit = line.admit(Head { request: None, ..head() }).expect("declared");
        let pinned = permit.pin(&line.rules, &["8.8.8.8".parse().expect("an address")]).expect("global");
        let tls = TlsFacts { version, sni: sni.map(str::to_owned), spki_sha256: None };
        let facts =
            ConnectionFacts { address: pinned.addresses()[0], tls: Some(tls), country: None, certificate_ends: None };
        assert_eq!(pinned.connected(facts).map(drop).map_err(|refused| refused.reason), expected, "{sni:?}");
    }
}

#[test]
fn an_address_that_was_not_pinned_is_refused() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    let permit = line.admit(head()).expect("declared");
    let pinned = permit.pin(&line.rules, &["8.8.8.8".parse().expect("an address")]).expect("global");
    let facts = tasrih::policy::ConnectionFacts {
        address: "8.8.4.4:443".parse().expect("an address"),
        tls: None,
        country: None,
        certificate_ends: None,
    };
    let refused = pinned.connected(facts).expect_err("never pinned");
    assert_eq!(refused.reason, Reason::AddressRefused);
}

#[test]
fn the_verdict_says_what_it_was_taken_for() {
    let presumed: Edit = (
        "    data_subjects: [dpv:Visitor]\n    filing",
        "    data_subjects: [dpv:Visitor]\n    unreadable: presumed\n    filing",
    );
    let mut line = Line::new(register(&[presumed, (", content_types: [image/jpeg]", "")], CLOCKS[0]));
    let verdict = line.offer(noon(), &body(1)).expect("declared");
    assert_eq!(verdict.categories().iter().map(|term| term.as_str()).collect::<Vec<_>>(), ["x:CCTVFrame"]);
    assert!(!verdict.is_presumed());
    line.end(verdict, noon(), None);
    let permit = line.admit(head()).expect("declared");
    let mut inspector = tasrih::inspect::body(Some("text/plain"), None);
    inspector.push(b"names");
    let facts = BodyFacts { size: 5, digest: None, findings: inspector.findings() };
    let verdict = connected(permit, &line.rules).expect("fits").judge(&mut line.ledger, facts).expect("presumed");
    assert!(verdict.is_presumed());
}

#[test]
fn an_open_exchange_is_cut_by_an_order_an_expiry_or_a_newer_register() {
    let until = ("valid_until: 2032-02-20", "valid_until: 2024-05-02");
    let mut line = Line::new(register(&[until], CLOCKS[0]));
    let verdict = line.offer(noon(), &body(1)).expect("declared");
    let again = |edits: &[Edit], at: &str| verdict.recheck(&register(edits, CLOCKS[0]), time(at));
    assert_eq!(again(&[until], "2024-05-02T22:59:59Z"), Ok(()));
    assert_eq!(again(&[until], "2024-05-02T23:00:00Z"), Err(End::CutExpiry));
    assert_eq!(again(&[("from: [cctv-uploader]", "from: [desk]")], "2024-05-02T12:00:00Z"), Err(End::CutRegister));
    assert_eq!(again(&[("status: granted", "status: withdrawn")], "2024-05-02T12:00:00Z"), Err(End::CutRegister));
    let ordered = (
        "allowances:\n",
        "orders:\n  - {authority: CNDP, ref: o, action: suspend, date: 2023-01-01, scope: everything}\nallowances:\n",
    );
    assert_eq!(again(&[ordered], "2024-05-02T12:00:00Z"), Err(End::CutOrder));
}

#[test]
fn an_empty_register_denies_everything() {
    let mut line = Line::new(std::sync::Arc::new(
        tasrih::register::compile::compile(&[]).expect("nothing is wrong with nothing").register,
    ));
    let denial = line.admit(head()).map(drop).expect_err("nothing is declared");
    assert_eq!(denial.reason, Reason::SourceUnknown);
    assert_eq!(denial.failed(), [Reason::SourceUnknown, Reason::NoDeclaration]);
}

//! Records to write: a permitted camera frame, a refused one, and what can be changed about them.

use std::sync::Arc;

use jiff::Timestamp;
use tasrih::destination::{Destination, Host, Scheme};
use tasrih::inspect::Findings;
use tasrih::policy::{
    CandidateKind, CandidateReport, Decision, Digest, EntryPoint, Reason, Stage, TlsFacts, TlsVersion,
};
use tasrih::record::{BodyShown, DecisionRecord, Declaration, Exchange, RequestShown, Verified};
use tasrih::register::{Id, Mode, Version};
use tasrih::vocabulary::{Country, Regime, Term, TermKind};
use uuid::Uuid;

/// An id, known to be one.
pub fn id(text: &str) -> Id {
    Id::new(text).expect("a literal id")
}

/// A permitted POST of one frame to ministry A, at `time`.
pub fn permit(time: Timestamp) -> DecisionRecord {
    DecisionRecord {
        time,
        exchange: exchange(),
        decision: Decision::Permit,
        reason: None,
        stage: Stage::Record,
        mode: Mode::Enforce,
        used: Some(declaration()),
        recipient: Some(id("ministry-a")),
        failed: Vec::new(),
        candidates: vec![CandidateReport {
            id: id("cctv-to-ministry-a"),
            kind: CandidateKind::Transfer,
            failed: Vec::new(),
        }],
        categories: vec![category()],
        presumed: false,
        country_mismatch: false,
        findings: Findings::default(),
        body: Some(BodyShown { size: 204_800, digest: Some(Digest([0xab; 32])) }),
        verified: vec![Verified::Name, Verified::Sni, Verified::Certificate, Verified::Request, Verified::Body],
        detail: None,
        status: None,
        folded: None,
    }
}

/// A POST of one frame to ministry B, whose filing is not decided.
pub fn denial(time: Timestamp) -> DecisionRecord {
    let reason = Reason::FilingNotGranted;
    let candidate =
        CandidateReport { id: id("cctv-to-ministry-b"), kind: CandidateKind::Transfer, failed: vec![reason] };
    DecisionRecord {
        decision: Decision::Denial,
        reason: Some(reason),
        stage: Stage::Head,
        used: None,
        recipient: Some(id("ministry-b")),
        candidates: vec![candidate],
        categories: Vec::new(),
        body: None,
        verified: vec![Verified::Request],
        status: Some(403),
        ..permit(time)
    }
}

/// The exchange of [`permit`], with an id of its own.
pub fn exchange() -> Exchange {
    Exchange {
        id: Uuid::now_v7(),
        node: Arc::from("egress-1"),
        connection: "c-17".to_owned(),
        entry: EntryPoint::Forward,
        peer: "10.20.0.5:50123".parse().expect("a literal address"),
        proxy: "10.20.0.1:3128".parse().expect("a literal address"),
        source: Some(id("cctv-uploader")),
        user: None,
        destination: Some(Destination { scheme: Scheme::Https, host: host("intake.ministry-a.example"), port: 443 }),
        request: Some(RequestShown {
            method: "POST".to_owned(),
            path: "/cctv/*".to_owned(),
            path_digest: Some(Digest([0xcd; 32])),
            http_version: "1.1",
            content_type: Some("image/jpeg".to_owned()),
            length: Some(204_800),
        }),
        register_version: Version("5f2a".repeat(16).into()),
        aliases: Vec::new(),
        address: Some("203.0.113.9:443".parse().expect("a literal address")),
        country: Country::parse("FR").ok(),
        client_alert: None,
        redirected: None,
        balancer: None,
        protocol: None,
        ech_offered: false,
        tls: Some(TlsFacts {
            version: TlsVersion::V1_3,
            sni: Some("intake.ministry-a.example".to_owned()),
            spki_sha256: Some([7; 32]),
        }),
    }
}

/// A host, known to be one.
pub fn host(text: &str) -> Host {
    Host::parse(text).expect("a literal host")
}

fn category() -> Term {
    Term::parse("x:CCTVFrame", TermKind::DataCategory).expect("a term of ours")
}

fn declaration() -> Declaration {
    let basis = Term::parse("ma-0908:A43", TermKind::LegalBasis).expect("a term of ours");
    let purpose = Term::parse("dpv:EnforceSecurity", TermKind::Purpose).expect("a term of DPV");
    Declaration {
        kind: CandidateKind::Transfer,
        id: id("cctv-to-ministry-a"),
        processing: Some(id("cctv")),
        recipient: Some(id("ministry-a")),
        recipient_name: Some("Ministry A, visa department".to_owned()),
        country: Country::parse("FR").ok(),
        filing: Some("A-GC-1/2023".to_owned()),
        receipt: Some("D-GC-298/2022".to_owned()),
        legal_basis: [(Regime::Ma0908, basis)].into(),
        purposes: vec![purpose],
        data_categories: vec![category()],
    }
}

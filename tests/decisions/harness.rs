//! A register to edit, a frame to send, and the one function that asks for a decision.

use std::sync::Arc;

use jiff::Timestamp;
use tasrih::destination::{AddressRules, Destination, Host, RequestPath, Scheme};
use tasrih::policy::cases::Shown;
use tasrih::policy::dry::{self, Answer, Question, Supposed};
use tasrih::policy::{
    BodyFacts, Connected, ConnectionFacts, Decision, DeclaredBody, Denial, Digest, EntryPoint, Head, Ledger, Peer,
    Permit, Reason, Request, Sent, TlsFacts, TlsVersion, Verdict, admit,
};
use tasrih::register::Register;
use tasrih::register::compile::{Text, compile};

/// The case of DESIGN §1: one uploader, one recipient, one filing, and an allowance beside it.
///
/// `DAY` is replaced by the day of the table's clock, `EVE` by the day before it.
pub const POLICY: &str = r#"
schema: tasrih/1
mode: enforce
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - id: cctv
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    data_subjects: [dpv:Visitor]
    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}
sources:
  - {id: cctv-uploader, networks: [10.20.0.0/28], carries: [x:CCTVFrame]}
  - {id: desk, networks: [10.30.0.0/24]}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations:
      - {host: intake.ministry-a.example, port: 443}
transfers:
  - id: cctv-to-ministry-a
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    data_subjects: [dpv:Visitor]
    filing: {authority: CNDP, form: F118, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21, valid_until: 2032-02-20}
    requests: {methods: [POST, PUT], paths: [/cctv/**], content_types: [image/jpeg]}
    limits: {min_interval: PT5M, max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB, retries: 3}
allowances:
  - {id: updates, to: [{host: updates.vendor.example, scheme: http, port: 80}], from: [any]}
"#;

/// The first bytes of a JPEG: what a frame is told by.
pub const FRAME: &[u8] = b"\xFF\xD8\xFF\xE0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00 and a picture";

/// Days that tables are run on, each with its eve.
pub const CLOCKS: [(&str, &str); 2] = [("2024-05-02", "2024-05-01"), ("2031-05-02", "2031-05-01")];

/// A change to [`POLICY`]: text that stands in it exactly once, and what replaces it.
pub type Edit = (&'static str, &'static str);

/// Compiles [`POLICY`] with edits.
pub fn register(edits: &[Edit], clock: (&str, &str)) -> Arc<Register> {
    let mut text = POLICY.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "stands once in the policy: {old}");
        text = text.replace(old, new);
    }
    compiled(&text.replace("DAY", clock.0).replace("EVE", clock.1))
}

/// Compiles a policy text.
pub fn compiled(text: &str) -> Arc<Register> {
    match compile(&[Text { name: "policy.yaml".into(), text: text.into() }]) {
        Ok(compiled) => Arc::new(compiled.register),
        Err(faults) => panic!("{faults}"),
    }
}

/// A moment.
pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A time of day in Morocco on the day of `clock`, or on its eve. The zone's own rules say what that is in UTC: they
/// change from year to year, and tests do not depend on them.
fn local(time_of_day: &str, clock: (&str, &str)) -> Timestamp {
    let (day, time_of_day) = match time_of_day.strip_prefix("eve ") {
        Some(rest) => (clock.1, rest),
        None => (clock.0, time_of_day),
    };
    let civil: jiff::civil::DateTime = format!("{day}T{time_of_day}").parse().expect("a date and time");
    let zone = jiff::tz::TimeZone::get("Africa/Casablanca").expect("the zones are bundled");
    zone.to_timestamp(civil).expect("a moment")
}

/// What is sent: a frame from the uploader to ministry A at ten in the morning, unless said otherwise.
#[derive(Clone)]
pub struct Send {
    pub source: &'static str,
    pub method: &'static str,
    pub url: &'static str,
    pub content_type: Option<&'static str>,
    pub body: Option<Vec<u8>>,
    /// Time of day in Morocco; `eve 23:59:59` is on the day before.
    pub clock: &'static str,
    pub supposed: Supposed,
    /// Times of day of earlier exchanges.
    pub previous: Vec<&'static str>,
}

pub fn frame() -> Send {
    Send {
        source: "10.20.0.5",
        method: "POST",
        url: "https://intake.ministry-a.example/cctv/cam1",
        content_type: Some("image/jpeg"),
        body: Some(FRAME.to_vec()),
        clock: "10:00:00",
        supposed: Supposed::default(),
        previous: Vec::new(),
    }
}

pub fn get(url: &'static str) -> Send {
    Send { method: "GET", url, content_type: None, body: None, ..frame() }
}

impl Send {
    /// Decides on `register`, on the day of `clock`.
    pub fn ask(&self, register: &Arc<Register>, clock: (&str, &str)) -> Answer {
        let moment = |time_of_day: &&str| local(time_of_day, clock);
        let mut supposed = self.supposed.clone();
        supposed.previous.extend(self.previous.iter().map(moment));
        let question = Question {
            at: moment(&self.clock),
            peer: Peer::at(self.source.parse().expect("an address")),
            method: self.method.into(),
            url: self.url.into(),
            content_type: self.content_type.map(str::to_owned),
            body: self.body.clone(),
            supposed,
        };
        dry::answer(register, &AddressRules::default(), &question)
    }
}

/// Checks one decision on every clock. `expected` is as `tasrih test` shows it: `permit under transfer x`,
/// `denial expired`.
#[track_caller]
pub fn check(edits: &[Edit], sent: &Send, expected: &str) {
    for clock in CLOCKS {
        let answer = sent.ask(&register(edits, clock), clock);
        let detail = answer.denial.as_ref().and_then(|denial| denial.detail.clone());
        assert_eq!(Shown(&answer).to_string(), expected, "{} {} on {}: {detail:?}", sent.method, sent.url, clock.0);
    }
}

/// Checks that it leaves under the transfer of the case.
#[track_caller]
pub fn check_permitted(edits: &[Edit], sent: &Send) {
    check(edits, sent, "permit under transfer cctv-to-ministry-a");
}

/// Checks that it is refused for this reason.
#[track_caller]
pub fn check_refused(edits: &[Edit], sent: &Send, reason: Reason) {
    check(edits, sent, &format!("{} {reason}", Decision::Denial));
}

/// A line that exchanges go over, one ledger for all of them.
pub struct Line {
    pub register: Arc<Register>,
    pub ledger: Ledger,
    pub rules: AddressRules,
}

impl Line {
    pub fn new(register: Arc<Register>) -> Line {
        Line { register, ledger: Ledger::default(), rules: AddressRules::default() }
    }

    /// The head of a POST to ministry A with a body of this length.
    pub fn head(at: Timestamp, body: DeclaredBody) -> Head {
        Head {
            time: at,
            entry: EntryPoint::Connect,
            peer: Peer::at("10.20.0.5".parse().expect("an address")),
            destination: Destination {
                scheme: Scheme::Https,
                host: Host::parse("intake.ministry-a.example").expect("a host"),
                port: 443,
            },
            request: Some(Request {
                method: "POST".into(),
                path: RequestPath::parse("/cctv/cam1").expect("a path"),
                content_type: Some("image/jpeg".into()),
                body,
                target: tasrih::inspect::target(None),
                path_digest: digest(b"/cctv/cam1"),
            }),
        }
    }

    pub fn admit(&mut self, head: Head) -> Result<Permit, Denial> {
        admit(&self.register, &self.rules, &mut self.ledger, head)
    }

    /// From permit to verdict; what is refused on the way is dropped, and so gives its reservations back.
    pub fn judge(&mut self, permit: Permit, body: &[u8]) -> Result<Verdict, Denial> {
        let connected = connected(permit, &self.rules)?;
        let mut inspector = tasrih::inspect::body(Some("image/jpeg"), None);
        inspector.push(body);
        let facts = BodyFacts { size: body.len() as u64, digest: Some(digest(body)), findings: inspector.findings() };
        connected.judge(&mut self.ledger, facts)
    }

    /// From permit to verdict without a body.
    pub fn judge_empty(&mut self, permit: Permit) -> Verdict {
        let judged = connected(permit, &self.rules).and_then(|it| it.judge(&mut self.ledger, BodyFacts::none()));
        judged.unwrap_or_else(|denial| panic!("{}", denial.reason))
    }

    /// Offers a body of announced length.
    pub fn offer(&mut self, at: Timestamp, body: &[u8]) -> Result<Verdict, Denial> {
        let permit = self.admit(Line::head(at, DeclaredBody::Length(body.len() as u64)))?;
        self.judge(permit, body)
    }

    /// Ends an exchange with the recipient's answer; without one (`None`) no byte left.
    pub fn end(&mut self, mut verdict: Verdict, at: Timestamp, status: Option<u16>) {
        let bytes = verdict.body().size;
        let answered_2xx = status.is_some_and(|status| (200..300).contains(&status));
        self.ledger.settle(
            verdict.take_reservations(),
            Sent { bytes, content_left: status.is_some(), answered_2xx, time: at },
        );
    }

    /// Offers, and ends with this status; the reason where it is refused.
    pub fn send(&mut self, at: Timestamp, body: &[u8], status: u16) -> Result<(), Reason> {
        let verdict = self.offer(at, body).map_err(|denial| denial.reason)?;
        self.end(verdict, at, Some(status));
        Ok(())
    }
}

/// The connection stage with facts that fit.
pub fn connected(permit: Permit, rules: &AddressRules) -> Result<Connected, Denial> {
    let address = "8.8.8.8".parse().expect("an address");
    let pinned = permit.pin(rules, &[address])?;
    let sni = pinned.destination().host.name().map(|name| name.as_str().to_owned());
    let is_tls = pinned.destination().scheme == Scheme::Https;
    let tls = is_tls.then_some(TlsFacts { version: TlsVersion::V1_3, sni, spki_sha256: None });
    let facts = ConnectionFacts { address: pinned.addresses()[0], tls, country: None, certificate_ends: None };
    pinned.connected(facts)
}

/// A body of its own for each number.
pub fn body(number: u64) -> Vec<u8> {
    [FRAME, &number.to_be_bytes()].concat()
}

/// Stands for the keyed digest: equal for equal bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut digest = [0_u8; 32];
    for (place, byte) in bytes.iter().enumerate() {
        digest[place % 32] = digest[place % 32].wrapping_mul(31).wrapping_add(*byte);
    }
    Digest(digest)
}

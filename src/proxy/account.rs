//! The account of an exchange: what is known of it so far, and the decision record that this makes.
//!
//! Each stage of the corridor notes what it learnt; whenever the exchange is decided, the record is made of what is
//! here. Nothing is written: that is [`super::guard`] and `audit/`.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::Corridor;
use super::proofs::Proofs;
use super::request::{Asked, Door};
use crate::destination::Destination;
use crate::inspect::Findings;
use crate::inspect::protocol::Protocol;
use crate::policy::{BodyFacts, ConnectionFacts, Decision, DeclaredBody, Denial, Peer, Stage, Verdict};
use crate::record::{BodyShown, DecisionRecord, Declaration, Exchange, RequestShown, Verified, path};
use crate::register::{Id, Mode, Register};
use crate::tls::client_hello::ClientHelloFacts;
use crate::upstream::Found;

/// What is known of one exchange.
#[derive(Clone)]
pub struct Account {
    register: Arc<Register>,
    peer: Peer,
    proofs: Proofs,
    exchange: Exchange,
    verified: Vec<Verified>,
    body: Option<BodyShown>,
    findings: Findings,
}

impl Account {
    /// Opens the account of an exchange that begins now, under the register in force.
    pub fn open(corridor: &Corridor, door: &Door) -> Account {
        let (register, peer) = (corridor.register.load_full(), door.peer());
        let exchange = Exchange {
            id: Uuid::now_v7(),
            node: corridor.node.clone(),
            connection: door.connection.clone(),
            entry: door.entry,
            peer: door.peer,
            proxy: door.proxy,
            source: register.identify(&peer).map(|source| source.id.clone()),
            user: peer.user.clone(),
            destination: door.outer.clone(),
            request: None,
            register_version: register.version.clone(),
            aliases: Vec::new(),
            address: None,
            country: None,
            tls: None,
            client_alert: None,
            redirected: door.redirected,
            balancer: door.balancer,
            protocol: None,
            ech_offered: false,
        };
        let proofs = door.proofs.clone();
        Account { register, peer, proofs, exchange, verified: Vec::new(), body: None, findings: Findings::default() }
    }

    /// The register that this exchange is decided on.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// Notes that another register decides it.
    pub fn decided_on(&mut self, register: Arc<Register>) {
        self.exchange.source = register.identify(&self.peer).map(|source| source.id.clone());
        self.exchange.register_version = register.version.clone();
        self.register = register;
    }

    /// Notes that more is known of who sends.
    pub fn proved(&mut self, door: &Door) {
        (self.peer, self.proofs) = (door.peer(), door.proofs.clone());
        self.exchange.user.clone_from(&self.peer.user);
        self.exchange.source = self.register.identify(&self.peer).map(|source| source.id.clone());
    }

    /// What the sender has proved beside its address.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// The exchange, as decision and outcome show it.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Notes where the exchange is to go.
    pub fn destined(&mut self, destination: &Destination) {
        self.exchange.destination = Some(destination.clone());
    }

    /// Notes what is asked for.
    pub fn asks(&mut self, asked: &Asked) {
        self.destined(&asked.destination);
        let request = &asked.request;
        self.exchange.request = Some(RequestShown {
            method: request.method.clone(),
            path: path::shown(request.path.as_str(), &self.literal_segments(&asked.destination)),
            path_digest: Some(request.path_digest),
            http_version: shown_version(asked.version),
            content_type: request.content_type.as_deref().map(essence),
            length: match request.body {
                DeclaredBody::None => Some(0),
                DeclaredBody::Length(length) => Some(length),
                DeclaredBody::Unknown => None,
            },
        });
    }

    /// Notes a CONNECT, before its target is understood.
    pub fn asks_connect(&mut self, version: http::Version) {
        self.exchange.request = Some(RequestShown {
            method: "CONNECT".to_owned(),
            path: String::new(),
            path_digest: None,
            http_version: shown_version(version),
            content_type: None,
            length: None,
        });
    }

    /// What follows is no HTTP request but the bytes of a tunnel.
    pub fn becomes_tunnel(&mut self) {
        self.exchange.request = None;
    }

    /// Notes the client's ClientHello.
    pub fn greeted(&mut self, hello: &ClientHelloFacts) {
        self.exchange.ech_offered = hello.encrypted;
    }

    /// Notes what is spoken, where it is neither HTTP nor TLS to an HTTP server.
    pub fn speaks(&mut self, protocol: Protocol) {
        self.exchange.protocol = Some(protocol);
    }

    /// Notes the alert with which the client ended its handshake.
    pub fn alerted(&mut self, alert: Option<&str>) {
        self.exchange.client_alert = alert.map(str::to_owned);
    }

    /// Notes what was verified on the way.
    pub fn verified(&mut self, what: Verified) {
        self.verified.push(what);
    }

    /// Notes the body that is judged next.
    pub fn read(&mut self, facts: &BodyFacts) {
        self.body = (facts.size > 0).then_some(BodyShown { size: facts.size, digest: facts.digest });
        self.findings = facts.findings.clone();
    }

    /// Notes what the name stands for.
    pub fn resolved(&mut self, found: &Found) {
        self.exchange.aliases.clone_from(&found.aliases);
    }

    /// Notes the connection that was made.
    pub fn connected(&mut self, facts: &ConnectionFacts, verified: &[Verified]) {
        self.exchange.address = Some(facts.address);
        self.exchange.country = facts.country;
        self.exchange.tls.clone_from(&facts.tls);
        self.verified.extend_from_slice(verified);
    }

    /// The record of a refusal.
    pub fn denial(&self, denial: &Denial, time: Timestamp) -> DecisionRecord {
        DecisionRecord {
            time,
            exchange: self.exchange.clone(),
            decision: Decision::Denial,
            reason: Some(denial.reason),
            stage: denial.stage,
            mode: Mode::Enforce,
            used: None,
            recipient: self.recipient(),
            failed: denial.failed(),
            candidates: denial.candidates.clone(),
            categories: Vec::new(),
            presumed: false,
            country_mismatch: false,
            findings: self.findings.clone(),
            body: self.body.clone(),
            verified: self.verified.clone(),
            detail: denial.detail.clone(),
            status: Some(denial.status),
            folded: None,
        }
    }

    /// The record of a decision to let through.
    pub fn decision(&self, verdict: &Verdict, time: Timestamp) -> DecisionRecord {
        let would_deny = verdict.would_deny();
        let used = verdict
            .transfer()
            .map(|transfer| Declaration::of_transfer(transfer))
            .or_else(|| verdict.allowance().map(|allowance| Declaration::of_allowance(allowance)));
        let mut verified = self.verified.clone();
        if self.exchange.request.is_some() {
            verified.push(Verified::Request);
        }
        if self.body.is_some() && verdict.findings().unread.is_none() {
            verified.push(Verified::Body);
        }
        DecisionRecord {
            time,
            exchange: self.exchange.clone(),
            decision: verdict.decision(),
            reason: would_deny.map(|denial| denial.reason),
            stage: would_deny.map_or(Stage::Record, |denial| denial.stage),
            mode: if would_deny.is_some() { Mode::Observe } else { Mode::Enforce },
            used,
            recipient: self.recipient(),
            failed: would_deny.map(|denial| denial.failed()).unwrap_or_default(),
            candidates: verdict.candidates(),
            categories: verdict.categories().to_vec(),
            presumed: verdict.is_presumed(),
            country_mismatch: verdict.country_mismatch(),
            findings: verdict.findings().clone(),
            body: self.body.clone(),
            verified,
            detail: would_deny.and_then(|denial| denial.detail.clone()),
            status: None,
            folded: None,
        }
    }

    /// The recipient that the destination belongs to.
    fn recipient(&self) -> Option<Id> {
        let host = &self.exchange.destination.as_ref()?.host;
        self.register.recipients_at(host).next().map(|recipient| recipient.id.clone())
    }

    /// Path segments that the patterns of the candidates spell out: the record may show them.
    fn literal_segments(&self, destination: &Destination) -> Vec<&str> {
        let here = self.register.transfers_to(destination);
        here.flat_map(|transfer| transfer.requests.paths.iter().flat_map(|pattern| pattern.literal_segments()))
            .collect()
    }
}

fn shown_version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

//! One decision, dry: the stages are walked with supposed facts; nothing is resolved, dialled or recorded.
//!
//! `tasrih explain` and `tasrih test` ask here. What a [`Supposed`] leaves out is taken as fine: the name resolves to an
//! address that may be dialled, the recipient proves its identity, nothing was sent before.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::calendar::Today;
use super::candidate::{Candidate, Used};
use super::decision::{Decision, Denial, Stage, Verdict};
use super::facts::{
    BodyFacts, ConnectionFacts, DeclaredBody, Digest, EntryPoint, Head, Peer, Request, Sent, TlsFacts, TlsVersion,
};
use super::limits::{Account, Attempt, Charge, Ledger, Reservations};
use super::reason::Reason;
use super::stages::{Permit, admit, connect};
use super::trace::Trace;
use super::tunnel::Carriage;
use crate::destination::{AddressRules, Authority, Destination, Host, HostFault, RequestPath, Scheme};
use crate::inspect::{self, Findings};
use crate::register::{Register, Source};
use crate::vocabulary::{Country, Term};

/// An address for names that are supposed to resolve; from the range for documentation, so that it is nobody's.
const SUPPOSED_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What is asked: may this leave?
#[derive(Clone, Debug)]
pub struct Question {
    /// When.
    pub at: Timestamp,
    /// Who sends.
    pub peer: Peer,
    /// The method; `CONNECT` asks for a tunnel.
    pub method: String,
    /// `https://host[:port]/path[?query]`, or `tcp://host:port` for a tunnel.
    pub url: String,
    /// The `Content-Type` field.
    pub content_type: Option<String>,
    /// The body's bytes.
    pub body: Option<Vec<u8>>,
    /// What is not left to be fine.
    pub supposed: Supposed,
}

/// Facts that a question fixes.
#[derive(Clone, Debug, Default)]
pub struct Supposed {
    /// The version that TLS agrees on.
    pub tls_version: Option<TlsVersion>,
    /// The server name that is asked for.
    pub sni: Option<String>,
    /// The recipient's key.
    pub spki_sha256: Option<[u8; 32]>,
    /// The country of the recipient's address.
    pub ip_country: Option<Country>,
    /// What the name resolves to.
    pub addresses: Vec<IpAddr>,
    /// Exchanges that were sent before, and answered.
    pub previous: Vec<Timestamp>,
    /// Bytes that were sent today.
    pub bytes_today: u64,
    /// What a body was found to be, where its bytes are not at hand: of an exchange on record.
    pub body: Option<BodyFacts>,
    /// What the head declares of a body that was never read, in bytes, of an exchange on record.
    pub declared_length: Option<u64>,
    /// Keyed digest of the whole path, of an exchange on record: it tells an exchange that is tried again.
    pub path_digest: Option<Digest>,
    /// No record can be written.
    pub record_unavailable: bool,
}

/// What would be decided.
#[derive(Debug)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// The last stage that was judged.
    pub stage: Stage,
    /// The refusal; also the one that `observe` lifts.
    pub denial: Option<Denial>,
    /// What it leaves under.
    pub used: Option<Used>,
    /// Who sends.
    pub source: Option<Arc<Source>>,
    /// Where to; `None` where the URL names nothing.
    pub destination: Option<Destination>,
    /// Whether it is read or relayed unread.
    pub carriage: Carriage,
    /// What body and target were taken for.
    pub categories: Vec<Term>,
    /// What was seen of the body.
    pub findings: Findings,
    /// Each condition that was judged.
    pub trace: Trace,
}

impl Answer {
    /// The reason, of a denial or would-deny.
    pub fn reason(&self) -> Option<Reason> {
        self.denial.as_ref().map(|denial| denial.reason)
    }

    fn refused(denial: Denial, asked: &Asked) -> Answer {
        Answer {
            decision: Decision::Denial,
            stage: denial.stage,
            used: None,
            source: denial.source.clone(),
            destination: Some(asked.destination.clone()),
            carriage: asked.carriage,
            categories: Vec::new(),
            findings: asked.findings.clone(),
            trace: denial.trace().clone(),
            denial: Some(denial),
        }
    }

    fn unreadable(denial: Denial) -> Answer {
        Answer {
            decision: Decision::Denial,
            stage: Stage::Head,
            used: None,
            source: None,
            destination: None,
            carriage: Carriage::Intercept,
            categories: Vec::new(),
            findings: Findings::default(),
            trace: Trace::default(),
            denial: Some(denial),
        }
    }

    fn passed(verdict: &Verdict, asked: &Asked) -> Answer {
        Answer {
            decision: verdict.decision(),
            stage: Stage::Record,
            denial: verdict.would_deny().cloned(),
            used: verdict.used(),
            source: verdict.source().cloned(),
            destination: Some(asked.destination.clone()),
            carriage: asked.carriage,
            categories: verdict.categories().to_vec(),
            findings: asked.findings.clone(),
            trace: verdict.trace(),
        }
    }
}

/// Walks the stages. `rules` are those of the proxy's configuration; a supposed address is open besides.
pub fn answer(register: &Arc<Register>, rules: &AddressRules, question: &Question) -> Answer {
    answer_on(register, rules, question, &mut Ledger::default(), None)
}

/// [`answer`] with a ledger that remembers: what is let through is charged to it as `sent`, and no history is supposed.
pub fn answer_on(
    register: &Arc<Register>,
    rules: &AddressRules,
    question: &Question,
    ledger: &mut Ledger,
    sent: Option<Sent>,
) -> Answer {
    let mut asked = match Asked::of(question) {
        Ok(asked) => asked,
        Err(denial) => return Answer::unreadable(denial),
    };
    asked.carriage = carriage(register, rules, &asked);
    if sent.is_none() {
        suppose_history(register, ledger, &asked.head, &question.supposed);
    }
    let head = match asked.carriage {
        Carriage::Intercept => asked.head.clone(),
        Carriage::Tunnel => Head { request: None, ..asked.head.clone() },
    };
    let permit = match admit(register, rules, ledger, head) {
        Ok(permit) => permit,
        Err(denial) => return Answer::refused(denial, &asked),
    };
    match walk(permit, rules, ledger, &asked, question) {
        Ok(mut verdict) => {
            if let Some(sent) = sent {
                ledger.settle(verdict.take_reservations(), sent);
            }
            Answer::passed(&verdict, &asked)
        }
        Err(denial) => Answer::refused(denial, &asked),
    }
}

fn walk(
    permit: Permit,
    rules: &AddressRules,
    ledger: &mut Ledger,
    asked: &Asked,
    question: &Question,
) -> Result<Verdict, Denial> {
    let supposed = &question.supposed;
    let (rules, addresses) = resolved(&permit, rules, supposed);
    let pinned = permit.pin(&rules, &addresses)?;
    let facts = connection(&asked.destination, pinned.addresses(), &pinned.obligations().pins, supposed);
    let connected = pinned.connected(facts)?;
    let verdict = match asked.carriage {
        Carriage::Tunnel => connected.judge_tunnel(ledger),
        Carriage::Intercept => connected.judge(ledger, asked.body(question))?,
    };
    if supposed.record_unavailable {
        let denial = verdict.denial(Denial::new(Reason::RecordUnavailable, Stage::Record));
        return Err(denial);
    }
    Ok(verdict)
}

/// A question, read.
struct Asked {
    head: Head,
    destination: Destination,
    findings: Findings,
    carriage: Carriage,
}

impl Asked {
    fn of(question: &Question) -> Result<Asked, Denial> {
        let url = Url::parse(&question.url)?;
        let is_tunnel = question.method == "CONNECT" || url.destination.scheme == Scheme::Tcp;
        let known = question.supposed.body.as_ref();
        let findings = match (&question.body, known) {
            (Some(body), _) => {
                let mut inspector = inspect::body(question.content_type.as_deref(), None);
                inspector.push(body);
                inspector.findings()
            }
            (None, known) => known.map(|body| body.findings.clone()).unwrap_or_default(),
        };
        let size = question.body.as_ref().map(|body| body.len() as u64).or(known.map(|body| body.size));
        let size = size.or(question.supposed.declared_length);
        let body = size.filter(|size| *size > 0 || known.is_none()).map_or(DeclaredBody::None, DeclaredBody::Length);
        let request = Request {
            method: question.method.clone(),
            path_digest: question.supposed.path_digest.unwrap_or_else(|| digest(url.path.as_str().as_bytes())),
            path: url.path,
            content_type: question.content_type.clone(),
            body,
            target: inspect::target(url.query.as_deref()),
        };
        let entry = if url.destination.scheme == Scheme::Http { EntryPoint::Forward } else { EntryPoint::Connect };
        let head = Head {
            time: question.at,
            entry,
            peer: question.peer.clone(),
            destination: url.destination.clone(),
            request: (!is_tunnel).then_some(request),
        };
        Ok(Asked { head, destination: url.destination, findings, carriage: Carriage::Intercept })
    }

    fn body(&self, question: &Question) -> BodyFacts {
        let Some(body) = &question.body else {
            return question.supposed.body.clone().unwrap_or_else(BodyFacts::none);
        };
        let known = question.supposed.body.as_ref().and_then(|known| known.digest);
        let digest = known.unwrap_or_else(|| digest(body));
        BodyFacts { size: body.len() as u64, digest: Some(digest), findings: self.findings.clone() }
    }
}

/// A tunnel, where one was asked for, or where the CONNECT in front of the request would become one.
fn carriage(register: &Arc<Register>, rules: &AddressRules, asked: &Asked) -> Carriage {
    let is_cleartext = asked.destination.scheme == Scheme::Http;
    match &asked.head.request {
        None => Carriage::Tunnel,
        Some(_) if is_cleartext => Carriage::Intercept,
        Some(_) => connect(register, rules, &asked.head).unwrap_or(Carriage::Intercept),
    }
}

/// Nothing keyed leaves a dry run: a plain digest tells equal bodies as well.
fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Charges what was sent before to every candidate.
fn suppose_history(register: &Register, ledger: &mut Ledger, head: &Head, supposed: &Supposed) {
    let peer = &head.peer;
    let Some(source) = register.source_of(peer.address, &peer.certificate, peer.user.as_deref()) else { return };
    let mut previous = supposed.previous.clone();
    previous.sort();
    for candidate in Candidate::all(register, source, &head.destination) {
        let (name, limits) = (candidate.name(), candidate.limits());
        let account = Account::of(name, &source.id, limits);
        let attempt = Attempt { source: &source.id, method: "", path: Digest([0; 32]) };
        let earlier = previous.iter().map(|time| (*time, Some(attempt), 0));
        // Bytes alone, as a tunnel is charged them: they are no exchange of their own.
        let today = (head.time, None, supposed.bytes_today);
        for (time, attempt, bytes) in earlier.chain([today]) {
            let today = Today::at(time, register.time_zone());
            let charge = Charge { account: account.clone(), limits, today: &today, attempt, bytes };
            let mut held = Reservations::default();
            ledger.reserve(&charge, &mut held);
            ledger.settle(held, Sent { bytes, content_left: true, answered_2xx: true, time });
        }
    }
}

/// What the name resolves to: as supposed, else an address that may be dialled.
fn resolved(permit: &Permit, rules: &AddressRules, supposed: &Supposed) -> (AddressRules, Vec<IpAddr>) {
    let mut rules = AddressRules { internal: rules.internal.clone(), own: rules.own.clone() };
    if let Host::Address(literal) = permit.head().destination.host {
        return (rules, vec![literal]);
    }
    if !supposed.addresses.is_empty() {
        return (rules, supposed.addresses.clone());
    }
    let address = permit.declared_network().map_or(SUPPOSED_ADDRESS, |network| network.network());
    rules.internal.push(IpNetwork::from(address));
    (rules, vec![address])
}

/// The connection as supposed; what is left out is as declared.
fn connection(
    destination: &Destination,
    addresses: &[SocketAddr],
    pins: &[Vec<[u8; 32]>],
    supposed: &Supposed,
) -> ConnectionFacts {
    let address = addresses.first().copied().unwrap_or_else(|| SocketAddr::new(SUPPOSED_ADDRESS, destination.port));
    let name = destination.host.name().map(|name| name.as_str().to_owned());
    let tls = (destination.scheme == Scheme::Https).then(|| TlsFacts {
        version: supposed.tls_version.unwrap_or(TlsVersion::V1_3),
        sni: supposed.sni.clone().or(name),
        spki_sha256: supposed.spki_sha256.or_else(|| pins.iter().flatten().next().copied()),
    });
    ConnectionFacts { address, tls, country: supposed.ip_country, certificate_ends: None }
}

/// The parts of a URL.
struct Url {
    destination: Destination,
    path: RequestPath,
    query: Option<String>,
}

impl Url {
    fn parse(text: &str) -> Result<Url, Denial> {
        let malformed = |detail: String| Denial::new(Reason::MalformedRequest, Stage::Head).with_detail(detail);
        let hint = || malformed(format!("{text:?} is not a URL such as https://host/path"));
        let (scheme, rest) = text.split_once("://").ok_or_else(hint)?;
        let scheme = [Scheme::Http, Scheme::Https, Scheme::Tcp].into_iter().find(|known| known.as_str() == scheme);
        let scheme = scheme.ok_or_else(hint)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = Authority::parse(authority).map_err(|fault: HostFault| {
            let reason = if fault.is_numeric() { Reason::NumericHost } else { Reason::MalformedRequest };
            Denial::new(reason, Stage::Head).with_detail(fault.to_string())
        })?;
        let port = authority.port.or_else(|| scheme.default_port());
        let port = port.ok_or_else(|| malformed(format!("{text:?} names no port")))?;
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        let path = RequestPath::parse(if path.is_empty() { "/" } else { path });
        let path = path.map_err(|fault| malformed(fault.to_string()))?;
        Ok(Url { destination: Destination { scheme, host: authority.host, port }, path, query })
    }
}

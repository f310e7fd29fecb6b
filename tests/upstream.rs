//! The way to a recipient, against recipients on this machine that count what they receive: only pinned addresses are
//! dialled, opening sends nothing of an exchange, nothing is sent twice, and only what a new connection would be is used
//! again.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tasrih::audit::{Audit, Options, Recorded};
use tasrih::destination::{AddressRules, Destination, Host, RequestPath, Scheme};
use tasrih::inspect::Findings;
use tasrih::policy::{
    self, ConnectionFacts, Decision, DeclaredBody, Digest, EntryPoint, Head, Ledger, Peer, Pinned, Stage, TlsVersion,
};
use tasrih::record::{DecisionRecord, Exchange};
use tasrih::register::compile::{Text, compile};
use tasrih::register::{Mode, Register};
use tasrih::tls::recipient::{Acceptor, Issuing, Versions};
use tasrih::tls::{CertificateFault, Root, TlsFault, Trust};
use tasrih::upstream::{Connection, DialFault, DialTimes, Dialer, SendFault, UpstreamBody};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// The name that all recipients here have.
const NAME: &str = "intake.example";
const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let recipient = Recipient::plain(ELSEWHERE, Manner::Keep).await;
    let dialer = dialer(&[]);
    let pinned = recipient.pinned(&[HERE, ELSEWHERE]);
    let (_connection, facts) = dialer.open(&pinned).await.expect("the second address answers");
    assert_eq!(facts.address, SocketAddr::from((ELSEWHERE, recipient.port)));
    assert_eq!(facts.tls, None);

    let fault = dialer.open(&recipient.pinned(&[HERE])).await.expect_err("nobody is there");
    assert!(matches!(fault, DialFault::Unreachable { tried: 1, .. }), "{fault:?}");
    assert!(!fault.is_timeout());
}

#[tokio::test]
async fn opening_sends_a_handshake_and_nothing_else() {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let recipient = Recipient::tls(HERE, Manner::Keep, &issuing, NAME).await;
    let (connection, facts) = dialer(&[&issuing]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    let tls = facts.tls.expect("over TLS");
    assert_eq!((tls.version, tls.sni.as_deref()), (TlsVersion::V1_3, Some(NAME)));
    assert_eq!(tls.spki_sha256, recipient.pin);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(recipient.received(), Vec::<String>::new());
    drop(connection);

    let stream = dialer(&[&issuing]).open_tcp(&recipient.pinned(&[HERE])).await.expect("a connection");
    assert_eq!(stream.1, SocketAddr::from((HERE, recipient.port)));
}

#[tokio::test]
async fn a_recipient_that_is_not_who_it_should_be_is_told_apart() {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let recipient = Recipient::tls(HERE, Manner::Keep, &issuing, "another.example").await;
    let fault = dialer(&[&issuing]).open(&recipient.pinned(&[HERE])).await.expect_err("another name");
    let DialFault::Tls { fault: TlsFault::Certificate(fault), .. } = fault else { panic!("{fault:?}") };
    assert_eq!(fault, CertificateFault::Name);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_timeout() {
    let recipient = Recipient::plain(HERE, Manner::Keep).await;
    let pinned = pinned(Scheme::Https, recipient.port, &[HERE], &Declared::default());
    let times = DialTimes { handshake: Duration::from_millis(50), ..DialTimes::default() };
    let fault = Dialer::new(trust(&[]), times).open(&pinned).await.expect_err("no TLS there");
    assert!(fault.is_timeout(), "{fault:?}");
}

#[tokio::test]
async fn a_connection_is_used_again_where_a_new_one_would_be_the_same() {
    let recipient = Recipient::plain(HERE, Manner::Keep).await;
    let evidence = Evidence::new().await;
    let dialer = dialer(&[]);
    for _ in 0..3 {
        let (connection, _) = dialer.open(&recipient.pinned(&[HERE, ELSEWHERE])).await.expect("a connection");
        exchange(connection, &evidence).await;
    }
    assert_eq!((recipient.connections(), recipient.received().len()), (1, 3));
}

#[tokio::test]
async fn a_connection_is_not_used_again_by_other_rules_sources_or_addresses() {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let recipient = Recipient::tls(HERE, Manner::Keep, &issuing, NAME).await;
    let evidence = Evidence::new().await;
    let dialer = dialer(&[&issuing]);
    let pin = recipient.pin.expect("over TLS");
    let others = [
        Declared::default(),
        Declared { pins: vec![pin], ..Declared::default() },
        Declared { source: 2, ..Declared::default() },
    ];
    for declared in &others {
        let (connection, _) =
            dialer.open(&pinned(Scheme::Https, recipient.port, &[HERE], declared)).await.expect("a connection");
        exchange(connection, &evidence).await;
    }
    assert_eq!(recipient.connections(), others.len());
    assert_eq!(dialer.idle(), others.len());

    let elsewhere = dialer.open(&pinned(Scheme::Https, recipient.port, &[ELSEWHERE], &others[0])).await;
    assert!(matches!(elsewhere, Err(DialFault::Unreachable { .. })), "an address that is not pinned now was used");
}

#[tokio::test]
async fn a_connection_that_authenticates_itself_is_not_shared() {
    let recipient = Recipient::plain(HERE, Manner::Keep).await;
    let evidence = Evidence::new().await;
    let dialer = dialer(&[]);
    let (mut connection, _) = dialer.open(&recipient.pinned(&[HERE])).await.expect("a connection");
    let mut request = get();
    request.headers_mut().insert("authorization", "NTLM TlRMTVNTUAAB".parse().expect("a value"));
    let response = connection.send(&evidence.recorded().await, request, |_| true).await.expect("an answer");
    response.into_body().collect().await.expect("a body");
    connection.release();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(dialer.idle(), 0);
}

#[tokio::test]
async fn a_connection_closed_before_anything_was_written_is_replaced_once() {
    let recipient = Recipient::plain(HERE, Manner::CloseUnused(1)).await;
    let evidence = Evidence::new().await;
    let (connection, _) = dialer(&[]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
    exchange(connection, &evidence).await;
    assert_eq!((recipient.connections(), recipient.received().len()), (2, 1));
}

#[tokio::test]
async fn a_replaced_connection_must_show_the_identity_that_was_judged() {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let recipient = Recipient::tls(HERE, Manner::CloseUnused(1), &issuing, NAME).await;
    let evidence = Evidence::new().await;
    let (mut connection, _) = dialer(&[&issuing]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
    recipient.change_key(&issuing);
    let judged = connection.facts().tls.clone();
    let same = |facts: &ConnectionFacts| facts.tls == judged;
    let fault = connection.send(&evidence.recorded().await, get(), same).await.expect_err("another key");
    assert!(matches!(fault, SendFault::OtherIdentity(_)), "{fault:?}");
    assert!(!fault.bytes_may_have_left());
    assert_eq!(recipient.received().len(), 0);
}

#[tokio::test]
async fn a_replaced_connection_may_show_another_key_that_is_accepted() {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let recipient = Recipient::tls(HERE, Manner::CloseUnused(1), &issuing, NAME).await;
    let evidence = Evidence::new().await;
    let (mut connection, judged) = dialer(&[&issuing]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
    recipient.change_key(&issuing);
    connection.send(&evidence.recorded().await, get(), |_| true).await.expect("an answer");
    let key = |facts: &ConnectionFacts| facts.tls.as_ref().and_then(|tls| tls.spki_sha256);
    assert_ne!(key(connection.facts()), key(&judged), "what is known of the connection is what it shows now");
    assert_eq!((recipient.connections(), recipient.received().len()), (2, 1));
}

#[tokio::test]
async fn a_request_that_may_have_left_is_never_sent_again() {
    let recipient = Recipient::plain(HERE, Manner::Hang).await;
    let evidence = Evidence::new().await;
    let (mut connection, _) = dialer(&[]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    let fault = connection.send(&evidence.recorded().await, get(), |_| true).await.expect_err("no answer");
    assert!(matches!(fault, SendFault::Failed(_)), "{fault:?}");
    assert!(fault.bytes_may_have_left());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((recipient.connections(), recipient.received().len()), (1, 1));
}

#[tokio::test]
async fn answers_that_two_readers_could_frame_in_two_ways_are_refused() {
    let ambiguous = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ];
    let evidence = Evidence::new().await;
    for answer in ambiguous {
        let recipient = Recipient::plain(HERE, Manner::Answer(answer)).await;
        let dialer = dialer(&[]);
        let (mut connection, _) = dialer.open(&recipient.pinned(&[HERE])).await.expect("a connection");
        let answered = connection.send(&evidence.recorded().await, get(), |_| true).await;
        assert!(answered.is_err(), "{answer:?} passed");
        connection.release();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(dialer.idle(), 0, "after {answer:?}");
    }
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let recipient = Recipient::plain(HERE, Manner::Answer(early)).await;
    let (mut connection, _) = dialer(&[]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    let answered = connection.send(&evidence.recorded().await, get(), |_| true).await.expect("the final answer");
    assert_eq!(answered.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn dropping_a_connection_closes_it() {
    let recipient = Recipient::plain(HERE, Manner::Keep).await;
    let (connection, _) = dialer(&[]).open(&recipient.pinned(&[HERE])).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(recipient.open.load(Ordering::SeqCst), 1);
    drop(connection);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(recipient.open.load(Ordering::SeqCst), 0);
}

/// How a recipient answers.
#[derive(Clone, Copy)]
enum Manner {
    /// Every request with 200, keeping the connection.
    Keep,
    /// Closes this many connections before anything comes; then as `Keep`.
    CloseUnused(usize),
    /// Reads a request and closes.
    Hang,
    /// Sends these bytes for each request.
    Answer(&'static str),
}

/// A recipient that remembers the heads it received.
struct Recipient {
    port: u16,
    scheme: Scheme,
    pin: Option<[u8; 32]>,
    acceptor: Arc<Mutex<Option<Acceptor>>>,
    received: Arc<Mutex<Vec<String>>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Recipient {
    async fn plain(address: [u8; 4], manner: Manner) -> Recipient {
        Recipient::start(address, manner, Scheme::Http, None, None).await
    }

    async fn tls(address: [u8; 4], manner: Manner, issuing: &Issuing, name: &str) -> Recipient {
        let issued = issuing.issue(&Host::parse(name).expect("a host")).expect("a certificate");
        let acceptor = issued.acceptor(Versions::Tls12And13).expect("an acceptor");
        Recipient::start(address, manner, Scheme::Https, Some(acceptor), Some(issued.spki_sha256())).await
    }

    async fn start(
        address: [u8; 4],
        manner: Manner,
        scheme: Scheme,
        acceptor: Option<Acceptor>,
        pin: Option<[u8; 32]>,
    ) -> Recipient {
        let listener = TcpListener::bind(SocketAddr::from((address, 0))).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let acceptor = Arc::new(Mutex::new(acceptor));
        let (received, accepted, open) = (Arc::default(), Arc::default(), Arc::default());
        let recipient = Recipient { port, scheme, pin, acceptor, received, accepted, open };
        let (acceptor, received) = (Arc::clone(&recipient.acceptor), Arc::clone(&recipient.received));
        let (accepted, open) = (Arc::clone(&recipient.accepted), Arc::clone(&recipient.open));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.lock().expect("whole").clone();
                let (received, open) = (Arc::clone(&received), Arc::clone(&open));
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    match acceptor {
                        None => serve(stream, manner, number, &received).await,
                        Some(acceptor) => {
                            if let Ok((stream, _)) = acceptor.accept(stream).await {
                                serve(stream, manner, number, &received).await;
                            }
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        recipient
    }

    /// From now on shows another certificate for the same name.
    fn change_key(&self, issuing: &Issuing) {
        let issued = issuing.issue(&Host::parse(NAME).expect("a host")).expect("a certificate");
        let acceptor = issued.acceptor(Versions::Tls12And13).expect("an acceptor");
        *self.acceptor.lock().expect("whole") = Some(acceptor);
    }

    fn pinned(&self, addresses: &[[u8; 4]]) -> Pinned {
        pinned(self.scheme, self.port, addresses, &Declared::default())
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().expect("whole").clone()
    }

    fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn serve<S>(mut stream: S, manner: Manner, number: usize, received: &Mutex<Vec<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if matches!(manner, Manner::CloseUnused(count) if number < count) {
        let _ = stream.shutdown().await;
        return;
    }
    let mut head = Vec::new();
    while let Ok(count) = stream.read_buf(&mut head).await {
        if count == 0 {
            return;
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        received.lock().expect("whole").push(String::from_utf8_lossy(&head).into_owned());
        head.clear();
        let answer = match manner {
            Manner::Keep | Manner::CloseUnused(_) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Manner::Answer(answer) => answer,
            Manner::Hang => return,
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
    }
}

fn trust(issuing: &[&Issuing]) -> Trust {
    let roots: Vec<Root> = issuing.iter().map(|issuing| Root::Pem(issuing.certificate_pem().to_owned())).collect();
    Trust::new(&roots).expect("roots")
}

fn dialer(issuing: &[&Issuing]) -> Dialer {
    Dialer::new(trust(issuing), DialTimes::default())
}

/// What differs between registers here.
struct Declared {
    pins: Vec<[u8; 32]>,
    /// Last part of the sender's address; each is a source of its own.
    source: u8,
}

impl Default for Declared {
    fn default() -> Declared {
        Declared { pins: Vec::new(), source: 1 }
    }
}

/// Only policy makes a `Pinned`, so these come from a register, as in earnest.
fn pinned(scheme: Scheme, port: u16, addresses: &[[u8; 4]], declared: &Declared) -> Pinned {
    let register = register(scheme, port, declared);
    let rules = AddressRules { internal: vec!["127.0.0.0/8".parse().expect("a network")], own: Vec::new() };
    let destination = Destination { scheme, host: Host::parse(NAME).expect("a host"), port };
    let request = policy::Request {
        method: "GET".to_owned(),
        path: RequestPath::parse("/").expect("a path"),
        content_type: None,
        body: DeclaredBody::None,
        target: Findings::default(),
        path_digest: Digest([0; 32]),
    };
    let head = Head {
        time: "2031-05-02T12:00:00Z".parse().expect("a time"),
        entry: EntryPoint::Forward,
        peer: Peer::at(IpAddr::from([10, 0, 0, declared.source])),
        destination,
        request: Some(request),
    };
    let permit = policy::admit(&register, &rules, &mut Ledger::default(), head).expect("a permit");
    let addresses: Vec<IpAddr> = addresses.iter().map(|&address| address.into()).collect();
    permit.pin(&rules, &addresses).expect("loopback addresses are opened")
}

fn register(scheme: Scheme, port: u16, declared: &Declared) -> Arc<Register> {
    use base64::Engine;
    let encoded = declared.pins.iter().map(|pin| base64::engine::general_purpose::STANDARD.encode(pin));
    let encoded: Vec<String> = encoded.map(|pin| format!("\"{pin}\"")).collect();
    let pins = if encoded.is_empty() { String::new() } else { format!(", tls_spki_sha256: [{}]", encoded.join(", ")) };
    let text = format!(
        "schema: tasrih/1
controller: {{name: Sender, id: {{scheme: x, value: \"1\"}}, country: MA, time_zone: Africa/Casablanca}}
sources:
  - {{id: one, networks: [10.0.0.1/32]}}
  - {{id: two, networks: [10.0.0.2/32]}}
allowances:
  - {{id: intake, to: [{{host: {NAME}, port: {port}, scheme: {scheme}{pins}}}], from: [any]}}
"
    );
    let compiled = compile(&[Text { name: "policies/test.yaml".to_owned(), text }]).expect("no faults");
    Arc::new(compiled.register)
}

/// A real log, because nothing else makes a `Recorded`.
struct Evidence {
    audit: Audit,
    _folder: tempfile::TempDir,
}

impl Evidence {
    async fn new() -> Evidence {
        let folder = tempfile::tempdir().expect("a folder");
        let (audit, _) = Audit::open(folder.path(), Options::default()).expect("a new log");
        Evidence { audit, _folder: folder }
    }

    async fn recorded(&self) -> Recorded {
        let here = SocketAddr::from((HERE, 1));
        let exchange = Exchange {
            id: uuid::Uuid::now_v7(),
            node: "egress-1".into(),
            connection: "c-1".to_owned(),
            entry: EntryPoint::Forward,
            peer: here,
            proxy: here,
            source: None,
            user: None,
            destination: None,
            request: None,
            register_version: tasrih::register::Version("0".into()),
            aliases: Vec::new(),
            address: None,
            country: None,
            tls: None,
            client_alert: None,
            redirected: None,
            balancer: None,
            protocol: None,
            ech_offered: false,
        };
        let record = DecisionRecord {
            time: "2031-05-02T12:00:00Z".parse().expect("a time"),
            exchange,
            decision: Decision::Permit,
            reason: None,
            stage: Stage::Record,
            mode: Mode::Enforce,
            used: None,
            recipient: None,
            failed: Vec::new(),
            candidates: Vec::new(),
            categories: Vec::new(),
            presumed: false,
            country_mismatch: false,
            findings: Findings::default(),
            body: None,
            verified: Vec::new(),
            detail: None,
            status: None,
            folded: None,
        };
        self.audit.permit(record).await.expect("recorded")
    }
}

fn get() -> Request<UpstreamBody> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().uri("/").header("host", NAME).body(body).expect("a request")
}

/// Sends one request, reads its answer to the end, and gives the connection back.
async fn exchange(mut connection: Connection, evidence: &Evidence) {
    let response = connection.send(&evidence.recorded().await, get(), |_| true).await.expect("an answer");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(&body[..], b"hello");
    connection.release();
    tokio::time::sleep(Duration::from_millis(50)).await;
}

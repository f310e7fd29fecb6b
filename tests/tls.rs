//! Real handshakes, both ways: our acceptor and our client against each other, against curl, and against openssl.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use tasrih::destination::Host;
use tasrih::policy::{TlsFacts, TlsVersion};
use tasrih::tls::client_hello::{self, Replayed};
use tasrih::tls::issue::{self, DAY, Validity};
use tasrih::tls::recipient::{Issuing, Versions};
use tasrih::tls::wire::{self, ServerFirst};
use tasrih::tls::{
    ACCESS_DENIED, AcceptFault, Authority, AuthorityFault, CertificateFault, HttpVersion, Root, TlsFault, Trust,
    authority, trust,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

fn host(text: &str) -> Host {
    Host::parse(text).expect("a host")
}

fn trusting(pem: &str) -> Trust {
    Trust::new(&[Root::Pem(pem.to_owned())]).expect("roots")
}

fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(64 * 1024)
}

/// A handshake of our client, meaning `meant`, with a recipient that shows `shown`.
async fn recipient(
    meant: &str,
    shown: &str,
    validity: Validity,
    versions: Versions,
) -> (Result<TlsFacts, TlsFault>, io::Result<u64>, [u8; 32]) {
    let issuing = Issuing::new("recipients' root").expect("an authority");
    let issued = issuing.issue_valid(&host(shown), validity).expect("a certificate");
    let acceptor = issued.acceptor(versions).expect("an acceptor");
    let trust = trusting(issuing.certificate_pem());
    let meant = host(meant);
    let (near, far) = pipe();
    let (client, server) = tokio::join!(trust.connect(&meant, near), acceptor.accept(far));
    (client.map(|(_, facts)| facts), server.map(|(_, taken)| taken), issued.spki_sha256())
}

fn now() -> Validity {
    Validity::around(issue::now(), 30)
}

#[tokio::test]
async fn a_recipient_is_verified_and_its_facts_are_told() {
    for (name, sni) in [("a.example", Some("a.example")), ("192.0.2.1", None), ("[2001:db8::1]", None)] {
        let (facts, taken, pin) = recipient(name, name, now(), Versions::Tls12And13).await;
        let facts = facts.expect("a handshake");
        assert_eq!(facts.version, TlsVersion::V1_3);
        assert_eq!(facts.sni.as_deref(), sni);
        assert_eq!(facts.spki_sha256, Some(pin));
        assert!(taken.expect("a handshake") > 100);
    }
    let (facts, taken, _) = recipient("a.example", "a.example", now(), Versions::Tls12).await;
    assert_eq!(facts.expect("a handshake").version, TlsVersion::V1_2);
    assert!(taken.expect("a handshake") > 100);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_apart() {
    let past = Validity { not_before: issue::now() - DAY * 9, not_after: issue::now() - DAY };
    let future = Validity { not_before: issue::now() + DAY, not_after: issue::now() + DAY * 9 };
    let cases = [
        ("b.example", now(), CertificateFault::Name),
        ("192.0.2.1", now(), CertificateFault::Name),
        ("a.example", past, CertificateFault::Expired),
        ("a.example", future, CertificateFault::NotYetValid),
    ];
    for (shown, validity, expected) in cases {
        let (facts, taken, _) = recipient("a.example", shown, validity, Versions::Tls12And13).await;
        assert!(matches!(&facts, Err(TlsFault::Certificate(fault)) if *fault == expected), "{shown}: {facts:?}");
        assert!(taken.is_err(), "the recipient thinks that all is well");
    }
    let issuing = Issuing::new("nobody's root").expect("an authority");
    let issued = issuing.issue(&host("a.example")).expect("a certificate");
    let acceptor = issued.acceptor(Versions::Tls12And13).expect("an acceptor");
    let stranger = trusting(Issuing::new("another root").expect("an authority").certificate_pem());
    let meant = host("a.example");
    let (near, far) = pipe();
    let (client, _) = tokio::join!(stranger.connect(&meant, near), acceptor.accept(far));
    assert!(matches!(client, Err(TlsFault::Certificate(CertificateFault::UnknownIssuer))));
}

#[tokio::test]
async fn the_count_of_a_handshake_leaves_out_what_follows_it() {
    for versions in [Versions::Tls12, Versions::Tls12And13] {
        let issuing = Issuing::new("recipients' root").expect("an authority");
        let issued = issuing.issue(&host("a.example")).expect("a certificate");
        let acceptor = issued.acceptor(versions).expect("an acceptor");
        let trust = trusting(issuing.certificate_pem());
        let (near, far) = pipe();
        let (counted, passed) = counting(near);
        let client = async {
            let (mut stream, _) = trust.connect(&host("a.example"), counted).await.expect("a handshake");
            let handshake = passed.load(std::sync::atomic::Ordering::Relaxed);
            stream.write_all(&[7; 5000]).await.expect("written");
            stream.flush().await.expect("flushed");
            (handshake, stream)
        };
        let server = async {
            let (mut stream, taken) = acceptor.accept(far).await.expect("a handshake");
            let mut body = vec![0; 5000];
            stream.read_exact(&mut body).await.expect("the body");
            taken
        };
        let ((sent, _stream), taken) = tokio::join!(client, server);
        assert_eq!(taken, sent, "{versions:?}");
    }
}

#[tokio::test]
async fn a_recipient_that_speaks_only_old_tls_is_too_old() {
    let trust = trusting(Issuing::new("root").expect("an authority").certificate_pem());
    // A ServerHello that chooses TLS 1.1, and an alert that says the same, as real servers do.
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([9; 32]);
    hello.extend([0, 0x00, 0x2f, 0]);
    for answer in [hello, vec![21, 3, 1, 0, 2, 2, 70]] {
        let (near, mut far) = pipe();
        far.write_all(&answer).await.expect("written");
        let fault = trust.connect(&host("a.example"), near).await.map(|_| ()).expect_err("too old");
        assert!(matches!(fault, TlsFault::TooOld), "{fault:?}");
    }
}

#[tokio::test]
async fn other_failures_of_a_recipient_are_no_certificate_faults() {
    let trust = trusting(Issuing::new("root").expect("an authority").certificate_pem());
    let (near, mut far) = pipe();
    far.write_all(b"220 mail.example ESMTP\r\n").await.expect("written");
    let fault = trust.connect(&host("a.example"), near).await.map(|_| ()).expect_err("not TLS");
    assert!(matches!(fault, TlsFault::Protocol(_)), "{fault:?}");

    let (near, mut far) = pipe();
    far.write_all(&ACCESS_DENIED).await.expect("written");
    let fault = trust.connect(&host("a.example"), near).await.map(|_| ()).expect_err("an alert");
    assert!(matches!(&fault, TlsFault::Alert(alert) if alert == "access_denied"), "{fault:?}");

    let (near, far) = pipe();
    drop(far);
    let fault = trust.connect(&host("a.example"), near).await.map(|_| ()).expect_err("closed");
    assert!(matches!(fault, TlsFault::Closed | TlsFault::Io(_)), "{fault:?}");
}

#[tokio::test]
async fn a_client_is_answered_with_the_leaf_of_the_host_it_connected_to() {
    let authority = Authority::generate().expect("an authority");
    let trust = trusting(authority.certificate_pem());
    for name in ["a.example", "192.0.2.1", "[2001:db8::1]", "with_underscore.example"] {
        let (near, far) = pipe();
        let meant = host(name);
        let (client, server) = tokio::join!(trust.connect(&meant, near), authority.accept(far, &meant));
        client.expect("the leaf is for the name");
        let (_, hello) = server.expect("a handshake");
        assert_eq!(hello.sni, meant.name().map(|_| meant.clone()));
        assert_eq!(hello.newest, TlsVersion::V1_3);
        assert_eq!(hello.alpn, ["http/1.1"]);
        assert!(!hello.encrypted);
    }
}

#[tokio::test]
async fn sessions_are_resumed_on_both_legs_whatever_is_spoken_inside() {
    let proxy = Authority::generate().expect("an authority");
    let client_trust = trusting(proxy.certificate_pem());
    let meant = host("a.example");
    let versions = [HttpVersion::V2, HttpVersion::V2, HttpVersion::V1, HttpVersion::V2];
    for (round, version) in versions.into_iter().enumerate() {
        let (near, far) = pipe();
        let shaken = tokio::join!(
            client_trust.connect_up_to(version, &meant, near),
            proxy.accept_up_to(HttpVersion::V2, far, &meant)
        );
        let ((mut client, facts), (mut server, _)) = (shaken.0.expect("a handshake"), shaken.1.expect("a handshake"));
        assert_eq!((trust::spoken(&client), authority::spoken(&server)), (version, version));
        assert!(facts.spki_sha256.is_some(), "what was verified when the session began");
        let expected = if round == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
        let kinds = (client.get_ref().1.handshake_kind(), server.get_ref().1.handshake_kind());
        assert_eq!(kinds, (Some(expected), Some(expected)), "round {round}");
        // Tickets come behind the handshake.
        server.write_all(b"!").await.expect("taken");
        server.flush().await.expect("taken");
        assert_eq!(client.read_u8().await.expect("a byte"), b'!');
    }
    // The near miss: a session is one with its host.
    let (near, far) = pipe();
    let other = host("b.example");
    let (client, _) = tokio::join!(client_trust.connect(&other, near), proxy.accept(far, &other));
    assert_eq!(client.expect("a handshake").0.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
}

#[tokio::test]
async fn another_server_name_is_refused_before_a_certificate_is_shown() {
    let authority = Authority::generate().expect("an authority");
    let trust = trusting(authority.certificate_pem());
    let (near, far) = pipe();
    let (asked, connected) = (host("asked.example"), host("connected.example"));
    let (client, server) = tokio::join!(trust.connect(&asked, near), authority.accept(far, &connected));
    assert!(matches!(client, Err(TlsFault::Alert(alert)) if alert == "access_denied"));
    assert!(matches!(server, Err(AcceptFault::OtherName)));
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_known_by_its_alert() {
    let authority = Authority::generate().expect("an authority");
    let stranger = trusting(Issuing::new("another root").expect("an authority").certificate_pem());
    let (near, far) = pipe();
    let meant = host("a.example");
    let (_, server) = tokio::join!(stranger.connect(&meant, near), authority.accept(far, &meant));
    let fault = server.map(|_| ()).expect_err("no trust");
    assert_eq!(fault.alert(), Some("unknown_ca"));
    assert!(fault.is_distrust());
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_told_apart() {
    let authority = Authority::generate().expect("an authority");
    let (mut near, far) = pipe();
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let fault = authority.accept(far, &host("a.example")).await.map(|_| ()).expect_err("no TLS");
    assert!(matches!(fault, AcceptFault::Hello(client_hello::HelloFault::NotTls)), "{fault:?}");
}

#[tokio::test]
async fn a_hello_that_offers_only_tls_1_1_is_read_and_not_answered() {
    let old = old_hello();
    let mut seen = Vec::new();
    let facts = client_hello::read(&mut &old[..], &mut seen).await.expect("a hello");
    assert_eq!(facts.newest, TlsVersion::V1_1);
    assert_eq!(facts.sni, Some(host("a.example")));
    assert_eq!(seen, old);

    let authority = Authority::generate().expect("an authority");
    let (mut near, far) = pipe();
    near.write_all(&old).await.expect("written");
    let fault = authority.accept(far, &host("a.example")).await.map(|_| ()).expect_err("too old");
    assert!(matches!(fault, AcceptFault::TooOld), "{fault:?}");
    let mut answer = [0; 7];
    near.read_exact(&mut answer).await.expect("an alert");
    assert_eq!((answer[0], answer[6]), (21, 70), "protocol_version");
}

/// What a client of 2008 sends: TLS 1.1, one cipher, a server name.
fn old_hello() -> Vec<u8> {
    let name = b"A.example.";
    let length = |extra: usize| u8::try_from(name.len() + extra).expect("short");
    let mut hello = vec![3, 2];
    hello.extend([5; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    hello.extend([0, length(9), 0, 0, 0, length(5), 0, length(3), 0, 0, length(0)]);
    hello.extend(name);
    let message = u8::try_from(hello.len()).expect("short");
    [&[22, 3, 1, 0, message + 4, 1, 0, 0, message][..], &hello].concat()
}

#[tokio::test]
async fn a_server_name_that_no_register_could_declare_is_refused() {
    let mut hello = old_hello();
    let place = hello.windows(9).position(|bytes| bytes == b"A.example").expect("the name");
    hello[place] = b' ';
    let fault = client_hello::read(&mut &hello[..], &mut Vec::new()).await.expect_err("no host");
    assert!(matches!(fault, client_hello::HelloFault::Name(_)), "{fault:?}");
}

#[tokio::test]
async fn a_read_hello_is_replayed_byte_for_byte() {
    let (mut near, mut far) = pipe();
    let old = old_hello();
    near.write_all(&old).await.expect("written");
    near.write_all(b"and more").await.expect("written");
    drop(near);
    let mut seen = Vec::new();
    client_hello::read(&mut far, &mut seen).await.expect("a hello");
    let mut all = Vec::new();
    Replayed::new(seen, far).read_to_end(&mut all).await.expect("read");
    assert_eq!(all, [&old[..], b"and more"].concat());
}

/// The reader for tunnels against what rustls and openssl really send, cut at every byte.
#[tokio::test]
async fn a_tunnel_sees_the_version_that_the_two_sides_agree_on() {
    for (versions, expected) in [(Versions::Tls12, TlsVersion::V1_2), (Versions::Tls12And13, TlsVersion::V1_3)] {
        let (hello, answer) = recorded_handshake(versions).await;
        let (message, length) = wire::client_message(&hello).expect("tls").expect("whole");
        assert!((message.len()..=hello.len()).contains(&length));
        let read = wire::client_hello(&message).expect("a hello");
        assert_eq!(read.server_name, Some(&b"a.example"[..]));
        assert_eq!(read.newest, TlsVersion::V1_3);
        let mut known = 0;
        for cut in 0..answer.len() {
            match wire::server_first(&answer[..cut]).expect("tls") {
                None => assert_eq!(known, 0, "what was known at a shorter length is known at {cut}"),
                Some(first) => {
                    assert_eq!(first, ServerFirst::Hello(expected));
                    known += 1;
                }
            }
        }
        assert!(known > 0);
    }
}

/// The first bytes of both sides of a handshake of our own stack.
async fn recorded_handshake(versions: Versions) -> (Vec<u8>, Vec<u8>) {
    let issuing = Issuing::new("root").expect("an authority");
    let issued = issuing.issue(&host("a.example")).expect("a certificate");
    let acceptor = issued.acceptor(versions).expect("an acceptor");
    let trust = trusting(issuing.certificate_pem());
    let (client, mut client_far) = pipe();
    let (mut server_near, server) = pipe();
    let meant = host("a.example");
    let between = async {
        let mut hello = Vec::new();
        client_hello::read(&mut client_far, &mut hello).await.expect("a hello");
        server_near.write_all(&hello).await.expect("written");
        let mut answer = vec![0; 16 * 1024];
        let count = server_near.read(&mut answer).await.expect("an answer");
        answer.truncate(count);
        client_far.write_all(&answer).await.expect("written");
        tokio::io::copy_bidirectional(&mut client_far, &mut server_near).await.ok();
        (hello, answer)
    };
    let ends = async {
        let (client, server) = tokio::join!(trust.connect(&meant, client), acceptor.accept(server));
        client.expect("a handshake");
        server.expect("a handshake");
    };
    tokio::join!(between, ends).0
}

#[tokio::test]
async fn openssl_servers_are_read_and_verified() {
    if !there("openssl") {
        return;
    }
    let issuing = Issuing::new("root").expect("an authority");
    let issued = issuing.issue(&host("localhost")).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cert.pem"), issued.certificate_pem()).expect("written");
    std::fs::write(folder.path().join("key.pem"), issued.key_pem()).expect("written");
    for (flag, expected) in [("-tls1_2", TlsVersion::V1_2), ("-tls1_3", TlsVersion::V1_3)] {
        let port = free_port().await;
        let mut server = Command::new("openssl")
            .args(["s_server", "-quiet", flag, "-cert", "cert.pem", "-key", "key.pem", "-accept", &port.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let stream = connect_soon(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let (_, facts) = trusting(issuing.certificate_pem()).connect(&host("localhost"), stream).await.expect("TLS");
        assert_eq!(facts.version, expected);

        let (hello, _) = recorded_handshake(Versions::Tls12And13).await;
        let mut stream = connect_soon(SocketAddr::from(([127, 0, 0, 1], port))).await;
        stream.write_all(&hello).await.expect("written");
        let mut answer = Vec::new();
        let first = loop {
            assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0);
            if let Some(first) = wire::server_first(&answer).expect("tls") {
                break first;
            }
        };
        assert_eq!(first, ServerFirst::Hello(expected));
        server.kill().expect("it runs");
        server.wait().expect("it ends");
    }
}

#[tokio::test]
async fn curl_trusts_a_leaf_by_name_and_by_address() {
    if !there("curl") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    let authority = Arc::new(Authority::load_or_create(&certificate, &key).expect("an authority"));
    for meant in ["localhost", "127.0.0.1"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let answering = tokio::spawn(answer_one(listener, Arc::clone(&authority), host(meant)));
        let output = curl(&["--cacert", path(&certificate), &format!("https://{meant}:{port}/")]).await;
        assert_eq!(output, "hello");
        answering.await.expect("no panic").expect("a handshake");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let answering = tokio::spawn(answer_one(listener, authority, host("localhost")));
    assert_eq!(curl(&[&format!("https://localhost:{port}/")]).await, "");
    let fault = answering.await.expect("no panic").expect_err("curl does not know the authority");
    assert!(fault.is_distrust(), "{fault:?}");
}

async fn answer_one(listener: TcpListener, authority: Arc<Authority>, host: Host) -> Result<(), AcceptFault> {
    let (stream, _) = listener.accept().await.map_err(AcceptFault::Io)?;
    let (mut stream, _) = authority.accept(stream, &host).await?;
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    stream.write_all(answer).await.map_err(AcceptFault::Io)?;
    stream.shutdown().await.map_err(AcceptFault::Io)
}

#[test]
fn an_authority_is_made_once_and_loaded_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certs/ca.pem"), folder.path().join("certs/ca.key"));
    let made = Authority::load_or_create(&certificate, &key).expect("made");
    assert_eq!(std::fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
    let loaded = Authority::load_or_create(&certificate, &key).expect("loaded");
    assert_eq!(made.facts(), loaded.facts());
    assert_eq!(made.certificate_pem(), loaded.certificate_pem());
    assert!(matches!(Authority::create(&certificate, &key), Err(AuthorityFault::Exists(_))));
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    Authority::load_or_create(&certificate, &key).expect("made");
    for mode in [0o640, 0o604, 0o666] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("changed");
        let fault = Authority::load_or_create(&certificate, &key).expect_err("open to others");
        let expected = format!("open to others (mode {mode:04o}); run `chmod 600 {}`", key.display());
        assert!(fault.to_string().contains(&expected), "{fault}");
    }
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o400)).expect("changed");
    Authority::load_or_create(&certificate, &key).expect("the owner alone may read it");
}

#[test]
fn half_an_authority_and_a_wrong_one_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    Authority::load_or_create(&certificate, &key).expect("made");
    let (other_certificate, other_key) = (folder.path().join("b.pem"), folder.path().join("b.key"));
    Authority::load_or_create(&other_certificate, &other_key).expect("made");
    assert!(matches!(Authority::load(&certificate, &other_key), Err(AuthorityFault::OtherKey { .. })));
    std::fs::remove_file(&key).expect("removed");
    assert!(matches!(Authority::load_or_create(&certificate, &key), Err(AuthorityFault::Half { .. })));
    std::fs::write(&other_certificate, "no certificate").expect("written");
    assert!(matches!(Authority::load(&other_certificate, &other_key), Err(AuthorityFault::NoCertificate(_))));

    let leaf = Issuing::new("root").expect("an authority").issue(&host("a.example")).expect("a certificate");
    std::fs::write(&other_certificate, leaf.certificate_pem()).expect("written");
    std::fs::write(&other_key, leaf.key_pem()).expect("written");
    assert!(matches!(Authority::load(&other_certificate, &other_key), Err(AuthorityFault::NotAnAuthority(_))));
}

#[test]
fn roots_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roots.pem");
    assert!(Trust::new(&[Root::File(file.clone())]).expect_err("absent").to_string().contains("roots.pem"));
    std::fs::write(&file, "nothing here").expect("written");
    assert!(Trust::new(&[Root::File(file)]).expect_err("empty").to_string().contains("no PEM certificate"));
    assert_eq!(Trust::new(&[]).expect("no roots are no fault").roots(), 0);
}

proptest::proptest! {
    /// Bytes of strangers never panic the readers, whether they are noise or a hello with some bytes changed.
    #[test]
    fn any_first_bytes_are_read_or_refused(noise: Vec<u8>, changes: Vec<(usize, u8)>) {
        let mut hello = old_hello();
        for (place, byte) in changes {
            let length = hello.len();
            hello[place % length] = byte;
        }
        for bytes in [&noise, &hello] {
            if let Ok(Some((message, length))) = wire::client_message(bytes) {
                assert!(length <= bytes.len());
                let _ = wire::client_hello(&message);
            }
            let _ = wire::server_first(bytes);
            let _ = wire::client_hello(bytes);
        }
    }
}

fn there(program: &str) -> bool {
    Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

async fn curl(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || Command::new("curl").args(["-s", "--max-time", "20", "--noproxy", "*"]).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.expect("no panic").expect("curl runs");
    String::from_utf8(output.stdout).expect("text")
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound").port()
}

/// Connects to a server that is just starting.
async fn connect_soon(address: SocketAddr) -> TcpStream {
    for _ in 0..200 {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    unreachable!("nobody listens on {address}")
}

/// A stream that counts what is written to it.
fn counting(inner: DuplexStream) -> (Counting, Arc<std::sync::atomic::AtomicU64>) {
    let passed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    (Counting { inner, passed: Arc::clone(&passed) }, passed)
}

struct Counting {
    inner: DuplexStream,
    passed: Arc<std::sync::atomic::AtomicU64>,
}

mod counting {
    use super::Counting;
    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl AsyncRead for Counting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
            if let Poll::Ready(Ok(count)) = written {
                self.passed.fetch_add(count as u64, Ordering::Relaxed);
            }
            written
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_shutdown(cx)
        }
    }
}

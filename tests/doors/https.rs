//! TLS towards the proxy itself: the same corridor behind it, and a source known by its certificate.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tasrih::app::{self, Parts, StartFault};
use tasrih::config::{ClientCertificates, Entry, Listener, ListenerTls};
use tasrih::register::compile::{Text, compile};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::papers::Papers;
use super::support::{self, House, Plan, Site, UPLOADER, frame, reason_of, series};

const PLAIN: &str = "plain.ministry-a.example";
const INTAKE: &str = "intake.ministry-a.example";

const REGISTER: &str = concat!(
    include_str!("../support/case.yaml"),
    r"sources:
  - id: cctv-uploader
    networks: [127.0.0.0/29]
    client_certificate: cctv-uploader.visa-centre.example
    carries: [x:CCTVFrame]
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations:
      - {host: intake.ministry-a.example, port: {port:intake.ministry-a.example}}
      - {host: plain.ministry-a.example, scheme: http, port: {port:plain.ministry-a.example}}
transfers:
  - id: cctv-to-a
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}
"
);

pub fn over_tls(tls: ListenerTls) -> Listener {
    Listener {
        name: "over-tls".into(),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        entry: Entry::Forward,
        tproxy: false,
        proxy_protocol: Vec::new(),
        tls: Some(tls),
    }
}

async fn house(papers: &Papers, certificates: ClientCertificates) -> House {
    let listener = over_tls(papers.tls(certificates));
    let plan = Plan::new(REGISTER).site(INTAKE, Site::Tls).site(PLAIN, Site::Plain);
    plan.settings(|settings| {
        settings.listeners.push(listener);
        settings.limits.header_time = Duration::from_secs(2);
    })
    .build()
    .await
}

/// A frame sent by curl over the TLS listener, as the client whose papers have this name.
async fn curl(house: &House, papers: &Papers, who: Option<&str>, target: &str) -> Output {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--noproxy", "", "--interface", &UPLOADER.to_string()]);
    command.args(["-w", "%{http_code} %{http_connect}", "-o", "/dev/null", "-H", "content-type: image/jpeg"]);
    command.args(["--data-binary", &format!("@{}/policies/cases/frame.jpg", env!("CARGO_MANIFEST_DIR"))]);
    command.args([
        "-x",
        &format!("https://{}", house.running.proxies[1]),
        "--proxy-cacert",
        &papers.shown("roots.pem"),
    ]);
    command.args(["--cacert", &house.folder.path().join("ca.pem").display().to_string()]);
    if let Some(who) = who {
        command.args(["--proxy-cert", &papers.shown(&format!("{who}.pem"))]);
        command.args(["--proxy-key", &papers.shown(&format!("{who}.key"))]);
    }
    command.arg(target);
    tokio::task::spawn_blocking(move || command.output().expect("curl (Debian package curl)")).await.expect("no panic")
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_proves_itself_sends_and_the_same_address_without_proof_does_not() {
    let papers = Papers::new();
    let house = house(&papers, ClientCertificates::Required).await;
    let (plain, intake) = (house.base("http", PLAIN) + "/cctv/cam1", house.base("https", INTAKE) + "/cctv/cam1");

    // A request, and one inside an intercepted CONNECT.
    let sent = curl(&house, &papers, Some("uploader"), &plain).await;
    assert!(said(&sent).starts_with("200"), "{}", said(&sent));
    let sent = curl(&house, &papers, Some("uploader"), &intake).await;
    assert!(said(&sent).starts_with("200 200"), "{}", said(&sent));
    for host in [PLAIN, INTAKE] {
        assert_eq!(house.recipient(host).requests().len(), 1, "{host}");
        assert!(house.recipient(host).requests()[0].body == support::FRAME);
    }
    for decision in house.until_decisions(2).await {
        assert_eq!(decision["unmapped"]["transfer"]["source"], "cctv-uploader", "{decision:#}");
        assert_eq!(decision["unmapped"]["transfer"]["entry"], "https-proxy", "{decision:#}");
    }

    // The same address through the listener without TLS proves too little.
    let refused = house.send(UPLOADER, frame(plain.clone())).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("source-unknown")));
    // A certificate of the same authority with another name is somebody else.
    let refused = curl(&house, &papers, Some("other"), &plain).await;
    assert!(said(&refused).starts_with("403"), "{}", said(&refused));
    assert!(house.until_decisions(4).await[2..].iter().all(|decision| reason_of(decision) == "source-unknown"));

    // None, a revoked one and one of another authority: no handshake, no request, no record; counted.
    for who in [None, Some("revoked"), Some("forged")] {
        let refused = curl(&house, &papers, who, &plain).await;
        assert!(said(&refused).starts_with("000"), "{who:?}: {}", said(&refused));
    }
    assert_eq!(house.decisions().len(), 4);
    assert_eq!(house.recipient(PLAIN).requests().len(), 1);
    let scrape = house.metrics().await;
    assert_eq!(series(&scrape, "tasrih_tls_handshake_failures_total", &["side=\"listener\""]), 3, "{scrape}");
    assert_eq!(series(&scrape, "tasrih_decisions_total", &["decision=\"permit\"", "entry=\"https-proxy\""]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_certificates_are_optional_one_that_is_shown_must_still_be_good() {
    let papers = Papers::new();
    let house = house(&papers, ClientCertificates::Optional).await;
    let plain = house.base("http", PLAIN) + "/cctv/cam1";
    assert!(said(&curl(&house, &papers, Some("uploader"), &plain).await).starts_with("200"));
    let anonymous = curl(&house, &papers, None, &plain).await;
    assert!(said(&anonymous).starts_with("403"), "known by its address alone: {}", said(&anonymous));
    assert_eq!(reason_of(&house.until_decisions(2).await[1]), "source-unknown");
    assert!(said(&curl(&house, &papers, Some("revoked"), &plain).await).starts_with("000"));
    assert_eq!(house.recipient(PLAIN).requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_bounded_in_time_and_only_http_1_1_is_spoken() {
    let papers = Papers::new();
    let house = house(&papers, ClientCertificates::Optional).await;
    let proxy = house.running.proxies[1];
    let mut silent = TcpStream::connect(proxy).await.expect("connected");
    // The end comes from the proxy; the test's own patience is far longer.
    let read = tokio::time::timeout(Duration::from_secs(30), silent.read(&mut [0; 16])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
    let scrape = house.metrics().await;
    assert_eq!(series(&scrape, "tasrih_tls_handshake_failures_total", &["side=\"listener\""]), 1, "{scrape}");

    let ask = |protocol: &'static str| {
        let (roots, proxy) = (papers.shown("roots.pem"), proxy.to_string());
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &proxy, "-CAfile", &roots, "-verify_return_error", "-alpn", protocol]);
        command.stdin(std::process::Stdio::null());
        async { tokio::task::spawn_blocking(move || command.output().expect("openssl")).await.expect("no panic") }
    };
    let spoken = said(&ask("http/1.1").await);
    assert!(spoken.contains("ALPN protocol: http/1.1") && spoken.contains("Verify return code: 0"), "{spoken}");
    let refused = said(&ask("h2").await);
    assert!(refused.contains("no application protocol"), "{refused}");
    assert!(house.decisions().is_empty(), "nothing was asked for");
}

/// Starts a proxy with this TLS, and gives why it does not start.
async fn refusal(tls: ListenerTls) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    fs::copy(tls.client_ca.clone().unwrap_or(tls.certificate.clone()), &roots).unwrap_or_default();
    let mut settings = support::settings_in(folder.path(), &roots);
    settings.upstream.roots = vec![tasrih::config::Root::System];
    settings.listeners.push(over_tls(tls));
    let texts = vec![Text { name: "p.yaml".into(), text: "schema: tasrih/1\n".into() }];
    let register = compile(&texts).expect("empty");
    match app::start(Parts::new(settings, register, texts)).await {
        Err(fault @ StartFault::ListenerTls { .. }) => tasrih::proxy::error::told(&fault),
        Err(fault) => panic!("another fault: {fault}"),
        Ok(_) => panic!("it starts"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let papers = Papers::new();
    let good = papers.tls(ClientCertificates::Required);
    fs::write(papers.path("empty.pem"), "nothing\n").expect("written");
    let with = |change: &dyn Fn(&mut ListenerTls, PathBuf), file: &str| {
        let mut tls = good.clone();
        change(&mut tls, papers.path(file));
        tls
    };
    for (tls, parts) in [
        (with(&|tls, file| tls.certificate = file, "absent.pem"), &["cannot read `", "absent.pem", "No such file"][..]),
        (with(&|tls, file| tls.certificate = file, "empty.pem"), &["empty.pem` holds no PEM certificate"][..]),
        (with(&|tls, file| tls.key = file, "uploader.key"), &["is not the one of the certificate in", "proxy.pem"][..]),
        (with(&|tls, file| tls.key = file, "absent.key"), &["cannot use key file", "absent.key"][..]),
        (with(&|tls, file| tls.client_ca = Some(file), "empty.pem"), &["can be an authority of clients"][..]),
        (with(&|tls, file| tls.crl = Some(file), "empty.pem"), &["holds no PEM certificate revocation list"][..]),
    ] {
        let told = refusal(tls).await;
        assert!(told.starts_with("the listener `over-tls` cannot speak TLS"), "{told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
    }
    fs::set_permissions(papers.path("proxy.key"), Permissions::from_mode(0o640)).expect("our own file");
    let told = refusal(good.clone()).await;
    assert!(told.contains("is open to others (mode 0640); run `chmod 600 "), "{told}");
}

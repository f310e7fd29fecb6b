//! Client certificates that are revoked, and a listener's own that is renewed, while connections are open.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tasrih::config::ClientCertificates;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::https::over_tls;
use super::papers::Papers;
use super::support::stand::Stand;
use super::support::wire::{Raw, dial};
use super::support::{House, Plan, Site, UPLOADER, reason_of, series};

const PLAIN: &str = "plain.example";
const SILENT: &str = "silent.example";

const REGISTER: &str = r#"
schema: tasrih/1
controller: {name: C, country: MA, time_zone: Africa/Casablanca}
sources:
  - {id: uploader, networks: [127.0.0.0/29], client_certificate: cctv-uploader.visa-centre.example}
  - {id: other, networks: [127.0.0.0/29], client_certificate: other.visa-centre.example}
allowances:
  - id: a
    from: [any]
    to:
      - {host: plain.example, scheme: http, port: {port:plain.example}}
      - {host: silent.example, scheme: http, port: {port:silent.example}}
"#;

type Secured = TlsStream<TcpStream>;

/// A connection with the papers of this name; why there is none, where the other side refuses it.
async fn connect(papers: &Papers, proxy: SocketAddr, who: &str) -> Result<Secured, std::io::Error> {
    let chain = |name: &str| -> Vec<CertificateDer<'static>> {
        let read = CertificateDer::pem_file_iter(papers.path(name)).expect("papers");
        read.map(|one| one.expect("a certificate")).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add(chain("roots.pem").remove(0)).expect("a root");
    let key = PrivateKeyDer::from_pem_file(papers.path(&format!("{who}.key"))).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(&format!("{who}.pem")), key)
        .expect("a certificate");
    let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
    TlsConnector::from(Arc::new(config)).connect(name, dial(UPLOADER, proxy).await).await
}

async fn client(papers: &Papers, proxy: SocketAddr, who: &str) -> Raw<Secured> {
    Raw::new(connect(papers, proxy, who).await.expect("a handshake"))
}

fn get(house: &House) -> String {
    let at = format!("{PLAIN}:{}", house.recipient(PLAIN).address.port());
    format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n")
}

async fn status(client: &mut Raw<Secured>, request: &str) -> u16 {
    client.send(request).await;
    client.reply().await.expect("an answer").status
}

/// Waits until the proxy has read its files again so often.
async fn until_reread(house: &House, result: &str, times: u64) {
    for _ in 0..1_000 {
        let labels = ["file=\"listener\"", &format!("result=\"{result}\"")];
        if series(&house.metrics().await, "tasrih_file_reloads_total", &labels) >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the files were not {result} {times} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_is_cut_and_another_goes_on() {
    let papers = Papers::new();
    let silent = Stand::start(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let listener = over_tls(papers.tls(ClientCertificates::Required));
    let plan = Plan::new(REGISTER).site(PLAIN, Site::Plain).place(SILENT, silent.address);
    let house = plan.settings(|settings| settings.listeners.push(listener)).build().await;
    let (proxy, request) = (house.running.proxies[1], get(&house));
    let (files, corridor) = (house.running.files().clone(), house.running.corridor().clone());
    let watch = tokio::spawn(async move { files.keep_fresh(&corridor).await });

    let mut other = client(&papers, proxy, "other").await;
    let mut idle = client(&papers, proxy, "uploader").await;
    assert_eq!(status(&mut other, &request).await, 200);
    assert_eq!(status(&mut idle, &request).await, 200);
    // A body that comes in, and a request under way.
    let mut sending = client(&papers, proxy, "uploader").await;
    let post = request.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 1000\r\n\r\nhalf");
    sending.send(&post).await;
    let mut waiting = client(&papers, proxy, "uploader").await;
    let at = format!("{SILENT}:{}", silent.address.port());
    waiting.send(&format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    let decisions = house.until_decisions(3).await;
    let begun = decisions[2]["metadata"]["uid"].as_str().expect("an id").to_owned();

    papers.revoke("uploader");
    until_reread(&house, "taken", 1).await;
    assert_eq!(house.outcome(&begun).await["unmapped"]["transfer"]["end"], "cut-register");
    assert_eq!(sending.reply().await.expect("an answer").proxy_status("reason").as_deref(), Some("source-unknown"));
    assert!(idle.rest().await.is_empty(), "an idle connection is closed");
    assert_eq!(status(&mut other, &request).await, 200, "the other certificate goes on, on its own connection");
    assert!(sending.reply().await.is_none(), "nothing more over the connection of a revoked certificate");
    assert_eq!(reason_of(&house.until_decisions(4).await[3]), "source-unknown");
    // In TLS 1.3 the client's certificate is judged after the client is done: the connection ends instead of answering.
    if let Ok(stream) = connect(&papers, proxy, "uploader").await {
        let mut again = Raw::new(stream);
        again.send(&request).await;
        assert!(again.reply().await.is_none());
    }
    assert_eq!(house.recipient(PLAIN).requests().len(), 3);

    // A list that cannot be read changes nothing: what was revoked stays so.
    fs::write(papers.path("clients.crl"), "nothing\n").expect("written");
    until_reread(&house, "refused", 1).await;
    assert_eq!(house.ready().await["files_refused"], json!(["listener"]));
    assert_eq!(house.ready().await["ready"], json!(true));
    let scrape = house.metrics().await;
    assert_eq!(series(&scrape, "tasrih_file_reload_refused", &["file=\"listener\""]), 1);
    assert!(series(&scrape, "tasrih_listener_next_revocations_timestamp_seconds", &[]) > 0);
    assert_eq!(status(&mut other, &request).await, 200);

    // Renewed papers of the proxy itself: shown to whoever comes next; who is there stays.
    let shown = |stream: &Secured| stream.get_ref().1.peer_certificates().expect("shown")[0].as_ref().to_vec();
    let before = shown(&connect(&papers, proxy, "other").await.expect("a handshake"));
    papers.revoke("uploader");
    papers.issue("proxy", "roots", "IP:127.0.0.1", "serverAuth");
    for _ in 0..1_000 {
        if connect(&papers, proxy, "other").await.is_ok_and(|stream| shown(&stream) != before) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(shown(&connect(&papers, proxy, "other").await.expect("a handshake")), before);
    assert_eq!(status(&mut other, &request).await, 200);
    assert_eq!(house.ready().await["files_refused"], serde_json::Value::Null);
    watch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_successor_is_overdue_is_used_on() {
    let papers = Papers::new();
    papers.revoke_until("revoked", "20200101000000Z", "20200201000000Z");
    let listener = over_tls(papers.tls(ClientCertificates::Required));
    let plan = Plan::new(REGISTER).site(PLAIN, Site::Plain).place(SILENT, SocketAddr::from(([127, 0, 0, 1], 9)));
    let house = plan.settings(|settings| settings.listeners.push(listener)).build().await;
    let (proxy, request) = (house.running.proxies[1], get(&house));
    assert_eq!(
        status(&mut client(&papers, proxy, "uploader").await, &request).await,
        200,
        "who is not named is let in"
    );
    if let Ok(stream) = connect(&papers, proxy, "revoked").await {
        let mut revoked = Raw::new(stream);
        revoked.send(&request).await;
        assert!(revoked.reply().await.is_none(), "who is named is not");
    }
    let promised = series(&house.metrics().await, "tasrih_listener_next_revocations_timestamp_seconds", &[]);
    assert_eq!(promised, 1_580_515_200, "and the metric says since when");
}

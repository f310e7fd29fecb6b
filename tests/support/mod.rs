//! One harness for whole-proxy tests: a proxy in process on port 0, recipients that tell what reached them, and clients
//! on loopback addresses of their own, so that each test reads as a few lines.

#![allow(dead_code, reason = "each test file uses its part of the harness")]
#![allow(clippy::panic, reason = "a test that cannot go on says why")]

pub mod flaky;
pub mod multiplexed;
pub mod ocsf;
pub mod stand;
pub mod streams;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tasrih::app::{self, Parts, Running};
use tasrih::audit;
use tasrih::clock::{Clock, SystemClock};
use tasrih::config::{Root, Settings};
use tasrih::demo::recipient::Recipient;
use tasrih::demo::uploader::{Reply, Uploader};
use tasrih::destination::{Host, HostName};
use tasrih::register::compile::{Text, compile};
use tasrih::tls::recipient::{Issuing, Versions};
use tasrih::tls::{self, Trust};
use tasrih::upstream::resolver::NoResolver;

/// The declared uploader of the tests' registers.
pub const UPLOADER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
/// A second declared source.
pub const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
/// A system that nobody declared.
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));

/// A real camera frame.
pub const FRAME: &[u8] = include_bytes!("../../policies/cases/frame.jpg");

/// What a test wants to stand on the other side.
pub enum Site {
    /// TLS 1.2 and 1.3, with a certificate for its name.
    Tls,
    /// TLS, with a certificate for another name.
    WrongName,
    /// TLS, with a certificate of an authority that the proxy does not trust.
    Untrusted,
    /// Plain HTTP.
    Plain,
}

/// A proxy with everything around it.
pub struct House {
    pub running: Running,
    pub recipients: BTreeMap<&'static str, Recipient>,
    ports: BTreeMap<&'static str, u16>,
    /// Before the folder, because it reads what the folder holds when the house is dropped.
    valid: Valid,
    pub folder: tempfile::TempDir,
    /// What clients must trust to be intercepted.
    pub trust: Trust,
}

/// Every record that a test made is held against the schema of its OCSF class when the test ends.
struct Valid(std::path::PathBuf);

impl Drop for Valid {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for record in audit::read(&self.0).into_iter().flatten().map_while(Result::ok) {
            ocsf::assert_valid(&record);
        }
    }
}

/// How a house is built.
pub struct Plan {
    sites: Vec<(&'static str, Site)>,
    places: Vec<(&'static str, SocketAddr)>,
    roots: Vec<String>,
    policy: String,
    clock: Arc<dyn Clock>,
    change: Box<dyn FnOnce(&mut Settings) + Send>,
    storage: Option<Arc<dyn audit::storage::Storage>>,
    folder: Option<tempfile::TempDir>,
}

impl Plan {
    /// A house under this register. In its text `{port:NAME}` stands for the port of the recipient at NAME, `{pin:NAME}`
    /// for the pin of its key.
    pub fn new(policy: &str) -> Plan {
        Plan {
            sites: Vec::new(),
            places: Vec::new(),
            roots: Vec::new(),
            policy: policy.to_owned(),
            clock: Arc::new(SystemClock::default()),
            change: Box::new(|_| ()),
            storage: None,
            folder: None,
        }
    }

    /// Builds on the state, authority and logs that an earlier house left.
    pub fn on(mut self, folder: tempfile::TempDir) -> Plan {
        self.folder = Some(folder);
        self
    }

    pub fn site(mut self, host: &'static str, site: Site) -> Plan {
        self.sites.push((host, site));
        self
    }

    /// A host that something else than a [`Recipient`] stands for: a stand of the test's own, a closed port, or an
    /// address that nobody may dial. `{port:HOST}` stands for its port.
    pub fn place(mut self, host: &'static str, address: SocketAddr) -> Plan {
        self.places.push((host, address));
        self
    }

    /// A root that the proxy trusts beside that of the sites.
    pub fn root(mut self, pem: &str) -> Plan {
        self.roots.push(pem.to_owned());
        self
    }

    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Plan {
        self.clock = clock;
        self
    }

    pub fn settings(mut self, change: impl FnOnce(&mut Settings) + Send + 'static) -> Plan {
        self.change = Box::new(change);
        self
    }

    pub fn storage(mut self, storage: Arc<dyn audit::storage::Storage>) -> Plan {
        self.storage = Some(storage);
        self
    }

    pub async fn build(self) -> House {
        let folder = self.folder.unwrap_or_else(|| tempfile::tempdir().expect("a folder"));
        let (trusted, other) = (Issuing::new("Recipients").expect("root"), Issuing::new("Nobody").expect("root"));
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, trusted.certificate_pem().to_owned() + &self.roots.concat()).expect("roots are written");
        let mut policy = self.policy;
        let mut recipients = BTreeMap::new();
        let (mut hosts, mut ports) = (BTreeMap::new(), BTreeMap::new());
        for (name, site) in self.sites {
            let host = Host::parse(name).expect("a host");
            let issued = match site {
                Site::Tls => Some(trusted.issue(&host)),
                Site::WrongName => Some(trusted.issue(&Host::parse("elsewhere.example").expect("a host"))),
                Site::Untrusted => Some(other.issue(&host)),
                Site::Plain => None,
            };
            let issued = issued.map(|issued| issued.expect("a certificate"));
            let acceptor = issued.as_ref().map(|issued| issued.acceptor(Versions::Tls12And13).expect("an acceptor"));
            let recipient = Recipient::start(acceptor).await.expect("a recipient");
            policy = policy.replace(&format!("{{port:{name}}}"), &recipient.address.port().to_string());
            if let Some(issued) = issued {
                policy = policy.replace(&format!("{{pin:{name}}}"), &base64(&issued.spki_sha256()));
            }
            if let Ok(name) = HostName::parse(name) {
                hosts.insert(name, vec![recipient.address.ip()]);
            }
            ports.insert(name, recipient.address.port());
            recipients.insert(name, recipient);
        }
        for (name, address) in self.places {
            policy = policy.replace(&format!("{{port:{name}}}"), &address.port().to_string());
            ports.insert(name, address.port());
            if let Ok(name) = HostName::parse(name) {
                hosts.insert(name, vec![address.ip()]);
            }
        }
        let mut settings = settings_in(folder.path(), &roots);
        settings.upstream.hosts = hosts;
        (self.change)(&mut settings);
        let texts = vec![Text { name: "policies/test.yaml".into(), text: policy }];
        let register = compile(&texts);
        let register = register.unwrap_or_else(|faults| panic!("{faults}"));
        let authority = settings.interception.certificate.clone();
        let running = app::start(Parts {
            settings,
            register,
            texts,
            clock: self.clock,
            resolver: Arc::new(NoResolver),
            storage: self.storage,
        })
        .await
        .expect("a proxy");
        let trust = Trust::new(&[tls::Root::File(authority)]).expect("trust");
        let valid = Valid(folder.path().join("state"));
        House { running, recipients, ports, valid, folder, trust }
    }
}

/// Settings of a proxy on free ports, with its state in `folder`, trusting `roots`.
pub fn settings_in(folder: &Path, roots: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.listeners[0].bind = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.admin = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.interception.certificate = folder.join("ca.pem");
    settings.interception.key = folder.join("ca.key");
    settings.upstream.roots = vec![Root::File(roots.to_owned())];
    settings.internal_destinations = vec!["127.0.0.0/8".parse().expect("a network")];
    settings.limits.drain = Duration::from_secs(2);
    settings.state = folder.join("state");
    settings
}

impl House {
    /// Stops the proxy in order, and leaves its folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.running.stop().await;
        self.folder
    }

    pub fn proxy(&self) -> SocketAddr {
        self.running.proxies[0]
    }

    pub fn recipient(&self, host: &str) -> &Recipient {
        &self.recipients[host]
    }

    /// The port of a recipient or place.
    pub fn port(&self, host: &str) -> u16 {
        self.ports[host]
    }

    pub fn client(&self, from: IpAddr) -> Uploader {
        Uploader { proxy: self.proxy(), from, trust: self.trust.clone() }
    }

    /// `scheme://host:port` of a recipient.
    pub fn base(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.recipient(host).address.port())
    }

    pub async fn send(&self, from: IpAddr, request: Request<Bytes>) -> Reply {
        self.client(from).send(request).await.expect("a reply")
    }

    /// Every record so far, oldest first.
    pub fn records(&self) -> Vec<Value> {
        records(&self.folder.path().join("state"))
    }

    /// Decision records only.
    pub fn decisions(&self) -> Vec<Value> {
        self.records().into_iter().filter(is_decision).collect()
    }

    /// Waits until an exchange's outcome is on record, and gives it.
    pub async fn outcome(&self, record: &str) -> Value {
        for _ in 0..500 {
            let found = self
                .records()
                .into_iter()
                .find(|event| event["metadata"]["correlation_uid"] == record && event["metadata"]["uid"] != record);
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no outcome of {record}");
    }

    /// Waits until `count` decisions are on record, and gives them.
    pub async fn until_decisions(&self, count: usize) -> Vec<Value> {
        for _ in 0..500 {
            let found = self.decisions();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} decisions", self.decisions().len());
    }

    /// Waits until this many decisions are counted since the start: the counter moves right after the record is durable,
    /// so that whoever reads the log may be there first.
    pub async fn until_counted(&self, count: u64) {
        for _ in 0..500 {
            if series(&self.metrics().await, "tasrih_decisions_total", &[]) >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} decisions are not counted");
    }

    /// A raw connection to the proxy.
    pub async fn raw(&self, from: IpAddr) -> wire::Raw<tokio::net::TcpStream> {
        wire::Raw::new(wire::dial(from, self.proxy()).await)
    }

    pub async fn metrics(&self) -> String {
        self.page("/metrics").await
    }

    /// What `/readyz` says.
    pub async fn ready(&self) -> Value {
        let answer = self.page("/readyz").await;
        serde_json::from_str(answer.split("\r\n\r\n").last().expect("a part")).expect("JSON")
    }

    async fn page(&self, path: &str) -> String {
        let request = Request::get(path).header("host", self.running.admin.to_string());
        admin(self.running.admin, request.body(Bytes::new()).expect("a request")).await
    }
}

/// The value of a series in a scrape: the sum of all whose name and labels contain every one of `parts`.
pub fn series(scrape: &str, name: &str, parts: &[&str]) -> u64 {
    let of_name = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
    let lines = scrape.lines().filter(of_name).filter(|line| parts.iter().all(|part| line.contains(part)));
    lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number") as u64).sum()
}

/// Every record in a state folder.
pub fn records(state: &Path) -> Vec<Value> {
    let records = audit::read(state).expect("a log");
    records.map(|json| serde_json::from_slice(&json.expect("a record")).expect("JSON")).collect()
}

/// Whether a record is a decision: it is its own correlation.
pub fn is_decision(event: &Value) -> bool {
    event["metadata"]["correlation_uid"].is_string() && event["metadata"]["correlation_uid"] == event["metadata"]["uid"]
}

/// The stable reason word of a record.
pub fn reason_of(event: &Value) -> &str {
    event["metadata"]["event_code"].as_str().unwrap_or_default()
}

async fn admin(address: SocketAddr, request: Request<Bytes>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("admin");
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n",
        request.method(),
        request.uri().path()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    text
}

/// A POST of a camera frame.
pub fn frame(target: impl Into<String>) -> Request<Bytes> {
    post(target, "image/jpeg", FRAME)
}

/// A POST of anything.
pub fn post(target: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(target.into()).header("content-type", content_type).body(body.into()).expect("a request")
}

/// A GET.
pub fn get(target: impl Into<String>) -> Request<Bytes> {
    Request::get(target.into()).body(Bytes::new()).expect("a request")
}

pub fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

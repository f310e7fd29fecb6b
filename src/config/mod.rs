//! The configuration: how the proxy runs, as opposed to what may leave, which is the [`register`](crate::register).
//!
//! [`read`] turns the text of `tasrih.yaml` into [`Settings`], or reports every fault of it at once; `document` holds the
//! keys, `listeners` those of the sockets. No file is needed: [`Settings::default`] is what runs without one. Nothing here
//! opens the files that settings name: `tasrih check --config` does. `deploy/tasrih.yaml` shows every key.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::destination::{Host, HostName};
use crate::register::fields::Places;

mod document;
mod limits;
mod listeners;

pub use document::read;

/// Settings, where they are written, and what is odd but no fault.
#[derive(Debug)]
pub struct Loaded {
    /// What the proxy runs with.
    pub settings: Settings,
    /// Where the keys stand, for whoever finds a fault in what they name; `None` where nothing is written.
    pub places: Option<Places>,
    /// In the order of lines.
    pub warnings: Vec<crate::register::fault::Fault>,
}

/// How the proxy runs. Relative paths are relative to the working directory of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node in its records, in the log's name and in `Via`: `[a-z0-9][a-z0-9-]*`, at most 63 characters.
    pub node: String,
    /// Where clients come in; never empty, and no two on one address.
    pub listeners: Vec<Listener>,
    /// Where everything that operators ask is served: `/metrics`, `/healthz`, `/readyz` and what belongs to the authority.
    pub admin: SocketAddr,
    /// A listener for `/metrics`, `/healthz` and `/readyz` alone, so that Prometheus need not reach the admin listener.
    pub metrics: Option<SocketAddr>,
    /// Users with the hashes of their passwords, as `tasrih passwd` writes them, mode 0600. None: nobody is asked for a
    /// password, and a source with `user` never matches.
    pub users: Option<PathBuf>,
    /// The organisation's own authority.
    pub interception: Interception,
    /// The way to recipients.
    pub upstream: Upstream,
    /// Networks that are opened although their class of address is refused.
    pub internal_destinations: Vec<IpNetwork>,
    /// Bounds of everything that holds a peer's data.
    pub limits: Limits,
    /// Bounds of the log on its disk.
    pub disk: Disk,
    /// Folder of the log, its keys and its lock.
    pub state: PathBuf,
    /// Where bodies are held that are too long for memory.
    pub spool: Spool,
    /// The log of operation, which is not the evidence.
    pub log: Log,
}

impl Settings {
    /// The folder of held bodies.
    pub fn spool_folder(&self) -> PathBuf {
        self.spool.folder.clone().unwrap_or_else(|| self.state.join("spool"))
    }
}

/// Where bodies are held that are too long for memory. They are encrypted and unlinked: the folder is always empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spool {
    /// A folder of its own, perhaps on another disk than the log; `None`: `spool` in the state folder.
    pub folder: Option<PathBuf>,
}

/// The log of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// The least serious level that is written.
    pub level: LogLevel,
}

/// How a line of the log of operation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How serious a line of the log of operation is. The same everywhere; `logging` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A promise or the service is impaired, and a person is needed.
    Error,
    /// Something is worse than it should be, and worth a look.
    Warn,
    /// The life of the process.
    Info,
    /// Single connections and exchanges.
    Debug,
}

impl LogLevel {
    /// The word in the configuration and in filters.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// As written, or else the address.
    pub name: String,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// What it understands.
    pub entry: Entry,
    /// With it, clients speak TLS to the proxy itself (entry point `https-proxy`).
    pub tls: Option<ListenerTls>,
    /// A transparent listener that takes connections as they are (TPROXY) instead of redirected ones.
    pub tproxy: bool,
    /// Balancers that say with the PROXY protocol whose connection they hand on; each of them must.
    pub proxy_protocol: Vec<IpNetwork>,
}

/// TLS towards the proxy itself. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The proxy's own certificate, followed by what leads to a root that clients trust.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// Authorities that vouch for clients; without any, no client certificate is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate. Means nothing without `client_ca`.
    pub client_certificates: ClientCertificates,
    /// Client certificates that were revoked, as a list signed by an authority of `client_ca`.
    pub crl: Option<PathBuf>,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A client without one is known by its address alone.
    Optional,
    /// A client without one is not served.
    Required,
}

/// What a listener understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// HTTP/1.1 with absolute-form targets, and CONNECT.
    Forward,
    /// SOCKS version 5.
    Socks5,
    /// Connections that the network leads here, read as what their first bytes are.
    Transparent,
    /// The same, read as HTTP.
    TransparentHttp,
    /// The same, read as TLS.
    TransparentTls,
}

impl Entry {
    /// Whether clients come in without knowing.
    pub fn is_transparent(self) -> bool {
        matches!(self, Entry::Transparent | Entry::TransparentHttp | Entry::TransparentTls)
    }
}

/// Files of the interception authority, in PEM; made at first run where both are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interception {
    /// What the devices behind the proxy trust.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// Where clients can fetch the list of revoked leaves, as each leaf says: an `http` address of a listener, or of a
    /// server that copies `/ca.crl` from it. Leaves say nothing where it is absent.
    pub crl_url: Option<String>,
}

/// The way to recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Authorities that may vouch for a recipient's certificate; never empty.
    pub roots: Vec<Root>,
    /// Names that are not asked of the resolver. None of the lists is empty.
    pub hosts: BTreeMap<HostName, Vec<IpAddr>>,
    /// Who is asked for all other names.
    pub resolver: Resolver,
}

/// Authorities that may vouch for a recipient's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Those that the operating system trusts.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}

/// Who is asked for the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The operating system.
    System,
    /// These name servers, one after the other; at least one.
    Servers(Vec<NameServer>),
}

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: NameTransport,
}

/// How a name server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameTransport {
    /// Over UDP, and over TCP where the answer does not fit.
    Plain,
    /// Over TLS; the certificate must be for this host.
    Tls(Host),
}

/// Bounds of everything that holds a peer's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one body that are held in memory; what is longer goes to an unlinked file.
    pub hold_memory: u64,
    /// Bytes of one body that are held at all; at least `hold_memory`.
    pub hold: u64,
    /// Bytes of all held bodies together; at least `hold`.
    pub held_total: u64,
    /// Client connections that are served at once, at least 1; further ones wait.
    pub connections: usize,
    /// Those of one peer address (of IPv6: one /64), at least 1; further ones are closed at once.
    pub connections_per_source: usize,
    /// Requests a second of one peer address, on average and at once after a rest; further ones are refused as `busy`.
    /// None: as many as come.
    pub requests_per_source: Option<NonZeroU32>,
    /// Bytes of a request head, 8 KiB to 1 MiB.
    pub head: usize,
    /// Fields of a request head, 10 to 1,000.
    pub head_fields: usize,
    /// Time that a client has for a request head, from its first byte, and for its first one from the beginning of the
    /// connection; also for a TLS handshake. At most ten minutes.
    pub header_time: Duration,
    /// Silence after which a connection is closed: between two requests, in a body, an answer or a tunnel.
    pub idle: Duration,
    /// Bytes a second that a client must send of a body, averaged over each `body_window`; 1 to 1 MiB.
    pub body_rate: u64,
    /// The time that `body_rate` is averaged over; the first one is grace. At most `body_time`.
    pub body_window: Duration,
    /// Time that a client has for a whole body.
    pub body_time: Duration,
    /// Time that the name service has for an answer; at most five minutes.
    pub resolve_time: Duration,
    /// Time that each address of a recipient has to accept a connection; at most five minutes.
    pub connect_time: Duration,
    /// Time that a recipient has for a TLS handshake; at most five minutes.
    pub handshake_time: Duration,
    /// Time that a recipient has to begin its answer, counted from the last byte that it took.
    pub answer_time: Duration,
    /// Bytes of an answer's body.
    pub answer: u64,
    /// Time that an exchange has in all, from its first byte to the end of its answer; at least `body_time`. A tunnel has
    /// the `max_duration` of its declaration instead.
    pub exchange_time: Duration,
    /// Time that open exchanges have when the proxy is told to stop.
    pub drain: Duration,
}

/// Bounds of the log on its disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free room that decisions leave alone: below it they are refused, and only what is open is closed.
    pub reserve: u64,
    /// A segment file that would grow beyond this is followed by a new one; from 64 KiB, as a record may have 60,000
    /// bytes, to 1 GiB, as a start reads each file whole.
    pub segment: u64,
}

impl Default for Settings {
    /// The settings without a file, which are those of a file without keys (DESIGN §4b).
    fn default() -> Settings {
        Settings {
            node: "egress-1".to_owned(),
            listeners: vec![Listener {
                name: "inside".to_owned(),
                bind: loopback(3128),
                entry: Entry::Forward,
                tls: None,
                tproxy: false,
                proxy_protocol: Vec::new(),
            }],
            admin: loopback(9180),
            metrics: None,
            users: None,
            interception: Interception::default(),
            upstream: Upstream::default(),
            internal_destinations: Vec::new(),
            limits: Limits::default(),
            disk: Disk::default(),
            state: PathBuf::from("var"),
            spool: Spool::default(),
            log: Log::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Text, level: LogLevel::Info }
    }
}

impl Default for Interception {
    fn default() -> Interception {
        Interception { certificate: PathBuf::from("certs/ca.pem"), key: PathBuf::from("certs/ca.key"), crl_url: None }
    }
}

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream { roots: vec![Root::System], hosts: BTreeMap::new(), resolver: Resolver::System }
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { reserve: 64 << 20, segment: 64 << 20 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hold_memory: 1 << 20,
            hold: 64 << 20,
            held_total: 1 << 30,
            connections: 10_000,
            connections_per_source: 1_000,
            requests_per_source: None,
            head: 64 << 10,
            head_fields: 100,
            header_time: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_rate: 1 << 10,
            body_window: Duration::from_secs(30),
            body_time: Duration::from_secs(3_600),
            resolve_time: Duration::from_secs(5),
            connect_time: Duration::from_secs(5),
            handshake_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(120),
            answer: 64 << 30,
            exchange_time: Duration::from_secs(24 * 3_600),
            drain: Duration::from_secs(10),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests;

//! What a decision is made from, beside the register and the ledger: facts that other rooms saw and hand in.
//!
//! Nothing here is judged. Whatever was not seen is `None` or empty, and it is the conditions (`head.rs`,
//! `connection.rs`, `body.rs`) that say whether it may be missing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use super::candidate::Used;
use crate::destination::{Destination, RequestPath};
use crate::inspect::{Content, Findings};
use crate::register::Id;
use crate::vocabulary::Country;

/// How traffic came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryPoint {
    /// A request in absolute form.
    Forward,
    /// A CONNECT, and the requests inside it.
    Connect,
    /// SOCKS version 5.
    Socks5,
    /// Redirected by the network.
    Transparent,
    /// A proxy spoken to over TLS.
    HttpsProxy,
}

impl EntryPoint {
    /// Every entry point.
    pub const ALL: [EntryPoint; 5] =
        [EntryPoint::Forward, EntryPoint::Connect, EntryPoint::Socks5, EntryPoint::Transparent, EntryPoint::HttpsProxy];

    /// The word in records, metrics and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryPoint::Forward => "forward",
            EntryPoint::Connect => "connect",
            EntryPoint::Socks5 => "socks5",
            EntryPoint::Transparent => "transparent",
            EntryPoint::HttpsProxy => "https-proxy",
        }
    }
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who connected, by every kind of proof that the listener has. Header fields never add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection came from.
    pub address: IpAddr,
    /// Subject alternative names of the verified client certificate.
    pub certificate: Vec<String>,
    /// The authenticated user.
    pub user: Option<String>,
}

impl Peer {
    /// A peer known by its address alone.
    pub fn at(address: IpAddr) -> Peer {
        Peer { address, certificate: Vec::new(), user: None }
    }
}

/// What is known before a body is read or a name resolved.
#[derive(Clone, Debug)]
pub struct Head {
    /// The decision clock.
    pub time: Timestamp,
    /// How it came in.
    pub entry: EntryPoint,
    /// Who sends.
    pub peer: Peer,
    /// Where to, as authority, `Host` and SNI agree on it.
    pub destination: Destination,
    /// `None`: a CONNECT judged before its inner requests, or a tunnel.
    pub request: Option<Request>,
}

/// The head of one HTTP request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method as sent; methods are case-sensitive.
    pub method: String,
    /// The path in the form that is matched and sent.
    pub path: RequestPath,
    /// The `Content-Type` field.
    pub content_type: Option<String>,
    /// What the framing says of the body.
    pub body: DeclaredBody,
    /// What the query and the header fields hold.
    pub target: Findings,
    /// Keyed digest of the whole path.
    pub path_digest: Digest,
}

impl Request {
    /// Whether there may be anything in it beside method and path. Without, it is admitted by these two and charged to
    /// no limit (DESIGN §4 "Limits").
    pub fn may_have_content(&self) -> bool {
        self.body.may_be_present() || !is_nothing(&self.target)
    }
}

/// Whether nothing was there to inspect and nothing was found.
pub(super) fn is_nothing(findings: &Findings) -> bool {
    matches!(findings.content, Content::Empty) && findings.found.is_empty() && findings.unread.is_none()
}

/// The body as the framing announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredBody {
    /// There is none.
    None,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// Chunked: known when it ended.
    Unknown,
}

impl DeclaredBody {
    /// Whether at least one byte may come.
    pub fn may_be_present(self) -> bool {
        match self {
            DeclaredBody::None => false,
            DeclaredBody::Length(length) => length > 0,
            DeclaredBody::Unknown => true,
        }
    }

    /// The bytes that are announced; `None` where the length is not known.
    pub fn length(self) -> Option<u64> {
        match self {
            DeclaredBody::None => Some(0),
            DeclaredBody::Length(length) => Some(length),
            DeclaredBody::Unknown => None,
        }
    }
}

/// HMAC-SHA-256 under the state folder's key, made by `audit/`: equal things are seen to be equal, and no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The connection to the recipient, before a byte of the exchange goes over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The address that was dialled.
    pub address: SocketAddr,
    /// `None` over plain HTTP or TCP.
    pub tls: Option<TlsFacts>,
    /// The country that a geolocation file gives for the address; `None` unknown.
    pub country: Option<Country>,
    /// Last second of the verified certificate; `None` over plain HTTP and in a tunnel. Nothing is decided by it.
    pub certificate_ends: Option<Timestamp>,
}

/// What TLS showed: our own handshake when intercepted, the client's ClientHello in a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version agreed on; in a tunnel the newest on offer.
    pub version: TlsVersion,
    /// The server name that was asked for.
    pub sni: Option<String>,
    /// SHA-256 of the verified certificate's subject public key info; `None` in a tunnel.
    pub spki_sha256: Option<[u8; 32]>,
}

/// Versions of TLS, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.0, and all that is older.
    V1_0,
    /// TLS 1.1.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// "1.2" and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsVersion::V1_0 => "1.0",
            TlsVersion::V1_1 => "1.1",
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }
    }

    /// Reads "1.2" and so on.
    pub fn parse(text: &str) -> Option<TlsVersion> {
        [TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2, TlsVersion::V1_3]
            .into_iter()
            .find(|version| version.as_str() == text)
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The whole body, after transfer-coding and before content-coding.
#[derive(Clone, Debug)]
pub struct BodyFacts {
    /// In bytes.
    pub size: u64,
    /// Keyed digest of the bytes; `None` for an empty body.
    pub digest: Option<Digest>,
    /// What the inspector saw.
    pub findings: Findings,
}

impl BodyFacts {
    /// No body.
    pub fn none() -> BodyFacts {
        BodyFacts { size: 0, digest: None, findings: Findings::default() }
    }
}

/// How an exchange that was let through ended, as the limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Body (or tunnel) bytes that went out.
    pub bytes: u64,
    /// Whether a byte with content left: without, the exchange is given back.
    pub content_left: bool,
    /// Whether the recipient answered 2xx.
    pub answered_2xx: bool,
    /// When it ended.
    pub time: Timestamp,
}

/// One exchange that was let through before a restart, as `audit/` reads it from the log.
#[derive(Clone, Debug)]
pub struct PastExchange {
    /// Time of the decision.
    pub time: Timestamp,
    /// Who sent.
    pub source: Id,
    /// What was used; only what was used was charged.
    pub used: Used,
    /// The request line, as digests; `None` for a tunnel.
    pub request: Option<PastRequest>,
    /// `None`: the decision has no outcome, and counts as sent.
    pub outcome: Option<Sent>,
}

/// What the log keeps of a request's head and body.
#[derive(Clone, Debug)]
pub struct PastRequest {
    /// The method.
    pub method: String,
    /// Keyed digest of the whole path.
    pub path_digest: Digest,
    /// Size of the body in bytes.
    pub size: u64,
    /// Keyed digest of the body.
    pub digest: Option<Digest>,
    /// Whether it had a body or findings: without, it was charged to no limit.
    pub has_content: bool,
}

/// What a tunnel is bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// Bytes towards the recipient; `None` unbounded. Bytes beyond what [`super::Ledger::draw`] grants are not sent.
    pub max_bytes: Option<u64>,
    /// Longest life.
    pub max_duration: Duration,
}

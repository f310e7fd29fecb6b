//! The configuration: how the proxy runs, as opposed to what may leave, which is the [`register`](crate::register).
//!
//! [`read`] turns the text of `tasrih.yaml` into [`Settings`], or reports every fault of it at once; `document` holds the
//! keys. No file is needed: [`Settings::default`] is what runs without one. Nothing here opens the files that settings name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::destination::HostName;

mod document;

pub use document::read;

/// Settings, and what is odd but no fault.
#[derive(Debug)]
pub struct Loaded {
    /// What the proxy runs with.
    pub settings: Settings,
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
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub admin: SocketAddr,
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
}

/// What a listener understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// HTTP/1.1 with absolute-form targets, and CONNECT.
    Forward,
}

/// Files of the interception authority, in PEM; made at first run where both are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interception {
    /// What the devices behind the proxy trust.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The operating system.
    System,
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
    /// Client connections that are served at once.
    pub connections: usize,
    /// Time that a client has for a request head.
    pub header_time: Duration,
    /// Time without any byte after which a connection is closed.
    pub idle: Duration,
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
            listeners: vec![Listener { name: "inside".to_owned(), bind: loopback(3128), entry: Entry::Forward }],
            admin: loopback(9180),
            interception: Interception::default(),
            upstream: Upstream::default(),
            internal_destinations: Vec::new(),
            limits: Limits::default(),
            disk: Disk::default(),
            state: PathBuf::from("var"),
        }
    }
}

impl Default for Interception {
    fn default() -> Interception {
        Interception { certificate: PathBuf::from("certs/ca.pem"), key: PathBuf::from("certs/ca.key") }
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
            header_time: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests;

//! Everything around the proxy: the recipients, and a folder with what the proxy reads.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use super::DemoFault;
use super::compare::{Account, Arrived};
use super::log::Log;
use super::papers::{self, Ports};
use super::recipient::Recipient;
use crate::audit::DigestKey;
use crate::clock::{Clock, SystemClock};
use crate::destination::Host;
use crate::tls::recipient::{Issuing, Versions};

/// Declared, filed, granted.
pub const MINISTRY_A: &str = "intake.ministry-a.example";
/// Filed; the authority has not decided.
pub const MINISTRY_B: &str = "intake.ministry-b.example";
/// Declared once; the authorisation has ended.
pub const CONTRACTOR: &str = "upload.former-contractor.example";
/// In no declaration at all.
pub const UNDECLARED: &str = "files.elsewhere.example";
/// Where updates are downloaded from, under an allowance.
pub const VENDOR: &str = "updates.vendor.example";

/// The address of the camera uploader.
pub const UPLOADER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
/// The address of a computer in the office.
pub const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
/// The address of a system that nobody declared.
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));

/// The camera's frames.
pub const FRAMES: [&[u8]; 5] = [
    include_bytes!("frames/waiting-hall.jpg"),
    include_bytes!("frames/concourse.jpg"),
    include_bytes!("frames/street.jpg"),
    include_bytes!("frames/garage.jpg"),
    include_bytes!("frames/stairs.jpg"),
];

/// Somebody who might receive.
pub struct Site {
    /// What people call it.
    pub name: &'static str,
    /// Its host name.
    pub host: &'static str,
    /// Whether something may reach it: everybody else must not even see a connection.
    pub may_receive: bool,
    /// What listens there.
    pub recipient: Recipient,
    scheme: &'static str,
}

impl Site {
    /// `host:port`, as records name it.
    pub fn destination(&self) -> String {
        format!("{}:{}", self.host, self.recipient.address.port())
    }

    /// The absolute form of a target there.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.destination())
    }

    /// What the recipient says, with the bodies' digests under the log's key.
    pub fn account(&self, key: &DigestKey) -> Account {
        let arrived = |request: super::recipient::Received| Arrived {
            record: stamped(&request.headers),
            size: request.body.len() as u64,
            digest: key.digest(&request.body),
        };
        Account {
            name: self.name,
            destination: self.destination(),
            may_receive: self.may_receive,
            connections: self.recipient.connections(),
            bytes: self.recipient.raw_bytes(),
            requests: self.recipient.requests().into_iter().map(arrived).collect(),
        }
    }
}

/// The record's id in the stamp that a declared transfer carries.
fn stamped(headers: &http::HeaderMap) -> Option<String> {
    let stamp = headers.get("personal-data-transfer")?.to_str().ok()?;
    let (_, id) = stamp.split_once("id=\"")?;
    id.split('"').next().map(str::to_owned)
}

/// The recipients and the folder; when dropped, the recipients stop and the folder goes.
pub struct World {
    /// The recipients, Ministry A first, in the order in which they are shown.
    pub sites: Vec<Site>,
    /// State folder of the proxy.
    pub state: PathBuf,
    /// Whether the state folder stays.
    pub keeps_state: bool,
    folder: TempDir,
}

impl World {
    /// Starts the recipients on free ports and writes what the proxy reads.
    ///
    /// # Errors
    /// [`DemoFault`]; nothing is left behind.
    pub async fn build(state: Option<&Path>) -> Result<World, DemoFault> {
        let folder = tempfile::Builder::new().prefix("tasrih-demo-").tempdir();
        let folder = folder.map_err(|source| fault(&std::env::temp_dir(), source))?;
        let issuing = Issuing::new("Authority of the demo's recipients").map_err(|fault| certificate(&fault))?;
        let sites = vec![
            site("Ministry A", MINISTRY_A, true, Some(&issuing)).await?,
            site("Ministry B", MINISTRY_B, false, Some(&issuing)).await?,
            site("former contractor", CONTRACTOR, false, Some(&issuing)).await?,
            site("undeclared host", UNDECLARED, false, Some(&issuing)).await?,
            site("vendor updates", VENDOR, true, None).await?,
        ];
        let keeps_state = state.is_some();
        let state = match state {
            Some(state) => std::path::absolute(state).map_err(|source| fault(state, source))?,
            None => folder.path().join("state"),
        };
        let world = World { sites, state, keeps_state, folder };
        world.write_papers(issuing.certificate_pem())?;
        Ok(world)
    }

    fn write_papers(&self, roots: &str) -> Result<(), DemoFault> {
        let port = |host: &str| self.site(host).recipient.address.port();
        let ports = Ports {
            ministry_a: port(MINISTRY_A),
            ministry_b: port(MINISTRY_B),
            contractor: port(CONTRACTOR),
            vendor: port(VENDOR),
        };
        let hosts: Vec<&str> = self.sites.iter().map(|site| site.host).collect();
        let policies = self.policies();
        fs::create_dir_all(&policies).map_err(|source| fault(&policies, source))?;
        write(&policies.join("demo.yaml"), papers::register(SystemClock::default().wall(), ports).as_bytes())?;
        write(&self.config(), papers::configuration(self.folder.path(), &hosts).as_bytes())?;
        write(&self.folder.path().join("recipients.pem"), roots.as_bytes())?;
        write(&self.frame(), FRAMES[0])
    }

    /// The site at a host that [`World::build`] made.
    pub fn site(&self, host: &str) -> &Site {
        self.sites.iter().find(|site| site.host == host).expect("every host of this file has a site")
    }

    /// What people call a destination in a record.
    pub fn name_of<'a>(&'a self, destination: &'a str) -> &'a str {
        self.sites.iter().find(|site| site.destination() == destination).map_or(destination, |site| site.name)
    }

    /// Folder of the policy files.
    pub fn policies(&self) -> PathBuf {
        self.folder.path().join("policies")
    }

    /// The proxy's configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("tasrih.yaml")
    }

    /// Certificate of the interception authority, once the proxy has started.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Where the proxy's own log goes.
    pub fn proxy_log(&self) -> PathBuf {
        self.folder.path().join("proxy.log")
    }

    /// A camera frame as a file, for whoever tries with curl.
    pub fn frame(&self) -> PathBuf {
        self.folder.path().join("frame.jpg")
    }

    /// The records of this run.
    ///
    /// # Errors
    /// There is a log from earlier which cannot be read.
    pub fn log(&self) -> Result<Log, DemoFault> {
        Ok(Log::from_here(&self.state)?)
    }
}

async fn site(
    name: &'static str,
    host: &'static str,
    may_receive: bool,
    issuing: Option<&Issuing>,
) -> Result<Site, DemoFault> {
    let acceptor = issuing.map(|issuing| {
        let parsed = Host::parse(host).expect("the hosts of this file are host names");
        let issued = issuing.issue(&parsed).map_err(|fault| certificate(&fault))?;
        issued.acceptor(Versions::Tls12And13).map_err(|fault| certificate(&fault))
    });
    let recipient = Recipient::start(acceptor.transpose()?).await.map_err(DemoFault::Recipient)?;
    Ok(Site { name, host, may_receive, recipient, scheme: if issuing.is_some() { "https" } else { "http" } })
}

fn certificate(fault: &dyn std::error::Error) -> DemoFault {
    DemoFault::Certificate(fault.to_string())
}

fn fault(path: &Path, source: std::io::Error) -> DemoFault {
    DemoFault::Folder { path: path.to_owned(), source }
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), DemoFault> {
    fs::write(path, content).map_err(|source| fault(path, source))
}

/// A download, large enough to be seen in the account of bytes.
pub fn package() -> Bytes {
    Bytes::from(vec![0x5a; 64 << 10])
}

//! The ground that a proxy process stands on: its policy files, its configuration, its recipients; and the process.
//!
//! Everything is the real thing: `tasrih run` with files in a temporary folder, ports that the system gives, names that
//! `upstream.hosts` points to this machine.

#![allow(dead_code, reason = "benches/exchange.rs uses its part of this, too")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tasrih::demo::uploader::Uploader;
use tasrih::destination::Host;
use tasrih::tls::recipient::{Acceptor, Issuing, Versions};
use tasrih::tls::{Root, Trust};
use tokio::sync::oneshot;

use super::recipient::Recipient;

/// A declared TLS recipient.
pub const INTAKE: &str = "intake.ministry-a.example";
/// A declared recipient that speaks no more than TLS 1.2.
pub const OLD: &str = "old.ministry-a.example";
/// A declared recipient over plain HTTP.
pub const PLAIN: &str = "plain.ministry-a.example";
/// A declared recipient that is only reached through a tunnel.
pub const TUNNEL: &str = "pinned.ministry-t.example";
/// A host that nobody declared, over TLS.
pub const UNDECLARED: &str = "undeclared.example";

/// Policy and configuration in a folder, and recipients that the policy names.
pub struct Ground {
    pub recipients: Vec<Recipient>,
    folder: tempfile::TempDir,
}

impl Ground {
    /// Starts the recipients and writes the files.
    pub async fn lay() -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let issuing = Issuing::new("Recipients").expect("an authority");
        fs::write(folder.path().join("roots.pem"), issuing.certificate_pem()).expect("roots");
        let tls = |host, versions| Some(acceptor(&issuing, host, versions));
        let recipients = vec![
            Recipient::start(INTAKE, tls(INTAKE, Versions::Tls12And13)).await,
            Recipient::start(OLD, tls(OLD, Versions::Tls12)).await,
            Recipient::start(PLAIN, None).await,
            Recipient::start(TUNNEL, tls(TUNNEL, Versions::Tls12And13)).await,
            Recipient::start(UNDECLARED, tls(UNDECLARED, Versions::Tls12And13)).await,
        ];
        let ground = Ground { recipients, folder };
        fs::create_dir(ground.path("policies")).expect("a folder");
        fs::write(ground.path("policies/cctv.yaml"), ground.policy()).expect("a policy");
        fs::write(ground.path("tasrih.yaml"), ground.configuration()).expect("a configuration");
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn recipient(&self, host: &str) -> &Recipient {
        self.recipients.iter().find(|recipient| recipient.host == host).expect("one of ours")
    }

    /// Bounds the log on its disk: `reserve` and `segment`, as they are written.
    pub fn bound_disk(&self, reserve: &str, segment: &str) {
        let text = format!("{}disk: {{reserve: {reserve}, segment: {segment}}}\n", self.configuration());
        fs::write(self.path("tasrih.yaml"), text).expect("a configuration");
    }

    /// `tasrih run` on this ground.
    pub fn run(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
        command.arg("run").arg("--config").arg(self.path("tasrih.yaml"));
        command.arg("--policies").arg(self.path("policies"));
        command
    }

    /// A client at `127.0.0.last`. It trusts the interception authority, and the recipients' own for tunnels.
    pub fn client(&self, proxy: SocketAddr, last: u8) -> Uploader {
        let roots = [Root::File(self.path("ca.pem")), Root::File(self.path("roots.pem"))];
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        Uploader { proxy, from, trust: Trust::new(&roots).expect("trust") }
    }

    fn policy(&self) -> String {
        let mut text = POLICY.to_owned();
        for recipient in &self.recipients {
            text = text.replace(&format!("{{port:{}}}", recipient.host), &recipient.address.port().to_string());
        }
        text
    }

    fn configuration(&self) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        let mut text = format!(
            "listeners: [{{name: inside, bind: \"127.0.0.1:0\", entry: forward}}]\nadmin: {{bind: \"127.0.0.1:0\"}}\n\
             interception: {{certificate: {}, key: {}}}\nstate: {}\ninternal_destinations: [127.0.0.0/8]\n\
             limits: {{drain: PT2S}}\nupstream:\n  roots: [{}]\n  hosts:\n",
            file("ca.pem"),
            file("ca.key"),
            file("state"),
            file("roots.pem"),
        );
        for recipient in &self.recipients {
            writeln!(text, "    {}: [127.0.0.1]", recipient.host).expect("a text grows");
        }
        text
    }
}

fn acceptor(issuing: &Issuing, host: &str, versions: Versions) -> Acceptor {
    let issued = issuing.issue(&Host::parse(host).expect("a host")).expect("a certificate");
    issued.acceptor(versions).expect("an acceptor")
}

/// Without limits of frequency and volume, so that load is let through.
const POLICY: &str = concat!(
    include_str!("../support/case.yaml"),
    r"sources:
  - {id: cameras, networks: [127.0.0.4/30], carries: [x:CCTVFrame]}
  - {id: gate, networks: [127.0.0.8/30], carries: [x:CCTVFrame]}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations:
      - {host: intake.ministry-a.example, port: {port:intake.ministry-a.example}}
      - {host: old.ministry-a.example, port: {port:old.ministry-a.example}}
      - {host: plain.ministry-a.example, scheme: http, port: {port:plain.ministry-a.example}}
  - id: ministry-t
    name: Ministry T
    country: FR
    destinations: [{host: pinned.ministry-t.example, port: {port:pinned.ministry-t.example}, interception: never}]
transfers:
  - id: cctv-to-a
    processing: cctv
    from: [cameras, gate]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}
  - id: cctv-to-t
    processing: cctv
    from: [cameras, gate]
    to: ministry-t
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-2/2023, status: granted, valid_from: 2023-02-21}
"
);

/// A proxy process; killed when dropped.
pub struct Process {
    child: Child,
    /// The proxy itself where the child is something that runs it.
    inner: Option<i32>,
    ready: oneshot::Receiver<Started>,
    admin: Option<SocketAddr>,
    errors: PathBuf,
}

struct Started {
    address: SocketAddr,
    admin: SocketAddr,
    inner: Option<i32>,
}

impl Process {
    /// Starts it; it is not ready yet. What it says on standard error goes to a file in `folder`.
    pub fn spawn(mut command: Command, folder: &Path) -> Process {
        let errors = folder.join("errors.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&errors).expect("a file");
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn();
        let mut child =
            spawned.unwrap_or_else(|fault| panic!("cannot start {}: {fault}", command.get_program().display()));
        let printed = child.stdout.take().expect("a pipe");
        let (tell, ready) = oneshot::channel();
        std::thread::spawn(move || listen(BufReader::new(printed), tell));
        Process { child, inner: None, ready, admin: None, errors }
    }

    /// Waits until it serves; gives the proxy's address, or what it said instead.
    pub async fn ready(&mut self) -> Result<SocketAddr, String> {
        match tokio::time::timeout(Duration::from_secs(120), &mut self.ready).await {
            Ok(Ok(started)) => {
                self.inner = started.inner;
                self.admin = Some(started.admin);
                Ok(started.address)
            }
            _ => Err(self.log()),
        }
    }

    /// What it, and whatever ran before it in this folder, said on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Asks the admin listener for a page; gives the whole answer, or nothing where the process is gone.
    pub async fn page(&self, path: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let admin = self.admin?;
        let mut stream = tokio::net::TcpStream::connect(admin).await.ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Whether it has ended by itself; gives how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Ends it as a power cut would end it: nothing runs any more in it.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait().await
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        for _ in 0..3_000 {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the proxy does not stop");
    }

    /// Id of the proxy process.
    pub fn id(&self) -> i32 {
        self.inner.unwrap_or_else(|| i32::try_from(self.child.id()).expect("ids are positive numbers"))
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.id()).expect("an id is not 0");
        kill_process(id, signal).expect("our own child takes signals");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if self.inner.is_some() {
                self.signal(Signal::KILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads what the process prints, to its end, so that it never waits for a reader; tells where it listens.
fn listen(printed: impl BufRead, tell: oneshot::Sender<Started>) {
    let (mut tell, mut inner, mut proxy) = (Some(tell), None, None);
    for line in printed.lines().map_while(Result::ok) {
        if let Some(id) = line.strip_prefix("pid ") {
            inner = id.parse().ok();
        }
        let after = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.trim_start().strip_prefix("http://")?.split('/').next()?.parse::<SocketAddr>().ok()
        };
        proxy = proxy.or_else(|| after("proxy"));
        if let (Some(address), Some(admin)) = (proxy, after("admin"))
            && let Some(tell) = tell.take()
        {
            // Whoever kills it before it is ready does not listen.
            let _ = tell.send(Started { address, admin, inner });
        }
    }
}

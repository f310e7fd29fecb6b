//! A folder with policies and configuration, recipients on this machine, and the process that runs on them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tasrih::audit;
use tasrih::demo::recipient::Recipient;
use tasrih::demo::uploader::Uploader;
use tasrih::destination::Host;
use tasrih::tls::recipient::{Issued, Issuing, Versions};
use tasrih::tls::{Root, Trust};
use tokio::sync::oneshot;

/// A declared recipient over plain HTTP.
pub const PLAIN: &str = "plain.ministry-a.example";
/// A declared recipient over TLS, pinned.
pub const INTAKE: &str = "intake.ministry-b.example";
/// A declared recipient that is only reached through a tunnel.
pub const TUNNEL: &str = "pinned.ministry-t.example";
/// A real camera frame.
pub const FRAME: &[u8] = include_bytes!("../../policies/cases/frame.jpg");
/// The declared uploader.
const UPLOADER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));

pub struct Ground {
    pub folder: tempfile::TempDir,
    pub plain: Recipient,
    pub intake: Recipient,
    pub tunnel: Recipient,
    pub issued: Issued,
}

impl Ground {
    /// A proxy on free ports with this time to drain.
    pub async fn lay(drain: &str) -> Ground {
        Ground::lay_at("127.0.0.1:0".parse().expect("an address"), drain).await
    }

    pub async fn lay_at(proxy: SocketAddr, drain: &str) -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let issuing = Issuing::new("Recipients").expect("an authority");
        fs::write(folder.path().join("roots.pem"), issuing.certificate_pem()).expect("roots");
        let issue = |host: &str| issuing.issue(&Host::parse(host).expect("a host")).expect("a certificate");
        let accept = |issued: &Issued| Some(issued.acceptor(Versions::Tls12And13).expect("an acceptor"));
        let issued = issue(INTAKE);
        let ground = Ground {
            plain: Recipient::start(None).await.expect("a recipient"),
            intake: Recipient::start(accept(&issued)).await.expect("a recipient"),
            tunnel: Recipient::start(accept(&issue(TUNNEL))).await.expect("a recipient"),
            folder,
            issued,
        };
        fs::create_dir(ground.path("policies")).expect("a folder");
        ground.declare(&ground.pin());
        fs::write(ground.path("tasrih.yaml"), ground.configuration(proxy, drain)).expect("a configuration");
        ground
    }

    /// Writes the policy, with this pin of the recipient over TLS.
    pub fn declare(&self, pin: &str) {
        let port = |recipient: &Recipient| recipient.address.port().to_string();
        let policy = POLICY
            .replace("{plain}", &port(&self.plain))
            .replace("{intake}", &port(&self.intake))
            .replace("{tunnel}", &port(&self.tunnel))
            .replace("{pin}", pin);
        fs::write(self.path("policies/cctv.yaml"), policy).expect("a policy");
    }

    /// The pin of the recipient over TLS.
    pub fn pin(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(self.issued.spki_sha256())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A subcommand of the program on this installation.
    pub fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
        command.args(subcommand).arg("--config").arg(self.path("tasrih.yaml"));
        command.arg("--policies").arg(self.path("policies"));
        command
    }

    pub fn run(&self) -> Command {
        self.command(&["run"])
    }

    /// Every record so far; the log must be whole.
    pub fn records(&self) -> Vec<Value> {
        let records = audit::read(&self.path("state")).expect("a log");
        records.map(|json| serde_json::from_slice(&json.expect("a record")).expect("JSON")).collect()
    }

    /// The ends of all exchanges that were let through, in the order of the log.
    pub fn ends(&self) -> Vec<String> {
        let records = self.records();
        let ends = records.iter().filter_map(|record| record["unmapped"]["transfer"]["end"].as_str());
        ends.map(str::to_owned).collect()
    }

    /// Whether the log ends with a stop record.
    pub fn is_closed(&self) -> bool {
        self.records().last().is_some_and(|record| record["metadata"]["event_code"] == "stop")
    }

    pub fn client(&self, proxy: SocketAddr) -> Uploader {
        let roots = [Root::File(self.path("ca.pem")), Root::File(self.path("roots.pem"))];
        Uploader { proxy, from: UPLOADER, trust: Trust::new(&roots).expect("trust") }
    }

    /// A frame for the recipient over plain HTTP.
    pub fn frame(&self) -> Request<Bytes> {
        let target = format!("http://{PLAIN}:{}/cctv/cam1", self.plain.address.port());
        Request::post(target).header("content-type", "image/jpeg").body(Bytes::from_static(FRAME)).expect("a request")
    }

    fn configuration(&self, proxy: SocketAddr, drain: &str) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        format!(
            "listeners: [{{name: inside, bind: \"{proxy}\", entry: forward}}]\nadmin: {{bind: \"127.0.0.1:0\"}}\n\
             interception: {{certificate: {}, key: {}}}\nstate: {}\ninternal_destinations: [127.0.0.0/8]\n\
             limits: {{drain: {drain}, connections: 100}}\nupstream:\n  roots: [{}]\n  hosts: {{{PLAIN}: [127.0.0.1], \
             {INTAKE}: [127.0.0.1], {TUNNEL}: [127.0.0.1]}}\n",
            file("ca.pem"),
            file("ca.key"),
            file("state"),
            file("roots.pem"),
        )
    }
}

const POLICY: &str = concat!(
    include_str!("../support/case.yaml"),
    r#"sources:
  - {id: cameras, networks: [127.0.0.4/30], carries: [x:CCTVFrame]}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations: [{host: plain.ministry-a.example, scheme: http, port: {plain}}]
  - id: ministry-b
    name: Ministry B
    country: FR
    destinations: [{host: intake.ministry-b.example, port: {intake}, tls_spki_sha256: ["{pin}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}]
  - id: ministry-t
    name: Ministry T
    country: FR
    destinations: [{host: pinned.ministry-t.example, port: {tunnel}, interception: never}]
transfers:
  - id: cctv-to-a
    processing: cctv
    from: [cameras]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}
  - id: cctv-to-b
    processing: cctv
    from: [cameras]
    to: ministry-b
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-2/2023, status: granted, valid_from: 2023-02-21}
    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}
  - id: cctv-to-t
    processing: cctv
    from: [cameras]
    to: ministry-t
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-3/2023, status: granted, valid_from: 2023-02-21}
"#
);

/// A proxy process; killed when dropped.
pub struct Process {
    child: Child,
    told: Option<oneshot::Receiver<Listening>>,
    errors: PathBuf,
}

/// Where a process listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts it, with nothing on its standard input; what it logs goes to a file in `folder`.
    pub fn spawn(command: Command, folder: &Path) -> Process {
        Process::spawn_with(command, folder, Stdio::null())
    }

    pub fn spawn_with(mut command: Command, folder: &Path, input: Stdio) -> Process {
        let (file, errors) =
            tempfile::Builder::new().suffix(".log").tempfile_in(folder).expect("a file").keep().expect("kept");
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(file).spawn().expect("it starts");
        let printed = child.stdout.take().expect("a pipe");
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || listen(BufReader::new(printed), tell));
        Process { child, told: Some(told), errors }
    }

    /// Waits until it serves.
    pub async fn ready(&mut self) -> Listening {
        let told = self.told.take().expect("asked once");
        match tokio::time::timeout(Duration::from_secs(30), told).await {
            Ok(Ok(listening)) => listening,
            _ => panic!("the proxy does not start: {}", self.log()),
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.errors).and_then(|mut file| file.read_to_string(&mut text)).expect("its log");
        text
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process has a positive id");
        kill_process(id, signal).expect("our own child takes signals");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_some()
    }

    /// Waits until it has ended; gives how, and how long that took.
    pub async fn ended(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait().expect("our own child can be waited for") {
                return (status, begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the proxy does not stop: {}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads what the process prints, to its end, so that it never waits for a reader.
fn listen(printed: impl BufRead, tell: oneshot::Sender<Listening>) {
    let (mut tell, mut proxy) = (Some(tell), None);
    for line in printed.lines().map_while(Result::ok) {
        let after = |name: &str| {
            let rest = line.strip_prefix(name)?.trim_start().split_once("://")?.1;
            rest.split(['/', ' ']).next()?.parse::<SocketAddr>().ok()
        };
        proxy = proxy.or(after("proxy"));
        if let (Some(admin), Some(proxy), Some(tell)) =
            (after("admin"), proxy, tell.take_if(|_| line.starts_with("admin")))
        {
            let _ = tell.send(Listening { proxy, admin });
        }
    }
}

/// Runs a command to its end.
pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("no panic")
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("in vain waited until {what}");
}

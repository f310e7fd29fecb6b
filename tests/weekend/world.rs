//! The installation: a state folder on a disk of its own, a name service, recipients, and the process, which comes and goes.

use std::fmt;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tasrih::audit;
use tasrih::demo::uploader::Uploader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::FRAME;
use super::dice::Dice;
use super::evidence::Evidence;
use super::gate::Gate;
use super::ground::{Ground, INTAKE, OLD, PLAIN, Process, TUNNEL, UNDECLARED};
use super::load::{self, Load, Tally, Targets};
use super::memory::{self, Memory};
use super::names::Names;

/// Files that the process may have open: fewer than connections that it would take.
const DESCRIPTORS: u32 = 320;
/// After a fault has passed, a legal frame must pass within this by every way.
const AGAIN: Duration = Duration::from_secs(30);

pub struct World {
    pub ground: Arc<Ground>,
    pub names: Names,
    pub gate: Gate,
    pub policy: Arc<str>,
    pub proxy: SocketAddr,
    process: Process,
    admin: SocketAddr,
    _disk: Disk,
    load: Option<Load>,
    targets: Targets,
    tally: Arc<Tally>,
    /// Of each client between two requests, on average.
    rest: Duration,
    evidence: Evidence,
    memory: Memory,
    restarts: u32,
    seen: usize,
    /// The library that sets the clock of the process.
    faketime: PathBuf,
}

impl World {
    /// Everything in place and under load; `None`, and said why, where this machine cannot give what it takes.
    pub async fn make(dice: &mut Dice, time: Duration) -> Option<World> {
        let Some(clock) = faketime() else { return skip("libfaketime is not installed") };
        if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
            return skip("a process may not have mounts of its own");
        }
        // An address of loopback that only this process takes.
        let [.., high, low] = std::process::id().to_be_bytes();
        let at = SocketAddr::from(([127, 53, high, low.clamp(1, 254)], 53));
        let names = match Names::serve(at).await {
            Ok(names) => names,
            Err(fault) => return skip(&format!("no name service on {at}: {fault}")),
        };
        let ground = Arc::new(Ground::lay().await);
        fs::create_dir(ground.state()).expect("a folder");
        let mebibytes = 320 + time.as_secs() / 2;
        let Some(disk) = Disk::mount(&ground.state(), mebibytes) else {
            return skip("a file system cannot be mounted");
        };
        let gate = Gate::before(ground.recipient(PLAIN).address).await;
        let (proxy, admin) = (free_port(), free_port());
        let inner = format!("port: {}", ground.recipient(PLAIN).address.port());
        let policy = fs::read_to_string(ground.path("policies/cctv.yaml")).expect("the policy");
        let policy = policy.replace(&inner, &format!("port: {}", gate.address.port()));
        fs::write(ground.path("policies/cctv.yaml"), &policy).expect("the policy");
        fs::write(ground.path("tasrih.yaml"), configuration(&ground, proxy, admin)).expect("a configuration");
        fs::write(ground.path("resolv.conf"), format!("nameserver {}\noptions timeout:1 attempts:1\n", at.ip()))
            .expect("written");
        fs::write(ground.path("clock"), "+0").expect("written");
        let targets = Targets {
            plain: format!("http://{PLAIN}:{}", gate.address.port()),
            intake: ground.recipient(INTAKE).base("https"),
            tunnel: ground.recipient(TUNNEL).base("https"),
            undeclared: ground.recipient(UNDECLARED).base("https"),
        };
        let process = start(&ground, &clock).await;
        let memory = Memory::watch(process.id());
        let mut world = World {
            ground,
            names,
            gate,
            policy: policy.into(),
            proxy,
            process,
            admin,
            _disk: disk,
            load: None,
            targets,
            tally: Arc::default(),
            // A long run has load enough; its log is read again at every fault.
            rest: Duration::from_millis(if time.is_zero() { 80 } else { 400 }),
            evidence: Evidence::default(),
            memory,
            restarts: 0,
            seen: 0,
            faketime: clock,
        };
        world.evidence.read(&world.ground, 0);
        world.send_on(dice);
        Some(world)
    }

    /// Lets the load go on for a while.
    pub async fn live(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub fn send_on(&mut self, dice: &mut Dice) {
        let (ground, proxy) = (self.ground.clone(), self.proxy);
        self.load = Some(Load::begin(|last| ground.client(proxy, last), &self.targets, &self.tally, self.rest, dice));
    }

    /// The process is gone: holds its log against what was seen, starts another one, and sends on.
    pub async fn start_over(&mut self, dice: &mut Dice) {
        self.settle().await;
        self.process = start(&self.ground, &self.faketime).await;
        *self.memory.pid.lock().expect("an id") = self.process.id();
        self.evidence.check_recovered(&self.ground, self.restarts);
        self.send_on(dice);
    }

    /// With the process gone and no load, what recipients and clients saw must be on record.
    async fn settle(&mut self) {
        self.restarts += 1;
        if let Some(load) = self.load.take() {
            load.end().await;
        }
        self.evidence.read(&self.ground, self.restarts);
        self.evidence.told.append(&mut self.tally.told.lock().expect("ids"));
        self.seen += self.evidence.check_seen(&self.ground, self.restarts).await;
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn client(&self) -> Uploader {
        self.ground.client(self.proxy, 5)
    }

    /// Waits until a legal frame passes by every way; gives how long that took.
    pub async fn until_legal_again(&self) -> Duration {
        let begun = Instant::now();
        for target in [&self.targets.plain, &self.targets.intake, &self.targets.tunnel] {
            loop {
                let sending = self.client().send(load::frame(target, Bytes::from_static(FRAME))).await;
                if let Ok(reply) = &sending {
                    self.tally.take(reply);
                    if reply.status == 200 {
                        break;
                    }
                }
                assert!(
                    begun.elapsed() < AGAIN,
                    "a legal frame to {target} does not pass: {sending:?}\n{}",
                    self.log(0)
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        begun.elapsed()
    }

    /// `/metrics`, as long as it is served.
    pub async fn scrape(&self) -> Option<String> {
        let reading = async {
            let mut stream = TcpStream::connect(self.admin).await.ok()?;
            let head = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
            stream.write_all(head.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            Some(text)
        };
        tokio::time::timeout(Duration::from_secs(3), reading).await.ok()?
    }

    /// The sum of the series of this name whose labels contain `part`.
    pub async fn figure(&self, name: &str, part: &str) -> Option<f64> {
        let text = self.scrape().await?;
        let of_name = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        let lines = text.lines().filter(of_name).filter(|line| line.contains(part));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What the processes have logged from this byte on.
    pub fn log(&self, from: usize) -> String {
        let text = fs::read(self.ground.path("errors.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[from.min(text.len())..]).into_owned()
    }

    /// How many records are in the log.
    pub fn sequence(&self) -> usize {
        audit::read(&self.ground.state()).expect("a log").map_while(Result::ok).count()
    }

    /// Whether a record since `sequence` has one of these words as its code, reason or end.
    pub fn is_on_record(&self, sequence: usize, words: &[&str]) -> bool {
        let records = audit::read(&self.ground.state()).expect("a log").map_while(Result::ok).skip(sequence);
        records.into_iter().any(|json| {
            let record: Value = serde_json::from_slice(&json).expect("a record is JSON");
            let said = [&record["metadata"]["event_code"], &record["unmapped"]["transfer"]["end"]];
            said.iter().any(|said| said.as_str().is_some_and(|said| words.contains(&said)))
        })
    }

    /// Ends the run.
    pub async fn end(mut self) -> Summary {
        self.until_legal_again().await;
        assert!(self.process.stop().await.success(), "an orderly stop: {}", self.log(0));
        self.settle().await;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            sent: count(&self.tally.sent),
            legal: count(&self.tally.legal),
            refused: count(&self.tally.refused),
            broken: count(&self.tally.broken),
            records: self.evidence.taken,
            seen: self.seen,
            restarts: self.restarts,
            memory: self.memory.thirds(),
        }
    }
}

/// What the run came to.
pub struct Summary {
    sent: u64,
    legal: u64,
    refused: u64,
    broken: u64,
    records: usize,
    seen: usize,
    restarts: u32,
    memory: (u64, u64),
}

impl Summary {
    pub fn assert_sound(&self) {
        assert!(self.legal > 50 && self.refused > 10 && self.seen > 50, "too little load to tell: {self}");
        assert!(memory::is_flat(self.memory), "memory grew: {self}");
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { sent, legal, refused, broken, records, seen, restarts, memory: (first, last) } = self;
        write!(
            f,
            "{sent} requests sent: {legal} answered by their recipient, {refused} refused, {broken} broke off with a fault; \
             {records} records; recipients saw {seen} requests and tunnels, all of them on record; {restarts} processes; \
             highest resident memory {} MiB in the first third, {} MiB in the last",
            first >> 20,
            last >> 20
        )
    }
}

/// Debian keeps it in a folder named by the architecture.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.map_while(Result::ok);
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

async fn start(ground: &Ground, faketime: &Path) -> Process {
    let mut command = Command::new("unshare");
    let script = format!(
        "mount --bind {} /etc/resolv.conf && ulimit -n {DESCRIPTORS} && exec env LD_PRELOAD={} \
         FAKETIME_TIMESTAMP_FILE={} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \"$@\"",
        ground.path("resolv.conf").display(),
        faketime.display(),
        ground.path("clock").display(),
    );
    let run = ground.run();
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(run.get_program()).args(run.get_args());
    let mut process = Process::spawn(command, &ground.path(""));
    process.ready().await.unwrap_or_else(|said| panic!("the proxy does not start: {said}"));
    process
}

fn configuration(ground: &Ground, proxy: SocketAddr, admin: SocketAddr) -> String {
    let file = |name: &str| ground.path(name).display().to_string();
    format!(
        "listeners: [{{name: inside, bind: \"{proxy}\", entry: forward}}]\nadmin: {{bind: \"{admin}\"}}\n\
         interception: {{certificate: {}, key: {}}}\nstate: {}\ninternal_destinations: [127.0.0.0/8]\n\
         limits: {{drain: PT2S, connections: 1000}}\ndisk: {{segment: 4MiB}}\nupstream:\n  roots: [{}]\n  hosts: {{{PLAIN}: [127.0.0.1], \
         {TUNNEL}: [127.0.0.1], {OLD}: [127.0.0.1], {UNDECLARED}: [127.0.0.1]}}\n",
        file("ca.pem"),
        file("ca.key"),
        file("state"),
        file("roots.pem"),
    )
}

/// A port that nobody has, for a process that comes back to it.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

fn skip(why: &str) -> Option<World> {
    eprintln!("skipped: {why}");
    None
}

/// A file system of its own for the state folder.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, mebibytes: u64) -> Option<Disk> {
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may still have files open there: it goes when they are closed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file that takes nearly all room of the file system that `folder` is on, and all of the proxy's reserve.
pub fn fill(folder: &Path) -> PathBuf {
    /// Left over, because records are written meanwhile.
    const LEFT: u64 = 8 << 20;
    let path = folder.join("stray");
    let file = File::create(&path).expect("a file");
    let room = rustix::fs::statvfs(folder).expect("a file system");
    let taken = (room.f_bavail * room.f_frsize).saturating_sub(LEFT);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken).expect("room");
    path
}

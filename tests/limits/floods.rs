//! Floods: what many clients cost that send nothing, half a head, or a body at one byte a second, and what many like
//! refusals leave in the log. A legal upload goes through all of them.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::descriptors::{scrape, until_series};
use super::ground::{Ground, Listening, PLAIN, Process};
use super::support::wire::dial;
use super::support::{House, OFFICE, Plan, STRANGER, Site, UPLOADER, get, records, series};
use super::{HOST, REGISTER};

/// KiB that one connection may cost, sent nothing or half a head: buffers of the parser and the task.
const OF_A_HEAD: u64 = 48;
/// The same for a body: the connection to the recipient is open already, and the exchange has its account.
const OF_A_BODY: u64 = 128;
/// Descriptors beside those of the flood.
const SPARE: u64 = 512;

/// How many connections, and how long a window of theirs must be for all of them to stand at once: ten thousand with
/// `tests/run --long`.
fn crowd() -> (usize, &'static str) {
    if std::env::var_os("TASRIH_LONG").is_some() { (10_000, "PT90S") } else { (1_000, "PT20S") }
}

/// How many of `crowd` this machine lets a process have, with `each` descriptors for one; says so if they are fewer. The
/// proxy leaves an eighth of its own to the connections of those who are in.
fn affordable(crowd: usize, each: u64) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
    let most =
        maximum.map_or(crowd, |most| usize::try_from(most.saturating_sub(SPARE) / each * 7 / 8).expect("it fits"));
    if most < crowd {
        println!("the hard limit of {maximum:?} descriptors allows for {most} connections, not {crowd}");
    }
    crowd.min(most)
}

/// A proxy on which a flood is let loose.
struct Shore {
    ground: Ground,
    process: Process,
    listening: Listening,
    before: u64,
}

impl Shore {
    async fn with(limits: &str) -> Shore {
        let ground = Ground::lay("PT5S").await;
        let file = ground.path("tasrih.yaml");
        let text = fs::read_to_string(&file).expect("a configuration");
        let changed = text.replace("connections: 100", limits);
        assert_ne!(text, changed);
        fs::write(&file, changed).expect("a configuration");
        let mut process = Process::spawn(ground.run(), ground.folder.path());
        let listening = process.ready().await;
        let mut shore = Shore { ground, process, listening, before: 0 };
        // What is made once is made before it is measured.
        shore.uploads().await;
        shore.before = shore.resident();
        shore
    }

    /// Resident memory of the proxy in KiB (proc(5), status).
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a field");
        line.trim().trim_end_matches(" kB").trim().parse().expect("KiB")
    }

    /// A legal upload passes.
    async fn uploads(&self) {
        let reply = self.ground.client(self.listening.proxy).send(self.ground.frame()).await.expect("a reply");
        assert_eq!(reply.status, 200);
    }

    /// Prints and bounds what each connection of a crowd costs.
    fn costs(&self, what: &str, crowd: usize, most: u64) {
        let grown = self.resident().saturating_sub(self.before);
        let each = grown / crowd as u64;
        println!("{crowd} connections, {what}: {each} KiB each ({} KiB before, {grown} KiB more)", self.before);
        assert!(each <= most, "{each} KiB a connection");
    }

    async fn until_open(&self, is: impl Fn(u64) -> bool) -> u64 {
        until_series(self.listening, "tasrih_connections_open", &[], is).await
    }

    async fn ends(mut self) -> Ground {
        self.process.signal(Signal::TERM);
        self.process.ended().await;
        assert!(self.ground.is_closed());
        self.ground
    }
}

/// So many connections from several addresses, each of which has said this.
async fn flood(crowd: usize, to: Listening, from: &[[u8; 4]], said: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(crowd);
    for place in 0..crowd {
        let mut stream = dial(IpAddr::from(from[place % from.len()]), to.proxy).await;
        stream.write_all(said).await.expect("taken");
        streams.push(stream);
    }
    streams
}

const LIMITS: &str = "connections: 12000, connections_per_source: 6000, header_time: PT5M";
const STRANGERS: [[u8; 4]; 4] = [[127, 0, 1, 1], [127, 0, 1, 2], [127, 0, 1, 3], [127, 0, 1, 4]];
/// Declared cameras, but not the one that uploads.
const CAMERAS: [[u8; 4]; 2] = [[127, 0, 0, 6], [127, 0, 0, 7]];

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing() {
    let crowd = affordable(crowd().0, 1);
    let shore = Shore::with(LIMITS).await;
    let streams = flood(crowd, shore.listening, &STRANGERS, b"").await;
    shore.until_open(|open| open >= crowd as u64).await;
    shore.costs("nothing sent", crowd, OF_A_HEAD);
    shore.uploads().await;
    drop(streams);
    shore.until_open(|open| open == 0).await;
    assert_eq!(shore.ends().await.ends(), ["answered", "answered"], "they left no record");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_send_half_a_head() {
    let crowd = affordable(crowd().0, 1);
    let shore = Shore::with(LIMITS).await;
    let half = b"POST http://plain.ministry-a.example/cctv/cam1 HTTP/1.1\r\nhost: plain.ministry-a.exa";
    let streams = flood(crowd, shore.listening, &STRANGERS, half).await;
    shore.until_open(|open| open >= crowd as u64).await;
    shore.costs("half a head sent", crowd, OF_A_HEAD);
    shore.uploads().await;
    drop(streams);
    shore.until_open(|open| open == 0).await;
    shore.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_heads_end_by_themselves() {
    let shore = Shore::with("connections: 12000, connections_per_source: 6000, header_time: PT1S").await;
    let mut streams = flood(200, shore.listening, &STRANGERS, b"POST http://plain").await;
    for stream in &mut streams {
        let mut nothing = [0; 16];
        assert!(matches!(stream.read(&mut nothing).await, Ok(0) | Err(_)), "closed without a reply");
    }
    shore.until_open(|open| open == 0).await;
    let counted = series(&scrape(shore.listening).await, "tasrih_decisions_total", &["client-timeout"]);
    assert_eq!(counted, 200);
    shore.uploads().await;
    shore.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_at_one_byte_a_second() {
    let (crowd, window) = crowd();
    // In this process, each also has the recipient's end of a connection.
    let crowd = affordable(crowd, 2);
    let shore = Shore::with(&format!("{LIMITS}, body_rate: 1KiB, body_window: {window}")).await;
    let head = format!(
        "POST http://{PLAIN}:{port}/cctv/cam1 HTTP/1.1\r\nhost: {PLAIN}:{port}\r\ncontent-type: image/jpeg\r\n\
         content-length: 30000\r\n\r\n",
        port = shore.ground.plain.address.port()
    );
    let streams = flood(crowd, shore.listening, &CAMERAS, head.as_bytes()).await;
    let (mut reads, mut writes): (Vec<_>, Vec<_>) = streams.into_iter().map(TcpStream::into_split).unzip();
    let trickle = tokio::spawn(async move {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            second.tick().await;
            for stream in &mut writes {
                // Who was refused takes nothing more.
                let _ = stream.write_all(b"\xff").await;
            }
        }
    });
    // Each has announced its body, and is being waited for.
    until_series(shore.listening, "tasrih_held_bytes", &[], |held| held >= crowd as u64 * 30_000 * 9 / 10).await;
    shore.costs("a body at one byte a second", crowd, OF_A_BODY);
    shore.uploads().await;
    let mut told = 0;
    for stream in &mut reads {
        let mut reply = [0; 16];
        let count = stream.read(&mut reply).await.unwrap_or_default();
        told += usize::from(reply[..count].starts_with(b"HTTP/1.1 408"));
    }
    assert_eq!(told, crowd, "each is told that it was too slow");
    trickle.abort();
    drop(reads);
    shore.until_open(|open| open == 0).await;
    assert_eq!(series(&scrape(shore.listening).await, "tasrih_held_bytes", &[]), 0);
    let ground = shore.ends().await;
    assert_eq!(ground.ends(), ["answered", "answered"]);
    assert_eq!(ground.plain.requests().len(), 2, "no byte of the others left");
    let slow = folded(&ground.records(), "client-timeout");
    assert_eq!(slow.1, crowd as u64, "{} records stand for them", slow.0);
}

/// Records of refusals with this reason, and the refusals that they stand for.
fn folded(records: &[Value], reason: &str) -> (usize, u64) {
    let of_reason = records.iter().filter(|record| record["metadata"]["event_code"] == reason);
    let counts: Vec<u64> = of_reason.map(|record| record["count"].as_u64().unwrap_or(1)).collect();
    (counts.len(), counts.iter().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn like_refusals_are_folded_and_add_up() {
    const FLOOD: usize = 5_000;
    const CLIENTS: usize = 4;
    let house = Plan::new(REGISTER).site(HOST, Site::Plain).build().await;
    let requests = "GET http://undeclared.example/ HTTP/1.1\r\nhost: undeclared.example\r\n\r\n".repeat(50);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(house.raw(UPLOADER).await);
    }
    let mut refused = 0;
    for round in 0..FLOOD / (50 * CLIENTS) {
        for client in &mut clients {
            client.send(&requests).await;
        }
        for client in &mut clients {
            for _ in 0..50 {
                let reply = client.reply().await.expect("a reply");
                assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("no-declaration")));
                refused += 1;
            }
        }
        if round == 10 {
            single_denials(&house).await;
        }
    }
    assert_eq!(refused, FLOOD);
    let counted = series(&house.metrics().await, "tasrih_decisions_total", &["decision=\"denial\""]);
    assert_eq!(counted, FLOOD as u64 + 2);
    let folder = house.stop().await;
    let all = records(&folder.path().join("state"));
    let of = |address: IpAddr| -> Vec<Value> {
        let address = address.to_string();
        all.iter().filter(|record| record["src_endpoint"]["ip"] == address.as_str()).cloned().collect()
    };
    let (written, stand_for) = folded(&of(UPLOADER), "no-declaration");
    println!("{written} records stand for {stand_for} refusals");
    assert_eq!(stand_for, FLOOD as u64);
    // Sixty, an opening and a closing one for each minute that the flood lasted, and it lasted less than ten.
    assert!((62..=620).contains(&written), "{written} records");
    assert_eq!(folded(&of(OFFICE), "no-declaration"), (1, 1), "another source's single refusal has its own");
    assert_eq!(folded(&of(STRANGER), "source-unknown"), (1, 1), "and so has that of a system which nobody declared");
}

async fn single_denials(house: &House) {
    for source in [OFFICE, STRANGER] {
        assert_eq!(house.send(source, get("http://undeclared.example/")).await.status, 403);
    }
}

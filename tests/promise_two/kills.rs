//! Fifty times the proxy is killed under load, each time on the state that the last one left.
//!
//! SIGKILL keeps what the kernel has; that what is *not* synced may be lost is the matter of `traced` and `evidence.rs`.
//! Here the process itself dies: between any two of its instructions, with batches half written, connections half
//! served, and sometimes while it recovers from the kill before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tasrih::audit;
use tasrih::demo::uploader::Uploader;

use super::FRAME;
use super::ground::{Ground, INTAKE, PLAIN, Process, TUNNEL, UNDECLARED};
use super::recipient::Visit;

/// Rounds of an ordinary run; `tests/run --long` plays ten times as many.
const ROUNDS: u32 = 50;
/// Addresses 127.0.0.N of the clients: both sources are among them.
const CLIENTS: std::ops::Range<u8> = 4..11;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_recipient_saw_is_on_record_after_fifty_kills() {
    let seed = std::env::var("TASRIH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(moment);
    eprintln!("repeat with TASRIH_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let ground = Arc::new(Ground::lay().await);
    let mut evidence = Evidence::default();
    let mut totals = Totals::default();
    let rounds = if std::env::var_os("TASRIH_LONG").is_some() { ROUNDS * 10 } else { ROUNDS };
    for round in 0..rounds {
        if round % 5 == 4 {
            // Killed while it starts: recovery must stand being interrupted, too.
            let mut process = Process::spawn(ground.run(), &ground.path(""));
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            process.kill();
        }
        let mut process = Process::spawn(ground.run(), &ground.path(""));
        let proxy = process.ready().await.unwrap_or_else(|said| panic!("round {round}: the log does not open: {said}"));
        totals.interrupted += evidence.check_recovered(&ground, round);

        let dead = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = CLIENTS
            .map(|last| {
                let client = ground.client(proxy, last);
                tokio::spawn(load(client, ground.clone(), Dice(dice.next() | 1), dead.clone()))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100 + dice.below(300))).await;
        process.kill();
        dead.store(true, Ordering::Release);
        for client in clients {
            let told = client.await.expect("a client does not panic");
            totals.told += told.len();
            evidence.told.extend(told);
        }
        evidence.read(&ground, round);
        totals.seen += evidence.check_seen(&ground, round).await;
    }
    let mut process = Process::spawn(ground.run(), &ground.path(""));
    process.ready().await.expect("the log opens");
    totals.interrupted += evidence.check_recovered(&ground, rounds);
    assert!(process.stop().await.success(), "an orderly stop");
    eprintln!("{totals:?}, {} records", evidence.taken);
    assert!(totals.seen >= 200 && totals.told >= 50 && totals.interrupted >= 10, "too little load to tell: {totals:?}");
}

/// What happened in all rounds, to see that there was load.
#[derive(Debug, Default)]
struct Totals {
    /// Requests and tunnels that recipients saw.
    seen: usize,
    /// Replies with a record's id that clients got.
    told: usize,
    /// Decisions that a restart closed.
    interrupted: usize,
}

/// Sends until the proxy is dead; gives the ids of records that the client was told.
async fn load(client: Uploader, ground: Arc<Ground>, mut dice: Dice, dead: Arc<AtomicBool>) -> Vec<String> {
    let mut told = Vec::new();
    while !dead.load(Ordering::Acquire) {
        // The proxy may be dead before the flag says so; then whatever was under way ends with an error.
        if let Ok(reply) = client.send(request(&ground, &mut dice)).await {
            told.extend(reply.proxy_status("record"));
        }
    }
    told
}

fn request(ground: &Ground, dice: &mut Dice) -> Request<Bytes> {
    let at = |scheme: &str, host: &str| ground.recipient(host).base(scheme) + "/cctv/cam1";
    // Most frames are cut short, which leaves them JPEG by their first bytes: the number of exchanges counts here.
    let (target, body) = match dice.below(100) {
        0..45 => (at("http", PLAIN), Bytes::from_static(&FRAME[..1_500])),
        45..55 => (at("http", PLAIN), Bytes::from_static(FRAME)),
        55..58 => (at("http", PLAIN), [FRAME, &[0; 1_200_000]].concat().into()),
        58..83 => (at("https", INTAKE), Bytes::from_static(&FRAME[..1_500])),
        83..88 => (at("https", TUNNEL), Bytes::from_static(FRAME)),
        88..94 => (at("https", UNDECLARED), Bytes::from_static(FRAME)),
        _ => (at("http", PLAIN), Bytes::from_static(b"this is no jpeg")),
    };
    Request::post(target).header("content-type", "image/jpeg").body(body).expect("a request")
}

/// The log as it was read so far, over all kills.
#[derive(Default)]
struct Evidence {
    /// Records read; also the sequence number that the next one must have.
    taken: usize,
    /// Decisions, and whether they let through.
    decisions: HashMap<String, bool>,
    /// Tunnels among those let through.
    tunnels: usize,
    /// Tunnels that recipients saw.
    tunnels_seen: usize,
    /// Let through and without an outcome.
    open: HashSet<String>,
    /// Outcomes `interrupted` that were read last.
    interrupted: HashSet<String>,
    /// Ids that clients were told.
    told: Vec<String>,
}

impl Evidence {
    /// Reads on, and checks that nothing is missing in between.
    fn read(&mut self, ground: &Ground, round: u32) {
        self.interrupted.clear();
        let records = audit::read(&ground.state()).expect("a log");
        for json in records.skip(self.taken) {
            let json = json.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
            let event: Value = serde_json::from_slice(&json).expect("a record is JSON");
            assert_eq!(event["metadata"]["sequence"], self.taken, "round {round}: the sequence has a gap: {event}");
            self.taken += 1;
            self.take(&event, round);
        }
    }

    fn take(&mut self, event: &Value, round: u32) {
        let text = |key: &str| event["metadata"][key].as_str().unwrap_or_default();
        let (uid, correlation) = (text("uid"), text("correlation_uid"));
        if uid == correlation && !uid.is_empty() {
            let through = event["action_id"] != 2;
            let known = self.decisions.insert(uid.to_owned(), through);
            assert!(known.is_none(), "round {round}: {uid} was decided twice");
            if through {
                self.open.insert(uid.to_owned());
                self.tunnels += usize::from(event["class_uid"] == 4001);
            }
        } else if uid.strip_suffix(".outcome") == Some(correlation) {
            assert!(self.open.remove(correlation), "round {round}: {uid} closes nothing that was open");
            if text("event_code") == "interrupted" {
                self.interrupted.insert(correlation.to_owned());
            }
        }
    }

    /// After a restart, before any load: what was open is closed as interrupted, and nothing else was written as such.
    fn check_recovered(&mut self, ground: &Ground, round: u32) -> usize {
        let open = self.open.clone();
        self.read(ground, round);
        assert!(self.interrupted == open, "round {round}: {} were open, {} closed", open.len(), self.interrupted.len());
        assert!(self.open.is_empty(), "round {round}: decisions are open after a restart");
        open.len()
    }

    /// After a kill: what recipients saw and clients were told is in the log.
    async fn check_seen(&mut self, ground: &Ground, round: u32) -> usize {
        let mut seen = 0;
        for recipient in &ground.recipients {
            let visits = recipient.close_book().await;
            if recipient.host == TUNNEL {
                let count = visits.iter().filter(|visit| visit.raw > 0).count();
                self.tunnels_seen += count;
                assert!(self.tunnels_seen <= self.tunnels, "round {round}: a tunnel was seen that is not on record");
                seen += count;
                continue;
            }
            for visit in visits {
                seen += self.check_visit(recipient.host, &visit, round);
            }
        }
        for id in self.told.drain(..) {
            assert!(self.decisions.contains_key(&id), "round {round}: a client was told {id}, which is not on record");
        }
        seen
    }

    fn check_visit(&self, host: &str, visit: &Visit, round: u32) -> usize {
        assert!(host != UNDECLARED, "round {round}: the undeclared host was connected to: {visit:?}");
        for request in &visit.requests {
            let Some(id) = &request.record else { panic!("round {round}: {host} saw a request without a stamp") };
            let through = self.decisions.get(id);
            assert_eq!(through, Some(&true), "round {round}: {host} saw {id}, which is not on record as let through");
        }
        visit.requests.len()
    }
}

/// Numbers that look random (xorshift64*), so that a round can be repeated with its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 33) % end
    }
}

fn moment() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    since.subsec_nanos().into()
}

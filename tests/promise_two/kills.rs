//! Fifty times the proxy is killed under load, each time on the state that the last one left.
//!
//! SIGKILL keeps what the kernel has; that what is *not* synced may be lost is the matter of `traced` and `evidence.rs`.
//! Here the process itself dies: between any two of its instructions, with batches half written, connections half
//! served, and sometimes while it recovers from the kill before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use tasrih::demo::uploader::Uploader;

use super::FRAME;
use super::dice::Dice;
use super::evidence::Evidence;
use super::ground::{Ground, INTAKE, PLAIN, Process, TUNNEL, UNDECLARED};

/// Rounds on one log. `tests/run --long` plays them on ten logs: a start reads the whole log, so that one of five hundred
/// rounds would take most of its time for reading.
const ROUNDS: u32 = 50;
/// Addresses 127.0.0.N of the clients: both sources are among them.
const CLIENTS: std::ops::Range<u8> = 4..11;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_recipient_saw_is_on_record_after_fifty_kills() {
    let seed = std::env::var("TASRIH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(moment);
    eprintln!("repeat with TASRIH_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let logs = if std::env::var_os("TASRIH_LONG").is_some() { 10 } else { 1 };
    for _ in 0..logs {
        fifty_kills(&mut dice).await;
    }
}

async fn fifty_kills(dice: &mut Dice) {
    let ground = Arc::new(Ground::lay().await);
    let mut evidence = Evidence::default();
    let mut totals = Totals::default();
    for round in 0..ROUNDS {
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
    totals.interrupted += evidence.check_recovered(&ground, ROUNDS);
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

fn moment() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    since.subsec_nanos().into()
}

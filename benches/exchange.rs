//! CPU time that the proxy process takes for a request, by way of carriage.
//!
//! ```text
//! cargo bench --bench exchange                 2,000 requests of each kind
//! cargo bench --bench exchange -- 10000        as many as you like
//! ```
//!
//! The proxy is the real binary, `tasrih run`, with its log on the disk of the temporary folder (`TMPDIR`); clients and
//! recipients run in this process and are not counted. Four clients send at once, each over one connection that it keeps,
//! so that several decisions share a sync as in earnest; where the table says so, each request has a connection of its
//! own. Counted is `utime + stime` of `/proc/PID/stat`, in ticks of 10 ms, over all requests of a kind after a tenth of
//! them unmeasured: below some hundred requests the ticks are all that one sees. CPU time says little about latency,
//! which the disk's sync decides.

#![allow(clippy::panic, reason = "a measurement that cannot go on says what it misses")]

#[path = "../tests/promise_two/ground.rs"]
mod ground;
#[path = "../tests/promise_two/recipient.rs"]
mod recipient;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ground::{Ground, INTAKE, PLAIN, Process, TUNNEL};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tasrih::demo::uploader::Uploader;

/// A real camera frame, and what is added to make it 50 KB.
const FRAME: &[u8] = include_bytes!("../policies/cases/frame.jpg");
const LARGE: usize = 50_000;
/// The smallest thing that is judged as an image.
const SMALL: usize = 200;
const CLIENTS: u8 = 4;
/// What Linux counts in towards programs (USER_HZ), whatever the kernel's own tick is.
const TICKS_PER_SECOND: u32 = 100;

/// One row of the table.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    scheme: &'static str,
    host: &'static str,
    keeps: bool,
    body: usize,
}

const KINDS: [Kind; 8] = [
    Kind { name: "forward, plain HTTP", scheme: "http", host: PLAIN, keeps: true, body: SMALL },
    Kind { name: "intercepted", scheme: "https", host: INTAKE, keeps: true, body: SMALL },
    Kind { name: "tunnel", scheme: "https", host: TUNNEL, keeps: true, body: SMALL },
    Kind { name: "forward, plain HTTP", scheme: "http", host: PLAIN, keeps: true, body: LARGE },
    Kind { name: "intercepted", scheme: "https", host: INTAKE, keeps: true, body: LARGE },
    Kind { name: "tunnel", scheme: "https", host: TUNNEL, keeps: true, body: LARGE },
    Kind { name: "intercepted, a connection each", scheme: "https", host: INTAKE, keeps: false, body: LARGE },
    Kind { name: "tunnel, a connection each", scheme: "https", host: TUNNEL, keeps: false, body: LARGE },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and `cargo nextest list` call benches, too; without this word nothing is measured.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(2_000);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(count));
}

async fn measure(count: u32) {
    let ground = Ground::lay().await;
    let mut process = Process::spawn(ground.run(), &ground.path(""));
    let proxy = process.ready().await.expect("a proxy");
    println!("{count} requests of each kind, {CLIENTS} clients at once");
    println!("{:<32} {:>8} {:>14} {:>7} {:>12}", "", "body", "CPU a request", "ratio", "requests/s");
    let mut first = None;
    for kind in KINDS {
        send_all(&ground, proxy, kind, count / 10).await;
        let (before, since) = (cpu_time(process.id()), Instant::now());
        send_all(&ground, proxy, kind, count).await;
        let each = (cpu_time(process.id()) - before) / count;
        let ratio = each.as_secs_f64() / first.get_or_insert(each).as_secs_f64().max(1e-9);
        let rate = f64::from(count) / since.elapsed().as_secs_f64();
        println!("{:<32} {:>6} B {:>11} µs {:>7.2} {:>12.0}", kind.name, kind.body, each.as_micros(), ratio, rate);
    }
    process.stop().await;
}

/// Sends `count` requests, shared between the clients.
async fn send_all(ground: &Ground, proxy: std::net::SocketAddr, kind: Kind, count: u32) {
    let target = ground.recipient(kind.host).base(kind.scheme) + "/cctv/cam1";
    let body = Bytes::from([FRAME, &[0; LARGE]].concat()).slice(..kind.body);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let share = count / u32::from(CLIENTS) + u32::from(u32::from(number) < count % u32::from(CLIENTS));
            let (client, target, body) = (ground.client(proxy, 4 + number), target.clone(), body.clone());
            tokio::spawn(async move {
                match kind.keeps {
                    true => send_over_one(&client, kind, &target, &body, share).await,
                    false => send_over_many(&client, &target, &body, share).await,
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client does not panic");
    }
}

async fn send_over_many(client: &Uploader, target: &str, body: &Bytes, count: u32) {
    for _ in 0..count {
        let reply = client.send(post(target, target, body.clone())).await.expect("a reply");
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

async fn send_over_one(client: &Uploader, kind: Kind, target: &str, body: &Bytes, count: u32) {
    let uri: http::Uri = target.parse().expect("a target");
    let (mut sender, written) = if kind.scheme == "http" {
        (handshake(client.connect().await.expect("a connection")).await, target)
    } else {
        let inside = client.tunnel(&uri).await.expect("a tunnel").expect("that is let in");
        (handshake(inside).await, uri.path())
    };
    for _ in 0..count {
        let sent = sender.send_request(post(written, target, body.clone()).map(Full::new));
        let answer = sent.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("a whole answer");
        sender.ready().await.expect("the connection is kept");
    }
}

async fn handshake<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

fn post(written: &str, target: &str, body: Bytes) -> Request<Bytes> {
    let host = target.split('/').nth(2).expect("an absolute target");
    let request = Request::post(written).header("host", host).header("content-type", "image/jpeg");
    request.body(body).expect("a request")
}

/// CPU time that a process has had so far: fields 14 and 15 of its `stat` (proc_pid_stat(5)), in ticks.
fn cpu_time(process: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process that runs");
    // The second field is the program's name, in brackets; it may have spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a stat line");
    let ticks = |place: usize| fields.split_whitespace().nth(place).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = (ticks(11).expect("utime"), ticks(12).expect("stime"));
    Duration::from_secs(user + system) / TICKS_PER_SECOND
}

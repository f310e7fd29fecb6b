//! The order of disk and network, by the system calls of the real process.
//!
//! Connections to recipients stay open and are reused, as in earnest; `verdict` counts bytes to keep exchanges apart.

use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use tasrih::demo::uploader::Uploader;

use super::FRAME;
use super::ground::{Ground, INTAKE, OLD, PLAIN, Process, TUNNEL, UNDECLARED};
use super::ledger::Ledger;
use super::unsynced;
use super::verdict::{Verdict, dialled, judge};
use super::{recipient::Visit, trace};

/// What a client does, and what must come of it.
#[derive(Clone, Copy)]
struct Step {
    scheme: &'static str,
    host: &'static str,
    body: Body,
    status: u16,
}

#[derive(Clone, Copy)]
enum Body {
    Frame,
    /// Larger than what is held in memory.
    Large,
    /// Refused when it is read, with the connection to the recipient open.
    NoJpeg,
}

/// Four clients' exchanges, sent by all four at once: 25 each that are let through, half of them over plain HTTP, and
/// refused ones between them. Tunnels are the first client's alone, so that their order is known.
fn steps(client: usize) -> Vec<Step> {
    let step = |scheme, host, body, status| Step { scheme, host, body, status };
    let plain = step("http", PLAIN, Body::Frame, 200);
    let intake = step("https", INTAKE, Body::Frame, 200);
    let old = step("https", OLD, Body::Frame, 200);
    let mut steps = Vec::new();
    for place in 0..12 {
        let wide = place % 4 == 3;
        steps.push(if wide { Step { body: Body::Large, ..plain } } else { plain });
        steps.push(match (wide, client) {
            (true, 0) => step("https", TUNNEL, Body::Frame, 200),
            (true, _) => old,
            (false, _) if place == 5 => Step { body: Body::Large, ..intake },
            (false, _) => intake,
        });
        match place {
            2 => steps.push(Step { body: Body::NoJpeg, status: 403, ..plain }),
            6 => steps.push(Step { body: Body::NoJpeg, status: 403, ..intake }),
            9 => steps.push(step("https", UNDECLARED, Body::Frame, 403)),
            _ => {}
        }
    }
    // 24 so far; the 25th makes fifty and fifty of all four.
    steps.push(if client.is_multiple_of(2) { plain } else { intake });
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_leaves_before_the_sync_of_its_record_has_returned() {
    let ground = Ground::lay().await;
    let verdict = trace_over(&ground, ground.run()).await;
    assert!(verdict.breaches.is_empty(), "{} breaches: {:#?}", verdict.breaches.len(), verdict.breaches);
    assert_eq!(verdict.exchanges, 100);
    assert!(verdict.bytes > 100 * FRAME.len() as u64, "only {} bytes were judged", verdict.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_never_synced_is_caught() {
    let ground = Ground::lay().await;
    let verdict = trace_over(&ground, unsynced::command(&ground, unsynced::Fault::Never)).await;
    let caught = verdict.breaches.iter().filter(|breach| breach.contains("no sync covers record")).count();
    assert!(caught >= 100, "only {caught} of {:#?}", verdict.breaches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_covers_only_what_came_before_is_caught() {
    let ground = Ground::lay().await;
    let verdict = trace_over(&ground, unsynced::command(&ground, unsynced::Fault::Behind)).await;
    assert!(verdict.breaches.len() >= 100, "only {:#?}", verdict.breaches);
}

/// Runs a proxy under strace, sends everything through it, stops it, and judges.
async fn trace_over(ground: &Ground, command: Command) -> Verdict {
    let file = ground.path("trace");
    let mut process = Process::spawn(under_strace(&command, &file), &ground.path(""));
    let proxy = match process.ready().await {
        Ok(proxy) => proxy,
        Err(said) => panic!("no proxy under strace; may processes be traced here (ptrace, CAP_SYS_PTRACE)? {said}"),
    };
    let (one, two, three, four) =
        tokio::join!(send(ground, proxy, 0), send(ground, proxy, 1), send(ground, proxy, 2), send(ground, proxy, 3));
    let refused = [one, two, three, four].concat();
    assert!(refused.is_empty(), "unexpected replies: {refused:#?}");
    assert!(process.stop().await.success(), "an orderly stop");

    let calls = trace::read(&std::fs::read_to_string(&file).expect("a trace")).expect("a trace that can be read");
    let ledger = Ledger::read(&ground.state(), &calls).expect("a ledger");
    let mut books: Vec<(_, Vec<Visit>)> = Vec::new();
    for recipient in &ground.recipients {
        books.push((recipient, recipient.close_book().await));
    }
    let undeclared = ground.recipient(UNDECLARED).address.port();
    assert!(dialled(&calls).all(|port| port != undeclared), "the undeclared host was connected to");
    let reused = books.iter().flat_map(|(_, visits)| visits).filter(|visit| visit.requests.len() > 1).count();
    assert!(reused > 0, "no connection was reused, which is part of what is judged here");
    let arrived = |plain: bool| {
        let books = books.iter().filter(move |(recipient, _)| (recipient.host == PLAIN) == plain);
        books.flat_map(|(_, visits)| visits).map(|visit| visit.requests.len()).sum::<usize>()
    };
    assert_eq!((arrived(true), arrived(false)), (50, 50), "requests over plain HTTP, and over TLS");
    judge(&calls, &ledger, &books, TUNNEL).expect("recipients and trace agree")
}

/// The command with every thread traced. The shell tells the id of the process that it becomes.
fn under_strace(command: &Command, file: &std::path::Path) -> Command {
    let installed = Command::new("strace").arg("--version").output();
    assert!(installed.is_ok(), "strace is not installed; tests/run installs it (apt-get install strace)");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-yy", "-s", "0", "--seccomp-bpf", "-e", "signal=none", "-e", trace::CALLS, "-o"]).arg(file);
    traced.args(["sh", "-c", "echo pid $$; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        traced.env(name, value.expect("nothing is taken away"));
    }
    traced
}

/// Sends a client's exchanges one after another; gives the replies that are not as they must be.
async fn send(ground: &Ground, proxy: SocketAddr, client: usize) -> Vec<String> {
    // Two addresses of each source: connections are shared within a source only.
    let uploader = ground.client(proxy, [4, 5, 8, 9][client]);
    let mut unexpected = Vec::new();
    for step in steps(client) {
        let reply = uploader_send(&uploader, ground, step).await;
        if reply != Ok(step.status) {
            unexpected.push(format!("{}://{}: {reply:?} and not {}", step.scheme, step.host, step.status));
        }
    }
    unexpected
}

async fn uploader_send(uploader: &Uploader, ground: &Ground, step: Step) -> Result<u16, String> {
    let target = ground.recipient(step.host).base(step.scheme) + "/cctv/cam1";
    let body = match step.body {
        Body::Frame => Bytes::from_static(FRAME),
        Body::Large => [FRAME, &[0; 1_500_000]].concat().into(),
        Body::NoJpeg => Bytes::from_static(b"this is no jpeg"),
    };
    let request = Request::post(target).header("content-type", "image/jpeg").body(body).expect("a request");
    uploader.send(request).await.map(|reply| reply.status).map_err(|fault| fault.to_string())
}

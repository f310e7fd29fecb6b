//! The process under a limit of file descriptors: clients wait, the reserve keeps log and admin listener, and it goes on.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::ground::{Ground, Listening, PLAIN, Process};
use super::support::series;
use super::support::wire::dial;

/// The same command under this limit of descriptors, soft and hard.
fn limited(run: &Command, descriptors: u64) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(run.get_program()).args(run.get_args());
    command
}

pub async fn scrape(listening: Listening) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(listening.admin).await.expect("the admin listener answers");
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", listening.admin);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    text
}

pub async fn until_series(listening: Listening, name: &str, parts: &[&str], is: impl Fn(u64) -> bool) -> u64 {
    let mut last = 0;
    for _ in 0..1_200 {
        last = series(&scrape(listening).await, name, parts);
        if is(last) {
            return last;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("in vain waited for {name} {parts:?}, it is {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_wait_while_only_the_reserve_is_left() {
    let ground = Ground::lay("PT5S").await;
    let mut proxy = Process::spawn(limited(&ground.run(), 128), ground.folder.path());
    let listening = proxy.ready().await;
    assert!(proxy.log().contains("too few file descriptors for all connections"), "{}", proxy.log());

    // More than there are descriptors, and none of them says anything.
    let mut crowd = Vec::new();
    for last in 0..150 {
        crowd.push(dial([127, 0, 1, 1 + last % 50].into(), listening.proxy).await);
    }
    let failed = until_series(listening, "tasrih_accept_failures_total", &["descriptors"], |count| count > 0).await;
    let open = series(&scrape(listening).await, "process_open_fds", &[]);
    assert!(open < 128 - 16, "{open} descriptors are open, {failed} times a client had to wait");

    let client = ground.client(listening.proxy);
    let request = ground.frame();
    let mut upload = tokio::spawn(async move { client.send(request).await });
    assert!(timeout(Duration::from_millis(500), &mut upload).await.is_err(), "it waits, and is not refused");
    drop(crowd);
    let reply = timeout(Duration::from_secs(20), upload).await.expect("in time").expect("no panic").expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(ground.plain.requests().len(), 1);
    let told = proxy.log().matches("connections cannot be accepted now").count();
    assert!((1..=25).contains(&told), "told {told} times:\n{}", proxy.log());
    proxy.signal(rustix::process::Signal::TERM);
    proxy.ended().await;
    assert_eq!(ground.ends(), ["answered"]);
    assert!(ground.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accept_loop_survives_a_full_table() {
    let ground = Ground::lay("PT5S").await;
    let mut proxy = Process::spawn(ground.run(), ground.folder.path());
    let listening = proxy.ready().await;
    let process = i32::try_from(proxy.id()).ok().and_then(Pid::from_raw);
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Fewer than it has already: no descriptor at all can be had.
    let before = prlimit(process, Resource::Nofile, Rlimit { current: Some(4), maximum }).expect("our own child");
    let client = ground.client(listening.proxy);
    let request = ground.frame();
    let mut upload = tokio::spawn(async move { client.send(request).await });
    assert!(timeout(Duration::from_millis(700), &mut upload).await.is_err(), "nobody can be accepted");
    prlimit(process, Resource::Nofile, before).expect("our own child");
    let reply = timeout(Duration::from_secs(20), upload).await.expect("in time").expect("no panic").expect("a reply");
    assert_eq!(reply.status, 200, "{PLAIN}");
    let failed = series(&scrape(listening).await, "tasrih_accept_failures_total", &["descriptors"]);
    assert!(failed > 0, "counted by its kind");
    assert!(proxy.log().contains("connections cannot be accepted now"), "{}", proxy.log());
    proxy.signal(rustix::process::Signal::TERM);
    proxy.ended().await;
    assert_eq!(ground.ends(), ["answered"]);
}

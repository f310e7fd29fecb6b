//! The process is replaced while clients go on sending: with a socket that the service manager holds, their connection
//! attempts wait, and none fails.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ground::{Ground, Process, output};

/// Starts `command` as systemd would: `socket` as descriptor 3, announced to this process id.
fn activated(command: &Command, ground: &Ground, socket: &TcpListener) -> Process {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let handed = OwnedFd::from(socket.try_clone().expect("a second descriptor"));
    Process::spawn_with(shell, ground.folder.path(), Stdio::from(handed))
}

/// What a client saw.
#[derive(Debug, Default)]
struct Load {
    answered: usize,
    failures: Vec<String>,
    longest: Duration,
}

async fn load(ground: Arc<Ground>, proxy: std::net::SocketAddr, over: Arc<AtomicBool>) -> Load {
    let client = ground.client(proxy);
    let mut load = Load::default();
    while !over.load(Ordering::Acquire) {
        let begun = Instant::now();
        match client.send(ground.frame()).await {
            Ok(reply) if reply.status == 200 => load.answered += 1,
            Ok(reply) => load.failures.push(format!("{} {:?}", reply.status, reply.headers)),
            Err(fault) => load.failures.push(fault.to_string()),
        }
        load.longest = load.longest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_attempts_wait_while_the_process_is_replaced() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = socket.local_addr().expect("bound");
    let ground = Arc::new(Ground::lay_at(proxy, "PT10S").await);
    let mut first = activated(&ground.run(), &ground, &socket);
    assert_eq!(first.ready().await.proxy, proxy);

    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(ground.clone(), proxy, over.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;

    // Overlapping: the successor is there before the predecessor is asked to go.
    let mut second = activated(&ground.run(), &ground, &socket);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(second.log().contains("waiting for its end"), "{}", second.log());
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await.0.code(), Some(0), "{}", first.log());
    second.ready().await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    // One after the other, as `systemctl restart` does it.
    second.signal(Signal::TERM);
    assert_eq!(second.ended().await.0.code(), Some(0), "{}", second.log());
    let mut third = activated(&ground.run(), &ground, &socket);
    third.ready().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::Release);

    let (mut answered, mut longest) = (0, Duration::ZERO);
    for client in clients {
        let load = client.await.expect("no panic");
        assert!(load.failures.is_empty(), "{:?}", load.failures);
        answered += load.answered;
        longest = longest.max(load.longest);
    }
    eprintln!("{answered} exchanges over two restarts, none failed; longest wait {longest:?}");
    assert!(answered > 50, "too little load to tell: {answered}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert_eq!(ground.plain.requests().len(), answered, "each was delivered once");
    third.signal(Signal::TERM);
    assert_eq!(third.ended().await.0.code(), Some(0));
    assert_eq!(ground.ends().iter().filter(|end| *end == "answered").count(), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manager_a_held_folder_refuses_at_once_or_after_the_wait_asked_for() {
    let ground = Ground::lay("PT5S").await;
    let mut holder = Process::spawn(ground.run(), ground.folder.path());
    holder.ready().await;

    let begun = Instant::now();
    let refused = output(ground.run()).await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("another process uses the state folder") && !told.contains("waiting"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(3));

    let mut waiting = ground.run();
    waiting.args(["--wait", "1500ms"]);
    let begun = Instant::now();
    let refused = output(waiting).await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("waiting for its end") && told.contains("another process uses the state folder"), "{told}");
    assert!(begun.elapsed() >= Duration::from_millis(1500));

    let mut waiting = ground.run();
    waiting.args(["--wait", "PT30S"]);
    let mut waiting = Process::spawn(waiting, ground.folder.path());
    tokio::time::sleep(Duration::from_millis(300)).await;
    holder.signal(Signal::TERM);
    assert_eq!(holder.ended().await.0.code(), Some(0));
    waiting.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_can_be_stopped() {
    let ground = Ground::lay("PT5S").await;
    let mut holder = Process::spawn(ground.run(), ground.folder.path());
    holder.ready().await;
    let mut command = ground.run();
    command.args(["--wait", "PT50S"]);
    let mut waiting = Process::spawn(command, ground.folder.path());
    super::ground::until("it waits", || waiting.log().contains("waiting for its end")).await;
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.ended().await.0.code(), Some(0));
    assert!(!holder.has_ended() && !ground.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_no_listener_names_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    let ground = Ground::lay("PT5S").await;
    let mut process = activated(&ground.run(), &ground, &socket);
    assert_eq!(process.ended().await.0.code(), Some(2));
    let log = process.log();
    assert!(log.contains(&format!("a socket that listens on {address}")), "{log}");
}

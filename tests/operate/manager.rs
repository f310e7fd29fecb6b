//! What the service manager is told (`sd_notify(3)`), at a socket that a test holds in its place.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ground::{Ground, Process};

/// The manager's ear.
struct Ear(UnixDatagram);

impl Ear {
    /// The next message within `time`.
    fn next(&self, time: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(time)).expect("a time");
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next message that says `what`.
    fn hears(&self, what: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(message) = self.next(Duration::from_secs(1)).filter(|message| message.contains(what)) {
                return message;
            }
        }
        panic!("`{what}` was never said");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_hears_ready_the_watchdog_and_the_stop() {
    let ground = Ground::lay("PT5S").await;
    let ear = Ear(UnixDatagram::bind(ground.path("notify")).expect("a socket"));
    let mut command = ground.run();
    command.env("NOTIFY_SOCKET", ground.path("notify")).env("WATCHDOG_USEC", "400000");
    let mut process = Process::spawn(command, ground.folder.path());
    assert!(ear.hears("STATUS=opening the log").starts_with("STATUS="), "nothing is ready before the log is open");
    let ready = ear.hears("READY=1");
    let proxy = process.ready().await.proxy;
    assert!(ready.contains("STATUS=register ") && ready.contains(&format!("on {proxy}")), "{ready}");
    for _ in 0..3 {
        ear.hears("WATCHDOG=1");
    }

    // A process that hangs says nothing, and that is what the watchdog is for.
    process.signal(Signal::STOP);
    while ear.next(Duration::from_millis(100)).is_some() {}
    assert_eq!(ear.next(Duration::from_secs(1)), None);
    process.signal(Signal::CONT);
    ear.hears("WATCHDOG=1");

    process.signal(Signal::TERM);
    let stopping = ear.hears("STOPPING=1");
    assert!(stopping.contains("STATUS=finishing open exchanges, at most 5 s"), "{stopping}");
    assert_eq!(process.ended().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_cannot_be_told_stops_nothing() {
    let ground = Ground::lay("PT5S").await;
    let mut command = ground.run();
    command.env("NOTIFY_SOCKET", ground.path("nobody"));
    let mut process = Process::spawn(command, ground.folder.path());
    let proxy = process.ready().await.proxy;
    assert_eq!(ground.client(proxy).send(ground.frame()).await.expect("a reply").status, 200);
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0));
    assert!(process.log().contains("the service manager cannot be told"), "{}", process.log());
}

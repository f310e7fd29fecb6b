//! Real disks under the real proxy: full and freed, read-only, slow, failing. Each time what recipients saw is compared
//! with the log, exchanges before and after pass, and log, metric and `/readyz` name the cause.

use std::time::{Duration, Instant};

use super::ground::{Ground, Process};
use super::injection::{Fault, Injection, delay_writer};
use super::tally::Tally;
use super::volume::Volume;

/// Enough for a few thousand records.
const BYTES: u64 = 32 << 20;

/// A ground whose state lies on a file system of its own.
async fn on_volume() -> Option<(Volume, Ground)> {
    let ground = Ground::lay().await;
    let volume = Volume::mount(ground.path("disk.img"), ground.state(), BYTES)?;
    ground.bound_disk("4MiB", "64MiB");
    Some((volume, ground))
}

async fn started(ground: &Ground) -> (Process, std::net::SocketAddr) {
    let mut process = Process::spawn(ground.run(), &ground.path(""));
    let proxy = process.ready().await.unwrap_or_else(|said| panic!("no proxy: {said}"));
    (process, proxy)
}

/// All of a round: two clients, four exchanges each that pass and two that are refused for what they are.
async fn passes(ground: &Ground, proxy: std::net::SocketAddr, tally: &mut Tally) {
    let before = (tally.answered, tally.refused);
    tally.send(ground, proxy).await;
    assert_eq!((tally.answered - before.0, tally.refused - before.1), (8, 4), "{tally:?}");
}

/// None of a round.
async fn refuses(ground: &Ground, proxy: std::net::SocketAddr, tally: &mut Tally) {
    let before = (tally.answered, tally.refused, tally.unavailable);
    tally.send(ground, proxy).await;
    assert_eq!((tally.answered, tally.refused), (before.0, before.1), "{tally:?}");
    // A tunnel that cannot be recorded may be refused after its 200, which shows as a broken connection.
    assert!(tally.unavailable - before.2 >= 10, "{tally:?}");
}

/// Log, metric and `/readyz` name the cause, and `/readyz` what to do.
async fn names(process: &Process, cause: &str, remedy: &str) {
    let ready = process.page("/readyz").await.expect("an answer");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(&format!("\"cause\":\"{cause}\"")), "{ready}");
    assert!(ready.contains(remedy), "{ready}");
    let metrics = process.page("/metrics").await.expect("metrics");
    assert!(metrics.contains(&format!("tasrih_record_fault{{cause=\"{cause}\"}} 1")), "{cause}");
    assert!(metrics.contains("tasrih_record_available 0"), "{cause}");
    assert!(process.log().contains(&format!("cause=\"{cause}\"")), "{}", process.log());
}

async fn until_ready(process: &Process) {
    for _ in 0..200 {
        if process.page("/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not mend itself: {:?}", process.page("/readyz").await);
}

/// Waits until every decision has its outcome, durably.
async fn until_closed(process: &Process) {
    for _ in 0..200 {
        let metrics = process.page("/metrics").await.expect("metrics");
        if metrics.lines().any(|line| line == "tasrih_record_open_decisions 0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("decisions stay open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_a_freed_one_is_used_again_without_a_restart() {
    let Some((volume, ground)) = on_volume().await else { return };
    let (mut process, proxy) = started(&ground).await;
    let mut tally = Tally::default();
    passes(&ground, proxy, &mut tally).await;
    // Once down into the reserve, once to the last byte.
    for left in [3 << 20, 0] {
        let ballast = volume.fill(left);
        refuses(&ground, proxy, &mut tally).await;
        names(&process, "no-room", "no restart is needed").await;
        std::fs::remove_file(ballast).expect("freed");
        until_ready(&process).await;
        passes(&ground, proxy, &mut tally).await;
    }
    assert!(process.log().contains("there is room for records again"), "{}", process.log());
    assert!(process.stop().await.success());
    tally.collect(&ground).await;
    tally.compare(&ground, "a full disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_when_the_disk_fills_up_gets_its_outcome() {
    let Some((volume, ground)) = on_volume().await else { return };
    let (mut process, proxy) = started(&ground).await;
    let mut tally = Tally::default();
    // The decision is on record and its outcome is not, for as long as the writer's next sync takes.
    let tracer = delay_writer(&process, "fdatasync", Duration::from_millis(300), &ground.path("trace")).await;
    let fill = async {
        // A request has arrived: its decision is on record, and its outcome has a sync before it.
        while ground.recipients.iter().all(|it| it.visits().iter().all(|visit| visit.requests.is_empty())) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        volume.fill(0)
    };
    let (ballast, ()) = tokio::join!(fill, tally.send(&ground, proxy));
    drop(tracer);
    assert!(tally.answered > 0 && tally.unavailable > 0, "the disk fills up in between: {tally:?}");
    std::fs::remove_file(ballast).expect("freed");
    until_ready(&process).await;
    assert!(process.stop().await.success());
    tally.collect(&ground).await;
    // It asks for an outcome of each decision; that none of them had to wait for a restart is asked here.
    tally.compare(&ground, "a disk that fills up");
    assert!(!tally.is_any_interrupted(&ground), "an outcome found no room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_latches_and_a_restart_goes_on_where_it_ended() {
    let Some((volume, ground)) = on_volume().await else { return };
    let (mut process, proxy) = started(&ground).await;
    let mut tally = Tally::default();
    passes(&ground, proxy, &mut tally).await;
    // A sync that is under way would fail as one of a disk that fails: EIO.
    until_closed(&process).await;
    volume.turn_read_only();
    refuses(&ground, proxy, &mut tally).await;
    names(&process, "latched-erofs", "then restart").await;
    refuses(&ground, proxy, &mut tally).await;
    assert!(process.stop().await.success(), "a latched log is no reason not to stop in order");
    // On the read-only disk it does not start, and says why.
    let mut again = Process::spawn(ground.run(), &ground.path(""));
    let said = again.ready().await.expect_err("it starts on a read-only disk");
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(again.wait().await.code(), Some(2));
    volume.mend();
    let (mut process, proxy) = started(&ground).await;
    passes(&ground, proxy, &mut tally).await;
    assert!(process.stop().await.success());
    tally.collect(&ground).await;
    tally.compare(&ground, "a read-only disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_slow_disk_exchanges_wait_and_nothing_leaves_before_its_record() {
    let ground = Ground::lay().await;
    let (mut process, proxy) = started(&ground).await;
    let mut tally = Tally::default();
    let slow = Duration::from_secs(2);
    let tracer = delay_writer(&process, "fdatasync", slow, &ground.path("trace")).await;
    let (begun, mut quick) = (Instant::now(), Tally::default());
    let watched = async {
        // Well before the first sync can have returned.
        tokio::time::sleep(slow / 2).await;
        let seen: usize = ground.recipients.iter().flat_map(|it| it.visits()).map(|visit| visit.requests.len()).sum();
        (seen, begun.elapsed())
    };
    let ((seen, at), ()) = tokio::join!(watched, quick.send(&ground, proxy));
    assert!(at >= slow || seen == 0, "{seen} requests arrived before a sync could have returned");
    assert!(begun.elapsed() >= slow * 2, "a client waits for the records of its exchanges");
    assert_eq!((quick.answered, quick.refused), (8, 4), "all of them pass: {quick:?}");
    drop(tracer);
    until_ready(&process).await;
    passes(&ground, proxy, &mut tally).await;
    assert!(process.stop().await.success());
    let mut all = quick;
    all.merge(tally);
    all.collect(&ground).await;
    all.compare(&ground, "a slow disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_latches_although_it_answers_again_until_a_restart() {
    let ground = Ground::lay().await;
    let (mut process, proxy) = started(&ground).await;
    let mut tally = Tally::default();
    passes(&ground, proxy, &mut tally).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let once = Injection { call: "fdatasync", fault: Fault::Fails("EIO"), when: "1" };
    let tracer = once.on_writer(&process, &ground.path("trace"), &[]).await;
    refuses(&ground, proxy, &mut tally).await;
    assert!(once.happened(&ground.path("trace")));
    drop(tracer);
    refuses(&ground, proxy, &mut tally).await;
    names(&process, "latched-eio", "then restart").await;
    assert!(process.stop().await.success());
    let (mut process, proxy) = started(&ground).await;
    passes(&ground, proxy, &mut tally).await;
    assert!(process.stop().await.success());
    tally.collect(&ground).await;
    tally.compare(&ground, "a failing disk");
}

//! The real process with the machine's clock set (faketime): a restart with the wall clock behind the newest record.

use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;

use super::ground::{Ground, Process};

/// The command with its wall clock moved by `offset`; the monotonic clock stays. Without faketime's own process in
/// between, so that signals reach the proxy.
fn moved(mut command: Command, offset: &str) -> Command {
    let library = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output();
    let library = library.expect("`faketime` cannot be run: install it (Debian: faketime), as tests/run does");
    let library = String::from_utf8(library.stdout).expect("a path");
    command.env("LD_PRELOAD", library.trim()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

/// Runs a process to its stop; sends a frame in between. Gives its scrape of the metrics.
async fn send_under(ground: &Ground, command: Command) -> String {
    let mut process = Process::spawn(command, ground.folder.path());
    let listening = process.ready().await;
    let reply = ground.client(listening.proxy).send(ground.frame()).await.expect("a reply");
    assert_eq!(reply.status, 200, "a legal upload goes on: {reply:?}");
    let mut curl = Command::new("curl");
    curl.args(["-s", &format!("http://{}/metrics", listening.admin)]);
    let metrics = String::from_utf8(super::ground::output(curl).await.stdout).expect("metrics");
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    metrics
}

fn ahead(metrics: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with("tasrih_clock_ahead_seconds ")).expect("the series");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_the_clock_behind_the_newest_record_goes_on_from_that_record() {
    let ground = Ground::lay("PT2S").await;
    let first = send_under(&ground, moved(ground.run(), "+7200s")).await;
    assert!(ahead(&first) < 60.0, "nothing is behind yet");
    let newest = times(&ground).last().copied().expect("records");
    // As far back as the authority's certificate is valid, which a start wants by the machine's clock.
    let second = send_under(&ground, moved(ground.run(), "-10800s")).await;
    assert!((17_700.0..=18_100.0).contains(&ahead(&second)), "{}", ahead(&second));
    let third = send_under(&ground, ground.run()).await;
    assert!((6_900.0..=7_300.0).contains(&ahead(&third)), "{}", ahead(&third));

    let times = times(&ground);
    assert!(times.is_sorted(), "the log's time goes back: {times:?}");
    let last = times.last().copied().expect("records");
    assert!(last.duration_since(newest) < SignedDuration::from_mins(5), "time ran on from the newest record");
    assert_eq!(ground.ends(), ["answered"; 3]);
}

fn times(ground: &Ground) -> Vec<Timestamp> {
    let records = ground.records();
    records
        .iter()
        .map(|record| record["time_dt"].as_str().and_then(|time| time.parse().ok()).expect("a time"))
        .collect()
}

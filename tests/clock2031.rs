//! Nothing depends on today's date: the shipped policies and their cases with the machine's clock in 2031, and the proxy
//! over a midnight and over the end of a filing's last day. `steps`: the wall clock is set. `days`: days of 23 and 25 hours.
//! `validity`: what is under way when a filing ends, and what begins.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

#[path = "clock2031/days.rs"]
mod days;
#[path = "clock2031/house.rs"]
mod house;
#[path = "clock2031/steps.rs"]
mod steps;
mod support;
#[path = "clock2031/validity.rs"]
mod validity;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use support::{Plan, Site, UPLOADER, frame, reason_of};
use tasrih::clock::ManualClock;

/// Runs the program with the machine's clock set.
fn in_2031(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("faketime");
    command.arg("2031-05-02 10:00:00").arg(env!("CARGO_BIN_EXE_tasrih")).args(arguments).current_dir(root);
    command.output().expect("`faketime` cannot be run: install it (Debian: faketime), as tests/run does")
}

fn succeeds(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    format!("{out}{err}")
}

#[test]
fn the_clock_is_really_set() {
    let output = Command::new("faketime").args(["2031-05-02 10:00:00", "date", "+%Y"]).output();
    let output = output.expect("`faketime` cannot be run: install it (Debian: faketime), as tests/run does");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2031");
}

#[test]
fn the_shipped_policies_are_sound_in_2031() {
    succeeds(&in_2031(&["check", "policies"]));
}

#[test]
fn the_shipped_cases_are_decided_the_same_in_2031() {
    let told = succeeds(&in_2031(&["test", "policies"]));
    let mut today = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    let today = today.args(["test", "policies"]).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it runs");
    assert_eq!(told, succeeds(&today), "the same words, whatever the year");
}

const REGISTER: &str = concat!(
    include_str!("support/case.yaml"),
    r"sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
recipients:
  - {id: ministry, name: Ministry, country: FR, destinations: [{host: plain.example, scheme: http, port: {port:plain.example}}]}
transfers:
  - id: frames
    processing: cctv
    from: [uploader]
    to: ministry
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_until: 2031-05-03}
    limits: {min_interval: PT5M, max_per_day: 3}
"
);

/// The first moment of a day in the controller's time zone, as the bundled zones have it: Morocco moved to UTC in 2026.
fn midnight(day: jiff::civil::Date) -> jiff::Timestamp {
    let zone = jiff::tz::TimeZone::get("Africa/Casablanca").expect("the zones are bundled");
    zone.to_timestamp(day.at(0, 0, 0, 0)).expect("a moment")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_over_midnight_and_over_the_last_day() {
    let (third, fourth) = (midnight(jiff::civil::date(2031, 5, 3)), midnight(jiff::civil::date(2031, 5, 4)));
    let clock = Arc::new(ManualClock::at(third - jiff::SignedDuration::from_mins(20)));
    let plan = Plan::new(REGISTER).site("plain.example", Site::Plain).clock(clock.clone());
    let house = plan.build().await;
    let beat = || async {
        let reply = house.send(UPLOADER, frame(house.base("http", "plain.example") + "/")).await;
        clock.advance(Duration::from_secs(300));
        (reply.status, reply.proxy_status("reason").unwrap_or_default())
    };
    let passes = (200, String::new());
    for before in [20, 15, 10] {
        assert_eq!(beat().await, passes, "{before} minutes before midnight, the day's first three");
    }
    assert_eq!(beat().await, (429, "day-limit".into()), "five minutes before midnight, the fourth");
    for after in [0, 5, 10] {
        assert_eq!(beat().await, passes, "{after} minutes after midnight, the next day's");
    }
    // The last day ends at the controller's midnight, to the second.
    clock.set_wall(fourth - jiff::SignedDuration::from_secs(60));
    assert_eq!(beat().await, (429, "day-limit".into()), "still valid, and the day is full");
    clock.set_wall(fourth);
    assert_eq!(beat().await, (403, "expired".into()));
    let reasons: Vec<_> = house.decisions().iter().map(|record| reason_of(record).to_owned()).collect();
    assert_eq!(
        reasons,
        ["permit", "permit", "permit", "day-limit", "permit", "permit", "permit", "day-limit", "expired"]
    );
    assert_eq!(house.recipient("plain.example").requests().len(), 6);
}

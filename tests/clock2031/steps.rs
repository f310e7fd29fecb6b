//! Steps of the wall clock, both ways: decisions never run behind the newest record, legal uploads go on, limits keep
//! their meaning, and the step is on record within seconds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::house::{limited, local, send, time_of, until_step};
use crate::support::{House, series};

const ZONE: &str = "Africa/Casablanca";

fn noon() -> Timestamp {
    local(ZONE, "2025-05-14T12:00:00")
}

async fn gauge(house: &House, name: &str) -> f64 {
    let scrape = house.metrics().await;
    let line = scrape.lines().find(|line| line.starts_with(&format!("{name} "))).expect("the series");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_recorded_and_counted_and_decisions_never_run_behind_the_newest_record() {
    const HOUR: i64 = 3_600;
    for step in [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, -10 * 365 * 24 * HOUR] {
        let (house, clock) = limited(ZONE, "limits: {max_per_day: 100}", noon()).await;
        assert_eq!(send(&house).await, "permit");
        clock.set_wall(noon() + SignedDuration::from_secs(step));
        assert_eq!(until_step(&house).await, step);
        clock.advance(Duration::from_secs(5));
        assert_eq!(send(&house).await, "permit", "a legal upload goes on after a step by {step} s");
        let metrics = house.metrics().await;
        assert_eq!(series(&metrics, "tasrih_clock_steps_total", &[]), 1, "{step}");
        // Behind the newest record time runs on at the monotonic clock's pace.
        let ahead = if step < 0 { -step } else { 0 };
        assert_eq!(gauge(&house, "tasrih_clock_ahead_seconds").await, ahead as f64, "{step}");
        let times: Vec<Timestamp> = house.records().iter().map(time_of).collect();
        assert!(times.is_sorted(), "{step}: {times:?}");
        let expected = noon() + SignedDuration::from_secs(step.max(0) + 5);
        assert_eq!(time_of(house.decisions().last().expect("a decision")), expected, "{step}");
        // The wall clock catches up, and is what counts again.
        let caught_up = noon() + SignedDuration::from_hours(48);
        clock.set_wall(caught_up);
        assert_eq!(send(&house).await, "permit");
        assert_eq!(time_of(house.decisions().last().expect("a decision")), caught_up);
        assert_eq!(gauge(&house, "tasrih_clock_ahead_seconds").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn less_than_a_minute_is_no_step() {
    let (house, clock) = limited(ZONE, "limits: {max_per_day: 100}", noon()).await;
    clock.set_wall(noon() + SignedDuration::from_secs(59));
    assert_eq!(send(&house).await, "permit");
    // The clock is looked at each second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    clock.set_wall(noon() + SignedDuration::from_secs(59 + 61));
    assert_eq!(until_step(&house).await, 61, "the first was none");
    assert_eq!(series(&house.metrics().await, "tasrih_clock_steps_total", &[]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_back_gives_no_limit_a_second_time() {
    let (house, clock) = limited(ZONE, "limits: {min_interval: PT5M, max_per_day: 2}", noon()).await;
    assert_eq!(send(&house).await, "permit");
    clock.set_wall(noon() + SignedDuration::from_hours(1));
    assert_eq!(send(&house).await, "permit");
    clock.set_wall(noon());
    assert_eq!(send(&house).await, "too-frequent", "time stands where the newest record is");
    clock.advance(Duration::from_secs(300));
    assert_eq!(send(&house).await, "day-limit", "the interval has passed, and the day is full");
    clock.set_wall(noon() - SignedDuration::from_hours(24));
    assert_eq!(send(&house).await, "day-limit", "yesterday's allowance is not to be had today");
    // A day later by the monotonic clock alone.
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(send(&house).await, "permit");
}

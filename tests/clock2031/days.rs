//! Days of 23 and 25 hours through the whole proxy: in Paris clocks change for the summer, in Casablanca for the month of
//! Ramadan, in which Morocco leaves UTC+1.

use jiff::SignedDuration;

use super::house::{limited, local, send};

/// A zone, a day with a change of clocks, its hours, and how many of `max_per_day: 24` it allows.
const CHANGES: [(&str, &str, i64, usize); 4] = [
    ("Europe/Paris", "2025-03-30", 23, 24),
    ("Europe/Paris", "2024-10-27", 25, 25),
    ("Africa/Casablanca", "2025-02-23", 25, 25),
    ("Africa/Casablanca", "2025-04-06", 23, 24),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_beat_an_hour_passes_before_on_and_after_a_day_whose_clocks_change() {
    for (zone, day, hours, _) in CHANGES {
        let start = local(zone, &format!("{day}T00:00:00"));
        let before = start - SignedDuration::from_hours(24);
        let (house, clock) = limited(zone, "limits: {min_interval: PT1H, max_per_day: 24}", before).await;
        for hour in 0..24 + hours + 24 {
            clock.set_wall(before + SignedDuration::from_hours(hour));
            assert_eq!(send(&house).await, "permit", "{zone} {day}, hour {hour} since the day before began");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_allows_a_twenty_fourth_more_for_its_25th_hour_and_ends_at_its_own_midnight() {
    for (zone, day, hours, allowed) in CHANGES {
        let start = local(zone, &format!("{day}T00:00:00"));
        let (house, clock) = limited(zone, "limits: {max_per_day: 24}", start).await;
        for count in 1..=allowed {
            assert_eq!(send(&house).await, "permit", "{zone} {day}, number {count}");
        }
        assert_eq!(send(&house).await, "day-limit", "{zone} {day}, one more than {allowed}");
        clock.set_wall(start + SignedDuration::from_hours(hours) - SignedDuration::from_secs(1));
        assert_eq!(send(&house).await, "day-limit", "{zone} {day}, its last second");
        clock.set_wall(start + SignedDuration::from_hours(hours));
        assert_eq!(send(&house).await, "permit", "{zone}, the day after {day}");
    }
}

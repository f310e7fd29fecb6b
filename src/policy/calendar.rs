//! Days as the controller's time zone has them: which one a moment lies in, how long it is, when it ends.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Hours of an ordinary day, in seconds: what a declared `max_per_day` was thought for.
const ORDINARY_DAY: u64 = 24 * 3600;

/// The moment of a decision, and the day that it lies in. What is asked of that day again and again (by every limit of
/// every candidate, at the head and for the body) is found once.
#[derive(Clone, Debug)]
pub(super) struct Today {
    /// The moment.
    pub time: Timestamp,
    /// Its day in the zone.
    pub date: Date,
    zone: TimeZone,
    length: OnceLock<u64>,
}

impl Today {
    /// The day of `time` in `zone`.
    pub(super) fn at(time: Timestamp, zone: TimeZone) -> Today {
        Today { time, date: day_of(time, &zone), zone, length: OnceLock::new() }
    }

    /// What a limit for a day allows on `day`, today or another.
    pub(super) fn allows(&self, day: Date, limit: u64) -> u64 {
        let length = match day == self.date {
            true => *self.length.get_or_init(|| length_of(day, &self.zone)),
            false => length_of(day, &self.zone),
        };
        grown(limit, length)
    }

    /// How long from the moment to the end of its day.
    pub(super) fn until_midnight(&self) -> Duration {
        between(self.time, start_of(day_after(self.date), &self.zone))
    }
}

/// The calendar day of `time` in `zone`.
pub(super) fn day_of(time: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(time).date()
}

/// The day after; the last day of the calendar is followed by itself.
pub(super) fn day_after(day: Date) -> Date {
    day.saturating_add(1.day())
}

/// From midnight to midnight, in seconds.
fn length_of(day: Date, zone: &TimeZone) -> u64 {
    between(start_of(day, zone), start_of(day_after(day), zone)).as_secs()
}

/// What a limit for a day allows on a day of so many seconds: a longer day (25 hours, when clocks go back) has its part
/// more, a shorter one has the whole.
fn grown(limit: u64, length: u64) -> u64 {
    let grown = u128::from(limit) * u128::from(length.max(ORDINARY_DAY)) / u128::from(ORDINARY_DAY);
    u64::try_from(grown).unwrap_or(u64::MAX)
}

/// From the earlier to the later; nothing where they stand the other way round.
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// `time` moved on; the end of time stands still.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// `time` moved back; the beginning of time stands still.
pub(super) fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// "5m", "1h 30m": a duration for people.
pub(super) fn shown(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    jiff::SignedDuration::try_from(whole).map_or_else(|_| format!("{whole:?}"), |signed| format!("{signed:#}"))
}

fn start_of(day: Date, zone: &TimeZone) -> Timestamp {
    // Midnight itself may be skipped or doubled by the zone: the compatible reading takes the first moment after a
    // gap, and the first of two.
    zone.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("the zones are bundled")
    }

    fn day(text: &str) -> Date {
        text.parse().expect("a date")
    }

    #[test]
    fn a_day_of_25_hours_has_a_twenty_fourth_more_and_one_of_23_the_whole() {
        // Asked on the day itself, and from another day.
        let allowed = |date: &str, name: &str, limit: u64| {
            let noon = zone(name).to_timestamp(day(date).at(12, 0, 0, 0)).expect("a time");
            let (today, other) = (Today::at(noon, zone(name)), Today::at(Timestamp::UNIX_EPOCH, zone(name)));
            assert_eq!(today.allows(day(date), limit), other.allows(day(date), limit));
            today.allows(day(date), limit)
        };
        assert_eq!(allowed("2026-06-15", "Europe/Paris", 288), 288);
        assert_eq!(allowed("2026-10-25", "Europe/Paris", 288), 300);
        assert_eq!(allowed("2026-03-29", "Europe/Paris", 288), 288);
        // Morocco leaves UTC+1 for the month of Ramadan: 2026-02-15 has 25 hours, 2026-03-22 has 23.
        assert_eq!(allowed("2026-02-15", "Africa/Casablanca", 24), 25);
        assert_eq!(allowed("2026-03-22", "Africa/Casablanca", 24), 24);
    }

    #[test]
    fn a_day_ends_at_the_zones_midnight() {
        let casablanca = zone("Africa/Casablanca");
        let late: Timestamp = "2026-06-15T22:59:30Z".parse().expect("a time");
        let today = Today::at(late, casablanca);
        assert_eq!(today.date, day("2026-06-15"));
        assert_eq!(today.until_midnight(), Duration::from_secs(30));
    }
}

//! What time it is: the system's clocks behind a trait, and the decision clock made of them.
//!
//! Nothing on the floors below asks for the time; it is handed to them. Tests hand in a [`ManualClock`].

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A wall clock, which may be set, and a monotonic clock, which only runs.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back, never jumps.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place where the wall clock comes from")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Clocks that a test moves.
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// Stands at `wall`.
    pub fn at(wall: Timestamp) -> ManualClock {
        ManualClock(Mutex::new((wall, Duration::ZERO)))
    }

    /// Lets both clocks run for `duration`.
    pub fn advance(&self, duration: Duration) {
        let mut clocks = lock(&self.0);
        let span = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        clocks.0 = clocks.0.saturating_add(span).unwrap_or(Timestamp::MAX);
        clocks.1 += duration;
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, wall: Timestamp) {
        lock(&self.0).0 = wall;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        lock(&self.0).0
    }

    fn monotonic(&self) -> Duration {
        lock(&self.0).1
    }
}

/// A wall clock that moved against the monotonic clock by more than this is recorded and alarms (DESIGN §5 "Clock").
pub const STEP: Duration = Duration::from_secs(60);

/// The clock that decisions are made by: the wall clock, but never behind the newest record.
///
/// Where the wall clock is behind (it was set back, or an earlier process ran with a clock that was ahead), time runs
/// on from the newest record at the monotonic clock's pace, so that limits keep their meaning until the wall clock has
/// caught up.
pub struct DecisionClock {
    clock: std::sync::Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The latest time given out, and what the monotonic clock said then.
    newest: (Timestamp, Duration),
    /// Both clocks when they were last compared.
    compared: (Timestamp, Duration),
}

impl DecisionClock {
    /// A clock that never runs behind `newest`, the time of the newest record.
    pub fn new(clock: std::sync::Arc<dyn Clock>, newest: Option<Timestamp>) -> DecisionClock {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        let newest = newest.map_or(wall, |newest| newest.max(wall));
        DecisionClock { clock, state: Mutex::new(State { newest: (newest, monotonic), compared: (wall, monotonic) }) }
    }

    /// The time of a decision made now.
    pub fn now(&self) -> Timestamp {
        let mut state = lock(&self.state);
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic());
        let now = wall.max(later(state.newest.0, monotonic.saturating_sub(state.newest.1)));
        state.newest = (now, monotonic);
        now
    }

    /// The wall clock, as it is: for telling people when a record was written.
    pub fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// By how much decisions run ahead of the wall clock; zero in good order.
    pub fn ahead(&self) -> Duration {
        let now = self.now();
        Duration::try_from(now.duration_since(self.clock.wall())).unwrap_or_default()
    }

    /// By how much the wall clock moved against the monotonic clock since the last call, if by more than [`STEP`].
    pub fn step(&self) -> Option<SignedDuration> {
        let mut state = lock(&self.state);
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic());
        let expected = later(state.compared.0, monotonic.saturating_sub(state.compared.1));
        state.compared = (wall, monotonic);
        let by = wall.duration_since(expected);
        (by.unsigned_abs() > STEP).then_some(by)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// The locked values are whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn noon() -> Timestamp {
        "2031-05-02T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn runs_on_from_the_newest_record_when_the_wall_clock_is_behind() {
        let manual = Arc::new(ManualClock::at(noon()));
        let clock = DecisionClock::new(manual.clone(), Some(later(noon(), Duration::from_secs(3600))));
        manual.advance(Duration::from_secs(10));
        assert_eq!(clock.now(), later(noon(), Duration::from_secs(3610)));
        assert_eq!(clock.ahead(), Duration::from_secs(3600));
        manual.set_wall(later(noon(), Duration::from_secs(7200)));
        assert_eq!((clock.now(), clock.ahead()), (later(noon(), Duration::from_secs(7200)), Duration::ZERO));
    }

    #[test]
    fn never_goes_back_when_the_wall_clock_is_set_back() {
        let manual = Arc::new(ManualClock::at(noon()));
        let clock = DecisionClock::new(manual.clone(), None);
        let before = clock.now();
        manual.set_wall(noon() - SignedDuration::from_hours(5));
        assert_eq!(clock.now(), before);
        manual.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), later(before, Duration::from_secs(1)));
    }

    #[test]
    fn notices_a_step_of_more_than_a_minute_once() {
        let manual = Arc::new(ManualClock::at(noon()));
        let clock = DecisionClock::new(manual.clone(), None);
        manual.advance(Duration::from_secs(600));
        assert_eq!(clock.step(), None);
        manual.set_wall(manual.wall() - SignedDuration::from_secs(61));
        assert_eq!(clock.step(), Some(SignedDuration::from_secs(-61)));
        assert_eq!(clock.step(), None);
    }
}

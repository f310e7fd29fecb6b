//! One account of the ledger: the interval, the days and the failed exchanges that may be sent again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::calendar::{between, day_after, day_of, earlier, later, shown};
use super::facts::{Digest, Sent};
use super::limits::{Attempt, Attempted, Charge};
use super::reason::Reason;
use super::trace::Failure;

/// Failed exchanges that one account remembers; the oldest are forgotten, and their retry counts as a new exchange.
const FAILED_KEPT: usize = 1024;
/// How long a failed exchange may be retried.
const RETRY_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How many days of tallies are kept: today, tomorrow (charged early), and yesterday's open exchanges.
const DAYS_KEPT: i64 = 2;

/// The counters of one account.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// When the next exchange is due (GCRA's theoretical arrival time): it may come early by the tolerance.
    due: Option<Timestamp>,
    days: BTreeMap<Date, Tally>,
    failed: VecDeque<Failed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    exchanges: u64,
    bytes: u64,
}

/// An exchange that ended without a 2xx answer and has retries left.
#[derive(Debug)]
struct Failed {
    attempt: Attempted,
    body: Digest,
    left: u32,
    time: Timestamp,
}

/// What one exchange holds in a book.
#[derive(Debug)]
pub(super) struct Hold {
    day: Date,
    /// Counted in the day's number.
    counted: bool,
    /// By how much `due` was moved.
    interval: Option<Duration>,
    bytes: u64,
    /// What the day may hold in bytes, as it was when reserved.
    day_bytes: Option<u64>,
    /// Frequency and number are judged at the body stage, with the digest.
    deferred: bool,
    attempt: Option<Attempted>,
    body: Option<Digest>,
    /// The body of a failed exchange, sent again.
    is_retry: bool,
    retries: u32,
}

impl Book {
    /// Whether a failed exchange like this one has retries left, so that only the digest can tell.
    pub(super) fn defers(&self, charge: &Charge<'_>) -> bool {
        charge.attempt.is_some_and(|attempt| self.failed.iter().any(|failed| failed.is_like(attempt, charge)))
    }

    /// What of a charge fails. `held` is what the exchange holds here already; an exempt one answers for bytes alone.
    pub(super) fn judge(&self, charge: &Charge<'_>, held: Option<&Hold>, exempt: bool) -> Vec<Failure> {
        let mut failures = Vec::new();
        if !exempt && held.is_none_or(|hold| hold.deferred) {
            failures.extend(self.judge_interval(charge));
        }
        if self.day_for(charge, held, exempt).is_none() {
            let today = charge.today.date;
            let midnight = charge.today.until_midnight();
            if !exempt && !self.has_number(today, charge, held) {
                let early = midnight.saturating_sub(charge.limits.tolerance());
                failures.push(Failure::new(Reason::DayLimit, self.number_used(today, charge)).after(early));
            }
            if !self.has_bytes(today, charge, held) {
                failures.push(Failure::new(Reason::VolumeLimit, self.bytes_used(today, charge)).after(midnight));
            }
        }
        failures
    }

    /// What fails once the body is known.
    pub(super) fn judge_held(&self, charge: &Charge<'_>, digest: Option<Digest>, hold: &Hold) -> Vec<Failure> {
        if hold.deferred {
            return self.judge(charge, Some(hold), self.retry_of(charge, digest).is_some());
        }
        // Interval, number and day were settled at the head: only the size is new.
        if self.has_bytes(hold.day, charge, Some(hold)) {
            return Vec::new();
        }
        let midnight = charge.today.until_midnight();
        vec![Failure::new(Reason::VolumeLimit, self.bytes_used(hold.day, charge)).after(midnight)]
    }

    fn judge_interval(&self, charge: &Charge<'_>) -> Option<Failure> {
        let interval = charge.limits.min_interval?;
        let earliest = earlier(self.due?, charge.limits.tolerance());
        let wait = between(charge.today.time, earliest);
        (charge.today.time < earliest).then(|| {
            let detail = format!("one every {} is declared; the next may come in {}", shown(interval), shown(wait));
            Failure::new(Reason::TooFrequent, detail).after(wait)
        })
    }

    /// The day that a charge goes to: its own, or the next one where its own is full and midnight is within the
    /// tolerance. `None` where neither has room.
    fn day_for(&self, charge: &Charge<'_>, held: Option<&Hold>, exempt: bool) -> Option<Date> {
        let today = charge.today.date;
        let has_room = |day: Date| (exempt || self.has_number(day, charge, held)) && self.has_bytes(day, charge, held);
        if has_room(today) {
            return Some(today);
        }
        let tomorrow = day_after(today);
        let is_near = charge.today.until_midnight() <= charge.limits.tolerance();
        (is_near && has_room(tomorrow)).then_some(tomorrow)
    }

    fn has_number(&self, day: Date, charge: &Charge<'_>, held: Option<&Hold>) -> bool {
        let Some(limit) = charge.limits.max_per_day else { return true };
        let own = held.is_some_and(|hold| hold.counted && hold.day == day);
        self.tally(day).exchanges.saturating_sub(u64::from(own)) < charge.today.allows(day, limit)
    }

    fn has_bytes(&self, day: Date, charge: &Charge<'_>, held: Option<&Hold>) -> bool {
        let Some(limit) = charge.limits.max_bytes_per_day else { return true };
        let own = held.filter(|hold| hold.day == day).map_or(0, |hold| hold.bytes);
        let others = self.tally(day).bytes.saturating_sub(own);
        // Of an unknown length at least one byte will come.
        others.saturating_add(charge.bytes.max(1)) <= charge.today.allows(day, limit)
    }

    /// The bytes that today may still hold.
    pub(super) fn room(&self, charge: &Charge<'_>) -> Option<u64> {
        let today = charge.today.date;
        let limit = charge.limits.max_bytes_per_day?;
        Some(charge.today.allows(today, limit).saturating_sub(self.tally(today).bytes))
    }

    /// Holds what [`Book::judge`] let pass.
    pub(super) fn reserve(&mut self, charge: &Charge<'_>) -> Hold {
        let deferred = self.defers(charge);
        let day = self.day_for(charge, None, deferred).unwrap_or(charge.today.date);
        let mut hold = Hold {
            day,
            counted: false,
            interval: None,
            bytes: charge.bytes,
            day_bytes: charge.limits.max_bytes_per_day.map(|limit| charge.today.allows(day, limit)),
            deferred,
            attempt: charge.attempt.map(Attempted::of),
            body: None,
            is_retry: false,
            retries: charge.limits.retries,
        };
        let tally = self.days.entry(day).or_default();
        tally.bytes = tally.bytes.saturating_add(charge.bytes);
        if !deferred && charge.attempt.is_some() {
            self.count(charge, &mut hold);
        }
        hold
    }

    /// Charges number and interval.
    fn count(&mut self, charge: &Charge<'_>, hold: &mut Hold) {
        hold.counted = true;
        let tally = self.days.entry(hold.day).or_default();
        tally.exchanges = tally.exchanges.saturating_add(1);
        if let Some(interval) = charge.limits.min_interval {
            hold.interval = Some(interval);
            let from = self.due.map_or(charge.today.time, |due| due.max(charge.today.time));
            self.due = Some(later(from, interval));
        }
    }

    /// Corrects a hold to the body: its real size, and whether it is a retry.
    pub(super) fn correct(&mut self, charge: &Charge<'_>, digest: Option<Digest>, hold: &mut Hold) {
        hold.body = digest;
        if hold.deferred {
            self.undefer(charge, digest, hold);
        }
        self.set_bytes(hold, charge.bytes);
    }

    /// Charges what the head left open: a retry to the failed exchange, anything else to number and interval.
    fn undefer(&mut self, charge: &Charge<'_>, digest: Option<Digest>, hold: &mut Hold) {
        let retry = self.retry_of(charge, digest);
        if let Some(day) = self.day_for(charge, Some(hold), retry.is_some()) {
            self.move_to(day, hold);
        }
        match retry {
            Some(place) => {
                hold.is_retry = true;
                self.failed[place].left -= 1;
            }
            None => self.count(charge, hold),
        }
        hold.deferred = false;
    }

    fn move_to(&mut self, day: Date, hold: &mut Hold) {
        if day == hold.day {
            return;
        }
        let left = self.days.entry(hold.day).or_default();
        left.bytes = left.bytes.saturating_sub(hold.bytes);
        left.exchanges = left.exchanges.saturating_sub(u64::from(hold.counted));
        let entered = self.days.entry(day).or_default();
        entered.bytes = entered.bytes.saturating_add(hold.bytes);
        entered.exchanges = entered.exchanges.saturating_add(u64::from(hold.counted));
        hold.day = day;
    }

    fn set_bytes(&mut self, hold: &mut Hold, bytes: u64) {
        if let Some(tally) = self.days.get_mut(&hold.day) {
            tally.bytes = tally.bytes.saturating_sub(hold.bytes).saturating_add(bytes);
        }
        hold.bytes = bytes;
    }

    /// Takes `bytes` more for a tunnel, if the day has room for them.
    pub(super) fn draw(&mut self, hold: &mut Hold, bytes: u64) -> bool {
        let has_room = hold.day_bytes.is_none_or(|limit| self.tally(hold.day).bytes.saturating_add(bytes) <= limit);
        if has_room {
            self.set_bytes(hold, hold.bytes.saturating_add(bytes));
        }
        has_room
    }

    /// Undoes a hold.
    pub(super) fn give_back(&mut self, hold: &Hold) {
        if let Some(tally) = self.days.get_mut(&hold.day) {
            tally.bytes = tally.bytes.saturating_sub(hold.bytes);
            tally.exchanges = tally.exchanges.saturating_sub(u64::from(hold.counted));
        }
        if let (Some(due), Some(interval)) = (self.due, hold.interval) {
            self.due = Some(earlier(due, interval));
        }
        if hold.is_retry
            && let Some(place) = self.failed_place(hold)
        {
            self.failed[place].left += 1;
        }
    }

    /// Closes a hold of which content left.
    pub(super) fn settle(&mut self, hold: &Hold, sent: Sent) {
        if let Some(tally) = self.days.get_mut(&hold.day) {
            tally.bytes = tally.bytes.saturating_sub(hold.bytes).saturating_add(sent.bytes);
        }
        match (sent.answered_2xx, self.failed_place(hold)) {
            (true, Some(place)) => {
                self.failed.remove(place);
            }
            (false, None) => self.remember(hold, sent.time),
            // Charged in full and failed again: it has all its retries once more.
            (false, Some(place)) if !hold.is_retry => {
                self.failed[place].left = hold.retries;
                self.failed[place].time = sent.time;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    fn remember(&mut self, hold: &Hold, time: Timestamp) {
        let (Some(attempt), Some(body)) = (&hold.attempt, hold.body) else { return };
        if hold.retries == 0 {
            return;
        }
        if self.failed.len() == FAILED_KEPT {
            self.failed.pop_front();
        }
        self.failed.push_back(Failed { attempt: attempt.clone(), body, left: hold.retries, time });
    }

    /// Where the failed exchange stands whose body this is, if it has retries left.
    fn retry_of(&self, charge: &Charge<'_>, digest: Option<Digest>) -> Option<usize> {
        let (attempt, digest) = (charge.attempt?, digest?);
        self.failed.iter().position(|failed| failed.body == digest && failed.is_like(attempt, charge))
    }

    fn failed_place(&self, hold: &Hold) -> Option<usize> {
        let (attempt, body) = (hold.attempt.as_ref()?, hold.body?);
        self.failed.iter().position(|failed| failed.body == body && failed.attempt == *attempt)
    }

    /// Forgets old days, old failures and an interval that has passed.
    pub(super) fn prune(&mut self, now: Timestamp) {
        let oldest = day_of(now, &jiff::tz::TimeZone::UTC).saturating_sub(DAYS_KEPT.days());
        self.days.retain(|day, _| *day >= oldest);
        self.failed.retain(|failed| failed.left > 0 && between(failed.time, now) <= RETRY_WITHIN);
        self.due = self.due.filter(|due| *due > now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_none() && self.days.is_empty() && self.failed.is_empty()
    }

    fn tally(&self, day: Date) -> Tally {
        self.days.get(&day).copied().unwrap_or_default()
    }

    fn number_used(&self, day: Date, charge: &Charge<'_>) -> String {
        let allowed = charge.limits.max_per_day.map_or(0, |limit| charge.today.allows(day, limit));
        format!("{} of {allowed} are used on {day}", self.tally(day).exchanges)
    }

    fn bytes_used(&self, day: Date, charge: &Charge<'_>) -> String {
        let allowed = charge.limits.max_bytes_per_day.map_or(0, |limit| charge.today.allows(day, limit));
        format!("{} of {allowed} bytes are used on {day}, and {} are wanted", self.tally(day).bytes, charge.bytes)
    }
}

impl Failed {
    /// Whether an exchange of the same source, method and path may be this one sent again.
    fn is_like(&self, attempt: Attempt<'_>, charge: &Charge<'_>) -> bool {
        self.left > 0 && self.attempt.is(attempt) && between(self.time, charge.today.time) <= RETRY_WITHIN
    }
}

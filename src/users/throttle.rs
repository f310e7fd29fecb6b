//! Wrong passwords by peer address: a few at once, then one every few seconds.
//!
//! An attempt is charged before it is made, so that many at once are no way around it, and given back when it was right.
//! Who is not in the table and finds it full shares one place with all others in that position: the table is bounded, and
//! a flood of addresses slows down those that are new, not those that are known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::destination::neighbourhood;

/// Wrong passwords that an address may send at once after a rest.
pub const AT_ONCE: u32 = 10;
/// Then it may send one in each such time.
pub const EACH: Duration = Duration::from_secs(6);
/// Most addresses that are kept.
const MOST: usize = 4_096;

/// What each address owes.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Held for one look-up, or for one sweep of at most [`MOST`]; never across an await.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// When everything that was charged would have been sent, had it come evenly (GCRA's theoretical arrival time).
    even: HashMap<IpAddr, Instant>,
    /// The same for all that found no place.
    others: Option<Instant>,
}

impl Throttle {
    /// Charges an attempt.
    ///
    /// # Errors
    /// How long the address must wait.
    pub fn charge(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let key = neighbourhood(peer);
        let mut kept = self.lock();
        if kept.even.len() >= MOST && !kept.even.contains_key(&key) {
            kept.even.retain(|_, even| *even > now);
        }
        let is_full = kept.even.len() >= MOST && !kept.even.contains_key(&key);
        let even = match is_full {
            true => kept.others.get_or_insert(now),
            false => kept.even.entry(key).or_insert(now),
        };
        let next = (*even).max(now) + EACH;
        match next.saturating_duration_since(now + EACH * AT_ONCE) {
            Duration::ZERO => {
                *even = next;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Gives back what a right attempt was charged.
    pub fn give_back(&self, peer: IpAddr) {
        let key = neighbourhood(peer);
        let mut kept = self.lock();
        let Kept { even, others } = &mut *kept;
        if let Some(even) = even.get_mut(&key).or(others.as_mut())
            && let Some(before) = even.checked_sub(EACH)
        {
            *even = before;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_few_pass_at_once_and_then_one_at_a_time() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!((0..20).filter(|_| throttle.charge(four(1), now).is_ok()).count(), 10);
        assert_eq!(throttle.charge(four(1), now), Err(EACH));
        assert_eq!(throttle.charge(four(2), now), Ok(()), "another address has its own");
        assert_eq!(throttle.charge(four(1), now + EACH), Ok(()));
        assert!(throttle.charge(four(1), now + EACH).is_err());
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(throttle.charge(four(1), now), Ok(()));
            throttle.give_back(four(1));
        }
    }

    #[test]
    fn the_table_is_bounded_and_newcomers_share_one_place() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..u32::try_from(MOST).expect("few") {
            assert_eq!(throttle.charge(four(number), now), Ok(()));
        }
        let passed = (100_000..100_100).filter(|number| throttle.charge(four(*number), now).is_ok()).count();
        assert_eq!((passed, throttle.lock().even.len()), (10, MOST));
        assert_eq!(throttle.charge(four(7), now), Ok(()), "who is known has its own");
        assert_eq!(throttle.charge(four(100_000), now + EACH), Ok(()), "room comes back with time");
        assert_eq!(throttle.lock().even.len(), 2);
    }
}

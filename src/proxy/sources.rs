//! What each peer address has of the proxy: its open connections, and how often it may ask.
//!
//! One address cannot take the places of all others. Addresses of IPv6 are taken by their /64, of which every machine has
//! a whole one to choose from. Nothing is kept of an address that is gone and owes no time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::destination::neighbourhood;

/// What may be asked at once after a rest, as the time in which it may be asked evenly.
const BURST: Duration = Duration::from_secs(1);

/// The table of peer addresses.
#[derive(Debug)]
pub struct Sources {
    /// Open connections of one address.
    connections: usize,
    /// Requests of one address in a second, on average.
    requests: Option<NonZeroU32>,
    /// Most addresses that are kept; more than connections are open at once.
    most: usize,
    /// Held for one look-up, or for one sweep of at most `most`; never across an await.
    kept: Mutex<HashMap<IpAddr, Kept>>,
}

#[derive(Debug)]
struct Kept {
    open: usize,
    /// When everything that was asked would have been asked, had it come evenly (GCRA's theoretical arrival time).
    even: Instant,
}

/// One open connection of an address; given back when dropped.
#[derive(Debug)]
pub struct Presence {
    sources: Arc<Sources>,
    key: IpAddr,
}

impl Sources {
    /// A table for `places` open connections in all. Without `requests` everybody may ask as often as they can.
    pub fn new(connections: usize, requests: Option<NonZeroU32>, places: usize) -> Arc<Sources> {
        let most = places.saturating_mul(2).saturating_add(1_024);
        Arc::new(Sources { connections, requests, most, kept: Mutex::default() })
    }

    /// A connection comes in; `None` where its address has as many as it may.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Presence> {
        let (key, now) = (neighbourhood(peer), Instant::now());
        let mut kept = self.lock();
        if kept.len() >= self.most && !kept.contains_key(&key) {
            kept.retain(|_, kept| kept.open > 0 || kept.even > now);
            if kept.len() >= self.most {
                kept.retain(|_, kept| kept.open > 0);
            }
        }
        let entry = kept.entry(key).or_insert(Kept { open: 0, even: now });
        if entry.open >= self.connections {
            return None;
        }
        entry.open += 1;
        Some(Presence { sources: self.clone(), key })
    }

    /// A request comes in.
    ///
    /// # Errors
    /// How long its address must wait.
    pub fn ask(&self, peer: IpAddr) -> Result<(), Duration> {
        self.ask_at(peer, Instant::now())
    }

    fn ask_at(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(requests) = self.requests else { return Ok(()) };
        let step = Duration::from_secs(1) / requests.get();
        let mut kept = self.lock();
        // Whoever asks has a connection open, and so an entry.
        let Some(kept) = kept.get_mut(&neighbourhood(peer)) else { return Ok(()) };
        let next = kept.even.max(now) + step;
        match next.saturating_duration_since(now + BURST) {
            Duration::ZERO => {
                kept.even = next;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Addresses that are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no address is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most addresses that are kept.
    pub fn limit(&self) -> usize {
        self.most
    }

    fn leave(&self, key: IpAddr) {
        let mut kept = self.lock();
        if let Some(entry) = kept.get_mut(&key) {
            entry.open -= 1;
            if entry.open == 0 && entry.even <= Instant::now() {
                kept.remove(&key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.sources.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let sources = Sources::new(2, None, 10);
        let (first, _second) = (sources.enter(four(1)), sources.enter(four(1)));
        assert!(first.is_some() && sources.enter(four(1)).is_none());
        assert!(sources.enter("::ffff:10.0.0.1".parse().expect("an address")).is_none(), "the same, written as IPv6");
        assert!(sources.enter(four(2)).is_some(), "another one has its own");
        drop(first);
        assert!(sources.enter(four(1)).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let sources = Sources::new(1, None, 10);
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let _first = sources.enter(at("2001:db8:0:1::1"));
        assert!(sources.enter(at("2001:db8:0:1:ffff::9")).is_none());
        assert!(sources.enter(at("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn nothing_is_kept_of_who_is_gone() {
        let sources = Sources::new(1, NonZeroU32::new(1), 10);
        drop(sources.enter(four(1)));
        assert!(sources.is_empty());
        let asked = sources.enter(four(2));
        assert_eq!(sources.ask(four(2)), Ok(()));
        drop(asked);
        assert_eq!(sources.len(), 1, "it may not come back as a new one within the second");
    }

    #[test]
    fn the_table_is_bounded() {
        let sources = Sources::new(1, NonZeroU32::new(1), 0);
        for number in 0..5_000_u32 {
            let peer = IpAddr::from(number.to_be_bytes());
            let _present = sources.enter(peer);
            assert_eq!(sources.ask(peer), Ok(()));
        }
        assert!(sources.len() <= sources.limit());
    }

    #[test]
    fn requests_are_counted_evenly_after_a_burst() {
        let sources = Sources::new(1, NonZeroU32::new(10), 10);
        let (_present, start) = (sources.enter(four(1)), Instant::now());
        let asked = |at: u64| sources.ask_at(four(1), start + Duration::from_millis(at));
        assert_eq!((0..20).filter(|_| asked(0).is_ok()).count(), 10, "a second's worth at once");
        assert_eq!(asked(0), Err(Duration::from_millis(100)));
        assert_eq!(
            (asked(99), asked(100), asked(100)),
            (Err(Duration::from_millis(1)), Ok(()), Err(Duration::from_millis(100)))
        );
        assert_eq!((0..20).filter(|_| asked(10_000).is_ok()).count(), 10, "rest gives back a burst, and no more");
    }
}

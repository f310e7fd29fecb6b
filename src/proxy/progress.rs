//! What has gone by so far in an exchange that was let through.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Set in the count of what was sent once the exchange has ended.
const CLOSED: u64 = 1 << 63;

/// Shared by the body that is sent, the answer that is relayed, and the guard that writes the outcome.
///
/// The outcome closes it, and from then on nothing more is handed over: a connection may live a little longer than its
/// exchange, and what it then sent would be on no record.
#[derive(Debug, Default)]
pub struct Progress {
    begun: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    whole: AtomicBool,
}

impl Progress {
    /// Bytes of content handed over.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire) & !CLOSED
    }

    /// Bytes of the answer received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Grows with every byte in either direction.
    pub fn moved(&self) -> u64 {
        self.sent().wrapping_add(self.received())
    }

    /// Whether the whole body was handed over.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// The head is handed over: from here on something of the exchange may have left.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Whether something of the exchange may have left.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// It turned out that nothing left at all.
    pub fn nothing_left(&self) {
        self.begun.store(false, Ordering::Release);
        self.sent.fetch_and(CLOSED, Ordering::AcqRel);
    }

    /// Adds bytes that are handed over next; false where the exchange has ended, and they must not be.
    #[must_use = "false: the bytes must not be handed over"]
    pub fn add(&self, bytes: u64) -> bool {
        let open = |sent: u64| (sent & CLOSED == 0).then(|| sent.saturating_add(bytes).min(CLOSED - 1));
        self.sent.fetch_update(Ordering::AcqRel, Ordering::Acquire, open).is_ok()
    }

    /// Adds bytes of the answer.
    pub fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::AcqRel);
    }

    /// The whole body was handed over.
    pub fn finished(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Ends the exchange; gives the bytes of content that were handed over.
    pub fn close(&self) -> u64 {
        self.sent.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_after_the_end() {
        let progress = Progress::default();
        assert!(progress.add(7));
        assert_eq!(progress.close(), 7);
        assert!(!progress.add(1));
        assert_eq!((progress.sent(), progress.close()), (7, 7));
    }
}

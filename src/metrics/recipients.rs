//! The certificates that recipients show: when they end, and that a key is another one than before.
//!
//! Only declared recipients have series, and not more than [`MAX_RECIPIENTS`] of them. What was seen is forgotten with the
//! process: the first certificate after a start is no change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::Metrics;
use crate::destination::Destination;
use crate::policy::ConnectionFacts;
use crate::register::{Id, Recipient, Register};

/// Most recipients that have series of their own.
const MAX_RECIPIENTS: usize = 1000;
/// Most destinations whose certificates are remembered: a wildcard has no end of hosts.
const MAX_DESTINATIONS: usize = 4096;
/// Keys of one destination that are remembered: balancers show several, each in its turn.
const KEYS_KEPT: usize = 4;

/// What every destination showed last.
#[derive(Default)]
pub(super) struct Shown(Mutex<HashMap<Destination, Seen>>);

struct Seen {
    recipient: Id,
    ends: Timestamp,
    /// SHA-256 of the subject public key infos, oldest first.
    keys: Vec<[u8; 32]>,
}

impl Seen {
    /// Notes a key; true where others were known and this one was not.
    fn is_change(&mut self, key: [u8; 32]) -> bool {
        if self.keys.contains(&key) {
            return false;
        }
        if self.keys.len() == KEYS_KEPT {
            self.keys.remove(0);
        }
        self.keys.push(key);
        self.keys.len() > 1
    }
}

impl Shown {
    // Held for a look-up and a few comparisons, never across an await.
    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// A destination showed a certificate. Over plain HTTP there is none, and nothing to note.
    pub fn destination_showed(&self, register: &Register, destination: &Destination, facts: &ConnectionFacts) {
        let key = facts.tls.as_ref().and_then(|tls| tls.spki_sha256);
        let (Some(key), Some(ends)) = (key, facts.certificate_ends) else { return };
        let mut shown = self.0.recipients_shown.lock();
        let is_full = shown.len() >= MAX_DESTINATIONS;
        match shown.get_mut(destination) {
            Some(seen) if seen.ends == ends && seen.keys.contains(&key) => {}
            Some(seen) => {
                seen.ends = ends;
                let (recipient, is_change) = (seen.recipient.clone(), seen.is_change(key));
                self.certificate_ends(&recipient, &shown);
                drop(shown);
                if is_change {
                    self.key_changed(&recipient);
                }
            }
            None if is_full => {}
            None => {
                let Some(recipient) = named(register)
                    .find(|recipient| recipient.endpoints.iter().any(|endpoint| endpoint.matches(destination)))
                else {
                    return;
                };
                let seen = Seen { recipient: recipient.id.clone(), ends, keys: vec![key] };
                shown.insert(destination.clone(), seen);
                self.certificate_ends(&recipient.id, &shown);
            }
        }
    }

    /// The certificate of a recipient that ends first.
    fn certificate_ends(&self, recipient: &Id, shown: &HashMap<Destination, Seen>) {
        let ends = shown.values().filter(|seen| seen.recipient == *recipient).map(|seen| seen.ends);
        if let Some(first) = ends.min() {
            self.0.recipient_certificate_ends.with_label_values(&[recipient.as_str()]).set(first.as_second());
        }
    }

    fn key_changed(&self, recipient: &Id) {
        tracing::warn!(%recipient, "the recipient shows a certificate with another key than before");
        self.0.recipient_certificate_changes.with_label_values(&[recipient.as_str()]).inc();
    }

    /// Gives the recipients of a register their series, and takes those of recipients that are gone.
    pub(super) fn name_recipients(&self, register: &Register) {
        let series = &self.0;
        for recipient in named(register) {
            series.recipient_certificate_changes.with_label_values(&[recipient.id.as_str()]);
        }
        series.recipients_shown.lock().retain(|_, seen| {
            let is_declared = register.recipient(&seen.recipient).is_some();
            if !is_declared {
                // One that was taken away before has none.
                let _ = series.recipient_certificate_ends.remove_label_values(&[seen.recipient.as_str()]);
            }
            is_declared
        });
    }
}

fn named(register: &Register) -> impl Iterator<Item = &Recipient> {
    register.recipients.iter().take(MAX_RECIPIENTS).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { recipient: Id::new("a").expect("an id"), ends: Timestamp::UNIX_EPOCH, keys: Vec::new() }
    }

    #[test]
    fn the_first_key_is_no_change_and_a_known_one_is_none_either() {
        let mut seen = seen();
        assert!(!seen.is_change([1; 32]));
        assert!(seen.is_change([2; 32]));
        assert!(!seen.is_change([1; 32]), "a balancer shows its keys in turn");
    }

    #[test]
    fn only_the_last_keys_are_kept() {
        let mut seen = seen();
        for key in 0..9 {
            seen.is_change([key; 32]);
        }
        assert_eq!(seen.keys.len(), KEYS_KEPT);
        assert!(seen.is_change([0; 32]), "a key of long ago is a change again");
    }
}

//! The watch over the policy folder: says when its files changed, once they are at rest.
//!
//! The folder is looked at four times a second. That sees what notifications of the kernel miss: network file systems,
//! a folder or a link that was exchanged whole, as Kubernetes does. An editor that saves in several steps, or a checkout
//! of many files, is waited for, though not for ever.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::Reloader;
use crate::folder::Seen;
use crate::proxy::error::told;

/// How often the folder is looked at.
pub(super) const EACH: Duration = Duration::from_millis(250);
/// How long nothing may have changed before the files are read.
const REST: Duration = Duration::from_millis(500);
/// How long changes are waited out; then the files are read as they are.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at the folder of a [`Reloader`].
pub struct Watch {
    folder: PathBuf,
    unsettled: Option<Unsettled<Seen>>,
    /// What keeps the folder from being looked at, so that it is told once.
    blind: Option<String>,
}

impl Watch {
    /// Watches the folder that this reloader reads.
    pub fn over(reloader: &Reloader) -> Watch {
        Watch { folder: reloader.folder().to_owned(), unsettled: None, blind: None }
    }

    /// Ends when the files are at rest and differ from those that the reloader read last. May be dropped at any time.
    pub async fn changed(&mut self, reloader: &Reloader) {
        loop {
            sleep(EACH).await;
            let folder = self.folder.clone();
            let looked = spawn_blocking(move || Seen::of(&folder)).await;
            let looked = looked.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
            let seen = match looked {
                Ok(Some(seen)) => seen,
                // A folder that is gone is being exchanged, or its disk is: that takes nothing out of force.
                Ok(None) => {
                    self.cannot_see("it is not there".to_owned());
                    continue;
                }
                Err(fault) => {
                    self.cannot_see(told(&fault));
                    continue;
                }
            };
            self.blind = None;
            if seen == reloader.read_last() {
                self.unsettled = None;
            } else if Unsettled::is_over(&mut self.unsettled, seen, Instant::now()) {
                self.unsettled = None;
                return;
            }
        }
    }

    fn cannot_see(&mut self, why: String) {
        if self.blind.as_ref() != Some(&why) {
            let folder = self.folder.display();
            tracing::warn!(%folder, why, "the policy folder cannot be watched; the register in force stays");
            self.blind = Some(why);
        }
    }
}

/// Files that changed, and may still be changing.
pub(super) struct Unsettled<S> {
    begun: Instant,
    moved: Instant,
    seen: S,
}

impl<S: Clone + PartialEq> Unsettled<S> {
    /// Takes note of what is seen now; whether that has been so for long enough, or has changed for too long.
    pub(super) fn is_over(unsettled: &mut Option<Unsettled<S>>, seen: S, now: Instant) -> bool {
        let current = unsettled.get_or_insert_with(|| Unsettled { begun: now, moved: now, seen: seen.clone() });
        if current.seen != seen {
            (current.seen, current.moved) = (seen, now);
        }
        now - current.moved >= REST || now - current.begun >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks different at each of these steps of 250 ms; when it is read.
    fn read_at(steps: &[usize]) -> Option<usize> {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = |step: usize| {
            std::fs::write(folder.path().join(format!("{step}.yaml")), "").expect("written");
            Seen::of(folder.path()).expect("readable").expect("a folder")
        };
        let begun = Instant::now();
        let (mut unsettled, mut last) = (None, seen(steps[0]));
        for (step, state) in steps.iter().enumerate() {
            if step > 0 && *state != steps[step - 1] {
                last = seen(*state);
            }
            let now = begun + EACH * u32::try_from(step).expect("few");
            if Unsettled::is_over(&mut unsettled, last.clone(), now) {
                return Some(step);
            }
        }
        None
    }

    #[test]
    fn files_are_read_when_they_are_at_rest_and_at_last_in_any_case() {
        assert_eq!(read_at(&[1, 1, 1, 1]), Some(2), "half a second");
        assert_eq!(read_at(&[1, 2, 2, 3, 3, 3]), Some(5), "each change begins the rest anew");
        assert_eq!(read_at(&(0..20).collect::<Vec<_>>()), Some(12), "three seconds");
    }
}

//! The watch over an answer on its way: an exchange is open until its answer ended, and may have to end before.
//!
//! The answer's body is polled only while the client takes it, and the connection to the recipient goes on sending the
//! request meanwhile. So a task of its own watches: over orders and validity (DESIGN §5 "Clock"), over silence, over the
//! longest time, over the proxy's own end. It writes the outcome and cuts the way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::Limits;
use super::guard::Guard;
use super::progress::Progress;
use crate::policy::End;
use crate::upstream::Cutter;

/// How many times in its length a silence is looked at.
const LOOKS: u32 = 8;

/// An exchange whose answer is on its way.
pub struct Watched {
    guard: Arc<Mutex<Guard>>,
    progress: Arc<Progress>,
    most: u64,
    task: AbortHandle,
}

impl Watched {
    /// Takes charge of the outcome. `way` is that to the recipient.
    pub fn begin(guard: Guard, progress: Arc<Progress>, way: Cutter, limits: &Limits) -> Watched {
        let (cut, idle) = (guard.cut(), limits.idle);
        let guard = Arc::new(Mutex::new(guard));
        let (watched, moving) = (guard.clone(), progress.clone());
        let task = tokio::spawn(async move {
            let end = tokio::select! {
                end = cut => end,
                () = stands_still(|| moving.moved(), idle) => End::Timeout,
            };
            lock(&watched).close(end);
            way.cut();
        });
        Watched { guard, progress, most: limits.largest_answer, task: task.abort_handle() }
    }

    /// Counts bytes of the answer; false where it is larger than any may be.
    pub fn received(&self, bytes: u64) -> bool {
        self.progress.receive(bytes);
        self.progress.received() <= self.most
    }

    /// Writes the outcome; false where the watch has ended the exchange before.
    pub fn close(&self, end: End) -> bool {
        lock(&self.guard).close(end)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
        // Where no outcome is written yet, the answer was dropped under way.
        self.close(End::ClientClosed);
    }
}

/// A guard is whole at every moment, so that a panic elsewhere spoils nothing.
fn lock(guard: &Mutex<Guard>) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends when `moved` did not change for `limit`.
pub async fn stands_still(moved: impl Fn() -> u64, limit: Duration) {
    let (mut last, mut since) = (moved(), Instant::now());
    loop {
        sleep(limit / LOOKS).await;
        let now = moved();
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= limit {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slow_is_not_still() {
        let begun = Instant::now();
        // Something each 100 ms for 1.5 s, then silence.
        let moved = || (begun.elapsed().min(Duration::from_millis(1_500)).as_millis() / 100) as u64;
        stands_still(moved, Duration::from_millis(800)).await;
        assert!(begun.elapsed() >= Duration::from_millis(2_200), "{:?}", begun.elapsed());
    }
}

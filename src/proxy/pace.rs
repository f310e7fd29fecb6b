//! How fast a client must send a body. Only the time that we wait for the client counts: a slow disk of ours is not its
//! fault.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Bounds on the time of a body.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second, averaged over each window. The first window is grace: a body that ends in it is never too slow.
    pub rate: u64,
    /// Length of a window.
    pub window: Duration,
    /// Longest silence.
    pub silence: Duration,
    /// Longest time in all.
    pub longest: Duration,
}

/// How a body was too slow. The words go to the client and into the record.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Slow {
    #[error("the body stood still for {0:?}")]
    Still(Duration),
    #[error("the body came at less than {rate} bytes a second over {window:?}")]
    Rate { rate: u64, window: Duration },
    #[error("the body did not end within {0:?}")]
    Long(Duration),
}

/// A body that is being waited for.
#[derive(Debug)]
pub struct Paced {
    pace: Pace,
    waited: Duration,
    /// Waited in this window.
    window: Duration,
    /// Received in this window.
    bytes: u64,
}

impl Paced {
    /// A body that begins now.
    pub fn begin(pace: Pace) -> Paced {
        Paced { pace, waited: Duration::ZERO, window: Duration::ZERO, bytes: 0 }
    }

    /// Counts what came.
    pub fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// [`Slow`] where it does not come in time, or what came so far did not.
    pub async fn next<T>(&mut self, coming: impl Future<Output = T>) -> Result<T, Slow> {
        let mut coming = pin!(coming);
        let mut silent = Duration::ZERO;
        loop {
            let left = (self.pace.silence - silent).min(self.pace.window - self.window);
            let begun = Instant::now();
            let came = timeout(left.min(self.pace.longest - self.waited), coming.as_mut()).await;
            let waited = begun.elapsed();
            silent = (silent + waited).min(self.pace.silence);
            self.wait(waited)?;
            match came {
                Ok(came) => return Ok(came),
                Err(_) if silent >= self.pace.silence => return Err(Slow::Still(silent)),
                Err(_) => {}
            }
        }
    }

    /// Judges the time so far, and the window if it is over.
    fn wait(&mut self, waited: Duration) -> Result<(), Slow> {
        let Pace { rate, window, longest, .. } = self.pace;
        self.waited = (self.waited + waited).min(longest);
        self.window += waited;
        if self.waited >= longest {
            return Err(Slow::Long(longest));
        }
        if self.window < window {
            return Ok(());
        }
        let asked = u128::from(rate) * self.window.as_millis();
        let came = u128::from(self.bytes) * 1_000;
        (self.window, self.bytes) = (Duration::ZERO, 0);
        if came < asked { Err(Slow::Rate { rate, window }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        rate: 100,
        window: Duration::from_secs(30),
        silence: Duration::from_secs(60),
        longest: Duration::from_secs(3_600),
    };
    const SECOND: Duration = Duration::from_secs(1);

    /// `bytes` come after each `pause`, `times` over; gives how it went, and after how many.
    fn sent(bytes: u64, pause: Duration, times: u32) -> (Result<(), Slow>, u32) {
        let mut paced = Paced::begin(PACE);
        for time in 1..=times {
            if let Err(slow) = paced.wait(pause) {
                return (Err(slow), time);
            }
            paced.took(bytes);
        }
        (Ok(()), times)
    }

    #[test]
    fn a_byte_a_second_ends_with_the_first_window() {
        assert_eq!(sent(1, SECOND, 1_000), (Err(Slow::Rate { rate: 100, window: PACE.window }), 30));
        assert_eq!(sent(20 * 1024, SECOND, 1_000), (Ok(()), 1_000), "a slow line is no fault");
    }

    #[test]
    fn the_rate_is_an_average_over_each_window() {
        // What comes with the end of a window belongs to the next one; a little more than the rate makes up for it.
        assert_eq!(sent(104, SECOND, 3_000).0, Ok(()));
        assert_eq!(sent(103, SECOND, 3_000).0, Err(Slow::Rate { rate: 100, window: PACE.window }));
        assert_eq!(sent(1_500, 15 * SECOND, 100).0, Err(Slow::Rate { rate: 100, window: PACE.window }));
        assert_eq!(sent(3_000, 15 * SECOND, 100).0, Ok(()), "silence within a window is no fault");
    }

    #[test]
    fn nothing_lasts_longer_than_the_longest_time() {
        assert_eq!(sent(104, SECOND, 4_000), (Err(Slow::Long(PACE.longest)), 3_600));
    }

    #[test]
    fn a_small_body_may_take_most_of_a_window() {
        assert_eq!(sent(10, 29 * SECOND, 1).0, Ok(()));
    }

    #[tokio::test]
    async fn silence_has_its_own_bound() {
        let pace = Pace { silence: Duration::from_millis(20), ..PACE };
        let silent = Paced::begin(pace).next(std::future::pending::<()>()).await;
        assert_eq!(silent, Err(Slow::Still(pace.silence)));
        assert_eq!(Paced::begin(pace).next(std::future::ready(7)).await, Ok(7));
    }
}

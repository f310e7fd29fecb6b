//! Series of known truth: beats of every period with jitter, misses, bursts and noise, and traffic without any beat.

/// A small generator of pseudo-random numbers (xorshift64*), so that every run sees the same series.
pub struct Dice(pub u64);

impl Dice {
    /// Uniform from 0 to 1.
    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponential with this mean.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }
}

/// A beat of known truth.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    pub period: f64,
    /// Each interval lies uniformly within this share of the period.
    pub jitter: f64,
    /// Share of the beats that do not happen.
    pub missed: f64,
    /// Requests of each beat, within a twentieth of the period and at most 20 s.
    pub burst: usize,
    /// Other requests to the same destination, per period.
    pub noise: f64,
    /// The clock decides (cron), not the end of the last sleep: jitter does not add up.
    pub locked: bool,
}

impl Truth {
    /// So many beats, in seconds, ascending.
    pub fn series(&self, beats: usize, dice: &mut Dice) -> Vec<f64> {
        let mut moments = Vec::new();
        let mut now = dice.share() * self.period;
        for beat in 0..beats {
            let off = (dice.share() * 2.0 - 1.0) * self.jitter * self.period;
            let at = if self.locked { (beat as f64 + 1.0) * self.period + off } else { now + self.period + off };
            now = at;
            if dice.share() < self.missed {
                continue;
            }
            moments.push(at);
            let within = (self.period / 20.0).min(20.0);
            moments.extend((1..self.burst).map(|_| at + dice.share() * within));
        }
        let end = (beats as f64 + 1.0) * self.period;
        if self.noise > 0.0 {
            moments.extend(poisson(self.period / self.noise, end, dice));
        }
        moments.sort_by(f64::total_cmp);
        moments
    }
}

/// Poisson noise with this mean gap.
pub fn poisson(gap: f64, end: f64, dice: &mut Dice) -> Vec<f64> {
    let mut moments = Vec::new();
    let mut now = dice.wait(gap);
    while now < end {
        moments.push(now);
        now += dice.wait(gap);
    }
    moments
}

/// People in an office: sessions from nine to five on working days, each with clicks seconds to minutes apart, and pages
/// that load several things at once.
pub fn office(days: usize, sessions: f64, dice: &mut Dice) -> Vec<f64> {
    let mut moments = Vec::new();
    for day in (0..days).filter(|day| day % 7 < 5) {
        let open = day as f64 * 86_400.0 + 9.0 * 3600.0;
        let mut now = open + dice.wait(1800.0);
        while now < open + 8.0 * 3600.0 {
            let clicks = 1 + dice.wait(6.0) as usize;
            for _ in 0..clicks {
                let loads = 1 + dice.wait(1.5) as usize;
                moments.extend((0..loads).map(|_| now + dice.share() * 2.0));
                // Log-normal, a median of 25 s.
                let normal: f64 = (0..12).map(|_| dice.share()).sum::<f64>() - 6.0;
                now += 25.0 * (0.9 * normal).exp();
            }
            now += dice.wait(8.0 * 3600.0 / sessions);
        }
    }
    moments.sort_by(f64::total_cmp);
    moments
}

/// Clusters at random moments: uploads of folders, retries.
pub fn clusters(gap: f64, size: f64, end: f64, dice: &mut Dice) -> Vec<f64> {
    let mut moments = Vec::new();
    for head in poisson(gap, end, dice) {
        let mut now = head;
        for _ in 0..=(dice.wait(size) as usize) {
            moments.push(now);
            now += dice.wait(3.0);
        }
    }
    moments.sort_by(f64::total_cmp);
    moments
}

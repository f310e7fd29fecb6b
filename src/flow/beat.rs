//! Whether a series of moments has a beat: a period that it keeps among noise, missed beats, bursts and jitter.
//!
//! Gaps between neighbours, which RITA's beacon score looks at (their skew, and their spread about the median), tell
//! nothing once other traffic stands between the beats. So two steps are taken here. Differences between each moment and
//! several that follow it are gathered on a logarithmic scale; the periods that stand out from their surroundings are
//! *candidates*. Each candidate is then followed beat by beat through the series: is there a moment one period after the
//! last one? The same question is asked half a period and one and a half periods after it, where a beat has nothing and
//! chance has as much. What the first answer has more than the other two is the *strength*, and how improbable that is by
//! chance the *significance*. People's office hours give all three the same.

use std::time::Duration;

/// A beat that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// From one beat to the next: the median.
    pub period: Duration,
    /// Nine of ten beats come within this share of the period, early or late.
    pub jitter: f64,
    /// How many beats were met.
    pub met: u32,
    /// Share of the beats that were met, from 0 to 1.
    pub kept: f64,
    /// By how much more often there is something at the beat than between beats, from 0 to 1.
    pub strength: f64,
    /// By how many standard deviations that exceeds chance.
    pub significance: f64,
}

/// Shortest and longest period that is looked for.
const SHORTEST: f64 = 0.8;
const LONGEST: f64 = 2.2 * 86_400.0;
/// Fewest beats met. Five moments in a row may well be a person's.
const FEWEST: u32 = 6;
/// Least [`Beat::strength`].
const STRENGTH: f64 = 0.33;
/// Least [`Beat::significance`]. High, because many periods are tried on one series.
const SIGNIFICANCE: f64 = 4.5;
/// A weaker beat, if it goes on for long: half of it missed, at most jitter, or much between its beats.
const LONG_STRENGTH: f64 = 0.2;
const LONG_SIGNIFICANCE: f64 = 6.0;
/// Beats missed in a row after which a beat counts as paused.
const PAUSED: u32 = 4;
/// A beat may come this much early or late, as shares of the period. The widest still leaves room between beats.
const WIDTHS: [f64; 5] = [0.02, 0.05, 0.1, 0.16, WIDEST];
const WIDEST: f64 = 0.24;
/// From this width on a beat that comes a little outside of it is still followed.
const LOOSE: f64 = 0.05;
/// From here on a period counts only with a jitter of a twentieth at most, and little beside it: people's days are alike,
/// too. A person who comes once each morning and for nothing else is a daily beat.
const HALF_DAY: f64 = 43_200.0;
/// Most moments, counted with a pause of a tenth of the period between them, for each beat met: where there are more, the
/// beat is no more than a thread in something else.
const CROWD: f64 = 5.0;
/// The same from half a day on.
const DAILY_CROWD: f64 = 1.6;

/// Looks for a beat in moments, in milliseconds and ascending.
///
/// Takes some milliseconds for 512 of them.
pub fn find(moments: &[i64]) -> Option<Beat> {
    let seconds: Vec<f64> = moments.iter().map(|moment| (moment - moments[0]) as f64 / 1000.0).collect();
    if seconds.len() < FEWEST as usize {
        return None;
    }
    let found: Vec<Beat> = candidates(&seconds).into_iter().filter_map(|period| judge(&seconds, period)).collect();
    // Thrice the period is kept as well as the period, but met a third as often; a third of it is missed two times of
    // three. The significance knows both.
    let best = found.into_iter().max_by(|one, other| one.significance.total_cmp(&other.significance))?;
    // Where the clock decides and not the last beat, multiples of the period are sharper than the period.
    let parts = PARTS.iter().filter_map(|part| judge(&seconds, best.period.as_secs_f64() / part));
    parts
        .filter(|part| part.kept >= best.kept * ALIKE)
        .chain([best])
        .max_by(|one, other| one.significance.total_cmp(&other.significance))
}

/// A candidate may be this multiple of what is meant.
const PARTS: [f64; 4] = [2.0, 3.0, 4.0, 5.0];
/// A part that is meant is kept about as well as its multiple; one that is not, half as well.
const ALIKE: f64 = 0.75;

/// The best width for a period, with the period itself corrected by what was met.
fn judge(seconds: &[f64], period: f64) -> Option<Beat> {
    let mut best: Option<Beat> = None;
    for width in WIDTHS {
        if period >= HALF_DAY && width > 0.05 {
            break;
        }
        let mut followed = follow(seconds, period, width);
        for _ in 0..if followed.is_promising() { 2 } else { 0 } {
            let Some(median) = median(&mut followed.intervals) else { break };
            followed = follow(seconds, median, width);
        }
        if let Some(beat) = followed.beat(seconds)
            && best.is_none_or(|best| beat.significance > best.significance)
        {
            best = Some(beat);
        }
    }
    best
}

/// What was met on the way through a series.
struct Followed {
    period: f64,
    steps: u32,
    /// Something one period after the last beat.
    met: u32,
    /// Something half a period, and one and a half periods after it.
    between: u32,
    /// Intervals between two beats that were both met.
    intervals: Vec<f64>,
}

fn follow(seconds: &[f64], period: f64, width: f64) -> Followed {
    let mut followed = Followed { period, steps: 0, met: 0, between: 0, intervals: Vec::new() };
    let reach = period * width;
    let last = seconds[seconds.len() - 1];
    let (mut anchor, mut missed, mut next) = (seconds[0], 0, 1);
    while anchor + period <= last {
        followed.steps += 1;
        let control = |share: f64| u32::from(nearest(seconds, anchor + share * period, reach, next).is_some());
        followed.between += control(0.5) + control(1.5);
        match nearest(seconds, anchor + period, reach, next) {
            Some(place) => {
                followed.met += 1;
                if missed == 0 {
                    followed.intervals.push(seconds[place] - anchor);
                }
                (anchor, missed, next) = (seconds[place], 0, place + 1);
            }
            None if missed == PAUSED => {
                // The beat pauses, or was none: the next moment may begin it again.
                let after = next + seconds[next..].partition_point(|second| *second <= anchor + period);
                let Some(again) = seconds.get(after) else { break };
                (anchor, missed, next) = (*again, 0, after + 1);
            }
            // What came a little too early or late is a beat missed, and yet the place to go on from.
            None if width < LOOSE => (anchor, missed) = (anchor + period, missed + 1),
            None => match nearest(seconds, anchor + period, 0.4 * period, next) {
                Some(place) => (anchor, missed, next) = (seconds[place], missed + 1, place + 1),
                None => (anchor, missed) = (anchor + period, missed + 1),
            },
        }
    }
    followed
}

/// The moment nearest to `expected` within `reach`, among those from `from` on.
fn nearest(seconds: &[f64], expected: f64, reach: f64, from: usize) -> Option<usize> {
    let rest = seconds.get(from..)?;
    // What is sought is mostly near: the search doubles its way out to it.
    let mut reached = 8;
    while rest.get(reached).is_some_and(|second| *second < expected) {
        reached *= 2;
    }
    let after = from + rest[..rest.len().min(reached + 1)].partition_point(|second| *second < expected);
    let before = after.checked_sub(1).filter(|before| *before >= from);
    let distance = |place: &usize| (seconds[*place] - expected).abs();
    let places = before.into_iter().chain((after < seconds.len()).then_some(after));
    places.filter(|place| distance(place) <= reach).min_by(|one, other| distance(one).total_cmp(&distance(other)))
}

impl Followed {
    /// Whether it is worth a closer look.
    fn is_promising(&self) -> bool {
        let (met, between) = (f64::from(self.met), f64::from(self.between) / 2.0);
        met >= 4.0 && met - between > 0.15 * f64::from(self.steps)
    }

    fn beat(&mut self, seconds: &[f64]) -> Option<Beat> {
        if self.met < FEWEST {
            return None;
        }
        let (steps, met) = (f64::from(self.steps), f64::from(self.met));
        let between = f64::from(self.between) / 2.0;
        let share = (met + 2.0 * between) / (3.0 * steps);
        let deviation = (steps * share * (1.0 - share) * 1.5).sqrt().max(0.5);
        let (strength, significance) = ((met - between) / steps, (met - between) / deviation);
        let is_clear = strength >= STRENGTH && significance >= SIGNIFICANCE;
        let is_long = strength >= LONG_STRENGTH && significance >= LONG_SIGNIFICANCE;
        if !(is_clear || is_long)
            || crowd(seconds, self.period) > met * if self.period < HALF_DAY { CROWD } else { DAILY_CROWD }
        {
            return None;
        }
        let period = median(&mut self.intervals)?;
        Some(Beat {
            period: Duration::from_secs_f64(period),
            jitter: jitter(&self.intervals, period),
            met: self.met,
            kept: met / steps,
            strength,
            significance,
        })
    }
}

/// How many moments there are when those within a tenth of a period after another count with it.
fn crowd(seconds: &[f64], period: f64) -> f64 {
    let (mut count, mut last) = (0.0, f64::NEG_INFINITY);
    for second in seconds {
        if second - last > period / 10.0 {
            count += 1.0;
            last = *second;
        }
    }
    count
}

/// The 90th percentile of the distance from the period, as a share of it.
fn jitter(intervals: &[f64], period: f64) -> f64 {
    let mut off: Vec<f64> = intervals.iter().map(|interval| (interval - period).abs() / period).collect();
    off.sort_by(f64::total_cmp);
    off.get(off.len() * 9 / 10).or(off.last()).copied().unwrap_or_default()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Of each moment, so many that follow it are looked at.
const FOLLOWERS: usize = 24;
/// Moments closer to one another than this count as one: the bursts of each scale are seen as beats of their own.
const BURSTS: [f64; 5] = [0.0, 1.5, 12.0, 90.0, 1200.0];
/// Bins of the histogram of differences, to each factor of e.
const BINS: f64 = 25.0;
/// Most periods that are tried, for each scale of bursts.
const MOST_CANDIDATES: usize = 10;

/// Periods worth trying: differences that are more frequent than their surroundings.
fn candidates(seconds: &[f64]) -> Vec<f64> {
    let span = seconds[seconds.len() - 1];
    let mut periods = Vec::new();
    let mut before = 0;
    for burst in BURSTS {
        let heads = heads(seconds, burst);
        if heads.len() == before || heads.len() < FEWEST as usize {
            continue;
        }
        before = heads.len();
        periods.extend(peaks(&heads).into_iter().filter(|period| {
            (SHORTEST..LONGEST).contains(period) && *period * f64::from(FEWEST) <= span * 1.25 && *period > 2.0 * burst
        }));
    }
    periods.sort_by(f64::total_cmp);
    periods.dedup_by(|one, other| *one < *other * 1.01);
    periods
}

/// The first moment of each burst.
fn heads(seconds: &[f64], burst: f64) -> Vec<f64> {
    let mut heads: Vec<f64> = Vec::new();
    for second in seconds {
        if heads.last().is_none_or(|last| second - last > burst) {
            heads.push(*second);
        }
    }
    heads
}

fn peaks(heads: &[f64]) -> Vec<f64> {
    let bin = |difference: f64| ((difference / SHORTEST).ln() * BINS + 8.0).max(0.0) as usize;
    let mut histogram = vec![0.0f64; bin(LONGEST) + 1];
    for (place, head) in heads.iter().enumerate() {
        for later in heads[place + 1..].iter().take(FOLLOWERS) {
            let difference = later - head;
            if let Some(count) = histogram.get_mut(bin(difference)) {
                *count += 1.0;
            }
        }
    }
    let mut peaks: Vec<(f64, usize)> = Vec::new();
    // Narrow for beats that are exact, wide for those that are not.
    for half in [1usize, 4, 8] {
        let smooth = smoothed(&histogram, half);
        let around = smoothed(&histogram, half * 4 + 6);
        let rise = |place: usize| {
            let (here, mean) = (smooth[place], around[place]);
            (here - mean) / (mean + 0.5).sqrt() * (2.0 * half as f64 + 1.0).sqrt()
        };
        for place in 1..histogram.len() - 1 {
            let is_top = smooth[place] >= smooth[place - 1] && smooth[place] > smooth[place + 1];
            if is_top && smooth[place] > 0.0 {
                peaks.push((rise(place), place));
            }
        }
    }
    peaks.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut places: Vec<usize> = Vec::new();
    for (_, place) in peaks {
        if places.len() < MOST_CANDIDATES && places.iter().all(|other| other.abs_diff(place) > 1) {
            places.push(place);
        }
    }
    places.into_iter().map(|place| SHORTEST * ((place as f64 + 0.5 - 8.0) / BINS).exp()).collect()
}

/// Means over `half` bins to either side.
fn smoothed(histogram: &[f64], half: usize) -> Vec<f64> {
    let mut sums = vec![0.0; histogram.len() + 1];
    for (place, count) in histogram.iter().enumerate() {
        sums[place + 1] = sums[place] + count;
    }
    let mean = |place: usize| {
        let (from, to) = (place.saturating_sub(half), (place + half + 1).min(histogram.len()));
        (sums[to] - sums[from]) / (to - from) as f64
    };
    (0..histogram.len()).map(mean).collect()
}

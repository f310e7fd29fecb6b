//! Recall and precision on series of known truth. The table is printed; each row has its threshold.
//!
//! A beat counts as found if the period is within 12 % of the truth; another period is a false one. Jitter of 20 % means
//! that each interval lies uniformly between 0.8 and 1.2 periods.

use tasrih::flow::beat;

use crate::series::{Dice, Truth, clusters, office, poisson};

/// From a second to a day. The last is not found among noise, which takes a ninth of the recall of those rows; its
/// jitter is at most 3 %: people's days are alike, too (see `beat.rs`).
const PERIODS: [f64; 9] = [1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];

fn moments(seconds: &[f64]) -> Vec<i64> {
    let mut moments: Vec<i64> = Vec::new();
    for second in seconds {
        let moment = (second * 1000.0) as i64;
        if moments.last().is_none_or(|last| moment - last >= 250) {
            moments.push(moment);
        }
    }
    moments.split_off(moments.len().saturating_sub(512))
}

struct Row {
    what: &'static str,
    jitter: f64,
    missed: f64,
    burst: usize,
    noise: f64,
    locked: bool,
    /// Least recall; `None` where chance has the upper hand, and the row only tells how much.
    recall: Option<f64>,
}

const fn row(what: &'static str, jitter: f64, missed: f64, burst: usize, noise: f64, recall: f64) -> Row {
    Row { what, jitter, missed, burst, noise, locked: false, recall: Some(recall) }
}

const ROWS: [Row; 16] = [
    row("exact", 0.0, 0.0, 1, 0.0, 1.0),
    row("jitter 10 %", 0.1, 0.0, 1, 0.0, 0.97),
    row("jitter 20 %", 0.2, 0.0, 1, 0.0, 0.97),
    row("jitter 30 %", 0.3, 0.0, 1, 0.0, 0.85),
    row("20 % missed", 0.1, 0.2, 1, 0.0, 0.97),
    row("40 % missed", 0.1, 0.4, 1, 0.0, 0.95),
    row("40 % missed, jitter 20 %", 0.2, 0.4, 1, 0.0, 0.85),
    row("bursts of 4", 0.1, 0.2, 4, 0.0, 0.97),
    row("noise 1/2", 0.1, 0.0, 1, 0.5, 0.95),
    row("noise 1", 0.1, 0.0, 1, 1.0, 0.85),
    row("noise 2", 0.05, 0.0, 1, 2.0, 0.8),
    row("noise 1/2, 20 % missed, bursts of 3", 0.1, 0.2, 3, 0.5, 0.85),
    row("noise 1, 20 % missed", 0.05, 0.2, 1, 1.0, 0.85),
    Row { locked: true, ..row("by the clock, 20 % missed", 0.1, 0.2, 1, 0.0, 0.85) },
    Row { recall: None, ..row("noise 1, 40 % missed, jitter 20 %", 0.2, 0.4, 1, 1.0, 0.0) },
    Row { recall: None, ..row("noise 2, 40 % missed, jitter 30 %", 0.3, 0.4, 1, 2.0, 0.0) },
];

/// Series of each row and period.
const RUNS: usize = 5;

#[test]
fn recall_and_precision_keep_to_their_thresholds() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut found, mut falsely) = (0, 0);
    let mut short = Vec::new();
    println!("{:<40} {:>6} {:>6} {:>6}", "beats", "series", "recall", "false");
    for row in ROWS {
        let (mut series, mut right, mut wrong) = (0, 0, 0);
        for period in PERIODS {
            for _ in 0..RUNS {
                let jitter = if period > 43_200.0 { row.jitter.min(0.03) } else { row.jitter };
                let Row { missed, burst, noise, locked, .. } = row;
                let truth = Truth { period, jitter, missed, burst, noise, locked };
                let beats = if period > 43_200.0 { 40 } else { 160 };
                let beat = beat::find(&moments(&truth.series(beats, &mut dice)));
                let near = |beat: beat::Beat| (beat.period.as_secs_f64() / period - 1.0).abs() < 0.12;
                series += 1;
                right += u32::from(beat.is_some_and(near));
                wrong += u32::from(beat.is_some_and(|beat| !near(beat)));
            }
        }
        let recall = f64::from(right) / f64::from(series);
        println!("{:<40} {series:>6} {recall:>6.2} {wrong:>6}", row.what);
        if row.recall.is_some_and(|least| recall < least) {
            short.push(format!("{}: recall {recall:.3}", row.what));
        }
        found += right;
        falsely += wrong;
    }
    println!("\n{:<40} {:>6} {:>13}", "no beat", "series", "false");
    for (what, mut make) in beatless() {
        let wrong = (0..15).filter(|_| beat::find(&moments(&make(&mut dice))).is_some()).count();
        println!("{what:<40} {:>6} {wrong:>13}", 15);
        falsely += u32::try_from(wrong).expect("few");
    }
    let precision = f64::from(found) / f64::from(found + falsely);
    println!("\nprecision {precision:.4}: {found} found, {falsely} false");
    assert!(short.is_empty(), "{short:?}");
    assert!(precision >= 0.985, "precision {precision}");
}

type Maker = Box<dyn FnMut(&mut Dice) -> Vec<f64>>;

fn beatless() -> Vec<(String, Maker)> {
    let mut makers: Vec<(String, Maker)> = Vec::new();
    for gap in [0.5, 5.0, 60.0, 600.0, 7_200.0] {
        makers.push((format!("Poisson, {gap} s apart"), Box::new(move |dice| poisson(gap, gap * 300.0, dice))));
    }
    for (days, sessions) in [(1, 3.0), (1, 20.0), (5, 3.0), (5, 20.0), (28, 3.0), (28, 20.0)] {
        let what = format!("office, {days} days, {sessions} visits a day");
        makers.push((what, Box::new(move |dice| office(days, sessions, dice))));
    }
    for (gap, size) in [(600.0, 5.0), (3_600.0, 10.0), (120.0, 2.0)] {
        let what = format!("clusters of {size}, {gap} s apart");
        makers.push((what, Box::new(move |dice| clusters(gap, size, gap * 80.0, dice))));
    }
    makers
}

#[test]
fn the_five_minute_beat_is_found_among_people() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    for run in 0..5 {
        let truth = Truth { period: 300.0, jitter: 0.03, missed: 0.1, burst: 1, noise: 0.0, locked: false };
        let mut both = truth.series(400, &mut dice);
        both.extend(office(1, 4.0, &mut dice));
        both.sort_by(f64::total_cmp);
        let beat = beat::find(&moments(&both)).unwrap_or_else(|| panic!("run {run}: no beat"));
        assert!((beat.period.as_secs_f64() - 300.0).abs() < 6.0, "run {run}: {beat:?}");
    }
}

#[test]
fn too_little_is_no_beat() {
    for moments in [&[][..], &[0], &[0, 300_000], &[0, 300_000, 600_000, 900_000, 1_200_000, 1_500_000], &[5; 100]] {
        assert_eq!(beat::find(moments), None, "{moments:?}");
    }
    let minutes: Vec<i64> = (0..8).map(|minute| minute * 60_000).collect();
    assert!(beat::find(&minutes).is_some());
    assert_eq!(beat::find(&minutes[1..]), None);
}

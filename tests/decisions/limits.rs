//! Limits under a simulated clock: the beat, retries, days of other lengths, exchanges in flight, restarts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tasrih::policy::{CandidateKind, DeclaredBody, PastExchange, PastRequest, Reason, Sent, Used};
use tasrih::register::{Id, Register};

use crate::harness::{CLOCKS, Edit, FRAME, Line, body, digest, register, time};

const LIMITS: &str =
    "limits: {min_interval: PT5M, max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB, retries: 3}";
const ZONE: &str = "time_zone: Africa/Casablanca";

/// A register whose transfer has these limits.
fn limited(limits: &'static str) -> Arc<Register> {
    register(&[(LIMITS, limits)], CLOCKS[0])
}

fn noon() -> Timestamp {
    time("2024-05-02T11:00:00Z")
}

fn after(start: Timestamp, seconds: u64) -> Timestamp {
    start + Duration::from_secs(seconds)
}

#[test]
fn three_days_of_a_jittered_five_minute_beat_all_pass() {
    for clock in CLOCKS {
        for phase in [0, 7, 150] {
            let mut line = Line::new(register(&[], clock));
            // Midnight in Morocco, whatever its offset is that year, falls within an hour of the start.
            let start = after(time(&format!("{}T22:00:00Z", clock.1)), phase);
            let mut random = Random(42 + phase);
            for beat in 0..3 * 288_u64 {
                // Fifteen seconds around the beat: together no more than the tolerance of thirty.
                let at = after(start, 60 + beat * 300 + random.below(31)) - Duration::from_secs(15);
                assert_eq!(line.send(at, &body(beat), 200), Ok(()), "beat {beat} at {at}, phase {phase}");
                if beat % 12 == 0 {
                    line.ledger.prune(at);
                }
            }
        }
    }
}

#[test]
fn the_interval_is_a_long_run_rate() {
    let mut line = Line::new(limited("limits: {min_interval: PT5M}"));
    assert_eq!(line.send(noon(), &body(0), 200), Ok(()));
    // As early as the tolerance allows, once; twice in a row would be faster than declared.
    assert_eq!(line.send(after(noon(), 270), &body(1), 200), Ok(()));
    assert_eq!(line.send(after(noon(), 540), &body(2), 200), Err(Reason::TooFrequent));
    assert_eq!(line.send(after(noon(), 570), &body(2), 200), Ok(()));
    let denial = line.offer(after(noon(), 600), &body(3)).expect_err("too early");
    assert_eq!(denial.retry_after, Some(Duration::from_secs(270)));
    assert_eq!(denial.status, 429);
}

#[test]
fn a_retry_after_503_is_the_same_transfer_as_often_as_declared() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    assert_eq!(line.send(noon(), &body(0), 503), Ok(()));
    assert_eq!(line.send(after(noon(), 1), &body(1), 200), Err(Reason::TooFrequent), "another body is no retry");
    for retry in 1..=3 {
        assert_eq!(line.send(after(noon(), retry), &body(0), 503), Ok(()), "retry {retry}");
    }
    assert_eq!(line.send(after(noon(), 4), &body(0), 503), Err(Reason::TooFrequent), "the fourth retry");
    assert_eq!(line.send(after(noon(), 300), &body(1), 200), Ok(()), "retries move no interval");
}

#[test]
fn an_answered_body_has_no_retry_left() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    assert_eq!(line.send(noon(), &body(0), 503), Ok(()));
    assert_eq!(line.send(after(noon(), 1), &body(0), 201), Ok(()));
    assert_eq!(line.send(after(noon(), 2), &body(0), 201), Err(Reason::TooFrequent));
}

#[test]
fn a_retry_is_judged_at_the_body_stage_and_never_exempt_from_bytes() {
    let size = body(0).len();
    let limits = format!("limits: {{min_interval: PT5M, retries: 3, max_bytes_per_day: {}}}", 2 * size);
    let mut line = Line::new(limited(Box::leak(limits.into_boxed_str())));
    assert_eq!(line.send(noon(), &body(0), 503), Ok(()));
    let denial = line.offer(after(noon(), 1), &body(1)).expect_err("another body");
    assert_eq!((denial.reason, denial.stage), (Reason::TooFrequent, tasrih::policy::Stage::Body));
    assert_eq!(line.send(after(noon(), 2), &body(0), 503), Ok(()));
    assert_eq!(line.send(after(noon(), 3), &body(0), 503), Err(Reason::VolumeLimit));
}

#[test]
fn a_retry_that_never_left_is_given_back() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    assert_eq!(line.send(noon(), &body(0), 503), Ok(()));
    for second in 1..10 {
        let verdict = line.offer(after(noon(), second), &body(0)).unwrap_or_else(|denial| panic!("{}", denial.reason));
        line.end(verdict, after(noon(), second), None);
    }
    assert_eq!(line.send(after(noon(), 20), &body(0), 200), Ok(()));
}

#[test]
fn a_day_of_25_hours_has_a_twenty_fourth_more_and_one_of_23_the_whole() {
    let paris: Edit = (ZONE, "time_zone: Europe/Paris");
    for (midnight, allowed) in [
        ("2024-10-26T22:00:00Z", 300),
        ("2024-03-30T23:00:00Z", 288),
        ("2024-06-14T22:00:00Z", 288),
        ("2031-10-25T22:00:00Z", 300),
        ("2031-03-29T23:00:00Z", 288),
    ] {
        let mut line = Line::new(register(&[paris, (LIMITS, "limits: {max_per_day: 288}")], CLOCKS[0]));
        let start = time(midnight);
        let passed = (0..400).take_while(|number| line.send(after(start, 10 * number), &body(*number), 200).is_ok());
        assert_eq!(passed.count(), allowed, "the day that begins at {midnight}");
    }
}

#[test]
fn the_beat_passes_on_days_of_23_and_25_hours() {
    let paris: Edit = (ZONE, "time_zone: Europe/Paris");
    for midnight in ["2024-10-26T22:00:00Z", "2024-03-30T23:00:00Z", "2031-10-25T22:00:00Z", "2031-03-29T23:00:00Z"] {
        let mut line = Line::new(register(&[paris], CLOCKS[0]));
        for beat in 0..2 * 300 {
            let at = after(time(midnight), beat * 300);
            assert_eq!(line.send(at, &body(beat), 200), Ok(()), "beat {beat} at {at}");
        }
    }
}

#[test]
fn an_exchange_just_before_midnight_is_charged_to_the_next_day_when_its_own_is_full() {
    let mut line = Line::new(limited("limits: {min_interval: PT5M, max_per_day: 2}"));
    let midnight = time("2024-05-02T23:00:00Z");
    let before = |seconds| midnight - Duration::from_secs(seconds);
    assert_eq!(line.send(before(3000), &body(0), 200), Ok(()));
    assert_eq!(line.send(before(2000), &body(1), 200), Ok(()));
    let denial = line.offer(before(31), &body(2)).expect_err("the day is full");
    assert_eq!((denial.reason, denial.retry_after), (Reason::DayLimit, Some(Duration::from_secs(1))));
    assert_eq!(line.send(before(30), &body(2), 200), Ok(()), "within the tolerance");
    assert_eq!(line.send(after(midnight, 1000), &body(3), 200), Ok(()));
    assert_eq!(line.send(after(midnight, 2000), &body(4), 200), Err(Reason::DayLimit), "its number was charged early");
}

#[test]
fn two_in_flight_never_both_pass_a_limit_with_room_for_one() {
    for limits in ["limits: {min_interval: PT5M}", "limits: {max_per_day: 1}", "limits: {max_bytes_per_day: 50B}"] {
        let mut line = Line::new(limited(limits));
        let first = line.offer(noon(), &body(0)).unwrap_or_else(|denial| panic!("{}", denial.reason));
        assert!(line.offer(noon(), &body(1)).is_err(), "{limits}");
        line.end(first, noon(), None);
        assert_eq!(line.send(after(noon(), 1), &body(1), 200), Ok(()), "{limits}: given back");
    }
}

#[test]
fn bodies_of_unknown_length_are_charged_when_they_are_known() {
    let mut line = Line::new(limited("limits: {max_bytes_per_day: 50B}"));
    let head = || Line::head(noon(), DeclaredBody::Unknown);
    let (first, second) = (line.admit(head()), line.admit(head()));
    let first = line.judge(first.expect("room"), &body(0)).expect("room");
    let refused = line.judge(second.expect("room so far"), &body(1)).expect_err("no room");
    assert_eq!(refused.reason, Reason::VolumeLimit);
    line.end(first, noon(), None);
    assert_eq!(line.send(noon(), &body(1), 200), Ok(()));
}

#[test]
fn a_refused_body_gives_its_reservation_back() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    assert_eq!(line.send(noon(), b"not a picture", 200), Err(Reason::Uninspectable));
    assert_eq!(line.send(noon(), &body(0), 200), Ok(()));
}

#[test]
fn an_exchange_that_is_dropped_gives_its_reservations_back() {
    let mut line = Line::new(register(&[], CLOCKS[0]));
    drop(line.admit(Line::head(noon(), DeclaredBody::Length(10))));
    drop(line.offer(noon(), &body(0)));
    assert_eq!(line.send(noon(), &body(1), 200), Ok(()));
    assert_eq!(line.send(noon(), &body(2), 200), Err(Reason::TooFrequent));
}

#[test]
fn requests_without_body_are_charged_to_no_limit() {
    let mut line = Line::new(limited("limits: {min_interval: PT5M, max_per_day: 1}"));
    for second in 0..10 {
        let permit = line.admit(Line::head(after(noon(), second), DeclaredBody::None)).expect("by method and path");
        let mut verdict = line.judge_empty(permit);
        assert!(verdict.take_reservations().is_empty());
    }
    // Announced as unknown, it may turn out to be empty.
    let permit = line.admit(Line::head(after(noon(), 20), DeclaredBody::Unknown)).expect("room");
    assert!(line.judge_empty(permit).take_reservations().is_empty());
    assert_eq!(line.send(after(noon(), 21), &body(0), 200), Ok(()));
}

#[test]
fn bytes_count_as_sent() {
    let mut line = Line::new(limited("limits: {max_bytes_per_day: 100B}"));
    let mut verdict = line.offer(noon(), &body(0)).unwrap_or_else(|denial| panic!("{}", denial.reason));
    let held = verdict.take_reservations();
    line.ledger.settle(held, Sent { bytes: 1, content_left: true, answered_2xx: false, time: noon() });
    let rest = [FRAME, &[b'.'; 80]].concat();
    assert_eq!(line.send(noon(), &rest[..99], 200), Ok(()));
    assert_eq!(line.send(noon(), FRAME, 200), Err(Reason::VolumeLimit));
}

#[test]
fn limits_are_for_all_sources_together_unless_split() {
    let both: Edit = ("from: [cctv-uploader]", "from: [any]");
    let carries: Edit = ("networks: [10.30.0.0/24]", "networks: [10.30.0.0/24], carries: [x:CCTVFrame]");
    for (limits, expected) in [
        ("limits: {min_interval: PT5M}", Err(Reason::TooFrequent)),
        ("limits: {min_interval: PT5M, per: source}", Ok(())),
    ] {
        let mut line = Line::new(register(&[both, carries, (LIMITS, limits)], CLOCKS[0]));
        assert_eq!(line.send(noon(), &body(0), 200), Ok(()));
        let mut head = Line::head(noon(), DeclaredBody::Length(10));
        head.peer.address = "10.30.0.1".parse().expect("an address");
        assert_eq!(line.admit(head).map(drop).map_err(|denial| denial.reason), expected, "{limits}");
    }
}

/// An exchange of before a restart.
fn past(at: Timestamp, number: u64, outcome: Option<(bool, bool)>) -> PastExchange {
    let body = body(number);
    let id = |text| Id::new(text).expect("an id");
    PastExchange {
        time: at,
        source: id("cctv-uploader"),
        used: Used { kind: CandidateKind::Transfer, id: id("cctv-to-ministry-a") },
        request: Some(PastRequest {
            method: "POST".into(),
            path_digest: digest(b"/cctv/cam1"),
            size: body.len() as u64,
            digest: Some(digest(&body)),
            has_content: true,
        }),
        outcome: outcome.map(|(content_left, answered_2xx)| Sent {
            bytes: body.len() as u64,
            content_left,
            answered_2xx,
            time: at,
        }),
    }
}

#[test]
fn a_restart_rebuilds_the_counters_from_the_log() {
    let replayed = |history: &[PastExchange]| {
        let mut line = Line::new(register(&[], CLOCKS[0]));
        let register = Arc::clone(&line.register);
        history.iter().for_each(|past| line.ledger.replay(&register, past));
        line
    };
    let soon = after(noon(), 10);
    let answered = past(noon(), 0, Some((true, true)));
    assert_eq!(replayed(&[answered]).send(soon, &body(1), 200), Err(Reason::TooFrequent));
    let never_left = past(noon(), 0, Some((false, false)));
    assert_eq!(replayed(&[never_left]).send(soon, &body(1), 200), Ok(()));
    // Cut off by the crash: counted as sent, and the uploader may send the same body again.
    let interrupted = past(noon(), 0, None);
    assert_eq!(replayed(std::slice::from_ref(&interrupted)).send(soon, &body(1), 200), Err(Reason::TooFrequent));
    assert_eq!(replayed(&[interrupted]).send(soon, &body(0), 200), Ok(()));
}

#[test]
fn a_replayed_day_is_the_day_that_was() {
    let mut live = Line::new(limited("limits: {min_interval: PT5M, max_per_day: 40}"));
    let mut replayed = Line::new(Arc::clone(&live.register));
    let mut random = Random(7);
    let mut at = noon();
    for number in 0..200 {
        at = after(at, 200 + random.below(200));
        if live.send(at, &body(number), 200).is_ok() {
            replayed.ledger.replay(&live.register, &past(at, number, Some((true, true))));
        }
        let probe = after(at, 90);
        let (one, two) = (live.offer(probe, &body(999)), replayed.offer(probe, &body(999)));
        assert_eq!(
            one.as_ref().map(drop).map_err(|it| (it.reason, it.retry_after)),
            two.as_ref().map(drop).map_err(|it| (it.reason, it.retry_after)),
            "after {number}"
        );
        for (line, offered) in [(&mut live, one), (&mut replayed, two)] {
            if let Ok(verdict) = offered {
                line.end(verdict, probe, None);
            }
        }
    }
}

/// A small generator with a seed, so that each run sees the same jitter (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

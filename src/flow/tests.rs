//! What a flow remembers, and what it forgets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;

fn sighting(second: i64, source: &str, destination: &str) -> Sighting {
    Sighting {
        time: Timestamp::from_second(1_700_000_000 + second).expect("a time"),
        source: source.to_owned(),
        peer: Some("10.20.0.5".to_owned()),
        destination: destination.to_owned(),
        recipient: None,
        decision: Decision::Denial,
        reason: Some(Reason::NoDeclaration),
        used: None,
        categories: vec!["x:CCTVFrame".to_owned()],
        count: 1,
    }
}

#[test]
fn the_beat_of_the_case_is_found() {
    let mut flows = Flows::new(8);
    for frame in 0..24 {
        flows.see(&sighting(frame * 300 + frame % 3, "cctv-uploader", "intake.ministry-a.example:443"));
        flows.see(&sighting(frame * frame * 37, "desk", "news.example:443"));
    }
    let flow = flows.get(FlowId::of("cctv-uploader", "intake.ministry-a.example:443")).expect("the flow");
    let beat = flow.beat().expect("a beat");
    assert!((beat.period.as_secs_f64() - 300.0).abs() < 2.0, "{beat:?}");
    assert!(beat.jitter < 0.02 && beat.kept > 0.95, "{beat:?}");
    assert_eq!((flow.count, flow.is_undeclared()), (24, true));
    assert_eq!(flow.last.duration_since(flow.first), SignedDuration::from_secs(23 * 300 + 2));
    let other = flows.get(FlowId::of("desk", "news.example:443")).expect("the flow");
    assert_eq!(other.beat(), None);
}

#[test]
fn a_source_behind_several_addresses_is_one_flow() {
    let mut flows = Flows::new(8);
    for peer in ["10.20.0.5", "10.20.0.6", "2001:db8::1"] {
        flows.see(&Sighting { peer: Some(peer.to_owned()), ..sighting(0, "cctv-uploader", "a.example:443") });
    }
    assert_eq!(flows.sorted().len(), 1);
    assert_eq!(flows.sorted()[0].peers.len(), 3);
}

#[test]
fn names_stay_the_same() {
    let id = FlowId::of("cctv-uploader", "intake.ministry-a.example:443");
    assert_eq!(id.to_string(), "9962f344ef6f");
    assert_eq!(FlowId::parse(&id.to_string()), Some(id));
    assert_ne!(id, FlowId::of("cctv-uploaderi", "ntake.ministry-a.example:443"));
    for wrong in ["", "9962f344ef6", "9962f344ef6fb", "9962f344ef6g", "+962f344ef6f"] {
        assert_eq!(FlowId::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn limits_orders_and_faults_change_no_standing() {
    let permit = Sighting {
        decision: Decision::Permit,
        reason: None,
        used: Some((CandidateKind::Transfer, "t".to_owned())),
        ..sighting(0, "s", "d:443")
    };
    let refused = |second, reason| Sighting { reason: Some(reason), ..sighting(second, "s", "d:443") };
    let mut flows = Flows::new(8);
    flows.see(&permit);
    for (second, reason) in [(1, Reason::TooFrequent), (2, Reason::SuspendedByOrder), (3, Reason::Unreachable)] {
        let flow = flows.see(&refused(second, reason));
        assert_eq!(flow.standing, Standing::Declared(CandidateKind::Transfer, "t".to_owned()), "{reason}");
        assert_eq!(flow.decision, (Decision::Denial, Some(reason)));
    }
    assert!(flows.see(&refused(4, Reason::Expired)).is_undeclared());
}

#[test]
fn memory_is_bounded_and_what_recurs_is_kept() {
    let mut flows = Flows::new(50);
    for beat in 0..20 {
        flows.see(&sighting(beat * 300, "cctv-uploader", "a.example:443"));
        for host in 0..100 {
            flows.see(&sighting(beat * 300 + host, "scanner", &format!("h{beat}-{host}.example:443")));
        }
    }
    assert!(flows.sorted().len() <= 50 && flows.forgotten() >= 1951, "{}", flows.forgotten());
    let kept = flows.get(FlowId::of("cctv-uploader", "a.example:443")).expect("the one that recurs");
    assert_eq!(kept.beat().map(|beat| beat.period), Some(Duration::from_secs(300)));
    for second in 0..10_000 {
        flows.see(&sighting(7_000 + second, "cctv-uploader", "a.example:443"));
    }
    assert_eq!(flows.get(kept_id()).expect("still there").moments.len(), MOMENTS);
}

fn kept_id() -> FlowId {
    FlowId::of("cctv-uploader", "a.example:443")
}

#[test]
fn records_of_several_nodes_may_come_in_any_order() {
    let (mut forth, mut back) = (Flows::new(8), Flows::new(8));
    for beat in 0..20 {
        forth.see(&sighting(beat * 60, "s", "d:443"));
        back.see(&sighting((19 - beat) * 60, "s", "d:443"));
    }
    let beats = [&forth, &back].map(|flows| flows.sorted()[0].beat());
    assert!(beats[0].is_some() && beats[0] == beats[1], "{beats:?}");
    assert_eq!(back.sorted()[0].first, forth.sorted()[0].first);
    assert_eq!(back.sorted()[0].last, forth.sorted()[0].last);
}

#[test]
fn periods_are_said_as_people_say_them() {
    for (seconds, said) in [
        (0.94, "0.9 s"),
        (2.5, "2.5 s"),
        (5.0, "5 s"),
        (59.6, "1 min"),
        (300.2, "5 min"),
        (905.0, "15 min 5 s"),
        (3600.0, "1 h"),
        (5400.0, "1 h 30 min"),
        (86_400.0, "1 d"),
        (100_000.0, "1 d 4 h"),
    ] {
        assert_eq!(spoken(Duration::from_secs_f64(seconds)), said);
    }
}

//! The end of a log after a crash, and damage before it: what was never acknowledged is cut, what was is missed.

use tasrih::audit::OpenFault;
use tasrih::audit::frame::{Frame, Frames, HEADER};
use tasrih::record::past::{self, Kind};

use crate::exchanges::permit;
use crate::forgetful::Forgetful;
use crate::{logged, noon, open, understood};

const FIRST: &str = "00000000000000000000.seg";

/// A log of one process that was killed: three permits, each a batch of its own, none closed.
async fn killed() -> Forgetful {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    let mut recorded = Vec::new();
    for _ in 0..3 {
        recorded.push(audit.permit(permit(noon())).await.unwrap());
    }
    let killed = disk.copy();
    drop(recorded);
    audit.finish().await;
    killed
}

/// Where the last batch of a segment begins.
fn last_batch(bytes: &[u8]) -> usize {
    let batches = Frames::of(bytes).filter(|(_, frame)| matches!(frame, Frame::Batch(_)));
    batches.last().expect("there are batches").0 as usize
}

fn bytes(disk: &Forgetful) -> Vec<u8> {
    disk.contents().remove(0).1
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_of_the_last_batch_is_cut_and_recorded() {
    let whole = killed().await;
    let (bytes, from) = (bytes(&whole), last_batch(&bytes(&whole)));
    for cut in from..bytes.len() {
        let torn = whole.copy();
        torn.tamper(FIRST, |bytes| bytes.truncate(cut));
        let (audit, recovery, _state) = open(&torn, 1 << 20).unwrap();
        let at_a_frame = Frames::of(&bytes).any(|(offset, _)| offset as usize == cut);
        assert_eq!(recovery.torn.is_some(), !at_a_frame, "cut at {cut}");
        assert_eq!(recovery.interrupted, 2);
        audit.finish().await;
        let records: Vec<_> = logged(&torn).iter().map(|json| understood(json).kind).collect();
        assert_eq!(records.contains(&Kind::Lifecycle("torn-tail".to_owned())), !at_a_frame);
        let sequences: Vec<u64> = logged(&torn).iter().map(|json| understood(json).sequence).collect();
        assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_segment_cut_at_any_byte_opens_with_every_record_before_the_cut() {
    let whole = killed().await;
    let (bytes, before) = (bytes(&whole), logged(&whole));
    let ends: Vec<u64> = {
        let mut frames = Frames::of(&bytes);
        let mut ends = Vec::new();
        while let Some((_, frame)) = frames.next() {
            ends.extend(matches!(frame, Frame::Record(_)).then(|| frames.offset()));
        }
        ends
    };
    for cut in 0..bytes.len() {
        let torn = whole.copy();
        torn.tamper(FIRST, |bytes| bytes.truncate(cut));
        let (audit, _, _state) = open(&torn, 1 << 20).unwrap_or_else(|fault| panic!("cut at {cut}: {fault}"));
        audit.finish().await;
        let kept = ends.iter().filter(|end| **end <= cut as u64).count();
        let after = logged(&torn);
        assert_eq!(&after[..kept], &before[..kept], "cut at {cut}");
        let sequences: Vec<u64> = after.iter().map(|json| past::read(json).unwrap().sequence).collect();
        assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>(), "cut at {cut}");
    }
}

#[tokio::test]
async fn garbage_or_zeros_behind_the_end_are_a_torn_tail() {
    let whole = killed().await;
    for garbage in [vec![0; 4_096], vec![0xff; 100], b"{\"time\":1}".to_vec()] {
        let torn = whole.copy();
        torn.tamper(FIRST, |bytes| bytes.extend(&garbage));
        let (audit, recovery, _state) = open(&torn, 1 << 20).unwrap();
        assert_eq!(recovery.torn.map(|torn| torn.bytes), Some(garbage.len() as u64));
        assert_eq!(recovery.interrupted, 3);
        audit.finish().await;
    }
}

#[tokio::test]
async fn any_flipped_byte_below_the_synced_position_refuses_and_says_where() {
    let whole = killed().await;
    let synced = last_batch(&bytes(&whole));
    for at in (0..synced).step_by(7) {
        let damaged = whole.copy();
        damaged.tamper(FIRST, |bytes| bytes[at] ^= 1);
        let before = bytes(&damaged);
        let fault = open(&damaged, 1 << 20).map(drop).unwrap_err();
        let OpenFault::Damaged { file, offset, .. } = &fault else { panic!("{at}: {fault}") };
        assert!(file == FIRST && *offset <= at as u64 && fault.is_integrity(), "{at}: {fault}");
        assert_eq!(bytes(&damaged), before, "nothing was changed");
    }
}

#[tokio::test]
async fn after_an_orderly_stop_damage_anywhere_before_the_seal_refuses() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    audit.permit(permit(noon())).await.map(drop).unwrap();
    audit.finish().await;
    let last_record = last_batch(&bytes(&disk)) - 1;
    disk.tamper(FIRST, |bytes| bytes[last_record] ^= 1);
    assert!(matches!(open(&disk, 1 << 20), Err(OpenFault::Damaged { .. })));
}

/// Changes the bytes of a segment.
type Tamper<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A log of several small segments.
async fn segments() -> Forgetful {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 6_000).unwrap();
    for _ in 0..20 {
        audit.permit(permit(noon())).await.map(drop).unwrap();
    }
    audit.finish().await;
    assert!(disk.contents().len() > 3);
    disk
}

#[tokio::test]
async fn a_log_of_many_segments_goes_on_where_it_ended() {
    let disk = segments().await;
    let before = logged(&disk).len();
    let (audit, recovery, _state) = open(&disk, 6_000).unwrap();
    assert_eq!((recovery.interrupted, recovery.torn, recovery.last_time), (0, None, Some(noon())));
    audit.finish().await;
    let sequences: Vec<u64> = logged(&disk).iter().map(|json| understood(json).sequence).collect();
    assert_eq!(sequences, (0..before as u64 + 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_missing_shortened_or_damaged_segment_refuses() {
    let whole = segments().await;
    let names: Vec<String> = whole.contents().into_iter().map(|(name, _)| name).collect();
    for (place, name) in names.iter().enumerate() {
        let is_last = place + 1 == names.len();
        let changes: [(&str, Tamper<'_>); 3] = [
            ("header", &|bytes| bytes[3] ^= 1),
            ("middle", &|bytes| bytes[HEADER as usize + 60] ^= 1),
            ("shortened", &|bytes| bytes.truncate(bytes.len() - 5)),
        ];
        for (change, tamper) in changes {
            let damaged = whole.copy();
            damaged.tamper(name, tamper);
            let refused = matches!(open(&damaged, 6_000), Err(OpenFault::Damaged { .. }));
            assert_eq!(refused, !(is_last && change == "shortened"), "{change} {name}");
        }
        if !is_last {
            let missing = whole.copy();
            tasrih::audit::storage::Storage::remove(&missing, name).unwrap();
            assert!(matches!(open(&missing, 6_000), Err(OpenFault::Damaged { .. })), "{name} missing");
        }
    }
}

#[tokio::test]
async fn a_segment_whose_header_was_never_synced_is_taken_away() {
    let disk = segments().await;
    let (last, bytes) = disk.contents().pop().unwrap();
    let base: u64 = last.trim_end_matches(".seg").parse().unwrap();
    let next = format!("{:020}.seg", base + bytes.len() as u64);
    for torn in [Vec::new(), vec![0; 28], b"TASRIH1\n".to_vec()] {
        let disk = disk.copy();
        tasrih::audit::storage::Storage::create(&disk, &next).unwrap();
        disk.tamper(&next, |bytes| bytes.extend(&torn));
        let (audit, recovery, _state) = open(&disk, 6_000).unwrap();
        assert_eq!(recovery.torn.map(|torn| (torn.segment, torn.offset)), Some((next.clone(), 0)));
        audit.finish().await;
    }
}

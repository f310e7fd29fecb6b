//! The writer from outside: proofs, outcomes, refusals without room, the latch, folding.

use std::sync::Arc;
use std::time::Duration;

use tasrih::audit::storage::Storage;
use tasrih::audit::{Audit, Cause, Options, RecordUnavailable};
use tasrih::clock::ManualClock;
use tasrih::policy::{Decision, End};
use tasrih::record::past::{Kind, Past};
use tasrih::record::{DecisionRecord, Lifecycle, Origin, OutcomeRecord, Since};
use tasrih::register::Version;

use crate::exchanges::{denial, permit};
use crate::forgetful::Forgetful;
use crate::{logged, noon, open, read, understood};

fn kinds(records: &[Past]) -> Vec<String> {
    let word = |past: &Past| match &past.kind {
        Kind::Decision => past.decision.map_or("decision", Decision::as_str).to_owned(),
        Kind::Outcome => past.end.map_or("outcome", End::as_str).to_owned(),
        Kind::Lifecycle(word) => word.clone(),
    };
    records.iter().map(word).collect()
}

fn on(disk: &Forgetful) -> Vec<Past> {
    logged(disk).iter().map(|json| understood(json)).collect()
}

#[tokio::test]
async fn a_life_is_on_record_and_durable_step_by_step() {
    let state = tempfile::tempdir().unwrap();
    let (audit, recovery) = Audit::open(state.path(), Options::default()).unwrap();
    assert_eq!((recovery.last_time, recovery.interrupted), (None, 0));
    audit
        .note(Lifecycle::RegisterLoaded {
            version: Version("ab".into()),
            transfers: 3,
            warnings: 1,
            origin: Origin::default(),
            since: Since::First,
            kept: true,
            open_notices: 0,
        })
        .await
        .unwrap();
    let refused = denial(audit.clock().now());
    assert_eq!(audit.deny(refused.clone()).await, Ok(refused.exchange.id));
    let recorded = audit.permit(permit(audit.clock().now())).await.unwrap();
    assert_eq!(kinds(&read(state.path())), ["start", "register-loaded", "denial", "permit"]);

    let outcome =
        OutcomeRecord { status: Some(200), bytes_out: 9, content_left: true, ..recorded.outcome(End::Answered) };
    audit.close(recorded, outcome);
    audit.heartbeat(Version("ab".into())).await.unwrap();
    let health = audit.health();
    assert_eq!((health.permits, health.denials, health.open, health.is_ready()), (1, 1, 0, true));
    audit.finish().await;

    let records = read(state.path());
    assert_eq!(kinds(&records), ["start", "register-loaded", "denial", "permit", "answered", "heartbeat", "stop"]);
    assert_eq!(records.iter().map(|past| past.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(records[3].exchange, records[4].exchange);
}

#[tokio::test]
async fn a_dropped_proof_still_writes_the_outcome() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    drop(audit.permit(permit(noon())).await.unwrap());
    let mut second = audit.permit(permit(noon())).await.unwrap();
    second.if_dropped(End::Shutdown);
    drop(second);
    audit.finish().await;
    assert_eq!(kinds(&on(&disk)), ["start", "permit", "interrupted", "permit", "shutdown", "stop"]);
}

#[tokio::test]
async fn a_permit_whose_asker_left_is_closed_with_nothing_sent() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    let mut delivered = 0;
    for _ in 0..50 {
        // The future is polled once, so that the job is queued, and dropped at once. A quick writer may have answered
        // by then: that proof was delivered, and its drop says `interrupted`.
        tokio::select! {
            biased;
            recorded = audit.permit(permit(noon())) => {
                drop(recorded);
                delivered += 1;
            }
            () = std::future::ready(()) => {}
        }
    }
    audit.finish().await;
    let records = on(&disk);
    let count = |kind: &str| kinds(&records).iter().filter(|word| *word == kind).count();
    assert_eq!(count("permit"), count("client-closed") + delivered);
    assert_eq!(count("interrupted"), delivered);
    assert!(count("client-closed") > 0);
    assert_eq!(records.iter().filter(|past| past.content_left).count(), delivered);
}

#[tokio::test]
async fn too_little_room_refuses_decisions_keeps_outcomes_and_mends() {
    let disk = Forgetful::default();
    disk.faults(|faults| faults.room = Some(16 << 10));
    let (audit, _, _state) = open(&disk, 4 << 10).unwrap();
    let mut open = Vec::new();
    let refusal = loop {
        match audit.permit(permit(noon())).await {
            Ok(recorded) => open.push(recorded),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, RecordUnavailable::NoRoom);
    assert_eq!(audit.deny(denial(noon())).await, Err(RecordUnavailable::NoRoom));
    assert!(audit.health().no_room && audit.health().latch.is_none());

    let permits = open.len();
    assert!(permits > 0);
    for recorded in open {
        let outcome = recorded.outcome(End::Answered);
        audit.close(recorded, outcome);
    }
    disk.faults(|faults| faults.room = None);
    audit.permit(permit(noon())).await.map(drop).unwrap();
    assert!(audit.health().is_ready());
    audit.finish().await;
    let words = kinds(&on(&disk));
    assert_eq!(words.iter().filter(|word| *word == "answered").count(), permits, "{words:?}");
    assert_eq!(words.iter().filter(|word| *word == "room-again").count(), 1);
}

#[tokio::test]
async fn decisions_leave_the_reserve_to_what_is_open_and_to_the_proxy_itself() {
    let disk = Forgetful::default();
    let state = tempfile::tempdir().unwrap();
    let reserve = 2 << 20;
    let options = Options { reserve, storage: Some(Arc::new(disk.clone())), ..Options::default() };
    let (audit, _) = Audit::open(state.path(), options).unwrap();
    for _ in 0..61 {
        audit.deny(denial(noon())).await.unwrap();
    }
    let opening = audit.deny(denial(noon())).await.unwrap();
    let open = audit.permit(permit(noon())).await.unwrap();
    disk.faults(|faults| faults.room = Some(1 << 40));
    let taken = (1 << 40) - disk.free().unwrap();
    // The reserve and no more, which is enough; then a byte less.
    disk.faults(|faults| faults.room = Some(taken + reserve));
    audit.permit(permit(noon())).await.map(drop).unwrap();
    disk.faults(|faults| faults.room = Some(taken + reserve - 1));
    assert_eq!(audit.permit(permit(noon())).await.map(drop), Err(RecordUnavailable::NoRoom));
    let unlike = DecisionRecord { reason: Some(tasrih::policy::Reason::TooFrequent), ..denial(noon()) };
    assert_eq!(audit.deny(unlike).await, Err(RecordUnavailable::NoRoom));
    assert_eq!(audit.health().cause(), Some(Cause::NoRoom));
    // What is open is closed, the proxy goes on telling of itself, and a like denial needs no room of its own.
    let outcome = open.outcome(End::Answered);
    audit.close(open, outcome);
    assert_eq!(audit.deny(denial(noon())).await, Ok(opening));
    audit.heartbeat(Version("ab".into())).await.unwrap();
    assert_eq!(audit.health().cause(), Some(Cause::NoRoom), "a heartbeat uses the reserve and mends nothing");

    disk.faults(|faults| faults.room = None);
    audit.watch().await.unwrap();
    audit.heartbeat(Version("ab".into())).await.unwrap();
    assert!(audit.health().is_ready(), "a look is enough; no exchange has to be refused for it");
    audit.finish().await;
    let words = kinds(&on(&disk));
    assert_eq!(words.iter().filter(|word| ["answered", "heartbeat", "room-again"].contains(&word.as_str())).count(), 4);
    let folded: u64 =
        on(&disk).iter().filter(|past| past.decision == Some(Decision::Denial)).map(|past| past.count).sum();
    assert_eq!(folded, 63);
}

#[tokio::test]
async fn the_count_of_a_folding_waits_for_room() {
    let disk = Forgetful::default();
    let state = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(noon()));
    let storage: Option<Arc<dyn Storage>> = Some(Arc::new(disk.clone()));
    let options = Options { clock: clock.clone(), storage, reserve: 0, ..Options::default() };
    let (audit, _) = Audit::open(state.path(), options).unwrap();
    for _ in 0..100 {
        audit.deny(denial(audit.clock().now())).await.unwrap();
    }
    disk.faults(|faults| faults.room = Some(0));
    clock.advance(Duration::from_secs(61));
    // Fills what was allocated ahead, until even a heartbeat finds no room.
    while audit.heartbeat(Version("ab".into())).await.is_ok() {
        if audit.health().sequence > 20_000 {
            panic!("the disk does not get full");
        }
    }
    disk.faults(|faults| faults.room = None);
    audit.finish().await;
    let count: u64 =
        on(&disk).iter().filter(|past| past.decision == Some(Decision::Denial)).map(|past| past.count).sum();
    assert_eq!(count, 100);
}

#[tokio::test]
async fn a_failed_write_or_sync_latches_until_restart() {
    for sync in [false, true] {
        let disk = Forgetful::default();
        let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
        let recorded = audit.permit(permit(noon())).await.unwrap();
        disk.faults(|faults| (faults.fail_append, faults.fail_sync) = (!sync, sync));
        let refusal = audit.permit(permit(noon())).await.map(drop);
        assert!(matches!(refusal, Err(RecordUnavailable::Latched(_))), "{refusal:?}");
        disk.faults(|faults| (faults.fail_append, faults.fail_sync) = (false, false));
        assert!(audit.deny(denial(noon())).await.is_err(), "the latch holds though the disk works again");
        assert!(audit.health().cause() == Some(Cause::LatchedEio) && !audit.health().is_ready());
        let acknowledged = recorded.id().to_string();
        drop(recorded);
        audit.finish().await;

        let (audit, recovery, _state) = open(&disk.copy(), 1 << 20).unwrap();
        assert!(recovery.interrupted >= 1);
        assert!(on(&disk).iter().any(|past| past.uid == acknowledged));
        audit.finish().await;
    }
}

#[tokio::test]
async fn like_denials_are_folded_and_none_is_lost() {
    let disk = Forgetful::default();
    let state = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(noon()));
    let options = Options { clock: clock.clone(), storage: Some(Arc::new(disk.clone())), ..Options::default() };
    let (audit, _) = Audit::open(state.path(), options).unwrap();
    let mut answers = Vec::new();
    for _ in 0..200 {
        answers.push(audit.deny(denial(audit.clock().now())).await.unwrap());
    }
    let others = DecisionRecord { reason: Some(tasrih::policy::Reason::TooFrequent), ..denial(noon()) };
    audit.deny(others).await.unwrap();
    clock.advance(Duration::from_secs(61));
    audit.heartbeat(Version("ab".into())).await.unwrap();
    audit.finish().await;

    let records = on(&disk);
    let denials: Vec<&Past> = records.iter().filter(|past| past.decision == Some(Decision::Denial)).collect();
    assert_eq!(denials.iter().map(|past| past.count).sum::<u64>(), 201);
    assert_eq!(denials.len(), 63, "60 by themselves, one that opens, one that closes, one that is not like them");
    let opening = answers[60].to_string();
    assert!(answers[60..].iter().all(|id| id.to_string() == opening));
    let closing = denials.iter().find(|past| past.count > 1).unwrap();
    assert_eq!((closing.count, closing.exchange.as_deref()), (139, Some(opening.as_str())));
}

#[tokio::test]
async fn a_closed_log_refuses() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    let other = audit.clone();
    audit.finish().await;
    assert_eq!(other.permit(permit(noon())).await.map(drop), Err(RecordUnavailable::Closed));
}

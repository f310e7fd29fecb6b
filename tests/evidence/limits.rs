//! What the limits are given back from the log at start.

use jiff::SignedDuration;
use tasrih::audit::{Audit, Recovery};
use tasrih::policy::{Decision, End, PastExchange, Used};
use tasrih::record::{DecisionRecord, OutcomeRecord};

use crate::exchanges::{denial, id, permit};
use crate::forgetful::Forgetful;
use crate::{noon, open, options, scratch};

/// What a start finds, and what it tells the limits.
async fn reopened(disk: &Forgetful) -> (Recovery, Vec<PastExchange>) {
    let (state, mut history) = (scratch(), Vec::new());
    let opened = Audit::open_and_tell(state.path(), options(disk, 1 << 20), &mut |past| history.push(past));
    let (audit, recovery) = opened.unwrap();
    audit.finish().await;
    (recovery, history)
}

#[tokio::test]
async fn history_has_what_was_charged_with_its_outcome() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    audit.deny(denial(noon())).await.unwrap();
    let lifted = DecisionRecord { decision: Decision::WouldDeny, used: None, ..permit(noon()) };
    audit.permit(lifted).await.map(drop).unwrap();
    let recorded = audit.permit(permit(noon())).await.unwrap();
    let ended = noon() + SignedDuration::from_secs(2);
    let outcome = OutcomeRecord {
        status: Some(201),
        bytes_out: 204_800,
        content_left: true,
        time: ended,
        ..recorded.outcome(End::Answered)
    };
    audit.close(recorded, outcome);
    let open_still = audit.permit(permit(noon())).await.unwrap();
    let killed = disk.copy();
    drop(open_still);
    audit.finish().await;

    let (recovery, history) = reopened(&killed).await;
    assert_eq!((recovery.interrupted, recovery.last_time), (1, Some(ended)));
    let [answered, open] = &history[..] else { panic!("{history:?}") };
    let transfer = Used { kind: tasrih::policy::CandidateKind::Transfer, id: id("cctv-to-ministry-a") };
    assert_eq!((&answered.used, &answered.source, answered.time), (&transfer, &id("cctv-uploader"), noon()));
    let sent = answered.outcome.expect("it was answered");
    assert_eq!((sent.bytes, sent.content_left, sent.answered_2xx, sent.time), (204_800, true, true, ended));
    let request = answered.request.as_ref().expect("it was a request");
    assert_eq!((request.method.as_str(), request.size, request.has_content), ("POST", 204_800, true));
    assert_eq!(request.digest, permit(noon()).body.and_then(|body| body.digest));
    assert_eq!(open.outcome, None, "without an outcome it counts as sent");

    // The second start finds it closed as interrupted, which tells no more about what left.
    assert_eq!(reopened(&killed).await.1[1].outcome, None);
}

#[tokio::test]
async fn history_goes_back_a_day_and_no_further() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    for hours in [60, 27, 25, 1, 0] {
        let recorded = audit.permit(permit(noon() - SignedDuration::from_hours(hours))).await.unwrap();
        let outcome = recorded.outcome(End::Answered);
        audit.close(recorded, outcome);
    }
    audit.finish().await;
    let hours: Vec<i64> =
        reopened(&disk).await.1.iter().map(|past| noon().duration_since(past.time).as_hours()).collect();
    assert_eq!(hours, [25, 1, 0]);
}

#[tokio::test]
async fn exchanges_are_told_in_the_order_of_their_decisions_however_they_end() {
    let disk = Forgetful::default();
    let (audit, _, _state) = open(&disk, 1 << 20).unwrap();
    let mut under_way = Vec::new();
    for seconds in 0..6 {
        under_way.push(audit.permit(permit(noon() + SignedDuration::from_secs(seconds))).await.unwrap());
    }
    // The first but one stays open, and the others end the other way round.
    let left_open = under_way.remove(1);
    for recorded in under_way.into_iter().rev() {
        let outcome = recorded.outcome(End::Answered);
        audit.close(recorded, outcome);
    }
    let killed = disk.copy();
    drop(left_open);
    audit.finish().await;
    let told = reopened(&killed).await.1;
    let seconds: Vec<i64> = told.iter().map(|past| past.time.duration_since(noon()).as_secs()).collect();
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5]);
}

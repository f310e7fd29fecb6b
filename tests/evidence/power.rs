//! 10 (c): the writer over a disk that forgets everything not synced gives every acknowledged record back, wherever the
//! power is cut; and without the sync it does not, which shows that this check can fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use tasrih::audit::Audit;
use tasrih::policy::End;
use tasrih::record::past::Kind;
use tokio::task::JoinSet;

use crate::exchanges::{denial, permit};
use crate::forgetful::Forgetful;
use crate::{logged, noon, open, understood};

const WORKERS: u64 = 8;
const ROUNDS: u64 = 6;

/// Ids whose record was acknowledged.
type Acknowledged = Arc<Mutex<BTreeSet<String>>>;

/// Lets workers decide and close exchanges until the power is gone or they are through; gives what was acknowledged.
fn run(disk: &Forgetful, segment_size: u64) -> BTreeSet<String> {
    let acknowledged = Acknowledged::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let Ok((audit, _, _state)) = open(disk, segment_size) else { return };
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            workers.spawn(work(audit.clone(), worker, acknowledged.clone()));
        }
        while workers.join_next().await.is_some() {}
    });
    drop(runtime);
    let acknowledged = acknowledged.lock().unwrap();
    acknowledged.clone()
}

async fn work(audit: Audit, worker: u64, acknowledged: Acknowledged) {
    for round in 0..ROUNDS {
        if (worker + round).is_multiple_of(3) {
            let Ok(id) = audit.deny(denial(noon())).await else { return };
            acknowledged.lock().unwrap().insert(id.to_string());
            continue;
        }
        let Ok(recorded) = audit.permit(permit(noon())).await else { return };
        acknowledged.lock().unwrap().insert(recorded.id().to_string());
        if round % 2 == 0 {
            let outcome = recorded.outcome(End::Answered);
            audit.close(recorded, outcome);
        }
    }
}

/// What was acknowledged and is not there after a power cut and a restart.
fn lost(
    disk: &Forgetful,
    acknowledged: &BTreeSet<String>,
    mut dice: impl FnMut(u64) -> u64,
) -> Result<Vec<String>, String> {
    let after = disk.cut_power(&mut dice);
    let (audit, _, _state) = open(&after, 1 << 20).map_err(|fault| format!("refused to start: {fault}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(audit.finish());
    let records: Vec<_> = logged(&after).iter().map(|json| understood(json)).collect();
    let there: BTreeSet<&String> = records.iter().map(|past| &past.uid).collect();
    let closed: BTreeSet<_> =
        records.iter().filter(|past| past.kind == Kind::Outcome).filter_map(|past| past.exchange.as_ref()).collect();
    let undecided = records
        .iter()
        .filter(|past| past.kind == Kind::Decision && past.reason.is_none() && !closed.contains(&past.uid));
    let open_still = undecided.map(|past| format!("{} has no outcome", past.uid));
    Ok(acknowledged.iter().filter(|id| !there.contains(id)).cloned().chain(open_still).collect())
}

/// Numbers for the disk's choices, from a seed.
fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |sides| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_acknowledged_record_survives_a_power_cut(power in 0_u64..200_000, segment in 4_000_u64..60_000, seed in any::<u64>()) {
        let disk = Forgetful::default();
        disk.faults(|faults| faults.power = Some(power));
        let acknowledged = run(&disk, segment);
        let lost = lost(&disk, &acknowledged, dice(seed));
        prop_assert!(lost == Ok(Vec::new()), "{lost:?}");
    }
}

/// The same check with the sync taken out: it must notice.
#[test]
fn without_the_sync_the_same_check_finds_losses() {
    let mut found = 0;
    for seed in 0..20 {
        let disk = Forgetful::default();
        disk.faults(|faults| faults.ignore_sync = true);
        let acknowledged = run(&disk, 20_000);
        assert!(!acknowledged.is_empty());
        found += usize::from(lost(&disk, &acknowledged, dice(seed)) != Ok(Vec::new()));
    }
    assert!(found >= 15, "only {found} of 20 power cuts without a sync were noticed");
}

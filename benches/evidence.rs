//! How many decisions a second become durable, and how long one waits, by the number of those that wait at once.
//!
//! ```text
//! cargo bench --bench evidence                 for three seconds each
//! cargo bench --bench evidence -- 10           for as many seconds as you like
//! ```
//!
//! The log lies in the temporary folder (`TMPDIR`), which must be on the disk that is meant: a memory file system syncs
//! in no time. Each waiter puts a permit on record, closes it, and begins again; counted are the permits, so that the
//! log takes two records for each. What bounds the figures is the disk's sync, and with many waiters the one thread that
//! makes canonical JSON; both vary from run to run on a shared machine.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

#[allow(dead_code, reason = "only permits are measured; the tests use the rest")]
#[path = "../tests/support/exchanges.rs"]
mod exchanges;

use std::time::{Duration, Instant};

use exchanges::permit;
use tasrih::audit::{Audit, Options};
use tasrih::policy::End;
use tokio::task::JoinSet;

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!("{:>7}  {:>11}  {:>9}  {:>9}  {:>15}", "waiters", "decisions/s", "p50", "p99", "records a sync");
    for waiters in [1, 16, 256] {
        println!("{}", runtime.block_on(measure(waiters, Duration::from_secs(seconds))));
    }
}

async fn measure(waiters: usize, time: Duration) -> String {
    let state = tempfile::tempdir().unwrap();
    let (audit, _) = Audit::open(state.path(), Options::default()).unwrap();
    let started = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..waiters {
        running.spawn(waiter(audit.clone(), started + time));
    }
    let mut waits: Vec<Duration> = running.join_all().await.concat();
    let (took, health) = (started.elapsed(), audit.health());
    audit.finish().await;
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!(
        "{waiters:>7}  {:>11.0}  {:>6.2} ms  {:>6.2} ms  {:>15.1}",
        waits.len() as f64 / took.as_secs_f64(),
        at(0.50),
        at(0.99),
        health.sequence as f64 / health.batches as f64,
    )
}

async fn waiter(audit: Audit, until: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let recorded = audit.permit(permit(audit.clock().now())).await.unwrap();
        waits.push(asked.elapsed());
        let outcome = recorded.outcome(End::Answered);
        audit.close(recorded, outcome);
    }
    waits
}

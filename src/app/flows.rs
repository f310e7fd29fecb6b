//! Looking at flows while the proxy runs: once a minute, and the records of the last day at start.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_blocking;

use crate::audit;
use crate::flow::{Beat, Look};
use crate::proxy::Corridor;
use crate::record::{Lifecycle, past};

/// Of so long ago records are read again at start.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// Takes what an earlier process put on record within the last day, up to its last record.
pub async fn remember(corridor: Arc<Corridor>, state: PathBuf, last: Option<Timestamp>) {
    let Some(last) = last else { return };
    let since = corridor.now().checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
    let reading = spawn_blocking(move || {
        let Ok(records) = audit::read_since(&state, since) else { return };
        for record in records.map_while(Result::ok) {
            if *corridor.shutdown.borrow() {
                return;
            }
            match past::read(&record) {
                Ok(past) if past.time > last => return,
                Ok(past) if past.time >= since => corridor.flows().take(&past),
                // A record of another release is no reason to forget the others.
                Ok(_) | Err(_) => {}
            }
        }
    });
    if reading.await.is_err() {
        tracing::error!("the flows of the last day could not be read; recurring flows are found anew");
    }
}

/// Looks at what has grown, records undeclared flows that are recognised, and counts what recurs.
pub async fn look(corridor: &Corridor) {
    let due = corridor.flows().due();
    let find = |look: Look| {
        let beat = look.find();
        (look, beat)
    };
    let looking = spawn_blocking(move || due.into_iter().map(find).collect::<Vec<(Look, Option<Beat>)>>());
    let Ok(found) = looking.await else { return };
    for (look, beat) in found {
        let recognised = corridor.flows().found(&look, beat);
        let Some(recognised) = recognised else { continue };
        let told = Lifecycle::FlowRecognised(Box::new(recognised.clone()));
        if let Err(unavailable) = corridor.audit.note(told).await {
            tracing::error!(%unavailable, "that an undeclared flow recurs could not be recorded");
            corridor.flows().owed(&recognised);
            continue;
        }
        let seconds = recognised.period.as_secs();
        tracing::warn!(
            flow = recognised.flow,
            seconds,
            "an undeclared flow recurs; `tasrih flows --undeclared` lists it"
        );
    }
    let (declared, undeclared) = corridor.flows().counts(corridor.now());
    corridor.metrics.set_flows(declared, undeclared);
}

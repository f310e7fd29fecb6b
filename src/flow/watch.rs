//! Flows while the proxy runs: which are looked at next, which keep a period, and which undeclared ones are new.
//!
//! Finding a period takes milliseconds, so it is done outside of the lock: [`Watched::due`] hands out what to look at,
//! [`Look::find`] looks, [`Watched::found`] takes the answer.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::beat::{self, Beat};
use super::{Flow, FlowId, Flows, Sighting, Standing};
use crate::record::RecognisedFlow;
use crate::record::past::{FLOW_RECOGNISED, Kind, Past};

/// Most flows looked at in one go: below a second of computing.
const AT_ONCE: usize = 64;
/// A flow fell silent when nothing came for so many periods, and for an hour.
const SILENT: f64 = 5.0;
const LEAST_SILENCE: f64 = 3_600.0;

/// All flows of a proxy that runs.
#[derive(Debug)]
pub struct Watched {
    flows: Flows,
    looked: HashMap<FlowId, Looked>,
    /// Undeclared flows that are on record already.
    told: HashSet<FlowId>,
}

#[derive(Debug)]
struct Looked {
    /// Exchanges when it was looked at last.
    count: u64,
    beat: Option<Beat>,
}

/// A flow to look at.
#[derive(Debug)]
pub struct Look {
    id: FlowId,
    count: u64,
    moments: Vec<i64>,
}

impl Look {
    /// Looks: some milliseconds.
    pub fn find(&self) -> Option<Beat> {
        beat::find(&self.moments)
    }
}

impl Default for Watched {
    fn default() -> Watched {
        Watched { flows: Flows::new(Flows::MOST), looked: HashMap::new(), told: HashSet::new() }
    }
}

impl Watched {
    /// Takes a decision that is on record.
    pub fn see(&mut self, sighting: &Sighting) {
        self.flows.see(sighting);
    }

    /// Takes a record of an earlier process.
    pub fn take(&mut self, past: &Past) {
        if past.kind == Kind::Lifecycle(FLOW_RECOGNISED.to_owned()) {
            self.told.extend(past.seen.flow.as_deref().and_then(FlowId::parse));
        } else {
            self.flows.take(past);
        }
    }

    /// What is worth a look: flows that grew by a quarter since the last one, those that were never looked at first.
    pub fn due(&mut self) -> Vec<Look> {
        let flows = &self.flows;
        self.looked.retain(|id, _| flows.get(*id).is_some());
        let seen = |flow: &Flow| self.looked.get(&flow.id).map_or(0, |looked| looked.count);
        let mut due: Vec<&Flow> = self.flows.sorted();
        due.retain(|flow| flow.moments.len() >= FEWEST && flow.count >= seen(flow) + (seen(flow) / 4).max(1));
        due.sort_by_key(|flow| (seen(flow), !flow.is_undeclared()));
        let look =
            |flow: &Flow| Look { id: flow.id, count: flow.count, moments: flow.moments.iter().copied().collect() };
        due.into_iter().take(AT_ONCE).map(look).collect()
    }

    /// Takes what a look found; the record to write where an undeclared flow is recognised for the first time.
    pub fn found(&mut self, look: &Look, beat: Option<Beat>) -> Option<RecognisedFlow> {
        self.looked.insert(look.id, Looked { count: look.count, beat });
        let (flow, beat) = (self.flows.get(look.id)?, beat?);
        let Standing::Undeclared(reason) = flow.standing else { return None };
        self.told.insert(flow.id).then(|| RecognisedFlow {
            flow: flow.id.to_string(),
            source: flow.source.clone(),
            destination: flow.destination.clone(),
            recipient: flow.recipient.clone(),
            period: beat.period,
            jitter_percent: (beat.jitter * 100.0).round() as u64,
            count: flow.count,
            first: flow.first,
            reason,
        })
    }

    /// The record could not be written: it is owed still.
    pub fn owed(&mut self, flow: &RecognisedFlow) {
        if let Some(id) = FlowId::parse(&flow.flow) {
            self.told.remove(&id);
            self.looked.remove(&id);
        }
    }

    /// How many flows keep a period at `now`: declared, and undeclared.
    pub fn counts(&self, now: Timestamp) -> (u64, u64) {
        let recurring = self.looked.iter().filter_map(|(id, looked)| Some((self.flows.get(*id)?, looked.beat?)));
        let going = recurring.filter(|(flow, beat)| !is_silent(flow, beat.period, now));
        going.fold((0, 0), |(declared, undeclared), (flow, _)| match flow.standing {
            Standing::Declared(..) => (declared + 1, undeclared),
            Standing::Undeclared(_) => (declared, undeclared + 1),
            Standing::Unknown => (declared, undeclared),
        })
    }
}

/// Fewest moments in which a period can be found.
const FEWEST: usize = 6;

fn is_silent(flow: &Flow, period: Duration, now: Timestamp) -> bool {
    let silence = now.duration_since(flow.last).as_secs_f64();
    silence > (SILENT * period.as_secs_f64()).max(LEAST_SILENCE)
}

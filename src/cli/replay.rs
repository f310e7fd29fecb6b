//! `tasrih replay`: what another register would have done to the exchanges on record. Nothing is put in force, and
//! nothing is sent. Takes no lock: the proxy may be running.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::transfers::Bound;
use super::{FINDINGS, UNREADABLE, records};
use crate::clock::{Clock, SystemClock};
use crate::docket::Docket;
use crate::folder;
use crate::proxy::error::told;
use crate::record::past::{Kind, MEMORY, Past};
use crate::record::replay::{Group, Replay, Tally};
use crate::register::compile::{Circumstances, compile_in};
use crate::register::{Order, Register};

/// Decide recorded exchanges again by other policy files, and list what would change
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the policy files to decide by
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// State folder; may be given several times
    #[arg(long = "state", value_name = "DIR", default_value = "var")]
    states: Vec<PathBuf>,
    /// From this moment: 2024-05-02, 2024-05-02T10:00:00+01:00, or how long ago (PT6H, 30d)
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    since: Option<Bound>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let zone = TimeZone::system();
    let (register, remembered) = match dockets(&arguments.states).and_then(|remembered| {
        let all: Vec<Order> = remembered.values().flatten().cloned().collect();
        Ok((register(&arguments.policies, &all)?, remembered))
    }) {
        Ok((register, remembered)) => (Arc::new(register), remembered),
        Err(fault) => {
            eprintln!("tasrih replay: {fault}");
            return UNREADABLE;
        }
    };
    let since = arguments.since.clone().map(|since| since.first(SystemClock::default().wall(), &zone));
    let mut run = Run { replays: HashMap::new(), register, remembered, since, tally: Tally::default() };
    let read = records::read("replay", &arguments.states, |state, past| run.take(state, past));
    let faults = match read {
        Ok(faults) => faults,
        Err(code) => return code,
    };
    run.finish();
    let written = if arguments.json { run.write_json() } else { run.write(&zone) };
    let code = records::conclude("replay", written, faults);
    if code == super::FINE && run.tally.changed() > 0 { FINDINGS } else { code }
}

/// The orders that were ever taken, of each state folder: whatever the files say, they stand.
fn dockets(states: &[PathBuf]) -> Result<HashMap<PathBuf, Vec<Order>>, String> {
    let docket =
        |state: &PathBuf| Ok((state.clone(), Docket::read(state).map_err(|fault| fault.to_string())?.remembered()));
    states.iter().map(docket).collect()
}

fn register(policies: &Path, remembered: &[Order]) -> Result<Register, String> {
    if !policies.is_dir() {
        return Err(format!("there is no folder {}", policies.display()));
    }
    let texts = folder::read(policies).map_err(|fault| told(&fault))?;
    let compiled = compile_in(&texts, &Circumstances { remembered, ..Circumstances::default() });
    compiled.map(|compiled| compiled.register).map_err(|faults| format!("the policy files have faults\n{faults}"))
}

/// A replay under way.
struct Run {
    /// One for each node, as each has counters of its own.
    replays: HashMap<PathBuf, Node>,
    register: Arc<Register>,
    /// Of each state folder.
    remembered: HashMap<PathBuf, Vec<Order>>,
    since: Option<Timestamp>,
    tally: Tally,
}

struct Node {
    replay: Replay,
    /// Decisions that wait for their outcome, by exchange, in the order of their sequence numbers.
    waiting: Vec<Past>,
    outcomes: HashMap<String, Past>,
}

/// Decisions that wait for outcomes at once; beyond, the oldest is decided without.
const MOST_WAITING: usize = 4_096;

impl Run {
    fn take(&mut self, state: &Path, past: Past) {
        // What was sent a day before still counts for the limits of the first ones.
        let early = self.since.and_then(|since| since.checked_sub(MEMORY).ok());
        if early.is_some_and(|early| past.time < early) {
            return;
        }
        let (register, remembered) = (&self.register, self.remembered.get(state));
        let node = self.replays.entry(state.to_owned()).or_insert_with(|| Node {
            replay: Replay::new(Arc::new(register.with_orders(remembered.map_or(&[][..], Vec::as_slice)))),
            waiting: Vec::new(),
            outcomes: HashMap::new(),
        });
        match past.kind {
            Kind::Decision => node.waiting.push(past),
            Kind::Outcome => drop(past.exchange.clone().map(|exchange| node.outcomes.insert(exchange, past))),
            Kind::Lifecycle(_) => {}
        }
        if node.waiting.len() >= 2 * MOST_WAITING {
            node.decide(MOST_WAITING, self.since, &mut self.tally);
        }
    }

    fn finish(&mut self) {
        for node in self.replays.values_mut() {
            let all = node.waiting.len();
            node.decide(all, self.since, &mut self.tally);
        }
    }

    fn write(&self, zone: &TimeZone) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let (tally, changed) = (&self.tally, self.tally.changed());
        let version = self.register.version.0.get(..12).unwrap_or_default();
        let all = changed + tally.same;
        writeln!(out, "{all} decisions made again by register {version}: {changed} change, {} stay", tally.same)?;
        let moment = |time: Timestamp| zone.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string();
        for group in tally.groups() {
            let Group { source, destination, compared, count, first, last } = group;
            writeln!(out, "\n{count} × {source} → {destination}, {} to {}", moment(*first), moment(*last))?;
            writeln!(out, "  was       {}\n  would be  {}", compared.before, compared.after)?;
        }
        if tally.unknown() > 0 {
            writeln!(out, "\n{} could not be made again:", tally.unknown())?;
            for (unknown, count) in &tally.unknown {
                writeln!(out, "  {count}: {}", unknown.as_str())?;
            }
        }
        out.flush()
    }

    fn write_json(&self) -> io::Result<()> {
        let group = |group: &&Group| {
            json!({
                "source": group.source, "destination": group.destination, "count": group.count,
                "was": group.compared.before.to_string(), "would_be": group.compared.after.to_string(),
                "first": group.first.to_string(), "last": group.last.to_string(),
            })
        };
        let unknown =
            self.tally.unknown.iter().map(|(unknown, count)| json!({ "why": unknown.as_str(), "count": count }));
        let all = json!({
            "register": &*self.register.version.0,
            "changed": self.tally.changed(),
            "same": self.tally.same,
            "changes": self.tally.groups().iter().map(group).collect::<Value>(),
            "not_replayed": unknown.collect::<Value>(),
        });
        writeln!(io::stdout().lock(), "{all:#}")
    }
}

impl Node {
    /// Decides the oldest of those that wait.
    fn decide(&mut self, count: usize, since: Option<Timestamp>, tally: &mut Tally) {
        for past in self.waiting.drain(..count) {
            let outcome = past.exchange.as_ref().and_then(|exchange| self.outcomes.remove(exchange));
            let compared = self.replay.again(&past, outcome.as_ref());
            if since.is_none_or(|since| past.time >= since) {
                tally.add(&past, compared);
            }
            self.replay.prune(past.time);
        }
    }
}

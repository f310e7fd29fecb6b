//! `tasrih flows`: which sources send to which destinations again and again, how often, and whether anybody declared it.
//! Takes no lock: the proxy may be running.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::records;
use super::table;
use super::transfers::Bound;
use crate::clock::{Clock, SystemClock};
use crate::flow::{Beat, Flow, Flows, Standing, spoken};
use crate::policy::{Decision, Reason};

/// List recurring flows: who sends where, every how long, and whether it is declared
#[derive(clap::Args)]
pub struct Arguments {
    /// State folder; may be given several times
    #[arg(long = "state", value_name = "DIR", default_value = "var")]
    states: Vec<PathBuf>,
    /// From this moment: 2024-05-02, 2024-05-02T10:00:00+01:00, or how long ago (PT6H, 7d)
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    since: Option<Bound>,
    /// Only what no declaration lets leave
    #[arg(long)]
    undeclared: bool,
    /// Also what keeps no period
    #[arg(long)]
    all: bool,
    /// Print JSON, one flow a line
    #[arg(long)]
    json: bool,
}

/// More flows than this are not told apart; nobody reads as many.
const MOST: usize = 100_000;

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let zone = TimeZone::system();
    let since = arguments.since.clone().map(|since| since.first(SystemClock::default().wall(), &zone));
    let mut flows = Flows::new(MOST);
    let read = records::read("flows", &arguments.states, |_, past| {
        if since.is_none_or(|since| past.time >= since) {
            flows.take(&past);
        }
    });
    let faults = match read {
        Ok(faults) => faults,
        Err(code) => return code,
    };
    let listed = List::of(&flows, &arguments);
    let written = if arguments.json { listed.write_json() } else { listed.write_table(&zone) };
    records::conclude("flows", written, faults)
}

/// What is printed, undeclared flows first, the most frequent first among equals.
struct List<'a> {
    flows: Vec<(&'a Flow, Option<Beat>)>,
    /// Flows left out because they keep no period.
    without: usize,
}

impl<'a> List<'a> {
    fn of(flows: &'a Flows, arguments: &Arguments) -> List<'a> {
        let asked = flows.sorted().into_iter().filter(|flow| flow.is_undeclared() || !arguments.undeclared);
        let mut flows: Vec<(&Flow, Option<Beat>)> = asked.map(|flow| (flow, flow.beat())).collect();
        let all = flows.len();
        flows.retain(|(_, beat)| arguments.all || beat.is_some());
        // Stable: source and destination order the rest.
        flows.sort_by_key(|(flow, beat)| (beat.is_none(), !flow.is_undeclared()));
        List { without: all - flows.len(), flows }
    }

    fn write_json(&self) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for (flow, beat) in &self.flows {
            writeln!(out, "{}", as_json(flow, beat.as_ref()))?;
        }
        out.flush()
    }

    fn write_table(&self, zone: &TimeZone) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let lines: Vec<[String; COLUMNS]> = std::iter::once(HEADING.map(str::to_owned))
            .chain(self.flows.iter().map(|(flow, beat)| cells(flow, beat.as_ref(), zone)))
            .collect();
        if !self.flows.is_empty() {
            table::write(&mut out, &lines, &NUMBERS)?;
        }
        match (self.flows.len(), self.without) {
            (0, 0) => writeln!(out, "no flows")?,
            (0, without) => writeln!(out, "no flow keeps a period; {without} without one, --all shows them")?,
            (_, 0) => {}
            (_, without) => writeln!(out, "and {without} without a period; --all shows them")?,
        }
        out.flush()
    }
}

const COLUMNS: usize = 11;
const HEADING: [&str; COLUMNS] =
    ["FLOW", "SOURCE", "DESTINATION", "RECIPIENT", "EVERY", "JITTER", "COUNT", "BYTES", "FIRST", "LAST", "DECISION"];
/// Columns of numbers, which stand to the right.
const NUMBERS: [usize; 4] = [4, 5, 6, 7];

fn cells(flow: &Flow, beat: Option<&Beat>, zone: &TimeZone) -> [String; COLUMNS] {
    let moment = |time: Timestamp| zone.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string();
    [
        flow.id.to_string(),
        flow.source.clone(),
        flow.destination.clone(),
        flow.recipient.clone().unwrap_or_else(|| "nobody declared".to_owned()),
        beat.map_or("-".to_owned(), |beat| spoken(beat.period)),
        beat.map_or("-".to_owned(), |beat| format!("{:.0} %", beat.jitter * 100.0)),
        flow.count.to_string(),
        flow.bytes.to_string(),
        moment(flow.first),
        moment(flow.last),
        decision(flow),
    ]
}

/// `permit under cctv-to-ministry-a`, `denial filing-not-granted`.
fn decision(flow: &Flow) -> String {
    let (decision, reason) = flow.decision;
    match (decision, reason, &flow.standing) {
        (Decision::Permit, _, Standing::Declared(_, id)) => format!("permit under {id}"),
        (_, Some(reason), _) => format!("{} {}", decision.as_str(), reason.as_str()),
        (_, None, _) => decision.as_str().to_owned(),
    }
}

fn as_json(flow: &Flow, beat: Option<&Beat>) -> Value {
    let (declared, used, reason) = match &flow.standing {
        Standing::Declared(kind, id) => (json!(true), json!({ "kind": kind.as_str(), "id": id }), None),
        Standing::Undeclared(reason) => (json!(false), Value::Null, Some(reason.as_str())),
        Standing::Unknown => (Value::Null, Value::Null, None),
    };
    let thousandths = |share: f64| (share * 1000.0).round() / 1000.0;
    json!({
        "flow": flow.id.to_string(),
        "source": flow.source,
        "addresses": flow.peers,
        "destination": flow.destination,
        "recipient": flow.recipient,
        "period_seconds": beat.map(|beat| thousandths(beat.period.as_secs_f64())),
        "jitter": beat.map(|beat| thousandths(beat.jitter)),
        "kept": beat.map(|beat| thousandths(beat.kept)),
        "significance": beat.map(|beat| thousandths(beat.significance)),
        "count": flow.count,
        "bytes": flow.bytes,
        "first": flow.first.to_string(),
        "last": flow.last.to_string(),
        "categories": flow.categories,
        "declared": declared,
        "used": used,
        "undeclared_because": reason,
        "decision": flow.decision.0.as_str(),
        "reason": flow.decision.1.map(Reason::as_str),
    })
}

//! `tasrih transfers`: search the records of one or several state folders. Takes no lock: the proxy may be running.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::ArgGroup;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::table;
use crate::audit;
use crate::clock::{Clock, SystemClock};
use crate::policy::{Decision, Reason};
use crate::record::past;
use crate::record::search::{Followers, Query, Row};
use crate::record::summary::summary as added_up;

mod summary;

/// Search the records: what left, to whom, under which reference, and what was refused
#[derive(clap::Args)]
#[command(group = ArgGroup::new("form").args(["json", "csv"]))]
pub struct Arguments {
    /// State folder; may be given several times
    #[arg(long = "state", value_name = "DIR", default_value = "var")]
    states: Vec<PathBuf>,
    /// From this moment: 2024-05-02, 2024-05-02T10:00:00+01:00, or how long ago (PT6H, 2d)
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    since: Option<Bound>,
    /// Up to this moment, a day included
    #[arg(long, value_name = "TIME", value_parser = Bound::parse)]
    until: Option<Bound>,
    /// Id of a declared source, or address of an unknown one
    #[arg(long = "source", value_name = "ID")]
    sources: Vec<String>,
    /// Id of a recipient
    #[arg(long = "recipient", value_name = "ID")]
    recipients: Vec<String>,
    /// permit, denial or would-deny
    #[arg(long = "decision", value_name = "WORD", value_parser = decision)]
    decisions: Vec<Decision>,
    /// Word of a reason (DESIGN section 5)
    #[arg(long = "reason", value_name = "WORD", value_parser = reason)]
    reasons: Vec<Reason>,
    /// Id of the transfer or allowance used
    #[arg(long = "transfer", value_name = "ID")]
    transfers: Vec<String>,
    /// Add exchanges up: how many of whom with whom, how decided and why
    #[arg(long)]
    summary: bool,
    /// Print the records as logged, one a line; with --summary, one object a line
    #[arg(long)]
    json: bool,
    /// Print one line an exchange or a sum, comma-separated, with a heading
    #[arg(long)]
    csv: bool,
}

pub fn main(arguments: Arguments) -> u8 {
    let zone = TimeZone::system();
    let now = SystemClock::default().wall();
    let query = Query {
        since: arguments.since.map(|bound| bound.first(now, &zone)),
        until: arguments.until.map(|bound| bound.first_beyond(now, &zone)),
        sources: arguments.sources,
        recipients: arguments.recipients,
        decisions: arguments.decisions,
        reasons: arguments.reasons,
        transfers: arguments.transfers,
    };
    let mut found = Found::default();
    for state in &arguments.states {
        if let Err(error) = found.search(state, &query) {
            eprintln!(
                "tasrih transfers: there is no log in {}: {error}; name a state folder with --state",
                state.display()
            );
            return super::UNREADABLE;
        }
    }
    let written = match (arguments.summary, arguments.json, arguments.csv) {
        (false, true, _) => found.write_json(),
        (false, _, true) => found.write_csv(),
        (false, false, false) => found.write_table(&zone),
        (true, true, _) => summary::write_json(&added_up(&found.rows)),
        (true, _, true) => summary::write_csv(&added_up(&found.rows)),
        (true, false, false) => summary::write_table(&added_up(&found.rows), &zone),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("tasrih transfers: cannot print: {error}");
            super::UNREADABLE
        }
        _ if found.faults > 0 => super::FINDINGS,
        _ => super::FINE,
    }
}

/// What was found in all state folders.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// Records as logged, with their time.
    records: Vec<(Timestamp, Vec<u8>)>,
    /// Places in the logs that could not be read; each was told.
    faults: u64,
}

impl Found {
    fn search(&mut self, state: &std::path::Path, query: &Query) -> io::Result<()> {
        let mut followers = Followers::default();
        for record in audit::read(state)? {
            let read = record.map_err(|fault| fault.to_string());
            match read.and_then(|json| past::read(&json).map(|past| (json, past)).map_err(|fault| fault.to_string())) {
                Ok((json, past)) => {
                    let time = past.time;
                    if followers.take(past, query) {
                        self.records.push((time, json));
                    }
                }
                Err(fault) => self.tell(state, fault),
            }
        }
        self.rows.extend(followers.into_rows());
        // Both sorts keep the order of a log, which tells more than the clock where two times are equal.
        self.rows.sort_by_key(|row| row.decision.time);
        self.records.sort_by_key(|(time, _)| *time);
        Ok(())
    }

    fn tell(&mut self, state: &std::path::Path, fault: impl Display) {
        self.faults += 1;
        eprintln!("tasrih transfers: {}: {fault}", state.display());
    }

    fn write_json(&self) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for (_, json) in &self.records {
            out.write_all(json)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    fn write_csv(&self) -> io::Result<()> {
        let mut out = csv::Writer::from_writer(io::stdout().lock());
        out.write_record(COLUMNS)?;
        for row in &self.rows {
            out.write_record(columns(row))?;
        }
        out.flush()
    }

    fn write_table(&self, zone: &TimeZone) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let heading = ["TIME", "SOURCE → RECIPIENT", "BYTES", "DECISION", "REASON", "REFERENCE"].map(str::to_owned);
        let lines: Vec<[String; 6]> =
            std::iter::once(heading).chain(self.rows.iter().map(|row| cells(row, zone))).collect();
        table::write(&mut out, &lines, &[BYTES])?;
        out.flush()
    }
}

/// The column of bytes.
const BYTES: usize = 2;

/// The cells of the table: time, source → recipient, bytes, decision, reason or end, reference.
fn cells(row: &Row, zone: &TimeZone) -> [String; 6] {
    let past = &row.decision;
    let time = zone.to_datetime(past.time).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let source = past.source.as_ref().or(past.peer.as_ref()).map_or("?", String::as_str);
    let recipient = past.recipient.as_ref().or(past.destination.as_ref()).map_or("?", String::as_str);
    let bytes = row.bytes().map_or("?".to_owned(), |bytes| bytes.to_string());
    let decision = past.decision.map_or("", Decision::as_str);
    let reference = row.reference().map(str::to_owned).or_else(|| past.used.as_ref().map(|(_, id)| id.clone()));
    [time, format!("{source} → {recipient}"), bytes, decision.to_owned(), why(row), reference.unwrap_or_default()]
}

/// Why it was refused, with the number of like denials; else how it ended, with the status where there was an answer.
fn why(row: &Row) -> String {
    let past = &row.decision;
    let reason = past.reason.map_or("", Reason::as_str).to_owned();
    let end = match &row.outcome {
        Some(outcome) => {
            let status = outcome.status.map_or(String::new(), |status| format!(" {status}"));
            outcome.end.map_or(String::new(), |end| format!("{}{status}", end.as_str()))
        }
        None if past.decision == Some(Decision::Denial) => String::new(),
        None => "under way".to_owned(),
    };
    match (reason.is_empty(), end.is_empty()) {
        (true, _) => end,
        (false, true) if past.count > 1 => format!("{reason} ×{}", past.count),
        (false, true) => reason,
        (false, false) => format!("{reason}, {end}"),
    }
}

const COLUMNS: [&str; 20] = [
    "time",
    "node",
    "exchange",
    "source",
    "peer",
    "recipient",
    "destination",
    "method",
    "path",
    "decision",
    "reason",
    "count",
    "kind",
    "declaration",
    "filing",
    "receipt",
    "end",
    "ended",
    "status",
    "bytes",
];

fn columns(row: &Row) -> [String; 20] {
    let past = &row.decision;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let (method, path) = past.request.clone().unwrap_or_default();
    let (kind, declaration) =
        past.used.clone().map_or_else(Default::default, |(kind, id)| (kind.as_str().to_owned(), id));
    let outcome = row.outcome.as_ref();
    let status = outcome.map_or(past.status, |outcome| outcome.status);
    [
        past.time.to_string(),
        past.node.clone(),
        past.uid.clone(),
        or_empty(&past.source),
        or_empty(&past.peer),
        or_empty(&past.recipient),
        or_empty(&past.destination),
        method,
        path,
        past.decision.map_or("", Decision::as_str).to_owned(),
        past.reason.map_or("", Reason::as_str).to_owned(),
        past.count.to_string(),
        kind,
        declaration,
        or_empty(&past.filing),
        or_empty(&past.receipt),
        outcome.and_then(|outcome| outcome.end).map_or("", |end| end.as_str()).to_owned(),
        outcome.map_or_else(String::new, |outcome| outcome.time.to_string()),
        status.map_or_else(String::new, |status| status.to_string()),
        row.bytes().map_or_else(String::new, |bytes| bytes.to_string()),
    ]
}

/// A moment as asked for.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    Moment(Timestamp),
    /// A day of the machine's time zone.
    Day(Date),
    /// So long ago.
    Ago(Span),
}

impl Bound {
    pub(super) fn parse(text: &str) -> Result<Bound, String> {
        let moment = text.parse().map(Bound::Moment);
        let day = || text.parse().map(Bound::Day);
        let ago = || text.parse().map(Bound::Ago);
        moment.or_else(|_| day()).or_else(|_| ago()).map_err(|_: jiff::Error| {
            format!("{text:?} is no time; write 2024-05-02, 2024-05-02T10:00:00+01:00, or how long ago: PT6H, 2d")
        })
    }

    /// The first moment of it.
    pub(super) fn first(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Bound::Moment(moment) => moment,
            Bound::Day(day) => moment(day.at(0, 0, 0, 0), zone),
            Bound::Ago(span) => {
                zone.to_datetime(now).checked_sub(span).map_or(Timestamp::MIN, |time| moment(time, zone))
            }
        }
    }

    /// The first moment after it.
    fn first_beyond(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Bound::Day(day) => day.tomorrow().map_or(Timestamp::MAX, |next| moment(next.at(0, 0, 0, 0), zone)),
            Bound::Moment(_) | Bound::Ago(_) => self.first(now, zone),
        }
    }
}

fn moment(time: DateTime, zone: &TimeZone) -> Timestamp {
    zone.to_timestamp(time).unwrap_or(Timestamp::MAX)
}

fn decision(word: &str) -> Result<Decision, String> {
    Decision::parse(word).ok_or_else(|| format!("{word:?} is no decision; it is one of permit, denial, would-deny"))
}

fn reason(word: &str) -> Result<Reason, String> {
    let nearest =
        || Reason::ALL.into_iter().max_by(|one, other| likeness(*one, word).total_cmp(&likeness(*other, word)));
    Reason::parse(word).ok_or_else(|| match nearest() {
        Some(nearest) => format!("{word:?} is no reason; did you mean {nearest}?"),
        None => format!("{word:?} is no reason"),
    })
}

fn likeness(reason: Reason, word: &str) -> f64 {
    strsim::jaro_winkler(reason.as_str(), word)
}

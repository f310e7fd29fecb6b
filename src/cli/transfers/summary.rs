//! `tasrih transfers --summary`: exchanges added up, as a table, as CSV or as JSON.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::super::table;
use crate::policy::{Decision, Reason};
use crate::record::summary::{Alike, Sum};

const HEADING: [&str; 8] =
    ["EXCHANGES", "BYTES", "DECISION", "REASON", "SOURCE → RECIPIENT", "DECLARATION", "FIRST", "LAST"];
/// The columns that hold numbers.
const NUMBERS: [usize; 2] = [0, 1];

/// A table, and below it what only `observe` let pass.
pub fn write_table(sums: &[(Alike, Sum)], zone: &TimeZone) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let lines = sums.iter().map(|(alike, sum)| cells(alike, sum, zone));
    let lines: Vec<[String; 8]> = [HEADING.map(str::to_owned)].into_iter().chain(lines).collect();
    table::write(&mut out, &lines, &NUMBERS)?;
    let lifted = |(alike, sum): &(Alike, Sum)| (alike.decision == Decision::WouldDeny).then_some(*sum);
    let (exchanges, bytes) = sums
        .iter()
        .filter_map(lifted)
        .fold((0_u64, 0_u64), |(count, bytes), sum| (count + sum.exchanges, bytes + sum.bytes));
    if exchanges > 0 {
        writeln!(out, "\n`observe` let {exchanges} pass that `enforce` refuses, with {bytes} bytes")?;
    }
    out.flush()
}

/// One line each, with a heading.
pub fn write_csv(sums: &[(Alike, Sum)]) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(io::stdout().lock());
    let columns =
        ["exchanges", "bytes", "decision", "reason", "source", "recipient", "kind", "declaration", "first", "last"];
    out.write_record(columns)?;
    for (alike, sum) in sums {
        let (kind, declaration) = used(alike);
        out.write_record([
            sum.exchanges.to_string().as_str(),
            &sum.bytes.to_string(),
            alike.decision.as_str(),
            reason(alike),
            &alike.source,
            &alike.recipient,
            kind,
            declaration,
            &sum.first.to_string(),
            &sum.last.to_string(),
        ])?;
    }
    out.flush()
}

/// One object a line.
pub fn write_json(sums: &[(Alike, Sum)]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (alike, sum) in sums {
        writeln!(out, "{}", json(alike, sum))?;
    }
    out.flush()
}

fn json(alike: &Alike, sum: &Sum) -> Value {
    let (kind, declaration) = used(alike);
    json!({
        "exchanges": sum.exchanges,
        "bytes": sum.bytes,
        "decision": alike.decision.as_str(),
        "reason": alike.reason.map(Reason::as_str),
        "source": alike.source,
        "recipient": alike.recipient,
        "kind": (!kind.is_empty()).then_some(kind),
        "declaration": (!declaration.is_empty()).then_some(declaration),
        "first": sum.first.to_string(),
        "last": sum.last.to_string(),
    })
}

fn cells(alike: &Alike, sum: &Sum, zone: &TimeZone) -> [String; 8] {
    [
        sum.exchanges.to_string(),
        sum.bytes.to_string(),
        alike.decision.as_str().to_owned(),
        reason(alike).to_owned(),
        format!("{} → {}", alike.source, alike.recipient),
        used(alike).1.to_owned(),
        shown(sum.first, zone),
        shown(sum.last, zone),
    ]
}

fn shown(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn reason(alike: &Alike) -> &'static str {
    alike.reason.map_or("", Reason::as_str)
}

fn used(alike: &Alike) -> (&'static str, &str) {
    alike.used.as_ref().map_or(("", ""), |(kind, id)| (kind.as_str(), id))
}

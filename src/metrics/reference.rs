//! The table of all metrics that `dashboards/METRICS.md` shows, written from the series themselves.

use std::fmt::Write;

use super::series::{DEADLINES, Described, KINDS, NO_REASON, OTHER, SCOPES, STAGES, UNKNOWN};
use super::{Carriage, Direction, Metrics, Side};
use crate::audit::Cause;
use crate::policy::{Decision, End, EntryPoint, Reason};

const HEAD: &str = "\
# Metrics

What `/metrics` on the admin listener serves, in Prometheus's text format. This page is written from the code
(`TASRIH_WRITE=1 cargo test --test observability`), and a test keeps it equal.

Every series exists from the start, at zero. Labels come from closed sets: no host, address or user is ever one. Transfers
and sources are those of the register in force, at most 1,000 of each; further ones are counted as `other`. Times are Unix seconds.
";

/// The page, in Markdown.
pub fn page() -> String {
    let metrics = Metrics::new();
    let mut page = String::from(HEAD);
    page.push_str("\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    let mut described: Vec<&Described> = metrics.0.described.iter().collect();
    described.sort_by(|one, other| one.name.cmp(&other.name));
    for Described { name, kind, labels, help } in described {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        line(&mut page, &[&format!("`{name}`"), kind, &labels.join(" "), help]);
    }
    page.push_str("\n## Of the process\n\n| metric | meaning |\n|---|---|\n");
    for family in metrics.0.registry.gather().iter().filter(|family| family.name().starts_with("process_")) {
        line(&mut page, &[&format!("`{}`", family.name()), family.help()]);
    }
    page.push_str("\n## Labels\n\n| label | values |\n|---|---|\n");
    for (label, values) in labels() {
        line(&mut page, &[&format!("`{label}`"), &values]);
    }
    page
}

/// The names of all metrics; of a histogram, those of its parts too.
pub fn names() -> Vec<String> {
    let metrics = Metrics::new();
    let parts = |described: &Described| -> Vec<String> {
        let suffixes: &[&str] = if described.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        suffixes.iter().map(|suffix| format!("{}{suffix}", described.name)).collect()
    };
    let of_process = metrics.0.registry.gather().into_iter().map(|family| family.name().to_owned());
    let of_process = of_process.filter(|name| name.starts_with("process_"));
    metrics.0.described.iter().flat_map(parts).chain(of_process).collect()
}

fn labels() -> Vec<(&'static str, String)> {
    let reasons = [NO_REASON].into_iter().chain(Reason::ALL.map(Reason::as_str));
    vec![
        ("carriage", words(Carriage::ALL.map(Carriage::as_str))),
        ("cause", words(Cause::ALL.map(Cause::as_str))),
        ("decision", words(Decision::ALL.map(Decision::as_str))),
        ("direction", words(Direction::ALL.map(Direction::as_str))),
        ("end", words(End::ALL.map(End::as_str))),
        ("entry", words(EntryPoint::ALL.map(EntryPoint::as_str))),
        ("kind", words(KINDS)),
        ("reason", words(reasons)),
        ("scope", words(SCOPES)),
        ("deadline", words(DEADLINES)),
        ("side", words(Side::ALL.map(Side::as_str))),
        ("source", format!("ids of declared sources, `{UNKNOWN}` for whoever is none, and `{OTHER}`")),
        ("stage", words(STAGES.map(crate::policy::Stage::as_str))),
        ("transfer", format!("ids of declared transfers, and `{OTHER}`")),
        ("version", "of the program, or the SHA-256 of the register".to_owned()),
    ]
}

fn words<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    values.into_iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ")
}

fn line(page: &mut String, cells: &[&str]) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

//! What every fault came to, as a table for whoever reads the run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults::{Fault, Seen};

#[derive(Default)]
pub struct Table {
    rows: BTreeMap<Fault, Vec<Seen>>,
}

impl Table {
    pub fn note(&mut self, fault: Fault, seen: Seen) {
        self.rows.entry(fault).or_default().push(seen);
    }

    pub fn print(&self) -> String {
        let mut text = String::from(
            "| fault | times | named by metric | named by log or record | legal again after, at most |\n|---|---|---|---|---|\n",
        );
        for (fault, seen) in &self.rows {
            let named =
                |by: fn(&Seen) -> bool| format!("{} of {}", seen.iter().filter(|seen| by(seen)).count(), seen.len());
            let worst = seen.iter().map(|seen| seen.recovered).max().unwrap_or(Duration::ZERO);
            writeln!(
                text,
                "| {} | {} | {}: {} | {}: {} | {worst:.1?} |",
                fault.as_str(),
                seen.len(),
                fault.metric(),
                named(|seen| seen.metric),
                fault.sentence(),
                named(|seen| seen.log),
            )
            .expect("a text grows");
        }
        text
    }

    pub fn assert_every_fault_was_named(&self) {
        for (fault, seen) in &self.rows {
            assert!(seen.iter().all(|seen| seen.metric), "{}: the metric did not say so", fault.as_str());
            assert!(seen.iter().all(|seen| seen.log), "{}: neither log nor record said so", fault.as_str());
        }
        assert_eq!(self.rows.len(), Fault::ALL.len(), "every fault happened");
    }
}

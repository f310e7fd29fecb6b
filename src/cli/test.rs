//! `tasrih test`: policy cases, each with what was expected and what would be decided.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FINDINGS, FINE, UNREADABLE};
use crate::destination::AddressRules;
use crate::folder;
use crate::policy::cases::{self, BodySource, Case, Shown, Wants};
use crate::policy::dry::{self, Answer};
use crate::register::compile::{Circumstances, compile_in};
use crate::register::{Order, Register};

/// Run the policy cases of DIR/cases against the policy files of DIR
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the policy files; the cases are in its folder `cases`
    #[arg(value_name = "DIR", default_value = "policies")]
    folder: PathBuf,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let Some(register) = register(&arguments.folder) else { return UNREADABLE };
    let folder = arguments.folder.join("cases");
    let texts = match folder::read(&folder) {
        Ok(texts) => texts,
        Err(fault) => return unreadable(&fault),
    };
    let mut tally = Tally::default();
    for text in &texts {
        let cases = match cases::parse(text, Wants::Expectation) {
            Ok(cases) => cases,
            Err(faults) => {
                eprint!("{faults}");
                tally.unreadable = true;
                continue;
            }
        };
        println!("{}", text.name);
        let width = cases.iter().map(|case| width(&case.name)).max().unwrap_or(0);
        for case in cases {
            tally.count(run(&register, &folder, case, width));
        }
    }
    tally.conclude(&folder)
}

/// The register of a folder, with its warnings left to `tasrih check`; `None` after its faults were printed.
pub(super) fn register(folder: &Path) -> Option<Arc<Register>> {
    register_with(folder, &[])
}

/// The register of a folder, with orders that stand beside its files.
pub(super) fn register_with(folder: &Path, remembered: &[Order]) -> Option<Arc<Register>> {
    let texts = folder::read(folder).inspect_err(|fault| _ = unreadable(fault)).ok()?;
    match compile_in(&texts, &Circumstances { remembered, ..Circumstances::default() }) {
        Ok(compiled) => Some(Arc::new(compiled.register.with_orders(remembered))),
        Err(faults) => {
            eprint!("{faults}");
            None
        }
    }
}

/// A case's question with its body, which a file beside the cases may hold.
pub(super) fn with_body(case: Case, folder: &Path) -> Result<Case, String> {
    let body = match &case.body {
        None => None,
        Some(BodySource::Text(text)) => Some(text.clone().into_bytes()),
        Some(BodySource::File(name)) => {
            let path = folder.join(name);
            Some(std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
        }
    };
    let question = dry::Question { body, ..case.question };
    Ok(Case { question, ..case })
}

/// Prints an error with its causes; gives the exit code that goes with it.
pub(super) fn unreadable(fault: &dyn std::error::Error) -> u8 {
    let causes = std::iter::successors(Some(fault), |fault| fault.source());
    let chain: Vec<String> = causes.map(ToString::to_string).collect();
    eprintln!("tasrih: {}", chain.join(": "));
    UNREADABLE
}

/// What became of one case.
#[derive(Clone, Copy)]
enum Outcome {
    Met,
    Missed,
    Unreadable,
}

fn run(register: &Arc<Register>, folder: &Path, case: Case, column: usize) -> Outcome {
    let case = match with_body(case, folder) {
        Ok(case) => case,
        Err(fault) => {
            eprintln!("tasrih: {fault}");
            return Outcome::Unreadable;
        }
    };
    let answer = dry::answer(register, &AddressRules::default(), &case.question);
    let padding = " ".repeat(column.saturating_sub(width(&case.name)));
    match &case.expected {
        Some(expected) if !expected.is_met_by(&answer) => {
            println!("  FAILED  {}{padding}  expected {expected}", case.name);
            println!("          {}  got      {}", " ".repeat(column), Shown(&answer));
            told(&answer, column);
            Outcome::Missed
        }
        Some(_) | None => {
            println!("  ok      {}{padding}  {}", case.name, Shown(&answer));
            Outcome::Met
        }
    }
}

fn told(answer: &Answer, column: usize) {
    if let Some(detail) = answer.denial.as_ref().and_then(|denial| denial.detail.as_ref()) {
        println!("          {}  because  {detail}", " ".repeat(column));
    }
}

fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

#[derive(Default)]
struct Tally {
    met: usize,
    missed: usize,
    unreadable: bool,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Met => self.met += 1,
            Outcome::Missed => self.missed += 1,
            Outcome::Unreadable => self.unreadable = true,
        }
    }

    fn conclude(&self, folder: &Path) -> u8 {
        if self.unreadable {
            return UNREADABLE;
        }
        if self.met + self.missed == 0 {
            println!("no cases in {}", folder.display());
            return FINE;
        }
        println!("{} of {} cases as expected", self.met, self.met + self.missed);
        if self.missed == 0 { FINE } else { FINDINGS }
    }
}

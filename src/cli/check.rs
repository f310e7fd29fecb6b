//! `tasrih check`: every fault and warning of a folder of policy files, or what its register is; with `--config`, also of
//! the configuration (`configuration`): its text, the files that it names, sockets (`sockets`) and the machine, and
//! whether it fits the register (`together`). It changes nothing, and a proxy may be running.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::clock::{Clock, SystemClock};
use crate::docket::Docket;
use crate::folder;
use crate::register::Register;
use crate::register::compile::{Circumstances, Examined, HOLD_LIMIT, Text, examine_in};
use crate::register::fault::{Fault, Faults};
use crate::register::lint::Lint;
use crate::register::wildcards::Wildcard;

pub(super) mod configuration;
mod sarif;
mod sockets;
mod standing;
mod together;

use standing::Following;

/// Check policy files and configuration: each fault, with its place
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the policy files [default: policies, or none where only --config is given]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Configuration file, to be checked too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State folder of a proxy: also tell what the policy files change in what is in force there, what the authority must
    /// still be told, and which orders stand beside the files
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print the codes of warnings with what each means, and check nothing
    #[arg(long)]
    codes: bool,
    /// Exit with 1 on warnings too
    #[arg(long)]
    deny_warnings: bool,
    /// Judge as at this moment instead of now, in RFC 3339: 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: each fault with its line and a caret
    Text,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for editors and code review
    Sarif,
}

pub fn main(arguments: Arguments) -> u8 {
    if arguments.codes {
        Lint::ALL.iter().for_each(|lint| println!("{:<28} {}", lint.as_str(), lint.meaning()));
        return super::FINE;
    }
    match check(&arguments) {
        Ok(checked) => {
            match if arguments.json { Format::Json } else { arguments.format } {
                Format::Text => print!("{}", checked.as_text()),
                Format::Json => println!("{}", checked.as_json()),
                Format::Sarif => println!("{:#}", checked.as_sarif()),
            }
            let denied = arguments.deny_warnings && checked.has_warnings();
            if checked.has_faults() || denied { super::FINDINGS } else { super::FINE }
        }
        Err(fault) => {
            eprintln!("tasrih check: {fault}");
            super::UNREADABLE
        }
    }
}

/// What was checked, and what was found.
struct Checked {
    policies: Option<Examined>,
    configuration: Option<Findings>,
    /// Where a state folder is named, and the policies have no fault.
    following: Option<Following>,
}

/// What was found in a configuration.
struct Findings {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// The listeners in one line, where the text could be read.
    summary: Option<String>,
}

fn check(arguments: &Arguments) -> Result<Checked, String> {
    let configuration = arguments.config.as_deref().map(configuration::read).transpose()?;
    let hold = configuration.as_ref().and_then(configuration::Configuration::hold).unwrap_or(HOLD_LIMIT);
    let policies = match (&arguments.folder, &configuration) {
        (None, Some(_)) if arguments.state.is_none() => None,
        (folder, _) => {
            let state =
                arguments.state.as_deref().or(configuration.as_ref().and_then(configuration::Configuration::state));
            Some(policies(folder.as_deref().unwrap_or(Path::new("policies")), hold, arguments.at, state)?)
        }
    };
    let register = policies.as_ref().and_then(|examined| examined.register.as_ref());
    let following = arguments.state.as_deref().zip(register);
    let now = arguments.at.unwrap_or_else(|| SystemClock::default().wall());
    let following = following.map(|(state, register)| Following::of(state, register, now)).transpose()?;
    let configuration = configuration.map(|configuration| configuration.examine(register));
    Ok(Checked { policies, configuration, following })
}

/// Everything that is to be said of a folder's files, of the documents that they name, and of the orders that a proxy on
/// `state` took.
fn policies(folder: &Path, hold_limit: u64, at: Option<Timestamp>, state: Option<&Path>) -> Result<Examined, String> {
    let docket = state.map(Docket::read).transpose().map_err(|fault| fault.to_string())?;
    let remembered = docket.as_ref().map(Docket::remembered).unwrap_or_default();
    let texts = texts(folder)?;
    let documents = |file: &str| folder::document(folder, file);
    let at = Some(at.unwrap_or_else(|| SystemClock::default().wall()));
    let circumstances = Circumstances { hold_limit, at, documents: Some(&documents), remembered: &remembered };
    let mut examined = examine_in(&texts, &circumstances);
    if let (Some(register), Some(docket)) = (&mut examined.register, docket) {
        *register = register.with_orders(&remembered);
        let doubts = docket.doubts(register).into_iter();
        examined
            .warnings
            .extend(doubts.map(|(lint, problem)| Fault::of_no_line(folder.display().to_string(), lint, problem)));
    }
    Ok(examined)
}

/// A proxy without a register denies everything and may start; asking about a folder that is not there is a slip.
fn texts(folder: &Path) -> Result<Vec<Text>, String> {
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    folder::read(folder).map_err(|fault| {
        let cause = fault.source().map_or_else(String::new, |source| format!(": {source}"));
        format!("{fault}{cause}")
    })
}

impl Checked {
    fn has_faults(&self) -> bool {
        self.policies.as_ref().is_some_and(|examined| examined.register.is_none())
            || self.configuration.as_ref().is_some_and(|found| !found.faults.is_empty())
    }

    fn has_warnings(&self) -> bool {
        self.policies.as_ref().is_some_and(|examined| !examined.warnings.is_empty())
            || self.configuration.as_ref().is_some_and(|found| !found.warnings.is_empty())
            || self.following.as_ref().is_some_and(Following::is_finding)
    }

    fn as_text(&self) -> String {
        let configuration = self.configuration.as_ref().map(Findings::as_text).unwrap_or_default();
        let following = self.following.as_ref().map(Following::as_text).unwrap_or_default();
        configuration + &self.policies.as_ref().map(as_text).unwrap_or_default() + &following
    }

    fn as_sarif(&self) -> Json {
        let policies = self.policies.as_ref().map(|examined| (&examined.faults, &examined.warnings));
        let configuration = self.configuration.as_ref().map(|found| (&found.faults, &found.warnings));
        let both = || policies.into_iter().chain(configuration);
        sarif::log(both().flat_map(|(faults, _)| faults), both().flat_map(|(_, warnings)| warnings))
    }

    /// Without `--config` the object is that of the policies alone.
    fn as_json(&self) -> Json {
        let mut json = self.policies.as_ref().map_or_else(|| json!({}), as_json);
        if let Some(found) = &self.configuration {
            json["configuration"] = json!({"faults": places(&found.faults), "warnings": places(&found.warnings)});
        }
        if let Some(following) = &self.following {
            json["state"] = following.as_json();
        }
        json
    }
}

impl Findings {
    fn as_text(&self) -> String {
        let warnings: String = self.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        let faults = match self.faults.is_empty() {
            true => String::new(),
            false => format!("{}\n", Faults(self.faults.clone())),
        };
        let counts =
            [counted(self.faults.len(), "fault", "faults"), counted(self.warnings.len(), "warning", "warnings")];
        let summary = self.summary.as_ref().map(|summary| format!("{summary}; ")).unwrap_or_default();
        format!("{warnings}{faults}configuration: {summary}{}\n", counts.join(", "))
    }
}

fn as_text(examined: &Examined) -> String {
    let warnings: String = examined.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    let Some(register) = &examined.register else {
        let faults = Faults(examined.faults.clone());
        let counts = [
            counted(examined.faults.len(), "fault", "faults"),
            counted(examined.warnings.len(), "warning", "warnings"),
        ];
        return format!("{warnings}{faults}\n{}\n", counts.join(", "));
    };
    let wildcard =
        |wildcard: Wildcard| format!("  {}: {} covers {}\n", wildcard.entry, wildcard.pattern, wildcard.meaning);
    let wildcards: String = register.wildcards().into_iter().map(wildcard).collect();
    format!("{warnings}{}\n{wildcards}", summary(register, examined.warnings.len()))
}

/// `1 processing, 1 source, 3 recipients, …; 0 warnings; version …`
fn summary(register: &Register, warnings: usize) -> String {
    let counts = [
        counted(register.processings.len(), "processing", "processings"),
        counted(register.sources.len(), "source", "sources"),
        counted(register.recipients.len(), "recipient", "recipients"),
        counted(register.transfers.len(), "transfer", "transfers"),
        counted(register.allowances.len(), "allowance", "allowances"),
        counted(register.orders.len(), "order", "orders"),
    ];
    format!("{}; {}; version {}", counts.join(", "), counted(warnings, "warning", "warnings"), register.version.0)
}

pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn as_json(examined: &Examined) -> Json {
    json!({
        "faults": places(&examined.faults),
        "warnings": places(&examined.warnings),
        "register": examined.register.as_ref().map(|register| json!({
            "version": register.version.0,
            "processings": register.processings.len(),
            "sources": register.sources.len(),
            "recipients": register.recipients.len(),
            "transfers": register.transfers.len(),
            "allowances": register.allowances.len(),
            "orders": register.orders.len(),
            "wildcards": register.wildcards().iter().map(|wildcard| json!({
                "entry": wildcard.entry, "pattern": wildcard.pattern, "meaning": wildcard.meaning,
            })).collect::<Vec<Json>>(),
        })),
    })
}

fn places(faults: &[Fault]) -> Vec<Json> {
    faults.iter().map(Fault::to_json).collect()
}

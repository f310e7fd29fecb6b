//! `tasrih declare`: a draft transfer from a flow, or from one record, to be completed by the officer and filed.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::records;
use crate::clock::{Clock, SystemClock};
use crate::flow::draft::{self, Answers, Draft};
use crate::flow::{FlowId, Flows, Shape, Sighting};
use crate::record::past::{Kind, Past};
use crate::register::compile::{HOLD_LIMIT, compile_with};
use crate::register::{Id, Register};
use crate::vocabulary::Country;
use crate::{folder, register};

/// Draft a transfer from what was seen; a draft permits nothing
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["flow", "record"]))]
pub struct Arguments {
    /// Name of the flow, as `tasrih flows` lists it
    #[arg(long, value_name = "ID", value_parser = flow_id)]
    flow: Option<FlowId>,
    /// Id of a decision record: the flow that it belongs to
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    /// State folder; may be given several times
    #[arg(long = "state", value_name = "DIR", default_value = "var")]
    states: Vec<PathBuf>,
    /// Folder of the policy files that the draft is to join
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// Country of the recipient, two letters
    #[arg(long, value_name = "CODE", value_parser = country)]
    country: Option<Country>,
    /// Id of the processing that the transfer belongs to
    #[arg(long, value_name = "ID", value_parser = id)]
    processing: Option<Id>,
    /// File to write, which must not exist [default: print]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    match drafted(&arguments) {
        Ok((draft, faults)) => records::conclude("declare", put(&draft, arguments.out.as_deref()), faults),
        Err(code) => code,
    }
}

fn drafted(arguments: &Arguments) -> Result<(Draft, u64), u8> {
    let register = register(&arguments.policies).map_err(|fault| say(&fault))?;
    if let Some(processing) = arguments.processing.as_ref().filter(|id| !register.processings.contains_key(*id)) {
        let known: Vec<&str> = register.processings.keys().map(Id::as_str).collect();
        return Err(say(&format!("no processing is called {processing}; there are: {}", known.join(", "))));
    }
    let wanted = wanted(arguments)?;
    let (mut flows, mut shape) = (Flows::new(1), Shape::default());
    let faults = records::read("declare", &arguments.states, |_, past| {
        if flow_of(&past) == Some(wanted) {
            flows.take(&past);
            shape.take(&past);
        }
    })?;
    let flow = flows.get(wanted).ok_or_else(|| {
        say(&format!("no record belongs to flow {wanted}; `tasrih flows --all` lists flows, --state names the folder"))
    })?;
    let answers = Answers { country: arguments.country, processing: arguments.processing.clone() };
    Ok((draft::draft(&register, flow, &shape, &answers, SystemClock::default().wall()), faults))
}

/// The flow that is asked for, by its name or by one of its records.
fn wanted(arguments: &Arguments) -> Result<FlowId, u8> {
    if let Some(flow) = arguments.flow {
        return Ok(flow);
    }
    let record = arguments.record.as_deref().unwrap_or_default();
    let mut found = None;
    records::read("declare", &arguments.states, |_, past| {
        if past.kind == Kind::Decision && past.uid == record {
            found = flow_of(&past);
        }
    })?;
    found.ok_or_else(|| {
        say(&format!("no decision record {record:?} names a destination; `tasrih transfers --json` shows ids"))
    })
}

fn flow_of(past: &Past) -> Option<FlowId> {
    if past.kind == Kind::Outcome {
        let source = past.source.as_ref().or(past.peer.as_ref())?;
        return Some(FlowId::of(source, past.destination.as_ref()?));
    }
    Sighting::of_past(past).map(|sighting| FlowId::of(&sighting.source, &sighting.destination))
}

fn register(policies: &Path) -> Result<Register, String> {
    let texts = folder::read(policies).map_err(|fault| crate::proxy::error::told(&fault))?;
    compile_with(&texts, HOLD_LIMIT).map(|compiled| compiled.register).map_err(|faults: register::fault::Faults| {
        format!("the policy files have faults; `tasrih check {}` tells them first\n{faults}", policies.display())
    })
}

/// Prints or writes the draft, and says on standard error what the officer has to do next.
fn put(draft: &Draft, out: Option<&Path>) -> std::io::Result<()> {
    match out {
        None => std::io::stdout().write_all(draft.text.as_bytes())?,
        Some(path) => {
            let mut file = std::fs::File::create_new(path)?;
            file.write_all(draft.text.as_bytes())?;
            file.sync_all()?;
            eprintln!("tasrih declare: wrote {}; it permits nothing", path.display());
        }
    }
    if !draft.unanswered.is_empty() {
        eprintln!("tasrih declare: before it loads, answer: {}", draft.unanswered.join("; "));
    }
    Ok(())
}

fn say(message: &str) -> u8 {
    eprintln!("tasrih declare: {message}");
    super::UNREADABLE
}

fn flow_id(text: &str) -> Result<FlowId, String> {
    FlowId::parse(text)
        .ok_or_else(|| format!("{text:?} is no flow; it has twelve hexadecimal digits, see `tasrih flows`"))
}

fn country(text: &str) -> Result<Country, String> {
    Country::parse(text).map_err(|unknown| unknown.to_string())
}

fn id(text: &str) -> Result<Id, String> {
    Id::new(text).ok_or_else(|| format!("{text:?} is no id"))
}

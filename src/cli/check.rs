//! `tasrih check`: every fault and warning of a folder of policy files, or what its register is.

use std::error::Error;
use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use crate::folder;
use crate::register::Register;
use crate::register::compile::{Examined, HOLD_LIMIT, examine};
use crate::register::fault::{Fault, Faults};
use crate::register::wildcards::Wildcard;

/// Check the policy files: every fault and warning, each with its place
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the policy files
    #[arg(value_name = "DIR", default_value = "policies")]
    folder: PathBuf,
    /// Exit with 1 on warnings too
    #[arg(long)]
    deny_warnings: bool,
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
}

pub fn main(arguments: Arguments) -> u8 {
    let Arguments { folder, deny_warnings, format, json } = arguments;
    // A proxy without a register denies everything and may start; asking about a folder that is not there is a slip.
    if !folder.is_dir() {
        eprintln!("tasrih check: there is no folder {}", folder.display());
        return super::UNREADABLE;
    }
    let texts = match folder::read(&folder) {
        Ok(texts) => texts,
        Err(fault) => {
            let cause = fault.source().map_or_else(String::new, |source| format!(": {source}"));
            eprintln!("tasrih check: {fault}{cause}");
            return super::UNREADABLE;
        }
    };
    let examined = examine(&texts, HOLD_LIMIT);
    match json || format == Format::Json {
        true => println!("{}", as_json(&examined)),
        false => print!("{}", as_text(&examined)),
    }
    let denied = deny_warnings && !examined.warnings.is_empty();
    if examined.register.is_none() || denied { super::FINDINGS } else { super::FINE }
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
    let place = |fault: &Fault| json!({"file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message, "hint": fault.hint});
    faults.iter().map(place).collect()
}

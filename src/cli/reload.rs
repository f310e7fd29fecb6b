//! `tasrih reload`: the running proxy reads its policy files anew, and what came of it is told here.

use http::{Method, StatusCode};

use super::asking::{Proxy, answer, texts};
use super::check::counted;
use super::{FINDINGS, FINE, UNREADABLE};
use crate::admin::control::client::Answer;

/// Put the policy files in force in the running proxy, and wait for it
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    proxy: Proxy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let asked = arguments
        .proxy
        .state()
        .and_then(|state| answer(&state, Method::POST, "/reload", None).map_err(|fault| fault.to_string()));
    match asked {
        Ok(answer) if matches!(answer.status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY) => {
            if arguments.json {
                println!("{:#}", answer.body);
            } else {
                print(&answer);
            }
            if answer.status == StatusCode::OK { FINE } else { FINDINGS }
        }
        Ok(answer) => refused(answer.body["fault"].as_str().unwrap_or(answer.status.as_str())),
        Err(fault) => refused(&fault),
    }
}

fn refused(fault: &str) -> u8 {
    eprintln!("tasrih reload: {fault}");
    UNREADABLE
}

fn print(answer: &Answer) {
    let body = &answer.body;
    let version = body["register"].as_str().unwrap_or_default();
    let version = version.get(..12).unwrap_or(version);
    if answer.status != StatusCode::OK {
        let faults = texts(answer, "faults");
        println!("{}", faults.join("\n"));
        let why = body["fault"].as_str().map_or_else(|| counted(faults.len(), "fault", "faults"), str::to_owned);
        println!("{why}; register {version} stays in force");
        return;
    }
    let warnings = texts(answer, "warnings");
    warnings.iter().for_each(|warning| println!("warning: {warning}"));
    let count = |key: &str, one, many| {
        counted(body[key].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default(), one, many)
    };
    let counts = [count("transfers", "transfer", "transfers"), count("allowances", "allowance", "allowances")];
    let news = if body["is_new"] == true { "in force now" } else { "in force already" };
    println!("register {version} {news}: {}; {}", counts.join(", "), counted(warnings.len(), "warning", "warnings"));
    if let Some(told) = body["changes"]["told"].as_str() {
        println!("{told}");
    }
    if let Some(weaker) = body["changes"]["weaker"].as_str() {
        println!("warning: it protects less than the one before: {weaker}");
    }
    let changes = body["notify"].as_array().into_iter().flatten().filter_map(|change| change.as_str());
    changes.for_each(|change| println!("warning: to be notified to the authority: {change}"));
}

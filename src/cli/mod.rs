//! The command line: one file a subcommand, each a thin caller of the library.
//!
//! Exit codes (DESIGN §8): 0 fine, 1 findings, 2 usage or unreadable input, 3 refused to start (integrity).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod asking;
mod ca;
mod check;
mod declare;
mod demo;
mod diff;
mod doctor;
mod explain;
mod flows;
mod installation;
mod order;
mod passwd;
mod probe;
mod records;
mod reload;
mod replay;
mod run;
mod schema;
mod steps;
mod table;
mod test;
mod transfers;
mod vocabulary;

/// Fine.
pub const FINE: u8 = 0;
/// Findings: faults in a register, failed cases, a demo whose two sides disagree.
pub const FINDINGS: u8 = 1;
/// Usage, or input that cannot be read.
pub const UNREADABLE: u8 = 2;
/// Refused to start: the evidence is damaged.
pub const REFUSED: u8 = 3;

#[derive(Parser)]
#[command(name = "tasrih", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Check(check::Arguments),
    Explain(explain::Arguments),
    Test(test::Arguments),
    Transfers(transfers::Arguments),
    Flows(flows::Arguments),
    Declare(declare::Arguments),
    Diff(diff::Arguments),
    Replay(replay::Arguments),
    Order(order::Arguments),
    Reload(reload::Arguments),
    Ca(ca::Arguments),
    Passwd(passwd::Arguments),
    Doctor(doctor::Arguments),
    Probe(probe::Arguments),
    Schema(schema::Arguments),
    Vocabulary(vocabulary::Arguments),
}

/// Reads the process's arguments and runs the subcommand they name.
pub fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Run(arguments) => run::main(arguments),
        Command::Demo(arguments) => demo::main(arguments),
        Command::Check(arguments) => check::main(arguments),
        Command::Explain(arguments) => explain::main(arguments),
        Command::Test(arguments) => test::main(arguments),
        Command::Transfers(arguments) => transfers::main(arguments),
        Command::Flows(arguments) => flows::main(arguments),
        Command::Declare(arguments) => declare::main(arguments),
        Command::Diff(arguments) => diff::main(arguments),
        Command::Replay(arguments) => replay::main(arguments),
        Command::Order(arguments) => order::main(arguments),
        Command::Reload(arguments) => reload::main(arguments),
        Command::Ca(arguments) => ca::main(arguments),
        Command::Passwd(arguments) => passwd::main(arguments),
        Command::Doctor(arguments) => doctor::main(arguments),
        Command::Probe(arguments) => probe::main(arguments),
        Command::Schema(arguments) => schema::main(arguments),
        Command::Vocabulary(arguments) => vocabulary::main(arguments),
    };
    ExitCode::from(code)
}

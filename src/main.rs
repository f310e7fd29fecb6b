//! The binary: it hands the arguments to [`tasrih::cli`] and gives its exit code back.

use std::process::ExitCode;

fn main() -> ExitCode {
    tasrih::cli::main()
}

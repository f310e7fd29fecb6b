//! The binary: it hands the arguments to [`tasrih::cli`] and gives its exit code back.

use std::process::ExitCode;

/// What compiling a large register took up in passing goes back to the system within some ten seconds; the C library
/// would keep it, many times the size of the register.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tasrih::cli::main()
}

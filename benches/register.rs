//! How long a large register takes to load and compile, and how much memory it keeps.
//!
//! ```text
//! cargo bench --bench register                 100,000 transfers
//! cargo bench --bench register -- 1000         as many as you like
//! ```
//!
//! The files are written into a temporary folder and read from there, as at start and on a reload. Resident memory is
//! that of the whole process (`VmRSS` of `/proc/self/status`), with the register and nothing else kept, twelve seconds after
//! it was compiled: freed memory goes back to the system within ten.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

#[allow(dead_code, reason = "the other bench uses the rest")]
#[path = "support/registers.rs"]
mod registers;

use std::fs;
use std::time::{Duration, Instant};

use tasrih::folder;
use tasrih::register::compile::compile;

/// As in `main.rs`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() {
    let transfers = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for text in registers::texts(transfers) {
        bytes += text.text.len();
        fs::write(folder.path().join(&text.name), text.text).unwrap();
    }
    let before = resident("VmRSS");
    let begun = Instant::now();
    let texts = folder::read(folder.path()).unwrap();
    let read = begun.elapsed();
    let compiled = compile(&texts).unwrap();
    drop(texts);
    let took = begun.elapsed();
    let register = compiled.register;
    let destinations: usize = register.recipients.iter().map(|recipient| recipient.endpoints.len()).sum();
    let networks: usize = register.sources.iter().map(|source| source.networks.len()).sum();
    println!(
        "{} transfers, {destinations} destinations, {networks} networks, {:.1} MB of YAML",
        register.transfers.len(),
        bytes as f64 / 1e6
    );
    println!("read {read:.2?}, read and compiled {took:.2?}");
    tokio::time::sleep(Duration::from_secs(12)).await;
    println!(
        "resident {before} MB before, {} MB with the register, {} MB at most",
        resident("VmRSS"),
        resident("VmHWM")
    );
}

/// A line of `/proc/self/status`, in MB.
fn resident(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

//! `tasrih check`: every fault and lint of a register.

/// Check the policy files: every fault with its place
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih check is not built yet");
    super::UNREADABLE
}

//! `tasrih test`: policy cases.

/// Run the policy cases
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih test is not built yet");
    super::UNREADABLE
}

//! `tasrih explain`: one decision, dry, step by step.

/// Explain one decision, step by step, sending nothing
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih explain is not built yet");
    super::UNREADABLE
}

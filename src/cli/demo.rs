//! `tasrih demo`: the case, played on this machine.

/// Play the case on this machine, ending with a verified log
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih demo is not built yet");
    super::UNREADABLE
}

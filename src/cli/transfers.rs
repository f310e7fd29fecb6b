//! `tasrih transfers`: search the records.

/// Search the records
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih transfers is not built yet");
    super::UNREADABLE
}

//! `tasrih ca`: the interception authority.

/// Create or show the interception authority
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih ca is not built yet");
    super::UNREADABLE
}

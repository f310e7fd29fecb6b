//! `tasrih run`: the proxy.

/// Run the proxy
#[derive(clap::Args)]
pub struct Arguments {}

pub fn main(_arguments: Arguments) -> u8 {
    eprintln!("tasrih run is not built yet");
    super::UNREADABLE
}

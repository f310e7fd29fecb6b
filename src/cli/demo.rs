//! `tasrih demo`: the case, played on this machine.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{FINDINGS, FINE, REFUSED, UNREADABLE};
use crate::demo::{self, DemoFault, Options, Screen};

/// Play the case on this machine, ending with a verified log
///
/// Real camera frames go to recipients on this machine over real TLS, through a proxy that is killed on the way.
/// Ports are free ones; certificates, policies and state lie in a temporary folder.
#[derive(clap::Args)]
pub struct Arguments {
    /// End after the verdict; exit 0 only if the recipients and the records agree
    #[arg(long)]
    once: bool,
    /// Keep the records in this state folder
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub fn main(arguments: Arguments) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let played = runtime.map(|runtime| runtime.block_on(play(arguments)));
    match played {
        Ok(Ok(true)) => FINE,
        Ok(Ok(false)) => FINDINGS,
        Ok(Err(fault)) => {
            eprintln!("tasrih: {fault}");
            if fault.is_integrity() { REFUSED } else { UNREADABLE }
        }
        Err(fault) => {
            eprintln!("tasrih: no runtime: {fault}");
            UNREADABLE
        }
    }
}

async fn play(arguments: Arguments) -> Result<bool, DemoFault> {
    // Without anybody to press Ctrl-C, the demo would never end.
    let serve = !arguments.once && io::stdout().is_terminal();
    let program = std::env::current_exe();
    let program = program.map_err(|source| DemoFault::Folder { path: PathBuf::from("/proc/self/exe"), source })?;
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        until_signal().await;
        // Nobody left to be told is as good as told.
        let _ = told.send(true);
    });
    demo::run(Options { program, state: arguments.state, serve }, Screen::stdout(), stop).await
}

/// Waits for SIGINT, SIGTERM or SIGHUP: whichever way it is told, the demo takes its proxy and its folder along.
async fn until_signal() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

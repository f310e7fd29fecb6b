//! The case, played on this machine: a camera uploader, its recipients over real TLS, and the proxy between them.
//!
//! The proxy is the product itself: `tasrih run` in a process of its own, with a configuration, an authority and a register
//! made for the occasion in a temporary folder, so that it can really be killed. The recipients count for themselves what
//! reached them; at the end their account is held against the records, and neither side is asked about the other.
//!
//! - [`world`]: the recipients, the folder, the register with dates relative to now (`papers`).
//! - [`child`]: the proxy's process. [`uploader`], [`recipient`]: the two ends.
//! - [`story`]: what happens, act by act. [`screen`]: how it looks.
//! - [`log`]: the records read back from disk. [`compare`]: the two sides. [`verdict`]: what holds at the end.

use std::io;
use std::path::PathBuf;

use tokio::sync::watch;

use crate::proxy::stopped;

pub mod child;
pub mod compare;
pub mod log;
mod papers;
pub mod recipient;
pub mod screen;
pub mod story;
pub mod uploader;
pub mod verdict;
pub mod world;

pub use child::ProxyFault;
pub use screen::Screen;

use story::Play;
use world::World;

/// How the case is played.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary that `run` is asked of: this one.
    pub program: PathBuf,
    /// State folder of the proxy; without one it lies in the temporary folder and goes with it.
    pub state: Option<PathBuf>,
    /// Whether to go on serving after the last act, until told to stop.
    pub serve: bool,
}

/// Why the case could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoFault {
    /// A folder or file could not be made.
    #[error("cannot prepare `{}`: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A recipient has no port.
    #[error("a recipient cannot listen: {0}")]
    Recipient(io::Error),
    /// A certificate could not be made.
    #[error("a recipient has no certificate: {0}")]
    Certificate(String),
    /// The proxy did not start, or ended by itself.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// A client got no answer where there must be one.
    #[error("a client got no answer: {0}")]
    Send(#[from] uploader::SendFault),
    /// The records could not be read back.
    #[error(transparent)]
    Log(#[from] log::LogFault),
    /// Something was waited for in vain.
    #[error("waited in vain until {0}")]
    Stuck(&'static str),
    /// Told to stop before the end.
    #[error("stopped before the two sides were compared")]
    Stopped,
}

impl DemoFault {
    /// Whether the evidence in the state folder itself is damaged: exit code 3.
    pub fn is_integrity(&self) -> bool {
        match self {
            DemoFault::Proxy(ProxyFault::Refused { code, .. }) => *code == Some(3),
            DemoFault::Log(fault) => fault.is_integrity(),
            DemoFault::Folder { .. }
            | DemoFault::Recipient(_)
            | DemoFault::Certificate(_)
            | DemoFault::Proxy(_)
            | DemoFault::Send(_)
            | DemoFault::Stuck(_)
            | DemoFault::Stopped => false,
        }
    }
}

/// Plays the case, and tells whether both sides agree at its end.
///
/// # Errors
/// [`DemoFault`]: it could not be played; the proxy's process is gone then, and so is the temporary folder.
pub async fn run(options: Options, screen: Screen, mut stop: watch::Receiver<bool>) -> Result<bool, DemoFault> {
    let mut quit = stop.clone();
    let playing = async {
        let world = World::build(options.state.as_deref()).await?;
        let mut play = Play::begin(world, &options.program, screen).await?;
        play.acts().await?;
        let agreed = play.finish().await?;
        Ok::<_, DemoFault>((play, agreed))
    };
    let (mut play, agreed) = tokio::select! {
        played = playing => played?,
        () = stopped(&mut quit) => return Err(DemoFault::Stopped),
    };
    if !options.serve {
        return Ok(agreed);
    }
    play.serve(&mut stop).await?;
    Ok(play.finish().await? && agreed)
}

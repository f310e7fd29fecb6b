//! The service manager (systemd): what it hands over and what it is told.
//!
//! It may hold the listening sockets, so that connection attempts wait in them while the process is replaced
//! (`systemd.socket(5)`), and it may want to know how the process is (`sd_notify(3)`). Without one, every call here does
//! nothing. Both protocols are spoken by crates, because making a socket of a bare number is unsafe code.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

/// Listening sockets that were handed over, by their addresses.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(SocketAddr, std::net::TcpListener)>);

/// Why handed-over sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// It listens where the configuration does not.
    #[error(
        "the service manager handed over a socket that listens on {0}, and no listener of the configuration does; \
         write the same address in both"
    )]
    Stray(SocketAddr),
    /// It is no listening TCP socket, or the system refuses to use it.
    #[error("a socket that the service manager handed over cannot be used")]
    Unusable(#[source] io::Error),
}

impl Sockets {
    /// Takes what this process was handed (`LISTEN_FDS`, meant for it by `LISTEN_PID`); none without a service manager.
    /// To be called once, before other files are opened.
    ///
    /// # Errors
    /// [`SocketFault::Unusable`].
    pub fn inherited() -> Result<Sockets, SocketFault> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..handed.len() {
            let taken = handed.take_tcp_listener(place).map_err(SocketFault::Unusable)?;
            let Some(socket) = taken else { continue };
            sockets.push((socket.local_addr().map_err(SocketFault::Unusable)?, socket));
        }
        Ok(Sockets(sockets))
    }

    /// Whether nothing was handed over, or all of it is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The socket that was handed over for `address`, if there is one.
    ///
    /// # Errors
    /// [`SocketFault::Unusable`].
    pub fn take(&mut self, address: SocketAddr) -> Result<Option<TcpListener>, SocketFault> {
        let Some(place) = self.0.iter().position(|(bound, _)| *bound == address) else { return Ok(None) };
        let (_, socket) = self.0.swap_remove(place);
        socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket))
            .map_err(SocketFault::Unusable)
            .map(Some)
    }

    /// A socket that nobody serves would take connections and leave them without an answer.
    ///
    /// # Errors
    /// [`SocketFault::Stray`] for a socket that was not taken.
    pub fn all_taken(&self) -> Result<(), SocketFault> {
        self.0.first().map_or(Ok(()), |(address, _)| Err(SocketFault::Stray(*address)))
    }
}

/// Connections are accepted from now on.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What the process does now, for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] ends it. systemd wants the time of this with it (`sd_notify(3)`).
pub fn reloading(status: &str) {
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    tell(&[NotifyState::Reloading, now, NotifyState::Status(status)]);
}

/// Nothing is accepted any more.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Tells the watchdog, twice in its time, that the runtime still turns; for as long as this future is polled.
pub async fn beat() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut beats = tokio::time::interval((patience / 2).max(Duration::from_millis(10)));
    loop {
        beats.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// A manager that cannot be told is no reason to stop serving.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(state) {
        tracing::warn!(%fault, "the service manager cannot be told");
    }
}

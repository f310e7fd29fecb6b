//! The proxy as a process of its own: `tasrih run`, the product as it is, which can therefore be killed in earnest.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::world::World;

/// A proxy that has not told its address by then will not.
const START: Duration = Duration::from_secs(60);
/// Longer than the proxy's own drain.
const STOP: Duration = Duration::from_secs(20);

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// Its process could not be made.
    #[error("cannot start `{program} run`: {source}")]
    Spawn {
        /// The binary.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It refused to start.
    #[error("the proxy did not start:\n{said}")]
    Refused {
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// What it said.
        said: String,
    },
    /// It never told its address.
    #[error("the proxy did not tell its address within {} seconds", START.as_secs())]
    Silent,
    /// The system would not give news of it, or not end it.
    #[error("the proxy's process cannot be handled: {0}")]
    Process(#[from] io::Error),
}

/// A running proxy; it is killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    child: Running,
}

/// The process, which does not outlive its value.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already, which is all that is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proxy {
    /// Starts `program run` with the papers of `world`, and waits until it listens.
    ///
    /// # Errors
    /// [`ProxyFault`], with what the proxy said.
    pub async fn start(program: &Path, world: &World) -> Result<Proxy, ProxyFault> {
        let spawn = |source| ProxyFault::Spawn { program: program.display().to_string(), source };
        let complaints = OpenOptions::new().create(true).append(true).open(world.proxy_log()).map_err(spawn)?;
        let mut child = Running(command(program, world, complaints).spawn().map_err(spawn)?);
        let output = child.0.stdout.take().expect("the command pipes its standard output");
        let told = timeout(START, spawn_blocking(move || told_address(output))).await;
        match told.map_err(|_| ProxyFault::Silent)?.map_err(io::Error::other)?? {
            Some(address) => Ok(Proxy { address, child }),
            None => {
                let code = child.0.wait()?.code();
                let said = std::fs::read_to_string(world.proxy_log())?;
                Err(ProxyFault::Refused { code, said: said.trim_end().to_owned() })
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system gives no news of it.
    pub fn runs(&mut self) -> Result<bool, ProxyFault> {
        Ok(self.child.0.try_wait()?.is_none())
    }

    /// Kills it: SIGKILL, without a word to it, as a power cut would.
    ///
    /// # Errors
    /// The system does not let it be killed.
    pub fn kill(mut self) -> Result<(), ProxyFault> {
        self.child.0.kill()?;
        self.child.0.wait()?;
        Ok(())
    }

    /// Asks it to stop in order, and waits for that.
    ///
    /// # Errors
    /// It does not stop in time (it is killed then).
    pub async fn stop(mut self) -> Result<(), ProxyFault> {
        let until = Instant::now() + STOP;
        // Once it is known to have ended, its id may be somebody else's.
        if self.runs()?
            && let Some(id) = i32::try_from(self.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(id, Signal::TERM).map_err(io::Error::from)?;
        }
        while self.runs()? {
            if Instant::now() > until {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn command(program: &Path, world: &World, complaints: File) -> Command {
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(world.config()).arg("--policies").arg(world.policies());
    command.arg("--state").arg(&world.state).args(["--log", "warn"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
    command
}

/// Reads what `run` prints until it tells where it listens; the rest is read away, so that the pipe never fills.
fn told_address(output: ChildStdout) -> io::Result<Option<SocketAddr>> {
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some(address) = address_in(&line) {
            std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
            return Ok(Some(address));
        }
        line.clear();
    }
    Ok(None)
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("proxy ")?.trim().strip_prefix("http://")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_off_what_run_prints() {
        assert_eq!(address_in("proxy      http://127.0.0.1:3128\n"), Some(SocketAddr::from(([127, 0, 0, 1], 3128))));
        assert_eq!(address_in("admin      http://127.0.0.1:9180/metrics\n"), None);
    }
}

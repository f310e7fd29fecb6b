//! One system call that fails, or is the last one: strace put before a process, or on the thread that writes the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ground::Process;

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error, and does nothing.
    Fails(&'static str),
    /// The process is killed as it begins.
    Kills,
}

impl Fault {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Fails(error) => error,
            Fault::Kills => "SIGKILL",
        }
    }
}

/// A call, its occurrence (`3`, or `3+` for that and all later ones), and what happens there.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    pub call: &'static str,
    pub fault: Fault,
    pub when: &'static str,
}

impl Injection {
    /// strace with this injection, for calls that name one of `paths` or a descriptor of it; for all where there are none.
    fn strace(&self, trace: &Path, paths: &[PathBuf]) -> Command {
        let Injection { call, fault, when } = self;
        let effect = match fault {
            Fault::Fails(error) => format!("error={error}"),
            Fault::Kills => "signal=KILL".to_owned(),
        };
        let mut strace = Command::new("strace");
        strace.args(["-q", "-s", "0", "-o"]).arg(trace);
        strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{effect}:when={when}")]);
        for path in paths {
            strace.arg("-P").arg(path);
        }
        strace
    }

    /// `command` under this injection. The shell tells the id of the process that it becomes.
    pub fn before(&self, command: &Command, trace: &Path, paths: &[PathBuf]) -> Command {
        let mut strace = self.strace(trace, paths);
        strace.args(["-f", "sh", "-c", "echo pid $$; exec \"$@\"", "sh"]);
        strace.arg(command.get_program()).args(command.get_args());
        strace
    }

    /// Puts it on the thread of a running process that writes the log.
    pub async fn on_writer(&self, process: &Process, trace: &Path, paths: &[PathBuf]) -> Tracer {
        attach(process, self.strace(trace, paths)).await
    }

    /// Whether it came about, by the trace.
    pub fn happened(&self, trace: &Path) -> bool {
        let text = fs::read_to_string(trace).unwrap_or_default();
        match self.fault {
            Fault::Fails(_) => text.contains("(INJECTED)"),
            Fault::Kills => text.contains("+++ killed by SIGKILL +++"),
        }
    }
}

/// Lets each call of the writer that is named wait so long before it does anything.
pub async fn delay_writer(process: &Process, call: &str, by: Duration, trace: &Path) -> Tracer {
    let mut strace = Command::new("strace");
    strace.args(["-q", "-s", "0", "-o"]).arg(trace);
    let delay = format!("inject={call}:delay_enter={}", by.as_micros());
    strace.args(["-e", &format!("trace={call}"), "-e", &delay]);
    attach(process, strace).await
}

/// strace on a thread; taken off when dropped.
pub struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked to end, strace lets go of the thread; killed, it might not.
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.0.wait();
    }
}

async fn attach(process: &Process, mut strace: Command) -> Tracer {
    let thread = writer_of(process.id());
    strace.args(["-p", &thread.to_string()]).stdin(Stdio::null());
    let tracer = Tracer(strace.spawn().expect("strace is installed; tests/run installs it"));
    let status = format!("/proc/{}/task/{thread}/status", process.id());
    for _ in 0..1_000 {
        let text = fs::read_to_string(&status).expect("the thread is there");
        if text.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
            // It is seized; its system calls are stopped at from the next one on.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return tracer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("strace does not get hold of the writer; may processes be traced here (ptrace, CAP_SYS_PTRACE)?");
}

/// The thread that writes the log.
fn writer_of(process: i32) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    for task in tasks {
        let task = task.expect("a task").path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() == "audit-writer" {
            return task.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse().ok()).expect("an id");
        }
    }
    panic!("no thread `audit-writer`");
}

//! Memory of the process over time: it must not grow from one part of a run to another.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Growth of the highest figure that is no leak: buffers of what happens to be under way, and pages that the allocator keeps.
const SLACK: u64 = 24 << 20;

/// Reads the resident set of the process that `pid` names, each second.
pub struct Memory {
    pub pid: Arc<Mutex<i32>>,
    samples: Arc<Mutex<Vec<u64>>>,
    task: JoinHandle<()>,
}

impl Memory {
    pub fn watch(pid: i32) -> Memory {
        let pid = Arc::new(Mutex::new(pid));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (watched, kept) = (pid.clone(), samples.clone());
        let task = tokio::spawn(async move {
            loop {
                let pid = *watched.lock().expect("an id");
                kept.lock().expect("samples").extend(resident(pid));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Memory { pid, samples, task }
    }

    /// Highest figure in the first and in the last third of the run, in bytes.
    pub fn thirds(&self) -> (u64, u64) {
        let samples = self.samples.lock().expect("samples");
        let third = samples.len().div_ceil(3);
        let highest = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
        (highest(&samples[..third]), highest(&samples[samples.len() - third..]))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether the last third took no more than the first.
pub fn is_flat((first, last): (u64, u64)) -> bool {
    last <= first + first / 4 + SLACK
}

/// Bytes that a process has in memory; `None` once it is gone.
pub fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

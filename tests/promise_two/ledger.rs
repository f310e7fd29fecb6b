//! When each record became durable, by a trace: which `fdatasync` covered the bytes that it lies at.
//!
//! A sync covers what was written when it *began*, and counts when it has *returned*. That some sync came before says
//! nothing: each record is found in its segment file, the `write` that brought the file to that length is found in the
//! trace, and then the first sync of that file which began after it.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tasrih::audit::frame::{FRAME, Frame, Frames};

use super::trace::Call;

/// The decision records of a log, with the line of the trace where each had become durable.
pub struct Ledger {
    decisions: HashMap<String, Option<usize>>,
    /// Ids of tunnels that were let through, in their order in the log.
    pub tunnels: Vec<String>,
}

impl Ledger {
    /// Reads the log of a state folder that was made, from its first byte, in this trace.
    pub fn read(state: &Path, calls: &[Call]) -> Result<Ledger, String> {
        let mut ledger = Ledger { decisions: HashMap::new(), tunnels: Vec::new() };
        // As strace writes it, without symbolic links.
        let folder = state.join("log").canonicalize().expect("a log");
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).expect("a log").map(|file| file.expect("a file").path()).collect();
        names.sort();
        for name in names {
            let bytes = std::fs::read(&name).expect("a segment");
            let history = History::of(&name.display().to_string(), &folder.display().to_string(), calls);
            if history.length() != bytes.len() as u64 {
                let traced = history.length();
                return Err(format!("{} has {} bytes, {traced} of them in the trace", name.display(), bytes.len()));
            }
            for (offset, frame) in Frames::of(&bytes) {
                if let Frame::Record(json) = frame {
                    ledger.take(json, history.durable(offset + FRAME + json.len() as u64));
                }
            }
        }
        Ok(ledger)
    }

    fn take(&mut self, json: &[u8], durable: Option<usize>) {
        let event: Value = serde_json::from_slice(json).expect("a record is JSON");
        let Some(id) = event["metadata"]["uid"].as_str() else { return };
        if event["metadata"]["correlation_uid"] != id {
            return;
        }
        if event["class_uid"] == 4001 && event["action_id"] == 1 {
            self.tunnels.push(id.to_owned());
        }
        self.decisions.insert(id.to_owned(), durable);
    }

    /// Whether this decision was durable before the call on line `before` began.
    pub fn covers(&self, id: &str, before: usize) -> Result<(), String> {
        match self.decisions.get(id) {
            None => Err(format!("record {id} is not in the log")),
            Some(None) => Err(format!("no sync covers record {id}")),
            Some(Some(line)) if *line < before => Ok(()),
            Some(Some(line)) => Err(format!("record {id} was durable on line {} only", line + 1)),
        }
    }
}

/// What happened to one segment file.
struct History {
    /// Length of the file after a write, and the line where that had returned.
    writes: Vec<(u64, usize)>,
    /// Where syncs began and had returned.
    syncs: Vec<(usize, usize)>,
    /// Where the sync of the folder had returned, without which the file has no durable name.
    named: Option<usize>,
}

impl History {
    fn of(file: &str, folder: &str, calls: &[Call]) -> History {
        let mut history = History { writes: Vec::new(), syncs: Vec::new(), named: None };
        let mut created = None;
        let opened = format!("{}\"", file.rsplit('/').next().unwrap_or(file));
        for call in calls {
            let Some((ended, result)) = call.ended.zip(call.result).filter(|(_, result)| *result >= 0) else {
                continue;
            };
            match call.name.as_str() {
                "openat" if call.text.contains(&opened) && call.text.contains("O_CREAT") => {
                    created = Some(ended);
                }
                // Segments are opened to append: each write makes the file longer by what it returns.
                "write" | "writev" if call.on == file => {
                    history.writes.push((history.length() + result.unsigned_abs(), ended));
                }
                "fdatasync" | "fsync" if call.on == file => history.syncs.push((call.begun, ended)),
                "fsync" if call.on == folder && created.is_some_and(|created| created < call.begun) => {
                    history.named = history.named.or(Some(ended));
                }
                _ => {}
            }
        }
        history
    }

    fn length(&self) -> u64 {
        self.writes.last().map_or(0, |(length, _)| *length)
    }

    /// The line where the bytes up to `end` had become durable.
    fn durable(&self, end: u64) -> Option<usize> {
        let (_, written) = self.writes.iter().find(|(length, _)| *length >= end)?;
        let synced = self.syncs.iter().filter(|(begun, _)| begun > written).map(|(_, ended)| *ended).min()?;
        Some(synced.max(self.named?))
    }
}

//! The evidence against what was seen: the log, read on after each death of the process, and held against the books of
//! the recipients and the ids that clients were told.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tasrih::audit;

use super::ground::{Ground, TUNNEL, UNDECLARED};
use super::recipient::Visit;

/// The log as it was read so far, over all kills.
#[derive(Default)]
pub struct Evidence {
    /// Records read; also the sequence number that the next one must have.
    pub taken: usize,
    /// Decisions, and whether they let through.
    decisions: HashMap<String, bool>,
    /// Tunnels among those let through.
    tunnels: usize,
    /// Tunnels that recipients saw.
    tunnels_seen: usize,
    /// Let through and without an outcome.
    open: HashSet<String>,
    /// Outcomes `interrupted` that were read last.
    interrupted: HashSet<String>,
    /// Ids that clients were told.
    pub told: Vec<String>,
}

impl Evidence {
    /// Reads on, and checks that nothing is missing in between.
    pub fn read(&mut self, ground: &Ground, round: u32) {
        self.interrupted.clear();
        let records = audit::read(&ground.state()).expect("a log");
        for json in records.skip(self.taken) {
            let json = json.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
            let event: Value = serde_json::from_slice(&json).expect("a record is JSON");
            assert_eq!(event["metadata"]["sequence"], self.taken, "round {round}: the sequence has a gap: {event}");
            self.taken += 1;
            self.take(&event, round);
        }
    }

    fn take(&mut self, event: &Value, round: u32) {
        let text = |key: &str| event["metadata"][key].as_str().unwrap_or_default();
        let (uid, correlation) = (text("uid"), text("correlation_uid"));
        if uid == correlation && !uid.is_empty() {
            let through = event["action_id"] != 2;
            let known = self.decisions.insert(uid.to_owned(), through);
            assert!(known.is_none(), "round {round}: {uid} was decided twice");
            if through {
                self.open.insert(uid.to_owned());
                self.tunnels += usize::from(event["class_uid"] == 4001);
            }
        } else if uid.strip_suffix(".outcome") == Some(correlation) {
            assert!(self.open.remove(correlation), "round {round}: {uid} closes nothing that was open");
            if text("event_code") == "interrupted" {
                self.interrupted.insert(correlation.to_owned());
            }
        }
    }

    /// After a restart, before any load: what was open is closed as interrupted, and nothing else was written as such.
    pub fn check_recovered(&mut self, ground: &Ground, round: u32) -> usize {
        let open = self.open.clone();
        self.read(ground, round);
        assert!(self.interrupted == open, "round {round}: {} were open, {} closed", open.len(), self.interrupted.len());
        assert!(self.open.is_empty(), "round {round}: decisions are open after a restart");
        open.len()
    }

    /// After a kill: what recipients saw and clients were told is in the log.
    pub async fn check_seen(&mut self, ground: &Ground, round: u32) -> usize {
        let mut seen = 0;
        for recipient in &ground.recipients {
            let visits = recipient.close_book().await;
            if recipient.host == TUNNEL {
                let count = visits.iter().filter(|visit| visit.raw > 0).count();
                self.tunnels_seen += count;
                assert!(self.tunnels_seen <= self.tunnels, "round {round}: a tunnel was seen that is not on record");
                seen += count;
                continue;
            }
            for visit in visits {
                seen += self.check_visit(recipient.host, &visit, round);
            }
        }
        for id in self.told.drain(..) {
            assert!(self.decisions.contains_key(&id), "round {round}: a client was told {id}, which is not on record");
        }
        seen
    }

    fn check_visit(&self, host: &str, visit: &Visit, round: u32) -> usize {
        assert!(host != UNDECLARED, "round {round}: the undeclared host was connected to: {visit:?}");
        for request in &visit.requests {
            let Some(id) = &request.record else { panic!("round {round}: {host} saw a request without a stamp") };
            let through = self.decisions.get(id);
            assert_eq!(through, Some(&true), "round {round}: {host} saw {id}, which is not on record as let through");
        }
        visit.requests.len()
    }
}

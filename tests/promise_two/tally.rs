//! A few exchanges through a proxy that may fail at any of them, and the comparison of what came of them with the log:
//! nothing left without a record, and nothing that was acknowledged is lost.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tasrih::audit;

use super::FRAME;
use super::ground::{Ground, INTAKE, PLAIN, TUNNEL, UNDECLARED};

/// What clients were told, and what recipients saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// Ids of records that clients were told of.
    told: Vec<String>,
    /// Ids of records that arrived at recipients in stamps.
    seen: Vec<String>,
    /// Tunnels of which a byte arrived.
    tunnels: usize,
    /// Requests that were answered by their recipient.
    pub answered: usize,
    /// Requests that were refused because the record is unavailable.
    pub unavailable: usize,
    /// Requests that were refused for what they are.
    pub refused: usize,
    /// Requests without an answer: the process died.
    pub broken: usize,
}

impl Tally {
    /// Two clients send six exchanges each: frames in plain HTTP, over TLS and through a tunnel, and two that are refused.
    pub async fn send(&mut self, ground: &Ground, proxy: SocketAddr) {
        let (one, other) = tokio::join!(Tally::of_client(ground, proxy, 4), Tally::of_client(ground, proxy, 8));
        self.merge(one);
        self.merge(other);
    }

    async fn of_client(ground: &Ground, proxy: SocketAddr, last: u8) -> Tally {
        let mut tally = Tally::default();
        let frame = || Bytes::from_static(FRAME);
        for (scheme, host, body) in [
            ("http", PLAIN, frame()),
            ("https", INTAKE, frame()),
            ("https", UNDECLARED, frame()),
            ("http", PLAIN, [FRAME, &[0; 1_200_000]].concat().into()),
            ("http", PLAIN, Bytes::from_static(b"this is no jpeg")),
            ("https", TUNNEL, frame()),
        ] {
            tally.exchange(ground, proxy, last, (scheme, host, body)).await;
        }
        tally
    }

    /// Many like refusals, so that they are folded.
    pub async fn send_like_refusals(&mut self, ground: &Ground, proxy: SocketAddr) {
        for _ in 0..70 {
            self.exchange(ground, proxy, 5, ("https", UNDECLARED, Bytes::new())).await;
        }
    }

    async fn exchange(
        &mut self,
        ground: &Ground,
        proxy: SocketAddr,
        last: u8,
        (scheme, host, body): (&str, &str, Bytes),
    ) {
        let target = ground.recipient(host).base(scheme) + "/cctv/cam1";
        let request = Request::post(target).header("content-type", "image/jpeg").body(body).expect("a request");
        let Ok(reply) = ground.client(proxy, last).send(request).await else {
            self.broken += 1;
            return;
        };
        match (reply.status, reply.proxy_status("reason").as_deref()) {
            (200, _) => self.answered += 1,
            (503, Some("record-unavailable")) => self.unavailable += 1,
            (_, Some(_)) => {
                self.refused += 1;
                self.told.extend(reply.proxy_status("record"));
            }
            (status, None) => panic!("{scheme}://{host}: {status} without a reason"),
        }
    }

    /// What is to be found in the log, without the counts.
    pub fn known(&self) -> Tally {
        Tally { told: self.told.clone(), seen: self.seen.clone(), tunnels: self.tunnels, ..Tally::default() }
    }

    /// Takes over what another one counted.
    pub fn merge(&mut self, other: Tally) {
        self.told.extend(other.told);
        self.seen.extend(other.seen);
        self.tunnels += other.tunnels;
        self.answered += other.answered;
        self.unavailable += other.unavailable;
        self.refused += other.refused;
        self.broken += other.broken;
    }

    /// Whether an exchange of the log was closed by a restart, or by the drop of its proof.
    pub fn is_any_interrupted(&self, ground: &Ground) -> bool {
        let records = audit::read(&ground.state()).expect("a log").map(|json| json.expect("a record"));
        let word =
            |json: Vec<u8>| serde_json::from_slice::<Value>(&json).expect("JSON")["metadata"]["event_code"].clone();
        records.map(word).any(|word| word == "interrupted")
    }

    /// Takes what recipients noted; the process must have ended.
    pub async fn collect(&mut self, ground: &Ground) {
        for recipient in &ground.recipients {
            let visits = recipient.close_book().await;
            assert!(recipient.host != UNDECLARED || visits.is_empty(), "the undeclared host was connected to");
            if recipient.host == TUNNEL {
                self.tunnels += visits.iter().filter(|visit| visit.raw > 0).count();
                continue;
            }
            for request in visits.into_iter().flat_map(|visit| visit.requests) {
                self.seen.push(request.record.expect("whatever arrives carries a stamp"));
            }
        }
    }

    /// Compares with the log, which was opened again after whatever happened.
    pub fn compare(&self, ground: &Ground, what: &str) {
        let mut decisions = HashMap::new();
        let mut outcomes = HashSet::new();
        let (mut tunnels, mut next) = (0, 0);
        for json in audit::read(&ground.state()).expect("a log") {
            let json = json.unwrap_or_else(|fault| panic!("{what}: the log is damaged: {fault}"));
            let event: Value = serde_json::from_slice(&json).expect("a record is JSON");
            assert_eq!(event["metadata"]["sequence"], next, "{what}: the sequence has a gap at {event}");
            next += 1;
            let word = |key: &str| event["metadata"][key].as_str().unwrap_or_default().to_owned();
            let (uid, correlation) = (word("uid"), word("correlation_uid"));
            if !uid.is_empty() && uid == correlation {
                let through = event["action_id"] != 2;
                tunnels += usize::from(through && event["class_uid"] == 4001);
                assert!(decisions.insert(uid, through).is_none(), "{what}: decided twice: {event}");
            } else if uid.strip_suffix(".outcome") == Some(&correlation) {
                assert!(outcomes.insert(correlation), "{what}: closed twice: {event}");
            }
        }
        for id in &self.seen {
            assert_eq!(decisions.get(id), Some(&true), "{what}: a recipient saw {id}, which is not on record");
        }
        for id in &self.told {
            assert!(decisions.contains_key(id), "{what}: a client was told {id}, which is not on record");
        }
        assert!(self.tunnels <= tunnels, "{what}: {} tunnels were seen, {tunnels} are on record", self.tunnels);
        for (id, through) in &decisions {
            assert_eq!(outcomes.contains(id), *through, "{what}: {id} has an outcome exactly if it was let through");
        }
    }
}

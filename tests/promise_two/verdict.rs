//! The judgement over a trace: did any byte go to a recipient before the record that it belongs to was durable?
//!
//! Connections are reused for several exchanges, so bytes are counted. The recipient says which bytes of a connection
//! were the proxy's TLS handshake and between which bytes each request lay; the trace says which call wrote which bytes,
//! and when it began. A call may write nothing outside the handshake that does not belong to a request whose record was
//! durable before the call began. In a tunnel the proxy makes no handshake of its own: there every byte counts.

use std::collections::HashMap;

use super::ledger::Ledger;
use super::recipient::{Arrival, Recipient, Visit};
use super::trace::Call;

/// The proxy's own TLS says goodbye (close_notify) when it closes a connection: 24 bytes in TLS 1.3, 31 in TLS 1.2. As
/// the last bytes of a connection they are no exchange's.
const CLOSING_ALERT: u64 = 31;

/// What was seen.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Every breach of the promise.
    pub breaches: Vec<String>,
    /// Requests and tunnels that were judged.
    pub exchanges: usize,
    /// Bytes of them.
    pub bytes: u64,
}

/// A stretch of a connection that belongs to a record.
struct Stretch<'a> {
    record: Option<&'a str>,
    begin: u64,
    end: u64,
}

/// Judges all connections of these recipients. `tunnel` names the one whose connections are tunnels, opened one after
/// another.
///
/// # Errors
/// The trace and what the recipients counted do not agree, so that nothing can be said.
pub fn judge(
    calls: &[Call],
    ledger: &Ledger,
    recipients: &[(&Recipient, Vec<Visit>)],
    tunnel: &str,
) -> Result<Verdict, String> {
    check_means(calls)?;
    let mut writes = writes(calls)?;
    let mut verdict = Verdict::default();
    let mut tunnels = ledger.tunnels.iter();
    for (recipient, visits) in recipients {
        for visit in visits {
            let written = writes.remove(&(visit.peer.to_string(), recipient.address.to_string())).unwrap_or_default();
            let total: u64 = written.iter().map(|(_, bytes)| bytes).sum();
            if total != visit.raw {
                let (host, raw) = (recipient.host, visit.raw);
                return Err(format!("{host} counted {raw} bytes from {}, the trace has {total}", visit.peer));
            }
            let stretches = match recipient.host == tunnel {
                true => vec![Stretch { record: tunnels.next().map(String::as_str), begin: 0, end: total }],
                false => stretches(visit),
            };
            let free = match recipient.host == tunnel {
                true => 0,
                false => visit.handshake.unwrap_or(0),
            };
            verdict.judge(recipient.host, free, &written, &stretches, ledger);
        }
        let strangers = writes.keys().filter(|(_, to)| *to == recipient.address.to_string());
        verdict
            .breaches
            .extend(strangers.map(|(from, to)| format!("bytes went from {from} to {to}, which never saw them")));
    }
    Ok(verdict)
}

impl Verdict {
    /// `free` bytes at the beginning of the connection are the proxy's own handshake.
    fn judge(&mut self, host: &str, free: u64, written: &[(&Call, u64)], stretches: &[Stretch<'_>], ledger: &Ledger) {
        self.exchanges += stretches.len();
        let mut begin = 0;
        for (call, bytes) in written {
            let end = begin + bytes;
            let mut judged = free.min(end).max(begin);
            for stretch in stretches.iter().filter(|stretch| stretch.begin < end && begin < stretch.end) {
                judged = judged.max(stretch.end.min(end));
                let covered = match stretch.record {
                    Some(record) => ledger.covers(record, call.begun),
                    None => Err("a request without a record left".to_owned()),
                };
                if let Err(why) = covered {
                    self.breaches.push(format!("{host}: {why}; line {}: {}", call.begun + 1, call.text));
                }
            }
            let is_last = end == written.iter().map(|(_, bytes)| bytes).sum::<u64>();
            if judged < end && !(free > 0 && is_last && end - judged <= CLOSING_ALERT) {
                let beyond = end - judged;
                self.breaches.push(format!(
                    "{host}: {beyond} bytes of no exchange; line {}: {}",
                    call.begun + 1,
                    call.text
                ));
            }
            self.bytes += end.saturating_sub(begin.max(free));
            begin = end;
        }
    }
}

/// The requests of a connection; one that was cut off takes the rest of it.
fn stretches(visit: &Visit) -> Vec<Stretch<'_>> {
    let stretch = |request: &'_ Arrival| (request.begin, request.end.unwrap_or(visit.raw));
    let requests = visit.requests.iter().map(|request| (request.record.as_deref(), stretch(request)));
    requests.map(|(record, (begin, end))| Stretch { record, begin, end }).collect()
}

/// Nothing that could carry bytes past the calls which are counted.
fn check_means(calls: &[Call]) -> Result<(), String> {
    const COUNTED: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];
    const HARMLESS: [&str; 5] = ["openat", "connect", "fsync", "fdatasync", "sync_file_range"];
    // Sockets have no positions to write at, and the length of a segment is compared with its counted writes.
    const POSITIONED: [&str; 3] = ["pwrite64", "pwritev", "pwritev2"];
    let other = |call: &&Call| ![&COUNTED[..], &HARMLESS, &POSITIONED].concat().contains(&call.name.as_str());
    match calls.iter().find(other) {
        Some(call) => Err(format!("the trace has a call that is not counted yet: {}", call.text)),
        None => Ok(()),
    }
}

/// What each connection's calls wrote, by its two ends.
type Writes<'a> = HashMap<(String, String), Vec<(&'a Call, u64)>>;

fn writes(calls: &[Call]) -> Result<Writes<'_>, String> {
    let mut writes = Writes::new();
    for call in calls.iter().filter(|call| call.name != "connect") {
        let Some(ends) = call.on.strip_prefix("TCP:[").and_then(|ends| ends.strip_suffix(']')) else { continue };
        let Some(bytes) = call.result.and_then(|result| u64::try_from(result).ok()) else { continue };
        let Some((from, to)) = ends.split_once("->") else {
            return Err(format!("strace could not tell where a socket leads to: {}", call.text));
        };
        writes.entry((from.to_owned(), to.to_owned())).or_default().push((call, bytes));
    }
    Ok(writes)
}

/// Ports of this machine that `connect` was called with.
pub fn dialled(calls: &[Call]) -> impl Iterator<Item = u16> + '_ {
    let connects = calls.iter().filter(|call| call.name == "connect");
    connects.filter_map(|call| call.text.split_once("htons(")?.1.split(')').next()?.parse().ok())
}

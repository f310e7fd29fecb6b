//! What is counted for Prometheus, as typed functions: callers name no metric and no label.
//!
//! Labels come from closed sets only, never hosts or addresses (DESIGN §8); every series exists from the start, at zero,
//! so that rates and absence alerts work. Transfers are declared ids, capped. prometheus is named in this file only.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::policy::{Decision, End, EntryPoint, Reason};
use crate::register::{Id, Register};

/// Most transfers that have series of their own; the rest is counted as `other`.
const MAX_TRANSFERS: usize = 1000;
/// Stands for a transfer beyond the cap, or one that is no longer declared.
const OTHER: &str = "other";
/// Stands for the reason of a permit.
const NO_REASON: &str = "none";
/// Bounds of the commit histogram in seconds: from a fast disk's sync to one that is failing.
const COMMIT_BOUNDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
/// What Prometheus expects of a text scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The side of a TLS handshake that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeSide {
    /// Between a client and us: most often one that does not trust the interception authority.
    Client,
    /// Between us and a recipient.
    Recipient,
}

/// The direction of bytes, as seen from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards recipients.
    Out,
    /// Towards clients.
    In,
}

/// All counters of one proxy. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

struct Series {
    registry: Registry,
    decisions: IntCounterVec,
    transfer_exchanges: IntCounterVec,
    outcomes: IntCounterVec,
    exchanges_open: IntGauge,
    tunnels_open: IntGauge,
    connections_open: IntGauge,
    bytes: IntCounterVec,
    held_bytes: IntGauge,
    record_queue: IntGauge,
    record_commit: Histogram,
    record_available: IntGauge,
    handshake_failures: IntCounterVec,
    client_distrust: IntCounter,
    not_inspected: IntCounter,
    parser_refusals: IntCounter,
    register_info: IntGaugeVec,
    register_loaded: IntGauge,
    /// Transfers that have series. Held for a look-up, never across an await.
    transfers: Mutex<BTreeSet<Id>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Every series at zero.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let series = Series {
            decisions: counters(
                &registry,
                "decisions_total",
                "Decisions by kind, reason and entry point.",
                &["decision", "reason", "entry"],
            ),
            transfer_exchanges: counters(
                &registry,
                "transfer_exchanges_total",
                "Decisions on exchanges of a declared transfer.",
                &["transfer", "decision"],
            ),
            outcomes: counters(&registry, "outcomes_total", "How exchanges that were let through ended.", &["end"]),
            exchanges_open: gauge(&registry, "exchanges_open", "Exchanges that have begun and not ended."),
            tunnels_open: gauge(&registry, "tunnels_open", "Tunnels that are being relayed."),
            connections_open: gauge(&registry, "connections_open", "Connections of clients."),
            bytes: counters(
                &registry,
                "bytes_total",
                "Body and tunnel bytes, towards recipients (out) and clients (in).",
                &["direction"],
            ),
            held_bytes: gauge(&registry, "held_bytes", "Bytes of bodies held until they are judged."),
            record_queue: gauge(&registry, "record_queue_length", "Records that wait for the writer."),
            record_commit: histogram(
                &registry,
                "record_commit_seconds",
                "From a record's arrival at the writer until it is on stable storage.",
            ),
            record_available: gauge(
                &registry,
                "record_available",
                "1 while records can be written; at 0 everything is refused.",
            ),
            handshake_failures: counters(
                &registry,
                "tls_handshake_failures_total",
                "TLS handshakes that failed, by side.",
                &["side"],
            ),
            client_distrust: counter(
                &registry,
                "client_distrust_total",
                "Handshakes that a client refused because it does not trust the interception authority.",
            ),
            not_inspected: counter(
                &registry,
                "not_inspected_total",
                "Exchanges that were let through without being read.",
            ),
            parser_refusals: counter(
                &registry,
                "parser_refusals_total",
                "Requests refused by the HTTP parser before they could be judged.",
            ),
            register_info: gauges(&registry, "register_info", "The register in force, as a label.", &["version"]),
            register_loaded: gauge(
                &registry,
                "register_loaded_timestamp_seconds",
                "When the register in force was loaded.",
            ),
            transfers: Mutex::default(),
            registry,
        };
        series.start_at_zero();
        let metrics = Metrics(Arc::new(series));
        metrics.register_process();
        metrics
    }

    /// A decision was made. A permit has no reason.
    pub fn decided(&self, decision: Decision, reason: Option<Reason>, entry: EntryPoint) {
        let reason = reason.map_or(NO_REASON, Reason::as_str);
        self.0.decisions.with_label_values(&[decision.as_str(), reason, entry.as_str()]).inc();
    }

    /// An exchange was decided that a transfer was used for, or that came furthest under it.
    pub fn transfer_decided(&self, transfer: &Id, decision: Decision) {
        let known = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner).contains(transfer);
        let transfer = if known { transfer.as_str() } else { OTHER };
        self.0.transfer_exchanges.with_label_values(&[transfer, decision.as_str()]).inc();
    }

    /// An exchange that was let through ended.
    pub fn ended(&self, end: End) {
        self.0.outcomes.with_label_values(&[end.as_str()]).inc();
    }

    /// An exchange begins; it ends when the guard is dropped.
    pub fn exchange_opened(&self) -> Open {
        Open::new(&self.0.exchanges_open)
    }

    /// A tunnel begins; it ends when the guard is dropped.
    pub fn tunnel_opened(&self) -> Open {
        Open::new(&self.0.tunnels_open)
    }

    /// A client connected; it leaves when the guard is dropped.
    pub fn connection_opened(&self) -> Open {
        Open::new(&self.0.connections_open)
    }

    /// Bytes went by.
    pub fn moved(&self, direction: Direction, bytes: u64) {
        self.0.bytes.with_label_values(&[direction.as_str()]).inc_by(bytes);
    }

    /// So many bytes of bodies are held now.
    pub fn set_held(&self, bytes: u64) {
        self.0.held_bytes.set(signed(bytes));
    }

    /// So many records wait now.
    pub fn set_record_queue(&self, length: usize) {
        self.0.record_queue.set(i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// A record reached stable storage after this time.
    pub fn record_committed(&self, after: Duration) {
        self.0.record_commit.observe(after.as_secs_f64());
    }

    /// Whether records can be written.
    pub fn set_record_available(&self, available: bool) {
        self.0.record_available.set(available.into());
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, side: HandshakeSide) {
        self.0.handshake_failures.with_label_values(&[side.as_str()]).inc();
    }

    /// A client said that it does not trust the interception authority.
    pub fn client_distrusts(&self) {
        self.0.client_distrust.inc();
    }

    /// An exchange was let through without being read.
    pub fn not_inspected(&self) {
        self.0.not_inspected.inc();
    }

    /// The HTTP parser refused a request by itself.
    pub fn parser_refused(&self) {
        self.0.parser_refusals.inc();
    }

    /// A register is in force since `unix_seconds`: its version, and series for its transfers.
    pub fn register_loaded(&self, register: &Register, unix_seconds: i64) {
        self.0.register_info.reset();
        self.0.register_info.with_label_values(&[&*register.version.0]).set(1);
        self.0.register_loaded.set(unix_seconds);
        let mut transfers = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        // A counter that vanishes reads as a restart, so transfers that are gone keep theirs while there is room.
        for transfer in &register.transfers {
            if transfers.len() >= MAX_TRANSFERS {
                break;
            }
            if transfers.insert(transfer.id.clone()) {
                self.0.transfer_at_zero(transfer.id.as_str());
            }
        }
    }

    /// Everything in Prometheus's text format ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let mut text = Vec::new();
        let families = self.0.registry.gather();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn register_process(&self) {
        let build = gauges(&self.0.registry, "build_info", "The program's version, as a label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.0.registry.register(Box::new(process)).expect(REGISTERED_ONCE);
    }
}

impl Series {
    fn start_at_zero(&self) {
        for entry in EntryPoint::ALL {
            self.decisions.with_label_values(&[Decision::Permit.as_str(), NO_REASON, entry.as_str()]);
            for reason in Reason::ALL {
                self.decisions.with_label_values(&[Decision::Denial.as_str(), reason.as_str(), entry.as_str()]);
                if reason.is_lifted_by_observe() {
                    self.decisions.with_label_values(&[Decision::WouldDeny.as_str(), reason.as_str(), entry.as_str()]);
                }
            }
        }
        for end in End::ALL {
            self.outcomes.with_label_values(&[end.as_str()]);
        }
        for direction in [Direction::Out, Direction::In] {
            self.bytes.with_label_values(&[direction.as_str()]);
        }
        for side in [HandshakeSide::Client, HandshakeSide::Recipient] {
            self.handshake_failures.with_label_values(&[side.as_str()]);
        }
        self.transfer_at_zero(OTHER);
    }

    fn transfer_at_zero(&self, transfer: &str) {
        for decision in Decision::ALL {
            self.transfer_exchanges.with_label_values(&[transfer, decision.as_str()]);
        }
    }
}

/// Something that is open, for as long as this value lives.
#[must_use = "it counts as ended when this is dropped"]
pub struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Open {
        gauge.inc();
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl HandshakeSide {
    fn as_str(self) -> &'static str {
        match self {
            HandshakeSide::Client => "client",
            HandshakeSide::Recipient => "recipient",
        }
    }
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
        }
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("tasrih_{name}"), help)
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::with_opts(options(name, help)).expect(WELL_FORMED))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(options(name, help), labels).expect(WELL_FORMED))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::with_opts(options(name, help)).expect(WELL_FORMED))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(options(name, help), labels).expect(WELL_FORMED))
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::from(options(name, help)).buckets(COMMIT_BOUNDS.to_vec());
    register(registry, Histogram::with_opts(options).expect(WELL_FORMED))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(REGISTERED_ONCE);
    collector
}

const REGISTERED_ONCE: &str = "every name in this file stands once";
const WELL_FORMED: &str = "names and labels in this file are well-formed";

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_exist_from_zero() {
        let text = Metrics::new().encode();
        for line in [
            "tasrih_decisions_total{decision=\"permit\",entry=\"forward\",reason=\"none\"} 0",
            "tasrih_decisions_total{decision=\"denial\",entry=\"connect\",reason=\"no-declaration\"} 0",
            "tasrih_decisions_total{decision=\"would-deny\",entry=\"connect\",reason=\"expired\"} 0",
            "tasrih_transfer_exchanges_total{decision=\"permit\",transfer=\"other\"} 0",
            "tasrih_tls_handshake_failures_total{side=\"client\"} 0",
            "tasrih_record_commit_seconds_count 0",
            "tasrih_exchanges_open 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("process_open_fds"), "no process metrics");
        assert!(text.contains(concat!("tasrih_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")));
    }

    #[test]
    fn an_order_is_never_lifted_so_it_has_no_would_deny() {
        let text = Metrics::new().encode();
        assert!(!text.contains("decision=\"would-deny\",entry=\"forward\",reason=\"suspended-by-order\""));
    }

    #[test]
    fn what_is_open_is_counted_while_it_lives() {
        let metrics = Metrics::new();
        let open = metrics.exchange_opened();
        assert!(metrics.encode().contains("tasrih_exchanges_open 1"));
        drop(open);
        assert!(metrics.encode().contains("tasrih_exchanges_open 0"));
    }

    #[test]
    fn a_transfer_that_is_not_declared_is_other() {
        let metrics = Metrics::new();
        metrics.transfer_decided(&Id::new("unknown").expect("an id"), Decision::Denial);
        let line = "tasrih_transfer_exchanges_total{decision=\"denial\",transfer=\"other\"} 1";
        assert!(metrics.encode().contains(line));
    }
}

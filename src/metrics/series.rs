//! The series themselves: their names, what each means, and that each exists from the start.
//!
//! Names follow Prometheus's rules (base units, `_total` for counters, `_info` for facts as labels). The table that
//! `reference` prints is gathered here, so that it cannot differ from what is served.

use std::collections::BTreeSet;
use std::sync::Mutex;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::recipients::Shown;
use super::{AcceptFault, Carriage, Checked, Direction, Reread, Resolved, Side, Unserved};
use crate::audit::Cause;
use crate::policy::{Decision, End, EntryPoint, Reason, Stage};
use crate::register::Id;
use crate::register::diff::Counts;

/// Stands for a transfer beyond the cap, or one that is no longer declared.
pub(super) const OTHER: &str = "other";
/// Stands for the source of whoever is none.
pub(super) const UNKNOWN: &str = "unknown";
/// Stands for the reason of a permit.
pub(super) const NO_REASON: &str = "none";
/// What can be declared, as the label `kind`.
pub(super) const KINDS: [&str; 5] = ["processing", "source", "recipient", "transfer", "allowance"];
/// Where `observe` can be written, as the label `scope`.
pub(super) const SCOPES: [&str; 4] = ["register", "source", "transfer", "allowance"];
/// How far a deadline of an authority is.
pub(super) const DEADLINES: [&str; 2] = ["ahead", "overdue"];
/// What became of a register read again, as the label `result`.
const RELOADS: [&str; 2] = ["taken", "refused"];
/// Whether flows are declared, as the label `standing`.
pub(super) const STANDINGS: [&str; 2] = ["declared", "undeclared"];
/// The stages whose decisions are timed; the last stage, the record, is the commit.
pub(super) const STAGES: [Stage; 3] = [Stage::Head, Stage::Connection, Stage::Body];

/// Bounds of decisions in seconds: pure functions over a register, from one to many transfers.
const DECISION: &[f64] = &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025];
/// Bounds of the commit: from a fast disk's sync to one that is failing.
const COMMIT: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
/// Bounds of a step on the network: a neighbour, another continent, a time-out.
const STEP: &[f64] = &[0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds of an exchange: a small request, a slow upload, a tunnel of a day.
const EXCHANGE: &[f64] =
    &[0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0];

/// All series of one proxy.
pub(super) struct Series {
    pub(super) registry: Registry,
    pub(super) described: Vec<Described>,
    pub(super) decisions: IntCounterVec,
    pub(super) decision: HistogramVec,
    pub(super) outcomes: IntCounterVec,
    pub(super) exchange: HistogramVec,
    pub(super) exchanges_open: IntGauge,
    pub(super) tunnels_open: IntGauge,
    pub(super) bytes: IntCounterVec,
    pub(super) not_inspected: IntCounterVec,
    pub(super) parser_refusals: IntCounter,
    pub(super) connections_open: IntGauge,
    pub(super) connections_limit: IntGauge,
    pub(super) accept_failures: IntCounterVec,
    pub(super) connections_refused: IntCounterVec,
    pub(super) peers: IntGauge,
    pub(super) peers_limit: IntGauge,
    pub(super) held: IntGauge,
    pub(super) held_limit: IntGauge,
    pub(super) spool_jobs: IntGauge,
    pub(super) spool_jobs_limit: IntGauge,
    pub(super) spool_failures: IntCounter,
    pub(super) resolve: Histogram,
    pub(super) resolved: IntCounterVec,
    pub(super) questions: IntGauge,
    pub(super) questions_limit: IntGauge,
    pub(super) connect: Histogram,
    pub(super) handshake: HistogramVec,
    pub(super) handshake_failures: IntCounterVec,
    pub(super) client_distrust: IntCounterVec,
    pub(super) credential_checks: IntCounterVec,
    pub(super) users: IntGauge,
    pub(super) file_reloads: IntCounterVec,
    pub(super) file_reload_refused: IntGaugeVec,
    pub(super) next_revocations: Gauge,
    pub(super) leaves: IntGauge,
    pub(super) leaves_limit: IntGauge,
    pub(super) idle_connections: IntGauge,
    pub(super) idle_connections_limit: IntGauge,
    pub(super) authority_not_after: IntGauge,
    pub(super) record_available: IntGauge,
    pub(super) record_fault: IntGaugeVec,
    pub(super) record_commit: Histogram,
    pub(super) record_batches: IntCounter,
    pub(super) record_refused: IntCounter,
    pub(super) record_queue: IntGauge,
    pub(super) record_queue_limit: IntGauge,
    pub(super) folded_kinds: IntGauge,
    pub(super) folded_kinds_limit: IntGauge,
    pub(super) record_sequence: IntGauge,
    pub(super) record_open: IntGauge,
    pub(super) record_durable: IntGauge,
    pub(super) record_durable_at: IntGauge,
    pub(super) record_reserved: IntGauge,
    pub(super) record_reserve: IntGauge,
    pub(super) state_free: IntGauge,
    pub(super) state_size: IntGauge,
    pub(super) clock_steps: IntCounter,
    pub(super) clock_ahead: Gauge,
    pub(super) flows: IntGaugeVec,
    pub(super) register_info: IntGaugeVec,
    pub(super) register_loaded: IntGauge,
    pub(super) register_weakened: IntGauge,
    pub(super) register_changes: IntCounterVec,
    pub(super) registers_kept: IntGauge,
    pub(super) registers_kept_bytes: IntGauge,
    pub(super) register_kept: IntGauge,
    pub(super) notices_open: IntGauge,
    pub(super) notices_oldest: IntGauge,
    pub(super) reloads: IntCounterVec,
    pub(super) reload_refused: IntGauge,
    pub(super) recipient_certificate_ends: IntGaugeVec,
    pub(super) recipient_certificate_changes: IntCounterVec,
    pub(super) recipients_shown: Shown,
    pub(super) declarations: IntGaugeVec,
    pub(super) orders_in_force: IntGauge,
    pub(super) orders_not_in_files: IntGauge,
    pub(super) comply_open: IntGaugeVec,
    pub(super) comply_left: IntGaugeVec,
    pub(super) observe_in_force: IntGaugeVec,
    pub(super) transfer_exchanges: IntCounterVec,
    pub(super) transfer_failures_in_row: IntGaugeVec,
    pub(super) transfer_in_force: IntGaugeVec,
    pub(super) transfer_last_exchange: IntGaugeVec,
    pub(super) transfer_period: IntGaugeVec,
    pub(super) filing_valid_until: IntGaugeVec,
    /// Transfers that have series. Held for a look-up, never across an await.
    pub(super) transfers: Mutex<BTreeSet<Id>>,
    /// Sources that have series, likewise.
    pub(super) sources: Mutex<BTreeSet<Id>>,
}

impl Series {
    /// Every series at zero.
    pub(super) fn new() -> Series {
        let mut make = Maker::default();
        let series = Series {
            decisions: make.counters(
                "decisions_total",
                "Decisions by kind, reason and entry point; a permit has the reason `none`.",
                &["decision", "reason", "entry"],
            ),
            decision: make.histograms("decision_seconds", "Deciding one stage, without waiting.", &["stage"], DECISION),
            outcomes: make.counters("outcomes_total", "How exchanges that were let through ended.", &["end"]),
            exchange: make.histograms(
                "exchange_seconds",
                "An exchange that was let through, from its head to the end of the answer.",
                &["carriage"],
                EXCHANGE,
            ),
            exchanges_open: make.gauge("exchanges_open", "Exchanges that were let through and have not ended."),
            tunnels_open: make.gauge("tunnels_open", "Tunnels that are being relayed."),
            bytes: make.counters(
                "bytes_total",
                "Body and tunnel bytes, towards recipients (out) and clients (in).",
                &["direction"],
            ),
            not_inspected: make.counters(
                "not_inspected_total",
                "Exchanges that were let through without being read.",
                &["carriage"],
            ),
            parser_refusals: make
                .counter("parser_refusals_total", "Requests refused by the HTTP parser before they could be judged."),
            connections_open: make.gauge("connections_open", "Connections of clients."),
            connections_limit: make.gauge("connections_limit", "Most connections of clients at once."),
            accept_failures: make.counters(
                "accept_failures_total",
                "Connections that could not be accepted, by kind; clients wait meanwhile.",
                &["kind"],
            ),
            connections_refused: make.counters(
                "connections_refused_total",
                "Connections closed as soon as they were accepted; `per-source`: their address has as many as it may.",
                &["cause"],
            ),
            peers: make.gauge("peer_addresses", "Peer addresses that connections or requests are counted of."),
            peers_limit: make.gauge("peer_addresses_limit", "Most peer addresses that are counted."),
            held: make.gauge("held_bytes", "Bytes of bodies held until they are judged, announced ones included."),
            held_limit: make.gauge("held_limit_bytes", "Most bytes of all held bodies together."),
            spool_jobs: make.gauge("spool_jobs", "Pieces of held bodies that wait for the disk or are at it now."),
            spool_jobs_limit: make.gauge("spool_jobs_limit", "Most of them; each client connection has at most one."),
            spool_failures: make
                .counter("spool_failures_total", "Bodies refused because the spool could not take them (disk full)."),
            resolve: make.histogram("resolve_seconds", "Resolving the name of a declared destination.", STEP),
            resolved: make.counters(
                "resolved_total",
                "Names of declared destinations that were resolved, by what came of it; kept answers count too.",
                &["result"],
            ),
            questions: make.gauge("resolver_questions", "Questions to the name service that are open."),
            questions_limit: make.gauge("resolver_questions_limit", "Most questions at once; further ones wait."),
            connect: make.histogram("connect_seconds", "Opening a TCP connection to one address.", STEP),
            handshake: make.histograms(
                "tls_handshake_seconds",
                "A TLS handshake, whether it succeeded or not.",
                &["side"],
                STEP,
            ),
            handshake_failures: make.counters(
                "tls_handshake_failures_total",
                "TLS handshakes that failed, by side.",
                &["side"],
            ),
            client_distrust: make.counters(
                "client_distrust_total",
                "Handshakes that a client refused because it does not trust the interception authority, by source.",
                &["source"],
            ),
            credential_checks: make.counters(
                "credential_checks_total",
                "Credentials of users: `right` and `wrong` were computed with Argon2, `remembered` and `joined` were not; `throttled` (too many wrong ones) and `busy` were not looked at.",
                &["result"],
            ),
            users: make.gauge("users", "Users of the users file in use."),
            file_reloads: make.counters(
                "file_reloads_total",
                "Files read again while the proxy ran, by what they hold: taken, or refused because of a fault.",
                &["file", "result"],
            ),
            file_reload_refused: make.gauges(
                "file_reload_refused",
                "1 while these files are not what is in use, because they were refused when they were read last.",
                &["file"],
            ),
            next_revocations: make.seconds(
                "listener_next_revocations_timestamp_seconds",
                "When the next list of revoked client certificates was promised, of several lists the earliest; infinite without one.",
            ),
            leaves: make.gauge("leaf_cache_entries", "Leaf certificates kept by the interception authority."),
            leaves_limit: make.gauge("leaf_cache_limit", "Most leaf certificates kept."),
            idle_connections: make.gauge("idle_connections", "Connections to recipients kept for reuse."),
            idle_connections_limit: make.gauge("idle_connections_limit", "Most connections kept for reuse."),
            authority_not_after: make.gauge(
                "interception_authority_not_after_timestamp_seconds",
                "Last second of the interception authority's certificate.",
            ),
            record_available: make
                .gauge("record_available", "1 while records can be written; at 0 everything is refused."),
            record_fault: make.gauges(
                "record_fault",
                "1 while this cause keeps records from being written; `no-room` mends itself, the others last until restart.",
                &["cause"],
            ),
            record_commit: make.histogram(
                "record_commit_seconds",
                "From a decision's arrival at the writer until it is on stable storage.",
                COMMIT,
            ),
            record_batches: make.counter("record_batches_total", "Batches of records written and synced."),
            record_refused: make.counter("record_refused_total", "Records refused for lack of room or a latched log."),
            record_queue: make.gauge("record_queue_length", "Records that wait for the writer."),
            record_queue_limit: make.gauge("record_queue_limit", "Most records that wait for the writer."),
            folded_kinds: make.gauge("folded_kinds", "Kinds of denials that are counted for folding in this minute."),
            folded_kinds_limit: make
                .gauge("folded_kinds_limit", "Most kinds counted; denials of further ones are written one by one."),
            record_sequence: make.gauge("record_sequence", "Sequence number of the next record of the log."),
            record_open: make.gauge("record_open_decisions", "Decisions on record whose outcome is not yet."),
            record_durable: make.gauge("record_durable_bytes", "Bytes of the log on stable storage."),
            record_durable_at: make.gauge(
                "record_durable_timestamp_seconds",
                "When a batch was last synced; the heartbeat keeps it younger than about a minute.",
            ),
            record_reserve: make.gauge(
                "record_reserve_bytes",
                "Free bytes that decisions leave alone (`disk.reserve`); below them they are refused.",
            ),
            record_reserved: make.gauge(
                "record_reserved_bytes",
                "Bytes allocated for the outcomes of open exchanges, so that they can be written on a full disk.",
            ),
            state_free: make.gauge("state_free_bytes", "Free bytes on the file system of the state folder."),
            state_size: make.gauge("state_size_bytes", "Bytes of the file system of the state folder."),
            clock_steps: make.counter("clock_steps_total", "Steps of the wall clock by more than a minute."),
            clock_ahead: make.seconds(
                "clock_ahead_seconds",
                "By how much decisions run ahead of the wall clock, because it was set back.",
            ),
            flows: make.gauges(
                "flows",
                "Flows that keep a period and have not fallen silent, by whether a declaration lets them leave.",
                &["standing"],
            ),
            register_info: make.gauges("register_info", "The register in force, as a label.", &["version"]),
            register_loaded: make.gauge("register_loaded_timestamp_seconds", "When the register in force was loaded."),
            register_weakened: make.gauge(
                "register_weakened_timestamp_seconds",
                "When a register that protects less than the one before was put in force last; 0 where none is known.",
            ),
            register_changes: make.counters(
                "register_transfer_changes_total",
                "Transfers that differ from the register before, at start and at reloads, by what became of them.",
                &["change"],
            ),
            registers_kept: make.gauge("registers_kept", "Registers kept by version in the state folder."),
            registers_kept_bytes: make.gauge("registers_kept_bytes", "Bytes of the registers kept, and their manifests."),
            register_kept: make.gauge(
                "register_kept",
                "1 while the register in force is kept; at 0 its decisions could not be explained later.",
            ),
            notices_open: make.gauge(
                "notifications_open",
                "Changes that the authority must be told and no `notifications` entry says it was (law 09-08 art. 15).",
            ),
            notices_oldest: make.gauge(
                "notifications_oldest_timestamp_seconds",
                "Since when the oldest of them is in force; 0 where none is open.",
            ),
            reloads: make.counters(
                "register_reloads_total",
                "Registers read again while the proxy ran: taken, or refused because of a fault.",
                &["result"],
            ),
            reload_refused: make.gauge(
                "register_reload_refused",
                "1 while the policy files are not what is in force, because the last reload was refused.",
            ),
            recipient_certificate_ends: make.gauges(
                "recipient_certificate_not_after_timestamp_seconds",
                "Last second of the certificate that a recipient showed; of several, the one that ends first.",
                &["recipient"],
            ),
            recipient_certificate_changes: make.counters(
                "recipient_certificate_changes_total",
                "Certificates of a recipient with a key that it had not shown since this process started.",
                &["recipient"],
            ),
            recipients_shown: Shown::default(),
            declarations: make.gauges("declarations", "Entries of the register in force, by kind.", &["kind"]),
            orders_in_force: make.gauge("orders_in_force", "An authority's orders that suspend and are not lifted."),
            orders_not_in_files: make.gauge(
                "orders_not_in_files",
                "Orders in force that were read from policy files which do not hold them any more.",
            ),
            comply_open: make.gauges(
                "comply_orders_open",
                "An authority's deadlines that nothing says to be complied with: in time, or overdue.",
                &["deadline"],
            ),
            comply_left: make.gauges(
                "comply_left_seconds",
                "Days until the nearest deadline of an authority, of 86,400 s each; negative once it is over, absent where none is open.",
                &[],
            ),
            observe_in_force: make.gauges(
                "observe_in_force",
                "Places of the register where `mode: observe` is in force today.",
                &["scope"],
            ),
            transfer_exchanges: make.counters(
                "transfer_exchanges_total",
                "Decisions on exchanges of a declared transfer.",
                &["transfer", "decision"],
            ),
            transfer_failures_in_row: make.gauges(
                "transfer_failures_in_row",
                "Exchanges of a transfer, one after another, that were denied or not answered with success.",
                &["transfer"],
            ),
            transfer_in_force: make.gauges(
                "transfer_in_force",
                "1 while the filing is granted and valid today and no order suspends the transfer.",
                &["transfer"],
            ),
            transfer_last_exchange: make.gauges(
                "transfer_last_exchange_timestamp_seconds",
                "Last permit under a transfer; if none is known, when this process first loaded the transfer.",
                &["transfer"],
            ),
            transfer_period: make.gauges(
                "transfer_period_seconds",
                "Declared interval of a transfer (`min_interval`); none where none is declared.",
                &["transfer"],
            ),
            filing_valid_until: make.gauges(
                "filing_valid_until_timestamp_seconds",
                "First second at which a transfer's filing is no longer valid; none where it has no end.",
                &["transfer"],
            ),
            transfers: Mutex::default(),
            sources: Mutex::default(),
            registry: make.finish(),
            described: make.described,
        };
        series.start_at_zero();
        series
    }

    fn start_at_zero(&self) {
        for change in Counts::LABELS {
            self.register_changes.with_label_values(&[change]);
        }
        for standing in STANDINGS {
            self.flows.with_label_values(&[standing]);
        }
        for source in [UNKNOWN, OTHER] {
            self.client_distrust.with_label_values(&[source]);
        }
        for entry in EntryPoint::ALL {
            self.decisions.with_label_values(&[Decision::Permit.as_str(), NO_REASON, entry.as_str()]);
            for reason in Reason::ALL {
                self.decisions.with_label_values(&[Decision::Denial.as_str(), reason.as_str(), entry.as_str()]);
                if reason.is_lifted_by_observe() {
                    self.decisions.with_label_values(&[Decision::WouldDeny.as_str(), reason.as_str(), entry.as_str()]);
                }
            }
        }
        STAGES.iter().for_each(|stage| drop(self.decision.with_label_values(&[stage.as_str()])));
        End::ALL.iter().for_each(|end| drop(self.outcomes.with_label_values(&[end.as_str()])));
        Direction::ALL.iter().for_each(|direction| drop(self.bytes.with_label_values(&[direction.as_str()])));
        RELOADS.iter().for_each(|result| drop(self.reloads.with_label_values(&[result])));
        for carriage in Carriage::ALL {
            self.exchange.with_label_values(&[carriage.as_str()]);
            self.not_inspected.with_label_values(&[carriage.as_str()]);
        }
        AcceptFault::ALL.iter().for_each(|kind| drop(self.accept_failures.with_label_values(&[kind.as_str()])));
        Unserved::ALL.iter().for_each(|cause| drop(self.connections_refused.with_label_values(&[cause.as_str()])));
        Resolved::ALL.iter().for_each(|result| drop(self.resolved.with_label_values(&[result.as_str()])));
        Checked::ALL.iter().for_each(|result| drop(self.credential_checks.with_label_values(&[result.as_str()])));
        for file in Reread::ALL {
            self.file_reload_refused.with_label_values(&[file.as_str()]);
            RELOADS.iter().for_each(|result| drop(self.file_reloads.with_label_values(&[file.as_str(), result])));
        }
        for side in Side::ALL {
            self.handshake.with_label_values(&[side.as_str()]);
            self.handshake_failures.with_label_values(&[side.as_str()]);
        }
        for (gauges, labels) in [
            (&self.declarations, &KINDS[..]),
            (&self.observe_in_force, &SCOPES[..]),
            (&self.comply_open, &DEADLINES[..]),
        ] {
            labels.iter().for_each(|label| drop(gauges.with_label_values(&[label])));
        }
        Cause::ALL.iter().for_each(|cause| drop(self.record_fault.with_label_values(&[cause.as_str()])));
        self.transfer_at_zero(OTHER);
    }

    pub(super) fn transfer_at_zero(&self, transfer: &str) {
        for decision in Decision::ALL {
            self.transfer_exchanges.with_label_values(&[transfer, decision.as_str()]);
        }
    }
}

/// What the reference says of one metric.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) labels: Vec<String>,
    pub(super) help: String,
}

/// Makes series, and notes what it made.
#[derive(Default)]
struct Maker {
    registry: Registry,
    described: Vec<Described>,
}

impl Maker {
    fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        let options = self.options("counter", name, help, &[]);
        self.register(IntCounter::with_opts(options).expect(WELL_FORMED))
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let options = self.options("counter", name, help, labels);
        self.register(IntCounterVec::new(options, labels).expect(WELL_FORMED))
    }

    fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        let options = self.options("gauge", name, help, &[]);
        self.register(IntGauge::with_opts(options).expect(WELL_FORMED))
    }

    fn seconds(&mut self, name: &str, help: &str) -> Gauge {
        let options = self.options("gauge", name, help, &[]);
        self.register(Gauge::with_opts(options).expect(WELL_FORMED))
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let options = self.options("gauge", name, help, labels);
        self.register(IntGaugeVec::new(options, labels).expect(WELL_FORMED))
    }

    fn histogram(&mut self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let options = HistogramOpts::from(self.options("histogram", name, help, &[])).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(options).expect(WELL_FORMED))
    }

    fn histograms(&mut self, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
        let options = HistogramOpts::from(self.options("histogram", name, help, labels)).buckets(bounds.to_vec());
        self.register(HistogramVec::new(options, labels).expect(WELL_FORMED))
    }

    fn options(&mut self, kind: &'static str, name: &str, help: &str, labels: &[&str]) -> Opts {
        let (name, help) = (format!("tasrih_{name}"), help.to_owned());
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.described.push(Described { name: name.clone(), kind, labels, help: help.clone() });
        Opts::new(name, help)
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry.register(Box::new(collector.clone())).expect(REGISTERED_ONCE);
        collector
    }

    /// Adds what the build and the process say of themselves.
    fn finish(&mut self) -> Registry {
        let build = self.gauges("build_info", "The program's version, as a label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(ProcessCollector::for_self())).expect(REGISTERED_ONCE);
        self.registry.clone()
    }
}

const REGISTERED_ONCE: &str = "every name in this file stands once";
const WELL_FORMED: &str = "names and labels in this file are well-formed";

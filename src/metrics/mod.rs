//! What is counted for Prometheus, as typed functions: callers name no metric and no label.
//!
//! Labels come from closed sets only, never hosts or addresses (DESIGN §8); every series exists from the start, at zero,
//! so that rates and absence alerts work. Transfers are declared ids, capped. `series` makes and describes the series,
//! `declared` keeps those that follow from the register, [`reference`] writes the table of all of them. prometheus is
//! named in this folder only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Encoder, HistogramTimer, IntGauge, TextEncoder};

use crate::audit::{Cause, Health};
use crate::policy::{Decision, End, EntryPoint, Reason, Stage};
use crate::register::Id;

mod declared;
mod labels;
mod recipients;
pub mod reference;
mod series;

pub use labels::{AcceptFault, Bounded, Carriage, Checked, Direction, Reread, Resolved, Side, Unserved};
use series::{NO_REASON, Series, UNKNOWN};

/// What Prometheus expects of a text scrape.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counters of one proxy. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Every series at zero.
    pub fn new() -> Metrics {
        Metrics(Arc::new(Series::new()))
    }

    /// A decision was made. A permit has no reason.
    pub fn decided(&self, decision: Decision, reason: Option<Reason>, entry: EntryPoint) {
        let reason = reason.map_or(NO_REASON, Reason::as_str);
        self.0.decisions.with_label_values(&[decision.as_str(), reason, entry.as_str()]).inc();
    }

    /// Times the decision of one stage, until what is given back is dropped.
    pub fn deciding(&self, stage: Stage) -> Timed {
        Timed(self.0.decision.with_label_values(&[stage.as_str()]).start_timer())
    }

    /// Times the resolution of a name, until what is given back is dropped.
    pub fn resolving(&self) -> Timed {
        Timed(self.0.resolve.start_timer())
    }

    /// Counts what became of the question for a name.
    pub fn resolved(&self, result: Resolved) {
        self.0.resolved.with_label_values(&[result.as_str()]).inc();
    }

    /// Times the opening of a TCP connection to a recipient, until what is given back is dropped.
    pub fn connecting(&self) -> Timed {
        Timed(self.0.connect.start_timer())
    }

    /// Times a TLS handshake, until what is given back is dropped.
    pub fn shaking_hands(&self, side: Side) -> Timed {
        Timed(self.0.handshake.with_label_values(&[side.as_str()]).start_timer())
    }

    /// An exchange that was let through ended, so long after its first byte arrived.
    pub fn ended(&self, end: End, carriage: Carriage, after: Duration) {
        self.0.outcomes.with_label_values(&[end.as_str()]).inc();
        self.0.exchange.with_label_values(&[carriage.as_str()]).observe(after.as_secs_f64());
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

    /// No connection could be accepted.
    pub fn accept_failed(&self, kind: AcceptFault) {
        self.0.accept_failures.with_label_values(&[kind.as_str()]).inc();
    }

    /// A connection was closed as soon as it was accepted.
    pub fn connection_unserved(&self, cause: Unserved) {
        self.0.connections_refused.with_label_values(&[cause.as_str()]).inc();
    }

    /// The spool could not take a body.
    pub fn spool_failed(&self) {
        self.0.spool_failures.inc();
    }

    /// Bytes went by.
    pub fn moved(&self, direction: Direction, bytes: u64) {
        self.0.bytes.with_label_values(&[direction.as_str()]).inc_by(bytes);
    }

    /// So much of something bounded is taken now.
    pub fn set_taken(&self, what: Bounded, taken: u64) {
        what.series(&self.0).0.set(signed(taken));
    }

    /// So much of something bounded may be taken.
    pub fn set_limit(&self, what: Bounded, limit: u64) {
        what.series(&self.0).1.set(signed(limit));
    }

    /// A record reached stable storage after this time.
    pub fn record_committed(&self, after: Duration) {
        self.0.record_commit.observe(after.as_secs_f64());
    }

    /// How the record is, and by how much decisions run ahead of the wall clock.
    pub fn record_is(&self, health: &Health, ahead: Duration) {
        let series = &self.0;
        series.record_available.set(health.is_ready().into());
        for cause in Cause::ALL {
            let is_so = (cause == Cause::NoRoom && health.no_room) || health.cause() == Some(cause);
            series.record_fault.with_label_values(&[cause.as_str()]).set(is_so.into());
        }
        series.record_reserved.set(signed(health.reserved));
        series.record_durable.set(signed(health.synced));
        series.record_durable_at.set(health.durable_at);
        series.record_sequence.set(signed(health.sequence));
        series.record_open.set(signed(health.open));
        series.clock_ahead.set(ahead.as_secs_f64());
        for (counter, now) in [
            (&series.record_batches, health.batches),
            (&series.record_refused, health.unavailable),
            (&series.clock_steps, health.clock_steps),
        ] {
            // The writer counts by itself since start; the scrape takes over what was added.
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }

    /// A register was to take effect while the proxy ran. One that is refused leaves the older one in force, until the
    /// next one is taken.
    pub fn reloaded(&self, is_taken: bool) {
        let result = if is_taken { "taken" } else { "refused" };
        self.0.reloads.with_label_values(&[result]).inc();
        self.0.reload_refused.set((!is_taken).into());
    }

    /// Credentials were looked at, or were not.
    pub fn credentials_checked(&self, result: Checked) {
        self.0.credential_checks.with_label_values(&[result.as_str()]).inc();
    }

    /// So many users can be proven.
    pub fn set_users(&self, users: u64) {
        self.0.users.set(signed(users));
    }

    /// Files were read again while the proxy ran. What is refused leaves in use what was there before.
    pub fn reread(&self, what: Reread, is_taken: bool) {
        let result = if is_taken { "taken" } else { "refused" };
        self.0.file_reloads.with_label_values(&[what.as_str(), result]).inc();
    }

    /// Of what the files were refused, so that what is in use is older.
    pub fn set_reread_refused(&self, refused: &BTreeSet<Reread>) {
        for what in Reread::ALL {
            self.0.file_reload_refused.with_label_values(&[what.as_str()]).set(refused.contains(&what).into());
        }
    }

    /// When the next list of revoked client certificates was promised, of several the earliest; `None` where no listener
    /// has a list, or it promises none.
    pub fn set_next_revocations(&self, unix_seconds: Option<u64>) {
        self.0.next_revocations.set(unix_seconds.map_or(f64::INFINITY, |seconds| seconds as f64));
    }

    /// Free bytes on the file system of the state folder that decisions leave alone.
    pub fn set_record_reserve(&self, reserve: u64) {
        self.0.record_reserve.set(signed(reserve));
    }

    /// Room on the file system of the state folder, in bytes: free for us, and in all.
    pub fn set_state_room(&self, free: u64, size: u64) {
        self.0.state_free.set(signed(free));
        self.0.state_size.set(signed(size));
    }

    /// So many flows keep a period: declared ones, and undeclared ones.
    pub fn set_flows(&self, declared: u64, undeclared: u64) {
        for (standing, count) in series::STANDINGS.into_iter().zip([declared, undeclared]) {
            self.0.flows.with_label_values(&[standing]).set(signed(count));
        }
    }

    /// The interception authority's certificate ends at this time.
    pub fn set_authority_end(&self, unix_seconds: i64) {
        self.0.authority_not_after.set(unix_seconds);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, side: Side) {
        self.0.handshake_failures.with_label_values(&[side.as_str()]).inc();
    }

    /// A client of this source said that it does not trust the interception authority.
    pub fn client_distrusts(&self, source: Option<&Id>) {
        let label = source.map_or(UNKNOWN, |source| self.named_source(source));
        self.0.client_distrust.with_label_values(&[label]).inc();
    }

    /// An exchange was let through without being read.
    pub fn not_inspected(&self, carriage: Carriage) {
        self.0.not_inspected.with_label_values(&[carriage.as_str()]).inc();
    }

    /// The HTTP parser refused a request by itself.
    pub fn parser_refused(&self) {
        self.0.parser_refusals.inc();
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

/// Something that is timed, for as long as this value lives; what is given up is timed, too.
#[must_use = "the time ends when this is dropped"]
pub struct Timed(#[expect(dead_code, reason = "its drop is what observes")] HistogramTimer);

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
        metrics.transfer_decided(&Id::new("unknown").expect("an id"), Decision::Denial, jiff::Timestamp::UNIX_EPOCH);
        let line = "tasrih_transfer_exchanges_total{decision=\"denial\",transfer=\"other\"} 1";
        assert!(metrics.encode().contains(line));
    }
}

//! What the admin listener may see of the running proxy: figures gathered at each scrape, and readiness.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::{Readiness, Status};
use crate::audit::Health;
use crate::audit::storage::available;
use crate::destination::{Authority, Host};
use crate::metrics::Bounded;
use crate::proxy::Corridor;
use crate::proxy::handout::{Handout, Reached};

/// The proxy, as its operators see it.
pub struct Observed {
    corridor: Arc<Corridor>,
    /// The state folder, whose file system is watched.
    state: PathBuf,
    /// The first `forward` listener, which clients are told to use, and whether it speaks TLS.
    proxy: (SocketAddr, bool),
}

impl Observed {
    /// Sees this corridor, whose log lies in `state` and whose first listener is `proxy`, over TLS or not.
    pub fn new(corridor: Arc<Corridor>, state: PathBuf, proxy: (SocketAddr, bool)) -> Observed {
        let metrics = &corridor.metrics;
        metrics.set_limit(Bounded::HeldBytes, corridor.holding.budget.limit());
        metrics.set_limit(Bounded::RecordQueue, corridor.audit.queue_limit() as u64);
        metrics.set_limit(Bounded::LeafCache, corridor.authority.leaves_limit());
        metrics.set_limit(Bounded::IdleConnections, corridor.dialer.idle_limit() as u64);
        metrics.set_limit(Bounded::Sources, corridor.sources.limit() as u64);
        metrics.set_limit(Bounded::Questions, corridor.resolver.questions().1 as u64);
        metrics.set_limit(Bounded::FoldedKinds, corridor.audit.folded_limit());
        metrics.set_limit(Bounded::SpoolJobs, corridor.limits.connections as u64);
        let ends = corridor.authority.facts().not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.set_authority_end(i64::try_from(ends.as_secs()).unwrap_or(i64::MAX));
        Observed { corridor, state, proxy }
    }

    /// Takes the figures that nobody counts while they change.
    fn gather(&self) {
        let corridor = &self.corridor;
        let metrics = &corridor.metrics;
        metrics.set_taken(Bounded::HeldBytes, corridor.holding.budget.held());
        metrics.set_taken(Bounded::RecordQueue, corridor.audit.queued() as u64);
        metrics.set_taken(Bounded::LeafCache, corridor.authority.leaves_kept());
        metrics.set_taken(Bounded::IdleConnections, corridor.dialer.idle() as u64);
        metrics.set_record_reserve(corridor.audit.reserve());
        metrics.set_taken(Bounded::Sources, corridor.sources.len() as u64);
        metrics.set_taken(Bounded::Questions, corridor.resolver.questions().0 as u64);
        metrics.set_taken(Bounded::FoldedKinds, corridor.audit.health().folded_kinds);
        metrics.set_taken(Bounded::SpoolJobs, corridor.holding.budget.jobs());
        metrics.record_is(&corridor.audit.health(), corridor.audit.clock().ahead());
        metrics.register_at(&corridor.register.load(), corridor.now());
        match rustix::fs::statvfs(&self.state) {
            Ok(disk) => metrics.set_state_room(available(&disk), disk.f_blocks.saturating_mul(disk.f_frsize)),
            Err(fault) => tracing::warn!(%fault, "the room of the state folder is not known"),
        }
    }
}

impl Status for Observed {
    fn metrics(&self) -> String {
        self.gather();
        self.corridor.metrics.encode()
    }

    fn readiness(&self) -> Readiness {
        let health = self.corridor.audit.health();
        let ready = health.is_ready();
        let refused = self.corridor.refused.load_full();
        Readiness {
            ready,
            node: self.corridor.node.to_string(),
            register: self.corridor.register.load().version.0.to_string(),
            register_refused: refused.is_some(),
            register_faults: refused.map(|faults| *faults),
            files_refused: self.corridor.refused_files.load().iter().map(|what| what.as_str()).collect(),
            record: describe(&health),
            reason: (!ready).then(|| "record-unavailable".to_owned()),
            cause: health.cause().map(|cause| cause.as_str().to_owned()),
            remedy: health.cause().map(|cause| cause.remedy().to_owned()),
        }
    }

    fn handout(&self, what: Handout, asked: &Host) -> Option<Bytes> {
        // A listener on all addresses is reached under the one at which this page was.
        let (proxy, tls) = self.proxy;
        let host = match proxy.ip() {
            ip if ip.is_unspecified() => asked.clone(),
            ip => Host::Address(ip),
        };
        let at = Authority { host, port: Some(proxy.port()) };
        what.body(&self.corridor.authority, &Reached { at, tls })
    }
}

/// The state of the record in one line.
fn describe(health: &Health) -> String {
    match &health.latch {
        Some(latch) => format!("the log stopped at a failed write ({}); restart to verify it", latch.fault),
        None if health.no_room => "too little room in the state folder".to_owned(),
        None => "available".to_owned(),
    }
}

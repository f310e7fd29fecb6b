//! A register enters into force: it is kept, compared with the one before, and goes on record with the difference.
//!
//! The same at start and at a reload, so that a folder that changed while the proxy was stopped is told like one that
//! changed while it ran. In this order: kept durably, on record, in force, remembered as what is in force. A process that
//! dies in between leaves a version that is kept and named by no record, or a difference that the next start tells again.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::archive::{Archive, KeptFault, Source, Standing};
use crate::audit::{Audit, RecordUnavailable};
use crate::metrics::Metrics;
use crate::proxy::error::told;
use crate::record::{Lifecycle, Origin, Since};
use crate::register::diff::{Brief, carry, diff};
use crate::register::{Register, Version};

/// A register that is to enter into force.
pub struct Entering {
    /// The register.
    pub register: Arc<Register>,
    /// What it was compiled from.
    pub source: Source,
    /// How many warnings it has.
    pub warnings: u64,
    /// Who changed the files.
    pub origin: Origin,
}

/// Where a register enters.
pub struct Gate<'g> {
    /// Where it goes on record.
    pub audit: &'g Audit,
    /// Where it is kept.
    pub archive: &'g Arc<Archive>,
    /// Where it is counted.
    pub metrics: &'g Metrics,
}

/// What a register changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// What it follows.
    pub since: Since,
    /// What the authority must still be told, those of earlier registers included.
    pub open: Vec<String>,
    /// Whether it is kept.
    pub kept: bool,
}

impl Entered {
    /// In what it differs from the one before; `None` where that is not known, or there is none.
    pub fn brief(&self) -> Option<&Brief> {
        match &self.since {
            Since::Changed(brief) => Some(brief),
            Since::First | Since::Same(_) | Since::Unknown(_) => None,
        }
    }
}

/// What was done before the record, on a thread that may block.
struct Prepared {
    since: Since,
    standing: Standing,
    kept: bool,
}

impl Gate<'_> {
    /// Keeps a register and puts it on record; the caller puts it in force with `enforce`, which runs once the record is
    /// durable. `before` is the register in force, where there is one in memory.
    ///
    /// # Errors
    /// [`RecordUnavailable`]; it is not put in force then.
    pub async fn enter(
        &self,
        entering: Entering,
        before: Option<Arc<Register>>,
        enforce: impl FnOnce(Arc<Register>),
    ) -> Result<Entered, RecordUnavailable> {
        let Entering { register, source, warnings, origin } = entering;
        let (version, transfers) = (register.version.clone(), register.transfers.len() as u64);
        let (archive, entrant, at) = (self.archive.clone(), register.clone(), self.audit.clock().wall());
        let prepared = blocking(move || prepare(&archive, &entrant, source, before, at)).await;
        let Prepared { since, standing, kept } = prepared;
        let open_notices = standing.open.len() as u64;
        let loaded = Lifecycle::RegisterLoaded {
            version,
            transfers,
            warnings,
            origin,
            since: since.clone(),
            kept,
            open_notices,
        };
        self.audit.note(loaded).await?;
        enforce(register);
        let entered = Entered { since, open: standing.open.iter().map(|notice| notice.change()).collect(), kept };
        self.count(&entered, &standing);
        let (archive, metrics) = (self.archive.clone(), self.metrics.clone());
        let stood = blocking(move || {
            count_kept(&archive, &metrics);
            archive.stand(&standing)
        });
        let stood = stood.await;
        if let Err(fault) = stood {
            // The next start tells the same difference again; nothing is lost.
            tracing::error!(fault = told(&fault), "what is in force cannot be remembered in the state folder");
        }
        Ok(entered)
    }

    fn count(&self, entered: &Entered, standing: &Standing) {
        if let Some(brief) = entered.brief() {
            self.metrics.register_changed(brief.transfers);
        }
        let oldest = standing.open.iter().map(|notice| notice.since).min();
        self.metrics.registers_stand(standing.open.len() as u64, oldest, standing.weakened);
    }
}

/// Tries again to keep what could not be kept. Blocks.
pub fn retry(archive: &Archive, metrics: &Metrics) {
    if archive.retry() {
        // What is kept may have been put there or taken away by hand, too.
        count_kept(archive, metrics);
    }
}

fn count_kept(archive: &Archive, metrics: &Metrics) {
    let size = archive.size();
    metrics.registers_kept(size.versions, size.bytes, size.is_whole);
}

fn prepare(
    archive: &Archive,
    register: &Arc<Register>,
    source: Source,
    before: Option<Arc<Register>>,
    at: Timestamp,
) -> Prepared {
    let kept = archive.keep(&register.version, source, at);
    if let Err(fault) = &kept {
        let (register, fault) = (register.version.short(), told(fault));
        tracing::error!(
            register,
            fault,
            "a register enters into force that could not be kept: what it decides cannot be explained later"
        );
    }
    let last = archive.standing().unwrap_or_else(|fault| {
        tracing::error!(fault = told(&fault), "what was in force before is not known; changes are told from here on");
        None
    });
    let (since, standing) = follow(archive, register, before, last, at);
    Prepared { since, standing, kept: kept.is_ok() }
}

/// What a register follows, and what is in force with it.
fn follow(
    archive: &Archive,
    register: &Arc<Register>,
    before: Option<Arc<Register>>,
    last: Option<Standing>,
    at: Timestamp,
) -> (Since, Standing) {
    let version = &register.version;
    let previous: Option<Version> =
        before.as_ref().map(|before| before.version.clone()).or_else(|| last.as_ref().map(Standing::version));
    let Some(previous) = previous else { return (Since::First, Standing::first(version, at)) };
    let last = last.unwrap_or_else(|| Standing::first(&previous, at));
    if previous == *version {
        return (Since::Same(previous), last);
    }
    match before.map_or_else(|| had_again(archive, &previous), Ok) {
        Err(fault) => {
            tracing::error!(fault = told(&fault), "the register before cannot be had again; what changed is not known");
            (Since::Unknown(previous), last.followed_by(version, at))
        }
        Ok(before) => {
            let diff = diff(&before, register);
            let brief = Brief::of(&diff);
            let mut standing = last.followed_by(version, at);
            standing.open = carry(standing.open, &diff, &before, register, at);
            if brief.weakens() {
                standing.weakened = Some(at);
            }
            (Since::Changed(Box::new(brief)), standing)
        }
    }
}

fn had_again(archive: &Archive, version: &Version) -> Result<Arc<Register>, KeptFault> {
    archive.load(version).map(|(register, _)| Arc::new(register))
}

/// What reads and writes files, or compares large registers, belongs on no thread that serves exchanges.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

/// Says what a register changed: `warn` where it protects less, or where the authority must be told.
pub fn tell(entered: &Entered, version: &Version) {
    let register = version.short();
    match &entered.since {
        Since::Changed(brief) if brief.weakens() => {
            let (previous, transfers, weaker) =
                (brief.previous.short(), brief.transfers.to_string(), brief.weaker.to_string());
            tracing::warn!(register, previous, transfers, weaker, "the register protects less than the one before");
        }
        Since::Changed(brief) => {
            let (previous, transfers) = (brief.previous.short(), brief.transfers.to_string());
            tracing::info!(register, previous, transfers, "the register differs from the one before");
        }
        Since::First | Since::Same(_) | Since::Unknown(_) => {}
    }
    if !entered.open.is_empty() {
        const FEW: usize = 5;
        let few = entered.open.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join("; ");
        let open = entered.open.len();
        tracing::warn!(
            open,
            changes = few,
            "the authority must be told of changes; a `notifications` entry closes each"
        );
    }
}

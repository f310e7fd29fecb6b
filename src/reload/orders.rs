//! Orders of an authority, taken while the proxy runs: from a command at once, from policy files as soon as they can be
//! read. They never wait for the rest: neither for other files that are at fault, nor for a compilation.
//!
//! A suspension is kept durably, put on record, and in force; where keeping or recording fails it is in force all the same,
//! and whoever gave it is told. A lift is the other way round: only what is recorded and kept ends an order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::audit::{Audit, RecordUnavailable};
use crate::docket::{Act, Docket, DocketFault, Entry, Means};
use crate::proxy::Corridor;
use crate::proxy::error::told;
use crate::record::{Lifecycle, Ordered, Origin};
use crate::register::fault::Problem;
use crate::register::lint::Lint;
use crate::register::{Order, OrderAction, Register, Version};

mod asked;
mod list;

use asked::is_of;
pub use asked::{Wanted, judge};
pub use list::list;

/// How long a suspension waits for its record before it is in force; then it is in force first.
const PATIENCE: Duration = Duration::from_millis(300);

/// An order that is taken.
#[derive(Debug)]
pub struct Taken {
    /// The register in force with it.
    pub version: Version,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Why it is in force and not on record; the next start writes the record.
    pub unrecorded: Option<RecordUnavailable>,
}

/// Why an order is not taken, or not wholly.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Debug, thiserror::Error)]
pub enum OrderFault {
    #[error("{}", .0.message)]
    Refused(Problem),
    #[error("it is in force until the proxy stops, and is not kept: give it again when this is mended")]
    Unkept(#[source] DocketFault),
    #[error("the order stays in force: its lift cannot be kept")]
    LiftUnkept(#[source] DocketFault),
    #[error("the order stays in force: its lift cannot be recorded")]
    LiftUnrecorded(#[source] RecordUnavailable),
}

/// Takes an order that somebody gives.
///
/// # Errors
/// [`OrderFault`].
pub async fn take(corridor: &Corridor, wanted: Wanted) -> Result<Taken, OrderFault> {
    let docket = corridor.docket.clone().lock_owned().await;
    let register = corridor.register.load_full();
    if !judge(&docket, Some(&register), &wanted).map_err(OrderFault::Refused)? {
        return Ok(Taken { version: register.version.clone(), is_new: false, unrecorded: None });
    }
    let entry = wanted.entry(corridor.audit.clock().wall());
    match wanted.act {
        Act::Suspend(_) => suspend(corridor, docket, vec![entry]).await,
        Act::Lift(_) => lift(corridor, docket, entry).await,
    }
}

/// Puts suspensions in force, on record and in the docket.
async fn suspend(
    corridor: &Corridor,
    docket: OwnedMutexGuard<Docket>,
    entries: Vec<Entry>,
) -> Result<Taken, OrderFault> {
    let in_force = corridor.register.load_full();
    let before = in_force.version.clone();
    let (mut docket, kept, register) = inscribe(docket, in_force, entries.clone()).await;
    let version = register.version.clone();
    let unrecorded = {
        let noting = note(&corridor.audit, &docket, &entries, &version);
        tokio::pin!(noting);
        let in_time = timeout(PATIENCE, &mut noting).await;
        put_in_force(corridor, register, &docket);
        match in_time {
            Ok(noted) => noted.err(),
            Err(_) => noting.await.err(),
        }
    };
    kept.map_err(OrderFault::Unkept)?;
    keep(corridor, before, version.clone(), &docket).await;
    if let Some(unavailable) = &unrecorded {
        tracing::error!(%unavailable, "an order is in force that could not be recorded; the next start records it");
        if let Err(fault) = docket.owe(entries.len()) {
            tracing::error!(fault = told(&fault), "that its record is missing could not be kept");
        }
    }
    Ok(Taken { version, is_new: true, unrecorded })
}

/// Ends a suspension, once that is on record and kept.
async fn lift(corridor: &Corridor, docket: OwnedMutexGuard<Docket>, entry: Entry) -> Result<Taken, OrderFault> {
    let mut after = docket.clone();
    let register = corridor.register.load_full();
    let version = after.with(entry.clone(), |after| register.with_orders(&after.remembered()).version);
    let noted = note(&corridor.audit, &docket, std::slice::from_ref(&entry), &version).await;
    noted.map_err(OrderFault::LiftUnrecorded)?;
    let before = register.version.clone();
    let (docket, kept, register) = inscribe(docket, register, vec![entry]).await;
    kept.map_err(OrderFault::LiftUnkept)?;
    put_in_force(corridor, register, &docket);
    keep(corridor, before, version.clone(), &docket).await;
    Ok(Taken { version, is_new: true, unrecorded: None })
}

/// Takes the suspensions that could be read of files which are otherwise at fault. What they stop must be declared in the
/// register in force: of a slip the fault tells. How many were new.
///
/// # Errors
/// [`OrderFault::Unkept`].
pub(super) async fn take_readable(
    corridor: &Corridor,
    suspensions: &[Order],
    origin: &Origin,
) -> Result<usize, OrderFault> {
    let docket = corridor.docket.clone().lock_owned().await;
    let register = corridor.register.load_full();
    let known = suspensions.iter().filter(|order| order.suspends().is_some_and(|scope| register.knows(scope).is_ok()));
    let known: Vec<Order> = known.cloned().collect();
    let news = docket.news(&known, corridor.audit.clock().wall(), origin);
    let count = news.len();
    if count > 0 {
        suspend(corridor, docket, news).await?;
    }
    Ok(count)
}

/// The orders that a register enters into force with. Until this is dropped no other order is taken.
pub(super) struct Beside {
    docket: OwnedMutexGuard<Docket>,
    /// What its files brought; not on record yet.
    news: Vec<Entry>,
}

/// Remembers the orders of a register whose files are without fault, and adds those that stand beside them.
///
/// # Errors
/// The docket cannot be written: what the files suspend is in force all the same.
pub(super) async fn join(
    corridor: &Corridor,
    register: Register,
    origin: &Origin,
) -> Result<(Register, Beside), OrderFault> {
    let docket = corridor.docket.clone().lock_owned().await;
    let news = docket.news(register.orders_of_files(), corridor.audit.clock().wall(), origin);
    let (docket, kept, register) = inscribe(docket, Arc::new(register), news.clone()).await;
    if let Err(fault) = kept {
        enforce_suspensions(corridor, &docket, &news);
        return Err(OrderFault::Unkept(fault));
    }
    Ok((register, Beside { docket, news }))
}

impl Beside {
    /// The register is in force: puts what its files brought on record.
    pub(super) async fn entered(mut self, corridor: &Corridor) {
        let register = corridor.register.load_full();
        corridor.metrics.orders_not_in_files(self.docket.missing(&register).len() as u64);
        if let Err(unavailable) = note(&corridor.audit, &self.docket, &self.news, &register.version).await {
            tracing::error!(%unavailable, "orders are in force that could not be recorded; the next start records them");
            if let Err(fault) = self.docket.owe(self.news.len()) {
                tracing::error!(fault = told(&fault), "that their records are missing could not be kept");
            }
        }
    }

    /// The register cannot enter into force. An order does not wait for it.
    pub(super) fn turned_away(self, corridor: &Corridor) {
        enforce_suspensions(corridor, &self.docket, &self.news);
    }

    /// All that is remembered.
    pub(super) fn remembered(&self) -> Vec<Order> {
        self.docket.remembered()
    }

    /// What is odd about the orders beside the files.
    pub(super) fn doubts(&self, register: &Register) -> Vec<(Lint, Problem)> {
        self.docket.doubts(register)
    }
}

fn enforce_suspensions(corridor: &Corridor, docket: &Docket, news: &[Entry]) {
    if !news.is_empty() {
        let register = corridor.register.load().with_orders(&remembered_with(docket, news));
        put_in_force(corridor, register, docket);
    }
}

/// What is remembered together with suspensions that could not be kept.
fn remembered_with(docket: &Docket, news: &[Entry]) -> Vec<Order> {
    let mut orders = docket.remembered();
    for entry in news {
        let Act::Suspend(scope) = &entry.act else { continue };
        if !orders.iter().any(|order| order.is(&entry.authority, &entry.reference) && order.suspends() == Some(scope)) {
            let action = OrderAction::Suspend { scope: scope.clone(), lifted: false };
            let (authority, reference) = (entry.authority.clone(), entry.reference.clone());
            orders.push(Order { authority, reference, date: entry.date, action });
        }
    }
    orders
}

/// Adds entries to the docket, durably, and makes the register with all that is remembered. Files, and the lists of a
/// large register, belong on no thread that serves exchanges.
async fn inscribe(
    mut docket: OwnedMutexGuard<Docket>,
    register: Arc<Register>,
    entries: Vec<Entry>,
) -> (OwnedMutexGuard<Docket>, Result<(), DocketFault>, Register) {
    let inscribing = spawn_blocking(move || {
        let kept = docket.add(entries.clone());
        let register = register.with_orders(&remembered_with(&docket, &entries));
        (docket, kept, register)
    });
    inscribing.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

/// Keeps the register that an order made. It is in force already: an order waits for no more than its own record.
async fn keep(corridor: &Corridor, before: Version, version: Version, docket: &Docket) {
    let (archive, remembered, at) = (corridor.archive.clone(), docket.remembered(), corridor.audit.clock().wall());
    let keeping = spawn_blocking(move || archive.keep_with_orders(&before, &version, &remembered, at));
    if let Err(fault) = keeping.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic())) {
        tracing::error!(
            fault = told(&fault),
            "a register is in force by an order that could not be kept: what it decides cannot be explained later"
        );
    }
}

fn put_in_force(corridor: &Corridor, register: Register, docket: &Docket) {
    corridor.metrics.register_loaded(&register, corridor.audit.clock().wall());
    corridor.metrics.orders_not_in_files(docket.missing(&register).len() as u64);
    corridor.register.store(Arc::new(register));
}

/// The docket of a state folder whose lock is held, with the orders of the policy files added, and the register with all
/// that is remembered. Blocks.
///
/// # Errors
/// [`DocketFault`]: a proxy does not start on orders that it cannot read or keep.
pub fn at_start(state: &Path, register: Register, at: Timestamp) -> Result<(Docket, Register), DocketFault> {
    let mut docket = Docket::read(state)?;
    let news = docket.news(register.orders_of_files(), at, &Origin::default());
    docket.add(news.into_iter().map(|entry| Entry { owed: true, ..entry }).collect())?;
    let register = register.with_orders(&docket.remembered());
    for (code, problem) in docket.doubts(&register) {
        let remedy = problem.hint.unwrap_or_default();
        tracing::warn!(%code, remedy, "{}", problem.message);
    }
    Ok((docket, register))
}

/// Puts on record what was taken while no proxy ran, or could not be recorded then.
///
/// # Errors
/// [`RecordUnavailable`].
pub async fn note_owed(corridor: &Corridor) -> Result<(), RecordUnavailable> {
    let mut docket = corridor.docket.lock().await;
    let owed = docket.owed();
    if owed.is_empty() {
        return Ok(());
    }
    let version = corridor.register.load().version.clone();
    note(&corridor.audit, &docket, &owed, &version).await?;
    if let Err(fault) = docket.all_noted() {
        tracing::error!(fault = told(&fault), "that orders are recorded could not be kept; they are recorded again");
    }
    Ok(())
}

/// Puts entries on record.
///
/// # Errors
/// The first that cannot be.
pub async fn note(
    audit: &Audit,
    docket: &Docket,
    entries: &[Entry],
    version: &Version,
) -> Result<(), RecordUnavailable> {
    for entry in entries {
        audit.note(Lifecycle::Ordered(Box::new(event(docket, entry, version)))).await?;
    }
    Ok(())
}

fn event(docket: &Docket, entry: &Entry, version: &Version) -> Ordered {
    let (scope, lifts) = match &entry.act {
        Act::Suspend(scope) => (scope.to_string(), None),
        Act::Lift(lifts) => {
            let lifted = docket.suspensions().filter(|known| is_of(known.entry, &entry.authority, lifts));
            let scopes: Vec<String> = lifted.map(|known| known.scope.to_string()).collect();
            (scopes.join(", "), Some(lifts.clone()))
        }
    };
    Ordered {
        authority: entry.authority.clone(),
        reference: entry.reference.clone(),
        lifts,
        scope,
        by_command: entry.way.means == Means::Command,
        taken: entry.at,
        version: version.clone(),
        origin: entry.way.origin.clone(),
    }
}

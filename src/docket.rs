//! The docket: every order that was ever taken, and every lift, kept in the state folder beside the log.
//!
//! Entries are only ever added. What policy files say can be edited away; what stands here ends by a lift. `format` is the
//! file. It is written whole beside the one before and put in its place, so that no crash leaves half of it: whatever else
//! is wrong with it is damage, and the proxy does not start on an order that it cannot read.
//!
//! Whoever adds holds the lock of the state folder ([`crate::audit::hold`]); reading takes none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::audit::storage;
use crate::record::Origin;
use crate::register::fault::Problem;
use crate::register::lint::Lint;
use crate::register::{Order, OrderAction, Register, Scope};

mod format;

/// Its name in the state folder.
pub const NAME: &str = "orders";
/// Largest file that is read, in bytes: some hundred thousand orders.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Why the docket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocketFault {
    /// An order may be missing from it: exit code 3.
    #[error(
        "the orders in {file:?} are damaged at line {line}: {what}; an authority's order may be missing, so nothing was \
         changed: restore the file from a copy, or move it away and give again, by `tasrih order suspend`, what the \
         records `order-in-force` of this state folder name and no `order-lifted` ends"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// From one.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The file system failed.
    #[error("cannot use the orders in {file:?}: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// How it failed.
        error: io::Error,
    },
}

impl DocketFault {
    /// Whether what was kept is in doubt, so that the process must refuse to start (exit code 3).
    pub fn is_integrity(&self) -> bool {
        matches!(self, DocketFault::Damaged { .. })
    }
}

/// Something that was added once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was taken.
    pub at: Timestamp,
    /// How it came.
    pub way: Way,
    /// Who ordered it.
    pub authority: String,
    /// What the authority calls it; of a lift, its own reference.
    pub reference: String,
    /// Its day, as the authority writes it.
    pub date: Option<Date>,
    /// What was said to it.
    pub note: Option<String>,
    /// What it does.
    pub act: Act,
    /// Whether its record could not be written when it was added: the next start writes it.
    pub owed: bool,
}

/// How an order came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// It was read from the policy files.
    Files,
    /// Somebody gave it by command.
    Command,
}

/// How an order came, and who brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// How.
    pub means: Means,
    /// Who changed the files, or asked.
    pub origin: Origin,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Stops what the scope covers.
    Suspend(Scope),
    /// Ends every suspension of that authority with this reference that stands before it.
    Lift(String),
}

/// A suspension that is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Suspension<'d> {
    /// As it was added.
    pub entry: &'d Entry,
    /// What it stops, or stopped.
    pub scope: &'d Scope,
    /// What ended it.
    pub lift: Option<&'d Entry>,
}

/// The entries, oldest first, and their file.
#[derive(Clone, Debug)]
pub struct Docket {
    file: PathBuf,
    entries: Vec<Entry>,
    /// How many entries at the beginning have no record to be written any more.
    noted: usize,
}

impl Docket {
    /// Reads that of a state folder; one without a file is empty.
    ///
    /// # Errors
    /// [`DocketFault`].
    pub fn read(state: &Path) -> Result<Docket, DocketFault> {
        let file = state.join(NAME);
        let read = || {
            let length = fs::metadata(&file)?.len();
            if length > LARGEST {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("{length} bytes, more than {LARGEST}"),
                ));
            }
            fs::read(&file)
        };
        match read() {
            Ok(bytes) => match format::read(&bytes) {
                Ok((entries, noted)) => Ok(Docket { file, entries, noted }),
                Err((line, what)) => Err(DocketFault::Damaged { file, line, what }),
            },
            // Where the state folder is none, no orders are either; who needs the folder says what is wrong with it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Docket { file, entries: Vec::new(), noted: 0 })
            }
            Err(error) => Err(DocketFault::Io { file, error }),
        }
    }

    /// Adds entries; they are durable when this returns. On a fault nothing was added.
    ///
    /// # Errors
    /// [`DocketFault::Io`].
    pub fn add(&mut self, entries: Vec<Entry>) -> Result<(), DocketFault> {
        if entries.is_empty() {
            return Ok(());
        }
        let before = self.entries.len();
        self.entries.extend(entries);
        self.write().inspect_err(|_| self.entries.truncate(before))
    }

    /// What `look` finds when this entry is added; nothing is written.
    pub fn with<T>(&mut self, entry: Entry, look: impl FnOnce(&Docket) -> T) -> T {
        self.entries.push(entry);
        let found = look(self);
        self.entries.pop();
        found
    }

    /// The records of the last `count` entries are still to be written.
    ///
    /// # Errors
    /// [`DocketFault::Io`].
    pub fn owe(&mut self, count: usize) -> Result<(), DocketFault> {
        let begin = self.entries.len().saturating_sub(count).max(self.noted);
        self.entries[begin..].iter_mut().for_each(|entry| entry.owed = true);
        self.write()
    }

    /// The entries whose record is still to be written.
    pub fn owed(&self) -> Vec<Entry> {
        self.entries[self.noted..].iter().filter(|entry| entry.owed).cloned().collect()
    }

    /// The records of all entries are written.
    ///
    /// # Errors
    /// [`DocketFault::Io`]; they are written again at the next start.
    pub fn all_noted(&mut self) -> Result<(), DocketFault> {
        let before = std::mem::replace(&mut self.noted, self.entries.len());
        self.write().inspect_err(|_| self.noted = before)
    }

    /// Every suspension that was ever taken, oldest first.
    pub fn suspensions(&self) -> impl Iterator<Item = Suspension<'_>> {
        self.entries.iter().enumerate().filter_map(|(position, entry)| {
            let Act::Suspend(scope) = &entry.act else { return None };
            let ends = |later: &&Entry| {
                later.authority == entry.authority
                    && matches!(&later.act, Act::Lift(lifts) if *lifts == entry.reference)
            };
            Some(Suspension { entry, scope, lift: self.entries[position..].iter().find(ends) })
        })
    }

    /// The same, as a register takes them.
    pub fn remembered(&self) -> Vec<Order> {
        let order = |suspension: Suspension<'_>| {
            let Suspension { entry, scope, lift } = suspension;
            let action = OrderAction::Suspend { scope: scope.clone(), lifted: lift.is_some() };
            let (authority, reference) = (entry.authority.clone(), entry.reference.clone());
            Order { authority, reference, date: entry.date, action }
        };
        self.suspensions().map(order).collect()
    }

    /// Whether an authority's reference is used already.
    pub fn uses(&self, authority: &str, reference: &str) -> bool {
        self.entries.iter().any(|entry| entry.authority == authority && entry.reference == reference)
    }

    /// What these orders of policy files bring that is not here yet: suspensions that are in force by them, and lifts of
    /// what stands here.
    pub fn news(&self, orders: &[Order], at: Timestamp, origin: &Origin) -> Vec<Entry> {
        let entry = |order: &Order, act: Act| Entry {
            at,
            way: Way { means: Means::Files, origin: origin.clone() },
            authority: order.authority.clone(),
            reference: order.reference.clone(),
            date: order.date,
            note: None,
            act,
            owed: false,
        };
        let news = orders.iter().filter_map(|order| match &order.action {
            OrderAction::Suspend { scope, lifted: false } => {
                let is_known = self
                    .suspensions()
                    .any(|known| order.is(&known.entry.authority, &known.entry.reference) && known.scope == scope);
                (!is_known).then(|| entry(order, Act::Suspend(scope.clone())))
            }
            OrderAction::Lift { lifts } => {
                let ends_one = self.suspensions().any(|known| {
                    known.lift.is_none() && known.entry.authority == order.authority && known.entry.reference == *lifts
                });
                ends_one.then(|| entry(order, Act::Lift(lifts.clone())))
            }
            OrderAction::Suspend { lifted: true, .. } | OrderAction::Comply { .. } | OrderAction::Complied { .. } => {
                None
            }
        });
        news.collect()
    }

    /// The suspensions in force that were read from files which do not hold them any more.
    pub fn missing(&self, register: &Register) -> Vec<Suspension<'_>> {
        let is_missing = |known: &Suspension<'_>| {
            let (authority, reference) = (&known.entry.authority, &known.entry.reference);
            let in_files = register
                .orders_of_files()
                .iter()
                .any(|order| order.is(authority, reference) && order.scope() == Some(known.scope));
            known.entry.way.means == Means::Files && !in_files && stands(register, known)
        };
        self.suspensions().filter(is_missing).collect()
    }

    /// What is odd about the orders that stand beside the files of a register: those that are not in the files any more,
    /// and those that name something which is not declared.
    pub fn doubts(&self, register: &Register) -> Vec<(Lint, Problem)> {
        let missing = self.missing(register).into_iter().map(|known| {
            let Entry { authority, reference, .. } = known.entry;
            let message = format!(
                "order `{reference}` of {authority} is no longer in the files, and still stops {}",
                known.scope
            );
            let problem = Problem::new(message).hint(format!(
                "write it again, or its lift: {{authority: {authority}, ref: …, action: lift, lifts: \"{reference}\"}}"
            ));
            (Lint::OrderNotInFiles, problem)
        });
        let idle = self.suspensions().filter(|known| stands(register, known)).filter_map(|known| {
            let problem = register.knows(known.scope).err()?;
            let Entry { authority, reference, .. } = known.entry;
            let message = format!("order `{reference}` of {authority} stops nothing: {}", problem.message);
            Some((Lint::OrderStopsNothing, Problem { message, hint: problem.hint }))
        });
        missing.chain(idle).collect()
    }

    fn write(&self) -> Result<(), DocketFault> {
        let bytes = format::write(&self.entries, self.noted);
        storage::place(&self.file, &bytes).map_err(|error| DocketFault::Io { file: self.file.clone(), error })
    }
}

/// Whether a suspension is in force in a register.
fn stands(register: &Register, known: &Suspension<'_>) -> bool {
    let is_it = |order: &&Order| order.is(&known.entry.authority, &known.entry.reference);
    register.orders.iter().filter(is_it).any(|order| order.suspends() == Some(known.scope))
}

#[cfg(test)]
#[path = "docket/tests.rs"]
mod tests;

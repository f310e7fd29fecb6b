//! The ledger: how often and how much has been sent under each transfer and allowance, and what may still be.
//!
//! Pure: time is handed in. An exchange *reserves* at the head, so that two in flight at once never both pass a limit
//! that has room for one; the body stage *corrects* the reservation to the real size; a refused or never-sent exchange
//! is *given back*, and one that was sent is *settled* with the bytes that left. After a restart [`Ledger::replay`]
//! rebuilds the counters from the log. The arithmetic of one account is in `book.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use jiff::Timestamp;

use super::book::{Book, Hold};
use super::calendar::Today;
use super::candidate::Used;
use super::facts::{Digest, PastExchange, PastRequest, Sent};
use super::trace::Failure;
use crate::register::{Id, Limits, Register};

/// Counters of every limit. One node has one; whoever holds it serialises the calls.
#[derive(Debug, Default)]
pub struct Ledger {
    books: HashMap<Account, Book>,
    /// What dropped reservations held; taken in before the next judgement.
    returns: Arc<Returns>,
}

/// Holds on their way back. The lock is held for a push or a take only.
#[derive(Debug, Default)]
struct Returns(Mutex<Vec<(Account, Hold)>>);

impl Returns {
    fn holds(&self) -> MutexGuard<'_, Vec<(Account, Hold)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose counters: a transfer's or allowance's, split by source where the limits say `per: source`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    used: Used,
    source: Option<Id>,
}

impl Account {
    pub(super) fn of(used: Used, source: &Id, limits: &Limits) -> Account {
        Account { used, source: limits.per_source.then(|| source.clone()) }
    }
}

/// What tells a retry from another exchange, beside its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub source: &'a Id,
    pub method: &'a str,
    pub path: Digest,
}

/// An attempt as a book remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempted {
    source: Id,
    method: String,
    path: Digest,
}

impl Attempted {
    pub(super) fn of(attempt: Attempt<'_>) -> Attempted {
        let Attempt { source, method, path } = attempt;
        Attempted { source: source.clone(), method: method.to_owned(), path }
    }

    pub(super) fn is(&self, attempt: Attempt<'_>) -> bool {
        self.source == *attempt.source && self.method == attempt.method && self.path == attempt.path
    }
}

/// What an exchange wants to be charged.
#[derive(Clone, Debug)]
pub(super) struct Charge<'a> {
    pub account: Account,
    pub limits: &'a Limits,
    pub today: &'a Today,
    /// `None` for a tunnel: it is charged bytes alone.
    pub attempt: Option<Attempt<'a>>,
    /// Announced at the head (0: not known), real at the body stage.
    pub bytes: u64,
}

/// What an exchange holds in the ledger, for each candidate left. Dropped, it gives itself back: an exchange may end at
/// every await of the data path, and what never left must not count.
#[must_use = "what was sent is to be settled"]
#[derive(Debug, Default)]
pub struct Reservations {
    holds: Vec<(Account, Hold)>,
    /// Where it goes when dropped; absent while nothing is held.
    returns: Option<Arc<Returns>>,
}

impl Drop for Reservations {
    fn drop(&mut self) {
        if let Some(returns) = self.returns.take().filter(|_| !self.holds.is_empty()) {
            returns.holds().append(&mut self.holds);
        }
    }
}

impl Reservations {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    fn place(&self, account: &Account) -> Option<usize> {
        self.holds.iter().position(|(held, _)| held == account)
    }
}

impl Ledger {
    /// Takes in what dropped reservations held. Called before anything is judged.
    pub(super) fn collect(&mut self) {
        let returned = std::mem::take(&mut *self.returns.holds());
        self.take_back(returned);
    }

    fn take_back(&mut self, holds: Vec<(Account, Hold)>) {
        for (account, hold) in holds {
            if let Some(book) = self.books.get_mut(&account) {
                book.give_back(&hold);
            }
        }
    }

    /// What of `charge` fails at the head.
    pub(super) fn judge_head(&self, charge: &Charge<'_>) -> Vec<Failure> {
        match self.books.get(&charge.account) {
            Some(book) => book.judge(charge, None, book.defers(charge)),
            None => Book::default().judge(charge, None, false),
        }
    }

    /// Reserves what [`Ledger::judge_head`] let pass.
    pub(super) fn reserve(&mut self, charge: &Charge<'_>, reservations: &mut Reservations) {
        let hold = self.books.entry(charge.account.clone()).or_default().reserve(charge);
        reservations.holds.push((charge.account.clone(), hold));
        reservations.returns = Some(Arc::clone(&self.returns));
    }

    /// What of `charge`, with the real size and the digest, fails at the body stage.
    pub(super) fn judge_body(
        &self,
        charge: &Charge<'_>,
        digest: Option<Digest>,
        reservations: &Reservations,
    ) -> Vec<Failure> {
        let hold = reservations.place(&charge.account).map(|place| &reservations.holds[place].1);
        match (self.books.get(&charge.account), hold) {
            (Some(book), Some(hold)) => book.judge_held(charge, digest, hold),
            _ => Vec::new(),
        }
    }

    /// Corrects the reservation of `charge` to what the body is, and gives the others back.
    pub(super) fn keep(&mut self, charge: &Charge<'_>, digest: Option<Digest>, reservations: &mut Reservations) {
        let mut kept = reservations.place(&charge.account).map(|place| reservations.holds.swap_remove(place));
        self.take_back(std::mem::take(&mut reservations.holds));
        if let Some((account, hold)) = &mut kept
            && let Some(book) = self.books.get_mut(account)
        {
            book.correct(charge, digest, hold);
        }
        reservations.holds.extend(kept);
    }

    /// The bytes that a tunnel may still send today; `None` without a limit.
    pub(super) fn room(&self, charge: &Charge<'_>) -> Option<u64> {
        match self.books.get(&charge.account) {
            Some(book) => book.room(charge),
            None => Book::default().room(charge),
        }
    }

    /// Draws `bytes` more for a tunnel that is flowing; `false`: there is no room, and they must not be sent.
    ///
    /// A tunnel is charged to the day on which it was opened.
    pub fn draw(&mut self, reservations: &mut Reservations, bytes: u64) -> bool {
        reservations.holds.iter_mut().all(|(account, hold)| match self.books.get_mut(account) {
            Some(book) => book.draw(hold, bytes),
            None => true,
        })
    }

    /// Gives everything back: the exchange was refused, or no byte with content left.
    pub fn give_back(&mut self, mut reservations: Reservations) {
        self.take_back(std::mem::take(&mut reservations.holds));
    }

    /// Closes an exchange that was let through: bytes count as sent; without a byte with content all is given back;
    /// without a 2xx answer the same body may be sent again, as often as `retries` says.
    pub fn settle(&mut self, mut reservations: Reservations, sent: Sent) {
        if !sent.content_left {
            self.give_back(reservations);
            return;
        }
        for (account, hold) in std::mem::take(&mut reservations.holds) {
            if let Some(book) = self.books.get_mut(&account) {
                book.settle(&hold, sent);
            }
        }
    }

    /// Counts an exchange of before a restart again. To be called in the order of the decisions.
    pub fn replay(&mut self, register: &Register, past: &PastExchange) {
        let Some(limits) = past.used.limits(register) else { return };
        let is_free = past.request.as_ref().is_some_and(|request| !request.has_content);
        if is_free || past.outcome.is_some_and(|outcome| !outcome.content_left) {
            return;
        }
        let today = Today::at(past.time, register.time_zone());
        let charge = Charge {
            account: Account::of(past.used.clone(), &past.source, limits),
            limits,
            today: &today,
            attempt: past.request.as_ref().map(|request| attempt(&past.source, request)),
            bytes: past.request.as_ref().map_or(0, |request| request.size),
        };
        let digest = past.request.as_ref().and_then(|request| request.digest);
        let mut reservations = Reservations::default();
        self.reserve(&charge, &mut reservations);
        self.keep(&charge, digest, &mut reservations);
        // A decision without outcome counts as sent, and nobody knows of an answer.
        let unknown = Sent { bytes: charge.bytes, content_left: true, answered_2xx: false, time: past.time };
        self.settle(reservations, past.outcome.unwrap_or(unknown));
    }

    /// Forgets what no limit asks for any more. Called about once an hour, it bounds the ledger.
    pub fn prune(&mut self, now: Timestamp) {
        self.books.retain(|_, book| {
            book.prune(now);
            !book.is_empty()
        });
    }
}

fn attempt<'a>(source: &'a Id, request: &'a PastRequest) -> Attempt<'a> {
    Attempt { source, method: &request.method, path: request.path_digest }
}

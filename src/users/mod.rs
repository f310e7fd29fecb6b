//! Who is asking, by name and password: the users file, and whether a password is right.
//!
//! [`Users::verify`] is all that the data path asks, for `Proxy-Authorization: Basic` as for SOCKS. Passwords are hashed so
//! that guessing is dear (`hash`), which makes each verification dear for us, too: what was right is remembered for a
//! while, the same question is answered once for all who ask it at that moment, no more than [`AT_ONCE`] are computed at a
//! time, and whoever keeps being wrong is slowed down (`throttle`). No password is kept, logged or recorded: what is
//! remembered is a digest under a key that this process made for itself.
//!
//! What a user may send is not known here: that is the register's `user:` on a source.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::metrics::{Checked, Metrics};
use crate::register::Register;

pub mod file;
pub mod hash;
pub mod throttle;
pub mod words;

use file::{Table, UsersFault};
use hash::{Hash, NoHash};
use throttle::Throttle;
use words::{Password, UserName};

/// Verifications that are computed at once. Times [`hash::MOST_MEMORY`] this is the most memory that passwords ever
/// take: 256 MiB, and 128 MiB with the hashes that `tasrih passwd` makes.
pub const AT_ONCE: usize = 2;
/// Verifications that wait for one of these places.
const WAITING: usize = 256;
/// How long one waits for its place.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a password that was right is taken without computing it again.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Most of them.
const MOST_REMEMBERED: u64 = 10_000;

/// A user who gave the right password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proven {
    name: Arc<str>,
    /// The hash that the password was right for.
    hash: Hash,
}

impl Proven {
    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proven").field(&self.name).finish()
    }
}

/// Why nobody is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// No such user, or another password. Which of the two is told to nobody.
    Wrong,
    /// The address has sent too many wrong ones, and must wait so long. Nothing was looked at.
    Throttled(Duration),
    /// Too many are being verified.
    Busy,
}

/// A digest of name, password and the hash it was compared with.
type Fingerprint = [u8; 32];

/// The users of a proxy. Without a file there are none, and nobody is ever asked for a password.
pub struct Users {
    file: Option<PathBuf>,
    table: ArcSwap<Table>,
    /// What was right lately. A user whose line changes has another fingerprint, so that nothing has to be taken out.
    remembered: moka::sync::Cache<Fingerprint, ()>,
    /// What is being verified now. Held for a look-up and a sweep of what is over, never across an await.
    flights: Mutex<HashMap<Fingerprint, Weak<OnceCell<bool>>>>,
    places: Arc<Semaphore>,
    waiting: Semaphore,
    throttle: Throttle,
    key: hmac::Key,
    metrics: Metrics,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads the users file, if there is to be one.
    ///
    /// # Errors
    /// [`UsersFault`].
    pub fn load(file: Option<&Path>, metrics: Metrics) -> Result<Users, UsersFault> {
        let table = file.map_or_else(|| Table::empty().map_err(UsersFault::from), Table::read)?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoHash)?;
        metrics.set_users(table.len() as u64);
        Ok(Users {
            file: file.map(Path::to_owned),
            table: ArcSwap::from_pointee(table),
            remembered: moka::sync::Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED).build(),
            flights: Mutex::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            throttle: Throttle::default(),
            key,
            metrics,
        })
    }

    /// Where the users stand; `None` where there are to be none.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Everybody who can be proven now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Whether credentials can be verified at all.
    pub fn are_known(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again: all of it or nothing. Whoever is not in it any more, or has another password, is proven no
    /// longer ([`Users::still_proves`]). Blocks on the file. True where anything changed.
    ///
    /// # Errors
    /// [`UsersFault`]; the users stay as they were.
    pub fn reload(&self) -> Result<bool, UsersFault> {
        let Some(file) = &self.file else { return Ok(false) };
        let (table, before) = (Table::read(file)?, self.table());
        let is_same =
            table.names().eq(before.names()) && table.names().all(|name| table.hash_of(name) == before.hash_of(name));
        if !is_same {
            self.metrics.set_users(table.len() as u64);
            self.table.store(Arc::new(table));
        }
        Ok(!is_same)
    }

    /// The users that sources of a register want and who are not here: each source of theirs never matches.
    pub fn missing(&self, register: &Register) -> Vec<String> {
        self.table().missing(register)
    }

    /// Whether a user would be proven with the same password now.
    pub fn still_proves(&self, proven: &Proven) -> bool {
        self.table.load().hash_of(&proven.name) == Some(&proven.hash)
    }

    /// Whether this is the user's password, as `from` says. An unknown user takes as long as a wrong password. Names are
    /// compared with case, in NFC; what may be a name and a password is in [`words`].
    ///
    /// May be dropped at any time; a computation that has begun goes on, and is charged as if it had been wrong.
    ///
    /// # Errors
    /// [`Unproven`].
    pub async fn verify(&self, name: &str, password: &str, from: IpAddr) -> Result<Proven, Unproven> {
        let table = self.table();
        let (name, password) = (UserName::parse(name).ok(), Password::given(password).ok());
        let known = name.and_then(|name| table.hash_of(name.as_str()).map(|hash| (name, hash)));
        let hash = known.as_ref().map_or(&table.decoy, |(_, hash)| hash);
        // What cannot be a password is nobody's, and takes as long.
        let (password, can_be) = match password {
            Some(password) => (password, known.is_some()),
            None => (Password::given("?").map_err(|_| Unproven::Wrong)?, false),
        };
        let fingerprint = self.fingerprint(known.as_ref().map_or("", |(name, _)| name.as_str()), &password, hash);
        let proven = |(name, hash): (UserName, &Hash)| Proven { name: name.as_str().into(), hash: hash.clone() };
        if can_be && self.remembered.contains_key(&fingerprint) {
            self.metrics.credentials_checked(Checked::Remembered);
            return known.map(proven).ok_or(Unproven::Wrong);
        }
        let flight = self.flight(fingerprint);
        let mut is_first = false;
        let verdict = flight
            .get_or_try_init(|| {
                is_first = true;
                self.compute(hash.clone(), password, can_be, from)
            })
            .await;
        let is_right = match verdict {
            Ok(is_right) => *is_right,
            Err(unproven) => {
                self.metrics.credentials_checked(match unproven {
                    Unproven::Throttled(_) => Checked::Throttled,
                    Unproven::Busy | Unproven::Wrong => Checked::Busy,
                });
                return Err(unproven);
            }
        };
        self.metrics.credentials_checked(match (is_first, is_right) {
            (false, _) => Checked::Joined,
            (true, true) => Checked::Right,
            (true, false) => Checked::Wrong,
        });
        if is_right {
            self.remembered.insert(fingerprint, ());
        }
        known.filter(|_| is_right).map(proven).ok_or(Unproven::Wrong)
    }

    /// Computes one verification on a thread that may block, when there is a place for it.
    async fn compute(&self, hash: Hash, password: Password, can_be: bool, from: IpAddr) -> Result<bool, Unproven> {
        self.throttle.charge(from, Instant::now()).map_err(Unproven::Throttled)?;
        let place = self.place().await;
        let Some(place) = place else {
            // Nothing was tried.
            self.throttle.give_back(from);
            return Err(Unproven::Busy);
        };
        let computed = spawn_blocking(move || {
            // The place is held until the memory is given back, also when nobody waits any more.
            let _place = place;
            hash.fits(&password) && can_be
        });
        let is_right = computed.await.map_err(|_| Unproven::Busy)?;
        if is_right {
            self.throttle.give_back(from);
        }
        Ok(is_right)
    }

    async fn place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let _waiting = self.waiting.try_acquire().ok()?;
        timeout(PATIENCE, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    /// The verification of this fingerprint that is under way, or a new one.
    fn flight(&self, fingerprint: Fingerprint) -> Arc<OnceCell<bool>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&fingerprint).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(fingerprint, Arc::downgrade(&flight));
        flight
    }

    fn fingerprint(&self, name: &str, password: &Password, hash: &Hash) -> Fingerprint {
        let mut digest = hmac::Context::with_key(&self.key);
        // Each part with its length, so that no two questions are written alike.
        for part in [name.as_bytes(), password.as_bytes()].into_iter().chain(hash.identity()) {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.sign().as_ref());
        fingerprint
    }
}

#[cfg(test)]
mod tests;

//! What is read again beside the register: the users file, and for each listener that speaks TLS its certificate, its key,
//! who vouches for its clients, and which of their certificates were revoked.
//!
//! Each of these is taken whole or not at all: a faulty file leaves in use what was there before, and log, metric and
//! `/readyz` say so. They say nothing about what may leave, so that a change of them is no record; what they change is
//! judged again within a second like everything else that is open ([`crate::proxy::proofs`]).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::watch::{EACH, Unsettled};
use crate::folder::Seen;
use crate::metrics::Reread;
use crate::proxy::Corridor;
use crate::proxy::error::told;
use crate::tls::ProxyAcceptor;
use crate::tls::issue::now;

/// The files of a proxy that are read again. Clones are the same files.
#[derive(Clone)]
pub struct Files(Arc<Mutex<Vec<Part>>>);

/// Files that are taken together or not at all.
struct Part {
    /// Whose they are; `None` stands for the users file.
    listener: Option<Arc<ProxyAcceptor>>,
    /// How they looked just before they were read last, whether or not they were taken.
    read_last: Seen,
    is_refused: bool,
}

impl Files {
    /// The files of a proxy that has just read them.
    pub fn new(corridor: &Corridor, listeners: Vec<Arc<ProxyAcceptor>>) -> Files {
        let users = corridor.users.file().map(|_| None);
        let parts = users.into_iter().chain(listeners.into_iter().map(Some));
        let mut parts: Vec<Part> =
            parts.map(|listener| Part { listener, read_last: Seen::default(), is_refused: false }).collect();
        parts.iter_mut().for_each(|part| part.read_last = part.look(corridor));
        tell(corridor, &parts);
        Files(Arc::new(Mutex::new(parts)))
    }

    /// Reads everything again. True where all of it was taken.
    pub async fn reload(&self, corridor: &Arc<Corridor>) -> bool {
        self.blocking(corridor, |parts, corridor| {
            parts.iter_mut().for_each(|part| part.read(corridor));
            tell(corridor, parts);
            parts.iter().all(|part| !part.is_refused)
        })
        .await
    }

    /// Reads again whatever changes and is at rest, for as long as this is polled. May be dropped at any time.
    pub async fn keep_fresh(&self, corridor: &Arc<Corridor>) {
        let mut unsettled = None;
        loop {
            sleep(EACH).await;
            let (seen, is_changed) = self
                .blocking(corridor, |parts, corridor| {
                    let seen: Vec<Seen> = parts.iter().map(|part| part.look(corridor)).collect();
                    let is_changed = seen.iter().zip(parts.iter()).any(|(seen, part)| *seen != part.read_last);
                    (seen, is_changed)
                })
                .await;
            if !is_changed {
                unsettled = None;
            } else if Unsettled::is_over(&mut unsettled, seen, Instant::now()) {
                unsettled = None;
                self.blocking(corridor, |parts, corridor| {
                    let changed = parts.iter_mut().filter(|part| part.look(corridor) != part.read_last);
                    changed.for_each(|part| part.read(corridor));
                    tell(corridor, parts);
                })
                .await;
            }
        }
    }

    /// Files belong on no thread that serves exchanges.
    async fn blocking<T: Send + 'static>(
        &self,
        corridor: &Arc<Corridor>,
        work: impl FnOnce(&mut Vec<Part>, &Corridor) -> T + Send + 'static,
    ) -> T {
        let (files, corridor) = (self.clone(), corridor.clone());
        let working = spawn_blocking(move || work(&mut files.lock(), &corridor)).await;
        working.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    /// Held while files are read, on threads that may block only. What is remembered is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn look(&self, corridor: &Corridor) -> Seen {
        match &self.listener {
            None => Seen::of_files(corridor.users.file()),
            Some(listener) => {
                let files = listener.files();
                let of_clients = files.clients.iter();
                let of_clients =
                    of_clients.flat_map(|clients| [Some(&clients.authorities), clients.crl.as_ref()]).flatten();
                let all = [&files.certificate, &files.key].into_iter().chain(of_clients);
                Seen::of_files(all.map(AsRef::<Path>::as_ref))
            }
        }
    }

    /// Reads the files, and says what came of it.
    fn read(&mut self, corridor: &Corridor) {
        // Looked at first: what changes while it is read looks different afterwards, and is read again.
        self.read_last = self.look(corridor);
        let (what, taken) = match &self.listener {
            None => (Reread::Users, read_users(corridor)),
            Some(listener) => (Reread::Listener, read_listener(listener)),
        };
        self.is_refused = taken.is_err();
        corridor.metrics.reread(what, taken.is_ok());
        if let Err(fault) = taken {
            let file = what.as_str();
            tracing::error!(file, fault, "a changed file cannot be used; what was read before stays in use");
        }
    }
}

fn read_users(corridor: &Corridor) -> Result<(), String> {
    match corridor.users.reload() {
        Err(fault) => return Err(told(&fault)),
        Ok(false) => tracing::info!("the users file says what is in use already"),
        Ok(true) => tracing::info!(users = corridor.users.table().len(), "the users file was read again"),
    }
    let register = corridor.register.load();
    let missing = corridor.users.missing(&register);
    if !missing.is_empty() {
        let users = missing.join(", ");
        tracing::warn!(users, "sources of the register want users who are not in the users file: they never match");
    }
    Ok(())
}

fn read_listener(listener: &ProxyAcceptor) -> Result<(), String> {
    let certificate = listener.files().certificate.display();
    let facts = listener.reload().map_err(|fault| told(&fault))?;
    tracing::info!(%certificate, "the files of a listener were read again");
    if facts.not_after < now() {
        tracing::warn!(%certificate, "the listener's certificate has ended: clients will refuse it");
    }
    if facts.next_revocations.is_some_and(|promised| promised < now()) {
        tracing::warn!(%certificate, "a newer list of revoked client certificates is overdue; the old one stays in use");
    }
    Ok(())
}

/// Shows on `/metrics` and `/readyz` what is in use.
fn tell(corridor: &Corridor, parts: &[Part]) {
    let word = |part: &Part| part.listener.as_ref().map_or(Reread::Users, |_| Reread::Listener);
    let refused = parts.iter().filter(|part| part.is_refused).map(word).collect();
    corridor.metrics.set_reread_refused(&refused);
    corridor.refused_files.store(Arc::new(refused));
    let lists = parts.iter().filter_map(|part| part.listener.as_ref()?.facts().next_revocations);
    let next = lists.min().and_then(|promised| promised.duration_since(UNIX_EPOCH).ok());
    corridor.metrics.set_next_revocations(next.map(|promised| promised.as_secs()));
}

//! A client's certificate, for as long as its connection is open.
//!
//! A handshake believes it once. The listener's files may change afterwards, and the certificate itself ends: what was let
//! in for it asks again. A signature is verified again only where the files were read since it was last.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::sleep;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::issue::{DAY, now};
use super::listener::InUse;
use super::validity;

/// A certificate that a client proved to a listener.
pub struct ClientCertificate {
    names: Vec<String>,
    /// As shown: the client's own first.
    chain: Vec<CertificateDer<'static>>,
    not_after: SystemTime,
    listener: Arc<InUse>,
    /// The generation of the files by which it was judged last, times two, plus one where it was found good.
    judged: AtomicU64,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.names).finish()
    }
}

impl ClientCertificate {
    /// A chain that was found good by this generation of the listener's files.
    pub(super) fn shown(chain: &[CertificateDer<'_>], listener: Arc<InUse>, generation: u64) -> ClientCertificate {
        let chain: Vec<CertificateDer<'static>> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok()).map(|(_, leaf)| leaf);
        let names = leaf.as_ref().map(alternative_names).unwrap_or_default();
        // What cannot be read ended long ago.
        let not_after = leaf.map_or(SystemTime::UNIX_EPOCH, |leaf| validity(&leaf).1);
        ClientCertificate { names, chain, not_after, listener, judged: AtomicU64::new(generation * 2 + 1) }
    }

    /// The names that sources can be known by.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it would be believed now.
    pub fn is_good(&self) -> bool {
        if self.not_after < now() {
            return false;
        }
        let made = self.listener.made.load();
        let judged = self.judged.load(Ordering::Relaxed);
        if judged / 2 == made.generation {
            return judged % 2 == 1;
        }
        let is_good = made.vouches_for(&self.chain);
        self.judged.store(made.generation * 2 + u64::from(is_good), Ordering::Relaxed);
        is_good
    }

    /// Ends when it is not good any more.
    pub async fn lost(&self) {
        let mut read = self.listener.generation.subscribe();
        while self.is_good() {
            // A timer has a longest time; a second more, so that the end has passed when it is over.
            let left = self.not_after.duration_since(now()).unwrap_or_default().min(DAY) + Duration::from_secs(1);
            tokio::select! {
                // The listener is held by this value, so that its sender is never gone.
                changed = read.changed() => if changed.is_err() { pending().await },
                () = sleep(left) => {}
            }
        }
    }
}

/// The subject alternative names of a certificate that sources can be known by: host names, URIs, mailboxes. Each kind
/// is told by its letters, so that one cannot be written to pass for another.
fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) if !host.contains([':', '@', '/']) => Some((*host).to_owned()),
        GeneralName::URI(uri) if uri.contains(':') => Some((*uri).to_owned()),
        GeneralName::RFC822Name(mailbox) if mailbox.contains('@') && !mailbox.contains([':', '/']) => {
            Some((*mailbox).to_owned())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

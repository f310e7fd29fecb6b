//! TLS towards the proxy itself: the certificate that clients are shown, and whom they prove to be.
//!
//! A client that proves itself is known by the subject alternative names of its certificate, which sources name
//! (`client_certificate`). Nothing here decides which source that is. Sessions are not resumed where clients prove
//! themselves: a resumed one would not ask again, and a certificate revoked in between would go on being believed.
//!
//! Files are read at the start and whenever they change, all of them or none. A certificate that has ended is no fault
//! there: other listeners must not stay silent because of it. `tasrih check --config` calls it one. A list of revoked
//! certificates whose successor is overdue is used on: what it names stays revoked, and who is not named is let in, because
//! a list that nobody fetched must not stop every upload; log, metric and `check` say so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::client_certificate::ClientCertificate;
use super::fault::AcceptFault;
use super::issue::now;
use super::{HTTP_1_1, VERSIONS, moment, provider, validity};
use crate::secret::{self, Secret, SecretFault};

/// A client's stream after the handshake.
pub type ProxyStream<S> = tokio_rustls::server::TlsStream<S>;

/// What a listener is made of; all files are PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The proxy's certificate and what follows it.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
    /// Who vouches for clients, if anybody does.
    pub clients: Option<ClientFiles>,
}

/// Who vouches for clients.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// Authorities.
    pub authorities: PathBuf,
    /// Revoked certificates.
    pub crl: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum ListenerFault {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The key's file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFault),
    /// It holds no certificate, or something that is none.
    #[error("`{}` holds no PEM certificate that can be read", .0.display())]
    NoCertificate(PathBuf),
    /// It holds no private key.
    #[error("`{}` holds no PEM private key of a kind that is supported (ECDSA, Ed25519, RSA)", .0.display())]
    NoKey(PathBuf),
    /// The two do not belong together.
    #[error("the key in `{}` is not the one of the certificate in `{}`", key.display(), certificate.display())]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// It holds nothing that could vouch for a client.
    #[error("`{}` holds no PEM certificate that can be an authority of clients", .0.display())]
    NoAuthority(PathBuf),
    /// It holds no list, or one that cannot be used.
    #[error("`{}` holds no PEM certificate revocation list that can be used", .0.display())]
    NoRevocations(PathBuf),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

impl ListenerFault {
    /// The file that is at fault, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            ListenerFault::Unreadable { path, .. }
            | ListenerFault::NoCertificate(path)
            | ListenerFault::NoKey(path)
            | ListenerFault::OtherKey { key: path, .. }
            | ListenerFault::NoAuthority(path)
            | ListenerFault::NoRevocations(path) => Some(path),
            ListenerFault::KeyFile(fault) => Some(fault.path()),
            ListenerFault::Tls(_) => None,
        }
    }
}

/// What can be said of a listener's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerFacts {
    /// First moment of the certificate.
    pub not_before: SystemTime,
    /// Last moment of the certificate.
    pub not_after: SystemTime,
    /// When the next list of revoked certificates was promised; a list that is older than that misses some.
    pub next_revocations: Option<SystemTime>,
}

/// Accepts TLS from clients, speaking HTTP/1.1 only.
pub struct ProxyAcceptor {
    files: Files,
    in_use: Arc<InUse>,
}

/// What a listener speaks TLS with now. Every certificate that was shown to it holds it, so as to be asked for again.
pub(super) struct InUse {
    pub(super) made: ArcSwap<Made>,
    /// Which [`Made`] it is.
    pub(super) generation: watch::Sender<u64>,
}

/// What was made of the files when they were read.
pub(super) struct Made {
    acceptor: TlsAcceptor,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    facts: ListenerFacts,
    pub(super) generation: u64,
}

impl Made {
    /// Whether a client that shows this chain now would be believed.
    pub(super) fn vouches_for(&self, chain: &[CertificateDer<'static>]) -> bool {
        let (Some(verifier), Some((leaf, between))) = (&self.verifier, chain.split_first()) else { return false };
        let now = now().duration_since(UNIX_EPOCH).unwrap_or_default();
        verifier.verify_client_cert(leaf, between, UnixTime::since_unix_epoch(now)).is_ok()
    }
}

impl std::fmt::Debug for ProxyAcceptor {
    /// Says nothing of its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyAcceptor").field("facts", &self.facts()).finish_non_exhaustive()
    }
}

impl ProxyAcceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: &Files) -> Result<ProxyAcceptor, ListenerFault> {
        let made = ArcSwap::from_pointee(ProxyAcceptor::make(files, 0)?);
        let in_use = InUse { made, generation: watch::Sender::new(0) };
        Ok(ProxyAcceptor { files: files.clone(), in_use: Arc::new(in_use) })
    }

    /// Reads the files again. What was made of them serves every handshake from now on, and every certificate that a
    /// client of an open connection had shown is judged by it. Blocks on the files.
    ///
    /// # Errors
    /// The first file that cannot be used; what is in use stays.
    pub fn reload(&self) -> Result<ListenerFacts, ListenerFault> {
        let generation = self.in_use.made.load().generation + 1;
        let made = ProxyAcceptor::make(&self.files, generation)?;
        let facts = made.facts;
        self.in_use.made.store(Arc::new(made));
        self.in_use.generation.send_replace(generation);
        Ok(facts)
    }

    /// The files that it is made of.
    pub fn files(&self) -> &Files {
        &self.files
    }

    fn make(files: &Files, generation: u64) -> Result<Made, ListenerFault> {
        let chain = certificates(&files.certificate)?;
        let key = signing_key(&files.key)?;
        let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let (_, leaf) = leaf.ok_or_else(|| ListenerFault::NoCertificate(files.certificate.clone()))?;
        let (not_before, not_after) = validity(&leaf);
        let certified = CertifiedKey::new(chain, key);
        let other = || ListenerFault::OtherKey { certificate: files.certificate.clone(), key: files.key.clone() };
        match certified.keys_match() {
            // A kind of key that cannot tell is found out by the first handshake.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(other()),
        }
        let (mut next_revocations, mut verifier) = (None, None);
        let building = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
        let building = match &files.clients {
            None => building.with_no_client_auth(),
            Some(clients) => {
                let lists = clients.crl.as_deref().map(revocations).transpose()?;
                next_revocations = lists.as_ref().and_then(|lists| lists.next);
                let asking = verify(clients, lists)?;
                verifier = Some(asking.clone());
                building.with_client_cert_verifier(asking)
            }
        };
        let mut config = building.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::new(certified))));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match files.clients {
            Some(_) => config.send_tls13_tickets = 0,
            None => config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?,
        }
        let facts = ListenerFacts { not_before, not_after, next_revocations };
        Ok(Made { acceptor: TlsAcceptor::from(Arc::new(config)), verifier, facts, generation })
    }

    /// Everything that is wrong with the files, one after another; none where [`ProxyAcceptor::load`] takes them.
    pub fn faults(files: &Files) -> Vec<ListenerFault> {
        let mut found = Vec::new();
        found.extend(certificates(&files.certificate).err());
        found.extend(signing_key(&files.key).err());
        if let Some(clients) = &files.clients {
            found.extend(authorities(&clients.authorities).err());
            found.extend(clients.crl.as_deref().and_then(|crl| revocations(crl).err()));
        }
        if found.is_empty() {
            found.extend(ProxyAcceptor::load(files).err());
        }
        found
    }

    /// What its files say.
    pub fn facts(&self) -> ListenerFacts {
        self.in_use.made.load().facts
    }

    /// Plays the server in a handshake; gives the certificate that the client proved, none where it showed none.
    /// Time is bounded by the caller.
    ///
    /// # Errors
    /// [`AcceptFault`].
    pub async fn accept<S>(&self, stream: S) -> Result<(ProxyStream<S>, Option<ClientCertificate>), AcceptFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let made = self.in_use.made.load_full();
        let stream = made.acceptor.accept(stream).await.map_err(AcceptFault::from_tls)?;
        let shown = stream.get_ref().1.peer_certificates();
        // Believed by what the handshake began with: what was read since then is asked at the first exchange.
        let shown = shown.map(|chain| ClientCertificate::shown(chain, self.in_use.clone(), made.generation));
        Ok((stream, shown))
    }
}

fn verify(clients: &ClientFiles, lists: Option<Revocations>) -> Result<Arc<dyn ClientCertVerifier>, ListenerFault> {
    let roots = authorities(&clients.authorities)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(lists) = lists {
        // The list of the authority that signed the client; authorities between it and a root have lists of their own,
        // which are not asked for.
        builder = builder.with_crls(lists.lists).only_check_end_entity_revocation();
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|fault| match (fault, &clients.crl) {
        (VerifierBuilderError::InvalidCrl(_), Some(crl)) => ListenerFault::NoRevocations(crl.clone()),
        _ => ListenerFault::NoAuthority(clients.authorities.clone()),
    })
}

/// Who vouches for clients: every certificate of the file, each fit to be a root.
fn authorities(path: &Path) -> Result<RootCertStore, ListenerFault> {
    let unusable = || ListenerFault::NoAuthority(path.to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(|fault| match fault {
        ListenerFault::NoCertificate(_) => unusable(),
        other => other,
    })? {
        roots.add(certificate).map_err(|_| unusable())?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, ListenerFault> {
    fs::read(path).map_err(|source| ListenerFault::Unreadable { path: path.to_owned(), source })
}

/// Every certificate of a file; one that cannot be read is a fault, not left out.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenerFault> {
    let unusable = || ListenerFault::NoCertificate(path.to_owned());
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| unusable())?;
    if found.is_empty() || found.iter().any(|der| X509Certificate::from_der(der).is_err()) {
        return Err(unusable());
    }
    Ok(found)
}

fn signing_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, ListenerFault> {
    let unusable = || ListenerFault::NoKey(path.to_owned());
    let der = PrivateKeyDer::from_pem_slice(secret::read(Secret::Key, path)?.as_bytes()).map_err(|_| unusable())?;
    provider().key_provider.load_private_key(der).map_err(|_| unusable())
}

struct Revocations {
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// The earliest promise of a next list.
    next: Option<SystemTime>,
}

fn revocations(path: &Path) -> Result<Revocations, ListenerFault> {
    let unusable = || ListenerFault::NoRevocations(path.to_owned());
    let pem = read(path)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let lists = lists.map_err(|_| unusable())?;
    let mut next: Option<SystemTime> = None;
    for list in &lists {
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|_| unusable())?;
        let promised = parsed.next_update().map(moment);
        next = [next, promised].into_iter().flatten().min();
    }
    if lists.is_empty() { Err(unusable()) } else { Ok(Revocations { lists, next }) }
}

//! TLS towards the proxy itself: the certificate that clients are shown, and whom they prove to be.
//!
//! A client that proves itself is known by the subject alternative names of its certificate, which sources name
//! (`client_certificate`). Nothing here decides which source that is. Sessions are not resumed where clients prove
//! themselves: a resumed one would not ask again, and a certificate revoked in between would go on being believed.
//!
//! Files are read once, at the start. A certificate that has ended is no fault there: other listeners must not stay
//! silent because of it. `tasrih check --config` calls it one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};

use super::fault::AcceptFault;
use super::private_key::{self, KeyFileFault};
use super::{HTTP_1_1, VERSIONS, moment, provider, validity};

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
    KeyFile(#[from] KeyFileFault),
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
            ListenerFault::KeyFile(
                KeyFileFault::Unusable { path, .. }
                | KeyFileFault::OpenToOthers { path, .. }
                | KeyFileFault::OthersProperty { path, .. }
                | KeyFileFault::OpenFolder { folder: path, .. }
                | KeyFileFault::NotAKeyFile { path },
            ) => Some(path),
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
#[derive(Clone)]
pub struct ProxyAcceptor {
    acceptor: TlsAcceptor,
    facts: ListenerFacts,
}

impl std::fmt::Debug for ProxyAcceptor {
    /// Says nothing of its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyAcceptor").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl ProxyAcceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: &Files) -> Result<ProxyAcceptor, ListenerFault> {
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
        let mut next_revocations = None;
        let building = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
        let building = match &files.clients {
            None => building.with_no_client_auth(),
            Some(clients) => {
                let lists = clients.crl.as_deref().map(revocations).transpose()?;
                next_revocations = lists.as_ref().and_then(|lists| lists.next);
                building.with_client_cert_verifier(verifier(clients, lists)?)
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
        Ok(ProxyAcceptor { acceptor: TlsAcceptor::from(Arc::new(config)), facts })
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
        self.facts
    }

    /// Plays the server in a handshake; gives the names that the client proved, none where it showed no certificate.
    /// Time is bounded by the caller.
    ///
    /// # Errors
    /// [`AcceptFault`].
    pub async fn accept<S>(&self, stream: S) -> Result<(ProxyStream<S>, Vec<String>), AcceptFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await.map_err(AcceptFault::from_tls)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(|leaf| alternative_names(leaf)).unwrap_or_default();
        Ok((stream, names))
    }
}

/// The subject alternative names of a certificate that sources can be known by: host names, URIs, mailboxes. Each kind
/// is told by its letters, so that one cannot be written to pass for another.
fn alternative_names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
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

fn verifier(
    clients: &ClientFiles,
    lists: Option<Revocations>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, ListenerFault> {
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
    let der = PrivateKeyDer::from_pem_slice(private_key::read(path)?.as_bytes()).map_err(|_| unusable())?;
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

//! The organisation's interception authority: made at first run, loaded afterwards, and the handshake with a client
//! under a leaf certificate of its making.
//!
//! Minting takes about 20 µs of CPU (research/spike.md §2: one ECDSA signature over a shared leaf key), less than handing
//! it to another thread would; it is done where the handshake runs. Leaves are kept in a bounded cache.
//!
//! Not here: whether to intercept, and whether the client's server name agrees with its CONNECT. Both are asked in
//! `proxy/`, with the facts that [`Authority::accept`] gives back. Name constraints are not set yet.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moka::sync::Cache;
use rcgen::{Issuer, KeyPair};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client_hello::{self, ClientHelloFacts, Replayed};
use super::fault::{AcceptFault, AuthorityFault};
use super::issue::{self, IssueFault, Validity};
use super::private_key;
use super::{ACCESS_DENIED, HTTP_1_1, PROTOCOL_VERSION, VERSIONS, provider};
use crate::destination::Host;
use crate::policy::TlsVersion;

/// Days that the authority's own certificate is valid.
const AUTHORITY_DAYS: u32 = 3650;
/// Days that a leaf is valid; clients accept at most 398, and short ones need no revocation.
const LEAF_DAYS: u32 = 30;
/// A leaf with less than this left is replaced, so that no client meets one that ends under its hands.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most leaves kept; one takes about a kilobyte.
const MAX_LEAVES: u64 = 10_000;

/// A client's stream after the handshake.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<Replayed<S>>;

/// The authority, loaded.
pub struct Authority {
    /// The certificate as clients must trust it.
    certificate_pem: String,
    /// What `tasrih ca show` prints of it.
    facts: AuthorityFacts,
    issuer: Issuer<'static, KeyPair>,
    /// Certificates that follow a leaf: empty for a self-signed authority, which clients have already.
    chain: Vec<CertificateDer<'static>>,
    /// One key for all leaves, never written to disk; making one for each would cost more than signing.
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    leaves: Cache<Host, Leaf>,
    /// All that connections share, tickets too; each handshake adds its leaf.
    config: ServerConfig,
}

/// What can be said about the authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its subject, as RFC 4514 writes names.
    pub subject: String,
    /// First moment of its validity.
    pub not_before: SystemTime,
    /// Last moment of its validity.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

#[derive(Clone)]
struct Leaf {
    key: Arc<CertifiedKey>,
    /// When another one takes its place.
    renew: SystemTime,
}

impl Authority {
    /// Loads the authority from its two files, or makes both where neither is there.
    pub fn load_or_create(certificate: &Path, key: &Path) -> Result<Authority, AuthorityFault> {
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(certificate, key),
            (false, false) => Self::create(certificate, key),
            (true, false) => Err(AuthorityFault::Half { present: certificate.to_owned(), missing: key.to_owned() }),
            (false, true) => Err(AuthorityFault::Half { present: key.to_owned(), missing: certificate.to_owned() }),
        }
    }

    /// Makes the authority and writes both files; refuses where one of them is there.
    pub fn create(certificate: &Path, key: &Path) -> Result<Authority, AuthorityFault> {
        if let Some(present) = [certificate, key].into_iter().find(|path| path.exists()) {
            return Err(AuthorityFault::Exists(present.to_owned()));
        }
        let authority = Self::generate()?;
        for folder in [certificate, key].into_iter().filter_map(Path::parent) {
            fs::create_dir_all(folder)
                .map_err(|source| AuthorityFault::CertificateFile { path: folder.into(), source })?;
        }
        // The key first: a certificate that clients came to trust must never stand without its key.
        private_key::create(key, &authority.issuer.key().serialize_pem())?;
        fs::write(certificate, &authority.certificate_pem)
            .map_err(|source| AuthorityFault::CertificateFile { path: certificate.to_owned(), source })?;
        Ok(authority)
    }

    /// Makes an authority that lives in memory only, for the demo and the tests.
    pub fn generate() -> Result<Authority, AuthorityFault> {
        let key = issue::key()?;
        // The name carries a piece of the key's digest, so that two authorities can be told apart in a client's list.
        let digest = Sha256::digest(key.public_key_raw());
        let name = format!("Tasrih interception authority {}", hex(&digest[..4]));
        let params = issue::root(&name, Validity::around(issue::now(), AUTHORITY_DAYS));
        let certificate = params.self_signed(&key).map_err(IssueFault::from)?;
        let facts = facts(certificate.der()).expect("a certificate that was just made can be read");
        Self::assemble(certificate.pem(), facts, Issuer::new(params, key), Vec::new())
    }

    /// Loads the authority from its two files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Authority, AuthorityFault> {
        let pem = fs::read_to_string(certificate)
            .map_err(|source| AuthorityFault::CertificateFile { path: certificate.to_owned(), source })?;
        let pair = KeyPair::from_pem(&private_key::read(key)?).map_err(|_| AuthorityFault::NoKey(key.to_owned()))?;
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
        let own = chain.first().ok_or_else(|| AuthorityFault::NoCertificate(certificate.to_owned()))?;
        let (_, parsed) =
            X509Certificate::from_der(own).map_err(|_| AuthorityFault::NoCertificate(certificate.to_owned()))?;
        if !parsed.is_ca() {
            return Err(AuthorityFault::NotAnAuthority(certificate.to_owned()));
        }
        if parsed.tbs_certificate.subject_pki.subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(AuthorityFault::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        let facts = facts(own).ok_or_else(|| AuthorityFault::NoCertificate(certificate.to_owned()))?;
        let now = issue::now();
        if now < facts.not_before || now > facts.not_after {
            return Err(AuthorityFault::NotValidNow(certificate.to_owned()));
        }
        let self_signed = parsed.subject() == parsed.issuer();
        let issuer =
            Issuer::from_ca_cert_der(own, pair).map_err(|_| AuthorityFault::NoCertificate(certificate.to_owned()))?;
        // A subordinate authority must be shown with the certificates that lead to what clients trust.
        let chain = if self_signed { Vec::new() } else { chain.clone() };
        Self::assemble(pem, facts, issuer, chain)
    }

    fn assemble(
        certificate_pem: String,
        facts: AuthorityFacts,
        issuer: Issuer<'static, KeyPair>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Authority, AuthorityFault> {
        let leaf_key = issue::key()?;
        let leaf_signer = issue::signing_key(&leaf_key);
        let config = server_config(VERSIONS, Arc::new(Unset))?;
        let leaves = Cache::new(MAX_LEAVES);
        Ok(Authority { certificate_pem, facts, issuer, chain, leaf_key, leaf_signer, leaves, config })
    }

    /// The certificate that clients must trust, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What its certificate says.
    pub fn facts(&self) -> &AuthorityFacts {
        &self.facts
    }

    /// How many leaves are kept now; never more than their bound.
    pub fn leaves_kept(&self) -> u64 {
        self.leaves.run_pending_tasks();
        self.leaves.entry_count()
    }

    /// How many leaves may be kept.
    pub fn leaves_limit(&self) -> u64 {
        MAX_LEAVES
    }

    /// Plays the server in a handshake with a client that meant `host`, speaking HTTP/1.1 only.
    ///
    /// The leaf is always the one of `host`, whatever server name the client sent: the caller compares the two, with the
    /// facts given back. Time is bounded by the caller. No early data is accepted, so nothing of the client's request
    /// comes before the handshake is complete.
    pub async fn accept<S>(
        &self,
        mut stream: S,
        host: &Host,
    ) -> Result<(ServerStream<S>, ClientHelloFacts), AcceptFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut seen = Vec::new();
        let hello = client_hello::read(&mut stream, &mut seen).await?;
        if hello.newest < TlsVersion::V1_2 {
            // The client is on its way out; whether the alert reaches it changes nothing.
            let _ = stream.write_all(&PROTOCOL_VERSION).await;
            return Err(AcceptFault::TooOld);
        }
        // Refused before a certificate is shown: a client that checks it would call this distrust of the authority.
        if hello.sni.as_ref().is_some_and(|sni| sni != host) {
            let _ = stream.write_all(&ACCESS_DENIED).await;
            return Err(AcceptFault::OtherName);
        }
        let leaf = self.leaf(host, issue::now())?;
        let mut config = self.config.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(leaf));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let stream = acceptor.accept(Replayed::new(seen, stream)).await.map_err(AcceptFault::from_tls)?;
        Ok((stream, hello))
    }

    fn leaf(&self, host: &Host, now: SystemTime) -> Result<Arc<CertifiedKey>, IssueFault> {
        if let Some(leaf) = self.leaves.get(host).filter(|leaf| now < leaf.renew) {
            return Ok(leaf.key);
        }
        // Two handshakes may mint for one host at once; the second takes the first's place and both are good.
        let validity = Validity::around(now, LEAF_DAYS).ending_by(self.facts.not_after);
        let certificate = issue::server(host, &self.leaf_key, &self.issuer, validity)?;
        let chain = std::iter::once(certificate).chain(self.chain.iter().cloned()).collect();
        let key = issue::certified(chain, &self.leaf_signer);
        let renew = validity.not_after - RENEW_BEFORE;
        self.leaves.insert(host.clone(), Leaf { key: Arc::clone(&key), renew });
        Ok(key)
    }
}

impl std::fmt::Debug for Authority {
    /// Says which authority this is and nothing of its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// The configuration that all servers of ours share, but for their certificates.
pub(super) fn server_config(
    versions: &[&'static SupportedProtocolVersion],
    certificates: Arc<dyn rustls::server::ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Tickets keep a session with the client, so that nothing is held here for those that never come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// Stands in the shared configuration until a handshake puts its leaf there.
#[derive(Debug)]
struct Unset;

impl rustls::server::ResolvesServerCert for Unset {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

fn facts(der: &[u8]) -> Option<AuthorityFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    Some(AuthorityFacts {
        subject: certificate.subject().to_string(),
        not_before: time(certificate.validity().not_before.timestamp()),
        not_after: time(certificate.validity().not_after.timestamp()),
        sha256: Sha256::digest(der).into(),
        spki_sha256: Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::issue::DAY;

    fn host(name: &str) -> Host {
        Host::parse(name).expect("a host")
    }

    #[test]
    fn a_leaf_is_kept_until_a_week_before_its_end() {
        let authority = Authority::generate().expect("an authority");
        let now = issue::now();
        let first = authority.leaf(&host("a.example"), now).expect("a leaf");
        let again = authority.leaf(&host("a.example"), now + DAY * 22).expect("a leaf");
        let renewed = authority.leaf(&host("a.example"), now + DAY * 24).expect("a leaf");
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!Arc::ptr_eq(&first, &renewed));
    }

    #[test]
    fn a_leaf_never_outlives_the_authority() {
        let authority = Authority::generate().expect("an authority");
        let late = authority.facts.not_after - DAY;
        let leaf = authority.leaf(&host("a.example"), late).expect("a leaf");
        let facts = facts(&leaf.cert[0]).expect("a certificate");
        assert_eq!(facts.not_after, authority.facts.not_after);
    }

    #[test]
    fn a_leaf_is_what_clients_want() {
        let authority = Authority::generate().expect("an authority");
        for (text, shown) in [("a.example", "DNS:a.example"), ("192.0.2.7", "IP")] {
            let leaf = authority.leaf(&host(text), issue::now()).expect("a leaf");
            let (_, certificate) = X509Certificate::from_der(&leaf.cert[0]).expect("a certificate");
            let names = certificate.subject_alternative_name().expect("readable").expect("there").value;
            assert_eq!(names.general_names.len(), 1, "{shown}");
            assert!(certificate.extended_key_usage().expect("readable").expect("there").value.server_auth);
            assert!(!certificate.is_ca());
            assert!(certificate.raw_serial().len() >= 16 && certificate.raw_serial()[0] & 0x80 == 0);
            let oids: Vec<String> =
                certificate.extensions().iter().map(|extension| extension.oid.to_string()).collect();
            assert!(oids.contains(&"2.5.29.35".to_owned()), "no authority key identifier in {oids:?}");
        }
    }
}

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
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use rcgen::{Issuer, KeyIdMethod, KeyPair};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::bundle::{AuthorityFacts, Bundle, pem};
use super::client_hello::{self, ClientHelloFacts, Replayed};
use super::fault::{AcceptFault, AuthorityFault};
use super::issue::{self, IssueFault, Validity};
use super::{ACCESS_DENIED, HttpVersion, PROTOCOL_VERSION, VERSIONS, provider};
use crate::destination::{Authority as HostAndPort, Host};
use crate::policy::TlsVersion;
use crate::secret::{self, Secret};

/// Days that the authority's own certificate is valid.
pub(super) const AUTHORITY_DAYS: u32 = 3650;
/// Days that a leaf is valid; clients accept at most 398, and short ones need no revocation.
const LEAF_DAYS: u32 = 30;
/// A leaf with less than this left is replaced, so that no client meets one that ends under its hands.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most leaves kept; one takes about a kilobyte.
const MAX_LEAVES: u64 = 10_000;

/// A client's stream after the handshake.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<Replayed<S>>;

/// The version of HTTP that was agreed on with a client.
pub fn spoken<S>(stream: &ServerStream<S>) -> HttpVersion {
    HttpVersion::agreed(stream.get_ref().1.alpn_protocol())
}

/// The authority, loaded.
pub struct Authority {
    /// What clients must trust: its certificate, and in a rotation the next one's.
    certificate_pem: String,
    /// What its certificate says.
    facts: AuthorityFacts,
    /// The authority that takes over next, while a rotation is under way.
    next: Option<AuthorityFacts>,
    /// Where the list of revoked leaves can be fetched, as leaves say it.
    crl_url: Option<String>,
    issuer: Issuer<'static, KeyPair>,
    /// How its key is named in what it signs.
    key_identifier: KeyIdMethod,
    /// Certificates that follow a leaf: none for a self-signed authority, which clients have already; in a rotation the
    /// bridge to the next one.
    chain: Vec<CertificateDer<'static>>,
    /// One key for all leaves, never written to disk; making one for each would cost more than signing.
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    leaves: Cache<Host, Leaf>,
    /// All that connections share, tickets too; each handshake adds its leaf.
    config: ServerConfig,
}

#[derive(Clone)]
struct Leaf {
    key: Arc<CertifiedKey>,
    /// When it was made. A clock that was set back since makes another one: to clients this one may not be valid yet.
    made: SystemTime,
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
        secret::create(Secret::Key, key, &authority.issuer.key().serialize_pem())?;
        fs::write(certificate, &authority.certificate_pem)
            .map_err(|source| AuthorityFault::CertificateFile { path: certificate.to_owned(), source })?;
        Ok(authority)
    }

    /// Makes an authority that lives in memory only, for the demo and the tests.
    pub fn generate() -> Result<Authority, AuthorityFault> {
        let key = issue::key()?;
        let params = issue::root(&authority_name(&key), Validity::around(issue::now(), AUTHORITY_DAYS));
        let certificate = params.self_signed(&key).map_err(IssueFault::from)?;
        let own = certificate.der().clone();
        Self::assemble(&Bundle { own, chain: Vec::new(), others: Vec::new(), is_root: true }, Issuer::new(params, key))
    }

    /// Loads the authority from its two files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Authority, AuthorityFault> {
        let bundle = Bundle::read(certificate)?;
        let pair =
            KeyPair::from_pem(&secret::read(Secret::Key, key)?).map_err(|_| AuthorityFault::NoKey(key.to_owned()))?;
        let unreadable = || AuthorityFault::NoCertificate(certificate.to_owned());
        let (_, parsed) = X509Certificate::from_der(&bundle.own).map_err(|_| unreadable())?;
        if !parsed.is_ca() {
            return Err(AuthorityFault::NotAnAuthority(certificate.to_owned()));
        }
        if !key_matches(&bundle.own, &pair) {
            return Err(AuthorityFault::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        let (facts, now) = (AuthorityFacts::of(&bundle.own).ok_or_else(unreadable)?, issue::now());
        if now < facts.not_before || now > facts.not_after {
            return Err(AuthorityFault::NotValidNow(certificate.to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&bundle.own, pair).map_err(|_| unreadable())?;
        Self::assemble(&bundle, issuer)
    }

    fn assemble(bundle: &Bundle, issuer: Issuer<'static, KeyPair>) -> Result<Authority, AuthorityFault> {
        let leaf_key = issue::key()?;
        let leaf_signer = issue::signing_key(&leaf_key);
        Ok(Authority {
            certificate_pem: bundle.trusted().iter().map(|der| pem(der)).collect(),
            facts: AuthorityFacts::of(&bundle.own).ok_or(IssueFault::unreadable())?,
            next: bundle.others.first().and_then(|der| AuthorityFacts::of(der)),
            crl_url: None,
            issuer,
            key_identifier: issue::key_identifier(&bundle.own)?,
            chain: bundle.chain.clone(),
            leaf_key,
            leaf_signer,
            leaves: Cache::new(MAX_LEAVES),
            config: server_config(VERSIONS, Arc::new(Unset))?,
        })
    }

    /// The same, whose leaves say where the list of revoked ones is. What was minted before says nothing of it.
    pub fn with_crl_url(self, url: Option<String>) -> Authority {
        Authority { crl_url: url, ..self }
    }

    /// The certificates that clients must trust, in PEM: one, and in a rotation the next one's too.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What its certificate says.
    pub fn facts(&self) -> &AuthorityFacts {
        &self.facts
    }

    /// Host and port of that place; `None` where leaves name none.
    pub fn crl_place(&self) -> Option<HostAndPort> {
        let rest = self.crl_url.as_deref()?.strip_prefix("http://")?;
        HostAndPort::parse(rest.split('/').next()?).ok()
    }

    /// The authority that takes over next, while a rotation is under way.
    pub fn next(&self) -> Option<&AuthorityFacts> {
        self.next.as_ref()
    }

    /// The list of revoked leaves in DER: always empty, since a leaf lives for a month and its key only
    /// as long as the process. Some clients want to see it all the same. Made anew for each who asks: it is one signature.
    ///
    /// # Errors
    /// The certificate of an imported authority may not allow it to sign lists.
    pub fn revocation_list(&self) -> Result<Vec<u8>, IssueFault> {
        issue::revocation_list(&self.issuer, &self.key_identifier, issue::now())
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

    /// [`Authority::accept_up_to`] HTTP/1.1.
    pub async fn accept<S>(&self, stream: S, host: &Host) -> Result<(ServerStream<S>, ClientHelloFacts), AcceptFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_up_to(HttpVersion::V1, stream, host).await
    }

    /// Plays the server in a handshake with a client that meant `host`. [`spoken`] tells which version of HTTP was agreed
    /// on; none is newer than `newest`.
    ///
    /// The leaf is always the one of `host`, whatever server name the client sent: the caller compares the two, with the
    /// facts given back. Time is bounded by the caller. No early data is accepted, so nothing of the client's request
    /// comes before the handshake is complete.
    pub async fn accept_up_to<S>(
        &self,
        newest: HttpVersion,
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
        config.alpn_protocols = newest.offer();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let stream = acceptor.accept(Replayed::new(seen, stream)).await.map_err(AcceptFault::from_tls)?;
        Ok((stream, hello))
    }

    fn leaf(&self, host: &Host, now: SystemTime) -> Result<Arc<CertifiedKey>, IssueFault> {
        if let Some(leaf) = self.leaves.get(host).filter(|leaf| leaf.made <= now && now < leaf.renew) {
            return Ok(leaf.key);
        }
        // Two handshakes may mint for one host at once; the second takes the first's place and both are good.
        let validity = Validity::around(now, LEAF_DAYS).ending_by(self.facts.not_after);
        let certificate = issue::server(host, &self.leaf_key, &self.issuer, validity, self.crl_url.as_deref())?;
        let chain = std::iter::once(certificate).chain(self.chain.iter().cloned()).collect();
        let key = issue::certified(chain, &self.leaf_signer);
        let renew = validity.not_after - RENEW_BEFORE;
        self.leaves.insert(host.clone(), Leaf { key: Arc::clone(&key), made: now, renew });
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
    config.alpn_protocols = HttpVersion::V1.offer();
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

/// The name carries a piece of the key's digest, so that two authorities can be told apart in a client's list.
pub(super) fn authority_name(key: &KeyPair) -> String {
    format!("Tasrih interception authority {}", hex(&Sha256::digest(key.public_key_raw())[..4]))
}

/// Whether a certificate is the one of a key.
pub(super) fn key_matches(certificate: &[u8], key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        parsed.tbs_certificate.subject_pki.subject_public_key.data.as_ref() == key.public_key_raw()
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
    fn a_leaf_that_was_made_by_a_clock_since_set_back_is_made_again() {
        let authority = Authority::generate().expect("an authority");
        let now = issue::now();
        let ahead = authority.leaf(&host("a.example"), now + DAY * 2).expect("a leaf");
        let right = authority.leaf(&host("a.example"), now).expect("a leaf");
        assert!(!Arc::ptr_eq(&ahead, &right));
        assert!(AuthorityFacts::of(&right.cert[0]).expect("a certificate").not_before <= now);
        let later = authority.leaf(&host("a.example"), now + DAY).expect("a leaf");
        assert!(Arc::ptr_eq(&right, &later));
    }

    #[test]
    fn a_leaf_never_outlives_the_authority() {
        let authority = Authority::generate().expect("an authority");
        let late = authority.facts.not_after - DAY;
        let leaf = authority.leaf(&host("a.example"), late).expect("a leaf");
        let facts = AuthorityFacts::of(&leaf.cert[0]).expect("a certificate");
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

//! Which recipients are who they say: the roots, and the handshake as a client.
//!
//! The name is verified against the certificate by webpki; pins and the least version are judged in `policy/`, from the
//! [`TlsFacts`] given back. No early data is ever sent. Revocation is not checked: no stack of this kind does so without
//! asking third parties about the organisation's recipients.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, PeerIncompatible, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{HttpVersion, VERSIONS, alert_name, provider, spki_sha256};
use crate::destination::Host;
use crate::policy::{TlsFacts, TlsVersion};

/// Most recipients whose sessions are kept for resumption.
const MAX_SESSIONS: usize = 1024;

/// A recipient's stream after the handshake.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<S>;

/// Where trusted roots come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// The machine's own store.
    System,
    /// A PEM file with one or more certificates.
    File(PathBuf),
    /// PEM text, as the demo and the tests hand it in.
    Pem(String),
}

/// The roots, ready for handshakes. Sessions are shared by all of them.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Offers HTTP/1.1.
    config: Arc<ClientConfig>,
    /// The same, and offers HTTP/2 too.
    multiplexing: Arc<ClientConfig>,
    pub(super) roots: Arc<RootCertStore>,
}

/// Why the roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    /// A file of roots cannot be read.
    #[error("cannot read root certificates from `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A file that was configured as roots gives none.
    #[error("`{0}` holds no PEM certificate that can be a root")]
    NoCertificate(String),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Why a handshake with a recipient did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The recipient did not prove to be the host that was meant.
    #[error("the recipient's certificate {0}")]
    Certificate(CertificateFault),
    /// It speaks nothing newer than TLS 1.1.
    #[error("the recipient speaks no TLS version from 1.2 on")]
    TooOld,
    /// It refused with this alert, named as in RFC 8446 §6.
    #[error("the recipient refused the handshake with `{0}`")]
    Alert(String),
    /// It is not TLS, or broke the protocol.
    #[error("the handshake failed: {0}")]
    Protocol(String),
    /// It closed without a word.
    #[error("the recipient closed the connection in the middle of the handshake")]
    Closed,
    /// The connection failed.
    #[error("the connection failed in the middle of the handshake")]
    Io(#[source] io::Error),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It does not name the host that was meant.
    #[error("is for another name")]
    Name,
    /// No chain to a trusted root.
    #[error("does not lead to a trusted root")]
    UnknownIssuer,
    /// Its last moment has passed.
    #[error("has expired")]
    Expired,
    /// Its first moment has not come.
    #[error("is not valid yet")]
    NotYetValid,
    /// Anything else, in the library's words.
    #[error("is refused: {0}")]
    Other(String),
}

impl Trust {
    /// Collects the roots. A system store without any certificate is no fault, because tunnels and plain HTTP need none;
    /// [`Trust::roots`] tells.
    pub fn new(roots: &[Root]) -> Result<Trust, TrustFault> {
        let mut store = RootCertStore::empty();
        for root in roots {
            add(&mut store, root)?;
        }
        let roots = Arc::new(store);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        config.alpn_protocols = HttpVersion::V1.offer();
        config.enable_early_data = false;
        config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        // A clone shares the verifier and the kept sessions: what is spoken inside is agreed on anew each time.
        let mut multiplexing = config.clone();
        multiplexing.alpn_protocols = HttpVersion::V2.offer();
        Ok(Trust { config: Arc::new(config), multiplexing: Arc::new(multiplexing), roots })
    }

    /// What a name server is asked over TLS with (RFC 7858): the same roots, and no protocol to choose.
    pub fn for_name_servers(&self) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols.clear();
        config
    }

    /// How many roots are trusted.
    pub fn roots(&self) -> usize {
        self.roots.len()
    }

    /// [`Trust::connect_up_to`] HTTP/1.1.
    pub async fn connect<S>(&self, host: &Host, stream: S) -> Result<(ClientStream<S>, TlsFacts), TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connect_up_to(HttpVersion::V1, host, stream).await
    }

    /// Plays the client in a handshake with `host`, verifying its certificate. Time is bounded by the caller. [`spoken`]
    /// tells which version of HTTP was agreed on; none is newer than `newest`.
    ///
    /// A resumed session gives the facts of the certificate that was verified when it began.
    pub async fn connect_up_to<S>(
        &self,
        newest: HttpVersion,
        host: &Host,
        stream: S,
    ) -> Result<(ClientStream<S>, TlsFacts), TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = match newest {
            HttpVersion::V1 => &self.config,
            HttpVersion::V2 => &self.multiplexing,
        };
        let name = server_name(host)?;
        // An address is never sent as a server name (RFC 6066 §3).
        let sni = matches!(host, Host::Name(_)).then(|| host.to_string());
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(tls_fault)?;
        let (_, session) = stream.get_ref();
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            // Nothing older is built into the configuration.
            _ => TlsVersion::V1_2,
        };
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let facts = TlsFacts { version, sni, spki_sha256: leaf.and_then(|leaf| spki_sha256(leaf)) };
        Ok((stream, facts))
    }
}

/// The version of HTTP that was agreed on with a recipient.
pub fn spoken<S>(stream: &ClientStream<S>) -> HttpVersion {
    HttpVersion::agreed(stream.get_ref().1.alpn_protocol())
}

/// The last second of the certificate that was verified on a stream.
pub fn certificate_ends<S>(stream: &ClientStream<S>) -> Option<Timestamp> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

pub(super) fn server_name(host: &Host) -> Result<ServerName<'static>, TlsFault> {
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
            .map_err(|_| TlsFault::Protocol(format!("`{name}` cannot be a TLS server name"))),
    }
}

fn add(store: &mut RootCertStore, root: &Root) -> Result<(), TrustFault> {
    match root {
        Root::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a part of the system's root certificates cannot be read");
            }
            store.add_parsable_certificates(found.certs);
            Ok(())
        }
        Root::File(path) => {
            let pem = std::fs::read(path).map_err(|source| TrustFault::Unreadable { path: path.clone(), source })?;
            add_pem(store, &pem, &path.display().to_string())
        }
        Root::Pem(pem) => add_pem(store, pem.as_bytes(), "the given text"),
    }
}

/// What an operator names as roots must all be usable: one that is skipped in silence is a recipient that fails later.
fn add_pem(store: &mut RootCertStore, pem: &[u8], origin: &str) -> Result<(), TrustFault> {
    let unusable = || TrustFault::NoCertificate(origin.to_owned());
    let before = store.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if store.len() == before { Err(unusable()) } else { Ok(()) }
}

/// Tells what went wrong from the error that tokio-rustls wraps.
pub(super) fn tls_fault(error: io::Error) -> TlsFault {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return if error.kind() == io::ErrorKind::UnexpectedEof { TlsFault::Closed } else { TlsFault::Io(error) };
    };
    match inner {
        rustls::Error::InvalidCertificate(fault) => TlsFault::Certificate(certificate_fault(fault)),
        rustls::Error::NoCertificatesPresented => {
            TlsFault::Certificate(CertificateFault::Other("none was shown".to_owned()))
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TlsFault::TooOld,
        rustls::Error::AlertReceived(alert) => TlsFault::Alert(alert_name(*alert)),
        other => TlsFault::Protocol(other.to_string()),
    }
}

fn certificate_fault(fault: &CertificateError) -> CertificateFault {
    match fault {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => CertificateFault::Name,
        CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        other => CertificateFault::Other(other.to_string()),
    }
}

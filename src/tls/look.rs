//! A handshake with a recipient that is only looked at: what it shows is kept also where it is refused.
//!
//! Verification is the one of every handshake ([`Trust::connect`]); the difference is that the chain is kept, so that an
//! operator can see why it fails. Nothing is sent but the handshake and its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::trust::{server_name, tls_fault};
use super::{HTTP_1_1, TlsFault, Trust, VERSIONS, provider, validity};
use crate::destination::Host;
use crate::policy::TlsVersion;

/// What a handshake showed.
#[derive(Debug)]
pub struct Look {
    /// The version agreed on; absent where the handshake failed.
    pub version: Option<TlsVersion>,
    /// The certificates shown, the recipient's own first.
    pub chain: Vec<CertificateFacts>,
    /// Why the proxy would refuse this recipient; absent where it would not.
    pub fault: Option<TlsFault>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is, as RFC 4514 writes names.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// Hosts and addresses that it is for.
    pub names: Vec<String>,
    /// First moment of its validity.
    pub not_before: SystemTime,
    /// Last moment of its validity.
    pub not_after: SystemTime,
    /// What a pin would hold.
    pub spki_sha256: [u8; 32],
}

impl Trust {
    /// Plays the client in a handshake with `host` as [`Trust::connect`] does, and tells what was seen. Time is bounded by
    /// the caller.
    pub async fn look<S>(&self, host: &Host, stream: S) -> Look
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.onlooker() {
            Ok(onlooker) => {
                let shaken = shake_hands(&onlooker, host, stream).await;
                let chain = onlooker.chain();
                match shaken {
                    Ok(version) => Look { version: Some(version), chain, fault: None },
                    Err(fault) => Look { version: None, chain, fault: Some(fault) },
                }
            }
            Err(fault) => Look { version: None, chain: Vec::new(), fault: Some(fault) },
        }
    }

    fn onlooker(&self) -> Result<Arc<Onlooker>, TlsFault> {
        let built = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider()).build();
        let verifier = built.map_err(|fault| TlsFault::Protocol(format!("no root certificate is trusted: {fault}")))?;
        Ok(Arc::new(Onlooker { verifier, shown: Mutex::default() }))
    }
}

async fn shake_hands<S>(onlooker: &Arc<Onlooker>, host: &Host, stream: S) -> Result<TlsVersion, TlsFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = server_name(host)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|fault| TlsFault::Protocol(fault.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(onlooker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.resumption = Resumption::disabled();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(tls_fault)?;
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
        // Nothing older is built into the configuration.
        _ => TlsVersion::V1_2,
    };
    // A recipient that is gone already has shown what was asked for.
    let _ = stream.shutdown().await;
    Ok(version)
}

/// Keeps what is shown and leaves every judgement to the verifier of all other handshakes.
#[derive(Debug)]
struct Onlooker {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Mutex<Vec<CertificateDer<'static>>>,
}

impl Onlooker {
    fn chain(&self) -> Vec<CertificateFacts> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().filter_map(|certificate| facts(certificate)).collect()
    }
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) =
            shown.map(|certificate| certificate.clone().into_owned()).collect();
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (not_before, not_after) = validity(&certificate);
    let names = certificate.subject_alternative_name().ok().flatten();
    Some(CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names.map(|names| names.value.general_names.iter().filter_map(shown).collect()).unwrap_or_default(),
        not_before,
        not_after,
        spki_sha256: Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into(),
    })
}

/// The names that a TLS client compares; others say nothing here.
fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

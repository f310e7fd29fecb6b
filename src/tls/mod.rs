//! TLS in both directions: the leg to the client, where we are the server with a certificate of the organisation's
//! own authority, and the leg to the recipient, where we are the client.
//!
//! - [`authority`]: the interception authority, its leaf certificates, the handshake with a client.
//! - [`bundle`]: what the authority's certificate file holds; [`rotation`]: how the next authority takes over.
//! - [`trust`]: the roots, the handshake with a recipient, what was verified.
//! - [`look`]: a handshake with a recipient that is only looked at, for `tasrih probe`.
//! - [`client_hello`]: a ClientHello read off a stream without losing its bytes, for tunnels; [`wire`] reads the bytes.
//! - [`listener`]: TLS towards the proxy itself; [`client_certificate`]: what a client proves there, and for how long.
//! - [`issue`]: how a certificate of ours looks.
//! - [`recipient`]: acceptors for the demo and the tests, which count what a handshake took.
//!
//! rustls is named in this room only. Nothing here decides: it states facts ([`crate::policy::TlsFacts`],
//! [`ClientHelloFacts`]) and closed faults, and the corridor asks `policy/` what they mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

pub mod authority;
pub mod bundle;
pub mod client_certificate;
pub mod client_hello;
pub mod fault;
pub mod issue;
pub mod listener;
pub mod look;
pub mod recipient;
pub mod rotation;
pub mod trust;
pub mod wire;

pub use authority::{Authority, ServerStream};
pub use bundle::AuthorityFacts;
pub use client_certificate::ClientCertificate;
pub use client_hello::{ClientHelloFacts, HelloFault, Replayed};
pub use fault::{AcceptFault, AuthorityFault, RotationFault};
pub use listener::{ListenerFault, ProxyAcceptor};
pub use look::{CertificateFacts, Look};
pub use trust::{CertificateFault, ClientStream, Root, TlsFault, Trust, TrustFault, certificate_ends};

/// The names of ALPN (RFC 7301) that are spoken.
const HTTP_1_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// A version of HTTP that may be agreed on in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// HTTP/1.1; also spoken where nothing was agreed on.
    V1,
    /// HTTP/2.
    V2,
}

impl HttpVersion {
    /// What is offered by whoever speaks nothing newer than this: the newest first.
    fn offer(self) -> Vec<Vec<u8>> {
        match self {
            HttpVersion::V1 => vec![HTTP_1_1.to_vec()],
            HttpVersion::V2 => vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()],
        }
    }

    fn agreed(protocol: Option<&[u8]>) -> HttpVersion {
        if protocol == Some(HTTP_2) { HttpVersion::V2 } else { HttpVersion::V1 }
    }
}

/// TLS 1.2 at least: what is older is not even built.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A fatal `access_denied` alert (RFC 8446 §6.2) as a plaintext record, for a tunnel that is refused after its 200.
///
/// It may only be sent in place of a ServerHello: afterwards a peer expects records under the session's keys.
pub const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// A fatal `protocol_version` alert. rustls itself answers old clients with `handshake_failure`, which says less.
const PROTOCOL_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// A provider of our own making: the process-wide default of rustls is mutable state that anyone may set.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo, as pins are written (RFC 7469 §2.4); `None` if it is no certificate.
pub fn spki_sha256(certificate_der: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    Some(Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into())
}

/// First and last moment of a certificate.
fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    (moment(validity.not_before), moment(validity.not_after))
}

/// A time of X.509, which has no fractions; what lies before 1970 is taken for that.
fn moment(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.timestamp().max(0).unsigned_abs())
}

/// The name of an alert as RFC 8446 §6 prints it: `unknown_ca`; an unassigned one by its number.
fn alert_name(alert: AlertDescription) -> String {
    let Some(camel) = alert.as_str() else { return format!("alert {}", u8::from(alert)) };
    // rustls writes the registered names in camel case; `UnknownCA` is the one with an abbreviation at its end.
    let mut name = String::with_capacity(camel.len() + 4);
    let mut after_lower = false;
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = letter.is_ascii_lowercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_rfc_8446() {
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(alert_name(AlertDescription::BadCertificate), "bad_certificate");
        assert_eq!(alert_name(AlertDescription::ProtocolVersion), "protocol_version");
        assert_eq!(alert_name(AlertDescription::Unknown(200)), "alert 200");
    }

    #[test]
    fn the_refusing_alert_is_access_denied() {
        assert_eq!(ACCESS_DENIED[6], u8::from(AlertDescription::AccessDenied));
    }
}

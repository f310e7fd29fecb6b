//! What the certificate file of the interception authority holds: its own certificate first, and behind it what clients
//! are to be shown or to trust besides.
//!
//! One file says everything, so that a service that is handed two files (`LoadCredential=`) needs no third in a rotation.
//! Of an authority that signs itself, the others are told apart by what they are: a certificate of the same name and key
//! that another signed is a *bridge*, shown behind each leaf; one of another key that signs itself is an authority that
//! clients are to trust as well. An authority under another one has the certificates that lead there behind it.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::fault::AuthorityFault;
use super::validity;

/// The certificate file, read.
pub(super) struct Bundle {
    /// The authority that signs leaves.
    pub own: CertificateDer<'static>,
    /// What stands behind a leaf in a handshake.
    pub chain: Vec<CertificateDer<'static>>,
    /// Further authorities that clients are to trust; the first is the one that takes over next.
    pub others: Vec<CertificateDer<'static>>,
    /// Whether the authority signs itself.
    pub is_root: bool,
}

/// What can be said about an authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its subject, as RFC 4514 writes names.
    pub subject: String,
    /// Its serial number in hex, as openssl prints it.
    pub serial: String,
    /// First moment of its validity.
    pub not_before: SystemTime,
    /// Last moment of its validity.
    pub not_after: SystemTime,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

impl AuthorityFacts {
    /// Reads a certificate; `None` where it is none.
    pub(super) fn of(der: &[u8]) -> Option<AuthorityFacts> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (not_before, not_after) = validity(&certificate);
        Some(AuthorityFacts {
            subject: certificate.subject().to_string(),
            serial: certificate.raw_serial_as_string(),
            not_before,
            not_after,
            sha256: Sha256::digest(der).into(),
            spki_sha256: Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into(),
        })
    }
}

/// A certificate that clients must trust.
pub struct Trusted {
    /// The certificate.
    pub der: Vec<u8>,
    /// What it says.
    pub facts: AuthorityFacts,
}

/// The certificates of the authority's certificate file that clients must trust. No key is needed.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn trusted(certificate: &Path) -> Result<Vec<Trusted>, AuthorityFault> {
    let trusted = Bundle::read(certificate)?.trusted();
    let read = |der: CertificateDer<'static>| {
        let facts = AuthorityFacts::of(&der).ok_or_else(|| AuthorityFault::NoCertificate(certificate.to_owned()))?;
        Ok(Trusted { der: der.to_vec(), facts })
    };
    trusted.into_iter().map(read).collect()
}

impl Bundle {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Bundle, AuthorityFault> {
        let pem = fs::read_to_string(path)
            .map_err(|source| AuthorityFault::CertificateFile { path: path.to_owned(), source })?;
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
        Bundle::sort(certificates).ok_or_else(|| AuthorityFault::NoCertificate(path.to_owned()))
    }

    fn sort(certificates: Vec<CertificateDer<'static>>) -> Option<Bundle> {
        let mut rest = certificates.into_iter();
        let own = rest.next()?;
        let (_, parsed) = X509Certificate::from_der(&own).ok()?;
        let is_root = parsed.subject() == parsed.issuer();
        let (mut chain, mut others) = (Vec::new(), Vec::new());
        for der in rest {
            let Ok((_, other)) = X509Certificate::from_der(&der) else { continue };
            let same_key = other.tbs_certificate.subject_pki == parsed.tbs_certificate.subject_pki;
            let signs_itself = other.subject() == other.issuer();
            match (is_root, same_key && !signs_itself, signs_itself && !same_key) {
                (false, ..) | (true, true, _) => chain.push(der),
                (true, false, true) => others.push(der),
                (true, false, false) => {}
            }
        }
        // A subordinate authority is shown itself, with the certificates that lead to what clients trust.
        if !is_root {
            chain.insert(0, own.clone());
        }
        Some(Bundle { own, chain, others, is_root })
    }

    /// The certificates that clients must trust.
    pub(super) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        match self.is_root {
            true => std::iter::once(&self.own).chain(&self.others).cloned().collect(),
            false => self.chain.clone(),
        }
    }
}

/// A certificate in PEM (RFC 7468): lines of 64 characters.
pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|from| &text[from..text.len().min(from + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

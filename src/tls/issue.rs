//! Certificates as we make them: P-256, a random serial, key identifiers, a validity that begins a day in the past.
//!
//! Shared by the interception authority and by the small authority of the demo's and the tests' recipients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::provider;
use crate::destination::Host;

/// The time that certificates are made for: the machine's clock, as the TLS stacks on both sides read it.
///
/// The decision clock of `clock.rs` is not asked, because it may run ahead of what clients take for now.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// One day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate")]
pub struct IssueFault(#[from] rcgen::Error);

impl IssueFault {
    /// What should be a certificate cannot be read.
    pub(super) fn unreadable() -> IssueFault {
        IssueFault(rcgen::Error::CouldNotParseCertificate)
    }
}

/// First and last moment of a certificate. Both are kept to whole seconds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// From a day before `now`, because clocks of clients differ, to `days` after it.
    pub fn around(now: SystemTime, days: u32) -> Validity {
        Validity { not_before: now - DAY, not_after: now + DAY * days }
    }

    /// The same, ending no later than `limit`: a certificate that outlives its issuer proves nothing.
    pub fn ending_by(self, limit: SystemTime) -> Validity {
        Validity { not_after: self.not_after.min(limit), ..self }
    }
}

/// A new P-256 key.
pub fn key() -> Result<KeyPair, IssueFault> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// The parameters of a root that signs leaf certificates and nothing else.
pub fn root(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = named(common_name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Signs a server certificate for `host`: one subject alternative name, the key of `leaf`, and where it can be asked
/// whether it was revoked.
pub fn server(
    host: &Host,
    leaf: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
    validity: Validity,
    crl_url: Option<&str>,
) -> Result<CertificateDer<'static>, IssueFault> {
    let mut params = named(&common_name(host), validity);
    params.subject_alt_names = vec![match host {
        Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
        Host::Address(address) => SanType::IpAddress(plain(*address)),
    }];
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.crl_distribution_points =
        crl_url.map(|url| CrlDistributionPoint { uris: vec![url.to_owned()] }).into_iter().collect();
    Ok(params.signed_by(leaf, issuer)?.der().clone())
}

/// Signs, in another authority's name, the name and key of `present`: a bridge from one to the other.
///
/// Name and key identifier are taken from the certificate as it stands, so that what it signed points at the bridge too.
pub(super) fn bridge(
    present: &CertificateDer<'_>,
    key: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
    validity: Validity,
) -> Result<CertificateDer<'static>, IssueFault> {
    let (_, parsed) = X509Certificate::from_der(present).map_err(|_| IssueFault::unreadable())?;
    let mut params = root("", validity);
    params.distinguished_name = name_of(&parsed)?;
    params.key_identifier_method = key_identifier(present)?;
    params.use_authority_key_identifier_extension = true;
    let made = params.signed_by(key, issuer)?.der().clone();
    // Clients compare names byte by byte: one that was not repeated exactly leads nowhere.
    let repeated = X509Certificate::from_der(&made).is_ok_and(|(_, made)| made.subject() == parsed.subject());
    if repeated { Ok(made) } else { Err(IssueFault::unreadable()) }
}

/// A list of revoked certificates, with none, in DER. It holds for two days, so that a client that keeps it meets a new
/// authority's list soon, and begins a day before `now`, because clocks of clients differ.
pub(super) fn revocation_list(
    issuer: &Issuer<'_, KeyPair>,
    key_identifier: &KeyIdMethod,
    now: SystemTime,
) -> Result<Vec<u8>, IssueFault> {
    // `time` is not a dependency of ours: its type is reached through the epoch that rcgen hands out.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let list = CertificateRevocationListParams {
        this_update: epoch + since_epoch(now - DAY),
        next_update: epoch + since_epoch(now + 2 * DAY),
        // Numbers of one issuer must rise (RFC 5280 §5.2.3), also over restarts.
        crl_number: SerialNumber::from_slice(&since_epoch(now).as_secs().to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: key_identifier.clone(),
    };
    Ok(list.signed_by(issuer)?.der().to_vec())
}

/// How the key of an authority is named in what it signs: as its own certificate names it.
pub(super) fn key_identifier(authority: &CertificateDer<'_>) -> Result<KeyIdMethod, IssueFault> {
    let (_, parsed) = X509Certificate::from_der(authority).map_err(|_| IssueFault::unreadable())?;
    let written = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    });
    Ok(written.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified))
}

/// The subject of a certificate, to be written again.
fn name_of(certificate: &X509Certificate<'_>) -> Result<DistinguishedName, IssueFault> {
    let mut name = DistinguishedName::new();
    for attribute in certificate.subject().iter_attributes() {
        let arcs = attribute.attr_type().iter().ok_or_else(IssueFault::unreadable)?;
        let text = attribute.as_str().map_err(|_| IssueFault::unreadable())?;
        let value = match attribute.attr_value().tag() {
            Tag::PrintableString => DnValue::PrintableString(text.try_into()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into()?),
            _ => DnValue::Utf8String(text.to_owned()),
        };
        name.push(DnType::from_oid(&arcs.collect::<Vec<u64>>()), value);
    }
    Ok(name)
}

/// A key in the form that a handshake signs with.
pub fn signing_key(key: &KeyPair) -> Arc<dyn SigningKey> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    provider().key_provider.load_private_key(der).expect("a P-256 key that was just made is one that rustls signs with")
}

/// A certificate chain with its key, as a handshake shows it.
pub fn certified(chain: Vec<CertificateDer<'static>>, key: &Arc<dyn SigningKey>) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(chain, Arc::clone(key)))
}

fn named(common_name: &str, validity: Validity) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(serial());
    // `time` is not a dependency of ours: its type is reached through the epoch that rcgen hands out.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    params
}

fn since_epoch(time: SystemTime) -> Duration {
    Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// 127 random bits, positive and without a leading zero byte (RFC 5280 §4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the random generator of AWS-LC aborts rather than fail");
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// A common name has at most 64 characters (RFC 5280, upper bound ub-common-name); the name that counts is the
/// subject alternative one.
fn common_name(host: &Host) -> String {
    let text = host.to_string();
    if text.len() <= 64 { text } else { "host with a long name".to_owned() }
}

/// A certificate for an address is looked up by the address that the client wrote, mapped form undone.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

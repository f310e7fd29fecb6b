//! Certificates as we make them: P-256, a random serial, key identifiers, a validity that begins a day in the past.
//!
//! Shared by the interception authority and by the small authority of the demo's and the tests' recipients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

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

/// Signs a server certificate for `host`: one subject alternative name, the key of `leaf`.
pub fn server(
    host: &Host,
    leaf: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
    validity: Validity,
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
    Ok(params.signed_by(leaf, issuer)?.der().clone())
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

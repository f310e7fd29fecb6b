//! A certificate as `probe` prints it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use crate::tls::CertificateFacts;

/// What an operator needs of a certificate.
#[derive(Serialize)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
    /// Whole days until its end; negative when that has passed.
    pub(super) days_left: i64,
    /// As a pin is written in a policy file.
    pub(super) spki_sha256: String,
}

impl Certificate {
    pub(super) fn of(facts: &CertificateFacts, now: Timestamp) -> Certificate {
        let not_after = Timestamp::try_from(facts.not_after).ok();
        Certificate {
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            names: facts.names.clone(),
            not_before: Timestamp::try_from(facts.not_before).ok(),
            not_after,
            days_left: not_after.map_or(0, |end| end.duration_since(now).as_hours().div_euclid(24)),
            spki_sha256: STANDARD.encode(facts.spki_sha256),
        }
    }
}

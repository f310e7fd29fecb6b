//! What a client has proved beside its address, and whether it still counts.
//!
//! A certificate may be revoked, and a user taken out, while a connection is open that was let in for it. What is under
//! way is therefore asked again each half second ([`super::guard`]), and each new exchange when it begins.

use std::future::pending;
use std::sync::Arc;

use crate::policy::{Denial, Reason, Stage};
use crate::tls::ClientCertificate;
use crate::users::{Proven, Users};

/// What a client has proved beside its address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    /// The certificate that it showed to a listener.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The user whose password it gave.
    pub user: Option<Arc<Proven>>,
}

/// What a client cannot prove any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its certificate has ended, was revoked, or nobody vouches for it any more.
    Certificate,
    /// The user is not in the users file any more, or has another password.
    User,
}

impl Proofs {
    /// The names of the certificate; none without one.
    pub fn names(&self) -> &[String] {
        self.certificate.as_ref().map_or(&[], |certificate| certificate.names())
    }

    /// The user's name.
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.name())
    }

    /// Whether all of it would be believed now.
    ///
    /// # Errors
    /// What would not be.
    pub fn check(&self, users: &Users) -> Result<(), Lost> {
        if self.certificate.as_ref().is_some_and(|certificate| !certificate.is_good()) {
            return Err(Lost::Certificate);
        }
        match self.user.as_ref().is_some_and(|user| !users.still_proves(user)) {
            true => Err(Lost::User),
            false => Ok(()),
        }
    }

    /// Ends when the certificate is not good any more; never without one.
    pub async fn certificate_lost(&self) {
        match &self.certificate {
            Some(certificate) => certificate.lost().await,
            None => pending().await,
        }
    }
}

impl From<Lost> for Denial {
    fn from(lost: Lost) -> Denial {
        let (reason, detail) = match lost {
            Lost::Certificate => {
                (Reason::SourceUnknown, "the client's certificate has ended or was revoked since it was shown")
            }
            Lost::User => (
                Reason::CredentialsRequired,
                "the user's password has changed, or the user is gone, since it was given",
            ),
        };
        Denial::new(reason, Stage::Head).with_detail(detail)
    }
}

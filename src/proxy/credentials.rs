//! `Proxy-Authorization`: who is asking, by name and password (RFC 9110 §11.7, RFC 7617).
//!
//! Credentials are looked at only where they could do something for the peer ([`policy::credentials`]); there they must be
//! right, because a typing error must not quietly make a client a source that may send less. Those of a CONNECT hold for
//! all that comes through it; a field inside is meant for nobody, and goes no further. Only the name of a user who was
//! proven is ever shown: people type passwords where the name belongs.

use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use http::HeaderMap;
use http::header::{self, HeaderValue};

use super::Corridor;
use super::guard::Guard;
use super::request::Door;
use crate::policy::credentials::{Use, use_of};
use crate::policy::{Denial, Reason, Stage};
use crate::users::Unproven;

/// What is asked for. The realm is the same for all nodes, so that a browser asks its user once.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Tasrih\", charset=\"UTF-8\"");

/// Some programs leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client says of who it is. Shown to nobody.
#[derive(PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    Nothing,
    /// Something that cannot be verified: another scheme, several fields, bytes that are no credentials.
    Other,
    /// A user's name and password.
    Pair {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
}

/// Completes what the door knows of its peer by what the client says, where that could tell anything.
///
/// # Errors
/// `credentials-required` where they are missing and needed, or wrong; `busy` where they cannot be looked at now; or what
/// the client had proved before does not count any more.
pub async fn identify(corridor: &Corridor, door: &mut Door, given: Given, guard: &mut Guard) -> Result<(), Denial> {
    door.proofs.check(&corridor.users)?;
    // Inside a connection that was asked for, whoever asked for it has said so; and one that knows of no proxy cannot.
    if door.outer.is_some() || door.redirected.is_some() || door.proofs.user.is_some() || !corridor.users.are_known() {
        return Ok(());
    }
    let (name, password) = match (use_of(guard.register(), &door.peer(), corridor.now()), given) {
        (Use::None, _) | (Use::Possible, Given::Nothing) => return Ok(()),
        (Use::Needed, Given::Nothing) => return Err(required("no credentials were sent")),
        (_, Given::Other) => return Err(required("what was sent is no one set of Basic credentials")),
        (_, Given::Pair { name, password }) => (name, password),
    };
    prove(corridor, door, &name, &password).await?;
    guard.account.proved(door);
    Ok(())
}

/// Verifies a name and a password, from whatever protocol they came, and notes at the door who was proven.
///
/// # Errors
/// `credentials-required`, or `busy`.
pub async fn prove(corridor: &Corridor, door: &mut Door, name: &str, password: &str) -> Result<(), Denial> {
    let verified = corridor.users.verify(name, password, door.peer.ip()).await;
    let busy = |detail| Denial::new(Reason::Busy, Stage::Head).with_detail(detail);
    match verified {
        Ok(proven) => {
            door.proofs.user = Some(proven.into());
            Ok(())
        }
        Err(unproven) => {
            let connection = &door.connection;
            match unproven {
                Unproven::Wrong => {
                    tracing::warn!(%connection, "a user's name or password is wrong");
                    Err(required("the user name or the password is wrong"))
                }
                Unproven::Throttled(wait) => {
                    tracing::warn!(%connection, "an address that sent too many wrong passwords must wait");
                    Err(busy("this address sent too many wrong passwords").with_retry_after(wait))
                }
                Unproven::Busy => Err(busy("too many passwords are being verified")),
            }
        }
    }
}

fn required(detail: &str) -> Denial {
    Denial::new(Reason::CredentialsRequired, Stage::Head).with_detail(detail)
}

impl Given {
    /// What a request says in `Proxy-Authorization`.
    pub fn by(request: &HeaderMap) -> Given {
        let mut fields = request.get_all(header::PROXY_AUTHORIZATION).iter();
        match (fields.next(), fields.next()) {
            (None, _) => Given::Nothing,
            (Some(field), None) => basic(field).unwrap_or(Given::Other),
            (Some(_), Some(_)) => Given::Other,
        }
    }
}

fn basic(field: &HeaderValue) -> Option<Given> {
    let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
    let decoded = LENIENT.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    // What is no UTF-8 was written by a program older than RFC 7617's `charset`.
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Given::Pair { name: name.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(fields: &[&str]) -> Given {
        let mut request = HeaderMap::new();
        for field in fields {
            request.append(header::PROXY_AUTHORIZATION, HeaderValue::from_str(field).expect("a value"));
        }
        Given::by(&request)
    }

    fn pair(name: &str, password: &str) -> Given {
        Given::Pair { name: name.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn one_set_of_basic_credentials_is_read() {
        assert!(given(&[]) == Given::Nothing);
        assert!(given(&["Basic YW1hbDpvcGVuIHNlc2FtZQ=="]) == pair("amal", "open sesame"));
        let odd = given(&["bASIC  YW1hbDpvcGVuIHNlc2FtZQ"]);
        assert!(odd == pair("amal", "open sesame"), "no case, spaces, no padding");
        assert!(given(&["Basic YTpiOmM="]) == pair("a", "b:c"), "a password may have a colon");
        assert!(given(&["Basic 2LHYttinOtmF2YHYqtin2K0="]) == pair("رضا", "مفتاح"));
        for other in ["Bearer abc", "Basic", "Basic ", "Basic !!!", "Basic 6Tp4", "Basic YW1hbA==", "Negotiate YIIB"] {
            assert!(given(&[other]) == Given::Other, "{other}");
        }
        assert!(given(&["Basic YTpi", "Basic YTpj"]) == Given::Other);
    }
}

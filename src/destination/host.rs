//! Host names and address literals in canonical form.
//!
//! The wire accepts ASCII letters, digits, hyphen, dot and underscore, and nothing else. No percent decoding, no
//! folding of full-width letters, no short forms of IPv4: what a URL library would repair, a resolver may read
//! otherwise. A name whose last label looks like a number is refused, since the C library's resolver takes `127.1`,
//! `0x7f.1` and `2130706433` for 127.0.0.1 while a parser of literals takes them for names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::shown;

/// Longest name in bytes, without a trailing dot (RFC 1035 section 3.1 leaves 253 for the text form).
const MAX_NAME: usize = 253;
/// Longest label in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A DNS name in canonical form: lower case, A-labels, no trailing dot.
///
/// At most 253 bytes, labels of at most 63 bytes of `a-z`, `0-9`, `-` and `_`, none beginning or ending with a hyphen;
/// labels that begin with `xn--` decode, and the last label is not numeric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// A host: a name or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name.
    Name(HostName),
    /// An address literal. IPv4 written inside IPv6 stays IPv6; [`super::classify`] sees through it.
    Address(IpAddr),
}

/// Why a text is not a host or an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing where a host should be.
    #[error("the host is empty")]
    Empty,
    /// The name is over 253 bytes.
    #[error("host name of {0} bytes is too long, at most 253 are possible")]
    TooLong(usize),
    /// Two dots in a row, or one at the start.
    #[error("`{0}` has an empty label, look for a dot too many")]
    EmptyLabel(String),
    /// A label over 63 bytes.
    #[error("label `{0}` is too long, at most 63 bytes are possible")]
    LabelTooLong(String),
    /// A label that begins or ends with a hyphen.
    #[error("label `{0}` begins or ends with a hyphen")]
    LabelHyphen(String),
    /// A character that no host has.
    #[error("`{text}` has the character {character:?}, a host has letters, digits, `-`, `_` and `.` only")]
    Character {
        /// The host as written.
        text: String,
        /// The first character that does not belong.
        character: char,
    },
    /// A name beyond ASCII, with its A-label form where there is one.
    #[error("`{text}` has characters beyond ascii, {}", match a_label {
        Some(a_label) => format!("write `{a_label}` if that is the name meant"),
        None => "which no host name can stand for".to_owned(),
    })]
    NotAscii {
        /// The host as written.
        text: String,
        /// What IDNA makes of it.
        a_label: Option<String>,
    },
    /// An `xn--` label that does not decode, or not to something that encodes to it again.
    #[error("label `{0}` begins with `xn--` but is no valid international label")]
    BadALabel(String),
    /// A name that some resolver reads as an IPv4 address.
    #[error("`{0}` looks like a number, write an ipv4 address as four decimal numbers without leading zeros")]
    NumericLooking(String),
    /// Brackets around anything but an IPv6 address.
    #[error("`{0}` is no ipv6 address, only those stand in brackets")]
    NotIpv6(String),
    /// An IPv6 address without brackets.
    #[error("`{0}` is an ipv6 address without brackets, write `[{0}]`")]
    Unbracketed(String),
    /// `user@host`; never stripped.
    #[error("`{0}` has user information before an `@`, leave it out")]
    UserInfo(String),
    /// A colon with nothing behind it.
    #[error("`{0}` ends with a colon, name the port or leave the colon out")]
    EmptyPort(String),
    /// A port that is not a decimal number from 1 to 65535 without sign or leading zero.
    #[error("port `{0}` is not a number from 1 to 65535 without sign and leading zeros")]
    BadPort(String),
    /// `*` where only a register's whole first label may have it.
    #[error("`{0}` has a `*` that is not a whole first label, write `*.name`, or `any` for every host")]
    Wildcard(String),
    /// A register's wildcard under an address.
    #[error("`{0}` puts a wildcard before an address, name the address alone")]
    WildcardAddress(String),
}

impl HostFault {
    /// Whether the text was refused because it looks like a number (`numeric-host`).
    pub fn is_numeric(&self) -> bool {
        matches!(self, HostFault::NumericLooking(_))
    }
}

impl HostName {
    /// Brings a DNS name into canonical form; an address literal is not a name.
    pub fn parse(text: &str) -> Result<HostName, HostFault> {
        match Host::parse(text)? {
            Host::Name(name) => Ok(name),
            Host::Address(_) => Err(HostFault::NumericLooking(shown(text))),
        }
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a text that is known not to be an address literal.
    fn from_text(text: &str) -> Result<HostName, HostFault> {
        check_characters(text)?;
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(if text.is_empty() { HostFault::Empty } else { HostFault::EmptyLabel(shown(text)) });
        }
        if name.len() > MAX_NAME {
            return Err(HostFault::TooLong(name.len()));
        }
        let name = name.to_ascii_lowercase();
        name.split('.').try_for_each(|label| check_label(label, text))?;
        if ends_in_number(&name) {
            return Err(HostFault::NumericLooking(shown(text)));
        }
        Ok(HostName(name.into()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Host {
    /// Brings a host as it stands in a URL, in CONNECT or in a register into canonical form.
    ///
    /// IPv6 wants its brackets. One trailing dot is dropped; upper case is folded; anything else that is not canonical
    /// already is a fault.
    pub fn parse(text: &str) -> Result<Host, HostFault> {
        if text.starts_with('[') {
            return bracketed(text).map(|address| Host::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Address(IpAddr::V4(address)));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(HostFault::Unbracketed(shown(text)));
        }
        HostName::from_text(text).map(Host::Name)
    }

    /// The name, unless the host is an address literal.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// The address, if the host is a literal.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::Address(address) => Some(*address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Reads `[address]`; zone identifiers (`%eth0`) and future versions (`v1.x`) are no addresses here.
fn bracketed(text: &str) -> Result<Ipv6Addr, HostFault> {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|inner| inner.parse().ok())
        .ok_or_else(|| HostFault::NotIpv6(shown(text)))
}

/// Refuses every character outside the wire's alphabet, naming the first.
fn check_characters(text: &str) -> Result<(), HostFault> {
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    match text.chars().find(|character| !fits(*character)) {
        None => Ok(()),
        Some(character) if !character.is_ascii() => {
            Err(HostFault::NotAscii { text: shown(text), a_label: a_label_form(text) })
        }
        Some('*') => Err(HostFault::Wildcard(shown(text))),
        Some('@') => Err(HostFault::UserInfo(shown(text))),
        Some(character) => Err(HostFault::Character { text: shown(text), character }),
    }
}

/// What IDNA makes of a name beyond ASCII, if that is a name which would be accepted.
fn a_label_form(text: &str) -> Option<String> {
    if text.len() > 4 * MAX_NAME {
        return None;
    }
    let ascii = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify).ok()?;
    HostName::from_text(&ascii).ok().map(|name| name.as_str().to_owned())
}

/// Checks one label, already in lower case, of the name that was written as `text`.
fn check_label(label: &str, text: &str) -> Result<(), HostFault> {
    if label.is_empty() {
        return Err(HostFault::EmptyLabel(shown(text)));
    }
    if label.len() > MAX_LABEL {
        return Err(HostFault::LabelTooLong(shown(label)));
    }
    if label.starts_with('-') || label.ends_with('-') {
        // `xn--` alone ends with a hyphen too, and is told as what it is.
        let international = label.starts_with("xn--");
        return Err(if international { HostFault::BadALabel } else { HostFault::LabelHyphen }(label.to_owned()));
    }
    if label.starts_with("xn--") && !decodes(label) {
        return Err(HostFault::BadALabel(label.to_owned()));
    }
    Ok(())
}

/// Whether an `xn--` label decodes under UTS 46, to something that encodes to this label again.
fn decodes(label: &str) -> bool {
    let uts46 = Uts46::new();
    let (unicode, outcome) = uts46.to_unicode(label.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    let again = uts46.to_ascii(unicode.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify);
    outcome.is_ok() && !unicode.is_ascii() && again.is_ok_and(|again| again == label)
}

/// Whether the last label is a decimal, octal or hexadecimal number to some resolver ("ends in a number checker" of
/// the WHATWG URL standard).
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

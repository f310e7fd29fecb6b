//! Host names and address literals in canonical form.
//!
//! The wire accepts ASCII letters, digits, hyphen, dot and underscore, and nothing else. No percent decoding, no
//! folding of full-width letters, no short forms of IPv4: what a URL library would repair, a resolver may read
//! otherwise. A name whose last label looks like a number is refused, since the C library's resolver takes `127.1`,
//! `0x7f.1` and `2130706433` for 127.0.0.1 while a parser of literals takes them for names.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{HostFault, shown};

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

impl HostName {
    /// Brings a DNS name into canonical form; an address literal is not a name.
    pub fn parse(text: &str) -> Result<HostName, HostFault> {
        match Host::parse(text)? {
            Host::Name(name) => Ok(name),
            Host::Address(_) => Err(HostFault::NotAName(shown(text))),
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

/// A name is compared and hashed as its text, so that a part of a name can be looked up among names.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str, expected: &str) {
        let host = Host::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(host.to_string(), expected, "{text}");
        assert_eq!(Host::parse(expected), Ok(host), "{text}: the canonical form is a fixed point");
    }

    fn refused(text: &str, says: &str) {
        let fault = Host::parse(text).expect_err(text);
        assert!(fault.to_string().contains(says), "{text}: {fault}");
        assert!(!fault.is_numeric(), "{text}: {fault}");
    }

    #[test]
    fn names_in_canonical_form() {
        canonical("VISION.Partner.Example", "vision.partner.example");
        canonical("vision.partner.example.", "vision.partner.example");
        canonical("XN--BCHER-KVA.partner.example", "xn--bcher-kva.partner.example");
        canonical("xn--vsion-n2e.partner.example", "xn--vsion-n2e.partner.example");
        canonical("_dmarc.r3---sn-x.example", "_dmarc.r3---sn-x.example");
        canonical("localhost", "localhost");
        canonical("1.2.3.4.example", "1.2.3.4.example");
        canonical("127.example", "127.example");
        canonical("a.0xg", "a.0xg");
        canonical("a.1a", "a.1a");
        canonical(&"a".repeat(63), &"a".repeat(63));
        let longest = format!("{}.{}", "a.".repeat(94).trim_end_matches('.'), "b".repeat(63));
        canonical(&format!("{longest}.x"), &format!("{longest}.x"));
    }

    #[test]
    fn literals_in_canonical_form() {
        canonical("192.0.2.1", "192.0.2.1");
        canonical("[0:0:0:0:0:0:0:1]", "[::1]");
        canonical("[::0001]", "[::1]");
        canonical("[::FFFF:7f00:1]", "[::ffff:127.0.0.1]");
    }

    #[test]
    fn malformed_names_are_refused() {
        refused("", "empty");
        refused(".", "empty label");
        refused("vision.partner.example..", "empty label");
        refused("vision..partner.example", "empty label");
        refused(".partner.example", "empty label");
        refused(&"a".repeat(64), "at most 63");
        refused(&format!("{}b", "a.".repeat(127)), "at most 253");
        refused("-a.example", "hyphen");
        refused("a-.example", "hyphen");
        refused("*.store.partner.example", "whole first label");
        refused("a@b.example", "user information");
        for text in ["a,b.example", "a;b", "a!b", "a b", "a%2eb", "a\\b", "a/b", "a?b", "a\0b", "a\nb", "a:443"] {
            refused(text, "has the character");
        }
    }

    #[test]
    fn names_beyond_ascii_are_refused_and_the_a_label_is_shown() {
        refused("bücher.partner.example", "write `xn--bcher-kva.partner.example`");
        refused("ｖision.partner.example", "write `vision.partner.example`");
        refused("vision。partner．example", "write `vision.partner.example`");
        refused("vi\u{17f}ion.example", "write `vision.example`");
        refused("vi\u{200b}sion.example", "beyond ascii");
        refused("\u{2488}com", "no host name can stand for");
        refused("１２７.0.0.1", "no host name can stand for");
        refused("ا.٣", "beyond ascii");
    }

    #[test]
    fn international_labels_must_decode() {
        for text in
            ["xn--0000000000.example", "vision.example.xn--", "xn--a.example", "xn--abc-.example", "xn--BCHER-KVA-.x"]
        {
            refused(text, "no valid international label");
        }
    }

    #[test]
    fn numeric_looking_names_are_refused_as_such() {
        for text in
            ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "010.0.0.1", "127.0.0.1.", "127.0.0.1.0", "1.2.3.256"]
        {
            assert!(Host::parse(text).expect_err(text).is_numeric(), "{text}");
        }
        for text in
            ["0", "0x7f000001", "0X7F.1", "vision.partner.0x7f", "vision.partner.1", "a.0x", "1.2.3", "1.2.3.4.5"]
        {
            assert!(Host::parse(text).expect_err(text).is_numeric(), "{text}");
        }
        let message = Host::parse("127.1").expect_err("numeric").to_string();
        assert_eq!(
            message,
            "`127.1` looks like a number, write an ipv4 address as four decimal numbers without leading zeros"
        );
    }

    #[test]
    fn brackets_are_for_ipv6_only() {
        for text in
            ["[vision.partner.example]", "[[::1]]", "[::1", "[v1.abc]", "[127.0.0.1]", "[fe80::1%eth0]", "[]", "[::1]x"]
        {
            refused(text, "no ipv6 address");
        }
        refused("::1", "write `[::1]`");
        assert!(matches!(HostName::parse("192.0.2.1"), Err(HostFault::NotAName(_))));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_canonical(text in "[a-zA-Z0-9._\\-xn:@\\[\\]%é*]{0,30}") {
            if let Ok(host) = Host::parse(&text) {
                let shown = host.to_string();
                prop_assert_eq!(Host::parse(&shown), Ok(host.clone()));
                if let Host::Name(name) = host {
                    prop_assert!(name.as_str().len() <= 253 && !name.as_str().ends_with('.'));
                    prop_assert!(!name.as_str().bytes().any(|byte| byte.is_ascii_uppercase()));
                }
            }
        }

        #[test]
        fn every_address_is_read_as_it_is_shown(bits: u128) {
            for address in [IpAddr::V6(Ipv6Addr::from_bits(bits)), IpAddr::V4(Ipv4Addr::from_bits(bits as u32))] {
                let host = Host::Address(address);
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
    }
}

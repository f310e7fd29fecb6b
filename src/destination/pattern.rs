//! The hosts that a register may declare: one host, every name below a suffix, or any.

use std::fmt;

use super::{Host, HostFault, HostName, shown};

/// The word for every host.
const ANY: &str = "any";

/// Which hosts a declared endpoint has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host only.
    Exact(Host),
    /// `*.suffix`: one or more labels before the suffix, never the suffix itself and never an address.
    Suffix(HostName),
    /// Every host, address literals included; whether those may be dialled is for [`super::AddressRules`].
    Any,
}

impl HostPattern {
    /// Reads a host, `*.suffix` or `any`.
    ///
    /// A name beyond ASCII is a fault that shows its A-label form: register files are read by people, and what two
    /// people read as one name may be two.
    pub fn parse(text: &str) -> Result<HostPattern, HostFault> {
        if text == ANY {
            return Ok(HostPattern::Any);
        }
        let Some(suffix) = text.strip_prefix("*.") else {
            return Host::parse(text).map(HostPattern::Exact);
        };
        match Host::parse(suffix)? {
            Host::Name(name) => Ok(HostPattern::Suffix(name)),
            Host::Address(_) => Err(HostFault::WildcardAddress(shown(text))),
        }
    }

    /// Whether `host` is one of these hosts.
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            HostPattern::Exact(exact) => exact == host,
            HostPattern::Suffix(suffix) => labels_before(host, suffix).is_some(),
            HostPattern::Any => true,
        }
    }

    /// The labels of a matching host that the register does not spell out: they are chosen by the sender, may carry
    /// data, and are inspected. `None` where nothing was left open, for an address, and for a host that does not match.
    pub fn wildcard_labels<'h>(&self, host: &'h Host) -> Option<&'h str> {
        match self {
            HostPattern::Exact(_) => None,
            HostPattern::Suffix(suffix) => labels_before(host, suffix),
            HostPattern::Any => host.name().map(HostName::as_str),
        }
    }

    /// Whether some host matches both patterns.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Any, _) | (_, HostPattern::Any) => true,
            (HostPattern::Exact(host), pattern) | (pattern, HostPattern::Exact(host)) => pattern.matches(host),
            (HostPattern::Suffix(one), HostPattern::Suffix(two)) => {
                one == two || is_below(one.as_str(), two).is_some() || is_below(two.as_str(), one).is_some()
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => host.fmt(f),
            HostPattern::Suffix(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Any => f.write_str(ANY),
        }
    }
}

/// What a name has before `.suffix`; `None` unless it is a name with at least one label more.
fn labels_before<'h>(host: &'h Host, suffix: &HostName) -> Option<&'h str> {
    host.name().and_then(|name| is_below(name.as_str(), suffix))
}

/// The labels before `.suffix`, at a dot boundary.
fn is_below<'n>(name: &'n str, suffix: &HostName) -> Option<&'n str> {
    name.strip_suffix(suffix.as_str())?.strip_suffix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn a_suffix_has_names_below_it_only() {
        let store = pattern("*.Store.partner.example.");
        assert_eq!(store.to_string(), "*.store.partner.example");
        for text in ["a.store.partner.example", "a.b.store.partner.example", "A.STORE.partner.example."] {
            assert!(store.matches(&host(text)), "{text}");
        }
        for text in
            ["store.partner.example", "evilstore.partner.example", "a.store.partner.example.evil.example", "192.0.2.1"]
        {
            assert!(!store.matches(&host(text)), "{text}");
        }
    }

    #[test]
    fn an_exact_host_is_itself_only() {
        let vision = pattern("VISION.partner.example");
        assert!(vision.matches(&host("vision.partner.example.")));
        assert!(!vision.matches(&host("a.vision.partner.example")));
        assert!(!vision.matches(&host("vision.partner.example.evil.example")));
        assert!(pattern("[::1]").matches(&host("[0:0::1]")));
        assert!(!pattern("127.0.0.1").matches(&host("[::ffff:127.0.0.1]")));
    }

    #[test]
    fn labels_that_a_wildcard_left_open() {
        let below = host("a.b.partner.example");
        assert_eq!(pattern("*.partner.example").wildcard_labels(&below), Some("a.b"));
        assert_eq!(pattern("any").wildcard_labels(&below), Some("a.b.partner.example"));
        assert_eq!(pattern("any").wildcard_labels(&host("192.0.2.1")), None);
        assert_eq!(pattern("a.b.partner.example").wildcard_labels(&below), None);
        assert_eq!(pattern("*.other.example").wildcard_labels(&below), None);
    }

    #[test]
    fn overlaps() {
        let check = |one: &str, two: &str, expected| {
            assert_eq!(pattern(one).overlaps(&pattern(two)), expected, "{one} {two}");
            assert_eq!(pattern(two).overlaps(&pattern(one)), expected, "{two} {one}");
        };
        check("any", "192.0.2.1", true);
        check("a.example", "a.example", true);
        check("a.example", "b.example", false);
        check("*.example", "a.example", true);
        check("*.a.example", "a.example", false);
        check("*.example", "*.a.example", true);
        check("*.a.example", "*.a.example", true);
        check("*.a.example", "*.b.example", false);
        check("*.a.example", "*.ba.example", false);
        check("*.example", "192.0.2.1", false);
    }

    #[test]
    fn faults_help() {
        let says = |text: &str| HostPattern::parse(text).expect_err(text).to_string();
        assert!(says("*").contains("or `any` for every host"));
        assert!(says("a*.example").contains("write `*.name`"));
        assert!(says("*.*.example").contains("write `*.name`"));
        assert!(says("*.").contains("empty"));
        assert!(says("*.192.0.2.1").contains("wildcard before an address"));
        assert!(says("*.[::1]").contains("wildcard before an address"));
        assert!(says("*.bücher.example").contains("xn--bcher-kva.example"));
        assert!(says("vi\u{455}ion.example").contains("write `xn--"));
    }
}

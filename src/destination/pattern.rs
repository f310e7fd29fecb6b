//! The hosts that a register may declare: one host, every name below a suffix, or any.

use std::fmt;

use super::host::{Host, HostFault, HostName};
use super::shown;

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

//! Where an exchange wants to go: hosts, addresses, ports and request paths in one canonical form each.
//!
//! Everything here is parsed once from bytes that an attacker may have written, and is then a value that cannot be
//! wrong. What is not understood is refused; nothing is decoded, folded or repaired on the way, because whatever is
//! repaired here might be repaired differently by the resolver or the recipient. This room resolves nothing and
//! decides nothing: names stay names, and whether an address may be dialled is asked of [`AddressRules`].
//!
//! [`host`] has names and literals, [`authority`] what stands in CONNECT and Host, [`pattern`] what a register may
//! declare, [`class`] the classes of addresses, [`embedded`] IPv4 hidden in IPv6, [`address`] what may be dialled,
//! [`path`] request paths, [`confusable`] names that look alike.

use std::fmt;

pub mod address;
pub mod authority;
pub mod class;
pub mod confusable;
pub mod embedded;
pub mod fault;
pub mod host;
pub mod path;
pub mod pattern;

pub use address::{AddressRules, neighbourhood};
pub use authority::Authority;
pub use class::{AddressClass, classify};
pub use fault::HostFault;
pub use host::{Host, HostName};
pub use path::{PathFault, RequestPath};
pub use pattern::HostPattern;

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP in the clear; only where a register says so.
    Http,
    /// HTTP over TLS.
    Https,
    /// Any other protocol, relayed unread.
    Tcp,
}

impl Scheme {
    /// The word in registers, records and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
        }
    }

    /// The port of a URL that names none; `tcp` has no such port.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A scheme, host and port: what a declaration is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The host in canonical form.
    pub host: Host,
    /// The port, never 0 when it comes from an [`Authority`].
    pub port: u16,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// The beginning of a text for an error message, so that a hostile one cannot fill a log.
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_shown_as_a_url() {
        let shown = |host: &str, port| {
            Destination { scheme: Scheme::Https, host: Host::parse(host).expect("a good host"), port }.to_string()
        };
        assert_eq!(shown("VISION.partner.example.", 443), "https://vision.partner.example:443");
        assert_eq!(shown("[2001:DB8::1]", 8443), "https://[2001:db8::1]:8443");
        assert_eq!(shown("192.0.2.1", 80), "https://192.0.2.1:80");
    }

    #[test]
    fn a_long_text_is_cut_and_control_characters_are_escaped() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(200)), format!("{}…", "x".repeat(80)));
    }
}

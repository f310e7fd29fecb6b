//! A host with an optional port, as it stands in CONNECT, in Host and in absolute-form targets.
//!
//! Parsed from the text itself: `http::uri::Authority` takes `host:65536` for a host without a port and `:0443` for
//! 443, and drops what stands before an `@`.

use std::fmt;

use super::{Host, HostFault, shown};

/// A host and the port written behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host in canonical form.
    pub host: Host,
    /// The port, 1 to 65535; `None` where none is written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// User information, an empty port, a sign, a leading zero and a second colon are faults; nothing is stripped.
    pub fn parse(text: &str) -> Result<Authority, HostFault> {
        if text.contains('@') {
            return Err(HostFault::UserInfo(shown(text)));
        }
        let (host, port) = split(text)?;
        let port = port.map(|port| parse_port(port, text)).transpose()?;
        Ok(Authority { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// Parts host and port at the colon that is not inside brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), HostFault> {
    if !text.starts_with('[') {
        return match text.split_once(':') {
            None => Ok((text, None)),
            Some((_, port)) if port.contains(':') => match Host::parse(text) {
                // Only an address without its brackets has more than one colon and still a meaning.
                Err(fault @ HostFault::Unbracketed(_)) => Err(fault),
                _ => Err(HostFault::BadPort(shown(port))),
            },
            Some((host, port)) => Ok((host, Some(port))),
        };
    }
    let end = text.find(']').ok_or_else(|| HostFault::NotIpv6(shown(text)))?;
    let (host, rest) = text.split_at(end + 1);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(HostFault::NotIpv6(shown(text))),
    }
}

/// Reads a decimal port without sign and leading zero; `whole` is what an error shows of an empty one.
fn parse_port(port: &str, whole: &str) -> Result<u16, HostFault> {
    if port.is_empty() {
        return Err(HostFault::EmptyPort(shown(whole)));
    }
    let decimal = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    decimal.then(|| port.parse().ok()).flatten().ok_or_else(|| HostFault::BadPort(shown(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str, host: &str, port: Option<u16>) {
        let authority = Authority::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!((authority.host.to_string().as_str(), authority.port), (host, port), "{text}");
        assert_eq!(Authority::parse(&authority.to_string()), Ok(authority), "{text}");
    }

    fn refused(text: &str, says: &str) {
        let fault = Authority::parse(text).expect_err(text);
        assert!(fault.to_string().contains(says), "{text}: {fault}");
    }

    #[test]
    fn hosts_with_and_without_port() {
        accepted("VISION.Partner.Example:443", "vision.partner.example", Some(443));
        accepted("vision.partner.example.:8443", "vision.partner.example", Some(8443));
        accepted("vision.partner.example", "vision.partner.example", None);
        accepted("[2001:DB8::1]:443", "[2001:db8::1]", Some(443));
        accepted("[::1]", "[::1]", None);
        accepted("192.0.2.1:1", "192.0.2.1", Some(1));
        accepted("a:65535", "a", Some(65535));
    }

    #[test]
    fn ports_that_are_none() {
        refused("vision.partner.example:", "ends with a colon");
        refused("[::1]:", "ends with a colon");
        for port in ["0", "65536", "4294967739", "0443", "+443", "-443", "443x", "４４３", " 443", "https", "443:80"]
        {
            refused(&format!("vision.partner.example:{port}"), "is not a number from 1 to 65535");
            refused(&format!("[::1]:{port}"), "is not a number from 1 to 65535");
        }
    }

    #[test]
    fn hosts_that_are_none() {
        refused(":443", "the host is empty");
        refused("evil.example@vision.partner.example:443", "user information");
        refused("a@b@evil.example:443", "user information");
        refused("a:b@evil.example:443", "user information");
        refused("vision.partner.example/x:443", "has the character '/'");
        refused("[vision.partner.example]:443", "no ipv6 address");
        refused("[[::1]]:443", "no ipv6 address");
        refused("[::1:443", "no ipv6 address");
        refused("[::1]443", "no ipv6 address");
        refused("::1", "write `[::1]`");
        assert!(Authority::parse("2130706433:443").expect_err("numeric").is_numeric());
    }
}

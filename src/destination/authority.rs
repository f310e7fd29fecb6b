//! A host with an optional port, as it stands in CONNECT, in Host and in absolute-form targets.
//!
//! Parsed from the text itself: `http::uri::Authority` takes `host:65536` for a host without a port and `:0443` for
//! 443, and drops what stands before an `@`.

use std::fmt;

use super::host::{Host, HostFault};
use super::shown;

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

//! What the proxy hands out to whoever asks its listener for it: the authority to trust, the list of revoked leaves, the
//! proxy's own address as a script, what refusals mean. Clients need these before they can use the proxy, and the admin listener is often out
//! of their reach; it gives the same (`admin/`).
//!
//! Asking for one is no exchange: nothing leaves, nobody is resolved or dialled, so there is no record. Only these paths
//! are answered, and only where the request is to the listener itself; all else goes down the corridor, where a request
//! for ourselves is refused.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::Body;

use super::Corridor;
use super::page;
use super::reply::{self, ReplyBody};
use super::request::Door;
use crate::destination::{Authority, Host};
use crate::policy::EntryPoint;
use crate::tls;

/// Something that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handout {
    /// `/ca.pem`: the certificates that clients must trust.
    Authority,
    /// `/ca.crl`: the authority's list of revoked leaves.
    RevocationList,
    /// `/proxy.pac`: which requests go to the proxy, and where it is.
    AutoConfiguration,
    /// `/reasons`: every reason for a refusal, with what can be done about it.
    Reasons,
}

impl Handout {
    /// Every one.
    pub const ALL: [Handout; 4] =
        [Handout::Authority, Handout::RevocationList, Handout::AutoConfiguration, Handout::Reasons];

    /// The path that it is found at.
    pub fn path(self) -> &'static str {
        match self {
            Handout::Authority => "/ca.pem",
            Handout::RevocationList => "/ca.crl",
            Handout::AutoConfiguration => "/proxy.pac",
            Handout::Reasons => "/reasons",
        }
    }

    /// What is found at a path.
    pub fn at(path: &str) -> Option<Handout> {
        Handout::ALL.into_iter().find(|handout| handout.path() == path)
    }

    /// Its media type: the one that makes browsers offer to install an authority, RFC 5280's, and Netscape's.
    pub fn content_type(self) -> &'static str {
        match self {
            Handout::Authority => "application/x-x509-ca-cert",
            Handout::RevocationList => "application/pkix-crl",
            Handout::AutoConfiguration => "application/x-ns-proxy-autoconfig",
            Handout::Reasons => "text/html; charset=utf-8",
        }
    }

    /// What is handed out to a client that reaches the proxy so; `None` where there is no such thing, because an imported
    /// authority may not sign lists.
    pub fn body(self, authority: &tls::Authority, proxy: &Reached) -> Option<Bytes> {
        match self {
            Handout::Authority => Some(Bytes::from(authority.certificate_pem().to_owned())),
            Handout::RevocationList => authority.revocation_list().map(Bytes::from).ok(),
            Handout::AutoConfiguration => Some(Bytes::from(auto_configuration(proxy))),
            Handout::Reasons => Some(Bytes::from(page::of_reasons())),
        }
    }
}

/// A listener as a client reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Under this host and port.
    pub at: Authority,
    /// Over TLS.
    pub tls: bool,
}

/// Answers a request to the listener itself for something that is handed out; `None` for all other requests.
pub fn answer(corridor: &Corridor, door: &Door, parts: &Parts, body: &impl Body) -> Option<Response<ReplyBody>> {
    let reading = [Method::GET, Method::HEAD].contains(&parts.method);
    if !reading || door.outer.is_some() || door.redirected.is_some() || !body.is_end_stream() {
        return None;
    }
    let handout = Handout::at(parts.uri.path())?;
    let reached = reached_at(corridor, door, parts)?;
    let mut response = Response::new(reply::whole(handout.body(&corridor.authority, &reached)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(handout.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(policy) = HeaderValue::from_str(&page::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Some(response)
}

/// The address under which the client means this listener: what stands in `Host`, which a request in absolute form must
/// repeat. In absolute form only an address of ours, or the place that leaves name for the list, is ourselves.
fn reached_at(corridor: &Corridor, door: &Door, parts: &Parts) -> Option<Reached> {
    let tls = door.entry == EntryPoint::HttpsProxy;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let named = Authority::parse(host.to_str().ok()?).ok()?;
    let Some(absolute) = parts.uri.authority() else {
        return Some(Reached { at: Authority { port: named.port.or(Some(door.proxy.port())), ..named }, tls });
    };
    let absolute = Authority::parse(absolute.as_str()).ok()?;
    let port = absolute.port.unwrap_or(80);
    let is_address = match &absolute.host {
        Host::Address(ip) => corridor.addresses.own.contains(&SocketAddr::new(*ip, port)),
        Host::Name(_) => false,
    };
    let is_published = corridor.authority.crl_place().is_some_and(|place| place == absolute);
    let is_own = parts.uri.scheme_str() == Some("http") && (is_address || is_published);
    (is_own && named == absolute).then_some(Reached { at: Authority { port: Some(port), ..absolute }, tls })
}

/// A script that sends everything to the proxy, but for names without a dot, this machine, and the proxy itself. It never
/// falls back to a way around the proxy.
fn auto_configuration(proxy: &Reached) -> String {
    let (at, word) = (&proxy.at, if proxy.tls { "HTTPS" } else { "PROXY" });
    let host = at.host.to_string().to_ascii_lowercase();
    format!(
        "// What leaves goes through Tasrih. Names without a dot are on the inside; nothing else goes around it.\n\
         function FindProxyForURL(url, host) {{\n  \
           var name = host.toLowerCase().replace(/^\\[|\\]$/g, \"\");\n  \
           if (/^[a-z][a-z0-9-]*$/.test(name)) return \"DIRECT\";\n  \
           if (/^127(\\.[0-9]{{1,3}}){{3}}$/.test(name) || name === \"::1\") return \"DIRECT\";\n  \
           if (name === \"{}\") return \"DIRECT\";\n  \
           return \"{word} {at}\";\n\
         }}\n",
        host.trim_start_matches('[').trim_end_matches(']'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(at: &str, tls: bool) -> String {
        auto_configuration(&Reached { at: Authority::parse(at).expect("an authority"), tls })
    }

    #[test]
    fn a_script_names_the_proxy_and_never_a_way_around_it() {
        let plain = script("Proxy.visa-centre.example:3128", false);
        let returns: Vec<&str> =
            plain.lines().filter_map(|line| line.split_once("return ")).map(|line| line.1).collect();
        assert_eq!(returns, ["\"DIRECT\";", "\"DIRECT\";", "\"DIRECT\";", "\"PROXY proxy.visa-centre.example:3128\";"]);
        let six = script("[2001:db8::7]:3128", true);
        assert!(six.contains("name === \"2001:db8::7\"") && six.contains("\"HTTPS [2001:db8::7]:3128\""), "{six}");
    }
}

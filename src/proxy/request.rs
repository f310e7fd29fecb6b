//! The first stage of an exchange: a request head becomes one value, the same for every entry point.
//!
//! hyper has parsed the bytes; here is decided what they may mean. The destination is taken from one place only and
//! everything else that names one (Host, the connection around it) must agree. What is judged later is what will be
//! sent: the fields that end here are gone from [`Asked`] already.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri, Version, header, request::Parts};
use hyper::body::Body;
use tokio::sync::OwnedSemaphorePermit;

use super::error::Malformed;
use super::headers;
use super::proofs::Proofs;
use super::sources::Presence;
use crate::audit::DigestKey;
use crate::destination::{Authority, Destination, Host, RequestPath, Scheme};
use crate::inspect;
use crate::metrics::Open;
use crate::policy::{DeclaredBody, EntryPoint, Request};

/// What is known of the way in before a request is read: one for each connection, or for each intercepted one.
#[derive(Clone, Debug)]
pub struct Door {
    /// How the traffic comes in.
    pub entry: EntryPoint,
    /// Who sends: the other end of the outermost connection, or whose connection a balancer says that it hands on.
    pub peer: SocketAddr,
    /// The balancer that said so.
    pub balancer: Option<SocketAddr>,
    /// Our own end of it.
    pub proxy: SocketAddr,
    /// What it has proved beside its address.
    pub proofs: Proofs,
    /// Names the connection in records.
    pub connection: String,
    /// Inside a connection that was asked for: where that one goes.
    pub outer: Option<Destination>,
    /// The address that the client dialled, where the network led it here instead.
    pub redirected: Option<SocketAddr>,
    /// What the client's connection takes up, for as long as anything goes on over it.
    pub place: Arc<Place>,
}

/// A place among the open connections, counted while it is held.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _presence: Presence,
    _open: Open,
}

impl Place {
    /// A place that was given.
    pub fn new(permit: OwnedSemaphorePermit, presence: Presence, open: Open) -> Arc<Place> {
        Arc::new(Place { _permit: permit, _presence: presence, _open: open })
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// A request as asked for, with everything that ends at the proxy taken off.
#[derive(Debug)]
pub struct Asked {
    /// Where it is to go.
    pub destination: Destination,
    /// What the decision needs of it.
    pub request: Request,
    /// The fields that will leave; Host, framing, Via and the stamp are added when it is sent.
    pub headers: HeaderMap,
    /// As received and as it is sent.
    pub method: Method,
    /// Path and query in the form that is matched and sent.
    pub target: Uri,
    /// As received.
    pub version: Version,
    /// The client can read trailers of the answer, over HTTP/2.
    pub reads_trailers: bool,
    /// Content codings as one text.
    pub content_encoding: Option<String>,
}

/// Reads a request that is not a CONNECT.
pub fn read(
    door: &Door,
    parts: &Parts,
    body: &impl Body,
    pseudonym: &str,
    digests: &DigestKey,
) -> Result<Asked, Malformed> {
    check_method(&parts.method)?;
    headers::check_request(&parts.headers)?;
    let destination = destination(door, parts)?;
    check_host(parts, &destination)?;
    if headers::is_loop(&parts.headers, pseudonym) {
        return Err(Malformed::Loop);
    }
    let path = RequestPath::parse(path_of(parts)?)?;
    let query = parts.uri.query();
    let kept = headers::of_request(&parts.headers);
    let request = Request {
        method: parts.method.as_str().to_owned(),
        content_type: text(&kept, &header::CONTENT_TYPE)?,
        body: declared_body(body),
        target: inspect::target(query),
        path_digest: digests.digest(path.as_str().as_bytes()),
        path,
    };
    let target = match query {
        Some(query) => format!("{}?{query}", request.path.as_str()).parse(),
        None => request.path.as_str().parse(),
    };
    // The canonical form may be longer than what came: then there is nothing that could be sent as it was judged.
    let target = target.map_err(|_| Malformed::Target)?;
    let content_encoding = text(&kept, &header::CONTENT_ENCODING)?;
    let (method, version) = (parts.method.clone(), parts.version);
    let reads_trailers = version == Version::HTTP_2 && headers::reads_trailers(&parts.headers);
    Ok(Asked { destination, request, headers: kept, method, target, version, reads_trailers, content_encoding })
}

/// Reads the target of a CONNECT: `host:port`, no body (RFC 9110 §9.3.6).
pub fn read_connect(parts: &Parts, body: &impl Body, pseudonym: &str) -> Result<(Host, u16), Malformed> {
    headers::check_request(&parts.headers)?;
    let authority = parts.uri.authority().ok_or(Malformed::ConnectTarget)?;
    if parts.uri.scheme().is_some() || parts.uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return Err(Malformed::ConnectTarget);
    }
    let Authority { host, port: Some(port) } = Authority::parse(authority.as_str())? else {
        return Err(Malformed::ConnectTarget);
    };
    if !body.is_end_stream() || parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Malformed::ConnectBody);
    }
    let destination = Destination { scheme: Scheme::Https, host, port };
    check_host(parts, &destination)?;
    match headers::is_loop(&parts.headers, pseudonym) {
        true => Err(Malformed::Loop),
        false => Ok((destination.host, destination.port)),
    }
}

/// Methods are case-sensitive; a `post` that a recipient takes for a POST would be judged as something else.
fn check_method(method: &Method) -> Result<(), Malformed> {
    let fits = method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if fits { Ok(()) } else { Err(Malformed::Method) }
}

/// Where the request is to go: its absolute form, or, inside a connection that was asked for, where that one goes; on one
/// that was led here, the name that it asks for at the port that was dialled.
fn destination(door: &Door, parts: &Parts) -> Result<Destination, Malformed> {
    match (&door.outer, parts.uri.authority()) {
        (Some(outer), None) => Ok(outer.clone()),
        (Some(outer), Some(_)) => match absolute(parts)? {
            same if same == *outer => Ok(same),
            _ => Err(Malformed::ConnectionDisagrees),
        },
        (None, named) if let Some(dialled) = door.redirected => {
            let named = if named.is_some() { absolute(parts)? } else { by_host(parts)? };
            let is_there = named.host.address().is_none_or(|address| address == dialled.ip());
            match is_there && named.port == dialled.port() && named.scheme == Scheme::Http {
                true => Ok(named),
                false => Err(Malformed::ConnectionDisagrees),
            }
        }
        (None, Some(_)) => absolute(parts),
        (None, None) => Err(Malformed::NotAbsolute),
    }
}

fn absolute(parts: &Parts) -> Result<Destination, Malformed> {
    let scheme = match parts.uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        Some(_) => return Err(Malformed::Scheme),
        None => return Err(Malformed::NotAbsolute),
    };
    let authority = parts.uri.authority().ok_or(Malformed::NotAbsolute)?;
    let Authority { host, port } = Authority::parse(authority.as_str())?;
    Ok(Destination { scheme, host, port: port.or(scheme.default_port()).unwrap_or_default() })
}

/// A request in origin form says in Host where it is to go.
fn by_host(parts: &Parts) -> Result<Destination, Malformed> {
    let value = parts.headers.get(header::HOST).ok_or(Malformed::NoHost)?;
    let value = value.to_str().map_err(|_| Malformed::NotAscii(header::HOST))?;
    let Authority { host, port } = Authority::parse(value)?;
    let scheme = Scheme::Http;
    Ok(Destination { scheme, host, port: port.or(scheme.default_port()).unwrap_or_default() })
}

/// Host must be there once (HTTP/1.0 may leave it out, HTTP/2 where `:authority` stands for it) and name the destination
/// (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn check_host(parts: &Parts, destination: &Destination) -> Result<(), Malformed> {
    let Some(value) = parts.headers.get(header::HOST) else {
        let is_dispensable = match parts.version {
            Version::HTTP_10 => true,
            Version::HTTP_2 => parts.uri.authority().is_some(),
            _ => false,
        };
        return if is_dispensable { Ok(()) } else { Err(Malformed::NoHost) };
    };
    let value = value.to_str().map_err(|_| Malformed::NotAscii(header::HOST))?;
    let Authority { host, port } = Authority::parse(value)?;
    // A CONNECT to `host:443` may say `Host: host`: the default port of the scheme stands for itself.
    let port = port.unwrap_or_else(|| match parts.method {
        Method::CONNECT => destination.port,
        _ => destination.scheme.default_port().unwrap_or_default(),
    });
    match host == destination.host && port == destination.port {
        true => Ok(()),
        false => Err(Malformed::HostDisagrees),
    }
}

fn path_of(parts: &Parts) -> Result<&str, Malformed> {
    match parts.uri.path() {
        "*" => Err(Malformed::Asterisk),
        "" => Ok("/"),
        path => Ok(path),
    }
}

fn declared_body(body: &impl Body) -> DeclaredBody {
    match body.size_hint().exact() {
        Some(0) => DeclaredBody::None,
        Some(length) => DeclaredBody::Length(length),
        None => DeclaredBody::Unknown,
    }
}

/// A field as one text; several lines are joined as RFC 9110 §5.3 says.
fn text(headers: &HeaderMap, name: &http::HeaderName) -> Result<Option<String>, Malformed> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| Malformed::NotAscii(name.clone()))?;
        joined = Some(joined.map_or_else(|| value.to_owned(), |before| format!("{before}, {value}")));
    }
    Ok(joined)
}

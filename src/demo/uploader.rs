//! A client of the proxy, as an internal system is one: plain requests in absolute form, `https` through CONNECT.
//!
//! The demo's camera uploader is this; the tests send with it, from addresses of their choice.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use crate::destination::Authority;
use crate::tls::{ClientStream, Trust};

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status; of the CONNECT where that was refused.
    pub status: u16,
    /// Fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// A parameter of `Proxy-Status`: `reason`, `record` …; `None` where the proxy said nothing.
    pub fn proxy_status(&self, parameter: &str) -> Option<String> {
        let value = self.headers.get("proxy-status")?.to_str().ok()?;
        let mut parameters = value.split(';').filter_map(|part| part.trim().split_once('='));
        parameters.find(|(name, _)| *name == parameter).map(|(_, value)| value.trim_matches('"').to_owned())
    }
}

/// Why nothing came back.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    #[error("the proxy cannot be reached: {0}")]
    Socket(#[from] io::Error),
    #[error("the exchange with the proxy broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("no TLS through the proxy: {0}")]
    Tls(#[from] crate::tls::TlsFault),
    #[error("not a target that can be asked for: {0}")]
    Target(String),
}

/// TLS inside a CONNECT.
pub type Inside = ClientStream<TokioIo<Upgraded>>;

/// A client that sends through a proxy.
#[derive(Clone)]
pub struct Uploader {
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// Address to send from.
    pub from: IpAddr,
    /// What it trusts inside a CONNECT.
    pub trust: Trust,
}

impl Uploader {
    /// Sends one request over a connection of its own. The target is an absolute `http` or `https` URI.
    ///
    /// # Errors
    /// [`SendFault`]; a refusal is a reply, not an error.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendFault> {
        let (mut parts, body) = request.into_parts();
        let body = Full::new(body);
        if parts.uri.scheme_str() != Some("https") {
            let host = authority(&parts.uri)?.to_owned();
            set_host(&mut parts.headers, &host)?;
            return exchange(self.connect().await?, Request::from_parts(parts, body)).await;
        }
        let stream = match self.tunnel(&parts.uri).await? {
            Ok(stream) => stream,
            Err(refused) => return Ok(refused),
        };
        let host = authority(&parts.uri)?.to_owned();
        set_host(&mut parts.headers, &host)?;
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        parts.uri = path.parse().map_err(|_| SendFault::Target(path))?;
        exchange(stream, Request::from_parts(parts, body)).await
    }

    /// A TCP connection to the proxy, from the address of this client.
    ///
    /// # Errors
    /// The proxy cannot be reached from there.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // The end of a handshake and the request behind it are two small writes: Nagle would hold the second one back.
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        socket.connect(self.proxy).await
    }

    /// A CONNECT and, if it is let in, TLS inside: the stream, or the refusal.
    ///
    /// # Errors
    /// [`SendFault`].
    pub async fn tunnel(&self, target: &Uri) -> Result<Result<Inside, Reply>, SendFault> {
        let written = authority(target)?;
        let parsed = Authority::parse(written).map_err(|fault| SendFault::Target(fault.to_string()))?;
        let target = format!("{}:{}", parsed.host, parsed.port.unwrap_or(443));
        let upgraded = match self.open(&target).await? {
            Ok(upgraded) => upgraded,
            Err(refused) => return Ok(Err(refused)),
        };
        let (stream, _) = self.trust.connect(&parsed.host, TokioIo::new(upgraded)).await?;
        Ok(Ok(stream))
    }

    /// A CONNECT to `host:port`: the raw stream inside, or the refusal.
    ///
    /// # Errors
    /// [`SendFault`].
    pub async fn open(&self, target: &str) -> Result<Result<Upgraded, Reply>, SendFault> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection.with_upgrades());
        let asked = Request::connect(target).header("host", target).body(Empty::<Bytes>::new());
        let asked = asked.map_err(|_| SendFault::Target(target.to_owned()))?;
        let mut response = sender.send_request(asked).await?;
        if response.status() != 200 {
            return Ok(Err(reply(response).await?));
        }
        Ok(Ok(hyper::upgrade::on(&mut response).await?))
    }
}

fn authority(uri: &Uri) -> Result<&str, SendFault> {
    uri.authority().map(http::uri::Authority::as_str).ok_or_else(|| SendFault::Target(uri.to_string()))
}

fn set_host(headers: &mut HeaderMap, host: &str) -> Result<(), SendFault> {
    if !headers.contains_key("host") {
        headers.insert("host", host.parse().map_err(|_| SendFault::Target(host.to_owned()))?);
    }
    Ok(())
}

/// Sends one request over `stream` and reads the whole reply.
async fn exchange<S, B>(stream: S, request: Request<B>) -> Result<Reply, SendFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answered = reply(sender.send_request(request).await?).await;
    driver.abort();
    answered
}

async fn reply(response: Response<Incoming>) -> Result<Reply, SendFault> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}

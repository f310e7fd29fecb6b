//! HTTP/2 inside a CONNECT: as a client library speaks it, and frame by frame.

use std::net::IpAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tasrih::demo::uploader::Inside;
use tasrih::destination::Host;
use tasrih::tls::HttpVersion;
use tasrih::tls::trust::spoken;
use tokio::task::JoinHandle;

use super::House;

/// A connection of HTTP/2 through the proxy.
pub struct Streams {
    sender: SendRequest<Bytes>,
    /// How the connection ended.
    pub driver: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// A parameter of `Proxy-Status`.
    pub fn proxy_status(&self, parameter: &str) -> Option<String> {
        let value = self.headers.get("proxy-status")?.to_str().ok()?;
        let mut parts = value.split(';').filter_map(|part| part.trim().split_once('='));
        parts.find(|(name, _)| *name == parameter).map(|(_, value)| value.trim_matches('"').to_owned())
    }
}

/// TLS inside a CONNECT, with HTTP/2 agreed on.
pub async fn tunnel(house: &House, from: IpAddr, host: &str) -> Inside {
    let port = house.port(host);
    let upgraded = house.client(from).open(&format!("{host}:{port}")).await.expect("an answer").expect("let in");
    let host = Host::parse(host).expect("a host");
    let shaken = house.trust.connect_up_to(HttpVersion::V2, &host, TokioIo::new(upgraded)).await;
    let (stream, _) = shaken.expect("a handshake");
    assert_eq!(spoken(&stream), HttpVersion::V2);
    stream
}

impl Streams {
    pub async fn open(house: &House, from: IpAddr, host: &str) -> Streams {
        let (sender, connection) = h2::client::handshake(tunnel(house, from, host).await).await.expect("HTTP/2");
        Streams { sender, driver: tokio::spawn(connection) }
    }

    /// Begins a request.
    pub async fn begin(&self, head: Request<()>, is_whole: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut sender = self.sender.clone().ready().await.expect("open");
        sender.send_request(head, is_whole).expect("a request")
    }

    /// Begins a request whose body is still to come; `None` where the connection ended.
    pub async fn try_begin(&self, request: Request<Bytes>) -> Option<(ResponseFuture, SendStream<Bytes>)> {
        let mut sender = self.sender.clone().ready().await.ok()?;
        sender.send_request(request.map(|_| ()), false).ok()
    }

    /// Sends a request with its whole body.
    pub async fn try_send(&self, request: Request<Bytes>) -> Result<Answer, h2::Error> {
        let (mut head, body) = request.into_parts();
        if !body.is_empty() {
            head.headers.entry("content-length").or_insert(body.len().into());
        }
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut stream) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
        let sending = async {
            // An early answer ends the stream under the body.
            let _ = upload(&mut stream, body, true).await;
        };
        let (answer, ()) = tokio::join!(whole(answer), sending);
        answer
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        self.try_send(request).await.expect("an answer")
    }
}

/// Sends bytes as there is room for them.
pub async fn upload(stream: &mut SendStream<Bytes>, mut body: Bytes, is_last: bool) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        if stream.capacity() == 0 {
            std::future::poll_fn(|context| stream.poll_capacity(context))
                .await
                .unwrap_or(Err(Reason::CANCEL.into()))?;
            continue;
        }
        let piece = body.split_to(stream.capacity().min(body.len()));
        stream.send_data(piece, is_last && body.is_empty())?;
    }
    Ok(())
}

/// An answer, read to its end.
pub async fn whole(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes.into(), trailers })
}

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS with these fields, in literals that no table keeps.
pub fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags, stream, &block(fields))
}

/// A block of fields, as HPACK writes literals without indexing.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            assert!(text.len() < 127, "a longer length takes more bytes");
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The preface and settings of a client.
pub fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

//! A ClientHello read off a stream without losing its bytes, so that a tunnel can be judged before it is relayed and an
//! intercepted connection before it is answered.
//!
//! Time is bounded by the caller (the reading is cancel-safe: what was read stays in its buffer); size is bounded here by
//! [`wire::MAX_HELLO`] and its records' heads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::wire;
use crate::destination::Host;
use crate::policy::TlsVersion;

/// Most bytes read while waiting for a ClientHello: the message, and heads of records that may be small.
const MAX_READ: usize = 2 * wire::MAX_HELLO;

/// What a client's first message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHelloFacts {
    /// The server name asked for, in canonical form.
    pub sni: Option<Host>,
    /// Application protocols offered, in the client's order; bytes that are no text are shown as such.
    pub alpn: Vec<String>,
    /// Newest TLS version offered.
    pub newest: TlsVersion,
    /// An encrypted ClientHello stands beside the name: the recipient may understand another one.
    pub encrypted: bool,
    /// Bytes of the stream that it takes; what was read behind it is something else (early data).
    pub length: usize,
}

/// Why the first bytes of a connection are no ClientHello.
#[derive(Debug, thiserror::Error)]
pub enum HelloFault {
    /// Some other protocol.
    #[error("the first bytes are not TLS")]
    NotTls,
    /// TLS, but not as RFC 8446 writes it.
    #[error("malformed tls handshake: {0}")]
    Malformed(&'static str),
    /// The server name is no host that could be declared.
    #[error("the server name `{0}` is no host name")]
    Name(String),
    /// More than any client needs.
    #[error("the tls handshake's first message is longer than {} bytes", wire::MAX_HELLO)]
    TooLong,
    /// The client left before the message was whole.
    #[error("the connection was closed before a ClientHello was whole")]
    Closed,
    /// The stream failed.
    #[error("the connection failed before a ClientHello was whole")]
    Io(#[from] io::Error),
}

/// Reads until a ClientHello is whole. All bytes taken off the stream are appended to `seen`, also when this fails or is
/// dropped: give them to [`Replayed::new`] or to the other side of the tunnel.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, seen: &mut Vec<u8>) -> Result<ClientHelloFacts, HelloFault> {
    loop {
        if let Some((message, length)) = wire::client_message(seen)? {
            return facts(&wire::client_hello(&message)?, length);
        }
        if seen.len() >= MAX_READ {
            return Err(HelloFault::TooLong);
        }
        if (&mut *stream).take((MAX_READ - seen.len()) as u64).read_buf(seen).await? == 0 {
            return Err(HelloFault::Closed);
        }
    }
}

fn facts(hello: &wire::ClientHello<'_>, length: usize) -> Result<ClientHelloFacts, HelloFault> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sni = match hello.server_name {
        Some(bytes) => {
            let name = std::str::from_utf8(bytes).ok().and_then(|name| Host::parse(name).ok());
            Some(name.ok_or_else(|| HelloFault::Name(text(bytes).escape_debug().to_string()))?)
        }
        None => None,
    };
    let alpn = hello.alpn.iter().map(|protocol| text(protocol)).collect();
    Ok(ClientHelloFacts { sni, alpn, newest: hello.newest, encrypted: hello.encrypted, length })
}

/// A stream whose first bytes were read before and are read again.
#[derive(Debug)]
pub struct Replayed<S> {
    seen: Vec<u8>,
    /// How many of `seen` were read again.
    given: usize,
    inner: S,
}

impl<S> Replayed<S> {
    /// Puts `seen` before what `inner` still has.
    pub fn new(seen: Vec<u8>, inner: S) -> Replayed<S> {
        Replayed { seen, given: 0, inner }
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = &this.seen[this.given..];
        if left.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let count = left.len().min(buf.remaining());
        buf.put_slice(&left[..count]);
        this.given += count;
        if this.given == this.seen.len() {
            // An intercepted connection lives long; its first bytes need not.
            (this.seen, this.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }
}

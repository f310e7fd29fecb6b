//! Raw bytes towards the proxy: what no well-behaved client library would send, and what came back, byte for byte.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A stream on which bytes are written and replies are read.
pub struct Raw<S> {
    stream: S,
    read: Vec<u8>,
}

/// A reply as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub struct RawReply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body ended as its framing says.
    pub is_whole: bool,
}

impl RawReply {
    /// All values of a field, joined.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// A parameter of `Proxy-Status`.
    pub fn proxy_status(&self, parameter: &str) -> Option<String> {
        let value = self.field("proxy-status")?;
        let mut parts = value.split(';').filter_map(|part| part.trim().split_once('='));
        parts.find(|(name, _)| *name == parameter).map(|(_, value)| value.trim_matches('"').to_owned())
    }
}

/// A TCP connection from an address of our choice.
pub async fn dial(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(SocketAddr::new(from, 0)).expect("a loopback address");
    socket.connect(to).await.expect("a connection")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn new(stream: S) -> Raw<S> {
        Raw { stream, read: Vec::new() }
    }

    /// Writes bytes; a peer that does not take them any more is seen by what it answers.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// The stream beneath, and what was read from it and not taken.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.read)
    }

    /// Ends the writing half.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads more; false at the end. A reset counts as an end.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("the peer says something, or closes"), Ok(count) if count > 0)
    }

    /// Reads one reply, an interim one (1xx) too; `None` where the stream ended instead.
    pub async fn reply(&mut self) -> Option<RawReply> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half a head: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("an ASCII head");
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line").parse().expect("a status");
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut reply = RawReply { status, fields, ..RawReply::default() };
        self.body(&mut reply).await;
        Some(reply)
    }

    async fn body(&mut self, reply: &mut RawReply) {
        let length = reply.field("content-length").map(|length| length.parse::<usize>().expect("a length"));
        if reply.status < 200 || reply.status == 204 || reply.status == 304 {
            reply.is_whole = true;
        } else if reply.field("transfer-encoding").is_some() {
            self.chunks(reply).await;
        } else if let Some(length) = length {
            while self.read.len() < length && self.more().await {}
            reply.is_whole = self.read.len() >= length;
            reply.body = self.read.drain(..length.min(self.read.len())).collect();
        } else if reply.status != 200 || reply.field("connection").is_some() {
            while self.more().await {}
            reply.body = std::mem::take(&mut self.read);
            reply.is_whole = true;
        } else {
            // The 200 of a CONNECT: what follows is not its body.
            reply.is_whole = true;
        }
    }

    async fn chunks(&mut self, reply: &mut RawReply) {
        loop {
            let line = loop {
                if let Some(end) = find(&self.read, b"\r\n") {
                    break end;
                }
                if !self.more().await {
                    return;
                }
            };
            let text = String::from_utf8(self.read.drain(..line + 2).collect()).expect("a chunk size");
            let size = usize::from_str_radix(text.trim(), 16).expect("a chunk size");
            while self.read.len() < size + 2 {
                if !self.more().await {
                    reply.body.append(&mut self.read);
                    return;
                }
            }
            reply.body.extend(self.read.drain(..size));
            self.read.drain(..2);
            if size == 0 {
                reply.is_whole = true;
                return;
            }
        }
    }

    /// The next bytes, this many of them, or fewer where the stream ends.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count && self.more().await {}
        self.read.drain(..count.min(self.read.len())).collect()
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Whether the peer is silent for `time` and the stream stays open.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.read.is_empty() && tokio::time::timeout(time, self.stream.read_buf(&mut self.read)).await.is_err()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// TLS with a server name of our choice and without looking at the certificate.
///
/// # Errors
/// What the TLS stack says, an alert for instance.
pub async fn tls_as<S>(stream: S, name: &str) -> std::io::Result<tokio_rustls::client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Trusts every certificate: only for tests that look at the server name.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A ClientHello written by hand: `newest` is the version of its head (0x0303 is TLS 1.2), and it offers nothing newer.
pub fn client_hello(name: Option<&str>, newest: u16) -> Vec<u8> {
    client_hello_with(name, newest, &[])
}

/// The same with these extensions before the name.
pub fn client_hello_with(name: Option<&str>, newest: u16, more: &[u8]) -> Vec<u8> {
    let mut extensions = more.to_vec();
    if let Some(name) = name {
        let length = u16::try_from(name.len()).expect("a short name");
        extensions.extend([0, 0]);
        extensions.extend((length + 5).to_be_bytes());
        extensions.extend((length + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend(length.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    let mut body = newest.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 4, 0xc0, 0x2f, 0xc0, 0x13]);
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).expect("few").to_be_bytes());
    body.extend(extensions);
    let mut message = vec![1];
    message.extend(&u32::try_from(body.len()).expect("short").to_be_bytes()[1..]);
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
    record.extend(message);
    record
}

/// The alert `access_denied`, in clear, as a refused tunnel ends with.
pub const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

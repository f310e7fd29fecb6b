//! Recipients' side of TLS for the demo and the tests: a small authority, a certificate for a host, and an acceptor that
//! tells how many bytes the handshake took.
//!
//! The count serves promise 2: over TLS, nothing beyond the proxy's own handshake may go to a recipient before the record
//! is durable, and only the recipient's stack knows how long that handshake was.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority::server_config;
use super::issue::{self, IssueFault, Validity};
use super::{HttpVersion, VERSIONS, spki_sha256};
use crate::destination::Host;

/// Days that the authority of recipients is valid.
const AUTHORITY_DAYS: u32 = 365;
/// Days that a certificate is valid unless the caller says otherwise.
const CERTIFICATE_DAYS: u32 = 30;
/// The record type of application data (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;

/// A small authority that recipients have their certificates from.
pub struct Issuing {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

/// A server certificate with its key.
pub struct Issued {
    /// The leaf.
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// A recipient's stream after the handshake.
pub type RecipientStream<S> = tokio_rustls::server::TlsStream<Counted<S>>;

/// TLS versions that a recipient speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 and 1.3, as current servers do.
    Tls12And13,
    /// TLS 1.2 only.
    Tls12,
}

/// Accepts connections with one certificate.
#[derive(Clone)]
pub struct Acceptor(tokio_rustls::TlsAcceptor);

impl Issuing {
    /// Makes an authority with this name.
    pub fn new(common_name: &str) -> Result<Issuing, IssueFault> {
        let key = issue::key()?;
        let params = issue::root(common_name, Validity::around(issue::now(), AUTHORITY_DAYS));
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Issuing { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// The root that a proxy must trust to reach these recipients.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for `host`, valid from a day ago for a month.
    pub fn issue(&self, host: &Host) -> Result<Issued, IssueFault> {
        self.issue_valid(host, Validity::around(issue::now(), CERTIFICATE_DAYS))
    }

    /// A certificate for `host` with a validity of the caller's choice, also one that is past.
    pub fn issue_valid(&self, host: &Host, validity: Validity) -> Result<Issued, IssueFault> {
        let key = issue::key()?;
        Ok(Issued { certificate: issue::server(host, &key, &self.issuer, validity, None)?, key })
    }
}

impl Issued {
    /// The pin of this certificate's key.
    pub fn spki_sha256(&self) -> [u8; 32] {
        spki_sha256(&self.certificate).expect("a certificate that was just made can be read")
    }

    /// The certificate in PEM, for other servers than ours.
    pub fn certificate_pem(&self) -> String {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &self.certificate);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The key in PEM, for other servers than ours.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// An acceptor that shows this certificate and speaks HTTP/1.1 over these versions.
    pub fn acceptor(&self, versions: Versions) -> Result<Acceptor, rustls::Error> {
        self.acceptor_up_to(HttpVersion::V1, versions)
    }

    /// An acceptor that shows this certificate and speaks HTTP up to this version over these versions of TLS.
    pub fn acceptor_up_to(&self, newest: HttpVersion, versions: Versions) -> Result<Acceptor, rustls::Error> {
        let key = issue::certified(vec![self.certificate.clone()], &issue::signing_key(&self.key));
        let mut config = server_config(versions.built(), Arc::new(SingleCertAndKey::from(key)))?;
        config.alpn_protocols = newest.offer();
        Ok(Acceptor(Arc::new(config).into()))
    }
}

impl Versions {
    fn built(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Versions::Tls12And13 => VERSIONS,
            Versions::Tls12 => &VERSIONS[1..],
        }
    }
}

impl Acceptor {
    /// Plays the server; gives the stream and how many bytes of the client's the handshake took.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(RecipientStream<S>, u64)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.0.accept(Counted::new(stream)).await?;
        let (counted, session) = stream.get_ref();
        let taken = counted.records.handshake_bytes(session.protocol_version() == Some(ProtocolVersion::TLSv1_3));
        Ok((stream, taken))
    }
}

/// The version of HTTP that was agreed on with whoever came.
pub fn spoken<S>(stream: &RecipientStream<S>) -> HttpVersion {
    HttpVersion::agreed(stream.get_ref().1.alpn_protocol())
}

/// A stream that follows the records which are read from it.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    records: Records,
}

/// Where the client's records ended, up to and with its first one of application data.
///
/// The stack may have read further than the handshake by the time it is complete, so its own count of bytes read would
/// hide what came too early. In TLS 1.3 the client's Finished is its first record of the outer type application_data; in
/// TLS 1.2 all records before the first of that type belong to the handshake.
#[derive(Debug, Default)]
struct Records {
    head: Vec<u8>,
    /// Bytes of the current record's content still to come.
    content: usize,
    /// Bytes up to the end of the last whole record, or its beginning while it is being read.
    before: u64,
    after: u64,
    found: bool,
}

impl Records {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.found {
            if self.head.len() < 5 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                if self.head.len() == 5 {
                    self.content = usize::from(u16::from_be_bytes([self.head[3], self.head[4]]));
                }
            } else {
                let count = self.content.min(bytes.len());
                self.content -= count;
                bytes = &bytes[count..];
            }
            if self.head.len() == 5 && self.content == 0 {
                self.before = self.after;
                self.after += 5 + u64::from(u16::from_be_bytes([self.head[3], self.head[4]]));
                self.found = self.head[0] == APPLICATION_DATA;
                self.head.clear();
            }
        }
    }

    fn handshake_bytes(&self, tls13: bool) -> u64 {
        if self.found && !tls13 { self.before } else { self.after }
    }
}

impl<S> Counted<S> {
    fn new(inner: S) -> Counted<S> {
        Counted { inner, records: Records::default() }
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.records.follow(&buf.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_data_is_not_counted_as_handshake() {
        let wire =
            [&[22, 3, 1, 0, 2, 1, 1][..], &[20, 3, 3, 0, 1, 1], &[23, 3, 3, 0, 3, 9, 9, 9], &[23, 3, 3, 0, 1, 9]]
                .concat();
        for piece in 1..wire.len() {
            let mut records = Records::default();
            wire.chunks(piece).for_each(|bytes| records.follow(bytes));
            assert_eq!(records.handshake_bytes(true), 7 + 6 + 8, "TLS 1.3 in pieces of {piece}");
            assert_eq!(records.handshake_bytes(false), 7 + 6, "TLS 1.2 in pieces of {piece}");
        }
    }
}

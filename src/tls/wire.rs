//! The first bytes of a TLS connection, read without taking part in it (RFC 8446 §4.1, §4.2.1, §5.1).
//!
//! A tunnel is relayed unread, yet whom it asks for and which version the two sides agree on are facts of the decision.
//! These are pure functions over the bytes seen so far: `None` asks for more. Whatever is not exactly as RFC 8446 writes
//! it is malformed, because a reader that guesses can be made to see another name than the recipient's stack does.

use super::client_hello::HelloFault;
use crate::policy::TlsVersion;

/// Most bytes of handshake looked at before giving up. A ClientHello with post-quantum key shares takes about 2 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

const RECORD_ALERT: u8 = 21;
const RECORD_HANDSHAKE: u8 = 22;
/// Largest plaintext of a record (RFC 8446 §5.1).
const MAX_PLAINTEXT: usize = 1 << 14;

const CLOSE_NOTIFY: u8 = 0;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// A ClientHello as it stands on the wire; names are not yet parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The host name of the server_name extension.
    pub server_name: Option<&'a [u8]>,
    /// Protocols of the ALPN extension, in the client's order.
    pub alpn: Vec<&'a [u8]>,
    /// Newest version offered; one that is older than TLS 1.0 or unknown counts as that.
    pub newest: TlsVersion,
    /// An encrypted ClientHello is there: the name seen may not be the name meant.
    pub encrypted: bool,
}

/// What a server said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFirst {
    /// A ServerHello (or HelloRetryRequest) that chose this version; one older than TLS 1.0 or unknown counts as that.
    Hello(TlsVersion),
    /// An alert with this description.
    Alert(u8),
}

/// Takes the handshake bytes of a client's first message out of its records, and tells how many of `bytes` it takes;
/// `None` until the message is whole.
pub fn client_message(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HelloFault> {
    match first_message(bytes)? {
        Some(First::Message { content, taken }) => Ok(Some((content, taken))),
        Some(First::Alert(_)) => Err(HelloFault::NotTls),
        None => Ok(None),
    }
}

/// Reads a ClientHello out of a whole handshake message, as [`client_message`] gives it.
pub fn client_hello(message: &[u8]) -> Result<ClientHello<'_>, HelloFault> {
    let mut body = Reader(message);
    if body.u8()? != CLIENT_HELLO {
        return Err(HelloFault::Malformed("the first message is no ClientHello"));
    }
    body.u24()?;
    let legacy_version = body.u16()?;
    body.take(32)?;
    body.vector_u8()?;
    body.vector_u16()?;
    body.vector_u8()?;
    let mut hello = ClientHello { server_name: None, alpn: Vec::new(), newest: TlsVersion::V1_0, encrypted: false };
    let mut offered = None;
    for (kind, content) in extensions(&mut body)? {
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(content)?),
            ALPN => hello.alpn = protocols(content)?,
            SUPPORTED_VERSIONS => offered = Some(newest(content)?),
            ENCRYPTED_CLIENT_HELLO => hello.encrypted = true,
            _ => {}
        }
    }
    // RFC 8446 §4.2.1: where the extension stands it alone counts; where it is absent legacy_version does, up to 1.2.
    hello.newest = offered.unwrap_or_else(|| version(legacy_version.min(0x0303)));
    Ok(hello)
}

/// Reads the version that a server chose out of its first bytes; `None` asks for more. Warnings may stand before it
/// (`unrecognized_name`, RFC 6066 §3) and choose nothing.
pub fn server_first(bytes: &[u8]) -> Result<Option<ServerFirst>, HelloFault> {
    let message = match first_message(behind_warnings(bytes))? {
        Some(First::Message { content, .. }) => content,
        Some(First::Alert(description)) => return Ok(Some(ServerFirst::Alert(description))),
        None => return Ok(None),
    };
    let mut body = Reader(&message);
    if body.u8()? != SERVER_HELLO {
        return Err(HelloFault::Malformed("the first message is no ServerHello"));
    }
    body.u24()?;
    let mut chosen = body.u16()?.min(0x0303);
    body.take(32)?;
    body.vector_u8()?;
    body.take(3)?;
    for (kind, content) in extensions(&mut body)? {
        if kind == SUPPORTED_VERSIONS {
            let mut content = Reader(content);
            chosen = content.u16()?;
            content.end()?;
        }
    }
    Ok(Some(ServerFirst::Hello(version(chosen))))
}

/// What stands behind alerts of the level `warning`; `close_notify` is an end, whatever its level.
fn behind_warnings(mut bytes: &[u8]) -> &[u8] {
    while let [RECORD_ALERT, 3, _, 0, 2, 1, description, rest @ ..] = bytes
        && *description != CLOSE_NOTIFY
    {
        bytes = rest;
    }
    bytes
}

enum First {
    /// A message, and how many bytes of the stream it and its records' heads take.
    Message {
        content: Vec<u8>,
        taken: usize,
    },
    Alert(u8),
}

/// Joins handshake records until their first message is whole. A message may be spread over records.
fn first_message(bytes: &[u8]) -> Result<Option<First>, HelloFault> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // The leading bytes are judged one by one, so that what is not TLS is known before five of them came.
        match (rest.first(), rest.get(1)) {
            (None, _) => return Ok(None),
            (Some(&kind), _) if kind != RECORD_HANDSHAKE && kind != RECORD_ALERT => return Err(HelloFault::NotTls),
            (_, Some(&major)) if major != 3 => return Err(HelloFault::NotTls),
            _ => {}
        }
        let Some(header) = rest.get(..5) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > MAX_PLAINTEXT {
            return Err(HelloFault::Malformed("a record has a length that none may have"));
        }
        let content = &rest[5..];
        if header[0] == RECORD_ALERT {
            if !message.is_empty() {
                return Err(HelloFault::Malformed("an alert interrupts a handshake message"));
            }
            return Ok(content.get(1).map(|&description| First::Alert(description)));
        }
        let before = message.len();
        message.extend_from_slice(&content[..length.min(content.len())]);
        if let Some(&[_, high, middle, low]) = message.get(..4) {
            let whole = 4 + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
            if whole > MAX_HELLO {
                return Err(HelloFault::TooLong);
            }
            if message.len() >= whole {
                message.truncate(whole);
                let taken = bytes.len() - content.len() + (whole - before);
                return Ok(Some(First::Message { content: message, taken }));
            }
        }
        match content.get(length..) {
            Some(next) => rest = next,
            None => return Ok(None),
        }
    }
}

/// The extensions to the end of a message, none of them twice (RFC 8446 §4.2). Absent in the oldest messages.
fn extensions<'a>(body: &mut Reader<'a>) -> Result<Vec<(u16, &'a [u8])>, HelloFault> {
    let mut found = Vec::new();
    if body.0.is_empty() {
        return Ok(found);
    }
    let mut block = Reader(body.vector_u16()?);
    body.end()?;
    while !block.0.is_empty() {
        let kind = block.u16()?;
        let content = block.vector_u16()?;
        if found.iter().any(|(other, _)| *other == kind) {
            return Err(HelloFault::Malformed("an extension stands twice"));
        }
        found.push((kind, content));
    }
    Ok(found)
}

/// RFC 6066 §3: a list that holds exactly one name, of type host_name.
fn server_name(content: &[u8]) -> Result<&[u8], HelloFault> {
    let mut content = Reader(content);
    let mut list = Reader(content.vector_u16()?);
    content.end()?;
    if list.u8()? != 0 {
        return Err(HelloFault::Malformed("the server name is not a host name"));
    }
    let name = list.vector_u16()?;
    list.end()?;
    Ok(name)
}

/// RFC 7301 §3.1.
fn protocols(content: &[u8]) -> Result<Vec<&[u8]>, HelloFault> {
    let mut content = Reader(content);
    let mut list = Reader(content.vector_u16()?);
    content.end()?;
    let mut found = Vec::new();
    while !list.0.is_empty() {
        found.push(list.vector_u8()?);
    }
    Ok(found)
}

/// The newest of a client's supported_versions; GREASE values (RFC 8701) are no versions.
fn newest(content: &[u8]) -> Result<TlsVersion, HelloFault> {
    let mut content = Reader(content);
    let mut list = Reader(content.vector_u8()?);
    content.end()?;
    let mut found = TlsVersion::V1_0;
    while !list.0.is_empty() {
        found = found.max(version(list.u16()?));
    }
    Ok(found)
}

/// A number that is not known counts as the oldest: what is not understood is refused.
fn version(number: u16) -> TlsVersion {
    match number {
        0x0302 => TlsVersion::V1_1,
        0x0303 => TlsVersion::V1_2,
        0x0304 => TlsVersion::V1_3,
        _ => TlsVersion::V1_0,
    }
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloFault::Malformed("a field is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, HelloFault> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HelloFault> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u24(&mut self) -> Result<u32, HelloFault> {
        let bytes = self.take(3)?;
        Ok(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
    }

    fn vector_u8(&mut self) -> Result<&'a [u8], HelloFault> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn vector_u16(&mut self) -> Result<&'a [u8], HelloFault> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn end(&self) -> Result<(), HelloFault> {
        self.0.is_empty().then_some(()).ok_or(HelloFault::Malformed("bytes follow the end of a field"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a handshake message in one record.
    fn record(message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(message.len()).expect("test messages are short").to_be_bytes();
        [&[RECORD_HANDSHAKE, 3, 1, length[0], length[1]], message].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("test messages are short").to_be_bytes();
        [&[kind, 0, length[0], length[1]], body].concat()
    }

    fn hello(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let length = u16::try_from(extensions.len()).expect("test messages are short").to_be_bytes();
        let fixed = [0, 0, 2, 0, 0x2f, 1, 0];
        message(CLIENT_HELLO, &[&version[..], &[7; 32], &fixed, &length, extensions].concat())
    }

    #[test]
    fn a_hello_without_supported_versions_offers_its_legacy_version() {
        for (wire, expected) in [([3, 2], TlsVersion::V1_1), ([3, 3], TlsVersion::V1_2), ([3, 0], TlsVersion::V1_0)] {
            let bytes = hello(wire, &[]);
            assert_eq!(client_hello(&bytes).expect("a hello").newest, expected);
        }
        // A legacy version of 1.3 or more means 1.2 (RFC 8446 §4.1.2).
        assert_eq!(client_hello(&hello([3, 4], &[])).expect("a hello").newest, TlsVersion::V1_2);
    }

    #[test]
    fn supported_versions_alone_count_and_grease_does_not() {
        let bytes = hello([3, 3], &[0, 43, 0, 7, 6, 0x7a, 0x7a, 3, 1, 3, 2]);
        assert_eq!(client_hello(&bytes).expect("a hello").newest, TlsVersion::V1_1);
    }

    #[test]
    fn a_hello_spread_over_records_is_joined() {
        let whole = hello([3, 3], &[0, 0, 0, 6, 0, 4, 0, 0, 1, b'a']);
        let mut bytes = Vec::new();
        for piece in whole.chunks(5) {
            bytes.extend(record(piece));
        }
        for cut in 0..bytes.len() {
            assert_eq!(client_message(&bytes[..cut]).expect("a prefix is no fault"), None, "at {cut}");
        }
        let (joined, taken) = client_message(&[&bytes[..], b"early"].concat()).expect("tls").expect("whole");
        assert_eq!(taken, bytes.len(), "what follows is not taken");
        assert_eq!(client_hello(&joined).expect("a hello").server_name, Some(&b"a"[..]));
    }

    #[test]
    fn ambiguous_names_are_malformed() {
        let twice = [0, 0, 0, 6, 0, 4, 0, 0, 1, b'a', 0, 0, 0, 6, 0, 4, 0, 0, 1, b'b'];
        let two_names = [0, 0, 0, 10, 0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b'];
        let trailing = [0, 0, 0, 7, 0, 4, 0, 0, 1, b'a', 9];
        for extensions in [&twice[..], &two_names[..], &trailing[..]] {
            assert!(matches!(client_hello(&hello([3, 3], extensions)), Err(HelloFault::Malformed(_))));
        }
    }

    #[test]
    fn what_is_not_tls_is_known_from_its_first_byte() {
        assert!(matches!(client_message(b"G"), Err(HelloFault::NotTls)));
        assert!(matches!(client_message(&[22, 2]), Err(HelloFault::NotTls)));
        assert!(matches!(client_message(&[0x80, 0x2e, 1, 3, 1]), Err(HelloFault::NotTls)), "SSL 2.0 hello");
    }

    #[test]
    fn a_hello_without_end_is_too_long() {
        let bytes = [22, 3, 1, 0x40, 0, 1, 0, 0x40, 0];
        assert!(matches!(client_message(&bytes), Err(HelloFault::TooLong)));
        assert!(matches!(client_message(&[22, 3, 1, 0, 0]), Err(HelloFault::Malformed(_))));
    }

    #[test]
    fn a_server_answers_with_hello_or_alert() {
        let mut body = [&[3, 3][..], &[9; 32], &[0, 0x13, 1, 0]].concat();
        let old = record(&message(SERVER_HELLO, &body));
        assert_eq!(server_first(&old).expect("tls"), Some(ServerFirst::Hello(TlsVersion::V1_2)));
        body.extend([0, 6, 0, 43, 0, 2, 3, 4]);
        let new = record(&message(SERVER_HELLO, &body));
        assert_eq!(server_first(&new).expect("tls"), Some(ServerFirst::Hello(TlsVersion::V1_3)));
        assert_eq!(server_first(&new[..30]).expect("tls"), None);
        assert_eq!(server_first(&[21, 3, 3, 0, 2, 2, 70]).expect("tls"), Some(ServerFirst::Alert(70)));
        assert!(server_first(b"220 smtp").is_err());
    }
}

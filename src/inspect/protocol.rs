//! Which protocol the first bytes of a connection belong to.
//!
//! TLS and HTTP are told apart from everything else because they are read; the names of the others stand in records, so
//! that an officer sees what a connection was for. A name is a guess from a few bytes and decides nothing.

use std::fmt;

/// What a client's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The beginning of a TLS handshake.
    Tls,
    /// A line that ends like a request line of HTTP, whether or not the request is good.
    Http,
    /// Neither of the two.
    Other(Protocol),
}

/// Protocols that are known by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// File transfer (RFC 959).
    Ftp,
    /// Mail that is fetched (RFC 9051).
    Imap,
    /// Telemetry (MQTT).
    Mqtt,
    /// MySQL and its relatives.
    Mysql,
    /// Mail that is fetched (RFC 1939).
    Pop3,
    /// PostgreSQL.
    Postgresql,
    /// Remote desktop of Windows.
    Rdp,
    /// Control of camera streams (RFC 7826).
    Rtsp,
    /// Telephony (RFC 3261).
    Sip,
    /// Windows file shares.
    Smb,
    /// Mail that is sent (RFC 5321).
    Smtp,
    /// Secure shell (RFC 4253), and what is carried in it.
    Ssh,
    /// TLS to a destination that is declared for another protocol than HTTP.
    Tls,
    /// Remote desktop by frame buffer (RFC 6143).
    Vnc,
    /// None of these.
    Unknown,
}

impl Protocol {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Ftp => "ftp",
            Protocol::Imap => "imap",
            Protocol::Mqtt => "mqtt",
            Protocol::Mysql => "mysql",
            Protocol::Pop3 => "pop3",
            Protocol::Postgresql => "postgresql",
            Protocol::Rdp => "rdp",
            Protocol::Rtsp => "rtsp",
            Protocol::Sip => "sip",
            Protocol::Smb => "smb",
            Protocol::Smtp => "smtp",
            Protocol::Ssh => "ssh",
            Protocol::Tls => "tls",
            Protocol::Vnc => "vnc",
            Protocol::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client's first bytes are; `None` while they may still become HTTP.
pub fn of_client(bytes: &[u8]) -> Option<First> {
    match bytes {
        [] => None,
        [22, ..] => Some(First::Tls),
        _ => match text(bytes)? {
            Text::Line(line) => Some(of_line(line)),
            Text::Binary => Some(First::Other(binary(bytes))),
        },
    }
}

/// What a server that speaks first says.
pub fn of_server(bytes: &[u8]) -> Protocol {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let says = |word: &[u8]| line.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    match bytes {
        [b'S', b'S', b'H', b'-', ..] => Protocol::Ssh,
        [b'2', b'2', b'0', b' ' | b'-', ..] if says(b"ftp") => Protocol::Ftp,
        [b'2', b'2', b'0', b' ' | b'-', ..] if says(b"smtp") => Protocol::Smtp,
        [b'+', b'O', b'K', ..] => Protocol::Pop3,
        [b'*', b' ', b'O', b'K', ..] => Protocol::Imap,
        [b'R', b'F', b'B', b' ', ..] => Protocol::Vnc,
        // A packet of at most 64 KiB, the first of its connection, with version 10 of the handshake.
        [_, _, 0, 0, 10, ..] => Protocol::Mysql,
        _ => Protocol::Unknown,
    }
}

enum Text<'a> {
    /// The first line that is not empty, without its end.
    Line(&'a [u8]),
    /// No text.
    Binary,
}

/// HTTP lets empty lines stand before a request (RFC 9112 §2.2).
fn text(bytes: &[u8]) -> Option<Text<'_>> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let rest = &bytes[start..];
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == b'\t') {
        return Some(Text::Binary);
    }
    let is_whole = rest.contains(&b'\n') || line.starts_with(b"SSH-");
    is_whole.then_some(Text::Line(line))
}

fn of_line(line: &[u8]) -> First {
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match version.split(|byte| *byte == b'/').next() {
        Some(b"HTTP") if version.len() > b"HTTP/".len() => First::Http,
        Some(b"RTSP") => First::Other(Protocol::Rtsp),
        Some(b"SIP") => First::Other(Protocol::Sip),
        _ if line.starts_with(b"SSH-") => First::Other(Protocol::Ssh),
        _ if [&b"EHLO "[..], b"HELO "].iter().any(|word| line.starts_with(word)) => First::Other(Protocol::Smtp),
        _ => First::Other(Protocol::Unknown),
    }
}

fn binary(bytes: &[u8]) -> Protocol {
    match bytes {
        // A length of eight and the code of an SSLRequest, or a start-up packet of version 3.
        [0, 0, 0, 8, 4, 210, 22, 47] | [0, 0, _, _, 0, 3, 0, 0, ..] => Protocol::Postgresql,
        [0x10, _, 0, 4, b'M', b'Q', b'T', b'T', ..] => Protocol::Mqtt,
        [3, 0, 0, _, _, 0xe0, ..] => Protocol::Rdp,
        [0, _, _, _, 0xfe | 0xff, b'S', b'M', b'B', ..] => Protocol::Smb,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_http_are_told_from_the_rest() {
        for (bytes, first) in [
            (&b"\x16\x03\x01"[..], First::Tls),
            (b"GET / HTTP/1.1\r\n", First::Http),
            (b"\r\nget http://a.example/ HTTP/1.0\nHost: a", First::Http),
            (b"PRI * HTTP/2.0\r\n", First::Http),
            (b"OPTIONS rtsp://camera.example/1 RTSP/1.0\r\nCSeq: 1\r\n", First::Other(Protocol::Rtsp)),
            (b"REGISTER sip:a.example SIP/2.0\r\n", First::Other(Protocol::Sip)),
            (b"SSH-2.0-OpenSSH_9.7", First::Other(Protocol::Ssh)),
            (b"EHLO mail.example\r\n", First::Other(Protocol::Smtp)),
            (b"HTTP\r\n", First::Other(Protocol::Unknown)),
            (b"GET /\r\n", First::Other(Protocol::Unknown)),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", First::Other(Protocol::Postgresql)),
            (b"\x10\x16\x00\x04MQTT\x04", First::Other(Protocol::Mqtt)),
            (b"\x03\x00\x00\x13\x0e\xe0\x00", First::Other(Protocol::Rdp)),
            (b"\xff\xd8\xff\xe0", First::Other(Protocol::Unknown)),
            (b"GET /\xc3\xa9 HTTP/1.1\r\n", First::Other(Protocol::Unknown)),
        ] {
            assert_eq!(of_client(bytes), Some(first), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_may_still_become_a_request_is_waited_for() {
        for bytes in [&b""[..], b"\r\n", b"G", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r", b"SSH"] {
            assert_eq!(of_client(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn servers_that_speak_first_are_named() {
        for (bytes, protocol) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Protocol::Ssh),
            (b"220 mail.example ESMTP Postfix\r\n", Protocol::Smtp),
            (b"220 ProFTPD Server ready\r\n", Protocol::Ftp),
            (b"220 welcome\r\nftp", Protocol::Unknown),
            (b"+OK ready\r\n", Protocol::Pop3),
            (b"* OK IMAP4rev1\r\n", Protocol::Imap),
            (b"RFB 003.008\n", Protocol::Vnc),
            (b"\x4a\x00\x00\x00\x0a8.0.36", Protocol::Mysql),
            (b"", Protocol::Unknown),
        ] {
            assert_eq!(of_server(bytes), protocol, "{}", bytes.escape_ascii());
        }
    }
}

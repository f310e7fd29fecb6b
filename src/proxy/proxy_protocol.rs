//! The PROXY protocol, versions 1 and 2: a balancer says before the client's first byte whose connection it hands on.
//!
//! Whoever may say so could be anybody, so that only balancers that the listener names are asked, and these must. What
//! another peer sends is judged as it is. A balancer that speaks for itself (`LOCAL`) or does not know the client
//! (`UNKNOWN`, `UNSPEC`) is taken for the client: it is the only address that is proved.
//!
//! Specification: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::policy::{Denial, Reason, Stage};

/// What version 2 begins with. No line of version 1 is shorter.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1 (§2.1).
const MAX_LINE: usize = 107;
/// Most bytes behind the fixed head of version 2: an address takes 36, and the rest tells things that nobody asks.
const MAX_REST: usize = 4096;
/// The kind of the TLV that holds a checksum of the whole header.
const CRC32C: u8 = 3;

/// Why a header cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection was opened and closed: a look whether somebody listens.
    #[error("the balancer sent nothing")]
    Nothing,
    /// It ended in the middle.
    #[error("the balancer left before its PROXY header was whole")]
    Left(#[from] io::Error),
    /// It did not end in time.
    #[error("the PROXY header did not end in time")]
    Slow,
    /// Not as it is specified.
    #[error("the balancer's PROXY header is malformed: {0}")]
    Malformed(&'static str),
}

impl From<Fault> for Denial {
    fn from(fault: Fault) -> Denial {
        let reason = match fault {
            Fault::Nothing | Fault::Left(_) => Reason::ClientClosed,
            Fault::Slow => Reason::ClientTimeout,
            Fault::Malformed(_) => Reason::MalformedRequest,
        };
        Denial::new(reason, Stage::Head).with_detail(fault.to_string())
    }
}

/// Reads the header, and not a byte more. `None`: the balancer speaks for itself, or does not know for whom.
///
/// # Errors
/// [`Fault`]; the time is the caller's.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Fault> {
    let mut head = vec![0; SIGNATURE.len()];
    match stream.read(&mut head[..1]).await {
        Ok(0) | Err(_) => return Err(Fault::Nothing),
        Ok(_) => {}
    }
    stream.read_exact(&mut head[1..]).await?;
    if head == SIGNATURE {
        return binary(&read_binary(stream, head).await?);
    }
    // Nothing else begins so: what is no header is not waited for.
    if !head.starts_with(b"PROXY ") {
        return Err(Fault::Malformed("it begins with neither version's first bytes"));
    }
    while !head.ends_with(b"\r\n") {
        if head.len() == MAX_LINE {
            return Err(Fault::Malformed("the line is longer than 107 bytes"));
        }
        head.push(stream.read_u8().await?);
    }
    line(&head)
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin), mut head: Vec<u8>) -> Result<Vec<u8>, Fault> {
    head.resize(SIGNATURE.len() + 4, 0);
    stream.read_exact(&mut head[SIGNATURE.len()..]).await?;
    let rest = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if rest > MAX_REST {
        return Err(Fault::Malformed("it is longer than any balancer needs"));
    }
    let start = head.len();
    head.resize(start + rest, 0);
    stream.read_exact(&mut head[start..]).await?;
    Ok(head)
}

/// Version 1, one line (§2.1).
fn line(line: &[u8]) -> Result<Option<SocketAddr>, Fault> {
    let text = std::str::from_utf8(line).ok().and_then(|text| text.strip_suffix("\r\n"));
    let text = text.ok_or(Fault::Malformed("the line is not ASCII"))?;
    let words: Vec<&str> = text.split(' ').collect();
    let wrong = || Fault::Malformed("the line is not `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT`");
    match words[..] {
        // What stands behind it is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let address = |text: &str| -> Option<IpAddr> {
                match family {
                    "TCP4" => text.parse().ok().map(IpAddr::V4),
                    _ => text.parse().ok().map(IpAddr::V6),
                }
            };
            let source = address(source).ok_or_else(wrong)?;
            address(destination).ok_or_else(wrong)?;
            port(to).ok_or_else(wrong)?;
            Ok(Some(client(source, port(from).ok_or_else(wrong)?)))
        }
        _ => Err(wrong()),
    }
}

/// Decimal, without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Version 2, the whole header (§2.2).
fn binary(header: &[u8]) -> Result<Option<SocketAddr>, Fault> {
    let [version_and_command, family] = [header[12], header[13]];
    if version_and_command >> 4 != 2 {
        return Err(Fault::Malformed("the version is not 2"));
    }
    let rest = &header[16..];
    let is_local = match version_and_command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(Fault::Malformed("the command is neither LOCAL nor PROXY")),
    };
    let cut = |count: usize| rest.split_at_checked(count).ok_or(Fault::Malformed("the addresses are cut short"));
    let (source, tlvs) = match family {
        0x11 => {
            let (block, tlvs) = cut(12)?;
            let octets: [u8; 4] = block[..4].try_into().expect("a slice of four");
            (Some(client(Ipv4Addr::from(octets).into(), u16::from_be_bytes([block[8], block[9]]))), tlvs)
        }
        0x21 => {
            let (block, tlvs) = cut(36)?;
            let octets: [u8; 16] = block[..16].try_into().expect("a slice of sixteen");
            (Some(client(Ipv6Addr::from(octets).into(), u16::from_be_bytes([block[32], block[33]]))), tlvs)
        }
        0x00 => (None, rest),
        // LOCAL says nothing of anybody: its addresses are to be ignored, whatever they are.
        _ if is_local => (None, &[][..]),
        _ => return Err(Fault::Malformed("the connection that it speaks of is not TCP")),
    };
    // Behind UNSPEC there may be an address of a kind that nobody knows, and so no telling where it ends.
    if family != 0x00 {
        check_tlvs(header, tlvs)?;
    }
    Ok(source.filter(|_| !is_local))
}

/// Walks over the TLVs, and verifies the checksum if one of them is that.
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), Fault> {
    while let [kind, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) = rest.split_at_checked(length).ok_or(Fault::Malformed("a TLV is cut short"))?;
        if *kind == CRC32C {
            let start = header.len() - rest.len();
            check_crc(header, start, value)?;
        }
        tlvs = behind;
    }
    if tlvs.is_empty() { Ok(()) } else { Err(Fault::Malformed("a TLV is cut short")) }
}

/// The checksum is that of the header with zeros in its place.
fn check_crc(header: &[u8], start: usize, value: &[u8]) -> Result<(), Fault> {
    let said: [u8; 4] = value.try_into().map_err(|_| Fault::Malformed("the checksum has not four bytes"))?;
    let mut zeroed = header.to_vec();
    zeroed[start..start + said.len()].fill(0);
    match crc32c::crc32c(&zeroed) == u32::from_be_bytes(said) {
        true => Ok(()),
        false => Err(Fault::Malformed("its checksum is wrong")),
    }
}

fn client(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Result<Option<SocketAddr>, String> {
        let mut left = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let read = runtime.block_on(read(&mut left)).map_err(|fault| fault.to_string());
        assert!(read.is_err() || left == b"GET ", "not a byte more is taken: {left:?}");
        read
    }

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn lines_of_version_1() {
        let said = |line: &str| told(format!("PROXY {line}\r\nGET ").as_bytes());
        assert_eq!(said("TCP4 192.0.2.7 198.51.100.1 56324 443"), Ok(at("192.0.2.7:56324")));
        assert_eq!(said("TCP6 2001:db8::7 2001:db8::1 1 443"), Ok(at("[2001:db8::7]:1")));
        assert_eq!(said("TCP6 ::ffff:192.0.2.7 ::1 1 443"), Ok(at("192.0.2.7:1")));
        assert_eq!(said("UNKNOWN"), Ok(None));
        assert_eq!(said("UNKNOWN ffff::1 whatever 0 0"), Ok(None));
        for line in [
            "TCP4 2001:db8::7 2001:db8::1 1 443",
            "TCP6 192.0.2.7 192.0.2.1 1 443",
            "TCP4 192.0.2.07 192.0.2.1 1 443",
            "TCP4 192.0.2.7  192.0.2.1 1 443",
            "TCP4 192.0.2.7 192.0.2.1 01 443",
            "TCP4 192.0.2.7 192.0.2.1 1 65536",
            "TCP4 192.0.2.7 192.0.2.1 +1 443",
            "TCP4 192.0.2.7 192.0.2.1 1 443 ",
            "TCP4 192.0.2.7 192.0.2.1 1",
            "TCP4 a.example 192.0.2.1 1 443",
            "TCP5 192.0.2.7 192.0.2.1 1 443",
            "UDP4 192.0.2.7 192.0.2.1 1 443",
        ] {
            assert!(said(line).expect_err(line).contains("is not `PROXY"), "{line}");
        }
        assert!(said(&format!("UNKNOWN {}", "x".repeat(100))).expect_err("long").contains("107 bytes"));
        assert!(told(b"GET / HTTP/1.1\r\n").expect_err("no header").contains("neither version"));
        assert!(told(b"PROXY TCP4 192.0.2.7").expect_err("cut").contains("left before"));
    }

    /// A header of version 2 before the client's bytes.
    fn two(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, rest, b"GET "].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

    #[test]
    fn headers_of_version_2() {
        let mut six = [0; 36];
        (six[0], six[1], six[15], six[33]) = (0x20, 1, 7, 9);
        assert_eq!(told(&two(0x21, 0x11, &FOUR)), Ok(at("192.0.2.7:56324")));
        assert_eq!(told(&two(0x21, 0x21, &six)), Ok(at("[2001::7]:9")));
        assert_eq!(told(&two(0x21, 0x00, &[])), Ok(None), "UNSPEC");
        assert_eq!(told(&two(0x21, 0x00, &[1, 2, 3])), Ok(None));
        assert_eq!(told(&two(0x20, 0x11, &FOUR)), Ok(None), "LOCAL");
        assert_eq!(told(&two(0x20, 0x31, &[0; 216])), Ok(None), "LOCAL");
        for (version_and_command, family, rest, says) in [
            (0x11, 0x11, &FOUR[..], "the version is not 2"),
            (0x22, 0x11, &FOUR, "neither LOCAL nor PROXY"),
            (0x21, 0x12, &FOUR, "is not TCP"),
            (0x21, 0x31, &[0; 216], "is not TCP"),
            (0x21, 0x11, &FOUR[..11], "the addresses are cut short"),
            (0x21, 0x21, &FOUR, "the addresses are cut short"),
            (0x21, 0x11, &[0; 4097], "longer than any balancer needs"),
        ] {
            let fault = told(&two(version_and_command, family, rest)).expect_err(says);
            assert!(fault.contains(says), "{fault}");
        }
    }

    #[test]
    fn tlvs_are_skipped_and_their_checksum_is_verified() {
        let with = |tlvs: &[u8]| [&FOUR[..], tlvs].concat();
        assert_eq!(told(&two(0x21, 0x11, &with(&[2, 0, 3, b'a', b'b', b'c', 4, 0, 0]))), Ok(at("192.0.2.7:56324")));
        for cut in [&[2, 0, 3, b'a'][..], &[2, 0], &[2]] {
            assert!(told(&two(0x21, 0x11, &with(cut))).expect_err("cut").contains("a TLV is cut short"));
        }
        let summed = |crc: [u8; 4]| two(0x21, 0x11, &with(&[&[2, 0, 1, b'a', CRC32C, 0, 4][..], &crc].concat()));
        let zeroed = summed([0; 4]);
        let crc = crc32c::crc32c(&zeroed[..zeroed.len() - b"GET ".len()]);
        assert_eq!(told(&summed(crc.to_be_bytes())), Ok(at("192.0.2.7:56324")));
        assert!(told(&summed((crc ^ 1).to_be_bytes())).expect_err("wrong").contains("checksum is wrong"));
        assert!(told(&two(0x21, 0x11, &with(&[CRC32C, 0, 1, 7]))).expect_err("short").contains("not four bytes"));
    }
}

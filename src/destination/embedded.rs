//! IPv4 addresses hidden in IPv6 addresses.
//!
//! A translator, tunnel or socket layer between here and the recipient turns these back into IPv4, so a rule about
//! IPv4 must see them. Neither `Ipv6Addr::to_canonical` nor `ipnetwork` folds any but the mapped form.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Every IPv4 address that some translator or tunnel would take out of `address`, in no particular order.
pub fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    [
        address.to_ipv4_mapped(),
        compatible(address),
        nat64(address),
        local_nat64_suffix(address),
        local_nat64_split(address),
        six_to_four(address),
        teredo_server(address),
        teredo_client(address),
        isatap(address),
    ]
    .into_iter()
    .flatten()
}

/// The IPv4 address of `::a.b.c.d` (RFC 4291 section 2.5.5.1); `::` and `::1` are what they are.
fn compatible(address: Ipv6Addr) -> Option<Ipv4Addr> {
    (address.segments()[..6] == [0; 6] && address.to_bits() > 1).then(|| last_32(address))
}

/// `64:ff9b::a.b.c.d` (RFC 6052 section 2.1).
fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    (address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| last_32(address))
}

/// `64:ff9b:1::/48` (RFC 8215) with a prefix of 96 bits: the address in the last 32.
fn local_nat64_suffix(address: Ipv6Addr) -> Option<Ipv4Addr> {
    is_local_nat64(address).then(|| last_32(address))
}

/// `64:ff9b:1::/48` with the prefix of 48 bits: the address around the octet "u" (RFC 6052 section 2.2).
fn local_nat64_split(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    is_local_nat64(address).then(|| Ipv4Addr::new(octets[6], octets[7], octets[9], octets[10]))
}

/// Whether an address is of the translation prefix that every network may use as it likes.
pub fn is_local_nat64(address: Ipv6Addr) -> bool {
    address.segments()[..3] == [0x64, 0xff9b, 1]
}

/// `2002:aabb:ccdd::/48` (RFC 3056).
fn six_to_four(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    (address.segments()[0] == 0x2002).then(|| Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5]))
}

/// The server of a Teredo address `2001:0::/32` (RFC 4380 section 4).
fn teredo_server(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    is_teredo(address).then(|| Ipv4Addr::new(octets[4], octets[5], octets[6], octets[7]))
}

/// The client of a Teredo address, written with every bit turned.
fn teredo_client(address: Ipv6Addr) -> Option<Ipv4Addr> {
    is_teredo(address).then(|| Ipv4Addr::from_bits(!last_32(address).to_bits()))
}

fn is_teredo(address: Ipv6Addr) -> bool {
    address.segments()[..2] == [0x2001, 0]
}

/// Any prefix with the interface identifier `0:5efe:a.b.c.d`, or `200:5efe:…` for global addresses (RFC 5214
/// section 6.1).
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    (segments[4] & !0x0200 == 0 && segments[5] == 0x5efe).then(|| last_32(address))
}

fn last_32(address: Ipv6Addr) -> Ipv4Addr {
    let octets = address.octets();
    Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: &[&str]) {
        let found: Vec<String> = embedded(address.parse().expect("a good address")).map(|v4| v4.to_string()).collect();
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn every_form_is_seen() {
        check("::ffff:127.0.0.1", &["127.0.0.1"]);
        check("::ffff:7f00:1", &["127.0.0.1"]);
        check("::127.0.0.1", &["127.0.0.1"]);
        check("64:ff9b::a00:1", &["10.0.0.1"]);
        check("64:ff9b:1::a00:1", &["10.0.0.1", "0.0.0.0"]);
        check("64:ff9b:1:a00:0:100::", &["0.0.0.0", "10.0.0.1"]);
        check("2002:a00:1::", &["10.0.0.1"]);
        check("2001:0:4136:e378:8000:63bf:f5ff:fffa", &["65.54.227.120", "10.0.0.5"]);
        check("fe80::5efe:7f00:1", &["127.0.0.1"]);
        check("2a00:1:2:3:200:5efe:a00:1", &["10.0.0.1"]);
    }

    #[test]
    fn what_only_looks_alike_is_left_alone() {
        for address in ["::", "::1", "64:ff9a::a00:1", "64:ff9b:2::a00:1", "64:ff9b:0:1::a00:1", "2003:a00:1::"] {
            check(address, &[]);
        }
        for address in ["2001:1:4136:e378::1", "fe80::5eff:7f00:1", "2a00::1:5efe:a00:1", "::1:ffff:7f00:1"] {
            check(address, &[]);
        }
    }
}

//! Classes of addresses.
//!
//! The table follows the IANA special-purpose registries: what they do not call globally reachable is not [`Global`].
//! Clouds' metadata services are a class of their own, wherever their addresses lie.
//!
//! [`Global`]: AddressClass::Global

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::embedded::{embedded, is_local_nat64};

/// What kind of address something is; only [`AddressClass::Global`] is dialled without an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Reachable over the public internet.
    Global,
    /// An address that this proxy itself listens on.
    Own,
    /// A cloud's metadata service: hands out credentials to whoever asks.
    Metadata,
    /// This machine.
    Loopback,
    /// RFC 1918, and the deprecated site-local IPv6 addresses.
    Private,
    /// RFC 4193, the private addresses of IPv6.
    UniqueLocal,
    /// This link only.
    LinkLocal,
    /// 100.64.0.0/10, behind a carrier's address translation (RFC 6598).
    Shared,
    /// `0.0.0.0` and `::`, which the system takes for this machine.
    Unspecified,
    /// A group of machines.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// Addresses that stand in manuals.
    Documentation,
    /// Test beds (RFC 2544, RFC 5180).
    Benchmarking,
    /// Everything else that is assigned to no public network.
    Reserved,
}

impl AddressClass {
    /// Every class.
    pub const ALL: [AddressClass; 14] = [
        AddressClass::Global,
        AddressClass::Own,
        AddressClass::Metadata,
        AddressClass::Loopback,
        AddressClass::Private,
        AddressClass::UniqueLocal,
        AddressClass::LinkLocal,
        AddressClass::Shared,
        AddressClass::Unspecified,
        AddressClass::Multicast,
        AddressClass::Broadcast,
        AddressClass::Documentation,
        AddressClass::Benchmarking,
        AddressClass::Reserved,
    ];

    /// The word in records and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Global => "global",
            AddressClass::Own => "own",
            AddressClass::Metadata => "metadata",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::UniqueLocal => "unique-local",
            AddressClass::LinkLocal => "link-local",
            AddressClass::Shared => "shared",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Reserved => "reserved",
        }
    }

    /// Whether a network named as internal may open this class.
    pub fn can_be_opened(self) -> bool {
        match self {
            AddressClass::Own | AddressClass::Unspecified | AddressClass::Multicast | AddressClass::Broadcast => false,
            // Metadata is opened by its own address only, see `AddressRules`.
            AddressClass::Metadata
            | AddressClass::Global
            | AddressClass::Loopback
            | AddressClass::Private
            | AddressClass::UniqueLocal
            | AddressClass::LinkLocal
            | AddressClass::Shared
            | AddressClass::Documentation
            | AddressClass::Benchmarking
            | AddressClass::Reserved => true,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class of an address. IPv4 written inside IPv6 counts as what it is, in every form that exists.
///
/// Of an address that carries several, the first that is not global names the class. [`AddressClass::Own`] is never
/// given: what is our own is known to [`super::AddressRules`] only.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&address) {
        return AddressClass::Metadata;
    }
    let row = CLASSES_V4.iter().find(|(network, _)| network.contains(address));
    row.map_or(AddressClass::Global, |(_, class)| *class)
}

fn class_v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    let inner: Vec<AddressClass> = embedded(address).map(class_v4).collect();
    if let Some(class) = worst(address, &inner) {
        return class;
    }
    if let Some((_, class)) = CLASSES_V6.iter().find(|(network, _)| network.contains(address)) {
        return *class;
    }
    // Of all IPv6 only 2000::/3 is given out; of the rest only the two forms that lead to a global IPv4 address are
    // reachable.
    let reachable = address.segments()[0] & 0xe000 == 0x2000 || REACHABLE_V6.iter().any(|net| net.contains(address));
    if reachable { AddressClass::Global } else { AddressClass::Reserved }
}

/// The class that the IPv4 addresses in an IPv6 address give it, if any of them is not global.
fn worst(address: Ipv6Addr, inner: &[AddressClass]) -> Option<AddressClass> {
    if inner.contains(&AddressClass::Metadata) {
        return Some(AddressClass::Metadata);
    }
    // In the local translation prefix one of the two readings is a guess that mostly gives 0.0.0.0/8, so it says
    // something only by a class that is worth naming.
    let guess = |class: &AddressClass| {
        is_local_nat64(address) && matches!(class, AddressClass::Unspecified | AddressClass::Reserved)
    };
    inner.iter().find(|class| **class != AddressClass::Global && !guess(class)).copied()
}

/// Metadata services: AWS, Azure, Google, OpenStack and others; AWS ECS and EKS credentials; Alibaba; Oracle; Azure's
/// wire server, which lies in public space.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// AWS, AWS EKS, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// IANA IPv4 special-purpose address registry; the first row that has an address names its class.
const CLASSES_V4: [(Ipv4Network, AddressClass); 17] = [
    v4([0, 0, 0, 0], 32, AddressClass::Unspecified),
    v4([0, 0, 0, 0], 8, AddressClass::Reserved),
    v4([10, 0, 0, 0], 8, AddressClass::Private),
    v4([100, 64, 0, 0], 10, AddressClass::Shared),
    v4([127, 0, 0, 0], 8, AddressClass::Loopback),
    v4([169, 254, 0, 0], 16, AddressClass::LinkLocal),
    v4([172, 16, 0, 0], 12, AddressClass::Private),
    v4([192, 0, 0, 0], 24, AddressClass::Reserved),
    v4([192, 0, 2, 0], 24, AddressClass::Documentation),
    v4([192, 88, 99, 0], 24, AddressClass::Reserved),
    v4([192, 168, 0, 0], 16, AddressClass::Private),
    v4([198, 18, 0, 0], 15, AddressClass::Benchmarking),
    v4([198, 51, 100, 0], 24, AddressClass::Documentation),
    v4([203, 0, 113, 0], 24, AddressClass::Documentation),
    v4([224, 0, 0, 0], 4, AddressClass::Multicast),
    v4([255, 255, 255, 255], 32, AddressClass::Broadcast),
    v4([240, 0, 0, 0], 4, AddressClass::Reserved),
];

/// IANA IPv6 special-purpose address registry, after the IPv4 addresses inside have been looked at.
const CLASSES_V6: [(Ipv6Network, AddressClass); 13] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressClass::Unspecified),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressClass::Loopback),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressClass::UniqueLocal),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::LinkLocal),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::Private),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, AddressClass::Multicast),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, AddressClass::Documentation),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, AddressClass::Documentation),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, AddressClass::Benchmarking),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressClass::Reserved),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Reserved),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Reserved),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Reserved),
];

/// Outside 2000::/3: the mapped form, and the well-known prefix of NAT64.
const REACHABLE_V6: [Ipv6Network; 2] =
    [network_v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), network_v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96)];

/// A row of [`CLASSES_V4`].
const fn v4(octets: [u8; 4], prefix: u8, class: AddressClass) -> (Ipv4Network, AddressClass) {
    let address = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
    (Ipv4Network::new_checked(address, prefix).expect("the rows' prefixes are at most 32"), class)
}

/// A row of [`CLASSES_V6`].
const fn v6(segments: [u16; 8], prefix: u8, class: AddressClass) -> (Ipv6Network, AddressClass) {
    (network_v6(segments, prefix), class)
}

const fn network_v6(segments: [u16; 8], prefix: u8) -> Ipv6Network {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Network::new_checked(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix).expect("the rows' prefixes are at most 128")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(class: AddressClass, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(classify(address.parse().expect("a good address")), class, "{address}");
        }
    }

    #[test]
    fn every_class_of_ipv4() {
        check(AddressClass::Unspecified, &["0.0.0.0"]);
        check(AddressClass::Loopback, &["127.0.0.0", "127.0.0.1", "127.255.255.254"]);
        check(AddressClass::Private, &["10.0.0.5", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1"]);
        check(AddressClass::Shared, &["100.64.0.0", "100.127.255.255"]);
        check(AddressClass::LinkLocal, &["169.254.0.1", "169.254.169.253", "169.254.255.255"]);
        check(AddressClass::Metadata, &["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200"]);
        check(AddressClass::Metadata, &["192.0.0.192", "168.63.129.16"]);
        check(AddressClass::Documentation, &["192.0.2.1", "198.51.100.1", "203.0.113.1"]);
        check(AddressClass::Benchmarking, &["198.18.0.1", "198.19.255.255"]);
        check(AddressClass::Multicast, &["224.0.0.1", "239.255.255.255"]);
        check(
            AddressClass::Reserved,
            &["0.0.0.1", "0.255.255.255", "192.0.0.1", "192.88.99.1", "240.0.0.1", "255.255.255.254"],
        );
        check(AddressClass::Broadcast, &["255.255.255.255"]);
    }

    #[test]
    fn neighbours_of_every_class_of_ipv4_are_global() {
        check(AddressClass::Global, &["1.0.0.0", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"]);
        check(AddressClass::Global, &["192.167.255.255", "192.169.0.0", "100.63.255.255", "100.128.0.0"]);
        check(AddressClass::Global, &["126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0"]);
        check(AddressClass::Global, &["192.0.1.255", "192.0.3.0", "198.51.99.255", "198.51.101.0", "203.0.112.255"]);
        check(AddressClass::Global, &["203.0.114.0", "198.17.255.255", "198.20.0.0", "192.88.98.255", "192.88.100.0"]);
        check(AddressClass::Global, &["223.255.255.255", "168.63.129.15", "168.63.129.17", "8.8.8.8"]);
        check(AddressClass::Shared, &["100.100.100.199"]);
    }

    #[test]
    fn every_class_of_ipv6() {
        check(AddressClass::Unspecified, &["::"]);
        check(AddressClass::Loopback, &["::1"]);
        check(AddressClass::UniqueLocal, &["fc00::1", "fdff:ffff::1", "fd00:ec2::253"]);
        check(AddressClass::LinkLocal, &["fe80::1", "febf::1"]);
        check(AddressClass::Private, &["fec0::1", "feff::1"]);
        check(AddressClass::Metadata, &["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"]);
        check(AddressClass::Multicast, &["ff02::1"]);
        check(AddressClass::Documentation, &["2001:db8::1", "3fff::1", "3fff:fff::1"]);
        check(AddressClass::Benchmarking, &["2001:2::1"]);
        check(
            AddressClass::Reserved,
            &["100::1", "5f00::1", "2001:10::1", "2001:1ff::1", "4000::1", "fbff::1", "1::1"],
        );
        check(AddressClass::Global, &["2001:200::1", "2001:db7::1", "2001:db9::1", "2606:4700::1111", "2a00::1"]);
        check(AddressClass::Global, &["2003::1", "2000::1", "3ffe::1", "3fff:1000::1"]);
    }

    #[test]
    fn ipv4_in_ipv6_counts_as_what_it_is() {
        check(AddressClass::Loopback, &["::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "fe80::5efe:7f00:1"]);
        check(AddressClass::Private, &["64:ff9b::a00:1", "64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::", "2002:a00:1::1"]);
        check(AddressClass::Private, &["2001:0:4136:e378:8000:63bf:f5ff:fffa", "2a00:1:2:3:200:5efe:a00:5"]);
        check(
            AddressClass::Metadata,
            &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "64:ff9b:1::a9fe:a9fe"],
        );
        check(AddressClass::Unspecified, &["::ffff:0.0.0.0", "64:ff9b::"]);
        check(AddressClass::Global, &["::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1:2:3:0:5efe:808:808"]);
        // Forms that lead to a global address over relays which no longer exist, or where the prefix is not public.
        check(
            AddressClass::Reserved,
            &["::8.8.8.8", "2002:808:808::1", "2001:0:808:808:8000:63bf:f7f7:f7f7", "64:ff9b:1::808:808"],
        );
        check(AddressClass::LinkLocal, &["fe80::5efe:808:808"]);
    }

    proptest! {
        #[test]
        fn the_mapped_form_has_the_class_of_its_address(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(classify(IpAddr::V6(address.to_ipv6_mapped())), classify(IpAddr::V4(address)));
        }

        #[test]
        fn no_form_makes_an_address_global(bits: u32, prefix in 0_usize..6) {
            let inner = Ipv4Addr::from_bits(bits);
            let low = u128::from(bits);
            let forms = [
                low,
                0xffff << 32 | low,
                0x0064_ff9b << 96 | low,
                0x0064_ff9b_0001 << 80 | low,
                0x2002 << 112 | low << 80,
                0x2a00 << 112 | 0x5efe << 32 | low,
            ];
            let outer = classify(IpAddr::V6(Ipv6Addr::from_bits(forms[prefix])));
            prop_assert!(outer != AddressClass::Global || classify(IpAddr::V4(inner)) == AddressClass::Global);
        }
    }
}

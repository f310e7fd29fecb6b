//! Which addresses may be dialled.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;

use super::class::{AddressClass, classify};
use super::embedded::embedded;

/// Which addresses may be dialled.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// Networks that are opened although their class is refused (`internal_destinations`).
    pub internal: Vec<IpNetwork>,
    /// Where this proxy listens, with `0.0.0.0` and `::` written out by whoever knows the machine's addresses. Left as
    /// they are, they stand for the loopback addresses only.
    pub own: Vec<SocketAddr>,
}

impl AddressRules {
    /// Whether `address` may be dialled; the class that forbids it otherwise.
    ///
    /// Own addresses, unspecified, multicast and broadcast ones are opened by nothing; a metadata service only by a
    /// network that is this one address.
    pub fn check(&self, address: SocketAddr) -> Result<(), AddressClass> {
        if self.is_own(address) {
            return Err(AddressClass::Own);
        }
        match classify(address.ip()) {
            AddressClass::Global => Ok(()),
            class if class.can_be_opened() && self.opens(address.ip(), class) => Ok(()),
            class => Err(class),
        }
    }

    /// Whether a connection would come back to this proxy.
    fn is_own(&self, address: SocketAddr) -> bool {
        let targets = seen_through(address.ip());
        self.own.iter().filter(|own| own.port() == address.port()).any(|own| {
            let own = own.ip().to_canonical();
            targets.iter().any(|target| *target == own || own.is_unspecified() && target.is_loopback())
        })
    }

    /// Whether a network of `internal` has the address. Only the mapped form counts as the IPv4 address in it: any
    /// other leads through a translator that the network's name says nothing about.
    fn opens(&self, address: IpAddr, class: AddressClass) -> bool {
        let plain = address.to_canonical();
        self.internal.iter().any(|network| {
            let names = network.contains(address) || network.contains(plain);
            names && (class != AddressClass::Metadata || is_single(network))
        })
    }
}

fn is_single(network: &IpNetwork) -> bool {
    match network {
        IpNetwork::V4(network) => network.prefix() == 32,
        IpNetwork::V6(network) => network.prefix() == 128,
    }
}

/// The address and every IPv4 address in it.
fn seen_through(address: IpAddr) -> Vec<IpAddr> {
    let inner = match address {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(address) => embedded(address).map(IpAddr::V4).collect(),
    };
    std::iter::once(address).chain(inner).collect()
}

/// The addresses that one machine may have, as one of them: an IPv4 address, or the /64 of an IPv6 address, of which every
/// machine has a whole one to choose from. What is counted by address is counted by this.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(internal: &[&str], own: &[&str]) -> AddressRules {
        AddressRules {
            internal: internal.iter().map(|network| network.parse().expect("a good network")).collect(),
            own: own.iter().map(|address| address.parse().expect("a good address")).collect(),
        }
    }

    fn check(rules: &AddressRules, address: &str, expected: Result<(), AddressClass>) {
        assert_eq!(rules.check(address.parse().expect("a good address")), expected, "{address}");
    }

    #[test]
    fn without_exceptions_only_global_addresses_are_dialled() {
        let rules = rules(&[], &[]);
        check(&rules, "8.8.8.8:443", Ok(()));
        check(&rules, "[2606:4700::1111]:443", Ok(()));
        check(&rules, "10.0.0.5:443", Err(AddressClass::Private));
        check(&rules, "[::ffff:10.0.0.5]:443", Err(AddressClass::Private));
        check(&rules, "127.0.0.1:443", Err(AddressClass::Loopback));
    }

    #[test]
    fn an_internal_network_opens_what_lies_in_it() {
        let rules = rules(&["10.20.0.0/24", "127.0.0.0/8", "fd00:1::/32", "198.51.100.0/24"], &[]);
        check(&rules, "10.20.0.7:443", Ok(()));
        check(&rules, "[::ffff:10.20.0.7]:443", Ok(()));
        check(&rules, "127.0.0.1:8443", Ok(()));
        check(&rules, "[fd00:1::7]:443", Ok(()));
        check(&rules, "198.51.100.9:443", Ok(()));
        check(&rules, "10.20.1.7:443", Err(AddressClass::Private));
        check(&rules, "[fd00:2::7]:443", Err(AddressClass::UniqueLocal));
        // A translator's or tunnel's address leads elsewhere than the network named.
        check(&rules, "[64:ff9b::a14:7]:443", Err(AddressClass::Private));
        check(&rules, "[::10.20.0.7]:443", Err(AddressClass::Private));
    }

    #[test]
    fn some_classes_are_opened_by_nothing() {
        let rules = rules(&["0.0.0.0/0", "::/0"], &[]);
        check(&rules, "10.0.0.1:443", Ok(()));
        check(&rules, "0.0.0.0:443", Err(AddressClass::Unspecified));
        check(&rules, "[::]:443", Err(AddressClass::Unspecified));
        check(&rules, "224.0.0.1:443", Err(AddressClass::Multicast));
        check(&rules, "255.255.255.255:443", Err(AddressClass::Broadcast));
        check(&rules, "169.254.169.254:80", Err(AddressClass::Metadata));
        check(&rules, "[64:ff9b::a9fe:a9fe]:80", Err(AddressClass::Metadata));
    }

    #[test]
    fn metadata_is_opened_by_its_own_address_only() {
        check(&rules(&["169.254.0.0/16"], &[]), "169.254.169.254:80", Err(AddressClass::Metadata));
        check(&rules(&["169.254.0.0/16"], &[]), "169.254.1.1:80", Ok(()));
        check(&rules(&["169.254.169.254/32"], &[]), "169.254.169.254:80", Ok(()));
        check(&rules(&["fd00:ec2::254/128"], &[]), "[fd00:ec2::254]:80", Ok(()));
    }

    #[test]
    fn what_listens_here_is_never_dialled() {
        let rules =
            rules(&["10.0.0.0/8", "127.0.0.0/8", "::/0"], &["10.20.0.1:3128", "0.0.0.0:9464", "127.0.0.1:9180"]);
        check(&rules, "10.20.0.1:3128", Err(AddressClass::Own));
        check(&rules, "[::ffff:10.20.0.1]:3128", Err(AddressClass::Own));
        check(&rules, "[64:ff9b::a14:1]:3128", Err(AddressClass::Own));
        check(&rules, "127.0.0.1:9180", Err(AddressClass::Own));
        check(&rules, "127.0.0.9:9464", Err(AddressClass::Own));
        check(&rules, "[::1]:9464", Err(AddressClass::Own));
        check(&rules, "10.20.0.1:443", Ok(()));
        check(&rules, "10.20.0.2:3128", Ok(()));
        check(&rules, "127.0.0.2:9180", Ok(()));
    }
}

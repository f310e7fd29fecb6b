//! The register read from end to end, entry by entry: what each lookup means, and what it must agree with.
//!
//! Tests only. The registers here are drawn at random from few hosts, networks and proofs, so that much of each overlaps,
//! also in ways that compiling refuses.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnetwork::IpNetwork;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::checks::alike;
use super::compile::{Text, compile};
use super::index::{Index, Lists, suspensions};
use super::source::tie;
use super::{
    Allowance, Endpoint, From, Id, Interception, Order, OrderAction, Permission, Recipient, Register, Scope, Source,
    Transfer,
};
use crate::destination::{Destination, Host, HostPattern, Scheme};
use crate::vocabulary::Country;

const HOSTS: [&str; 7] =
    ["example", "a.example", "b.a.example", "c.b.a.example", "c.example", "192.0.2.1", "[2001:db8::1]"];
const PATTERNS: [&str; 9] = [
    "any",
    "*.example",
    "*.a.example",
    "*.b.a.example",
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "192.0.2.1",
    "[2001:db8::1]",
];
const PORTS: [u16; 3] = [443, 80, 8443];
const NETWORKS: [&str; 8] =
    ["0.0.0.0/0", "10.0.0.0/8", "10.20.0.0/16", "10.20.0.0/28", "10.20.0.16/28", "11.0.0.0/8", "::/0", "2001:db8::/32"];
const ADDRESSES: [&str; 7] =
    ["10.20.0.5", "10.20.0.17", "10.20.1.1", "10.255.0.1", "192.0.2.1", "2001:db8::1", "::ffff:10.20.0.5"];
const CERTIFICATES: [&str; 3] = ["a.example", "A.Example", "b.example"];
const USERS: [&str; 2] = ["one", "two"];
const COUNTRIES: [&str; 2] = ["FR", "NO"];

/// One entry of each kind, whose other fields matter to no lookup.
static OF_ALL: LazyLock<Register> = LazyLock::new(|| {
    let text = ONE_OF_EACH.to_owned();
    compile(&[Text { name: String::new(), text }]).expect("a register without fault").register
});

const ONE_OF_EACH: &str = "
controller: {name: C, country: MA, time_zone: Africa/Casablanca}
processing: [{id: p, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame]}]
sources: [{id: s, networks: [10.0.0.0/8]}]
recipients: [{id: r, name: R, country: FR, destinations: [{host: a.example}]}]
transfers: [{id: t, processing: p, from: [s], to: r, regimes: [ma-09-08], purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame]}]
allowances: [{id: a, to: [{host: b.example}], from: [any]}]
";

/// A register, and an exchange that much of it comes near to.
#[derive(Debug)]
pub struct Case {
    /// Not compiled, but put together.
    pub register: Register,
    /// Address, names of the certificate, user.
    pub peer: (IpAddr, Vec<String>, Option<String>),
    /// Where to.
    pub destination: Destination,
}

/// Registers of a few entries of each kind, with an exchange each.
pub fn cases() -> impl Strategy<Value = Case> {
    let sources = vec((networks(), option::of(select(&CERTIFICATES[..])), option::of(select(&USERS[..]))), 1..7);
    let recipients = vec((select(&COUNTRIES[..]), vec(endpoint(), 1..4)), 1..5);
    let transfers = vec((from(), any::<prop::sample::Index>()), 0..8);
    let allowances = vec((from(), vec(endpoint(), 1..4)), 0..5);
    let orders = vec((scope(), any::<bool>()), 0..4);
    let peer = (select(&ADDRESSES[..]), subsequence(CERTIFICATES.to_vec(), 0..=2), option::of(select(&USERS[..])));
    let destination = (select(&HOSTS[..]), select(&PORTS[..]), select(vec![Scheme::Https, Scheme::Http]));
    let register = (sources, recipients, transfers, allowances, orders).prop_map(register);
    (register, peer, destination).prop_map(|(register, peer, destination)| {
        let (address, certificate, user) = peer;
        let certificate = certificate.into_iter().map(str::to_owned).collect();
        let peer = (address.parse().expect("an address"), certificate, user.map(str::to_owned));
        let (host, port, scheme) = destination;
        let destination = Destination { host: Host::parse(host).expect("a host"), port, scheme };
        Case { register, peer, destination }
    })
}

type SourceDrawn = (Vec<IpNetwork>, Option<&'static str>, Option<&'static str>);
type Drawn = (
    Vec<SourceDrawn>,
    Vec<(&'static str, Vec<Endpoint>)>,
    Vec<(From, prop::sample::Index)>,
    Vec<(From, Vec<Endpoint>)>,
    Vec<(Scope, bool)>,
);

fn register((sources, recipients, transfers, allowances, orders): Drawn) -> Register {
    let of_all = &*OF_ALL;
    let mut register = compile(&[]).expect("nothing is a register").register;
    for (number, (networks, certificate, user)) in sources.into_iter().enumerate() {
        let mut source = Source { id: id("s", number), networks, ..Source::clone(&of_all.sources[0]) };
        (source.client_certificate, source.user) = (certificate.map(str::to_owned), user.map(str::to_owned));
        register.sources.push(Arc::new(source));
    }
    for (number, (country, endpoints)) in recipients.into_iter().enumerate() {
        let country = Country::parse(country).expect("a country");
        let like = Recipient::clone(&of_all.recipients[0]);
        register.recipients.push(Arc::new(Recipient { id: id("r", number), country, endpoints, ..like }));
    }
    for (number, (from, to)) in transfers.into_iter().enumerate() {
        let to = Arc::clone(to.get(&register.recipients));
        let like = Transfer::clone(&of_all.transfers[0]);
        register.transfers.push(Arc::new(Transfer { id: id("t", number), from, to, ..like }));
    }
    for (number, (from, to)) in allowances.into_iter().enumerate() {
        let like = Allowance::clone(&of_all.allowances[0]);
        register.allowances.push(Arc::new(Allowance { id: id("a", number), from, to, ..like }));
    }
    for (number, (scope, lifted)) in orders.into_iter().enumerate() {
        let (authority, reference) = ("CNDP".to_owned(), number.to_string());
        let action = OrderAction::Suspend { scope, lifted };
        register.orders.push(Order { authority, reference, date: None, action });
    }
    register.index = Index::of(&Lists {
        sources: &register.sources,
        recipients: &register.recipients,
        transfers: &register.transfers,
        allowances: &register.allowances,
    })
    .into();
    register.suspensions = suspensions(&register.orders);
    register
}

fn id(kind: &str, number: usize) -> Id {
    Id::new(&format!("{kind}{number}")).expect("an id")
}

fn networks() -> impl Strategy<Value = Vec<IpNetwork>> {
    let chosen = subsequence(NETWORKS.to_vec(), 0..=3).prop_shuffle();
    chosen.prop_map(|texts| texts.iter().map(|text| text.parse().expect("a network")).collect())
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let drawn = (select(&PATTERNS[..]), select(&PORTS[..]), select(vec![Scheme::Https, Scheme::Http]));
    drawn.prop_map(|(host, port, scheme)| Endpoint {
        host: HostPattern::parse(host).expect("a pattern"),
        port,
        scheme,
        pins: Vec::new(),
        networks: Vec::new(),
        interception: Interception::Allowed,
    })
}

fn from() -> impl Strategy<Value = From> {
    let some = btree_set(0..7usize, 1..4);
    let some = some.prop_map(|numbers| From::Sources(numbers.into_iter().map(|number| id("s", number)).collect()));
    prop_oneof![1 => Just(From::Any), 3 => some]
}

fn scope() -> impl Strategy<Value = Scope> {
    let number = || 0..5usize;
    prop_oneof![
        number().prop_map(|number| Scope::Transfer(id("t", number))),
        number().prop_map(|number| Scope::Recipient(id("r", number))),
        number().prop_map(|number| Scope::Source(id("s", number))),
        select(&COUNTRIES[..]).prop_map(|country| Scope::Country(Country::parse(country).expect("a country"))),
        Just(Scope::Everything),
    ]
}

/// Everything written must match; more kinds of proof win, then the longest prefix; of two equals neither.
fn source_of(case: &Case) -> Option<&Arc<Source>> {
    let (address, certificate, user) = &case.peer;
    let address = address.to_canonical();
    let proof = |source: &Source| {
        let networks = source.networks.iter();
        let prefix = networks.filter(|network| network.contains(address)).map(IpNetwork::prefix).max();
        let has = |name: &String| certificate.iter().any(|given| given.eq_ignore_ascii_case(name));
        let by_network = source.networks.is_empty() || prefix.is_some();
        let by_certificate = source.client_certificate.as_ref().is_none_or(has);
        let by_user = source.user.as_ref().is_none_or(|name| user.as_ref() == Some(name));
        let written = [!source.networks.is_empty(), source.client_certificate.is_some(), source.user.is_some()];
        let kinds = written.iter().filter(|written| **written).count();
        (kinds > 0 && by_network && by_certificate && by_user).then_some((kinds, prefix))
    };
    let best = case.register.sources.iter().filter_map(|source| proof(source)).max()?;
    let mut equal = case.register.sources.iter().filter(|source| proof(source) == Some(best));
    equal.next().filter(|_| equal.next().is_none())
}

/// Of the endpoints that match, the one whose host says most: exact, then the longest suffix, then any.
fn most_exact(endpoints: &[Endpoint], destination: &Destination) -> Option<usize> {
    let exactness = |endpoint: &Endpoint| match &endpoint.host {
        HostPattern::Exact(_) => (0, Reverse(0)),
        HostPattern::Suffix(suffix) => (1, Reverse(suffix.as_str().len())),
        HostPattern::Any => (2, Reverse(0)),
    };
    let matching = endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.matches(destination));
    matching.min_by_key(|(_, endpoint)| exactness(endpoint)).map(|(place, _)| place)
}

fn permissions(register: &Register, source: &Id, destination: &Destination) -> Vec<(Id, usize)> {
    let transfers = register.transfers.iter().filter(|transfer| transfer.from.includes(source));
    let transfers =
        transfers.filter_map(|transfer| Some((transfer.id.clone(), most_exact(&transfer.to.endpoints, destination)?)));
    let allowances = register.allowances.iter().filter(|allowance| allowance.from.includes(source));
    let allowances =
        allowances.filter_map(|allowance| Some((allowance.id.clone(), most_exact(&allowance.to, destination)?)));
    transfers.chain(allowances).collect()
}

fn recipients_at<'r>(register: &'r Register, host: &Host) -> Vec<&'r Id> {
    let at_host = |recipient: &&Arc<Recipient>| recipient.endpoints.iter().any(|endpoint| endpoint.host.matches(host));
    register.recipients.iter().filter(at_host).map(|recipient| &recipient.id).collect()
}

/// Whether an order stops an exchange itself, whatever it would leave under.
fn is_against(order: &Order, register: &Register, source: Option<&Source>, host: &Host) -> bool {
    let recipients = recipients_at(register, host);
    match &order.action {
        OrderAction::Suspend { lifted: true, .. }
        | OrderAction::Comply { .. }
        | OrderAction::Complied { .. }
        | OrderAction::Lift { .. } => false,
        OrderAction::Suspend { scope, lifted: false } => match scope {
            Scope::Everything => true,
            Scope::Source(id) => source.is_some_and(|source| source.id == *id),
            Scope::Recipient(id) => recipients.contains(&id),
            Scope::Country(country) => register
                .recipients
                .iter()
                .any(|recipient| recipients.contains(&&recipient.id) && recipient.country == *country),
            Scope::Transfer(_) => false,
        },
    }
}

fn references<'o>(orders: impl IntoIterator<Item = &'o Order>) -> Vec<&'o str> {
    orders.into_iter().map(|order| order.reference.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_peer_is_the_source_that_a_scan_finds(case in cases()) {
        let (address, certificate, user) = &case.peer;
        let found = case.register.source_of(*address, certificate, user.as_deref());
        prop_assert_eq!(found.map(|source| &source.id), source_of(&case).map(|source| &source.id));
    }

    #[test]
    fn sources_that_cannot_be_told_apart_are_found_without_comparing_each_with_each(case in cases()) {
        let sources: Vec<&Source> = case.register.sources.iter().map(AsRef::as_ref).collect();
        let pairs = alike(&sources);
        for (later, source) in sources.iter().enumerate() {
            for (earlier, other) in sources[..later].iter().enumerate() {
                prop_assert!(tie(other, source).is_none() || pairs.contains(&(earlier, later)), "{other:?} {source:?}");
            }
        }
    }

    #[test]
    fn what_is_declared_for_each_source_is_what_a_scan_finds(case in cases()) {
        let Case { register, destination, .. } = &case;
        for number in 0..8 {
            let source = id("s", number);
            if !register.sources.iter().any(|declared| declared.id == source) {
                continue;
            }
            let found: Vec<_> = register.permissions(&source, destination).into_iter().map(|permission| match permission {
                Permission::Transfer(transfer, endpoint) => (transfer.id.clone(), endpoint),
                Permission::Allowance(allowance, endpoint) => (allowance.id.clone(), endpoint),
            }).collect();
            prop_assert_eq!(found, permissions(register, &source, destination));
        }
    }

    #[test]
    fn who_and_what_is_at_a_destination_is_what_a_scan_finds(case in cases()) {
        let Case { register, destination, .. } = &case;
        let recipients: Vec<_> = register.recipients_at(&destination.host).map(|recipient| &recipient.id).collect();
        prop_assert_eq!(recipients, recipients_at(register, &destination.host));
        let leads = |transfer: &&Arc<Transfer>| transfer.to.endpoints.iter().any(|endpoint| endpoint.matches(destination));
        let transfers: Vec<_> = register.transfers_to(destination).map(|transfer| &transfer.id).collect();
        let scanned: Vec<_> = register.transfers.iter().filter(leads).map(|transfer| &transfer.id).collect();
        prop_assert_eq!(transfers, scanned);
    }

    #[test]
    fn the_orders_that_stop_something_are_those_that_a_scan_finds(case in cases()) {
        let Case { register, destination: Destination { host, .. }, .. } = &case;
        for source in register.sources.iter().map(|source| Some(source.as_ref())).chain([None]) {
            let scanned = register.orders.iter().filter(|order| is_against(order, register, source, host));
            prop_assert_eq!(references(register.orders_against(source, host)), references(scanned));
        }
        for transfer in &register.transfers {
            let scope = Scope::Transfer(transfer.id.clone());
            let scanned = register.orders.iter().filter(|order| {
                matches!(&order.action, OrderAction::Suspend { scope: stopped, lifted: false } if *stopped == scope)
            });
            prop_assert_eq!(references(register.orders_on_transfer(&transfer.id)), references(scanned));
        }
    }
}

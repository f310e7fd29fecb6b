//! The way into a register: what a decision looks up is found by host, by network and by id, so that it costs the same
//! whether one transfer is declared or a hundred thousand.
//!
//! Entries are known here by their position in the lists of the [`Register`], which are in the order of the ids. A
//! *place* is one host pattern as declared; every entry that is at the same pattern shares it. [`super::lookup`] asks
//! this index in the words of the register, and [`super::linear`] is the scan that it must agree with.

use std::hash::Hash;
use std::iter;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use foldhash::{HashMap, HashMapExt as _};

use super::networks::Networks;
use super::{Allowance, Endpoint, From, Id, ModeSetting, Order, OrderAction, Recipient, Scope, Source, Transfer};
use crate::destination::{Host, HostName, HostPattern, Scheme};

/// Stands for `from: [any]` where the position of a source stands.
pub(super) const ANY_SOURCE: u32 = u32::MAX;

/// Where everything is. Built once with the register, and immutable like it.
#[derive(Debug)]
pub(super) struct Index {
    pub places: Places,
    /// By place: recipient and endpoint of it.
    pub recipients: Grouped<2>,
    /// By recipient: source and transfer.
    pub transfers: Grouped<2>,
    /// By recipient: transfer.
    pub transfers_to: Grouped<1>,
    /// By place: source, allowance and endpoint of it.
    pub allowances: Grouped<3>,
    /// By place: allowance and endpoint of it.
    pub allowances_at: Grouped<2>,
    pub sources: Names,
    pub recipient_names: Names,
    pub transfer_names: Names,
    pub allowance_names: Names,
    pub proofs: Proofs,
    /// The modes that transfers and allowances set of their own.
    pub modes: [Vec<ModeSetting>; 2],
}

/// Positions of orders by what they stop.
pub(super) type Suspensions = HashMap<Scope, Vec<u32>>;

/// The lists that an index leads into.
pub(super) struct Lists<'r> {
    pub sources: &'r [Arc<Source>],
    pub recipients: &'r [Arc<Recipient>],
    pub transfers: &'r [Arc<Transfer>],
    pub allowances: &'r [Arc<Allowance>],
}

impl Index {
    pub fn of(lists: &Lists<'_>) -> Index {
        let sources = Names::of(lists.sources.iter().map(|source| &source.id));
        let recipient_names = Names::of(lists.recipients.iter().map(|recipient| &recipient.id));
        let mut places = Places::default();

        let mut recipients = Vec::new();
        for (recipient, position) in lists.recipients.iter().zip(0..) {
            for (place, endpoint) in places.of_endpoints(&recipient.endpoints) {
                recipients.push((place, [position, endpoint]));
            }
        }
        let (mut transfers, mut transfers_to) = (Vec::new(), Vec::new());
        for (transfer, position) in lists.transfers.iter().zip(0..) {
            let Some(recipient) = recipient_names.position(&transfer.to.id) else { continue };
            transfers_to.push((recipient, [position]));
            transfers.extend(sources.named_by(&transfer.from).map(|source| (recipient, [source, position])));
        }
        let (mut allowances, mut allowances_at) = (Vec::new(), Vec::new());
        for (allowance, position) in lists.allowances.iter().zip(0..) {
            for (place, endpoint) in places.of_endpoints(&allowance.to) {
                allowances_at.push((place, [position, endpoint]));
                let from = sources.named_by(&allowance.from);
                allowances.extend(from.map(|source| (place, [source, position, endpoint])));
            }
        }
        Index {
            recipients: Grouped::of(places.count, recipients),
            transfers: Grouped::of(lists.recipients.len(), transfers),
            transfers_to: Grouped::of(lists.recipients.len(), transfers_to),
            allowances: Grouped::of(places.count, allowances),
            allowances_at: Grouped::of(places.count, allowances_at),
            places,
            sources,
            recipient_names,
            transfer_names: Names::of(lists.transfers.iter().map(|transfer| &transfer.id)),
            allowance_names: Names::of(lists.allowances.iter().map(|allowance| &allowance.id)),
            proofs: Proofs::of(lists.sources),
            modes: [
                lists.transfers.iter().filter_map(|transfer| transfer.mode).collect(),
                lists.allowances.iter().filter_map(|allowance| allowance.mode).collect(),
            ],
        }
    }
}

/// The suspensions that were not lifted, by what they stop, in the order of the register. Apart from the index, because an
/// order that comes in changes nothing else.
pub(super) fn suspensions(orders: &[Order]) -> Suspensions {
    let mut suspensions = Suspensions::new();
    for (order, position) in orders.iter().zip(0..) {
        match &order.action {
            OrderAction::Suspend { scope, lifted: false } => {
                suspensions.entry(scope.clone()).or_default().push(position);
            }
            OrderAction::Suspend { lifted: true, .. }
            | OrderAction::Comply { .. }
            | OrderAction::Complied { .. }
            | OrderAction::Lift { .. } => {}
        }
    }
    suspensions
}

/// The host patterns of a register, numbered.
#[derive(Debug, Default)]
pub(super) struct Places {
    exact: HashMap<Host, u32>,
    suffixes: HashMap<HostName, u32>,
    any: Option<u32>,
    /// The networks that stand for names which are not told, where another protocol than HTTP is declared. Few are.
    networks: Vec<(IpNetwork, u32)>,
    count: usize,
}

impl Places {
    /// The places that cover a host, the one that says most first: exact, then the longest suffix, then any; then those
    /// whose networks have an address.
    pub fn covering<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = u32> {
        let exact = self.exact.get(host).copied();
        let name = host.name().filter(|_| !self.suffixes.is_empty()).map_or("", HostName::as_str);
        let above = iter::successors(above(name), |suffix| above(suffix));
        let suffixes = above.filter_map(|suffix| self.suffixes.get(suffix).copied());
        let address = host.address();
        let by_network =
            self.networks.iter().filter(move |(network, _)| address.is_some_and(|it| network.contains(it)));
        let by_network = by_network.map(|(_, place)| *place).filter(move |place| Some(*place) != exact);
        exact.into_iter().chain(suffixes).chain(self.any).chain(by_network)
    }

    /// The place of each endpoint, with the position of the endpoint.
    fn of_endpoints(&mut self, endpoints: &[Endpoint]) -> Vec<(u32, u32)> {
        endpoints.iter().map(|endpoint| self.of_endpoint(endpoint)).zip(0..).collect()
    }

    fn of_endpoint(&mut self, endpoint: &Endpoint) -> u32 {
        let place = self.number(&endpoint.host);
        let named = endpoint.networks.iter().filter(|_| endpoint.scheme == Scheme::Tcp);
        for network in named.map(|network| (*network, place)) {
            if !self.networks.contains(&network) {
                self.networks.push(network);
            }
        }
        place
    }

    fn number(&mut self, pattern: &HostPattern) -> u32 {
        let next = position(self.count);
        let number = match pattern {
            HostPattern::Exact(host) => numbered(&mut self.exact, host, next),
            HostPattern::Suffix(suffix) => numbered(&mut self.suffixes, suffix, next),
            HostPattern::Any => *self.any.get_or_insert(next),
        };
        self.count += usize::from(number == next);
        number
    }
}

fn numbered<K: Clone + Eq + Hash>(numbers: &mut HashMap<K, u32>, key: &K, next: u32) -> u32 {
    match numbers.get(key) {
        Some(number) => *number,
        None => *numbers.entry(key.clone()).or_insert(next),
    }
}

/// A name without its first label; `None` where that is its only one.
fn above(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, rest)| rest)
}

/// Positions by id.
#[derive(Debug)]
pub(super) struct Names(HashMap<Id, u32>);

impl Names {
    fn of<'i>(ids: impl Iterator<Item = &'i Id>) -> Names {
        Names(ids.cloned().zip(0..).collect())
    }

    pub fn position(&self, id: &Id) -> Option<u32> {
        self.0.get(id).copied()
    }

    /// The positions of the sources that a permission is for.
    fn named_by<'n>(&'n self, from: &'n From) -> impl Iterator<Item = u32> {
        let (any, ids) = match from {
            From::Any => (Some(ANY_SOURCE), &[][..]),
            From::Sources(ids) => (None, ids.as_slice()),
        };
        any.into_iter().chain(ids.iter().filter_map(|id| self.position(id)))
    }
}

/// Rows of numbers by a number from zero up; within each in their order.
#[derive(Debug)]
pub(super) struct Grouped<const N: usize> {
    /// Where the rows of a key begin; one more than there are keys.
    starts: Vec<u32>,
    rows: Vec<[u32; N]>,
}

impl<const N: usize> Grouped<N> {
    /// Groups rows by keys below `keys`; a row that comes twice is one.
    pub fn of(keys: usize, mut rows: Vec<(u32, [u32; N])>) -> Grouped<N> {
        rows.sort_unstable();
        rows.dedup();
        let mut starts = vec![0; keys + 1];
        for (key, _) in &rows {
            starts[*key as usize + 1] += 1;
        }
        for key in 0..keys {
            starts[key + 1] += starts[key];
        }
        Grouped { starts, rows: rows.into_iter().map(|(_, row)| row).collect() }
    }

    /// The rows of a key.
    pub fn of_key(&self, key: u32) -> &[[u32; N]] {
        let key = key as usize;
        &self.rows[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    /// Those rows of a key that begin with `first`.
    pub fn beginning(&self, key: u32, first: u32) -> &[[u32; N]] {
        let rows = self.of_key(key);
        let from = rows.partition_point(|row| row[0] < first);
        let length = rows[from..].partition_point(|row| row[0] == first);
        &rows[from..from + length]
    }

    /// Whether this row stands under a key.
    pub fn has(&self, key: u32, row: [u32; N]) -> bool {
        self.of_key(key).binary_search(&row).is_ok()
    }
}

/// The sources by the proof that tells most: the user that they want, else the certificate, else the network.
#[derive(Debug)]
pub(super) struct Proofs {
    pub networks: Networks,
    users: HashMap<String, Vec<u32>>,
    /// Those that want a user and have no networks.
    pub wanting_anywhere: Vec<u32>,
    /// By the name in lower case.
    certificates: HashMap<String, Vec<u32>>,
}

impl Proofs {
    fn of(sources: &[Arc<Source>]) -> Proofs {
        let mut users: HashMap<String, Vec<u32>> = HashMap::new();
        let mut certificates: HashMap<String, Vec<u32>> = HashMap::new();
        for (source, position) in sources.iter().zip(0..) {
            match (&source.user, &source.client_certificate) {
                (Some(user), _) => users.entry(user.clone()).or_default().push(position),
                (None, Some(name)) => certificates.entry(name.to_ascii_lowercase()).or_default().push(position),
                (None, None) => {}
            }
        }
        let anywhere = |source: &Source| source.user.is_some() && source.networks.is_empty();
        let wanting_anywhere =
            sources.iter().zip(0..).filter(|(source, _)| anywhere(source)).map(|(_, position)| position).collect();
        Proofs { networks: Networks::of(sources), users, wanting_anywhere, certificates }
    }

    /// The sources that want this user, or no user and one of these certificates. Each once, in no order.
    pub fn claimed(&self, certificate: &[String], user: Option<&str>) -> Vec<u32> {
        let of_user = user.and_then(|user| self.users.get(user)).into_iter().flatten();
        let names = certificate.iter().filter(|_| !self.certificates.is_empty());
        let of_names = names.filter_map(|name| self.certificates.get(&name.to_ascii_lowercase())).flatten();
        let mut claimed: Vec<u32> = of_user.chain(of_names).copied().collect();
        claimed.sort_unstable();
        claimed.dedup();
        claimed
    }
}

/// A position as it is kept: a register of four thousand million entries would not fit any memory.
pub(super) fn position(position: usize) -> u32 {
    u32::try_from(position).expect("every entry takes up more than one byte of a memory that is addressed in bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_key_and_their_beginning() {
        let grouped = Grouped::of(4, vec![(2, [7, 1]), (0, [5, 5]), (2, [3, 9]), (2, [7, 0]), (2, [7, 1])]);
        assert_eq!(grouped.of_key(2), [[3, 9], [7, 0], [7, 1]]);
        assert_eq!(grouped.of_key(1), [[0; 2]; 0]);
        assert_eq!(grouped.of_key(3), [[0; 2]; 0]);
        assert_eq!(grouped.beginning(2, 7), [[7, 0], [7, 1]]);
        assert_eq!(grouped.beginning(2, 4), [[0; 2]; 0]);
        assert!(grouped.has(0, [5, 5]) && !grouped.has(0, [5, 4]));
    }

    #[test]
    fn places_come_from_the_narrowest_to_the_widest_and_a_suffix_is_never_its_own_apex() {
        let pattern = |text: &str| HostPattern::parse(text).expect("a pattern");
        let mut places = Places::default();
        let numbers =
            ["any", "*.example", "*.b.example", "a.b.example", "b.example"].map(|text| places.number(&pattern(text)));
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(places.number(&pattern("*.b.example")), 2, "a pattern has one place");
        let covering = |text: &str| places.covering(&Host::parse(text).expect("a host")).collect::<Vec<_>>();
        assert_eq!(covering("a.b.example"), [3, 2, 1, 0]);
        assert_eq!(covering("b.example"), [4, 1, 0]);
        assert_eq!(covering("example"), [0]);
        assert_eq!(covering("192.0.2.1"), [0]);
    }
}

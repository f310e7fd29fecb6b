//! The networks of all sources, found by address.
//!
//! Two networks lie apart or one within the other, so that in the order of their first addresses every network comes
//! after those it lies within. The last one that begins at or before an address, or one of those around it, is the
//! smallest that holds the address; and all that are around that one hold it too.

use std::collections::HashMap;
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::Source;
use super::index::{Grouped, position};

/// Each network once, with the sources that are there.
#[derive(Debug)]
pub(super) struct Networks {
    /// In the order of first address and prefix.
    networks: Vec<Network>,
    /// The first address of each, by itself: a search in so little memory stays in the processor's cache.
    firsts: Firsts,
    /// By network: the sources that have it.
    owners: Grouped<1>,
    /// By network: the sources that have it and want no other proof.
    content: Grouped<1>,
    /// By network: the sources that have it and want a user.
    wanting: Grouped<1>,
}

#[derive(Debug)]
struct Network {
    range: IpNetwork,
    /// The smallest network that this one lies within.
    around: Option<u32>,
}

impl Networks {
    pub fn of(sources: &[Arc<Source>]) -> Networks {
        let mut ranges: Vec<IpNetwork> = sources.iter().flat_map(|source| source.networks.iter().copied()).collect();
        ranges.sort_unstable_by_key(|range| (range.ip(), range.prefix()));
        ranges.dedup();
        let numbers: HashMap<IpNetwork, u32> = ranges.iter().copied().zip(0..).collect();
        let (mut owners, mut content, mut wanting) = (Vec::new(), Vec::new(), Vec::new());
        for (source, owner) in sources.iter().zip(0..) {
            for number in source.networks.iter().filter_map(|range| numbers.get(range)) {
                owners.push((*number, [owner]));
                if source.client_certificate.is_none() && source.user.is_none() {
                    content.push((*number, [owner]));
                }
                if source.user.is_some() {
                    wanting.push((*number, [owner]));
                }
            }
        }
        let group = |rows| Grouped::of(ranges.len(), rows);
        let (owners, content, wanting) = (group(owners), group(content), group(wanting));
        let firsts = Firsts::of(&ranges);
        Networks { networks: nested(ranges), firsts, owners, content, wanting }
    }

    /// The longest network at `address` that a source has with no other proof, and all the sources that have it so.
    pub fn content_at(&self, address: IpAddr) -> Option<(u8, &[[u32; 1]])> {
        let owned = self.holding(address).map(|number| (self.prefix(number), self.content.of_key(number)));
        owned.into_iter().find(|(_, owners)| !owners.is_empty())
    }

    /// The sources that are at an address and want a user. A source comes once for each of its networks there.
    pub fn wanting_at(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        self.holding(address).flat_map(|number| self.wanting.of_key(number)).map(|[source]| *source)
    }

    /// The prefix of the longest network of `source` that holds `address`.
    pub fn prefix_of(&self, source: u32, address: IpAddr) -> Option<u8> {
        self.holding(address).find(|number| self.owners.has(*number, [source])).map(|number| self.prefix(number))
    }

    /// The networks that hold an address, the longest prefix first.
    fn holding(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        let around = |number: &u32| self.networks[*number as usize].around;
        let after = self.firsts.beginning_by(address);
        let last = after.checked_sub(1).map(position);
        iter::successors(last, around)
            .skip_while(move |number| !self.networks[*number as usize].range.contains(address))
    }

    fn prefix(&self, number: u32) -> u8 {
        self.networks[number as usize].range.prefix()
    }
}

/// First addresses in their order, those of IPv4 before those of IPv6.
#[derive(Debug)]
struct Firsts {
    v4: Vec<u32>,
    v6: Vec<u128>,
}

impl Firsts {
    fn of(ranges: &[IpNetwork]) -> Firsts {
        let mut firsts = Firsts { v4: Vec::new(), v6: Vec::new() };
        for range in ranges {
            match range.ip() {
                IpAddr::V4(first) => firsts.v4.push(first.to_bits()),
                IpAddr::V6(first) => firsts.v6.push(first.to_bits()),
            }
        }
        firsts
    }

    /// How many begin at or before an address.
    fn beginning_by(&self, address: IpAddr) -> usize {
        match address {
            IpAddr::V4(address) => self.v4.partition_point(|first| *first <= address.to_bits()),
            IpAddr::V6(address) => self.v4.len() + self.v6.partition_point(|first| *first <= address.to_bits()),
        }
    }
}

/// Finds the network around each of these, which come in the order of first address and prefix.
fn nested(ranges: Vec<IpNetwork>) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::with_capacity(ranges.len());
    let mut open: Vec<u32> = Vec::new();
    for (range, number) in ranges.into_iter().zip(0..) {
        while open.last().is_some_and(|last| !networks[*last as usize].range.contains(range.ip())) {
            open.pop();
        }
        networks.push(Network { range, around: open.last().copied() });
        open.push(number);
    }
    networks
}

//! What a decision asks a register: who is at a host, what is declared for a source and a destination, what comes near
//! it, which orders stop it. None of it depends on how much else is declared.

use std::sync::Arc;

use super::index::ANY_SOURCE;
use super::{Allowance, Endpoint, Id, ModeSetting, Order, Recipient, Register, Scope, Source, Transfer};
use crate::destination::{Destination, Host};

/// A transfer or allowance that is for a source and a destination, with the endpoint that says most of the host.
#[derive(Clone, Debug)]
pub enum Permission<'r> {
    /// A transfer, and the position of the endpoint in its recipient's list.
    Transfer(&'r Arc<Transfer>, usize),
    /// An allowance, and the position of the endpoint in its own list.
    Allowance(&'r Arc<Allowance>, usize),
}

/// An endpoint that has a host, whatever its port and scheme.
#[derive(Clone, Debug)]
pub struct Near<'r> {
    /// The endpoint.
    pub endpoint: &'r Endpoint,
    /// Whether it is declared for the source that is asked for.
    pub is_for_source: bool,
}

impl Register {
    /// The transfer with this id.
    pub fn transfer(&self, id: &Id) -> Option<&Arc<Transfer>> {
        self.index.transfer_names.position(id).map(|position| &self.transfers[position as usize])
    }

    /// The allowance with this id.
    pub fn allowance(&self, id: &Id) -> Option<&Arc<Allowance>> {
        self.index.allowance_names.position(id).map(|position| &self.allowances[position as usize])
    }

    /// The source with this id.
    pub fn source(&self, id: &Id) -> Option<&Arc<Source>> {
        self.index.sources.position(id).map(|position| &self.sources[position as usize])
    }

    /// The recipient with this id.
    pub fn recipient(&self, id: &Id) -> Option<&Arc<Recipient>> {
        self.index.recipient_names.position(id).map(|position| &self.recipients[position as usize])
    }

    /// The recipients one of whose endpoints has this host, whatever the port and scheme, in the order of their ids.
    pub fn recipients_at(&self, host: &Host) -> impl Iterator<Item = &Arc<Recipient>> {
        self.recipient_positions(host).into_iter().map(|position| &self.recipients[position as usize])
    }

    /// The transfers to a destination, from whichever source, in the order of their ids.
    pub fn transfers_to(&self, destination: &Destination) -> impl Iterator<Item = &Arc<Transfer>> {
        let recipients = self.receiving(destination).into_iter().map(|[recipient, _]| recipient);
        let mut found: Vec<u32> = recipients
            .flat_map(|recipient| self.index.transfers_to.of_key(recipient))
            .map(|[transfer]| *transfer)
            .collect();
        found.sort_unstable();
        found.into_iter().map(|transfer| &self.transfers[transfer as usize])
    }

    /// What is declared for a source and a destination: transfers first, each in the order of the ids.
    pub fn permissions(&self, source: &Id, destination: &Destination) -> Vec<Permission<'_>> {
        self.index.sources.position(source).map_or_else(Vec::new, |source| self.permissions_at(source, destination))
    }

    /// [`Register::permissions`] of the source at this position.
    pub(crate) fn permissions_at(&self, source: u32, destination: &Destination) -> Vec<Permission<'_>> {
        let from = [source, ANY_SOURCE];
        let mut transfers: Vec<[u32; 2]> = Vec::new();
        for [recipient, endpoint] in self.receiving(destination) {
            let rows = from.iter().flat_map(|from| self.index.transfers.beginning(recipient, *from));
            transfers.extend(rows.map(|[_, transfer]| [*transfer, endpoint]));
        }
        transfers.sort_unstable();
        let transfer = |[transfer, endpoint]: [u32; 2]| {
            Permission::Transfer(&self.transfers[transfer as usize], endpoint as usize)
        };
        let allowance = |[allowance, endpoint]: [u32; 2]| {
            Permission::Allowance(&self.allowances[allowance as usize], endpoint as usize)
        };
        let allowances = self.opened(&from, destination).into_iter().map(allowance);
        transfers.into_iter().map(transfer).chain(allowances).collect()
    }

    /// The endpoints with this host that a transfer or an allowance leads to, in the order of these and then of the
    /// endpoints; of transfers that differ in nothing that is told here, the last. Without a source, all are for it.
    pub fn near(&self, source: Option<&Id>, host: &Host) -> Vec<Near<'_>> {
        let source = source.map(|id| self.index.sources.position(id));
        let places = self.index.places.covering(host);
        let mut transfers: Vec<([u32; 2], bool)> = Vec::new();
        let mut allowances: Vec<([u32; 2], bool)> = Vec::new();
        for place in places {
            for [recipient, endpoint] in self.index.recipients.of_key(place) {
                let last = self.last_transfers(*recipient, source);
                transfers.extend(last.into_iter().flatten().map(|(transfer, is_for)| ([transfer, *endpoint], is_for)));
            }
            let at_place = self.index.allowances_at.of_key(place).iter();
            let is_for = |[allowance, endpoint]: &[u32; 2]| {
                is_for(source, |from| self.index.allowances.has(place, [from, *allowance, *endpoint]))
            };
            allowances.extend(at_place.map(|row| (*row, is_for(row))));
        }
        transfers.sort_unstable();
        allowances.sort_unstable();
        let transfer = |([transfer, endpoint], is_for_source): ([u32; 2], bool)| {
            let endpoint = &self.transfers[transfer as usize].to.endpoints[endpoint as usize];
            Near { endpoint, is_for_source }
        };
        let allowance = |([allowance, endpoint], is_for_source): ([u32; 2], bool)| Near {
            endpoint: &self.allowances[allowance as usize].to[endpoint as usize],
            is_for_source,
        };
        transfers.into_iter().map(transfer).chain(allowances.into_iter().map(allowance)).collect()
    }

    /// The orders that stop an exchange itself, whatever it would leave under, as the register lists them. An order on a
    /// recipient or country stops its hosts on every port: what an authority stops is a person, not a service.
    pub fn orders_against(&self, source: Option<&Source>, host: &Host) -> Vec<&Order> {
        if self.suspensions.is_empty() {
            return Vec::new();
        }
        let recipients = self.recipient_positions(host).into_iter().map(|position| &self.recipients[position as usize]);
        let of_recipients = recipients
            .flat_map(|recipient| [Scope::Recipient(recipient.id.clone()), Scope::Country(recipient.country)]);
        let scopes = [Scope::Everything].into_iter().chain(source.map(|source| Scope::Source(source.id.clone())));
        let mut found: Vec<u32> =
            scopes.chain(of_recipients).filter_map(|scope| self.suspensions.get(&scope)).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|order| &self.orders[order as usize]).collect()
    }

    /// The orders that stop this one transfer.
    pub fn orders_on_transfer(&self, transfer: &Id) -> impl Iterator<Item = &Order> {
        let suspensions = Some(&self.suspensions).filter(|suspensions| !suspensions.is_empty());
        let found = suspensions.and_then(|suspensions| suspensions.get(&Scope::Transfer(transfer.clone())));
        found.into_iter().flatten().map(|order| &self.orders[*order as usize])
    }

    /// The modes that transfers set of their own.
    pub fn modes_of_transfers(&self) -> impl Iterator<Item = ModeSetting> {
        self.index.modes[0].iter().copied()
    }

    /// The modes that allowances set of their own.
    pub fn modes_of_allowances(&self) -> impl Iterator<Item = ModeSetting> {
        self.index.modes[1].iter().copied()
    }

    fn recipient_positions(&self, host: &Host) -> Vec<u32> {
        let places = self.index.places.covering(host);
        let mut found: Vec<u32> =
            places.flat_map(|place| self.index.recipients.of_key(place)).map(|[recipient, _]| *recipient).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The recipients at a destination, each with its endpoint that says most of the host.
    fn receiving(&self, destination: &Destination) -> Vec<[u32; 2]> {
        let mut found: Vec<[u32; 2]> = Vec::new();
        for place in self.index.places.covering(&destination.host) {
            for [recipient, endpoint] in self.index.recipients.of_key(place) {
                let matches = || fits(&self.recipients[*recipient as usize].endpoints[*endpoint as usize], destination);
                if found.iter().all(|[known, _]| known != recipient) && matches() {
                    found.push([*recipient, *endpoint]);
                }
            }
        }
        found
    }

    /// The allowances for a source and a destination in their order, each with its endpoint that says most of the host.
    fn opened(&self, from: &[u32; 2], destination: &Destination) -> Vec<[u32; 2]> {
        let mut found: Vec<(u32, usize, u32)> = Vec::new();
        for (place, width) in self.index.places.covering(&destination.host).zip(0..) {
            let rows = from.iter().flat_map(|from| self.index.allowances.beginning(place, *from));
            for [_, allowance, endpoint] in rows {
                if fits(&self.allowances[*allowance as usize].to[*endpoint as usize], destination) {
                    found.push((*allowance, width, *endpoint));
                }
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(allowance, _, _)| *allowance);
        found.into_iter().map(|(allowance, _, endpoint)| [allowance, endpoint]).collect()
    }

    /// The last transfer to a recipient that is for a source, and the last one that is not.
    fn last_transfers(&self, recipient: u32, source: Option<Option<u32>>) -> [Option<(u32, bool)>; 2] {
        let transfers = self.index.transfers_to.of_key(recipient).iter().map(|[transfer]| *transfer).rev();
        let is_for = |transfer: &u32| is_for(source, |from| self.index.transfers.has(recipient, [from, *transfer]));
        let last = |wanted: bool| transfers.clone().find(|transfer| is_for(transfer) == wanted);
        [last(true).map(|transfer| (transfer, true)), last(false).map(|transfer| (transfer, false))]
    }
}

/// Whether a permission is for a source, from what is known of one source or of any. Without a source every one is; a
/// source that is not declared has its `from: [any]` only.
fn is_for(source: Option<Option<u32>>, is_from: impl Fn(u32) -> bool) -> bool {
    source.is_none_or(|source| source.into_iter().chain([ANY_SOURCE]).any(is_from))
}

/// Whether an endpoint at a place that covers the destination's host is the destination. Of a place that covers it by a
/// network, another endpoint may be another one's.
fn fits(endpoint: &Endpoint, destination: &Destination) -> bool {
    endpoint.port == destination.port && endpoint.scheme == destination.scheme && endpoint.matches(destination)
}

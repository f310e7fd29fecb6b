//! Which source an exchange comes from.
//!
//! Everything written on a source must match: network and certificate and user. Among those that match, the one with
//! more kinds of proof wins, then the one whose matching network has the longest prefix. Sources that stay equal for
//! some address are a fault of the register; should a peer still prove two at once (a certificate with two names), it is
//! known as neither.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{Register, Source};
use crate::policy::Peer;

/// How well a source is proved; the greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Proof {
    /// How many of network, certificate and user are written.
    kinds: u8,
    /// Prefix length of the longest network that matches; `None` where none is written.
    prefix: Option<u8>,
}

impl Register {
    /// The source that a peer is; `None` where it is none, or more than one.
    pub fn identify(&self, peer: &Peer) -> Option<&Arc<Source>> {
        self.source_of(peer.address, &peer.certificate, peer.user.as_deref())
    }

    /// The source that a peer with this address, these certificate names and this user is; `None` where it is none, or
    /// more than one.
    pub fn source_of(&self, address: IpAddr, certificate: &[String], user: Option<&str>) -> Option<&Arc<Source>> {
        self.position_of(address, certificate, user).map(|source| &self.sources[source as usize])
    }

    /// The position of that source in the register's list.
    pub(crate) fn position_of(&self, address: IpAddr, certificate: &[String], user: Option<&str>) -> Option<u32> {
        let address = address.to_canonical();
        let mut best: Option<(Proof, u32)> = None;
        let mut equal = false;
        let mut consider =
            |proof: Proof, source: u32| match best.map_or(Ordering::Greater, |(least, _)| proof.cmp(&least)) {
                Ordering::Greater => (best, equal) = (Some((proof, source)), false),
                Ordering::Equal => equal = true,
                Ordering::Less => {}
            };
        for claimed in self.index.proofs.claimed(certificate, user) {
            let longest = || self.index.proofs.networks.prefix_of(claimed, address);
            if let Some(proof) = prove(&self.sources[claimed as usize], longest, certificate, user) {
                consider(proof, claimed);
            }
        }
        if let Some((prefix, owners)) = self.index.proofs.networks.content_at(address) {
            owners.iter().for_each(|[owner]| consider(Proof { kinds: 1, prefix: Some(prefix) }, *owner));
        }
        best.filter(|_| !equal).map(|(_, source)| source)
    }
}

impl Register {
    /// Whether some source has every proof that this peer gives, and wants a user beside: then a user's name and password
    /// may make this peer that source.
    pub fn wants_user(&self, address: IpAddr, certificate: &[String]) -> bool {
        let proofs = &self.index.proofs;
        let at_address = proofs.networks.wanting_at(address.to_canonical());
        proofs.wanting_anywhere.iter().copied().chain(at_address).any(|source| {
            let wanted = self.sources[source as usize].client_certificate.as_ref();
            wanted.is_none_or(|wanted| certificate.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
        })
    }
}

/// How a source is proved; `None` where something that is written does not match. `longest` is the prefix of its longest
/// network at the peer's address.
fn prove(
    source: &Source,
    longest: impl FnOnce() -> Option<u8>,
    certificate: &[String],
    user: Option<&str>,
) -> Option<Proof> {
    let mut proof = Proof { kinds: 0, prefix: None };
    if !source.networks.is_empty() {
        proof.kinds += 1;
        proof.prefix = Some(longest()?);
    }
    if let Some(wanted) = &source.client_certificate {
        proof.kinds += 1;
        // Names of certificates are host names, which have no case.
        certificate.iter().find(|name| name.eq_ignore_ascii_case(wanted))?;
    }
    if let Some(wanted) = &source.user {
        proof.kinds += 1;
        user.filter(|user| user == wanted)?;
    }
    // A source without any proof is a fault of the register; it must not match everybody.
    (proof.kinds > 0).then_some(proof)
}

/// A network at which two sources stay equal for some peer: as many kinds of proof, nothing that tells their proofs
/// apart, and one network of both. `Some(None)` where neither has networks.
pub fn tie(left: &Source, right: &Source) -> Option<Option<IpNetwork>> {
    let kinds = |source: &Source| {
        [!source.networks.is_empty(), source.client_certificate.is_some(), source.user.is_some()]
            .iter()
            .filter(|kind| **kind)
            .count()
    };
    let certificates = (&left.client_certificate, &right.client_certificate);
    let apart = matches!(certificates, (Some(left), Some(right)) if !left.eq_ignore_ascii_case(right))
        || matches!((&left.user, &right.user), (Some(left), Some(right)) if left != right);
    if apart || kinds(left) != kinds(right) {
        return None;
    }
    if left.networks.is_empty() && right.networks.is_empty() {
        return Some(None);
    }
    left.networks.iter().find(|network| right.networks.contains(network)).map(|network| Some(*network))
}

//! What an exchange must keep between the head stage and the choice of its candidate.

use super::candidate::{Candidate, Kept};
use super::connection::MIN_TLS;
use super::facts::{TlsVersion, TunnelLimits};

/// What the exchange must keep while its candidate is not chosen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// No body beyond this passes under any candidate left: reading may stop there, with `too-large`. `None`: one of
    /// them bounds nothing.
    pub max_body: Option<u64>,
    /// The pins of each candidate left; an empty list accepts whatever the roots vouch for.
    pub pins: Vec<Vec<[u8; 32]>>,
    /// The oldest version of TLS to accept.
    pub min_tls: TlsVersion,
    /// Set for a tunnel: the strictest of the candidates left.
    pub tunnel: Option<TunnelLimits>,
}

impl Obligations {
    pub(super) fn of(kept: &Kept, tunnel: Option<TunnelLimits>) -> Obligations {
        let left: Vec<&Candidate> = kept.left().map(|standing| &standing.candidate).collect();
        let bounds: Option<Vec<u64>> = left.iter().map(|candidate| candidate.limits().max_body).collect();
        let is_bound = kept.would_deny.is_none();
        Obligations {
            max_body: bounds.filter(|_| is_bound).and_then(|bounds| bounds.into_iter().max()),
            pins: left.iter().map(|candidate| candidate.endpoint().pins.clone()).collect(),
            min_tls: MIN_TLS,
            tunnel,
        }
    }
}

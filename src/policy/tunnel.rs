//! Whether a connection is opened or relayed unread, and what a tunnel is bounded by.

use std::time::Duration;

use super::candidate::{Candidate, Kept};
use super::facts::TunnelLimits;
use super::head::AtHead;
use super::reason::Reason;
use super::trace::Failure;
use crate::destination::{HostPattern, Scheme};
use crate::register::{Interception, Source};

/// Longest life of a tunnel where nothing is declared.
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);

/// How a CONNECT is carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Decrypted with the organisation's own authority; its inner requests are exchanges.
    Intercept,
    /// Relayed unread: the tunnel is the exchange.
    Tunnel,
}

/// How the candidates left want it. What one of them requires to be read is read; without candidates (observe) the
/// source's word counts.
pub(super) fn carriage(kept: &Kept) -> Carriage {
    if kept.head.destination.scheme == Scheme::Tcp {
        return Carriage::Tunnel;
    }
    let wishes: Vec<Carriage> = kept.left().map(|standing| wish(kept.source.as_deref(), &standing.candidate)).collect();
    let source = kept.source.as_ref().map_or(Interception::Allowed, |source| source.interception);
    let is_tunnel = match wishes.is_empty() {
        true => source == Interception::Never,
        false => wishes.iter().all(|wish| *wish == Carriage::Tunnel),
    };
    if is_tunnel { Carriage::Tunnel } else { Carriage::Intercept }
}

/// How source and endpoint together want one candidate's exchanges carried.
fn wish(source: Option<&Source>, candidate: &Candidate) -> Carriage {
    let source = source.map_or(Interception::Allowed, |source| source.interception);
    let endpoint = candidate.endpoint();
    let is_unread = candidate.allowance().is_some_and(|allowance| allowance.unread.is_some());
    match (source, endpoint.interception) {
        (Interception::Required, _) | (_, Interception::Required) => Carriage::Intercept,
        (Interception::Never, _) | (_, Interception::Never) => Carriage::Tunnel,
        (Interception::Allowed, Interception::Allowed) if is_unread || endpoint.scheme == Scheme::Tcp => {
            Carriage::Tunnel
        }
        (Interception::Allowed, Interception::Allowed) => Carriage::Intercept,
    }
}

/// Whether a candidate may be relayed unread.
pub(super) fn judge(at: &AtHead<'_>, candidate: &Candidate) -> Option<Failure> {
    let refuse = |detail: &str| Some(Failure::new(Reason::Uninspectable, detail));
    if wish(Some(at.source), candidate) == Carriage::Intercept {
        return refuse("a tunnel cannot be read, and is not declared as one");
    }
    let allowance = candidate.allowance()?;
    let Some(unread) = &allowance.unread else {
        return refuse("an allowance passes nothing unread");
    };
    if at.day > unread.until {
        return refuse("the allowance's exception for unread tunnels has ended");
    }
    if !at.source.carries.is_empty() {
        return refuse("the source carries personal data, and may use no unread allowance");
    }
    match candidate.endpoint().host {
        HostPattern::Any => refuse("unread tunnels are for named hosts only"),
        HostPattern::Exact(_) | HostPattern::Suffix(_) => None,
    }
}

/// The strictest bounds of the candidates left. `rooms` are what their days may still hold, in the same order.
pub(super) fn limits<'a>(left: impl Iterator<Item = (&'a Candidate, Option<u64>)>) -> TunnelLimits {
    let start = TunnelLimits { max_bytes: None, max_duration: DEFAULT_DURATION };
    let mut durations = Vec::new();
    let mut bounds = start;
    for (candidate, room) in left {
        let unread = candidate.allowance().and_then(|allowance| allowance.unread.as_ref());
        durations.extend(candidate.limits().max_duration);
        durations.extend(unread.map(|unread| unread.max_duration));
        let bytes = [bounds.max_bytes, room, unread.map(|unread| unread.max_bytes_up)];
        bounds.max_bytes = bytes.into_iter().flatten().min();
    }
    bounds.max_duration = durations.into_iter().min().unwrap_or(DEFAULT_DURATION);
    bounds
}

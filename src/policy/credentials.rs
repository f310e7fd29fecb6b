//! Whether a user's name and password could do anything for a peer, before any are looked at.
//!
//! A proxy that asks everybody for a password trains people to type it anywhere, and one that asks where none can help
//! sends them in circles: so it asks only where a source wants a user and has everything else that the peer proves.

use jiff::Timestamp;

use super::calendar::day_of;
use super::facts::Peer;
use crate::register::{Mode, Register};

/// What credentials would do for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing: no source that this peer could be wants a user. What it sends is not looked at.
    None,
    /// They may tell a source that says more than what the peer proves anyway. Those that come must be right; none need
    /// come.
    Possible,
    /// Without them the peer is nobody, and would be refused for it.
    Needed,
}

/// What credentials would do for this peer, whose own `user` is not looked at.
pub fn use_of(register: &Register, peer: &Peer, time: Timestamp) -> Use {
    if !register.wants_user(peer.address, &peer.certificate) {
        return Use::None;
    }
    let is_known = register.source_of(peer.address, &peer.certificate, None).is_some();
    // Under `observe` whoever is nobody is let through all the same, and must not be stopped by a question.
    let is_observed = || register.mode.on(day_of(time, &register.time_zone())) == Mode::Observe;
    if is_known || is_observed() { Use::Possible } else { Use::Needed }
}

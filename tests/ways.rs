//! The ways in beside HTTP to a proxy: SOCKS, redirected connections, balancers; and what is neither HTTP nor TLS.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod support;

#[path = "ways/ground.rs"]
mod ground;

#[path = "ways/network.rs"]
mod network;

#[path = "ways/transparent.rs"]
mod transparent;

#[path = "ways/balancers.rs"]
mod balancers;

#[path = "ways/opaque.rs"]
mod opaque;

#[path = "ways/parity.rs"]
mod parity;

#[allow(dead_code, reason = "the table of tests/reasons.rs uses the rest")]
#[path = "reasons/world.rs"]
mod world;

/// What a world is built for, where no table of cases says it.
mod table {
    pub struct Case {
        pub settings: fn(&mut tasrih::config::Settings),
    }
}

#[path = "ways/socks.rs"]
mod socks;

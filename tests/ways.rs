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

#[path = "ways/socks.rs"]
mod socks;

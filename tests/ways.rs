//! The ways in beside HTTP to a proxy: SOCKS, redirected connections, balancers; and what is neither HTTP nor TLS.

mod support;

#[path = "ways/ground.rs"]
mod ground;

#[path = "ways/network.rs"]
mod network;

#[path = "ways/transparent.rs"]
mod transparent;

#[path = "ways/socks.rs"]
mod socks;

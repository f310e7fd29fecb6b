//! The doors of the proxy: a listener that speaks TLS, what a client proves there, and the listener for metrics.
//!
//! Clients are curl with certificates made by openssl, so that both sides of the door are not our own.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "doors/check.rs"]
mod check;
#[path = "doors/https.rs"]
mod https;
#[path = "doors/metrics.rs"]
mod metrics;
#[path = "doors/papers.rs"]
mod papers;
#[path = "doors/revoked.rs"]
mod revoked;
#[path = "doors/sample.rs"]
mod sample;
mod support;
#[path = "doors/users.rs"]
mod users;

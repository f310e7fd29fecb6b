//! What another register changes: `tasrih diff` in the officer's words, and `tasrih replay` over a day of the case.

#![allow(clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "support/exchanges.rs"]
#[allow(dead_code, reason = "these tests change what others take as it is")]
mod exchanges;
#[path = "flows/ground.rs"]
#[allow(dead_code, reason = "shared with the tests of flows")]
mod ground;

#[path = "changes/diff.rs"]
mod diff;
#[path = "changes/replay.rs"]
mod replay;

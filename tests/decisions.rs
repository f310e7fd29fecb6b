//! Decisions as data: policy text and facts in, decision, candidate and reason out.
//!
//! Every time is fixed, and every table is run twice: with the clock in 2024 and in 2031. Nothing is resolved or dialled.

#![allow(clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "decisions/candidates.rs"]
mod candidates;
#[path = "decisions/harness.rs"]
mod harness;
#[path = "decisions/limits.rs"]
mod limits;
#[path = "decisions/observe.rs"]
mod observe;
#[path = "decisions/reasons.rs"]
mod reasons;
#[path = "decisions/stages.rs"]
mod stages;

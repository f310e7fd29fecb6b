//! Flows: how well the period of a flow is found, what `tasrih flows` lists, and what `tasrih declare` drafts.

#![allow(clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "support/exchanges.rs"]
#[allow(dead_code, reason = "these tests change what others take as it is")]
mod exchanges;
mod support;

#[path = "flows/command.rs"]
mod command;
#[path = "flows/draft.rs"]
mod draft;
#[path = "flows/ground.rs"]
mod ground;
#[path = "flows/running.rs"]
mod running;
#[path = "flows/series.rs"]
mod series;
#[path = "flows/table.rs"]
mod table;

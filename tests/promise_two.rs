//! Promise 2, seen from outside: no record, no byte (DESIGN §2).
//!
//! `kills`: the real process is killed fifty times under load, and whatever a recipient saw is on record. `traced`: the
//! system calls of the real process, by which the order of disk and network is not a matter of belief. `injected`: each call of the
//! writer fails, or is its last one, and what is lost by that (`cell`, `injection`). `disk`: real disks that fill up, turn
//! read-only or slow (`volume`). What recipients saw is compared with the log in `tally`. Here stand the
//! process itself (`ground`), recipients that keep books of their connections (`recipient`), and the reading of traces
//! (`trace`, `ledger`, `verdict`) and of the log (`evidence`). That the log gives back what was synced, and only that, is in `evidence.rs`.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "promise_two/cell.rs"]
mod cell;
#[path = "promise_two/dice.rs"]
mod dice;
#[path = "promise_two/disk.rs"]
mod disk;
#[path = "promise_two/evidence.rs"]
mod evidence;
#[path = "promise_two/ground.rs"]
mod ground;
#[path = "promise_two/injected.rs"]
mod injected;
#[path = "promise_two/injection.rs"]
mod injection;
#[path = "promise_two/kills.rs"]
mod kills;
#[path = "promise_two/ledger.rs"]
mod ledger;
#[path = "promise_two/recipient.rs"]
mod recipient;
#[path = "promise_two/tally.rs"]
mod tally;
#[path = "promise_two/trace.rs"]
mod trace;
#[path = "promise_two/traced.rs"]
mod traced;
#[path = "promise_two/unsynced.rs"]
mod unsynced;
#[path = "promise_two/verdict.rs"]
mod verdict;
#[path = "promise_two/volume.rs"]
mod volume;

/// A real camera frame.
const FRAME: &[u8] = include_bytes!("../policies/cases/frame.jpg");

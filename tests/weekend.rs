//! A proxy that one may leave alone: mixed load for a while, and every fault that a weekend can bring, one after another.
//!
//! The disk fills up and is freed, a recipient is down, the name service is dead, descriptors run out, the clock is set,
//! the process is killed, reloaded and replaced. At the end nothing without a record has reached a recipient, nothing
//! that a client was told is lost, memory is flat, and every fault was named where an operator looks.
//!
//! `world` is the installation, `faults` what happens to it, `load` what is sent meanwhile, `names` a name service that can
//! die, `gate` the door of a recipient that can be shut. The log is held against the recipients by the rules of
//! `promise_two/evidence.rs`. An ordinary run plays every fault once; `tests/run --long` ten minutes;
//! `TASRIH_WEEKEND=3600` as many seconds as it says.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "promise_two/dice.rs"]
mod dice;
#[path = "promise_two/evidence.rs"]
mod evidence;
#[path = "weekend/faults.rs"]
mod faults;
#[path = "weekend/gate.rs"]
mod gate;
#[path = "promise_two/ground.rs"]
mod ground;
#[path = "weekend/load.rs"]
mod load;
#[path = "weekend/memory.rs"]
mod memory;
#[path = "weekend/names.rs"]
mod names;
#[path = "promise_two/recipient.rs"]
mod recipient;
#[path = "weekend/table.rs"]
mod table;
#[path = "weekend/world.rs"]
mod world;

use std::time::{Duration, Instant, SystemTime};

use dice::Dice;
use faults::Fault;
use table::Table;
use world::World;

/// A real camera frame.
const FRAME: &[u8] = include_bytes!("../policies/cases/frame.jpg");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weekend_of_faults_leaves_promises_and_evidence_whole() {
    let seed = number("TASRIH_SEED").unwrap_or_else(moment);
    eprintln!("repeat with TASRIH_SEED={seed}");
    let long = std::env::var_os("TASRIH_LONG").map(|_| 600);
    let time = Duration::from_secs(number("TASRIH_WEEKEND").or(long).unwrap_or(0));
    let mut dice = Dice(seed | 1);
    let Some(mut world) = World::make(&mut dice, time).await else { return };
    let begun = Instant::now();
    let mut table = Table::default();
    loop {
        // Every fault once in each turn, in another order.
        for fault in shuffled(&mut dice) {
            world.live(Duration::from_millis(500 + dice.below(if time.is_zero() { 500 } else { 8_000 }))).await;
            let seen = world.suffer(fault, &mut dice).await;
            table.note(fault, seen);
        }
        if begun.elapsed() >= time {
            break;
        }
    }
    let summary = world.end().await;
    eprintln!("{}\n{summary}", table.print());
    table.assert_every_fault_was_named();
    summary.assert_sound();
}

fn shuffled(dice: &mut Dice) -> Vec<Fault> {
    let mut deck = Fault::ALL.to_vec();
    for last in (1..deck.len()).rev() {
        let place = usize::try_from(dice.below(last as u64 + 1)).expect("a place in the deck");
        deck.swap(last, place);
    }
    deck
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn moment() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    since.subsec_nanos().into()
}

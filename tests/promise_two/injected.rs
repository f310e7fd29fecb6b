//! The injection table: each system call of the writer, in each part of its life, fails once or is the last one.
//!
//! The real process, real exchanges, and strace that makes the call fail. After each cell the log is opened again and
//! compared with what recipients saw and clients were told (`cell`). Which calls there are was found by tracing the writer through
//! all of its life; a cell whose call does not come about is a failure. `fcntl` (of the standard library's own checks in a
//! debug build) and what only gives memory back are left out.

use super::cell::{Cell, Part, Past, Taken, heartbeat, run};
use super::ground::Ground;
use super::injection::{Fault, Injection};
use super::tally::Tally;

const EIO: Fault = Fault::Fails("EIO");
const ENOSPC: Fault = Fault::Fails("ENOSPC");
const EROFS: Fault = Fault::Fails("EROFS");
const KILL: Fault = Fault::Kills;

/// The whole table.
fn cells() -> Vec<Cell> {
    use Part::{EmptySegment, Recovery, RollAtStart, Rolling, Serving, Start, Stop};
    use Taken::{GoesOn, Killed, NoStart, Refuses, Stops};
    let (eio, full, read_only) = (Refuses("latched-eio"), Refuses("latched-enospc"), Refuses("latched-erofs"));
    let mut cells = Vec::new();
    let mut row = |part, call, occurrences: &[(&'static str, bool)], faults: &[(Fault, Taken)]| {
        for (when, is_first) in occurrences {
            for (fault, taken) in faults {
                let is_short = *is_first && (part == Serving || part == Rolling || *fault != ENOSPC);
                let injection = Injection { call, fault: *fault, when };
                cells.push(Cell { part, injection, taken: *taken, is_short });
            }
        }
    };
    let no_start: &[(Fault, Taken)] = &[(EIO, NoStart), (ENOSPC, NoStart), (KILL, Killed)];
    let never_full: &[(Fault, Taken)] = &[(EIO, NoStart), (KILL, Killed)];
    let harmless: &[(Fault, Taken)] = &[(EIO, GoesOn), (KILL, Killed)];
    row(Start, "statx", &[("1", false)], harmless);
    row(Start, "mkdir", &[("1", false), ("2", false)], no_start);
    for when in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"] {
        row(Start, "openat", &[(when, when == "9")], no_start);
    }
    row(Start, "flock", &[("1", false)], never_full);
    row(Start, "write", &[("1", false), ("2", false), ("3", false), ("4", true)], no_start);
    row(Start, "fsync", &[("1", false), ("2", false), ("3", false), ("5", false), ("6", true)], no_start);
    row(Start, "rename", &[("1", false), ("2", false)], no_start);
    row(Start, "getdents64", &[("1", false)], never_full);
    row(Start, "fallocate", &[("1", false)], no_start);
    row(Start, "fallocate", &[("2", false)], &[(EIO, NoStart), (ENOSPC, GoesOn), (KILL, Killed)]);
    row(Start, "fdatasync", &[("1", false), ("2", true)], no_start);
    row(Start, "close", &[("1", false), ("4", false)], harmless);
    for when in ["1", "2", "3", "4", "5", "6", "7"] {
        row(Recovery, "openat", &[(when, false)], never_full);
    }
    row(Recovery, "flock", &[("1", false)], never_full);
    row(Recovery, "read", &[("1", false), ("3", false), ("5", true)], never_full);
    row(Recovery, "getdents64", &[("1", false)], never_full);
    row(Recovery, "ftruncate", &[("1", true)], never_full);
    row(Recovery, "fdatasync", &[("1", true), ("2", false)], no_start);
    row(Recovery, "fallocate", &[("1", false)], &[(EIO, NoStart), (ENOSPC, GoesOn), (KILL, Killed)]);
    row(Recovery, "fallocate", &[("1+", false)], &[(ENOSPC, NoStart)]);
    row(Recovery, "write", &[("1", true)], no_start);
    row(EmptySegment, "unlink", &[("1", true)], never_full);
    row(EmptySegment, "fsync", &[("1", false)], never_full);
    row(RollAtStart, "openat", &[("1", false)], &[(EIO, NoStart), (ENOSPC, GoesOn), (KILL, Killed)]);
    row(RollAtStart, "fallocate", &[("1", false)], &[(EIO, NoStart), (ENOSPC, GoesOn), (KILL, Killed)]);
    row(RollAtStart, "write", &[("1", true), ("2", false)], no_start);
    row(RollAtStart, "fdatasync", &[("1", false), ("2", false)], no_start);
    row(Serving, "statfs", &[("1", true), ("4", false)], harmless);
    row(Serving, "write", &[("1", true)], &[(EIO, eio), (ENOSPC, full), (EROFS, read_only), (KILL, Killed)]);
    row(Serving, "write", &[("8", false)], &[(EIO, eio), (ENOSPC, full), (KILL, Killed)]);
    row(Serving, "fdatasync", &[("1", false), ("8", true)], &[(EIO, eio), (ENOSPC, full), (KILL, Killed)]);
    // The first is the new segment, the second the folder that is synced.
    row(
        Rolling,
        "openat",
        &[("1", true), ("3", false)],
        &[(EIO, eio), (ENOSPC, GoesOn), (EROFS, read_only), (KILL, Killed)],
    );
    row(Rolling, "openat", &[("2", false), ("4", false)], &[(EIO, eio), (ENOSPC, full), (KILL, Killed)]);
    row(Rolling, "fallocate", &[("1", true), ("2", false)], &[(EIO, eio), (ENOSPC, GoesOn), (KILL, Killed)]);
    // No room for a segment and none for a batch: decisions are refused while outcomes have their room.
    row(Rolling, "fallocate", &[("2+", true)], &[(ENOSPC, Refuses("no-room"))]);
    row(Rolling, "fsync", &[("1", true), ("2", false)], &[(EIO, eio), (ENOSPC, full), (KILL, Killed)]);
    row(Rolling, "ftruncate", &[("1", false), ("2", false)], harmless);
    row(Rolling, "close", &[("1", false), ("3", false)], harmless);
    // The first is the batch with the stop record, the second the seal.
    let stop: &[(Fault, Taken)] = &[(EIO, Stops), (ENOSPC, Stops), (KILL, Killed)];
    row(Stop, "write", &[("1", true), ("2", false)], stop);
    row(Stop, "fdatasync", &[("1", false), ("2", false)], stop);
    row(Stop, "ftruncate", &[("1", false)], &[(EIO, Stops), (KILL, Killed)]);
    cells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failing_call_of_the_writer_lets_a_byte_leave_unrecorded_or_loses_a_record() {
    let only = std::env::var("TASRIH_CELL").ok();
    let is_long = std::env::var_os("TASRIH_LONG").is_some() || only.is_some();
    let ground = Ground::lay().await;
    let past = Past::make(&ground).await;
    let mut table = vec![format!("{:<13} {:<10} {:>4} {:<8} {}", "part", "call", "when", "fault", "result")];
    let mut otherwise = Vec::new();
    for cell in cells().into_iter().filter(|cell| is_long || cell.is_short) {
        let Cell { part, injection, .. } = &cell;
        let what = format!(
            "{:<13} {:<10} {:>4} {:<8}",
            format!("{part:?}"),
            injection.call,
            injection.when,
            injection.fault.word()
        );
        if only.as_ref().is_some_and(|only| !what.contains(only)) {
            continue;
        }
        let (taken, tally) = run(&ground, &past, &cell, &what).await;
        let Tally { answered, refused, unavailable, broken, .. } = tally;
        table.push(format!(
            "{what} {taken:?}; answered {answered}, refused {refused}, record-unavailable {unavailable}, broken {broken}"
        ));
        if taken != cell.taken {
            otherwise.push(format!("{what} {taken:?}, and not {:?}", cell.taken));
        }
    }
    eprintln!("{}\n{} cells", table.join("\n"), table.len() - 1);
    assert!(otherwise.is_empty(), "taken otherwise:\n{}", otherwise.join("\n"));
    assert!(table.len() > 10 || only.is_some(), "too few cells");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_heartbeat_is_told_without_any_traffic() {
    if std::env::var_os("TASRIH_LONG").is_none() {
        return eprintln!("skipped: a heartbeat takes a minute; tests/run --long waits for it");
    }
    let cells = [("write", EIO), ("write", KILL), ("fdatasync", EIO), ("fdatasync", KILL)].map(|(call, fault)| {
        let injection = Injection { call, fault, when: "1" };
        tokio::spawn(async move { (injection, heartbeat(injection).await) })
    });
    for cell in cells {
        let (Injection { call, fault, .. }, taken) = cell.await.expect("a cell is played to its end");
        eprintln!("Heartbeat     {call:<10}    1 {:<8} {taken:?}", fault.word());
        assert_eq!(taken, if fault == KILL { Taken::Killed } else { Taken::Refuses("latched-eio") });
    }
}

//! One cell of the injection table: a part of the writer's life is played with one call that fails, and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::ground::{Ground, Process};
use super::injection::{Fault, Injection};
use super::tally::Tally;

/// A part of the writer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first start in an empty folder.
    Start,
    /// A start after a kill: decisions are open, and the last segment has a torn tail.
    Recovery,
    /// A start after a kill in between making a segment and writing its header.
    EmptySegment,
    /// A start that goes on in a new segment.
    RollAtStart,
    /// Decisions and outcomes.
    Serving,
    /// The same, while segments get full.
    Rolling,
    /// An orderly stop, with a folding to close.
    Stop,
}

/// How the process takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is killed.
    Killed,
    /// It does not start: exit code 2, and the message names the error.
    NoStart,
    /// It refuses everything, and names this cause in log, metric and `/readyz`; stopped, it exits with 0.
    Refuses(&'static str),
    /// It goes on as if nothing had happened.
    GoesOn,
    /// It stops, with exit code 0 and without what could not be written.
    Stops,
}

/// One row of the table.
pub struct Cell {
    pub part: Part,
    pub injection: Injection,
    /// How it must be taken.
    pub taken: Taken,
    /// It belongs to the short form.
    pub is_short: bool,
}

/// States that processes left, to begin cells from.
pub struct Past {
    /// Killed: decisions are open.
    killed: Tally,
    /// Stopped, with a segment that is full for `segment: 64KiB`.
    full: Tally,
}

impl Past {
    /// Lets two processes make them.
    pub async fn make(ground: &Ground) -> Past {
        ground.bound_disk("1MiB", "64MiB");
        let mut tallies = [Tally::default(), Tally::default()];
        for (place, tally) in tallies.iter_mut().enumerate() {
            let mut process = Process::spawn(ground.run(), &ground.path(""));
            let proxy = process.ready().await.expect("a proxy");
            for _ in 0..4 {
                tally.send(ground, proxy).await;
            }
            match place {
                0 => process.kill(),
                _ => assert!(process.stop().await.success()),
            }
            tally.collect(ground).await;
            fs::rename(ground.state(), ground.path(if place == 0 { "killed" } else { "full" })).expect("moved");
        }
        assert!(segment_length(ground, "full") > 64 << 10, "the log is too short to roll");
        let [killed, full] = tallies;
        Past { killed, full }
    }

    /// Lays the state folder that the part begins with; gives what is to be found in its log.
    fn lay(&self, ground: &Ground, part: Part) -> Tally {
        let _ = fs::remove_dir_all(ground.state());
        let copy = |name: &str| {
            let copied = Command::new("cp").arg("-a").arg(ground.path(name)).arg(ground.state()).status();
            assert!(copied.is_ok_and(|status| status.success()), "no copy of {name}");
        };
        match part {
            Part::Start | Part::Serving | Part::Rolling | Part::Stop => Tally::default(),
            Part::Recovery => {
                copy("killed");
                let path = segment(ground, 0);
                let mut bytes = fs::read(&path).expect("a segment");
                bytes.extend(b"a batch that was cut off");
                fs::write(path, bytes).expect("a torn tail");
                self.killed.known()
            }
            Part::EmptySegment => {
                copy("killed");
                fs::write(segment(ground, segment_length(ground, "killed")), "").expect("an empty segment");
                self.killed.known()
            }
            Part::RollAtStart => {
                copy("full");
                self.full.known()
            }
        }
    }
}

fn segment(ground: &Ground, base: u64) -> PathBuf {
    ground.state().join(format!("log/{base:020}.seg"))
}

fn segment_length(ground: &Ground, state: &str) -> u64 {
    let path = ground.path(state).join(format!("log/{:020}.seg", 0));
    fs::metadata(path).expect("a segment").len()
}

/// Plays one cell, and compares.
pub async fn run(ground: &Ground, past: &Past, cell: &Cell, what: &str) -> (Taken, Tally) {
    let (trace, errors) = (ground.path("trace"), ground.path("errors.log"));
    let _ = (fs::remove_file(&trace), fs::remove_file(errors));
    let mut tally = past.lay(ground, cell.part);
    ground.bound_disk("1MiB", if matches!(cell.part, Part::Rolling | Part::RollAtStart) { "64KiB" } else { "64MiB" });
    let taken = match cell.part {
        Part::Start | Part::Recovery | Part::EmptySegment | Part::RollAtStart => {
            start(ground, cell, &trace, &mut tally).await
        }
        Part::Serving | Part::Rolling | Part::Stop => serve(ground, cell, &trace, &mut tally).await,
    };
    assert!(cell.injection.happened(&trace), "{what}: the call does not come about");
    tally.collect(ground).await;

    let mut process = Process::spawn(ground.run(), &ground.path(""));
    process.ready().await.unwrap_or_else(|said| panic!("{what}: the log does not open again: {said}"));
    assert!(process.stop().await.success(), "{what}: an orderly stop");
    tally.compare(ground, what);
    (taken, tally)
}

/// A start that the injection hits, and a few exchanges if it comes about all the same.
async fn start(ground: &Ground, cell: &Cell, trace: &Path, tally: &mut Tally) -> Taken {
    let state = ground.state();
    let paths: Vec<PathBuf> = match cell.part {
        // Only the new segment: what else the start does is other parts' matter.
        Part::RollAtStart => vec![segment(ground, segment_length(ground, "full"))],
        _ => {
            let names = ["lock", "VERSION", "VERSION.new", "body-digest.key", "body-digest.new", "log"];
            let mut paths: Vec<PathBuf> = names.iter().map(|name| state.join(name)).collect();
            paths.extend([state, segment(ground, 0), segment(ground, segment_length(ground, "killed"))]);
            paths
        }
    };
    let mut process = Process::spawn(cell.injection.before(&ground.run(), trace, &paths), &ground.path(""));
    let Ok(proxy) = process.ready().await else {
        let status = process.wait().await;
        if status.code() == Some(2) {
            let log = process.log();
            let named = ["os error 5", "os error 28", "too little room"].iter().any(|word| log.contains(word));
            assert!(named, "the fault is not named: {log}");
            return Taken::NoStart;
        }
        assert!(status.code().is_none(), "it ended with {status}: {}", process.log());
        return Taken::Killed;
    };
    tally.send(ground, proxy).await;
    assert_eq!(tally.unavailable + tally.broken, 0, "it started and does not serve: {}", process.log());
    assert!(process.stop().await.success(), "an orderly stop");
    Taken::GoesOn
}

/// A process that runs when the injection is put on its writer.
async fn serve(ground: &Ground, cell: &Cell, trace: &Path, tally: &mut Tally) -> Taken {
    let mut process = Process::spawn(ground.run(), &ground.path(""));
    let proxy = process.ready().await.expect("a proxy");
    let paths = match cell.injection.call {
        // The writer wakes those who wait by writing to an eventfd, which is not meant.
        "write" => vec![segment(ground, 0)],
        _ => Vec::new(),
    };
    if cell.part == Part::Stop {
        tally.send(ground, proxy).await;
        tally.send_like_refusals(ground, proxy).await;
        // The last outcomes are written after the answers that they follow.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _tracer = cell.injection.on_writer(&process, trace, &paths).await;
        return match process.stop().await.code() {
            Some(0) => Taken::Stops,
            Some(code) => panic!("it stops with exit code {code}: {}", process.log()),
            None => Taken::Killed,
        };
    }
    let _tracer = cell.injection.on_writer(&process, trace, &paths).await;
    for _ in 0..if cell.part == Part::Rolling { 6 } else { 1 } {
        tally.send(ground, proxy).await;
    }
    if cell.injection.fault == Fault::Kills {
        let status = process.wait().await;
        assert!(status.code().is_none(), "it ended by itself: {status}");
        return Taken::Killed;
    }
    let taken = cause(&process).await;
    if let Taken::Refuses(cause) = taken {
        assert!(tally.unavailable > 0, "nothing was refused");
        let named = format!("tasrih_record_fault{{cause=\"{cause}\"}} 1");
        assert!(process.page("/metrics").await.expect("metrics").contains(&named), "the metric does not name {cause}");
        assert!(
            process.log().contains(&format!("cause=\"{cause}\"")),
            "the log does not name {cause}: {}",
            process.log()
        );
    }
    assert!(process.stop().await.success(), "an orderly stop: {}", process.log());
    taken
}

/// What `/readyz` says.
async fn cause(process: &Process) -> Taken {
    let answer = process.page("/readyz").await.expect("the admin listener answers");
    if answer.starts_with("HTTP/1.1 200") {
        return Taken::GoesOn;
    }
    assert!(answer.contains("\"remedy\":\""), "no remedy: {answer}");
    let causes = ["no-room", "latched-enospc", "latched-eio", "latched-erofs"];
    let cause = causes.into_iter().find(|cause| answer.contains(&format!("\"cause\":\"{cause}\"")));
    Taken::Refuses(cause.unwrap_or_else(|| panic!("no cause: {answer}")))
}

/// A heartbeat that the injection hits, on a ground of its own and without any traffic.
pub async fn heartbeat(injection: Injection) -> Taken {
    let ground = Ground::lay().await;
    let mut process = Process::spawn(ground.run(), &ground.path(""));
    process.ready().await.expect("a proxy");
    let trace = ground.path("trace");
    let _tracer = injection.on_writer(&process, &trace, &[segment(&ground, 0)]).await;
    for _ in 0..75 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if injection.happened(&trace) {
            break;
        }
    }
    assert!(injection.happened(&trace), "the heartbeat does not come about");
    if injection.fault == Fault::Kills {
        assert!(process.wait().await.code().is_none());
        return Taken::Killed;
    }
    let taken = cause(&process).await;
    assert!(process.stop().await.success(), "an orderly stop");
    taken
}

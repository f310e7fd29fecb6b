//! What happens to the proxy itself, and goes on record beside the exchanges.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::policy::Reason;
use crate::register::Version;
use crate::register::diff::Brief;

/// Something that happened to the proxy itself.
#[derive(Clone, Debug)]
pub struct LifecycleRecord {
    /// When.
    pub time: Timestamp,
    /// Name of the node.
    pub node: Arc<str>,
    /// What.
    pub event: Lifecycle,
}

/// Who changed the policy files, as far as these tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the changed file that was written last.
    pub file: Option<String>,
    /// User id of its owner.
    pub owner: Option<u32>,
    /// Commit of the git checkout that the folder is part of.
    pub commit: Option<String>,
    /// Who brought that checkout there, by git's own log.
    pub brought_by: Option<String>,
    /// Who asked for it through the control socket.
    pub asked_by: Option<Asker>,
}

/// What a record says about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Who ordered it.
    pub authority: String,
    /// What the authority calls it; of a lift, its own reference.
    pub reference: String,
    /// The reference of the order that it lifts; `None` where it stops something.
    pub lifts: Option<String>,
    /// What is stopped, or not any more, as a policy file writes it.
    pub scope: String,
    /// Whether somebody gave it by command; else it was read from the policy files.
    pub by_command: bool,
    /// When it was taken.
    pub taken: Timestamp,
    /// The register in force with it.
    pub version: Version,
    /// Who changed the files, or asked.
    pub origin: Origin,
}

/// A user of this machine who asked the proxy for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// User id, as the kernel knows it.
    pub uid: u32,
    /// The name that this machine has for it.
    pub user: Option<String>,
}

/// The happenings that are on record.
#[derive(Clone, Debug, PartialEq)]
pub enum Lifecycle {
    /// The proxy started.
    Start {
        /// Decisions that an earlier process had left open, closed now.
        interrupted: u64,
    },
    /// The proxy stopped in order.
    Stop,
    /// A register took effect.
    RegisterLoaded {
        /// Its version.
        version: Version,
        /// How many transfers it declares.
        transfers: u64,
        /// How many warnings it was loaded with.
        warnings: u64,
        /// Who changed the files; empty at start.
        origin: Origin,
        /// What it follows.
        since: Since,
        /// Whether it is kept by version, so that what it decides can be explained later.
        kept: bool,
        /// How many changes the authority must still be told, those of earlier registers included.
        open_notices: u64,
    },
    /// A register that was to take effect while the proxy ran was refused.
    RegisterRefused {
        /// The version that stays in force.
        in_force: Version,
        /// Faults of its policy files; 0 where they could not be read.
        faults: u64,
        /// Who changed the files.
        origin: Origin,
    },
    /// Written each minute, so that silence is evidence too.
    Heartbeat(Heartbeat),
    /// An unacknowledged tail was cut at start.
    TornTail {
        /// Name of the segment file.
        segment: String,
        /// Offset in it from which it was cut.
        offset: u64,
        /// Bytes cut.
        bytes: u64,
    },
    /// The wall clock moved against the monotonic clock by more than a minute.
    ClockStep {
        /// By how much; negative where it was set back.
        by: SignedDuration,
    },
    /// Exchanges that no declaration lets leave were found to recur: told once for each flow.
    FlowRecognised(Box<RecognisedFlow>),
    /// An authority's order came into force, or was lifted.
    Ordered(Box<Ordered>),
    /// Records can be written again after some were refused for lack of room.
    RoomAgain {
        /// How many were refused.
        refused: u64,
    },
}

/// What a register follows that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// None, as far as this state folder knows.
    First,
    /// The same: the proxy was stopped meanwhile.
    Same(Version),
    /// Another one, which differs so.
    Changed(Box<Brief>),
    /// Another one that cannot be had again, so that the difference is not known.
    Unknown(Version),
}

/// What a record says about an undeclared flow that recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecognisedFlow {
    /// Its name, as `tasrih flows` lists it.
    pub flow: String,
    /// The declared source, or the client's address.
    pub source: String,
    /// `host:port`.
    pub destination: String,
    /// The recipient that the destination belongs to.
    pub recipient: Option<String>,
    /// From one exchange to the next.
    pub period: Duration,
    /// Nine of ten exchanges come within this share of the period, in per cent.
    pub jitter_percent: u64,
    /// Exchanges seen.
    pub count: u64,
    /// The first that is remembered.
    pub first: Timestamp,
    /// Why it is not declared.
    pub reason: Reason,
}

/// What a heartbeat says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The register in force.
    pub register_version: Version,
    /// Since start.
    pub permits: u64,
    /// Since start.
    pub denials: u64,
    /// Since start.
    pub would_denials: u64,
    /// Exchanges under way.
    pub open: u64,
    /// By how much the decision clock runs ahead of the wall clock.
    pub clock_ahead: Duration,
}

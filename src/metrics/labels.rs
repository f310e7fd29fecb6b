//! The labels of metrics: closed sets, so that no host, address or user becomes a series.

use prometheus::IntGauge;

use super::series::Series;

/// The side of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between a client and us: most often one that does not trust the interception authority.
    Client,
    /// Between a client and a listener that speaks TLS itself.
    Listener,
    /// Between us and a recipient.
    Recipient,
}

impl Side {
    pub(super) const ALL: [Side; 3] = [Side::Client, Side::Listener, Side::Recipient];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Listener => "listener",
            Side::Recipient => "recipient",
        }
    }
}

/// The direction of bytes, as seen from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards recipients.
    Out,
    /// Towards clients.
    In,
}

impl Direction {
    pub(super) const ALL: [Direction; 2] = [Direction::Out, Direction::In];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
        }
    }
}

/// How an exchange is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// One HTTP request and its answer.
    Request,
    /// A tunnel, relayed unread.
    Tunnel,
}

impl Carriage {
    pub(super) const ALL: [Carriage; 2] = [Carriage::Request, Carriage::Tunnel];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Carriage::Request => "request",
            Carriage::Tunnel => "tunnel",
        }
    }
}

/// Why no connection could be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFault {
    /// The process, or the machine, has no descriptor left over.
    Descriptors,
    /// The kernel has no memory for it.
    Memory,
    /// The client was gone before.
    ClientGone,
    /// Something else.
    Other,
}

impl AcceptFault {
    pub(super) const ALL: [AcceptFault; 4] =
        [AcceptFault::Descriptors, AcceptFault::Memory, AcceptFault::ClientGone, AcceptFault::Other];

    /// The word in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            AcceptFault::Descriptors => "descriptors",
            AcceptFault::Memory => "memory",
            AcceptFault::ClientGone => "client-gone",
            AcceptFault::Other => "other",
        }
    }
}

/// Why a connection was closed as soon as it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// Its address has as many as it may.
    PerSource,
}

impl Unserved {
    pub(super) const ALL: [Unserved; 1] = [Unserved::PerSource];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Unserved::PerSource => "per-source",
        }
    }
}

/// What became of the question for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It has addresses.
    Answered,
    /// It has none.
    NoAddress,
    /// No answer in time.
    Timeout,
    /// The name service failed.
    Failed,
}

impl Resolved {
    /// Every result.
    pub const ALL: [Resolved; 4] = [Resolved::Answered, Resolved::NoAddress, Resolved::Timeout, Resolved::Failed];

    /// The label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Resolved::Answered => "answered",
            Resolved::NoAddress => "no-address",
            Resolved::Timeout => "timeout",
            Resolved::Failed => "failed",
        }
    }
}

/// What became of a user's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Computed, and right.
    Right,
    /// Computed, and wrong; or there is no such user, which takes as long.
    Wrong,
    /// Right a while ago: nothing was computed.
    Remembered,
    /// The same was being computed for somebody else.
    Joined,
    /// Not looked at: the address has sent too many wrong ones.
    Throttled,
    /// Not looked at: too many wait to be computed.
    Busy,
}

impl Checked {
    pub(super) const ALL: [Checked; 6] =
        [Checked::Right, Checked::Wrong, Checked::Remembered, Checked::Joined, Checked::Throttled, Checked::Busy];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Checked::Right => "right",
            Checked::Wrong => "wrong",
            Checked::Remembered => "remembered",
            Checked::Joined => "joined",
            Checked::Throttled => "throttled",
            Checked::Busy => "busy",
        }
    }
}

/// What is read again while the proxy runs, beside the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reread {
    /// The users file.
    Users,
    /// The certificate of a listener, with who vouches for its clients and what was revoked.
    Listener,
}

impl Reread {
    pub(super) const ALL: [Reread; 2] = [Reread::Users, Reread::Listener];

    /// The word in metrics and on the page of readiness.
    pub fn as_str(self) -> &'static str {
        match self {
            Reread::Users => "users",
            Reread::Listener => "listener",
        }
    }
}

/// What has a bound: each is shown with its limit beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Bytes of held bodies.
    HeldBytes,
    /// Records that wait for the writer.
    RecordQueue,
    /// Leaf certificates of the interception authority.
    LeafCache,
    /// Idle connections to recipients.
    IdleConnections,
    /// Connections of clients; counted by [`Metrics::connection_opened`].
    Connections,
    /// Peer addresses that something is kept of.
    Sources,
    /// Questions to the name service.
    Questions,
    /// Kinds of denials that are counted for folding.
    FoldedKinds,
    /// What the spool's disk is asked for.
    SpoolJobs,
}

impl Bounded {
    /// What is taken, and the limit.
    pub(super) fn series(self, series: &Series) -> (&IntGauge, &IntGauge) {
        match self {
            Bounded::HeldBytes => (&series.held, &series.held_limit),
            Bounded::RecordQueue => (&series.record_queue, &series.record_queue_limit),
            Bounded::LeafCache => (&series.leaves, &series.leaves_limit),
            Bounded::IdleConnections => (&series.idle_connections, &series.idle_connections_limit),
            Bounded::Connections => (&series.connections_open, &series.connections_limit),
            Bounded::Sources => (&series.peers, &series.peers_limit),
            Bounded::Questions => (&series.questions, &series.questions_limit),
            Bounded::FoldedKinds => (&series.folded_kinds, &series.folded_kinds_limit),
            Bounded::SpoolJobs => (&series.spool_jobs, &series.spool_jobs_limit),
        }
    }
}

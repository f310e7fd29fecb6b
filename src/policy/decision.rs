//! What comes out: a decision with its reason, and what became of each candidate.
//!
//! A denial is a result, not an error. A [`Verdict`] is the only way to a permit on record, and is made only by
//! `stages.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::candidate::{Kept, Used};
use super::facts::{BodyFacts, ConnectionFacts};
use super::limits::Reservations;
use super::obligations::Obligations;
use super::reason::Reason;
use super::trace::{Trace, reasons};
use crate::inspect::Findings;
use crate::register::{Allowance, Filing, Id, Receipt, Source, Transfer};
use crate::vocabulary::Term;

pub use super::candidate::CandidateKind;

/// How far an exchange came before it was refused (DESIGN §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Judged by the request head.
    Head,
    /// Judged by address and TLS identity.
    Connection,
    /// Judged by the whole body.
    Body,
    /// Put on record.
    Record,
}

impl Stage {
    /// The word in records and in `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Head => "head",
            Stage::Connection => "connection",
            Stage::Body => "body",
            Stage::Record => "record",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// It leaves under a declaration.
    Permit,
    /// It does not leave.
    Denial,
    /// It leaves only because the mode is `observe`.
    WouldDeny,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Decision; 3] = [Decision::Permit, Decision::Denial, Decision::WouldDeny];

    /// The word in records, metrics and policy cases.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Permit => "permit",
            Decision::Denial => "denial",
            Decision::WouldDeny => "would-deny",
        }
    }

    /// Reads a decision's word.
    pub fn parse(word: &str) -> Option<Decision> {
        Decision::ALL.into_iter().find(|decision| decision.as_str() == word)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an exchange that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The recipient's answer was relayed.
    Answered,
    /// The client left.
    ClientClosed,
    /// The recipient's side failed.
    UpstreamFault,
    /// Nothing moved for too long.
    Timeout,
    /// An order came into force.
    CutOrder,
    /// The filing's last day ended.
    CutExpiry,
    /// A newer register does not declare it.
    CutRegister,
    /// A tunnel reached its limit.
    CutLimit,
    /// The proxy was stopped.
    Shutdown,
    /// The process ended without an outcome; written at the next start.
    Interrupted,
}

impl End {
    /// Every end.
    pub const ALL: [End; 10] = [
        End::Answered,
        End::ClientClosed,
        End::UpstreamFault,
        End::Timeout,
        End::CutOrder,
        End::CutExpiry,
        End::CutRegister,
        End::CutLimit,
        End::Shutdown,
        End::Interrupted,
    ];

    /// Whether the client or a stop of the proxy brought it about: then it says nothing about the transfer.
    pub fn is_from_outside(self) -> bool {
        match self {
            End::ClientClosed | End::Shutdown | End::Interrupted => true,
            End::Answered
            | End::UpstreamFault
            | End::Timeout
            | End::CutOrder
            | End::CutExpiry
            | End::CutRegister
            | End::CutLimit => false,
        }
    }

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            End::Answered => "answered",
            End::ClientClosed => "client-closed",
            End::UpstreamFault => "upstream-fault",
            End::Timeout => "timeout",
            End::CutOrder => "cut-order",
            End::CutExpiry => "cut-expiry",
            End::CutRegister => "cut-register",
            End::CutLimit => "cut-limit",
            End::Shutdown => "shutdown",
            End::Interrupted => "interrupted",
        }
    }
}

/// A candidate and every condition of it that failed, in the order of the list; empty: it passed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateReport {
    /// Id of the transfer or allowance.
    pub id: Id,
    /// Which of the two.
    pub kind: CandidateKind,
    /// Its failing conditions.
    pub failed: Vec<Reason>,
}

/// A refusal: why, how far it came, and what failed on each candidate.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The reason.
    pub reason: Reason,
    /// Where it was refused.
    pub stage: Stage,
    /// Who sent, where that is known.
    pub source: Option<Arc<Source>>,
    /// What failed on each candidate, in the order of their ids, transfers first.
    pub candidates: Vec<CandidateReport>,
    /// When the same may be tried again, for limits.
    pub retry_after: Option<Duration>,
    /// What exactly failed, for the log and for `explain`; names no value found in a body.
    pub detail: Option<String>,
    /// The HTTP status to answer with.
    pub status: u16,
    pub(super) trace: Arc<Trace>,
}

impl Denial {
    /// A refusal that no condition of the register made: a malformed request, a fault of the way, a full disk.
    pub fn new(reason: Reason, stage: Stage) -> Denial {
        Denial {
            reason,
            stage,
            source: None,
            candidates: Vec::new(),
            retry_after: None,
            detail: None,
            status: reason.status(),
            trace: Arc::default(),
        }
    }

    /// With the source, where it was known already.
    #[must_use]
    pub fn with_source(mut self, source: Option<Arc<Source>>) -> Denial {
        self.source = source;
        self
    }

    /// With what exactly failed.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Denial {
        self.detail = Some(detail.into());
        self
    }

    /// With another status than the reason's own: see [`Reason::status`] for the cases.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Denial {
        self.status = status;
        self
    }

    /// With the time after which the same may be tried again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Denial {
        self.retry_after = Some(after);
        self
    }

    /// Failing conditions of the exchange itself, whatever the candidate, in the order of the list.
    pub fn failed(&self) -> Vec<Reason> {
        match self.trace.general.is_empty() {
            true => vec![self.reason],
            false => reasons(&self.trace.general),
        }
    }

    /// Each condition that was judged, with its outcome.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// The end of the body stage: let through, under a declaration or under `observe`.
#[derive(Debug)]
pub struct Verdict {
    pub(super) kept: Box<Kept>,
    pub(super) body: BodyFacts,
    /// The candidate that everything is charged to; `None` for a would-deny.
    pub(super) used: Option<usize>,
    pub(super) categories: Vec<Term>,
    pub(super) presumed: bool,
    pub(super) country_mismatch: bool,
    pub(super) obligations: Obligations,
    pub(super) facts: ConnectionFacts,
}

impl Verdict {
    /// `permit` or `would-deny`, never `denial`.
    pub fn decision(&self) -> Decision {
        match self.kept.would_deny {
            None => Decision::Permit,
            Some(_) => Decision::WouldDeny,
        }
    }

    /// What it leaves under; `None` for a would-deny.
    pub fn used(&self) -> Option<Used> {
        self.used.map(|place| self.kept.standings[place].candidate.name())
    }

    /// The transfer that it leaves under.
    pub fn transfer(&self) -> Option<&Arc<Transfer>> {
        self.used.and_then(|place| self.kept.standings[place].candidate.transfer())
    }

    /// The allowance that it leaves under.
    pub fn allowance(&self) -> Option<&Arc<Allowance>> {
        self.used.and_then(|place| self.kept.standings[place].candidate.allowance())
    }

    /// What was filed for the transfer that it leaves under.
    pub fn filing(&self) -> Option<&Filing> {
        self.transfer().and_then(|transfer| transfer.filing.as_ref())
    }

    /// The base receipt of the transfer's processing, whose particulars the stamp carries (law 09-08 art. 19).
    pub fn receipt(&self) -> Option<&Receipt> {
        self.transfer().and_then(|transfer| transfer.processing.receipt.as_ref())
    }

    /// Who sends; `None` only for a would-deny of an unknown source.
    pub fn source(&self) -> Option<&Arc<Source>> {
        self.kept.source.as_ref()
    }

    /// What must be kept while it goes on.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The register that it was decided on.
    pub fn register(&self) -> &Arc<crate::register::Register> {
        &self.kept.register
    }

    /// What the inspector saw of the body.
    pub fn findings(&self) -> &Findings {
        &self.body.findings
    }

    /// Size and digest of the body as judged.
    pub fn body(&self) -> &BodyFacts {
        &self.body
    }

    /// The categories that target and body were taken for.
    pub fn categories(&self) -> &[Term] {
        &self.categories
    }

    /// Whether `carries` stood for something that could not be read (`unreadable: presumed`).
    pub fn is_presumed(&self) -> bool {
        self.presumed
    }

    /// Whether the address lies in another country than the recipient: an alarm, not a refusal.
    pub fn country_mismatch(&self) -> bool {
        self.country_mismatch
    }

    /// What became of each candidate.
    pub fn candidates(&self) -> Vec<CandidateReport> {
        self.kept.reports()
    }

    /// The refusal that `observe` lifted.
    pub fn would_deny(&self) -> Option<&Denial> {
        self.kept.would_deny.as_ref()
    }

    /// Gives a refusal after the body stage (no record, a client that left) the source and the candidates of this
    /// verdict.
    pub fn denial(&self, denial: Denial) -> Denial {
        self.kept.told(denial)
    }

    /// Each condition that was judged, with its outcome.
    pub fn trace(&self) -> Trace {
        self.kept.trace()
    }

    /// What it holds in the ledger, to draw more for a tunnel.
    pub fn reservations_mut(&mut self) -> &mut Reservations {
        &mut self.kept.reservations
    }

    /// Takes what it holds in the ledger, to be settled when the exchange ends, or given back if it never starts.
    pub fn take_reservations(&mut self) -> Reservations {
        std::mem::take(&mut self.kept.reservations)
    }
}

//! What was judged, condition by condition: the material of reasons, of reports and of `tasrih explain`.

use std::fmt;
use std::time::Duration;

use super::candidate::CandidateKind;
use super::decision::Stage;
use super::reason::Reason;
use crate::register::Id;

/// One condition of a decision. Each belongs to one stage, a few (size, limits, content) to two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The peer is a declared source.
    Source,
    /// No order stops it.
    Order,
    /// The address may be dialled.
    Address,
    /// Host, port and scheme are declared, for this source.
    Destination,
    /// The filing that the regimes want is there, granted and valid today.
    Filing,
    /// The processing has its base receipt.
    Receipt,
    /// The legal basis can hold for the country, in every regime.
    LegalBasis,
    /// It may be relayed unread.
    Tunnel,
    /// The server name is the destination's.
    ServerName,
    /// The certificate is the recipient's.
    Certificate,
    /// TLS is new enough.
    TlsVersion,
    /// The measures that were promised are in place.
    Measures,
    /// The address is not known to lie in another country.
    Country,
    /// The method is declared.
    Method,
    /// The path is declared.
    Path,
    /// The content type is declared.
    ContentType,
    /// Query and header fields hold nothing that is not declared.
    Target,
    /// The body can be read.
    Readable,
    /// The body's categories are declared.
    Categories,
    /// The body is no larger than declared.
    Size,
    /// It does not come too soon, nor too often, nor too much today.
    Limits,
}

impl Condition {
    /// The words that `explain` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Source => "source",
            Condition::Order => "orders",
            Condition::Address => "address",
            Condition::Destination => "destination",
            Condition::Filing => "filing",
            Condition::Receipt => "receipt",
            Condition::LegalBasis => "legal basis",
            Condition::Tunnel => "tunnel",
            Condition::ServerName => "server name",
            Condition::Certificate => "certificate",
            Condition::TlsVersion => "tls version",
            Condition::Measures => "measures",
            Condition::Country => "country",
            Condition::Method => "method",
            Condition::Path => "path",
            Condition::ContentType => "content type",
            Condition::Target => "target",
            Condition::Readable => "readable",
            Condition::Categories => "categories",
            Condition::Size => "size",
            Condition::Limits => "limits",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A condition that failed: why, and what exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason that it would be, alone.
    pub reason: Reason,
    /// What exactly failed; names no value found in a body.
    pub detail: String,
    /// When the same may be tried again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Failure {
        Failure { reason, detail: detail.into(), retry_after: None }
    }

    pub(super) fn after(mut self, wait: Duration) -> Failure {
        self.retry_after = Some(wait);
        self
    }
}

/// A condition with its outcome; without failures it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The stage that judged it.
    pub stage: Stage,
    /// What was judged.
    pub condition: Condition,
    /// Why it failed.
    pub failures: Vec<Failure>,
}

/// What was judged of one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateTrace {
    /// Id of the transfer or allowance.
    pub id: Id,
    /// Which of the two.
    pub kind: CandidateKind,
    /// Its conditions, in the order in which they were judged.
    pub checks: Vec<Check>,
}

/// What was judged of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Conditions of the exchange itself, whatever the candidate.
    pub general: Vec<Check>,
    /// Conditions of each candidate.
    pub candidates: Vec<CandidateTrace>,
}

/// The reasons in `checks`, in the order of the list, each once.
pub(super) fn reasons(checks: &[Check]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = failures(checks).map(|failure| failure.reason).collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Every failure in `checks`.
pub(super) fn failures(checks: &[Check]) -> impl Iterator<Item = &Failure> {
    checks.iter().flat_map(|check| &check.failures)
}

//! Candidates: the transfers and allowances whose sources and destinations match an exchange, and how each stands.
//!
//! Each is judged whole and alone. [`Kept`] carries them from stage to stage, and says which reason a refusal has.

use std::fmt;
use std::sync::Arc;

use super::calendar::Today;
use super::decision::{CandidateReport, Denial, Stage};
use super::facts::Head;
use super::limits::Reservations;
use super::reason::Reason;
use super::trace::{CandidateTrace, Check, Condition, Failure, Trace, failures, reasons};
use crate::destination::Destination;
use crate::register::{
    Allowance, Endpoint, Id, Limits, Mode, ModeSetting, Permission, Register, Requests, Source, Transfer,
};

/// Which of the two a candidate is. A transfer is used before an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// A declared permission.
    Transfer,
    /// A destination opened for traffic without personal data.
    Allowance,
}

impl CandidateKind {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            CandidateKind::Transfer => "transfer",
            CandidateKind::Allowance => "allowance",
        }
    }
}

/// The name of what an exchange leaves under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Used {
    /// Transfer or allowance.
    pub kind: CandidateKind,
    /// Its id.
    pub id: Id,
}

impl Used {
    /// Its limits in `register`; `None` where it is not declared there.
    pub(super) fn limits<'a>(&self, register: &'a Register) -> Option<&'a Limits> {
        match self.kind {
            CandidateKind::Transfer => register.transfer(&self.id).map(|transfer| &transfer.limits),
            CandidateKind::Allowance => register.allowance(&self.id).map(|allowance| &allowance.limits),
        }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.id)
    }
}

/// A transfer or allowance, with the endpoint of it that the destination matches.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    declared: Declared,
    /// Place of the endpoint in the recipient's or allowance's list.
    endpoint: usize,
}

#[derive(Clone, Debug)]
enum Declared {
    Transfer(Arc<Transfer>),
    Allowance(Arc<Allowance>),
}

impl Candidate {
    /// All that match, transfers first, each in the order of the ids.
    pub(super) fn all<'r>(
        register: &'r Register,
        source: &Source,
        destination: &Destination,
    ) -> impl Iterator<Item = Candidate> + use<'r> {
        register.permissions(&source.id, destination).into_iter().map(Candidate::of)
    }

    /// [`Candidate::all`] of the source at this position in the register's list.
    pub(super) fn all_at<'r>(
        register: &'r Register,
        source: u32,
        destination: &Destination,
    ) -> impl Iterator<Item = Candidate> + use<'r> {
        register.permissions_at(source, destination).into_iter().map(Candidate::of)
    }

    fn of(permission: Permission<'_>) -> Candidate {
        match permission {
            Permission::Transfer(transfer, endpoint) => {
                Candidate { declared: Declared::Transfer(Arc::clone(transfer)), endpoint }
            }
            Permission::Allowance(allowance, endpoint) => {
                Candidate { declared: Declared::Allowance(Arc::clone(allowance)), endpoint }
            }
        }
    }

    pub(super) fn name(&self) -> Used {
        match &self.declared {
            Declared::Transfer(transfer) => Used { kind: CandidateKind::Transfer, id: transfer.id.clone() },
            Declared::Allowance(allowance) => Used { kind: CandidateKind::Allowance, id: allowance.id.clone() },
        }
    }

    pub(super) fn transfer(&self) -> Option<&Arc<Transfer>> {
        match &self.declared {
            Declared::Transfer(transfer) => Some(transfer),
            Declared::Allowance(_) => None,
        }
    }

    pub(super) fn allowance(&self) -> Option<&Arc<Allowance>> {
        match &self.declared {
            Declared::Transfer(_) => None,
            Declared::Allowance(allowance) => Some(allowance),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        match &self.declared {
            Declared::Transfer(transfer) => &transfer.to.endpoints[self.endpoint],
            Declared::Allowance(allowance) => &allowance.to[self.endpoint],
        }
    }

    pub(super) fn requests(&self) -> &Requests {
        match &self.declared {
            Declared::Transfer(transfer) => &transfer.requests,
            Declared::Allowance(allowance) => &allowance.requests,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        match &self.declared {
            Declared::Transfer(transfer) => &transfer.limits,
            Declared::Allowance(allowance) => &allowance.limits,
        }
    }

    fn mode(&self) -> Option<ModeSetting> {
        match &self.declared {
            Declared::Transfer(transfer) => transfer.mode,
            Declared::Allowance(allowance) => allowance.mode,
        }
    }

    /// Of several that pass, the one with the smallest preference is used: the transfer before the allowance, then
    /// the one that declares fewest categories, then the smaller id.
    fn preference(&self) -> (CandidateKind, usize, Id) {
        let used = self.name();
        let categories = self.transfer().map_or(0, |transfer| transfer.data_categories.len());
        (used.kind, categories, used.id)
    }
}

/// As many conditions as a request that is permitted is judged by, from head to body.
const CHECKS: usize = 20;

/// A candidate and all that was judged of it so far.
#[derive(Debug)]
pub(super) struct Standing {
    pub candidate: Candidate,
    pub checks: Vec<Check>,
    /// Still carried on: it passed every stage so far, or `observe` lifted what failed.
    pub is_left: bool,
}

impl Standing {
    pub(super) fn new(candidate: Candidate) -> Standing {
        Standing { candidate, checks: Vec::with_capacity(CHECKS), is_left: true }
    }

    pub(super) fn note(&mut self, stage: Stage, condition: Condition, failures: Vec<Failure>) {
        self.checks.push(Check { stage, condition, failures });
    }

    pub(super) fn passes(&self) -> bool {
        failures(&self.checks).next().is_none()
    }

    fn passed(&self, stage: Stage) -> bool {
        self.checks.iter().all(|check| check.stage != stage || check.failures.is_empty())
    }
}

/// What an exchange carries from stage to stage.
#[derive(Debug)]
pub(super) struct Kept {
    pub register: Arc<Register>,
    pub head: Head,
    /// The day of the decision in the controller's time zone.
    pub today: Today,
    pub source: Option<Arc<Source>>,
    /// Conditions of the exchange itself, whatever the candidate.
    pub general: Vec<Check>,
    pub standings: Vec<Standing>,
    pub reservations: Reservations,
    /// The refusal that `observe` lifted.
    pub would_deny: Option<Denial>,
}

impl Kept {
    pub(super) fn left(&self) -> impl Iterator<Item = &Standing> {
        self.standings.iter().filter(|standing| standing.is_left)
    }

    /// The place of the candidate to use, of those that passed everything.
    pub(super) fn preferred(&self) -> Option<usize> {
        let passing = self.standings.iter().enumerate().filter(|(_, standing)| standing.is_left && standing.passes());
        passing.min_by_key(|(_, standing)| standing.candidate.preference()).map(|(place, _)| place)
    }

    /// Ends a stage: drops the candidates that failed in it, and is refused if none is left. Under `observe` a
    /// refusal that it may lift is kept as [`Kept::would_deny`], and every candidate is carried on.
    pub(super) fn conclude(&mut self, stage: Stage) -> Result<(), Denial> {
        for standing in &mut self.standings {
            standing.is_left = standing.is_left && standing.passed(stage);
        }
        let is_general = self.general.iter().any(|check| check.stage == stage && !check.failures.is_empty());
        let is_left = self.standings.is_empty() || self.left().next().is_some();
        if !is_general && is_left {
            return Ok(());
        }
        let denial = self.denial(stage);
        if self.mode() == Mode::Enforce || !denial.reason.is_lifted_by_observe() {
            return Err(denial);
        }
        for standing in &mut self.standings {
            standing.is_left = true;
        }
        self.would_deny.get_or_insert(denial);
        Ok(())
    }

    fn denial(&self, stage: Stage) -> Denial {
        let chains = self.chains();
        let first = |chain: &&Vec<&Failure>| chain.iter().map(|failure| failure.reason).min();
        // The candidate that came furthest, unless `observe` would lift that: then what it never lifts is the reason.
        let all = chains.iter().flatten();
        let barred = match self.mode() {
            Mode::Enforce => None,
            Mode::Observe => all.map(|failure| failure.reason).filter(|reason| !reason.is_lifted_by_observe()).min(),
        };
        let furthest = chains.iter().filter_map(|chain| first(&chain)).max();
        let reason = barred.or(furthest).unwrap_or(Reason::NoDeclaration);
        let told = chains.iter().find(|chain| match barred {
            None => first(chain) == Some(reason),
            Some(_) => chain.iter().any(|failure| failure.reason == reason),
        });
        let told = told.map_or(&[][..], Vec::as_slice);
        let is_limit = matches!(reason, Reason::TooFrequent | Reason::DayLimit | Reason::VolumeLimit);
        Denial {
            source: self.source.clone(),
            candidates: self.reports(),
            retry_after: told.iter().filter_map(|failure| failure.retry_after).max().filter(|_| is_limit),
            detail: told.iter().find(|failure| failure.reason == reason).map(|failure| failure.detail.clone()),
            trace: Arc::new(self.trace()),
            ..Denial::new(reason, stage)
        }
    }

    /// The failures of each candidate, with those of the exchange itself; of the exchange alone without candidates.
    fn chains(&self) -> Vec<Vec<&Failure>> {
        let general: Vec<&Failure> = failures(&self.general).collect();
        if self.standings.is_empty() {
            return vec![general];
        }
        let chain = |standing| general.iter().copied().chain(standing).collect();
        self.standings.iter().map(|standing| chain(failures(&standing.checks).collect::<Vec<_>>())).collect()
    }

    /// The mode of a refusal: the strictest set on the source or on any candidate, else the register's.
    pub(super) fn mode(&self) -> Mode {
        let day = self.today.date;
        let own = self.source.iter().filter_map(|source| source.mode);
        let candidates = self.standings.iter().filter_map(|standing| standing.candidate.mode());
        own.chain(candidates).map(|setting| setting.on(day)).max().unwrap_or_else(|| self.register.mode.on(day))
    }

    /// A denial whose cause lies outside the register, with what is known of source and candidates.
    pub(super) fn told(&self, denial: Denial) -> Denial {
        Denial {
            source: denial.source.or_else(|| self.source.clone()),
            candidates: self.reports(),
            trace: Arc::new(self.trace()),
            ..denial
        }
    }

    pub(super) fn reports(&self) -> Vec<CandidateReport> {
        let report = |standing: &Standing| {
            let Used { kind, id } = standing.candidate.name();
            CandidateReport { id, kind, failed: reasons(&standing.checks) }
        };
        self.standings.iter().map(report).collect()
    }

    pub(super) fn trace(&self) -> Trace {
        let candidate = |standing: &Standing| {
            let Used { kind, id } = standing.candidate.name();
            CandidateTrace { id, kind, checks: standing.checks.clone() }
        };
        Trace { general: self.general.clone(), candidates: self.standings.iter().map(candidate).collect() }
    }
}

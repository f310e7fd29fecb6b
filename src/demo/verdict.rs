//! The points that the demo's verdict is made of. Pure: what was seen comes in, what holds comes out.

use super::compare::{self, Side};
use super::screen::grouped;
use crate::policy::Decision;
use crate::record::past::{Kind, Past};

/// A refusal as its sender was told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The reason's word.
    pub reason: String,
    /// Id of its record.
    pub record: String,
}

/// One point of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Whether it holds.
    pub holds: bool,
    /// What it is about, with its numbers.
    pub text: String,
}

/// Everything that was seen, from all sides.
pub struct Evidence<'a> {
    /// Each recipient beside the records.
    pub sides: &'a [Side],
    /// All records of the run.
    pub records: &'a [Past],
    /// What the play's own clients were told.
    pub refusals: &'a [Told],
    /// Exchanges that the play began.
    pub begun: usize,
    /// Whether others were invited to send, too.
    pub guests: bool,
}

impl Evidence<'_> {
    /// Every point that can be judged from this.
    pub fn points(&self) -> Vec<Point> {
        vec![
            self.sides_agree(),
            self.nothing_undeclared(),
            self.refusals_told(),
            self.every_decision(),
            self.every_outcome(),
            self.no_gap(),
        ]
    }

    fn sides_agree(&self) -> Point {
        let arrived: usize = self.sides.iter().map(|side| side.account.requests.len()).sum();
        let agree = self.sides.iter().all(|side| side.disagreements.is_empty());
        // Nobody but these can have been reached, so the records may not say otherwise.
        let known: usize = self.sides.iter().map(|side| side.let_through).sum();
        let holds = agree && known == compare::let_through(self.records).count();
        Point { holds, text: format!("both sides agree on each of {arrived} requests that arrived, byte for byte") }
    }

    fn nothing_undeclared(&self) -> Point {
        let closed = || self.sides.iter().map(|side| &side.account).filter(|account| !account.may_receive);
        let bytes: u64 = closed().map(|account| account.bytes).sum();
        let connections: u64 = closed().map(|account| account.connections).sum();
        let text = format!("undeclared recipients: {} bytes, {connections} connections", grouped(bytes));
        Point { holds: bytes == 0 && connections == 0, text }
    }

    fn refusals_told(&self) -> Point {
        let (told, on_record) =
            (self.refusals.len(), self.refusals.iter().filter(|told| self.is_on_record(told)).count());
        let text = format!("{on_record} of {told} refusals were told with the reason and id of their record");
        Point { holds: on_record == told, text }
    }

    fn is_on_record(&self, told: &Told) -> bool {
        let mut denials = self.records.iter().filter(|record| record.decision == Some(Decision::Denial));
        let is_it = |denial: &Past| denial.reason.is_some_and(|reason| reason.as_str() == told.reason);
        denials.any(|denial| denial.uid == told.record && is_it(denial))
    }

    /// What guests begin is not known here, only that it comes on top.
    fn every_decision(&self) -> Point {
        let decided = self.records.iter().filter(|record| record.kind == Kind::Decision).count();
        let begun = self.begun;
        if self.guests {
            let text = format!("{decided} decisions on record, {begun} of them for the play's own exchanges");
            return Point { holds: decided >= begun, text };
        }
        Point { holds: decided == begun, text: format!("{decided} decisions on record for {begun} exchanges begun") }
    }

    fn every_outcome(&self) -> Point {
        let ends = compare::ends(self.records);
        let passed = compare::let_through(self.records).count();
        let ended = compare::let_through(self.records).filter(|decision| ends.contains_key(decision.uid.as_str()));
        let ended = ended.count();
        Point { holds: ended == passed, text: format!("{ended} of {passed} exchanges let through have their outcome") }
    }

    fn no_gap(&self) -> Point {
        let holds = self.records.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1);
        let number = |record: Option<&Past>| record.map_or(0, |record| record.sequence);
        let (first, last) = (number(self.records.first()), number(self.records.last()));
        Point { holds, text: format!("{} records without a gap, numbers {first} to {last}", self.records.len()) }
    }
}

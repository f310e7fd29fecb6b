//! What somebody asks for by command, and whether it is to be taken: the same once more changes nothing, and nothing is
//! hidden under a reference that is used already.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::docket::{Act, Docket, Entry, Means, Suspension, Way};
use crate::record::{Asker, Origin};
use crate::register::fault::{Problem, meant};
use crate::register::{Order, Register};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who ordered it.
    pub authority: String,
    /// What the authority calls it.
    pub reference: String,
    /// Its day.
    pub date: Option<Date>,
    /// What is to be remembered with it.
    pub note: Option<String>,
    /// What it does.
    pub act: Act,
    /// Whether a scope that names nothing declared is meant.
    pub even_if_unknown: bool,
    /// Who asks.
    pub by: Asker,
}

/// Whether an order is to be taken: true where it is new, false where exactly that was done before. Without a register
/// nobody says whether its scope names something.
///
/// # Errors
/// What is wrong with it.
pub fn judge(docket: &Docket, register: Option<&Register>, wanted: &Wanted) -> Result<bool, Problem> {
    let Wanted { authority, reference, .. } = wanted;
    if authority.trim().is_empty() || reference.trim().is_empty() {
        return Err(Problem::new("authority and reference are not empty").hint("they stand on the authority's letter"));
    }
    let written = register.map_or(&[][..], Register::orders_of_files);
    match &wanted.act {
        Act::Suspend(scope) => {
            if let Some(known) = docket.suspensions().find(|known| is_of(known.entry, authority, reference)) {
                return again(&known, &wanted.act);
            }
            not_used(docket, written, wanted)?;
            let known = register.map_or(Ok(()), |register| register.knows(scope));
            known.or_else(|problem| if wanted.even_if_unknown { Ok(()) } else { Err(unknown(problem)) })?;
            Ok(true)
        }
        Act::Lift(lifts) => {
            let of_name = |known: &Suspension<'_>| is_of(known.entry, authority, lifts);
            if docket.suspensions().any(|known| of_name(&known) && known.lift.is_none()) {
                not_used(docket, written, wanted)?;
                return Ok(true);
            }
            match docket.suspensions().find(of_name).and_then(|known| known.lift) {
                Some(lift) if lift.reference == *reference => Ok(false),
                Some(lift) => {
                    let message = format!("order `{lifts}` of {authority} is lifted already, by `{}`", lift.reference);
                    Err(Problem::new(message).hint("`tasrih order list` shows what is in force"))
                }
                None => {
                    let in_force = docket.suspensions().filter(|known| known.lift.is_none());
                    let references: Vec<&str> = in_force
                        .filter(|known| known.entry.authority == *authority)
                        .map(|known| known.entry.reference.as_str())
                        .collect();
                    let hint = meant(lifts, references);
                    let hint = hint.unwrap_or_else(|| "`tasrih order list` shows what is in force".to_owned());
                    Err(Problem::new(format!("{authority} has no suspension `{lifts}` to lift")).hint(hint))
                }
            }
        }
    }
}

pub(super) fn is_of(entry: &Entry, authority: &str, reference: &str) -> bool {
    entry.authority == authority && entry.reference == reference
}

fn unknown(problem: Problem) -> Problem {
    let hint = problem.hint.unwrap_or_default();
    let hint = format!("{hint}; --even-if-unknown takes the order all the same").trim_start_matches("; ").to_owned();
    Problem::new(format!("{}: the order would stop nothing", problem.message)).hint(hint)
}

/// The same order once more changes nothing; another one under its reference would hide one of the two.
fn again(known: &Suspension<'_>, act: &Act) -> Result<bool, Problem> {
    let Entry { authority, reference, at, .. } = known.entry;
    let hint = "give it a reference of its own, such as the authority's with a number behind it";
    match known.lift {
        None if *act == known.entry.act => Ok(false),
        None => {
            let message = format!("order `{reference}` of {authority} stops {} since {at}", known.scope);
            Err(Problem::new(message).hint(hint))
        }
        Some(lift) => {
            let message = format!("order `{reference}` of {authority} was lifted by `{}`", lift.reference);
            Err(Problem::new(message).hint(hint))
        }
    }
}

fn not_used(docket: &Docket, written: &[Order], wanted: &Wanted) -> Result<(), Problem> {
    let Wanted { authority, reference, .. } = wanted;
    let in_files = written.iter().any(|order| order.is(authority, reference));
    if !in_files && !docket.uses(authority, reference) {
        return Ok(());
    }
    let problem = Problem::new(format!("`{reference}` of {authority} is another entry already"));
    Err(problem.hint("each order and each lift has a reference of its own"))
}

impl Wanted {
    /// The entry of the docket, taken at this time.
    pub fn entry(&self, at: Timestamp) -> Entry {
        let Wanted { authority, reference, date, note, act, by, .. } = self.clone();
        let origin = Origin { asked_by: Some(by), ..Origin::default() };
        let way = Way { means: Means::Command, origin };
        Entry { at, way, authority, reference, date, note, act, owed: false }
    }
}

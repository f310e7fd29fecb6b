//! What a body or target is taken for (DESIGN §5): the categories that it holds, found or presumed.

use super::candidate::Candidate;
use super::reason::Reason;
use super::trace::Failure;
use crate::inspect::{Content, Findings, Unread};
use crate::register::Source;
use crate::vocabulary::Term;

/// What content was taken for.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Found or presumed, each once, in their order.
    pub categories: Vec<Term>,
    /// Why it cannot be read, where that refuses it.
    pub unread: Option<String>,
    /// `carries` stands for what could not be read.
    pub is_presumed: bool,
}

/// Takes content for what was found in it, and for what its source is known to carry.
///
/// Images and video have the categories of `carries`, without it `pd:Picture`. What cannot be read is presumed to be
/// what the source carries only where the transfer says so; a label that the bytes contradict is never presumed.
pub(super) fn taken(findings: &Findings, source: &Source, candidate: &Candidate) -> Taken {
    let mut taken = Taken::default();
    taken.categories.extend(findings.found.iter().map(|finding| finding.category.clone()));
    if matches!(findings.content, Content::Image(_) | Content::Video(_)) {
        match source.carries.is_empty() {
            true => taken.categories.push(Term::PICTURE),
            false => taken.categories.extend_from_slice(&source.carries),
        }
    }
    if let Some(unread) = findings.unread {
        let is_presumed = candidate.transfer().is_some_and(|transfer| transfer.unreadable_presumed);
        let is_label = matches!(unread, Unread::LabelDisagrees);
        if is_presumed && !is_label && !source.carries.is_empty() {
            taken.is_presumed = true;
            taken.categories.extend_from_slice(&source.carries);
        } else {
            taken.unread = Some(unread.as_str().to_owned());
        }
    }
    taken.categories.sort();
    taken.categories.dedup();
    taken
}

/// Whether each category is declared; an allowance declares none.
pub(super) fn judge_categories(categories: &[Term], candidate: &Candidate) -> Vec<Failure> {
    let declared = candidate.transfer().map_or(&[][..], |transfer| &transfer.data_categories[..]);
    let is_declared = |category: &Term| declared.iter().any(|wider| wider.covers(category));
    let undeclared: Vec<&Term> = categories.iter().filter(|category| !is_declared(category)).collect();
    let is_authorised = candidate.transfer().is_none_or(|transfer| transfer.sensitive);
    let sensitive: Vec<&Term> = categories.iter().filter(|category| category.is_sensitive()).collect();
    let mut failures = Vec::new();
    if !undeclared.is_empty() {
        failures.push(Failure::new(Reason::CategoryNotDeclared, format!("{} not declared", listed(&undeclared))));
    }
    if !is_authorised && !sensitive.is_empty() {
        failures.push(Failure::new(Reason::SensitiveNotAuthorised, format!("{} sensitive", listed(&sensitive))));
    }
    failures
}

/// "a is", "a, b are": the subject of a detail.
fn listed(terms: &[&Term]) -> String {
    let verb = if terms.len() == 1 { "is" } else { "are" };
    let names: Vec<&str> = terms.iter().map(|term| term.as_str()).collect();
    format!("{} {verb}", names.join(", "))
}

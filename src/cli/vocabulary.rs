//! `tasrih vocabulary`: the terms that a register may use, as trees of what covers what, with their names in English,
//! French and Arabic.

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use crate::vocabulary::{Term, TermKind};

/// List the terms of the vocabulary, or search them
#[derive(clap::Args)]
pub struct Arguments {
    /// Only terms with this in the term or in a name, in any of the languages
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only terms of this kind
    #[arg(long, value_enum)]
    kind: Option<Which>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Purpose,
    DataCategory,
    DataSubject,
    Role,
    OrganisationKind,
    Measure,
    LegalBasis,
}

impl From<Which> for TermKind {
    fn from(kind: Which) -> TermKind {
        match kind {
            Which::Purpose => TermKind::Purpose,
            Which::DataCategory => TermKind::DataCategory,
            Which::DataSubject => TermKind::DataSubject,
            Which::Role => TermKind::Role,
            Which::OrganisationKind => TermKind::OrganisationKind,
            Which::Measure => TermKind::Measure,
            Which::LegalBasis => TermKind::LegalBasis,
        }
    }
}

pub fn main(arguments: Arguments) -> u8 {
    let kinds = arguments.kind.map_or(TermKind::ALL.to_vec(), |kind| vec![kind.into()]);
    let found: Vec<(TermKind, Vec<Term>)> =
        kinds.into_iter().map(|kind| (kind, terms(kind, arguments.search.as_deref()))).collect();
    if found.iter().all(|(_, terms)| terms.is_empty()) {
        eprintln!("tasrih vocabulary: no term has `{}` in it", arguments.search.unwrap_or_default());
        return super::FINDINGS;
    }
    for (kind, terms) in found.iter().filter(|(_, terms)| !terms.is_empty()) {
        match (arguments.json, &arguments.search) {
            (true, _) => terms.iter().for_each(|term| println!("{}", as_json(term, *kind))),
            (false, Some(_)) => print!("{}", list(*kind, terms)),
            (false, None) => print!("{}", tree(*kind)),
        }
    }
    super::FINE
}

fn terms(kind: TermKind, search: Option<&str>) -> Vec<Term> {
    Term::all(kind).filter(|term| search.is_none_or(|words| term.is_meant_by(words))).collect()
}

/// Terms that were searched for, each with the way up to it: declaring any of those covers it.
fn list(kind: TermKind, terms: &[Term]) -> String {
    let mut out = format!("{}\n", kind.as_str());
    for term in terms {
        out += &format!("  {term}  {}\n", names(term));
        let above: Vec<String> = above(term).iter().map(Term::to_string).collect();
        if !above.is_empty() {
            out += &format!("      covered by {}\n", above.join(", "));
        }
        let below: Vec<String> = term.narrower(kind).iter().map(Term::to_string).collect();
        if !below.is_empty() {
            out += &format!("      covers {}\n", below.join(", "));
        }
    }
    out
}

/// Every broader term, nearest first.
fn above(term: &Term) -> Vec<Term> {
    let mut found: Vec<Term> = term.broader();
    let mut position = 0;
    while let Some(next) = found.get(position).cloned() {
        for broader in next.broader() {
            if !found.contains(&broader) {
                found.push(broader);
            }
        }
        position += 1;
    }
    found
}

/// All terms of a kind below the ones that nothing covers. One that two terms cover stands below both.
fn tree(kind: TermKind) -> String {
    fn branch(term: &Term, kind: TermKind, depth: usize, out: &mut String) {
        *out += &format!("{}{term}  {}\n", "  ".repeat(depth), names(term));
        for below in term.narrower(kind) {
            branch(&below, kind, depth + 1, out);
        }
    }
    let mut out = format!("{}\n", kind.as_str());
    for term in Term::all(kind).filter(|term| !term.broader().iter().any(|above| above.is(kind))) {
        branch(&term, kind, 1, &mut out);
    }
    out
}

/// Arabic stands last: nothing to its left is put in another order by a terminal.
fn names(term: &Term) -> String {
    term.label().names().collect::<Vec<&str>>().join(" · ")
}

fn as_json(term: &Term, kind: TermKind) -> Json {
    let label = term.label();
    let shown = |terms: Vec<Term>| terms.iter().map(Term::to_string).collect::<Vec<String>>();
    json!({
        "term": term.as_str(),
        "kind": kind.as_str(),
        "label": {"en": label.en, "fr": label.fr, "ar": label.ar},
        "broader": shown(term.broader()),
        "narrower": shown(term.narrower(kind)),
        "sensitive": kind == TermKind::DataCategory && term.is_sensitive(),
    })
}

//! The legal words: terms of the W3C Data Privacy Vocabulary and our own, countries, regimes and adequacy lists.
//!
//! Everything is a table inside the program: a register that was compiled yesterday means the same today, wherever the
//! program runs. Nothing here opens the gate. A term or country says what a declaration claims; the lists only test
//! whether the claim is possible.
//!
//! [`term`] has terms and their hierarchy, [`label`] their names for people, [`country`] countries, [`regime`] the laws, [`adequacy`] their lists,
//! [`papers`] what they want to see.
//! The tables are `dpv.tsv` (W3C, see `DPV-LICENSE.md`), `own.tsv`, `labels.tsv`, `countries.tsv` and `adequacy.json` beside them,
//! each with its source and licence in its head.

pub mod adequacy;
pub mod country;
pub mod label;
pub mod papers;
pub mod regime;
pub mod term;

pub use adequacy::Adequacy;
pub use country::{Country, UnknownCountry};
pub use label::Label;
pub use regime::{Regime, UnknownRegime};
pub use term::{Term, TermKind, UnknownTerm};

/// The candidate most like `text`, if one is like enough to be what was meant.
pub fn nearest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    /// Below this Jaro-Winkler similarity a suggestion misleads more often than it helps.
    const ALIKE: f64 = 0.84;
    /// Nobody misspells a term at such length; the comparison is quadratic.
    const LONGEST: usize = 100;
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&text, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        // `max_by` keeps the last of equals; reversed order of candidates is not worth it, any of them will do.
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}

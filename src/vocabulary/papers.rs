//! What each regime wants to see before data may go abroad: a filing with the authority, a document, both or neither
//! (`research/law.md` §2-4). The decision refuses what lacks them and the lint says so before.

use super::{Regime, Term};

/// What must be present for a transfer abroad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A filing with the authority.
    Filing,
    /// A document with its hash.
    Document,
    /// A filing and a document with its hash.
    Both,
    /// Neither.
    Nothing,
}

/// What `regime` wants of a transfer abroad that rests on `basis`.
pub fn wanted(regime: Regime, basis: Option<&Term>) -> Wanted {
    match regime {
        // Art. 46(3) safeguards need the authority's authorisation; the others of art. 46 a document; adequacy (45)
        // and the derogations (49) neither. UK GDPR kept the numbering.
        Regime::EuGdpr | Regime::UkGdpr => match basis.map(article) {
            Some(article) if article.starts_with("A46-3") => Wanted::Both,
            Some(article) if article.starts_with("A46") => Wanted::Document,
            Some(_) | None => Wanted::Nothing,
        },
        // 09-08 to a foreign country: a filing granted (F118, or F211 where that lists the transfer). Tunisia, Algeria
        // and Egypt want an authorisation or licence always; of Senegal's law the stricter reading is taken.
        Regime::Ma0908 | Regime::Tn200463 | Regime::Dz1807 | Regime::Sn200812 | Regime::Eg151 => Wanted::Filing,
    }
}

/// Whether a basis is a derogation that the law keeps for single cases, so that a transfer with a rhythm cannot rest on
/// it: the GDPR's art. 49 (recital 111), and in Senegal's law the consent for occasional transfers (art. 50). Law 09-08
/// art. 44 has no such words in what was read.
pub fn is_for_single_cases(basis: &Term) -> bool {
    match basis.prefix() {
        "eu-gdpr" | "uk-gdpr" => article(basis).starts_with("A49"),
        "sn-200812" => article(basis) == "A50",
        _ => false,
    }
}

/// "A46-2-c" of "eu-gdpr:A46-2-c".
fn article(basis: &Term) -> &str {
    basis.as_str().rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TermKind;

    fn basis(text: &str) -> Term {
        Term::parse(text, TermKind::LegalBasis).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn papers_follow_the_article() {
        let check = |regime, text, expected| assert_eq!(wanted(regime, Some(&basis(text))), expected, "{text}");
        check(Regime::EuGdpr, "eu-gdpr:A45-3", Wanted::Nothing);
        check(Regime::EuGdpr, "eu-gdpr:A46-2-c", Wanted::Document);
        check(Regime::UkGdpr, "uk-gdpr:A46-3-a", Wanted::Both);
        check(Regime::Ma0908, "ma-0908:A43", Wanted::Filing);
        assert_eq!(wanted(Regime::EuGdpr, None), Wanted::Nothing);
    }

    #[test]
    fn derogations_are_for_single_cases() {
        assert!(is_for_single_cases(&basis("eu-gdpr:A49-1-a")) && is_for_single_cases(&basis("uk-gdpr:A49-1-g")));
        assert!(is_for_single_cases(&basis("sn-200812:A50")));
        assert!(!is_for_single_cases(&basis("eu-gdpr:A45-3")) && !is_for_single_cases(&basis("ma-0908:A44-1-a")));
    }
}

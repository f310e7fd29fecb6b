//! Names of the terms for people, in English, French and Arabic, and finding a term by a word of any of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Term;

/// What people call a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// English; every term has it.
    pub en: &'static str,
    /// French.
    pub fr: Option<&'static str>,
    /// Arabic.
    pub ar: Option<&'static str>,
}

impl Label {
    /// The names that there are: English, French, Arabic.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.en), self.fr, self.ar].into_iter().flatten()
    }
}

impl Term {
    /// What people call it.
    pub fn label(&self) -> Label {
        // A test reads the label of every term.
        LABELS.get(self.as_str()).copied().unwrap_or(Label { en: "", fr: None, ar: None })
    }

    /// Whether a word of a person stands for it: a part of the term or of one of its names, whatever the case, the
    /// accents and the forms of Arabic letters.
    pub fn is_meant_by(&self, words: &str) -> bool {
        let words = folded(words);
        folded(self.as_str()).contains(&words) || self.label().names().any(|name| folded(name).contains(&words))
    }
}

static LABELS: LazyLock<BTreeMap<&'static str, Label>> = LazyLock::new(|| {
    let rows = include_str!("labels.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut columns = line.split('\t');
        let (term, en) = (columns.next()?, columns.next()?);
        let mut name = || columns.next().filter(|name| !name.is_empty());
        Some((term, Label { en, fr: name(), ar: name() }))
    })
    .collect()
});

/// A text without what people leave out when they search: case, French accents, Arabic vowels and letter forms.
fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.to_lowercase().chars() {
        match letter {
            'à' | 'â' | 'ä' => out.push('a'),
            'é' | 'è' | 'ê' | 'ë' => out.push('e'),
            'î' | 'ï' => out.push('i'),
            'ô' | 'ö' => out.push('o'),
            'ù' | 'û' | 'ü' => out.push('u'),
            'ç' => out.push('c'),
            'œ' => out.push_str("oe"),
            '’' => out.push('\''),
            'أ' | 'إ' | 'آ' => out.push('ا'),
            'ة' => out.push('ه'),
            'ى' => out.push('ي'),
            '\u{64b}'..='\u{652}' | '\u{640}' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TermKind;

    fn category(text: &str) -> Term {
        Term::parse(text, TermKind::DataCategory).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn every_term_has_an_english_name_and_no_name_stands_without_its_term() {
        let terms: BTreeMap<String, Term> =
            TermKind::ALL.into_iter().flat_map(Term::all).map(|term| (term.to_string(), term)).collect();
        for term in terms.values() {
            assert!(!term.label().en.is_empty(), "{term}");
        }
        assert_eq!(LABELS.len(), terms.len());
        assert!(LABELS.keys().all(|term| terms.contains_key(*term)));
    }

    #[test]
    fn what_is_declared_to_the_authority_has_a_name_in_its_languages() {
        // Categories, persons, roles, recipients and bases stand in every form; of purposes and measures those in use.
        let kinds = [
            TermKind::DataCategory,
            TermKind::DataSubject,
            TermKind::Role,
            TermKind::OrganisationKind,
            TermKind::LegalBasis,
        ];
        for term in kinds.into_iter().flat_map(Term::all) {
            let label = term.label();
            assert!(label.fr.is_some() && label.ar.is_some(), "{term}: {label:?}");
            assert!(label.ar.is_some_and(|name| name.chars().any(|letter| ('\u{621}'..='\u{64a}').contains(&letter))));
        }
        for (purpose, kind) in
            [("dpv:EnforceSecurity", TermKind::Purpose), ("dpv:EncryptionInTransfer", TermKind::Measure)]
        {
            let label = Term::parse(purpose, kind).expect("a term").label();
            assert!(label.fr.is_some() && label.ar.is_some(), "{purpose}");
        }
    }

    #[test]
    fn a_term_is_found_by_a_word_of_any_language() {
        let passport = category("pd:Passport");
        for words in ["passport", "PASSE", "جواز", "pd:pass"] {
            assert!(passport.is_meant_by(words), "{words}");
        }
        assert!(category("pd:Age").is_meant_by("age") && category("pd:Health").is_meant_by("sante"));
        assert!(category("pd:OfficialID").is_meant_by("identite") && category("pd:OfficialID").is_meant_by("هويه"));
        assert!(!passport.is_meant_by("visa"));
    }
}

//! Names of the terms for people, in English, French and Arabic, and finding a term by a word of any of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Term;

/// What people call a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
    /// Arabic.
    pub ar: &'static str,
}

impl Label {
    /// English, French, Arabic.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.en, self.fr, self.ar].into_iter()
    }
}

impl Term {
    /// What people call it.
    pub fn label(&self) -> Label {
        // A test reads the label of every term.
        LABELS.get(self.as_str()).copied().unwrap_or(Label { en: "", fr: "", ar: "" })
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
        Some((columns.next()?, Label { en: columns.next()?, fr: columns.next()?, ar: columns.next()? }))
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
    fn every_term_has_a_name_in_each_language_and_no_name_stands_without_its_term() {
        let terms: BTreeMap<String, Term> =
            TermKind::ALL.into_iter().flat_map(Term::all).map(|term| (term.to_string(), term)).collect();
        let is_arabic = |letter: char| ('\u{621}'..='\u{64a}').contains(&letter);
        for term in terms.values() {
            let Label { en, fr, ar } = term.label();
            assert!(!en.is_empty() && !fr.is_empty() && ar.chars().any(is_arabic), "{term}: {en:?} {fr:?} {ar:?}");
            assert!(!fr.chars().any(is_arabic) && [en, fr, ar].iter().all(|name| name.trim() == *name), "{term}");
        }
        assert_eq!(LABELS.len(), terms.len());
        assert!(LABELS.keys().all(|term| terms.contains_key(*term)));
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

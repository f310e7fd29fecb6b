//! Terms: the words in which purposes, categories, persons, roles, measures and legal bases are declared.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use super::nearest;
use crate::destination::shown;

/// A term of DPV 2.3 (`dpv:`, `pd:`, `law:`, `eu-gdpr:`) or of our own (`x:`, `ma-0908:`, …) that exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(Cow<'static, str>);

/// What a term is used for. A few terms have two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// Why data are processed: `dpv:EnforceSecurity`.
    Purpose,
    /// A kind of personal data: `pd:Picture`.
    DataCategory,
    /// Whom the data are about: `dpv:Visitor`.
    DataSubject,
    /// What someone is in a processing: `dpv:DataController`.
    Role,
    /// What kind of body someone is: `dpv:GovernmentalOrganisation`.
    OrganisationKind,
    /// What protects the data: `dpv:EncryptionInTransfer`.
    Measure,
    /// What a transfer rests on: `ma-0908:A43`.
    LegalBasis,
}

impl TermKind {
    /// Every kind, in the order of the letters of `dpv.tsv`.
    pub const ALL: [TermKind; 7] = [
        TermKind::Purpose,
        TermKind::DataCategory,
        TermKind::DataSubject,
        TermKind::Role,
        TermKind::OrganisationKind,
        TermKind::Measure,
        TermKind::LegalBasis,
    ];

    /// The kind in the words of an error message.
    pub fn as_str(self) -> &'static str {
        match self {
            TermKind::Purpose => "purpose",
            TermKind::DataCategory => "data category",
            TermKind::DataSubject => "data subject",
            TermKind::Role => "role",
            TermKind::OrganisationKind => "kind of organisation",
            TermKind::Measure => "measure",
            TermKind::LegalBasis => "legal basis",
        }
    }

    /// The kind's letter in the tables.
    fn letter(self) -> char {
        match self {
            TermKind::Purpose => 'P',
            TermKind::DataCategory => 'D',
            TermKind::DataSubject => 'S',
            TermKind::Role => 'R',
            TermKind::OrganisationKind => 'O',
            TermKind::Measure => 'M',
            TermKind::LegalBasis => 'L',
        }
    }
}

/// A text that is no term of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTerm {
    /// What was written, cut if it is long.
    pub text: String,
    /// The kind asked for.
    pub kind: TermKind,
    /// The kind that the term has, where it exists but is of another.
    pub other: Option<TermKind>,
    /// The term of the kind asked for that is most like the text.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.other {
            Some(other) => write!(f, "`{}` is a {}, not a {}", self.text, other.as_str(), self.kind.as_str())?,
            None => write!(f, "`{}` is no known {}", self.text, self.kind.as_str())?,
        }
        match &self.nearest {
            Some(nearest) => write!(f, ", did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownTerm {}

impl Term {
    /// `pd:Picture`: what an image or video is taken for where nothing says more.
    pub const PICTURE: Term = Term(Cow::Borrowed("pd:Picture"));

    /// Finds a term of a kind; an unknown one comes back with the nearest.
    pub fn parse(text: &str, kind: TermKind) -> Result<Term, UnknownTerm> {
        match TERMS.get_key_value(text) {
            Some((term, entry)) if entry.has(kind) => Ok(Term(Cow::Borrowed(term))),
            // A term of another kind is spelt as meant, so a likeness would only mislead.
            Some((_, entry)) => Err(UnknownTerm { text: shown(text), kind, other: entry.kind(), nearest: None }),
            None => Err(UnknownTerm { text: shown(text), kind, other: None, nearest: nearest_term(text, kind) }),
        }
    }

    /// The term with its prefix, as written in registers and records.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon.
    pub fn prefix(&self) -> &str {
        self.0.split_once(':').map_or("", |(prefix, _)| prefix)
    }

    /// Whether it is sensitive under law 09-08 art. 1 (3): racial or ethnic origin, political opinions, religious or
    /// philosophical beliefs, trade union membership, health including genetic data.
    ///
    /// Biometrics and pictures are not in that list. DPV's two words for "whatever is sensitive" are.
    pub fn is_sensitive(&self) -> bool {
        UMBRELLAS.contains(&self.as_str()) || BELOW_SENSITIVE.contains(self.as_str())
    }

    /// Whether declaring this term declares `other` too: it is the same, or `other` is narrower in the hierarchy.
    pub fn covers(&self, other: &Term) -> bool {
        is_at_or_below(other.as_str(), self.as_str())
    }

    /// Whether it may be used as this.
    pub fn is(&self, kind: TermKind) -> bool {
        TERMS.get(self.as_str()).is_some_and(|entry| entry.has(kind))
    }

    /// The terms next above it, in order: those that cover it, without those that cover one of them.
    pub fn broader(&self) -> Vec<Term> {
        let entry = TERMS.get(self.as_str());
        let above: Vec<&'static str> = entry.map(|entry| entry.broader.clone()).unwrap_or_default();
        let is_next = |term: &&str| !above.iter().any(|other| other != term && is_at_or_below(other, term));
        let mut next: Vec<Term> =
            above.iter().filter(|term| is_next(term)).map(|term| Term(Cow::Borrowed(term))).collect();
        next.sort();
        next
    }

    /// The terms of a kind next below it, in order.
    pub fn narrower(&self, kind: TermKind) -> Vec<Term> {
        let mentions = |entry: &Entry| entry.broader.contains(&self.as_str());
        let below = TERMS.iter().filter(|(_, entry)| entry.has(kind) && mentions(entry));
        below.map(|(term, _)| Term(Cow::Borrowed(term))).filter(|term| term.broader().contains(self)).collect()
    }

    /// Every term of a kind, in order.
    pub fn all(kind: TermKind) -> impl Iterator<Item = Term> {
        TERMS.iter().filter(move |(_, entry)| entry.has(kind)).map(|(term, _)| Term(Cow::Borrowed(term)))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tops of art. 1 (3)'s categories in DPV; genetic data and everything medical lie below `pd:MedicalHealth`.
const SENSITIVE: [&str; 8] = [
    "pd:Ethnicity",
    "pd:PoliticalAffiliation",
    "pd:PoliticalOpinion",
    "pd:Religion",
    "pd:ReligiousBelief",
    "pd:PhilosophicalBelief",
    "pd:TradeUnionMembership",
    "pd:MedicalHealth",
];

/// DPV's words that say sensitivity itself. Not everything below them is sensitive under law 09-08.
const UMBRELLAS: [&str; 2] = ["dpv:SensitivePersonalData", "dpv:SpecialCategoryPersonalData"];

/// A line of the tables.
struct Entry {
    kinds: &'static str,
    broader: Vec<&'static str>,
}

impl Entry {
    fn has(&self, kind: TermKind) -> bool {
        self.kinds.contains(kind.letter())
    }

    /// The first of its kinds; every line has one.
    fn kind(&self) -> Option<TermKind> {
        TermKind::ALL.into_iter().find(|kind| self.has(*kind))
    }
}

/// Both tables by term.
static TERMS: LazyLock<BTreeMap<&'static str, Entry>> = LazyLock::new(|| {
    [include_str!("dpv.tsv"), include_str!("own.tsv")].into_iter().flat_map(str::lines).filter_map(row).collect()
});

/// Reads a line: kinds, term and broader terms; comments give nothing.
fn row(line: &'static str) -> Option<(&'static str, Entry)> {
    let mut columns = line.split('\t');
    let kinds = columns.next().filter(|kinds| !kinds.starts_with('#'))?;
    let term = columns.next()?;
    let broader = columns.next().unwrap_or_default().split_ascii_whitespace().collect();
    Some((term, Entry { kinds, broader }))
}

/// Whether `term` is `top` or narrower.
fn is_at_or_below(term: &str, top: &str) -> bool {
    term == top || ABOVE.get(term).is_some_and(|above| above.contains(&top))
}

/// All that is above each term, at any distance: decisions ask for it, and the way up is many look-ups long.
static ABOVE: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let all_above = |term: &&'static str| {
        let mut above = Vec::new();
        climb(term, &mut above);
        (*term, above)
    };
    TERMS.keys().map(all_above).collect()
});

/// The sensitive terms and all that are below one of them.
static BELOW_SENSITIVE: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let is_below = |term: &&'static str| SENSITIVE.iter().any(|root| is_at_or_below(term, root));
    TERMS.keys().copied().filter(is_below).collect()
});

/// Adds what is above a term. The hierarchy has no cycles (a test reads it) and is a few steps deep.
fn climb(term: &str, above: &mut Vec<&'static str>) {
    for broader in TERMS.get(term).into_iter().flat_map(|entry| &entry.broader) {
        if !above.contains(broader) {
            above.push(broader);
            climb(broader, above);
        }
    }
}

/// The term of a kind that is most like a text: the same word under another prefix or in another case before others.
fn nearest_term(text: &str, kind: TermKind) -> Option<String> {
    let terms = || TERMS.iter().filter(move |(_, entry)| entry.has(kind)).map(|(term, _)| *term);
    let word = |term: &str| term.rsplit_once(':').map_or(term, |(_, word)| word).to_ascii_lowercase();
    let wanted = word(text);
    let same_word = terms().find(|term| word(term) == wanted);
    same_word.or_else(|| nearest(text, terms())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(text: &str) -> Term {
        Term::parse(text, TermKind::DataCategory).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn every_broader_term_exists_and_the_hierarchy_has_no_cycle() {
        fn depth(term: &str, path: &mut Vec<String>) {
            assert!(!path.iter().any(|above| above == term), "cycle at {term}: {path:?}");
            let entry = TERMS.get(term).unwrap_or_else(|| panic!("{term} is broader than {path:?} but does not exist"));
            path.push(term.to_owned());
            entry.broader.iter().for_each(|broader| depth(broader, path));
            path.pop();
        }
        TERMS.keys().for_each(|term| depth(term, &mut Vec::new()));
        assert!(TERMS.len() > 800, "{} terms", TERMS.len());
        let letters: String = TermKind::ALL.map(TermKind::letter).into_iter().collect();
        assert!(
            TERMS.values().all(|entry| !entry.kinds.is_empty() && entry.kinds.chars().all(|l| letters.contains(l)))
        );
    }

    #[test]
    fn the_terms_of_the_case_exist() {
        let all = [
            ("dpv:EnforceSecurity", TermKind::Purpose),
            ("dpv:IdentityVerification", TermKind::Purpose),
            ("law:ImmigrationVisaManagement", TermKind::Purpose),
            ("x:CCTVFrame", TermKind::DataCategory),
            ("pd:VehicalLicenseNumber", TermKind::DataCategory),
            ("dpv:Visitor", TermKind::DataSubject),
            ("dpv:Employee", TermKind::DataSubject),
            ("dpv:DataController", TermKind::Role),
            ("dpv:DataProcessor", TermKind::Role),
            ("dpv:GovernmentalOrganisation", TermKind::OrganisationKind),
            ("dpv:PublicSectorBody", TermKind::OrganisationKind),
            ("dpv:EncryptionInTransfer", TermKind::Measure),
            ("dpv:CryptographicAuthentication", TermKind::Measure),
            ("ma-0908:A43", TermKind::LegalBasis),
            ("ma-0908:A44-1-g", TermKind::LegalBasis),
            ("eu-gdpr:A46-2-c", TermKind::LegalBasis),
        ];
        for (text, kind) in all {
            assert_eq!(Term::parse(text, kind).map(|term| term.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(category("pd:Picture"), Term::PICTURE);
    }

    #[test]
    fn an_unknown_term_names_the_nearest() {
        let check = |text: &str, kind, message: &str| {
            assert_eq!(Term::parse(text, kind).expect_err(text).to_string(), message);
        };
        check(
            "pd:Pictures",
            TermKind::DataCategory,
            "`pd:Pictures` is no known data category, did you mean `pd:Picture`?",
        );
        check(
            "pd:picture",
            TermKind::DataCategory,
            "`pd:picture` is no known data category, did you mean `pd:Picture`?",
        );
        check(
            "dpv:Picture",
            TermKind::DataCategory,
            "`dpv:Picture` is no known data category, did you mean `pd:Picture`?",
        );
        check(
            "CCTVFrame",
            TermKind::DataCategory,
            "`CCTVFrame` is no known data category, did you mean `x:CCTVFrame`?",
        );
        check(
            "ma-0908:A44-4",
            TermKind::LegalBasis,
            "`ma-0908:A44-4` is no known legal basis, did you mean `ma-0908:A44-3`?",
        );
        check("dpv:Visitor", TermKind::Role, "`dpv:Visitor` is a data subject, not a role");
        check("§§", TermKind::Role, "`§§` is no known role");
        check("", TermKind::Role, "`` is no known role");
    }

    #[test]
    fn a_broader_term_covers_a_narrower_one_and_not_the_reverse() {
        let covers = |one: &str, two: &str| category(one).covers(&category(two));
        assert!(covers("x:CCTVFrame", "x:CCTVFrame"));
        assert!(covers("pd:Picture", "x:CCTVFrame"));
        assert!(covers("pd:Identifying", "x:CCTVFrame"));
        assert!(covers("pd:OfficialID", "x:CNIE"));
        assert!(covers("pd:Biometric", "pd:FacialPrint"));
        assert!(!covers("x:CCTVFrame", "pd:Picture"));
        assert!(!covers("pd:Picture", "pd:FacialPrint"));
        assert!(!covers("pd:Picture", "pd:Passport"));
    }

    #[test]
    fn the_tree_has_each_term_below_its_nearest() {
        let shown = |terms: Vec<Term>| terms.iter().map(Term::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(category("pd:Passport").broader()), "pd:OfficialID");
        assert_eq!(shown(category("x:PassportMRZ").broader()), "pd:Passport");
        assert_eq!(shown(category("pd:FacialPrint").broader()), "pd:Biometric");
        assert_eq!(shown(category("pd:Picture").narrower(TermKind::DataCategory)), "x:CCTVFrame x:CCTVVideo");
        assert!(category("dpv:PersonalData").broader().is_empty());
    }

    #[test]
    fn sensitive_is_what_article_1_lists() {
        for text in ["pd:Ethnicity", "pd:Race", "pd:PoliticalOpinion", "pd:Religion", "pd:PhilosophicalBelief"] {
            assert!(category(text).is_sensitive(), "{text}");
        }
        for text in ["pd:TradeUnionMembership", "pd:Health", "pd:Genetic", "pd:DNACode", "dpv:SensitivePersonalData"] {
            assert!(category(text).is_sensitive(), "{text}");
        }
        for text in ["x:CCTVFrame", "pd:Picture", "pd:FacialPrint", "pd:Biometric", "pd:Opinion", "pd:GroupMembership"]
        {
            assert!(!category(text).is_sensitive(), "{text}");
        }
    }
}

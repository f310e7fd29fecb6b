//! Which countries a regime holds adequate, and whether a legal basis is possible for a country at all.
//!
//! The list is `adequacy.json`, compiled 23 November 2026 from the sources it names, with its own confidence. It tests
//! what a declaration claims and never opens the gate: a basis that is possible is not thereby valid, which is what
//! filings, receipts and documents are for.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::{Country, Regime, Term};

/// Where a country stands on a regime's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adequacy {
    /// On the list, or a country of the regime itself.
    Adequate,
    /// On the list under a condition on the recipient that the list cannot test (the United States, Japan, …).
    Conditional,
    /// Not on the list.
    NotListed,
    /// No list was found, or sources differ about this country.
    Unknown,
}

/// The day on which the list was compiled; lists go stale, and what is older than 180 days deserves a warning.
pub fn compiled() -> Date {
    LISTS.compiled
}

/// Where `country` stands on the list of `regime`.
pub fn is_adequate(regime: Regime, country: Country) -> Adequacy {
    let table = Table::of(regime);
    table.listed.get(&country).copied().unwrap_or(table.others)
}

/// Whether `country` is the regime's own, so that sending there is no transfer abroad: the European Economic Area
/// counts as one country of the GDPR.
pub fn is_domestic(regime: Regime, country: Country) -> bool {
    Table::of(regime).domestic.contains(&country)
}

/// The law as the list cites it.
pub fn law(regime: Regime) -> &'static str {
    &LISTS.of(regime).law
}

/// The regime's authority.
pub fn authority(regime: Regime) -> &'static str {
    &LISTS.of(regime).authority
}

/// Whether a transfer to `country` can rest on `basis` under `regime` at all.
///
/// A basis of another regime never can. The basis that wants an adequate country (art. 43, art. 45) needs it on the
/// list; where no list is known it cannot be refuted, and the authority's filing decides. Exceptions and safeguards
/// (art. 44, 46, 49) are possible for every country. Within the regime's own country no basis is needed, so none is
/// impossible.
pub fn basis_possible(regime: Regime, basis: &Term, country: Country) -> bool {
    if is_domestic(regime, country) {
        return true;
    }
    if basis.prefix() != regime.prefix() {
        return false;
    }
    // `eu-gdpr:AdequacyDecision` is a narrower way to say A45-3.
    let wants_the_list = regime.list_basis().is_some_and(|list| list.covers(basis));
    !wants_the_list || is_adequate(regime, country) != Adequacy::NotListed
}

/// What is read of `adequacy.json`; the rest of it is for people.
#[derive(Deserialize)]
struct Lists {
    compiled: Date,
    regimes: BTreeMap<String, List>,
}

#[derive(Deserialize)]
struct List {
    authority: String,
    law: String,
    countries: Option<Vec<Listed>>,
    #[serde(default)]
    free_movement_area: Vec<String>,
    #[serde(default)]
    unverified: Vec<String>,
}

#[derive(Deserialize)]
struct Listed {
    country: String,
    #[serde(default)]
    scope: Scope,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scope {
    #[default]
    Full,
    Partial,
}

impl Lists {
    fn of(&self, regime: Regime) -> &List {
        self.regimes.get(regime.as_str()).expect("a test reads the list of every regime")
    }
}

/// A regime's list as decisions ask it, once each: by country.
struct Table {
    /// The regime's own countries.
    domestic: Vec<Country>,
    listed: BTreeMap<Country, Adequacy>,
    /// Where every other country stands.
    others: Adequacy,
}

impl Table {
    fn of(regime: Regime) -> &'static Table {
        &TABLES[regime as usize]
    }

    fn read(regime: Regime) -> Table {
        let list = LISTS.of(regime);
        let country = |code: &str| Country::parse(code).expect("a test reads every code of the lists");
        let free_movement = list.free_movement_area.iter().map(String::as_str);
        let domestic: Vec<Country> = regime.home().into_iter().chain(free_movement).map(country).collect();
        let standing = |listed: &Listed| match listed.scope {
            Scope::Partial => Adequacy::Conditional,
            Scope::Full => Adequacy::Adequate,
        };
        let mut listed: BTreeMap<Country, Adequacy> = BTreeMap::new();
        let countries = list.countries.iter().flatten();
        // A later one outranks: where sources differ nothing is known, and at home no list is asked.
        listed.extend(countries.map(|one| (country(&one.country), standing(one))));
        listed.extend(list.unverified.iter().map(|code| (country(code), Adequacy::Unknown)));
        listed.extend(domestic.iter().map(|own| (*own, Adequacy::Adequate)));
        let others = if list.countries.is_some() { Adequacy::NotListed } else { Adequacy::Unknown };
        Table { domestic, listed, others }
    }
}

static TABLES: LazyLock<[Table; Regime::ALL.len()]> = LazyLock::new(|| Regime::ALL.map(Table::read));

static LISTS: LazyLock<Lists> =
    LazyLock::new(|| serde_json::from_str(include_str!("adequacy.json")).expect("a test reads the embedded file"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TermKind;

    fn country(code: &str) -> Country {
        Country::parse(code).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn the_file_is_read_whole() {
        assert_eq!(compiled().to_string(), "2026-11-23");
        assert_eq!(LISTS.regimes.len(), Regime::ALL.len());
        assert!(Regime::ALL.iter().enumerate().all(|(place, regime)| *regime as usize == place), "the tables' order");
        for regime in Regime::ALL {
            assert!(!law(regime).is_empty() && !authority(regime).is_empty());
            let list = LISTS.of(regime);
            let listed = list.countries.iter().flatten().map(|listed| &listed.country);
            for code in listed.chain(&list.free_movement_area).chain(&list.unverified) {
                assert_eq!(country(code).as_str(), code);
            }
        }
        assert_eq!(LISTS.of(Regime::Ma0908).countries.as_ref().map(Vec::len), Some(32));
    }

    #[test]
    fn countries_on_and_off_the_lists() {
        let check =
            |regime, code, expected| assert_eq!(is_adequate(regime, country(code)), expected, "{regime} {code}");
        check(Regime::Ma0908, "FR", Adequacy::Adequate);
        check(Regime::Ma0908, "CA", Adequacy::Adequate);
        check(Regime::Ma0908, "MA", Adequacy::Adequate);
        check(Regime::Ma0908, "HR", Adequacy::NotListed);
        check(Regime::Ma0908, "US", Adequacy::NotListed);
        check(Regime::EuGdpr, "HR", Adequacy::Adequate);
        check(Regime::EuGdpr, "CH", Adequacy::Adequate);
        check(Regime::EuGdpr, "US", Adequacy::Conditional);
        check(Regime::EuGdpr, "MA", Adequacy::NotListed);
        check(Regime::UkGdpr, "GB", Adequacy::Adequate);
        check(Regime::UkGdpr, "FO", Adequacy::Unknown);
        check(Regime::UkGdpr, "BR", Adequacy::NotListed);
        check(Regime::Dz1807, "FR", Adequacy::Unknown);
        check(Regime::Tn200463, "TN", Adequacy::Adequate);
    }

    #[test]
    fn a_basis_is_possible_where_its_law_and_the_list_allow() {
        let check = |regime, basis: &str, code, expected| {
            let basis = Term::parse(basis, TermKind::LegalBasis).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(basis_possible(regime, &basis, country(code)), expected, "{regime} {basis} {code}");
        };
        check(Regime::Ma0908, "ma-0908:A43", "FR", true);
        check(Regime::Ma0908, "ma-0908:A43", "HR", false);
        check(Regime::Ma0908, "ma-0908:A43", "US", false);
        check(Regime::Ma0908, "ma-0908:A44-3", "US", true);
        check(Regime::Ma0908, "ma-0908:A44-consent", "CN", true);
        check(Regime::Ma0908, "eu-gdpr:A46-2-c", "FR", false);
        check(Regime::Ma0908, "ma-0908:A43", "MA", true);
        check(Regime::EuGdpr, "eu-gdpr:A45-3", "MA", false);
        check(Regime::EuGdpr, "eu-gdpr:AdequacyDecision", "MA", false);
        check(Regime::EuGdpr, "eu-gdpr:AdequacyDecision", "CH", true);
        check(Regime::EuGdpr, "eu-gdpr:A45-3", "US", true);
        check(Regime::EuGdpr, "eu-gdpr:A46-2-c", "MA", true);
        check(Regime::EuGdpr, "ma-0908:A43", "MA", false);
        check(Regime::UkGdpr, "uk-gdpr:A45A", "FO", true);
        check(Regime::UkGdpr, "uk-gdpr:A45A", "BR", false);
        check(Regime::Tn200463, "tn-200463:adequate-state", "FR", true);
    }
}

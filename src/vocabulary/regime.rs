//! Regimes: the laws that a transfer may fall under.

use std::fmt;

use super::{Term, TermKind, nearest};
use crate::destination::shown;

/// A data-protection law with rules about transfers abroad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Regime {
    /// Morocco, law 09-08.
    Ma0908,
    /// European Union and EEA, Regulation (EU) 2016/679.
    EuGdpr,
    /// United Kingdom, UK GDPR.
    UkGdpr,
    /// Tunisia, organic law 2004-63.
    Tn200463,
    /// Algeria, law 18-07.
    Dz1807,
    /// Senegal, law 2008-12.
    Sn200812,
    /// Egypt, law 151/2020.
    Eg151,
}

/// A text that is no regime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRegime {
    /// What was written, cut if it is long.
    pub text: String,
    /// The regime that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownRegime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no known regime, ", self.text)?;
        match &self.nearest {
            Some(nearest) => write!(f, "did you mean `{nearest}`?"),
            None => write!(f, "write one of {}", Regime::ALL.map(Regime::as_str).join(", ")),
        }
    }
}

impl std::error::Error for UnknownRegime {}

impl Regime {
    /// Every regime.
    pub const ALL: [Regime; 7] = [
        Regime::Ma0908,
        Regime::EuGdpr,
        Regime::UkGdpr,
        Regime::Tn200463,
        Regime::Dz1807,
        Regime::Sn200812,
        Regime::Eg151,
    ];

    /// Reads a regime as registers and `adequacy.json` write it.
    pub fn parse(text: &str) -> Result<Regime, UnknownRegime> {
        let known = Regime::ALL.into_iter().find(|regime| regime.as_str() == text);
        known.ok_or_else(|| UnknownRegime {
            text: shown(text),
            nearest: nearest(text, Regime::ALL.iter().map(|regime| regime.as_str())).map(str::to_owned),
        })
    }

    /// The regime as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Regime::Ma0908 => "ma-09-08",
            Regime::EuGdpr => "eu-gdpr",
            Regime::UkGdpr => "uk-gdpr",
            Regime::Tn200463 => "tn-2004-63",
            Regime::Dz1807 => "dz-18-07",
            Regime::Sn200812 => "sn-2008-12",
            Regime::Eg151 => "eg-151-2020",
        }
    }

    /// The prefix of the terms for its legal bases.
    pub fn prefix(self) -> &'static str {
        match self {
            Regime::Ma0908 => "ma-0908",
            Regime::EuGdpr => "eu-gdpr",
            Regime::UkGdpr => "uk-gdpr",
            Regime::Tn200463 => "tn-200463",
            Regime::Dz1807 => "dz-1807",
            Regime::Sn200812 => "sn-200812",
            Regime::Eg151 => "eg-151",
        }
    }

    /// The one country whose law it is; the EU's is of many, see `free_movement_area` in `adequacy.json`.
    pub(super) fn home(self) -> Option<&'static str> {
        match self {
            Regime::Ma0908 => Some("MA"),
            Regime::EuGdpr => None,
            Regime::UkGdpr => Some("GB"),
            Regime::Tn200463 => Some("TN"),
            Regime::Dz1807 => Some("DZ"),
            Regime::Sn200812 => Some("SN"),
            Regime::Eg151 => Some("EG"),
        }
    }

    /// The same as a term; every regime has one, a test reads them.
    pub fn list_basis(self) -> Option<Term> {
        Term::parse(self.adequacy_basis(), TermKind::LegalBasis).ok()
    }

    /// The basis that needs the recipient's country on the regime's list of adequate ones.
    pub fn adequacy_basis(self) -> &'static str {
        match self {
            Regime::Ma0908 => "ma-0908:A43",
            Regime::EuGdpr => "eu-gdpr:A45-3",
            Regime::UkGdpr => "uk-gdpr:A45A",
            Regime::Tn200463 => "tn-200463:adequate-state",
            Regime::Dz1807 => "dz-1807:A44",
            Regime::Sn200812 => "sn-200812:A49",
            Regime::Eg151 => "eg-151:A14",
        }
    }
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_regime_is_read_as_it_is_shown_and_has_its_terms() {
        for regime in Regime::ALL {
            assert_eq!(Regime::parse(regime.as_str()), Ok(regime));
            let basis = Term::parse(regime.adequacy_basis(), TermKind::LegalBasis).expect("the basis exists");
            assert_eq!(basis.prefix(), regime.prefix());
        }
    }

    #[test]
    fn an_unknown_regime_names_the_nearest() {
        let message = |text: &str| Regime::parse(text).expect_err(text).to_string();
        assert_eq!(message("ma-0908"), "`ma-0908` is no known regime, did you mean `ma-09-08`?");
        assert!(message("french").contains("write one of ma-09-08, eu-gdpr, "));
    }
}

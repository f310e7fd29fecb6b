//! Countries: ISO 3166-1 alpha-2 codes.

use std::fmt;
use std::sync::LazyLock;

use super::nearest;
use crate::destination::shown;

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// A text that is no country code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCountry {
    /// What was written, cut if it is long.
    pub text: String,
    /// The code that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no two-letter country code of iso 3166-1", self.text)?;
        match &self.nearest {
            Some(nearest) => write!(f, ", did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownCountry {}

impl Country {
    /// Reads a code in upper case.
    pub fn parse(text: &str) -> Result<Country, UnknownCountry> {
        find(text).ok_or_else(|| UnknownCountry { text: shown(text), nearest: suggestion(text) })
    }

    /// The code in upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the table's codes are ascii")
    }

    /// The usual English name.
    pub fn name(&self) -> &'static str {
        let place = COUNTRIES.binary_search_by_key(&self.as_str(), |(code, _)| code);
        place.map_or("", |place| COUNTRIES[place].1)
    }

    /// Every country, in the order of the codes.
    pub fn all() -> impl Iterator<Item = Country> {
        COUNTRIES.iter().filter_map(|(code, _)| find(code))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Codes and names in the order of the codes.
static COUNTRIES: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let rows = include_str!("countries.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.split_once('\t')).collect()
});

fn find(text: &str) -> Option<Country> {
    let place = COUNTRIES.binary_search_by_key(&text, |(code, _)| code).ok()?;
    COUNTRIES[place].0.as_bytes().try_into().ok().map(Country)
}

/// A code in another case, a code that people use for another, or the country of that name.
fn suggestion(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let habit = match upper.as_str() {
        "UK" => Some("GB"),
        "EL" => Some("GR"),
        "USA" => Some("US"),
        _ => None,
    };
    let named = || {
        let name = nearest(text, COUNTRIES.iter().map(|(_, name)| *name))?;
        COUNTRIES.iter().find(|(_, other)| *other == name).map(|(code, _)| (*code).to_owned())
    };
    habit.map(str::to_owned).or_else(|| find(&upper).map(|country| country.to_string())).or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_in_order() {
        assert_eq!(COUNTRIES.len(), 249);
        assert!(COUNTRIES.is_sorted_by(|one, two| one.0 < two.0));
        assert_eq!(Country::all().count(), 249);
        assert!(
            COUNTRIES.iter().all(|(code, _)| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
        );
    }

    #[test]
    fn codes_are_read_and_shown() {
        for text in ["MA", "FR", "NO", "GB"] {
            assert_eq!(Country::parse(text).map(|country| country.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Country::parse("MA").map(|country| country.name()), Ok("Morocco"));
    }

    #[test]
    fn an_unknown_code_names_the_nearest() {
        let nearest = |text: &str| Country::parse(text).expect_err(text).nearest;
        assert_eq!(nearest("fr").as_deref(), Some("FR"));
        assert_eq!(nearest("UK").as_deref(), Some("GB"));
        assert_eq!(nearest("France").as_deref(), Some("FR"));
        assert_eq!(nearest("Morroco").as_deref(), Some("MA"));
        assert_eq!(nearest("XX"), None);
        assert_eq!(nearest(""), None);
        let message = Country::parse("fr").expect_err("lower case").to_string();
        assert_eq!(message, "`fr` is no two-letter country code of iso 3166-1, did you mean `FR`?");
    }
}

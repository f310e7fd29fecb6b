//! What a single value may be: text, ids, terms, countries, dates, durations, sizes, hosts, pins; each with the
//! canonical form that two writings of one meaning share.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnetwork::IpNetwork;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span};
use serde_json::Value as Json;

use super::document::{Kind, Scalar};
use super::fault::{Problem, meant};
use super::fields::Read;
use super::pattern::{ContentTypePattern, PathPattern};
use super::{Id, Mode, ModeSetting, Scope};
use crate::destination::HostPattern;
use crate::vocabulary::{Country, Regime, Term, TermKind};

/// Text as written. Numbers, truth values and null are not text: `ref: 298` loses leading zeros in somebody's tool.
pub fn text(scalar: &Scalar) -> Read<String> {
    let found = match scalar.kind() {
        Kind::Text if scalar.text.trim().is_empty() => {
            return Err(Problem::new("the text is empty").hint("write it, or leave the key out"));
        }
        Kind::Text => return Ok((scalar.text.clone(), Json::from(scalar.text.as_str()))),
        Kind::Null => "null",
        Kind::Boolean(_) => "a truth value",
        Kind::Integer | Kind::Float => "a number",
    };
    Err(Problem::new(format!("`{}` is {found}, and text is wanted", scalar.text))
        .hint(format!("write it in quotes: \"{}\"", scalar.text)))
}

/// One of a closed list of words.
pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Scalar) -> Read<T> {
    move |scalar| match words.iter().find(|(word, _)| *word == scalar.text) {
        Some((word, value)) => Ok((*value, Json::from(*word))),
        None => Err(Problem {
            message: format!("`{}` is not known here", scalar.text),
            hint: meant(&scalar.text, words.iter().map(|(word, _)| *word)),
        }),
    }
}

/// `true` or `false`.
pub fn boolean(scalar: &Scalar) -> Read<bool> {
    match scalar.kind() {
        Kind::Boolean(value) => Ok((value, Json::from(value))),
        _ => Err(Problem::new(format!("`{}` is neither true nor false", scalar.text))
            .hint("write `true` or `false`, without quotes")),
    }
}

/// A whole number of at least `least`, written in plain decimal digits.
pub fn count(least: u64) -> impl Fn(&Scalar) -> Read<u64> {
    move |scalar| {
        let digits = scalar.text.as_str();
        if !scalar.plain {
            let hint = format!("write it without quotes: {digits}");
            return Err(Problem::new(format!("\"{digits}\" is text, and a number is wanted")).hint(hint));
        }
        let tidy = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        let value = tidy.then(|| digits.parse::<u64>().ok()).flatten();
        match value.filter(|value| *value >= least) {
            // RFC 8785 numbers are doubles: what a double cannot hold would lose digits in the canonical form.
            Some(value) if value <= MOST_EXACT => Ok((value, Json::from(value))),
            _ => {
                let problem = Problem::new(format!("`{digits}` is not a whole number from {least} up"));
                Err(problem.hint("decimal digits without sign, fraction or leading zeros"))
            }
        }
    }
}

/// Largest whole number that every JSON reader keeps exactly.
const MOST_EXACT: u64 = (1 << 53) - 1;

/// A TCP port.
pub fn port(scalar: &Scalar) -> Read<u16> {
    let (value, _) = count(1)(scalar)?;
    let port = u16::try_from(value)
        .map_err(|_| Problem::new(format!("`{value}` is not a port")).hint("ports go from 1 to 65535"))?;
    Ok((port, Json::from(port)))
}

/// A number of bytes: `2MiB`, or plain bytes.
pub fn size(scalar: &Scalar) -> Read<u64> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let text = scalar.text.as_str();
    let wrong =
        || Problem::new(format!("`{text}` is not a size")).hint("a whole number with B, KiB, MiB, GiB or TiB: `2MiB`");
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, *shift)))
        .unwrap_or((text, 0));
    let written = Scalar { text: digits.to_owned(), plain: true };
    let (value, _) = count(1)(&written).map_err(|_| wrong())?;
    let bytes = value.checked_mul(1 << shift).filter(|bytes| *bytes <= MOST_EXACT).ok_or_else(wrong)?;
    Ok((bytes, Json::from(bytes)))
}

/// An ISO 8601 duration of fixed length, above zero: `PT5M`. A day counts 24 hours.
pub fn duration(scalar: &Scalar) -> Read<Duration> {
    let text = scalar.text.as_str();
    let wrong = || {
        Problem::new(format!("`{text}` is not a duration"))
            .hint("ISO 8601 in days, hours, minutes and seconds: `PT5M`, `PT1H30M`, `P1D`")
    };
    let span = iso_span(text).filter(|span| span.get_years() == 0 && span.get_months() == 0).ok_or_else(wrong)?;
    let fixed: SignedDuration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let length = Duration::try_from(fixed).ok().filter(|length| !length.is_zero()).ok_or_else(wrong)?;
    Ok((length, Json::from(fixed.to_string())))
}

/// An ISO 8601 period of the calendar, above zero: `P3M`.
pub fn period(scalar: &Scalar) -> Read<Span> {
    let text = scalar.text.as_str();
    let wrong = || {
        Problem::new(format!("`{text}` is not a period")).hint("ISO 8601: `P3M` is three months, `P30D` thirty days")
    };
    let span = iso_span(text).filter(|span| span.is_positive()).ok_or_else(wrong)?;
    // A year is twelve months and a week seven days on any calendar, so that P1Y and P12M are one writing.
    let months = i64::from(span.get_years()) * 12 + i64::from(span.get_months());
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let normal = span.years(0).weeks(0).try_months(months).and_then(|span| span.try_days(days)).map_err(|_| wrong())?;
    Ok((normal, Json::from(normal.to_string())))
}

/// jiff also reads friendlier and signed forms; only ISO 8601 in capitals counts here.
fn iso_span(text: &str) -> Option<Span> {
    let fits = text.starts_with('P')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'.');
    fits.then(|| text.parse().ok()).flatten()
}

/// A day: `2023-02-20`.
pub fn date(scalar: &Scalar) -> Read<Date> {
    let shape = scalar.text.len() == 10;
    match shape.then(|| scalar.text.parse::<Date>().ok()).flatten() {
        Some(date) => Ok((date, Json::from(date.to_string()))),
        None => Err(Problem::new(format!("`{}` is not a day", scalar.text)).hint("year-month-day: `2023-02-20`")),
    }
}

/// An IANA time zone.
pub fn time_zone(scalar: &Scalar) -> Read<TimeZone> {
    let (written, _) = text(scalar)?;
    let wrong = || Problem::new(format!("`{written}` is not a time zone")).hint("an IANA name: `Africa/Casablanca`");
    let zone = TimeZone::get(&written).map_err(|_| wrong())?;
    let name = zone.iana_name().ok_or_else(wrong)?.to_owned();
    Ok((zone, Json::from(name)))
}

/// An id.
pub fn id(scalar: &Scalar) -> Read<Id> {
    let (written, canonical) = text(scalar)?;
    let wrong = || match written.as_str() {
        "any" => Problem::new("`any` is no id").hint("`any` stands for every declared source"),
        other => Problem::new(format!("`{other}` is not an id"))
            .hint("lower-case letters, digits and hyphens, beginning with a letter or digit: `ministry-a`"),
    };
    Ok((Id::new(&written).ok_or_else(wrong)?, canonical))
}

/// A term of the vocabulary.
pub fn term(kind: TermKind) -> impl Fn(&Scalar) -> Read<Term> {
    move |scalar| {
        let (written, _) = text(scalar)?;
        match Term::parse(&written, kind) {
            Ok(term) => {
                let canonical = Json::from(term.as_str());
                Ok((term, canonical))
            }
            Err(unknown) => {
                let message = match unknown.other {
                    Some(other) => format!("`{written}` is a {}, not a {}", other.as_str(), kind.as_str()),
                    None => format!("`{written}` is no known {}", kind.as_str()),
                };
                Err(did_you_mean(Problem::new(message), unknown.nearest))
            }
        }
    }
}

/// A country: ISO 3166-1 alpha-2.
pub fn country(scalar: &Scalar) -> Read<Country> {
    let (written, _) = text(scalar)?;
    match Country::parse(&written) {
        Ok(country) => Ok((country, Json::from(country.as_str()))),
        Err(unknown) => Err(did_you_mean(
            Problem::new(format!("`{written}` is not a country")).hint("two capital letters of ISO 3166-1: `FR`"),
            unknown.nearest,
        )),
    }
}

fn did_you_mean<N: std::fmt::Display>(problem: Problem, nearest: Option<N>) -> Problem {
    match nearest {
        Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
        None => problem,
    }
}

/// A regime: `ma-09-08`.
pub fn regime(scalar: &Scalar) -> Read<Regime> {
    let (written, _) = text(scalar)?;
    match Regime::parse(&written) {
        Ok(regime) => Ok((regime, Json::from(regime.as_str()))),
        Err(unknown) => {
            let known = Regime::ALL.iter().map(|regime| regime.as_str());
            let hint =
                unknown.nearest.map(|nearest| format!("did you mean `{nearest}`?")).or_else(|| meant(&written, known));
            Err(Problem { message: format!("`{written}` is no known regime"), hint })
        }
    }
}

/// A host as declared: exact, `*.suffix` or `any`.
pub fn host(scalar: &Scalar) -> Read<HostPattern> {
    let (written, _) = text(scalar)?;
    let pattern = HostPattern::parse(&written).map_err(|fault| Problem::new(fault.to_string()))?;
    let canonical = Json::from(pattern.to_string());
    Ok((pattern, canonical))
}

/// A network in CIDR form, without host bits; a bare address is a network of one.
pub fn network(scalar: &Scalar) -> Read<IpNetwork> {
    let (written, _) = text(scalar)?;
    let wrong = || Problem::new(format!("`{written}` is not a network")).hint("CIDR: `10.20.0.0/28`");
    let network: IpNetwork = written.parse().map_err(|_| wrong())?;
    if network.ip() != network.network() {
        let hint = format!(
            "write the network `{}/{}`, or the one address `{}`",
            network.network(),
            network.prefix(),
            network.ip()
        );
        return Err(Problem::new(format!("`{written}` is an address inside a network")).hint(hint));
    }
    if let IpAddr::V6(address) = network.ip()
        && let Some(inner) = address.to_ipv4_mapped()
    {
        let hint = format!(
            "addresses are unmapped before they are compared: write `{inner}/{}`",
            network.prefix().saturating_sub(96)
        );
        return Err(Problem::new(format!("`{written}` is an IPv4 network written as IPv6")).hint(hint));
    }
    Ok((network, Json::from(network.to_string())))
}

/// A pin: SHA-256 of a subject public key info in base64.
pub fn pin(scalar: &Scalar) -> Read<[u8; 32]> {
    let (written, _) = text(scalar)?;
    let hint = "base64 of a SHA-256: 44 characters; openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let wrong = || Problem::new(format!("`{written}` is not a pin")).hint(hint);
    let bytes = STANDARD.decode(&written).map_err(|_| wrong())?;
    let digest = <[u8; 32]>::try_from(bytes).map_err(|_| wrong())?;
    Ok((digest, Json::from(STANDARD.encode(digest))))
}

/// The hash of a document: SHA-256 in hex.
pub fn hash(scalar: &Scalar) -> Read<String> {
    let (written, _) = text(scalar)?;
    if written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let lower = written.to_ascii_lowercase();
        return Ok((lower.clone(), Json::from(lower)));
    }
    Err(Problem::new(format!("`{written}` is not a SHA-256 in hex"))
        .hint("64 hexadecimal digits, as sha256sum prints them"))
}

/// A request method: a token in upper case.
pub fn method(scalar: &Scalar) -> Read<String> {
    let (written, canonical) = text(scalar)?;
    if !written.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'_') {
        return Err(Problem::new(format!("`{written}` is not a request method")).hint("`GET`, `POST`, `PUT` …"));
    }
    let upper = written.to_ascii_uppercase();
    if upper != written {
        return Err(
            Problem::new(format!("`{written}` is not a request method")).hint(format!("did you mean `{upper}`?"))
        );
    }
    if upper == "CONNECT" {
        return Err(Problem::new("`CONNECT` opens a tunnel and is no request of its own")
            .hint("declare the methods that go inside"));
    }
    Ok((written, canonical))
}

/// A pattern of paths.
pub fn path(scalar: &Scalar) -> Read<PathPattern> {
    let (written, _) = text(scalar)?;
    let pattern = PathPattern::parse(&written).map_err(|fault| Problem::new(fault.to_string()))?;
    let canonical = Json::from(pattern.to_string());
    Ok((pattern, canonical))
}

/// A pattern of content types.
pub fn content_type(scalar: &Scalar) -> Read<ContentTypePattern> {
    let (written, _) = text(scalar)?;
    let pattern = ContentTypePattern::parse(&written).map_err(|fault| Problem::new(fault.to_string()))?;
    let canonical = Json::from(pattern.to_string());
    Ok((pattern, canonical))
}

/// A mode without an end.
pub fn mode(scalar: &Scalar) -> Read<ModeSetting> {
    let (mode, canonical) = mode_word(scalar)?;
    Ok((ModeSetting { mode, until: None }, canonical))
}

/// `enforce` or `observe`.
pub fn mode_word(scalar: &Scalar) -> Read<Mode> {
    choice(&[("enforce", Mode::Enforce), ("observe", Mode::Observe)])(scalar)
}

/// What an order covers: `transfer:ID`, `recipient:ID`, `source:ID`, `country:CC` or `everything`.
pub fn scope(scalar: &Scalar) -> Read<Scope> {
    let (written, canonical) = text(scalar)?;
    let wrong = || {
        Problem::new(format!("`{written}` is not a scope"))
            .hint("`transfer:ID`, `recipient:ID`, `source:ID`, `country:FR` or `everything`")
    };
    if written == "everything" {
        return Ok((Scope::Everything, canonical));
    }
    let (kind, name) = written.split_once(':').ok_or_else(wrong)?;
    let named = Scalar { text: name.trim().to_owned(), plain: false };
    let scope = match kind {
        "transfer" => Scope::Transfer(id(&named)?.0),
        "recipient" => Scope::Recipient(id(&named)?.0),
        "source" => Scope::Source(id(&named)?.0),
        "country" => Scope::Country(country(&named)?.0),
        _ => return Err(wrong()),
    };
    let canonical = Json::from(format!("{kind}:{}", name.trim()));
    Ok((scope, canonical))
}

//! Single values of a draft: how they are written in YAML, and what they are guessed from.

use std::time::Duration;

use serde_json::json;

use crate::vocabulary::{Country, Term};

/// The period in whole seconds, without what jitter and rounding add: a person's number below it.
pub(super) fn interval(period: Duration) -> u64 {
    let seconds = period.as_secs_f64();
    let step = [3600.0, 60.0, 30.0, 5.0, 1.0].into_iter().find(|step| {
        seconds >= *step
            && (seconds / step).round() * step - seconds < seconds * 0.02
            && seconds - (seconds / step).round() * step < seconds * 0.02
    });
    step.map_or(seconds.floor(), |step| (seconds / step).round() * step) as u64
}

pub(super) fn terms(terms: Option<&[Term]>, otherwise: &str) -> String {
    match terms {
        Some(terms) if !terms.is_empty() => terms.iter().map(Term::as_str).collect::<Vec<_>>().join(", "),
        _ => otherwise.to_owned(),
    }
}

/// JSON's double-quoted text is YAML's.
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// A text for a comment: no line of it may end the comment.
pub(super) fn flat(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

pub(super) fn slug(text: &str) -> String {
    let mut id = String::new();
    for one in text.to_lowercase().chars() {
        match one {
            'a'..='z' | '0'..='9' => id.push(one),
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
    }
    let id = id.trim_end_matches('-').to_owned();
    if id.is_empty() || id == "any" { "unnamed".to_owned() } else { id }
}

pub(super) fn network(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

pub(super) fn split(destination: &str) -> (String, u16) {
    let (host, port) = destination.rsplit_once(':').unwrap_or((destination, "443"));
    (host.to_owned(), port.parse().unwrap_or(443))
}

/// The country of the address that was dialled, else that of the name's last label.
pub(super) fn guessed(host: &str, country: Option<&str>) -> Option<Country> {
    let label = host.rsplit('.').next().filter(|label| label.len() == 2).map(str::to_uppercase);
    let label = label.map(|label| if label == "UK" { "GB".to_owned() } else { label });
    let of_address = country.and_then(|code| Country::parse(code).ok());
    of_address.or_else(|| Country::parse(&label?).ok())
}

//! Rules that no exchange can meet, and limits that others make idle.

use std::time::Duration;

use super::{Lint, Linting};
use crate::destination::{Host, HostPattern, classify};
use crate::register::fields::Places;
use crate::register::{Endpoint, From, Limits, Transfer};

/// Hours of the longest day of a calendar: the one on which summer time ends.
const LONGEST_DAY: u64 = 25;

pub(super) fn lint(linting: &Linting<'_>) {
    for (transfer, places) in linting.declared.transfers.entries() {
        nobody(linting, &transfer.from, places);
        limits(linting, &transfer.limits, places);
        ended_before_receipt(linting, transfer, places);
    }
    for (allowance, places) in linting.declared.allowances.entries() {
        nobody(linting, &allowance.from, places);
        limits(linting, &allowance.limits, places);
        endpoints(linting, &allowance.to, places, "to");
    }
    for (recipient, places) in linting.declared.recipients.entries() {
        endpoints(linting, &recipient.endpoints, places, "destinations");
    }
}

/// `any` stands for every declared source, and there may be none.
fn nobody(linting: &Linting<'_>, from: &From, places: &Places) {
    if *from == From::Any && linting.declared.sources.entries().next().is_none() {
        let message =
            "`from: [any]` stands for every declared source, and none is declared: nobody can use it".to_owned();
        linting.warn(places.of("from"), Lint::NeverMatches, message, "declare the systems that send, under `sources`");
    }
}

fn limits(linting: &Linting<'_>, limits: &Limits, places: &Places) {
    if let (Some(interval), Some(most)) = (limits.min_interval, limits.max_per_day) {
        // Coming early is a matter of moments, not of the average: one more than the day has intervals.
        let possible = Duration::from_secs(LONGEST_DAY * 3600).as_millis() / interval.as_millis().max(1) + 1;
        if u128::from(most) > possible {
            let message = format!(
                "`max_per_day: {most}` is never reached: at the declared interval a day has at most {possible} exchanges"
            );
            linting.warn(places.of("limits.max_per_day"), Lint::NoEffect, message, "lower it, or leave it out");
        }
    }
    if let (Some(body), Some(day)) = (limits.max_body, limits.max_bytes_per_day)
        && body > day
    {
        let message = format!(
            "`max_body` of {body} bytes is more than the {day} bytes of `max_bytes_per_day`: such a body is refused"
        );
        linting.warn(places.of("limits.max_body"), Lint::NoEffect, message, "lower the one or raise the other");
    }
}

/// A processing may start on its receipt, and a filing that ended by then never worked.
fn ended_before_receipt(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    let receipt = transfer.processing.receipt.as_ref().and_then(|receipt| receipt.date);
    let end = transfer.filing.as_ref().and_then(|filing| filing.valid_until);
    if let (Some(receipt), Some(end)) = (receipt, end)
        && end < receipt
    {
        let message = format!(
            "the filing ended on {end}, before processing `{}` had its receipt on {receipt}: nothing can leave under it",
            transfer.processing.id
        );
        linting.warn(places.of("filing.valid_until"), Lint::NeverMatches, message, "look at both papers again");
    }
}

fn endpoints(linting: &Linting<'_>, endpoints: &[Endpoint], places: &Places, key: &str) {
    for (position, endpoint) in endpoints.iter().enumerate() {
        let HostPattern::Exact(Host::Address(address)) = endpoint.host else { continue };
        let place = places.of(&format!("{key}[{position}].host"));
        let class = classify(address);
        if !class.can_be_opened() {
            let message = format!("`{address}` is a {class} address, which is never dialled");
            linting.warn(
                place,
                Lint::NeverMatches,
                message,
                "write the address of the recipient's machine, or its name",
            );
        }
        if !endpoint.networks.is_empty() && !endpoint.networks.iter().any(|network| network.contains(address)) {
            let message = format!("`{address}` is in none of its own `networks`: it is never dialled");
            linting.warn(place, Lint::NeverMatches, message, "leave `networks` out: the address is exact already");
        }
    }
}

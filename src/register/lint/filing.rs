//! What a transfer rests on: the filing and its days, the reference, the legal basis and the list behind it.

use jiff::civil::Date;

use super::{Lint, Linting};
use crate::register::fields::Places;
use crate::register::{FilingStatus, ReceiptKind, Transfer};
use crate::vocabulary::papers::{Wanted, is_for_single_cases, wanted};
use crate::vocabulary::{Adequacy, Regime, Term, adequacy};

/// Days before the end of a filing from which on it is told: a new one takes the CNDP two months (`research/law.md` §12).
const SOON: i32 = 90;
/// Days after which the list of adequate countries is called old.
const STALE: i32 = 180;

pub(super) fn lint(linting: &Linting<'_>) {
    for (transfer, places) in linting.declared.transfers.entries() {
        if !linting.is_home(transfer.to.country) {
            for regime in transfer.regimes.iter() {
                papers(linting, transfer, places, *regime);
                basis(linting, transfer, places, *regime);
            }
        }
        days(linting, transfer, places);
        if let Some(filing) = &transfer.filing
            && let Some(reference) = &filing.reference
        {
            number(linting, places, "filing.ref", &filing.authority, reference, None);
        }
    }
    for (processing, places) in linting.declared.processings.entries() {
        if let Some(receipt) = &processing.receipt {
            number(linting, places, "receipt.ref", &receipt.authority, &receipt.reference, Some(receipt.kind));
        }
    }
    stale(linting);
}

/// What a regime wants and is absent refuses at run time; the officer should hear of it before.
fn papers(linting: &Linting<'_>, transfer: &Transfer, places: &Places, regime: Regime) {
    let country = transfer.to.country;
    if adequacy::is_domestic(regime, country) {
        return;
    }
    let wanted = wanted(regime, transfer.legal_basis.get(&regime));
    if transfer.filing.is_none() && matches!(wanted, Wanted::Filing | Wanted::Both) {
        let message = format!("{regime} wants a filing for {country}: refused with `filing-missing`");
        let remedy = "write `filing` with authority, form, ref and status";
        linting.warn(places.of("id"), Lint::FilingMissing, message, remedy);
    }
    let is_backed = transfer.documents.iter().any(|document| document.sha256.is_some());
    if !is_backed && matches!(wanted, Wanted::Document | Wanted::Both) {
        let message = format!("{regime} wants a document with its hash for this basis: refused with `filing-missing`");
        let remedy = "write `documents: [{title: …, sha256: …}]`, the signed clauses or rules";
        linting.warn(places.of(&format!("legal_basis.{regime}")), Lint::FilingMissing, message, remedy);
    }
}

fn basis(linting: &Linting<'_>, transfer: &Transfer, places: &Places, regime: Regime) {
    let country = transfer.to.country;
    let Some(basis) = transfer.legal_basis.get(&regime) else {
        if !adequacy::is_domestic(regime, country) {
            let message = format!("{regime} wants a legal basis for {country}: refused with `basis-impossible`");
            linting.warn(places.of("id"), Lint::BasisMissing, message, format!("write `legal_basis: {{{regime}: …}}`"));
        }
        return;
    };
    let place = places.of(&format!("legal_basis.{regime}"));
    if !adequacy::basis_possible(regime, basis, country) {
        let message = format!("{basis} is not possible for {country} under {regime}: refused with `basis-impossible`");
        linting.warn(place, Lint::BasisImpossible, message, remedy_for(regime, basis));
    } else if rests_on_list(regime, basis) && adequacy::is_adequate(regime, country) == Adequacy::Conditional {
        let message = format!("under {regime}, {country} is adequate only for recipients that meet a condition");
        linting.warn(place, Lint::BasisConditional, message, conditional_remedy(transfer));
    }
    let has_rhythm = transfer.limits.min_interval.is_some() || transfer.limits.max_per_day.is_some();
    if is_for_single_cases(basis) && has_rhythm {
        let message = format!("{basis} is a derogation for single cases, and `limits` declares a regular transfer");
        let remedy = "rest it on adequacy or on safeguards, or leave the rhythm out if it is none";
        linting.warn(place, Lint::DerogationRegular, message, remedy);
    }
}

fn remedy_for(regime: Regime, basis: &Term) -> String {
    if basis.prefix() != regime.prefix() {
        return format!("{basis} is of another law: write a term that begins with `{}:`", regime.prefix());
    }
    let compiled = adequacy::compiled();
    format!("the country is not on the list of {compiled} ({}): write another basis", adequacy::law(regime))
}

fn conditional_remedy(transfer: &Transfer) -> String {
    format!("see that {} meets it (for the United States: is certified), and keep the proof", transfer.to.name)
}

/// Whether the basis asks for a country on the list.
fn rests_on_list(regime: Regime, basis: &Term) -> bool {
    regime.list_basis().is_some_and(|list| list.covers(basis))
}

/// Only a granted filing is in force, and so can end.
fn days(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    let granted = transfer.filing.as_ref().filter(|filing| filing.status == FilingStatus::Granted);
    let (Some(until), Some(today)) = (granted.and_then(|filing| filing.valid_until), linting.today) else { return };
    let place = places.of("filing.valid_until");
    let left = days_between(today, until);
    if left < 0 {
        let message = format!("the filing ended on {until}: refused with `expired`");
        let remedy = "file anew, or keep the entry so that records and reports have its name";
        linting.warn(place, Lint::FilingExpired, message, remedy);
    } else if left <= SOON {
        let message = match left {
            0 => "the filing ends today: from tomorrow it is refused with `expired`".to_owned(),
            left => format!("the filing ends on {until}, in {left} days: after that it is refused with `expired`"),
        };
        linting.warn(place, Lint::FilingEndsSoon, message, "ask the authority for a new one in time");
    }
}

fn days_between(from: Date, to: Date) -> i32 {
    (to - from).get_days()
}

/// The list is a file inside the program: a country may have come or gone since.
fn stale(linting: &Linting<'_>) {
    let Some(today) = linting.today else { return };
    let age = days_between(adequacy::compiled(), today);
    if age <= STALE {
        return;
    }
    let resting = linting.declared.transfers.entries().flat_map(|(transfer, places)| {
        let on_list = transfer.legal_basis.iter().filter(|(regime, basis)| rests_on_list(**regime, basis));
        on_list.map(|(regime, _)| places.of(&format!("legal_basis.{regime}")))
    });
    if let Some(first) = resting.min() {
        let message = format!("the list of adequate countries is of {}, {age} days old", adequacy::compiled());
        let remedy = "see with the authority that the countries are still on it, or install a newer release";
        linting.warn(first, Lint::AdequacyStale, message, remedy);
    }
}

fn number(
    linting: &Linting<'_>,
    places: &Places,
    key: &str,
    authority: &str,
    reference: &str,
    receipt: Option<ReceiptKind>,
) {
    if authority != "CNDP" {
        return;
    }
    let place = places.of(key);
    match (Number::read(reference), receipt) {
        (None, _) => {
            let message = format!("`{reference}` has not the form of the CNDP's numbers");
            let remedy =
                "such as `D-GC-298/2022` or `A-M-158/2020`; it is stamped on every request, so copy it exactly";
            linting.warn(place, Lint::ReferenceUnusual, message, remedy);
        }
        (Some(Number::Authorisation), Some(ReceiptKind::Declaration | ReceiptKind::SimplifiedDeclaration)) => {
            let message = format!("`{reference}` is numbered as an authorisation, and `kind` says a declaration");
            linting.warn(place, Lint::ReferenceUnusual, message, "compare both with the receipt");
        }
        (Some(Number::Declaration), Some(ReceiptKind::Authorisation)) => {
            let message = format!("`{reference}` is numbered as a declaration, and `kind` says an authorisation");
            linting.warn(place, Lint::ReferenceUnusual, message, "compare both with the receipt");
        }
        (Some(_), _) => {}
    }
}

/// What the letter of a CNDP number says. The form of a number for a transfer was not found (`research/law.md` §2.1): that
/// of receipts is taken, and nothing is refused for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Declaration,
    Authorisation,
}

impl Number {
    /// `D-460/2021`, `D-GC-298/2022`: a letter, up to three letters of a sector, up to five digits, the year.
    fn read(text: &str) -> Option<Number> {
        let (rest, year) = text.split_once('/')?;
        let mut parts = rest.split('-');
        let kind = match parts.next()? {
            "D" => Number::Declaration,
            "A" => Number::Authorisation,
            _ => return None,
        };
        let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let sector = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase());
        let parts: Vec<&str> = parts.collect();
        let fits = match parts.as_slice() {
            [number] => digits(number, 1..=5),
            [first, number] => sector(first) && digits(number, 1..=5),
            _ => false,
        };
        (fits && digits(year, 4..=4)).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn numbers_seen_in_public_have_the_usual_form() {
        for text in ["D-W-85/2015", "D-GC-298/2022", "D-460/2021", "A-GC-206/2014", "A-RH-1175/2025", "A-558/2022"] {
            assert!(Number::read(text).is_some(), "{text}");
        }
        for text in ["D-GC-298", "T-1/2023", "D-GCXX-1/2023", "d-gc-298/2022", "D-GC-298/22", "D-GC-/2022", "D/2022"] {
            assert!(Number::read(text).is_none(), "{text}");
        }
    }
}

//! The filing table: what each regime wants to see before data may go to a country, and whether it is there today.
//!
//! From `research/law.md` §2-4. Adequacy never opens the gate: it only tests whether the legal basis that was declared
//! can hold for the country at all.

use jiff::civil::Date;

use super::reason::Reason;
use super::trace::Failure;
use crate::register::{Filing, FilingStatus, Register, Transfer};
use crate::vocabulary::papers::{Wanted, wanted};
use crate::vocabulary::{Regime, adequacy};

/// Whether a transfer stays in the controller's own country: then the base receipt alone is wanted.
pub(super) fn is_domestic(register: &Register, transfer: &Transfer) -> bool {
    register.controller.as_ref().is_some_and(|controller| controller.country == transfer.to.country)
}

/// What is wrong with the filing: missing where a regime wants one, not granted, or not valid on `day`.
///
/// A filing that is written is judged also where no regime wants it: what is written only narrows.
pub(super) fn judge_filing(register: &Register, transfer: &Transfer, day: Date) -> Vec<Failure> {
    let mut failures = Vec::new();
    if !is_domestic(register, transfer) {
        failures.extend(transfer.regimes.iter().filter_map(|regime| missing(*regime, transfer)));
    }
    if let Some(filing) = &transfer.filing {
        failures.extend(status(filing));
        failures.extend(validity(filing, day));
    }
    failures
}

/// What a regime wants for a transfer abroad, and the transfer has not.
fn missing(regime: Regime, transfer: &Transfer) -> Option<Failure> {
    if adequacy::is_domestic(regime, transfer.to.country) {
        return None;
    }
    let wanted = wanted(regime, transfer.legal_basis.get(&regime));
    let has_hash = transfer.documents.iter().any(|document| document.sha256.is_some());
    let detail = match wanted {
        Wanted::Filing if transfer.filing.is_none() => {
            format!("{} wants a filing for a foreign recipient", regime.as_str())
        }
        Wanted::Document if !has_hash => format!("{} wants a document with its hash for this basis", regime.as_str()),
        Wanted::Both if transfer.filing.is_none() || !has_hash => {
            format!("{} wants an authorisation and a document with its hash for this basis", regime.as_str())
        }
        Wanted::Filing | Wanted::Document | Wanted::Both | Wanted::Nothing => return None,
    };
    Some(Failure::new(Reason::FilingMissing, detail))
}

fn status(filing: &Filing) -> Option<Failure> {
    let (reason, word) = match filing.status {
        FilingStatus::Granted => return None,
        FilingStatus::Draft => (Reason::FilingNotGranted, "a draft"),
        FilingStatus::Filed => (Reason::FilingNotGranted, "filed and not decided"),
        FilingStatus::Reclassified => (Reason::FilingNotGranted, "reclassified"),
        FilingStatus::Refused => (Reason::FilingRefused, "refused"),
        FilingStatus::Suspended => (Reason::FilingSuspended, "suspended"),
        FilingStatus::Withdrawn => (Reason::FilingWithdrawn, "withdrawn"),
    };
    let reference = filing.reference.as_deref().map_or(String::new(), |reference| format!(" \"{reference}\""));
    Some(Failure::new(reason, format!("the filing{reference} with {} is {word}", filing.authority)))
}

/// Validity begins and ends with the day.
fn validity(filing: &Filing, day: Date) -> Option<Failure> {
    if let Some(from) = filing.valid_from.filter(|from| day < *from) {
        return Some(Failure::new(Reason::NotYetValid, format!("the filing is valid from {from}, it is {day}")));
    }
    let until = filing.valid_until.filter(|until| day > *until)?;
    Some(Failure::new(Reason::Expired, format!("the filing was valid until {until}, it is {day}")))
}

/// Whether the processing has its base receipt (law 09-08 art. 19: processing may start on receipt).
pub(super) fn judge_receipt(transfer: &Transfer, day: Date) -> Option<Failure> {
    let processing = &transfer.processing;
    let Some(receipt) = &processing.receipt else {
        return Some(Failure::new(Reason::ReceiptMissing, format!("processing \"{}\" has no receipt", processing.id)));
    };
    let date = receipt.date.filter(|date| day < *date)?;
    Some(Failure::new(
        Reason::ReceiptMissing,
        format!("the receipt \"{}\" is of {date}, it is {day}", receipt.reference),
    ))
}

/// Whether each regime's basis can hold for the recipient's country. All regimes must pass.
pub(super) fn judge_basis(register: &Register, transfer: &Transfer) -> Vec<Failure> {
    if is_domestic(register, transfer) {
        return Vec::new();
    }
    let country = transfer.to.country;
    let judge = |regime: &Regime| {
        let detail = match transfer.legal_basis.get(regime) {
            None if adequacy::is_domestic(*regime, country) => return None,
            None => format!("no legal basis is declared for {}", regime.as_str()),
            Some(basis) if adequacy::basis_possible(*regime, basis, country) => return None,
            Some(basis) => format!("{basis} cannot hold for {country} under {}", regime.as_str()),
        };
        Some(Failure::new(Reason::BasisImpossible, detail))
    };
    transfer.regimes.iter().filter_map(judge).collect()
}

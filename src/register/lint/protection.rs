//! Measures, pins, and exceptions that ended.

use super::{Lint, Linting};
use crate::destination::Scheme;
use crate::register::fields::Places;
use crate::register::{Endpoint, Transfer};

pub(super) fn lint(linting: &Linting<'_>) {
    for (transfer, places) in linting.declared.transfers.entries() {
        measures(linting, transfer, places);
    }
    for (recipient, places) in linting.declared.recipients.entries() {
        pins(linting, &recipient.endpoints, places, "destinations");
    }
    for (allowance, places) in linting.declared.allowances.entries() {
        pins(linting, &allowance.to, places, "to");
        if let (Some(unread), Some(today)) = (&allowance.unread, linting.today)
            && unread.until < today
        {
            let message = format!("the `unread` exception ended on {}: these tunnels are refused", unread.until);
            linting.warn(
                places.of("unread.until"),
                Lint::ExceptionEnded,
                message,
                "remove the allowance, or give the exception a new end and say why",
            );
        }
    }
}

/// The measure that this build enforces: TLS 1.2 or later to the recipient.
const ENFORCED: &str = "dpv:EncryptionInTransfer";

fn measures(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    for measure in transfer.measures.iter() {
        if measure.as_str() != ENFORCED {
            let message = format!("{measure} is declared, and nothing in this build enforces it");
            linting.warn(places.of("measures"), Lint::MeasureNotEnforced, message, "see that it is met by other means");
        } else if transfer.to.endpoints.iter().any(|endpoint| endpoint.scheme == Scheme::Http) {
            let message =
                format!("{measure} cannot be met at a destination with `scheme: http`: refused with `measure-missing`");
            let remedy = "leave out the destination or the measure";
            linting.warn(places.of("measures"), Lint::MeasureImpossible, message, remedy);
        }
    }
}

fn pins(linting: &Linting<'_>, endpoints: &[Endpoint], places: &Places, key: &str) {
    for (position, endpoint) in endpoints.iter().enumerate() {
        if endpoint.pins.len() == 1 {
            let message = format!(
                "`{}` is pinned to one key: on the day on which the recipient changes it, nothing leaves",
                endpoint.host
            );
            linting.warn(
                places.of(&format!("{key}[{position}].tls_spki_sha256")),
                Lint::SinglePin,
                message,
                "ask the recipient for the pin of a spare key, and write both",
            );
        }
    }
}

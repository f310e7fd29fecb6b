//! A transfer against the processing whose data it sends: purposes, categories, persons, the base receipt, how long data
//! are kept, and what the pictures of its sources are taken for.

use jiff::Span;
use jiff::civil::{Date, date};

use super::{Lint, Linting};
use crate::register::fields::Places;
use crate::register::{From, Processing, ReceiptKind, Source, Transfer};
use crate::vocabulary::{Country, Term};

pub(super) fn lint(linting: &Linting<'_>) {
    for (processing, places) in linting.declared.processings.entries() {
        if linting.home.is_some_and(is_morocco) {
            receipt_kind(linting, processing, places);
        }
        if is_cctv(&processing.data_categories) {
            cctv_retention(linting, processing.retention, places, "retention", "processing");
        }
    }
    for (transfer, places) in linting.declared.transfers.entries() {
        outside(linting, transfer, places);
        sensitive(linting, transfer, places);
        carries(linting, transfer, places);
        if is_cctv(&transfer.data_categories) {
            cctv_retention(linting, transfer.retention_exporter, places, "retention.exporter", "exporter");
            cctv_retention(linting, transfer.retention_recipient, places, "retention.recipient", "recipient");
        }
    }
}

fn is_morocco(country: Country) -> bool {
    country.as_str() == "MA"
}

/// Law 09-08 art. 12: sensitive data, and data with the number of the national identity card, want a prior authorisation.
fn receipt_kind(linting: &Linting<'_>, processing: &Processing, places: &Places) {
    let Some(receipt) = processing.receipt.as_ref().filter(|receipt| receipt.kind != ReceiptKind::Authorisation) else {
        return;
    };
    let wanting = processing.data_categories.iter().find_map(|category| match category {
        category if category.is_sensitive() => Some((category, "sensitive data")),
        category if holds_national_id(category) => Some((category, "the number of the national identity card")),
        _ => None,
    });
    if let Some((category, what)) = wanting {
        let message = format!(
            "{category} is {what}, for which law 09-08 art. 12 wants a prior authorisation, and the receipt `{}` is of a declaration",
            receipt.reference
        );
        let remedy = "ask the CNDP for an authorisation (form F112 or F113), and write `kind: authorisation`";
        linting.warn(places.of("receipt.kind"), Lint::ReceiptKind, message, remedy);
    }
}

/// The national identity card, or the whole kind that it belongs to. A passport's number is none.
fn holds_national_id(category: &Term) -> bool {
    matches!(category.as_str(), "x:CNIE" | "pd:OfficialID")
}

/// A declaration is narrower than the recipient: what goes beyond the processing is a second breach (art. 12(1)(b), 54).
fn outside(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    let processing = &transfer.processing;
    let is_within = |terms: &[Term], term: &Term| terms.iter().any(|declared| declared.covers(term));
    for category in transfer.data_categories.iter().filter(|term| !is_within(&processing.data_categories, term)) {
        let message = format!("{category} is sent, and processing `{}` does not treat it", processing.id);
        let remedy = "declare it for the processing too (a change that the authority is told), or leave it out here";
        linting.warn(places.of("data_categories"), Lint::CategoryOutsideProcessing, message, remedy);
    }
    for purpose in transfer.purposes.iter().filter(|term| !is_within(&processing.purposes, term)) {
        let message = format!("{purpose} is a purpose of the transfer, and none of processing `{}`", processing.id);
        let remedy = "another purpose wants a prior authorisation (law 09-08 art. 12); name the processing's own";
        linting.warn(places.of("purposes"), Lint::PurposeOutsideProcessing, message, remedy);
    }
    // A processing may leave its persons out.
    if processing.data_subjects.is_empty() {
        return;
    }
    for subject in transfer.data_subjects.iter().filter(|term| !is_within(&processing.data_subjects, term)) {
        let message = format!("the transfer is about {subject}, and processing `{}` is not", processing.id);
        let remedy = "declare these persons for the processing too, or leave them out here";
        linting.warn(places.of("data_subjects"), Lint::SubjectOutsideProcessing, message, remedy);
    }
}

fn sensitive(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    if transfer.sensitive {
        return;
    }
    if let Some(category) = transfer.data_categories.iter().find(|category| category.is_sensitive()) {
        let message = format!("{category} is sensitive data: refused with `sensitive-not-authorised`");
        let remedy = "write `sensitive: true` if the authority's decision covers it";
        linting.warn(places.of("data_categories"), Lint::SensitiveNotCovered, message, remedy);
    }
}

/// Every picture of a source is taken for what it carries; a transfer that does not declare that lets none pass.
fn carries(linting: &Linting<'_>, transfer: &Transfer, places: &Places) {
    let From::Sources(ids) = &transfer.from else { return };
    if !takes_pictures(transfer) {
        return;
    }
    for id in ids {
        let Some(source) = linting.declared.sources.0.get(id).and_then(|entry| entry.value.as_ref()) else { continue };
        let Some(taken) = not_covered(source, transfer) else { continue };
        let (message, remedy) = match source.carries.is_empty() {
            true => (
                format!(
                    "pictures of source `{id}` are taken for {taken}, because it has no `carries`, and this transfer declares less: refused with `category-not-declared`"
                ),
                format!("write `carries` for source `{id}`"),
            ),
            false => (
                format!(
                    "pictures of source `{id}` are taken for {taken}, which this transfer does not declare: refused with `category-not-declared`"
                ),
                "declare it here, or name the media types that are sent in `requests.content_types`".to_owned(),
            ),
        };
        linting.warn(places.of("data_categories"), Lint::CarriesNotCovered, message, remedy);
    }
}

fn takes_pictures(transfer: &Transfer) -> bool {
    let types = &transfer.requests.content_types;
    let is_picture = |text: String| ["image/", "video/"].iter().any(|family| text.starts_with(family));
    types.is_empty() || types.iter().any(|pattern| is_picture(pattern.to_string()))
}

/// What the source's pictures are taken for and the transfer does not cover.
fn not_covered(source: &Source, transfer: &Transfer) -> Option<Term> {
    let covers = |term: &Term| transfer.data_categories.iter().any(|declared| declared.covers(term));
    if !source.carries.is_empty() {
        return source.carries.iter().find(|term| !covers(term)).cloned();
    }
    // A transfer that has nothing to do with pictures is no slip.
    let means_pictures = transfer.data_categories.iter().any(|declared| Term::PICTURE.covers(declared));
    (means_pictures && !covers(&Term::PICTURE)).then_some(Term::PICTURE)
}

fn is_cctv(categories: &[Term]) -> bool {
    categories.iter().any(|category| matches!(category.as_str(), "x:CCTVFrame" | "x:CCTVVideo"))
}

/// A day from which three months are longest, 92 days.
const LONGEST_QUARTER: Date = date(2025, 7, 1);

/// The CNDP's deliberation 350-2013: three months at most. That it binds the recipient too is this program's inference.
fn cctv_retention(linting: &Linting<'_>, kept: Option<Span>, places: &Places, key: &str, who: &str) {
    let Some(kept) = kept.filter(|_| linting.home.is_some_and(is_morocco)) else { return };
    let three_months = Span::new().months(3);
    let longer = kept.compare((three_months, LONGEST_QUARTER)).is_ok_and(std::cmp::Ordering::is_gt);
    if longer {
        let message = match who {
            "recipient" => {
                format!("the recipient keeps CCTV pictures for {kept}, and the CNDP lets you keep them three months")
            }
            _ => format!("CCTV pictures are kept for {kept}, and the CNDP allows three months (deliberation 350-2013)"),
        };
        linting.warn(places.of(key), Lint::CctvRetention, message, "write `P3M` or less, and see that they are erased");
    }
}

//! Reads what is permitted: transfers with their filing, requests and limits, and allowances.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::Declared;
use super::document::Scalar;
use super::fault::{Problem, meant};
use super::fields::{At, Fields, Read};
use super::lint::Lint;
use super::parties::{endpoint, mode, values};
use super::scalar::{self, choice, term};
use super::{Allowance, Document, Filing, FilingStatus, From, Id, Limits, Requests, Transfer, Unread};
use crate::destination::HostPattern;
use crate::vocabulary::{Regime, Term, TermKind};

/// A transfer; what it refers to is looked up among what is declared.
pub fn transfer(fields: &mut Fields<'_>, id: Option<Id>, declared: &Declared) -> Option<Transfer> {
    let processing = fields.required("processing", declared.processings.reference("processing"));
    let from = from(fields, declared);
    let to = fields.required("to", declared.recipients.reference("recipient"));
    let role = fields.optional("role", term(TermKind::Role));
    let regimes = declared.regimes.once(values(fields.required_list("regimes", scalar::regime)));
    let legal_basis = declared.bases.once(legal_basis(fields, &regimes));
    let purposes = terms(declared, fields.required_list("purposes", term(TermKind::Purpose)));
    let data_categories = terms(declared, fields.required_list("data_categories", term(TermKind::DataCategory)));
    let data_subjects = terms(declared, fields.list("data_subjects", term(TermKind::DataSubject)));
    let sensitive = fields.or_default("sensitive", false, scalar::boolean);
    let filing = fields.map("filing", "a filing", filing);
    let requests = declared.requests.once(requests(fields));
    let limits = limits(fields, declared.hold_limit);
    let measures = terms(declared, fields.list("measures", term(TermKind::Measure)));
    let (retention_exporter, retention_recipient) = retention(fields);
    let onward = fields.optional("onward", scalar::text);
    let documents = fields.maps("documents", "a document", document);
    let unreadable_presumed = fields.or_default("unreadable", false, choice(&[("refuse", false), ("presumed", true)]));
    let country_mismatch_refuses =
        fields.or_default("country_mismatch", false, choice(&[("alarm", false), ("refuse", true)]));
    let stamp = fields.optional("stamp", choice(&[("none", ())])).is_none();
    let mode = mode(fields);
    hold(fields);
    inspection(fields);
    // A reference to an entry that is itself at fault resolves to nothing and adds no fault of its own.
    Some(Transfer {
        id: id?,
        processing: processing??,
        from: from?,
        to: to??,
        role,
        regimes,
        legal_basis,
        purposes,
        data_categories,
        data_subjects,
        sensitive,
        filing,
        requests,
        limits,
        measures,
        retention_exporter,
        retention_recipient,
        onward,
        documents,
        unreadable_presumed,
        country_mismatch_refuses,
        stamp,
        mode,
    })
}

/// Terms in their order, shared with whatever else has the same.
fn terms(declared: &Declared, list: Vec<At<Term>>) -> Arc<[Term]> {
    declared.terms.once(values(list))
}

/// An allowance.
pub fn allowance(fields: &mut Fields<'_>, id: Option<Id>, declared: &Declared) -> Option<Allowance> {
    let to = fields.required_maps("to", "a destination", |fields| {
        let endpoint = endpoint(fields);
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.host == HostPattern::Any)
            && let Some(place) = fields.places().written("host")
        {
            let problem = Problem::new("`host: any` opens every host for traffic in which nothing personal is found")
                .hint("name the hosts, or a suffix such as `*.vendor.example`");
            fields.collector().lint(place, Lint::HostAny, problem);
        }
        endpoint
    });
    let from = from(fields, declared);
    let note = fields.optional("note", scalar::text);
    let requests = declared.requests.once(requests(fields));
    let limits = limits(fields, declared.hold_limit);
    let mode = mode(fields);
    let unread = fields.map("unread", "an unread exception", unread);
    let relaxed = fields.or_default("durability", false, choice(&[("strict", false), ("relaxed", true)]));
    if relaxed && let Some(place) = fields.places().written("durability") {
        let problem = Problem::new("`durability: relaxed` is not built yet and works as `strict`");
        fields.collector().lint(place, Lint::NotBuilt, problem.hint("nothing leaves before its record is durable"));
    }
    Some(Allowance { id: id?, to, from: from?, note, requests, limits, mode, unread })
}

fn from(fields: &mut Fields<'_>, declared: &Declared) -> Option<From> {
    let sources = fields.required_list("from", |scalar| from_word(scalar, declared));
    let any = sources.iter().find(|at| at.value.is_none());
    if let (Some(any), true) = (any, sources.len() > 1) {
        let problem = Problem::new("`any` already stands for every declared source")
            .hint("write `from: [any]`, or list the sources");
        fields.collector().fault(any.place, problem);
    }
    match any {
        Some(_) => Some(From::Any),
        None if sources.is_empty() => None,
        None => Some(From::Sources(sources.into_iter().filter_map(|at| at.value).collect())),
    }
}

/// A declared source's id, or `None` for `any`.
fn from_word(scalar: &Scalar, declared: &Declared) -> Read<Option<Id>> {
    if scalar.text == "any" {
        let (_, canonical) = scalar::text(scalar)?;
        return Ok((None, canonical));
    }
    let (id, canonical) = scalar::id(scalar)?;
    declared.sources.require(&id, "source")?;
    Ok((Some(id), canonical))
}

fn legal_basis(fields: &mut Fields<'_>, regimes: &[Regime]) -> BTreeMap<Regime, Term> {
    let basis = fields.map("legal_basis", "a legal basis", |fields| {
        let mut basis = BTreeMap::new();
        for regime in Regime::ALL {
            let Some(term) = fields.optional(regime.as_str(), term(TermKind::LegalBasis)) else { continue };
            if !regimes.contains(&regime) {
                let problem =
                    Problem::new(format!("`{}` is not among the `regimes` of this transfer", regime.as_str()));
                fields.refuse(regime.as_str(), problem.hint("add the regime, or leave its basis out"));
            }
            basis.insert(regime, term);
        }
        Some(basis)
    });
    basis.unwrap_or_default()
}

fn filing(fields: &mut Fields<'_>) -> Option<Filing> {
    let statuses = choice(&[
        ("draft", FilingStatus::Draft),
        ("filed", FilingStatus::Filed),
        ("reclassified", FilingStatus::Reclassified),
        ("granted", FilingStatus::Granted),
        ("refused", FilingStatus::Refused),
        ("suspended", FilingStatus::Suspended),
        ("withdrawn", FilingStatus::Withdrawn),
    ]);
    let authority = fields.required("authority", scalar::text);
    let form = fields.optional("form", scalar::text);
    let reference = fields.optional("ref", scalar::text);
    let status = fields.required("status", statuses);
    let [filed, decided, valid_from, valid_until] =
        ["filed", "decided", "valid_from", "valid_until"].map(|key| fields.optional(key, scalar::date));
    if let (Some(begin), Some(end)) = (valid_from, valid_until)
        && end < begin
    {
        fields.refuse(
            "valid_until",
            Problem::new(format!("valid until {end}, before it begins on {begin}")).hint("exchange the two days"),
        );
    }
    if let (Some(filed), Some(decided)) = (filed, decided)
        && decided < filed
    {
        fields.refuse("decided", Problem::new(format!("decided on {decided}, before it was filed on {filed}")));
    }
    if status == Some(FilingStatus::Granted) && fields.places().written("ref").is_none() {
        let problem =
            Problem::new("a granted filing has a reference, which every request is stamped with").hint("write `ref`");
        fields.refuse("status", problem);
    }
    Some(Filing { authority: authority?, form, reference, status: status?, filed, decided, valid_from, valid_until })
}

fn requests(fields: &mut Fields<'_>) -> Requests {
    let requests = fields.map("requests", "the requests", |fields| {
        Some(Requests {
            methods: values(fields.list("methods", scalar::method)),
            paths: values(fields.list("paths", scalar::path)),
            content_types: values(fields.list("content_types", scalar::content_type)),
        })
    });
    requests.unwrap_or_default()
}

fn limits(fields: &mut Fields<'_>, hold_limit: u64) -> Limits {
    let limits = fields.map("limits", "the limits", |fields| {
        let min_interval = fields.optional("min_interval", scalar::duration);
        let tolerance = fields.optional("tolerance", scalar::duration);
        let max_per_day = fields.optional("max_per_day", scalar::count(1));
        let max_body = fields.optional("max_body", scalar::size);
        let max_bytes_per_day = fields.optional("max_bytes_per_day", scalar::size);
        let retries = fields.or_default("retries", 0, retries);
        let per_source = fields.or_default("per", false, choice(&[("transfer", false), ("source", true)]));
        let max_duration = fields.optional("max_duration", scalar::duration);
        if let Some(size) = max_body.filter(|size| *size > hold_limit) {
            let problem =
                Problem::new(format!("`max_body` of {size} bytes is above the hold limit of {hold_limit} bytes"));
            fields.refuse(
                "max_body",
                problem.hint("a body is held and judged as a whole; lower it, or raise `limits.hold` in tasrih.yaml"),
            );
        }
        if let (None, Some(place)) = (min_interval, fields.places().written("tolerance")) {
            let problem = Problem::new("`tolerance` belongs to `min_interval`, which is absent")
                .hint("write `min_interval` too, or leave `tolerance` out");
            fields.collector().fault(place, problem);
        }
        Some(Limits {
            min_interval,
            tolerance,
            max_per_day,
            max_body,
            max_bytes_per_day,
            retries,
            per_source,
            max_duration,
        })
    });
    limits.unwrap_or_default()
}

fn retries(scalar: &Scalar) -> Read<u32> {
    let (value, canonical) = scalar::count(0)(scalar)?;
    let value = u32::try_from(value).map_err(|_| Problem::new(format!("`{value}` is too many retries")))?;
    Ok((value, canonical))
}

fn retention(fields: &mut Fields<'_>) -> (Option<jiff::Span>, Option<jiff::Span>) {
    let both = fields.map("retention", "the retention", |fields| {
        Some((fields.optional("exporter", scalar::period), fields.optional("recipient", scalar::period)))
    });
    both.unwrap_or_default()
}

fn document(fields: &mut Fields<'_>) -> Option<Document> {
    let title = fields.required("title", scalar::text);
    let date = fields.optional("date", scalar::date);
    let sha256 = fields.optional("sha256", scalar::hash);
    let file = fields.optional("file", scalar::text);
    Some(Document { title: title?, date, sha256, file })
}

fn unread(fields: &mut Fields<'_>) -> Option<Unread> {
    let max_bytes_up = fields.required("max_bytes_up", scalar::size);
    let max_duration = fields.required("max_duration", scalar::duration);
    let reason = fields.required("reason", scalar::text);
    let until = fields.required("until", scalar::date);
    Some(Unread { max_bytes_up: max_bytes_up?, max_duration: max_duration?, reason: reason?, until: until? })
}

fn hold(fields: &mut Fields<'_>) {
    let stream = fields.or_default("hold", false, choice(&[("whole", false), ("stream", true)]));
    if stream && let Some(place) = fields.places().written("hold") {
        let problem = Problem::new("`hold: stream` is not built yet and works as `whole`");
        fields.collector().lint(place, Lint::NotBuilt, problem.hint("the whole body is judged before any byte leaves"));
    }
}

/// Keys that the detectors of a later build read. Until then every finding counts, which is the stricter reading.
fn inspection(fields: &mut Fields<'_>) {
    fields.optional("likelihood", choice(&[("possible", ()), ("likely", ()), ("very-likely", ())]));
    fields.terms("thresholds", |written| term(TermKind::DataCategory)(written), scalar::count(1));
    for key in ["likelihood", "thresholds"] {
        if let Some(place) = fields.places().written(key) {
            let problem = Problem::new(format!("`{key}` is not built yet: every finding counts"))
                .hint("nothing passes that it would refuse");
            fields.collector().lint(place, Lint::NotBuilt, problem);
        }
    }
}

/// What a reference that leads nowhere could have meant.
pub fn unresolved<'w>(what: &str, id: &Id, known: impl Iterator<Item = &'w Id>) -> Problem {
    Problem { message: format!("there is no {what} `{id}`"), hint: meant(id.as_str(), known.map(Id::as_str)) }
}

//! Reads who takes part: the controller, its processings and sources, the recipients and their destinations.

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::fault::Problem;
use super::fields::{At, Fields};
use super::lint::Lint;
use super::scalar::{self, choice, term};
use super::{
    Controller, Endpoint, Id, Interception, Label, Mode, ModeSetting, Processing, Receipt, ReceiptKind, Recipient,
    Source,
};
use crate::destination::{HostPattern, Scheme};
use crate::vocabulary::TermKind;

/// The controller.
pub fn controller(fields: &mut Fields<'_>) -> Option<Controller> {
    let name = fields.required("name", scalar::text);
    fields.map("id", "the controller's id", |fields| {
        fields.required("scheme", scalar::text);
        fields.required("value", scalar::text)
    });
    let country = fields.required("country", scalar::country);
    let address = fields.optional("address", scalar::text);
    let time_zone = fields.optional("time_zone", scalar::time_zone);
    let dpo = fields.optional("dpo", scalar::text);
    let rights_contact = fields.optional("rights_contact", scalar::text);
    let notice_receipt = fields.map("notice", "the notice", |fields| fields.required("receipt", scalar::text));
    if fields.places().written("time_zone").is_none() {
        let problem = Problem::new("the controller has no `time_zone`: days and validity are counted in UTC")
            .hint("write `time_zone: Africa/Casablanca`");
        fields.collector().lint(fields.places().of("name"), Lint::TimeZoneMissing, problem);
    }
    Some(Controller {
        name: name?,
        country: country?,
        address,
        time_zone: time_zone.unwrap_or(TimeZone::UTC),
        dpo,
        rights_contact,
        notice_receipt,
    })
}

/// A processing.
pub fn processing(fields: &mut Fields<'_>, id: Option<Id>) -> Option<Processing> {
    let label = label(fields);
    let purposes = fields.required_list("purposes", term(TermKind::Purpose));
    let data_categories = fields.required_list("data_categories", term(TermKind::DataCategory));
    let data_subjects = fields.list("data_subjects", term(TermKind::DataSubject));
    let retention = fields.optional("retention", scalar::period);
    let receipt = fields.map("receipt", "a receipt", receipt);
    if fields.places().written("receipt").is_none() {
        let problem = Problem::new("no `receipt`: transfers of this processing are refused with `receipt-missing`")
            .hint("write the receipt that the authority gave");
        fields.collector().lint(fields.places().of("id"), Lint::ReceiptMissing, problem);
    }
    let (purposes, data_categories, data_subjects) = (values(purposes), values(data_categories), values(data_subjects));
    Some(Processing { id: id?, label, purposes, data_categories, data_subjects, retention, receipt })
}

fn receipt(fields: &mut Fields<'_>) -> Option<Receipt> {
    let kinds = choice(&[
        ("declaration", ReceiptKind::Declaration),
        ("simplified-declaration", ReceiptKind::SimplifiedDeclaration),
        ("authorisation", ReceiptKind::Authorisation),
    ]);
    let kind = fields.required("kind", kinds);
    let authority = fields.required("authority", scalar::text);
    let reference = fields.required("ref", scalar::text);
    let date = fields.optional("date", scalar::date);
    Some(Receipt { kind: kind?, authority: authority?, reference: reference?, date })
}

/// A source.
pub fn source(fields: &mut Fields<'_>, id: Option<Id>) -> Option<Source> {
    let label = label(fields);
    let networks = fields.list("networks", scalar::network);
    let client_certificate = fields.optional("client_certificate", scalar::text);
    let user = fields.optional("user", scalar::text);
    let carries = fields.list("carries", term(TermKind::DataCategory));
    let interception = interception(fields);
    let refusals_inside = fields.optional("refusals", choice(&[("inside", ())])).is_some();
    let mode = mode(fields);
    let places = fields.places();
    if ["networks", "client_certificate", "user"].iter().all(|key| places.written(key).is_none()) {
        let problem =
            Problem::new("a source needs `networks`, `client_certificate` or `user`: nothing tells it from others");
        fields.collector().fault(places.of("id"), problem.hint("write `networks: [10.20.0.0/28]`"));
    }
    // Networks that could not be read would leave a source that matches more than was written.
    let unproved =
        networks.is_empty() && (places.written("networks").is_some() || client_certificate.is_none() && user.is_none());
    if unproved {
        return None;
    }
    let (networks, carries) = (values(networks), values(carries));
    Some(Source { id: id?, label, networks, client_certificate, user, carries, interception, refusals_inside, mode })
}

/// A recipient.
pub fn recipient(fields: &mut Fields<'_>, id: Option<Id>) -> Option<Recipient> {
    let name = fields.required("name", scalar::text);
    let kind = fields.optional("kind", term(TermKind::OrganisationKind));
    let country = fields.required("country", scalar::country);
    let contact = fields.optional("contact", scalar::text);
    let endpoints = fields.required_maps("destinations", "a destination", |fields| {
        let endpoint = endpoint(fields);
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.host == HostPattern::Any) {
            let problem = Problem::new("a recipient cannot be at `any` host")
                .hint("name its hosts; `host: any` is possible in an allowance only");
            fields.refuse("host", problem);
        }
        endpoint
    });
    Some(Recipient { id: id?, name: name?, kind, country: country?, contact, endpoints })
}

/// A destination of a recipient or an allowance.
pub fn endpoint(fields: &mut Fields<'_>) -> Option<Endpoint> {
    let host = fields.required("host", scalar::host);
    let scheme =
        fields.or_default("scheme", Scheme::Https, choice(&[("https", Scheme::Https), ("http", Scheme::Http)]));
    let port = fields.or_default("port", 443, scalar::port);
    let pins = fields.list("tls_spki_sha256", scalar::pin);
    let networks = fields.list("networks", scalar::network);
    let interception = interception(fields);
    let is_opaque = fields.optional("protocol", choice(&[("tcp", ())])).is_some();
    fields.not_built("ech", "this build does not see Encrypted Client Hello, and would not refuse it");
    fields.not_built("client_identity", "this build presents no certificate to recipients");
    fields.not_built("via", "this build connects to recipients directly");
    if scheme == Scheme::Http && !is_opaque {
        check_cleartext(fields);
    }
    let (scheme, interception) = match is_opaque {
        true => {
            check_opaque(fields, interception);
            (Scheme::Tcp, Interception::Never)
        }
        false => (scheme, interception),
    };
    Some(Endpoint { host: host?, port, scheme, pins: values(pins), networks: values(networks), interception })
}

/// What is relayed unread has no request and no certificate that anything could be said of.
fn check_opaque(fields: &Fields<'_>, interception: Interception) {
    if fields.places().written("port").is_none() {
        let problem = Problem::new("`protocol: tcp` without a `port`: 443 would be meant").hint("write `port: 22`");
        fields.refuse("protocol", problem);
    }
    let both = Problem::new("`protocol: tcp` and `scheme` are two protocols for one destination");
    fields.refuse("scheme", both.hint("leave out one of the two; a host may have a destination of each kind"));
    let pinned = Problem::new("pins are checked in TLS, and `protocol: tcp` has none").hint("leave out one of the two");
    fields.refuse("tls_spki_sha256", pinned);
    if interception == Interception::Required {
        let read = Problem::new("`protocol: tcp` is relayed unread, and `interception: required` forbids that");
        fields.refuse("interception", read.hint("leave out one of the two"));
    }
}

fn check_cleartext(fields: &Fields<'_>) {
    if fields.places().written("port").is_none() {
        let problem = Problem::new("`scheme: http` without a `port`: 443 would be meant").hint("write `port: 80`");
        fields.refuse("scheme", problem);
    }
    let pinned = Problem::new("pins are checked in TLS, and `scheme: http` has none").hint("leave out one of the two");
    fields.refuse("tls_spki_sha256", pinned);
    if let Some(place) = fields.places().written("interception") {
        let problem =
            Problem::new("`interception` means nothing with `scheme: http`: it is always read").hint("leave it out");
        fields.collector().lint(place, Lint::NoEffect, problem);
    }
}

/// A text in the languages it was written in.
fn label(fields: &mut Fields<'_>) -> Label {
    let label = fields.map("label", "a label", |fields| {
        let (ar, fr) = (fields.optional("ar", scalar::text), fields.optional("fr", scalar::text));
        let (en, zgh) = (fields.optional("en", scalar::text), fields.optional("zgh", scalar::text));
        Some(Label { ar, fr, en, zgh })
    });
    label.unwrap_or_default()
}

fn interception(fields: &mut Fields<'_>) -> Interception {
    let words = choice(&[
        ("required", Interception::Required),
        ("allowed", Interception::Allowed),
        ("never", Interception::Never),
    ]);
    fields.or_default("interception", Interception::Allowed, words)
}

/// `mode: observe`, or `mode: {is: observe, until: 2024-06-30}`.
pub fn mode(fields: &mut Fields<'_>) -> Option<ModeSetting> {
    if !fields.holds_map("mode") {
        return fields.optional("mode", scalar::mode);
    }
    let setting = fields.map("mode", "a mode", |fields| {
        let mode = fields.required("is", scalar::mode_word);
        let until = fields.optional("until", scalar::date);
        if mode == Some(Mode::Enforce) {
            fields.refuse(
                "until",
                Problem::new("`until` ends an `observe`; `enforce` has no end").hint("leave `until` out"),
            );
        }
        Some(ModeSetting { mode: mode?, until })
    })?;
    if setting.until.is_none() {
        let word = if setting.mode == Mode::Observe { "observe" } else { "enforce" };
        fields.rewrite("mode", Json::from(word));
    }
    Some(setting)
}

/// The values of a list whose places are no longer needed.
pub fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    let mut values: Vec<T> = list.into_iter().map(|at| at.value).collect();
    // Collecting may keep the room of the places, and a large register has millions of such lists.
    values.shrink_to_fit();
    values
}

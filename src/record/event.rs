//! The OCSF 1.8.0 event of a decision or outcome: class 4002 HTTP Activity for a request, 4001 Network Activity for a
//! tunnel.
//!
//! Members are named and numbered as in the OCSF schema; ours stand in `unmapped.transfer` (see [`super::unmapped`]).
//! Text that came from outside is cut to a bound of its own, so that a record keeps to [`MAX_BYTES`]; a cut is told in
//! `metadata.is_truncated`.

use std::cell::Cell;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{DecisionRecord, Exchange, MAX_BYTES, OutcomeRecord, unmapped};
use crate::destination::{Destination, Host};
use crate::policy::{Decision, End, Language, Reason, TlsFacts};
use crate::register::Mode;

/// Where a record stands in the log.
pub(super) struct Place<'a> {
    pub(super) sequence: u64,
    pub(super) log_name: &'a str,
    pub(super) logged: Timestamp,
}

/// Cuts texts and lists to their bounds, and remembers whether it cut any.
#[derive(Default)]
pub(super) struct Cutter(Cell<bool>);

impl Cutter {
    /// At most `most` bytes of `text`, ended by an ellipsis where it is cut.
    pub(super) fn text(&self, text: &str, most: usize) -> String {
        if text.len() <= most {
            return text.to_owned();
        }
        self.0.set(true);
        let end =
            (0..=most.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        format!("{}…", &text[..end])
    }

    /// At most `most` items of `list`.
    pub(super) fn list<'a, T>(&self, list: &'a [T], most: usize) -> &'a [T] {
        if list.len() > most {
            self.0.set(true);
        }
        &list[..list.len().min(most)]
    }

    fn has_cut(&self) -> bool {
        self.0.get()
    }
}

/// The canonical JSON of a decision.
pub(super) fn decision(record: &DecisionRecord, place: &Place<'_>) -> Vec<u8> {
    let cut = Cutter::default();
    let refused = record.decision == Decision::Denial;
    let code = record.reason.map_or(record.decision.as_str(), Reason::as_str);
    let id = record.exchange.id.to_string();
    let correlation =
        record.folded.as_ref().and_then(|folded| folded.opened_by).map_or(id.clone(), |opened| opened.to_string());

    let mut event =
        exchange(&record.exchange, &cut, record.time, activity(&record.exchange, Moment::Decided(record.decision)));
    put(&mut event, "metadata", metadata(&record.exchange, place, &id, &correlation, code));
    add_verdict(&mut event, record.decision, record.reason);
    put(&mut event, "status_id", json!(if refused { 2 } else { 1 }));
    put(&mut event, "status", json!(if refused { "Failure" } else { "Success" }));
    put(&mut event, "severity_id", json!(severity(record.decision).0));
    put(&mut event, "severity", json!(severity(record.decision).1));
    if let Some(reason) = record.reason {
        put(&mut event, "status_detail", json!(reason.sentence(Language::En)));
    }
    if let Some(status) = record.status {
        put(&mut event, "status_code", json!(status.to_string()));
        if record.exchange.request.is_some() {
            put(&mut event, "http_response", json!({ "code": status }));
        }
    }
    if let Some(folded) = &record.folded {
        put(&mut event, "count", json!(folded.count));
        put(&mut event, "start_time", json!(folded.since.as_millisecond()));
        put(&mut event, "end_time", json!(record.time.as_millisecond()));
    }
    let version = &*record.exchange.register_version.0;
    let is_applied = record.mode == Mode::Enforce;
    put(&mut event, "policy", json!({ "is_applied": is_applied, "name": "register", "version": version }));
    add_rule(&mut event, record.used.as_ref(), &cut);
    add_classification(&mut event, !record.findings.found.is_empty() || !record.categories.is_empty());
    put(&mut event, "unmapped", json!({ "transfer": unmapped::decision(record, &cut) }));
    finish(event, &cut)
}

/// The canonical JSON of an outcome.
pub(super) fn outcome(record: &OutcomeRecord, place: &Place<'_>) -> Vec<u8> {
    let cut = Cutter::default();
    let correlation = record.exchange.id.to_string();
    let id = outcome_uid(&correlation);
    let whole = record.end == End::Answered;

    let mut event =
        exchange(&record.exchange, &cut, record.time, activity(&record.exchange, Moment::Ended(record.end)));
    put(&mut event, "metadata", metadata(&record.exchange, place, &id, &correlation, record.end.as_str()));
    add_verdict(&mut event, record.decision, None);
    put(&mut event, "status_id", json!(if whole { 1 } else { 2 }));
    put(&mut event, "status", json!(if whole { "Success" } else { "Failure" }));
    put(&mut event, "severity_id", json!(severity(record.decision).0));
    put(&mut event, "severity", json!(severity(record.decision).1));
    put(&mut event, "duration", json!(u64::try_from(record.duration.as_millis()).unwrap_or(MAX_EXACT).min(MAX_EXACT)));
    put(&mut event, "traffic", traffic(record.bytes_out, record.bytes_in));
    if let Some(status) = record.status {
        put(&mut event, "status_code", json!(status.to_string()));
        if record.exchange.request.is_some() {
            put(&mut event, "http_response", json!({ "code": status }));
        }
    }
    add_rule(&mut event, record.used.as_ref(), &cut);
    add_classification(&mut event, record.used.as_ref().is_some_and(|used| !used.data_categories.is_empty()));
    put(&mut event, "unmapped", json!({ "transfer": unmapped::outcome(record, &cut) }));
    finish(event, &cut)
}

/// `metadata.uid` of the outcome of an exchange.
pub(super) fn outcome_uid(exchange: &str) -> String {
    format!("{exchange}.outcome")
}

/// Bytes towards the recipient and back, as OCSF has them.
pub(super) fn traffic(bytes_out: u64, bytes_in: u64) -> Value {
    let exact = |bytes: u64| bytes.min(MAX_EXACT);
    let bytes = exact(bytes_out.saturating_add(bytes_in));
    json!({ "bytes": bytes, "bytes_in": exact(bytes_in), "bytes_out": exact(bytes_out) })
}

/// What an activity is told for.
pub(super) enum Moment {
    Decided(Decision),
    Ended(End),
}

/// `activity_id` and its name for an end of a tunnel.
pub(super) fn tunnel_end(end: End) -> (u32, &'static str) {
    match end {
        End::Answered | End::ClientClosed | End::Shutdown => (2, "Close"),
        End::CutOrder | End::CutExpiry | End::CutRegister | End::CutLimit => (3, "Reset"),
        End::UpstreamFault | End::Timeout => (4, "Fail"),
        End::Interrupted => (0, "Unknown"),
    }
}

struct Activity {
    class: u32,
    class_name: &'static str,
    id: u32,
    name: &'static str,
}

fn activity(exchange: &Exchange, moment: Moment) -> Activity {
    let (class, class_name) =
        if exchange.request.is_some() { (4002, "HTTP Activity") } else { (4001, "Network Activity") };
    let (id, name) = match (&exchange.request, moment) {
        (Some(request), _) => method(&request.method),
        (None, Moment::Decided(Decision::Denial)) => (5, "Refuse"),
        (None, Moment::Decided(Decision::Permit | Decision::WouldDeny)) => (1, "Open"),
        (None, Moment::Ended(end)) => tunnel_end(end),
    };
    Activity { class, class_name, id, name }
}

fn method(method: &str) -> (u32, &'static str) {
    match method {
        "CONNECT" => (1, "Connect"),
        "DELETE" => (2, "Delete"),
        "GET" => (3, "Get"),
        "HEAD" => (4, "Head"),
        "OPTIONS" => (5, "Options"),
        "POST" => (6, "Post"),
        "PUT" => (7, "Put"),
        "TRACE" => (8, "Trace"),
        "PATCH" => (9, "Patch"),
        _ => (99, "Other"),
    }
}

/// Sets activity, its name and the type that follows from both.
pub(super) fn put_activity(event: &mut Map<String, Value>, class: u32, class_name: &str, id: u32, name: &str) {
    put(event, "activity_id", json!(id));
    put(event, "activity_name", json!(name));
    put(event, "type_uid", json!(class * 100 + id));
    put(event, "type_name", json!(format!("{class_name}: {name}")));
}

/// Sets the time in the forms that OCSF knows.
pub(super) fn put_time(event: &mut Map<String, Value>, time: Timestamp) {
    put(event, "time", json!(time.as_millisecond()));
    put(event, "time_dt", json!(time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()));
    put(event, "timezone_offset", json!(0));
}

/// Sets one member.
pub(super) fn put(event: &mut Map<String, Value>, name: &str, value: Value) {
    event.insert(name.to_owned(), value);
}

fn exchange(exchange: &Exchange, cut: &Cutter, time: Timestamp, activity: Activity) -> Map<String, Value> {
    let mut event = Map::new();
    put_time(&mut event, time);
    put(&mut event, "category_uid", json!(4));
    put(&mut event, "category_name", json!("Network Activity"));
    put(&mut event, "class_uid", json!(activity.class));
    put(&mut event, "class_name", json!(activity.class_name));
    put_activity(&mut event, activity.class, activity.class_name, activity.id, activity.name);
    add_endpoints(&mut event, exchange, cut);
    add_request(&mut event, exchange, cut);
    if let Some(tls) = &exchange.tls {
        put(&mut event, "tls", tls_shown(tls, cut));
    }
    if let Some(user) = &exchange.user {
        put(&mut event, "actor", json!({ "user": { "name": cut.text(user, 256) } }));
    }
    event
}

fn add_endpoints(event: &mut Map<String, Value>, exchange: &Exchange, cut: &Cutter) {
    let mut source = json!({ "ip": exchange.peer.ip().to_string(), "port": exchange.peer.port() });
    if let Some(id) = &exchange.source {
        source["name"] = json!(cut.text(id.as_str(), 128));
    }
    put(event, "src_endpoint", source);
    let proxy = json!({ "ip": exchange.proxy.ip().to_string(), "name": cut.text(&exchange.node, 128), "port": exchange.proxy.port() });
    put(event, "proxy_endpoint", proxy);
    let connection = cut.text(&exchange.connection, 64);
    let connection = json!({ "direction": "Outbound", "direction_id": 2, "protocol_name": "tcp", "protocol_num": 6, "uid": connection });
    put(event, "connection_info", connection);
    if let Some(destination) = &exchange.destination {
        put(event, "dst_endpoint", destination_shown(destination, exchange));
    }
}

fn destination_shown(destination: &Destination, exchange: &Exchange) -> Value {
    let mut shown = json!({ "port": destination.port });
    match &destination.host {
        Host::Name(name) => shown["hostname"] = json!(name.as_str()),
        Host::Address(address) => shown["ip"] = json!(address.to_string()),
    }
    if let Some(address) = exchange.address {
        shown["ip"] = json!(address.ip().to_string());
    }
    if let Some(country) = &exchange.country {
        shown["location"] = json!({ "country": country.as_str() });
    }
    shown
}

fn add_request(event: &mut Map<String, Value>, exchange: &Exchange, cut: &Cutter) {
    let Some(request) = &exchange.request else { return };
    let mut url = json!({ "path": cut.text(&request.path, 1_024) });
    if let Some(destination) = &exchange.destination {
        url["hostname"] = json!(destination.host.to_string());
        url["port"] = json!(destination.port);
        url["scheme"] = json!(destination.scheme.as_str());
    }
    let mut shown = json!({ "url": url, "uid": exchange.id.to_string(), "version": request.http_version });
    match method(&request.method) {
        // OCSF knows nine methods by name; another one is told in `unmapped.transfer.method`.
        (99, _) => {}
        _ => shown["http_method"] = json!(request.method),
    }
    if let Some(length) = request.length {
        shown["body_length"] = json!(length.min(MAX_EXACT));
    }
    put(event, "http_request", shown);
}

/// The largest integer that every JSON reader keeps exactly (RFC 7493).
const MAX_EXACT: u64 = (1 << 53) - 1;

fn tls_shown(tls: &TlsFacts, cut: &Cutter) -> Value {
    let mut shown = json!({ "version": format!("TLSv{}", tls.version.as_str()) });
    if let Some(sni) = &tls.sni {
        shown["sni"] = json!(cut.text(sni, 253));
    }
    shown
}

fn metadata(exchange: &Exchange, place: &Place<'_>, uid: &str, correlation: &str, code: &str) -> Value {
    let mut metadata = log_metadata(&exchange.node, place, uid, code);
    metadata["correlation_uid"] = json!(correlation);
    metadata["profiles"] = json!(["security_control", "network_proxy", "datetime", "data_classification", "host"]);
    metadata
}

/// The metadata that every record has.
pub(super) fn log_metadata(node: &str, place: &Place<'_>, uid: &str, code: &str) -> Value {
    json!({
        "version": "1.8.0",
        "product": { "name": "Tasrih", "uid": node, "vendor_name": "Tasrih", "version": env!("CARGO_PKG_VERSION") },
        "uid": uid,
        "sequence": place.sequence,
        "log_name": place.log_name,
        "logged_time": place.logged.as_millisecond(),
        "event_code": code,
        "is_truncated": false,
        "profiles": ["datetime"],
    })
}

fn add_verdict(event: &mut Map<String, Value>, decision: Decision, reason: Option<Reason>) {
    let (action_id, action) = match decision {
        Decision::Permit => (1, "Allowed"),
        Decision::Denial => (2, "Denied"),
        Decision::WouldDeny => (3, "Observed"),
    };
    let (disposition_id, disposition) = match (decision, reason) {
        (Decision::Permit, _) => (1, "Allowed"),
        (Decision::WouldDeny, _) => (17, "Logged"),
        (Decision::Denial, Some(Reason::TooFrequent | Reason::DayLimit | Reason::VolumeLimit)) => (25, "Rejected"),
        (Decision::Denial, Some(reason)) if reason.is_fault_of_the_way() => (27, "Error"),
        (Decision::Denial, Some(Reason::Busy | Reason::RecordUnavailable)) => (27, "Error"),
        (Decision::Denial, _) => (2, "Blocked"),
    };
    put(event, "action_id", json!(action_id));
    put(event, "action", json!(action));
    put(event, "disposition_id", json!(disposition_id));
    put(event, "disposition", json!(disposition));
    put(event, "is_alert", json!(decision != Decision::Permit));
}

fn severity(decision: Decision) -> (u32, &'static str) {
    match decision {
        Decision::Permit => (1, "Informational"),
        Decision::WouldDeny => (2, "Low"),
        Decision::Denial => (3, "Medium"),
    }
}

fn add_rule(event: &mut Map<String, Value>, used: Option<&super::Declaration>, cut: &Cutter) {
    if let Some(used) = used {
        put(event, "firewall_rule", json!({ "uid": cut.text(used.id.as_str(), 128), "type": used.kind.as_str() }));
    }
}

fn add_classification(event: &mut Map<String, Value>, personal: bool) {
    if personal && let Some(metadata) = event.get_mut("metadata") {
        metadata["data_classifications"] = json!([{ "category": "Personal", "category_id": 1 }]);
    }
}

fn finish(mut event: Map<String, Value>, cut: &Cutter) -> Vec<u8> {
    if cut.has_cut()
        && let Some(metadata) = event.get_mut("metadata")
    {
        metadata["is_truncated"] = json!(true);
    }
    bounded(Value::Object(event))
}

/// Members of `unmapped.transfer` that are given up, in this order, should a record be too long in spite of the bounds
/// of its texts.
const EXPENDABLE: [&str; 6] =
    ["candidates", "purposes", "categories_declared", "categories_found", "categories", "detail"];

/// The event's canonical JSON (RFC 8785), at most [`MAX_BYTES`] long.
pub(super) fn bounded(mut event: Value) -> Vec<u8> {
    let mut json = canonical(&event);
    let mut expendable = EXPENDABLE.iter();
    while json.len() > MAX_BYTES
        && let Some(member) = expendable.next()
    {
        event["metadata"]["is_truncated"] = json!(true);
        if let Some(transfer) = event["unmapped"]["transfer"].as_object_mut() {
            transfer.remove(*member);
        }
        json = canonical(&event);
    }
    json
}

/// RFC 8785 by serde_json alone, which is fifteen times as fast as a canonicaliser for any JSON: its maps are ordered
/// by the bytes of their keys, ours are ASCII, where that is the order of UTF-16 code units; our numbers are integers
/// that a double holds; and it escapes in texts what RFC 8785 escapes. The tests compare every record with a
/// canonicaliser's.
fn canonical(event: &Value) -> Vec<u8> {
    serde_json::to_vec(event).expect("a value made of maps, lists, texts and finite numbers is JSON")
}

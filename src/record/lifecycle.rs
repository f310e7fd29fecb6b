//! The OCSF 1.8.0 event of what happened to the proxy itself: class 6002 Application Lifecycle.

use serde_json::{Map, Value, json};

use super::event::{Place, log_metadata, put, put_activity, put_time};
use super::{Lifecycle, LifecycleRecord, Ordered, Origin, RecognisedFlow, Since, past};
use crate::register::Version;

const CLASS: u32 = 6002;
const CLASS_NAME: &str = "Application Lifecycle";

/// The event of a lifecycle record.
pub(super) fn event(record: &LifecycleRecord, place: &Place<'_>) -> Value {
    let Telling { code, activity, severity, message, ours } = tell(&record.event);
    let mut event = Map::new();
    put_time(&mut event, record.time);
    put(&mut event, "category_uid", json!(6));
    put(&mut event, "category_name", json!("Application Activity"));
    put(&mut event, "class_uid", json!(CLASS));
    put(&mut event, "class_name", json!(CLASS_NAME));
    put_activity(&mut event, CLASS, CLASS_NAME, activity.0, activity.1);
    put(&mut event, "severity_id", json!(severity.0));
    put(&mut event, "severity", json!(severity.1));
    put(&mut event, "message", json!(message));
    put(
        &mut event,
        "app",
        json!({ "name": "Tasrih", "uid": &*record.node, "vendor_name": "Tasrih", "version": env!("CARGO_PKG_VERSION") }),
    );
    let uid = format!("{}/{}", place.log_name, place.sequence);
    put(&mut event, "metadata", log_metadata(&record.node, place, &uid, code));
    let mut ours = ours;
    ours["record"] = json!(code);
    put(&mut event, "unmapped", json!({ "transfer": ours }));
    Value::Object(event)
}

struct Telling {
    /// Our word for it: `metadata.event_code`.
    code: &'static str,
    activity: (u32, &'static str),
    severity: (u32, &'static str),
    message: String,
    ours: Value,
}

const INFORMATIONAL: (u32, &str) = (1, "Informational");
const MEDIUM: (u32, &str) = (3, "Medium");
const HIGH: (u32, &str) = (4, "High");
const OTHER: (u32, &str) = (99, "Other");

fn tell(event: &Lifecycle) -> Telling {
    match event {
        Lifecycle::Start { interrupted } => Telling {
            code: "start",
            activity: (3, "Start"),
            severity: INFORMATIONAL,
            message: format!("started; {interrupted} exchanges of an earlier process were closed as interrupted"),
            ours: json!({ "interrupted": interrupted }),
        },
        Lifecycle::Stop => Telling {
            code: "stop",
            activity: (4, "Stop"),
            severity: INFORMATIONAL,
            message: "stopped in order".to_owned(),
            ours: json!({}),
        },
        Lifecycle::RegisterLoaded { version, transfers, warnings, origin, since, kept, open_notices } => Telling {
            code: "register-loaded",
            activity: OTHER,
            severity: if since.weakens() { MEDIUM } else { INFORMATIONAL },
            message: format!("a register with {transfers} transfers took effect{}", since.told()),
            ours: with_since(
                with_origin(
                    json!({
                        "register_version": &*version.0,
                        "transfers": transfers,
                        "warnings": warnings,
                        "kept": kept,
                        "open_notices": open_notices,
                    }),
                    origin,
                ),
                since,
            ),
        },
        Lifecycle::RegisterRefused { in_force, faults, origin } => Telling {
            code: "register-refused",
            activity: OTHER,
            severity: HIGH,
            message: format!("policy files with {faults} faults were refused; the register in force stays"),
            ours: with_origin(json!({ "register_version": &*in_force.0, "faults": faults }), origin),
        },
        Lifecycle::Heartbeat(beat) => Telling {
            code: "heartbeat",
            activity: OTHER,
            severity: INFORMATIONAL,
            message: format!(
                "{} permits, {} denials and {} would-denies since start",
                beat.permits, beat.denials, beat.would_denials
            ),
            ours: json!({
                "register_version": &*beat.register_version.0,
                "permits": beat.permits,
                "denials": beat.denials,
                "would_denials": beat.would_denials,
                "open": beat.open,
                "clock_ahead_ms": u64::try_from(beat.clock_ahead.as_millis()).unwrap_or(u64::MAX >> 11),
            }),
        },
        Lifecycle::TornTail { segment, offset, bytes } => Telling {
            code: "torn-tail",
            activity: OTHER,
            severity: MEDIUM,
            message: format!("{bytes} bytes that were never acknowledged were cut from {segment} at offset {offset}"),
            ours: json!({ "segment": segment, "offset": offset, "bytes": bytes }),
        },
        Lifecycle::ClockStep { by } => Telling {
            code: "clock-step",
            activity: OTHER,
            severity: HIGH,
            message: format!("the wall clock moved by {} seconds against the monotonic clock", by.as_secs()),
            ours: json!({ "step_ms": i64::try_from(by.as_millis()).unwrap_or(i64::MAX >> 11) }),
        },
        Lifecycle::FlowRecognised(flow) => Telling {
            code: past::FLOW_RECOGNISED,
            activity: OTHER,
            severity: HIGH,
            message: format!(
                "an undeclared flow recurs every {} s: {} to {}",
                flow.period.as_secs().max(1),
                flow.source,
                flow.destination
            ),
            ours: recognised(flow),
        },
        Lifecycle::Ordered(ordered) => ordered_telling(ordered),
        Lifecycle::RoomAgain { refused } => Telling {
            code: "room-again",
            activity: OTHER,
            severity: HIGH,
            message: format!("{refused} records were refused for lack of room; there is room again"),
            ours: json!({ "refused": refused }),
        },
    }
}

fn ordered_telling(ordered: &Ordered) -> Telling {
    let Ordered { authority, reference, lifts, scope, by_command, taken, version, origin } = ordered;
    let mut ours = json!({
        "authority": authority,
        "ref": reference,
        "scope": scope,
        "means": if *by_command { "command" } else { "files" },
        "taken": taken.as_millisecond(),
        "register_version": &*version.0,
    });
    let (code, severity, message) = match lifts {
        None => ("order-in-force", HIGH, format!("order {reference} of {authority} is in force: it stops {scope}")),
        Some(lifts) => {
            ours["lifts"] = json!(lifts);
            let message = format!("{reference} of {authority} lifts {lifts}, which stopped {scope}");
            ("order-lifted", HIGH, message)
        }
    };
    Telling { code, activity: OTHER, severity, message, ours: with_origin(ours, origin) }
}

fn recognised(flow: &RecognisedFlow) -> Value {
    let mut ours = json!({
        "flow": flow.flow,
        "source": flow.source,
        "destination": flow.destination,
        "period_ms": u64::try_from(flow.period.as_millis()).unwrap_or(u64::MAX >> 11),
        "jitter_percent": flow.jitter_percent,
        "exchanges": flow.count,
        "first": flow.first.as_millisecond(),
        "reason": flow.reason.as_str(),
    });
    if let Some(recipient) = &flow.recipient {
        ours["recipient"] = json!(recipient);
    }
    ours
}

/// Adds what a register follows, and in what it differs.
fn with_since(mut ours: Value, since: &Since) -> Value {
    if let Some(previous) = since.previous() {
        ours["previous_version"] = json!(&*previous.0);
    }
    if let Since::Changed(brief) = since {
        ours["diff"] = brief.to_json();
    }
    ours
}

impl Since {
    /// Version of the register before.
    fn previous(&self) -> Option<&Version> {
        match self {
            Since::First => None,
            Since::Same(version) | Since::Unknown(version) => Some(version),
            Since::Changed(brief) => Some(&brief.previous),
        }
    }

    /// Whether it is known to protect less than the one before.
    pub fn weakens(&self) -> bool {
        matches!(self, Since::Changed(brief) if brief.weakens())
    }

    fn told(&self) -> String {
        match self {
            Since::First | Since::Same(_) => String::new(),
            Since::Changed(brief) if brief.weakens() => {
                format!("; {}; it protects less than the one before: {}", brief.transfers, brief.weaker)
            }
            Since::Changed(brief) => format!("; {}", brief.transfers),
            Since::Unknown(_) => "; the one before is not kept, so the difference is not known".to_owned(),
        }
    }
}

/// Adds who changed the policy files, where anything is known of that.
fn with_origin(mut ours: Value, origin: &Origin) -> Value {
    let Origin { file, owner, commit, brought_by, asked_by } = origin;
    let told = [
        ("file", file.as_ref().map(|file| json!(file))),
        ("owner_uid", owner.map(|owner| json!(owner))),
        ("commit", commit.as_ref().map(|commit| json!(commit))),
        ("brought_by", brought_by.as_ref().map(|name| json!(name))),
        ("asked_by_uid", asked_by.as_ref().map(|asker| json!(asker.uid))),
        ("asked_by", asked_by.as_ref().and_then(|asker| asker.user.as_ref()).map(|user| json!(user))),
    ];
    let told: Map<String, Value> = told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    if !told.is_empty() {
        ours["origin"] = Value::Object(told);
    }
    ours
}

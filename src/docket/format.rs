//! The docket's file: lines that a person can read, and a last line that vouches for them.
//!
//! ```text
//! tasrih orders 1
//! {"act":"suspend","at":"2026-11-24T15:00:00Z","authority":"CNDP", …}
//! {"act":"lift", …}
//! {"noted":2}
//! end 3 8f0c…
//! ```
//!
//! The last line has the number of lines between it and the first one, and the SHA-256 of everything before it:
//! `head -n -1 orders | sha256sum` says the same. It is what tells a file that was cut at a line's end from a whole one.

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::{Act, Entry, Means, Way};
use crate::record::{Asker, Origin};
use crate::register::Scope;

/// What the first line says in this release.
const FIRST: &str = "tasrih orders 1";

/// The file of these entries, of which so many from the beginning have their record.
pub(super) fn write(entries: &[Entry], noted: usize) -> Vec<u8> {
    let mut text = format!("{FIRST}\n");
    for entry in entries {
        text.push_str(&as_json(entry).to_string());
        text.push('\n');
    }
    text.push_str(&format!("{}\n", json!({ "noted": noted })));
    let digest = hex(&text);
    text.push_str(&format!("end {} {digest}\n", entries.len() + 1));
    text.into_bytes()
}

/// The entries, and how many have their record.
///
/// # Errors
/// The line that is damaged, and how.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Entry>, usize), (usize, String)> {
    let text = std::str::from_utf8(bytes).map_err(|_| (1, "it is no text".to_owned()))?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some((last, lines)) = lines.split_last() else { return Err((1, "it is empty".to_owned())) };
    let before = &text[..text.len() - last.len()];
    let listed = lines.len().saturating_sub(1);
    if *last != format!("end {listed} {}\n", hex(before)) {
        let (line, what) = match last.starts_with("end ") {
            true => (lines.len() + 1, "the digest of what is before it differs"),
            false => (lines.len() + 1, "the last line is missing: the file was cut"),
        };
        return Err((line, what.to_owned()));
    }
    let trimmed = |line: &&str| line.trim_end_matches('\n').to_owned();
    let mut lines = lines.iter().map(trimmed).enumerate();
    match lines.next() {
        Some((_, first)) if first == FIRST => {}
        first => {
            let found = first.map(|(_, line)| line.chars().take(40).collect::<String>()).unwrap_or_default();
            return Err((
                1,
                format!("it says {found:?}, and this release reads {FIRST:?}; use the release that wrote it"),
            ));
        }
    }
    let (mut entries, mut noted) = (Vec::new(), None);
    for (position, line) in lines {
        let at_fault = |what: &str| (position + 1, what.to_owned());
        let json: Json = serde_json::from_str(&line).map_err(|_| at_fault("it is no JSON"))?;
        match json.get("noted") {
            Some(count) => noted = count.as_u64().and_then(|count| usize::try_from(count).ok()),
            None => entries.push(entry(&json).ok_or_else(|| at_fault("it is no order of this release"))?),
        }
    }
    match noted.filter(|noted| *noted <= entries.len()) {
        Some(noted) => Ok((entries, noted)),
        None => Err((listed + 1, "it does not say which records were written".to_owned())),
    }
}

fn as_json(entry: &Entry) -> Json {
    let Entry { at, way, authority, reference, date, note, act, owed } = entry;
    let Way { means, origin: Origin { file, owner, commit, brought_by, asked_by } } = way;
    let means = match means {
        Means::Files => "files",
        Means::Command => "command",
    };
    let (word, scope, lifts) = match act {
        Act::Suspend(scope) => ("suspend", Some(scope.to_string()), None),
        Act::Lift(lifts) => ("lift", None, Some(lifts)),
    };
    let all = [
        ("at", Some(json!(at.to_string()))),
        ("means", Some(json!(means))),
        ("authority", Some(json!(authority))),
        ("ref", Some(json!(reference))),
        ("date", date.map(|date| json!(date.to_string()))),
        ("note", note.as_ref().map(|note| json!(note))),
        ("act", Some(json!(word))),
        ("scope", scope.map(|scope| json!(scope))),
        ("lifts", lifts.map(|lifts| json!(lifts))),
        ("owed", owed.then(|| json!(true))),
        ("file", file.as_ref().map(|file| json!(file))),
        ("owner_uid", owner.map(|owner| json!(owner))),
        ("commit", commit.as_ref().map(|commit| json!(commit))),
        ("brought_by", brought_by.as_ref().map(|by| json!(by))),
        ("asked_by_uid", asked_by.as_ref().map(|asker| json!(asker.uid))),
        ("asked_by", asked_by.as_ref().and_then(|asker| asker.user.as_ref()).map(|user| json!(user))),
    ];
    let put: Map<String, Json> = all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    Json::Object(put)
}

fn entry(json: &Json) -> Option<Entry> {
    let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let number = |key: &str| json.get(key).and_then(Json::as_u64).and_then(|number| u32::try_from(number).ok());
    let act = match text("act")?.as_str() {
        "suspend" => Act::Suspend(Scope::parse(&text("scope")?).ok()?),
        "lift" => Act::Lift(text("lifts")?),
        _ => return None,
    };
    let means = match text("means")?.as_str() {
        "files" => Means::Files,
        "command" => Means::Command,
        _ => return None,
    };
    let date = match text("date") {
        Some(date) => Some(date.parse().ok()?),
        None => None,
    };
    let asked_by = number("asked_by_uid").map(|uid| Asker { uid, user: text("asked_by") });
    let origin = Origin {
        file: text("file"),
        owner: number("owner_uid"),
        commit: text("commit"),
        brought_by: text("brought_by"),
        asked_by,
    };
    Some(Entry {
        at: text("at")?.parse::<Timestamp>().ok()?,
        way: Way { means, origin },
        authority: text("authority")?,
        reference: text("ref")?,
        date,
        note: text("note"),
        act,
        owed: json.get("owed").and_then(Json::as_bool).unwrap_or(false),
    })
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

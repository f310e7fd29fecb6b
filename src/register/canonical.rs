//! The canonical form of a register, and its version: RFC 8785 JSON of what was written, and the SHA-256 of that.
//!
//! Equal meaning gives an equal version: neither the order of keys, entries and lists, nor the split into files, nor
//! quoting, nor a default written out changes it. Values are normalised where they are read (`scalar.rs`), lists sorted
//! where they are put together (`fields.rs`, `compile.rs`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::Version;

/// The canonical text of one entry.
pub fn entry(form: Json) -> String {
    serde_json_canonicalizer::to_string(&form)
        .expect("a JSON value with text keys and whole numbers below 2^53 has a canonical form")
}

/// The canonical text of a list of entries, which come in their canonical order.
pub fn list<'t>(entries: impl Iterator<Item = &'t str>) -> String {
    let mut text = String::from("[");
    for (position, entry) in entries.enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(entry);
    }
    text.push(']');
    text
}

/// The canonical text of a register whose keys have these canonical texts, and its SHA-256 in hex. A list without entries
/// is left out: an absent key and an empty list of declarations mean the same.
pub fn version(keys: BTreeMap<&str, String>) -> (Arc<str>, Version) {
    // The keys are words in lower case, whose order as bytes is that of RFC 8785.
    let mut text = String::with_capacity(keys.iter().map(|(key, value)| key.len() + value.len() + 4).sum());
    for (key, value) in keys.into_iter().filter(|(_, value)| value != "[]") {
        text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
        text.push_str(key);
        text.push_str("\":");
        text.push_str(&value);
    }
    text.push('}');
    let version = digest(&text);
    (text.into(), version)
}

/// The version that a canonical text has.
pub fn digest(text: &str) -> Version {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        write!(hex, "{byte:02x}").expect("writing into a string does not fail");
    }
    Version(hex.into())
}

//! The canonical form of a register, and its version: RFC 8785 JSON of what was written, and the SHA-256 of that.
//!
//! Equal meaning gives an equal version: neither the order of keys, entries and lists, nor the split into files, nor
//! quoting, nor a default written out changes it. Values are normalised where they are read (`scalar.rs`), lists sorted
//! where they are put together (`fields.rs`, `compile.rs`).

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::Version;

/// The canonical text of a register's form, and its SHA-256 in hex.
pub fn version(form: Map<String, Json>) -> (Arc<str>, Version) {
    let text = serde_json_canonicalizer::to_string(&Json::Object(form))
        .expect("a JSON value with text keys and whole numbers below 2^53 has a canonical form");
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in digest {
        write!(hex, "{byte:02x}").expect("writing into a string does not fail");
    }
    (text.into(), Version(hex.into()))
}

/// A form without the lists that have no entry: an absent key and an empty list of declarations mean the same.
pub fn without_empty(form: Map<String, Json>) -> Map<String, Json> {
    form.into_iter().filter(|(_, value)| value.as_array().is_none_or(|entries| !entries.is_empty())).collect()
}

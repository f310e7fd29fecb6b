//! The manifest of a kept register: JSON, written once, read by every later release.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::register::Version;
use crate::register::compile::Text;

/// What `schema` says in this release.
const SCHEMA: &str = "tasrih/register-kept/1";

/// What a register was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `tasrih/register-kept/1`; a later release may add members.
    pub schema: String,
    /// SHA-256 of the register's canonical form, in hex: the name of the manifest.
    pub version: String,
    /// When it was first put in force.
    pub first: Timestamp,
    /// The release that kept it; another one might read its files otherwise.
    pub release: String,
    /// How much of a body was held, in bytes.
    pub hold_limit: u64,
    /// The policy files, in the order in which they were read.
    pub files: Vec<File>,
}

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path as faults cite it.
    pub name: String,
    /// Its content's name in `texts/`.
    pub sha256: String,
    /// Length of its content.
    pub bytes: u64,
}

impl Manifest {
    pub(super) fn new(version: &Version, source: &Source, named: &[(String, &Text)], first: Timestamp) -> Manifest {
        let file = |(sha256, text): &(String, &Text)| File {
            name: text.name.clone(),
            sha256: sha256.clone(),
            bytes: text.text.len() as u64,
        };
        Manifest {
            schema: SCHEMA.to_owned(),
            version: version.0.to_string(),
            first,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            hold_limit: source.hold_limit,
            files: named.iter().map(file).collect(),
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and numbers have a JSON form")
    }
}

//! The manifest of a kept register: JSON, written once, read by every later release.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::register::compile::Text;
use crate::register::{Order, OrderAction, Scope, Version};

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
    /// The suspensions that were ever taken by then, which stand beside the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Suspension>,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Who ordered it.
    pub authority: String,
    /// What the authority calls it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What it stops, as a policy file writes it.
    pub scope: String,
    /// Whether it was lifted.
    pub lifted: bool,
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

fn suspensions(remembered: &[Order]) -> Vec<Suspension> {
    let suspension = |order: &Order| {
        let OrderAction::Suspend { scope, lifted } = &order.action else { return None };
        let (authority, reference) = (order.authority.clone(), order.reference.clone());
        Some(Suspension { authority, reference, scope: scope.to_string(), lifted: *lifted })
    };
    remembered.iter().filter_map(suspension).collect()
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
            orders: suspensions(&source.remembered),
        }
    }

    /// That of the register with these orders beside the same files.
    pub(super) fn with_orders(self, version: &Version, remembered: &[Order], first: Timestamp) -> Manifest {
        Manifest { version: version.0.to_string(), first, orders: suspensions(remembered), ..self }
    }

    /// The orders that stand beside the files; `None` where one of them is damaged.
    pub(super) fn remembered(&self) -> Option<Vec<Order>> {
        let order = |kept: &Suspension| {
            let action = OrderAction::Suspend { scope: Scope::parse(&kept.scope).ok()?, lifted: kept.lifted };
            let (authority, reference) = (kept.authority.clone(), kept.reference.clone());
            Some(Order { authority, reference, date: None, action })
        };
        self.orders.iter().map(order).collect()
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and numbers have a JSON form")
    }
}

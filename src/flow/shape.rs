//! What records tell of the exchanges of one flow beside who, where and when: the shape of its requests.

use std::collections::BTreeSet;

use crate::record::past::{Kind, Past};

/// Paths, methods and types remembered of one flow.
const MOST_SHAPES: usize = 8;

/// What records tell of a flow beside its [`Flow`].
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub(super) scheme: Option<String>,
    pub(super) methods: BTreeSet<String>,
    pub(super) paths: BTreeSet<String>,
    pub(super) content_types: BTreeSet<String>,
    pub(super) largest: u64,
    pub(super) country: Option<String>,
    pub(super) users: BTreeSet<String>,
    pub(super) is_tunnel: bool,
}

impl Shape {
    /// Adds what one decision of the flow tells.
    pub fn take(&mut self, past: &Past) {
        if past.kind != Kind::Decision {
            return;
        }
        let seen = &past.seen;
        let add = |set: &mut BTreeSet<String>, text: &String| {
            if set.len() < MOST_SHAPES {
                set.insert(text.clone());
            }
        };
        if let Some((method, path)) = past.request.as_ref().filter(|(method, _)| method != "CONNECT") {
            add(&mut self.methods, method);
            add(&mut self.paths, path);
        }
        self.is_tunnel |= past.request.is_none();
        seen.content_type.iter().for_each(|kind| add(&mut self.content_types, kind));
        seen.user.iter().for_each(|user| add(&mut self.users, user));
        self.largest = self.largest.max(past.body.map_or(0, |(size, _)| size));
        self.scheme = seen.scheme.clone().or(self.scheme.take());
        self.country = seen.country.clone().or(self.country.take());
    }
}

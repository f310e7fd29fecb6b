//! What the wildcards of a register stand for, in words: an officer signs what a pattern covers, not how it is written.

use super::{Endpoint, From, Register, Requests};
use crate::destination::HostPattern;

/// A wildcard of an entry and its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    /// `transfer cctv-to-ministry-a`.
    pub entry: String,
    /// The pattern in its canonical form.
    pub pattern: String,
    /// What it covers.
    pub meaning: String,
}

impl Register {
    /// Every wildcard of the register, entry by entry.
    pub fn wildcards(&self) -> Vec<Wildcard> {
        let mut found = Vec::new();
        for recipient in &self.recipients {
            hosts(&format!("recipient {}", recipient.id), &recipient.endpoints, &mut found);
        }
        for transfer in &self.transfers {
            let entry = format!("transfer {}", transfer.id);
            self.sources(&entry, &transfer.from, &mut found);
            requests(&entry, &transfer.requests, &mut found);
        }
        for allowance in &self.allowances {
            let entry = format!("allowance {}", allowance.id);
            hosts(&entry, &allowance.to, &mut found);
            self.sources(&entry, &allowance.from, &mut found);
            requests(&entry, &allowance.requests, &mut found);
        }
        found
    }

    fn sources(&self, entry: &str, from: &From, found: &mut Vec<Wildcard>) {
        if *from != From::Any {
            return;
        }
        let ids: Vec<&str> = self.sources.iter().map(|source| source.id.as_str()).collect();
        let meaning = match ids.as_slice() {
            [] => "every declared source, of which there is none".to_owned(),
            ids => format!("every declared source, now {}", ids.join(", ")),
        };
        found.push(Wildcard { entry: entry.to_owned(), pattern: "from: any".to_owned(), meaning });
    }
}

fn hosts(entry: &str, endpoints: &[Endpoint], found: &mut Vec<Wildcard>) {
    for endpoint in endpoints {
        let meaning = match &endpoint.host {
            HostPattern::Exact(_) => continue,
            HostPattern::Suffix(name) => {
                format!("a.{name}, a.b.{name} and every other name below {name}, not {name} itself")
            }
            HostPattern::Any => "every host".to_owned(),
        };
        let pattern = format!("host {} port {}", endpoint.host, endpoint.port);
        found.push(Wildcard { entry: entry.to_owned(), pattern, meaning });
    }
}

fn requests(entry: &str, requests: &Requests, found: &mut Vec<Wildcard>) {
    let mut add = |pattern: String, meaning: String| found.push(Wildcard { entry: entry.to_owned(), pattern, meaning });
    for path in &requests.paths {
        let text = path.to_string();
        if text.contains('*') {
            add(format!("path {text}"), path_meaning(&text));
        }
    }
    for content_type in &requests.content_types {
        let text = content_type.to_string();
        if let Some(family) = text.strip_suffix("/*") {
            add(format!("content type {text}"), format!("every type of {family}"));
        }
    }
}

fn path_meaning(text: &str) -> String {
    match text.strip_suffix("/**") {
        Some("") => "every path".to_owned(),
        Some(folder) if !folder.contains('*') => format!("{folder} and every path below it"),
        _ if text.contains("**") => "`**` for any number of whole segments, `*` for any text within one".to_owned(),
        _ => "`*` for any text within one segment".to_owned(),
    }
}

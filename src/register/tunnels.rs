//! Interception and what follows from it: `required` against `never`, rules that cannot be kept inside a tunnel, and
//! the one exception that lets an allowance pass unread.

use super::checks::sources_of;
use super::compile::Declared;
use super::fault::{Collector, Problem};
use super::fields::Places;
use super::lint::Lint;
use super::{Allowance, Endpoint, From, Interception, Source};
use crate::destination::{HostPattern, Scheme};

/// Checks every pair of a source and a destination that a transfer or an allowance joins.
pub fn check(declared: &Declared, collector: &Collector<'_>) {
    let all = declared.sources.entries().map(|(source, _)| source.as_ref());
    let decided: Vec<&Source> = all.filter(|source| source.interception != Interception::Allowed).collect();
    for (transfer, places) in declared.transfers.entries() {
        let joint = Joint {
            what: "a transfer",
            from: &transfer.from,
            endpoints: &transfer.to.endpoints,
            places,
            declared,
            decided: &decided,
            collector,
        };
        joint.conflicts();
        joint.rules_in_tunnels();
    }
    for (allowance, places) in declared.allowances.entries() {
        let joint = Joint {
            what: "an allowance",
            from: &allowance.from,
            endpoints: &allowance.to,
            places,
            declared,
            decided: &decided,
            collector,
        };
        joint.conflicts();
        match &allowance.unread {
            Some(_) => joint.unread(allowance),
            None => joint.unread_allowance(),
        }
    }
}

/// One side of a register's permission beside the other: its sources and its destinations.
struct Joint<'d> {
    what: &'static str,
    from: &'d From,
    endpoints: &'d [Endpoint],
    places: &'d Places,
    declared: &'d Declared,
    /// The sources that say something else than `allowed`. Few do, and only these can contradict a destination.
    decided: &'d [&'d Source],
    collector: &'d Collector<'d>,
}

/// Rules about requests, which nobody sees inside a tunnel.
const REQUEST_RULES: [&str; 4] = ["requests", "limits.min_interval", "limits.max_per_day", "limits.max_body"];

impl<'d> Joint<'d> {
    /// The destinations that need interception to be read, or cannot be.
    fn encrypted(&self) -> impl Iterator<Item = &'d Endpoint> + Clone {
        self.endpoints.iter().filter(|endpoint| endpoint.scheme != Scheme::Http)
    }

    /// Those of its sources that say something else than `allowed`.
    fn decided(&self) -> Vec<&'d Source> {
        match self.from {
            From::Any => self.decided.to_vec(),
            From::Sources(_) => {
                let sources = sources_of(self.from, self.declared).into_iter();
                sources.filter(|source| source.interception != Interception::Allowed).collect()
            }
        }
    }

    fn tunnel(&self) -> Option<(&'d Source, &'d Endpoint)> {
        let never = self.encrypted().any(|endpoint| endpoint.interception == Interception::Never);
        let sources = if never { sources_of(self.from, self.declared) } else { self.decided() };
        let pairs = sources.iter().flat_map(|source| self.encrypted().map(move |endpoint| (*source, endpoint)));
        let is_tunnel = |(source, endpoint): &(&Source, &Endpoint)| {
            [source.interception, endpoint.interception].contains(&Interception::Never)
        };
        pairs.into_iter().find(is_tunnel)
    }

    fn conflicts(&self) {
        let decided = self.decided();
        for (source, endpoint) in
            decided.iter().flat_map(|source| self.encrypted().map(move |endpoint| (*source, endpoint)))
        {
            let (required, never) = match (source.interception, endpoint.interception) {
                (Interception::Required, Interception::Never) => {
                    (format!("source `{}`", source.id), format!("`{}`", endpoint.host))
                }
                (Interception::Never, Interception::Required) => {
                    (format!("`{}`", endpoint.host), format!("source `{}`", source.id))
                }
                _ => continue,
            };
            let message = format!(
                "{required} says `interception: required`, and {never} says `never`: {} cannot join them",
                self.what
            );
            self.collector.fault(
                self.places.of("from"),
                Problem::new(message).hint("change one of the two, or leave the source out of `from`"),
            );
        }
    }

    fn rules_in_tunnels(&self) {
        let Some((source, endpoint)) = self.tunnel() else { return };
        for rule in REQUEST_RULES {
            let Some(place) = self.places.written(rule) else { continue };
            let message = format!(
                "`{rule}` cannot be enforced: source `{}` reaches `{}` through a tunnel",
                source.id, endpoint.host
            );
            let hint = "leave it out, or allow interception; `max_bytes_per_day` and `max_duration` hold in a tunnel";
            self.collector.fault(place, Problem::new(message).hint(hint));
        }
    }

    /// An allowance passes only what was read.
    fn unread_allowance(&self) {
        let Some((source, endpoint)) = self.tunnel() else { return };
        let message = format!(
            "source `{}` reaches `{}` through a tunnel, and an allowance passes only what was read",
            source.id, endpoint.host
        );
        let problem = Problem::new(message);
        // Under `from: [any]` it works for the other sources; a listed source, or a destination, says it on purpose.
        match self.from {
            From::Any if endpoint.interception != Interception::Never => {
                self.collector.lint(
                    self.places.of("from"),
                    Lint::TunnelRefused,
                    problem.hint("it is refused for that source with `uninspectable`"),
                );
            }
            From::Any | From::Sources(_) => {
                self.collector
                    .fault(self.places.of("to"), problem.hint("allow interception, or write an `unread` exception"));
            }
        }
    }

    fn unread(&self, allowance: &Allowance) {
        for (position, endpoint) in self.endpoints.iter().enumerate() {
            let place = self.places.of(&format!("to[{position}].host"));
            if !matches!(endpoint.host, HostPattern::Exact(_)) {
                let message = format!("`unread` is for named hosts, and `{}` is none", endpoint.host);
                self.collector.fault(place, Problem::new(message).hint("name the hosts"));
            }
            if endpoint.scheme == Scheme::Http {
                let message = format!(
                    "`unread` is for tunnels, and `{}` has `scheme: http`, which is always read",
                    endpoint.host
                );
                self.collector.fault(place, Problem::new(message).hint("give it an allowance of its own"));
            }
        }
        let sources = sources_of(self.from, self.declared).into_iter();
        for source in sources.filter(|source| !source.carries.is_empty()) {
            let message = format!("`unread` is never for a source with `carries`, and `{}` is one", source.id);
            self.collector
                .fault(self.places.of("from"), Problem::new(message).hint("list the other sources in `from`"));
        }
        self.rules_in_tunnels();
        let until = allowance.unread.as_ref().map_or_else(String::new, |unread| unread.until.to_string());
        let hosts: Vec<String> = allowance.to.iter().map(|endpoint| endpoint.host.to_string()).collect();
        let message = format!("traffic to {} is not inspected until {until}", hosts.join(", "));
        self.collector.lint(
            self.places.of("unread"),
            Lint::NotInspected,
            Problem::new(message).hint("it is counted as not inspected everywhere"),
        );
        if self.tunnel().is_none() {
            let message = "`unread` has no effect: neither a source nor a destination says `interception: never`";
            self.collector.lint(
                self.places.of("unread"),
                Lint::NoEffect,
                Problem::new(message).hint("write `interception: never` on the destination"),
            );
        }
    }
}

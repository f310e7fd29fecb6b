//! The machine: its clock, the disk under the state folder, the name service.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::Line;
use crate::audit;
use crate::cli::probe::roots;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Resolver, Settings};
use crate::destination::{Host, HostName, HostPattern};
use crate::proxy::error::told;
use crate::register::Register;
use crate::tls::Trust;
use crate::upstream::{NameServers, Resolve as _, ResolveFault, StaticHosts, SystemResolver};

/// Free bytes below which decisions will soon be refused: two segments of the log.
const ROOM_SHORT: u64 = 128 << 20;
/// Free bytes below which somebody should look.
const ROOM_LOW: u64 = 1 << 30;
/// Declared names that are asked for until one resolves.
const NAMES: usize = 4;
/// Syncs that are measured.
const SYNCS: usize = 5;
/// Every exchange that is let through waits for one sync: a disk above this is slow, one above the next unusable.
const SYNC_SLOW: Duration = Duration::from_millis(50);
const SYNC_UNUSABLE: Duration = Duration::from_secs(1);
/// systemd-timesyncd makes this file once the clock was set from the network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

pub(super) fn examine(settings: &Settings) -> Vec<Line> {
    vec![clock(&settings.state), room(&settings.state), sync_time(&settings.state)]
}

/// The clock against the newest record: decisions are never made before it.
fn clock(state: &Path) -> Line {
    let now = SystemClock::default().wall();
    let shown = now.strftime("%Y-%m-%d %H:%M:%S UTC");
    let Some(newest) = newest_record(state) else {
        return Line::warning("clock", format!("{shown}; no record to compare it with"), "start the proxy once");
    };
    let behind = newest.duration_since(now);
    if behind.as_secs() > 1 {
        let found = format!("{shown} is {} s behind the newest record", behind.as_secs());
        return Line::fault("clock", found, "set it from the network (`timedatectl set-ntp true`, or chrony)");
    }
    let source = if Path::new(SYNCHRONISED).exists() { "set from the network" } else { "not set by systemd-timesyncd" };
    Line::ok("clock", format!("{shown}, not behind the newest record; {source}"))
}

fn newest_record(state: &Path) -> Option<Timestamp> {
    let newest = audit::read_newest(state).ok()?.map_while(Result::ok).last()?;
    let record: Value = serde_json::from_slice(&newest).ok()?;
    Timestamp::from_millisecond(record["time"].as_i64()?).ok()
}

fn room(state: &Path) -> Line {
    let shown = state.display();
    match rustix::fs::statvfs(state) {
        Err(fault) => Line::fault("disk", format!("{shown}: {fault}"), "name the state folder with --state"),
        Ok(disk) => {
            let free = audit::storage::available(&disk);
            let found = format!("{} MiB free under {shown}", free >> 20);
            let full = disk.f_files > 0 && disk.f_favail < 1000;
            match free {
                _ if full => {
                    Line::fault("disk", format!("{} inodes free under {shown}", disk.f_favail), "remove files")
                }
                ..ROOM_SHORT => Line::fault("disk", found, "make room: without it every exchange is refused"),
                ROOM_SHORT..ROOM_LOW => Line::warning("disk", found, "make room before it is needed"),
                _ => Line::ok("disk", found),
            }
        }
    }
}

/// How long the disk takes to make a record durable, measured with a file that is never seen.
fn sync_time(state: &Path) -> Line {
    let shown = state.display();
    let mut times = match measure(state) {
        Ok(times) => times,
        Err(fault) => {
            let remedy = "look as the user that runs the proxy; the file system may be read-only";
            return Line::fault("sync", format!("cannot write under {shown}: {fault}"), remedy);
        }
    };
    times.sort_unstable();
    let (median, slowest) = (times[SYNCS / 2], times[SYNCS - 1]);
    let found = format!("a record is durable in {} (slowest of {SYNCS}: {})", shown_time(median), shown_time(slowest));
    match slowest {
        time if time > SYNC_UNUSABLE => {
            Line::fault("sync", found, "each exchange waits for it: move the state folder to a local disk")
        }
        _ if median > SYNC_SLOW => Line::warning(
            "sync",
            found,
            "each exchange waits for it: a disk with a write cache that keeps its promise is faster",
        ),
        _ => Line::ok("sync", found),
    }
}

fn measure(state: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(state)?;
    let mut sync = || {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        Ok(begun.elapsed())
    };
    (0..SYNCS).map(|_| sync()).collect()
}

fn shown_time(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Whether each configured name server answers for itself: one that is silent is not noticed while another is not.
pub(super) async fn name_servers(settings: &Settings, register: Option<&Register>) -> Vec<Line> {
    let Resolver::Servers(servers) = &settings.upstream.resolver else { return Vec::new() };
    let asked = |name: &HostName| !settings.upstream.hosts.contains_key(name);
    let Some(name) = register.map(declared_names).unwrap_or_default().into_iter().find(asked) else {
        return Vec::new();
    };
    let trust = Trust::new(&roots(settings)).map_err(|fault| told(&fault));
    let resolver = trust.and_then(|trust| {
        NameServers::new(servers, settings.limits.resolve_time, &trust).map_err(|fault| told(&fault))
    });
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(fault) => return vec![Line::fault("name server", fault, "mend `upstream.resolver`")],
    };
    let line = |(address, answered): (SocketAddr, Result<Duration, ResolveFault>)| match answered {
        Ok(time) => Line::ok("name server", format!("{address} answers in {}", shown_time(time))),
        Err(fault) => {
            let remedy = "the others are asked in its place, later: mend it, or take it out of `upstream.resolver`";
            Line::warning("name server", format!("{address}: {}", told(&fault)), remedy)
        }
    };
    resolver.try_each(&name).await.into_iter().map(line).collect()
}

/// Whether a declared name resolves. One is enough: each recipient by itself is for `tasrih probe`.
pub(super) async fn resolver(settings: &Settings, register: Option<&Register>) -> Line {
    let names = register.map(declared_names).unwrap_or_default();
    let resolver = Trust::new(&roots(settings)).map_err(|fault| told(&fault)).and_then(|trust| {
        let (time, system) = (settings.limits.resolve_time, Arc::new(SystemResolver::default()));
        StaticHosts::configured(&settings.upstream, time, &trust, system).map_err(|fault| told(&fault))
    });
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(fault) => return Line::fault("resolver", fault, "mend `upstream` in the configuration"),
    };
    let mut failed = Vec::new();
    for name in names.into_iter().take(NAMES) {
        let begun = Instant::now();
        match resolver.resolve(&name).await {
            Ok(_) => return Line::ok("resolver", format!("`{name}` resolves in {}", shown_time(begun.elapsed()))),
            Err(fault) => failed.push(told(&fault)),
        }
    }
    if failed.is_empty() {
        return Line::warning("resolver", "no declared name to ask for", "declare a recipient");
    }
    let remedy = match settings.upstream.resolver {
        Resolver::System => "look at /etc/resolv.conf and the name service, or give the names under `upstream.hosts`",
        Resolver::Servers(_) => "look at the servers of `upstream.resolver`, or give the names under `upstream.hosts`",
    };
    Line::fault("resolver", failed.join("; "), remedy)
}

fn declared_names(register: &Register) -> Vec<HostName> {
    let endpoints = register.recipients.iter().flat_map(|recipient| &recipient.endpoints);
    let name = |host: &HostPattern| match host {
        HostPattern::Exact(Host::Name(name)) => Some(name.clone()),
        HostPattern::Exact(Host::Address(_)) | HostPattern::Suffix(_) | HostPattern::Any => None,
    };
    endpoints.filter_map(|endpoint| name(&endpoint.host)).collect()
}

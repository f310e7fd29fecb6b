//! The installation's files: the register, the state folder and its key, the interception authority, the roots.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::Line;
use crate::cli::installation::Installation;
use crate::cli::probe::roots;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Root, Settings};
use crate::docket::Docket;
use crate::proxy::error::told;
use crate::register::Register;
use crate::secret;
use crate::tls::{Authority, Trust};

/// An authority that ends within this many days is pointed out: rolling out the next one takes weeks.
const ENDING_DAYS: i64 = 90;

/// Looks at the files; gives the register too, where it compiles.
pub(super) fn examine(installation: &Installation, settings: &Settings) -> (Vec<Line>, Option<Register>) {
    let mut lines = Vec::new();
    if let Some(config) = &installation.config {
        lines.push(unwritable("config", config));
    }
    lines.push(unwritable("policies", &installation.policies));
    let (line, register) = register(installation, settings);
    lines.push(line);
    lines.push(closed("state", &settings.state, "700"));
    lines.push(closed("digest key", &settings.state.join("body-digest.key"), "600"));
    lines.extend(authority(settings));
    lines.push(trusted(settings));
    (lines, register)
}

/// Whoever can write a policy file can open the gate.
fn unwritable(check: &'static str, path: &Path) -> Line {
    let shown = path.display();
    match fs::metadata(path) {
        Err(fault) => {
            Line::fault(check, format!("{shown}: {fault}"), "name the folder with --policies, the file with --config")
        }
        Ok(metadata) if metadata.mode() & 0o002 != 0 => {
            let found = format!("{shown} can be written by everybody (mode {:04o})", metadata.mode() & 0o7777);
            Line::fault(check, found, format!("chmod -R o-w {shown}, then read what is in it"))
        }
        Ok(_) => Line::ok(check, format!("{shown} is written by its owner and group only")),
    }
}

fn register(installation: &Installation, settings: &Settings) -> (Line, Option<Register>) {
    let remembered = match Docket::read(&settings.state) {
        Ok(docket) => docket.remembered(),
        Err(fault) => {
            return (Line::fault("register", told(&fault), "the message says how it is mended".to_owned()), None);
        }
    };
    match installation.compile(settings.limits.hold, &remembered) {
        Err(faults) => {
            let first = faults.lines().next().unwrap_or_default().to_owned();
            let remedy = format!("`tasrih check {}` shows every fault", installation.policies.display());
            (Line::fault("register", first, remedy), None)
        }
        Ok((compiled, _)) => {
            let register = compiled.register;
            let version = register.version.short();
            let (transfers, allowances) = (register.transfers.len(), register.allowances.len());
            let found = format!("{version} compiles: transfers {transfers}, allowances {allowances}");
            let line = match (transfers + allowances, compiled.warnings.len()) {
                (0, _) => Line::warning("register", found, "declare a transfer: until then everything is refused"),
                (_, 0) => Line::ok("register", found),
                (_, warnings) => {
                    let remedy = format!("`tasrih check {}`", installation.policies.display());
                    Line::warning("register", format!("{found}, warnings {warnings}"), remedy)
                }
            };
            (line, Some(register))
        }
    }
}

/// Something that only its owner may enter or read.
fn closed(check: &'static str, path: &Path, wanted: &str) -> Line {
    let shown = path.display();
    match fs::metadata(path) {
        Err(fault) => {
            let remedy = "start the proxy once, name the folder with --state, or look as the user that runs it";
            Line::fault(check, format!("{shown}: {fault}"), remedy)
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            let found = format!("{shown} is open to others (mode {:04o})", metadata.mode() & 0o7777);
            Line::fault(check, found, format!("chmod {wanted} {shown}"))
        }
        Ok(metadata) => Line::ok(check, format!("{shown} has mode {:04o}", metadata.mode() & 0o7777)),
    }
}

fn authority(settings: &Settings) -> Vec<Line> {
    let (certificate, key) = (&settings.interception.certificate, &settings.interception.key);
    let mut lines = Vec::new();
    match secret::mode(key) {
        Ok(_) => lines.push(closed("CA key", key, "600")),
        Err(fault) => lines.push(Line::fault(
            "CA key",
            format!("{}: {fault}", key.display()),
            "`tasrih ca init` makes an authority, also `run` at its first start; name its folder with --certs",
        )),
    }
    lines.push(match Authority::load(certificate, key) {
        Err(fault) => Line::fault("CA", told(&fault), "nothing can be intercepted with it: mend it or make a new one"),
        Ok(authority) => {
            let end = Timestamp::try_from(authority.facts().not_after).unwrap_or(Timestamp::MAX);
            let left = end.duration_since(SystemClock::default().wall()).as_hours().div_euclid(24);
            let found = format!("{} is valid for {left} more days", authority.facts().subject);
            match (left < ENDING_DAYS, authority.next()) {
                (true, None) => {
                    Line::warning("CA", found, "`tasrih ca rotate` makes the next one; clients of either pass")
                }
                (true, Some(_)) => {
                    let remedy = "when no client is missed any more: `tasrih ca rotate --finish`, and restart";
                    Line::warning("CA", format!("{found}; the next one is published besides"), remedy)
                }
                (false, Some(next)) => Line::ok("CA", format!("{found}; {} is to follow it", next.subject)),
                (false, None) => Line::ok("CA", found),
            }
        }
    });
    lines
}

fn trusted(settings: &Settings) -> Line {
    let system = settings.upstream.roots.contains(&Root::System);
    match Trust::new(&roots(settings)) {
        Err(fault) => Line::fault("roots", told(&fault), "mend `upstream.roots`"),
        Ok(trust) if trust.roots() == 0 => Line::fault(
            "roots",
            "no certificate authority is trusted, so every TLS recipient fails",
            if system { "install the package ca-certificates" } else { "mend `upstream.roots`" },
        ),
        Ok(trust) => Line::ok("roots", format!("{} certificate authorities may vouch for recipients", trust.roots())),
    }
}

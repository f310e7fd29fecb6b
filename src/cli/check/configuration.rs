//! A configuration, the files that it names, and the machine that it is to run on. Each finding stands at the key that
//! names what is wrong; one about a default stands at no line.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::{Findings, sockets, together};
use crate::app::listen;
use crate::audit::storage::available;
use crate::cli::check::counted;
use crate::config::{self, ListenerTls, Loaded, Root, Settings};
use crate::descriptors::Descriptors;
use crate::proxy::error::told;
use crate::register::Register;
use crate::register::fault::{Collector, Faults, Place, Problem, Text};
use crate::register::fields::Places;
use crate::tls::issue::now;
use crate::tls::{self, Authority, ListenerFault, ProxyAcceptor, Trust};
use crate::users::file::Table;

/// A certificate that ends sooner is pointed out.
const ENDING: Duration = Duration::from_secs(30 * 24 * 3600);

/// A configuration file as it was read.
pub(super) struct Configuration {
    text: Text,
    loaded: Result<Loaded, Faults>,
}

/// Reads the file; what is wrong with its text is for [`Configuration::examine`].
pub(super) fn read(path: &Path) -> Result<Configuration, String> {
    let text = fs::read_to_string(path).map_err(|fault| format!("cannot read `{}`: {fault}", path.display()))?;
    let text = Text { name: path.display().to_string(), text };
    let loaded = config::read(&text);
    Ok(Configuration { text, loaded })
}

impl Configuration {
    /// The longest body that is held, which the register's limits are compared with.
    pub(super) fn hold(&self) -> Option<u64> {
        self.loaded.as_ref().ok().map(|loaded| loaded.settings.limits.hold)
    }

    /// The state folder, where the text could be read.
    pub(super) fn state(&self) -> Option<&Path> {
        self.loaded.as_ref().ok().map(|loaded| loaded.settings.state.as_path())
    }

    /// Everything that can be found out without starting.
    pub(super) fn examine(self, register: Option<&Register>) -> Findings {
        let loaded = match self.loaded {
            Ok(loaded) => loaded,
            Err(Faults(faults)) => return Findings { faults, warnings: Vec::new(), summary: None },
        };
        let collector = Collector::new(slice::from_ref(&self.text));
        let found = Found { collector: &collector, places: loaded.places.as_ref() };
        authority(&loaded.settings, &found);
        for (position, listener) in loaded.settings.listeners.iter().enumerate() {
            if let Some(tls) = &listener.tls {
                secured(tls, &format!("listeners[{position}].tls"), &found);
            }
        }
        users(&loaded.settings, &found);
        roots(&loaded.settings, &found);
        folders(&loaded.settings, &found);
        sockets::examine(&loaded.settings, &found);
        descriptors(&loaded.settings, &found);
        if let Some(register) = register {
            together::examine(&loaded.settings, register, &found);
        }
        let (faults, mut warnings) = collector.finish();
        warnings.splice(0..0, loaded.warnings);
        Findings { faults, warnings, summary: Some(summary(&loaded.settings)) }
    }
}

/// What a register wants that this configuration does not give, one line each.
pub(in crate::cli) fn missing(settings: &Settings, register: &Register) -> Vec<String> {
    let texts = [Text { name: String::new(), text: String::new() }];
    let collector = Collector::new(&texts);
    together::examine(settings, register, &Found { collector: &collector, places: None });
    let (faults, warnings) = collector.finish();
    faults.into_iter().chain(warnings).map(|found| found.message).collect()
}

/// Where findings go.
pub(super) struct Found<'a> {
    collector: &'a Collector<'a>,
    places: Option<&'a Places>,
}

impl Found<'_> {
    /// Something that would not work, at this key.
    pub(super) fn fault(&self, key: &str, problem: Problem) {
        self.collector.fault(self.at(key), problem);
    }

    /// Something that works, and that somebody should look at.
    pub(super) fn warn(&self, key: &str, problem: Problem) {
        self.collector.warn(self.at(key), problem);
    }

    fn at(&self, key: &str) -> Place {
        self.places.and_then(|places| places.written(key)).unwrap_or(Place::NOWHERE)
    }
}

fn summary(settings: &Settings) -> String {
    let listeners = counted(settings.listeners.len(), "listener", "listeners");
    let shown: Vec<String> = settings.listeners.iter().map(|listener| listener.bind.to_string()).collect();
    format!("{listeners} ({}), admin {}", shown.join(", "), settings.admin)
}

/// Made at the first start where neither file is there; so the folder must take them.
fn authority(settings: &Settings, found: &Found<'_>) {
    let (certificate, key) = (&settings.interception.certificate, &settings.interception.key);
    if !certificate.exists() && !key.exists() {
        for (name, path) in [("interception.certificate", certificate), ("interception.key", key)] {
            if let Err(fault) = takes_files(path.parent().unwrap_or(Path::new("."))) {
                let problem = Problem::new(format!("`{}` cannot be made: {fault}", path.display()));
                found.fault(name, problem.hint("`tasrih ca init` makes the authority, as a user who may"));
            }
        }
        return;
    }
    match Authority::load_or_create(certificate, key) {
        Err(fault) => found.fault("interception.key", Problem::new(told(&fault))),
        Ok(authority) => {
            ends("interception.certificate", "the authority's certificate", authority.facts().not_after, found);
        }
    }
}

/// The users file, and whether a password is ever sent in the clear to it.
fn users(settings: &Settings, found: &Found<'_>) {
    let Some(file) = &settings.users else { return };
    if let Err(fault) = Table::read(file) {
        found.fault("users", Problem::new(told(&fault)));
    }
    for (position, listener) in settings.listeners.iter().enumerate() {
        if listener.tls.is_none() && !listener.bind.ip().is_loopback() {
            let problem = Problem::new(format!("passwords sent to `{}` can be read on the way", listener.name));
            let hint = "give the listener `tls`, and let clients name the proxy with https://";
            found.warn(&format!("listeners[{position}].bind"), problem.hint(hint));
        }
    }
}

fn secured(tls: &ListenerTls, key: &str, found: &Found<'_>) {
    let files = listen::files(tls);
    let named = [
        (Some(&tls.certificate), "certificate"),
        (Some(&tls.key), "key"),
        (tls.client_ca.as_ref(), "client_ca"),
        (tls.crl.as_ref(), "crl"),
    ];
    for fault in ProxyAcceptor::faults(&files) {
        let file = named.iter().find(|(path, _)| path.is_some() && path.map(PathBuf::as_path) == fault.file());
        // The folder of the key may be at fault, which no key names.
        let place = match (&fault, file) {
            (ListenerFault::KeyFile(_), _) => format!("{key}.key"),
            (_, Some((_, name))) => format!("{key}.{name}"),
            (_, None) => key.to_owned(),
        };
        found.fault(&place, Problem::new(told(&fault)));
    }
    let Ok(acceptor) = ProxyAcceptor::load(&files) else { return };
    let (facts, now) = (acceptor.facts(), now());
    let certificate = format!("{key}.certificate");
    if facts.not_before > now {
        let problem = Problem::new(format!("`{}` is not valid yet", tls.certificate.display()));
        found.fault(&certificate, problem.hint("or the machine's clock is wrong"));
    }
    ends(&certificate, "the listener's certificate", facts.not_after, found);
    if facts.next_revocations.is_some_and(|promised| promised < now) {
        let problem = Problem::new("a newer list was promised for a time that has passed");
        found.warn(
            &format!("{key}.crl"),
            problem
                .hint("fetch it from the authority; until then the old one is used, and newer revocations are missed"),
        );
    }
}

/// A certificate that has ended is a fault; one that will soon, a warning.
fn ends(key: &str, what: &str, not_after: SystemTime, found: &Found<'_>) {
    let day = Timestamp::try_from(not_after).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string();
    match not_after.duration_since(now()) {
        Err(_) => found.fault(key, Problem::new(format!("{what} ended on {day}"))),
        Ok(left) if left < ENDING => found.warn(key, Problem::new(format!("{what} ends on {day}"))),
        Ok(_) => {}
    }
}

fn roots(settings: &Settings, found: &Found<'_>) {
    for root in &settings.upstream.roots {
        let one = match root {
            Root::System => tls::Root::System,
            Root::File(path) => tls::Root::File(path.clone()),
        };
        match Trust::new(&[one]) {
            Err(fault) => found.fault("upstream.roots", Problem::new(told(&fault))),
            Ok(trust) if trust.roots() == 0 => {
                let problem = Problem::new("the system trusts no certificate authority, so every TLS recipient fails");
                found.warn("upstream.roots", problem.hint("install the package ca-certificates"));
            }
            Ok(_) => {}
        }
    }
}

/// The folders that are written to: whether they take files, who else may enter, and how much room there is.
fn folders(settings: &Settings, found: &Found<'_>) {
    let state = &settings.state;
    if let Err(fault) = takes_files(state) {
        let problem = Problem::new(format!("the state folder `{}` cannot be written: {fault}", state.display()));
        found.fault("state", problem.hint("check as the user that runs the proxy; it makes the folder where it may"));
    }
    if let Ok(metadata) = fs::metadata(state)
        && metadata.mode() & 0o077 != 0
    {
        let mode = metadata.mode() & 0o7777;
        let problem =
            Problem::new(format!("the state folder `{}` is open to others (mode {mode:04o})", state.display()));
        found.fault("state", problem.hint(format!("chmod 700 {}", state.display())));
    }
    let spool = settings.spool_folder();
    if settings.spool.folder.is_some()
        && let Err(fault) = takes_files(&spool)
    {
        let problem = Problem::new(format!("the spool folder `{}` cannot be written: {fault}", spool.display()));
        found.fault("spool.folder", problem);
    }
    if room(state).is_some_and(|room| room < settings.disk.reserve) {
        let problem = Problem::new(format!("less than `disk.reserve` is free under `{}`", state.display()));
        found.fault("state", problem.hint("until there is room, every exchange is refused as record-unavailable"));
    }
    let held = settings.limits.held_total;
    if let Some(room) = room(&spool).filter(|room| *room < held) {
        let problem = Problem::new(format!(
            "`held_total` ({} MiB) is more than is free under `{}` ({} MiB)",
            held >> 20,
            spool.display(),
            room >> 20
        ));
        found.warn("limits.held_total", problem.hint("a body that finds no room is refused"));
    }
}

/// Whether a file can be made in a folder, or the folder itself where it is not there yet. Nothing is left behind.
fn takes_files(folder: &Path) -> io::Result<()> {
    let there = nearest(folder);
    if !there.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    tempfile::tempfile_in(there).map(drop)
}

/// The folder, or the nearest one above it that is there.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|folder| folder.exists());
    there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Free bytes where the folder lies or will lie.
fn room(folder: &Path) -> Option<u64> {
    rustix::fs::statvfs(nearest(folder)).ok().map(|disk| available(&disk))
}

/// As many as the process would have: like a proxy, this one takes what the hard limit gives.
fn descriptors(settings: &Settings, found: &Found<'_>) {
    let limits = Descriptors::raise().unwrap_or_else(|_| Descriptors::of_process());
    let Some(wanted) = limits.wanted_for(settings.limits.connections) else { return };
    let problem = Problem::new(format!(
        "{} connections may take {wanted} descriptors, and a process started here has {}",
        settings.limits.connections,
        limits.limit()
    ));
    let hint =
        "LimitNOFILE= in the unit (deploy/tasrih.service has 32768), `ulimit -Hn` in a shell, or fewer `connections`";
    found.warn("limits.connections", problem.hint(hint));
}

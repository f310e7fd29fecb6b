//! `tasrih run`: the proxy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::{configuration, counted};
use super::installation::Installation;
use super::{FINE, REFUSED, UNREADABLE};
use crate::admin::control::Wish;
use crate::app::{self, Drained, Parts, Running, Succession};
use crate::config::{ClientCertificates, Entry, Listener, LogFormat};
use crate::descriptors::Descriptors;
use crate::docket::{Docket, DocketFault};
use crate::folder::Seen;
use crate::logging::{self, Repetition};
use crate::proxy::error::told;
use crate::record::Asker;
use crate::register::fault::Fault;
use crate::reload::{ReloadFault, Reloaded, Reloader, Watch};
use crate::service::{self, Sockets};

/// How long a process that was handed its sockets waits for its predecessor, unless `--wait` says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most lines about what is missing; `tasrih check` has them all.
const MISSING: usize = 5;

/// Run the proxy
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    installation: Installation,
    /// What is logged, as a level or targets with levels (`warn,tasrih::proxy=debug`), in place of the configured
    /// level
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged, in place of the configured format
    #[arg(long, value_name = "text|json", value_parser = format)]
    log_format: Option<LogFormat>,
    /// How long to wait for another process to give the state folder back: 30s, PT1M [default: PT1M with sockets
    /// from systemd, else not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// Do not watch the policy folder, the users file and the files of listeners: changed files wait for SIGHUP
    #[arg(long)]
    no_watch: bool,
}

pub fn main(arguments: Arguments) -> u8 {
    let sockets = match Sockets::inherited() {
        Ok(sockets) => sockets,
        Err(fault) => {
            eprintln!("tasrih: {}", told(&fault));
            return UNREADABLE;
        }
    };
    let patience = arguments.wait.unwrap_or(if sockets.is_empty() { Duration::ZERO } else { PATIENCE });
    let succession = Succession { sockets, patience };
    let (parts, reloader, repetition) = match prepare(&arguments) {
        Ok(prepared) => prepared,
        Err(Unprepared { told, code }) => {
            eprintln!("{told}");
            return code;
        }
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let watch = (!arguments.no_watch).then(|| Watch::over(&reloader));
            let code = runtime.block_on(run(parts, succession, (reloader, watch), repetition));
            // Everything is on record; a thread that still waits for a name service must not delay the end.
            runtime.shutdown_background();
            code
        }
        Err(fault) => {
            eprintln!("tasrih: no runtime: {fault}");
            UNREADABLE
        }
    }
}

/// Why there is nothing to run, to be printed.
struct Unprepared {
    told: String,
    code: u8,
}

impl From<String> for Unprepared {
    fn from(told: String) -> Unprepared {
        Unprepared { told, code: UNREADABLE }
    }
}

impl From<DocketFault> for Unprepared {
    fn from(fault: DocketFault) -> Unprepared {
        let code = if fault.is_integrity() { REFUSED } else { UNREADABLE };
        Unprepared { told: format!("tasrih: {fault}"), code }
    }
}

/// Reads the files and sets up the log; faults are to be printed, as the log may be what is faulty.
fn prepare(arguments: &Arguments) -> Result<(Parts, Reloader, Repetition), Unprepared> {
    let settings = arguments.installation.settings()?;
    let filter = arguments.log.as_deref().unwrap_or(settings.log.level.as_str());
    let format = arguments.log_format.unwrap_or(settings.log.format);
    let repetition = logging::init(format, filter).map_err(|fault| told(&fault))?;
    // Looked at before they are read: what changes from here on is seen as a change.
    let policies = &arguments.installation.policies;
    let seen = Seen::of(policies).map_err(|fault| told(&fault))?.unwrap_or_default();
    let reloader = Reloader::new(policies.clone(), seen);
    let docket = Docket::read(&settings.state)?;
    let (register, texts) = arguments.installation.compile(settings.limits.hold, &docket.remembered())?;
    tell_warnings(&register.warnings, policies);
    Ok((Parts::new(settings, register, texts), reloader, repetition))
}

/// How many warnings the policy files have; `tasrih check` shows each of them.
fn tell_warnings(warnings: &[Fault], policies: &Path) {
    if !warnings.is_empty() {
        let shown_by = format!("tasrih check {}", policies.display());
        tracing::warn!(warnings = warnings.len(), shown_by, "the policy files load with warnings");
    }
}

fn format(word: &str) -> Result<LogFormat, String> {
    logging::format(word).ok_or_else(|| format!("`{word}` is neither text nor json"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|read| Duration::try_from(read).ok());
    read.ok_or_else(|| format!("`{text}` is no duration; write 30s, 2m or PT1M"))
}

async fn run(
    parts: Parts,
    succession: Succession,
    (reloader, mut watch): (Reloader, Option<Watch>),
    repetition: Repetition,
) -> u8 {
    if let Err(fault) = Descriptors::raise() {
        tracing::warn!(%fault, "the soft limit of file descriptors cannot be raised to the hard one");
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(fault) => {
            eprintln!("tasrih: cannot wait for signals: {fault}");
            return UNREADABLE;
        }
    };
    let summary = Summary::of(&parts);
    let drain = parts.settings.limits.drain;
    service::status("opening the log");
    let started = tokio::select! {
        started = app::start_after(parts, succession) => started,
        () = signals.next() => return FINE,
    };
    let mut running = match started {
        Ok(running) => running,
        Err(fault) => {
            tracing::error!(fault = told(&fault), "the proxy does not start");
            return if fault.is_integrity() { REFUSED } else { UNREADABLE };
        }
    };
    let mut wished = match running.control() {
        Ok(wished) => wished,
        Err(fault) => {
            tracing::error!(%fault, "the control socket cannot be made in the state folder");
            running.stop_unless(std::future::ready(())).await;
            return UNREADABLE;
        }
    };
    summary.print(&running);
    service::ready(&summary.status(&running));
    let beat = tokio::spawn(service::beat());
    let counting = tokio::spawn(repetition.clone().tell_each_minute());
    let is_watching = watch.is_some();
    loop {
        let wanted = tokio::select! {
            wanted = signals.wanted() => wanted,
            () = changed(&mut watch, &reloader) => Wanted::Policies,
            Some(wish) = wished.recv() => Wanted::Everything(Some(wish)),
            // Ends with the loop, and until then reads by itself.
            () = running.files().keep_fresh(running.corridor()), if is_watching => continue,
        };
        match wanted {
            Wanted::Stop => break,
            Wanted::Policies => drop(read_again(&running, &reloader, None).await),
            Wanted::Everything(wish) => {
                running.files().reload(running.corridor()).await;
                let (by, answer) = wish.map(|Wish { by, answer }| (by, answer)).unzip();
                let reloaded = read_again(&running, &reloader, by).await;
                // Whoever asked may have left meanwhile.
                let _ = answer.map(|answer| answer.send(reloaded));
            }
        }
    }
    // Whoever still waits for a reload is told that there is none any more.
    drop(wished);
    tracing::info!(seconds = drain.as_secs(), "stopping: open exchanges may finish; a second signal cuts them");
    service::stopping(&format!("finishing open exchanges, at most {} s", drain.as_secs()));
    let drained = running.stop_unless(signals.next()).await;
    match drained {
        Drained::Finished => tracing::info!("stopped"),
        Drained::TimeUp => tracing::warn!("stopped; exchanges still open at the end of `limits.drain` were cut"),
        Drained::Hurried => tracing::warn!("stopped by a second signal; open exchanges were cut"),
    };
    beat.abort();
    counting.abort();
    repetition.tell();
    FINE
}

/// Ends when the policy files changed; never, where they are not watched.
async fn changed(watch: &mut Option<Watch>, reloader: &Reloader) {
    match watch {
        Some(watch) => watch.changed(reloader).await,
        None => std::future::pending().await,
    }
}

/// Puts the policy files in force as they are now, and says what came of it.
async fn read_again(running: &Running, reloader: &Reloader, by: Option<Asker>) -> Result<Reloaded, ReloadFault> {
    service::reloading("reading the policy files again");
    let reloaded = reloader.reload_for(running.corridor(), by).await;
    match &reloaded {
        Ok(Reloaded { version, is_new: true, warnings, .. }) => {
            tracing::info!(register = version.short(), warnings = warnings.len(), "a new register is in force");
            tell_warnings(warnings, reloader.folder());
        }
        Ok(Reloaded { version, warnings, .. }) => {
            tracing::info!(register = version.short(), "the policy files say what is in force already");
            tell_warnings(warnings, reloader.folder());
        }
        // Every fault with its place, for whoever edited the files.
        Err(fault) => tracing::error!(fault = told(fault), "the register was refused; the one in force stays"),
    }
    service::ready(&match &reloaded {
        Ok(reloaded) => format!("register {} in force", reloaded.version.short()),
        Err(_) => "the policy files have faults; the register in force is the one before".to_owned(),
    });
    reloaded
}

/// What a signal, the watch or the control socket asks for.
enum Wanted {
    Stop,
    /// The policy files, because they changed.
    Policies,
    /// The policy files and all others that are read again; with whom to answer, where it was asked for through the
    /// control socket.
    Everything(Option<Wish>),
}

/// SIGTERM and SIGINT, which mean the same, and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Signals { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }

    /// Ends when any of them comes.
    async fn wanted(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Everything(None),
        }
    }

    /// Ends when one comes that asks for the end.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The few lines that help whoever starts the proxy.
struct Summary {
    /// For each listener: how a client names it, and what else it needs.
    listeners: Vec<(&'static str, String)>,
    certificate: PathBuf,
    state: PathBuf,
    transfers: usize,
    allowances: usize,
    version: String,
    missing: Vec<String>,
}

impl Summary {
    fn of(parts: &Parts) -> Summary {
        let register = &parts.register.register;
        let mut missing = configuration::missing(&parts.settings, register);
        if register.transfers.len() + register.allowances.len() == 0 {
            missing.insert(0, "nothing is declared: everything is refused".to_owned());
        }
        Summary {
            listeners: parts.settings.listeners.iter().map(way_in).collect(),
            certificate: parts.settings.interception.certificate.clone(),
            state: parts.settings.state.clone(),
            transfers: register.transfers.len(),
            allowances: register.allowances.len(),
            version: register.version.short().to_owned(),
            missing,
        }
    }

    /// The one line of `systemctl status`.
    fn status(&self, running: &Running) -> String {
        let proxies: Vec<String> = running.proxies.iter().map(ToString::to_string).collect();
        let transfers = counted(self.transfers, "transfer", "transfers");
        let allowances = counted(self.allowances, "allowance", "allowances");
        format!("register {} ({transfers}, {allowances}) on {}", self.version, proxies.join(", "))
    }

    fn print(&self, running: &Running) {
        for (proxy, (scheme, note)) in running.proxies.iter().zip(&self.listeners) {
            println!("proxy      {scheme}://{proxy}{note}");
        }
        println!("admin      http://{}/metrics /healthz /readyz", running.admin);
        if let Some(metrics) = running.metrics {
            println!("metrics    http://{metrics}/metrics /healthz /readyz");
        }
        let transfers = counted(self.transfers, "transfer", "transfers");
        let allowances = counted(self.allowances, "allowance", "allowances");
        println!("register   {} ({transfers}, {allowances})", self.version);
        println!("authority  {} (clients must trust it to be intercepted)", self.certificate.display());
        println!("state      {}", self.state.display());
        if let Some(torn) = &running.recovery.torn {
            println!("recovered  a torn tail of {} bytes was cut: nothing acknowledged was lost", torn.bytes);
        }
        if running.recovery.interrupted > 0 {
            println!("recovered  {} exchanges were interrupted by the last stop", running.recovery.interrupted);
        }
        for missing in self.missing.iter().take(MISSING) {
            println!("missing    {missing}");
        }
        if self.missing.len() > MISSING {
            println!("missing    and {} more: `tasrih check POLICIES --config FILE`", self.missing.len() - MISSING);
        }
        let mut ways = running.proxies.iter().zip(&self.listeners);
        if let Some((proxy, (scheme, _))) = ways.find(|(_, (scheme, _))| scheme.starts_with("http")) {
            let certificate = self.certificate.display();
            let trusted = if *scheme == "https" { " --proxy-cacert ROOTS" } else { "" };
            println!(
                "try        curl -x {scheme}://{proxy}{trusted} --cacert {certificate} https://undeclared.example/"
            );
        }
    }
}

/// How a client names a listener, and what it must bring.
fn way_in(listener: &Listener) -> (&'static str, String) {
    match listener.entry {
        Entry::Forward => {}
        Entry::Socks5 => return ("socks5h", String::new()),
        Entry::Transparent => return ("transparent", String::new()),
        Entry::TransparentHttp => return ("transparent", " (HTTP)".to_owned()),
        Entry::TransparentTls => return ("transparent", " (TLS)".to_owned()),
    }
    let Some(tls) = &listener.tls else { return ("http", String::new()) };
    let note = match (&tls.client_ca, tls.client_certificates) {
        (None, _) => "",
        (Some(_), ClientCertificates::Optional) => " (a client may show a certificate)",
        (Some(_), ClientCertificates::Required) => " (a client must show a certificate)",
    };
    ("https", note.to_owned())
}

//! `tasrih run`: the proxy.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::check::counted;
use super::{FINE, REFUSED, UNREADABLE};
use crate::app::{self, Parts, Running};
use crate::config::{self, Settings};
use crate::logging::{self, Format};
use crate::proxy::error::told;
use crate::register::compile::{Compiled, Text};
use crate::{folder, register};

/// Run the proxy
#[derive(clap::Args)]
pub struct Arguments {
    /// Configuration file; without one every key has its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the policy files
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// Folder of the interception authority, in place of the configured one
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// State folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What is logged, as a level or targets with levels (`warn,tasrih::proxy=debug`)
    #[arg(long, value_name = "FILTER", default_value = logging::DEFAULT_FILTER)]
    log: String,
    /// How it is logged
    #[arg(long, value_name = "text|json", default_value = "text", value_parser = format)]
    log_format: Format,
}

pub fn main(arguments: Arguments) -> u8 {
    let prepared = logging::init(arguments.log_format, &arguments.log).map_err(|fault| told(&fault));
    let prepared = prepared.and_then(|()| {
        let settings = settings(&arguments)?;
        let register = register(&arguments, settings.limits.hold)?;
        Ok((settings, register))
    });
    let (settings, register) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            eprintln!("{fault}");
            return UNREADABLE;
        }
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(Parts::new(settings, register))),
        Err(fault) => {
            eprintln!("tasrih: no runtime: {fault}");
            UNREADABLE
        }
    }
}

fn format(word: &str) -> Result<Format, String> {
    Format::parse(word).ok_or_else(|| format!("`{word}` is neither text nor json"))
}

fn settings(arguments: &Arguments) -> Result<Settings, String> {
    let mut settings = match &arguments.config {
        None => Settings::default(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|fault| format!("cannot read `{}`: {fault}", path.display()))?;
            let loaded =
                config::read(&Text { name: path.display().to_string(), text }).map_err(|faults| faults.to_string())?;
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            loaded.settings
        }
    };
    if let Some(certs) = &arguments.certs {
        settings.interception.certificate = certs.join("ca.pem");
        settings.interception.key = certs.join("ca.key");
    }
    if let Some(state) = &arguments.state {
        settings.state.clone_from(state);
    }
    Ok(settings)
}

fn register(arguments: &Arguments, hold: u64) -> Result<Compiled, String> {
    let texts = folder::read(&arguments.policies).map_err(|fault| told(&fault))?;
    let compiled = register::compile::compile_with(&texts, hold).map_err(|faults| faults.to_string())?;
    for warning in &compiled.warnings {
        eprintln!("{warning}");
    }
    Ok(compiled)
}

async fn run(parts: Parts) -> u8 {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(fault) => {
            eprintln!("tasrih: cannot wait for signals: {fault}");
            return UNREADABLE;
        }
    };
    let summary = Summary::of(&parts);
    let running = match app::start(parts).await {
        Ok(running) => running,
        Err(fault) => {
            eprintln!("tasrih: {}", told(&fault));
            return if fault.is_integrity() { REFUSED } else { UNREADABLE };
        }
    };
    summary.print(&running);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.stop().await;
    FINE
}

/// The few lines that help whoever starts the proxy.
struct Summary {
    certificate: PathBuf,
    state: PathBuf,
    transfers: usize,
    allowances: usize,
    version: String,
}

impl Summary {
    fn of(parts: &Parts) -> Summary {
        let register = &parts.register.register;
        Summary {
            certificate: parts.settings.interception.certificate.clone(),
            state: parts.settings.state.clone(),
            transfers: register.transfers.len(),
            allowances: register.allowances.len(),
            version: register.version.0.chars().take(12).collect(),
        }
    }

    fn print(&self, running: &Running) {
        for proxy in &running.proxies {
            println!("proxy      http://{proxy}");
        }
        println!("admin      http://{}/metrics /healthz /readyz", running.admin);
        let transfers = counted(self.transfers, "transfer", "transfers");
        let allowances = counted(self.allowances, "allowance", "allowances");
        println!("register   {} ({transfers}, {allowances})", self.version);
        if self.transfers + self.allowances == 0 {
            println!("           nothing is declared: everything is refused");
        }
        println!("authority  {} (clients must trust it to be intercepted)", self.certificate.display());
        println!("state      {}", self.state.display());
        if let Some(torn) = &running.recovery.torn {
            println!("recovered  a torn tail of {} bytes was cut: nothing acknowledged was lost", torn.bytes);
        }
        if running.recovery.interrupted > 0 {
            println!("recovered  {} exchanges were interrupted by the last stop", running.recovery.interrupted);
        }
        if let Some(proxy) = running.proxies.first() {
            let certificate = self.certificate.display();
            println!("try        curl -x http://{proxy} --cacert {certificate} https://undeclared.example/");
        }
    }
}

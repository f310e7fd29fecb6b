//! `tasrih doctor`: whether an installation is well, one line a question, each with what is to be done.
//!
//! It looks at the files as they lie (`files`), at the machine (`machine`), at the running proxy (`running`), to
//! which it sends one CONNECT that must be refused, for what must pass (`passing`), and for clients that distrust it (`clients`). It changes nothing and takes no lock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;

use super::installation::Installation;
use super::{FINDINGS, FINE, UNREADABLE};
use crate::config::{Entry, Settings};

mod clients;
mod files;
mod machine;
mod passing;
mod running;

/// Look at a live installation and say what is wrong with it
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    installation: Installation,
    /// Where the running proxy listens [default: the first listener of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    proxy: Option<SocketAddr>,
    /// Where its admin listener is [default: as configured]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// Nothing is to be done.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// Something is broken or open: exit code 1.
    Fault,
}

/// One line of the doctor's.
#[derive(Debug, Serialize)]
struct Line {
    level: Level,
    check: &'static str,
    /// What was found.
    found: String,
    /// What is to be done; nothing where all is well.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Line {
    fn ok(check: &'static str, found: impl Into<String>) -> Line {
        Line { level: Level::Ok, check, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Line {
        Line { level: Level::Warning, check, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fault(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Line {
        Line { level: Level::Fault, check, found: found.into(), remedy: Some(remedy.into()) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let lines = match examine(&arguments) {
        Ok(lines) => lines,
        Err(fault) => {
            eprintln!("tasrih: {fault}");
            return UNREADABLE;
        }
    };
    let is_well = lines.iter().all(|line| line.level != Level::Fault);
    match arguments.json {
        true => println!("{:#}", serde_json::json!({"well": is_well, "lines": lines})),
        false => print(&lines),
    }
    if is_well { FINE } else { FINDINGS }
}

fn examine(arguments: &Arguments) -> Result<Vec<Line>, String> {
    let settings = arguments.installation.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|fault| format!("no runtime: {fault}"))?;
    let (mut lines, register) = files::examine(&arguments.installation, &settings);
    let register = register.map(Arc::new);
    lines.extend(machine::examine(&settings));
    runtime.block_on(async {
        lines.push(machine::resolver(&settings, register.as_deref()).await);
        lines.extend(machine::name_servers(&settings, register.as_deref()).await);
        lines.push(passing::transfer(&settings, register.as_ref()).await);
        let proxy = reachable(arguments.proxy.unwrap_or_else(|| plain_listener(&settings)));
        let admin = reachable(arguments.admin.unwrap_or(settings.admin));
        lines.extend(running::examine(&settings, register.as_deref(), proxy, admin).await);
        lines.push(passing::served(&settings, proxy).await);
    });
    // A name service that does not answer has told enough.
    runtime.shutdown_background();
    Ok(lines)
}

/// The first listener for HTTP that is spoken to without TLS; where there is none, the first.
fn plain_listener(settings: &Settings) -> SocketAddr {
    let plain = settings.listeners.iter().find(|it| it.entry == Entry::Forward && it.tls.is_none());
    plain.unwrap_or(&settings.listeners[0]).bind
}

/// A listener on all addresses is reached on this machine under the loopback one.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

fn print(lines: &[Line]) {
    for line in lines {
        let word = match line.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Fault => "FAULT",
        };
        println!("{word:<8} {:<12} {}", line.check, line.found);
        if let Some(remedy) = &line.remedy {
            println!("{:21} do: {remedy}", "");
        }
    }
    let count = |level| lines.iter().filter(|line| line.level == level).count();
    println!("{} ok, {} to look at, {} broken", count(Level::Ok), count(Level::Warning), count(Level::Fault));
}

//! `tasrih ca`: the interception authority.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use jiff::Timestamp;

use crate::tls::{Authority, AuthorityFacts, AuthorityFault, private_key};

/// Create or show the interception authority
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the authority; `run` does so by itself at its first start
    Init(Folder),
    /// Show the certificate that clients must trust
    Show(Folder),
}

#[derive(clap::Args)]
struct Folder {
    /// The folder of `ca.pem` and `ca.key`
    #[arg(long, value_name = "DIR", default_value = "certs")]
    certs: PathBuf,
}

pub fn main(arguments: Arguments) -> u8 {
    let (folder, authority) = match arguments.command {
        Command::Init(Folder { certs }) => (certs.clone(), Authority::create(&certificate(&certs), &key(&certs))),
        Command::Show(Folder { certs }) => (certs.clone(), Authority::load(&certificate(&certs), &key(&certs))),
    };
    match authority {
        Ok(authority) => {
            print!("{}", shown(&folder, authority.facts()));
            super::FINE
        }
        Err(fault) => {
            report(&fault);
            super::UNREADABLE
        }
    }
}

fn certificate(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

fn key(folder: &Path) -> PathBuf {
    folder.join("ca.key")
}

fn shown(folder: &Path, facts: &AuthorityFacts) -> String {
    let certificate = certificate(folder);
    let key = key(folder);
    let mode = private_key::mode(&key).map_or_else(|error| error.to_string(), |mode| format!("mode {mode:04o}"));
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("subject", &facts.subject);
    line("valid from", &day(facts.not_before));
    line("valid until", &day(facts.not_after));
    line("sha-256", &fingerprint(&facts.sha256));
    line("spki pin", &STANDARD.encode(facts.spki_sha256));
    line("certificate", &certificate.display());
    line("key", &format_args!("{} ({mode})", key.display()));
    line("trust it", &format_args!("curl --cacert {} -x http://127.0.0.1:3128 https://…", certificate.display()));
    text
}

/// As openssl and browsers print it: upper case, in pairs.
fn fingerprint(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn day(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "an unreadable time".to_owned(), |time| time.to_string())
}

fn report(fault: &AuthorityFault) {
    let mut text = format!("tasrih ca: {fault}");
    let mut source = std::error::Error::source(fault);
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    eprintln!("{text}");
    let missing = matches!(fault, AuthorityFault::CertificateFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    if missing {
        eprintln!("hint: `tasrih ca init` makes it");
    }
}

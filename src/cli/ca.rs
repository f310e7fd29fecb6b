//! `tasrih ca`: the interception authority, from its making to the one that follows it.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use jiff::Timestamp;

use crate::proxy::error::told;
use crate::secret;
use crate::tls::{Authority, AuthorityFacts, AuthorityFault, rotation};
use export::{Device, Export};

mod export;

/// Make, show, export and replace the interception authority
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the authority; `run` does so by itself at its first start
    Init(Folder),
    /// Show the certificates that clients must trust
    Show(Folder),
    /// Write it in the form that a kind of device takes, and say how it is installed there
    Export(ToDevice),
    /// Make the next authority; both are trusted until `--finish` lets it take over
    Rotate(Rotate),
}

#[derive(clap::Args)]
struct Folder {
    /// The folder of `ca.pem` and `ca.key`
    #[arg(long, value_name = "DIR", default_value = "certs")]
    certs: PathBuf,
}

#[derive(clap::Args)]
struct ToDevice {
    /// The kind of device
    #[arg(value_enum)]
    device: Device,
    /// Folder that the files are written into
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    folder: Folder,
}

#[derive(clap::Args)]
struct Rotate {
    /// Let the next authority take over: clients that trust only the present one are lost with the next start
    #[arg(long)]
    finish: bool,
    #[command(flatten)]
    folder: Folder,
}

impl Folder {
    fn certificate(&self) -> PathBuf {
        self.certs.join("ca.pem")
    }

    fn key(&self) -> PathBuf {
        self.certs.join("ca.key")
    }
}

pub fn main(arguments: Arguments) -> u8 {
    let said = match arguments.command {
        Command::Init(folder) => Authority::create(&folder.certificate(), &folder.key())
            .map(|authority| shown(&folder, &authority))
            .map_err(|fault| whole(&fault)),
        Command::Show(folder) => Authority::load(&folder.certificate(), &folder.key())
            .map(|authority| shown(&folder, &authority))
            .map_err(|fault| whole(&fault) + hint(&fault)),
        Command::Export(ToDevice { device, out, folder }) => export::export(device, &folder.certificate(), &out)
            .map(|made| exported(&made))
            .map_err(|fault| whole(&fault)),
        Command::Rotate(Rotate { finish: false, folder }) => rotation::begin(&folder.certificate(), &folder.key())
            .map(|next| begun(&folder, &next))
            .map_err(|fault| whole(&fault)),
        Command::Rotate(Rotate { finish: true, folder }) => rotation::finish(&folder.certificate(), &folder.key())
            .map(|facts| finished(&folder, &facts))
            .map_err(|fault| whole(&fault)),
    };
    match said {
        Ok(text) => {
            print!("{text}");
            super::FINE
        }
        Err(fault) => {
            eprintln!("tasrih ca: {fault}");
            super::UNREADABLE
        }
    }
}

/// An error with its causes.
fn whole(fault: &(dyn Error + 'static)) -> String {
    told(fault)
}

fn hint(fault: &AuthorityFault) -> &'static str {
    let missing = matches!(fault, AuthorityFault::CertificateFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    if missing { "\nhint: `tasrih ca init` makes it" } else { "" }
}

fn shown(folder: &Folder, authority: &Authority) -> String {
    let (certificate, key) = (folder.certificate(), folder.key());
    let mode = secret::mode(&key).map_or_else(|error| error.to_string(), |mode| format!("mode {mode:04o}"));
    let mut text = certificate_lines(authority.facts());
    line(&mut text, "certificate", &certificate.display());
    line(&mut text, "key", &format_args!("{} ({mode})", key.display()));
    line(
        &mut text,
        "trust it",
        &format_args!("curl --cacert {} -x http://127.0.0.1:3128 https://…", certificate.display()),
    );
    if let Some(next) = authority.next() {
        text.push_str("\nnext, and trusted besides until `tasrih ca rotate --finish` lets it take over:\n");
        text.push_str(&certificate_lines(next));
        line(&mut text, "key", &rotation::next_key(&key).display());
    }
    text
}

fn certificate_lines(facts: &AuthorityFacts) -> String {
    let mut text = String::new();
    line(&mut text, "subject", &facts.subject);
    line(&mut text, "serial", &facts.serial);
    line(&mut text, "valid from", &day(facts.not_before));
    line(&mut text, "valid until", &day(facts.not_after));
    line(&mut text, "sha-256", &fingerprint(&facts.sha256));
    line(&mut text, "spki pin", &STANDARD.encode(facts.spki_sha256));
    text
}

fn line(text: &mut String, name: &str, value: &dyn Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name:<12} {value}");
}

fn exported(made: &Export) -> String {
    let mut text = String::new();
    for file in &made.files {
        line(&mut text, "wrote", &file.display());
    }
    for step in &made.steps {
        line(&mut text, "do", step);
    }
    text
}

fn begun(folder: &Folder, next: &AuthorityFacts) -> String {
    let mut text = certificate_lines(next);
    line(&mut text, "certificate", &format_args!("{}, behind the present one", folder.certificate().display()));
    line(&mut text, "key", &rotation::next_key(&folder.key()).display());
    line(&mut text, "do", &"restart the proxy: clients that trust either authority are served from then on");
    line(&mut text, "do", &"roll the next one out: /ca.pem and `tasrih ca export` give both");
    line(&mut text, "do", &"`tasrih ca rotate --finish` when every client has it, and restart again");
    text
}

fn finished(folder: &Folder, facts: &AuthorityFacts) -> String {
    let (certificate, key) = (folder.certificate(), folder.key());
    let mut text = certificate_lines(facts);
    let (old_certificate, old_key) = (rotation::previous(&certificate), rotation::previous(&key));
    line(&mut text, "replaced", &format_args!("{} and {}", old_certificate.display(), old_key.display()));
    line(&mut text, "do", &"restart the proxy; `tasrih doctor` then lists clients that do not trust it");
    line(&mut text, "do", &format_args!("take the old one from the devices, then delete {}", old_key.display()));
    text
}

/// As openssl and browsers print it: upper case, in pairs.
fn fingerprint(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn day(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "an unreadable time".to_owned(), |time| time.to_string())
}

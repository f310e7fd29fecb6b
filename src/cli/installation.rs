//! The options that name an installation: where its configuration, policies, authority and state are. `run`, `doctor`
//! and `probe` take the same ones, so that what is checked is what runs.

use std::path::PathBuf;

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Settings};
use crate::folder;
use crate::proxy::error::told;
use crate::register::Order;
use crate::register::compile::{Circumstances, Compiled, Text, compile_in};

/// Where things are.
#[derive(clap::Args)]
pub(super) struct Installation {
    /// Configuration file; without one every key has its default
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Folder of the policy files
    #[arg(long, value_name = "DIR", default_value = "policies")]
    pub(super) policies: PathBuf,
    /// Folder of the interception authority, in place of the configured one
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// State folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Installation {
    /// The configuration, with what the options put in its place. Warnings are printed.
    ///
    /// # Errors
    /// All faults of the file, to be printed.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let mut settings = match &self.config {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|fault| format!("cannot read `{}`: {fault}", path.display()))?;
                let loaded = config::read(&Text { name: path.display().to_string(), text })
                    .map_err(|faults| faults.to_string())?;
                for warning in &loaded.warnings {
                    eprintln!("{warning}");
                }
                loaded.settings
            }
        };
        if let Some(certs) = &self.certs {
            settings.interception.certificate = certs.join("ca.pem");
            settings.interception.key = certs.join("ca.key");
        }
        if let Some(state) = &self.state {
            settings.state.clone_from(state);
        }
        Ok(settings)
    }

    /// The register as it is now, for bodies held up to `hold` bytes, with the orders that were ever taken, and the files
    /// that it was compiled from; its warnings are for the caller.
    ///
    /// # Errors
    /// All faults of all files, to be printed.
    pub(super) fn compile(&self, hold: u64, remembered: &[Order]) -> Result<(Compiled, Vec<Text>), String> {
        let texts = folder::read(&self.policies).map_err(|fault| told(&fault))?;
        let documents = |file: &str| folder::document(&self.policies, file);
        let at = Some(SystemClock::default().wall());
        let circumstances = Circumstances { hold_limit: hold, at, documents: Some(&documents), remembered };
        let mut compiled = compile_in(&texts, &circumstances).map_err(|faults| faults.to_string())?;
        compiled.register = compiled.register.with_orders(remembered);
        Ok((compiled, texts))
    }
}

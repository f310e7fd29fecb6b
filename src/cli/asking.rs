//! What the commands have in common that ask a running proxy: which one is meant, and the asking.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use crate::admin::control::client::{Answer, AskFault, ask};
use crate::config::{self, Settings};
use crate::register::compile::Text;

/// Which proxy is meant.
#[derive(clap::Args)]
pub(super) struct Proxy {
    /// State folder of the proxy [default: the configured one, or var]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file of the proxy, to take the state folder from
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Proxy {
    /// Its state folder.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn state(&self) -> Result<PathBuf, String> {
        match (&self.state, &self.config) {
            (Some(state), _) => Ok(state.clone()),
            (None, None) => Ok(Settings::default().state),
            (None, Some(path)) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|fault| format!("cannot read `{name}`: {fault}"))?;
                let loaded = config::read(&Text { name, text }).map_err(|faults| faults.to_string())?;
                Ok(loaded.settings.state)
            }
        }
    }
}

/// Why a proxy was not asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskingFault {
    /// It does not answer.
    #[error(transparent)]
    Ask(#[from] AskFault),
    /// This process cannot wait for it.
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Asks the proxy on a state folder and waits for its answer.
///
/// # Errors
/// There is none.
pub(super) fn answer(
    state: &std::path::Path,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, AskingFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(ask(state, method, path, body))?)
}

/// The texts of faults or warnings in an answer, as `tasrih check` prints them.
pub(super) fn texts<'a>(answer: &'a Answer, key: &str) -> Vec<&'a str> {
    let listed = answer.body[key].as_array().map_or(&[][..], Vec::as_slice);
    listed.iter().filter_map(|fault| fault["text"].as_str()).collect()
}

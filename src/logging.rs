//! The operator's log: what the program does, on standard error. It is not the evidence (that is `audit/`), and it
//! carries no personal data: no query, field value, body or finding, only hosts, ids, reasons and sizes.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What is logged unless another filter is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Reads `text` or `json`; `None` for anything else.
    pub fn parse(word: &str) -> Option<Format> {
        match word {
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingFault {
    /// The filter is not written as filters are.
    #[error("`{filter}` is no log filter; write a level (`info`) or targets with levels (`warn,tasrih::proxy=debug`)")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// A process has one log.
    #[error("the log was set up already")]
    Twice,
}

/// Sets up the log of this process, once. The filter is written like `RUST_LOG`, which is not read: what an audit tool
/// logs is not to be changed from an environment.
pub fn init(format: Format, filter: &str) -> Result<(), LoggingFault> {
    let fault = |source| LoggingFault::Filter { filter: filter.to_owned(), source };
    let filter = EnvFilter::builder().parse(filter).map_err(fault)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
    };
    set.map_err(|_| LoggingFault::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_anything_is_set_up() {
        let fault = init(Format::Text, "tasrih=loud").expect_err("no level has this name");
        assert!(fault.to_string().contains("`tasrih=loud` is no log filter"), "{fault}");
    }
}

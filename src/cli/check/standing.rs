//! What these policy files mean for the register in force, which the state folder keeps: whether they protect less, and
//! what the authority must still be told once they are in force. Takes no lock.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::archive::{Archive, Standing};
use crate::register::diff::{Brief, Notice, carry, diff};
use crate::register::{Register, Version};

/// What follows from putting a register in force.
pub(super) struct Following {
    state: PathBuf,
    /// The register in force.
    previous: Version,
    /// What the files change; `None` where they say what is in force.
    brief: Option<Brief>,
    open: Vec<Notice>,
}

impl Following {
    /// Compares a register with that in force in this state folder, as of `now`.
    ///
    /// # Errors
    /// The state folder keeps no register, or a damaged one.
    pub(super) fn of(state: &Path, register: &Register, now: Timestamp) -> Result<Following, String> {
        let archive = Archive::of(state, 0);
        let standing = archive.standing().map_err(|fault| fault.to_string())?;
        let standing: Standing = standing.ok_or_else(|| {
            format!("nothing was in force with the state folder {} since registers are kept", state.display())
        })?;
        let previous = standing.version();
        let state = state.to_owned();
        if previous == register.version {
            return Ok(Following { state, previous, brief: None, open: standing.open });
        }
        let (before, _) = archive.load(&previous).map_err(|fault| fault.to_string())?;
        let diff = diff(&before, register);
        let open = carry(standing.open, &diff, &before, register, now);
        Ok(Following { state, previous, brief: Some(Brief::of(&diff)), open })
    }

    /// Whether somebody has to do something, or to think again.
    pub(super) fn is_finding(&self) -> bool {
        !self.open.is_empty() || self.brief.as_ref().is_some_and(Brief::weakens)
    }

    pub(super) fn as_text(&self) -> String {
        let mut text = match &self.brief {
            None => format!("{}: register {} is in force\n", self.state.display(), self.previous.short()),
            Some(brief) => {
                let (state, previous) = (self.state.display(), self.previous.short());
                format!("{state}: register {previous} is in force; these files change it: {}\n", brief.transfers)
            }
        };
        if let Some(brief) = self.brief.as_ref().filter(|brief| brief.weakens()) {
            text += &format!("warning: protects less than what is in force: {}\n", brief.weaker);
        }
        for notice in &self.open {
            let day = notice.since.strftime("%Y-%m-%d");
            text += &format!("warning: to be notified to the authority, in force since {day}: {}\n", notice.change());
        }
        if !self.open.is_empty() {
            text +=
                "  a `notifications` entry with the text after the colon as `change` closes it (law 09-08 art. 15)\n";
        }
        text
    }

    pub(super) fn as_json(&self) -> Json {
        let notice = |notice: &Notice| json!({ "change": notice.change(), "since": notice.since.to_string() });
        json!({
            "in_force": &*self.previous.0,
            "diff": self.brief.as_ref().map(Brief::to_json),
            "notify": self.open.iter().map(notice).collect::<Json>(),
        })
    }
}

//! `tasrih explain --record`: a decision of the past, made anew from the register of then, which the state folder keeps, or
//! by other policy files. Takes no lock: the proxy may be running.
//!
//! A record holds the facts that were judged but no content, so the answer says what is supposed in its place, and whether
//! it comes to the same. Limits are counted again from the records of the day before, as a restart would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Arguments, as_json, say};
use crate::archive::Archive;
use crate::audit;
use crate::cli::steps::Steps;
use crate::cli::test::register as compiled;
use crate::cli::{FINDINGS, FINE};
use crate::policy::dry::Answer;
use crate::policy::{Ledger, PastExchange};
use crate::record::facts::Facts;
use crate::record::history::History;
use crate::record::past::{self, Kind, Past};
use crate::record::replay::{Compared, Unknown};
use crate::register::{Register, Version};

/// Explains the decision with this id.
pub(super) fn explain(arguments: &Arguments, id: &str) -> u8 {
    let explained = Found::find(&arguments.states, id).and_then(|found| {
        let then = Then::of(&found, arguments.policies.as_deref())?;
        Explained::of(found, then, arguments.body.as_deref())
    });
    match explained {
        Err(fault) => say(&fault),
        Ok(explained) => {
            match arguments.json {
                true => println!("{:#}", explained.as_json()),
                false => print!("{explained}"),
            }
            // Another register may well decide otherwise; that of then must not.
            let is_odd = explained.then.is_kept() && explained.compared.as_ref().is_ok_and(Compared::differs);
            if is_odd { FINDINGS } else { FINE }
        }
    }
}

/// A decision in a log.
struct Found {
    state: PathBuf,
    decision: Past,
    outcome: Option<Past>,
    /// What the limits remembered when it was decided.
    before: Vec<PastExchange>,
}

impl Found {
    fn find(states: &[PathBuf], id: &str) -> Result<Found, String> {
        // The record of an outcome is asked for by its exchange.
        let id = id.strip_suffix(".outcome").unwrap_or(id);
        for state in states {
            if let Some(found) = Found::find_in(state, id)? {
                return Ok(found);
            }
        }
        let folders: Vec<String> = states.iter().map(|state| state.display().to_string()).collect();
        Err(format!(
            "there is no record {id:?} in {}; `tasrih transfers` lists them, and a refusal names its own in Proxy-Status",
            folders.join(", ")
        ))
    }

    fn find_in(state: &Path, id: &str) -> Result<Option<Found>, String> {
        let place = state.display();
        let records = audit::read(state)
            .map_err(|error| format!("there is no log in {place}: {error}; name a state folder with --state"))?;
        let (mut history, mut found) = (History::default(), None::<Found>);
        for record in records {
            let json = record.map_err(|fault| format!("{place}: {fault}"))?;
            let past = past::read(&json).map_err(|fault| format!("{place}: {fault}"))?;
            match &mut found {
                None if past.uid == id => match &past.kind {
                    Kind::Decision => {
                        let before = history.exchanges();
                        found = Some(Found { state: state.to_owned(), decision: past, outcome: None, before });
                    }
                    Kind::Outcome => {}
                    Kind::Lifecycle(word) => {
                        return Err(format!("record {id} is `{word}`, by which nothing was decided"));
                    }
                },
                None => history.take(&past),
                Some(found) if past.kind == Kind::Outcome && past.exchange == found.decision.exchange => {
                    found.outcome = Some(past);
                    break;
                }
                Some(_) => {}
            }
        }
        Ok(found)
    }
}

/// The register that is asked.
enum Then {
    /// That of then: who kept it, and since when it was in force first.
    Kept { register: Arc<Register>, release: String, first: Timestamp },
    /// Another one.
    Other(Arc<Register>),
}

impl Then {
    fn of(found: &Found, policies: Option<&Path>) -> Result<Then, String> {
        if let Some(folder) = policies {
            let register = compiled(folder).ok_or_else(|| format!("{} cannot be used", folder.display()))?;
            return Ok(Then::Other(register));
        }
        let version = found.decision.seen.register_version.as_deref();
        let version = Version(version.ok_or("the record names no register")?.into());
        let kept = Archive::of(&found.state, 0).load(&version).map_err(|fault| fault.to_string());
        let (register, manifest) = kept?;
        Ok(Then::Kept { register: Arc::new(register), release: manifest.release, first: manifest.first })
    }

    fn register(&self) -> &Arc<Register> {
        match self {
            Then::Kept { register, .. } | Then::Other(register) => register,
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Then::Kept { .. })
    }
}

/// A decision, made anew.
struct Explained {
    decision: Past,
    then: Then,
    facts: Facts,
    answer: Answer,
    compared: Result<Compared, Unknown>,
    /// What stands for what the record does not tell.
    supposed: Vec<String>,
}

impl Explained {
    fn of(found: Found, then: Then, body: Option<&Path>) -> Result<Explained, String> {
        let register = then.register().clone();
        let mut facts = Facts::of(&found.decision, &register).map_err(|unknown| unknown.as_str().to_owned())?;
        let mut supposed = Vec::new();
        if let Some(path) = body {
            let read = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            supposed.extend(is_of_then(&found, &read, path)?);
            facts.question.body = Some(read);
        }
        supposed.extend(facts.supposed(&register));
        let mut ledger = Ledger::default();
        found.before.iter().for_each(|past| ledger.replay(&register, past));
        let answer = facts.answer(&register, &mut ledger, found.outcome.as_ref());
        let compared = facts.compare(&answer);
        Ok(Explained { decision: found.decision, then, facts, answer, compared, supposed })
    }

    /// How the answer stands to what was decided.
    fn verdict(&self) -> String {
        match &self.compared {
            Ok(compared) if !compared.differs() => "the same".to_owned(),
            Ok(compared) if self.then.is_kept() => {
                format!(
                    "{}, which DIFFERS: what is supposed below is not as it was, or a release decides otherwise",
                    compared.after
                )
            }
            Ok(compared) => compared.after.to_string(),
            Err(unknown) => unknown.as_str().to_owned(),
        }
    }

    fn decided(&self) -> String {
        let Past { decision, reason, used, .. } = &self.decision;
        let word = decision.map_or("nothing", |decision| decision.as_str());
        match (reason, used) {
            (Some(reason), _) => format!("{word} {reason}"),
            (None, Some((_, id))) => format!("{word} under {id}"),
            (None, None) => word.to_owned(),
        }
    }

    fn as_json(&self) -> Value {
        let mut json = as_json(self.then.register(), &self.facts.question, &self.answer);
        let past = &self.decision;
        json["record"] = json!({
            "id": past.uid,
            "node": past.node,
            "sequence": past.sequence,
            "count": past.count,
            "register": past.seen.register_version,
            "register_is_of_then": self.then.is_kept(),
            "decided": self.decided(),
            "again": self.verdict(),
            "same": self.compared.as_ref().ok().map(|compared| !compared.differs()),
            "supposed": self.supposed,
        });
        json
    }
}

/// Holds a body against the digest on record: a line where there is none to hold it against.
fn is_of_then(found: &Found, body: &[u8], path: &Path) -> Result<Option<String>, String> {
    let Some((_, Some(digest))) = found.decision.body else {
        return Ok(Some(format!("that {} is what was sent: the record has no digest of a body", path.display())));
    };
    let key = audit::stored_digest_key(&found.state).map_err(|fault| fault.to_string())?;
    match key.digest(body) == digest {
        true => Ok(None),
        false => Err(format!("{} is not the body that was sent: its digest is another one", path.display())),
    }
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let past = &self.decision;
        let zone = self.then.register().time_zone();
        let day = |time: Timestamp| zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string();
        writeln!(f, "record {} ({}, number {})", past.uid, past.node, past.sequence)?;
        match &self.then {
            Then::Kept { register, release, first } => {
                let (version, first) = (register.version.short(), day(*first));
                writeln!(f, "  register  {version}, that of then, first in force {first}, kept by release {release}")?;
            }
            Then::Other(register) => {
                let then = past.seen.register_version.as_deref().and_then(|then| then.get(..12)).unwrap_or("unknown");
                writeln!(f, "  register  {}, not that of then ({then})", register.version.short())?;
            }
        }
        writeln!(f, "  decided   {}", self.decided())?;
        writeln!(f, "  again     {}", self.verdict())?;
        for (place, line) in self.supposed.iter().enumerate() {
            writeln!(f, "  {:<8}  {line}", if place == 0 { "not told" } else { "" })?;
        }
        writeln!(f)?;
        write!(f, "{}", Steps::of(self.then.register(), &self.facts.question, &self.answer))
    }
}

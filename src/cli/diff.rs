//! `tasrih diff`: what changed between two folders of policy files, in the officer's words. Nothing is put in force.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{FINDINGS, FINE, UNREADABLE};
use crate::archive::Archive;
use crate::folder;
use crate::proxy::error::told;
use crate::register::compile::{HOLD_LIMIT, Text, compile_with};
use crate::register::diff;
use crate::register::{Register, Version};

/// Tell what changed between two registers, and what the authority must be told
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder of the older policy files; with --git, the folder of both; with --state, a version that was in force, or its
    /// beginning
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Folder of the newer policy files; with --state, a later version, or nothing for the register in force
    #[arg(value_name = "NEW", required_unless_present_any = ["git", "state"], conflicts_with = "git")]
    new: Option<PathBuf>,
    /// Take both from the registers that this state folder keeps
    #[arg(long, value_name = "DIR", conflicts_with = "git")]
    state: Option<PathBuf>,
    /// Take the older files from this revision of the git checkout that the folder lies in
    #[arg(long, value_name = "REV")]
    git: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    let registers = (|| {
        if let Some(state) = &arguments.state {
            return kept(state, &arguments.old, arguments.new.as_deref());
        }
        let newer = arguments.new.as_deref().unwrap_or(&arguments.old);
        let old = match &arguments.git {
            Some(revision) => compiled(&format!("{revision}:{}", newer.display()), &at(revision, newer)?)?,
            None => compiled(&arguments.old.display().to_string(), &read(&arguments.old)?)?,
        };
        Ok::<_, String>((old, compiled(&newer.display().to_string(), &read(newer)?)?))
    })();
    let (old, new) = match registers {
        Ok(registers) => registers,
        Err(fault) => {
            eprintln!("tasrih diff: {fault}");
            return UNREADABLE;
        }
    };
    let diff = diff::diff(&old, &new);
    match arguments.json {
        true => println!("{:#}", diff.to_json()),
        false => print!("{diff}"),
    }
    if diff.weakens() || diff.open().next().is_some() { FINDINGS } else { FINE }
}

/// Two registers that were in force with this state folder.
fn kept(state: &Path, old: &Path, new: Option<&Path>) -> Result<(Register, Register), String> {
    let archive = Archive::of(state, 0);
    let load =
        |version: Version| archive.load(&version).map(|(register, _)| register).map_err(|fault| fault.to_string());
    let named = |beginning: &Path| load(archive.beginning(&beginning.to_string_lossy())?);
    let new = match new {
        Some(new) => named(new)?,
        None => {
            let standing = archive.standing().map_err(|fault| fault.to_string())?;
            load(standing.ok_or_else(|| format!("{} keeps no register", state.display()))?.version())?
        }
    };
    Ok((named(old)?, new))
}

fn read(folder: &Path) -> Result<Vec<Text>, String> {
    // An empty register is one; a folder that is not there is a slip.
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    folder::read(folder).map_err(|fault| told(&fault))
}

fn compiled(name: &str, texts: &[Text]) -> Result<Register, String> {
    let compiled = compile_with(texts, HOLD_LIMIT);
    compiled.map(|compiled| compiled.register).map_err(|faults| format!("{name} has faults\n{faults}"))
}

/// The policy files of a folder as a revision has them.
fn at(revision: &str, folder: &Path) -> Result<Vec<Text>, String> {
    if revision.starts_with('-') {
        return Err(format!("{revision:?} is no revision"));
    }
    let listed = git(folder, &["ls-tree", "--name-only", "-z", &format!("{revision}:./")])?;
    let is_policy = |name: &&str| name.ends_with(".yaml") && !name.starts_with('.');
    let names = listed.split('\0').filter(is_policy);
    let text = |name: &str| {
        let text = git(folder, &["show", &format!("{revision}:./{name}")])?;
        Ok(Text { name: format!("{revision}:{name}"), text })
    };
    names.map(text).collect()
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    // A revision that begins with a hyphen would be an option; git knows none that does.
    let run = Command::new("git").arg("-C").arg(folder).args(arguments).output();
    let output = run.map_err(|fault| format!("cannot run git: {fault}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| "a policy file of that revision is no UTF-8".to_owned())
}

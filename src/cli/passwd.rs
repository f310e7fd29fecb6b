//! `tasrih passwd`: users and their passwords.
//!
//! A password comes from the terminal, typed twice and not shown, or from standard input where that is no terminal. Never
//! from an argument or the environment, where others on the machine could read it.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::{FINDINGS, FINE, UNREADABLE};
use crate::proxy::error::told;
use crate::users::file::{self, Table, Written};
use crate::users::hash::Hash;
use crate::users::words::{Password, UserName, WordFault};

mod prompt;

/// Longest input that is read, in bytes; a password has far less.
const MOST: u64 = 4_096;

/// Set a user's password, take a user out, or list the users of a users file
#[derive(clap::Args)]
pub struct Arguments {
    /// The users file, as the configuration's `users` names it; made where it is not there
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
    /// Take the user out
    #[arg(long, conflicts_with = "list")]
    delete: bool,
    /// List the users, one a line
    #[arg(long)]
    list: bool,
    /// The user; the password is asked for on the terminal, or read from standard input
    #[arg(value_name = "NAME", required_unless_present = "list", conflicts_with = "list")]
    name: Option<String>,
}

pub fn main(arguments: Arguments) -> u8 {
    let done = match (&arguments.name, arguments.delete) {
        (None, _) => list(&arguments.users),
        (Some(name), true) => delete(&arguments.users, name),
        (Some(name), false) => set(&arguments.users, name),
    };
    done.unwrap_or_else(|fault| {
        eprintln!("tasrih: {fault}");
        UNREADABLE
    })
}

fn list(users: &Path) -> Result<u8, String> {
    let table = Table::read(users).map_err(|fault| told(&fault))?;
    table.names().for_each(|name| println!("{name}"));
    Ok(FINE)
}

fn delete(users: &Path, name: &str) -> Result<u8, String> {
    let name = UserName::parse(name).map_err(|fault| fault.to_string())?;
    match file::write(users, &name, None).map_err(|fault| told(&fault))? {
        Written::Absent => {
            eprintln!("tasrih: there is no user `{name}` in `{}`", users.display());
            Ok(FINDINGS)
        }
        Written::Added | Written::Changed | Written::Deleted => {
            println!("{name} deleted");
            Ok(FINE)
        }
    }
}

fn set(users: &Path, name: &str) -> Result<u8, String> {
    let name = UserName::parse(name).map_err(|fault| fault.to_string())?;
    // Before anybody types twice: a file that cannot be read will not be written either.
    if users.exists() {
        Table::read(users).map_err(|fault| told(&fault))?;
    }
    let password = ask(&name)?;
    let hash = Hash::of(&password).map_err(|fault| fault.to_string())?;
    match file::write(users, &name, Some(&hash)).map_err(|fault| told(&fault))? {
        Written::Added => println!("{name} added"),
        Written::Changed | Written::Deleted | Written::Absent => println!("{name} changed"),
    }
    Ok(FINE)
}

/// The password from wherever it comes.
fn ask(name: &UserName) -> Result<Password, String> {
    let checked = |text: &str| Password::new(text, name).map_err(refused);
    if !io::stdin().is_terminal() {
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(MOST)
            .read_to_string(&mut text)
            .map_err(|fault| format!("cannot read the password: {fault}"))?;
        // `echo` ends a line, and so does a file; what follows a first line is no password.
        let line = text.strip_suffix('\n').unwrap_or(&text);
        return checked(line.strip_suffix('\r').unwrap_or(line));
    }
    let unseen = |prompt: &str| prompt::unseen(prompt).map_err(|fault| format!("no password was read: {fault}"));
    let password = unseen(&format!("password for {name}: "))?;
    let checked = checked(&password)?;
    match unseen("the same again: ")? == password {
        true => Ok(checked),
        false => Err("the two passwords differ; nothing was written".to_owned()),
    }
}

fn refused(fault: WordFault) -> String {
    format!("{fault}; nothing was written")
}

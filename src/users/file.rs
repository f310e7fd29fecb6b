//! The users file: one line a user, `name:$argon2id$…`; blank lines and lines that begin with `#` are left alone.
//!
//! It is read whole or not at all, and written by exchanging the file: whoever reads it meanwhile sees the old one or the
//! new one. Two that write at once take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::hash::{Hash, HashFault, NoHash};
use super::words::{UserName, WordFault};
use crate::register::Register;
use crate::secret::{self, Secret, SecretFault};

/// Most users of a file.
pub const MOST_USERS: usize = 10_000;

/// Users with their hashes, and one hash that is nobody's.
#[derive(Debug)]
pub struct Table {
    users: BTreeMap<String, Hash>,
    /// As costly as the costliest of the others: whoever asks for a user that is not there waits no less.
    pub(super) decoy: Hash,
}

/// Why a users file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersFault {
    /// It cannot be read, or others may.
    #[error(transparent)]
    File(#[from] SecretFault),
    /// A line is wrong. Never quotes a hash.
    #[error("users file `{}` line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// What is wrong.
        what: LineFault,
    },
    /// It has too many users.
    #[error("users file `{}` has more than {MOST_USERS} users", .0.display())]
    TooMany(PathBuf),
    /// It cannot be written.
    #[error("cannot write users file `{}`", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The machine gives no random numbers.
    #[error(transparent)]
    NoHash(#[from] NoHash),
}

/// What is wrong with a line.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    #[error("no colon stands between name and hash; `tasrih passwd` writes lines that can be read")]
    NoColon,
    #[error(transparent)]
    Name(#[from] WordFault),
    #[error("the hash of `{user}` {fault}; `tasrih passwd` makes one")]
    Hash { user: UserName, fault: HashFault },
    #[error("`{user}` stands at line {first} already; keep one of the two")]
    Twice { user: UserName, first: usize },
}

impl Table {
    /// Nobody.
    ///
    /// # Errors
    /// The machine gives no random numbers.
    pub fn empty() -> Result<Table, NoHash> {
        Ok(Table { users: BTreeMap::new(), decoy: Hash::decoy(&[])? })
    }

    /// Reads a file that its owner alone may read.
    ///
    /// # Errors
    /// [`UsersFault`]; of several lines that are wrong, the first.
    pub fn read(path: &Path) -> Result<Table, UsersFault> {
        Table::parse(path, &secret::read(Secret::Users, path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Table, UsersFault> {
        let mut users: BTreeMap<String, Hash> = BTreeMap::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for (written, line) in text.lines().zip(1..) {
            let fault = |what| UsersFault::Line { path: path.to_owned(), line, what };
            let Some((user, hash)) = entry(written).map_err(fault)? else { continue };
            if let Some(first) = lines.insert(user.as_str().to_owned(), line) {
                return Err(fault(LineFault::Twice { user, first }));
            }
            users.insert(user.as_str().to_owned(), hash);
        }
        if users.len() > MOST_USERS {
            return Err(UsersFault::TooMany(path.to_owned()));
        }
        let hashes: Vec<&Hash> = users.values().collect();
        let decoy = Hash::decoy(&hashes)?;
        Ok(Table { users, decoy })
    }

    /// The hash of a user.
    pub fn hash_of(&self, user: &str) -> Option<&Hash> {
        self.users.get(user)
    }

    /// Everybody, in the order of their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The users that sources of a register want and who are not here, each once.
    pub fn missing(&self, register: &Register) -> Vec<String> {
        let wanted: BTreeSet<&str> = register.sources.iter().filter_map(|source| source.user.as_deref()).collect();
        wanted.into_iter().filter(|user| !self.users.contains_key(*user)).map(str::to_owned).collect()
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// The entry of a line; `None` for blank lines and comments.
fn entry(line: &str) -> Result<Option<(UserName, Hash)>, LineFault> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line.split_once(':').ok_or(LineFault::NoColon)?;
    let user = UserName::parse(name)?;
    let hash = Hash::parse(hash.trim_end()).map_err(|fault| LineFault::Hash { user: user.clone(), fault })?;
    Ok(Some((user, hash)))
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The user is new.
    Added,
    /// The user has another password now.
    Changed,
    /// The user is gone.
    Deleted,
    /// There was no such user, and nothing was written.
    Absent,
}

/// Gives a user this hash, or without one takes the user out. A file that is not there is made with mode 0600; one that
/// is keeps its owner and every other line as it is.
///
/// # Errors
/// [`UsersFault`]; the file is as it was then.
pub fn write(path: &Path, user: &UserName, hash: Option<&Hash>) -> Result<Written, UsersFault> {
    let unwritable = |source| UsersFault::Unwritable { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let turn = File::open(folder).map_err(unwritable)?;
    // Given back when the folder is closed.
    rustix::fs::flock(&turn, FlockOperation::LockExclusive).map_err(|fault| unwritable(fault.into()))?;
    let before = match path.exists() {
        true => secret::read(Secret::Users, path)?,
        false => String::new(),
    };
    // A file with a faulty line is mended by hand: writing it anew would bury the fault.
    let table = Table::parse(path, &before)?;
    let written = match (table.hash_of(user.as_str()), hash) {
        (None, Some(_)) => Written::Added,
        (Some(_), Some(_)) => Written::Changed,
        (Some(_), None) => Written::Deleted,
        (None, None) => return Ok(Written::Absent),
    };
    exchange(path, folder, &edited(&before, user, hash)).map_err(unwritable)?;
    turn.sync_all().map_err(unwritable)?;
    Ok(written)
}

fn edited(before: &str, user: &UserName, hash: Option<&Hash>) -> String {
    let line = hash.map(|hash| format!("{user}:{hash}"));
    let is_theirs = |written: &str| matches!(entry(written), Ok(Some((other, _))) if other == *user);
    let mut lines: Vec<&str> = Vec::new();
    let mut is_placed = false;
    for written in before.lines() {
        match (is_theirs(written), &line) {
            (false, _) => lines.push(written),
            (true, Some(line)) => {
                lines.push(line);
                is_placed = true;
            }
            (true, None) => {}
        }
    }
    lines.extend(line.as_deref().filter(|_| !is_placed));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn exchange(path: &Path, folder: &Path, text: &str) -> io::Result<()> {
    let mut file =
        tempfile::Builder::new().prefix(".users-").permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(before) = fs::metadata(path) {
        fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|fault| fault.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=65536,t=3,p=4$c29tc2FsdHNvbWVzYWx0$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    fn parsed(text: &str) -> Result<Table, String> {
        Table::parse(Path::new("users"), text).map_err(|fault| fault.to_string())
    }

    #[test]
    fn lines_are_users_and_the_rest_is_left_alone() {
        let table = parsed(&format!("# the office\n\namal:{HASH}\nRen\u{e9}:{HASH}\n")).expect("fine");
        assert_eq!(table.names().collect::<Vec<_>>(), ["Ren\u{e9}", "amal"]);
        assert!(table.hash_of("amal").is_some() && table.hash_of("Amal").is_none());
        assert!(parsed("").expect("fine").is_empty());
    }

    #[test]
    fn the_first_faulty_line_is_named_and_no_hash_is_quoted() {
        for (text, told) in [
            (format!("amal:{HASH}\nsecret"), "users file `users` line 2: no colon stands between name and hash; `tasrih passwd` writes lines that can be read".to_owned()),
            ("a b:x".to_owned(), "users file `users` line 1: the user name `a b` has a space or a control character".to_owned()),
            ("amal:$2y$10$SECRETHASH".to_owned(), "users file `users` line 1: the hash of `amal` is not `$argon2id$v=19$m=…,t=…,p=…$salt$hash`; `tasrih passwd` makes one".to_owned()),
            ("amal:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q".to_owned(), "users file `users` line 1: the hash of `amal` is too costly (m=4194304,t=1,p=1): at most m=131072, p=16 and m×t=524288 are verified; `tasrih passwd` makes one".to_owned()),
            (format!("amal:{HASH}\n\namal:{HASH}"), "users file `users` line 3: `amal` stands at line 1 already; keep one of the two".to_owned()),
        ] {
            assert_eq!(parsed(&text).expect_err("faulty"), told);
        }
    }

    #[test]
    fn one_line_is_written_and_the_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let user = |name: &str| UserName::parse(name).expect("a name");
        let hash = Hash::parse(HASH).expect("a hash");
        assert_eq!(write(&path, &user("amal"), None).expect("fine"), Written::Absent);
        assert!(!path.exists());
        assert_eq!(write(&path, &user("amal"), Some(&hash)).expect("written"), Written::Added);
        fs::write(&path, format!("# ours\n{}reda:{HASH}", fs::read_to_string(&path).expect("read"))).expect("written");
        assert_eq!(
            write(&path, &user("amal"), Some(&Hash::decoy(&[]).expect("made"))).expect("written"),
            Written::Changed
        );
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("# ours\namal:$argon2id$") && text.ends_with(&format!("\nreda:{HASH}\n")), "{text}");
        assert_eq!(write(&path, &user("amal"), None).expect("written"), Written::Deleted);
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("# ours\nreda:{HASH}\n"));
        assert_eq!(secret::mode(&path).expect("there"), 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left behind");
    }
}

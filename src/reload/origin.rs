//! Who changed the policy files, as far as the files tell: the owner of the one written last, and where the folder is
//! part of a git checkout, its commit and who brought the checkout there.
//!
//! Git itself is not run, because what it runs is chosen by the configuration of the checkout. The commit is read from
//! `HEAD`, and the name from the last line of its log, which git keeps as text: it is that of whoever committed, pulled
//! or checked out here. Files that were changed after that are not told apart from it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::folder::Seen;
use crate::record::{Asker, Origin};

/// Largest file of a checkout that is read, in bytes; the log of `HEAD` is read from its end.
const LARGEST: u64 = 16 * 1024 * 1024;
/// Longest name that goes on record, in bytes.
const LONGEST_NAME: usize = 200;

/// Who made `now` of `before` in this folder.
pub fn origin(folder: &Path, before: &Seen, now: &Seen) -> Origin {
    let newest = now.newest_since(before);
    let (commit, brought_by) = checkout(folder).unwrap_or_default();
    Origin {
        file: newest.and_then(|(path, _)| path.file_name()).map(|name| name.to_string_lossy().into_owned()),
        owner: newest.map(|(_, owner)| owner),
        commit,
        brought_by,
        asked_by: None,
    }
}

/// A user of this machine, with the name that `/etc/passwd` has for it. Users of a directory service have none there;
/// their number is what counts.
pub fn asker(uid: u32) -> Asker {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| name.chars().take(LONGEST_NAME).collect())
    };
    let known = small(Path::new("/etc/passwd"));
    Asker { uid, user: known.and_then(|known| known.lines().find_map(name)) }
}

/// Commit and name; `None` where the folder is no part of a checkout.
fn checkout(folder: &Path) -> Option<(Option<String>, Option<String>)> {
    let folder = folder.canonicalize().ok()?;
    let git = folder.ancestors().find_map(git_folder)?;
    let last = small(&git.join("logs/HEAD")).and_then(|log| log.lines().last().map(str::to_owned));
    let name = last.as_deref().and_then(name_in_log).map(|name| name.chars().take(LONGEST_NAME).collect());
    Some((commit(&git), name))
}

/// The folder that git keeps its own in: `.git`, or for a linked worktree where the file of that name says.
fn git_folder(above: &Path) -> Option<PathBuf> {
    let git = above.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let elsewhere = small(&git)?.strip_prefix("gitdir:")?.trim().to_owned();
    Some(above.join(elsewhere)).filter(|folder| folder.is_dir())
}

fn commit(git: &Path) -> Option<String> {
    let head = small(&git.join("HEAD"))?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return hash(head.trim()) };
    // The branches of a linked worktree are kept with the main one.
    let common = small(&git.join("commondir")).map_or(git.to_owned(), |common| git.join(common.trim()));
    let loose = small(&common.join(reference)).and_then(|written| hash(written.trim()));
    let packed = || {
        let packed = small(&common.join("packed-refs"))?;
        let line =
            packed.lines().find_map(|line| line.strip_suffix(reference)?.strip_suffix(' ').map(str::to_owned))?;
        hash(&line)
    };
    loose.or_else(packed)
}

/// An object id of SHA-1 or SHA-256.
fn hash(text: &str) -> Option<String> {
    let is_hash = [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}

/// `OLD NEW Name <address> SECONDS ZONE\tWHAT`
fn name_in_log(line: &str) -> Option<&str> {
    let told = line.split('\t').next()?;
    let after = told.splitn(3, ' ').nth(2)?;
    let end = after.rfind('>')?;
    Some(&after[..=end])
}

fn small(path: &Path) -> Option<String> {
    let length = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    (length <= LARGEST).then(|| fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "93b56d3aa0c4a1f2b6f0b8e7f1d2c3b4a5968778";

    fn look(folder: &Path) -> Seen {
        Seen::of(folder).expect("readable").expect("a folder")
    }

    #[test]
    fn users_have_their_name() {
        assert_eq!(asker(0).user.as_deref(), Some("root"));
        assert_eq!(asker(u32::MAX - 1), Asker { uid: u32::MAX - 1, user: None });
    }

    #[test]
    fn the_file_its_owner_and_the_checkout_are_told() {
        let checkout = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = checkout.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("policies/a.yaml", "");
        let policies = checkout.path().join("policies");
        let before = look(&policies);
        write("policies/b.yaml", "");
        let now = look(&policies);
        let alone = origin(&policies, &before, &now);
        assert_eq!((alone.file.as_deref(), alone.commit), (Some("b.yaml"), None));
        assert!(alone.owner.is_some());

        write(".git/HEAD", "ref: refs/heads/main\n");
        write(".git/packed-refs", &format!("# pack-refs with: peeled\n{COMMIT} refs/heads/main\n"));
        let zero = "0".repeat(40);
        write(
            ".git/logs/HEAD",
            &format!(
                "{zero} {zero} A <a@example> 1 +0000\tclone\n{zero} {COMMIT} Amal B. <amal@example> 2 +0100\tpull: >\n"
            ),
        );
        let told = origin(&policies, &before, &now);
        assert_eq!(told.commit.as_deref(), Some(COMMIT));
        assert_eq!(told.brought_by.as_deref(), Some("Amal B. <amal@example>"));
        write(".git/refs/heads/main", &"b".repeat(40));
        assert_eq!(origin(&policies, &before, &now).commit, Some("b".repeat(40)), "a loose reference is the newer one");
    }
}

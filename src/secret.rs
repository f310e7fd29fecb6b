//! Files that hold secrets, private keys and password hashes: made with mode 0600, and refused when others may read them.
//!
//! The check is made on the opened file, so that what was checked is what is read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a secret file holds, and so what it is called and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A private key.
    Key,
    /// Users and the hashes of their passwords.
    Users,
}

impl Secret {
    /// Bytes; a file that is larger is something else.
    fn most(self) -> u64 {
        match self {
            Secret::Key => 64 * 1024,
            Secret::Users => 4 * 1024 * 1024,
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Key => "key file",
            Secret::Users => "users file",
        })
    }
}

/// Where systemd lays the credentials of services.
const CREDENTIALS: &str = "/run/credentials";

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// It cannot be opened, read or written.
    #[error("cannot use {what} `{}`", path.display())]
    Unusable {
        /// What it holds.
        what: Secret,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Group or others have some right on it.
    #[error("{what} `{}` is open to others (mode {mode:04o}); run `chmod 600 {}`", path.display(), path.display())]
    OpenToOthers {
        /// What it holds.
        what: Secret,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user, not root, owns it and may read it.
    #[error("{what} `{}` belongs to user {owner}, who is neither the one that runs this nor root; `chown` it", path.display())]
    OthersProperty {
        /// What it holds.
        what: Secret,
        /// The file.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// Everybody may put another file in its place.
    #[error("folder `{}` of the {what} can be written by everybody (mode {mode:04o}); run `chmod o-w {}`", folder.display(), folder.display())]
    OpenFolder {
        /// What the file holds.
        what: Secret,
        /// The folder.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a folder, a device, or far too large.
    #[error("{what} `{}` is not a regular file of at most {} bytes", path.display(), what.most())]
    NotAFile {
        /// What it holds.
        what: Secret,
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file whose owner alone has rights on it.
///
/// # Errors
/// [`SecretFault`].
pub fn read(what: Secret, path: &Path) -> Result<String, SecretFault> {
    let unusable = |source| SecretFault::Unusable { what, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unusable)?;
    let metadata = file.metadata().map_err(unusable)?;
    if !metadata.is_file() || metadata.len() > what.most() {
        return Err(SecretFault::NotAFile { what, path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden(path, metadata.uid()) != 0 {
        return Err(SecretFault::OpenToOthers { what, path: path.to_owned(), mode });
    }
    if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err(SecretFault::OthersProperty { what, path: path.to_owned(), owner: metadata.uid() });
    }
    check_folder(what, path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unusable)?;
    Ok(text)
}

/// In a folder with the sticky bit, such as `/tmp`, nobody replaces what is another's.
fn check_folder(what: Secret, path: &Path) -> Result<(), SecretFault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = mode(folder).map_err(|source| SecretFault::Unusable { what, path: folder.to_owned(), source })?;
    match mode & 0o1002 {
        0o0002 => Err(SecretFault::OpenFolder { what, folder: folder.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// The rights that nobody else may have. systemd hands a credential (`LoadCredential=`) to one user through an access
/// list, whose mask shows as read permission of a group that has none: only root can lay a file there.
fn forbidden(path: &Path, owner: u32) -> u32 {
    if owner == 0 && path.starts_with(CREDENTIALS) { 0o037 } else { 0o077 }
}

/// Writes a new file with mode 0600 and syncs it; a file that is already there is never touched.
///
/// # Errors
/// [`SecretFault`].
pub fn create(what: Secret, path: &Path, text: &str) -> Result<(), SecretFault> {
    let unusable = |source| SecretFault::Unusable { what, path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unusable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)
}

impl SecretFault {
    /// The file or folder that is at fault.
    pub fn path(&self) -> &Path {
        match self {
            SecretFault::Unusable { path, .. }
            | SecretFault::OpenToOthers { path, .. }
            | SecretFault::OthersProperty { path, .. }
            | SecretFault::OpenFolder { folder: path, .. }
            | SecretFault::NotAFile { path, .. } => path,
        }
    }
}

/// The permission bits of a file, for showing.
///
/// # Errors
/// What the system answers.
pub fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_credential_of_roots_may_show_a_groups_right_to_read() {
        let credential = Path::new("/run/credentials/tasrih.service/ca.key");
        assert_eq!(0o440 & forbidden(credential, 0), 0);
        for (path, owner, mode) in [
            (credential, 0, 0o460),
            (credential, 0, 0o444),
            (credential, 1000, 0o440),
            (Path::new("/etc/tasrih/certs/ca.key"), 0, 0o440),
            (Path::new("/run/credentials-of-others/ca.key"), 0, 0o440),
        ] {
            assert_ne!(mode & forbidden(path, owner), 0, "{} {owner} {mode:o}", path.display());
        }
    }
}

//! Reads the policy files of a folder into texts, and looks for the documents that they name; what they mean is for
//! [`crate::register`].

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::register::compile::Text;
use crate::register::lint::Found;

/// Largest file that is read, in bytes. The register's own limit is lower and speaks of the file by name; this one only
/// keeps a stray disk image out of memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A folder or file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct FolderFault {
    path: PathBuf,
    source: io::Error,
}

/// All `*.yaml` of a folder, sorted by name. Folders inside it (`cases/`) are not entered, and names that begin with a
/// dot are left out: editors keep half-written copies there. A folder that is missing gives no texts, because a missing
/// register denies everything.
///
/// # Errors
/// Names the folder or file that cannot be read, or that is no UTF-8.
pub fn read(folder: &Path) -> Result<Vec<Text>, FolderFault> {
    let paths = policy_files(folder)?.unwrap_or_default();
    paths.iter().map(|path| text(path)).collect()
}

/// The policy files of a folder as they are on disk, without their content; equal where no file was written, exchanged,
/// added or taken away in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Mark>);

/// What changes when a file is written to, or another one is put in its place. Links are followed, so that a link that
/// leads elsewhere is a change too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds since 1970, of content and of inode.
    modified: (i64, i64),
    changed: (i64, i64),
    owner: u32,
}

impl Seen {
    /// Looks at files one by one; one that is not there, or cannot be looked at, is left out.
    pub fn of_files<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Seen {
        let mark = |path: &Path| Some((path.to_owned(), Mark::of(&fs::metadata(path).ok()?)));
        Seen(paths.into_iter().filter_map(mark).collect())
    }

    /// Looks at a folder; `None` where it is missing.
    ///
    /// # Errors
    /// Names the folder or file that cannot be looked at.
    pub fn of(folder: &Path) -> Result<Option<Seen>, FolderFault> {
        let Some(paths) = policy_files(folder)? else { return Ok(None) };
        let mut seen = BTreeMap::new();
        for path in paths {
            match fs::metadata(&path) {
                Ok(metadata) => seen.insert(path, Mark::of(&metadata)),
                // Taken away since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(fault(&path, error)),
            };
        }
        Ok(Some(Seen(seen)))
    }

    /// The file that was written last of those that differ from `before`, with the user id of its owner.
    pub fn newest_since(&self, before: &Seen) -> Option<(&Path, u32)> {
        let differs = self.0.iter().filter(|(path, mark)| before.0.get(*path) != Some(*mark));
        differs.max_by_key(|(_, mark)| mark.modified).map(|(path, mark)| (path.as_path(), mark.owner))
    }
}

/// How long ago a file must have been written, that another writing would leave another time.
const TICK: Duration = Duration::from_millis(50);

impl Mark {
    fn is_settled(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let since = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        (UNIX_EPOCH + since).elapsed().is_ok_and(|age| age >= TICK)
    }

    fn of(metadata: &Metadata) -> Mark {
        Mark {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            owner: metadata.uid(),
        }
    }
}

/// The texts of a folder between two readings: a file that is as it was is not read again.
#[derive(Debug, Default)]
pub struct Shelf {
    kept: BTreeMap<PathBuf, (Mark, Text)>,
    /// Files that were read so far.
    readings: u64,
}

/// Most text that is kept between two readings, in bytes. A larger register is read anew: what that costs is little
/// beside compiling it (0.07 of 8 seconds for 100,000 transfers in 95 MB), and what its text takes up is not. What the
/// texts were parsed into is not kept at all: it would spare half of these seconds, and take up 800 MB.
const MOST_KEPT: usize = 16 * 1024 * 1024;

impl Shelf {
    /// All texts of a folder, as [`read`] gives them.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, folder: &Path) -> Result<Vec<Text>, FolderFault> {
        let Seen(marks) = Seen::of(folder)?.unwrap_or_default();
        let mut before = std::mem::take(&mut self.kept);
        for (path, mark) in marks {
            let as_it_was = |known: &Mark| *known == mark && mark.is_settled();
            let kept = before.remove(&path).filter(|(known, _)| as_it_was(known)).map(|(_, text)| text);
            let text = match kept {
                Some(text) => text,
                None => {
                    self.readings += 1;
                    text(&path)?
                }
            };
            self.kept.insert(path, (mark, text));
        }
        let texts: Vec<Text> = self.kept.values().map(|(_, text)| text.clone()).collect();
        if texts.iter().map(|text| text.text.len()).sum::<usize>() > MOST_KEPT {
            self.kept.clear();
        }
        Ok(texts)
    }
}

/// The policy files of a folder, sorted by name; `None` where the folder is missing.
fn policy_files(folder: &Path) -> Result<Option<Vec<PathBuf>>, FolderFault> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|error| fault(folder, error))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| fault(folder, error))?.path();
        if is_policy_file(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(Some(paths))
}

fn fault(path: &Path, source: io::Error) -> FolderFault {
    FolderFault { path: path.to_owned(), source }
}

/// What lies at the path of a document, which begins at the folder of the policy files.
pub fn document(folder: &Path, file: &str) -> Found {
    match digest(&folder.join(file)) {
        Ok(digest) => Found::File(digest),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Found::Missing,
        Err(fault) => Found::Unreadable(fault.to_string()),
    }
}

/// SHA-256 of a file in hex. A pipe or device in its place would be read without end.
fn digest(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn is_policy_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".yaml") && !name.starts_with('.') && !path.is_dir()
}

fn text(path: &Path) -> Result<Text, FolderFault> {
    let read = || {
        let length = fs::metadata(path)?.len();
        if length > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes, more than {MAX_BYTES}")));
        }
        fs::read_to_string(path)
    };
    let text = read().map_err(|error| fault(path, error))?;
    Ok(Text { name: path.display().to_string(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(folder: &Path) -> Seen {
        Seen::of(folder).expect("readable").expect("a folder")
    }

    #[tokio::test]
    async fn only_the_file_that_changed_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a.yaml", "b.yaml", ".b.yaml.swp", "notes.txt"] {
            fs::write(path(name), name).expect("written");
        }
        let mut shelf = Shelf::default();
        let texts = |shelf: &mut Shelf| -> Vec<String> {
            shelf.read(folder.path()).expect("readable").into_iter().map(|text| text.text).collect()
        };
        tokio::time::sleep(2 * TICK).await;
        assert_eq!(texts(&mut shelf), ["a.yaml", "b.yaml"]);
        assert_eq!((texts(&mut shelf).len(), shelf.readings), (2, 2), "nothing changed");
        // As editors save: another file is put in its place, of the same length.
        fs::write(path("b.yaml~"), "B.YAML").expect("written");
        fs::rename(path("b.yaml~"), path("b.yaml")).expect("renamed");
        assert_eq!(texts(&mut shelf), ["a.yaml", "B.YAML"]);
        assert_eq!(shelf.readings, 3);
        tokio::time::sleep(2 * TICK).await;
        fs::remove_file(path("a.yaml")).expect("removed");
        assert_eq!(texts(&mut shelf), ["B.YAML"]);
        assert_eq!(shelf.readings, 3);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change_and_copies_of_editors_are_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        // As Kubernetes lays out a volume: every file leads through one link, which is exchanged.
        for version in ["..1", "..2"] {
            fs::create_dir(path(version)).expect("made");
            fs::write(path(version).join("a.yaml"), version).expect("written");
        }
        std::os::unix::fs::symlink("..1", path("..data")).expect("linked");
        std::os::unix::fs::symlink("..data/a.yaml", path("a.yaml")).expect("linked");
        let before = look(folder.path());
        fs::write(path(".a.yaml.swp"), "half").expect("written");
        fs::write(path("a.yaml~"), "old").expect("written");
        assert_eq!(look(folder.path()), before);
        std::os::unix::fs::symlink("..2", path("..new")).expect("linked");
        fs::rename(path("..new"), path("..data")).expect("renamed");
        let after = look(folder.path());
        assert_ne!(after, before);
        assert_eq!(after.newest_since(&before).map(|(changed, _)| changed.to_owned()), Some(path("a.yaml")));
        assert_eq!(Seen::of(&path("missing")).expect("no fault"), None);
    }
}

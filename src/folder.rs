//! Reads the policy files of a folder into texts; what they mean is for [`crate::register`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::register::compile::Text;

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
    let fault = |path: &Path, source: io::Error| FolderFault { path: path.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
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
    paths.iter().map(|path| text(path).map_err(|error| fault(path, error))).collect()
}

fn is_policy_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".yaml") && !name.starts_with('.') && !path.is_dir()
}

fn text(path: &Path) -> io::Result<Text> {
    let length = fs::metadata(path)?.len();
    if length > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes, more than {MAX_BYTES}")));
    }
    Ok(Text { name: path.display().to_string(), text: fs::read_to_string(path)? })
}

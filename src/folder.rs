//! Reads the policy files of a folder into texts, and looks for the documents that they name; what they mean is for
//! [`crate::register`].

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

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

fn text(path: &Path) -> io::Result<Text> {
    let length = fs::metadata(path)?.len();
    if length > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes, more than {MAX_BYTES}")));
    }
    Ok(Text { name: path.display().to_string(), text: fs::read_to_string(path)? })
}

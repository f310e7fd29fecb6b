//! Policy files beside what is said of them. `faults/` holds files that must not load, `loads/` their near misses; an
//! entry is a file or a folder of files, and `NAME.txt` beside it is what is said. `UPDATE_GOLDEN=1` writes those texts
//! anew; read the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};

use tasrih::register::compile::{Examined, HOLD_LIMIT, Text, examine};
use tasrih::register::fault::Faults;

#[test]
fn faulty_files_say_every_fault_with_its_place_and_a_hint() {
    let checked = check("faults", |name, examined| {
        assert!(examined.register.is_none(), "{name} must not load");
        let placed = examined.faults.iter().all(|fault| fault.line > 0 && fault.column > 0);
        assert!(placed, "{name}: every fault has a place");
        Faults(examined.faults.clone()).to_string()
    });
    assert!(checked >= 20, "{checked} faulty files");
}

#[test]
fn near_misses_load_and_say_their_warnings() {
    let checked = check("loads", |name, examined| {
        assert!(examined.register.is_some(), "{name} must load:\n{}", Faults(examined.faults.clone()));
        Faults(examined.warnings.clone()).to_string()
    });
    assert!(checked >= 10, "{checked} files that load");
}

/// Compares each entry of a folder with its text; gives the number of entries.
fn check(folder: &str, say: impl Fn(&str, &Examined) -> String) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/register").join(folder);
    let mut differing = Vec::new();
    let entries = entries(&folder);
    for entry in &entries {
        let name = entry.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let said = say(&name, &examine(&texts(entry), HOLD_LIMIT));
        let golden = entry.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).expect("the golden text can be written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            differing.push(format!("--- {name} says now\n{said}"));
        }
    }
    assert!(differing.is_empty(), "{}\n(UPDATE_GOLDEN=1 writes these)", differing.join("\n"));
    entries.len()
}

/// The files and folders to check, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).expect("the folder is in the tree").map(|entry| entry.expect("readable").path());
    let mut entries: Vec<PathBuf> =
        listed.filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "yaml")).collect();
    entries.sort();
    entries
}

/// One file, or all files of a folder, under their bare names.
fn texts(entry: &Path) -> Vec<Text> {
    let files = if entry.is_dir() { entries(entry) } else { vec![entry.to_owned()] };
    files
        .iter()
        .map(|file| Text {
            name: file.file_name().expect("a file has a name").to_string_lossy().into_owned(),
            text: fs::read_to_string(file).expect("a policy file is text"),
        })
        .collect()
}

//! Policy files beside what is said of them. `faults/` holds files that must not load, `loads/` their near misses,
//! `lints/` files that load with one warning, `silent/` their near misses; an entry is a file or a folder of files, and
//! `NAME.txt` beside it is what is said. `UPDATE_GOLDEN=1` writes those texts anew; read the difference before you commit
//! it. Lints are judged on 2 May 2024, or on the day of a first line `# at: DATE`; documents lie in `documents/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tasrih::folder;
use tasrih::register::compile::{Circumstances, Examined, HOLD_LIMIT, Text, examine, examine_in};
use tasrih::register::fault::Faults;
use tasrih::register::lint::Lint;

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

#[test]
fn each_lint_is_told_alone_and_its_near_miss_is_silent() {
    let mut told = BTreeSet::new();
    let checked = compare("lints", judge, |name, examined| {
        assert!(examined.register.is_some(), "{name} must load:\n{}", Faults(examined.faults.clone()));
        let codes: BTreeSet<Lint> = examined.warnings.iter().filter_map(|warning| warning.code).collect();
        // An exception that ended is one that was not inspected, too.
        assert!(codes.len() == 1 || name == "exception-ended.yaml", "{name}: {codes:?}");
        assert!(examined.warnings.iter().all(|warning| warning.line > 0 && warning.hint.is_some()), "{name}: a remedy");
        told.extend(codes);
        Faults(examined.warnings.clone()).to_string()
    });
    // No file tells these: they are about what the state folder remembers (`tests/operate/orders.rs`).
    let of_state = [Lint::OrderNotInFiles, Lint::OrderStopsNothing];
    let untold: Vec<&Lint> = Lint::ALL.iter().filter(|lint| !told.contains(lint) && !of_state.contains(lint)).collect();
    assert!(untold.is_empty(), "no file shows {untold:?}");
    let silent = entries(&folder_of("silent"));
    for entry in &silent {
        let examined = judge(entry);
        assert!(examined.register.is_some(), "{}:\n{}", entry.display(), Faults(examined.faults));
        assert!(examined.warnings.is_empty(), "{}:\n{}", entry.display(), Faults(examined.warnings));
    }
    assert!(silent.len() >= 25, "{} near misses", silent.len());
    // The officer's page promises sixty files with one fault or warning each.
    let single = entries(&folder_of("faults")).iter().filter(|entry| judge(entry).faults.len() == 1).count();
    assert!(checked + single >= 60, "{checked} files with one warning, {single} with one fault");
}

/// As `tasrih check` would on the day that the file names.
fn judge(entry: &Path) -> Examined {
    let texts = texts(entry);
    let day = texts.first().and_then(|text| text.text.lines().next()?.strip_prefix("# at: ")).unwrap_or("2024-05-02");
    let at: Timestamp = format!("{day}T10:00:00Z").parse().expect("a day");
    let documents = |file: &str| folder::document(&folder_of(""), file);
    examine_in(&texts, &Circumstances { at: Some(at), documents: Some(&documents), ..Circumstances::default() })
}

/// Compares each entry of a folder with its text; gives the number of entries.
fn check(folder: &str, say: impl FnMut(&str, &Examined) -> String) -> usize {
    compare(folder, |entry| examine(&texts(entry), HOLD_LIMIT), say)
}

fn compare(folder: &str, examine: impl Fn(&Path) -> Examined, mut say: impl FnMut(&str, &Examined) -> String) -> usize {
    let folder = folder_of(folder);
    let mut differing = Vec::new();
    let entries = entries(&folder);
    for entry in &entries {
        let name = entry.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        let said = say(&name, &examine(entry));
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

fn folder_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/register").join(name)
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

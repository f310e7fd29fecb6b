//! A state folder's archive, with files that are lost, damaged or without room.

use super::*;
use crate::register::compile::compile;

fn texts(files: &[(&str, &str)]) -> Vec<Text> {
    files.iter().map(|(name, text)| Text { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

fn source(files: &[(&str, &str)]) -> (Version, Source) {
    let texts = texts(files);
    let version = compile(&texts).unwrap_or_else(|faults| panic!("{faults}")).register.version;
    (version, Source { texts, hold_limit: crate::register::compile::HOLD_LIMIT, remembered: Vec::new() })
}

const CONTROLLER: (&str, &str) = ("a.yaml", "controller: {name: A, country: MA, time_zone: Africa/Casablanca}\n");
const ONE: (&str, &str) = ("b.yaml", "sources: [{id: one, networks: [10.0.0.0/28]}]\n");
const TWO: (&str, &str) = ("b.yaml", "sources: [{id: two, networks: [10.0.0.0/28]}]\n");

fn names(folder: PathBuf) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path()).collect();
    names.sort();
    names
}

#[test]
fn each_version_is_had_again_and_an_unchanged_file_lies_there_once() {
    let state = tempfile::tempdir().expect("a folder");
    let archive = Archive::of(state.path(), 0);
    for files in [[CONTROLLER, ONE], [CONTROLLER, TWO]] {
        let (version, source) = source(&files);
        archive.keep(&version, source.clone(), Timestamp::UNIX_EPOCH).expect("kept");
        archive.keep(&version, source, Timestamp::MAX).expect("kept already");
        let (register, manifest) = archive.load(&version).expect("had again");
        assert_eq!((register.version, manifest.first), (version, Timestamp::UNIX_EPOCH));
    }
    assert_eq!((names(archive.texts()).len(), archive.size().versions), (3, 2));
    assert!(archive.size().bytes > 400 && archive.size().is_whole);
}

#[test]
fn what_is_lost_or_damaged_is_told_and_kept_again() {
    let state = tempfile::tempdir().expect("a folder");
    let archive = Archive::of(state.path(), 0);
    let (version, source) = source(&[CONTROLLER, ONE]);
    let told = |archive: &Archive| archive.load(&version).expect_err("a fault").to_string();
    assert!(told(&archive).contains(&format!("keeps no register {}", version.short())), "{}", told(&archive));
    archive.keep(&version, source.clone(), Timestamp::UNIX_EPOCH).expect("kept");

    let text = names(archive.texts()).remove(0);
    let whole = fs::read_to_string(&text).expect("a text");
    fs::write(&text, whole.to_uppercase()).expect("written");
    assert!(told(&archive).contains("its SHA-256 is not its name"), "{}", told(&archive));
    fs::remove_file(&text).expect("removed");
    assert!(told(&archive).contains("it is missing"), "{}", told(&archive));
    archive.keep(&version, source, Timestamp::UNIX_EPOCH).expect("kept again");
    archive.load(&version).expect("whole again");

    fs::write(archive.manifest_path(&version), "{").expect("written");
    assert!(told(&archive).contains("is damaged: EOF"), "{}", told(&archive));
    let outside = Version("../../etc/passwd".into());
    assert!(matches!(archive.load(&outside), Err(KeptFault::Missing { .. })));
}

#[test]
fn another_release_that_reads_otherwise_is_named() {
    let state = tempfile::tempdir().expect("a folder");
    let archive = Archive::of(state.path(), 0);
    let ((version, source), (other, _)) = (source(&[CONTROLLER, ONE]), source(&[CONTROLLER, TWO]));
    archive.keep(&version, source, Timestamp::UNIX_EPOCH).expect("kept");
    let manifest = fs::read_to_string(archive.manifest_path(&version)).expect("a manifest");
    let manifest = manifest.replace(&*version.0, &other.0).replace(env!("CARGO_PKG_VERSION"), "9.9.9");
    fs::write(archive.manifest_path(&other), manifest).expect("written");
    let told = archive.load(&other).expect_err("a fault").to_string();
    assert!(told.contains("otherwise than release 9.9.9"), "{told}");
}

#[test]
fn without_room_nothing_is_written_and_a_retry_mends_it() {
    let state = tempfile::tempdir().expect("a folder");
    let full = Archive::of(state.path(), u64::MAX / 2);
    let (version, source) = source(&[CONTROLLER, ONE]);
    let fault = full.keep(&version, source, Timestamp::UNIX_EPOCH).expect_err("no room");
    assert!(matches!(fault, KeptFault::NoRoom { .. }), "{fault}");
    assert!(!full.folder().exists() && !full.size().is_whole && !full.retry());
    let emptied = Archive { folder: full.folder().to_owned(), reserve: 0, unkept: full.unkept };
    assert!(emptied.retry() && emptied.size().is_whole);
    assert_eq!(emptied.load(&version).expect("kept").1.first, Timestamp::UNIX_EPOCH);
}

#[test]
fn a_draft_that_a_crash_left_is_in_nobodys_way() {
    let state = tempfile::tempdir().expect("a folder");
    let archive = Archive::of(state.path(), 0);
    let (version, source) = source(&[CONTROLLER, ONE]);
    archive.keep(&version, source.clone(), Timestamp::UNIX_EPOCH).expect("kept");
    // As a power cut leaves it: texts without a manifest, and half a draft.
    fs::rename(archive.manifest_path(&version), archive.versions().join("draft.new")).expect("renamed");
    fs::write(names(archive.texts()).remove(0).with_extension("new"), "half").expect("written");
    assert!(matches!(archive.load(&version), Err(KeptFault::Missing { .. })));
    archive.keep(&version, source, Timestamp::UNIX_EPOCH).expect("kept");
    archive.load(&version).expect("whole");
}

#[test]
fn what_stands_is_read_back() {
    let state = tempfile::tempdir().expect("a folder");
    let archive = Archive::of(state.path(), 0);
    assert_eq!(archive.standing().expect("no fault"), None);
    let standing = Standing::first(&source(&[ONE]).0, Timestamp::UNIX_EPOCH);
    archive.stand(&standing).expect("written");
    assert_eq!(archive.standing().expect("read"), Some(standing));
    fs::write(archive.folder().join(standing::FILE), "{}").expect("written");
    assert!(archive.standing().expect_err("a fault").to_string().contains("in-force.json"));
}

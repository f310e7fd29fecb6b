//! Registers of earlier releases still load, with the version that they had: absent keys keep the older meaning.

use std::fs;
use std::path::Path;

use tasrih::folder;
use tasrih::register::compile::compile;

#[test]
fn registers_of_every_release_load_with_their_version() {
    let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/registers");
    let mut checked = 0;
    for release in fs::read_dir(&releases).expect("the fixtures are in the tree") {
        let release = release.expect("readable").path();
        let texts = folder::read(&release).expect("a release's files are readable");
        assert!(!texts.is_empty(), "{} holds policy files", release.display());
        let register = compile(&texts).unwrap_or_else(|faults| panic!("{}:\n{faults}", release.display())).register;
        let pinned = fs::read_to_string(release.join("VERSION")).expect("a release pins its version");
        assert_eq!(*register.version.0, *pinned.trim(), "{}:\n{}", release.display(), register.canonical);
        checked += 1;
    }
    assert!(checked >= 1);
}

#[test]
fn the_shipped_register_loads_without_a_warning() {
    let texts =
        folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).expect("the policies are in the tree");
    let compiled = compile(&texts).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    assert_eq!(compiled.register.transfers.len(), 3);
}

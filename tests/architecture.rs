//! Keeps the floors of `src/lib.rs` and the rules about who may name what (DESIGN §7).
//!
//! The source is read as text: comments, strings and unit tests are taken out, and the paths that remain
//! (`crate::policy::Permit`, `std::fs::read`) are compared with the map and with [`RULES`]. What the compiler can keep by
//! itself, such as who may make a `Permit`, is kept there by private fields.

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use source::{paths, prose_removed};

/// Floors below the purity line end here.
const PURE: u8 = 1;

/// A name that only some files may use.
struct Rule {
    /// Consecutive segments of a path, wherever they stand in it.
    name: &'static str,
    /// Who may: a top-level module (`tls/`, `clock.rs`) or a file name anywhere (`document.rs`).
    only: &'static [&'static str],
    /// Why, and what to do instead.
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "serde_yaml",
        only: &["document.rs"],
        reason: "YAML is read in files called document.rs, into plain values",
    },
    Rule { name: "hyper", only: HTTP, reason: "pass `http` types; connections are served and made by the data path" },
    Rule { name: "h2", only: HTTP, reason: "pass `http` types; connections are served and made by the data path" },
    Rule {
        name: "hyper_util",
        only: HTTP,
        reason: "pass `http` types; connections are served and made by the data path",
    },
    Rule { name: "axum", only: &["admin/"], reason: "only the admin listener has routes" },
    Rule { name: "rustls", only: &["tls/"], reason: "ask tls/ for acceptors and connectors, also in demo/" },
    Rule { name: "tokio_rustls", only: &["tls/"], reason: "ask tls/ for acceptors and connectors, also in demo/" },
    Rule { name: "rustls_native_certs", only: &["tls/"], reason: "roots are gathered by tls/" },
    Rule { name: "rcgen", only: &["tls/"], reason: "certificates are made by tls/, also those of the demo" },
    Rule { name: "x509_parser", only: &["tls/"], reason: "certificates are read by tls/" },
    Rule { name: "prometheus", only: &["metrics/"], reason: "add a method to metrics/ that says what happened" },
    Rule { name: "clap", only: &["cli/", "main.rs", "logging.rs"], reason: "the library takes values, not arguments" },
    Rule {
        name: "SystemTime::now",
        only: &["clock.rs", "tls/"],
        reason: "take the time as an argument, or ask clock.rs",
    },
    Rule { name: "Timestamp::now", only: &["clock.rs"], reason: "take the time as an argument, or ask clock.rs" },
    Rule { name: "Zoned::now", only: &["clock.rs"], reason: "take the time as an argument, or ask clock.rs" },
    Rule {
        name: "TcpStream::connect",
        only: &["upstream/", "demo/"],
        reason: "only the dialer opens connections, and only to a `Pinned`",
    },
    Rule {
        name: "TcpSocket",
        only: &["upstream/", "demo/"],
        reason: "only the dialer opens connections, and only to a `Pinned`",
    },
    Rule { name: "lookup_host", only: &["upstream/"], reason: "a name is resolved once, by upstream/resolver.rs" },
    Rule { name: "ToSocketAddrs", only: &["upstream/"], reason: "a name is resolved once, by upstream/resolver.rs" },
];

const HTTP: &[&str] = &["proxy/", "upstream/", "admin/", "demo/"];

/// Names of the world outside; nothing below the purity line may use them.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "Instant::now",
    "Uuid::now_v7",
    "TimeZone::system",
    "tempfile",
    "rustix",
    "arc_swap",
    "tracing",
];

/// Module or file of `src/` to floor, as drawn in the head of `src/lib.rs`: `policy/` to 1, `clock.rs` to 2.
type Map = BTreeMap<String, u8>;

/// Reads the drawing in the head of `src/lib.rs`: `3 DATA PATH   proxy/`.
fn read_map(lib: &str) -> Map {
    let drawing = lib.lines().filter_map(|line| line.strip_prefix("//! "));
    let floors = drawing.filter_map(|line| Some((line.chars().next()?.to_digit(10)?, line)));
    let mut map = Map::new();
    for (floor, line) in floors {
        let floor = u8::try_from(floor).expect("a digit is a byte");
        let rooms = line.split_whitespace().filter(|word| word.ends_with('/') || word.ends_with(".rs"));
        map.extend(rooms.map(|room| (room.to_owned(), floor)));
    }
    map
}

/// The room that a module name stands for: `policy` is `policy/`, `clock` is `clock.rs`.
fn room_of_module(map: &Map, module: &str) -> Option<String> {
    [format!("{module}/"), format!("{module}.rs")].into_iter().find(|room| map.contains_key(room))
}

/// The room that a file stands in: `policy/limits.rs` in `policy/`, `clock.rs` in itself.
fn room_of_file(file: &str) -> String {
    match file.split_once('/') {
        Some((folder, _)) => format!("{folder}/"),
        None => file.to_owned(),
    }
}

/// Everything that `file` (relative to `src/`) does against the map and the rules, one sentence each.
fn violations(map: &Map, file: &str, text: &str) -> Vec<String> {
    let room = room_of_file(file);
    let Some(&floor) = map.get(&room) else {
        return vec![format!(
            "src/{file}: `{room}` is not on the map; write it into its floor in the head of src/lib.rs"
        )];
    };
    let paths = paths(&prose_removed(text));
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("src/{file}: begin the file with a head comment (`//!`) that says what it is for"));
    }
    for path in &paths {
        found.extend(climbs(map, file, floor, path));
        found.extend(breaks(file, &room, path));
        if floor <= PURE {
            found.extend(leaks(file, path));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A path to a room above the file's own floor.
fn climbs(map: &Map, file: &str, floor: u8, path: &[String]) -> Option<String> {
    let module = top_module(file, path)?;
    let shown = path.join("::");
    let Some(room) = room_of_module(map, module) else {
        return Some(format!(
            "src/{file}: `{shown}` leads to no room of the map; name things by the room they live in"
        ));
    };
    let above = map[&room];
    (above > floor).then(|| {
        format!("src/{file}: `{shown}` climbs from floor {floor} to {above}; move what is needed down, or hand it in as an argument")
    })
}

/// The top-level module that a path leads to, where it starts at the crate or climbs up to it.
fn top_module<'p>(file: &str, path: &'p [String]) -> Option<&'p str> {
    let (first, rest) = path.split_first()?;
    if first == "crate" || first == "tasrih" {
        return rest.first().map(String::as_str);
    }
    let climbed = path.iter().take_while(|segment| *segment == "super").count();
    let depth = file.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count();
    (climbed >= depth).then(|| path.get(climbed).map(String::as_str)).flatten()
}

/// A name that only other files may use.
fn breaks(file: &str, room: &str, path: &[String]) -> Option<String> {
    let rule = RULES.iter().find(|rule| names(path, rule.name))?;
    let base = file.rsplit('/').next().unwrap_or(file);
    let allowed = rule.only.iter().any(|only| *only == room || *only == base);
    (!allowed)
        .then(|| format!("src/{file}: `{}` is named only in {}; {}", rule.name, rule.only.join(", "), rule.reason))
}

/// A name of the world outside, below the purity line.
fn leaks(file: &str, path: &[String]) -> Option<String> {
    let name = IMPURE.iter().find(|name| names(path, name))?;
    Some(format!("src/{file}: `{name}` is not named below the purity line; take facts and time as arguments"))
}

/// Whether the segments of `name` stand in a row in `path`.
fn names(path: &[String], name: &str) -> bool {
    let wanted: Vec<&str> = name.split("::").collect();
    path.windows(wanted.len()).any(|window| window.iter().map(String::as_str).eq(wanted.iter().copied()))
}

/// Every Rust file below `folder`, but for unit tests that have a file of their own.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the source folder can be read") {
        let path = entry.expect("its entries can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match (path.is_dir(), name) {
            (_, "tests.rs" | "tests") => {}
            (true, _) => files.extend(rust_files(&path)),
            (false, name) if name.ends_with(".rs") => files.push(path),
            (false, _) => {}
        }
    }
    files.sort();
    files
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn drawn_map() -> Map {
    read_map(&fs::read_to_string(source_folder().join("lib.rs")).expect("src/lib.rs can be read"))
}

#[test]
fn the_floors_hold() {
    let map = drawn_map();
    let mut found = Vec::new();
    for path in rust_files(&source_folder()) {
        let file = path.strip_prefix(source_folder()).expect("it lies below").to_string_lossy().replace('\\', "/");
        if file != "lib.rs" {
            found.extend(violations(&map, &file, &fs::read_to_string(&path).expect("source is UTF-8")));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_room_of_the_map_exists() {
    let map = drawn_map();
    assert!(
        map.values().any(|floor| *floor == 0) && map.values().any(|floor| *floor == 5),
        "the map was not read: {map:?}"
    );
    for room in map.keys() {
        assert!(
            source_folder().join(room).exists(),
            "src/{room} is on the map of src/lib.rs, but not there; take it off"
        );
    }
}

#[test]
fn unsafe_code_is_forbidden_and_one_profile_serves_all() {
    let text = include_str!("../Cargo.toml");
    let manifest: toml::Table = text.parse().expect("Cargo.toml is TOML");
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    let profiles = manifest["profile"].as_table().expect("profiles");
    for (name, profile) in profiles.iter().filter(|(name, _)| *name != "release") {
        let keys: Vec<_> = profile.as_table().into_iter().flat_map(toml::Table::keys).collect();
        assert!(name == "dev" && keys == ["package"], "demo, tests and README share one profile");
    }
}

#[test]
fn the_lock_file_holds_no_banned_crate() {
    let deny: toml::Table = include_str!("../deny.toml").parse().expect("deny.toml is TOML");
    let lock: toml::Table = include_str!("../Cargo.lock").parse().expect("Cargo.lock is TOML");
    let locked: Vec<&str> =
        lock["package"].as_array().into_iter().flatten().filter_map(|package| package["name"].as_str()).collect();
    for ban in deny["bans"]["deny"].as_array().into_iter().flatten() {
        let name = ban["crate"].as_str().expect("a ban names its crate");
        // The lock file lists what any feature on any platform could bring; what is built is asked of cargo-deny.
        let optional_only = name == "ring";
        assert!(
            optional_only || !locked.contains(&name),
            "`{name}` is banned by deny.toml ({:?}) and is in Cargo.lock",
            ban["reason"]
        );
    }
}

/// One map for the planted violations below.
fn plan() -> Map {
    read_map(
        "//! ```text\n//! 4 ASSEMBLY    demo/\n//! 3 DATA PATH   proxy/\n//! 2 ADAPTERS    tls/  upstream/  clock.rs\n//! ==== line ====\n//! 1 DECISION    config/  policy/\n//! 0 VOCABULARY  destination/\n//! ```\n",
    )
}

#[test]
fn a_planted_violation_is_caught() {
    let planted = [
        ("policy/mod.rs", "use crate::proxy::Exchange;", "climbs from floor 1 to 3"),
        ("policy/mod.rs", "use crate::{destination::Host, proxy::{self, Exchange}};", "climbs from floor 1 to 3"),
        ("policy/limits.rs", "fn f() { crate::clock::now(); }", "climbs from floor 1 to 2"),
        ("policy/limits.rs", "use super::super::proxy;", "climbs from floor 1 to 3"),
        ("policy/mod.rs", "pub(in crate::policy) use super::tls;", "climbs from floor 1 to 2"),
        ("policy/mod.rs", "use crate::Everything;", "leads to no room"),
        ("policy/mod.rs", "use std::{fmt, fs::{self, File}};", "`std::fs` is not named below"),
        ("policy/mod.rs", "use std::net::{IpAddr, TcpStream as Stream};", "`TcpStream` is not named below"),
        ("policy/mod.rs", "fn f() { let now = std::time::Instant::now(); }", "`Instant::now` is not named below"),
        ("policy/mod.rs", "fn f<'a>(c: char) { if c == '\"' { tokio::spawn(g()); } }", "`tokio` is not named below"),
        ("proxy/mod.rs", "fn f() { jiff::Timestamp::now(); }", "`Timestamp::now` is named only in clock.rs"),
        ("proxy/mod.rs", "use rustls::ServerConfig;", "`rustls` is named only in tls/"),
        ("config/mod.rs", "fn f() { serde_yaml::from_str(text) }", "`serde_yaml` is named only in document.rs"),
        ("policy/mod.rs", "#[cfg(test)]\nuse crate::proxy::Exchange;", "climbs from floor 1 to 3"),
        ("attic/mod.rs", "", "`attic/` is not on the map"),
    ];
    for (file, line, expected) in planted {
        let found = violations(&plan(), file, &format!("//! Head.\n{line}\n"));
        assert!(
            found.iter().any(|sentence| sentence.contains(expected)),
            "{file}: {line}\nwanted: {expected}\nfound: {found:?}"
        );
    }
    let headless = violations(&plan(), "policy/mod.rs", "use std::fmt;\n");
    assert!(headless.iter().any(|sentence| sentence.contains("head comment")), "{headless:?}");
}

#[test]
fn a_near_miss_is_let_through() {
    let fine = [
        ("proxy/mod.rs", "use crate::policy::Permit; use super::destination::Host;"),
        ("policy/limits.rs", "use super::proxy; use crate::policy::{self, Permit};"),
        (
            "policy/mod.rs",
            "// crate::proxy is above\n/* std::fs /* nested */ tokio */ use std::net::{IpAddr, SocketAddr};",
        ),
        (
            "policy/mod.rs",
            "const TEXT: &str = \"crate::proxy \\\" std::fs\"; const RAW: &str = r#\"tokio::spawn \" \"#;",
        ),
        ("policy/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; fn f() { crate::proxy::run(); } }"),
        ("config/document.rs", "use serde_yaml::Value;"),
        ("upstream/mod.rs", "use tokio::net::TcpStream; fn f() { TcpStream::connect(address); }"),
        ("clock.rs", "fn f() { std::time::SystemTime::now(); }"),
        ("demo/mod.rs", "macro_rules! m { () => { $crate::proxy::run() } }"),
    ];
    for (file, line) in fine {
        let found = violations(&plan(), file, &format!("//! Head.\n{line}\n"));
        assert!(found.is_empty(), "{file}: {line}\nfound: {found:?}");
    }
}

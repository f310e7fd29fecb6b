//! Edits of one register, each with what the officer is told. The texts stand in `golden/`; `UPDATE_GOLDEN=1` writes them
//! anew: read the difference before you commit it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tasrih::register::Register;
use tasrih::register::compile::{Text, compile};
use tasrih::register::diff::{Diff, diff};

use crate::ground::{said, tasrih};

const BASE: &str = include_str!("base.yaml");

/// One edit: what is replaced by what.
type Edit = (&'static str, &'static str);

struct Case {
    name: &'static str,
    edits: &'static [Edit],
    weakens: bool,
    /// How many changes the authority must still be told.
    open: usize,
}

const fn case(name: &'static str, edits: &'static [Edit], weakens: bool, open: usize) -> Case {
    Case { name, edits, weakens, open }
}

const NEW_TRANSFER: Edit = (
    "allowances:",
    "  - {id: to-c, processing: cctv, from: [desk], to: ministry-a, regimes: [ma-09-08], purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], filing: {authority: CNDP, status: draft}}\nallowances:",
);
const TOLD: Edit = (
    "orders:",
    "notifications:\n  - {change: \"transfer to-a: measures\", authority: CNDP, date: 2024-02-01, ref: N-17}\norders:",
);

const CASES: [Case; 32] = [
    case("same", &[("name: Ministry A,", "name: \"Ministry A\",")], false, 0),
    case("draft-added", &[NEW_TRANSFER], false, 0),
    case("granted-added", &[NEW_TRANSFER, ("status: draft}}", "status: granted, ref: A-GC-9/2024}}")], false, 0),
    case("removed", &[("  - id: to-a\n", "  - id: to-a2\n")], false, 1),
    case(
        "destination-added",
        &[("[{host: intake.ministry-a.example}]", "[{host: intake.ministry-a.example}, {host: \"*.backup.example\"}]")],
        false,
        1,
    ),
    case("another-recipient", &[("to: ministry-a\n", "to: ministry-b\n")], false, 1),
    case("recipient-moved", &[("country: FR,", "country: US,"), ("ma-0908:A43", "ma-0908:A44-3")], false, 2),
    case("recipient-of-a-draft", &[("name: Ministry B", "name: Ministry of B")], false, 0),
    case(
        "category-added",
        &[(
            "    data_categories: [x:CCTVFrame]\n    data_subjects",
            "    data_categories: [x:CCTVFrame, pd:Passport]\n    data_subjects",
        )],
        false,
        1,
    ),
    case(
        "category-exchanged",
        &[(
            "    data_categories: [x:CCTVFrame]\n    data_subjects",
            "    data_categories: [pd:Passport]\n    data_subjects",
        )],
        false,
        1,
    ),
    case(
        "source-added",
        &[("    from: [uploader]\n    to: ministry-a", "    from: [uploader, desk]\n    to: ministry-a")],
        false,
        0,
    ),
    case(
        "any-source",
        &[("    from: [uploader]\n    to: ministry-a", "    from: [any]\n    to: ministry-a")],
        false,
        0,
    ),
    case("network-wider", &[("10.20.0.0/28", "10.20.0.0/24")], false, 0),
    case(
        "category-broader",
        &[(
            "    data_categories: [x:CCTVFrame]\n    data_subjects",
            "    data_categories: [pd:Picture]\n    data_subjects",
        )],
        false,
        1,
    ),
    case("path-narrower", &[("paths: [/cctv/**]", "paths: [/cctv/entrance/*]")], false, 0),
    case(
        "destination-moved-and-told",
        &[
            ("host: intake.ministry-a.example", "host: in.ministry-a.example"),
            (
                "orders:",
                "notifications:\n  - {change: \"transfer to-a: recipient address\", authority: CNDP, date: 2024-02-01, ref: N-17}\norders:",
            ),
        ],
        false,
        0,
    ),
    case(
        "processing-changed",
        &[
            ("data_subjects: [dpv:Visitor], retention", "data_subjects: [dpv:Visitor, dpv:Employee], retention"),
            ("address: Rabat", "address: Casablanca"),
        ],
        false,
        2,
    ),
    case(
        "limits-wider",
        &[(
            "{min_interval: PT5M, max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB}",
            "{min_interval: PT1M, max_per_day: 1440, max_body: 4MiB}",
        )],
        false,
        0,
    ),
    case("limits-narrower", &[("max_per_day: 288, max_body: 2MiB", "max_per_day: 24, max_body: 1MiB")], false, 0),
    case(
        "requests-opened",
        &[(
            "    requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}\n",
            "    requests: {methods: [POST, PUT], content_types: [image/jpeg]}\n",
        )],
        false,
        0,
    ),
    case(
        "filing-granted",
        &[("status: draft}", "status: granted, ref: A-GC-2/2024, valid_from: 2024-03-01}")],
        false,
        0,
    ),
    case("filing-extended", &[("valid_until: 2025-02-20", "valid_until: 2027-02-20")], false, 0),
    case("filing-withdrawn", &[("status: granted", "status: withdrawn")], false, 0),
    case("measure-removed", &[("    measures: [dpv:EncryptionInTransfer]\n", "")], true, 1),
    case("measure-removed-and-told", &[("    measures: [dpv:EncryptionInTransfer]\n", ""), TOLD], true, 0),
    case("pin-removed", &[(", tls_spki_sha256: [\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]", "")], true, 0),
    case("observed", &[("controller:", "mode: observe\ncontroller:")], true, 0),
    case("interception-off", &[(", interception: required}", "}")], true, 0),
    case(
        "unreadable-presumed",
        &[("    onward: forbidden\n", "    onward: allowed with consent\n    unreadable: presumed\n")],
        true,
        1,
    ),
    case("retention-longer", &[("recipient: P3M}", "recipient: P1Y}")], false, 1),
    case(
        "order-taken-out",
        &[(
            "orders:\n  - {authority: CNDP, ref: order-1, date: 2024-01-10, action: suspend, scope: \"recipient:ministry-b\"}\n",
            "",
        )],
        true,
        0,
    ),
    case(
        "order-lifted-and-another",
        &[(
            "scope: \"recipient:ministry-b\"}\n",
            "scope: \"recipient:ministry-b\"}\n  - {authority: CNDP, ref: order-2, date: 2024-02-10, action: lift, lifts: order-1}\n  - {authority: CNDP, ref: order-3, date: 2024-02-11, action: suspend, scope: everything}\n",
        )],
        false,
        0,
    ),
];

fn register(text: &str) -> Register {
    let text = Text { name: "register.yaml".to_owned(), text: text.to_owned() };
    compile(&[text]).unwrap_or_else(|faults| panic!("{faults}")).register
}

fn edited(edits: &[Edit]) -> String {
    edits.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} stands once in the base");
        text.replace(from, to)
    })
}

fn told(edits: &[Edit]) -> Diff {
    diff(&register(BASE), &register(&edited(edits)))
}

#[test]
fn each_edit_is_told_in_the_officers_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/changes/golden");
    let mut differing = Vec::new();
    for Case { name, edits, weakens, open } in CASES {
        let diff = told(edits);
        assert_eq!((diff.weakens(), diff.open().count()), (weakens, open), "{name}:\n{diff}");
        // Versions change with every release of the canonical form, and say nothing here.
        let said: String = diff
            .to_string()
            .lines()
            .filter(|line| !line.starts_with("register ") || !line.contains('→'))
            .map(|line| format!("{line}\n"))
            .collect();
        let golden = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).expect("the golden text can be written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            differing.push(format!("--- {name} says now\n{said}"));
        }
    }
    assert!(differing.is_empty(), "{}\n(UPDATE_GOLDEN=1 writes these)", differing.join("\n"));
}

#[test]
fn the_way_back_is_the_opposite() {
    use tasrih::register::diff::{Effect, What};
    for Case { name, edits, .. } in CASES {
        let (old, new) = (register(BASE), register(&edited(edits)));
        let (forth, back) = (diff(&old, &new), diff(&new, &old));
        assert_eq!(forth.is_empty(), back.is_empty(), "{name}");
        for (one, other) in forth.changes.iter().zip(&back.changes) {
            assert_eq!((one.kind, &one.id), (other.kind, &other.id), "{name}");
            let expected = match one.effect {
                Effect::Widened => Effect::Narrowed,
                Effect::Narrowed => Effect::Widened,
                same => same,
            };
            let is_order = one.kind == tasrih::register::diff::Kind::Order;
            assert!(other.effect == expected || is_order, "{name}: {one:?}\n{other:?}");
            let what = [What::Added, What::Removed, What::Changed].map(|what| (one.what == what, what));
            assert!(what.iter().any(|(is, what)| *is && (*what == What::Changed) == (other.what == What::Changed)));
        }
    }
}

#[test]
fn json_holds_the_same() {
    let json = told(&[("    measures: [dpv:EncryptionInTransfer]\n", ""), ("country: FR,", "country: DE,")]).to_json();
    assert_eq!(json["weakens"], true);
    let notify: Vec<&str> =
        json["notify"].as_array().expect("a list").iter().filter_map(|due| due["change"].as_str()).collect();
    assert_eq!(notify, ["transfer to-a: measures", "recipient ministry-a: country"]);
    assert_eq!(json["transfers"][0]["id"], "to-a");
    assert_eq!(json["changes"][0]["fields"][0]["old"][0], "dpv:EncryptionInTransfer");
}

/// A folder with one policy file.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("register.yaml"), text).expect("written");
    folder
}

#[test]
fn the_command_compares_folders_and_revisions() {
    let (old, new) = (folder(BASE), folder(&edited(&[("    measures: [dpv:EncryptionInTransfer]\n", "")])));
    let [old, new] = [&old, &new].map(|folder| folder.path().to_str().expect("ASCII"));
    assert_eq!(said(&["diff", old, old], 0), "nothing changed\n");
    let told = said(&["diff", old, new], 1);
    assert!(told.contains("Protects less than before:\n  transfer to-a: measures\n"), "{told}");
    let json: serde_json::Value = serde_json::from_str(&said(&["diff", old, new, "--json"], 1)).expect("JSON");
    assert_eq!(json["notify"][0]["closed"], serde_json::Value::Null);

    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=o", "-c", "user.email=o@example.org", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").arg("-C").arg(old).args(identity).args(arguments).output().expect("git");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "register.yaml"]);
    git(&["commit", "-q", "-m", "first"]);
    fs::copy(Path::new(new).join("register.yaml"), Path::new(old).join("register.yaml")).expect("a copy");
    assert_eq!(said(&["diff", "--git", "HEAD", old], 1), told);
    for wrong in [
        &["diff", old][..],
        &["diff", old, "no/such/folder"],
        &["diff", "--git", "none", old],
        &["diff", "--git=--output=x", old],
    ] {
        assert_eq!(tasrih(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_faulty_folder_is_named() {
    let (old, new) = (folder(BASE), folder("transfers: [{}]"));
    let [old, new] = [&old, &new].map(|folder| folder.path().to_str().expect("ASCII"));
    let output = tasrih(&["diff", old, new]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("{new} has faults")), "{output:?}");
}

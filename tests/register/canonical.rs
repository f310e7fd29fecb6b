//! The canonical form: equal meaning gives an equal version, and every other meaning another.

use tasrih::register::compile::{Text, compile};

const WRITTEN: &str = r#"
schema: tasrih/1
mode: enforce
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - {id: cctv, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame, pd:Picture], retention: P12M,
     receipt: {kind: declaration, authority: CNDP, ref: D-1/2022}}
sources:
  - {id: uploader, networks: [10.20.0.0/28, 10.30.0.1/32], interception: allowed}
  - {id: desk, networks: [10.40.0.0/24]}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations: [{host: Intake.Ministry-A.example., port: 443, scheme: https}, {host: "*.ministry-a.example", port: 8443}]
transfers:
  - {id: t, processing: cctv, from: [uploader, desk], to: ministry-a, regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43},
     purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], sensitive: false, hold: whole,
     filing: {authority: CNDP, ref: A-1/2023, status: granted},
     limits: {min_interval: PT5M, max_body: 2MiB, retries: 0, per: transfer}, requests: {paths: ["/cctv/**", /%7Ea]}}
orders: []
"#;

const REWRITTEN: [&str; 3] = [
    r#"
transfers:
  - id: "t"
    limits: {max_body: 2048KiB, min_interval: PT300S}
    requests:
      paths: [/~a, '/cctv/**']
    filing: {status: granted, ref: "A-1/2023", authority: 'CNDP'}
    data_categories:
      - x:CCTVFrame
    purposes: [dpv:EnforceSecurity]
    legal_basis: {ma-09-08: ma-0908:A43}
    regimes: [ma-09-08]
    to: ministry-a
    from: [desk, uploader]
    processing: cctv
"#,
    r#"
sources:
  - {networks: [10.40.0.0/24], id: desk}
recipients:
  - {id: ministry-a, country: FR, name: Ministry A, destinations: [{port: 8443, host: "*.ministry-a.example"}, {host: intake.ministry-a.example}]}
controller: {country: MA, time_zone: africa/casablanca, name: Centre de Visas SA}
"#,
    r#"
sources:
  - {networks: [10.30.0.1, 10.20.0.0/28], id: uploader}
processing:
  - id: cctv
    receipt: {ref: D-1/2022, authority: CNDP, kind: declaration}
    retention: P1Y
    data_categories: [pd:Picture, x:CCTVFrame]
    purposes: [dpv:EnforceSecurity]
"#,
];

#[test]
fn order_files_quoting_units_and_written_defaults_do_not_matter() {
    assert_eq!(canonical(&[WRITTEN]), canonical(&REWRITTEN));
    let [first, second, third] = REWRITTEN;
    assert_eq!(version(&[WRITTEN]), version(&[third, first, second]));
}

#[test]
fn every_change_of_meaning_changes_the_version() {
    let changes = [
        ("mode: enforce", "mode: observe"),
        ("country: FR", "country: ES"),
        ("port: 8443", "port: 8444"),
        ("interception: allowed", "interception: required"),
        ("PT5M", "PT5M1S"),
        ("2MiB", "2097151"),
        ("sensitive: false", "sensitive: true"),
        ("hold: whole", "hold: stream"),
        ("retries: 0", "retries: 1"),
        ("10.20.0.0/28", "10.20.0.0/27"),
        ("Ministry A\n", "Ministry  A\n"),
        ("from: [uploader, desk]", "from: [any]"),
        ("status: granted", "status: granted, valid_until: 2030-01-01"),
        ("orders: []", "orders: [{authority: CNDP, ref: o, action: suspend, scope: everything}]"),
    ];
    let mut versions = vec![version(&[WRITTEN])];
    for (old, new) in changes {
        let changed = WRITTEN.replacen(old, new, 1);
        assert_ne!(changed, WRITTEN, "`{old}` is there to be changed");
        let version = version(&[&changed]);
        assert!(!versions.contains(&version), "`{new}` left the version as it was");
        versions.push(version);
    }
}

#[test]
fn a_mode_on_a_transfer_is_not_the_absence_of_one() {
    let set = WRITTEN.replace("hold: whole", "mode: enforce");
    assert_ne!(version(&[WRITTEN]), version(&[&set]));
}

#[test]
fn a_mode_is_the_same_as_a_word_or_as_a_map() {
    let (word, map) =
        (WRITTEN.replace("mode: enforce", "mode: observe"), WRITTEN.replace("mode: enforce", "mode: {is: observe}"));
    let until = WRITTEN.replace("mode: enforce", "mode: {is: observe, until: 2024-06-30}");
    assert_eq!(version(&[&word]), version(&[&map]));
    assert_ne!(version(&[&word]), version(&[&until]));
}

#[test]
fn the_version_is_the_digest_of_the_canonical_json() {
    use sha2::{Digest, Sha256};
    let canonical = canonical(&[WRITTEN]);
    let digest: String = Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(version(&[WRITTEN]), digest);
    let value: serde_json::Value = serde_json::from_str(&canonical).expect("the canonical form is JSON");
    assert_eq!(value["transfers"][0]["limits"]["max_body"], 2 * 1024 * 1024);
    assert_eq!(value["recipients"][0]["destinations"][1]["host"], "intake.ministry-a.example");
}

fn canonical(files: &[&str]) -> String {
    compiled(files).canonical.to_string()
}

fn version(files: &[&str]) -> String {
    compiled(files).version.0.to_string()
}

fn compiled(files: &[&str]) -> tasrih::register::Register {
    let named = files.iter().enumerate();
    let texts: Vec<Text> =
        named.map(|(place, text)| Text { name: format!("{place}.yaml"), text: (*text).to_owned() }).collect();
    compile(&texts).expect("the register has no fault").register
}

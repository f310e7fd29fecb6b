//! The registers that were in force: kept by version, compared with the one before in record and metrics, at a reload and
//! at a start; and what the authority must still be told.

use tasrih::archive::{Archive, Source, Standing};
use tasrih::register::Version;
use tasrih::register::compile::{HOLD_LIMIT, Text, compile};

use super::*;

fn archive(house: &House) -> Archive {
    Archive::of(&house.folder.path().join("state"), 0)
}

/// A house like [`house`], on the state that another one left, with this register.
async fn house_on(folder: tempfile::TempDir, policy: &str) -> House {
    Plan::new(policy).on(folder).site("a.example", Site::Tls).site("b.example", Site::Tls).build().await
}

/// The register `policy` with ports that do not change from one house to the next.
fn fixed(policy: &str) -> String {
    policy.replace("{port:a.example}", "443").replace("{port:b.example}", "443")
}

/// What `tasrih check` says of this policy, beside the state folder of a house.
fn check(house: &House, policy: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("register.yaml"), policy).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.arg("check").arg(folder.path()).arg("--state").arg(house.folder.path().join("state"));
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ours(record: &Value) -> &Value {
    &record["unmapped"]["transfer"]
}

fn last_loaded(house: &House) -> Value {
    lifecycle(house, "register-loaded").pop().expect("a record")
}

fn pinned(policy: &str) -> String {
    let pins = "tls_spki_sha256: ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=']";
    policy.replace("port: {port:a.example}}", &format!("port: {{port:a.example}}, {pins}}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_weakens_is_marked_and_one_that_narrows_is_not() {
    let house = house().await;
    let open = register(&[transfer('a', "A-GC-1/2023")]);
    let first = last_loaded(&house);
    assert_eq!((&ours(&first)["previous_version"], &ours(&first)["kept"]), (&Value::Null, &true.into()), "{first:#}");

    let strict = put(&house, &pinned(&open)).await.expect("a register without fault");
    let narrowed = last_loaded(&house);
    assert_eq!(version_of(&narrowed).as_str(), Some(&*strict.version.0));
    assert_eq!(ours(&narrowed)["previous_version"], *version_of(&first), "both versions are named");
    assert_eq!(ours(&narrowed)["diff"]["weakens"], false, "{narrowed:#}");
    assert_eq!(ours(&narrowed)["diff"]["transfers"]["narrowed"], 1, "{narrowed:#}");
    assert_eq!(narrowed["severity"], "Informational");
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_register_weakened_timestamp_seconds", &[]), 0);
    assert_eq!(series(&metrics, "tasrih_register_transfer_changes_total", &["change=\"narrowed\""]), 1);

    put(&house, &open).await.expect("a register without fault");
    let weakened = last_loaded(&house);
    assert_eq!(ours(&weakened)["diff"]["weakens"], true, "{weakened:#}");
    assert_eq!(ours(&weakened)["diff"]["weaker"][0], "recipient ministry-a: pinned keys", "{weakened:#}");
    assert_eq!(weakened["severity"], "Medium");
    let metrics = house.metrics().await;
    assert!(series(&metrics, "tasrih_register_weakened_timestamp_seconds", &[]) > 1_700_000_000);
    assert_eq!(series(&metrics, "tasrih_register_transfer_changes_total", &["change=\"widened\""]), 1);
    assert_eq!((series(&metrics, "tasrih_registers_kept", &[]), series(&metrics, "tasrih_register_kept", &[])), (2, 1));

    let short = |record: &Value| version_of(record).as_str().expect("a version")[..12].to_owned();
    let told = diff(&house, &[&short(&narrowed), &short(&first)], 1);
    assert!(told.contains("Protects less than before:\n  recipient ministry-a: pinned keys\n"), "{told}");
    assert_eq!(diff(&house, &[&short(&narrowed)], 1), told, "that in force is meant where no other is named");
    assert!(diff(&house, &["0000"], 2).contains("keeps no register that begins with \"0000\""));
}

/// What `tasrih diff` says of the versions that a house keeps.
fn diff(house: &House, versions: &[&str], code: i32) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.arg("diff").args(versions).arg("--state").arg(house.folder.path().join("state"));
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_drop_nothing_and_one_that_takes_the_transfer_away_refuses() {
    const CLIENTS: usize = 8;
    const EACH: usize = 20;
    let house = house().await;
    let target = house.base("https", "a.example") + "/cctv/cam1";
    let sending: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, target) = (house.client(UPLOADER), target.clone());
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..EACH {
                    statuses.push(client.send(frame(target.clone())).await.expect("a reply").status);
                }
                statuses
            })
        })
        .collect();
    let mut reloads = 0;
    while !sending.iter().all(tokio::task::JoinHandle::is_finished) {
        let reference = format!("A-GC-{}/2023", reloads + 2);
        assert!(put(&house, &register(&[transfer('a', &reference)])).await.expect("no fault").is_new);
        reloads += 1;
    }
    assert!(reloads >= 3, "{reloads} reloads");
    for sent in sending {
        assert_eq!(sent.await.expect("sent"), [200; EACH]);
    }
    assert_eq!(house.recipient("a.example").requests().len(), CLIENTS * EACH, "each of them arrived once");

    put(&house, &register(&[transfer('b', "A-GC-2/2023")])).await.expect("no fault");
    assert_eq!(house.send(UPLOADER, frame(target)).await.status, 403, "the near miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_register_that_a_record_names_is_had_again() {
    let house = house().await;
    put(&house, &register(&[transfer('b', "A-GC-2/2023")])).await.expect("a register without fault");
    put(&house, &register(&[transfer('a', "A-GC-3/2023")])).await.expect("a register without fault");
    let loaded = lifecycle(&house, "register-loaded");
    assert_eq!(loaded.len(), 3);
    for record in loaded {
        let version = Version(version_of(&record).as_str().expect("a version").into());
        let (register, manifest) = archive(&house).load(&version).expect("kept");
        assert_eq!(register.version, version);
        assert_eq!(manifest.release, env!("CARGO_PKG_VERSION"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_changed_while_the_proxy_was_stopped_is_told_at_the_start() {
    let one = fixed(&register(&[transfer('a', "A-GC-1/2023")]));
    let folder = house_on(tempfile::tempdir().expect("a folder"), &one).await.stop().await;
    let house = house_on(folder, &one).await;
    let same = last_loaded(&house);
    assert_eq!(ours(&same)["previous_version"], *version_of(&same), "the near miss: nothing changed");
    assert_eq!(ours(&same)["diff"], Value::Null);
    let folder = house.stop().await;

    let both = fixed(&register(&[transfer('a', "A-GC-1/2023"), transfer('b', "A-GC-2/2023")]));
    let house = house_on(folder, &both).await;
    let changed = last_loaded(&house);
    assert_eq!(ours(&changed)["previous_version"], *version_of(&same));
    assert_eq!(ours(&changed)["diff"]["transfers"]["added"], 1, "{changed:#}");
    assert_eq!(series(&house.metrics().await, "tasrih_register_transfer_changes_total", &["change=\"added\""]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_must_be_told_stays_open_over_a_restart_until_it_is() {
    let policy = |name: &str| fixed(&register(&[transfer('a', "A-GC-1/2023")])).replace("name: Ministry A", name);
    let folder = house_on(tempfile::tempdir().expect("a folder"), &policy("name: Ministry A")).await.stop().await;
    let house = house_on(folder, &policy("name: Ministry of A")).await;
    let open = async |house: &House| series(&house.metrics().await, "tasrih_notifications_open", &[]);
    assert_eq!(open(&house).await, 1);
    assert_eq!(ours(&last_loaded(&house))["diff"]["notify"][0], "recipient ministry-a: name");
    assert_eq!(ours(&last_loaded(&house))["open_notices"], 1);

    let house = house_on(house.stop().await, &policy("name: Ministry of A")).await;
    assert_eq!(open(&house).await, 1, "a start does not forget it");
    let told =
        "notifications: [{change: 'recipient ministry-a: name', authority: CNDP, date: 2024-02-01, ref: N-17}]\n";
    let line = "warning: to be notified to the authority, in force since";
    let checked = check(&house, &policy("name: Ministry of A"));
    assert!(checked.contains(line) && checked.contains(": recipient ministry-a: name\n"), "{checked}");
    let closed = check(&house, &(policy("name: Ministry of A") + told));
    assert!(closed.contains("these files change it") && !closed.contains(line), "{closed}");
    assert!(series(&house.metrics().await, "tasrih_notifications_oldest_timestamp_seconds", &[]) > 1_700_000_000);

    let told =
        "notifications: [{change: 'recipient ministry-a: name', authority: CNDP, date: 2024-02-01, ref: N-17}]\n";
    let house = house_on(house.stop().await, &(policy("name: Ministry of A") + told)).await;
    assert_eq!(open(&house).await, 0);
    assert_eq!(ours(&last_loaded(&house))["open_notices"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_before_it_remembered_tells_the_change_again() {
    let one = fixed(&register(&[transfer('a', "A-GC-1/2023")]));
    let both = fixed(&register(&[transfer('a', "A-GC-1/2023"), transfer('b', "A-GC-2/2023")]));
    let house = house_on(tempfile::tempdir().expect("a folder"), &one).await;
    let archive = archive(&house);
    // Kept, and then it died: no record names it, and nothing but its files is there.
    let texts = vec![Text { name: "policies/test.yaml".into(), text: both.clone() }];
    let version = compile(&texts).expect("a register").register.version;
    archive
        .keep(&version, Source { texts, hold_limit: HOLD_LIMIT, remembered: Vec::new() }, Timestamp::UNIX_EPOCH)
        .expect("kept");
    let standing = archive.standing().expect("readable");
    let house = house_on(house.stop().await, &both).await;
    assert_eq!(ours(&last_loaded(&house))["diff"]["transfers"]["added"], 1);

    // On record, and then it died: what is in force was not remembered.
    let folder = house.stop().await;
    archive.stand(&standing.expect("the first")).expect("written");
    let house = house_on(folder, &both).await;
    assert_eq!(ours(&last_loaded(&house))["diff"]["transfers"]["added"], 1, "told twice rather than never");
    assert_eq!(archive.standing().expect("readable").map(|standing: Standing| standing.version()), Some(version));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_that_cannot_be_kept_is_in_force_all_the_same_and_alarms() {
    let house = house().await;
    let registers = house.folder.path().join("state/registers");
    std::fs::remove_dir_all(&registers).expect("removed");
    std::fs::write(&registers, "no folder").expect("written");
    let suspended = register(&[transfer('a', "A-GC-1/2023")]).replace("granted", "suspended");
    put(&house, &suspended).await.expect("in force: what is stopped must not wait for a disk");
    let refused = house.send(UPLOADER, frame_to(&house, "a.example")).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("filing-suspended")));
    let record = last_loaded(&house);
    assert_eq!(
        (&ours(&record)["kept"], &ours(&record)["diff"]["weakens"]),
        (&false.into(), &false.into()),
        "{record:#}"
    );
    assert_eq!(series(&house.metrics().await, "tasrih_register_kept", &[]), 0);

    std::fs::remove_file(&registers).expect("removed");
    tasrih::reload::enter::retry(&house.running.corridor().archive, &house.running.corridor().metrics);
    assert_eq!(series(&house.metrics().await, "tasrih_register_kept", &[]), 1, "it is kept as soon as it can be");
    let version = Version(version_of(&record).as_str().expect("a version").into());
    archive(&house).load(&version).expect("had again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_have_the_register_before_says_that_the_difference_is_unknown() {
    let one = fixed(&register(&[transfer('a', "A-GC-1/2023")]));
    let house = house_on(tempfile::tempdir().expect("a folder"), &one).await;
    let before = version_of(&last_loaded(&house)).clone();
    let texts = house.folder.path().join("state/registers/texts");
    let folder = house.stop().await;
    for text in std::fs::read_dir(texts).expect("a folder") {
        std::fs::write(text.expect("an entry").path(), "spoiled").expect("written");
    }
    let house = house_on(folder, &fixed(&register(&[transfer('b', "A-GC-2/2023")]))).await;
    let record = last_loaded(&house);
    assert_eq!((&ours(&record)["previous_version"], &ours(&record)["diff"]), (&before, &Value::Null));
    assert!(record["message"].as_str().expect("text").contains("the difference is not known"), "{record:#}");
}

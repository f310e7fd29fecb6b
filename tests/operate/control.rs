//! The control socket and `tasrih reload`: what is in force afterwards, who asked, and who may not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use rustix::process::{Signal, getuid};

use super::ground::{Ground, Process, output};

/// `tasrih reload` on this ground.
async fn reload(ground: &Ground, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.arg("reload").arg("--state").arg(ground.path("state")).args(more);
    told(&output(command).await)
}

fn told(output: &Output) -> (Option<i32>, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

/// A proxy that reads its files only when it is asked to.
async fn asked_only(ground: &Ground) -> Process {
    let mut command = ground.run();
    command.arg("--no-watch");
    let mut process = Process::spawn(command, ground.folder.path());
    process.ready().await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_puts_the_files_in_force_and_says_so_or_prints_every_fault() {
    let ground = Ground::lay("PT5S").await;
    let mut command = ground.run();
    command.arg("--no-watch");
    let mut process = Process::spawn(command, ground.folder.path());
    let client = ground.client(process.ready().await.proxy);

    let (code, said) = reload(&ground, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("in force already: 3 transfers, 0 allowances; 0 warnings"), "{said}");

    let file = ground.path("policies/cctv.yaml");
    let good = fs::read_to_string(&file).expect("the policy");
    let faulty =
        good.replace("status: granted, valid_from: 2023-02-21}\n    requests", "status: grnated}\n    requests");
    fs::write(&file, faulty).expect("written");
    let (code, said) = reload(&ground, &[]).await;
    assert_eq!(code, Some(1), "{said}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    check.arg("check").arg(ground.path("policies"));
    let (_, checked) = told(&output(check).await);
    let faults = said.rsplit_once("\n\n").expect("faults, then their count").0;
    assert!(faults.contains("grnated") && checked.contains(faults), "{said}\n{checked}");
    assert!(said.contains("2 faults; register ") && said.ends_with("stays in force\n"), "{said}");
    assert_eq!(client.send(ground.frame()).await.expect("a reply").status, 200, "the one before is in force");

    fs::write(&file, good.replace("ref: A-GC-1/2023, status: granted", "ref: A-GC-1/2023, status: suspended"))
        .expect("written");
    let (code, said) = reload(&ground, &["--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["taken"], &said["is_new"]), (Some(0), &true.into(), &true.into()), "{said}");
    assert_eq!(said["changes"]["told"], "transfers: 1 narrowed", "{said}");
    assert_eq!(said["changes"]["diff"]["weakens"], false, "{said}");
    let refused = client.send(ground.frame()).await.expect("a reply");
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("filing-suspended")));

    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    let records = ground.records();
    let of = |code: &str| records.iter().rfind(|record| record["metadata"]["event_code"] == code).expect("a record");
    let uid = getuid().as_raw();
    for code in ["register-loaded", "register-refused"] {
        assert_eq!(of(code)["unmapped"]["transfer"]["origin"]["asked_by_uid"], uid, "{}", of(code));
    }
    if uid == 0 {
        assert_eq!(of("register-loaded")["unmapped"]["transfer"]["origin"]["asked_by"], "root");
    }
    assert_eq!(of("register-loaded")["unmapped"]["transfer"]["register_version"], said["register"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proxy_reload_says_how_to_mend_and_a_socket_left_over_is_replaced() {
    let ground = Ground::lay("PT5S").await;
    let nobody_there = |(code, said): (Option<i32>, String)| {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no proxy runs on the state folder") && said.contains("tasrih run"), "{said}");
    };
    nobody_there(reload(&ground, &[]).await);
    let mut process = asked_only(&ground).await;
    assert_eq!(reload(&ground, &[]).await.0, Some(0));
    process.signal(Signal::KILL);
    process.ended().await;
    assert!(ground.path("state/control.sock").exists(), "a killed process leaves it");
    nobody_there(reload(&ground, &[]).await);

    let mut process = asked_only(&ground).await;
    assert_eq!(reload(&ground, &[]).await.0, Some(0));
    process.signal(Signal::TERM);
    process.ended().await;
    assert!(!ground.path("state/control.sock").exists(), "a stopped one takes it away");
    nobody_there(reload(&ground, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_asks_in_vain_also_where_the_socket_was_opened_wider() {
    if !getuid().is_root() {
        return;
    }
    let ground = Ground::lay("PT5S").await;
    let _process = asked_only(&ground).await;
    let socket = ground.path("state/control.sock");
    assert_eq!(fs::metadata(&socket).expect("there").permissions().mode() & 0o7777, 0o600);
    // The folders are opened, so that only the socket itself stands in the way.
    for path in [ground.path(""), ground.path("state")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("opened");
    }
    let ask = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups", "curl", "-s", "-w", "%{http_code}", "-X"]);
        command.arg("POST").arg("--unix-socket").arg(&socket).arg("http://localhost/reload");
        output(command)
    };
    let (code, said) = told(&ask("65534").await);
    assert_eq!((code, said.as_str()), (Some(7), "000"), "curl cannot connect");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("opened");
    let (code, said) = told(&ask("65534").await);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("only the proxy's own user and root") && said.ends_with("403"), "{said}");
    let (_, said) = told(&ask("0").await);
    assert!(said.contains("\"taken\":true") && said.ends_with("200"), "{said}");
    assert_eq!(
        ground.records().iter().filter(|record| record["metadata"]["event_code"] == "register-loaded").count(),
        1
    );
}

//! The units in `deploy/`: systemd reads them without a complaint, the sandbox is as tight as is claimed, and the real
//! process needs nothing that the sandbox takes away.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::ground::{Ground, Process};

/// The exposure that is not exceeded, in tenths: `systemd-analyze` calls up to 2.0 "OK".
const EXPOSURE: u32 = 20;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn analyze(arguments: &[&str]) -> String {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.unwrap_or_else(|fault| panic!("systemd-analyze (Debian package systemd): {fault}"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The overall exposure of a unit file, in tenths.
fn exposure(unit: &Path) -> u32 {
    let text = analyze(&["security", "--offline=true", "--no-pager", &unit.display().to_string()]);
    let line = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{text}"));
    let level = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a level");
    level.replace('.', "").parse().unwrap_or_else(|_| panic!("{line}"))
}

#[test]
fn the_sandbox_is_as_tight_as_is_claimed() {
    let unit = deploy("tasrih.service");
    let tight = exposure(&unit);
    assert!(tight <= EXPOSURE, "exposure {}.{}", tight / 10, tight % 10);

    // The near miss: the same unit without its `Protect…` and `Private…` lines is noticed.
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(&unit).expect("the unit");
    let loose: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("Protect") && !line.starts_with("Private")).collect();
    let path = folder.path().join("tasrih.service");
    fs::write(&path, loose.join("\n")).expect("written");
    assert!(exposure(&path) > EXPOSURE);
}

#[test]
fn systemd_reads_the_units_without_a_complaint() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(deploy("tasrih.service")).expect("the unit");
    let installed = text.replace("/usr/bin/tasrih", env!("CARGO_BIN_EXE_tasrih"));
    let (service, socket) = (folder.path().join("tasrih.service"), folder.path().join("tasrih.socket"));
    fs::write(&service, &installed).expect("written");
    fs::copy(deploy("tasrih.socket"), &socket).expect("copied");
    let verify = || analyze(&["verify", "--man=no", &service.display().to_string(), &socket.display().to_string()]);
    let complaints =
        |text: String| text.lines().filter(|line| line.contains("tasrih.")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(complaints(verify()), Vec::<String>::new());

    // The near miss: a misspelt key is a complaint.
    fs::write(&service, installed.replace("ProtectHome=", "ProtectHomes=")).expect("written");
    assert!(!complaints(verify()).is_empty());
}

/// The system calls of a filter set, with the sets that it includes.
fn set(name: &str, calls: &mut BTreeSet<String>) {
    for line in analyze(&["syscall-filter", "--no-pager", name]).lines().map(str::trim) {
        match line {
            line if line == name || line.starts_with('#') || line.is_empty() => {}
            line if line.starts_with('@') => set(line, calls),
            line => _ = calls.insert(line.to_owned()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_makes_no_system_call_that_the_sandbox_refuses() {
    let (mut allowed, mut taken) = (BTreeSet::new(), BTreeSet::new());
    set("@system-service", &mut allowed);
    set("@default", &mut allowed);
    set("@privileged", &mut taken);
    set("@resources", &mut taken);
    assert!(
        allowed.contains("write") && taken.contains("mount") == allowed.contains("mount"),
        "the sets were not read"
    );
    let allowed: BTreeSet<&String> = allowed.difference(&taken).collect();
    // The near miss: what nobody needs is refused.
    assert!(!allowed.contains(&"ptrace".to_owned()) && !allowed.contains(&"setuid".to_owned()));

    let ground = Ground::lay("PT5S").await;
    let trace = ground.path("trace");
    let proxy = ground.run();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o"]).arg(&trace).arg(proxy.get_program()).args(proxy.get_args());
    let mut process = Process::spawn(traced, ground.folder.path());
    let listening = process.ready().await;
    let client = ground.client(listening.proxy);
    assert_eq!(client.send(ground.frame()).await.expect("a reply").status, 200);
    let page = http::Request::get(format!("http://{}/metrics", listening.admin)).body(bytes::Bytes::new());
    let admin = tasrih::demo::uploader::Uploader { proxy: listening.admin, ..client };
    assert_eq!(admin.send(page.expect("a request")).await.expect("a page").status, 200);
    // strace passes SIGTERM on to nobody: the proxy itself is the first process of the trace.
    let text = fs::read_to_string(&trace).expect("a trace");
    let id = text.split_whitespace().next().and_then(|id| id.parse().ok()).expect("a process id");
    let id = rustix::process::Pid::from_raw(id).expect("not 0");
    rustix::process::kill_process(id, Signal::TERM).expect("signalled");
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());

    let text = fs::read_to_string(&trace).expect("a trace");
    let called = text.lines().filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_').then_some(call)
    });
    let called: BTreeSet<String> = called.map(str::to_owned).collect();
    assert!(called.contains("fdatasync") && called.contains("accept4"), "{called:?}");
    let refused: Vec<&String> = called.iter().filter(|call| !allowed.contains(call)).collect();
    assert!(refused.is_empty(), "refused by SystemCallFilter: {refused:?}");
    let executable = text.lines().find(|line| line.contains("PROT_WRITE|PROT_EXEC"));
    assert_eq!(executable, None, "refused by MemoryDenyWriteExecute");
}

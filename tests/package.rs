//! The Debian package: what is in it, and how it lives on a machine: installed, run as its user without systemd, removed
//! and purged, with the evidence still there.
//!
//! The second half changes the machine that it runs on, so it stands behind `tests/run --long`; it wants root, dpkg and
//! cargo-deb.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]
#![allow(dead_code, reason = "the ground is shared with tests/operate.rs, and a part of it is used here")]

#[path = "operate/ground.rs"]
mod ground;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ground::{Ground, PLAIN, Process, output};
use rustix::process::Signal;
use serde_json::Value;
use tasrih::config;
use tasrih::register::compile::{Text, compile};

const STATE: &str = "/var/lib/tasrih";
const CONFIGURATION: &str = "/etc/tasrih/tasrih.yaml";

fn text(path: &str) -> Text {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Text { name: path.to_owned(), text: fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{path}: {fault}")) }
}

/// The package's part of the manifest.
fn metadata() -> toml::Value {
    let manifest: toml::Value = toml::from_str(&text("Cargo.toml").text).expect("TOML");
    manifest["package"]["metadata"]["deb"].clone()
}

#[test]
fn what_it_installs_is_there_and_is_usable_as_it_is() {
    let metadata = metadata();
    let assets = metadata["assets"].as_array().expect("a list");
    for asset in assets {
        let source = asset[0].as_str().expect("a path");
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(source.trim_end_matches('*').trim_end_matches("*.yaml"));
        let built = source.starts_with("target/");
        assert!(built || folder.exists(), "{source} is not there");
    }
    let configuration = config::read(&text("deploy/debian/tasrih.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(configuration.warnings.is_empty());
    assert_eq!(configuration.settings.state, Path::new(STATE));
    let register =
        compile(&[text("deploy/debian/policies/00-register.yaml")]).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(
        register.register.transfers.is_empty() && register.register.allowances.is_empty(),
        "nothing is let through"
    );
    for script in ["postinst", "prerm", "postrm"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/debian").join(script);
        let read = Command::new("sh").arg("-n").arg(&path).output().expect("a shell");
        assert!(read.status.success(), "{script}: {}", String::from_utf8_lossy(&read.stderr));
        assert!(!text(&format!("deploy/debian/{script}")).text.contains("rm -r"), "{script} deletes folders");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command that must succeed.
async fn must(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let output = output(command).await;
    assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
    said(&output)
}

/// Builds the package around the program under test.
async fn package(folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_tasrih"));
    let is_debug = binary.parent().and_then(Path::file_name).is_some_and(|name| name == "debug");
    let deb = folder.join("tasrih.deb").display().to_string();
    let manifest = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let mut arguments = vec!["deb", "--no-build", "--no-strip", "--fast", "--manifest-path", &manifest, "-o", &deb];
    arguments.extend(is_debug.then_some(["--profile", "dev"]).into_iter().flatten());
    must("cargo", &arguments).await;
    deb
}

/// Owner and permission bits.
fn rights(path: &str) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    (metadata.uid(), metadata.mode() & 0o7777)
}

/// The packaged program as its user, with the authority's files as systemd would hand them over.
fn as_its_user(ground: &Ground, credentials: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=tasrih", "--regid=tasrih", "--clear-groups", "--no-new-privs", "/usr/bin/tasrih", "run"]);
    command.arg("--config").arg(ground.path("installed.yaml")).arg("--policies").arg(ground.path("policies"));
    command.arg("--certs").arg(credentials);
    command
}

/// Lays the credentials for the user, and a configuration like the installed one on ports of this test.
async fn lay(ground: &Ground, user: &str) -> PathBuf {
    fs::set_permissions(ground.folder.path(), Permissions::from_mode(0o755)).expect("our own folder");
    let credentials = ground.path("credentials");
    fs::create_dir(&credentials).expect("a folder");
    for (name, mode) in [("ca.pem", "0444"), ("ca.key", "0400")] {
        let (from, to) = (format!("/etc/tasrih/certs/{name}"), credentials.join(name).display().to_string());
        must("install", &["-m", mode, "-o", user, &from, &to]).await;
    }
    let installed = fs::read_to_string(CONFIGURATION).expect("the installed configuration");
    let local = format!(
        "admin: {{bind: \"127.0.0.1:0\"}}\ninternal_destinations: [127.0.0.0/8]\nupstream: {{hosts: {{{PLAIN}: [127.0.0.1]}}}}\n"
    );
    fs::write(ground.path("installed.yaml"), installed.replace("127.0.0.1:3128", "127.0.0.1:0") + &local)
        .expect("written");
    credentials
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs a package on this machine"]
async fn it_is_installed_runs_and_leaves_the_evidence_when_it_goes() {
    assert!(rustix::process::geteuid().is_root(), "only root installs packages");
    assert!(!Path::new(STATE).exists(), "{STATE} is there already: this machine is not for this test");
    let ground = Ground::lay("PT2S").await;
    let deb = package(ground.folder.path()).await;
    must("dpkg", &["-i", "--force-depends", &deb]).await;

    // Files, modes, user.
    let id = must("id", &["-u", "tasrih"]).await;
    let user: u32 = id.trim().parse().expect("a number");
    assert_eq!(rights(STATE), (user, 0o700));
    assert_eq!(rights("/usr/bin/tasrih"), (0, 0o755));
    assert_eq!((rights("/etc/tasrih/certs/ca.key"), rights("/etc/tasrih/certs/ca.pem")), ((0, 0o600), (0, 0o644)));
    for file in ["/lib/systemd/system/tasrih.service", "/lib/systemd/system/tasrih.socket", CONFIGURATION] {
        assert_eq!(rights(file), (0, 0o644), "{file}");
    }
    assert!(Path::new("/usr/share/tasrih/dashboards/alerts.yaml").exists());
    let conffiles = must("dpkg-query", &["-W", "-f", "${Conffiles}", "tasrih"]).await;
    assert!(conffiles.contains(CONFIGURATION) && conffiles.contains("/etc/tasrih/policies/"), "{conffiles}");
    must("/usr/bin/tasrih", &["check", "/etc/tasrih/policies", "--config", CONFIGURATION]).await;

    // It lets a declared frame through and refuses another, as the user that it is for.
    let credentials = lay(&ground, "tasrih").await;
    let mut process = Process::spawn(as_its_user(&ground, &credentials), ground.folder.path());
    let at = process.ready().await;
    let client = tasrih::demo::uploader::Uploader {
        trust: tasrih::tls::Trust::new(&[tasrih::tls::Root::File("/etc/tasrih/certs/ca.pem".into())]).expect("trust"),
        proxy: at.proxy,
        from: [127, 0, 0, 5].into(),
    };
    assert_eq!(client.send(ground.frame()).await.expect("a reply").status, 200);
    let mut other = ground.frame();
    *other.uri_mut() = format!("http://{PLAIN}:{}/elsewhere", ground.plain.address.port()).parse().expect("a target");
    let refused = client.send(other).await.expect("a reply");
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("path-not-declared")));
    assert_eq!(ground.plain.requests().len(), 1);

    // An upgrade changes neither the authority nor the evidence, nor a configuration that was edited.
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    let authority = fs::read("/etc/tasrih/certs/ca.pem").expect("there");
    let edited = fs::read_to_string(CONFIGURATION).expect("there") + "\nnode: edited\n";
    fs::write(CONFIGURATION, &edited).expect("written");
    must("dpkg", &["-i", "--force-depends", "--force-confold", &deb]).await;
    assert_eq!(fs::read("/etc/tasrih/certs/ca.pem").expect("there"), authority);
    assert_eq!(fs::read_to_string(CONFIGURATION).expect("there"), edited);

    // Removed and purged: the evidence stays, whole, with its owner; the authority's key does not.
    must("dpkg", &["-r", "tasrih"]).await;
    assert!(Path::new(CONFIGURATION).exists() && !Path::new("/usr/bin/tasrih").exists());
    let told = must("dpkg", &["-P", "tasrih"]).await;
    assert!(told.contains("the evidence stays in /var/lib/tasrih"), "{told}");
    assert!(!Path::new("/etc/tasrih").exists(), "nothing was added to it");
    assert_eq!(rights(STATE), (user, 0o700));
    let records = tasrih::audit::read(Path::new(STATE)).expect("a log");
    let records: Vec<Value> =
        records.map(|json| serde_json::from_slice(&json.expect("a record")).expect("JSON")).collect();
    let with = |key: &str, value: &str| records.iter().filter(|it| it["unmapped"]["transfer"][key] == value).count();
    assert_eq!((with("end", "answered"), with("reason", "path-not-declared")), (1, 1), "{records:#?}");
    must("userdel", &["tasrih"]).await;
    fs::remove_dir_all(STATE).expect("the evidence of a test");
}

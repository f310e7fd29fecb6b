//! A folder as a user's clone is after the build, and README's commands run in it.

#![allow(clippy::disallowed_methods, reason = "processes are waited for here, and there is no runtime to block")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::alike;
use super::page::Block;

/// A process in the background has this long to say what README quotes, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// `cargo run --release -- …` without a second build.
const CARGO: &str = "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || { echo \"cargo $*: not for this test\" >&2; exit 64; }\n\
                     shift 3\nexec tasrih \"$@\"\n";
/// The tests would run themselves.
const TESTS_RUN: &str = "#!/bin/sh\necho called >> \"$(dirname \"$0\")/calls\"\n";

/// The folder; what was started in it ends with the value.
pub struct Clone {
    folder: tempfile::TempDir,
    groups: Vec<Pid>,
}

impl Clone {
    pub fn new() -> Clone {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        copy(Path::new("policies"), &root.join("policies"));
        for inside in ["certs", "bin", "tests"] {
            fs::create_dir(root.join(inside)).expect("a folder");
        }
        symlink(env!("CARGO_BIN_EXE_tasrih"), root.join("bin/tasrih")).expect("a link");
        script(&root.join("bin/cargo"), CARGO);
        script(&root.join("tests/run"), TESTS_RUN);
        Clone { folder, groups: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How often `tests/run` was called.
    pub fn calls(&self) -> usize {
        fs::read_to_string(self.path().join("tests/calls")).map_or(0, |calls| calls.lines().count())
    }

    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").expect("a PATH");
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("PATH", format!("{}/bin:{path}", self.path().display()));
        // curl would ask another proxy, or none.
        for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(variable).env_remove(variable.to_uppercase());
        }
        command
    }

    /// Runs a block; every command but one that is announced to fail must succeed, and the output must be as quoted.
    pub fn run(&mut self, block: &Block, quoted: Option<&Block>) {
        let (out, err) = (self.output(block, "out"), self.output(block, "err"));
        let mut bash = self.command("bash");
        bash.args(["-euo", "pipefail", "-c", &block.text]).process_group(0).stdin(Stdio::null());
        bash.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        let mut child = bash.spawn().expect("bash starts");
        let goes_on = block.text.lines().any(|line| line.ends_with('&'));
        self.groups.extend(goes_on.then(|| Pid::from_child(&child)));
        let status = child.wait().expect("bash ends");
        let said = || fs::read_to_string(&out).expect("UTF-8");
        let told = || format!("{}\n{}", said(), fs::read_to_string(&err).expect("UTF-8"));
        assert_eq!(status.code(), Some(block.exit), "README line {}:\n{}\n{}", block.line, block.text, told());
        let Some(quoted) = quoted else { return };
        // What goes on in the background may still have to say it.
        let since = Instant::now();
        while !alike::is_quoted(&quoted.text, &said()) {
            let (line, expected) = (quoted.line, &quoted.text);
            assert!(
                goes_on && since.elapsed() < PATIENCE,
                "README line {line} quotes\n{expected}\nand it was\n{}",
                told()
            );
            sleep(Duration::from_millis(20));
        }
    }

    fn output(&self, block: &Block, kind: &str) -> PathBuf {
        self.path().join(format!("line-{}.{kind}", block.line))
    }
}

impl Drop for Clone {
    /// Ends what the blocks left in the background, orderly if it will.
    fn drop(&mut self) {
        let since = Instant::now();
        for group in &self.groups {
            let _ = kill_process_group(*group, Signal::TERM);
        }
        for group in &self.groups {
            while test_kill_process_group(*group).is_ok() {
                if since.elapsed() > PATIENCE {
                    let _ = kill_process_group(*group, Signal::KILL);
                    break;
                }
                sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Waits until a port is free, because another copy of this test may run on the machine; says so if it is not.
pub fn wait_for_port(port: u16) {
    let since = Instant::now();
    while let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
        assert!(
            since.elapsed() < PATIENCE,
            "README uses the default port {port}, and it is taken ({error}): stop what listens there"
        );
        sleep(Duration::from_millis(200));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).expect("a copy"),
        }
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

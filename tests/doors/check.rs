//! `tasrih check --config`: the text, the files, the sockets and the register, with every finding at its key.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::papers::Papers;

const REGISTER: &str = concat!(
    include_str!("../support/case.yaml"),
    r"sources:
  - {id: cctv-uploader, networks: [127.0.0.0/8], client_certificate: cctv-uploader.visa-centre.example}
recipients:
  - id: ministry-a
    name: Ministry A
    country: FR
    destinations: [{host: intake.ministry-a.example}, {host: 10.7.7.7}]
transfers:
  - id: cctv-to-a
    processing: cctv
    from: [cctv-uploader]
    to: ministry-a
    regimes: [ma-09-08]
    legal_basis: {ma-09-08: ma-0908:A43}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {authority: CNDP, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}
"
);

/// An installation that is being checked.
struct Desk {
    papers: Papers,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { papers: Papers::new(), folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(desk.path("policies")).expect("a folder");
        fs::write(desk.path("policies/a.yaml"), REGISTER).expect("written");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration in which all is well, with `change` made to its text.
    fn configuration(&self, change: impl Fn(String) -> String) -> PathBuf {
        let file = |name: &str| self.papers.shown(name);
        let (folder, roots) = (self.folder.path().display(), file("roots.pem"));
        let text = format!(
            "listeners:\n  - {{bind: \"127.0.0.1:0\", entry: forward}}\n  - bind: \"127.0.0.1:0\"\n    entry: forward\n    tls:\n      \
             certificate: {}\n      key: {}\n      client_ca: {}\n      crl: {}\nadmin: {{bind: \"127.0.0.1:0\"}}\n\
             interception: {{certificate: {folder}/certs/ca.pem, key: {folder}/certs/ca.key}}\n\
             upstream: {{roots: [{roots}], hosts: {{intake.ministry-a.example: [10.7.7.7]}}}}\n\
             internal_destinations: [10.7.0.0/16]\nlimits: {{connections: 10, held_total: 64MiB}}\nstate: {folder}/state\n",
            file("proxy.pem"),
            file("proxy.key"),
            file("clients.pem"),
            file("clients.crl"),
        );
        let path = self.path("tasrih.yaml");
        fs::write(&path, change(text)).expect("written");
        path
    }

    /// The exit code, what is printed, and the findings in JSON.
    fn check(&self, arguments: &[&str]) -> (Option<i32>, String, Value) {
        let run = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
            command.arg("check").args(arguments).args(more).current_dir(self.folder.path());
            let output = command.output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (output.status.code(), said)
        };
        let (code, said) = run(&[]);
        let (_, json) = run(&["--json"]);
        (code, said, serde_json::from_str(&json).unwrap_or_default())
    }
}

fn messages(json: &Value, kind: &str) -> Vec<String> {
    let found = json["configuration"][kind].as_array().expect("a list");
    found.iter().map(|one| one["message"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn what_is_well_passes_alone_and_with_its_policies() {
    let desk = Desk::new();
    desk.configuration(|text| text);
    let (code, said, json) = desk.check(&["--config", "tasrih.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("configuration: 2 listeners (127.0.0.1:0, 127.0.0.1:0)"), "{said}");
    assert!(said.ends_with("0 faults, 0 warnings\n"), "{said}");
    assert!(json["register"].is_null() && messages(&json, "faults").is_empty());
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 processing, 1 source") && json["register"]["transfers"] == 1, "{said}");
    assert!(!desk.path("state").exists() && !desk.path("certs").exists(), "it changes nothing");
}

#[test]
fn each_finding_stands_at_its_key_and_all_come_at_once() {
    let desk = Desk::new();
    fs::write(desk.papers.path("empty.pem"), "").expect("written");
    fs::set_permissions(desk.papers.path("proxy.key"), Permissions::from_mode(0o644)).expect("our own file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_at = taken.local_addr().expect("bound").to_string();
    fs::write(desk.path("state"), "a file where the folder should be").expect("written");
    desk.configuration(|text| {
        text.replace("clients.pem", "empty.pem")
            .replace("clients.crl", "absent.crl")
            .replace("admin: {bind: \"127.0.0.1:0\"}", &format!("admin: {{bind: \"{taken_at}\"}}"))
            .replace("internal_destinations: [10.7.0.0/16]\n", "")
            .replace("connections: 10,", "connections: 9999999,")
            .replace("roots.pem", "empty.pem")
    });
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    let faults = json["configuration"]["faults"].as_array().expect("faults");
    let name = |fault: &Value| {
        let line = fault["line"].as_u64().expect("a line");
        let text = fs::read_to_string(desk.path("tasrih.yaml")).expect("the file");
        (line, text.lines().nth(usize::try_from(line).expect("small") - 1).unwrap_or_default().to_owned())
    };
    for (part, key) in [
        ("is open to others (mode 0644)", "key:"),
        ("holds no PEM certificate that can be an authority of clients", "client_ca:"),
        ("absent.crl", "crl:"),
        ("is taken by `", "admin:"),
        ("holds no PEM certificate that can be a root", "upstream:"),
        ("cannot be written", "state:"),
        ("`intake.ministry-a.example` at 10.7.7.7 is always refused: its address is private", "upstream:"),
    ] {
        let fault = faults.iter().find(|fault| fault["message"].as_str().expect("text").contains(part));
        let fault = fault.unwrap_or_else(|| panic!("nothing says `{part}`: {said}"));
        assert!(name(fault).1.contains(key), "{part}: {:?}", name(fault));
    }
    // What is not written stands at no line.
    let unwritten =
        faults.iter().find(|fault| fault["message"].as_str().expect("text").contains("`10.7.7.7` is always"));
    assert_eq!(unwritten.expect("the literal address")["line"], 0, "{said}");
    assert!(said.contains(&format!("(process {})", std::process::id())), "who has the address: {said}");
    assert!(messages(&json, "warnings").iter().any(|warning| warning.contains("descriptors")), "{said}");
    assert!(said.contains("   7 |       key: ") && said.contains("^^^^"), "line and caret: {said}");
}

#[test]
fn what_a_register_wants_and_no_listener_gives_is_a_fault() {
    let desk = Desk::new();
    let without = |text: String| {
        let (before, rest) = text.split_once("  - bind").expect("the second listener");
        format!("{before}{}", &rest[rest.find("admin:").expect("the next key")..])
    };
    desk.configuration(without);
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    let wanted = "the source `cctv-uploader` is known by a certificate, and no listener asks for one";
    assert_eq!(messages(&json, "faults"), [wanted]);
    // The same configuration alone, and the same register alone, are well.
    assert_eq!(desk.check(&["--config", "tasrih.yaml"]).0, Some(0));
    assert_eq!(desk.check(&["policies"]).0, Some(0));

    fs::write(desk.path("policies/a.yaml"), REGISTER.replace("client_certificate: cctv", "user: cctv"))
        .expect("written");
    let (_, _, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(messages(&json, "faults").len(), 1);
    assert!(messages(&json, "faults")[0].contains("is known by a user, and there are no `users`"));

    // A users file without that user, one that others may read, and one with a faulty line.
    let users = desk.path("users");
    let listed = |text: String| format!("users: {}\n{}", users.display(), without(text));
    fs::write(&users, "# nobody yet\n").expect("written");
    fs::set_permissions(&users, Permissions::from_mode(0o600)).expect("our own file");
    desk.configuration(listed);
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!((code, messages(&json, "faults").len()), (Some(0), 0), "{said}");
    let missing = "a source wants the user `cctv-uploader.visa-centre.example`, who is not in the users file";
    assert!(messages(&json, "warnings").iter().any(|warning| warning == missing), "{said}");
    fs::write(&users, "cctv:secret-hash\n").expect("written");
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(messages(&json, "faults")[0].contains("line 1: the hash of `cctv` is not `$argon2id$"), "{said}");
    assert!(!said.contains("secret-hash"), "{said}");
    fs::set_permissions(&users, Permissions::from_mode(0o640)).expect("our own file");
    let (_, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert!(messages(&json, "faults")[0].contains("is open to others (mode 0640)"), "{said}");
    desk.configuration(without);

    // Warnings: a network that reaches no listener, a name that nobody declared.
    let outside = REGISTER
        .replace(", client_certificate: cctv-uploader.visa-centre.example", "")
        .replace("127.0.0.0/8", "10.20.0.0/28");
    fs::write(desk.path("policies/a.yaml"), outside).expect("written");
    desk.configuration(|text| text.replace("{intake.", "{else.example: [10.7.7.7], intake."));
    let (code, said, json) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    let warnings = messages(&json, "warnings");
    assert!(warnings.iter().any(|warning| warning == "`else.example` is no destination of the register"), "{said}");
    assert!(warnings.iter().any(|warning| warning.contains("can reach no listener")), "{said}");
    assert_eq!(desk.check(&["policies", "--config", "tasrih.yaml", "--deny-warnings"]).0, Some(1));
}

#[test]
fn a_certificate_that_ended_is_a_fault_and_one_that_soon_does_a_warning() {
    let desk = Desk::new();
    desk.configuration(|text| text);
    let at = |days: i64| {
        let mut command = Command::new("faketime");
        command.arg(format!("{days} days")).arg(env!("CARGO_BIN_EXE_tasrih"));
        let output = command.args(["check", "--config", "tasrih.yaml"]).current_dir(desk.folder.path()).output();
        let output = output.expect("faketime (Debian package faketime)");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = at(70);
    assert!(
        code == Some(0) && said.contains("warning: ") && said.contains("the listener's certificate ends on "),
        "{said}"
    );
    let (code, said) = at(100);
    assert!(code == Some(1) && said.contains("the listener's certificate ended on "), "{said}");
    assert!(said.contains("a newer list was promised for a time that has passed"), "{said}");
}

#[test]
fn faults_of_the_text_come_first_and_what_cannot_be_read_is_told() {
    let desk = Desk::new();
    let missing = desk.check(&["--config", "absent.yaml"]);
    assert_eq!(missing.0, Some(2), "{}", missing.1);
    assert!(missing.1.contains("cannot read `absent.yaml`"), "{}", missing.1);
    desk.configuration(|text| text.replace("state:", "staet:"));
    let (code, said, _) = desk.check(&["policies", "--config", "tasrih.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("did you mean `state`?") && said.contains("1 processing"), "both are checked: {said}");
}

/// What `run` prints before it serves, up to its last line.
fn first_lines(desk: &Desk) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.args(["run", "--policies", "policies", "--config", "tasrih.yaml"]).current_dir(desk.folder.path());
    let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = Vec::new();
    for line in BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
        lines.push(line);
        if lines.last().is_some_and(|line| line.starts_with("try ")) {
            break;
        }
    }
    process.kill().and_then(|()| process.wait()).expect("our own child");
    lines
}

#[test]
fn run_says_where_it_listens_what_is_missing_and_how_to_try_it() {
    let desk = Desk::new();
    desk.configuration(|text| text + "metrics: {bind: \"127.0.0.1:0\"}\n");
    let lines = first_lines(&desk);
    let starting = |word: &str| lines.iter().filter(|line| line.starts_with(word)).cloned().collect::<Vec<_>>();
    let proxies = starting("proxy ");
    assert!(proxies[0].contains("  http://127.0.0.1:"), "{lines:#?}");
    assert!(proxies[1].contains(" https://127.0.0.1:") && proxies[1].ends_with(" (a client must show a certificate)"));
    assert!(starting("metrics ")[0].contains("/metrics"), "{lines:#?}");
    assert!(starting("register ")[0].ends_with(" (1 transfer, 0 allowances)"), "{lines:#?}");
    assert!(starting("missing ").is_empty(), "all fits: {lines:#?}");
    assert!(starting("try ")[0].contains("curl -x http://127.0.0.1:"), "{lines:#?}");

    // The same register without the listener that asks for certificates, and no register at all.
    desk.configuration(|text| text.replace("client_ca", "#client_ca").replace("      crl", "      #crl"));
    let lines = first_lines(&desk);
    let missing = "missing    the source `cctv-uploader` is known by a certificate, and no listener asks for one";
    assert!(lines.iter().any(|line| line == missing), "{lines:#?}");
    fs::remove_file(desk.path("policies/a.yaml")).expect("our own file");
    let lines = first_lines(&desk);
    assert!(lines.iter().any(|line| line == "missing    nothing is declared: everything is refused"), "{lines:#?}");
}

#[test]
fn the_sample_passes() {
    let desk = Desk::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tasrih.yaml");
    let (_, said, json) = desk.check(&["--config", &sample.display().to_string()]);
    // The default ports may be taken by another test's proxy; nothing else may be wrong.
    let faults: Vec<String> =
        messages(&json, "faults").into_iter().filter(|fault| !fault.contains("is taken by")).collect();
    assert!(faults.is_empty(), "{said}");
}

//! Sources known by a user's password: who is asked for one, what is done with it, and where it never turns up.
//!
//! Clients are curl, so that what is asked for and what is sent are not both our own.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use serde_json::Value;
use tasrih::config::ClientCertificates;
use tasrih::users::file::write;
use tasrih::users::hash::Hash;
use tasrih::users::words::{Password, UserName};

use super::https::{over_tls, said};
use super::papers::Papers;
use super::support::wire::{Raw, tls_as};
use super::support::{House, OFFICE, Plan, STRANGER, Site, UPLOADER, get, reason_of, series};

const PLAIN: &str = "plain.example";
const INNER: &str = "inner.example";

/// Never may this stand anywhere but in what the client sends and in the hash.
const CANARY: &str = "canary-5f1d-password";
const OTHER: &str = "another-long-password";

/// 127.0.0.4/30 is known by its users alone; 127.0.0.16/30 by its network, and better by a user; 127.0.0.20/30 by its
/// network alone; 127.0.0.24/30 by certificate and user.
const REGISTER: &str = r#"
schema: tasrih/1
controller: {name: C, country: MA, time_zone: Africa/Casablanca}
sources:
  - {id: amal, networks: [127.0.0.4/30], user: amal}
  - {id: reda, networks: [127.0.0.4/30], user: Réda}
  - {id: office, networks: [127.0.0.16/30]}
  - {id: amal-in-office, networks: [127.0.0.16/30], user: amal}
  - {id: printers, networks: [127.0.0.20/30]}
  - {id: proved, networks: [127.0.0.24/30], client_certificate: cctv-uploader.visa-centre.example, user: amal}
allowances:
  - id: a
    from: [any]
    to:
      - {host: plain.example, scheme: http, port: {port:plain.example}}
      - {host: inner.example, port: {port:inner.example}}
"#;

fn at(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

pub fn set(file: &Path, name: &str, password: &str) {
    let name = UserName::parse(name).expect("a name");
    let hash = Hash::of(&Password::new(password, &name).expect("a password")).expect("made");
    write(file, &name, Some(&hash)).expect("written");
}

struct Office {
    house: House,
    papers: Papers,
    users: PathBuf,
}

impl Office {
    async fn open(register: &str) -> Office {
        let papers = Papers::new();
        let users = papers.path("users");
        set(&users, "amal", CANARY);
        set(&users, "Réda", OTHER);
        let (listener, file) = (over_tls(papers.tls(ClientCertificates::Optional)), users.clone());
        let plan = Plan::new(register).site(PLAIN, Site::Plain).site(INNER, Site::Tls);
        let house = plan.settings(|settings| {
            settings.listeners.push(listener);
            settings.users = Some(file);
        });
        Office { house: house.build().await, papers, users }
    }

    fn plain(&self) -> String {
        self.house.base("http", PLAIN) + "/"
    }

    /// curl from an address through the first listener.
    async fn curl(&self, from: IpAddr, arguments: &[&str]) -> String {
        self.curl_at(from, "http", 0, arguments).await
    }

    async fn curl_at(&self, from: IpAddr, scheme: &str, listener: usize, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "--noproxy", "", "--interface", &from.to_string()]);
        command.args(["-w", "%{http_code} %{http_connect}\n", "-o", "/dev/null"]);
        command.args(["-x", &format!("{scheme}://{}", self.house.running.proxies[listener])]);
        command.args(["--proxy-cacert", &self.papers.shown("roots.pem")]);
        command.args(["--cacert", &self.house.folder.path().join("ca.pem").display().to_string()]);
        command.args(arguments);
        let run = move || command.output().expect("curl (Debian package curl)");
        said(&tokio::task::spawn_blocking(run).await.expect("no panic"))
    }

    async fn checked(&self, result: &str) -> u64 {
        let label = format!("result=\"{result}\"");
        series(&self.house.metrics().await, "tasrih_credential_checks_total", &[&label])
    }

    async fn last(&self, count: usize) -> Value {
        self.house.until_decisions(count).await.pop().expect("a decision")
    }
}

fn source(decision: &Value) -> &str {
    decision["unmapped"]["transfer"]["source"].as_str().unwrap_or("nobody")
}

fn user(decision: &Value) -> &str {
    decision["actor"]["user"]["name"].as_str().unwrap_or("nobody")
}

/// From where, with what, and what comes of it: status, reason, source and user on record.
type Row<'r> = (u8, Option<&'r str>, &'r str, &'r str, &'r str, &'r str);

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_only_where_one_could_help() {
    let office = Office::open(REGISTER).await;
    let wrong = "amal:not-the-password";
    let right = format!("amal:{CANARY}");
    let table: [Row<'_>; 13] = [
        (5, None, "407", "credentials-required", "nobody", "nobody"),
        (5, Some(wrong), "407", "credentials-required", "nobody", "nobody"),
        (5, Some("nobody:not-the-password"), "407", "credentials-required", "nobody", "nobody"),
        (5, Some(&right), "200", "", "amal", "amal"),
        // A name in another form of the same letters.
        (5, Some("Re\u{301}da:another-long-password"), "200", "", "reda", "R\u{e9}da"),
        // Known without: none is asked for, but one that is sent must be right.
        (17, None, "200", "", "office", "nobody"),
        (17, Some(wrong), "407", "credentials-required", "office", "nobody"),
        (17, Some(&right), "200", "", "amal-in-office", "amal"),
        // A user whom no source wants here: proven, and no more than what the network is.
        (17, Some("Réda:another-long-password"), "200", "", "office", "R\u{e9}da"),
        // Nothing that is sent could help: it is not looked at.
        (21, Some(wrong), "200", "", "printers", "nobody"),
        (99, None, "403", "source-unknown", "nobody", "nobody"),
        (99, Some(&right), "403", "source-unknown", "nobody", "nobody"),
        // A certificate would be needed beside the password.
        (25, Some(&right), "403", "source-unknown", "nobody", "nobody"),
    ];
    for (number, (from, credentials, status, reason, by, who)) in table.into_iter().enumerate() {
        let target = office.plain();
        let mut arguments = vec![target.as_str()];
        arguments.extend(credentials.iter().flat_map(|given| ["--proxy-user", *given]));
        let answer = office.curl(at(from), &arguments).await;
        assert!(answer.starts_with(status), "{from} {credentials:?}: {answer}");
        let decision = office.last(number + 1).await;
        let shown = (reason_of(&decision), source(&decision), user(&decision));
        let reason = if reason.is_empty() { "permit" } else { reason };
        assert!(shown.0 == reason || reason == "permit" && status == "200", "{from} {credentials:?}: {decision:#}");
        assert_eq!((shown.1, shown.2), (by, who), "{from} {credentials:?}: {decision:#}");
    }
    assert_eq!(office.house.recipient(PLAIN).requests().len(), 6);
    assert_eq!(
        (office.checked("right").await, office.checked("remembered").await),
        (2, 2),
        "each user was computed once"
    );
    assert_eq!(office.checked("wrong").await, 3, "where nothing could help, nothing was computed");

    // What is asked for.
    let head = office.curl(at(5), &["-D", "-", &office.plain()]).await;
    assert!(
        head.to_lowercase().contains("proxy-authenticate: basic realm=\"tasrih\", charset=\"utf-8\"\r\n"),
        "{head}"
    );
    // A client that waits to be asked, and one that knows other schemes.
    let asked = office.curl(at(5), &["--proxy-anyauth", "--proxy-user", &right, &office.plain()]).await;
    assert!(asked.starts_with("200"), "{asked}");
    let other = office.curl(at(5), &["-H", "Proxy-Authorization: Bearer abc", &office.plain()]).await;
    assert!(other.starts_with("407"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_a_connect_hold_for_what_is_inside_and_go_no_further() {
    let office = Office::open(REGISTER).await;
    let (right, inner) = (format!("amal:{CANARY}"), office.house.base("https", INNER) + "/");
    let inside = format!("Proxy-Authorization: Basic {}", super::support::base64(b"amal:wrong-inside-one"));
    // Two requests through one CONNECT, with a field inside that is nobody's.
    let sent = office.curl(at(5), &["--proxy-user", &right, "-H", &inside, &inner, &inner, "-o", "/dev/null"]).await;
    assert_eq!(sent.matches("200").count(), 3, "{sent}");
    let decisions = office.house.until_decisions(2).await;
    for decision in &decisions {
        assert_eq!((source(decision), user(decision)), ("amal", "amal"), "{decision:#}");
    }
    for request in office.house.recipient(INNER).requests() {
        assert!(!format!("{request:?}").to_lowercase().contains("proxy-authorization"), "{request:?}");
    }
    // Refused with the status of the CONNECT, and asked for there.
    let refused = office.curl(at(5), &["--proxy-user", "amal:not-the-password", &inner]).await;
    assert!(refused.contains("000 407"), "{refused}");
    assert_eq!(reason_of(&office.last(3).await), "credentials-required");
    let asked = office.curl(at(5), &["--proxy-anyauth", "--proxy-user", &right, &inner]).await;
    assert!(asked.starts_with("200 200"), "{asked}");
    assert_eq!(office.checked("right").await, 1);
    // Over TLS to the proxy: certificate and user and network.
    let (cert, key) = (office.papers.shown("uploader.pem"), office.papers.shown("uploader.key"));
    let proved = ["--proxy-cert", &cert, "--proxy-key", &key, "--proxy-user", &right, &inner];
    let sent = office.curl_at(at(25), "https", 1, &proved).await;
    assert!(sent.starts_with("200 200"), "{sent}");
    let without = office.curl_at(at(25), "https", 1, &proved[2..]).await;
    assert!(without.contains("403") || without.contains("curl"), "{without}");
    let unasked = office.curl_at(at(25), "https", 1, &["--proxy-cert", &cert, "--proxy-key", &key, &inner]).await;
    assert!(unasked.contains("000 407"), "with the certificate a password could help: {unasked}");
    let sources: Vec<String> = office.house.decisions().iter().map(|decision| source(decision).to_owned()).collect();
    assert!(sources.contains(&"proved".to_owned()), "{sources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_observe_nobody_is_stopped_by_a_question() {
    let office = Office::open(&REGISTER.replace("schema: tasrih/1", "schema: tasrih/1\nmode: observe")).await;
    assert!(office.curl(at(5), &[&office.plain()]).await.starts_with("200"));
    let decision = office.last(1).await;
    assert_eq!(
        (reason_of(&decision), &decision["unmapped"]["transfer"]["decision"]),
        ("source-unknown", &"would-deny".into())
    );
    let wrong = office.curl(at(5), &["--proxy-user", "amal:not-the-password", &office.plain()]).await;
    assert!(wrong.starts_with("407"), "what is sent must be right: {wrong}");
    let right = office.curl(at(5), &["--proxy-user", &format!("amal:{CANARY}"), &office.plain()]).await;
    assert!(right.starts_with("200"), "{right}");
    assert_eq!(source(&office.last(3).await), "amal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_counts_for_the_next_request_and_for_what_is_open() {
    let office = Office::open(REGISTER).await;
    let (right, plain) = (format!("amal:{CANARY}"), office.plain());
    // An intercepted connection that stays open, as amal.
    let mut open = office.house.raw(at(5)).await;
    let to = format!("{INNER}:{}", office.house.recipient(INNER).address.port());
    let credentials = base64::engine::general_purpose::STANDARD.encode(&right);
    open.send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"))
        .await;
    assert_eq!(open.reply().await.expect("an answer").status, 200);
    let running = office.house.running.corridor();
    let mut inside = Raw::new(tls_as(open.into_parts().0, INNER).await.expect("a handshake"));
    let request = format!("GET / HTTP/1.1\r\nHost: {to}\r\n\r\n");
    inside.send(&request).await;
    assert_eq!(inside.reply().await.expect("an answer").status, 200);

    // Another password, while the connection is open.
    set(&office.users, "amal", OTHER);
    assert!(office.house.running.files().reload(running).await);
    assert!(office.curl(at(5), &["--proxy-user", &right, &plain]).await.starts_with("407"));
    let changed = format!("amal:{OTHER}");
    assert!(office.curl(at(5), &["--proxy-user", &changed, &plain]).await.starts_with("200"));
    inside.send(&request).await;
    let answer = inside.reply().await.expect("an answer");
    let told = (answer.status, answer.proxy_status("reason"));
    assert_eq!(told, (407, Some("credentials-required".to_owned())), "the password that let it in is none any more");

    // A faulty file changes nothing; log, metric and readiness say so.
    fs::write(&office.users, "amal:secret\n").expect("written");
    assert!(!office.house.running.files().reload(running).await);
    assert!(office.curl(at(5), &["--proxy-user", &changed, &plain]).await.starts_with("200"));
    let scrape = office.house.metrics().await;
    assert_eq!(series(&scrape, "tasrih_file_reload_refused", &["file=\"users\""]), 1);
    assert_eq!(office.house.ready().await["files_refused"], serde_json::json!(["users"]));
    // Nobody left: whoever was somebody is nobody.
    fs::write(&office.users, "# nobody\n").expect("written");
    assert!(office.house.running.files().reload(running).await);
    assert!(office.curl(at(5), &["--proxy-user", &changed, &plain]).await.starts_with("407"));
    assert_eq!(office.house.ready().await["files_refused"], Value::Null);
    assert_eq!(series(&office.house.metrics().await, "tasrih_users", &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_in_no_record_no_metric_no_state_and_at_no_recipient() {
    let office = Office::open(REGISTER).await;
    let right = format!("amal:{CANARY}");
    let (plain, inner) = (office.plain(), office.house.base("https", INNER) + "/");
    for target in [&plain, &inner] {
        assert!(office.curl(at(5), &["--proxy-user", &right, target]).await.starts_with("200"));
    }
    // Typed where the name belongs, and beside a wrong one.
    for typed in [format!("{CANARY}:whatever-it-was"), format!("nobody:{CANARY}")] {
        assert!(office.curl(at(5), &["--proxy-user", &typed, &plain]).await.starts_with("407"));
    }
    office.house.until_decisions(4).await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&right);
    let holds = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains(CANARY) || text.contains(&encoded) || text.contains("canary-5f1d")
    };
    assert!(!holds(office.house.metrics().await.as_bytes()));
    for host in [PLAIN, INNER] {
        for request in office.house.recipient(host).requests() {
            assert!(!holds(format!("{request:?}").as_bytes()), "{request:?}");
        }
    }
    let mut folders = vec![office.house.folder.path().to_owned()];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => {
                    assert!(!holds(&fs::read(&entry).expect("readable")), "{}", entry.display());
                    read += 1;
                }
            }
        }
    }
    assert!(read > 3, "the log was looked at");
    assert!(!holds(&fs::read(&office.users).expect("readable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_guesses_slows_its_address_down_and_nobody_else() {
    let office = std::sync::Arc::new(Office::open(REGISTER).await);
    let right = format!("amal:{CANARY}");
    let mut guesses = Vec::new();
    for number in 0..40 {
        let office = office.clone();
        guesses.push(tokio::spawn(async move {
            let guess = format!("amal:a-guess-of-number-{number}");
            office.curl(at(6), &["--proxy-user", &guess, &office.plain()]).await
        }));
    }
    // Meanwhile others are served: known by their network, and by a password that is computed.
    assert!(office.curl(at(21), &[&office.plain()]).await.starts_with("200"));
    assert!(office.curl(at(5), &["--proxy-user", &right, &office.plain()]).await.starts_with("200"));
    let mut statuses = Vec::new();
    for guess in guesses {
        statuses.push(guess.await.expect("no panic")[..3].to_owned());
    }
    let count = |status: &str| statuses.iter().filter(|told| *told == status).count();
    // A slow machine may give one back, at six seconds each.
    assert!((10..=20).contains(&count("407")) && count("407") + count("503") == 40, "{statuses:?}");
    assert_eq!(office.checked("wrong").await as usize, count("407"), "what was slowed down was not computed");
    let slowed = office.curl(at(6), &["-D", "-", "--proxy-user", "amal:one-more-guess-of-it", &office.plain()]).await;
    if slowed.contains(" 503") {
        assert!(slowed.to_lowercase().contains("retry-after: "), "{slowed}");
    }
    assert!(
        office.curl(at(6), &["--proxy-user", &right, &office.plain()]).await.starts_with("200"),
        "what is remembered"
    );
}

#[test]
fn the_command_writes_a_file_that_the_proxy_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    let shown = file.display().to_string();
    let run = |arguments: &[&str], typed: &str| -> Output {
        use std::io::Write;
        use std::process::Stdio;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
        command.args(["passwd", "--users", &shown]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        // What reads nothing may be gone already.
        let _ = child.stdin.take().expect("a pipe").write_all(typed.as_bytes());
        child.wait_with_output().expect("it ends")
    };
    let told = |output: &Output| (output.status.code(), said(output));
    assert_eq!(told(&run(&["amal"], "a long enough one\n")), (Some(0), "amal added\n".to_owned()));
    assert_eq!(told(&run(&["reda"], "a long enough one\r\n")), (Some(0), "reda added\n".to_owned()));
    assert_eq!(told(&run(&["amal"], "another long one")), (Some(0), "amal changed\n".to_owned()));
    assert_eq!(told(&run(&["--list"], "")), (Some(0), "amal\nreda\n".to_owned()));
    assert_eq!(told(&run(&["--delete", "reda"], "")), (Some(0), "reda deleted\n".to_owned()));
    assert_eq!(run(&["--delete", "reda"], "").status.code(), Some(1));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&file).expect("read");
    assert!(before.starts_with("amal:$argon2id$v=19$m=65536,t=3,p=4$") && !before.contains("another"), "{before}");
    for (name, typed, words) in [
        ("reda", "", "the password is empty; nothing was written"),
        ("reda", "\n", "the password is empty"),
        ("reda", "too short\n", "fewer than 12 characters"),
        ("reda", "reda and some more\n", "holds the user's name"),
        ("reda", "one line\nand another\n", "has a control character"),
        ("a:b", "a long enough one\n", "has a colon"),
        ("", "a long enough one\n", "the user name is empty"),
        ("a b", "a long enough one\n", "has a space"),
    ] {
        let (code, said) = told(&run(&[name], typed));
        assert!(code == Some(2) && said.contains(words), "{name} {typed:?}: {said}");
    }
    assert_eq!(run(&["amal", "a-password-as-argument"], "").status.code(), Some(2), "no password on the command line");
    assert_eq!(fs::read_to_string(&file).expect("read"), before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("our own file");
    let (code, said) = told(&run(&["reda"], "a long enough one\n"));
    assert!(code == Some(2) && said.contains("is open to others (mode 0644); run `chmod 600 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_users_file_nobody_is_asked() {
    let house = Plan::new(REGISTER).site(PLAIN, Site::Plain).site(INNER, Site::Tls).build().await;
    for (from, status) in [(at(5), 403), (at(17), 200), (STRANGER, 403)] {
        let reply = house.send(from, get(house.base("http", PLAIN) + "/")).await;
        assert_eq!(reply.status, status, "{from}");
    }
    assert_eq!((UPLOADER, OFFICE), (at(5), at(6)), "addresses of the harness");
    assert!(house.until_decisions(3).await.iter().all(|decision| reason_of(decision) != "credentials-required"));
}

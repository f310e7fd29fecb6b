//! The interception authority on its way to the devices: what is handed out, how it is replaced, and what is refused; seen
//! with the tools that an engineer has, openssl and curl.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::ground::{Ground, INTAKE, Listening, Process, output};

/// Runs a tool to its end: whether it succeeded, and all that it printed.
async fn tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(name);
    command.args(arguments);
    let output = output(command).await;
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

/// `tasrih ca …` on the installation's folder.
async fn ca(ground: &Ground, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
    command.arg("ca").args(arguments).arg("--certs").arg(ground.folder.path());
    let output = output(command).await;
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

async fn start(ground: &Ground) -> (Process, Listening) {
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    (process, at)
}

async fn stop(mut process: Process) {
    process.signal(Signal::TERM);
    process.ended().await;
}

/// Posts a frame to the pinned recipient through interception; curl's exit code and the status.
async fn post(ground: &Ground, proxy: SocketAddr, trusted: &Path) -> (bool, String) {
    let frame = ground.path("frame.jpg");
    fs::write(&frame, super::ground::FRAME).expect("written");
    let (proxy, data) = (format!("http://{proxy}"), format!("@{}", frame.display()));
    let url = format!("https://{INTAKE}:{}/cctv/cam1", ground.intake.address.port());
    let trusted = trusted.display().to_string();
    let head = ["-sS", "--interface", "127.0.0.5", "--noproxy", "", "-x", &proxy, "--cacert", &trusted];
    let body =
        ["-H", "content-type: image/jpeg", "--data-binary", &data, "-o", "/dev/null", "-w", "%{http_code}", &url];
    tool("curl", &[&head[..], &body[..]].concat()).await
}

async fn fetch(url: &str) -> (String, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", "-w", "%{stderr}%{http_code} %{content_type}", url]);
    let output = output(command).await;
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_handed_what_they_need_and_nothing_is_on_record() {
    let ground = Ground::lay("PT5S").await;
    let (process, at) = start(&ground).await;
    let before = ground.records().len();
    for listener in [at.proxy, at.admin] {
        let (told, pem) = fetch(&format!("http://{listener}/ca.pem")).await;
        assert_eq!(told, "200 application/x-x509-ca-cert");
        assert_eq!(pem, fs::read(ground.path("ca.pem")).expect("made at the start"));

        let (told, list) = fetch(&format!("http://{listener}/ca.crl")).await;
        assert_eq!(told, "200 application/pkix-crl");
        fs::write(ground.path("ca.crl"), list).expect("written");
        let (list, root) = (ground.path("ca.crl").display().to_string(), ground.path("ca.pem").display().to_string());
        let (fine, printed) =
            tool("openssl", &["crl", "-inform", "DER", "-in", &list, "-CAfile", &root, "-text"]).await;
        assert!(fine && printed.contains("verify OK"), "{printed}");
        assert!(printed.contains("No Revoked Certificates") && printed.contains("CRL Number"), "{printed}");

        let (told, script) = fetch(&format!("http://{listener}/proxy.pac")).await;
        assert_eq!(told, "200 application/x-ns-proxy-autoconfig");
        let script = String::from_utf8(script).expect("text");
        assert!(script.contains(&format!("return \"PROXY {}\";", at.proxy)), "{script}");
        assert!(!script.contains("; DIRECT"), "no way around: {script}");
    }
    // In absolute form, as a client sends it that goes through the proxy for everything.
    let url = format!("http://{}/ca.crl", at.proxy);
    let (fine, printed) = tool(
        "curl",
        &["-sS", "--noproxy", "", "-x", &format!("http://{}", at.proxy), "-o", "/dev/null", "-w", "%{http_code}", &url],
    )
    .await;
    assert!(fine && printed == "200", "{printed}");
    assert_eq!(ground.records().len(), before, "nothing of this is an exchange");

    // Whatever else is asked of the listener itself is refused, and on record.
    for (arguments, reason) in [
        (vec!["-d", "x", "/ca.pem"], "malformed-request"),
        (vec!["/ca.key"], "malformed-request"),
        (vec!["/ca.pem/"], "malformed-request"),
    ] {
        let before = ground.records().len();
        let (path, rest) = arguments.split_last().expect("a path");
        let url = format!("http://{}{path}", at.proxy);
        let head = ["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}"];
        let (_, printed) = tool("curl", &[&head[..], rest, &[&url]].concat()).await;
        assert_eq!(printed, "400", "{arguments:?}");
        let records = ground.records();
        assert_eq!(records[before]["metadata"]["event_code"], reason, "{arguments:?}");
    }
    stop(process).await;
}

/// The certificate that the proxy shows for the pinned recipient, as openssl prints it; the leaf is left in `leaf.pem`.
async fn leaf(ground: &Ground, proxy: SocketAddr) -> String {
    let script = format!(
        "openssl s_client -proxy {proxy} -bind 127.0.0.5 -connect {INTAKE}:{} -servername {INTAKE} -showcerts \
         </dev/null 2>/dev/null | openssl x509 -out {leaf} -text",
        ground.intake.address.port(),
        leaf = ground.path("leaf.pem").display(),
    );
    let (fine, printed) = tool("sh", &["-c", &script]).await;
    assert!(fine, "{printed}");
    let (_, printed) =
        tool("openssl", &["x509", "-in", &ground.path("leaf.pem").display().to_string(), "-noout", "-text"]).await;
    printed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_says_what_clients_ask_of_one() {
    let ground = Ground::lay("PT5S").await;
    let configuration = fs::read_to_string(ground.path("tasrih.yaml")).expect("a configuration");
    let with_list = configuration.replace("ca.key}", "ca.key, crl_url: \"http://proxy.example:3128/ca.crl\"}");
    fs::write(ground.path("tasrih.yaml"), with_list).expect("written");
    let (process, at) = start(&ground).await;
    let shown = leaf(&ground, at.proxy).await;
    for wanted in [
        "X509v3 Authority Key Identifier",
        "X509v3 Subject Key Identifier",
        "TLS Web Server Authentication\n",
        "CA:FALSE",
        "URI:http://proxy.example:3128/ca.crl",
        &format!("DNS:{INTAKE}"),
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    // Valid since a day ago, and for a month.
    let leaf = ground.path("leaf.pem").display().to_string();
    let (still_valid, _) = tool("openssl", &["x509", "-in", &leaf, "-noout", "-checkend", "0"]).await;
    let (in_a_month, _) = tool("openssl", &["x509", "-in", &leaf, "-noout", "-checkend", "2678400"]).await;
    assert!(still_valid && !in_a_month);

    let (_, list) = fetch(&format!("http://{}/ca.crl", at.proxy)).await;
    fs::write(ground.path("ca.crl"), list).expect("written");
    let path = |name: &str| ground.path(name).display().to_string();
    let (root, crl) = (path("ca.pem"), path("ca.crl"));
    tool("openssl", &["crl", "-inform", "DER", "-in", &crl, "-out", &crl]).await;
    let arguments =
        ["verify", "-x509_strict", "-purpose", "sslserver", "-crl_check", "-CAfile", &root, "-CRLfile", &crl, &leaf];
    let (fine, printed) = tool("openssl", &arguments).await;
    assert!(fine, "{printed}");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_replaced_clients_of_either_authority_pass() {
    let ground = Ground::lay("PT5S").await;
    let (process, at) = start(&ground).await;
    let old = ground.path("old.pem");
    fs::copy(ground.path("ca.pem"), &old).expect("a copy");
    assert_eq!(post(&ground, at.proxy, &old).await, (true, "200".to_owned()));

    let (code, printed) = ca(&ground, &["rotate"]).await;
    assert_eq!(code, Some(0), "{printed}");
    let mode = fs::metadata(ground.path("ca-next.key")).expect("the next key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, printed) = ca(&ground, &["rotate"]).await;
    assert!(code == Some(2) && printed.contains("--finish"), "{printed}");
    assert_eq!(post(&ground, at.proxy, &old).await.1, "200", "the running proxy knows nothing of it");
    stop(process).await;

    let (process, at) = start(&ground).await;
    let (_, both) = fetch(&format!("http://{}/ca.pem", at.proxy)).await;
    let both = String::from_utf8(both).expect("PEM");
    let certificates: Vec<&str> = both.split_inclusive("-----END CERTIFICATE-----\n").collect();
    assert_eq!(certificates.len(), 2, "the present one and the next: {both}");
    let (new, all) = (ground.path("new.pem"), ground.path("both.pem"));
    fs::write(&new, certificates[1]).expect("written");
    fs::write(&all, &both).expect("written");
    for trusted in [&old, &new, &all] {
        assert_eq!(post(&ground, at.proxy, trusted).await, (true, "200".to_owned()), "{}", trusted.display());
    }
    let (_, shown) = ca(&ground, &["show"]).await;
    assert_eq!(shown.matches("subject ").count(), 2, "{shown}");
    stop(process).await;

    let (code, printed) = ca(&ground, &["rotate", "--finish"]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (process, at) = start(&ground).await;
    assert_eq!(post(&ground, at.proxy, &new).await, (true, "200".to_owned()));
    assert!(!post(&ground, at.proxy, &old).await.0, "the old one is over");
    let (_, one) = fetch(&format!("http://{}/ca.pem", at.proxy)).await;
    assert_eq!(one, fs::read(&new).expect("a file"));
    let (code, printed) = ca(&ground, &["rotate", "--finish"]).await;
    assert!(code == Some(2) && printed.contains("`tasrih ca rotate` makes one"), "{printed}");
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_that_was_interrupted_is_finished_by_the_same_command() {
    let ground = Ground::lay("PT5S").await;
    let file = |name: &str| ground.path(name);
    // At each rename: nothing moved, the old key set aside, the new key in its place.
    for moved in
        [&[][..], &[("ca.key", "ca-previous.key")], &[("ca.key", "ca-previous.key"), ("ca-next.key", "ca.key")]]
    {
        for name in ["ca.pem", "ca.key", "ca-next.key", "ca-previous.key", "ca-previous.pem"] {
            let _ = fs::remove_file(file(name));
        }
        assert_eq!(ca(&ground, &["init"]).await.0, Some(0));
        assert_eq!(ca(&ground, &["rotate"]).await.0, Some(0));
        for (from, to) in moved {
            fs::rename(file(from), file(to)).expect("renamed");
        }
        let (code, printed) = ca(&ground, &["rotate", "--finish"]).await;
        assert_eq!(code, Some(0), "{moved:?}: {printed}");
        let (code, printed) = ca(&ground, &["show"]).await;
        assert_eq!(code, Some(0), "{moved:?}: {printed}");
        assert!(file("ca-previous.key").exists() && !file("ca-next.key").exists());
    }
    // A next key that was made before its certificate could be written is used.
    fs::remove_file(file("ca-previous.key")).expect("there");
    fs::copy(file("ca.pem"), file("before.pem")).expect("a copy");
    assert_eq!(ca(&ground, &["rotate"]).await.0, Some(0));
    let made = fs::read(file("ca-next.key")).expect("a key");
    fs::copy(file("before.pem"), file("ca.pem")).expect("back again");
    assert_eq!(ca(&ground, &["rotate"]).await.0, Some(0));
    assert_eq!(fs::read(file("ca-next.key")).expect("a key"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_or_replace_is_refused_with_the_remedy() {
    let ground = Ground::lay("PT5S").await;
    assert_eq!(ca(&ground, &["init"]).await.0, Some(0));
    let (key, folder) = (ground.path("ca.key"), ground.folder.path());
    for (path, mode, remedy, well) in [
        (key.as_path(), 0o644, "chmod 600", 0o600),
        (key.as_path(), 0o640, "chmod 600", 0o600),
        (folder, 0o777, "chmod o-w", 0o700),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
        let refused = output(ground.run()).await;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && told.contains(remedy), "{mode:o}: {told}");
        fs::set_permissions(path, Permissions::from_mode(well)).expect("our own");
    }
    std::os::unix::fs::chown(&key, Some(12_345), None).expect("the tests run as root");
    let (code, told) = ca(&ground, &["show"]).await;
    assert!(code == Some(2) && told.contains("belongs to user 12345"), "{told}");
    std::os::unix::fs::chown(&key, Some(0), None).expect("the tests run as root");
    let (process, _) = start(&ground).await;
    stop(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_device_gets_its_form_of_both_authorities() {
    let ground = Ground::lay("PT5S").await;
    assert_eq!(ca(&ground, &["init"]).await.0, Some(0));
    assert_eq!(ca(&ground, &["rotate"]).await.0, Some(0));
    for (device, ending, form, step) in [
        ("windows", "cer", "DER", "certutil -addstore -f ROOT"),
        ("debian", "crt", "PEM", "update-ca-certificates"),
        ("firefox", "pem", "PEM", "policies.json"),
        ("java", "pem", "PEM", "keytool -importcert"),
    ] {
        let out = ground.path(device);
        let (code, printed) = ca(&ground, &["export", device, "--out", &out.display().to_string()]).await;
        assert!(code == Some(0) && printed.contains(step), "{device}: {printed}");
        let files: Vec<_> = fs::read_dir(&out).expect("a folder").map(|file| file.expect("a file").path()).collect();
        let certificates: Vec<_> =
            files.iter().filter(|file| file.extension().is_some_and(|found| found == ending)).collect();
        assert_eq!(certificates.len(), 2, "{device}: {files:?}");
        for file in certificates {
            let file = file.display().to_string();
            let (fine, printed) = tool("openssl", &["x509", "-inform", form, "-in", &file, "-noout", "-subject"]).await;
            assert!(fine && printed.contains("Tasrih interception authority"), "{file}: {printed}");
        }
    }
    let policy = fs::read_to_string(ground.path("firefox/policies.json")).expect("a policy");
    let policy: serde_json::Value = serde_json::from_str(&policy).expect("JSON");
    assert_eq!(policy["policies"]["Certificates"]["Install"].as_array().map(Vec::len), Some(2));
    for (device, step) in [("python", "REQUESTS_CA_BUNDLE"), ("node", "NODE_EXTRA_CA_CERTS")] {
        let out = ground.path(device);
        let (_, printed) = ca(&ground, &["export", device, "--out", &out.display().to_string()]).await;
        assert!(printed.contains(step), "{printed}");
        let text = fs::read_to_string(out.join("tasrih-ca.pem")).expect("PEM");
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2, "the bridge is nothing to trust by itself");
    }
}

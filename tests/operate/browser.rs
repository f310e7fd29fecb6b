//! The page of a refusal, and the script that leads to the proxy, in a real browser.

use std::fs;
use std::process::Command;

use super::ground::{Ground, Process, output};

/// The page that Chromium makes of an address, as it stands after loading.
async fn dom(ground: &Ground, arguments: &[&str], address: &str) -> String {
    let profile = tempfile::tempdir_in(ground.folder.path()).expect("a folder");
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]);
    command.arg("--no-first-run").arg(format!("--user-data-dir={}", profile.path().display()));
    command.args(arguments).arg(address);
    let output = output(command).await;
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dom.contains("<html"), "no page: {}", String::from_utf8_lossy(&output.stderr));
    dom
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_refusal_in_the_readers_language_and_asks_for_nothing_else() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    let script = format!("--proxy-pac-url=http://{}/proxy.pac", at.proxy);
    for (language, head, sentence) in [
        ("ar", "<html lang=\"ar\" dir=\"rtl\">", "رُفض النقل لأن النظام المرسل غير مسجّل ضمن المصادر المصرّح بها."),
        ("fr", "<html lang=\"fr\" dir=\"ltr\">", "Le transfert a été refusé parce que le système émetteur"),
    ] {
        let wanted = format!("--accept-lang={language}");
        let dom = dom(&ground, &[&script, &wanted, "--lang=en"], "http://undeclared.example/photo").await;
        assert!(dom.contains(head), "{language}: {dom}");
        let sections: Vec<&str> = dom.split("<section id=\"").skip(1).collect();
        assert_eq!(sections.len(), 3, "{dom}");
        assert!(sections[0].starts_with(language) && sections[0].contains(sentence), "{dom}");
        assert!(dom.contains("<section id=\"ar\" lang=\"ar\" dir=\"rtl\">"), "Arabic runs from right to left: {dom}");
        assert!(dom.contains("dpo@visa-centre.example"), "whom to ask: {dom}");
    }
    let records = ground.records();
    let asked = records.iter().filter(|record| record["dst_endpoint"]["hostname"] == "undeclared.example");
    let asked: Vec<_> = asked.map(|record| &record["http_request"]["url"]["path"]).collect();
    assert_eq!(asked.len(), 2, "the page asks for nothing: {asked:?}");
}

/// Where the script sends each of these, as a browser evaluates it.
const WAYS: [(&str, bool); 12] = [
    ("intake.ministry-a.example", true),
    ("EXTERNAL.EXAMPLE", true),
    ("10.1.2.3", true),
    ("198.51.100.7", true),
    ("2130706433", true),
    ("0x7f000001", true),
    ("2001:db8::1", true),
    ("127.0.0.1.example", true),
    ("intranet", false),
    ("localhost", false),
    ("127.0.0.53", false),
    ("::1", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_script_sends_everything_outside_to_the_proxy() {
    let ground = Ground::lay("PT5S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    let fetched = output({
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", &format!("http://{}/proxy.pac", at.proxy)]);
        command
    });
    let script = String::from_utf8(fetched.await.stdout).expect("text");
    let hosts: Vec<&str> = WAYS.iter().map(|(host, _)| *host).collect();
    let hosts = serde_json::to_string(&hosts).expect("JSON");
    let page = format!(
        "<!doctype html><body><pre id=ways></pre><script>{script}\ndocument.getElementById('ways').textContent = \
         {hosts}.map(host => host + ' ' + FindProxyForURL('http://' + host + '/', host)).join('\\n');</script>"
    );
    fs::write(ground.path("ways.html"), page).expect("written");
    let dom = dom(&ground, &[], &format!("file://{}", ground.path("ways.html").display())).await;
    for (host, outside) in WAYS {
        let way = if outside { format!("PROXY {}", at.proxy) } else { "DIRECT".to_owned() };
        assert!(dom.contains(&format!("{host} {way}")), "{host} → {way} is not in {dom}");
    }
}

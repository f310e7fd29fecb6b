//! `tasrih probe`: a real handshake with a real recipient, to which nothing of an exchange goes.

use std::fs;

use serde_json::Value;
use tasrih::tls::recipient::Issuing;

use super::ground::{Ground, output};

/// A TLS 1.3 alert record: the end of a session, said in order.
const CLOSE_NOTIFY: u64 = 24;

async fn probe(ground: &Ground, recipient: &str) -> (Option<i32>, Value) {
    let output = output(ground.command(&["probe", recipient, "--json"])).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::String(told)))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_the_recipient_shows_and_sends_nothing() {
    let ground = Ground::lay("PT5S").await;
    let (code, report) = probe(&ground, "ministry-b").await;
    assert_eq!(code, Some(0), "{report:#}");
    let looked = &report["destinations"][0];
    let address = &looked["addresses"][0];
    assert_eq!((&address["address"], &address["class"]), (&Value::from("127.0.0.1"), &Value::from("loopback")));
    assert_eq!((&address["tls"], &address["pin_matches"]), (&Value::from("1.3"), &Value::from(true)), "{report:#}");
    assert_eq!(address["chain"][0]["spki_sha256"], ground.pin().as_str());
    assert!(address["chain"][0]["days_left"].as_i64().is_some_and(|days| (28..=30).contains(&days)), "{report:#}");
    let verdict = &looked["verdicts"][0];
    assert_eq!((&verdict["transfer"], &verdict["decision"]), (&Value::from("cctv-to-b"), &Value::from("permit")));

    // What the handshake took is subtracted when it is over; only then the rest tells something.
    let is_over = || ground.intake.connections() == 1 && ground.intake.bytes() <= CLOSE_NOTIFY;
    super::ground::until("the handshake is counted, and nothing is beside it", is_over).await;
    assert!(ground.intake.requests().is_empty());
    assert!(!ground.path("state").exists(), "no record, no lock, no state");

    // For people: the pin as it is written in a policy file.
    let shown = output(ground.command(&["probe", "ministry-b"])).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("tls_spki_sha256: [\"{}\"] (is a declared pin)", ground.pin())), "{shown}");
    assert!(shown.contains("register     cctv-to-b from cameras: permit"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_or_another_authority_is_a_finding() {
    let ground = Ground::lay("PT5S").await;
    ground.declare("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let (code, report) = probe(&ground, "ministry-b").await;
    assert_eq!(code, Some(1), "{report:#}");
    let looked = &report["destinations"][0];
    assert_eq!(looked["addresses"][0]["pin_matches"], false);
    assert_eq!(looked["verdicts"][0]["reason"], "tls-identity-mismatch", "{report:#}");

    ground.declare(&ground.pin());
    let other = Issuing::new("Somebody else").expect("an authority");
    fs::write(ground.path("roots.pem"), other.certificate_pem()).expect("written");
    let (code, report) = probe(&ground, "ministry-b").await;
    assert_eq!(code, Some(1), "{report:#}");
    let address = &report["destinations"][0]["addresses"][0];
    assert!(address["fault"].as_str().expect("a fault").contains("does not lead to a trusted root"), "{report:#}");
    assert_eq!(address["chain"][0]["spki_sha256"], ground.pin().as_str(), "what was shown is told all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_declared_recipients_at_addresses_that_may_be_dialled_are_looked_at() {
    let ground = Ground::lay("PT5S").await;
    let (code, told) = probe(&ground, "ministry-bb").await;
    assert_eq!(code, Some(2));
    assert!(told.as_str().expect("a message").contains("did you mean `ministry-b`?"), "{told}");

    let configuration = fs::read_to_string(ground.path("tasrih.yaml")).expect("a configuration");
    let closed = configuration.replace("internal_destinations: [127.0.0.0/8]\n", "");
    fs::write(ground.path("tasrih.yaml"), closed).expect("written");
    let (code, report) = probe(&ground, "ministry-a").await;
    assert_eq!(code, Some(1));
    let looked = &report["destinations"][0];
    assert_eq!(looked["addresses"][0]["fault"], "not dialled: address-refused (loopback)");
    assert_eq!(looked["verdicts"][0]["reason"], "address-refused", "{report:#}");
    assert_eq!(ground.plain.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_below_a_wildcard_is_looked_at_where_it_is_named() {
    let ground = Ground::lay("PT5S").await;
    let policy = fs::read_to_string(ground.path("policies/cctv.yaml")).expect("a policy");
    let below = policy.replace("host: intake.ministry-b.example,", "host: \"*.ministry-b.example\",");
    fs::write(ground.path("policies/cctv.yaml"), below).expect("written");
    let (code, report) = probe(&ground, "ministry-b").await;
    assert_eq!(code, Some(1), "{report:#}");
    assert!(report["destinations"][0]["fault"].as_str().is_some_and(|fault| fault.contains("--host")), "{report:#}");

    let named = |host: &'static str| output(ground.command(&["probe", "ministry-b", "--json", "--host", host]));
    let looked = named("intake.ministry-b.example").await;
    let report: Value = serde_json::from_slice(&looked.stdout).expect("JSON");
    assert_eq!(looked.status.code(), Some(0), "{report:#}");
    assert_eq!(report["destinations"][0]["addresses"][0]["pin_matches"], true, "{report:#}");
    assert_eq!(report["destinations"][0]["verdicts"][0]["transfer"], "cctv-to-b", "{report:#}");

    // The suffix itself is not below it, and nothing is resolved for what is not declared.
    for other in ["ministry-b.example", "intake.ministry-c.example"] {
        let refused = named(other).await;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains("is no destination of `ministry-b`; declared are `*.ministry-b.example`"), "{told}");
    }
}

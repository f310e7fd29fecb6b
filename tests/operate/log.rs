//! The log of operation at its loudest: lines that are JSON, and nothing in them of what went through the proxy.

use bytes::Bytes;
use http::Request;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ground::{Ground, INTAKE, PLAIN, Process, TUNNEL};

/// Stands wherever a client can put something; no other part of the test has it.
const CANARY: &str = "zaynab-7741";

/// Sends raw bytes and reads to the end.
async fn raw(proxy: std::net::SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.expect("connected");
    stream.write_all(bytes.as_bytes()).await.expect("written");
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn carrying(target: &str, content_type: &str) -> Request<Bytes> {
    Request::post(target)
        .header("content-type", content_type)
        .header("user-agent", CANARY)
        .header("cookie", format!("name={CANARY}"))
        .header("x-note", CANARY)
        .body(Bytes::from(format!("name={CANARY}")))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_goes_every_way_is_in_no_line() {
    let ground = Ground::lay("PT1S").await;
    let mut command = ground.run();
    command.args(["--log", "trace", "--log-format", "json"]);
    let mut process = Process::spawn(command, ground.folder.path());
    let at = process.ready().await;
    let client = ground.client(at.proxy);

    // Permitted (a frame whose path and agent carry it), refused, undeclared, malformed, tunnelled, not TLS, distrusted.
    let port = |recipient: &tasrih::demo::recipient::Recipient| recipient.address.port();
    let plain = format!("http://{PLAIN}:{}", port(&ground.plain));
    let mut frame = ground.frame();
    *frame.uri_mut() = format!("{plain}/cctv/{CANARY}").parse().expect("a target");
    frame.headers_mut().insert("user-agent", CANARY.parse().expect("a value"));
    assert_eq!(client.send(frame).await.expect("a reply").status, 200);
    for (target, content_type) in [
        (format!("{plain}/cctv/{CANARY}?name={CANARY}"), "application/x-www-form-urlencoded"),
        (format!("{plain}/{CANARY}"), "image/jpeg"),
        (format!("http://{CANARY}.example/{CANARY}"), "text/plain"),
        (format!("https://{INTAKE}:{}/{CANARY}", port(&ground.intake)), "text/plain"),
    ] {
        assert_ne!(client.send(carrying(&target, content_type)).await.expect("a reply").status, 200, "{target}");
    }
    let host = format!("{CANARY}.example");
    raw(at.proxy, &format!("GET http://{host}/{CANARY} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
    raw(at.proxy, &format!("{CANARY} {CANARY}\r\n{CANARY}\r\n\r\n")).await;
    raw(at.proxy, &format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n{CANARY}")).await;
    for declared in [format!("{INTAKE}:{}", port(&ground.intake)), format!("{TUNNEL}:{}", port(&ground.tunnel))] {
        let connect =
            format!("CONNECT {declared} HTTP/1.1\r\nhost: {declared}\r\nuser-agent: {CANARY}\r\n\r\n{CANARY}");
        let mut stream = ground.client(at.proxy).connect().await.expect("connected");
        stream.write_all(connect.as_bytes()).await.expect("written");
        let _ = stream.read(&mut [0; 4096]).await;
    }
    // A recipient that answers nothing HTTP, and one that is gone.
    ground.plain.answer_next(tasrih::demo::recipient::Answer::status(500));
    let _ = client.send(ground.frame()).await;

    process.signal(Signal::TERM);
    process.ended().await;
    let log = process.log();
    assert!(ground.records().iter().any(|record| record.to_string().contains("denial")), "the exchanges took place");
    assert!(log.contains("\"DEBUG\""), "it was at its loudest: {log}");
    assert!(!log.contains(CANARY), "{}", log.lines().find(|line| line.contains(CANARY)).unwrap_or_default());
    assert!(!log.contains("127.0.0.5"), "an address of a client: {log}");
    for host in [INTAKE, PLAIN, TUNNEL] {
        assert!(!log.contains(host), "{host}: {log}");
    }
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

/// Every client that fails a handshake has a line of its own, up to a bound: a scanner must not fill the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_like_events_gives_bounded_lines_and_a_count() {
    let ground = Ground::lay("PT1S").await;
    let (certificate, key) = (ground.path("proxy.pem"), ground.path("proxy.key"));
    std::fs::write(&certificate, ground.issued.certificate_pem()).expect("written");
    std::fs::write(&key, ground.issued.key_pem()).expect("written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("our own file");
    let path = ground.path("tasrih.yaml");
    let configuration = std::fs::read_to_string(&path).expect("a configuration");
    let tls = format!("entry: forward, tls: {{certificate: {}, key: {}}}}}", certificate.display(), key.display());
    std::fs::write(&path, configuration.replacen("entry: forward}", &tls, 1)).expect("written");
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let at = process.ready().await;
    for _ in 0..40 {
        raw(at.proxy, "GET / HTTP/1.1\r\n\r\n").await;
    }
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    let log = process.log();
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("did not complete the handshake with a TLS listener"), 10, "{log}");
    let told = log.lines().find(|line| line.contains("like lines were left out")).expect("the others are counted");
    assert!(told.contains("WARN") && told.contains("count=30") && told.contains("tasrih::proxy::server:"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_says_of_the_log_holds_unless_an_option_says_else() {
    let ground = Ground::lay("PT1S").await;
    let path = ground.path("tasrih.yaml");
    let configuration = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, configuration + "log: {format: json, level: info}\n").expect("written");
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    process.ready().await;
    process.signal(Signal::TERM);
    process.ended().await;
    let log = process.log();
    assert!(!log.is_empty() && log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");

    let mut quiet = ground.run();
    quiet.args(["--log", "error"]).env("RUST_LOG", "trace");
    let mut process = Process::spawn(quiet, ground.folder.path());
    process.ready().await;
    process.signal(Signal::TERM);
    process.ended().await;
    assert_eq!(process.log(), "", "an environment changes nothing");
}

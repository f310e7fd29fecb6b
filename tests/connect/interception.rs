//! A CONNECT that is opened: what is inside are exchanges of their own, and the source is that of the outer connection.

use std::path::PathBuf;
use std::process::{Command, Output};

use hyper_util::rt::TokioIo;

use super::house;
use super::support::wire::{Raw, client_hello, tls_as};
use super::support::{FRAME, House, UPLOADER, reason_of, series};

fn posted(house: &House, path: &str) -> Vec<u8> {
    let port = house.recipient("tls.example").address.port();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: tls.example:{port}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        FRAME.len()
    );
    [head.as_bytes(), FRAME].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_inside_one_connect_are_several_exchanges() {
    let house = house().await;
    let target: http::Uri = house.base("https", "tls.example").parse().expect("a target");
    let stream = house.client(UPLOADER).tunnel(&target).await.expect("a connection").expect("let in");
    let mut inside = Raw::new(stream);
    for camera in 0..4 {
        inside.send(posted(&house, &format!("/cctv/cam{camera}"))).await;
        assert_eq!(inside.reply().await.expect("a reply").status, 200);
        // A refusal inside does not end the connection.
        inside.send(format!("GET /other HTTP/1.1\r\nHost: {}\r\n\r\n", target.authority().expect("a host"))).await;
        assert_eq!(inside.reply().await.expect("a reply").status, 403);
    }
    let decisions = house.decisions();
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["permit", "path-not-declared"].repeat(4));
    for record in &decisions {
        assert_eq!(record["unmapped"]["transfer"]["source"], "uploader", "the source is that of the CONNECT");
        assert_eq!(record["unmapped"]["transfer"]["entry"], "connect");
        assert_eq!(record["src_endpoint"]["ip"], "127.0.0.5");
    }
    let connections: std::collections::BTreeSet<_> =
        decisions.iter().map(|record| record["connection_info"]["uid"].to_string()).collect();
    assert_eq!(connections.len(), 1);
    assert_eq!(house.recipient("tls.example").requests().len(), 4);
    assert_eq!(series(&house.metrics().await, "tasrih_decisions_total", &["entry=\"connect\""]), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn inner_requests_may_name_no_other_destination() {
    let house = house().await;
    let (here, there) =
        (house.recipient("tls.example").address.port(), house.recipient("undeclared.example").address.port());
    for (head, status, reason) in [
        (format!("GET /cctv/x HTTP/1.1\r\nHost: undeclared.example:{there}\r\n\r\n"), 403, "ambiguous-destination"),
        (
            format!(
                "GET https://undeclared.example:{there}/cctv/x HTTP/1.1\r\nHost: undeclared.example:{there}\r\n\r\n"
            ),
            403,
            "ambiguous-destination",
        ),
        (
            format!("GET http://tls.example:{here}/cctv/x HTTP/1.1\r\nHost: tls.example:{here}\r\n\r\n"),
            403,
            "ambiguous-destination",
        ),
        (format!("CONNECT tls.example:{here} HTTP/1.1\r\nHost: tls.example:{here}\r\n\r\n"), 400, "malformed-request"),
        (format!("GET https://tls.example:{here}/cctv/x HTTP/1.1\r\nHost: tls.example:{here}\r\n\r\n"), 200, "permit"),
    ] {
        let target = house.base("https", "tls.example").parse().expect("a target");
        let stream = house.client(UPLOADER).tunnel(&target).await.expect("a connection").expect("let in");
        let mut inside = Raw::new(stream);
        let before = house.decisions().len();
        inside.send(&head).await;
        let reply = inside.reply().await.expect("a reply");
        let records = house.until_decisions(before + 1).await;
        assert_eq!((reply.status, reason_of(records.last().expect("a record"))), (status, reason), "{head}");
        assert_eq!(records.len(), before + 1);
    }
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
    assert_eq!(house.recipient("tls.example").requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connect_says_why_and_closes() {
    let house = house().await;
    let port = house.recipient("undeclared.example").address.port();
    let mut client = house.raw(UPLOADER).await;
    let connect = format!("CONNECT undeclared.example:{port} HTTP/1.1\r\nHost: undeclared.example:{port}\r\n\r\n");
    let follows = format!("GET http://tls.example/ HTTP/1.1\r\nHost: tls.example\r\n\r\n{connect}");
    client.send(connect.clone() + &follows).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.proxy_status("reason").as_deref(), Some("no-declaration"));
    assert_eq!(reply.field("content-type").as_deref(), Some("application/problem+json"));
    assert_eq!(reply.field("connection").as_deref(), Some("close"));
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!((&problem["reason"], &problem["status"]), (&"no-declaration".into(), &403.into()));
    assert!(client.rest().await.is_empty(), "what follows is not read as a request");
    let decisions = house.decisions();
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0]["metadata"]["uid"].as_str(), reply.proxy_status("record").as_deref());
    assert_eq!(problem["record"].as_str(), reply.proxy_status("record").as_deref());
    assert_eq!(decisions[0]["http_request"]["http_method"], "CONNECT");
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alien_server_name_never_gets_a_request_in() {
    let house = house().await;
    let target = format!("tls.example:{}", house.recipient("tls.example").address.port());
    let upgraded = house.client(UPLOADER).open(&target).await.expect("an answer").expect("let in");
    let refused = tls_as(TokioIo::new(upgraded), "undeclared.example").await.expect_err("an alert");
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["sni-mismatch"]);
    assert_eq!(house.recipient("tls.example").connections(), 0);
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_client_distrust_total", &[]), 0, "this is no distrust");
    // The near miss: no name at all asks for nothing else than the CONNECT did; an address has none.
    let upgraded = house.client(UPLOADER).open(&target).await.expect("an answer").expect("let in");
    let mut inside = Raw::new(tls_as(TokioIo::new(upgraded), "127.0.0.1").await.expect("a handshake"));
    inside.send(posted(&house, "/cctv/cam1")).await;
    assert_eq!(inside.reply().await.expect("a reply").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_never_gets_a_request_in() {
    let house = house().await;
    let target = format!("tls.example:{}", house.recipient("tls.example").address.port());
    let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    for (bytes, reason) in [
        (client_hello(Some("tls.example"), 0x0302), "tls-too-old"),
        (client_hello(Some("undeclared.example"), 0x0303), "sni-mismatch"),
        // A request in clear is read, and refused with a reply.
        (posted(&house, "/cctv/cam1"), "cleartext-not-declared"),
        (Vec::new(), "client-closed"),
    ] {
        let before = house.decisions().len();
        let mut client = house.raw(UPLOADER).await;
        client.send(&connect).await;
        assert_eq!(client.reply().await.expect("a reply").status, 200);
        client.send(&bytes).await;
        client.finish().await;
        client.rest().await;
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(decisions.len(), before + 1);
        assert_eq!(reason_of(&decisions[before]), reason);
    }
    assert_eq!(house.recipient("tls.example").connections(), 0);
}

/// curl through the proxy, from the loopback address that the register knows; its exit code and output.
async fn curl(house: &House, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "-x", &format!("http://{}", house.proxy()), "--noproxy", ""]);
    command.args(arguments);
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("a task");
    done.expect("curl runs; tests/run installs it")
}

/// A JPEG of 200 KiB on disk.
fn picture(house: &House) -> (PathBuf, Vec<u8>) {
    let mut bytes = FRAME.to_vec();
    bytes.extend((0..200 * 1024 - FRAME.len()).map(|place| u8::try_from(place * 31 % 251).expect("a byte")));
    let path = house.folder.path().join("picture.jpg");
    std::fs::write(&path, &bytes).expect("written");
    (path, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_posts_a_picture_through_interception() {
    let house = house().await;
    let (path, bytes) = picture(&house);
    let (data, ca) = (format!("@{}", path.display()), house.folder.path().join("ca.pem"));
    let url = house.base("https", "tls.example") + "/cctv/cam1";
    let ca = ca.to_str().expect("a path").to_owned();
    let arguments =
        ["--cacert", &ca, "-H", "Content-Type: image/jpeg", "--data-binary", &data, "-w", "\n%{http_code}", &url];
    let output = curl(&house, &arguments).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed} {}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.ends_with("\n200"), "{printed}");
    let received = house.recipient("tls.example").requests();
    assert_eq!(received.len(), 1);
    assert!(received[0].body == bytes, "the picture is not the one that was sent");
    let id = house.decisions()[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    let stamp = received[0].headers["personal-data-transfer"].to_str().expect("ASCII");
    assert_eq!(stamp, format!("ref=\"D-GC-298/2022\", filing=\"A-GC-1/2023\", id=\"{id}\""));
    assert_eq!(house.outcome(&id).await["traffic"]["bytes_out"], bytes.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sees_the_status_of_a_refused_connect() {
    let house = house().await;
    let (path, _) = picture(&house);
    let (data, ca) = (format!("@{}", path.display()), house.folder.path().join("ca.pem"));
    let url = house.base("https", "undeclared.example") + "/cctv/cam1";
    let arguments = ["--cacert", ca.to_str().expect("a path"), "-D", "-", "--data-binary", &data, &url];
    let output = curl(&house, &arguments).await;
    let printed = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    assert!(!output.status.success());
    assert!(printed.starts_with("http/1.1 403"), "{printed}");
    let id = house.decisions()[0]["metadata"]["uid"].as_str().expect("an id").to_owned();
    assert!(printed.contains("reason=no-declaration") && printed.contains(&id), "{printed}");
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_trust_us_is_one_record_and_a_metric() {
    let house = house().await;
    let url = house.base("https", "tls.example") + "/cctv/cam1";
    let output = curl(&house, &["-d", "x", &url]).await;
    assert_eq!(output.status.code(), Some(60), "curl does not know the authority");
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["client-closed"]);
    house.until_counted(1).await;
    let detail = decisions[0]["unmapped"]["transfer"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("UnknownCA") || detail.contains("unknown"), "the alert is told: {detail}");
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_client_distrust_total", &[]), 1);
    assert_eq!(series(&metrics, "tasrih_client_distrust_total", &["source=\"loopback\""]), 1, "counted by source");
    assert_eq!(decisions[0]["unmapped"]["transfer"]["client_alert"], "unknown_ca");
    assert_eq!(series(&metrics, "tasrih_tls_handshake_failures_total", &["client"]), 1);
    assert_eq!(series(&metrics, "tasrih_decisions_total", &["reason=\"client-closed\"", "entry=\"connect\""]), 1);
    assert_eq!(house.recipient("tls.example").connections(), 0, "nothing was dialled for it");
}

//! Heads: what is judged is what is sent, and what is refused is not told to the record.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::support::{UPLOADER, frame, reason_of};
use super::{HOST, client, head, house, picture, read_until, rest, say, stand};

/// A recipient that tells the request lines it saw and answers each connection once.
async fn telling() -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel(4);
    let address = stand(move |mut stream| {
        let tell = tell.clone();
        async move {
            let head = read_until(&mut stream, b"\r\n\r\n").await;
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let _ = tell.send(line).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
            rest(&mut stream).await;
        }
    })
    .await;
    (address, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_grows_beyond_what_can_be_sent_is_refused_and_not_replaced() {
    let (stand, mut told) = telling().await;
    let (house, _) = house(stand, |_| ()).await;
    let body = picture(5_000);
    for (bars, status) in [(10_000, "200"), (30_000, "400")] {
        let mut client = client(&house).await;
        // Each bar leaves as three characters.
        say(&mut client, head(stand, &format!("/cctv/{}", "|".repeat(bars)), body.len())).await;
        say(&mut client, &body).await;
        let reply = String::from_utf8_lossy(&read_until(&mut client, b"\r\n\r\n").await).into_owned();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{bars} bars: {reply}");
    }
    let sent = told.recv().await.expect("the near miss");
    assert_eq!(sent, format!("POST /cctv/{} HTTP/1.1", "%7C".repeat(10_000)));
    assert!(told.try_recv().is_err(), "the other went nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_is_not_copied_into_the_record() {
    let (stand, _told) = telling().await;
    let (house, _) = house(stand, |_| ()).await;
    let at = format!("{HOST}:{}", stand.port());
    let bodies = [
        format!("GET http://{at}/cctv/passport-AB123456%ZZ HTTP/1.1\r\nhost: {at}\r\n\r\n"),
        format!("GET http://hassan:AB123456@{at}/cctv/x HTTP/1.1\r\nhost: {at}\r\n\r\n"),
        format!("GET http://{at}/cctv/x HTTP/1.1\r\nhost: AB123456@{at}\r\n\r\n"),
        format!("CONNECT hassan:AB123456@{at} HTTP/1.1\r\nhost: {at}\r\n\r\n"),
    ];
    for (place, request) in bodies.iter().enumerate() {
        let mut client = client(&house).await;
        say(&mut client, request).await;
        let reply = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
        assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
        let decisions = house.until_decisions(place + 1).await;
        let record = decisions[place].to_string();
        assert!(!record.contains("AB123456"), "{record}");
        assert!(!reply.contains("AB123456"), "{reply}");
        assert!(
            decisions[place]["status_detail"].is_string() || record.contains("detail"),
            "it still says why: {record}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_opened_by_connect_still_take_a_place() {
    let (stand, _told) = telling().await;
    let (house, _) = house(stand, |settings| settings.limits.connections = 1).await;
    let mut first = client(&house).await;
    say(&mut first, "CONNECT tls.example:443 HTTP/1.1\r\nhost: tls.example:443\r\n\r\n").await;
    assert!(read_until(&mut first, b"\r\n\r\n").await.starts_with(b"HTTP/1.1 200"));
    let target = format!("http://{HOST}:{}/cctv/cam1", stand.port());
    let uploader = house.client(UPLOADER);
    let second = timeout(Duration::from_millis(700), uploader.send(frame(target.clone()))).await;
    assert!(second.is_err(), "the one place is taken: {second:?}");
    drop(first);
    let second = timeout(Duration::from_secs(5), uploader.send(frame(target))).await.expect("a place is free again");
    assert_eq!(second.expect("a reply").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_their_refusal_inside_the_connection() {
    let (stand, _told) = telling().await;
    let (house, _) = house(stand, |_| ()).await;
    let mut request = frame("https://undeclared.example/cctv/cam1");
    request.headers_mut().insert("accept", "text/html".parse().expect("a value"));
    let tunnel = house.client(UPLOADER).tunnel(request.uri()).await.expect("an answer").expect("let in");
    drop(tunnel);
    let reply = house.send(UPLOADER, request.clone()).await;
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("no-declaration")));
    assert!(reply.body.starts_with(b"<!doctype html>"), "a page for people");
    assert_eq!(reply.headers["connection"], "close");
    // The machine that is no declared source is told at once.
    let stranger = house.client(super::support::STRANGER).tunnel(request.uri()).await.expect("an answer");
    assert_eq!(stranger.expect_err("refused at once").status, 403);
    let decisions = house.until_decisions(3).await;
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["no-declaration", "no-declaration", "source-unknown"], "{decisions:#?}");
}

//! Ends: answers that stand still, clients that read nothing, and a proxy that stops.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::support::{UPLOADER, frame, records};
use super::{HOST, client, end_of, head, house, only_outcome, picture, read_until, rest, say, stand};

/// A recipient that begins its answer, then sends `pieces` of one byte with `pause` between them, then nothing.
async fn dripping(length: usize, pieces: usize, pause: Duration) -> std::net::SocketAddr {
    stand(move |mut stream| async move {
        read_until(&mut stream, b"\r\n\r\n").await;
        say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
        for _ in 0..pieces {
            sleep(pause).await;
            say(&mut stream, "x").await;
        }
        rest(&mut stream).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stands_still_is_ended() {
    let address = dripping(10, 3, Duration::from_millis(10)).await;
    let (house, _) = house(address, |settings| settings.limits.idle = Duration::from_secs(1)).await;
    let mut client = client(&house).await;
    say(&mut client, head(address, "/cctv/cam1", 5_000)).await;
    say(&mut client, picture(5_000)).await;
    assert!(read_until(&mut client, b"xxx").await.starts_with(b"HTTP/1.1 200"));
    let outcome = timeout(Duration::from_secs(5), only_outcome(&house)).await.expect("an end");
    assert_eq!(end_of(&outcome), "timeout");
    assert!(rest(&mut client).await.is_empty(), "the client sees the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_drips_is_relayed_to_its_end() {
    let address = dripping(8, 8, Duration::from_millis(400)).await;
    let (house, _) = house(address, |settings| settings.limits.idle = Duration::from_secs(1)).await;
    let reply = house.send(UPLOADER, frame(format!("http://{HOST}:{}/cctv/cam1", address.port()))).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"xxxxxxxx"[..]));
    assert_eq!(end_of(&only_outcome(&house).await), "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go() {
    const ANSWER: usize = 64 * 1024 * 1024;
    let address = stand(|mut stream| async move {
        read_until(&mut stream, b"\r\n\r\n").await;
        say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER}\r\nconnection: close\r\n\r\n")).await;
        say(&mut stream, vec![b'x'; ANSWER]).await;
        rest(&mut stream).await;
    })
    .await;
    let settings = |settings: &mut tasrih::config::Settings| {
        settings.limits.idle = Duration::from_secs(1);
        settings.limits.connections = 1;
    };
    let (house, _) = house(address, settings).await;
    let mut idle = client(&house).await;
    say(&mut idle, head(address, "/cctv/cam1", 5_000)).await;
    say(&mut idle, picture(5_000)).await;
    timeout(Duration::from_secs(6), only_outcome(&house)).await.expect("an end");
    // Its place is free again, and a client that reads gets all of it.
    let send = house.send(UPLOADER, frame(format!("http://{HOST}:{}/cctv/cam1", address.port())));
    let reply = timeout(Duration::from_secs(10), send).await.expect("a place");
    assert_eq!((reply.status, reply.body.len()), (200, ANSWER));
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_when_the_proxy_stops_ends_as_shutdown() {
    let address = dripping(10, 1, Duration::from_millis(10)).await;
    let (house, _) = house(address, |settings| settings.limits.drain = Duration::from_millis(500)).await;
    let mut client = client(&house).await;
    say(&mut client, head(address, "/cctv/cam1", 5_000)).await;
    say(&mut client, picture(5_000)).await;
    read_until(&mut client, b"x").await;
    let super::House { running, folder, .. } = house;
    timeout(Duration::from_secs(5), running.stop()).await.expect("it stops");
    let ends: Vec<_> = records(&folder.path().join("state"))
        .iter()
        .filter_map(|event| event["unmapped"]["transfer"]["end"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(ends, ["shutdown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_has_its_time_when_the_proxy_stops() {
    let address = stand(|mut stream| async move {
        read_until(&mut stream, b"\r\n\r\n").await;
        say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        rest(&mut stream).await;
    })
    .await;
    let (house, _) = house(address, |settings| settings.limits.drain = Duration::from_secs(5)).await;
    let mut client = client(&house).await;
    let body = picture(20_000);
    say(&mut client, head(address, "/cctv/cam1", body.len())).await;
    say(&mut client, &body[..10_000]).await;
    sleep(Duration::from_millis(200)).await;
    let super::House { running, folder, .. } = house;
    let stopping = tokio::spawn(running.stop());
    sleep(Duration::from_millis(700)).await;
    say(&mut client, &body[10_000..]).await;
    let reply = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    timeout(Duration::from_secs(8), stopping).await.expect("it stops").expect("no panic");
    let ends: Vec<_> = records(&folder.path().join("state"))
        .iter()
        .filter_map(|event| event["unmapped"]["transfer"]["end"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(ends, ["answered"]);
}

//! SIGTERM: what is open is finished within `limits.drain`, what is not finished then is cut with an outcome, the log is
//! closed and the exit code is 0.

use std::time::Duration;

use rustix::process::Signal;
use tasrih::demo::recipient::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ground::{FRAME, Ground, PLAIN, Process, TUNNEL, until};

const LONG: Duration = Duration::from_secs(60);

fn slowly(after: Duration) -> Answer {
    Answer { after, ..Answer::status(200) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_exchange_is_finished_and_nothing_new_is_accepted() {
    let ground = Ground::lay("PT20S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    ground.plain.answer_next(slowly(Duration::from_millis(1500)));
    let client = ground.client(proxy);
    let request = ground.frame();
    let open = tokio::spawn(async move { client.send(request).await });
    until("the recipient has it", || !ground.plain.requests().is_empty()).await;

    process.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = TcpStream::connect(proxy).await.expect_err("nobody listens any more");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!process.has_ended(), "it waits for what is open");

    let reply = open.await.expect("no panic").expect("the exchange is finished");
    assert_eq!(reply.status, 200);
    let (status, after) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(after < Duration::from_secs(5), "it does not wait when nothing is open: {after:?}");
    assert_eq!(ground.ends(), ["answered"]);
    assert!(ground.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_outlasts_the_drain_is_cut_with_an_outcome() {
    let ground = Ground::lay("PT1S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    ground.plain.answer_next(slowly(LONG));
    let client = ground.client(proxy);
    let request = ground.frame();
    let open = tokio::spawn(async move { client.send(request).await });
    until("the recipient has it", || !ground.plain.requests().is_empty()).await;

    process.signal(Signal::TERM);
    let (status, after) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(after >= Duration::from_millis(900) && after < Duration::from_secs(5), "{after:?}");
    let told = open.await.expect("no panic").expect("a reply");
    assert_eq!((told.status, told.proxy_status("reason").as_deref()), (503, Some("busy")), "{told:?}");
    assert_eq!(ground.ends(), ["shutdown"]);
    assert!(ground.is_closed());

    // Nothing is left for the next start to close.
    let mut next = Process::spawn(ground.run(), ground.folder.path());
    next.ready().await;
    assert_eq!(ground.ends(), ["shutdown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_cut_at_the_end_of_the_drain_with_an_outcome() {
    let ground = Ground::lay("PT1S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    let target = format!("https://{TUNNEL}:{}/", ground.tunnel.address.port()).parse().expect("a target");
    let mut inside = ground.client(proxy).tunnel(&target).await.expect("a reply").expect("a tunnel");
    inside.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    until("the recipient has it", || !ground.tunnel.requests().is_empty()).await;

    process.signal(Signal::TERM);
    let (status, after) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(after >= Duration::from_millis(900) && after < Duration::from_secs(5), "{after:?}");
    assert_eq!(ground.ends(), ["shutdown"]);
    assert!(ground.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_still_coming_is_let_in() {
    let ground = Ground::lay("PT20S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    let mut stream = ground.client(proxy).connect().await.expect("connected");
    let port = ground.plain.address.port();
    let head = format!(
        "POST http://{PLAIN}:{port}/cctv/cam1 HTTP/1.1\r\nhost: {PLAIN}:{port}\r\ncontent-type: image/jpeg\r\n\
         content-length: {}\r\n\r\n",
        FRAME.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&FRAME[..1000]).await.expect("written");
    until("it is being judged", || ground.plain.connections() > 0).await;
    process.signal(Signal::TERM);
    // Longer than a connection without a request is waited for.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!process.has_ended(), "it waits for what is not decided, too");
    stream.write_all(&FRAME[1000..]).await.expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply, then the end");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(reply.to_ascii_lowercase().contains("connection: close"), "{reply}");
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    assert_eq!(ground.ends(), ["answered"]);
}

/// A connection that was accepted before the signal, with its request still on the way: hyper would close it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_on_its_way_is_answered() {
    let ground = Ground::lay("PT20S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    let mut stream = ground.client(proxy).connect().await.expect("connected");
    tokio::time::sleep(Duration::from_millis(200)).await;
    process.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let target = format!("{PLAIN}:{}", ground.plain.address.port());
    let request = format!(
        "POST http://{target}/cctv/cam1 HTTP/1.1\r\nhost: {target}\r\ncontent-type: image/jpeg\r\n\
         content-length: {}\r\n\r\n",
        FRAME.len()
    );
    stream.write_all(&[request.as_bytes(), FRAME].concat()).await.expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply, then the end");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    assert_eq!(ground.ends(), ["answered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_are_not_waited_for() {
    let ground = Ground::lay("PT20S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    let mut silent = TcpStream::connect(proxy).await.expect("connected");
    let kept = ground.client(proxy);
    assert_eq!(kept.send(ground.frame()).await.expect("a reply").status, 200);
    process.signal(Signal::TERM);
    let (status, after) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(after < Duration::from_secs(5), "{after:?}");
    assert_eq!(silent.read(&mut [0; 16]).await.expect("closed in order"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_still_after_the_sync() {
    let ground = Ground::lay("PT50S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    ground.plain.answer_next(slowly(LONG));
    let client = ground.client(proxy);
    let request = ground.frame();
    let _open = tokio::spawn(async move { client.send(request).await });
    until("the recipient has it", || !ground.plain.requests().is_empty()).await;

    process.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!process.has_ended(), "one signal lets it finish");
    process.signal(Signal::INT);
    let (status, after) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(after < Duration::from_secs(4), "{after:?}");
    assert_eq!(ground.ends(), ["shutdown"]);
    assert!(ground.is_closed(), "the last record is the stop record, and the log is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_not_decided_is_on_record_too() {
    let ground = Ground::lay("PT1S").await;
    let mut process = Process::spawn(ground.run(), ground.folder.path());
    let proxy = process.ready().await.proxy;
    let mut stream = ground.client(proxy).connect().await.expect("connected");
    let port = ground.plain.address.port();
    let head = format!(
        "POST http://{PLAIN}:{port}/cctv/cam1 HTTP/1.1\r\nhost: {PLAIN}:{port}\r\ncontent-type: image/jpeg\r\n\
         content-length: {}\r\n\r\n",
        FRAME.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    until("it is being judged", || ground.plain.connections() > 0).await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.0.code(), Some(0), "{}", process.log());
    let records = ground.records();
    let denied = records.iter().find(|record| record["metadata"]["event_code"] == "client-closed");
    let denied = denied.unwrap_or_else(|| panic!("no record of the attempt: {records:#?}"));
    assert!(denied.to_string().contains("the proxy stopped before the decision"), "{denied:#}");
    assert!(ground.plain.requests().is_empty() && ground.is_closed());
}

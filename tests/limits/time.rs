//! How long each phase may last, and what comes close and passes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::support::stand::Stand;
use super::support::wire::{dial, tls_as};
use super::support::{FRAME, Plan, UPLOADER, reason_of, series};
use super::{HOST, REGISTER, head, house, picture, says, sends_a_frame};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_rest_longer_than_a_head_may_take() {
    let house = house(|limits| limits.header_time = ms(300)).await;
    let mut client = house.raw(UPLOADER).await;
    for _ in 0..3 {
        sends_a_frame(&house, &mut client).await;
        sleep(ms(700)).await;
    }
    client.send("POST http://plain.example/cctv/cam1 HTTP/1.1\r\nhost: pl").await;
    assert!(client.rest().await.is_empty(), "a head that was begun must end");
    let decisions = house.until_decisions(4).await;
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["permit", "permit", "permit", "client-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipelined_request_is_no_slow_head() {
    let house = house(|limits| limits.header_time = ms(300)).await;
    let one = [head(&house, "/cctv/cam1", FRAME.len(), "").as_bytes(), FRAME].concat();
    let mut client = says(&house, [&one[..], &one].concat()).await;
    for _ in 0..2 {
        assert_eq!(client.reply().await.expect("a reply").status, 200);
    }
    sleep(ms(700)).await;
    sends_a_frame(&house, &mut client).await;
    assert_eq!(house.decisions().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_refused_body_is_no_slow_head() {
    let house = house(|limits| (limits.header_time, limits.idle) = (ms(300), ms(300))).await;
    for size in [1, 3_000, 200_000] {
        let mut client = says(&house, head(&house, "/elsewhere", size, "") + &"x".repeat(size)).await;
        let reply = client.reply().await.expect("a reply");
        assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("path-not-declared")));
        assert_eq!(reply.field("connection").as_deref(), Some("close"), "its body was not read");
        assert!(client.rest().await.is_empty());
    }
    sleep(ms(700)).await;
    let decisions = house.decisions();
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["path-not-declared"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_may_send_its_body_to_the_end_and_then_read_why() {
    let house = house(|_| ()).await;
    const SIZE: usize = 3 << 20;
    let mut stream = dial(UPLOADER, house.proxy()).await;
    stream.write_all(head(&house, "/elsewhere", SIZE, "").as_bytes()).await.expect("taken");
    for part in picture(SIZE).chunks(64 << 10) {
        stream.write_all(part).await.expect("nothing of a body is answered by a reset");
        sleep(ms(2)).await;
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("an end, and no reset");
    assert!(reply.starts_with("HTTP/1.1 403"), "{reply}");
    assert!(reply.contains("path-not-declared"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_an_intercepted_connection_too() {
    let house = house(|_| ()).await;
    const SIZE: usize = 3 << 20;
    let mut outer = dial(UPLOADER, house.proxy()).await;
    outer.write_all(b"CONNECT tls.example:443 HTTP/1.1\r\nhost: tls.example:443\r\n\r\n").await.expect("taken");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(outer.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    let mut inner = tls_as(outer, "tls.example").await.expect("a handshake");
    let request = format!("POST /elsewhere HTTP/1.1\r\nhost: tls.example\r\ncontent-length: {SIZE}\r\n\r\n");
    inner.write_all(request.as_bytes()).await.expect("taken");
    for part in picture(SIZE).chunks(64 << 10) {
        inner.write_all(part).await.expect("nothing of a body is answered by a reset");
        sleep(ms(2)).await;
    }
    inner.flush().await.expect("taken");
    let mut reply = String::new();
    inner.read_to_string(&mut reply).await.expect("an end, and no reset");
    assert!(reply.starts_with("HTTP/1.1 403") && reply.contains("path-not-declared"), "{reply}");
    assert_eq!(house.decisions().iter().map(reason_of).collect::<Vec<_>>(), ["path-not-declared"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_cannot_go_on_for_ever() {
    let house = house(|_| ()).await;
    let mut stream = dial(UPLOADER, house.proxy()).await;
    stream.write_all(head(&house, "/elsewhere", 1 << 30, "").as_bytes()).await.expect("taken");
    let piece = picture(1 << 20);
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(&piece).await.is_ok() {
        sent += piece.len();
    }
    assert!(sent < 256 << 20, "{sent} bytes were taken after the refusal");
    let mut silent = says(&house, head(&house, "/elsewhere", 1 << 30, "")).await;
    assert_eq!(silent.reply().await.expect("a reply").status, 403);
    for _ in 0..200 {
        if series(&house.metrics().await, "tasrih_connections_open", &[]) == 0 {
            return;
        }
        sleep(ms(100)).await;
    }
    panic!("who sends nothing more after its refusal keeps its place");
}

/// Sends a frame in pieces; gives status, reason and detail of the reply.
async fn in_pieces(house: &super::House, piece: usize, pause: Duration) -> (u16, Option<String>, String) {
    let (mut reads, mut writes) = dial(UPLOADER, house.proxy()).await.into_split();
    let head = head(house, "/cctv/cam1", FRAME.len(), "");
    let sending = tokio::spawn(async move {
        let mut went = writes.write_all(head.as_bytes()).await;
        for piece in FRAME.chunks(piece) {
            if went.is_err() {
                break;
            }
            sleep(pause).await;
            went = writes.write_all(piece).await;
        }
        writes
    });
    let mut reply = Vec::new();
    let mut bytes = [0; 4096];
    while !reply.windows(2).any(|end| end == b"}\n") && !reply.ends_with(b"ok") {
        match reads.read(&mut bytes).await {
            Ok(count) if count > 0 => reply.extend_from_slice(&bytes[..count]),
            _ => break,
        }
        if reply.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    sending.abort();
    let text = String::from_utf8_lossy(&reply).into_owned();
    let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    let reason = text.split("reason=").nth(1).and_then(|rest| rest.split(';').next()).map(str::to_owned);
    (status, reason, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_a_few_bytes_a_second_is_ended_and_a_slow_line_is_not() {
    let house = house(|limits| limits.body_window = ms(1_000)).await;
    let (status, reason, text) = in_pieces(&house, 1, ms(50)).await;
    assert_eq!((status, reason.as_deref()), (408, Some("client-timeout")), "{text}");
    assert!(text.contains("the body came at less than 1024 bytes a second"), "{text}");
    // 20 KiB a second, in the shape of a line that stutters.
    let (status, _, text) = in_pieces(&house, 4 << 10, ms(200)).await;
    assert_eq!(status, 200, "{text}");
    let decisions = house.decisions();
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["client-timeout", "permit"]);
    assert!(house.recipient(HOST).requests()[0].body == FRAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_longest_time() {
    let house =
        house(|limits| (limits.body_rate, limits.body_window, limits.body_time) = (1, ms(500), ms(1_500))).await;
    let (status, reason, text) = in_pieces(&house, 100, ms(50)).await;
    assert_eq!((status, reason.as_deref()), (408, Some("client-timeout")), "{text}");
    assert!(text.contains("the body did not end within 1.5s"), "{text}");
    assert_eq!(in_pieces(&house, 8 << 10, ms(10)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_has_a_longest_time() {
    // An answer that never stands still and never ends, and one that ends.
    let stand = Stand::start(|mut stream, _| async move {
        let mut request = vec![0; 1 << 20];
        let _ = stream.read(&mut request).await;
        let endless = request.windows(11).any(|part| part == b"/cctv/slow ");
        let bytes = if endless { 1_000 } else { 4 };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).await;
        for _ in 0..bytes {
            sleep(ms(50)).await;
            if stream.write_all(b"a").await.is_err() {
                return;
            }
        }
        while matches!(stream.read(&mut request).await, Ok(count) if count > 0) {}
    })
    .await;
    let plan = Plan::new(REGISTER).place(HOST, stand.address);
    let house = plan.settings(|settings| settings.limits.exchange_time = ms(1_500)).build().await;
    for (path, end, whole) in [("/cctv/slow ", "cut-limit", false), ("/cctv/fast", "answered", true)] {
        let mut client = says(&house, head(&house, path.trim(), FRAME.len(), "")).await;
        client.send(FRAME).await;
        let reply = client.reply().await.expect("an answer began");
        assert_eq!((reply.status, reply.is_whole), (200, whole), "{path}");
        let id = house.decisions().last().expect("a decision")["metadata"]["uid"].as_str().expect("an id").to_owned();
        assert_eq!(house.outcome(&id).await["unmapped"]["transfer"]["end"], end, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_a_largest_size_and_number_of_fields() {
    let house = house(|limits| (limits.head, limits.head_fields) = (16 << 10, 20)).await;
    let fields = |count: usize| (0..count).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    for (extra, status) in [
        (format!("x-long: {}\r\n", "a".repeat(12 << 10)), 200),
        (format!("x-long: {}\r\n", "a".repeat(17 << 10)), 431),
        (fields(17), 200),
        (fields(18), 431),
    ] {
        let mut client = says(&house, head(&house, "/cctv/cam1", FRAME.len(), &extra)).await;
        client.send(FRAME).await;
        assert_eq!(client.reply().await.expect("a reply").status, status, "{} bytes more", extra.len());
    }
    let decisions = house.until_decisions(4).await;
    let mut reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    // The parser's own refusals are recorded behind their replies.
    reasons.sort_unstable();
    assert_eq!(reasons, ["malformed-request", "malformed-request", "permit", "permit"]);
}

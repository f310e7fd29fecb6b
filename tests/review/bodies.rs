//! Request bodies: what holding them costs, what is asked for, and that nothing is handed over after the outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::support::reason_of;
use super::{HOST, bytes_out, client, end_of, head, house, only_outcome, picture, read_until, rest, say, stand};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_over_after_an_outcome() {
    const SIZE: usize = 24 * 1024 * 1024;
    let go_on = Arc::new(Notify::new());
    let (tell, mut told) = mpsc::channel(4);
    let address = stand({
        let go_on = go_on.clone();
        move |mut stream| {
            let (go_on, tell) = (go_on.clone(), tell.clone());
            async move {
                // Answers before it has read the body, and reads on when the outcome is on record.
                let first = read_until(&mut stream, b"\r\n\r\n").await;
                let end = first.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                go_on.notified().await;
                let received = first.len() - end + rest(&mut stream).await.len();
                let _ = tell.send(received).await;
            }
        }
    })
    .await;
    let (house, _) = house(address, |_| ()).await;
    let mut client = client(&house).await;
    say(&mut client, head(address, "/cctv/cam1", SIZE)).await;
    say(&mut client, picture(SIZE)).await;
    assert!(read_until(&mut client, b"ok").await.starts_with(b"HTTP/1.1 200"));
    let outcome = only_outcome(&house).await;
    go_on.notify_one();
    let received = told.recv().await.expect("a count") as u64;
    assert!(received <= bytes_out(&outcome), "{received} bytes arrived, {} are on record", bytes_out(&outcome));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_cuts_a_body_that_flows_behind_an_early_answer() {
    const SIZE: usize = 24 * 1024 * 1024;
    let go_on = Arc::new(Notify::new());
    let (tell, mut told) = mpsc::channel(4);
    let address = stand({
        let go_on = go_on.clone();
        move |mut stream| {
            let (go_on, tell) = (go_on.clone(), tell.clone());
            async move {
                read_until(&mut stream, b"\r\n\r\n").await;
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nearly").await;
                go_on.notified().await;
                let received = rest(&mut stream).await.len();
                let _ = tell.send(received).await;
            }
        }
    })
    .await;
    let (house, clock) = house(address, |_| ()).await;
    let mut client = client(&house).await;
    say(&mut client, head(address, "/cctv/cam1", SIZE)).await;
    say(&mut client, picture(SIZE)).await;
    assert!(read_until(&mut client, b"early").await.starts_with(b"HTTP/1.1 200"));
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(house.records().iter().filter(|event| event["unmapped"]["transfer"]["end"].is_string()).count(), 0);
    clock.advance(Duration::from_secs(3 * 24 * 3600));
    let outcome = timeout(Duration::from_secs(4), only_outcome(&house)).await.expect("cut within a second or so");
    assert_eq!(end_of(&outcome), "cut-expiry");
    go_on.notify_one();
    let received = told.recv().await.expect("a count");
    assert!(received < SIZE, "the rest stayed here");
    assert!(!rest(&mut client).await.ends_with(b"0\r\n\r\n"), "the client sees that it was broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_too_large_is_not_asked_for() {
    let address = stand(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let (house, _) = house(address, |settings| settings.limits.hold = 2 * 1024 * 1024).await;
    for (size, answer) in [(2 * 1024 * 1024 + 1, "413"), (2 * 1024 * 1024, "100")] {
        let mut client = client(&house).await;
        let head = head(address, "/cctv/cam1", size).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        say(&mut client, head).await;
        let reply = String::from_utf8_lossy(&read_until(&mut client, b"\r\n\r\n").await).into_owned();
        assert!(reply.starts_with(&format!("HTTP/1.1 {answer}")), "{size}: {reply}");
    }
}

/// Memory is the process's, and other tests of this file take theirs: this one runs in a process of its own.
#[test]
fn chunks_of_one_byte_cost_about_what_they_hold() {
    let name = "bodies::held_byte_by_byte";
    let mut alone = std::process::Command::new(std::env::current_exe().expect("this program"));
    let output = alone.args(["--exact", name, "--ignored"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run alone, by the test above"]
async fn held_byte_by_byte() {
    const BYTES: usize = 900 * 1024;
    const CLIENTS: usize = 4;
    let address = stand(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let (house, _) = house(address, |_| ()).await;
    let chunks: Vec<u8> = picture(BYTES).iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    let head = head(address, "/cctv/cam1", 0).replace("content-length: 0", "transfer-encoding: chunked");
    let before = resident();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = client(&house).await;
        say(&mut client, &head).await;
        say(&mut client, &chunks).await;
        clients.push(client);
    }
    let held = || house.running.corridor().holding.budget.held();
    for _ in 0..1_000 {
        if held() == (CLIENTS * BYTES) as u64 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(held(), (CLIENTS * BYTES) as u64);
    let grown = resident().saturating_sub(before);
    assert!(grown < 12 * CLIENTS * BYTES, "{grown} bytes more for {} held", CLIENTS * BYTES);
}

/// Resident memory of this process in bytes (proc(5), statm).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).expect("a field").parse::<usize>().expect("pages") * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_malformed_and_one_record() {
    let address = stand(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let (house, _) = house(address, |_| ()).await;
    let head = head(address, "/cctv/cam1", 0).replace("content-length: 0", "transfer-encoding: chunked");
    let mut client = client(&house).await;
    say(&mut client, head + "3\r\nabc\r\nxyz\r\n").await;
    let reply = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
    sleep(Duration::from_millis(300)).await;
    let decisions = house.decisions();
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["malformed-request"], "{reply}");
    assert!(reply.starts_with("HTTP/1.1 400"), "{HOST}: {reply}");
}

//! Tunnels: relayed unread, and still only to the declared name, within the declared volume and time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tasrih::destination::Host;
use tasrih::tls::recipient::{Issuing, Versions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::stand::Stand;
use super::support::wire::{ACCESS_DENIED, Raw, client_hello, tls_as};
use super::support::{FRAME, House, UPLOADER, reason_of, series};
use super::{house, house_to};

const HOST: &str = "tunnel.example";

/// What a recipient of the tests does with a TLS stream.
trait Play: Fn(tasrih::tls::recipient::RecipientStream<TcpStream>) -> Self::Doing + Send + Sync + 'static {
    type Doing: Future<Output = ()> + Send + 'static;
}
impl<F, D> Play for F
where
    F: Fn(tasrih::tls::recipient::RecipientStream<TcpStream>) -> D + Send + Sync + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    type Doing = D;
}

/// A TLS recipient under an authority of its own.
async fn tls_stand(play: impl Play) -> (Stand, Issuing) {
    let issuing = Issuing::new("Tunnel").expect("an authority");
    let issued = issuing.issue(&Host::parse(HOST).expect("a host")).expect("a certificate");
    let acceptor = issued.acceptor(Versions::Tls12And13).expect("an acceptor");
    let play = Arc::new(play);
    let stand = Stand::start(move |stream, _| {
        let (acceptor, play) = (acceptor.clone(), play.clone());
        async move {
            if let Ok((stream, _)) = acceptor.accept(stream).await {
                play(stream).await;
            }
        }
    })
    .await;
    (stand, issuing)
}

fn target(port: u16) -> String {
    format!("{HOST}:{port}")
}

type Inside = tokio_rustls::client::TlsStream<TokioIo<hyper::upgrade::Upgraded>>;

/// TLS with the recipient itself, through the tunnel.
async fn through(house: &House, port: u16) -> Inside {
    let opened = house.client(UPLOADER).open(&target(port)).await.expect("an answer").expect("let in");
    tls_as(TokioIo::new(opened), HOST).await.expect("a handshake with the recipient")
}

async fn the_outcome(house: &House) -> serde_json::Value {
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.len(), 1);
    assert_eq!(reason_of(&decisions[0]), "permit");
    assert_eq!(decisions[0]["class_uid"], 4001, "a tunnel is network activity");
    house.outcome(decisions[0]["metadata"]["uid"].as_str().expect("an id")).await
}

fn end_of(outcome: &serde_json::Value) -> &str {
    outcome["unmapped"]["transfer"]["end"].as_str().expect("an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bytes_flow_both_ways_at_once() {
    const SIZE: usize = 6 * 1024 * 1024;
    let (stand, issuing) = tls_stand(|stream| async move {
        let (mut reads, mut writes) = tokio::io::split(stream);
        let writing = async {
            writes.write_all(&vec![0xb1; SIZE]).await.expect("written");
            writes.shutdown().await.expect("ended");
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(writing, reads.read_to_end(&mut read));
        assert_eq!(count.expect("read"), SIZE);
    })
    .await;
    let house = house_to(&stand, "", &issuing, |_| ()).await;
    let (mut reads, mut writes) = tokio::io::split(through(&house, stand.address.port()).await);
    let sent: Vec<u8> = FRAME.iter().copied().cycle().take(SIZE).collect();
    let mut received = Vec::new();
    let writing = async {
        writes.write_all(&sent).await.expect("written");
        writes.shutdown().await.expect("ended");
    };
    let (_, read) = tokio::join!(writing, reads.read_to_end(&mut received));
    assert_eq!(read.expect("read"), SIZE);
    assert!(received.iter().all(|byte| *byte == 0xb1));
    let outcome = the_outcome(&house).await;
    assert_eq!(end_of(&outcome), "answered", "{outcome:#}");
    for direction in ["bytes_out", "bytes_in"] {
        let count = outcome["traffic"][direction].as_u64().expect("a count");
        assert!((SIZE as u64..SIZE as u64 + 100_000).contains(&count), "{direction} {count}");
    }
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_not_inspected_total", &[]), 1);
    assert_eq!(series(&metrics, "tasrih_tunnels_open", &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_hold_up_the_other_direction() {
    // More than the sockets on the way can hold.
    const SIZE: usize = 32 * 1024 * 1024;
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let (stand, issuing) = tls_stand(move |stream| {
        let told = told.clone();
        async move {
            // The recipient floods, and the client does not read; what the client sends must arrive all the same.
            let (mut reads, mut writes) = tokio::io::split(stream);
            let flooding = async { while writes.write_all(&[7; 65536]).await.is_ok() {} };
            let reading = async {
                let mut left = SIZE;
                let mut buffer = vec![0; 65536];
                while left > 0 {
                    left -= reads.read(&mut buffer).await.expect("read");
                }
                told.send(()).await.expect("a test that waits");
                std::future::pending::<()>().await;
            };
            tokio::join!(flooding, reading);
        }
    })
    .await;
    let house = house_to(&stand, "", &issuing, |_| ()).await;
    let (reads, mut writes) = tokio::io::split(through(&house, stand.address.port()).await);
    let all_arrives = async {
        writes.write_all(&vec![9; SIZE]).await.expect("written");
        writes.flush().await.expect("sent");
        heard.recv().await
    };
    tokio::time::timeout(Duration::from_secs(20), all_arrives).await.expect("it is not held up");
    drop((reads, writes));
    let outcome = the_outcome(&house).await;
    assert!(outcome["traffic"]["bytes_out"].as_u64().expect("a count") >= SIZE as u64, "{outcome:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_its_half_still_hears_the_answer() {
    // Raw halves below TLS: the recipient's stack sees the client's end, and the client hears what comes after it.
    let stand = Stand::start(|mut stream, _| async move {
        let mut hello = vec![0; 5];
        stream.read_exact(&mut hello).await.expect("a record");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        stream.read_exact(&mut rest).await.expect("a ClientHello");
        stream.write_all(&server_hello(0x0303)).await.expect("written");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("the client's end");
        stream.write_all(&u32::try_from(received.len()).expect("few").to_be_bytes()).await.expect("written");
    })
    .await;
    let house = house_to(&stand, "", &Issuing::new("Unused").expect("an authority"), |_| ()).await;
    let mut client = open(&house, stand.address.port()).await;
    client.send(client_hello(Some(HOST), 0x0303)).await;
    client.send([0x17; 1000]).await;
    client.finish().await;
    let heard = client.rest().await;
    assert_eq!(heard, [server_hello(0x0303), 1000_u32.to_be_bytes().to_vec()].concat());
    assert_eq!(end_of(&the_outcome(&house).await), "answered");
}

/// A ServerHello with nothing but a version and a cipher.
fn server_hello(version: u16) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([3; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    let mut message = vec![2, 0, 0];
    message.push(u8::try_from(body.len()).expect("short"));
    message.extend(body);
    let mut record = vec![22, 3, 3, 0];
    record.push(u8::try_from(message.len()).expect("short"));
    record.extend(message);
    record
}

/// A raw CONNECT that was let in.
async fn open(house: &House, port: u16) -> Raw<TcpStream> {
    let mut client = house.raw(UPLOADER).await;
    client.send(format!("CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n")).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_tls_to_the_declared_name_ends_with_an_alert() {
    let house = house().await;
    let port = house.recipient(HOST).address.port();
    let late = client_hello(Some(HOST), 0x0303);
    for (bytes, reason) in [
        (client_hello(Some("undeclared.example"), 0x0303), "sni-mismatch"),
        (client_hello(None, 0x0303), "sni-mismatch"),
        (client_hello(Some(HOST), 0x0302), "tls-too-old"),
        (b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(), "uninspectable"),
        ([22, 3, 1, 0xff, 0xff].into_iter().chain([1; 300]).collect(), "uninspectable"),
        ([&late[..5], &[0xff; 60]].concat(), "uninspectable"),
    ] {
        let before = house.decisions().len();
        let mut client = open(&house, port).await;
        client.send(&bytes).await;
        if bytes.len() < late.len() {
            client.finish().await;
        }
        assert_eq!(client.rest().await, ACCESS_DENIED, "{reason} {bytes:?}");
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(decisions.len(), before + 1);
        assert_eq!(reason_of(&decisions[before]), reason, "{bytes:?}");
    }
    assert_eq!(house.recipient(HOST).raw_bytes(), 0, "the recipient saw connections, and not a byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_one_record() {
    let (stand, issuing) = tls_stand(|_| async {}).await;
    let short = |settings: &mut tasrih::config::Settings| settings.limits.header_time = Duration::from_millis(300);
    let house = house_to(&stand, "", &issuing, short).await;
    let mut client = open(&house, stand.address.port()).await;
    client.rest().await;
    drop(open(&house, stand.address.port()).await);
    let mut reasons: Vec<_> =
        house.until_decisions(2).await.iter().map(|record| reason_of(record).to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["client-closed", "client-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_volume_cuts_a_tunnel_while_it_flows() {
    let (stand, issuing) = tls_stand(|mut stream| async move {
        let mut everything = Vec::new();
        let _ = stream.read_to_end(&mut everything).await;
    })
    .await;
    let house = house_to(&stand, "limits: {max_bytes_per_day: 256KiB}", &issuing, |_| ()).await;
    let mut inside = through(&house, stand.address.port()).await;
    let mut written = 0;
    while inside.write_all(&[5; 16384]).await.is_ok() && inside.flush().await.is_ok() && written < 64 * 1024 * 1024 {
        written += 16384;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let outcome = the_outcome(&house).await;
    assert_eq!(end_of(&outcome), "cut-limit");
    let out = outcome["traffic"]["bytes_out"].as_u64().expect("a count");
    assert!(out <= 256 * 1024 && out > 128 * 1024, "{out} bytes left");
    // Another tunnel of the day has what is left, at most: refused at its CONNECT, or cut within it.
    let again = house.client(UPLOADER).open(&target(stand.address.port())).await.expect("an answer");
    if let Ok(opened) = again
        && let Ok(mut inside) = tls_as(TokioIo::new(opened), HOST).await
    {
        while inside.write_all(&[5; 16384]).await.is_ok() && inside.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let bytes = the_sum(&house, "bytes_out").await;
    assert!(bytes <= 256 * 1024, "{bytes}");
}

async fn the_sum(house: &House, name: &str) -> u64 {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let outcomes = house.records().into_iter().filter(|record| record["unmapped"]["transfer"]["record"] == "outcome");
    outcomes.map(|record| record["traffic"][name].as_u64().unwrap_or_default()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_duration_cuts_a_tunnel() {
    let (stand, issuing) = tls_stand(|mut stream| async move {
        while stream.write_all(b".").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let house = house_to(&stand, "limits: {max_duration: PT1S}", &issuing, |_| ()).await;
    let begun = Instant::now();
    let mut inside = through(&house, stand.address.port()).await;
    let mut everything = Vec::new();
    let _ = inside.read_to_end(&mut everything).await;
    let lasted = begun.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&lasted), "{lasted:?}");
    assert_eq!(end_of(&the_outcome(&house).await), "cut-limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_chooses_an_old_version_gets_no_further_byte() {
    for (version, reaches) in [(0x0302_u16, false), (0x0303, true)] {
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let hello = client_hello(Some(HOST), 0x0303);
        let length = hello.len();
        let stand = Stand::start(move |mut stream, _| {
            let told = told.clone();
            async move {
                let mut received = vec![0; length];
                stream.read_exact(&mut received).await.expect("the ClientHello");
                stream.write_all(&server_hello(version)).await.expect("written");
                let mut further = vec![0; 100];
                let count = stream.read(&mut further).await.unwrap_or(0);
                told.send(count).await.expect("a test that waits");
            }
        })
        .await;
        let house = house_to(&stand, "", &Issuing::new("Unused").expect("an authority"), |_| ()).await;
        let mut client = open(&house, stand.address.port()).await;
        client.send(&hello).await;
        client.send(b"further bytes").await;
        let count = heard.recv().await.expect("what the recipient read");
        assert_eq!(count > 0, reaches, "{version:#x}: {count} bytes after the ServerHello");
        client.rest().await;
        drop(client);
        let end = end_of(&the_outcome(&house).await).to_owned();
        assert_eq!(end, if reaches { "answered" } else { "upstream-fault" });
    }
}

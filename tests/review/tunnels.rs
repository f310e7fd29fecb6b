//! Tunnels: what passes before the recipient has chosen a version, and how much passes unread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::support::{House, OFFICE, UPLOADER};
use super::{TUNNEL, end_of, house, only_outcome, read_until, say, stand};

/// A record of TLS.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short");
    [&[kind, 3, 3][..], &length.to_be_bytes(), content].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    record(22, &[&[kind], &length[1..], body].concat())
}

/// A ClientHello for TLS 1.2 that asks for [`TUNNEL`].
fn client_hello() -> Vec<u8> {
    let name = TUNNEL.as_bytes();
    let length = u16::try_from(name.len()).expect("short");
    let sni =
        [&[0, 0][..], &(length + 5).to_be_bytes(), &(length + 3).to_be_bytes(), &[0], &length.to_be_bytes(), name];
    let sni = sni.concat();
    let extensions = u16::try_from(sni.len()).expect("short").to_be_bytes();
    message(1, &[&[3, 3][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2f], &[1, 0], &extensions, &sni].concat())
}

/// A ServerHello that chooses this version.
fn server_hello(version: u8) -> Vec<u8> {
    message(2, &[&[3, version][..], &[7; 32], &[0], &[0xc0, 0x2f], &[0]].concat())
}

/// A recipient that answers the ClientHello with these bytes, each after a pause, and counts all that it gets.
async fn answering(answers: Vec<Vec<u8>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let address = stand(move |mut stream| {
        let (count, answers) = (count.clone(), answers.clone());
        async move {
            let hello = read_until(&mut stream, TUNNEL.as_bytes()).await;
            count.fetch_add(hello.len(), Ordering::AcqRel);
            for answer in answers {
                sleep(Duration::from_millis(100)).await;
                say(&mut stream, answer).await;
            }
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(more @ 1..) = stream.read(&mut buffer).await {
                count.fetch_add(more, Ordering::AcqRel);
            }
        }
    })
    .await;
    (address, received)
}

async fn opened(house: &House, from: IpAddr, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("a loopback address");
    let mut stream = socket.connect(house.proxy()).await.expect("a connection");
    say(&mut stream, format!("CONNECT {TUNNEL}:{port} HTTP/1.1\r\nhost: {TUNNEL}:{port}\r\n\r\n")).await;
    let reply = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    stream
}

/// What reached a recipient that answers so, of a client that sends its ClientHello and `early` in one piece, and how it
/// ended.
async fn played(answers: Vec<Vec<u8>>, early: &[u8]) -> usize {
    let (address, received) = answering(answers).await;
    let (house, _) = house(address, |_| ()).await;
    let mut client = opened(&house, UPLOADER, address.port()).await;
    say(&mut client, [&client_hello(), early].concat()).await;
    sleep(Duration::from_millis(900)).await;
    received.load(Ordering::Acquire)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_client_hello_waits_for_the_recipients_version() {
    let early = record(23, &[9; 500]);
    let hello = client_hello().len();
    assert_eq!(played(vec![server_hello(1)], &early).await, hello, "TLS 1.0 gets the ClientHello alone");
    assert_eq!(played(vec![], &early).await, hello, "nobody chose a version yet");
    assert_eq!(played(vec![server_hello(3)], &early).await, hello + early.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_does_not_stand_for_a_version() {
    let early = record(23, &[9; 500]);
    let hello = client_hello().len();
    let (fatal, warning) = (record(21, &[2, 40]), record(21, &[1, 112]));
    assert_eq!(played(vec![fatal], &early).await, hello, "a refused handshake takes no more");
    assert_eq!(
        played(vec![warning.clone(), server_hello(1)], &early).await,
        hello,
        "nor does an old version behind a warning"
    );
    assert_eq!(played(vec![warning, server_hello(3)], &early).await, hello + early.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_allowance_ends_at_its_bytes() {
    let hello = client_hello().len();
    for (sent, arrives) in [(40_000, true), (200_000, false)] {
        let (address, received) = answering(vec![server_hello(3)]).await;
        let (house, _) = house(address, |_| ()).await;
        let mut client = opened(&house, OFFICE, address.port()).await;
        say(&mut client, client_hello()).await;
        read_until(&mut client, &[7; 32]).await;
        for piece in
            record(23, &vec![9; 16_000])[..16_000].iter().copied().cycle().take(sent).collect::<Vec<_>>().chunks(4_000)
        {
            say(&mut client, piece).await;
        }
        sleep(Duration::from_millis(500)).await;
        let received = received.load(Ordering::Acquire);
        if arrives {
            assert_eq!(received, hello + sent);
        } else {
            assert!(received <= 64 * 1024, "{received} bytes of {sent}");
            assert_eq!(end_of(&only_outcome(&house).await), "cut-limit");
        }
    }
}

//! What is neither HTTP nor TLS goes only to a destination that is declared `protocol: tcp`, whoever speaks first.

use std::time::Duration;

use serde_json::Value;
use tasrih::config::Entry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ground::{listener, plan_with};
use super::socks::{opened, to_address, to_name};
use super::support::stand::Stand;
use super::support::wire::{ACCESS_DENIED, Raw, client_hello, client_hello_with};
use super::support::{House, UPLOADER, reason_of, series};

const BANNER: &[u8] = b"SSH-2.0-machine\r\n";

/// A machine that greets or not, and then says back what it hears.
async fn machine(greeting: &'static [u8]) -> Stand {
    Stand::start(move |mut stream, _| async move {
        let _ = stream.write_all(greeting).await;
        let mut heard = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut heard).await {
            let _ = stream.write_all(&heard[..count]).await;
        }
    })
    .await
}

async fn house(machine: &Stand) -> House {
    plan_with(machine.address).settings(|settings| listener(settings, Entry::Socks5)).build().await
}

/// A CONNECT that was let in.
async fn connected(house: &House, host: &str, port: u16) -> Raw<tokio::net::TcpStream> {
    let mut client = house.raw(UPLOADER).await;
    client.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_speaks_first_is_heard_and_named() {
    let machine = machine(BANNER).await;
    let house = house(&machine).await;
    let port = machine.address.port();
    // By name, and without one: the address lies in the recipient's networks.
    for place in 0..3 {
        let (entry, mut client) = match place {
            0 => ("connect", connected(&house, "ssh.example", port).await),
            1 => ("socks5", opened(&house, &to_name(b"ssh.example", port)).await),
            _ => ("socks5", opened(&house, &to_address(machine.address)).await),
        };
        assert_eq!(client.exactly(BANNER.len()).await, BANNER);
        client.send(b"key exchange").await;
        assert_eq!(client.exactly(12).await, b"key exchange");
        client.finish().await;
        assert!(client.rest().await.is_empty());
        let decisions = house.until_decisions(place + 1).await;
        let record = decisions.last().expect("a decision");
        let ours = &record["unmapped"]["transfer"];
        assert_eq!((reason_of(record), &record["class_uid"], &ours["entry"]), ("permit", &4001.into(), &entry.into()));
        assert_eq!(
            (&ours["protocol"], &ours["scheme"], &ours["recipient"]),
            (&"ssh".into(), &"tcp".into(), &"machines".into())
        );
        let outcome = house.outcome(record["metadata"]["uid"].as_str().expect("an id")).await;
        assert_eq!(outcome["unmapped"]["transfer"]["end"], "answered");
        assert_eq!((&outcome["traffic"]["bytes_out"], &outcome["traffic"]["bytes_in"]), (&12.into(), &29.into()));
    }
    assert_eq!(series(&house.metrics().await, "tasrih_not_inspected_total", &["tunnel"]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_first_is_named_and_no_byte_of_it_is_lost() {
    let machine = machine(b"").await;
    let house = house(&machine).await;
    let port = machine.address.port();
    let hello = client_hello(Some("ssh.example"), 0x0303);
    for (bytes, protocol) in [
        (&b"OPTIONS rtsp://ssh.example/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n"[..], "rtsp"),
        (b"SSH-2.0-OpenSSH_9.7\r\n", "ssh"),
        (b"\x10\x10\x00\x04MQTT\x04\x02", "mqtt"),
        (b"\0\x01\x02\x03", "unknown"),
        // TLS to what is no HTTP server: it asks for the declared name, or for none.
        (&hello, "tls"),
        (&client_hello(None, 0x0303), "tls"),
    ] {
        let before = house.decisions().len();
        let mut client = connected(&house, "ssh.example", port).await;
        client.send(bytes).await;
        assert_eq!(client.exactly(bytes.len()).await, bytes);
        client.finish().await;
        let decisions = house.until_decisions(before + 1).await;
        let record = &decisions[before];
        assert_eq!((reason_of(record), &record["unmapped"]["transfer"]["protocol"]), ("permit", &protocol.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_or_is_not_declared_is_not_relayed() {
    let machine = machine(b"").await;
    let house = house(&machine).await;
    let port = |host: &str| house.recipient(host).address.port();
    let at_tls = format!("tls.example:{}", port("tls.example"));
    for (host, port, bytes, reason) in [
        ("tls.example", port("tls.example"), b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(), "uninspectable"),
        ("tunnel.example", port("tunnel.example"), b"SSH-2.0-OpenSSH_9.7\r\n".to_vec(), "uninspectable"),
        ("plain.example", port("plain.example"), b"EHLO a\r\n".to_vec(), "uninspectable"),
        ("ssh.example", machine.address.port(), client_hello(Some("evil.example"), 0x0303), "sni-mismatch"),
        ("ssh.example", machine.address.port(), client_hello(Some("ssh.example"), 0x0302), "tls-too-old"),
    ] {
        let before = house.decisions().len();
        let mut client = connected(&house, host, port).await;
        client.send(bytes).await;
        assert_eq!(client.rest().await, ACCESS_DENIED, "{host} {reason}");
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason, "{host} {at_tls}");
    }
    // Requests in clear can be read, and so they are: this destination is not declared for them.
    let mut client = connected(&house, "ssh.example", machine.address.port()).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: ssh.example:{}\r\n\r\n", machine.address.port())).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("cleartext-not-declared")));
    let named = house.decisions();
    assert_eq!(named[0]["unmapped"]["transfer"]["protocol"], "ssh", "what was refused is named too");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_speaks_the_wait_ends() {
    let machine = machine(b"").await;
    let short = |settings: &mut tasrih::config::Settings| settings.limits.header_time = Duration::from_millis(300);
    let house = plan_with(machine.address).settings(short).build().await;
    let mut client = connected(&house, "ssh.example", machine.address.port()).await;
    assert_eq!(client.rest().await, ACCESS_DENIED);
    assert_eq!(house.until_decisions(1).await.iter().map(reason_of).collect::<Vec<_>>(), ["client-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_hello_beside_the_name_is_on_record_and_refuses_nothing() {
    let machine = machine(b"").await;
    let house = house(&machine).await;
    // GREASE, as browsers always send it: the extension with a byte of content.
    let offered = client_hello_with(Some("ssh.example"), 0x0303, &[0xfe, 0x0d, 0, 1, 1]);
    let to_machine = [(offered, "offered".into()), (client_hello(Some("ssh.example"), 0x0303), Value::Null)];
    for (place, (hello, ech)) in to_machine.into_iter().enumerate() {
        let mut client = connected(&house, "ssh.example", machine.address.port()).await;
        client.send(&hello).await;
        assert_eq!(client.exactly(hello.len()).await, hello);
        client.finish().await;
        let record = &house.until_decisions(place + 1).await[place];
        assert_eq!((reason_of(record), &record["unmapped"]["transfer"]["ech"]), ("permit", &ech));
    }
}

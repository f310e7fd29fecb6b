//! The PROXY protocol: named balancers say whose connection they hand on; nobody else is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command};
use std::time::Duration;

use tasrih::config::{Entry, Settings};

use super::ground::{curl, listener, plan, raw, second};
use super::support::{House, STRANGER, UPLOADER, reason_of};

const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

fn behind_balancers(settings: &mut Settings) {
    listener(settings, Entry::Forward);
    settings.listeners[1].proxy_protocol = vec!["127.0.0.9/32".parse().expect("a network")];
}

async fn house() -> House {
    plan().settings(behind_balancers).build().await
}

/// A real one, ended when dropped.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Haproxy {
    async fn start(house: &House, speaks: &str) -> (Haproxy, SocketAddr) {
        let free = std::net::TcpListener::bind((BALANCER, 0)).and_then(|it| it.local_addr()).expect("a port");
        let config = house.folder.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen egress\n bind {free}\n source 127.0.0.9\n server tasrih {} {speaks}\n",
            second(house)
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new("haproxy").arg("-f").arg(&config).spawn();
        let running = Haproxy(child.expect("haproxy runs; tests/run installs it"));
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(free).await.is_ok() {
                return (running, free);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("haproxy does not listen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_balancer_hands_on_its_clients() {
    let house = house().await;
    for speaks in ["send-proxy", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let (_running, at) = Haproxy::start(&house, speaks).await;
        let url = house.base("http", "plain.example") + "/cctv/a";
        let output = curl(&["-x", &format!("http://{at}"), "-o", "/dev/null", "-w", "%{http_code}", &url]).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{speaks} {output:?}");
    }
    // The looks whether it listens were connections without a request: nothing was asked, nothing is on record.
    let decisions = house.decisions();
    assert_eq!(decisions.len(), 2);
    for record in decisions {
        assert_eq!((reason_of(&record), &record["src_endpoint"]["ip"]), ("permit", &"127.0.0.5".into()));
        assert_eq!(record["unmapped"]["transfer"]["source"], "uploader");
        let balancer = record["unmapped"]["transfer"]["balancer"].as_str().expect("who said so").to_owned();
        assert!(balancer.starts_with("127.0.0.9:"), "{balancer}");
    }
}

/// A request to the declared recipient, behind what a balancer says.
fn asked(house: &House, header: &[u8]) -> Vec<u8> {
    let authority = format!("plain.example:{}", house.recipient("plain.example").address.port());
    let request = format!("GET http://{authority}/cctv/a HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    [header, request.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_that_are_named_are_believed_and_they_must_speak() {
    let house = house().await;
    let line = b"PROXY TCP4 127.0.0.5 127.0.0.1 5000 3128\r\n";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\x7f\0\0\x05\x7f\0\0\x01\x13\x88\x0c\x38";
    let as_v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x05\x7f\0\0\x01\x13\x88\x0c\x38";
    for (from, header, status, reason) in [
        (BALANCER, &line[..], Some(200), "permit"),
        (BALANCER, as_v2, Some(200), "permit"),
        // For itself, and for one that it does not know.
        (BALANCER, local, Some(403), "source-unknown"),
        (BALANCER, b"PROXY UNKNOWN\r\n", Some(403), "source-unknown"),
        (BALANCER, b"PROXY TCP4 127.0.0.99 127.0.0.1 5000 3128\r\n", Some(403), "source-unknown"),
        // It says nothing, or not what it must.
        (BALANCER, b"", None, "malformed-request"),
        (BALANCER, b"PROXY TCP4 127.0.0.5 127.0.0.1 5000\r\n", None, "malformed-request"),
        // Twice: the second is the client's own word.
        (BALANCER, &[&line[..], line].concat(), Some(400), "malformed-request"),
        // Others may say what they like.
        (STRANGER, line, Some(400), "malformed-request"),
        (STRANGER, as_v2, Some(400), "malformed-request"),
        (UPLOADER, b"", Some(200), "permit"),
    ] {
        let before = house.decisions().len();
        let mut client = raw(&house, from).await;
        client.send(asked(&house, header)).await;
        let reply = client.reply().await.map(|reply| reply.status);
        assert_eq!(reply, status, "{reason} {}", header.escape_ascii());
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason, "{}", header.escape_ascii());
        let is_named = decisions[before]["unmapped"]["transfer"]["balancer"].is_string();
        assert_eq!(
            is_named,
            from == BALANCER && (header.starts_with(b"PROXY TCP4") || header == as_v2) && status.is_some()
        );
    }
    assert_eq!(house.recipient("plain.example").requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_has_its_time_and_a_look_at_the_port_leaves_no_record() {
    let house = plan()
        .settings(|settings| {
            behind_balancers(settings);
            settings.limits.header_time = Duration::from_millis(300);
        })
        .build()
        .await;
    drop(raw(&house, BALANCER).await);
    let mut client = raw(&house, BALANCER).await;
    client.send(b"PROXY TCP4 127.0.0.5").await;
    assert!(client.rest().await.is_empty());
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["client-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_connections_is_the_clients_and_not_the_balancers() {
    let house = plan()
        .settings(|settings| {
            behind_balancers(settings);
            settings.limits.connections_per_source = 1;
        })
        .build()
        .await;
    let open = async |client: &str| {
        let mut connection = raw(&house, BALANCER).await;
        let header = format!("PROXY TCP4 {client} 127.0.0.1 5000 3128\r\n");
        let request = String::from_utf8(asked(&house, header.as_bytes())).expect("text");
        connection.send(request.replace("Connection: close\r\n", "")).await;
        let reply = connection.reply().await.map(|reply| reply.status);
        (connection, reply)
    };
    let (first, served) = open("127.0.0.5").await;
    assert_eq!(served, Some(200));
    assert_eq!(open("127.0.0.5").await.1, None, "it has its one connection");
    assert_eq!(open("127.0.0.99").await.1, Some(403), "another client of the same balancer has its own");
    drop(first);
    for _ in 0..500 {
        if open("127.0.0.5").await.1 == Some(200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the share does not come back");
}

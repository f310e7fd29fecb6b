//! SOCKS version 5: the same decisions as CONNECT, told in one byte, and nothing that hostile bytes could gain.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tasrih::config::Entry;
use tokio::net::TcpStream;

use super::ground::{PEOPLE, authority, curl, listener, plan, raw, second, with_socks};
use super::support::wire::{ACCESS_DENIED, Raw, client_hello, tls_as};
use super::support::{FRAME, House, STRANGER, UPLOADER, reason_of, series};

/// What a client asks first: one method, none.
pub const GREETING: [u8; 3] = [5, 1, 0];

/// CONNECT to a name.
pub fn to_name(name: &[u8], port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    [&[5, 1, 0, 3, length], name, &port.to_be_bytes()].concat()
}

/// CONNECT to an address.
pub fn to_address(address: SocketAddr) -> Vec<u8> {
    let (kind, octets) = match address {
        SocketAddr::V4(four) => (1, four.ip().octets().to_vec()),
        SocketAddr::V6(six) => (4, six.ip().octets().to_vec()),
    };
    [&[5, 1, 0, kind], octets.as_slice(), &address.port().to_be_bytes()].concat()
}

/// What the proxy says to these bytes before the connection is over, or before it serves what was asked for.
async fn told(house: &House, from: IpAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = raw(house, from).await;
    client.send(GREETING).await;
    client.send(bytes).await;
    client.finish().await;
    client.rest().await
}

fn answer(code: u8) -> Vec<u8> {
    vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A connection that was let in.
pub async fn opened(house: &House, request: &[u8]) -> Raw<TcpStream> {
    let mut client = raw(house, UPLOADER).await;
    client.send(GREETING).await;
    client.send(request).await;
    assert_eq!(client.exactly(12).await, answer(0));
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_a_frame_by_name_and_by_address_over_tls_and_in_clear() {
    let house = with_socks().await;
    let (ca, frame) = (authority(&house), house.folder.path().join("frame.jpg"));
    std::fs::write(&frame, FRAME).expect("written");
    let data = format!("@{}", frame.display());
    let (proxy, literal) = (second(&house).to_string(), house.recipient("plain.example").address);
    let targets = [
        ("--socks5-hostname", house.base("https", "tls.example")),
        ("--socks5-hostname", house.base("http", "plain.example")),
        ("--socks5", format!("http://{literal}")),
    ];
    for (option, base) in targets {
        let url = base + "/cctv/cam1";
        let kind = ["-H", "Content-Type: image/jpeg", "--data-binary", &data, "-w", "%{http_code}", "-o", "/dev/null"];
        let ways = [option, &proxy, "--cacert", &ca, &url];
        let output = curl(&[&kind[..], &ways[..]].concat()).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{url} {output:?}");
    }
    for record in house.decisions() {
        assert_eq!((reason_of(&record), &record["unmapped"]["transfer"]["entry"]), ("permit", &"socks5".into()));
        assert_eq!(record["unmapped"]["transfer"]["source"], "uploader");
    }
    assert_eq!(house.decisions().len(), 3);
    let received: Vec<_> = ["tls.example", "plain.example"].map(|host| house.recipient(host).requests().len()).into();
    assert_eq!(received, [1, 2]);
    assert_eq!(series(&house.metrics().await, "tasrih_decisions_total", &["entry=\"socks5\"", "permit"]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_byte_with_its_reason_on_record() {
    let house = with_socks().await;
    let port = |host: &str| house.recipient(host).address.port();
    let metadata = "169.254.169.254:80".parse().expect("an address");
    let mapped = "[::ffff:10.1.2.3]:443".parse().expect("an address");
    for (from, request, code, reason) in [
        (UPLOADER, to_name(b"evil.example", 443), 2, "no-declaration"),
        (STRANGER, to_name(b"tls.example", port("tls.example")), 2, "source-unknown"),
        (UPLOADER, to_name(b"tls.example", 444), 2, "port-not-declared"),
        (UPLOADER, to_address(metadata), 2, "address-refused"),
        (UPLOADER, to_address(mapped), 2, "address-refused"),
        (UPLOADER, to_name(b"2130706433", 443), 2, "numeric-host"),
        (UPLOADER, to_name(b"closed-tunnel.example", 1), 5, "unreachable"),
    ] {
        let before = house.decisions().len();
        assert_eq!(told(&house, from, &request).await, answer(code), "{reason}");
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason);
        assert_eq!(decisions[before]["unmapped"]["transfer"]["entry"], "socks5");
    }
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_for_a_connection_is_refused_and_on_record() {
    let house = with_socks().await;
    let method = |answer: &[u8]| [&[5, 0][..], answer].concat();
    let code = |code: u8| method(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let greeted = |request: &[u8]| [&GREETING[..], request].concat();
    for (bytes, answered, reason) in [
        // SOCKS 4, 4a, and HTTP.
        (vec![4, 1, 1, 187, 192, 0, 2, 1, 0], Vec::new(), "malformed-request"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Vec::new(), "malformed-request"),
        // No method, and only some that prove what nobody here knows.
        (vec![5, 0], vec![5, 0xff], "malformed-request"),
        (vec![5, 2, 1, 0x80], vec![5, 0xff], "malformed-request"),
        // BIND, UDP ASSOCIATE, a command and a type of address that there are none of.
        (greeted(&[5, 2, 0, 1, 192, 0, 2, 1, 0, 80]), code(7), "malformed-request"),
        (greeted(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]), code(7), "malformed-request"),
        (greeted(&[5, 9, 0, 1, 192, 0, 2, 1, 0, 80]), code(7), "malformed-request"),
        (greeted(&[5, 1, 0, 2, 192, 0, 2, 1, 0, 80]), code(8), "malformed-request"),
        (greeted(&[5, 1, 7, 1, 192, 0, 2, 1, 0, 80]), code(1), "malformed-request"),
        (greeted(&[4, 1, 0, 1, 192, 0, 2, 1, 0, 80]), method(&[]), "malformed-request"),
        // Port 0, and names that are none.
        (greeted(&to_name(b"tls.example", 0)), code(2), "malformed-request"),
        (greeted(&to_name(b"", 443)), code(2), "malformed-request"),
        (greeted(&to_name(b"tls.example\0.evil.example", 443)), code(2), "malformed-request"),
        (greeted(&to_name(b"tls.example:443", 443)), code(2), "malformed-request"),
        (greeted(&to_name(&[0xff; 255], 443)), code(2), "malformed-request"),
        (greeted(&to_name(&[b'a'; 255], 443)), code(2), "malformed-request"),
        // The client leaves in the middle.
        (greeted(&[5, 1, 0, 3, 200, b'a']), method(&[]), "client-closed"),
    ] {
        let before = house.decisions().len();
        let mut client = raw(&house, UPLOADER).await;
        client.send(&bytes).await;
        client.finish().await;
        assert_eq!(client.rest().await, answered, "{}", bytes.escape_ascii());
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason, "{}", bytes.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_read_as_a_connect_reads_them() {
    let house = with_socks().await;
    let port = house.recipient("tls.example").address.port();
    for name in [&b"TLS.Example"[..], b"tls.example.", b"tls.example"] {
        let mut client = opened(&house, &to_name(name, port)).await;
        client.finish().await;
    }
    let decisions = house.until_decisions(3).await;
    assert!(decisions.iter().all(|record| record["dst_endpoint"]["hostname"] == "tls.example"), "{decisions:#?}");
    assert!(decisions.iter().all(|record| reason_of(record) == "client-closed"), "{decisions:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_may_come_one_by_one_or_all_at_once() {
    let house = with_socks().await;
    let port = house.recipient("tunnel.example").address.port();
    let negotiation = [&GREETING[..], &to_name(b"tunnel.example", port)].concat();
    let mut slow = raw(&house, UPLOADER).await;
    for byte in &negotiation {
        slow.send([*byte]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(slow.exactly(12).await, answer(0));
    // What was sent ahead of the answer is judged as what it is: here a handshake with somebody else.
    let mut fast = raw(&house, UPLOADER).await;
    fast.send([negotiation.clone(), client_hello(Some("evil.example"), 0x0303)].concat()).await;
    assert_eq!(fast.rest().await, [&answer(0)[..], &ACCESS_DENIED].concat());
    let decisions = house.until_decisions(1).await;
    assert_eq!(reason_of(&decisions[0]), "sni-mismatch");
    let (stream, _) = slow.into_parts();
    let mut inside = Raw::new(tls_as(stream, "tunnel.example").await.expect("the recipient's own handshake"));
    inside.send("GET /a HTTP/1.1\r\nHost: tunnel.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(inside.reply().await.expect("a reply").status, 200);
    let permitted = house.until_decisions(2).await;
    assert_eq!((reason_of(&permitted[1]), &permitted[1]["class_uid"]), ("permit", &4001.into()));
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_clear_are_judged_one_by_one_and_may_name_no_other_destination() {
    let house = with_socks().await;
    let port = house.recipient("plain.example").address.port();
    let mut client = opened(&house, &to_name(b"plain.example", port)).await;
    let get = |host: &str| format!("GET /cctv/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    client.send(get(&format!("plain.example:{port}"))).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    client.send(get("undeclared.example")).await;
    assert_eq!(client.reply().await.expect("a reply").proxy_status("reason").as_deref(), Some("ambiguous-destination"));
    // To a destination that is declared for TLS they are refused, and the client is told.
    let port = house.recipient("tls.example").address.port();
    let mut client = opened(&house, &to_name(b"tls.example", port)).await;
    client.send(get(&format!("tls.example:{port}"))).await;
    let refused = client.reply().await.expect("a reply");
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("cleartext-not-declared")));
    // TLS to one that is declared in clear has no such answer.
    let port = house.recipient("plain.example").address.port();
    let mut client = opened(&house, &to_name(b"plain.example", port)).await;
    client.send(client_hello(Some("plain.example"), 0x0303)).await;
    assert_eq!(client.rest().await, ACCESS_DENIED);
    let decisions = house.until_decisions(4).await;
    let reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    assert_eq!(reasons, ["permit", "ambiguous-destination", "cleartext-not-declared", "port-not-declared"]);
    assert_eq!(house.recipient("plain.example").requests().len(), 1);
    assert_eq!(house.recipient("tls.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_may_be_shown_inside() {
    let house = with_socks().await;
    let port = house.recipient("tls.example").address.port();
    for over_tls in [true, false] {
        let mut client = raw(&house, PEOPLE).await;
        client.send([&GREETING[..], &to_name(b"tls.example", port)].concat()).await;
        assert_eq!(client.exactly(12).await, answer(0));
        let request = format!("GET / HTTP/1.1\r\nHost: tls.example:{port}\r\n\r\n");
        let reply = match over_tls {
            false => {
                client.send(request).await;
                client.reply().await
            }
            true => {
                let (stream, _) = client.into_parts();
                let mut inside = Raw::new(tls_as(stream, "tls.example").await.expect("a minted certificate"));
                inside.send(request).await;
                inside.reply().await
            }
        };
        let reply = reply.expect("a refusal");
        assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("source-not-declared")));
    }
    assert_eq!(house.until_decisions(2).await.len(), 2);
    assert_eq!(house.recipient("tls.example").connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negotiation_has_its_time_and_a_look_at_the_port_leaves_no_record() {
    let house = plan()
        .settings(|settings| {
            listener(settings, Entry::Socks5);
            settings.limits.header_time = Duration::from_millis(300);
        })
        .build()
        .await;
    drop(raw(&house, UPLOADER).await);
    let mut client = raw(&house, UPLOADER).await;
    client.send([5, 1, 0, 5, 1]).await;
    assert_eq!(client.rest().await, [5, 0], "the method, and then the end");
    let decisions = house.until_decisions(1).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["client-timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_known_by_a_user_and_password() {
    use tasrih::users::file::write;
    use tasrih::users::hash::Hash;
    use tasrih::users::words::{Password, UserName};
    const PASSWORD: &str = "a long enough one";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    let name = UserName::parse("amal").expect("a name");
    let hash = Hash::of(&Password::new(PASSWORD, &name).expect("a password")).expect("made");
    write(&file, &name, Some(&hash)).expect("written");
    let plan = plan().settings(move |settings| {
        listener(settings, Entry::Socks5);
        settings.users = Some(file);
    });
    let house = plan.build().await;
    let port = house.recipient("tls.example").address.port();
    let with = |name: &[u8], password: &[u8]| {
        let length = |text: &[u8]| u8::try_from(text.len()).expect("short");
        let pair = [&[1, length(name)], name, &[length(password)], password].concat();
        [&[5, 2, 0, 2][..], &pair, &to_name(b"tls.example", port)].concat()
    };
    let amal = IpAddr::from([127, 0, 0, 10]);
    let without = [&GREETING[..], &to_name(b"tls.example", port)].concat();
    let served = [&[5, 2, 1, 0][..], &answer(0)[2..], &ACCESS_DENIED].concat();
    for (from, bytes, answered, reason) in [
        (amal, with(b"amal", PASSWORD.as_bytes()), served.clone(), "client-closed"),
        (amal, with(b"amal", b"another one"), vec![5, 2, 1, 1], "credentials-required"),
        (amal, with(b"", b""), vec![5, 2, 1, 1], "credentials-required"),
        (amal, with(&[0xff; 255], PASSWORD.as_bytes()), vec![5, 2, 1, 1], "credentials-required"),
        (amal, vec![5, 1, 2, 7, 0, 0], vec![5, 2], "malformed-request"),
        (amal, without, answer(2), "credentials-required"),
        // For whom a user could change nothing, the words are not looked at.
        (UPLOADER, with(b"amal", b"another one"), served, "client-closed"),
    ] {
        let before = house.decisions().len();
        let mut client = raw(&house, from).await;
        client.send(&bytes).await;
        client.finish().await;
        let told = client.rest().await;
        assert_eq!(told, answered, "{}", bytes.escape_ascii());
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason, "{}", bytes.escape_ascii());
    }
    let first = &house.decisions()[0];
    assert_eq!(
        (&first["unmapped"]["transfer"]["source"], &first["actor"]["user"]["name"]),
        (&"amal".into(), &"amal".into())
    );
}

//! Requests that two readers may read in two ways: refused before anything is resolved or dialled, each on record.

use std::time::Duration;

use tokio::time::timeout;

use super::support::reason_of;
use super::{FRAME, asks, counted, filled, house};

/// Longer than anything here takes.
const BRIEFLY: Duration = Duration::from_secs(3);

/// What becomes of a request.
enum Fate {
    /// Refused with this reason and status, by a reply of ours.
    Refused(&'static str, u16),
    /// The parser answers by itself; the record follows.
    Parser(u16),
}
use Fate::{Parser, Refused};

const MALFORMED: Fate = Refused("malformed-request", 400);
const AMBIGUOUS: Fate = Refused("ambiguous-destination", 403);

/// A GET of `target` with these lines of head.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{lines}\r\n")
}

const HERE: &str = "Host: plain.example:PORT\r\n";

fn at(path: &str) -> String {
    get(&format!("http://plain.example:PORT{path}"), HERE)
}

fn posted(lines: &str, body: &str) -> String {
    format!("POST http://plain.example:PORT/cctv/cam1 HTTP/1.1\r\n{HERE}Content-Type: image/jpeg\r\n{lines}\r\n{body}")
}

fn rows() -> Vec<(String, Fate)> {
    let target = "http://plain.example:PORT/cctv/cam1";
    vec![
        // Host
        (get(target, ""), MALFORMED),
        (get(target, "Host: plain.example:PORT\r\nHost: plain.example:PORT\r\n"), MALFORMED),
        (get(target, "Host: other.example:PORT\r\n"), AMBIGUOUS),
        (get(target, "Host: plain.example:1\r\n"), AMBIGUOUS),
        (get(target, "Host: plain.example\r\n"), AMBIGUOUS),
        (get(target, "Host: plain.example:PORT/x\r\n"), MALFORMED),
        (get(target, "Host:\r\n"), MALFORMED),
        (get(target, "Host: plain.example:PORT, other.example\r\n"), MALFORMED),
        // targets
        (get("/cctv/cam1", HERE), MALFORMED),
        (get("*", HERE), MALFORMED),
        (get("plain.example:PORT", HERE), MALFORMED),
        (get("ftp://plain.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://user@plain.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://other.example@plain.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:65536/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:0/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:0PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:+PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://plain.example:http/cctv/cam1", HERE), MALFORMED),
        (get("http://[plain.example]:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://plain..example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://.plain.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://pla,in.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://*.example:PORT/cctv/cam1", HERE), MALFORMED),
        (get("http://0x7f.1:PORT/cctv/cam1", "Host: 0x7f.1:PORT\r\n"), Refused("numeric-host", 403)),
        (get("http://127.1:PORT/cctv/cam1", "Host: 127.1:PORT\r\n"), Refused("numeric-host", 403)),
        (get("http://0177.0.0.1:PORT/cctv/cam1", "Host: 0177.0.0.1:PORT\r\n"), Refused("numeric-host", 403)),
        // methods
        (at("/cctv/cam1").replacen("GET", "get", 1), MALFORMED),
        (at("/cctv/cam1").replacen("GET", "PRI*", 1), MALFORMED),
        // paths that readers may disagree about
        (at("/cctv/../other"), Refused("path-not-declared", 403)),
        (at("/cctv/%2e%2E/other"), Refused("path-not-declared", 403)),
        (at("/cctv//cam1"), Refused("path-not-declared", 403)),
        (at("/cctv/a%2Fb"), Refused("path-not-declared", 403)),
        (at("/cctv/a%5Cb"), Refused("path-not-declared", 403)),
        (at("/cctv/a%00"), Refused("path-not-declared", 403)),
        (at("/cctv/a;b=c"), Refused("path-not-declared", 403)),
        (at("/cctv/%zz"), MALFORMED),
        // framing
        (posted("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), Refused("malformed-request", 501)),
        (posted("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), Refused("malformed-request", 501)),
        (posted("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"), Refused("malformed-request", 501)),
        (
            posted("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Refused("malformed-request", 501),
        ),
        (posted("Transfer-Encoding: xchunked\r\n", ""), Parser(400)),
        (posted("Content-Length: 1\r\nContent-Length: 2\r\n", "x"), Parser(400)),
        (posted("Content-Length: +1\r\n", "x"), Parser(400)),
        (posted("Content-Length: 1, 1\r\n", "x"), Parser(400)),
        (posted("Expect: 200-maybe\r\nContent-Length: 1\r\n", "x"), Refused("malformed-request", 417)),
        (posted("Content-Length: 1\r\nContent-Type: image/png\r\n", "x"), MALFORMED),
        // what the parser refuses by itself
        ("\x16\x03\x01\x02\x00\x01".to_owned() + &"\x00".repeat(40), Parser(400)),
        (at("/cctv/cam1").replace("HTTP/1.1", "HTTP/3.1"), Parser(400)),
        (at("/cctv/cam1").replace("Host: ", "Host : "), Parser(400)),
        (get(target, &format!("{HERE} folded: 1\r\n")), Parser(400)),
        (get(target, &format!("{HERE}no colon\r\n")), Parser(400)),
        (get(target, &format!("{HERE}{}", "X-Many: 1\r\n".repeat(101))), Parser(431)),
        (get(target, &format!("{HERE}X-Large: {}\r\n", "x".repeat(300_000))), Parser(431)),
        // CONNECT
        ("CONNECT plain.example HTTP/1.1\r\nHost: plain.example\r\n\r\n".into(), MALFORMED),
        ("CONNECT plain.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n".into(), AMBIGUOUS),
        ("CONNECT plain.example:443 HTTP/1.1\r\n\r\n".into(), MALFORMED),
        (
            "CONNECT plain.example:443 HTTP/1.1\r\nHost: plain.example:443\r\nContent-Length: 5\r\n\r\nhello".into(),
            MALFORMED,
        ),
        (
            "CONNECT plain.example:443 HTTP/1.1\r\nHost: plain.example:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            MALFORMED,
        ),
        ("CONNECT /x HTTP/1.1\r\nHost: plain.example:443\r\n\r\n".into(), MALFORMED),
        ("CONNECT http://plain.example:443/ HTTP/1.1\r\nHost: plain.example:443\r\n\r\n".into(), MALFORMED),
        ("CONNECT u@plain.example:443 HTTP/1.1\r\nHost: plain.example:443\r\n\r\n".into(), MALFORMED),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_and_on_record() {
    let house = house().await;
    let mut faults = Vec::new();
    for (place, (bytes, fate)) in rows().into_iter().enumerate() {
        let shown: String = bytes.chars().take(120).collect();
        let mut client = asks(&house, &bytes).await;
        let Ok(reply) = timeout(BRIEFLY, client.reply()).await else {
            faults.push(format!("{shown:?}\n   no reply"));
            break;
        };
        let decisions = house.until_decisions(place + 1).await;
        let on_record = reason_of(&decisions[place]).to_owned();
        let (reason, status) = match fate {
            Refused(reason, status) => (reason, status),
            Parser(status) => ("malformed-request", status),
        };
        let told = reply.as_ref().map(|reply| (reply.status, reply.proxy_status("reason")));
        let expected = (status, matches!(fate, Refused(..)).then(|| reason.to_owned()));
        if told != Some(expected.clone()) || on_record != reason || decisions.len() != place + 1 {
            faults.push(format!(
                "{shown:?}\n   told {told:?}, expected {expected:?}; on record {on_record}, {} records",
                decisions.len() - place
            ));
        }
        // What cannot be understood ends its connection: what follows is not read as a request.
        if reason != "path-not-declared" {
            client.send(filled(&at("/"), &house)).await;
            match timeout(BRIEFLY, client.rest()).await {
                Ok(rest) if rest.is_empty() => {}
                Ok(rest) => faults.push(format!("{shown:?}\n   it went on: {}", String::from_utf8_lossy(&rest))),
                Err(_) => faults.push(format!("{shown:?}\n   it stayed open")),
            }
        }
    }
    assert!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(counted(&house).await, rows().len() as u64, "each is counted once");
    assert_eq!(house.recipient("plain.example").connections(), 0, "nothing was dialled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_odd_passes_in_one_canonical_form() {
    let house = house().await;
    let frame = String::from_utf8_lossy(b"").into_owned();
    let body = |lines: &str| {
        format!("POST http://plain.example:PORT/cctv/cam1 HTTP/1.1\r\n{HERE}Content-Type: image/jpeg\r\n{lines}\r\n")
    };
    let length = format!("Content-Length: {}\r\n", FRAME.len());
    for (bytes, with_frame, target) in [
        (at("/cctv/%63am1") + &frame, false, "/cctv/cam1"),
        (at("/cctv/a%3ab"), false, "/cctv/a%3Ab"),
        (at("/cctv/cam1").replace("http://plain.example", "HTTP://PLAIN.example."), false, "/cctv/cam1"),
        (at("/cctv/cam1").replace("HTTP/1.1\r\nHost: plain.example:PORT", "HTTP/1.0"), false, "/cctv/cam1"),
        (at("/cctv/cam1").replace("plain.example:PORT", "127.0.0.1:PORT"), false, "/cctv/cam1"),
        (at("/literal/..;/x"), false, "/literal/..;/x"),
        (body(&length), true, "/cctv/cam1"),
        (body(&(length.clone() + &length)), true, "/cctv/cam1"),
        (body(&length.replace(": ", ": 000")), true, "/cctv/cam1"),
    ] {
        let before = house.recipient("plain.example").requests().len();
        let mut client = asks(&house, &bytes).await;
        if with_frame {
            client.send(FRAME).await;
        }
        let reply = client.reply().await.expect("a reply");
        assert_eq!(reply.status, 200, "{bytes:?} {reply:?}");
        let received = house.recipient("plain.example").requests();
        assert_eq!(received.len(), before + 1, "{bytes:?}");
        assert_eq!(received[before].target, target, "{bytes:?}");
        assert_eq!(received[before].headers.get_all("host").iter().count(), 1);
        if with_frame {
            assert!(received[before].body == FRAME, "{bytes:?}");
            assert_eq!(received[before].headers["content-length"], FRAME.len().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_is_not_believed_and_ends_the_connection() {
    let house = house().await;
    let smuggled = "POST http://plain.example:PORT/cctv/cam1 HTTP/1.1\r\nHost: plain.example:PORT\r\nContent-Type: \
                    image/jpeg\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = asks(&house, smuggled).await;
    client.send([format!("{:x}\r\n", FRAME.len()).as_bytes(), FRAME, b"\r\n0\r\n\r\n"].concat()).await;
    client.send(filled(&at("/cctv/second"), &house)).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert!(client.rest().await.is_empty(), "nothing after it is read as a request");
    let received = house.recipient("plain.example").requests();
    assert_eq!(received.len(), 1);
    assert!(received[0].body == FRAME, "the chunks are the body");
    assert_eq!(received[0].headers["content-length"], FRAME.len().to_string());
    assert!(!received[0].headers.contains_key("transfer-encoding"));
    assert_eq!(house.decisions().len(), 1);
}

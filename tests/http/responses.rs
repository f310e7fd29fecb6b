//! Answers of recipients: relayed unread where their framing is clear, 502 where it is not, and never made whole where
//! they broke off.

use super::support::stand::Stand;
use super::{FRAME, House, asks, house_with, post};
use crate::support::wire::RawReply;

/// Sends a frame and reads the reply.
async fn answered(house: &House) -> RawReply {
    let mut client = asks(house, &post("")).await;
    client.send(FRAME).await;
    client.reply().await.expect("a reply")
}

async fn outcome_end(house: &House, place: usize) -> String {
    let decisions = house.until_decisions(place + 1).await;
    let outcome = house.outcome(decisions[place]["metadata"]["uid"].as_str().expect("an id")).await;
    outcome["unmapped"]["transfer"]["end"].as_str().expect("an end").to_owned()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread")]
async fn an_unclear_answer_is_502_and_its_connection_is_not_used_again() {
    for bad in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"",
    ] {
        let shown = String::from_utf8_lossy(bad).into_owned();
        let stand = Stand::answering(vec![bad, OK], bad.is_empty()).await;
        let house = house_with(&stand).await;
        let reply = answered(&house).await;
        assert_eq!(
            (reply.status, reply.proxy_status("reason").as_deref()),
            (502, Some("upstream-fault")),
            "{shown:?} {reply:?}"
        );
        assert!(reply.is_whole);
        let decisions = house.decisions();
        assert_eq!(decisions.len(), 1, "{shown:?}");
        assert_eq!(reply.proxy_status("record").as_deref(), decisions[0]["metadata"]["uid"].as_str());
        assert_eq!(outcome_end(&house, 0).await, "upstream-fault", "{shown:?}");
        if !bad.is_empty() {
            assert_eq!(answered(&house).await.status, 200, "{shown:?}");
            assert_eq!(stand.connections(), 2, "a new connection after {shown:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_answer_is_relayed_and_its_connection_used_again() {
    let answers: Vec<&[u8]> = vec![
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        OK,
    ];
    let stand = Stand::answering(answers, false).await;
    let house = house_with(&stand).await;
    for place in 0..4 {
        let reply = answered(&house).await;
        assert_eq!((reply.status, &reply.body[..], reply.is_whole), (200, &b"ok"[..], true), "{place} {reply:?}");
        assert_eq!(reply.field("x-trailer"), None);
        assert_eq!(outcome_end(&house, place).await, "answered");
    }
    assert_eq!(stand.connections(), 1, "one connection serves them all");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_seen_as_broken_off() {
    for cut in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
    ] {
        let shown = String::from_utf8_lossy(cut).into_owned();
        let stand = Stand::answering(vec![cut], true).await;
        let house = house_with(&stand).await;
        let reply = answered(&house).await;
        assert_eq!((reply.status, reply.is_whole), (200, false), "{shown:?} {reply:?}");
        assert_eq!(outcome_end(&house, 0).await, "upstream-fault", "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_speak_for_the_proxy() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nProxy-Status: tasrih; reason=forged\r\nAlt-Svc: h3=\":443\"\r\n\
                   Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Own: kept\r\n\r\nok";
    let stand = Stand::answering(vec![answer], false).await;
    let house = house_with(&stand).await;
    let reply = answered(&house).await;
    let mut names: Vec<_> = reply.fields.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "date").collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "via", "x-own"]);
}

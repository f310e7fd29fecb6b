//! Every set of facts through every entry point: one decision, one reason, one record, whatever asked.
//!
//! Played in a network of its own, so that the transparent entry point is a real REDIRECT. What only one entry point can
//! know is taken off before records are compared: its own word, the address that was dialled, ids, ports and times; and,
//! where the connection itself was refused, the request that nobody had sent yet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tasrih::config::{ClientCertificates, Entry, ListenerTls, Settings};
use tokio::io::{AsyncRead, AsyncWrite};

use super::ground::listener;
use super::network::{play, rules, run};
use super::socks::{GREETING, to_name};
use super::support::wire::{Raw, dial, tls_as};
use super::support::{FRAME, OFFICE, STRANGER, UPLOADER, reason_of};
use super::table::Case;
use super::world::World;

const CLINIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
const STOPPED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8));
/// What clients that know of no proxy are told all recipients' address is.
const TOLD: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Connect,
    HttpsProxy,
    Socks5,
    Transparent,
}

/// What is sent, and by whom.
#[derive(Clone, Debug)]
struct Facts {
    reason: &'static str,
    from: IpAddr,
    scheme: &'static str,
    host: &'static str,
    port: Option<u16>,
    method: &'static str,
    path: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

fn facts(reason: &'static str, scheme: &'static str, host: &'static str) -> Facts {
    let (method, path, kind) = ("POST", "/cctv/cam1", "image/jpeg");
    Facts { reason, from: UPLOADER, scheme, host, port: None, method, path, kind, body: FRAME.to_vec() }
}

fn http(reason: &'static str, host: &'static str) -> Facts {
    facts(reason, "http", host)
}

fn https(reason: &'static str, host: &'static str) -> Facts {
    facts(reason, "https", host)
}

fn all() -> Vec<Facts> {
    let large = [FRAME, &[0; 40 << 10]].concat();
    vec![
        http("permit", "fine.example"),
        https("permit", "tls.example"),
        https("permit", "pinned.example"),
        https("permit", "measured-tls.example"),
        Facts { method: "GET", body: Vec::new(), ..http("permit", "fine.example") },
        Facts { from: STRANGER, ..http("source-unknown", "fine.example") },
        Facts { from: STRANGER, ..https("source-unknown", "tls.example") },
        http("suspended-by-order", "ordered.example"),
        http("suspended-by-order", "ordered-recipient.example"),
        http("suspended-by-order", "ordered-country.example"),
        Facts { from: STOPPED, ..http("suspended-by-order", "fine.example") },
        http("permit", "lifted.example"),
        http("address-refused", "metadata.example"),
        http("address-refused", "private.example"),
        http("numeric-host", "2130706433"),
        Facts { port: Some(81), ..http("port-not-declared", "fine.example") },
        Facts { port: Some(444), ..https("port-not-declared", "tls.example") },
        http("cleartext-not-declared", "tls.example"),
        http("no-declaration", "evil.example"),
        https("no-declaration", "evil.example"),
        http("source-not-declared", "office-only.example"),
        Facts { from: OFFICE, ..https("source-not-declared", "tls.example") },
        http("filing-missing", "unfiled.example"),
        http("permit", "domestic.example"),
        http("filing-not-granted", "draft.example"),
        http("filing-refused", "refused.example"),
        http("filing-suspended", "suspended.example"),
        http("filing-withdrawn", "withdrawn.example"),
        http("not-yet-valid", "tomorrow.example"),
        http("permit", "today.example"),
        http("expired", "yesterday.example"),
        http("permit", "last-day.example"),
        http("receipt-missing", "no-receipt.example"),
        http("basis-impossible", "inadequate.example"),
        http("permit", "adequate.example"),
        http("unresolvable", "nowhere.example"),
        http("unreachable", "closed.example"),
        https("upstream-fault", "not-tls.example"),
        https("tls-identity-mismatch", "wrong.example"),
        https("tls-identity-mismatch", "untrusted.example"),
        https("tls-identity-mismatch", "mispinned.example"),
        http("measure-missing", "measured.example"),
        Facts { method: "PUT", ..http("method-not-declared", "requests.example") },
        Facts { path: "/other", ..http("path-not-declared", "requests.example") },
        Facts { kind: "image/png", ..http("content-type-not-declared", "requests.example") },
        http("permit", "requests.example"),
        Facts { kind: "application/json", body: b"{}".to_vec(), ..http("uninspectable", "fine.example") },
        Facts { kind: "application/json", body: b"{}".to_vec(), ..https("uninspectable", "tls.example") },
        Facts { from: OFFICE, ..http("category-not-declared", "frames-of-office.example") },
        Facts { from: CLINIC, ..http("sensitive-not-authorised", "insensitive.example") },
        Facts { from: CLINIC, ..http("permit", "sensitive.example") },
        Facts { body: large, ..http("too-large", "small.example") },
        http("permit", "small.example"),
    ]
}

/// The papers of the listener that speaks TLS.
static PAPERS: OnceLock<PathBuf> = OnceLock::new();

fn listeners(settings: &mut Settings) {
    let papers = PAPERS.get().expect("made before");
    settings.listeners[0].bind.set_port(0);
    for entry in [Entry::Forward, Entry::Socks5, Entry::Transparent] {
        listener(settings, entry);
    }
    let (certificate, key) = (papers.join("proxy.pem"), papers.join("proxy.key"));
    let client_certificates = ClientCertificates::Optional;
    settings.listeners[1].tls = Some(ListenerTls { certificate, key, client_ca: None, client_certificates, crl: None });
    // A redirected connection comes to this address.
    settings.listeners[3].bind.set_ip(Ipv4Addr::LOCALHOST.into());
    // Enough for all clients of one address.
    settings.limits.header_time = std::time::Duration::from_secs(5);
}

#[test]
fn every_entry_point_decides_and_records_alike() {
    play("parity::everywhere");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a network of its own, by the test above"]
async fn everywhere() {
    let papers = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (papers.path().join("proxy.pem"), papers.path().join("proxy.key"));
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=proxy -days 30".split(' '));
    openssl.args(["-addext", "subjectAltName=DNS:proxy.example", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
    assert!(openssl.output().expect("openssl runs; tests/run installs it").status.success());
    PAPERS.set(papers.path().to_owned()).expect("once");
    let world = World::build(&Case { settings: listeners }, |register| register).await;
    run("ip route add local 198.51.100.0/24 dev lo");
    rules(&format!(
        "table inet nat {{ chain output {{ type nat hook output priority -100;\n\
         ip daddr {TOLD} meta l4proto tcp redirect to :{}\n}}\n}}\n",
        world.house.running.proxies[3].port()
    ));
    let mut differing = Vec::new();
    let mut compared = 0;
    for facts in all() {
        let over_tls = facts.scheme == "https";
        let mut first: Option<(Way, Value)> = None;
        for way in [Way::Connect, Way::Forward, Way::HttpsProxy, Way::Socks5, Way::Transparent] {
            if way == Way::Forward && over_tls {
                continue;
            }
            let record = play_one(&world, way, &facts).await;
            if reason_of(&record) != facts.reason {
                differing.push(format!("{way:?} {} {}: {}", facts.reason, facts.host, reason_of(&record)));
                continue;
            }
            compared += 1;
            match &first {
                None => first = Some((way, record)),
                Some((other, before)) => {
                    let both = has_request(&record) && has_request(before);
                    let (one, two) = (shown(before, both), shown(&record, both));
                    if one != two {
                        differing.push(format!("{other:?} {way:?} {} {}:\n{one:#}\n{two:#}", facts.reason, facts.host));
                    }
                }
            }
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(compared > 200, "{compared} exchanges compared");
}

/// Sends it, and gives its decision record.
async fn play_one(world: &World, way: Way, facts: &Facts) -> Value {
    let house = &world.house;
    let before = house.decisions().len();
    let named = house.recipients.get(facts.host).map(|recipient| recipient.address.port());
    let named = named.or((facts.host == "not-tls.example").then_some(world.mute.address.port()));
    let named = named.or((facts.host == "closed.example").then_some(world.closed));
    let port = facts.port.or(named).unwrap_or(house.recipient("plain.example").address.port());
    let at = |place: usize| house.running.proxies[place];
    match way {
        Way::Forward => send(dial(facts.from, at(0)).await, facts, port, true).await,
        Way::Connect => connect(dial(facts.from, at(0)).await, facts, port).await,
        Way::HttpsProxy => {
            let stream = tls_as(dial(facts.from, at(1)).await, "proxy.example").await.expect("the proxy's own TLS");
            match facts.scheme {
                "http" => send(stream, facts, port, true).await,
                _ => connect(stream, facts, port).await,
            }
        }
        Way::Socks5 => {
            let mut client = Raw::new(dial(facts.from, at(2)).await);
            client.send([&GREETING[..], &to_name(facts.host.as_bytes(), port)].concat()).await;
            if client.exactly(12).await.get(3) == Some(&0) {
                inside(client.into_parts().0, facts, port).await;
            }
        }
        Way::Transparent => inside(dial(facts.from, SocketAddr::new(TOLD, port)).await, facts, port).await,
    }
    let decisions = house.until_decisions(before + 1).await;
    assert_eq!(decisions.len(), before + 1, "{way:?} {facts:?}");
    decisions[before].clone()
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, facts: &Facts, port: u16) {
    let mut client = Raw::new(stream);
    client.send(format!("CONNECT {0}:{port} HTTP/1.1\r\nHost: {0}:{port}\r\n\r\n", facts.host)).await;
    if client.reply().await.is_some_and(|reply| reply.status == 200) {
        inside(client.into_parts().0, facts, port).await;
    }
}

/// What is sent over a connection that goes to the destination.
async fn inside<S: AsyncRead + AsyncWrite + Unpin>(stream: S, facts: &Facts, port: u16) {
    match facts.scheme {
        "http" => send(stream, facts, port, false).await,
        _ => {
            if let Ok(stream) = tls_as(stream, facts.host).await {
                send(stream, facts, port, false).await;
            }
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(stream: S, facts: &Facts, port: u16, is_absolute: bool) {
    let Facts { method, path, kind, host, body, .. } = facts;
    let authority = format!("{host}:{port}");
    let target = if is_absolute { format!("http://{authority}{path}") } else { (*path).to_owned() };
    let framing = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n"),
    };
    let mut client = Raw::new(stream);
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{framing}\r\n")).await;
    client.send(body).await;
    client.reply().await;
}

/// Whether the record is of a request, and not of the connection that was asked for.
fn has_request(record: &Value) -> bool {
    record["http_request"]["http_method"].is_string() && record["http_request"]["http_method"] != "CONNECT"
}

/// What must be the same.
fn shown(record: &Value, whole: bool) -> Value {
    let ours = &record["unmapped"]["transfer"];
    if !whole {
        let candidates = ours["candidates"].as_array().map(Vec::len);
        return json!([
            ours["decision"],
            ours["reason"],
            ours["source"],
            ours["recipient"],
            ours["mode"],
            ours["stage"],
            ours["register_version"],
            candidates,
            record["dst_endpoint"]["hostname"],
            record["dst_endpoint"]["port"],
            record["src_endpoint"]["ip"],
            record["src_endpoint"]["name"],
            record["status_code"],
            record["disposition"],
        ]);
    }
    let mut whole = record.clone();
    for gone in ["time", "time_dt", "proxy_endpoint", "connection_info"] {
        whole.as_object_mut().expect("an object").remove(gone);
    }
    if ours["reason"] == "upstream-fault" {
        // Whether the other side closed or reset is its own word, and not the same each time.
        whole["unmapped"]["transfer"].as_object_mut().expect("an object").remove("detail");
    }
    for (of, gone) in [
        ("/metadata", &["uid", "correlation_uid", "sequence", "logged_time"][..]),
        ("/src_endpoint", &["port"]),
        ("/http_request", &["uid"]),
        ("/unmapped/transfer", &["entry", "redirected_from"]),
    ] {
        let of = whole.pointer_mut(of).and_then(Value::as_object_mut).expect("an object");
        for key in gone {
            of.remove(*key);
        }
    }
    whole
}

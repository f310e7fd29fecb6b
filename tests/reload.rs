//! A register put in force while the proxy runs, seen from the recipients and from the log: all or nothing, at once for
//! whatever is not on record yet, and within a second for what is under way.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "reload/explained.rs"]
mod explained;
mod support;
#[path = "reload/versions.rs"]
mod versions;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use support::{FRAME, House, Plan, Site, UPLOADER, frame, reason_of, series};
use tasrih::demo::recipient::Answer;
use tasrih::destination::{Destination, Host, Scheme};
use tasrih::folder::Seen;
use tasrih::policy::{ConnectionFacts, TlsFacts, TlsVersion};
use tasrih::reload::{ReloadFault, Reloaded, Reloader, Watch, reload};
use tokio::io::AsyncWriteExt;

const HEAD: &str = "
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - id: cctv
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}
sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
recipients:
  - {id: ministry-a, name: Ministry A, country: FR, destinations: [{host: a.example, port: {port:a.example}}]}
  - {id: ministry-b, name: Ministry B, country: FR, destinations: [{host: b.example, port: {port:b.example}, interception: never}]}
";

fn transfer(to: char, reference: &str) -> String {
    format!(
        "
  - id: cctv-to-ministry-{to}
    processing: cctv
    from: [cctv-uploader]
    to: ministry-{to}
    regimes: [ma-09-08]
    legal_basis: {{ma-09-08: ma-0908:A43}}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    filing: {{authority: CNDP, ref: {reference}, status: granted, valid_from: 2023-02-21}}
"
    )
}

fn register(transfers: &[String]) -> String {
    format!("{HEAD}transfers:{}", transfers.concat())
}

async fn house() -> House {
    let policy = register(&[transfer('a', "A-GC-1/2023")]);
    Plan::new(&policy).site("a.example", Site::Tls).site("b.example", Site::Tls).build().await
}

/// Writes these policies as the folder's only file, and reloads.
async fn put(house: &House, policy: &str) -> Result<Reloaded, ReloadFault> {
    let folder = house.folder.path().join("policies");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("register.yaml"), ported(house, policy)).expect("a policy file");
    reload(house.running.corridor(), folder).await
}

/// A policy with the ports that the recipients listen on.
fn ported(house: &House, policy: &str) -> String {
    let port = |host: &str| house.recipient(host).address.port().to_string();
    policy.replace("{port:a.example}", &port("a.example")).replace("{port:b.example}", &port("b.example"))
}

fn frame_to(house: &House, host: &str) -> http::Request<Bytes> {
    frame(house.base("https", host) + "/cctv/cam1")
}

fn lifecycle(house: &House, code: &str) -> Vec<Value> {
    house.records().into_iter().filter(|record| record["metadata"]["event_code"] == code).collect()
}

fn version_of(record: &Value) -> &Value {
    &record["unmapped"]["transfer"]["register_version"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_by_a_reload_passes_and_what_it_takes_away_does_not() {
    let house = house().await;
    assert_eq!(house.send(UPLOADER, frame_to(&house, "a.example")).await.status, 200);
    let both = register(&[transfer('a', "A-GC-1/2023"), transfer('b', "A-GC-2/2023")]);
    let reloaded = put(&house, &both).await.expect("a register without fault");
    assert!(reloaded.is_new);
    assert_eq!(house.send(UPLOADER, frame_to(&house, "a.example")).await.status, 200, "still declared");
    let none = register(&[transfer('b', "A-GC-2/2023")]);
    let taken_away = put(&house, &none).await.expect("a register without fault");
    let refused = house.send(UPLOADER, frame_to(&house, "a.example")).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("no-declaration")));
    assert_eq!(house.recipient("a.example").requests().len(), 2);

    let loaded = lifecycle(&house, "register-loaded");
    assert_eq!(loaded.len(), 3, "the start and two reloads are on record");
    let last = house.decisions().pop().expect("a decision");
    assert_eq!(*version_of(&last), *taken_away.version.0);
    assert_eq!(version_of(&last), version_of(&loaded[2]), "a decision's register is found in the log");
    let again = put(&house, &none).await.expect("a register without fault");
    assert!(!again.is_new, "the same register is no change");
    assert_eq!(lifecycle(&house, "register-loaded").len(), 3);
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_register_reloads_total", &["result=\"taken\""]), 3);
    assert_eq!(series(&metrics, "tasrih_register_reload_refused", &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_register_changes_nothing_until_it_is_mended() {
    let house = house().await;
    let faulty = register(&[transfer('a', "A-GC-1/2023")]).replace("granted", "grnated");
    let refused = put(&house, &faulty).await.expect_err("a fault");
    let told = refused.to_string();
    assert!(told.contains("register.yaml:") && told.contains("grnated") && told.contains('^'), "{told}");
    assert_eq!(house.send(UPLOADER, frame_to(&house, "a.example")).await.status, 200, "the older one is in force");
    let record = lifecycle(&house, "register-refused").pop().expect("a record");
    assert_eq!(record["unmapped"]["transfer"]["faults"], 1, "{record:#}");
    assert_eq!(version_of(&record), version_of(&house.decisions().pop().expect("a decision")));
    let metrics = house.metrics().await;
    assert_eq!(series(&metrics, "tasrih_register_reload_refused", &[]), 1);
    assert_eq!(series(&metrics, "tasrih_register_reloads_total", &["result=\"refused\""]), 1);

    put(&house, &register(&[transfer('a', "A-GC-9/2024")])).await.expect("a register without fault");
    assert_eq!(series(&house.metrics().await, "tasrih_register_reload_refused", &[]), 0);
    let reply = house.send(UPLOADER, frame_to(&house, "a.example")).await;
    assert_eq!(reply.status, 200);
    let stamp = house.recipient("a.example").requests().pop().expect("a request");
    let stamp = stamp.headers["personal-data-transfer"].to_str().expect("text").to_owned();
    assert!(stamp.contains("A-GC-9/2024"), "the new reference is stamped: {stamp}");
}

/// A request whose body is half there when the register changes.
async fn half_sent(house: &House) -> support::wire::Raw<tokio::net::TcpStream> {
    let (host, port) = ("plain.example", house.recipient("plain.example").address.port());
    let mut client = house.raw(UPLOADER).await;
    client
        .send(format!(
            "POST http://{host}:{port}/cctv/cam1 HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/jpeg\r\n\
             Content-Length: {}\r\n\r\n",
            FRAME.len()
        ))
        .await;
    client.send(&FRAME[..FRAME.len() / 2]).await;
    // The head is judged on the register of now: its connection to the recipient shows it.
    while house.recipient("plain.example").connections() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client
}

fn plain(reference: &str) -> String {
    let recipient = "  - {id: ministry-p, name: P, country: FR, destinations: [{host: plain.example, port: {port:plain.example}, scheme: http}]}\n";
    format!("{HEAD}{recipient}transfers:{}", transfer('p', reference))
}

async fn plain_house() -> House {
    let plan = Plan::new(&plain("A-GC-1/2023")).site("plain.example", Site::Plain);
    plan.site("a.example", Site::Tls).site("b.example", Site::Tls).build().await
}

async fn put_plain(house: &House, policy: &str) -> Reloaded {
    let port = house.recipient("plain.example").address.port().to_string();
    put(house, &policy.replace("{port:plain.example}", &port)).await.expect("a register without fault")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_when_a_reload_takes_its_transfer_away_is_refused() {
    let house = plain_house().await;
    let mut client = half_sent(&house).await;
    put_plain(&house, &plain("A-GC-1/2023").replace("granted", "suspended")).await;
    client.send(&FRAME[FRAME.len() / 2..]).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("filing-suspended")));
    assert_eq!(house.recipient("plain.example").bytes(), 0, "nothing left");
    let decisions = house.decisions();
    assert_eq!(decisions.len(), 1, "one record");
    assert_eq!(version_of(&decisions[0]), version_of(&lifecycle(&house, "register-loaded")[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_refuses_what_is_held_without_waiting_for_the_rest_of_it() {
    let house = plain_house().await;
    let mut client = half_sent(&house).await;
    let order = "orders: [{authority: CNDP, ref: order-1, action: suspend, scope: 'transfer:cctv-to-ministry-p'}]";
    let reloaded = put_plain(&house, &(plain("A-GC-1/2023") + order)).await;
    // Nothing more is sent; a client that is too slow would be told 408, and much later.
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (403, Some("suspended-by-order")));
    let decisions = house.until_decisions(1).await;
    assert_eq!(version_of(&decisions[0]).as_str(), Some(&*reloaded.version.0), "decided on the register of the order");
    assert_eq!(house.recipient("plain.example").bytes(), 0, "nothing left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_closes_the_idle_connections_that_it_refuses_and_no_others() {
    let house = plain_house().await;
    let target = house.base("http", "plain.example") + "/cctv/cam1";
    assert_eq!(house.send(UPLOADER, frame(target.clone())).await.status, 200);
    let dialer = &house.running.corridor().dialer;
    let idle = async |wanted: usize| {
        for _ in 0..200 {
            if dialer.idle() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} connections are idle, not {wanted}", dialer.idle());
    };
    idle(1).await;
    let orders =
        |scope: &str| format!("orders: [{{authority: CNDP, ref: order-1, action: suspend, scope: '{scope}'}}]");
    put_plain(&house, &(plain("A-GC-1/2023") + &orders("recipient:ministry-a"))).await;
    // Longer than several looks at what is idle.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    idle(1).await;
    assert_eq!(house.send(UPLOADER, frame(target)).await.status, 200);
    assert_eq!(house.recipient("plain.example").connections(), 1, "it was used again");
    put_plain(&house, &(plain("A-GC-1/2023") + &orders("recipient:ministry-p"))).await;
    idle(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_cuts_an_upload_of_a_gibibyte_through_a_tunnel_within_a_second() {
    const GIBIBYTE: u64 = 1 << 30;
    let policy = register(&[transfer('b', "A-GC-2/2023")]);
    let house = Plan::new(&policy).site("a.example", Site::Tls).site("b.example", Site::Tls).build().await;
    let recipient = house.recipient("b.example");
    let target = format!("b.example:{}", recipient.address.port());
    let opened = house.client(UPLOADER).open(&target).await.expect("an answer").expect("let in");
    let mut inside = support::wire::tls_as(TokioIo::new(opened), "b.example").await.expect("a handshake");
    let uploading = tokio::spawn(async move {
        let head = format!("POST /cctv/all HTTP/1.1\r\nHost: {target}\r\nContent-Length: {GIBIBYTE}\r\n\r\n");
        inside.write_all(head.as_bytes()).await.expect("written");
        let piece = vec![7; 256 * 1024];
        let mut written = 0;
        // A millisecond each: the whole would take four seconds, however fast the machine is.
        while written < GIBIBYTE && inside.write_all(&piece).await.is_ok() {
            written += piece.len() as u64;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        written
    });
    while recipient.raw_bytes() < 4 << 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let order = "orders: [{authority: CNDP, ref: order-1, action: suspend, scope: 'transfer:cctv-to-ministry-b'}]";
    put(&house, &(policy + order)).await.expect("a register without fault");
    let written = uploading.await.expect("cut");
    assert!(written < GIBIBYTE, "{written} bytes: it was not cut");

    let decision = house.decisions().pop().expect("a decision");
    let outcome = house.outcome(decision["metadata"]["uid"].as_str().expect("an id")).await;
    assert_eq!(outcome["unmapped"]["transfer"]["end"], "cut-order", "{outcome:#}");
    let ordered = lifecycle(&house, "register-loaded").pop().expect("the reload");
    let time = |record: &Value| record["time"].as_i64().expect("milliseconds");
    let after = time(&outcome) - time(&ordered);
    eprintln!("cut {after} ms after the order was on record");
    // It is looked at twice a second; a machine that is busy with other tests may give it a turn late.
    assert!(after <= 5_000, "cut {after} ms after the order was on record");
    let cut = series(&house.metrics().await, "tasrih_outcomes_total", &["end=\"cut-order\""]);
    assert_eq!(cut, 1, "it is counted");

    // What was on its way arrives, and then nothing more.
    let mut received = 0;
    while received != recipient.raw_bytes() {
        received = recipient.raw_bytes();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let left = outcome["traffic"]["bytes_out"].as_u64().expect("a count");
    let buffers = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").expect("readable");
    let most: u64 = buffers.split_whitespace().last().expect("three sizes").parse().expect("a size");
    assert!(
        received <= left && left <= received + most,
        "{left} bytes left, {received} were received, {most} may wait"
    );
    assert!(recipient.requests().is_empty(), "the upload is never complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_when_a_reload_keeps_its_transfer_passes_under_the_new_register() {
    let house = plain_house().await;
    let mut client = half_sent(&house).await;
    let reloaded = put_plain(&house, &plain("A-GC-7/2024")).await;
    // Longer than it takes to judge it again.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    client.send(&FRAME[FRAME.len() / 2..]).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    let decision = house.decisions().pop().expect("a decision");
    assert_eq!((reason_of(&decision), version_of(&decision).as_str()), ("permit", Some(&*reloaded.version.0)));
    let request = house.recipient("plain.example").requests().pop().expect("a request");
    assert_eq!(request.body, FRAME);
    let stamp = request.headers["personal-data-transfer"].to_str().expect("text").to_owned();
    assert!(stamp.contains("A-GC-7/2024"), "{stamp}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_read_by_a_reload_cuts_what_is_under_way_and_a_reload_without_one_does_not() {
    let house = plain_house().await;
    let slow = || Answer { after: Duration::from_secs(4), ..Answer::status(200) };
    let target = house.base("http", "plain.example") + "/cctv/cam1";
    for (policy, status, end) in [
        (plain("A-GC-1/2024"), 200, "answered"),
        (
            plain("A-GC-1/2024")
                + "orders:\n  - {authority: CNDP, ref: order-1, date: 2024-01-10, action: suspend, scope: 'recipient:ministry-p'}\n",
            403,
            "cut-order",
        ),
    ] {
        house.recipient("plain.example").answer_next(slow());
        let (before, client) = (house.decisions().len(), house.client(UPLOADER));
        let request = frame(target.clone());
        let sending = tokio::spawn(async move { client.send(request).await.expect("a reply") });
        let decision = house.until_decisions(before + 1).await.pop().expect("a decision");
        put_plain(&house, &policy).await;
        assert_eq!(sending.await.expect("sent").status, status);
        let outcome = house.outcome(decision["metadata"]["uid"].as_str().expect("an id")).await;
        assert_eq!(outcome["unmapped"]["transfer"]["end"], end, "{outcome:#}");
    }
    let refused = house.send(UPLOADER, frame(target)).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("suspended-by-order")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_recipients_show_are_watched() {
    let house = house().await;
    house.send(UPLOADER, frame_to(&house, "a.example")).await;
    let metrics = house.metrics().await;
    let ends =
        series(&metrics, "tasrih_recipient_certificate_not_after_timestamp_seconds", &["recipient=\"ministry-a\""]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(ends > now, "{ends}");
    assert_eq!(series(&metrics, "tasrih_recipient_certificate_changes_total", &["recipient=\"ministry-a\""]), 0);
    assert!(metrics.contains("tasrih_recipient_certificate_changes_total{recipient=\"ministry-b\"} 0"), "{metrics}");

    // The same destination with another key, as the dialer would tell of it.
    let corridor = house.running.corridor();
    let destination = Destination {
        scheme: Scheme::Https,
        host: Host::parse("a.example").expect("a host"),
        port: house.recipient("a.example").address.port(),
    };
    let tls = TlsFacts { version: TlsVersion::V1_3, sni: None, spki_sha256: Some([7; 32]) };
    let sooner = Timestamp::from_second(i64::try_from(now + 60).expect("a time")).expect("a time");
    let facts = ConnectionFacts {
        address: house.recipient("a.example").address,
        tls: Some(tls),
        country: None,
        certificate_ends: Some(sooner),
    };
    for _ in 0..2 {
        corridor.metrics.destination_showed(&corridor.register.load(), &destination, &facts);
    }
    let metrics = house.metrics().await;
    assert_eq!(
        series(&metrics, "tasrih_recipient_certificate_changes_total", &["recipient=\"ministry-a\""]),
        1,
        "once"
    );
    let name = "tasrih_recipient_certificate_not_after_timestamp_seconds";
    assert_eq!(series(&metrics, name, &["recipient=\"ministry-a\""]), now + 60);
}

/// Watches the policy folder of a house as `tasrih run` does, until the test is over. The folder is made, and empty.
fn watched(house: &House) -> PathBuf {
    let folder = house.folder.path().join("policies");
    std::fs::create_dir_all(&folder).expect("a folder");
    let reloader = Reloader::new(folder.clone(), Seen::of(&folder).expect("readable").expect("made"));
    let corridor = house.running.corridor().clone();
    tokio::spawn(async move {
        let mut watch = Watch::over(&reloader);
        loop {
            watch.changed(&reloader).await;
            let _ = reloader.reload(&corridor).await;
        }
    });
    folder
}

/// Waits until the log has so many of these.
async fn until(house: &House, code: &str, count: usize) -> Vec<Value> {
    for _ in 0..400 {
        let found = lifecycle(house, code);
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {count} records {code}: {:#?}", lifecycle(house, code));
}

/// Waits until readiness names this version: the record comes first, then the register is in force.
async fn in_force(house: &House, version: &Value) {
    for _ in 0..500 {
        if house.ready().await["register"] == *version {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{version} is not in force: {}", house.ready().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_put_in_place_of_another_takes_effect_by_itself() {
    let house = house().await;
    let folder = watched(&house);
    let both = ported(&house, &register(&[transfer('a', "A-GC-1/2023"), transfer('b', "A-GC-2/2023")]));
    // As editors save: copies beside it that are half written, then the whole file is put in its place.
    std::fs::write(folder.join(".register.yaml.swp"), &both[..both.len() / 2]).expect("written");
    std::fs::write(folder.join("4913"), "").expect("written");
    std::fs::write(folder.join("register.yaml~"), &both).expect("written");
    std::fs::rename(folder.join("register.yaml~"), folder.join("register.yaml")).expect("renamed");
    let loaded = until(&house, "register-loaded", 2).await;
    let origin = &loaded[1]["unmapped"]["transfer"]["origin"];
    assert_eq!(origin["file"], "register.yaml", "{origin:#}");
    assert!(origin["owner_uid"].is_u64(), "{origin:#}");
    in_force(&house, version_of(&loaded[1])).await;
    assert_eq!(house.ready().await["register_refused"], false);

    // An order in a file of its own stops what the other file permits.
    let order = "orders: [{authority: CNDP, ref: order-1, action: suspend, scope: everything}]";
    std::fs::write(folder.join("orders.yaml"), order).expect("written");
    let ordered = until(&house, "register-loaded", 3).await;
    in_force(&house, version_of(&ordered[2])).await;
    let refused = house.send(UPLOADER, frame_to(&house, "a.example")).await;
    assert_eq!((refused.status, refused.proxy_status("reason").as_deref()), (403, Some("suspended-by-order")));
    assert!(lifecycle(&house, "register-refused").is_empty(), "no half of a file was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_once_and_readiness_names_it_until_it_is_mended() {
    let house = house().await;
    let folder = watched(&house);
    let policy = ported(&house, &register(&[transfer('a', "A-GC-1/2023")]));
    std::fs::write(folder.join("register.yaml"), policy.replace("granted", "grnated")).expect("written");
    until(&house, "register-refused", 1).await;
    // Longer than several looks at the folder.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lifecycle(&house, "register-refused").len(), 1, "what was refused is not read until it changes");
    let ready = house.ready().await;
    assert_eq!(
        (&ready["ready"], &ready["register_refused"], &ready["register_faults"]),
        (&true.into(), &true.into(), &1.into())
    );
    assert_eq!(house.send(UPLOADER, frame_to(&house, "a.example")).await.status, 200, "the older one is in force");
    // A folder that is gone is being exchanged: nothing is read, and nothing taken out of force.
    let aside = folder.with_extension("aside");
    std::fs::rename(&folder, &aside).expect("renamed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.send(UPLOADER, frame_to(&house, "a.example")).await.status, 200);
    std::fs::write(aside.join("register.yaml"), policy.replace("A-GC-1", "A-GC-7")).expect("written");
    std::fs::rename(&aside, &folder).expect("renamed");
    until(&house, "register-loaded", 2).await;
    // The record comes first, then the register is in force.
    for _ in 0..500 {
        if house.ready().await["register_refused"] == false {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("readiness still names the refusal: {}", house.ready().await);
}

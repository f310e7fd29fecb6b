//! Room: for bodies that are held, and what one address may have of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::support::{FRAME, OFFICE, Plan, Site, UPLOADER, post, reason_of, series};
use super::{HOST, REGISTER, head, house, picture, says, sends_a_frame};

const EXPECT: &str = "expect: 100-continue\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_fit_now_is_not_asked_for() {
    let house = house(|limits| {
        limits.hold_memory = 1 << 10;
        (limits.hold, limits.held_total) = (FRAME.len() as u64, FRAME.len() as u64 * 2 - 1);
    })
    .await;
    let mut first = says(&house, head(&house, "/cctv/cam1", FRAME.len(), EXPECT)).await;
    assert_eq!(first.reply().await.expect("an interim reply").status, 100);

    let mut second = says(&house, head(&house, "/cctv/cam1", FRAME.len(), EXPECT)).await;
    let reply = second.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (503, Some("busy")), "and no 100 before");
    assert!(reply.field("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()));

    // One byte less fits beside the first.
    let mut third = says(&house, head(&house, "/cctv/cam1", FRAME.len() - 1, EXPECT)).await;
    assert_eq!(third.reply().await.expect("an interim reply").status, 100);
    let budget = &house.running.corridor().holding.budget;
    assert_eq!(budget.held(), budget.limit());
    drop(third);

    first.send(FRAME).await;
    assert_eq!(first.reply().await.expect("a reply").status, 200);
    let mut again = says(&house, head(&house, "/cctv/cam1", FRAME.len(), EXPECT)).await;
    assert_eq!(again.reply().await.expect("an interim reply").status, 100, "the room is free again");
    drop((first, again));
    until("all room is given back", || budget.held() == 0).await;
    let decisions = house.until_decisions(4).await;
    let mut reasons: Vec<_> = decisions.iter().map(reason_of).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["busy", "client-closed", "client-closed", "permit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_connections_and_no_more() {
    let house = house(|limits| limits.connections_per_source = 2).await;
    let (mut first, second) = (house.raw(UPLOADER).await, house.raw(UPLOADER).await);
    sends_a_frame(&house, &mut first).await;
    let mut third = house.raw(UPLOADER).await;
    assert!(third.rest().await.is_empty(), "it is closed at once");
    assert_eq!(series(&house.metrics().await, "tasrih_connections_refused_total", &["per-source"]), 1);
    assert_eq!(series(&house.metrics().await, "tasrih_peer_addresses", &[]), 1);
    let request = post(house.base("http", HOST) + "/cctv/cam1", "image/jpeg", FRAME);
    assert_eq!(house.send(OFFICE, request).await.status, 200, "another address has its own");
    sends_a_frame(&house, &mut first).await;
    drop(second);
    let open = || house.running.corridor().sources.enter(UPLOADER).is_some();
    until("a place of this address is free again", open).await;
    let mut fourth = house.raw(UPLOADER).await;
    sends_a_frame(&house, &mut fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_ask_so_often_and_no_more() {
    let house = house(|limits| limits.requests_per_source = std::num::NonZeroU32::new(1)).await;
    let get = head(&house, "/cctv/cam1", 0, "").replace("POST", "GET");
    let mut client = says(&house, get.repeat(20)).await;
    let mut told = Vec::new();
    for _ in 0..20 {
        let reply = client.reply().await.expect("a reply");
        if reply.status == 503 {
            assert_eq!(reply.field("retry-after").as_deref(), Some("1"));
        }
        told.push((reply.status, reply.proxy_status("reason").expect("a reason")));
    }
    assert_eq!(told[0], (403, "method-not-declared".to_owned()));
    let busy = told.iter().filter(|(status, reason)| *status == 503 && reason == "busy").count();
    assert!(busy >= 10, "{told:?}");
    let request = post(house.base("http", HOST) + "/cctv/cam1", "image/jpeg", FRAME);
    assert_eq!(house.send(OFFICE, request).await.status, 200, "another address has its own");

    // With a body: it is not asked for.
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let mut client = says(&house, head(&house, "/cctv/cam1", FRAME.len(), EXPECT)).await;
        statuses.push(client.reply().await.expect("a reply").status);
    }
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cache_and_queue_shows_its_size_and_its_limit() {
    let house = house(|_| ()).await;
    let mut client = house.raw(UPLOADER).await;
    sends_a_frame(&house, &mut client).await;
    let get = head(&house, "/cctv/cam1", 0, "").replace("POST", "GET");
    client.send(get).await;
    assert_eq!(client.reply().await.expect("a reply").status, 403);
    let scrape = house.metrics().await;
    // What is open now: a client of one address, a connection to the recipient, a kind of denial.
    for (size, limit, least) in [
        ("tasrih_connections_open", "tasrih_connections_limit", 1),
        ("tasrih_peer_addresses", "tasrih_peer_addresses_limit", 1),
        ("tasrih_idle_connections", "tasrih_idle_connections_limit", 1),
        ("tasrih_folded_kinds", "tasrih_folded_kinds_limit", 1),
        ("tasrih_held_bytes", "tasrih_held_limit_bytes", 0),
        ("tasrih_spool_jobs", "tasrih_spool_jobs_limit", 0),
        ("tasrih_record_queue_length", "tasrih_record_queue_limit", 0),
        ("tasrih_leaf_cache_entries", "tasrih_leaf_cache_limit", 0),
        ("tasrih_resolver_questions", "tasrih_resolver_questions_limit", 0),
        ("process_open_fds", "process_max_fds", 1),
    ] {
        let (taken, most) = (series(&scrape, size, &[]), series(&scrape, limit, &[]));
        assert!((least..=most).contains(&taken) && most > 0, "{size} is {taken}, {limit} is {most}");
    }
}

/// A small file system over a folder, for as long as this value lives.
struct Small(PathBuf);

impl Small {
    /// `None` where this machine does not let us mount.
    fn mount(folder: &Path, size: &str) -> Option<Small> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Small(folder.to_owned())),
            Ok(output) => {
                println!("skipped, cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(fault) => {
                println!("skipped, no mount command: {fault}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_disk_refuses_and_shortens_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().join("state/spool");
    std::fs::create_dir_all(&spool).expect("a folder");
    let Some(_small) = Small::mount(&spool, "1m") else { return };
    std::fs::set_permissions(folder.path().join("state"), std::fs::Permissions::from_mode(0o700)).expect("ours");
    let plan = Plan::new(REGISTER).site(HOST, Site::Plain).on(folder);
    let house = plan.settings(|settings| settings.limits.hold_memory = 64 << 10).build().await;
    const FITS: usize = 512 << 10;

    // Announced: refused before it is asked for.
    let mut client = says(&house, head(&house, "/cctv/cam1", 2 << 20, EXPECT)).await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (503, Some("busy")));
    assert!(String::from_utf8_lossy(&reply.body).contains("the spool cannot take the body"));

    // Not announced: refused where the disk is full.
    let chunked = head(&house, "/cctv/cam1", 0, "").replace("content-length: 0", "transfer-encoding: chunked");
    let mut client = says(&house, chunked).await;
    for part in picture(2 << 20).chunks(64 << 10) {
        client.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).await;
    }
    client.send("0\r\n\r\n").await;
    let reply = client.reply().await.expect("a reply");
    assert_eq!((reply.status, reply.proxy_status("reason").as_deref()), (503, Some("busy")));
    assert!(reply.field("retry-after").is_some());

    // What fits passes, whole.
    let mut client = says(&house, head(&house, "/cctv/cam1", FITS, "")).await;
    client.send(picture(FITS)).await;
    assert_eq!(client.reply().await.expect("a reply").status, 200);
    let received = house.recipient(HOST).requests();
    assert!(received.len() == 1 && received[0].body == picture(FITS), "nothing else left, and nothing was cut off");
    assert_eq!(series(&house.metrics().await, "tasrih_spool_failures_total", &[]), 2);
    assert_eq!(house.decisions().iter().map(reason_of).collect::<Vec<_>>(), ["busy", "busy", "permit"]);
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain waited until {what}");
}

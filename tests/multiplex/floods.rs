//! Clients of HTTP/2 that want too much: they lose their connection, and nobody else anything.

use std::time::Duration;

use super::support::streams::{END_HEADERS, Streams, block, frame, headers, preface, tunnel};
use super::support::wire::Raw;
use super::support::{House, OFFICE, UPLOADER, reason_of};
use super::{HOST, frame_to, house, plan};

fn asking(house: &House) -> Vec<(&'static str, String)> {
    let authority = format!("{HOST}:{}", house.port(HOST));
    vec![
        (":method", "POST".to_owned()),
        (":scheme", "https".to_owned()),
        (":authority", authority),
        (":path", "/cctv/x".to_owned()),
        ("content-type", "image/jpeg".to_owned()),
    ]
}

fn head(house: &House, flags: u8, stream: u32) -> Vec<u8> {
    let fields = asking(house);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers(flags, stream, &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rapid_reset_ends_the_connection_and_leaves_others_served() {
    let house = house().await;
    let bystander = Streams::open(&house, OFFICE, HOST).await;
    let mut flood = preface();
    for stream in (1..40_000).step_by(2) {
        flood.extend(head(&house, END_HEADERS, stream));
        flood.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut client = Raw::new(tunnel(&house, UPLOADER, HOST).await);
    let flooding = tokio::spawn(async move {
        for piece in flood.chunks(16 << 10) {
            client.send(piece).await;
        }
        client.rest().await
    });
    for _ in 0..5 {
        assert_eq!(bystander.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    }
    // It ends with GOAWAY, which may be lost where the kernel resets a connection with bytes that nobody read.
    flooding.await.expect("a task");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = house.decisions().iter().filter(|record| reason_of(record) == "client-closed").count();
    assert!(ended < 500, "{ended} records of 20,000 resets");
    assert_eq!(bystander.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    assert_eq!(house.recipient(HOST).requests().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_that_come_one_by_one_are_a_flood_too_where_nothing_else_comes() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let mut begun = 0;
    while begun < 1_000 && !client.driver.is_finished() {
        let Some((_answer, mut stream)) = client.try_begin(frame_to(&house, HOST, "/cctv/cam1")).await else { break };
        begun += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.send_reset(h2::Reason::CANCEL);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((100..1_000).contains(&begun), "the connection ended after {begun} resets");
    let bystander = Streams::open(&house, OFFICE, HOST).await;
    assert_eq!(bystander.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    assert_eq!(house.recipient(HOST).requests().len(), 1, "nothing of what was given up has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn some_resets_are_no_flood() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    for _ in 0..90 {
        let head = http::Request::from_parts(frame_to(&house, HOST, "/cctv/cam1").into_parts().0, ());
        let (_answer, mut stream) = client.begin(head, false).await;
        stream.send_reset(h2::Reason::CANCEL);
    }
    assert_eq!(client.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_small_frames_end_the_connection() {
    let house = house().await;
    let bystander = Streams::open(&house, OFFICE, HOST).await;
    let begun = head(&house, END_HEADERS, 1);
    let floods = [
        // Never ending blocks of fields.
        [head(&house, 0, 1), frame(9, 0, 1, &block(&[("x", "y")])).repeat(50_000)].concat(),
        // Data without a byte in them.
        [begun, frame(0, 0, 1, &[]).repeat(50_000)].concat(),
    ];
    for flood in floods {
        let before = house.decisions().len();
        let mut client = Raw::new(tunnel(&house, UPLOADER, HOST).await);
        client.send([preface(), flood].concat()).await;
        client.rest().await;
        house.until_decisions(before + 1).await;
        assert_eq!(bystander.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    }
    assert_eq!(house.recipient(HOST).requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_are_not_heaped_up() {
    let house = house().await;
    let mut client = Raw::new(tunnel(&house, UPLOADER, HOST).await);
    client.send(preface()).await;
    // Nobody reads what they are answered with: the proxy stops reading instead of keeping answers.
    let pings = frame(6, 0, 0, &[0; 8]).repeat(10_000);
    let settings = frame(4, 0, 0, &[]).repeat(10_000);
    let sending = async {
        loop {
            client.send(&pings).await;
            client.send(&settings).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), sending).await.is_err());
    let bystander = Streams::open(&house, OFFICE, HOST).await;
    assert_eq!(bystander.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_must_end_in_time_and_a_connection_may_rest() {
    let house = plan()
        .place("h2.example", std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
        .settings(|settings| settings.limits.header_time = Duration::from_millis(500))
        .build()
        .await;
    let resting = Streams::open(&house, UPLOADER, HOST).await;
    assert_eq!(resting.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    let mut slow = Raw::new(tunnel(&house, UPLOADER, HOST).await);
    slow.send([preface(), head(&house, 0, 1)].concat()).await;
    slow.rest().await;
    let decisions = house.until_decisions(2).await;
    assert_eq!(decisions.iter().map(reason_of).collect::<Vec<_>>(), ["permit", "client-timeout"]);
    assert_eq!(resting.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200, "resting is no slow head");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_streams_is_told_to_go() {
    let house = plan()
        .place("h2.example", std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
        .settings(|settings| settings.limits.idle = Duration::from_millis(600))
        .build()
        .await;
    let resting = Streams::open(&house, UPLOADER, HOST).await;
    assert_eq!(resting.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(10), resting.driver).await.expect("an end").expect("a task");
    assert!(ended.is_ok(), "GOAWAY, and no fault: {ended:?}");
    assert_eq!(house.decisions().len(), 1);
    // One that asked for nothing at all is one record, as over HTTP/1.1.
    let silent = Streams::open(&house, UPLOADER, HOST).await;
    let _ = tokio::time::timeout(Duration::from_secs(10), silent.driver).await.expect("an end");
    let decisions = house.until_decisions(2).await;
    assert_eq!(reason_of(&decisions[1]), "client-closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_as_they_are_over_http1() {
    let house = house().await;
    let client = Streams::open(&house, UPLOADER, HOST).await;
    let mut large = frame_to(&house, HOST, "/cctv/cam1");
    for field in 0..20 {
        let name: http::HeaderName = format!("x-{field}").parse().expect("a name");
        large.headers_mut().insert(name, "y".repeat(5_000).parse().expect("a value"));
    }
    let mut many = frame_to(&house, HOST, "/cctv/cam1");
    for field in 0..150 {
        let name: http::HeaderName = format!("x-{field}").parse().expect("a name");
        many.headers_mut().insert(name, "y".parse().expect("a value"));
    }
    for (what, request) in [("large", large), ("many", many)] {
        let before = house.decisions().len();
        let told = client.try_send(request).await;
        assert!(told.is_err() || told.is_ok_and(|answer| answer.status == 431), "{what}");
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(decisions[before..].iter().map(reason_of).collect::<Vec<_>>(), ["malformed-request"], "{what}");
    }
    assert_eq!(client.send(frame_to(&house, HOST, "/cctv/cam1")).await.status, 200, "the near miss");
}

//! Figures that follow from what happened, read as Prometheus reads them.

use tasrih::demo::recipient::Answer;

use super::support::{House, OFFICE, STRANGER, UPLOADER, frame, get};
use super::traffic::{self, MINISTRY, UNDECLARED};

/// The value of one series; `name` with its labels in alphabetical order, as served.
async fn value(house: &House, name: &str) -> f64 {
    let metrics = house.metrics().await;
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legal_upload_that_fails_is_counted_until_one_succeeds() {
    let house = traffic::house_without_interval().await;
    let in_row = "tasrih_transfer_failures_in_row{transfer=\"cctv-to-ministry-a\"}";
    let upload = format!("{}/cctv/entrance", house.base("https", MINISTRY));
    for failures in 1..=3_u8 {
        house.recipient(MINISTRY).answer_next(Answer::status(500));
        let reply = house.send(UPLOADER, frame(upload.clone())).await;
        house.outcome(&newest_record(&house).await).await;
        assert_eq!((reply.status, value(&house, in_row).await), (500, f64::from(failures)));
    }
    // A refusal counts as well, an attempt that concerns no transfer does not.
    house.send(UPLOADER, get(upload.clone())).await;
    house.send(UPLOADER, get(format!("{}/", house.base("https", UNDECLARED)))).await;
    house.send(STRANGER, get(upload.clone())).await;
    assert_eq!(value(&house, in_row).await, 4.0);
    let reply = house.send(UPLOADER, frame(upload)).await;
    house.outcome(&newest_record(&house).await).await;
    assert_eq!((reply.status, value(&house, in_row).await), (200, 0.0));
    assert_eq!(value(&house, "tasrih_exchange_seconds_count{carriage=\"request\"}").await, 4.0);
    assert_eq!(value(&house, "tasrih_decision_seconds_count{stage=\"body\"}").await, 4.0);
    assert!(value(&house, "tasrih_record_commit_seconds_count").await >= 7.0);
    house.stop().await;
}

/// Id of the newest decision.
async fn newest_record(house: &House) -> String {
    let decisions = house.decisions();
    decisions.last().expect("a decision")["metadata"]["uid"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_and_bounds_are_shown_from_the_start() {
    let house = traffic::house().await;
    // Validity ends with the day, where the controller is.
    let ends = jiff::civil::date(2099, 2, 21).in_tz("Africa/Casablanca").expect("a zone").timestamp();
    for (name, expected) in [
        ("tasrih_filing_valid_until_timestamp_seconds{transfer=\"cctv-to-ministry-a\"}", ends.as_second() as f64),
        ("tasrih_transfer_period_seconds{transfer=\"cctv-to-ministry-a\"}", 1.0),
        ("tasrih_transfer_in_force{transfer=\"cctv-to-ministry-a\"}", 1.0),
        ("tasrih_transfer_in_force{transfer=\"cctv-to-ministry-b\"}", 0.0),
        ("tasrih_transfer_in_force{transfer=\"cctv-to-ministry-c\"}", 0.0),
        ("tasrih_orders_in_force", 1.0),
        ("tasrih_observe_in_force{scope=\"source\"}", 1.0),
        ("tasrih_observe_in_force{scope=\"register\"}", 0.0),
        ("tasrih_declarations{kind=\"transfer\"}", 3.0),
        ("tasrih_record_available", 1.0),
        ("tasrih_record_fault{cause=\"latched-eio\"}", 0.0),
    ] {
        assert_eq!(value(&house, name).await, expected, "{name}");
    }
    for name in [
        "tasrih_connections_limit",
        "tasrih_idle_connections_limit",
        "tasrih_state_free_bytes",
        "tasrih_record_durable_timestamp_seconds",
        "tasrih_interception_authority_not_after_timestamp_seconds",
        "tasrih_held_limit_bytes",
        "tasrih_leaf_cache_limit",
        "tasrih_record_queue_limit",
    ] {
        assert!(value(&house, name).await > 0.0, "{name}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_end_a_silence() {
    let house = traffic::house_without_interval().await;
    let last = "tasrih_transfer_last_exchange_timestamp_seconds{transfer=\"cctv-to-ministry-a\"}";
    let reply = house.send(UPLOADER, frame(format!("{}/cctv/entrance", house.base("https", MINISTRY)))).await;
    assert_eq!(reply.status, 200);
    let before = value(&house, last).await;
    let folder = house.stop().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let house = traffic::plan_without_interval().on(folder).build().await;
    assert_eq!(value(&house, last).await, before);
    assert!(value(&house, "tasrih_register_loaded_timestamp_seconds").await > before);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_unread_is_counted() {
    let house = traffic::house().await;
    let client = traffic::updater(&house);
    client.send(get(traffic::update(&house))).await.expect("a reply");
    assert_eq!(value(&house, "tasrih_not_inspected_total{carriage=\"tunnel\"}").await, 1.0);
    // What observe lets through is not read to its end, and says so.
    let body = "not a picture";
    let post = super::support::post(format!("{}/", house.base("https", UNDECLARED)), "image/jpeg", body);
    assert_eq!(house.send(OFFICE, post).await.status, 200);
    assert_eq!(value(&house, "tasrih_not_inspected_total{carriage=\"request\"}").await, 1.0);
    house.stop().await;
}

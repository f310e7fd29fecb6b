//! What operators look at: every metric is described, every panel and alert has something to show.
//!
//! `figures` looks at single numbers, `dashboards` reads the Grafana files, `prometheus` runs Debian's Prometheus. The last test puts both together with a
//! proxy under traffic: each query of each panel and rule must give a number.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod support;

#[path = "observability/dashboards.rs"]
mod dashboards;
#[path = "observability/figures.rs"]
mod figures;
#[path = "observability/prometheus.rs"]
mod prometheus;
#[path = "observability/traffic.rs"]
mod traffic;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dashboards::Query;
use prometheus::{Prometheus, promtool};

/// How long numbers are waited for.
const PATIENCE: Duration = Duration::from_secs(45);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|fault| panic!("dashboards/{name}: {fault}"))
}

/// The names of all alerts, in the order of the file.
fn alerts() -> Vec<String> {
    let rules = read("alerts.yaml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned)).collect()
}

#[test]
fn the_reference_is_what_the_code_says() {
    let page = tasrih::metrics::reference::page();
    if std::env::var_os("TASRIH_WRITE").is_some() {
        fs::write(folder().join("METRICS.md"), &page).expect("the page is written");
    }
    assert!(
        read("METRICS.md") == page,
        "dashboards/METRICS.md is not what the code says; write it again with \
         `TASRIH_WRITE=1 cargo test --release --test observability the_reference`"
    );
}

#[test]
fn every_dashboard_keeps_the_conventions() {
    let faults: Vec<String> = dashboards::all().iter().flat_map(dashboards::faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_metric_that_is_named_exists() {
    let known: BTreeSet<String> = tasrih::metrics::reference::names().into_iter().collect();
    let dashboards = dashboards::all();
    let texts = dashboards.iter().flat_map(dashboards::queries).map(|query| query.expression);
    for text in texts.chain([read("alerts.yaml"), read("alerts_test.yaml")]) {
        for name in metrics_in(&text) {
            assert!(known.contains(&name), "there is no metric `{name}`, named in\n{text}");
        }
    }
}

/// Words that can only be metrics of ours: a recorded level (`job:tasrih_…`) is none.
fn metrics_in(text: &str) -> impl Iterator<Item = String> {
    let of_metric = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':' | '.');
    text.split(move |character| !of_metric(character))
        .filter(|word| word.starts_with("tasrih_") || word.starts_with("process_"))
        .map(|word| word.trim_end_matches(['.', ':']).to_owned())
}

#[test]
fn alerts_are_well_formed_and_say_what_to_do() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &[folder().join("alerts.yaml")], "");
    let rules = read("alerts.yaml");
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        for wanted in ["severity:", "summary:", "description:", "runbook:"] {
            assert!(alert.contains(wanted), "{name} has no {wanted}");
        }
    }
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let cases = read("alerts_test.yaml");
    for alert in alerts() {
        assert!(cases.contains(&format!("name: {alert} fires")), "no case in which {alert} fires");
        assert!(cases.contains(&format!("name: \"{alert} is silent: ")), "no case in which {alert} is silent");
    }
    promtool(&["test", "rules"], &[folder().join("alerts_test.yaml")], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_panels_and_rules_gives_a_number() {
    let house = traffic::house().await;
    let metrics = house.metrics().await;
    let (_, body) = metrics.split_once("\r\n\r\n").expect("a body");
    promtool(&["check", "metrics"], &[], body);

    let prometheus = Prometheus::start(house.running.admin, &folder().join("alerts.yaml"));
    let traffic = traffic::Traffic::start(&house);
    let until = Instant::now() + PATIENCE;
    let mut waiting: Vec<Query> = dashboards::all().iter().flat_map(dashboards::queries).collect();
    waiting.extend(prometheus.rules(until).await);
    let (all, mut last) = (waiting.len(), String::new());
    while !waiting.is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut empty = Vec::new();
        for query in waiting {
            match prometheus.number(&query.expression).await {
                Ok(()) => {}
                Err(why) => {
                    last = why;
                    empty.push(query);
                }
            }
        }
        waiting = empty;
    }
    traffic.stop().await;
    let left: Vec<String> = waiting.iter().map(|query| format!("{}: {}", query.place, query.expression)).collect();
    assert!(left.is_empty(), "{} of {all} queries have no number ({last}):\n{}", left.len(), left.join("\n"));
    println!("{all} queries have numbers");
    house.stop().await;
}

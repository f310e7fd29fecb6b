//! Clients that do not trust the interception authority: how many handshakes they ended since the proxy started, as its
//! metrics count them, and who they are, as its records tell.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::Line;
use crate::audit;
use crate::config::Settings;
use crate::tls::AcceptFault;

/// Most clients that are listed, those that were last seen first.
const LISTED: usize = 10;

/// One client, by what a handshake of its left on record.
#[derive(Debug, PartialEq, Eq)]
struct Client {
    last: Timestamp,
    times: u64,
    alert: String,
}

/// The line on distrust, from a scrape of the running proxy.
pub(super) fn distrust(settings: &Settings, metrics: &str) -> Line {
    let certificate = settings.interception.certificate.display();
    let count: f64 = values(metrics, "tasrih_client_distrust_total").map(|(_, value)| value).sum();
    if count == 0.0 {
        return Line::ok("distrust", format!("no client has refused {certificate} since the start"));
    }
    let since = values(metrics, "process_start_time_seconds").next().map_or(0.0, |(_, value)| value);
    // A record's time is decided on a clock of milliseconds, the process's start is told in whole seconds.
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970, without their fraction")]
    let clients = clients(&settings.state, Timestamp::from_second(since as i64).unwrap_or(Timestamp::MIN));
    let by_source: Vec<String> = values(metrics, "tasrih_client_distrust_total")
        .filter(|(_, count)| *count > 0.0)
        .map(|(labels, count)| format!("{} {count}", labels.split('"').nth(1).unwrap_or_default()))
        .collect();
    let found = format!(
        "{count} handshakes ended since the start because a client does not trust {certificate} ({}){}",
        by_source.join(", "),
        listed(&clients)
    );
    let remedy = "install it there (`tasrih ca export`); for a program that accepts no other certificate than its \
                  recipient's, write `interception: never` on the destination";
    Line::warning("distrust", found, remedy)
}

/// The values of a metric, each with its labels as written.
fn values<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}

/// Who refused the authority's certificate since then: source and address, by the newest records.
fn clients(state: &Path, since: Timestamp) -> BTreeMap<(String, String), Client> {
    let mut clients = BTreeMap::new();
    let Ok(records) = audit::read_newest(state) else { return clients };
    let json = records.map_while(Result::ok).filter_map(|record| serde_json::from_slice::<Value>(&record).ok());
    for record in json {
        let ours = &record["unmapped"]["transfer"];
        let Some(alert) = ours["client_alert"].as_str().filter(|alert| AcceptFault::tells_distrust(alert)) else {
            continue;
        };
        let time = record["time"].as_i64().and_then(|time| Timestamp::from_millisecond(time).ok());
        let Some(last) = time.filter(|time| *time >= since) else { continue };
        let source = ours["source"].as_str().unwrap_or("unknown").to_owned();
        let address = record["src_endpoint"]["ip"].as_str().unwrap_or_default().to_owned();
        let times = record["count"].as_u64().unwrap_or(1);
        let client = clients.entry((source, address)).or_insert(Client { last, times: 0, alert: String::new() });
        *client = Client { last, times: client.times + times, alert: alert.to_owned() };
    }
    clients
}

fn listed(clients: &BTreeMap<(String, String), Client>) -> String {
    let mut newest: Vec<_> = clients.iter().collect();
    newest.sort_by_key(|(_, client)| std::cmp::Reverse(client.last));
    let shown = newest.iter().take(LISTED).map(|((source, address), client)| {
        let last = client.last.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!("{source} at {address}, {} ×{}, last {last}", client.alert, client.times)
    });
    let shown: Vec<String> = shown.collect();
    match (shown.is_empty(), newest.len().saturating_sub(LISTED)) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", shown.join("; ")),
        (false, more) => format!(": {}; and {more} more", shown.join("; ")),
    }
}

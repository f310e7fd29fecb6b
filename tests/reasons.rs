//! Every reason of DESIGN §5 over the wire: once refused, and once with the smallest change that makes it pass.
//!
//! One check looks at all sides of each attempt: what the client was told, what the recipients received, what stands on
//! record, and what was counted. The table is in `reasons/table.rs`.

mod support;

#[path = "reasons/world.rs"]
mod world;

#[path = "reasons/table.rs"]
mod table;

#[path = "reasons/acts.rs"]
mod acts;

use std::collections::BTreeSet;

use std::sync::Arc;

use support::flaky::Flaky;
use support::{FRAME, Plan, Site, UPLOADER, frame, reason_of, series};
use tasrih::policy::Reason;
use world::World;

/// Reasons that nothing can be refused for in this build, with what is missing for them.
const NOT_REACHABLE: [(Reason, &str); 1] =
    [(Reason::CountryMismatch, "nothing looks up the country of an address yet (`geo.rs`)")];

#[test]
fn every_reason_is_in_the_table_or_named_as_unreachable() {
    let table: BTreeSet<Reason> = table::cases().iter().map(|case| case.reason).collect();
    let unreachable: BTreeSet<Reason> = NOT_REACHABLE.iter().map(|(reason, _)| *reason).collect();
    assert!(table.is_disjoint(&unreachable), "a reason is both");
    let all: BTreeSet<Reason> = Reason::ALL.into_iter().collect();
    let covered: BTreeSet<Reason> = table.union(&unreachable).copied().collect();
    let missing: Vec<_> = all.difference(&covered).collect();
    assert!(missing.is_empty(), "neither in the table nor named as unreachable: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_refused_once_and_near_missed_once() {
    let mut failed = Vec::new();
    let mut cases = table::cases().into_iter();
    loop {
        // A few at a time: each has a proxy and recipients of its own.
        let batch: Vec<_> = cases.by_ref().take(8).map(|case| (case.name(), tokio::spawn(check(case)))).collect();
        if batch.is_empty() {
            break;
        }
        for (name, checked) in batch {
            if let Err(fault) = checked.await {
                failed.push(format!("{name}: {}", told(fault)));
            }
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

fn told(fault: tokio::task::JoinError) -> String {
    let payload = fault.into_panic();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What can be seen of a proxy at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    decisions: usize,
    counted: u64,
    counted_as: u64,
    permitted: u64,
    bytes: u64,
    requests: usize,
}

impl Sight {
    async fn of(world: &World, reason: Reason) -> Sight {
        let scrape = world.house.metrics().await;
        let count = |parts: &[&str]| series(&scrape, "tasrih_decisions_total", parts);
        let recipients = world.house.recipients.values();
        Sight {
            decisions: world.house.decisions().len(),
            counted: count(&[]),
            counted_as: count(&["decision=\"denial\"", &format!("reason=\"{reason}\"")]),
            permitted: count(&["decision=\"permit\""]),
            bytes: recipients.clone().map(|recipient| recipient.bytes()).sum(),
            requests: recipients.map(|recipient| recipient.requests().len()).sum(),
        }
    }
}

async fn check(case: table::Case) {
    let world = World::build(&case, case.register).await;
    if let Some(before) = &case.before {
        let told = before(&world).await;
        assert_eq!(told.status, Some(200), "what comes before: {told:?}");
    }
    refused(&world, &case).await;
    match case.near {
        None => passes(&world, &case).await,
        Some(register) => {
            let near = World::build(&case, register).await;
            passes(&near, &case).await;
        }
    }
    let decisions = world.house.decisions();
    let scrape = world.house.metrics().await;
    let counted = series(&scrape, "tasrih_decisions_total", &[]);
    assert_eq!((decisions.len() + case.unrecorded) as u64, counted, "records and counters agree");
}

async fn refused(world: &World, case: &table::Case) {
    let reason = case.reason;
    let before = Sight::of(world, reason).await;
    let told = (case.refused)(world).await;
    let recorded = 1 - case.unrecorded;
    let decisions = world.house.until_decisions(before.decisions + recorded).await;
    world.house.until_counted(before.counted + 1).await;
    let after = Sight::of(world, reason).await;
    let shown = decisions[before.decisions..].iter().map(reason_of).collect::<Vec<_>>();
    let expected = Sight {
        decisions: before.decisions + recorded,
        counted: before.counted + 1,
        counted_as: before.counted_as + 1,
        ..before.clone()
    };
    assert_eq!(after, expected, "after {told:?}, on record: {shown:?}");
    assert_eq!(told.status, case.status, "the status that the client saw: {told:?}");
    if told.status.is_some() && case.is_told {
        assert_eq!(told.reason.as_deref(), Some(reason.as_str()), "the reason that the client saw");
    }
    if let Some(record) = decisions.get(before.decisions) {
        assert_eq!(reason_of(record), reason.as_str(), "{record:#}");
        assert_eq!(record["unmapped"]["transfer"]["decision"], "denial");
        if told.status.is_some() && case.is_told {
            assert_eq!(told.record.as_deref(), record["metadata"]["uid"].as_str(), "the record that the client saw");
            let status = record["status_code"].as_str().map(str::to_owned);
            let status = status.or_else(|| record["http_response"]["code"].as_u64().map(|code| code.to_string()));
            assert_eq!(status, told.status.map(|status| status.to_string()), "{record:#}");
        }
    }
}

async fn passes(world: &World, case: &table::Case) {
    let before = Sight::of(world, case.reason).await;
    let told = (case.passes)(world).await;
    assert_eq!(told.status, Some(200), "the near miss: {told:?}");
    world.house.until_decisions(before.decisions + 1).await;
    world.house.until_counted(before.counted + 1).await;
    let after = Sight::of(world, case.reason).await;
    let steps =
        (after.decisions - before.decisions, after.counted - before.counted, after.permitted - before.permitted);
    assert_eq!(steps, (1, 1, 1), "one permit, on record and counted");
    assert_eq!(after.requests - before.requests, 1, "the near miss reached its recipient");
    if case.passes_frame {
        let requests: Vec<_> = world.house.recipients.values().flat_map(|recipient| recipient.requests()).collect();
        assert!(requests.iter().any(|request| request.body == FRAME), "the frame arrived whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_stops_everything_until_restart() {
    let flaky = Arc::new(Flaky::default());
    let folder = flaky.clone();
    let register = "schema: tasrih/1\ncontroller: {name: C, country: MA, time_zone: Africa/Casablanca}\nsources: [{id: camera, \
                    networks: [127.0.0.5/32]}]\nallowances: [{id: a, from: [camera], to: [{host: plain.example, scheme: http, \
                    port: {port:plain.example}}]}]\n";
    let plan = Plan::new(register).site("plain.example", Site::Plain).storage(flaky.clone());
    let house = plan.settings(move |settings| folder.lie_in(&settings.state)).build().await;
    let target = house.base("http", "plain.example") + "/";
    assert_eq!(house.send(UPLOADER, support::get(&target)).await.status, 200);
    flaky.no_sync();
    let bytes = house.recipient("plain.example").bytes();
    for round in 0..3 {
        let request = if round == 1 { frame(&target) } else { support::get(&target) };
        let reply = house.send(UPLOADER, request).await;
        let told = (reply.status, reply.proxy_status("reason"));
        assert_eq!(told, (503, Some("record-unavailable".to_owned())), "{round}: {reply:?}");
    }
    assert_eq!(house.recipient("plain.example").bytes(), bytes, "nothing leaves without a record");
    let counted = series(&house.metrics().await, "tasrih_decisions_total", &["decision=\"denial\""]);
    assert_eq!(counted, 3);
}

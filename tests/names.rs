//! Names, resolved by servers that the configuration names: what is asked and what is not, over which transport, what is
//! kept, and which answers are refused. All name servers are of these tests, on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "names/service.rs"]
mod service;
mod support;

use std::time::Duration;

use service::{Says, Service, addresses};
use support::{FRAME, House, Plan, STRANGER, Site, UPLOADER, frame, get, reason_of, series};
use tasrih::config::{NameServer, Resolver};
use tasrih::destination::{Host, HostName};
use tasrih::tls::recipient::{Issuing, Versions};
use tasrih::tls::{Root, Trust};
use tasrih::upstream::{NameServers, Resolve as _, ResolveFault};

const NAME: &str = "intake.example";

const REGISTER: &str = "\
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca, dpo: dpo@visa-centre.example}
processing:
  - {id: cctv, label: {en: CCTV}, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], data_subjects: [dpv:Visitor],
     receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: 2022-05-10}}
sources:
  - {id: cctv-uploader, label: {en: cameras}, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: office, label: {en: office}, networks: [127.0.0.6/32]}
recipients:
  - {id: ministry, name: Ministry, country: FR, destinations: [{host: intake.example, port: {port:intake.example}}]}
transfers:
  - {id: frames, processing: cctv, from: [cctv-uploader], to: ministry, regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43},
     purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame],
     filing: {authority: CNDP, form: F118, ref: A-GC-1/2023, status: granted, valid_from: 2023-02-21}}
";

/// A house with a recipient at [`NAME`] that only these servers know.
async fn house(servers: Vec<NameServer>) -> House {
    let plan = Plan::new(REGISTER).site(NAME, Site::Tls);
    let change = |settings: &mut tasrih::config::Settings| {
        settings.upstream.hosts.clear();
        settings.upstream.resolver = Resolver::Servers(servers);
        settings.limits.resolve_time = Duration::from_secs(2);
    };
    plan.settings(change).build().await
}

fn both(name: &str, transport: &str) -> Vec<String> {
    vec![format!("{name}. A {transport}"), format!("{name}. AAAA {transport}")]
}

fn name() -> HostName {
    HostName::parse(NAME).expect("a name")
}

fn asking(servers: Vec<NameServer>) -> NameServers {
    let trust = Trust::new(&[]).expect("no roots are needed");
    NameServers::new(&servers, Duration::from_secs(10), &trust).expect("servers")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_declared_names_are_asked_for_and_only_when_their_head_is_admitted() {
    let service = Service::saying(addresses(&["127.0.0.1"], 0)).await;
    let house = house(vec![service.plain()]).await;
    let declared = house.base("https", NAME);
    for (from, request, reason) in [
        (UPLOADER, frame("https://undeclared.example/"), "no-declaration"),
        (UPLOADER, frame("http://www.intake.example/"), "no-declaration"),
        (UPLOADER, frame(format!("https://{NAME}:1/")), "port-not-declared"),
        (STRANGER, frame(format!("{declared}/")), "source-unknown"),
        (support::OFFICE, frame(format!("{declared}/")), "source-not-declared"),
    ] {
        let told = house.client(from).send(request).await;
        drop(told);
        let decisions = house.decisions();
        assert_eq!(decisions.last().map(reason_of), Some(reason));
    }
    assert_eq!(service.asked(), Vec::<String>::new());

    let reply = house.send(UPLOADER, frame(format!("{declared}/"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(service.asked(), both(NAME, "udp"), "the name itself, with no domain searched");
    assert_eq!(house.recipient(NAME).requests()[0].body, FRAME);
    assert_eq!(series(&house.metrics().await, "tasrih_resolved_total", &["answered"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_nobody_may_dial_refuses_the_whole_answer() {
    for (answer, decision) in [
        (&["127.0.0.1", "10.9.9.9"][..], "address-refused"),
        (&["10.9.9.9", "127.0.0.1"], "address-refused"),
        (&["fd00::7", "127.0.0.1"], "address-refused"),
        (&["127.0.0.1", "127.0.0.2"], ""),
    ] {
        let service = Service::saying(addresses(answer, 60)).await;
        let house = house(vec![service.plain()]).await;
        let reply = house.send(UPLOADER, frame(house.base("https", NAME))).await;
        let decisions = house.until_decisions(1).await;
        assert_eq!(reason_of(&decisions[0]), if decision.is_empty() { "permit" } else { decision }, "{answer:?}");
        assert_eq!(reply.status == 200, decision.is_empty(), "{answer:?}");
        assert_eq!(house.recipient(NAME).requests().len(), usize::from(decision.is_empty()), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_of_aliases_is_on_record() {
    let says = Says::Addresses {
        addresses: vec!["127.0.0.1".parse().unwrap()],
        ttl: 60,
        aliases: vec!["Edge.cdn.example.", "pop-7.cdn.example."],
    };
    let service = Service::saying(says).await;
    let house = house(vec![service.plain()]).await;
    assert_eq!(house.send(UPLOADER, frame(house.base("https", NAME))).await.status, 200);
    let decisions = house.until_decisions(1).await;
    let aliases = &decisions[0]["unmapped"]["transfer"]["aliases"];
    assert_eq!(*aliases, serde_json::json!(["edge.cdn.example", "pop-7.cdn.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_is_fetched_over_tcp() {
    let service = Service::cutting(addresses(&["127.0.0.1"], 60)).await;
    let found = asking(vec![service.plain()]).resolve(&name()).await.expect("addresses");
    assert_eq!(found.addresses, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert!(service.asked().contains(&format!("{NAME}. A tcp")), "{:?}", service.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_server_must_be_who_it_is_written_to_be() {
    let issuing = Issuing::new("Name servers").expect("a root");
    let issued = issuing.issue(&Host::parse("dns.example").expect("a host")).expect("a certificate");
    let acceptor = || issued.acceptor(Versions::Tls12And13).expect("an acceptor");
    let trust = Trust::new(&[Root::Pem(issuing.certificate_pem().to_owned())]).expect("trust");
    let within = Duration::from_secs(5);

    let service = Service::over_tls(addresses(&["127.0.0.1"], 60), acceptor()).await;
    let right = NameServers::new(&[service.tls("dns.example")], within, &trust).expect("servers");
    right.resolve(&name()).await.expect("addresses");
    assert_eq!(service.asked(), both(NAME, "tls"));

    let service = Service::over_tls(addresses(&["127.0.0.1"], 60), acceptor()).await;
    let nobody = Trust::new(&[]).expect("trust");
    for (written, trust) in [("other.example", &trust), ("127.0.0.1", &trust), ("dns.example", &nobody)] {
        let wrong = NameServers::new(&[service.tls(written)], within, trust).expect("servers");
        let fault = wrong.resolve(&name()).await.expect_err("another server");
        assert!(matches!(fault, ResolveFault::Failed { .. }), "{written}: {fault:?}");
    }
    assert_eq!(service.asked(), Vec::<String>::new(), "it was told no name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_stands_back_behind_the_next() {
    for says in [Says::Failure, Says::Nothing] {
        let (broken, well) = (Service::saying(says).await, Service::saying(addresses(&["127.0.0.1"], 0)).await);
        let names = asking(vec![broken.plain(), well.plain()]);
        names.resolve(&name()).await.expect("the second answers");
        let before = broken.asked().len();
        assert!(before > 0, "the first was asked");
        names.resolve(&name()).await.expect("the second answers");
        assert_eq!(broken.asked().len(), before, "it is not asked again so soon");

        let tried = names.try_each(&name()).await;
        assert_eq!(tried.iter().map(|(_, tried)| tried.is_ok()).collect::<Vec<_>>(), [false, true]);
    }
    // That there is no such name is an answer like any other.
    let (knows, unasked) = (Service::saying(Says::NoName { ttl: 60 }).await, Service::saying(Says::Failure).await);
    let names = asking(vec![knows.plain(), unasked.plain()]);
    assert!(matches!(names.resolve(&name()).await, Err(ResolveFault::NoAddress(_))));
    assert_eq!(unasked.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_from_any_server_is_told_and_counted() {
    let (silent, broken) = (Service::saying(Says::Nothing).await, Service::saying(Says::Failure).await);
    for (server, status, result) in [(silent.plain(), 504, "timeout"), (broken.plain(), 502, "failed")] {
        let house = house(vec![server]).await;
        // Over plain requests the status of the refusal is the client's; inside an interception it is the same.
        let reply = house.send(UPLOADER, get(house.base("https", NAME))).await;
        assert_eq!(reply.status, status);
        assert_eq!(reason_of(&house.until_decisions(1).await[0]), "unresolvable");
        assert_eq!(series(&house.metrics().await, "tasrih_resolved_total", &[result]), 1);
        assert!(house.recipient(NAME).requests().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_as_long_as_it_says() {
    for (says, is_kept) in [
        (addresses(&["127.0.0.1"], 300), true),
        (addresses(&["127.0.0.1"], 0), false),
        (Says::NoName { ttl: 300 }, true),
        (Says::NoName { ttl: 0 }, false),
        (Says::Failure, false),
    ] {
        let service = Service::saying(says).await;
        let names = asking(vec![service.plain()]);
        let first = names.resolve(&name()).await.map_err(|fault| fault.to_string());
        let asked = service.asked().len();
        let second = names.resolve(&name()).await.map_err(|fault| fault.to_string());
        assert_eq!(first, second);
        assert_eq!(service.asked().len() == asked, is_kept, "{:?}", service.asked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_many_want_at_once_is_asked_for_once() {
    let service = Service::slowly(addresses(&["127.0.0.1"], 0), Duration::from_millis(200)).await;
    let names = asking(vec![service.plain()]);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let names = names.clone();
        waiting.spawn(async move { names.resolve(&name()).await.map(|found| found.addresses.len()) });
    }
    // One that does not wait for the answer takes it from nobody.
    let impatient = tokio::spawn({
        let names = names.clone();
        async move { names.resolve(&name()).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    impatient.abort();
    while let Some(found) = waiting.join_next().await {
        assert_eq!(found.expect("no panic").expect("an answer"), 1);
    }
    assert_eq!(names.questions().0, 0);
    // A query that was slow may have been sent again by itself; fifty are not.
    assert!(service.asked().len() <= 4, "{:?}", service.asked());
}

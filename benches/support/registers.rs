//! Registers of any size to measure with: so many transfers to as many recipients, twice as many destinations, as many
//! networks; five networks a source, and every tenth destination a wildcard.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use tasrih::register::compile::Text;

/// Entries in one file: a policy file has a largest size.
const EACH_FILE: usize = 2_000;
const NETWORKS_EACH: usize = 5;

/// The policy files of a register with so many transfers.
pub fn texts(transfers: usize) -> Vec<Text> {
    let mut texts = vec![text("controller", CONTROLLER.to_owned())];
    texts.extend(files("sources", sources(transfers), source));
    texts.extend(files("recipients", transfers, recipient));
    texts.extend(files("transfers", transfers, |number| transfer(number, sources(transfers))));
    texts
}

/// An address that the transfer of this number may be sent from, of so many.
pub fn address(number: usize, transfers: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(network(number % sources(transfers) * NETWORKS_EACH + number % NETWORKS_EACH) + 5)
}

/// A host that the transfer of this number leads to.
pub fn host(number: usize) -> String {
    format!("intake.recipient-{number}.example")
}

fn sources(transfers: usize) -> usize {
    transfers.div_ceil(NETWORKS_EACH)
}

fn network(number: usize) -> u32 {
    Ipv4Addr::new(10, 0, 0, 0).to_bits() + u32::try_from(number * 16).expect("fits in 10.0.0.0/8")
}

const CONTROLLER: &str = "
schema: tasrih/1
controller: {name: Centre de Visas SA, country: MA, time_zone: Africa/Casablanca}
processing:
  - {id: cctv, purposes: [dpv:EnforceSecurity], data_categories: [x:CCTVFrame], receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022}}
";

fn source(number: usize) -> String {
    let networks: Vec<String> = (0..NETWORKS_EACH)
        .map(|place| format!("{}/28", Ipv4Addr::from_bits(network(number * NETWORKS_EACH + place))))
        .collect();
    format!("  - {{id: source-{number}, networks: [{}], carries: [x:CCTVFrame]}}", networks.join(", "))
}

fn recipient(number: usize) -> String {
    let second = if number.is_multiple_of(10) { "*" } else { "second" };
    format!(
        "  - id: recipient-{number}\n    name: Ministry {number}, visa department\n    country: FR\n    contact: \
         contact@recipient-{number}.example\n    destinations:\n      - {{host: {}, port: 443}}\n      - {{host: \
         \"{second}.recipient-{number}.example\", port: 443}}",
        host(number)
    )
}

fn transfer(number: usize, sources: usize) -> String {
    let source = number % sources;
    format!(
        "  - id: transfer-{number}\n    processing: cctv\n    from: [source-{source}]\n    to: recipient-{number}\n    role: \
         dpv:DataController\n    regimes: [ma-09-08]\n    legal_basis: {{ma-09-08: ma-0908:A43}}\n    purposes: \
         [dpv:EnforceSecurity]\n    data_categories: [x:CCTVFrame]\n    data_subjects: [dpv:Visitor]\n    filing: {{authority: \
         CNDP, form: F118, ref: A-GC-{number}/2023, status: granted, filed: 2023-01-20, decided: 2023-02-20, valid_from: \
         2023-02-21, valid_until: 2032-02-20}}\n    requests: {{methods: [POST, PUT], paths: [/cctv/**], content_types: \
         [image/jpeg]}}\n    limits: {{min_interval: PT5M, max_per_day: 288, max_body: 2MiB, retries: 3}}\n    measures: \
         [dpv:EncryptionInTransfer]"
    )
}

fn files(kind: &'static str, count: usize, entry: impl Fn(usize) -> String) -> Vec<Text> {
    let starts = (0..count).step_by(EACH_FILE);
    let file = |start: usize| {
        let mut content = format!("{kind}:\n");
        for number in start..count.min(start + EACH_FILE) {
            writeln!(content, "{}", entry(number)).expect("writing into a string does not fail");
        }
        text(&format!("{kind}-{start}"), content)
    };
    starts.map(file).collect()
}

fn text(name: &str, text: String) -> Text {
    Text { name: format!("{name}.yaml"), text }
}

//! What the demo's proxy reads: a register whose dates are relative to now, and a configuration.

use std::fmt::Write;
use std::path::Path;

use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};

use super::world::{CONTRACTOR, MINISTRY_A, MINISTRY_B, VENDOR};

/// Ports that the recipients took, as the register declares them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) ministry_a: u16,
    pub(super) ministry_b: u16,
    pub(super) contractor: u16,
    pub(super) vendor: u16,
}

const PARTIES: &str = r#"# The register of the demo, made when it starts.
schema: tasrih/1
mode: enforce

controller:
  name: Centre de Visas SA
  country: MA
  time_zone: Africa/Casablanca
  dpo: dpo@visa-centre.example

processing:
  - id: cctv
    label: {fr: Vidéosurveillance, ar: المراقبة بالفيديو, en: CCTV}
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
    data_subjects: [dpv:Visitor, dpv:Employee]
    receipt: {kind: declaration, authority: CNDP, ref: D-GC-298/2022, date: RECEIPT}

sources:
  - {id: cctv-uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame], interception: required}
  - {id: office-pc, networks: [127.0.0.6/32]}
  - {id: this-machine, networks: [127.0.0.1/32], carries: [x:CCTVFrame], interception: required}

"#;

/// The register: Ministry A granted, Ministry B filed only, the former contractor expired, the vendor's updates open.
pub(super) fn register(now: Timestamp, ports: Ports) -> String {
    let today = TimeZone::UTC.to_datetime(now).date();
    let day = |days: i64| shifted(today, days);
    let mut text = PARTIES.replace("RECEIPT", &day(-900).to_string());
    text += "recipients:\n";
    for (id, name, country, host, port) in [
        ("ministry-a", "Ministry A, visa department", "FR", MINISTRY_A, ports.ministry_a),
        ("ministry-b", "Ministry B, border police", "ES", MINISTRY_B, ports.ministry_b),
        ("former-contractor", "Former contractor", "FR", CONTRACTOR, ports.contractor),
    ] {
        line(&mut text, format_args!("  - id: {id}\n    name: {name}\n    country: {country}"));
        line(&mut text, format_args!("    destinations: [{{host: {host}, port: {port}}}]"));
    }
    text += "\ntransfers:\n";
    let beat = "{min_interval: PT2S, max_body: 2MiB, max_bytes_per_day: 512MiB, retries: 3}";
    let granted = format!("status: granted, filed: {}, decided: {}", day(-60), day(-31));
    let current = format!("{{authority: CNDP, form: F118, ref: A-GC-1/2023, {granted}, valid_from: {}}}", day(-30));
    let filed = format!("{{authority: CNDP, form: F118, ref: A-GC-2/2023, status: filed, filed: {}}}", day(-10));
    let lapsed = format!(
        "{{authority: CNDP, form: F118, ref: A-GC-7/2021, status: granted, valid_from: {}, valid_until: {}}}",
        day(-760),
        day(-30)
    );
    transfer(&mut text, "cctv-to-ministry-a", "cctv-uploader", "ministry-a", &current, Some(beat));
    transfer(&mut text, "desk-to-ministry-a", "this-machine", "ministry-a", &current, None);
    transfer(&mut text, "cctv-to-ministry-b", "cctv-uploader, this-machine", "ministry-b", &filed, Some(beat));
    transfer(&mut text, "cctv-to-contractor", "cctv-uploader", "former-contractor", &lapsed, Some(beat));
    let destination = format!("{{host: {VENDOR}, scheme: http, port: {}}}", ports.vendor);
    line(
        &mut text,
        format_args!(
            "\nallowances:\n  - {{id: vendor-updates, to: [{destination}], from: [any], note: package updates}}"
        ),
    );
    text
}

fn transfer(text: &mut String, id: &str, from: &str, to: &str, filing: &str, limits: Option<&str>) {
    line(text, format_args!("  - id: {id}\n    processing: cctv\n    from: [{from}]\n    to: {to}"));
    line(
        text,
        format_args!(
            "    role: dpv:DataController\n    regimes: [ma-09-08]\n    legal_basis: {{ma-09-08: ma-0908:A43}}"
        ),
    );
    line(text, format_args!("    purposes: [dpv:EnforceSecurity]\n    data_categories: [x:CCTVFrame]"));
    line(text, format_args!("    data_subjects: [dpv:Visitor]\n    filing: {filing}"));
    line(text, format_args!("    requests: {{methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}}"));
    if let Some(limits) = limits {
        line(text, format_args!("    limits: {limits}"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes every line");
}

/// A date this many days away, or the last one that the calendar has: an odd clock must not stop the demo.
fn shifted(date: Date, days: i64) -> Date {
    date.saturating_add(Span::new().days(days))
}

/// The configuration: free ports, names of the recipients on this machine, nothing outside `folder`.
pub(super) fn configuration(folder: &Path, hosts: &[&str]) -> String {
    let file = |name: &str| serde_json::Value::from(folder.join(name).display().to_string());
    let hosts: String = hosts.iter().map(|host| format!("    {host}: [127.0.0.1]\n")).collect();
    format!(
        "node: demo\n\
         listeners: [{{name: demo, bind: \"127.0.0.1:0\", entry: forward}}]\n\
         admin: {{bind: \"127.0.0.1:0\"}}\n\
         interception: {{certificate: {certificate}, key: {key}}}\n\
         upstream:\n  roots: [{roots}]\n  hosts:\n{hosts}\
         internal_destinations: [127.0.0.0/8]\n\
         limits: {{drain: PT2S}}\n",
        certificate = file("ca.pem"),
        key = file("ca.key"),
        roots = file("recipients.pem"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::compile::{Text, compile};

    fn text(text: String) -> Text {
        Text { name: "demo.yaml".to_owned(), text }
    }

    #[test]
    fn the_papers_are_in_order_whatever_the_clock_says() {
        let ports = Ports { ministry_a: 1, ministry_b: 2, contractor: 3, vendor: 4 };
        for now in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2031-05-02T12:00:00Z", "2099-12-31T23:59:59Z"] {
            let compiled = compile(&[text(register(now.parse().unwrap(), ports))]);
            let compiled = compiled.unwrap_or_else(|faults| panic!("{now}: {faults}"));
            assert_eq!(compiled.register.transfers.len(), 4);
        }
    }

    #[test]
    fn the_configuration_is_read_as_it_is_meant() {
        let written = configuration(Path::new("/tmp/a b"), &[MINISTRY_A, VENDOR]);
        let loaded = crate::config::read(&text(written)).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.settings.interception.key, Path::new("/tmp/a b/ca.key"));
        assert_eq!(loaded.settings.upstream.hosts.len(), 2);
        assert_eq!(loaded.settings.listeners[0].bind.port(), 0);
    }
}

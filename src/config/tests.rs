//! Configurations as written, and what they become or what is said of them.

use super::*;
use crate::register::fault::Text;

fn read_text(text: &str) -> Result<Loaded, String> {
    read(&Text { name: "tasrih.yaml".to_owned(), text: text.to_owned() }).map_err(|faults| faults.to_string())
}

fn settings(text: &str) -> Settings {
    match read_text(text) {
        Ok(loaded) => loaded.settings,
        Err(faults) => panic!("{text}\n{faults}"),
    }
}

#[test]
fn no_key_and_every_key_at_its_default_are_one() {
    assert_eq!(settings(""), Settings::default());
    assert_eq!(settings("# nothing\n"), Settings::default());
    let written = r#"
node: egress-1
listeners:
  - {name: inside, bind: "127.0.0.1:3128", entry: forward}
admin: {bind: "127.0.0.1:9180"}
interception: {certificate: certs/ca.pem, key: certs/ca.key}
upstream: {roots: [system], hosts: {}, resolver: system}
internal_destinations: []
limits: {hold_memory: 1MiB, hold: 64MiB, held_total: 1GiB, connections: 10000, connections_per_source: 1000,
         requests_per_source: 0, head: 64KiB, head_fields: 100, header_time: PT10S, idle: PT60S, body_rate: 1KiB,
         body_window: PT30S, body_time: PT1H, resolve_time: PT5S, connect_time: PT5S, handshake_time: PT10S,
         answer_time: PT2M, answer: 64GiB, exchange_time: P1D, drain: PT10S}
disk: {reserve: 64MiB, segment: 64MiB}
state: var
spool: {}
log: {format: text, level: info}
"#;
    assert_eq!(settings(written), Settings::default());
}

#[test]
fn every_key_is_read() {
    let read = settings(
        r#"
node: rabat-2
listeners:
  - {bind: "10.0.0.1:3128", entry: forward}
  - {name: six, bind: "[::1]:0", entry: forward}
  - {name: over-tls, bind: "10.0.0.1:3129", entry: forward, tls: {certificate: p.pem, key: p.key, client_ca: ca.pem, client_certificates: optional, crl: ca.crl}}
  - {bind: "10.0.0.1:1080", entry: socks5, proxy_protocol: [10.0.0.8/29, "fd00::8"]}
  - {bind: "10.0.0.1:80", entry: transparent-http}
  - {bind: "10.0.0.1:443", entry: transparent-tls}
  - {name: all, bind: "[::]:9", entry: transparent, tproxy: true}
  - {name: own, bind: "10.0.0.1:3130", entry: forward, tls: {certificate: p.pem, key: p.key, client_ca: ca.pem}}
admin: {bind: "127.0.0.1:9999"}
metrics: {bind: "10.0.0.1:9181"}
interception: {certificate: /etc/tasrih/ca.pem, key: /etc/tasrih/ca.key}
upstream: {roots: [/etc/tasrih/partner.pem, system], hosts: {Intake.Ministry-A.example.: [10.0.0.7, "2001:db8::7"]}}
internal_destinations: [10.30.0.0/16, 192.168.7.9]
limits: {hold_memory: 64KiB, hold: 4MiB, held_total: 256MiB, connections: 500, connections_per_source: 50,
         requests_per_source: 20, head: 8KiB, head_fields: 40, header_time: PT5S, idle: PT2M, body_rate: 4KiB,
         body_window: PT20S, body_time: PT10M, resolve_time: PT2S, connect_time: PT3S, handshake_time: PT4S,
         answer_time: PT30S, answer: 1GiB, exchange_time: PT2H, drain: PT1M}
disk: {reserve: 1GiB, segment: 64KiB}
state: /var/lib/tasrih
spool: {folder: /var/spool/tasrih}
log: {format: json, level: warn}
"#,
    );
    assert_eq!(read.node, "rabat-2");
    let names: Vec<&str> = read.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(
        names,
        ["10.0.0.1:3128", "six", "over-tls", "10.0.0.1:1080", "10.0.0.1:80", "10.0.0.1:443", "all", "own"]
    );
    let tls: Vec<Option<ClientCertificates>> =
        read.listeners.iter().map(|it| it.tls.as_ref().map(|tls| tls.client_certificates)).collect();
    assert_eq!(
        tls,
        [None, None, Some(ClientCertificates::Optional), None, None, None, None, Some(ClientCertificates::Required)]
    );
    assert_eq!(read.metrics.map(|bind| bind.port()), Some(9181));
    assert_eq!(read.spool_folder(), PathBuf::from("/var/spool/tasrih"));
    assert_eq!((read.log.format, read.log.level), (LogFormat::Json, LogLevel::Warn));
    assert_eq!(read.admin.port(), 9999);
    assert_eq!((read.disk.reserve, read.disk.segment), (1 << 30, 64 << 10));
    assert_eq!(read.upstream.roots, [Root::File("/etc/tasrih/partner.pem".into()), Root::System]);
    let hosts: Vec<(&str, usize)> =
        read.upstream.hosts.iter().map(|(name, list)| (name.as_str(), list.len())).collect();
    assert_eq!(hosts, [("intake.ministry-a.example", 2)]);
    assert_eq!(read.internal_destinations.len(), 2);
    assert_eq!((read.limits.hold_memory, read.limits.hold, read.limits.held_total), (64 << 10, 4 << 20, 256 << 20));
    let limits = read.limits;
    assert_eq!(
        (limits.connections, limits.connections_per_source, limits.head, limits.head_fields),
        (500, 50, 8 << 10, 40)
    );
    assert_eq!(
        (limits.requests_per_source.map(u32::from), limits.body_rate, limits.answer),
        (Some(20), 4 << 10, 1 << 30)
    );
    let times = [
        (limits.header_time, 5),
        (limits.idle, 120),
        (limits.body_window, 20),
        (limits.body_time, 600),
        (limits.resolve_time, 2),
        (limits.connect_time, 3),
        (limits.handshake_time, 4),
        (limits.answer_time, 30),
        (limits.exchange_time, 7_200),
        (limits.drain, 60),
    ];
    assert!(times.iter().all(|(time, seconds)| time.as_secs() == *seconds), "{times:?}");
    assert_eq!(read.state, PathBuf::from("/var/lib/tasrih"));
}

/// Each text, and what stands in its fault or hint.
const FAULTS: &[(&str, &[&str])] = &[
    ("lisseners: []", &["unknown key `lisseners` in the configuration", "did you mean `listeners`?"]),
    ("node: a\nnode: b", &["`node` is written twice"]),
    ("node: Rabat 2", &["`Rabat 2` is not an id"]),
    ("node: 7", &["`7` is a number, and text is wanted"]),
    ("- a", &["the configuration is a map of keys, not a list"]),
    ("listeners: []", &["`listeners` is an empty list"]),
    ("listeners: [{entry: forward}]", &["a listener needs `bind`"]),
    ("listeners: [{bind: '127.0.0.1:1'}]", &["a listener needs `entry`"]),
    (
        "listeners: [{bind: 'localhost:3128', entry: forward}]",
        &["`localhost:3128` is not an address with a port", "[::]:3128"],
    ),
    ("listeners: [{bind: 3128, entry: forward}]", &["`3128` is a number"]),
    ("listeners: [{bind: '127.0.0.1:1', entry: foward}]", &["`foward` is not known here", "did you mean `forward`?"]),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: socks5, tls: {certificate: c, key: k}}]",
        &["`tls` is for listeners with `entry: forward`"],
    ),
    ("listeners: [{bind: '127.0.0.1:1', entry: https-proxy}]", &["`https-proxy` is the entry point of a `forward`"]),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tls: {key: k}}]",
        &["the TLS of a listener needs `certificate`"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tls: {certificate: c, key: k, crl: r}}]",
        &["`crl` means nothing without `client_ca`"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tls: {certificate: c, key: k, client_certificates: optional}}]",
        &["`client_certificates` means nothing without `client_ca`"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tls: {certificate: c, key: k, client_ca: a, client_certificates: always}}]",
        &["`always` is not known here", "`optional`"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tls: {certificate: c, key: c}}]",
        &["one file is both certificate and key"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: transparent, proxy_protocol: [10.0.0.0/29]}]",
        &["`proxy_protocol` is for listeners that clients connect to through a balancer"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward, tproxy: true}]",
        &["`tproxy` is for listeners with `entry: transparent`"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward}, {bind: '127.0.0.1:1', entry: forward}]",
        &["`127.0.0.1:1` meets `127.0.0.1:1`, taken at tasrih.yaml:1:20"],
    ),
    (
        "listeners: [{bind: '127.0.0.1:1', entry: forward}, {bind: '[::]:1', entry: forward}]",
        &["`[::]:1` meets `127.0.0.1:1`"],
    ),
    (
        "listeners: [{bind: '0.0.0.0:9180', entry: forward}]",
        &["`0.0.0.0:9180` of this listener meets `127.0.0.1:9180`, the default of `admin`"],
    ),
    ("admin: {bind: '127.0.0.1:3128'}", &["meets `127.0.0.1:3128`, the default of `listeners`"]),
    ("admin: {}", &["the admin listener needs `bind`"]),
    ("metrics: {}", &["the metrics listener needs `bind`"]),
    ("metrics: {bind: '127.0.0.1:9180'}", &["meets `127.0.0.1:9180`, the default of `admin`"]),
    ("spool: {file: x}", &["unknown key `file` in the spool"]),
    ("log: {format: yaml}", &["`yaml` is not known here", "`json`"]),
    ("log: {level: loud}", &["`loud` is not known here", "`debug`"]),
    ("upstream: {resolver: [dns.example]}", &["`dns.example` is no name server", "`10.0.0.53:5353`"]),
    ("upstream: {resolver: [10.0.0.53#dns.example]}", &["`10.0.0.53#dns.example` is no name server", "tls://"]),
    ("upstream: {resolver: [10.0.0.53:0]}", &["`10.0.0.53:0` is no name server"]),
    ("upstream: {resolver: [\"tls://10.0.0.53#127.1\"]}", &["127.1"]),
    ("upstream: {resolver: []}", &["resolver"]),
    ("upstream: {resolver: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5]}", &["5 name servers are more than 4"]),
    ("interception: {certificate: ca.pem, key: ca.pem}", &["`ca.pem` is both certificate and key"]),
    ("upstream: {roots: []}", &["`roots` is an empty list"]),
    ("upstream: {roots: system}", &["`roots` is a list, not a single value", "[system]"]),
    ("upstream: {resolver: 9.9.9.9}", &["`9.9.9.9` is not known here"]),
    ("upstream: {hosts: [a.example]}", &["`hosts` is a map from names to lists of addresses"]),
    ("upstream: {hosts: {a.example: 10.0.0.7}}", &["`a.example` needs a list of addresses", "`a.example: [10.0.0.7]`"]),
    ("upstream: {hosts: {a.example: []}}", &["`a.example` needs a list of addresses"]),
    ("upstream: {hosts: {a.example: [10.0.0.300]}}", &["`10.0.0.300` is not an address"]),
    (
        "upstream: {hosts: {a.example: ['::ffff:10.0.0.7']}}",
        &["is an IPv4 address written as IPv6", "write `10.0.0.7`"],
    ),
    ("upstream: {hosts: {10.0.0.7: [10.0.0.8]}}", &["`10.0.0.7` is an address, and a name is wanted"]),
    ("upstream: {hosts: {a.example: [10.0.0.7], A.example: [10.0.0.8]}}", &["`A.example` is `a.example` again"]),
    ("upstream: {hosts: {0x7f.1: [10.0.0.8]}}", &["0x7f.1"]),
    ("internal_destinations: [10.0.0.1/8]", &["`10.0.0.1/8` is an address inside a network", "10.0.0.0/8"]),
    ("internal_destinations: ['0.0.0.0/0']", &["`0.0.0.0/0` opens every address"]),
    ("limits: {hold: 64}", &["`hold_memory` (1048576 bytes) is more than `hold` (64 bytes)"]),
    (
        "limits: {hold: 2GiB}",
        &["`hold` (2147483648 bytes) is more than `held_total` (1073741824 bytes)", "raise `held_total`"],
    ),
    ("limits: {hold: 64MB}", &["`64MB` is not a size"]),
    ("limits: {connections: 0}", &["`0` is not a whole number from 1"]),
    ("limits: {idle: 60}", &["`60` is not a duration", "ISO 8601"]),
    ("limits: {idle: PT0S}", &["`PT0S` is not a duration"]),
    ("limits: {connections_per_source: 0}", &["`0` is not a whole number from 1"]),
    ("limits: {requests_per_source: 5000000000}", &["`5000000000` requests a second are no bound", "write 0 for none"]),
    ("limits: {head: 4KiB}", &["`4KiB` is outside of what makes sense here", "write 8KiB to 1MiB"]),
    ("limits: {head: 2MiB}", &["`2MiB` is outside of what makes sense here"]),
    ("limits: {head_fields: 5}", &["`5` is outside of what makes sense here", "write 10 to 1000"]),
    ("limits: {body_rate: 0B}", &["`0B`"]),
    ("limits: {body_rate: 20MiB}", &["`20MiB` is outside of what makes sense here", "write 1B to 1MiB"]),
    ("limits: {header_time: PT1H}", &["`PT1H` is so long that it bounds nothing", "write at most PT600S"]),
    ("limits: {connect_time: PT10M}", &["`PT10M` is so long that it bounds nothing"]),
    ("limits: {idle: P365D}", &["`P365D` is so long that it bounds nothing"]),
    (
        "limits: {body_window: PT2H}",
        &["`body_window` (7200 s) is more than `body_time` (3600 s)", "raise `body_time`, or lower `body_window`"],
    ),
    ("limits: {exchange_time: PT10M}", &["`body_time` (3600 s) is more than `exchange_time` (600 s)"]),
    ("limits: {holds: 1MiB}", &["unknown key `holds` in the limits", "did you mean `hold`?"]),
    ("disk: {segment: 63KiB}", &["`63KiB` is not between 64KiB and 1GiB"]),
    ("disk: {reserve: 10%}", &["`10%` is not a size"]),
    ("state: ''", &["the text is empty"]),
    ("state:", &["`state` has no value"]),
    ("state: &here var", &["an anchor (`&here`) is not read"]),
    ("---\nnode: a\n---\nnode: b", &["a second document begins here"]),
];

#[test]
fn each_fault_is_told() {
    for (text, expected) in FAULTS {
        let Err(faults) = read_text(text) else { panic!("no fault in: {text}") };
        for part in *expected {
            assert!(faults.contains(part), "{text}\nwanted: {part}\ngot: {faults}");
        }
    }
}

#[test]
fn near_misses_pass() {
    let fine = [
        "listeners: [{bind: '127.0.0.1:0', entry: forward}, {bind: '127.0.0.1:0', entry: forward}]",
        "listeners: [{bind: '0.0.0.0:1', entry: forward}, {bind: '[::1]:1', entry: forward}]",
        "listeners: [{bind: '127.0.0.1:1', entry: forward}, {bind: '127.0.0.2:1', entry: forward}]",
        "listeners: [{bind: '127.0.0.1:9180', entry: forward}]\nadmin: {bind: '127.0.0.1:9181'}",
        "interception: {}",
        "upstream: {hosts: {}}",
        "internal_destinations: [169.254.169.254]",
        "limits: {hold_memory: 64MiB}",
        "limits: {hold: 1GiB}",
        "limits: {head: 8KiB, head_fields: 1000, body_rate: 1MiB, header_time: PT10M, connect_time: PT5M}",
        "limits: {body_window: PT1H}",
        "limits: {body_time: P1D}",
        "limits: {connections: 100}",
    ];
    for text in fine {
        assert!(read_text(text).is_ok_and(|loaded| loaded.warnings.is_empty()), "{text}: {:?}", read_text(text));
    }
}

#[test]
fn all_faults_come_at_once_each_with_its_place() {
    let faults = read_text("node: A\nlimits: {hold: x, idel: PT1S}\n").expect_err("it has three faults");
    assert_eq!(faults.lines().filter(|line| line.starts_with("tasrih.yaml:")).count(), 3, "{faults}");
    assert!(faults.starts_with("tasrih.yaml:1:7: "), "{faults}");
    assert!(faults.contains("\n   1 | node: A\n     |       ^\n"), "{faults}");
}

#[test]
fn an_admin_listener_that_others_reach_is_warned_about() {
    let loaded = read_text("admin: {bind: '0.0.0.0:9180'}").expect("it is no fault");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("can be reached from other machines"), "{warnings:?}");
}

#[test]
fn name_servers_are_asked_in_clear_or_over_tls() {
    let host = |text: &str| Host::parse(text).expect("a host");
    for (written, address, transport) in [
        ("10.0.0.53", "10.0.0.53:53", NameTransport::Plain),
        ("10.0.0.53:5353", "10.0.0.53:5353", NameTransport::Plain),
        ("2001:db8::53", "[2001:db8::53]:53", NameTransport::Plain),
        ("[2001:db8::53]:54", "[2001:db8::53]:54", NameTransport::Plain),
        ("tls://10.0.0.53", "10.0.0.53:853", NameTransport::Tls(host("10.0.0.53"))),
        ("tls://[2001:db8::53]", "[2001:db8::53]:853", NameTransport::Tls(host("[2001:db8::53]"))),
        ("tls://10.0.0.53:8853#dns.example", "10.0.0.53:8853", NameTransport::Tls(host("dns.example"))),
    ] {
        let settings = settings(&format!("upstream: {{resolver: [\"{written}\", 192.0.2.53]}}"));
        let Resolver::Servers(servers) = settings.upstream.resolver else { panic!("{written} is one of two") };
        let address = address.parse().expect("an address");
        assert_eq!((servers.len(), &servers[0]), (2, &NameServer { address, transport }), "{written}");
    }
}

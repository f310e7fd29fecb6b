//! The register, the recipients and the proxy that a case of the table is played in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tasrih::clock::ManualClock;
use tasrih::destination::HostName;

use crate::support::flaky::Flaky;
use crate::support::stand::Stand;
use crate::support::{House, Plan, Site};
use crate::table::Case;
use tokio::net::TcpSocket;

/// A day in the register's validity; nothing here depends on today's date.
pub const NOW: &str = "2026-05-02T12:00:00Z";

/// A proxy and the clock that it decides by.
pub struct World {
    pub house: House,
    pub clock: Arc<ManualClock>,
    /// Where its records go; can be made to fail.
    pub storage: Arc<Flaky>,
    /// A port that nothing listens on: bound, so that nobody else comes to.
    pub closed: u16,
    _closed: TcpSocket,
    /// Closes every connection at once.
    pub mute: Stand,
}

/// A recipient with one host, and a transfer to it.
#[derive(Clone, Copy)]
struct Declared {
    id: &'static str,
    host: Option<&'static str>,
    to: &'static str,
    country: &'static str,
    from: &'static str,
    processing: &'static str,
    law: &'static str,
    filing: Option<&'static str>,
    categories: &'static str,
    more: &'static str,
}

const GRANTED: &str = "status: granted, ref: A-GC-1/2023, valid_from: 2023-02-21";
const TLS: &str = "port: {port:HOST}";
const REQUESTS: &str = "requests: {methods: [POST], paths: [/cctv/**], content_types: [image/jpeg]}";

/// Plain HTTP, everything in order.
const FINE: Declared = Declared {
    id: "fine",
    host: None,
    to: "scheme: http, port: {port:plain.example}",
    country: "FR",
    from: "[uploader, stopped]",
    processing: "cctv",
    law: "regimes: [ma-09-08], legal_basis: {ma-09-08: ma-0908:A43}",
    filing: Some(GRANTED),
    categories: "[x:CCTVFrame]",
    more: "",
};

const fn plain(id: &'static str) -> Declared {
    Declared { id, ..FINE }
}

const fn filed(id: &'static str, filing: &'static str) -> Declared {
    Declared { filing: Some(filing), ..plain(id) }
}

const fn tls(id: &'static str, to: &'static str) -> Declared {
    Declared { to, ..plain(id) }
}

const fn with(id: &'static str, more: &'static str) -> Declared {
    Declared { more, ..plain(id) }
}

const DECLARED: &[Declared] = &[
    FINE,
    plain("ordered"),
    plain("lifted"),
    plain("ordered-recipient"),
    Declared { country: "BE", ..plain("ordered-country") },
    plain("nowhere"),
    plain("metadata"),
    plain("private"),
    Declared { to: "scheme: http, port: {port:own.example}", ..plain("own") },
    Declared { host: Some("10.1.2.3"), ..plain("literal-private") },
    Declared { host: Some("127.0.0.1"), ..plain("literal") },
    Declared { to: "scheme: http, port: {port:closed.example}", ..plain("closed") },
    tls("not-tls", TLS),
    tls("tls", TLS),
    tls("wrong", TLS),
    tls("untrusted", TLS),
    tls(
        "pinned",
        "port: {port:HOST}, tls_spki_sha256: [\"{pin:HOST}\", \"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=\"]",
    ),
    tls(
        "mispinned",
        "port: {port:HOST}, tls_spki_sha256: [\"MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\", \"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=\"]",
    ),
    tls("tunnel", "port: {port:HOST}, interception: never"),
    Declared { more: "measures: [dpv:EncryptionInTransfer]", ..plain("measured") },
    Declared { more: "measures: [dpv:EncryptionInTransfer]", ..tls("measured-tls", TLS) },
    Declared { from: "[office]", categories: "[pd:Picture]", ..plain("office-only") },
    Declared { filing: None, ..plain("unfiled") },
    Declared { filing: None, country: "MA", ..plain("domestic") },
    filed("draft", "status: draft"),
    filed("filed", "status: filed, ref: A-GC-1/2023"),
    filed("reclassified", "status: reclassified, ref: A-GC-1/2023"),
    filed("refused", "status: refused, ref: A-GC-1/2023"),
    filed("suspended", "status: suspended, ref: A-GC-1/2023"),
    filed("withdrawn", "status: withdrawn, ref: A-GC-1/2023"),
    filed("tomorrow", "status: granted, ref: A-GC-1/2023, valid_from: 2026-05-03"),
    filed("today", "status: granted, ref: A-GC-1/2023, valid_from: 2026-05-02"),
    filed("yesterday", "status: granted, ref: A-GC-1/2023, valid_until: 2026-05-01"),
    filed("last-day", "status: granted, ref: A-GC-1/2023, valid_until: 2026-05-02"),
    Declared { processing: "unreceipted", ..plain("no-receipt") },
    Declared { law: "regimes: [eu-gdpr], legal_basis: {eu-gdpr: eu-gdpr:A45-3}", country: "CN", ..plain("inadequate") },
    Declared { law: "regimes: [eu-gdpr], legal_basis: {eu-gdpr: eu-gdpr:A45-3}", country: "JP", ..plain("adequate") },
    with("requests", REQUESTS),
    Declared { from: "[office]", ..plain("frames-of-office") },
    Declared { from: "[clinic]", processing: "health", categories: "[HEALTH]", ..plain("insensitive") },
    Declared {
        from: "[clinic]",
        processing: "health",
        categories: "[HEALTH]",
        more: "sensitive: true",
        ..plain("sensitive")
    },
    with("small", "limits: {max_body: 32KiB}"),
    with("rare", "limits: {min_interval: PT5M}"),
    with("daily", "limits: {max_per_day: 1}"),
    with("narrow", "limits: {max_bytes_per_day: 48KiB}"),
];

fn register() -> String {
    let mut text = String::from(HEAD);
    text.push_str("recipients:\n");
    for one in DECLARED {
        let host = one.host.map_or_else(|| format!("{}.example", one.id), str::to_owned);
        text += &format!(
            "  - {{id: {}, name: R, country: {}, destinations: [{{host: {}, {}}}]}}\n",
            one.id,
            one.country,
            if one.host.is_some() { format!("\"{host}\"") } else { host.clone() },
            one.to.replace("HOST", &host)
        );
    }
    text.push_str("transfers:\n");
    for one in DECLARED {
        text += &format!(
            "  - id: t-{0}\n    to: {0}\n    from: {1}\n    processing: {2}\n",
            one.id, one.from, one.processing
        );
        text += &format!("    purposes: [dpv:EnforceSecurity]\n    data_categories: {}\n", one.categories);
        for more in one.law.split(", ").chain([one.more]).filter(|more| !more.is_empty()) {
            text += &format!("    {more}\n");
        }
        if let Some(filing) = one.filing {
            text += &format!("    filing: {{authority: CNDP, {filing}}}\n");
        }
    }
    text.replace("HEALTH", "pd:Health")
}

const HEAD: &str = concat!(
    include_str!("../support/case.yaml"),
    r#"  - id: health
    purposes: [dpv:EnforceSecurity]
    data_categories: [HEALTH]
    receipt: {kind: authorisation, authority: CNDP, ref: A-GC-299/2022, date: 2022-05-10}
  - id: unreceipted
    purposes: [dpv:EnforceSecurity]
    data_categories: [x:CCTVFrame]
sources:
  - {id: uploader, networks: [127.0.0.5/32], carries: [x:CCTVFrame]}
  - {id: office, networks: [127.0.0.6/32]}
  - {id: clinic, networks: [127.0.0.7/32], carries: [HEALTH]}
  - {id: stopped, networks: [127.0.0.8/32], carries: [x:CCTVFrame]}
orders:
  - {authority: CNDP, ref: o-transfer, date: 2024-01-10, action: suspend, scope: "transfer:t-ordered"}
  - {authority: CNDP, ref: o-lifted, date: 2024-01-10, action: suspend, scope: "transfer:t-lifted"}
  - {authority: CNDP, ref: o-lift, date: 2024-01-11, action: lift, lifts: o-lifted}
  - {authority: CNDP, ref: o-recipient, date: 2024-01-10, action: suspend, scope: "recipient:ordered-recipient"}
  - {authority: CNDP, ref: o-country, date: 2024-01-10, action: suspend, scope: "country:BE"}
  - {authority: CNDP, ref: o-source, date: 2024-01-10, action: suspend, scope: "source:stopped"}
"#
);

impl World {
    pub async fn build(case: &Case, change: fn(String) -> String) -> World {
        let clock = Arc::new(ManualClock::at(NOW.parse().expect("a time")));
        let (own, silent) = (free(OWN), TcpSocket::new_v4().expect("a socket"));
        silent.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let closed = silent.local_addr().expect("its address").port();
        let settle = case.settings;
        let mute = Stand::start(|stream, _| async move { drop(stream) }).await;
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 1);
        let storage = Arc::new(Flaky::default());
        let folder = storage.clone();
        let plan = Plan::new(&change(register()))
            .clock(clock.clone())
            .storage(storage.clone())
            .site("plain.example", Site::Plain)
            .site("tls.example", Site::Tls)
            .site("wrong.example", Site::WrongName)
            .site("untrusted.example", Site::Untrusted)
            .site("pinned.example", Site::Tls)
            .site("mispinned.example", Site::Tls)
            .site("measured-tls.example", Site::Tls)
            .site("tunnel.example", Site::Tls)
            .place("own.example", own)
            .place("not-tls.example", mute.address)
            .place("closed.example", SocketAddr::from(([127, 0, 0, 1], closed)))
            .place("metadata.example", address("169.254.169.254"))
            .place("private.example", address("10.1.2.3"))
            .settings(move |settings| {
                for one in DECLARED.iter().filter(|one| one.host.is_none() && one.id != "nowhere") {
                    let name = HostName::parse(&format!("{}.example", one.id)).expect("a name");
                    settings.upstream.hosts.entry(name).or_insert(vec!["127.0.0.1".parse().expect("an address")]);
                }
                settings.listeners[0].bind = own;
                folder.lie_in(&settings.state);
                settle(settings);
            });
        let house = plan.build().await;
        World { house, clock, storage, closed, _closed: silent, mute }
    }

    /// The port of the recipient that stands for `host`.
    pub fn tls_port(&self, host: &str) -> u16 {
        self.house.recipient(host).address.port()
    }
}

/// Where the proxies of these worlds listen. Nothing else is bound there, so that a port found free stays free.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 44);

/// A port of this address that was free a moment ago.
fn free(address: Ipv4Addr) -> SocketAddr {
    std::net::TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr()).expect("a port")
}

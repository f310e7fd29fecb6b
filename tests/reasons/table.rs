//! The table: for each reason what is refused for it, and the near miss.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tasrih::config::Settings;
use tasrih::policy::Reason;
use tasrih::users::file::write;
use tasrih::users::hash::Hash;
use tasrih::users::words::{Password, UserName};

use crate::acts::{self, Act, Sent, Told, act, asking_for, first, into_tunnel, left_in_the_middle, raw, slowly, to};
use crate::support::wire::client_hello;
use crate::support::{FRAME, OFFICE, STRANGER, UPLOADER};

const CLINIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
const STOPPED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8));

/// A refusal and its near miss.
pub struct Case {
    pub reason: Reason,
    what: &'static str,
    /// What the client of the refusal sees; `None`: the connection ends without a reply.
    pub status: Option<u16>,
    pub refused: Act,
    pub passes: Act,
    /// Done before both, and let through.
    pub before: Option<Act>,
    pub register: fn(String) -> String,
    /// Another register for the near miss, which then has a proxy of its own.
    pub near: Option<fn(String) -> String>,
    pub settings: fn(&mut Settings),
    /// The client is told the reason; not where the parser refuses by itself.
    pub is_told: bool,
    /// 1 where the refusal cannot be on record.
    pub unrecorded: usize,
    /// Whether the near miss carries the frame.
    pub passes_frame: bool,
}

impl Case {
    pub fn name(&self) -> String {
        format!("{} ({})", self.reason, self.what)
    }

    fn status(self, status: u16) -> Case {
        Case { status: Some(status), ..self }
    }

    fn without_reply(self) -> Case {
        Case { status: None, ..self }
    }

    fn untold(self) -> Case {
        Case { is_told: false, ..self }
    }

    fn before(self, before: impl Into<Act>) -> Case {
        Case { before: Some(before.into()), ..self }
    }

    fn settings(self, settings: fn(&mut Settings)) -> Case {
        Case { settings, ..self }
    }

    fn other_body(self) -> Case {
        Case { passes_frame: false, ..self }
    }
}

fn case(reason: Reason, what: &'static str, refused: impl Into<Act>, passes: impl Into<Act>) -> Case {
    Case {
        reason,
        what,
        status: Some(reason.status()),
        refused: refused.into(),
        passes: passes.into(),
        before: None,
        register: |register| register,
        near: None,
        settings: |_| (),
        is_told: true,
        unrecorded: 0,
        passes_frame: true,
    }
}

/// Bytes that begin as a JPEG does.
fn jpeg(size: usize) -> Vec<u8> {
    let mut bytes = FRAME.to_vec();
    bytes.resize(size, 0x5a);
    bytes
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3600)
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [shape(), users(), orders_and_sources(), destinations(), filings(), identity(), content(), limits(), ourselves()]
        .into_iter()
        .flatten()
        .collect()
}

const GOOD: &str = "GET http://fine.example:PLAIN/ HTTP/1.1\r\nHost: fine.example:PLAIN\r\n\r\n";

const CAMERA: &str = "Basic Y2FtZXJhOmEgZnJhbWUgZWFjaCBtaW51dGU=";

/// The uploader is known by its user beside its network.
fn users() -> Vec<Case> {
    use Reason::CredentialsRequired;
    let with_user = |what, refused: Sent| Case {
        register: |register| register.replace("networks: [127.0.0.5/32],", "networks: [127.0.0.5/32], user: camera,"),
        settings: |settings| {
            let file = settings.state.with_file_name("users");
            let name = UserName::parse("camera").expect("a name");
            let hash = Hash::of(&Password::new("a frame each minute", &name).expect("a password")).expect("made");
            write(&file, &name, Some(&hash)).expect("written");
            settings.users = Some(file);
        },
        ..case(CredentialsRequired, what, refused, to("fine.example").field("proxy-authorization", CAMERA))
    };
    vec![
        with_user("none are sent", to("fine.example")),
        with_user("wrong ones", to("fine.example").field("proxy-authorization", "Basic Y2FtZXJhOndyb25n")),
        with_user("another scheme", to("fine.example").field("proxy-authorization", "Bearer Y2FtZXJhOndyb25n")),
    ]
}

fn shape() -> Vec<Case> {
    use Reason::*;
    let at_fine = || to("fine.example");
    vec![
        case(MalformedRequest, "no Host", raw("GET http://fine.example:PLAIN/ HTTP/1.1\r\n\r\n"), raw(GOOD))
            .other_body(),
        case(
            MalformedRequest,
            "refused by the parser",
            raw("GET http://fine.example:PLAIN/ HTTP/9\r\n\r\n"),
            raw(GOOD),
        )
        .untold()
        .other_body(),
        case(
            AmbiguousDestination,
            "Host is another",
            at_fine().field("host", "other.example"),
            raw("GET http://fine.example:PLAIN/ HTTP/1.1\r\nHost: FINE.example.:PLAIN\r\n\r\n"),
        )
        .other_body(),
        case(
            Loop,
            "our pseudonym",
            at_fine().field("via", "1.1 tasrih-NODE"),
            at_fine().field("via", "1.1 tasrih-other"),
        )
        .settings(|settings| settings.node = "NODE".into()),
        case(ClientTimeout, "slow head", slowly(ms(900), ms(0)), slowly(ms(10), ms(0)))
            .settings(|settings| settings.limits.header_time = ms(400))
            .without_reply(),
        case(ClientTimeout, "slow body", slowly(ms(0), ms(900)), slowly(ms(0), ms(10)))
            .settings(|settings| settings.limits.idle = ms(400)),
        case(ClientClosed, "left in the middle of its body", left_in_the_middle(), slowly(ms(0), ms(0)))
            .without_reply(),
        case(
            ClientClosed,
            "a CONNECT without a request inside",
            act(|world| {
                Box::pin(async move {
                    let target = format!("tls.example:{}", world.house.recipient("tls.example").address.port());
                    let opened = world.house.client(UPLOADER).open(&target).await.expect("an answer");
                    assert!(opened.is_ok(), "the CONNECT is let in");
                    Told::default()
                })
            }),
            to("tls.example").tls(),
        )
        .without_reply(),
    ]
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn orders_and_sources() -> Vec<Case> {
    use Reason::*;
    vec![
        case(SourceUnknown, "nobody declared it", to("fine.example").from(STRANGER), to("fine.example")),
        case(SourceUnknown, "a CONNECT", to("tls.example").tls().from(STRANGER), to("tls.example").tls()),
        case(SuspendedByOrder, "the transfer", to("ordered.example"), to("lifted.example")),
        case(SuspendedByOrder, "the recipient", to("ordered-recipient.example"), to("fine.example")),
        case(SuspendedByOrder, "the country", to("ordered-country.example"), to("fine.example")),
        case(SuspendedByOrder, "the source", to("fine.example").from(STOPPED), to("fine.example")),
        Case {
            register: stop_everything,
            near: Some(|register| register),
            ..case(SuspendedByOrder, "everything", to("fine.example"), to("fine.example"))
        },
    ]
}

fn stop_everything(register: String) -> String {
    let order = "orders:\n  - {authority: CNDP, ref: o-all, date: 2024-01-10, action: suspend, scope: everything}\n";
    register.replace("orders:\n", order)
}

fn destinations() -> Vec<Case> {
    use Reason::*;
    let fine = || to("fine.example");
    vec![
        case(AddressRefused, "metadata", to("metadata.example"), fine()),
        case(AddressRefused, "private", to("private.example"), fine()),
        case(
            AddressRefused,
            "ourselves",
            act(|world| Box::pin(async move { to("own.example").port(world.house.proxy().port()).send(world).await })),
            fine(),
        ),
        case(AddressRefused, "a literal", to("10.1.2.3"), to("127.0.0.1")),
        case(NumericHost, "hexadecimal", to("0x7f.1"), to("127.0.0.1")),
        case(NumericHost, "one number", to("2130706433"), to("127.0.0.1")),
        case(PortNotDeclared, "the next port", to("fine.example").port(81), fine()),
        case(
            CleartextNotDeclared,
            "http to a TLS host",
            act(|world| {
                Box::pin(async move { to("tls.example").port(world.tls_port("tls.example")).send(world).await })
            }),
            to("tls.example").tls(),
        ),
        case(NoDeclaration, "an unknown host", to("nobody.example"), fine()),
        case(NoDeclaration, "a CONNECT", to("nobody.example").tls(), to("tls.example").tls()),
        case(SourceNotDeclared, "for the office", to("office-only.example"), to("office-only.example").from(OFFICE)),
        case(Unresolvable, "no address known", to("nowhere.example"), fine()),
        case(
            Unreachable,
            "nobody listens",
            act(|world| Box::pin(async move { to("closed.example").port(world.closed).send(world).await })),
            fine(),
        ),
        case(
            UpstreamFault,
            "no TLS there",
            act(|world| {
                Box::pin(async move { to("not-tls.example").tls().port(world.mute.address.port()).send(world).await })
            }),
            to("tls.example").tls(),
        ),
    ]
}

fn filings() -> Vec<Case> {
    use Reason::*;
    let fine = || to("fine.example");
    vec![
        case(FilingMissing, "none to a foreign country", to("unfiled.example"), to("domestic.example")),
        case(FilingNotGranted, "a draft", to("draft.example"), fine()),
        case(FilingNotGranted, "filed", to("filed.example"), fine()),
        case(FilingNotGranted, "reclassified", to("reclassified.example"), fine()),
        case(FilingRefused, "refused", to("refused.example"), fine()),
        case(FilingSuspended, "suspended", to("suspended.example"), fine()),
        case(FilingWithdrawn, "withdrawn", to("withdrawn.example"), fine()),
        case(NotYetValid, "from tomorrow", to("tomorrow.example"), to("today.example")),
        case(Expired, "until yesterday", to("yesterday.example"), to("last-day.example")),
        case(ReceiptMissing, "the processing has none", to("no-receipt.example"), fine()),
        case(BasisImpossible, "no adequacy decision", to("inadequate.example"), to("adequate.example")),
    ]
}

fn identity() -> Vec<Case> {
    use Reason::*;
    let tls = |host| to(host).tls();
    let tunnel_hello = |newest| into_tunnel("tunnel.example", move || client_hello(Some("tunnel.example"), newest));
    vec![
        case(
            SniMismatch,
            "inside an interception",
            asking_for("other.example", "tls.example"),
            asking_for("tls.example", "tls.example"),
        )
        .without_reply(),
        case(
            SniMismatch,
            "another name into a tunnel",
            into_tunnel("tunnel.example", || client_hello(Some("other.example"), 0x0303)),
            to_tunnel(),
        )
        .without_reply(),
        case(
            SniMismatch,
            "no name into a tunnel",
            into_tunnel("tunnel.example", || client_hello(None, 0x0303)),
            to_tunnel(),
        )
        .without_reply(),
        case(TlsIdentityMismatch, "another name", tls("wrong.example"), tls("tls.example")).status(502),
        case(TlsIdentityMismatch, "another authority", tls("untrusted.example"), tls("tls.example")).status(502),
        case(TlsIdentityMismatch, "another key", tls("mispinned.example"), tls("pinned.example")),
        case(TlsTooOld, "only 1.1 offered", tunnel_hello(0x0302), to_tunnel()).without_reply(),
        case(MeasureMissing, "encryption in transfer over http", to("measured.example"), tls("measured-tls.example")),
    ]
}

/// The frame through the tunnel, encrypted from the client to the recipient.
fn to_tunnel() -> Act {
    asking_for("tunnel.example", "tunnel.example")
}

fn content() -> Vec<Case> {
    use Reason::*;
    let at = || to("requests.example");
    let fine = || to("fine.example");
    vec![
        case(MethodNotDeclared, "PUT", at().method("PUT"), at()),
        case(PathNotDeclared, "beside /cctv", at().path("/cctv2/cam1"), at()),
        case(PathNotDeclared, "a dot segment", at().path("/cctv/../secret"), at().path("/cctv/a/b.c")),
        case(ContentTypeNotDeclared, "png", at().kind("image/png"), at()),
        case(Uninspectable, "JSON", fine().kind("application/json").body("{}"), fine()),
        case(Uninspectable, "the label disagrees", fine().kind("image/png"), fine().kind("IMAGE/JPEG")),
        case(Uninspectable, "a query", fine().path("/cctv/cam1?id=7"), fine()),
        case(Uninspectable, "encoded", fine().field("content-encoding", "gzip"), fine()),
        case(Uninspectable, "not TLS into a tunnel", into_tunnel("tunnel.example", || FRAME.to_vec()), to_tunnel())
            .without_reply(),
        case(CategoryNotDeclared, "any picture", to("frames-of-office.example").from(OFFICE), fine()),
        case(
            SensitiveNotAuthorised,
            "health",
            to("insensitive.example").from(CLINIC),
            to("sensitive.example").from(CLINIC),
        ),
    ]
}

fn limits() -> Vec<Case> {
    use Reason::*;
    let small = |size| to("small.example").body(jpeg(size));
    let next = |day: u64, act: Sent| first(move |world| world.clock.advance(days(day)), act);
    vec![
        case(TooLarge, "one byte more, as declared", small(32 * 1024 + 1), small(32 * 1024)).other_body(),
        case(
            TooLarge,
            "one byte more, in chunks",
            acts::chunked("small.example", jpeg(32 * 1024 + 1)),
            small(32 * 1024),
        )
        .other_body(),
        case(
            TooFrequent,
            "too early",
            first(|world| world.clock.advance(Duration::from_secs(269)), to("rare.example")),
            first(|world| world.clock.advance(Duration::from_secs(2)), to("rare.example")),
        )
        .before(to("rare.example")),
        case(DayLimit, "the second of a day", to("daily.example"), next(1, to("daily.example")))
            .before(to("daily.example")),
        case(VolumeLimit, "the second of a day", to("narrow.example"), next(1, to("narrow.example")))
            .before(to("narrow.example")),
    ]
}

fn ourselves() -> Vec<Case> {
    use Reason::*;
    let fine = || to("fine.example");
    vec![
        case(Busy, "no room to hold it", fine().body(jpeg(96 * 1024)), fine())
            .settings(|settings| settings.limits.held_total = 64 * 1024),
        Case {
            unrecorded: 1,
            ..case(
                RecordUnavailable,
                "no room for its record",
                first(|world| world.storage.no_room(true), fine()),
                first(|world| world.storage.no_room(false), fine()),
            )
        },
    ]
}

//! What can go wrong on an exchange before its record, and the denial that each becomes.
//!
//! A denial is a result, not an error (STYLE, "Errors and refusals"); faults of the request, the way or ourselves turn
//! into one here, so that `?` leads from every stage to the one place that records and answers.

use std::time::Duration;

use http::HeaderName;

use super::body::HoldFault;
use crate::destination::{HostFault, PathFault};
use crate::policy::{Denial, Reason, Stage};
use crate::tls::TlsFault;
use crate::upstream::{DialFault, ResolveFault};

/// What a client is told to wait where there was no room for its body.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// What is wrong with a request head. The words go to the client and into the record; they quote no value.
#[expect(missing_docs, reason = "the message of each says what it means")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("this is a proxy: send the request in absolute form (`GET http://host/path`) or use CONNECT")]
    NotAbsolute,
    #[error("CONNECT wants `host:port` and nothing else")]
    ConnectTarget,
    #[error("CONNECT may not carry a body")]
    ConnectBody,
    #[error("the scheme of the target is neither http nor https")]
    Scheme,
    #[error("the method is not in upper case letters")]
    Method,
    #[error("`*` is not the target of a transfer")]
    Asterisk,
    #[error("{}", unquoted_host(.0))]
    Host(#[from] HostFault),
    #[error("{}", unquoted_path(.0))]
    Path(#[from] PathFault),
    #[error("the target is too long in its canonical form")]
    Target,
    #[error("a request needs one Host field, or in HTTP/2 an `:authority`")]
    NoHost,
    #[error("the field `{0}` stands more than once")]
    RepeatedField(HeaderName),
    #[error("the field `{0}` holds bytes that are not ASCII")]
    NotAscii(HeaderName),
    #[error("the only transfer coding that is understood is one `chunked`")]
    TransferCoding,
    #[error("the only expectation that is understood is `100-continue`")]
    Expectation,
    #[error("the head has more than the {most} fields that it may have")]
    TooManyFields { most: usize },
    #[error("Host names another destination than the target")]
    HostDisagrees,
    #[error("the request names another destination than the connection that it came in")]
    ConnectionDisagrees,
    #[error("our own name stands in Via: the request has been here before")]
    Loop,
}

/// What is wrong with a host, without the host: it may hold a password before an `@`.
fn unquoted_host(fault: &HostFault) -> &'static str {
    match fault {
        HostFault::Empty => "the host is empty",
        HostFault::TooLong(_) => "the host name is longer than 253 bytes",
        HostFault::EmptyLabel(_) => "the host has an empty label, look for a dot too many",
        HostFault::LabelTooLong(_) => "a label of the host is longer than 63 bytes",
        HostFault::LabelHyphen(_) => "a label of the host begins or ends with a hyphen",
        HostFault::Character { .. } => "the host has a character other than letters, digits, `-`, `_` and `.`",
        HostFault::NotAscii { .. } => "the host has characters beyond ascii, write its A-label form",
        HostFault::BadALabel(_) => "a label of the host begins with `xn--` but is no valid international label",
        HostFault::NumericLooking(_) => "the host looks like a number, write an ipv4 address as four decimal numbers",
        HostFault::NotAName(_) => "the host is an address where only a name is possible",
        HostFault::NotIpv6(_) => "what stands in brackets is no ipv6 address",
        HostFault::Unbracketed(_) => "an ipv6 address stands without its brackets",
        HostFault::UserInfo(_) => "user information stands before an `@`, leave it out",
        HostFault::EmptyPort(_) => "the host ends with a colon, name the port or leave the colon out",
        HostFault::BadPort(_) => "the port is not a number from 1 to 65535 without sign and leading zeros",
        HostFault::Wildcard(_) | HostFault::WildcardAddress(_) => "the host has a `*`",
    }
}

/// What is wrong with a path, without the path: records show none of it but plain words (DESIGN §6 "Records").
fn unquoted_path(fault: &PathFault) -> &'static str {
    match fault {
        PathFault::NoSlash(_) => "the path does not begin with `/`",
        PathFault::BadPercent(_) => "the path has a `%` without two hex digits behind it",
        PathFault::Character { .. } => "the path has a character that has to be percent-encoded",
    }
}

impl From<Malformed> for Denial {
    fn from(fault: Malformed) -> Denial {
        let reason = match &fault {
            Malformed::Host(host) if host.is_numeric() => Reason::NumericHost,
            Malformed::HostDisagrees | Malformed::ConnectionDisagrees => Reason::AmbiguousDestination,
            Malformed::Loop => Reason::Loop,
            _ => Reason::MalformedRequest,
        };
        let status = match &fault {
            Malformed::TransferCoding => 501,
            Malformed::Expectation => 417,
            Malformed::TooManyFields { .. } => 431,
            _ => reason.status(),
        };
        Denial::new(reason, Stage::Head).with_detail(fault.to_string()).with_status(status)
    }
}

impl From<ResolveFault> for Denial {
    fn from(fault: ResolveFault) -> Denial {
        Denial::new(Reason::Unresolvable, Stage::Connection)
            .with_status(if fault.is_timeout() { 504 } else { 502 })
            .with_detail(told(&fault))
    }
}

impl From<DialFault> for Denial {
    fn from(fault: DialFault) -> Denial {
        let reason = match &fault {
            DialFault::Unreachable { .. } => Reason::Unreachable,
            DialFault::Full(_) => Reason::Busy,
            DialFault::Tls { fault: TlsFault::Certificate(_), .. } => Reason::TlsIdentityMismatch,
            DialFault::NotHttp(_) => Reason::MalformedRequest,
            DialFault::Tls { .. } | DialFault::TlsTimeout { .. } | DialFault::Http { .. } => Reason::UpstreamFault,
        };
        let denial = Denial::new(reason, Stage::Connection).with_detail(told(&fault));
        match reason {
            Reason::Busy => denial.with_retry_after(BUSY_FOR),
            _ => denial.with_status(if fault.is_timeout() { 504 } else { 502 }),
        }
    }
}

impl From<HoldFault> for Denial {
    fn from(fault: HoldFault) -> Denial {
        let reason = match &fault {
            HoldFault::TooLarge { .. } => Reason::TooLarge,
            HoldFault::Full | HoldFault::Spool(_) => Reason::Busy,
            HoldFault::Broken => Reason::ClientClosed,
            HoldFault::Malformed => Reason::MalformedRequest,
            HoldFault::Slow(_) => Reason::ClientTimeout,
        };
        let denial = Denial::new(reason, Stage::Body).with_detail(fault.to_string());
        // Room comes back as soon as other bodies are sent (DESIGN §6: `busy` says when to come again).
        if reason == Reason::Busy { denial.with_retry_after(BUSY_FOR) } else { denial }
    }
}

/// An error with its causes, in one line: each level prints only itself.
pub fn told(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(fault) = cause {
        text += &format!(": {fault}");
        cause = fault.source();
    }
    text
}

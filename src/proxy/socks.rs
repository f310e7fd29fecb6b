//! SOCKS version 5 (RFC 1928): asks for a connection as CONNECT does, in binary, by a user's name and password (RFC 1929)
//! where there are users.
//!
//! Only CONNECT is served. BIND would let a connection in and UDP is not inspected by anything here: both are refused. A
//! refusal is one byte, so that its reason is in the record alone; [`Answer::to`] says which byte stands for which.
//! Exactly the bytes of the negotiation are taken off the stream: what a client sends ahead of our answer belongs to the
//! connection that it asks for, and is judged there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::credentials::{self, Given};
use super::error::Malformed;
use super::guard::Guard;
use super::opening::{self, Stream};
use super::request::Door;
use super::server::FIRST_BYTES;
use super::{Corridor, StopSignal, stopped};
use crate::destination::Host;
use crate::policy::{Denial, Reason, Stage};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
/// Of the negotiation of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// After a refusal, what the client had sent ahead is read over for this long: closing upon unread bytes resets the
/// connection, and the client may never see the answer.
const LINGER_TIME: Duration = Duration::from_millis(500);
/// And at most so many bytes of it.
const LINGER_BYTES: u64 = 64 << 10;

/// Serves a client's connection to its end.
pub async fn client(corridor: Arc<Corridor>, mut door: Door, mut stream: impl Stream, mut shutdown: StopSignal) {
    let until = Instant::now() + corridor.limits.header_time;
    let greeted = tokio::select! {
        greeted = in_time(until, greet(&mut stream, corridor.users.are_known())) => greeted,
        // A client that has asked for nothing yet is not waited for longer than one that has sent no request.
        () = async { stopped(&mut shutdown).await; sleep(FIRST_BYTES).await } => return,
    };
    // Whoever only looks whether somebody listens has asked for nothing.
    if matches!(greeted, Err(Fault::Nothing)) {
        return;
    }
    let mut guard = Guard::begin(&corridor, &door);
    let asked = match greeted {
        Ok(method) => ask(&corridor, &mut door, &mut stream, method, until, &mut guard).await,
        Err(fault) => Err(fault.into()),
    };
    let (host, port) = match asked {
        Ok(asked) => asked,
        Err(Refused { denial, answer }) => {
            guard.note(denial).await;
            return end(stream, answer).await;
        }
    };
    match opening::admit(&corridor, &mut door, host, port, Given::Nothing, &mut guard).await {
        Ok(opening) => {
            // A client that is gone is found by whoever reads from it.
            let _ = stream.write_all(&Answer::Succeeded.bytes()).await;
            opening::run(corridor, door, opening, stream, guard).await;
        }
        Err(denial) if denial.source.as_ref().is_some_and(|source| source.refusals_inside) => {
            let _ = stream.write_all(&Answer::Succeeded.bytes()).await;
            opening::refuse_inside(corridor, door, stream, guard, denial).await;
        }
        Err(denial) => {
            let reason = guard.refuse_in_a_word(denial).await;
            end(stream, Some(Answer::to(reason))).await;
        }
    }
}

/// Lets the client prove who it is, where that is agreed, and reads what it asks for.
async fn ask(
    corridor: &Corridor,
    door: &mut Door,
    stream: &mut impl Stream,
    method: Method,
    until: Instant,
    guard: &mut Guard,
) -> Result<(Host, u16), Refused> {
    if method == Method::Password {
        let given = in_time(until, read_password(stream)).await?;
        let proved = credentials::identify(corridor, door, given, guard).await;
        proved.map_err(|denial| Refused { denial, answer: Some(Answer::BadPassword) })?;
        let told = stream.write_all(&[PASSWORD_VERSION, 0]).await;
        told.map_err(Fault::Left)?;
    }
    Ok(in_time(until, read_request(stream)).await?)
}

async fn in_time<T>(until: Instant, reading: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout_at(until, reading).await.unwrap_or(Err(Fault::Slow))
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// By its address alone.
    None,
    /// By a user's name and password (RFC 1929).
    Password,
}

/// What is on record, and what the client is told.
struct Refused {
    denial: Denial,
    answer: Option<Answer>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        let answer = fault.answer();
        Refused { denial: fault.into(), answer }
    }
}

/// Method negotiation (RFC 1928 §3). A client that offers a password has one, and is asked where users are known.
async fn greet(stream: &mut impl Stream, are_users_known: bool) -> Result<Method, Fault> {
    let mut version = [0];
    if stream.read(&mut version).await.map_err(|_| Fault::Nothing)? == 0 {
        return Err(Fault::Nothing);
    }
    if version != [VERSION] {
        return Err(Fault::Version(version[0]));
    }
    let count = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    let (number, method) = match methods.contains(&NO_AUTHENTICATION) {
        _ if are_users_known && methods.contains(&PASSWORD) => (PASSWORD, Method::Password),
        true => (NO_AUTHENTICATION, Method::None),
        false => return Err(Fault::NoMethod),
    };
    stream.write_all(&[VERSION, number]).await?;
    Ok(method)
}

/// Name and password (RFC 1929 §2).
async fn read_password(stream: &mut impl Stream) -> Result<Given, Fault> {
    let version = stream.read_u8().await?;
    if version != PASSWORD_VERSION {
        return Err(Fault::PasswordVersion(version));
    }
    let (name, password) = (read_text(stream).await?, read_text(stream).await?);
    Ok(match (name, password) {
        (Some(name), Some(password)) => Given::Pair { name, password },
        (_, _) => Given::Other,
    })
}

/// A text behind its length; `None` where it is no UTF-8.
async fn read_text(stream: &mut impl Stream) -> Result<Option<String>, Fault> {
    let length = stream.read_u8().await?;
    let mut text = vec![0; usize::from(length)];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).ok())
}

/// The request (RFC 1928 §4).
async fn read_request(stream: &mut impl Stream) -> Result<(Host, u16), Fault> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, reserved, kind] = head;
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    if reserved != 0 {
        return Err(Fault::Reserved(reserved));
    }
    if command != CONNECT {
        return Err(Fault::Command(command));
    }
    let host = read_host(stream, kind).await?;
    let port = stream.read_u16().await?;
    match (host, port) {
        (Ok(_), 0) => Err(Fault::Port),
        (Ok(host), port) => Ok((host, port)),
        (Err(fault), _) => Err(Fault::Host(fault)),
    }
}

/// A name is read as CONNECT reads it, so that no two entry points take the same bytes for different hosts.
async fn read_host(stream: &mut impl Stream, kind: u8) -> Result<Result<Host, Malformed>, Fault> {
    Ok(match kind {
        IPV4 => Ok(Host::Address(IpAddr::V4(Ipv4Addr::from(stream.read_u32().await?)))),
        IPV6 => Ok(Host::Address(IpAddr::V6(Ipv6Addr::from(stream.read_u128().await?)))),
        NAME => {
            let length = stream.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            Host::parse(&String::from_utf8_lossy(&name)).map_err(Malformed::from)
        }
        other => return Err(Fault::AddressType(other)),
    })
}

/// The last word to a client, and then an end that it sees.
async fn end(mut stream: impl Stream, answer: Option<Answer>) {
    if let Some(answer) = answer
        && stream.write_all(&answer.bytes()).await.is_err()
    {
        return;
    }
    let _ = stream.shutdown().await;
    let left = async {
        let mut left = (&mut stream).take(LINGER_BYTES);
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER_TIME, left).await;
}

/// The bytes that a client is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// None of the client's methods is accepted (§3).
    NoMethod,
    /// Name or password are wrong, or cannot be looked at now (RFC 1929 §2).
    BadPassword,
    Succeeded,
    /// The proxy cannot, now.
    Failure,
    /// The register refuses.
    NotAllowed,
    HostUnreachable,
    Refused,
    CommandNotSupported,
    AddressTypeNotSupported,
}

impl Answer {
    /// What stands for a reason: a fault of the way is told as such, so that clients try again later; a lack of ours is a
    /// failure; everything else is not allowed.
    fn to(reason: Reason) -> Answer {
        match reason {
            Reason::Unresolvable => Answer::HostUnreachable,
            Reason::Unreachable => Answer::Refused,
            Reason::UpstreamFault | Reason::Busy | Reason::RecordUnavailable | Reason::ClientTimeout => Answer::Failure,
            _ => Answer::NotAllowed,
        }
    }

    /// As RFC 1928 §6 writes it. The bound address is left out: with interception there may be none yet, and clients have
    /// no use for it.
    fn bytes(self) -> Vec<u8> {
        let code = match self {
            Answer::NoMethod => return vec![VERSION, NO_METHOD],
            Answer::BadPassword => return vec![PASSWORD_VERSION, 1],
            Answer::Succeeded => 0,
            Answer::Failure => 1,
            Answer::NotAllowed => 2,
            Answer::HostUnreachable => 4,
            Answer::Refused => 5,
            Answer::CommandNotSupported => 7,
            Answer::AddressTypeNotSupported => 8,
        };
        vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
    }
}

/// Why a client asked for nothing that could be judged. Numbers are those of the bytes that it sent.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the client sent nothing")]
    Nothing,
    #[error("the client left before its SOCKS request was whole")]
    Left(#[from] io::Error),
    #[error("the SOCKS negotiation did not end in time")]
    Slow,
    #[error("the first byte is {0}, and SOCKS version 5 begins with 5")]
    Version(u8),
    #[error("the client offers no way to prove itself that this listener accepts")]
    NoMethod,
    #[error("the version of the password negotiation is {0}, not 1")]
    PasswordVersion(u8),
    #[error("the reserved byte of the SOCKS request is {0}, not 0")]
    Reserved(u8),
    #[error("the SOCKS command {0} is not served, CONNECT (1) alone is")]
    Command(u8),
    #[error("the SOCKS address type {0} is not known")]
    AddressType(u8),
    #[error("the port of the SOCKS request is 0")]
    Port,
    #[error(transparent)]
    Host(Malformed),
}

impl Fault {
    /// What the client is told; nothing where it does not speak this protocol.
    fn answer(&self) -> Option<Answer> {
        match self {
            Fault::Nothing | Fault::Left(_) | Fault::Slow | Fault::Version(_) | Fault::PasswordVersion(_) => None,
            Fault::NoMethod => Some(Answer::NoMethod),
            Fault::Reserved(_) => Some(Answer::Failure),
            Fault::Command(_) => Some(Answer::CommandNotSupported),
            Fault::AddressType(_) => Some(Answer::AddressTypeNotSupported),
            Fault::Port | Fault::Host(_) => Some(Answer::NotAllowed),
        }
    }
}

impl From<Fault> for Denial {
    fn from(fault: Fault) -> Denial {
        let reason = match fault {
            Fault::Host(fault) => return Denial::from(fault),
            Fault::Nothing | Fault::Left(_) => Reason::ClientClosed,
            Fault::Slow => Reason::ClientTimeout,
            Fault::Version(_)
            | Fault::PasswordVersion(_)
            | Fault::NoMethod
            | Fault::Reserved(_)
            | Fault::Command(_)
            | Fault::AddressType(_)
            | Fault::Port => Reason::MalformedRequest,
        };
        Denial::new(reason, Stage::Head).with_detail(fault.to_string())
    }
}

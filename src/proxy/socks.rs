//! SOCKS version 5 (RFC 1928): asks for a connection as CONNECT does, in binary.
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
use tokio::time::{sleep, timeout};

use super::credentials::Given;
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
const NO_METHOD: u8 = 0xff;
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
    let negotiated = tokio::select! {
        negotiated = negotiate(&mut stream, corridor.limits.header_time) => negotiated,
        // A client that has asked for nothing yet is not waited for longer than one that has sent no request.
        () = async { stopped(&mut shutdown).await; sleep(FIRST_BYTES).await } => return,
    };
    let mut guard = match &negotiated {
        // Whoever only looks whether somebody listens has asked for nothing.
        Err(Fault::Nothing) => return,
        Ok(_) | Err(_) => Guard::begin(&corridor, &door),
    };
    let (host, port) = match negotiated {
        Ok(asked) => asked,
        Err(fault) => {
            let answer = fault.answer();
            guard.note(fault.into()).await;
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

/// Agrees on how the client proves who it is, and reads what it asks for.
async fn negotiate(stream: &mut impl Stream, within: Duration) -> Result<(Host, u16), Fault> {
    timeout(within, async {
        greet(stream).await?;
        read_request(stream).await
    })
    .await
    .unwrap_or(Err(Fault::Slow))
}

/// Method negotiation (RFC 1928 §3).
async fn greet(stream: &mut impl Stream) -> Result<(), Fault> {
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
    if !methods.contains(&NO_AUTHENTICATION) {
        return Err(Fault::NoMethod);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    Ok(())
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
            Fault::Nothing | Fault::Left(_) | Fault::Slow | Fault::Version(_) => None,
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
            | Fault::NoMethod
            | Fault::Reserved(_)
            | Fault::Command(_)
            | Fault::AddressType(_)
            | Fault::Port => Reason::MalformedRequest,
        };
        Denial::new(reason, Stage::Head).with_detail(fault.to_string())
    }
}

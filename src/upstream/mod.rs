//! The way to a recipient: names to addresses, addresses to connections, connections to answers.
//!
//! - [`resolver`]: a name is resolved once, through a [`Resolve`] that is handed in.
//! - [`name_servers`]: resolves by servers that the configuration names.
//! - [`dialer`]: takes only a [`Pinned`](crate::policy::Pinned) and dials only its addresses.
//! - [`connection`]: sends one request at a time, and only with a [`Recorded`](crate::audit::Recorded) in hand.
//! - [`look`]: looks at a destination without an exchange, for `tasrih probe`.
//! - `shared`: a connection of HTTP/2, which exchanges of one source share. [`answer`]: what comes back over either.
//! - [`streams`]: bodies over streams of HTTP/2, which the client's side uses too.
//! - [`pool`]: keeps idle connections for exchanges that would open just the same one.
//!
//! Nothing of an exchange leaves before [`Connection::send`]: opening a connection is a TCP and a TLS handshake.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub mod answer;
pub mod connection;
pub mod dialer;
pub mod look;
pub mod name_servers;
pub mod pool;
pub mod resolver;
mod shared;
pub mod streams;

pub use answer::AnswerBody;
pub use connection::{Connection, Cutter, SendFault};
pub use dialer::{DialFault, DialTimes, Dialer};
pub use name_servers::{NameServerFault, NameServers};
pub use resolver::{Found, Resolve, ResolveFault, StaticHosts, SystemResolver};

/// The body of a request on its way out. `Unsync`: a body read from a spool file or a client is polled by one task.
pub type UpstreamBody = UnsyncBoxBody<Bytes, std::io::Error>;

//! The decision: may this exchange leave, under what, and if not, why not.
//!
//! A pure function of (register, facts, time, counters): nothing here opens a socket, reads a file or asks for the
//! time. The stages are types ([`admit`] → [`Permit`] → [`Pinned`] → [`Connected`] → [`Verdict`]), each made only here,
//! so that only this module can let something be resolved, dialled or put on record as permitted.
//!
//! | file | subject |
//! |---|---|
//! | `reason.rs`, `sentences.rs`, `remedies.rs` | the closed list of reasons, with their words, statuses, sentences, remedies |
//! | `facts.rs` | what is seen of an exchange, and handed in |
//! | `decision.rs`, `trace.rs` | what comes out: denial, verdict, and each condition's outcome |
//! | `stages.rs`, `obligations.rs` | the stages as types, from head to verdict |
//! | `recheck.rs` | open exchanges judged again |
//! | `candidate.rs` | the transfers and allowances that match, and which reason a refusal has |
//! | `head.rs`, `undeclared.rs`, `connection.rs`, `content.rs`, `filing.rs`, `tunnel.rs` | the conditions |
//! | `limits.rs`, `book.rs`, `calendar.rs` | the ledger of the limits |
//! | `dry.rs`, `cases.rs` | one decision without a network; policy cases with the decision that is expected |

mod book;
mod calendar;
mod candidate;
pub mod cases;
mod connection;
mod content;
pub mod credentials;
mod decision;
pub mod dry;
mod facts;
mod filing;
mod head;
mod limits;
mod obligations;
mod reason;
mod recheck;
mod remedies;
mod sentences;
mod stages;
mod trace;
mod tunnel;
mod undeclared;

pub use candidate::{CandidateKind, Used};
pub use decision::{CandidateReport, Decision, Denial, End, Stage, Verdict};
pub use facts::{
    BodyFacts, ConnectionFacts, DeclaredBody, Digest, EntryPoint, Head, PastExchange, PastRequest, Peer, Request, Sent,
    TlsFacts, TlsVersion, TunnelLimits,
};
pub use limits::{Ledger, Reservations};
pub use obligations::Obligations;
pub use reason::{Language, Reason};
pub use recheck::is_open;
pub use remedies::Remedy;
pub use stages::{Connected, Permit, Pinned, admit, connect};
pub use trace::{CandidateTrace, Check, Condition, Failure, Trace};
pub use tunnel::Carriage;

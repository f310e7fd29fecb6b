//! The life of an exchange, from first byte to last record. Read [`pass`] from top to bottom: each stage is a call
//! whose result the next one needs (DESIGN §6).

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response, Version};
use tokio::time::sleep;

use super::body::{self, Beyond, HoldFault};
use super::credentials::Given;
use super::guard::{Guard, JUDGED_AGAIN};
use super::reply::ReplyBody;
use super::request::{self, Asked, Door};
use super::upload::Upload;
use super::{Corridor, credentials, forward};
use crate::inspect;
use crate::metrics::Side;
use crate::policy::{self, BodyFacts, Connected, Denial, Permit, Pinned, Stage, Verdict};
use crate::record::Verified;
use crate::tls::HttpVersion;
use crate::upstream::Connection;
use crate::upstream::connection::authenticates_connection;

/// Answers one request that is not a CONNECT: lets it through, or says why not.
pub async fn exchange(corridor: Arc<Corridor>, door: Arc<Door>, request: Request<Upload>) -> Response<ReplyBody> {
    let (parts, body) = request.into_parts();
    let mut guard = Guard::begin(&corridor, &door);
    match pass(&corridor, Arc::unwrap_or_clone(door), &parts, body, &mut guard).await {
        Ok(response) => response,
        Err(denial) => guard.refuse(denial, &parts.headers).await,
    }
}

/// The corridor. A refusal at any stage ends it; what was let through is closed by the guard that the response carries.
async fn pass(
    corridor: &Arc<Corridor>,
    mut door: Door,
    parts: &Parts,
    body: Upload,
    guard: &mut Guard,
) -> Result<Response<ReplyBody>, Denial> {
    // receive, address: one value, whatever the entry point
    let asked = request::read(&door, parts, &body, &corridor.pseudonym, corridor.audit.body_digest_key())?;
    guard.account.asks(&asked);
    corridor.has_turn(&door)?;
    // identify, admit: the head alone
    credentials::identify(corridor, &mut door, Given::by(&parts.headers), guard).await?;
    let permit = admit(corridor, &door, &asked, guard)?;
    // resolve, pin: the name, once
    let pinned = resolve(corridor, permit, guard).await?;
    // connect: that address and no other
    let (connection, connected) = connect(corridor, pinned, newest(&asked), guard).await?;
    // judge: the whole body
    let held = tokio::select! {
        held = hold(corridor, &asked, &connected, body) => held,
        refused = refused_meanwhile(corridor, &connected, guard) => return Err(refused),
    };
    let (held, facts) = match held {
        Ok(held) => held,
        Err(fault) => {
            corridor.tell_spool(&fault);
            return Err(connected.abandon(fault.into()));
        }
    };
    guard.account.read(&facts);
    let verdict = judge(corridor, connected, facts)?;
    // record: before the first byte
    guard.permit(verdict).await?;
    let stamp = guard.verdict().and_then(|verdict| forward::stamp_of(verdict, guard.id()));
    // send, relay; the outcome is written when the answer ends, however it ends
    Ok(forward::send(corridor, connection, asked, stamp, held, guard.hand_over()).await)
}

fn admit(corridor: &Corridor, door: &Door, asked: &Asked, guard: &Guard) -> Result<Permit, Denial> {
    let head = corridor.head(door, &asked.destination, Some(asked.request.clone()));
    let _timed = corridor.metrics.deciding(Stage::Head);
    policy::admit(guard.register(), &corridor.addresses, &mut corridor.ledger(), head)
}

/// Resolves the name of an admitted destination and keeps the addresses that may be dialled.
pub(super) async fn resolve(corridor: &Corridor, permit: Permit, guard: &mut Guard) -> Result<Pinned, Denial> {
    let found = match corridor.resolve(&permit.head().destination.host).await {
        Ok(found) => found,
        Err(fault) => return Err(permit.abandon(fault.into())),
    };
    guard.account.resolved(&found);
    let pinned = permit.pin(&corridor.addresses, &found.addresses)?;
    guard.account.verified(Verified::Name);
    Ok(pinned)
}

/// What is offered to the recipient: what the client speaks itself, because only then can all of it be relayed. NTLM and its
/// like authenticate a connection, which must not be shared then.
fn newest(asked: &Asked) -> HttpVersion {
    match asked.version == Version::HTTP_2 && !authenticates_connection(&asked.headers) {
        true => HttpVersion::V2,
        false => HttpVersion::V1,
    }
}

async fn connect(
    corridor: &Corridor,
    pinned: Pinned,
    newest: HttpVersion,
    guard: &mut Guard,
) -> Result<(Connection, Connected), Denial> {
    let (connection, facts) = match corridor.dialer.open_up_to(newest, &pinned).await {
        Ok(opened) => opened,
        Err(fault) => {
            if fault.is_tls() {
                corridor.metrics.handshake_failed(Side::Recipient);
            }
            return Err(pinned.abandon(fault.into()));
        }
    };
    let verified: &[Verified] = if facts.tls.is_some() { &[Verified::Certificate] } else { &[] };
    guard.account.connected(&facts, verified);
    corridor.metrics.destination_showed(guard.register(), pinned.destination(), &facts);
    let _timed = corridor.metrics.deciding(Stage::Connection);
    match pinned.connected(facts) {
        Ok(connected) => Ok((connection, connected)),
        Err(denial) => {
            connection.retire();
            Err(denial)
        }
    }
}

fn judge(corridor: &Corridor, connected: Connected, facts: BodyFacts) -> Result<Verdict, Denial> {
    let _timed = corridor.metrics.deciding(Stage::Body);
    connected.judge(&mut corridor.ledger(), facts)
}

/// Ends when what is being held may not leave any more: it is judged again each second, as what is under way is, so that
/// an order does not wait for a body to be whole.
async fn refused_meanwhile(corridor: &Corridor, connected: &Connected, guard: &mut Guard) -> Denial {
    loop {
        sleep(JUDGED_AGAIN).await;
        if let Err(lost) = guard.account.proofs().check(&corridor.users) {
            return lost.into();
        }
        let register = corridor.register.load_full();
        if let Err(denial) = connected.recheck(&register, &corridor.addresses, corridor.now()) {
            guard.account.decided_on(register);
            return denial;
        }
    }
}

/// Reads the body, at last: hyper asks the client to go on (100) when it is first read.
async fn hold(
    corridor: &Corridor,
    asked: &Asked,
    connected: &Connected,
    body: Upload,
) -> Result<(body::Held, BodyFacts), HoldFault> {
    let holding = &corridor.holding;
    let allowed = connected.obligations().max_body.unwrap_or(u64::MAX);
    let (limit, beyond) = match connected.is_observed() {
        true => (holding.hold, Beyond::Pass),
        false => (holding.hold.min(allowed), Beyond::Refuse),
    };
    let inspector = inspect::body(asked.request.content_type.as_deref(), asked.content_encoding.as_deref());
    body::hold(body, limit, beyond, holding, corridor.audit.body_digest_key(), inspector).await
}

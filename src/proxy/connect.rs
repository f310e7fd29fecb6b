//! CONNECT: the request that asks for a connection (DESIGN §6 "CONNECT"). Refused at once, or answered 200 and handed to
//! [`opening`], which carries on whatever else asked for it.

use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use hyper_util::rt::TokioIo;

use super::Corridor;
use super::credentials::Given;
use super::guard::Guard;
use super::opening::{self, Opening};
use super::reply::{self, ReplyBody};
use super::request::{self, Door};
use super::upload::Upload;

use crate::policy::{Denial, EntryPoint, Reason, Stage};

/// An answer that is still to come. Named, because an intercepted connection leads back to this room.
pub type Answer = Pin<Box<dyn Future<Output = Response<ReplyBody>> + Send>>;

/// Answers a CONNECT.
pub fn connect(corridor: Arc<Corridor>, door: Arc<Door>, request: Request<Upload>) -> Answer {
    Box::pin(answer(corridor, door, request))
}

async fn answer(corridor: Arc<Corridor>, door: Arc<Door>, mut request: Request<Upload>) -> Response<ReplyBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    // Over TLS the listener's entry point stays: what it proves is the same for a request and for a CONNECT.
    let entry = if door.entry == EntryPoint::Forward { EntryPoint::Connect } else { door.entry };
    let mut door = Door { entry, ..(*door).clone() };
    let mut guard = Guard::begin(&corridor, &door);
    match judge(&corridor, &mut door, &parts, &body, &mut guard).await {
        Ok(opening) => {
            super::spawn(corridor.halt.clone(), async move {
                let Ok(upgraded) = upgrade.await else { return };
                opening::run(corridor, door, opening, TokioIo::new(upgraded), guard).await;
            });
            reply::connected()
        }
        // Malformed CONNECTs and unknown sources have no declared source here: they are refused at once.
        Err(denial) if denial.source.as_ref().is_some_and(|source| source.refusals_inside) => {
            super::spawn(corridor.halt.clone(), async move {
                match upgrade.await {
                    Ok(upgraded) => {
                        opening::refuse_inside(corridor, door, TokioIo::new(upgraded), guard, denial).await;
                    }
                    Err(_) => guard.note(denial).await,
                }
            });
            reply::connected()
        }
        // hyper would read what follows a refused CONNECT as a new request: the connection ends (`research/field.md` §6).
        Err(denial) => reply::last(guard.refuse(denial, &parts.headers).await),
    }
}

async fn judge(
    corridor: &Corridor,
    door: &mut Door,
    parts: &Parts,
    body: &Upload,
    guard: &mut Guard,
) -> Result<Opening, Denial> {
    guard.account.asks_connect(parts.version);
    if door.outer.is_some() || door.redirected.is_some() {
        return Err(Denial::new(Reason::MalformedRequest, Stage::Head)
            .with_detail("a CONNECT may not stand inside another connection"));
    }
    let (host, port) = request::read_connect(parts, body, &corridor.pseudonym)?;
    opening::admit(corridor, door, host, port, Given::by(&parts.headers), guard).await
}

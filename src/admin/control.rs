//! The control socket: changes that someone on this machine asks of the running proxy.
//!
//! It is a Unix socket in the state folder, `control.sock`, that only the proxy's own user and root can connect to; it
//! speaks HTTP, so that `curl --unix-socket` does for a script what `tasrih reload` does. Whoever asks is told by the
//! kernel, not by the request, and goes on record. [`client`] asks, [`socket`] makes and finds the file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Extension, Json, Router};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::docket::Act;
use crate::proxy::Corridor;
use crate::proxy::error::told;
use crate::record::Asker;
use crate::register::Scope;
use crate::register::fault::{Fault, Problem};
use crate::reload::enter::Entered;
use crate::reload::orders::{OrderFault, Taken, Wanted, list, take};
use crate::reload::{ReloadFault, Reloaded, asker};

pub mod client;
pub mod socket;

use socket::Socket;

/// A reload that somebody asks for, and where the answer goes.
pub struct Wish {
    /// Who asks.
    pub by: Asker,
    /// What came of it. Nobody may be waiting any more: it is done all the same.
    pub answer: oneshot::Sender<Result<Reloaded, ReloadFault>>,
}

/// The socket of one proxy, bound and not yet served.
pub struct Control {
    listener: UnixListener,
    socket: Socket,
    corridor: Arc<Corridor>,
    wishes: mpsc::Sender<Wish>,
}

/// Most reloads that wait for their turn; who comes later waits to be heard.
const WISHES: usize = 16;

impl Control {
    /// Binds the socket in a state folder whose lock this process holds; reloads are wished for of whoever holds the
    /// receiver.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(state: &Path, corridor: Arc<Corridor>) -> io::Result<(Control, mpsc::Receiver<Wish>)> {
        let (listener, socket) = socket::bind(state)?;
        let (wishes, wished) = mpsc::channel(WISHES);
        Ok((Control { listener, socket, corridor, wishes }, wished))
    }

    /// Answers until `shutdown` is done; then the socket's file is removed.
    ///
    /// # Errors
    /// The socket cannot be listened on any more.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Control { listener, socket, corridor, wishes } = self;
        let asked = Arc::new(Asked { corridor, wishes });
        let pages = Router::new()
            .route("/reload", post(reload))
            .route("/orders", get(orders).post(order))
            .with_state(asked)
            .layer(middleware::from_fn(guard))
            .into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, pages).with_graceful_shutdown(shutdown).await;
        drop(socket);
        served
    }
}

/// What the pages ask of the running proxy.
struct Asked {
    corridor: Arc<Corridor>,
    wishes: mpsc::Sender<Wish>,
}

/// Who is at the other end, as the kernel knows it; `None` where it does not.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        Peer(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

/// The mode of the socket keeps others away already. Should it be opened wider by hand, they are still told apart here.
async fn guard(ConnectInfo(Peer(uid)): ConnectInfo<Peer>, mut request: Request, next: Next) -> Response {
    let own = rustix::process::geteuid().as_raw();
    let Some(uid) = uid.filter(|uid| *uid == own || *uid == 0) else {
        let fault = "only the proxy's own user and root may ask this of it";
        return (StatusCode::FORBIDDEN, Json(json!({ "fault": fault }))).into_response();
    };
    if request.method() != Method::GET {
        tracing::info!(uid, path = request.uri().path(), "asked through the control socket");
    }
    request.extensions_mut().insert(asker(uid));
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn reload(State(asked): State<Arc<Asked>>, Extension(by): Extension<Asker>) -> Response {
    let (answer, answered) = oneshot::channel();
    let came = match asked.wishes.send(Wish { by, answer }).await {
        Ok(()) => answered.await.ok(),
        Err(_) => None,
    };
    match came {
        Some(Ok(reloaded)) => Json(taken(&asked.corridor, &reloaded)).into_response(),
        Some(Err(fault)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refused(&asked.corridor, &fault))).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "fault": "the proxy is stopping" }))).into_response(),
    }
}

async fn orders(State(asked): State<Arc<Asked>>) -> Response {
    let corridor = &asked.corridor;
    let docket = corridor.docket.lock().await;
    Json(list(&docket, Some(&corridor.register.load()), corridor.now())).into_response()
}

/// An order as it is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    authority: String,
    #[serde(rename = "ref")]
    reference: String,
    /// What is stopped, as a policy file writes it.
    scope: Option<String>,
    /// Reference of the order that is lifted.
    lifts: Option<String>,
    date: Option<Date>,
    note: Option<String>,
    #[serde(default)]
    even_if_unknown: bool,
}

impl Form {
    fn wanted(self, by: Asker) -> Result<Wanted, Problem> {
        let act = match (&self.scope, self.lifts) {
            (Some(scope), None) => Act::Suspend(Scope::parse(scope)?),
            (None, Some(lifts)) => Act::Lift(lifts),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Problem::new("an order has either `scope` or `lifts`"));
            }
        };
        let Form { authority, reference, date, note, even_if_unknown, .. } = self;
        Ok(Wanted { authority, reference, date, note, act, even_if_unknown, by })
    }
}

async fn order(State(asked): State<Arc<Asked>>, Extension(by): Extension<Asker>, Json(form): Json<Form>) -> Response {
    let wanted = match form.wanted(by) {
        Ok(wanted) => wanted,
        Err(problem) => return not_taken(StatusCode::UNPROCESSABLE_ENTITY, &problem),
    };
    // Whoever asked may hang up; the order is carried through all the same.
    let taking = tokio::spawn(async move { take(&asked.corridor, wanted).await });
    match taking.await {
        Ok(Ok(Taken { version, is_new, unrecorded })) => {
            let unrecorded = unrecorded.map(|fault| told(&fault));
            Json(json!({ "register": version.0, "is_new": is_new, "unrecorded": unrecorded })).into_response()
        }
        Ok(Err(OrderFault::Refused(problem))) => not_taken(StatusCode::UNPROCESSABLE_ENTITY, &problem),
        Ok(Err(fault)) => not_taken(StatusCode::INTERNAL_SERVER_ERROR, &Problem::new(told(&fault))),
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

fn not_taken(status: StatusCode, problem: &Problem) -> Response {
    (status, Json(json!({ "fault": problem.message, "hint": problem.hint }))).into_response()
}

fn taken(corridor: &Corridor, reloaded: &Reloaded) -> Value {
    let register = corridor.register.load();
    json!({
        "taken": true,
        "register": reloaded.version.0,
        "is_new": reloaded.is_new,
        "transfers": register.transfers.len(),
        "allowances": register.allowances.len(),
        "warnings": places(&reloaded.warnings),
        "changes": reloaded.entered.as_ref().and_then(Entered::brief).map(|brief| json!({
            "told": brief.transfers.to_string(),
            "weaker": (brief.weakens()).then(|| brief.weaker.to_string()),
            "diff": brief.to_json(),
        })),
        "notify": reloaded.entered.as_ref().map_or(&[][..], |entered| &entered.open),
    })
}

fn refused(corridor: &Corridor, fault: &ReloadFault) -> Value {
    let register = corridor.register.load();
    let (faults, other) = match fault {
        ReloadFault::Faults(faults) => (places(&faults.0), None),
        ReloadFault::Folder(_) | ReloadFault::Record(_) | ReloadFault::Orders(_) => (Vec::new(), Some(told(fault))),
    };
    json!({ "taken": false, "register": register.version.0, "faults": faults, "fault": other })
}

/// As `tasrih check --json` prints them, with the text that it prints for people.
fn places(faults: &[Fault]) -> Vec<Value> {
    let place = |fault: &Fault| {
        let mut place = fault.to_json();
        place["text"] = fault.to_string().into();
        place
    };
    faults.iter().map(place).collect()
}

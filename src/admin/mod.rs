//! The admin listener: metrics, health, readiness. It answers questions and changes nothing; what changes something is
//! asked of the [`control`] socket.
//!
//! A page in an operator's browser must not be able to read it by pointing a name of its own at this address (DNS
//! rebinding), so the `Host` field is checked before anything is answered. No answer holds a secret or personal data.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::destination::{Authority, Host};
use crate::metrics::CONTENT_TYPE;
use crate::proxy::handout::Handout;
use crate::proxy::page;

pub mod control;
pub mod observed;

/// What the admin listener asks of the running proxy.
pub trait Status: Send + Sync + 'static {
    /// All metrics in Prometheus's text format.
    fn metrics(&self) -> String;

    /// Whether exchanges can be let through.
    fn readiness(&self) -> Readiness;

    /// What clients are handed out, for one that reached this listener at `asked`; `None` where there is no such thing.
    fn handout(&self, what: Handout, asked: &Host) -> Option<Bytes>;
}

/// Whether exchanges can be let through, and on what they would be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Exchanges can be let through.
    pub ready: bool,
    /// The node's name in the records.
    pub node: String,
    /// SHA-256 of the register in force, in hex.
    pub register: String,
    /// Whether newer policy files were refused, so that the register in force is an older one.
    pub register_refused: bool,
    /// How many faults they have, 0 where they could not be read; absent where none were refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register_faults: Option<u64>,
    /// What else was refused when it was read again, so that something older is in use (`users`, `listener`); absent where
    /// nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files_refused: Vec<&'static str>,
    /// Whether records can be written: `available`, or why not.
    pub record: String,
    /// Why not, in fixed words; absent when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What keeps records from being written: the label `cause` of `tasrih_record_fault`; absent when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What is to be done about it, and whether a restart is needed; absent when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Everything: the admin listener.
    All,
    /// `/metrics`, `/healthz` and `/readyz`: the metrics listener, which Prometheus may reach from elsewhere.
    Metrics,
}

/// Answers on `listener` until `shutdown` is done; requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    status: Arc<dyn Status>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let own = listener.local_addr()?;
    axum::serve(listener, router(pages, status, own)).with_graceful_shutdown(shutdown).await
}

/// The pages, for a listener bound to `own`.
pub fn router(pages: Pages, status: Arc<dyn Status>, own: SocketAddr) -> Router {
    let observing =
        Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).route("/readyz", get(readiness));
    // What is more than observing is the admin listener's alone.
    let served = match pages {
        Pages::Metrics => observing,
        Pages::All => Handout::ALL.into_iter().fold(observing, |pages, what| pages.route(what.path(), get(handout))),
    };
    served.with_state(status).layer(middleware::from_fn_with_state(own, guard))
}

async fn metrics(State(status): State<Arc<dyn Status>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], status.metrics()).into_response()
}

/// The process runs and its runtime answers; whether it can work is asked of `/readyz`.
async fn health() -> &'static str {
    "ok\n"
}

async fn readiness(State(status): State<Arc<dyn Status>>) -> Response {
    let readiness = status.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

/// The same as on the proxy's listeners (`proxy/handout.rs`), for operators.
async fn handout(State(status): State<Arc<dyn Status>>, request: Request) -> Response {
    let found = Handout::at(request.uri().path()).zip(host(request.headers())).and_then(|(what, asked)| {
        let policy = page::CONTENT_SECURITY_POLICY.as_str();
        let fields = [(header::CONTENT_TYPE, what.content_type()), (header::CONTENT_SECURITY_POLICY, policy)];
        Some((fields, status.handout(what, &asked.host)?))
    });
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

/// Lets only reading requests through, and only those that mean this listener by its own name.
async fn guard(State(own): State<SocketAddr>, request: Request, next: Next) -> Response {
    if !is_own(request.headers(), own) {
        return (StatusCode::MISDIRECTED_REQUEST, "this listener answers to its own address only\n").into_response();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET and HEAD\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether there is exactly one `Host`, and it is the address that is bound, or `localhost` for a loopback one.
///
/// A listener on all addresses (`0.0.0.0`, `::`) cannot know which of them a client means; it answers to any literal
/// address, since rebinding needs a name.
fn is_own(headers: &HeaderMap, own: SocketAddr) -> bool {
    let Some(authority) = host(headers) else { return false };
    let bound: IpAddr = own.ip().to_canonical();
    let port_fits = authority.port.unwrap_or(80) == own.port();
    let host_fits = match authority.host {
        Host::Address(address) => bound.is_unspecified() || address.to_canonical() == bound,
        Host::Name(name) => name.as_str() == "localhost" && (bound.is_loopback() || bound.is_unspecified()),
    };
    port_fits && host_fits
}

/// What the one `Host` field names.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    Authority::parse(host.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::HOST;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Fixed(bool);

    impl Status for Fixed {
        fn metrics(&self) -> String {
            "tasrih_exchanges_open 0\n".to_owned()
        }

        fn readiness(&self) -> Readiness {
            let reason = (!self.0).then(|| "the disk is full".to_owned());
            let record = if self.0 { "available" } else { "no-room" }.to_owned();
            Readiness {
                ready: self.0,
                node: "egress-1".to_owned(),
                register: "00".to_owned(),
                register_refused: false,
                register_faults: None,
                files_refused: Vec::new(),
                record,
                reason,
                cause: None,
                remedy: None,
            }
        }

        fn handout(&self, what: Handout, _: &Host) -> Option<Bytes> {
            (what == Handout::Authority).then(|| Bytes::from_static(b"a certificate"))
        }
    }

    async fn ask(ready: bool, request_line: &str, host: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, Pages::All, Arc::new(Fixed(ready)), std::future::pending()));
        let mut stream = tokio::net::TcpStream::connect(own).await.expect("listening");
        let host = host.replace("PORT", &own.port().to_string());
        let request = format!("{request_line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        server.abort();
        answer
    }

    #[tokio::test]
    async fn its_pages_answer() {
        let metrics = ask(true, "GET /metrics", "127.0.0.1:PORT").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("version=0.0.4"), "{metrics}");
        assert!(ask(true, "GET /healthz", "localhost:PORT").await.ends_with("ok\n"));
        assert!(ask(true, "GET /ca.pem", "localhost:PORT").await.contains("application/x-x509-ca-cert"));
        assert!(ask(true, "GET /ca.crl", "localhost:PORT").await.starts_with("HTTP/1.1 404"));
        let ready = ask(true, "GET /readyz", "127.0.0.1:PORT").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"register\":\"00\""), "{ready}");
        let not_ready = ask(false, "GET /readyz", "127.0.0.1:PORT").await;
        assert!(not_ready.starts_with("HTTP/1.1 503") && not_ready.contains("the disk is full"), "{not_ready}");
    }

    #[tokio::test]
    async fn it_changes_nothing_and_answers_to_no_other_name() {
        assert!(ask(true, "POST /readyz", "127.0.0.1:PORT").await.starts_with("HTTP/1.1 405"));
        for host in ["evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "10.0.0.1:PORT", "a@127.0.0.1:PORT"] {
            let answer = ask(true, "GET /metrics", host).await;
            assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_answers_to_literals_only() {
        let own = "0.0.0.0:9180".parse().expect("an address");
        for (host, fits) in [("10.1.2.3:9180", true), ("localhost:9180", true), ("evil.example:9180", false)] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).expect("a value"))]);
            assert_eq!(is_own(&headers, own), fits, "{host}");
        }
    }
}

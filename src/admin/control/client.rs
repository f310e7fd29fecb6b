//! Asks a running proxy through its control socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::socket;

/// Largest answer that is read, in bytes: the faults of a large register.
const LARGEST: usize = 256 * 1024 * 1024;

/// What a proxy answered.
#[derive(Debug)]
pub struct Answer {
    /// The status, as that of a page.
    pub status: StatusCode,
    /// The JSON.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// No process listens there.
    #[error("no proxy runs on the state folder {0:?}: start `tasrih run`, or name its state folder with --state")]
    NoProxy(PathBuf),
    /// The socket is another user's.
    #[error("the proxy on {0:?} is asked by its own user or root only: run this as that user")]
    NotAllowed(PathBuf),
    /// The connection broke, or what came is no answer.
    #[error("the proxy on {state:?} does not answer: {cause}")]
    Broken {
        /// The state folder.
        state: PathBuf,
        /// How.
        cause: String,
    },
}

/// Asks the proxy that runs on `state` for one thing.
///
/// # Errors
/// [`AskFault`]; after [`AskFault::Broken`] it may have been done all the same.
pub async fn ask(state: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, AskFault> {
    let stream = socket::connect(state).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskFault::NoProxy(state.to_owned()),
        io::ErrorKind::PermissionDenied => AskFault::NotAllowed(state.to_owned()),
        _ => broken(state, error),
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|fault| broken(state, fault))?;
    let driven = tokio::spawn(connection);
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|fault| broken(state, fault))?;
    let (head, body) = sender.send_request(request).await.map_err(|fault| broken(state, fault))?.into_parts();
    let read = Limited::new(body, LARGEST).collect().await.map_err(|fault| broken(state, fault))?;
    driven.abort();
    let body = serde_json::from_slice(&read.to_bytes()).map_err(|fault| broken(state, fault))?;
    Ok(Answer { status: head.status, body })
}

fn broken(state: &Path, cause: impl ToString) -> AskFault {
    AskFault::Broken { state: state.to_owned(), cause: cause.to_string() }
}

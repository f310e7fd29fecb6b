//! A recipient on this machine, over real TLS or plain HTTP, that tells exactly what reached it.
//!
//! The demo plays the foreign institutions with it; the tests stand here when they look at the receiving side.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::tls::recipient::Acceptor;

/// A request as it reached the recipient.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Target as sent.
    pub target: String,
    /// All fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// How the recipient answers a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
    /// Waited before the answer.
    pub after: Duration,
}

impl Answer {
    /// An answer with this status, at once.
    pub fn status(status: u16) -> Answer {
        Answer { status, body: Bytes::from_static(b"ok\n"), after: Duration::ZERO }
    }
}

/// A running recipient; it stops when dropped.
pub struct Recipient {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    /// Bytes of everything that came through the sockets, handshakes included.
    raw: AtomicU64,
    /// Bytes of it that belong to TLS handshakes.
    handshakes: AtomicU64,
    requests: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Answer>>,
}

impl Recipient {
    /// Listens on a free port of 127.0.0.1; over TLS if an acceptor is given.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(acceptor: Option<Acceptor>) -> io::Result<Recipient> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(accept(listener, acceptor, seen.clone()));
        Ok(Recipient { address, seen, task })
    }

    /// The requests that arrived whole, in their order.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.seen.requests).clone()
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Acquire)
    }

    /// Every byte that came, TLS handshakes included.
    pub fn raw_bytes(&self) -> u64 {
        self.seen.raw.load(Ordering::Acquire)
    }

    /// Every byte that came beside TLS handshakes.
    pub fn bytes(&self) -> u64 {
        self.raw_bytes().saturating_sub(self.seen.handshakes.load(Ordering::Acquire))
    }

    /// Bytes of the bodies of requests that arrived whole.
    pub fn body_bytes(&self) -> u64 {
        lock(&self.seen.requests).iter().map(|request| request.body.len() as u64).sum()
    }

    /// The next request without an answer yet gets this one; without any it is 200.
    pub fn answer_next(&self, answer: Answer) {
        lock(&self.seen.answers).push_back(answer);
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<Acceptor>, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::AcqRel);
        let stream = Tallied { stream, seen: seen.clone() };
        tokio::spawn(converse(stream, acceptor.clone(), seen.clone()));
    }
}

/// A conversation that breaks has said what it had to say: what arrived is counted.
async fn converse(stream: Tallied, acceptor: Option<Acceptor>, seen: Arc<Seen>) {
    let Some(acceptor) = acceptor else { return speak(stream, seen).await };
    let before = stream.seen.raw.load(Ordering::Acquire);
    match acceptor.accept(stream).await {
        Ok((stream, taken)) => {
            seen.handshakes.fetch_add(taken, Ordering::AcqRel);
            speak(stream, seen).await;
        }
        Err(fault) => {
            // All that came was an unfinished handshake.
            let came = seen.raw.load(Ordering::Acquire) - before;
            seen.handshakes.fetch_add(came, Ordering::AcqRel);
            tracing::debug!(%fault, "a recipient's handshake failed");
        }
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, seen: Arc<Seen>) {
    let service = service_fn(move |request| respond(request, seen.clone()));
    if let Err(fault) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%fault, "a connection to a recipient ended");
    }
}

async fn respond(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        let target = parts.uri.to_string();
        let received =
            Received { method: parts.method.to_string(), target, headers: parts.headers, body: body.to_bytes() };
        lock(&seen.requests).push(received);
    }
    let answer = lock(&seen.answers).pop_front().unwrap_or_else(|| Answer::status(200));
    tokio::time::sleep(answer.after).await;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
    Ok(response)
}

/// A socket that counts every byte read from it.
struct Tallied {
    stream: TcpStream,
    seen: Arc<Seen>,
}

impl AsyncRead for Tallied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.seen.raw.fetch_add((buffer.filled().len() - before) as u64, Ordering::AcqRel);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tallied {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The locked values are whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

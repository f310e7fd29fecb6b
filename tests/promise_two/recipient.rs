//! A recipient that keeps a book of every connection: how long the handshake was, and at which byte each request began
//! and ended.
//!
//! The demo's recipient tells what arrived; this one tells where on the wire it stood, also of requests that were cut off,
//! and keeps no bodies, so that thousands of requests cost nothing.

#![allow(dead_code, reason = "benches/exchange.rs uses its part of this, too")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tasrih::tls::recipient::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One connection, as the recipient's own stack saw it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The proxy's end of the connection.
    pub peer: SocketAddr,
    /// Every byte that came.
    pub raw: u64,
    /// Bytes of the TLS handshake, 0 over plain HTTP; `None` while it is not complete.
    pub handshake: Option<u64>,
    /// Requests in their order.
    pub requests: Vec<Arrival>,
    /// Whether the connection has ended.
    pub closed: bool,
}

/// A request of which at least the head arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The record that its stamp names; `None` where it carries no stamp.
    pub record: Option<String>,
    /// Where on the connection it began.
    pub begin: u64,
    /// Where it ended; `None` if it was cut off.
    pub end: Option<u64>,
}

/// A running recipient; it stops when dropped.
pub struct Recipient {
    pub host: &'static str,
    pub address: SocketAddr,
    books: Arc<Mutex<Vec<Arc<Book>>>>,
    task: JoinHandle<()>,
}

struct Book {
    peer: SocketAddr,
    raw: AtomicU64,
    page: Mutex<Page>,
}

#[derive(Default)]
struct Page {
    handshake: Option<u64>,
    requests: Vec<Arrival>,
    closed: bool,
}

impl Recipient {
    /// Listens on a free port of 127.0.0.1; over TLS if an acceptor is given.
    pub async fn start(host: &'static str, acceptor: Option<Acceptor>) -> Recipient {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let books = Arc::default();
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&books)));
        Recipient { host, address, books, task }
    }

    /// `scheme://host:port`.
    pub fn base(&self, scheme: &str) -> String {
        format!("{scheme}://{}:{}", self.host, self.address.port())
    }

    /// The connections so far, in the order in which they were accepted.
    pub fn visits(&self) -> Vec<Visit> {
        self.books.lock().expect("books").iter().map(|book| book.visit()).collect()
    }

    /// Waits until every connection has ended, which it does soon after the proxy has, and takes the book away.
    pub async fn close_book(&self) -> Vec<Visit> {
        // A connection of a killed proxy may still wait to be accepted, with its bytes; ours waits behind it.
        let last = TcpStream::connect(self.address).await.expect("a recipient");
        let marker = last.local_addr().expect("its address");
        drop(last);
        for _ in 0..2_000 {
            let mut visits = self.visits();
            let all = visits.iter().any(|visit| visit.peer == marker) && visits.iter().all(|visit| visit.closed);
            if all {
                self.books.lock().expect("books").clear();
                visits.retain(|visit| visit.peer != marker);
                return visits;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("connections to {} stay open although the proxy has ended", self.host);
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Book {
    fn visit(&self) -> Visit {
        let page = self.page.lock().expect("a page");
        let (handshake, requests, closed) = (page.handshake, page.requests.clone(), page.closed);
        Visit { peer: self.peer, raw: self.raw.load(Ordering::Acquire), handshake, requests, closed }
    }

    /// Notes the head of a request; gives its place on the page.
    fn begin(&self, request: &Request<Incoming>) -> usize {
        let mut page = self.page.lock().expect("a page");
        // HTTP/1.1 without pipelining: a request begins where the one before it ended.
        let begin = page.requests.last().map_or(page.handshake, |before| before.end).expect("requests come one by one");
        page.requests.push(Arrival { record: record_named_by(request), begin, end: None });
        page.requests.len() - 1
    }

    /// The client waits for its answer now, so every byte that came belongs to this request or to those before it.
    fn end(&self, place: usize) {
        let raw = self.raw.load(Ordering::Acquire);
        self.page.lock().expect("a page").requests[place].end = Some(raw);
    }
}

fn record_named_by(request: &Request<Incoming>) -> Option<String> {
    let stamp = request.headers().get("personal-data-transfer")?.to_str().ok()?;
    Some(stamp.split_once("id=\"")?.1.split('"').next()?.to_owned())
}

async fn accept(listener: TcpListener, acceptor: Option<Acceptor>, books: Arc<Mutex<Vec<Arc<Book>>>>) {
    while let Ok((stream, peer)) = listener.accept().await {
        let book = Arc::new(Book { peer, raw: AtomicU64::new(0), page: Mutex::default() });
        books.lock().expect("books").push(book.clone());
        // A session ticket and the answer behind it are two small writes: Nagle would hold the second one back.
        let _ = stream.set_nodelay(true);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            converse(Tallied { stream, book: book.clone() }, acceptor, &book).await;
            book.page.lock().expect("a page").closed = true;
        });
    }
}

async fn converse(stream: Tallied, acceptor: Option<Acceptor>, book: &Arc<Book>) {
    let Some(acceptor) = acceptor else {
        book.page.lock().expect("a page").handshake = Some(0);
        return speak(stream, book.clone()).await;
    };
    if let Ok((stream, taken)) = acceptor.accept(stream).await {
        book.page.lock().expect("a page").handshake = Some(taken);
        speak(stream, book.clone()).await;
    }
}

/// A conversation that breaks has said what it had to say: what arrived is in the book.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(stream: S, book: Arc<Book>) {
    let service = service_fn(move |request| answer(request, book.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, book: Arc<Book>) -> Result<Response<Full<Bytes>>, Infallible> {
    let place = book.begin(&request);
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return Ok(Response::default());
        }
    }
    book.end(place);
    Ok(Response::new(Full::from("ok\n")))
}

/// A socket that counts every byte read from it.
struct Tallied {
    stream: TcpStream,
    book: Arc<Book>,
}

impl AsyncRead for Tallied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.book.raw.fetch_add((buffer.filled().len() - before) as u64, Ordering::AcqRel);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tallied {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

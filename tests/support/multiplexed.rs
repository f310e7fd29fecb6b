//! A recipient that speaks HTTP/2 where it is offered, and HTTP/1.1 else. What it does is told by the path: `/stuck` takes
//! nothing of a body, `/refused` resets the stream, `/wait` answers when it is told to, `/calls/` ends with trailers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tasrih::demo::recipient::Received;
use tasrih::destination::Host;
use tasrih::tls::HttpVersion;
use tasrih::tls::recipient::{Acceptor, Issuing, Versions, spoken};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub struct Multiplexed {
    pub address: SocketAddr,
    /// What the proxy must trust.
    pub issuing: Issuing,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub struct Seen {
    pub connections: AtomicU64,
    /// Those over which nothing but HTTP/1.1 was offered.
    pub of_http1: AtomicU64,
    /// Bytes of bodies, of those too that did not arrive whole.
    pub bytes: AtomicU64,
    /// Streams that were begun.
    pub begun: AtomicU64,
    /// Streams that were reset under their body.
    pub broken: AtomicU64,
    /// Requests that arrived whole.
    pub requests: Mutex<Vec<Received>>,
    /// Lets `/wait` go on.
    pub go_on: Notify,
    /// Ends all connections.
    pub close: Notify,
}

impl Seen {
    pub fn count(&self, of: fn(&Seen) -> &AtomicU64) -> u64 {
        of(self).load(Ordering::Acquire)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().expect("a list").clone()
    }
}

impl Multiplexed {
    pub async fn start(host: &str) -> Multiplexed {
        let issuing = Issuing::new("Recipients of HTTP/2").expect("a root");
        let issued = issuing.issue(&Host::parse(host).expect("a host")).expect("a certificate");
        let acceptor = issued.acceptor_up_to(HttpVersion::V2, Versions::Tls12And13).expect("an acceptor");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Seen>::default();
        let counting = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counting.connections.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(speak(stream, acceptor.clone(), counting.clone()));
            }
        });
        Multiplexed { address, issuing, seen, task }
    }
}

impl Drop for Multiplexed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn speak(stream: TcpStream, acceptor: Acceptor, seen: Arc<Seen>) {
    let Ok((stream, _)) = acceptor.accept(stream).await else { return };
    if spoken(&stream) == HttpVersion::V1 {
        seen.of_http1.fetch_add(1, Ordering::AcqRel);
        return old(stream, seen).await;
    }
    let mut builder = h2::server::Builder::new();
    // A stream that is stuck stalls no other on this side either.
    let Ok(mut connection) = builder.initial_connection_window_size(16 << 20).handshake(stream).await else { return };
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    seen.begun.fetch_add(1, Ordering::AcqRel);
                    tokio::spawn(serve(request, respond, seen.clone()));
                }
                _ => return,
            },
            () = seen.close.notified() => connection.graceful_shutdown(),
        }
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Seen>) {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path.contains("/refused") {
        return respond.send_reset(h2::Reason::REFUSED_STREAM);
    }
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let Ok(data) = data else {
            seen.broken.fetch_add(1, Ordering::AcqRel);
            return;
        };
        seen.bytes.fetch_add(data.len() as u64, Ordering::AcqRel);
        if !path.contains("/stuck") {
            let _ = body.flow_control().release_capacity(data.len());
        }
        bytes.extend_from_slice(&data);
    }
    let is_call = path.starts_with("/calls/");
    seen.requests.lock().expect("a list").push(Received {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers,
        body: bytes.into(),
    });
    if path.contains("/wait") {
        seen.go_on.notified().await;
    }
    let mut answer = Response::builder().status(200).header("alt-svc", "h3=\":443\"");
    if is_call {
        answer = answer.header("content-type", "application/grpc");
    }
    let large = path.contains("/large");
    let Ok(mut stream) = respond.send_response(answer.body(()).expect("a head"), false) else { return };
    let body = if large { Bytes::from(vec![7; 8 << 20]) } else { Bytes::from_static(b"ok\n") };
    let _ = super::streams::upload(&mut stream, body, !is_call).await;
    if is_call {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        trailers.insert("proxy-status", "forged".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    }
}

async fn old<S>(stream: S, seen: Arc<Seen>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    use http_body_util::{BodyExt, Full};
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let (method, target) = (head.method.to_string(), head.uri.to_string());
            seen.requests.lock().expect("a list").push(Received { method, target, headers: head.headers, body });
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}

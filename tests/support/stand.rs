//! A recipient that does exactly what a test tells it, and keeps every byte that reaches it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A listener with a handler; it stops when dropped.
pub struct Stand {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// What reached a stand.
#[derive(Default)]
pub struct Seen {
    connections: AtomicU64,
    requests: Mutex<Vec<Vec<u8>>>,
}

impl Stand {
    /// Gives every connection to `handler`.
    pub async fn start<F, H>(handler: H) -> Stand
    where
        H: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let counted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(handler(stream, counted.clone()));
            }
        });
        Stand { address, seen, task }
    }

    /// Answers each request with the next of these texts, the last one again and again; closes after it if `close`.
    pub async fn answering(answers: Vec<&'static [u8]>, close: bool) -> Stand {
        let answers = Arc::new((answers, AtomicU64::new(0)));
        Stand::start(move |mut stream, seen| {
            let answers = answers.clone();
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    seen.requests.lock().expect("a list").push(request);
                    let place = answers.1.fetch_add(1, Ordering::AcqRel);
                    let last = answers.0.len() - 1;
                    let answer = answers.0[usize::try_from(place).unwrap_or(last).min(last)];
                    if stream.write_all(answer).await.is_err() || close {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Acquire)
    }

    /// The requests that arrived whole, as they stood on the wire.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.seen.requests.lock().expect("a list").clone()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request with its body, by Content-Length or chunked; `None` at the end of the stream.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let is_whole = match length {
                Some(length) => bytes.len() >= end + 4 + length.parse::<usize>().expect("a length"),
                None if head.contains("transfer-encoding") => bytes.ends_with(b"0\r\n\r\n"),
                None => true,
            };
            if is_whole {
                return Some(bytes);
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(count) if count > 0) {
            return None;
        }
    }
}

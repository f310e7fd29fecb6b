//! A name service on loopback that knows one address, 127.0.0.1, for every name, and can fall silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Length of a DNS header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

pub struct Names {
    silent: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Names {
    /// Listens on port 53 of `address`; needs the rights of root.
    pub async fn serve(address: SocketAddr) -> std::io::Result<Names> {
        let socket = UdpSocket::bind(address).await?;
        let silent = Arc::new(AtomicBool::new(false));
        let mute = silent.clone();
        let task = tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let answer = answer(&packet[..length]).filter(|_| !mute.load(Ordering::Acquire));
                if let Some(answer) = answer {
                    // One who does not wait for the answer any more has asked again.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Names { silent, task })
    }

    pub fn fall_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a query with one question; to anything but an address of IPv4 it says that there is none.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut place = HEADER;
    while *query.get(place)? != 0 {
        place += usize::from(query[place]) + 1;
    }
    let question = query.get(HEADER..place + 5)?;
    let is_address = question[question.len() - 4..question.len() - 2] == TYPE_A;
    // The id of the query; an answer that is authoritative and recursive; one question, and one answer or none.
    let mut answer = vec![query[0], query[1], 0x85, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
    answer.extend_from_slice(question);
    if is_address {
        // The name of the question, class IN, no time to live: every exchange asks.
        answer.extend_from_slice(&[0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

//! The door of a recipient: relays what comes, and can be shut, so that connections are refused and open ones break.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate on a free port of loopback, leading to `inside`.
    pub async fn before(inside: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (open, is_open) = watch::channel(true);
        tokio::spawn(keep(address, inside, listener, is_open));
        Gate { address, open }
    }

    pub fn shut(&self, shut: bool) {
        self.open.send_replace(!shut);
    }
}

async fn keep(address: SocketAddr, inside: SocketAddr, listener: TcpListener, mut open: watch::Receiver<bool>) {
    let (seen, mut listener) = (open.clone(), Some(listener));
    loop {
        match &listener {
            Some(listening) => tokio::select! {
                accepted = listening.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(relay(stream, inside, seen.clone()));
                    }
                }
                shut = open.wait_for(|open| !open) => {
                    if shut.is_err() {
                        return;
                    }
                    drop(shut);
                    listener = None;
                }
            },
            None => {
                if open.wait_for(|open| *open).await.is_err() {
                    return;
                }
                listener = Some(TcpListener::bind(address).await.expect("our own port is free again"));
            }
        }
    }
}

async fn relay(mut outside: TcpStream, inside: SocketAddr, mut open: watch::Receiver<bool>) {
    let Ok(mut inner) = TcpStream::connect(inside).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut outside, &mut inner) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

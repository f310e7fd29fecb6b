//! What clients do in the table's cases, and what they are told.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tasrih::demo::uploader::Reply;

use crate::support::wire::{RawReply, tls_as};
use crate::support::{FRAME, UPLOADER};
use crate::world::World;

/// What a client was told.
#[derive(Debug, Default)]
pub struct Told {
    /// `None`: nothing, the connection ended.
    pub status: Option<u16>,
    pub reason: Option<String>,
    pub record: Option<String>,
}

/// Something that a client does.
pub type Act = Box<dyn for<'w> Fn(&'w World) -> Doing<'w> + Send + Sync>;
/// While it is done.
pub type Doing<'w> = Pin<Box<dyn Future<Output = Told> + Send + 'w>>;

/// Makes an act of a closure.
pub fn act(doing: impl for<'w> Fn(&'w World) -> Doing<'w> + Send + Sync + 'static) -> Act {
    Box::new(doing)
}

impl From<Reply> for Told {
    fn from(reply: Reply) -> Told {
        let (reason, record) = (reply.proxy_status("reason"), reply.proxy_status("record"));
        Told { status: Some(reply.status), reason, record }
    }
}

impl From<Option<RawReply>> for Told {
    fn from(reply: Option<RawReply>) -> Told {
        let Some(reply) = reply else { return Told::default() };
        Told { status: Some(reply.status), reason: reply.proxy_status("reason"), record: reply.proxy_status("record") }
    }
}

/// A request through the proxy; by default the declared frame to a host, over plain HTTP.
#[derive(Clone)]
pub struct Sent {
    from: IpAddr,
    scheme: &'static str,
    host: &'static str,
    port: Option<u16>,
    path: &'static str,
    method: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

/// A frame to the plain recipient under this name.
pub fn to(host: &'static str) -> Sent {
    Sent {
        from: UPLOADER,
        scheme: "http",
        host,
        port: None,
        path: "/cctv/cam1",
        method: "POST",
        fields: vec![("content-type", "image/jpeg")],
        body: Bytes::from_static(FRAME),
    }
}

impl Sent {
    pub fn from(self, from: IpAddr) -> Sent {
        Sent { from, ..self }
    }

    /// To the TLS recipient of the host's name, through CONNECT.
    pub fn tls(self) -> Sent {
        Sent { scheme: "https", ..self }
    }

    pub fn port(self, port: u16) -> Sent {
        Sent { port: Some(port), ..self }
    }

    pub fn path(self, path: &'static str) -> Sent {
        Sent { path, ..self }
    }

    pub fn method(self, method: &'static str) -> Sent {
        Sent { method, ..self }
    }

    pub fn kind(self, kind: &'static str) -> Sent {
        Sent { fields: vec![("content-type", kind)], ..self }
    }

    pub fn field(mut self, name: &'static str, value: &'static str) -> Sent {
        self.fields.push((name, value));
        self
    }

    pub fn body(self, body: impl Into<Bytes>) -> Sent {
        Sent { body: body.into(), ..self }
    }

    /// The port to ask for: of the TLS recipient of that name, else of the plain one.
    pub fn port_in(&self, world: &World) -> u16 {
        let named = (self.scheme == "https").then(|| world.house.recipients.get(self.host)).flatten();
        self.port.unwrap_or_else(|| named.unwrap_or(world.house.recipient("plain.example")).address.port())
    }

    pub async fn send(&self, world: &World) -> Told {
        let target = format!("{}://{}:{}{}", self.scheme, self.host, self.port_in(world), self.path);
        let mut request = Request::builder().method(self.method).uri(target);
        for (name, value) in &self.fields {
            request = request.header(*name, *value);
        }
        world.house.send(self.from, request.body(self.body.clone()).expect("a request")).await.into()
    }
}

impl From<Sent> for Act {
    fn from(sent: Sent) -> Act {
        act(move |world| {
            let sent = sent.clone();
            Box::pin(async move { sent.send(world).await })
        })
    }
}

/// Does the one, then the other, and tells of the second.
pub fn first(before: impl Fn(&World) + Send + Sync + 'static, then: impl Into<Act>) -> Act {
    let then = then.into();
    act(move |world| {
        before(world);
        then(world)
    })
}

/// Writes raw bytes (`PLAIN` stands for the port of the plain recipient) and reads one reply.
pub fn raw(bytes: &'static str) -> Act {
    act(move |world| {
        Box::pin(async move {
            let port = world.house.recipient("plain.example").address.port().to_string();
            let mut client = world.house.raw(UPLOADER).await;
            client.send(bytes.replace("PLAIN", &port)).await;
            client.reply().await.into()
        })
    })
}

/// The frame in raw bytes, `pause` before the last of the head and `stall` before the last of the body.
pub fn slowly(pause: Duration, stall: Duration) -> Act {
    act(move |world| {
        Box::pin(async move {
            let mut client = world.house.raw(UPLOADER).await;
            let port = world.house.recipient("plain.example").address.port();
            client
                .send(format!(
                    "POST http://fine.example:{port}/cctv/cam1 HTTP/1.1\r\nHost: fine.example:{port}\r\n\
                     Content-Type: image/jpeg\r\nContent-Length: {}\r\n",
                    FRAME.len()
                ))
                .await;
            tokio::time::sleep(pause).await;
            client.send("\r\n").await;
            client.send(&FRAME[..1000]).await;
            tokio::time::sleep(stall).await;
            client.send(&FRAME[1000..]).await;
            client.reply().await.into()
        })
    })
}

/// The frame in raw bytes, left in the middle of its body.
pub fn left_in_the_middle() -> Act {
    act(|world| {
        Box::pin(async move {
            let mut client = world.house.raw(UPLOADER).await;
            let port = world.house.recipient("plain.example").address.port();
            client
                .send(format!(
                    "POST http://fine.example:{port}/cctv/cam1 HTTP/1.1\r\nHost: fine.example:{port}\r\n\
                     Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                    FRAME.len()
                ))
                .await;
            client.send(&FRAME[..1000]).await;
            drop(client);
            Told::default()
        })
    })
}

/// CONNECT to the host's TLS recipient, a handshake that asks for `name`, then the frame.
pub fn asking_for(name: &'static str, host: &'static str) -> Act {
    act(move |world| {
        Box::pin(async move {
            let port = world.house.recipient(host).address.port();
            let opened = world.house.client(UPLOADER).open(&format!("{host}:{port}")).await.expect("an answer");
            let upgraded = match opened {
                Ok(upgraded) => upgraded,
                Err(refused) => return refused.into(),
            };
            let Ok(stream) = tls_as(hyper_util::rt::TokioIo::new(upgraded), name).await else { return Told::default() };
            let mut inside = crate::support::wire::Raw::new(stream);
            let head = format!(
                "POST /cctv/cam1 HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                FRAME.len()
            );
            inside.send(head).await;
            inside.send(FRAME).await;
            inside.reply().await.into()
        })
    })
}

/// CONNECT to a tunnel, these bytes into it; tells nothing but that it ended.
pub fn into_tunnel(host: &'static str, bytes: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Act {
    act(move |world| {
        let bytes = bytes();
        Box::pin(async move {
            let port = world.house.recipient(host).address.port();
            let mut client = world.house.raw(UPLOADER).await;
            client.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).await;
            assert_eq!(client.reply().await.expect("a reply").status, 200);
            client.send(bytes).await;
            assert_eq!(client.rest().await, crate::support::wire::ACCESS_DENIED, "an alert, and the end");
            Told::default()
        })
    })
}

/// A body in chunks, without a declared length.
pub fn chunked(host: &'static str, body: Vec<u8>) -> Act {
    act(move |world| {
        let body = body.clone();
        Box::pin(async move {
            let port = world.house.recipient("plain.example").address.port();
            let mut client = world.house.raw(UPLOADER).await;
            client
                .send(format!(
                    "POST http://{host}:{port}/cctv/cam1 HTTP/1.1\r\nHost: {host}:{port}\r\n\
                     Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
                ))
                .await;
            for chunk in body.chunks(5000) {
                client.send(format!("{:x}\r\n", chunk.len())).await;
                client.send(chunk).await;
                client.send("\r\n").await;
            }
            client.send("0\r\n\r\n").await;
            client.reply().await.into()
        })
    })
}

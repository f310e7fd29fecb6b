//! A name server on loopback, over UDP, TCP and TLS, that does as it is told and remembers every question.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasrih::config::{NameServer, NameTransport};
use tasrih::destination::Host;
use tasrih::tls::recipient::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;

/// What the server says of a name.
#[derive(Clone)]
pub enum Says {
    /// These addresses, for so many seconds, behind these aliases.
    Addresses { addresses: Vec<IpAddr>, ttl: u32, aliases: Vec<&'static str> },
    /// There is no such name, for so many seconds.
    NoName { ttl: u32 },
    /// It failed (SERVFAIL).
    Failure,
    /// Nothing at all.
    Nothing,
}

/// `name type transport` of each question, as in `intake.example. A udp`.
pub type Asked = Arc<Mutex<Vec<String>>>;

pub struct Service {
    pub address: SocketAddr,
    pub asked: Asked,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Zone {
    says: Says,
    asked: Asked,
    /// Answers over UDP are cut, so that they must be fetched over TCP.
    cuts: bool,
    /// Before each answer.
    delay: Duration,
}

pub fn addresses(addresses: &[&str], ttl: u32) -> Says {
    let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    Says::Addresses { addresses, ttl, aliases: Vec::new() }
}

impl Service {
    /// Says the same of every name.
    pub async fn saying(says: Says) -> Service {
        Service::start(says, false, Duration::ZERO, None).await
    }

    pub async fn cutting(says: Says) -> Service {
        Service::start(says, true, Duration::ZERO, None).await
    }

    pub async fn slowly(says: Says, delay: Duration) -> Service {
        Service::start(says, false, delay, None).await
    }

    /// Answers over TLS only.
    pub async fn over_tls(says: Says, acceptor: Acceptor) -> Service {
        Service::start(says, false, Duration::ZERO, Some(acceptor)).await
    }

    async fn start(says: Says, cuts: bool, delay: Duration, acceptor: Option<Acceptor>) -> Service {
        let (streams, packets) = loop {
            let streams = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            // Another test may hold the same port for UDP.
            if let Ok(packets) = UdpSocket::bind(streams.local_addr().expect("bound")).await {
                break (streams, packets);
            }
        };
        let address = streams.local_addr().expect("bound");
        let asked = Asked::default();
        let zone = Zone { says, asked: asked.clone(), cuts, delay };
        let mut serving = JoinSet::new();
        if acceptor.is_none() {
            serving.spawn(zone.clone().answer_packets(Arc::new(packets)));
        }
        serving.spawn(zone.answer_streams(streams, acceptor));
        Service { address, asked, _serving: serving }
    }

    pub fn plain(&self) -> NameServer {
        NameServer { address: self.address, transport: NameTransport::Plain }
    }

    pub fn tls(&self, name: &str) -> NameServer {
        NameServer { address: self.address, transport: NameTransport::Tls(Host::parse(name).expect("a host")) }
    }

    /// Every question so far, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().expect("no panic").clone();
        asked.sort();
        asked
    }
}

impl Zone {
    async fn answer_packets(self, socket: Arc<UdpSocket>) {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let (zone, socket, query) = (self.clone(), socket.clone(), packet[..length].to_vec());
            tokio::spawn(async move {
                if let Some(answer) = zone.answer(&query, "udp").await {
                    // One who does not wait any more has asked again.
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
    }

    async fn answer_streams(self, listener: TcpListener, acceptor: Option<Acceptor>) {
        while let Ok((stream, _)) = listener.accept().await {
            let (zone, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => zone.answer_stream(stream, "tcp").await,
                    Some(acceptor) => {
                        if let Ok((stream, _)) = acceptor.accept(stream).await {
                            zone.answer_stream(stream, "tls").await;
                        }
                    }
                }
            });
        }
    }

    async fn answer_stream(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, transport: &str) {
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; usize::from(length)];
            if stream.read_exact(&mut query).await.is_err() {
                return;
            }
            let Some(answer) = self.answer(&query, transport).await else { continue };
            let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
            framed.extend_from_slice(&answer);
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, query: &[u8], transport: &str) -> Option<Vec<u8>> {
        let (name, kind, question) = question(query)?;
        let shown = if kind == A { "A" } else { "AAAA" };
        self.asked.lock().expect("no panic").push(format!("{name} {shown} {transport}"));
        tokio::time::sleep(self.delay).await;
        let (mut code, mut cut, mut answers, mut authorities) = (0_u8, 0_u8, Vec::new(), Vec::new());
        match &self.says {
            Says::Nothing => return None,
            Says::Failure => code = 2,
            Says::NoName { ttl } => {
                code = 3;
                authorities.push(record("example.", SOA, *ttl, soa(*ttl)));
            }
            Says::Addresses { .. } if self.cuts && transport == "udp" => cut = 0x02,
            Says::Addresses { addresses, ttl, aliases } => {
                let mut owner = name.clone();
                for alias in aliases {
                    answers.push(record(&owner, CNAME, *ttl, labels(alias)));
                    owner = (*alias).to_owned();
                }
                for address in addresses {
                    match address {
                        IpAddr::V4(four) if kind == A => answers.push(record(&owner, A, *ttl, four.octets().to_vec())),
                        IpAddr::V6(six) if kind == AAAA => {
                            answers.push(record(&owner, AAAA, *ttl, six.octets().to_vec()));
                        }
                        _ => {}
                    }
                }
            }
        }
        let mut answer = vec![query[0], query[1], 0x85 | cut, 0x80 | code, 0, 1];
        answer.extend_from_slice(&[0, answers.len() as u8, 0, authorities.len() as u8, 0, 0]);
        answer.extend_from_slice(question);
        answer.extend(answers.into_iter().chain(authorities).flatten());
        Some(answer)
    }
}

/// Name, type and bytes of the one question of a query (RFC 1035 §4.1.2).
fn question(query: &[u8]) -> Option<(String, u16, &[u8])> {
    let (mut place, mut name) = (12, String::new());
    while *query.get(place)? != 0 {
        let end = place + 1 + usize::from(query[place]);
        name += &String::from_utf8_lossy(query.get(place + 1..end)?).to_ascii_lowercase();
        name.push('.');
        place = end;
    }
    let kind = u16::from_be_bytes([*query.get(place + 1)?, *query.get(place + 2)?]);
    Some((name, kind, query.get(12..place + 5)?))
}

fn record(owner: &str, kind: u16, ttl: u32, data: Vec<u8>) -> Vec<u8> {
    let mut record = labels(owner);
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&[0, 1]);
    record.extend_from_slice(&ttl.to_be_bytes());
    record.extend_from_slice(&(data.len() as u16).to_be_bytes());
    record.extend_from_slice(&data);
    record
}

fn labels(name: &str) -> Vec<u8> {
    let mut labels = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        labels.push(label.len() as u8);
        labels.extend_from_slice(label.as_bytes());
    }
    labels.push(0);
    labels
}

fn soa(ttl: u32) -> Vec<u8> {
    let mut data = labels("ns.example.");
    data.extend(labels("admin.example."));
    [1, 3600, 600, 86400, ttl].iter().for_each(|number| data.extend_from_slice(&number.to_be_bytes()));
    data
}

//! Name servers that the configuration names: asked over UDP, over TCP where an answer is cut, or over TLS (RFC 7858).
//!
//! Only the name itself is asked for, fully qualified: no search list, no `/etc/hosts`. Servers are asked in the order in
//! which they are written; one that failed stands back for a while. An answer is kept as long as it says, within bounds,
//! and a name that many exchanges want at once is asked for once. What is asked goes on when an exchange that waited for
//! it has ended, so that the next one finds it answered.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, lookup::Lookup};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::resolver::{Answer, Found, Resolve, ResolveFault, StaticHosts, distinct};
use crate::config::{NameServer, NameTransport, Resolver, Upstream};
use crate::destination::HostName;
use crate::tls::Trust;

/// Most names that are asked for at once; each is two queries, one for each family.
const MAX_QUESTIONS: usize = 256;
/// Most names whose answers are kept.
const MAX_KEPT: u64 = 10_000;
/// Longest time for which addresses are kept, whatever they say: a recipient that moves is found within it.
const LONGEST_KEPT: Duration = Duration::from_secs(3600);
/// Longest time for which it is kept that a name has no address (RFC 2308 §5 lets it be as short as one likes).
const LONGEST_KEPT_NONE: Duration = Duration::from_secs(60);
/// Longest time for which the addresses of one family are kept when the question for the other failed.
const LONGEST_KEPT_PARTLY: Duration = Duration::from_secs(10);
/// How long a server that failed is asked after the others.
const STANDS_BACK: Duration = Duration::from_secs(30);
/// Most names of a chain of aliases that are told.
const MAX_ALIASES: usize = 16;

/// The configured servers. Clones share cache and questions.
#[derive(Clone)]
pub struct NameServers(Arc<Shared>);

struct Shared {
    servers: Vec<Server>,
    /// For a whole answer, however many servers are asked for it.
    answer_time: Duration,
    kept: moka::sync::Cache<HostName, Kept>,
    /// Names that are being asked for.
    open: Mutex<BTreeMap<HostName, watch::Receiver<Option<Outcome>>>>,
    questions: Arc<Semaphore>,
}

struct Server {
    address: SocketAddr,
    resolver: TokioResolver,
    failed: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Kept {
    outcome: Outcome,
    until: Instant,
}

type Outcome = Result<Found, Failure>;

/// Why a server gave no address.
#[derive(Clone, Debug)]
enum Failure {
    /// The name has none.
    None,
    /// No answer in time.
    Slow,
    /// Anything else.
    Other(NetError),
}

/// The configured servers cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the name server {address} cannot be set up")]
pub struct NameServerFault {
    address: SocketAddr,
    source: NetError,
}

impl NameServers {
    /// Resolves by these servers. Those asked over TLS must show a certificate that `trust` leads to.
    ///
    /// # Errors
    /// The library refuses a server.
    pub fn new(servers: &[NameServer], answer_time: Duration, trust: &Trust) -> Result<NameServers, NameServerFault> {
        let each = answer_time / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
        let servers = servers.iter().map(|server| Server::new(server, each, trust)).collect::<Result<_, _>>()?;
        Ok(NameServers(Arc::new(Shared {
            servers,
            answer_time,
            kept: moka::sync::Cache::builder().max_capacity(MAX_KEPT).time_to_live(LONGEST_KEPT).build(),
            open: Mutex::default(),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        })))
    }

    /// Asks each server for itself, past cache and order: how long it took, or why there is no answer. That a name does
    /// not exist is an answer.
    pub async fn try_each(&self, name: &HostName) -> Vec<(SocketAddr, Result<Duration, ResolveFault>)> {
        let mut tried = Vec::new();
        for server in &self.0.servers {
            let begun = Instant::now();
            let answered = match server.ask(name).await.outcome {
                Ok(_) | Err(Failure::None) => Ok(begun.elapsed()),
                Err(failure) => Err(fault(name, failure, begun.elapsed())),
            };
            tried.push((server.address, answered));
        }
        tried
    }
}

impl StaticHosts {
    /// The names that the settings know, and whom they name to be asked for the others: `system` where they name none.
    ///
    /// # Errors
    /// A name server cannot be set up.
    pub fn configured(
        settings: &Upstream,
        answer_time: Duration,
        trust: &Trust,
        system: Arc<dyn Resolve>,
    ) -> Result<StaticHosts, NameServerFault> {
        let then: Arc<dyn Resolve> = match &settings.resolver {
            Resolver::System => system,
            Resolver::Servers(servers) => Arc::new(NameServers::new(servers, answer_time, trust)?),
        };
        Ok(StaticHosts { hosts: settings.hosts.clone(), then })
    }
}

impl Resolve for NameServers {
    fn resolve<'a>(&'a self, name: &'a HostName) -> Answer<'a> {
        Box::pin(async move {
            let shared = &self.0;
            if let Some(kept) = shared.kept.get(name).filter(|kept| kept.until > Instant::now()) {
                return kept.outcome.map_err(|failure| fault(name, failure, shared.answer_time));
            }
            let mut answer = shared.question(name);
            let outcome = match timeout(shared.answer_time, answer.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Failure::Slow)),
                // The task that asks ended without an answer, or is not done.
                Ok(Err(_)) | Err(_) => Err(Failure::Slow),
            };
            outcome.map_err(|failure| fault(name, failure, shared.answer_time))
        })
    }

    fn questions(&self) -> (usize, usize) {
        (MAX_QUESTIONS - self.0.questions.available_permits(), MAX_QUESTIONS)
    }
}

impl Shared {
    /// The answer that is still to come: of the question that is open already, or of a new one.
    fn question(self: &Arc<Shared>, name: &HostName) -> watch::Receiver<Option<Outcome>> {
        let mut open = self.lock();
        if let Some(answer) = open.get(name) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        open.insert(name.clone(), answer.clone());
        drop(open);
        let question = Question { shared: self.clone(), name: name.clone() };
        tokio::spawn(async move {
            let outcome = question.answer().await;
            // Closed before it is told: who comes later finds what is kept, or asks anew.
            drop(question);
            let _ = tell.send(Some(outcome));
        });
        answer
    }

    /// Held for a moment only, and whole at every one.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostName, watch::Receiver<Option<Outcome>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one server after the other until one answers.
    async fn ask(&self, name: &HostName) -> Kept {
        let mut last = Kept::never(Failure::Slow);
        for server in self.in_order() {
            last = server.ask(name).await;
            match &last.outcome {
                Ok(_) | Err(Failure::None) => return last,
                Err(failure) => {
                    tracing::debug!(server = %server.address, %name, ?failure, "a name server gave no answer");
                }
            }
        }
        last
    }

    /// As written; those that failed a short while ago last.
    fn in_order(&self) -> Vec<&Server> {
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        servers.sort_by_key(|server| server.stands_back());
        servers
    }
}

/// A question that is open until it is dropped.
struct Question {
    shared: Arc<Shared>,
    name: HostName,
}

impl Question {
    async fn answer(&self) -> Outcome {
        let asked = async {
            let _place = self.shared.questions.acquire().await;
            self.shared.ask(&self.name).await
        };
        let answered = timeout(self.shared.answer_time, asked).await.unwrap_or(Kept::never(Failure::Slow));
        if answered.until > Instant::now() {
            self.shared.kept.insert(self.name.clone(), answered.clone());
        }
        answered.outcome
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.name);
    }
}

impl Server {
    fn new(server: &NameServer, time: Duration, trust: &Trust) -> Result<Server, NameServerFault> {
        let address = server.address;
        let connections = match &server.transport {
            NameTransport::Plain => vec![ConnectionConfig::udp(), ConnectionConfig::tcp()],
            NameTransport::Tls(name) => vec![ConnectionConfig::tls(name.to_string().into())],
        };
        let at_port = |connection| {
            let mut connection: ConnectionConfig = connection;
            connection.port = address.port();
            connection
        };
        let connections = connections.into_iter().map(at_port).collect();
        let config = NameServerConfig::new(address.ip(), true, connections);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
        let mut building = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_tls_config(trust.for_name_servers());
        *building.options_mut() = options(time);
        let resolver = building.build().map_err(|source| NameServerFault { address, source })?;
        Ok(Server { address, resolver, failed: Mutex::default() })
    }

    /// Asks this server for the addresses of both families. Both are waited for, because an answer is judged whole.
    async fn ask(&self, name: &HostName) -> Kept {
        // A host name that was read is a domain name; what is not would be a name without addresses.
        let Ok(asked) = Name::from_ascii(format!("{name}.")) else { return Kept::never(Failure::None) };
        let (six, four) = tokio::join!(
            self.resolver.lookup(asked.clone(), RecordType::AAAA),
            self.resolver.lookup(asked.clone(), RecordType::A)
        );
        let answered = joined(&asked, six, four);
        let is_failed = matches!(answered.outcome, Err(Failure::Slow | Failure::Other(_)));
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = is_failed.then(Instant::now);
        answered
    }

    fn stands_back(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| failed.elapsed() < STANDS_BACK)
    }
}

/// One request in flight to a server at a time, no hosts file, and nothing kept by the library: what is kept is kept here.
fn options(time: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = time;
    options.attempts = 0;
    options.num_concurrent_reqs = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options.edns0 = true;
    options
}

/// What the answers for both families say together. Addresses of IPv6 stand first (RFC 8305 §4).
fn joined(asked: &Name, six: Result<Lookup, NetError>, four: Result<Lookup, NetError>) -> Kept {
    let now = Instant::now();
    let (six, four) = (six.map_err(failure), four.map_err(failure));
    let lookups = || [&six, &four].into_iter().flatten();
    let addresses = lookups().flat_map(|lookup| lookup.answers()).filter_map(|record| record.data.ip_addr());
    let addresses = distinct(addresses);
    let failures = || [&six, &four].into_iter().filter_map(|answer| answer.as_ref().err());
    let broken = failures().find(|(failure, _)| !matches!(failure, Failure::None));
    match broken {
        Some((failure, _)) if addresses.is_empty() => return Kept::never(failure.clone()),
        _ if addresses.is_empty() => {
            let longest = failures().map(|(_, ttl)| *ttl).min().unwrap_or_default().min(LONGEST_KEPT_NONE);
            return Kept { outcome: Err(Failure::None), until: now + longest };
        }
        _ => {}
    }
    let longest = if broken.is_some() { LONGEST_KEPT_PARTLY } else { LONGEST_KEPT };
    let until = lookups().map(Lookup::valid_until).fold(now + longest, Instant::min);
    let aliases = lookups().map(|lookup| aliases(asked, lookup)).max_by_key(Vec::len).unwrap_or_default();
    Kept { outcome: Ok(Found { addresses, aliases }), until }
}

/// The names that the asked one stands for, in the order of the chain.
fn aliases(asked: &Name, lookup: &Lookup) -> Vec<String> {
    let mut chain = Vec::new();
    let mut name = asked;
    while chain.len() < MAX_ALIASES {
        let next = lookup.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == *name => Some(&alias.0),
            _ => None,
        });
        let Some(next) = next else { break };
        chain.push(next.to_ascii().trim_end_matches('.').to_ascii_lowercase());
        name = next;
    }
    chain
}

/// What the library's error means, and how long it may be kept.
fn failure(error: NetError) -> (Failure, Duration) {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            (Failure::None, Duration::from_secs(none.negative_ttl.unwrap_or_default().into()))
        }
        NetError::Timeout => (Failure::Slow, Duration::ZERO),
        other => (Failure::Other(other), Duration::ZERO),
    }
}

fn fault(name: &HostName, failure: Failure, after: Duration) -> ResolveFault {
    let name = name.clone();
    match failure {
        Failure::None => ResolveFault::NoAddress(name),
        Failure::Slow => ResolveFault::Timeout { name, after },
        Failure::Other(error) => ResolveFault::Failed { name, source: io::Error::other(error) },
    }
}

impl Kept {
    /// What the next exchange asks for again.
    fn never(failure: Failure) -> Kept {
        Kept { outcome: Err(failure), until: Instant::now() }
    }
}

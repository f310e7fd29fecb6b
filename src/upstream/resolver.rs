//! Names to addresses. The answer is judged in `policy/` and pinned; nothing asks a second time.
//!
//! A [`HostName`] is canonical and never numeric, so that the system's resolver cannot be made to read `0x7f.1` as an
//! address. Whether an answer may be dialled is not asked here.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::destination::HostName;

/// Most addresses of one answer that are looked at.
const MAX_ADDRESSES: usize = 32;
/// Most questions put to the system at once: each takes a thread for as long as the system waits.
const MAX_QUESTIONS: usize = 64;
/// How long an answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// An answer that is still to come.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Found, ResolveFault>> + Send + 'a>>;

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its addresses, each once and at least one, in the order in which they are to be tried.
    pub addresses: Vec<IpAddr>,
    /// The names that it is an alias of, in the order of the chain; empty also where who was asked does not tell.
    pub aliases: Vec<String>,
}

impl From<Vec<IpAddr>> for Found {
    fn from(addresses: Vec<IpAddr>) -> Found {
        Found { addresses, aliases: Vec::new() }
    }
}

/// Who knows the addresses of names. Handed in, so that the demo and the tests need no name service.
pub trait Resolve: Send + Sync {
    /// What `name` stands for.
    fn resolve<'a>(&'a self, name: &'a HostName) -> Answer<'a>;

    /// Questions that are open now, and the most that may be. One that answers by itself has none.
    fn questions(&self) -> (usize, usize) {
        (0, 1)
    }
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum ResolveFault {
    /// The name service knows no address of it.
    #[error("`{0}` has no address")]
    NoAddress(HostName),
    /// No answer in time.
    #[error("no answer for `{name}` within {} s", after.as_secs())]
    Timeout {
        /// What was asked.
        name: HostName,
        /// How long was waited.
        after: Duration,
    },
    /// The name service failed.
    #[error("cannot resolve `{name}`")]
    Failed {
        /// What was asked.
        name: HostName,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl ResolveFault {
    /// Whether the other side took too long, which is answered 504 instead of 502.
    pub fn is_timeout(&self) -> bool {
        matches!(self, ResolveFault::Timeout { .. })
    }
}

/// The machine's own resolver (getaddrinfo): `/etc/hosts`, then the name service, with its search list.
///
/// The search list can add a domain of the organisation to a name that is not found; what it then leads to is still
/// checked by address class and, over TLS, by the certificate.
#[derive(Debug)]
pub struct SystemResolver {
    questions: Arc<Semaphore>,
    answer_time: Duration,
}

impl Default for SystemResolver {
    fn default() -> SystemResolver {
        SystemResolver::within(ANSWER_TIME)
    }
}

impl SystemResolver {
    /// A resolver whose answers are waited for so long.
    pub fn within(answer_time: Duration) -> SystemResolver {
        SystemResolver { questions: Arc::new(Semaphore::new(MAX_QUESTIONS)), answer_time }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a HostName) -> Answer<'a> {
        Box::pin(async move {
            let timeout = || ResolveFault::Timeout { name: name.clone(), after: self.answer_time };
            let question = ask(Arc::clone(&self.questions), name.as_str().to_owned());
            match tokio::time::timeout(self.answer_time, question).await {
                Err(_) => Err(timeout()),
                Ok(Err(source)) => Err(ResolveFault::Failed { name: name.clone(), source }),
                Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveFault::NoAddress(name.clone())),
                Ok(Ok(addresses)) => Ok(addresses.into()),
            }
        })
    }

    fn questions(&self) -> (usize, usize) {
        (MAX_QUESTIONS - self.questions.available_permits(), MAX_QUESTIONS)
    }
}

/// Asks in a task of its own: a caller that gives up does not free the thread that getaddrinfo still holds, so the
/// place among the questions is kept until that returns.
async fn ask(questions: Arc<Semaphore>, name: String) -> io::Result<Vec<IpAddr>> {
    let place = questions.acquire_owned().await.map_err(io::Error::other)?;
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    let question = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, 0)).await;
        drop(place);
        found.map(|addresses| distinct(addresses.map(|address| address.ip())))
    });
    question.await.map_err(io::Error::other)?
}

/// Names given in the configuration, and what else is asked for the others.
pub struct StaticHosts {
    /// The names that are known here, with their addresses.
    pub hosts: BTreeMap<HostName, Vec<IpAddr>>,
    /// Asked for names that are not in `hosts`.
    pub then: Arc<dyn Resolve>,
}

impl Resolve for StaticHosts {
    fn resolve<'a>(&'a self, name: &'a HostName) -> Answer<'a> {
        match self.hosts.get(name) {
            Some(addresses) if addresses.is_empty() => {
                Box::pin(std::future::ready(Err(ResolveFault::NoAddress(name.clone()))))
            }
            Some(addresses) => Box::pin(std::future::ready(Ok(addresses.clone().into()))),
            None => self.then.resolve(name),
        }
    }

    fn questions(&self) -> (usize, usize) {
        self.then.questions()
    }
}

/// Knows no name: what stands behind [`StaticHosts`] where no name service may be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolver;

impl Resolve for NoResolver {
    fn resolve<'a>(&'a self, name: &'a HostName) -> Answer<'a> {
        Box::pin(std::future::ready(Err(ResolveFault::NoAddress(name.clone()))))
    }
}

/// Each address once, in the order of the answer: the system sorts by reachability (RFC 6724).
pub(super) fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in addresses {
        if found.len() < MAX_ADDRESSES && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).expect("a name")
    }

    #[tokio::test]
    async fn static_hosts_come_first() {
        let address: IpAddr = [192, 0, 2, 1].into();
        let hosts = [(name("a.example"), vec![address]), (name("none.example"), vec![])].into();
        let resolver = StaticHosts { hosts, then: Arc::new(NoResolver) };
        assert_eq!(resolver.resolve(&name("a.example")).await.expect("an answer").addresses, [address]);
        for unknown in ["none.example", "b.example"] {
            assert!(matches!(resolver.resolve(&name(unknown)).await, Err(ResolveFault::NoAddress(_))));
        }
    }

    #[tokio::test]
    async fn the_system_knows_itself() {
        let found = SystemResolver::default().resolve(&name("localhost")).await.expect("an answer");
        assert!(found.addresses.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_no_success() {
        let resolver = SystemResolver { answer_time: Duration::from_secs(20), ..SystemResolver::default() };
        assert!(resolver.resolve(&name("nobody.invalid")).await.is_err());
    }

    #[test]
    fn an_answer_is_bounded_and_distinct() {
        let many = (0..200u32).map(|number| IpAddr::from((number / 2).to_be_bytes()));
        let found = distinct(many);
        assert_eq!(found.len(), MAX_ADDRESSES);
        assert_eq!(found[1], IpAddr::from([0, 0, 0, 1]));
    }
}

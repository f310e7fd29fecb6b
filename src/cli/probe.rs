//! `tasrih probe`: looks at the declared destinations of one recipient, sending nothing, and says what the register
//! would decide. `verdict` asks the register, `show` prints.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::installation::Installation;
use super::{FINDINGS, FINE, UNREADABLE};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::destination::{AddressRules, Destination, Host, HostPattern, classify};
use crate::docket::Docket;
use crate::proxy::error::told;
use crate::register::{Endpoint, Recipient, Register};
use crate::tls::{self, CertificateFacts, Look, Trust};
use crate::upstream::look::{Sight, look};
use crate::upstream::{DialTimes, Resolve as _, StaticHosts, SystemResolver};
use certificate::Certificate;
use verdict::Verdict;

mod certificate;
mod show;
mod verdict;

/// Look at a recipient's declared destinations, sending nothing
#[derive(clap::Args)]
pub struct Arguments {
    /// Id of the recipient
    #[arg(value_name = "RECIPIENT")]
    recipient: String,
    /// A host to look at where a `*.suffix` is declared
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Option<Host>,
    #[command(flatten)]
    installation: Installation,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that was found.
#[derive(Serialize)]
struct Report {
    recipient: String,
    name: String,
    country: String,
    destinations: Vec<Looked>,
}

/// One declared destination.
#[derive(Serialize)]
pub(super) struct Looked {
    pub(super) destination: String,
    /// Why nothing could be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    /// Time that resolving took; absent for an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_ms: Option<u64>,
    pub(super) addresses: Vec<Address>,
    /// What the register would decide now, for each transfer to this destination and each of its sources.
    pub(super) verdicts: Vec<Verdict>,
}

/// One address of a destination.
#[derive(Serialize)]
pub(super) struct Address {
    address: IpAddr,
    class: &'static str,
    /// Why the proxy would not send there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<&'static str>,
    chain: Vec<Certificate>,
    /// Whether the recipient's key is a declared pin; absent where none is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin_matches: Option<bool>,
}

impl Address {
    /// Whether an exchange could be sent there.
    pub(super) fn is_well(&self) -> bool {
        self.fault.is_none() && self.pin_matches != Some(false)
    }

    fn failed(self, fault: String) -> Address {
        Address { fault: Some(fault), ..self }
    }
}

impl Report {
    fn is_fine(&self) -> bool {
        self.destinations.iter().all(|looked| looked.fault.is_none() && looked.addresses.iter().all(Address::is_well))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments whole")]
pub fn main(arguments: Arguments) -> u8 {
    match probe(&arguments) {
        Ok(report) => {
            match arguments.json {
                true => println!("{:#}", serde_json::json!(report)),
                false => print!("{}", show::Shown(&report)),
            }
            if report.is_fine() { FINE } else { FINDINGS }
        }
        Err(fault) => {
            eprintln!("tasrih: {fault}");
            UNREADABLE
        }
    }
}

fn probe(arguments: &Arguments) -> Result<Report, String> {
    let settings = arguments.installation.settings()?;
    let remembered = Docket::read(&settings.state).map_err(|fault| fault.to_string())?.remembered();
    let register = Arc::new(arguments.installation.compile(settings.limits.hold, &remembered)?.0.register);
    let recipient = find(&register, &arguments.recipient)?;
    let endpoints = endpoints(&recipient, arguments.host.as_ref())?;
    let eyes = Eyes::new(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|fault| format!("no runtime: {fault}"))?;
    let destinations = runtime.block_on(async {
        let mut looked = Vec::new();
        for endpoint in endpoints {
            looked.push(eyes.look_at(&register, &recipient, endpoint, arguments.host.as_ref()).await);
        }
        looked
    });
    runtime.shutdown_background();
    Ok(Report {
        recipient: recipient.id.to_string(),
        name: recipient.name.clone(),
        country: recipient.country.to_string(),
        destinations,
    })
}

fn host(text: &str) -> Result<Host, String> {
    Host::parse(text).map_err(|fault| fault.to_string())
}

/// The destinations to look at: those that a named host belongs to, or all.
fn endpoints<'a>(recipient: &'a Recipient, host: Option<&Host>) -> Result<Vec<&'a Endpoint>, String> {
    let fits = |endpoint: &&Endpoint| host.is_none_or(|host| endpoint.host.matches(host));
    let found: Vec<&Endpoint> = recipient.endpoints.iter().filter(fits).collect();
    match (found.is_empty(), host) {
        (true, Some(host)) => {
            let declared: Vec<String> = recipient.endpoints.iter().map(|one| format!("`{}`", one.host)).collect();
            Err(format!("`{host}` is no destination of `{}`; declared are {}", recipient.id, declared.join(", ")))
        }
        _ => Ok(found),
    }
}

fn find(register: &Register, id: &str) -> Result<Arc<Recipient>, String> {
    let known = || register.recipients.iter();
    if let Some(found) = known().find(|recipient| recipient.id.as_str() == id) {
        return Ok(found.clone());
    }
    let nearest = known()
        .map(|recipient| recipient.id.as_str())
        .max_by(|one, other| strsim::jaro_winkler(one, id).total_cmp(&strsim::jaro_winkler(other, id)));
    let hint = nearest.map_or("no recipient is declared".to_owned(), |nearest| format!("did you mean `{nearest}`?"));
    Err(format!("`{id}` is no declared recipient; {hint}"))
}

/// What looking needs: the same resolver, rules and roots that the proxy has.
pub(super) struct Eyes {
    resolver: StaticHosts,
    rules: AddressRules,
    trust: Trust,
    times: DialTimes,
}

impl Eyes {
    pub(super) fn new(settings: &Settings) -> Result<Eyes, String> {
        let listeners = settings.listeners.iter().map(|listener| listener.bind);
        let trust = Trust::new(&roots(settings)).map_err(|fault| told(&fault))?;
        let answer_time = settings.limits.resolve_time;
        let system = Arc::new(SystemResolver::within(answer_time));
        let resolver = StaticHosts::configured(&settings.upstream, answer_time, &trust, system);
        Ok(Eyes {
            resolver: resolver.map_err(|fault| told(&fault))?,
            rules: AddressRules {
                internal: settings.internal_destinations.clone(),
                own: listeners.chain([settings.admin]).collect(),
            },
            trust,
            times: DialTimes { connect: settings.limits.connect_time, handshake: settings.limits.handshake_time },
        })
    }

    /// Looks at one destination; `named` is the host to look at where a wildcard is declared.
    pub(super) async fn look_at(
        &self,
        register: &Arc<Register>,
        recipient: &Recipient,
        endpoint: &Endpoint,
        named: Option<&Host>,
    ) -> Looked {
        let host = match (&endpoint.host, named) {
            (HostPattern::Exact(host), _) | (_, Some(host)) => host,
            (HostPattern::Suffix(_) | HostPattern::Any, None) => {
                let shown = format!("{}://{}:{}", endpoint.scheme.as_str(), endpoint.host, endpoint.port);
                return Looked::failed(shown, "a wildcard names no host to look at; name one with --host");
            }
        };
        let destination = Destination { scheme: endpoint.scheme, host: host.clone(), port: endpoint.port };
        let begun = Instant::now();
        let (addresses, resolved_ms) = match host {
            Host::Address(address) => (vec![*address], None),
            Host::Name(name) => match self.resolver.resolve(name).await {
                Ok(found) => (found.addresses, Some(milliseconds(begun.elapsed()))),
                Err(fault) => return Looked::failed(destination.to_string(), &told(&fault)),
            },
        };
        let mut seen = Vec::new();
        for address in addresses {
            seen.push(self.see(&destination, endpoint, address).await);
        }
        let verdicts =
            verdict::ask(register, recipient, &destination, &self.rules, &seen, SystemClock::default().wall());
        Looked { destination: destination.to_string(), fault: None, resolved_ms, addresses: seen, verdicts }
    }

    async fn see(&self, destination: &Destination, endpoint: &Endpoint, address: IpAddr) -> Address {
        let sight = look(destination, address, &endpoint.networks, &self.rules, &self.trust, self.times).await;
        let seen = Address {
            address,
            class: classify(address).as_str(),
            fault: None,
            connected_ms: None,
            tls: None,
            chain: Vec::new(),
            pin_matches: None,
        };
        match sight {
            Sight::Refused(class) => seen.failed(format!("not dialled: address-refused ({class})")),
            Sight::Outside => seen.failed("not dialled: outside the recipient's declared networks".to_owned()),
            Sight::Unreachable(fault) => seen.failed(format!("accepts no connection: {fault}")),
            Sight::Open { after } => Address { connected_ms: Some(milliseconds(after)), ..seen },
            Sight::Tls { after, look: None } => Address {
                fault: Some("the TLS handshake did not end in time".to_owned()),
                connected_ms: Some(milliseconds(after)),
                ..seen
            },
            Sight::Tls { after, look: Some(look) } => with_tls(seen, after, look, &endpoint.pins),
        }
    }
}

fn with_tls(seen: Address, after: Duration, look: Look, pins: &[[u8; 32]]) -> Address {
    let own = look.chain.first().map(|own: &CertificateFacts| own.spki_sha256);
    Address {
        fault: look.fault.map(|fault| told(&fault)),
        connected_ms: Some(milliseconds(after)),
        tls: look.version.map(crate::policy::TlsVersion::as_str),
        pin_matches: own.filter(|_| !pins.is_empty()).map(|own| pins.contains(&own)),
        chain: look.chain.iter().map(|facts| Certificate::of(facts, SystemClock::default().wall())).collect(),
        ..seen
    }
}

impl Looked {
    fn failed(destination: String, fault: &str) -> Looked {
        let (addresses, verdicts) = (Vec::new(), Vec::new());
        Looked { destination, fault: Some(fault.to_owned()), resolved_ms: None, addresses, verdicts }
    }
}

/// The roots that the settings name.
pub(super) fn roots(settings: &Settings) -> Vec<tls::Root> {
    let root = |root: &crate::config::Root| match root {
        crate::config::Root::System => tls::Root::System,
        crate::config::Root::File(path) => tls::Root::File(path.clone()),
    };
    settings.upstream.roots.iter().map(root).collect()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

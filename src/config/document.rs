//! The keys of `tasrih.yaml` (DESIGN §4b), read strictly by the machinery that reads policy files: unknown and duplicate
//! keys, anchors, tags and the rest are faults, and all faults are reported at once.
//!
//! Keys that a later issue builds are known here and refused by name, so that nobody believes a listener to be protected
//! by something that is not there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::slice;

use ipnetwork::IpNetwork;

use super::limits;
use super::listeners::{self, Taken};
use super::{
    Disk, Interception, Loaded, Log, LogFormat, LogLevel, NameServer, NameTransport, Resolver, Root, Settings, Spool,
    Upstream,
};
use crate::destination::{Authority, Host, HostName};
use crate::register::document::{self, Node, Scalar, Value};
use crate::register::fault::{Collector, Faults, Problem, Text};
use crate::register::fields::{Fields, Places, Read};
use crate::register::scalar;

/// Reads a configuration.
///
/// # Errors
/// Every fault of the text, in the order of lines.
pub fn read(text: &Text) -> Result<Loaded, Faults> {
    let collector = Collector::new(slice::from_ref(text));
    let (settings, places) = match document::read(0, &text.text, &collector) {
        Some(node) => settings(&node, &collector),
        None => (Settings::default(), None),
    };
    let (faults, warnings) = collector.finish();
    if faults.is_empty() { Ok(Loaded { settings, places, warnings }) } else { Err(Faults(faults)) }
}

/// What is faulty keeps its default here; the collector knows that the whole is not to be used.
fn settings(node: &Node, collector: &Collector<'_>) -> (Settings, Option<Places>) {
    let default = Settings::default();
    let Some(mut fields) = Fields::open(node, "the configuration", collector) else { return (default, None) };
    let mut taken = Taken::new(collector);
    let listeners = fields.maps("listeners", "a listener", |fields| listeners::listener(fields, &mut taken));
    let settings = Settings {
        node: fields.or_default("node", default.node, node_name),
        listeners: if listeners.is_empty() { default.listeners } else { listeners },
        admin: fields
            .map("admin", "the admin listener", |fields| listeners::admin(fields, &mut taken))
            .unwrap_or(default.admin),
        metrics: fields.map("metrics", "the metrics listener", |fields| listeners::metrics(fields, &mut taken)),
        users: fields.optional("users", path),
        interception: fields
            .map("interception", "the interception authority", interception)
            .unwrap_or(default.interception),
        upstream: fields.map("upstream", "the way upstream", upstream).unwrap_or(default.upstream),
        internal_destinations: internal_destinations(&mut fields),
        limits: fields.map("limits", "the limits", limits::read).unwrap_or(default.limits),
        disk: fields.map("disk", "the bounds on the disk", disk).unwrap_or(default.disk),
        state: fields.or_default("state", default.state, path),
        spool: fields.map("spool", "the spool", spool).unwrap_or(default.spool),
        log: fields.map("log", "the log of operation", log).unwrap_or(default.log),
    };
    taken.check_defaults(&fields, &settings);
    let (_, places) = fields.close();
    (settings, Some(places))
}

fn spool(fields: &mut Fields<'_>) -> Option<Spool> {
    Some(Spool { folder: fields.optional("folder", path) })
}

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

const LEVELS: &[(&str, LogLevel)] =
    &[("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

fn log(fields: &mut Fields<'_>) -> Option<Log> {
    let default = Log::default();
    Some(Log {
        format: fields.or_default("format", default.format, scalar::choice(FORMATS)),
        level: fields.or_default("level", default.level, scalar::choice(LEVELS)),
    })
}

fn interception(fields: &mut Fields<'_>) -> Option<Interception> {
    let default = Interception::default();
    let read = Interception {
        certificate: fields.or_default("certificate", default.certificate, path),
        key: fields.or_default("key", default.key, path),
        crl_url: fields.optional("crl_url", crl_url),
    };
    if read.certificate == read.key {
        let problem = Problem::new(format!("`{}` is both certificate and key", read.key.display()));
        fields.refuse("key", problem.hint("the key is a file of its own, readable by its owner only"));
    }
    Some(read)
}

/// Over TLS a client would need the list to fetch the list (RFC 5280 §8).
fn crl_url(scalar: &Scalar) -> Read<String> {
    let (written, canonical) = scalar::text(scalar)?;
    let wrong = || {
        Problem::new(format!("`{written}` is no address of a list of revoked certificates"))
            .hint("`http://HOST:PORT/ca.crl`, at a listener of this proxy that clients reach")
    };
    let (authority, _) = written.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    Authority::parse(authority).map_err(|_| wrong())?;
    let plain = written.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok((written, canonical)) } else { Err(wrong()) }
}

fn upstream(fields: &mut Fields<'_>) -> Option<Upstream> {
    let default = Upstream::default();
    let roots: Vec<Root> = fields.list("roots", root).into_iter().map(|root| root.value).collect();
    Some(Upstream {
        roots: if roots.is_empty() { default.roots } else { roots },
        hosts: hosts(fields),
        resolver: resolver(fields, default.resolver),
    })
}

/// `system`, or a list of name servers.
fn resolver(fields: &mut Fields<'_>, default: Resolver) -> Resolver {
    let Some(list) = fields.node("resolver").filter(|node| matches!(node.value, Value::List(_))) else {
        // The only word, and the default.
        fields.or_default("resolver", (), scalar::choice(&[("system", ())]));
        return default;
    };
    let place = list.place;
    let servers: Vec<NameServer> =
        fields.list("resolver", name_server).into_iter().map(|server| server.value).collect();
    if servers.len() > MOST_NAME_SERVERS {
        let problem = Problem::new(format!("{} name servers are more than {MOST_NAME_SERVERS}", servers.len()));
        fields
            .collector()
            .fault(place, problem.hint("`resolve_time` is shared by all of them: two or three are enough"));
    }
    if servers.is_empty() { default } else { Resolver::Servers(servers) }
}

/// Most name servers: they share the time of an answer.
const MOST_NAME_SERVERS: usize = 4;

/// `ADDRESS`, `ADDRESS:PORT`, and over TLS `tls://ADDRESS[:PORT][#NAME]`, in which NAME is what the certificate is for; without
/// it the certificate must be for the address. An IPv6 address with a port, or over TLS, stands in brackets.
fn name_server(scalar: &Scalar) -> Read<NameServer> {
    let (written, canonical) = scalar::text(scalar)?;
    let wrong = || {
        Problem::new(format!("`{written}` is no name server"))
            .hint("`10.0.0.53`, `10.0.0.53:5353`, or over TLS `tls://10.0.0.53#dns.example`")
    };
    let (over_tls, rest) = written.strip_prefix("tls://").map_or((false, written.as_str()), |rest| (true, rest));
    let (place, name) = rest.split_once('#').map_or((rest, None), |(place, name)| (place, Some(name)));
    if name.is_some() && !over_tls {
        return Err(wrong());
    }
    let default_port = if over_tls { 853 } else { 53 };
    let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
    let address = match (bare.parse::<IpAddr>(), place.parse::<SocketAddr>()) {
        (Ok(address), _) => SocketAddr::new(address, default_port),
        (Err(_), Ok(address)) if address.port() != 0 => address,
        (Err(_), _) => return Err(wrong()),
    };
    let host = match name {
        Some(name) => Host::parse(name).map_err(|fault| Problem::new(fault.to_string()))?,
        None => Host::Address(address.ip()),
    };
    let transport = if over_tls { NameTransport::Tls(host) } else { NameTransport::Plain };
    Ok((NameServer { address, transport }, canonical))
}

fn root(scalar: &Scalar) -> Read<Root> {
    let (path, canonical) = path(scalar)?;
    let root = if scalar.text == "system" { Root::System } else { Root::File(path) };
    Ok((root, canonical))
}

/// `hosts: {name: [addresses]}`. The names are values, so the map is read here and not by [`Fields`].
fn hosts(fields: &mut Fields<'_>) -> BTreeMap<HostName, Vec<IpAddr>> {
    let mut hosts = BTreeMap::new();
    let collector = fields.collector();
    let Some(node) = fields.node("hosts") else { return hosts };
    let Value::Map(entries) = &node.value else {
        refuse_unless_broken(
            node,
            collector,
            Problem::new("`hosts` is a map from names to lists of addresses")
                .hint("hosts: {intake.example: [10.0.0.7]}"),
        );
        return hosts;
    };
    for (key, value) in entries {
        let addresses = addresses(value, &key.text, collector);
        match host_name(&key.text) {
            Ok(name) if hosts.contains_key(&name) => {
                let problem = Problem::new(format!("`{}` is `{name}` again", key.text));
                collector.fault(key.place, problem.hint("write a name once, with all its addresses"));
            }
            Ok(name) => {
                hosts.insert(name, addresses);
            }
            Err(problem) => collector.fault(key.place, problem),
        }
    }
    hosts
}

fn host_name(text: &str) -> Result<HostName, Problem> {
    match Host::parse(text) {
        Ok(Host::Name(name)) => Ok(name),
        Ok(Host::Address(address)) => Err(Problem::new(format!("`{address}` is an address, and a name is wanted"))
            .hint("an address needs no resolving")),
        Err(fault) => Err(Problem::new(fault.to_string())),
    }
}

fn addresses(node: &Node, name: &str, collector: &Collector<'_>) -> Vec<IpAddr> {
    let wanted =
        || Problem::new(format!("`{name}` needs a list of addresses")).hint(format!("write `{name}: [10.0.0.7]`"));
    let Value::List(nodes) = &node.value else {
        refuse_unless_broken(node, collector, wanted());
        return Vec::new();
    };
    if nodes.is_empty() {
        collector.fault(node.place, wanted());
    }
    let read = |node: &Node| match &node.value {
        Value::Scalar(scalar) => ip(scalar).map_err(|problem| collector.fault(node.place, problem)).ok(),
        Value::List(_) | Value::Map(_) | Value::Broken => {
            refuse_unless_broken(node, collector, wanted());
            None
        }
    };
    nodes.iter().filter_map(read).collect()
}

/// Something broken is reported already.
fn refuse_unless_broken(node: &Node, collector: &Collector<'_>, problem: Problem) {
    if !matches!(node.value, Value::Broken) {
        collector.fault(node.place, problem);
    }
}

fn internal_destinations(fields: &mut Fields<'_>) -> Vec<IpNetwork> {
    let networks = match fields.node("internal_destinations").map(|node| &node.value) {
        // The default is an empty list, so one may be written: unlike a filter's, it opens nothing.
        Some(Value::List(nodes)) if nodes.is_empty() => Vec::new(),
        _ => fields.list("internal_destinations", scalar::network),
    };
    for network in &networks {
        if network.value.prefix() == 0 {
            let problem = Problem::new(format!("`{}` opens every address", network.value));
            fields.collector().fault(network.place, problem.hint("name the networks that recipients live in"));
        }
    }
    networks.into_iter().map(|network| network.value).collect()
}

fn disk(fields: &mut Fields<'_>) -> Option<Disk> {
    let default = Disk::default();
    Some(Disk {
        reserve: fields.or_default("reserve", default.reserve, scalar::size),
        segment: fields.or_default("segment", default.segment, segment),
    })
}

fn segment(scalar: &Scalar) -> Read<u64> {
    let (bytes, canonical) = scalar::size(scalar)?;
    match (64 << 10..=1 << 30).contains(&bytes) {
        true => Ok((bytes, canonical)),
        false => Err(Problem::new(format!("a segment of `{}` is not between 64KiB and 1GiB", scalar.text))
            .hint("`64MiB`, the default, suits most disks")),
    }
}

fn node_name(scalar: &Scalar) -> Read<String> {
    let (id, canonical) = scalar::id(scalar)?;
    if id.as_str().len() > 63 {
        return Err(Problem::new(format!("`{id}` has more than 63 characters")));
    }
    Ok((id.as_str().to_owned(), canonical))
}

pub(super) fn path(scalar: &Scalar) -> Read<PathBuf> {
    let (written, canonical) = scalar::text(scalar)?;
    if written.contains('\0') {
        return Err(Problem::new("a path holds no NUL character"));
    }
    Ok((PathBuf::from(written), canonical))
}

fn ip(scalar: &Scalar) -> Result<IpAddr, Problem> {
    let (written, _) = scalar::text(scalar)?;
    let address: IpAddr = written
        .parse()
        .map_err(|_| Problem::new(format!("`{written}` is not an address")).hint("`10.0.0.7`, or `2001:db8::7`"))?;
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            let hint = format!("write `{}`", address.to_canonical());
            Err(Problem::new(format!("`{written}` is an IPv4 address written as IPv6")).hint(hint))
        }
        _ => Ok(address),
    }
}

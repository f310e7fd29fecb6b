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
use serde_json::Value as Json;

use super::{Disk, Entry, Interception, Limits, Listener, Loaded, Resolver, Root, Settings, Upstream};
use crate::destination::{Host, HostName};
use crate::register::document::{self, Node, Scalar, Value};
use crate::register::fault::{Collector, Faults, Place, Problem, Text};
use crate::register::fields::{Fields, Read};
use crate::register::scalar;

/// Reads a configuration.
///
/// # Errors
/// Every fault of the text, in the order of lines.
pub fn read(text: &Text) -> Result<Loaded, Faults> {
    let collector = Collector::new(slice::from_ref(text));
    let settings = match document::read(0, &text.text, &collector) {
        Some(node) => settings(&node, &collector),
        None => Settings::default(),
    };
    let (faults, warnings) = collector.finish();
    if faults.is_empty() { Ok(Loaded { settings, warnings }) } else { Err(Faults(faults)) }
}

/// What is faulty keeps its default here; the collector knows that the whole is not to be used.
fn settings(node: &Node, collector: &Collector<'_>) -> Settings {
    let default = Settings::default();
    let Some(mut fields) = Fields::open(node, "the configuration", collector) else { return default };
    let mut taken = Taken { collector, binds: Vec::new() };
    let listeners = fields.maps("listeners", "a listener", |fields| listener(fields, &mut taken));
    let settings = Settings {
        node: fields.or_default("node", default.node, node_name),
        listeners: if listeners.is_empty() { default.listeners } else { listeners },
        admin: fields.map("admin", "the admin listener", |fields| admin(fields, &mut taken)).unwrap_or(default.admin),
        interception: fields
            .map("interception", "the interception authority", interception)
            .unwrap_or(default.interception),
        upstream: fields.map("upstream", "the way upstream", upstream).unwrap_or(default.upstream),
        internal_destinations: internal_destinations(&mut fields),
        limits: fields.map("limits", "the limits", limits).unwrap_or(default.limits),
        disk: fields.map("disk", "the bounds on the disk", disk).unwrap_or(default.disk),
        state: fields.or_default("state", default.state, path),
    };
    fields.not_built("users", "sources are known by their network so far");
    fields.not_built("metrics", "`/metrics` is served on the `admin` listener");
    taken.check_defaults(&fields, &settings);
    fields.close();
    settings
}

fn listener(fields: &mut Fields<'_>, taken: &mut Taken<'_>) -> Option<Listener> {
    let name = fields.optional("name", scalar::text);
    let bind = fields.required("bind", address);
    let entry = fields.required("entry", entry);
    fields.not_built("tls", "this listener takes plain HTTP and CONNECT so far");
    fields.not_built("proxy_protocol", "the source is the peer that connects so far");
    fields.not_built("tproxy", "only `entry: forward` is built so far");
    let bind = bind?;
    taken.claim(bind, "this listener", fields.places().of("bind"));
    Some(Listener { name: name.unwrap_or_else(|| bind.to_string()), bind, entry: entry? })
}

/// The entry points of a listener; `https-proxy` is `forward` with `tls`.
fn entry(scalar: &Scalar) -> Read<Entry> {
    const LATER: [&str; 3] = ["socks5", "transparent-http", "transparent-tls"];
    if LATER.contains(&scalar.text.as_str()) {
        let problem = Problem::new(format!("`{}` is not built yet", scalar.text));
        return Err(problem.hint("`forward` takes HTTP requests and CONNECT"));
    }
    scalar::choice(&[("forward", Entry::Forward)])(scalar)
}

fn admin(fields: &mut Fields<'_>, taken: &mut Taken<'_>) -> Option<SocketAddr> {
    let bind = fields.required("bind", address)?;
    let place = fields.places().of("bind");
    taken.claim(bind, "the admin listener", place);
    if !bind.ip().is_loopback() {
        let problem = Problem::new(format!("the admin listener on `{bind}` can be reached from other machines"));
        fields.collector().warn(
            place,
            problem.hint("it shows metrics to whoever asks: bind it to 127.0.0.1, or to a network of operators only"),
        );
    }
    Some(bind)
}

fn interception(fields: &mut Fields<'_>) -> Option<Interception> {
    let default = Interception::default();
    let read = Interception {
        certificate: fields.or_default("certificate", default.certificate, path),
        key: fields.or_default("key", default.key, path),
    };
    if read.certificate == read.key {
        let problem = Problem::new(format!("`{}` is both certificate and key", read.key.display()));
        fields.refuse("key", problem.hint("the key is a file of its own, readable by its owner only"));
    }
    Some(read)
}

fn upstream(fields: &mut Fields<'_>) -> Option<Upstream> {
    let default = Upstream::default();
    let roots: Vec<Root> = fields.list("roots", root).into_iter().map(|root| root.value).collect();
    Some(Upstream {
        roots: if roots.is_empty() { default.roots } else { roots },
        hosts: hosts(fields),
        resolver: fields.or_default("resolver", default.resolver, scalar::choice(&[("system", Resolver::System)])),
    })
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

fn limits(fields: &mut Fields<'_>) -> Option<Limits> {
    let default = Limits::default();
    let read = Limits {
        hold_memory: fields.or_default("hold_memory", default.hold_memory, scalar::size),
        hold: fields.or_default("hold", default.hold, scalar::size),
        held_total: fields.or_default("held_total", default.held_total, scalar::size),
        connections: fields.or_default("connections", default.connections, connections),
        header_time: fields.or_default("header_time", default.header_time, scalar::duration),
        idle: fields.or_default("idle", default.idle, scalar::duration),
        drain: fields.or_default("drain", default.drain, scalar::duration),
    };
    keep_order(fields, ("hold_memory", read.hold_memory), ("hold", read.hold));
    keep_order(fields, ("hold", read.hold), ("held_total", read.held_total));
    Some(read)
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

/// The second of two sizes may not be below the first; the fault stands at the one that is written.
fn keep_order(fields: &Fields<'_>, (small, least): (&str, u64), (large, most): (&str, u64)) {
    if least <= most {
        return;
    }
    let problem = Problem::new(format!("`{small}` ({least} bytes) is more than `{large}` ({most} bytes)"));
    let place = fields.places().written(large).unwrap_or_else(|| fields.places().of(small));
    fields.collector().fault(place, problem.hint(format!("raise `{large}`, or lower `{small}`")));
}

fn connections(scalar: &Scalar) -> Read<usize> {
    let (count, canonical) = scalar::count(1)(scalar)?;
    let most = || Problem::new(format!("`{count}` connections are more than this machine can count"));
    Ok((usize::try_from(count).map_err(|_| most())?, canonical))
}

fn node_name(scalar: &Scalar) -> Read<String> {
    let (id, canonical) = scalar::id(scalar)?;
    if id.as_str().len() > 63 {
        return Err(Problem::new(format!("`{id}` has more than 63 characters")));
    }
    Ok((id.as_str().to_owned(), canonical))
}

fn path(scalar: &Scalar) -> Read<PathBuf> {
    let (written, canonical) = scalar::text(scalar)?;
    if written.contains('\0') {
        return Err(Problem::new("a path holds no NUL character"));
    }
    Ok((PathBuf::from(written), canonical))
}

fn address(scalar: &Scalar) -> Read<SocketAddr> {
    let (written, _) = scalar::text(scalar)?;
    let wrong = || {
        Problem::new(format!("`{written}` is not an address with a port"))
            .hint("`127.0.0.1:3128`, or `[::]:3128` for every address")
    };
    let address: SocketAddr = written.parse().map_err(|_| wrong())?;
    Ok((address, Json::from(address.to_string())))
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

/// The addresses that listeners have claimed, so that two of them do not meet at bind time, when it is too late.
struct Taken<'a> {
    collector: &'a Collector<'a>,
    binds: Vec<(SocketAddr, &'static str, Place)>,
}

impl Taken<'_> {
    fn claim(&mut self, bind: SocketAddr, who: &'static str, place: Place) {
        if let Some((other, _, first)) = self.binds.iter().find(|(other, ..)| collide(*other, bind)) {
            let message = format!("`{bind}` meets `{other}`, taken at {}", self.collector.cite(*first));
            self.collector.fault(place, Problem::new(message).hint("give each listener a port of its own"));
        }
        self.binds.push((bind, who, place));
    }

    /// What is written may also meet a default that is not.
    fn check_defaults(&self, fields: &Fields<'_>, settings: &Settings) {
        let unwritten = [("admin", settings.admin), ("listeners", settings.listeners[0].bind)];
        for (key, default) in unwritten.into_iter().filter(|(key, _)| fields.places().written(key).is_none()) {
            for (bind, who, place) in self.binds.iter().filter(|(bind, ..)| collide(*bind, default)) {
                let problem = Problem::new(format!("`{bind}` of {who} meets `{default}`, the default of `{key}`"));
                self.collector.fault(*place, problem.hint(format!("write `{key}` too, or take another port")));
            }
        }
    }
}

/// Whether two sockets cannot both be bound: Linux binds `[::]` for IPv4 as well.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        |wide: IpAddr, narrow: IpAddr| wide == narrow || wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    one.port() != 0 && one.port() == other.port() && (covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

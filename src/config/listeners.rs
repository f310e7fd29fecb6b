//! The sockets of the configuration: listeners with their TLS, admin, metrics; and that no two of them meet.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value as Json;

use super::document::path;
use super::{ClientCertificates, Entry, Listener, ListenerTls, Settings};
use crate::register::document::Scalar;
use crate::register::fault::{Collector, Place, Problem};
use crate::register::fields::{Fields, Read};
use crate::register::scalar;

pub(super) fn listener(fields: &mut Fields<'_>, taken: &mut Taken<'_>) -> Option<Listener> {
    let name = fields.optional("name", scalar::text);
    let bind = fields.required("bind", address);
    let entry = fields.required("entry", entry);
    let is_secured = fields.holds_map("tls");
    let tls = fields.map("tls", "the TLS of a listener", tls);
    let balancers = fields.list("proxy_protocol", scalar::network);
    let proxy_protocol = balancers.into_iter().map(|network| network.value).collect();
    if entry.is_some_and(Entry::is_transparent) {
        let problem = Problem::new("`proxy_protocol` is for listeners that clients connect to through a balancer");
        fields.refuse("proxy_protocol", problem.hint("leave it out: the network leads clients here as they are"));
    }
    let tproxy = fields.or_default("tproxy", false, scalar::boolean);
    if entry.is_some_and(|entry| !entry.is_transparent()) {
        let problem = Problem::new("`tproxy` is for listeners with `entry: transparent`");
        fields.refuse("tproxy", problem.hint("leave it out: clients of this listener connect to it themselves"));
    }
    if is_secured && entry.is_some_and(|entry| entry != Entry::Forward) {
        let problem = Problem::new("`tls` is for listeners with `entry: forward`");
        fields.refuse("tls", problem.hint("leave it out: what clients speak to this listener has no TLS of its own"));
    }
    let bind = bind?;
    taken.claim(bind, "this listener", fields.places().of("bind"));
    let listener =
        Listener { name: name.unwrap_or_else(|| bind.to_string()), bind, entry: entry?, tls, tproxy, proxy_protocol };
    // A listener whose TLS is faulty must not be taken for one without.
    (is_secured == listener.tls.is_some()).then_some(listener)
}

/// The entry points of a listener; `https-proxy` is `forward` with `tls`.
fn entry(scalar: &Scalar) -> Read<Entry> {
    if scalar.text == "https-proxy" {
        let problem = Problem::new("`https-proxy` is the entry point of a `forward` listener with `tls`");
        return Err(problem.hint("write `entry: forward, tls: {certificate: FILE, key: FILE}`"));
    }
    scalar::choice(ENTRIES)(scalar)
}

const ENTRIES: &[(&str, Entry)] = &[
    ("forward", Entry::Forward),
    ("socks5", Entry::Socks5),
    ("transparent", Entry::Transparent),
    ("transparent-http", Entry::TransparentHttp),
    ("transparent-tls", Entry::TransparentTls),
];

/// Whoever names authorities for clients wants certificates, so that is what an absent key means.
const CLIENT_CERTIFICATES: &[(&str, ClientCertificates)] =
    &[("optional", ClientCertificates::Optional), ("required", ClientCertificates::Required)];

fn tls(fields: &mut Fields<'_>) -> Option<ListenerTls> {
    let certificate = fields.required("certificate", path);
    let key = fields.required("key", path);
    let client_ca = fields.optional("client_ca", path);
    let client_certificates =
        fields.or_default("client_certificates", ClientCertificates::Required, scalar::choice(CLIENT_CERTIFICATES));
    let crl = fields.optional("crl", path);
    if client_ca.is_none() {
        for key in ["client_certificates", "crl"] {
            let problem = Problem::new(format!("`{key}` means nothing without `client_ca`"));
            fields.refuse(key, problem.hint("`client_ca: FILE` names who vouches for clients"));
        }
    }
    if certificate.is_some() && certificate == key {
        let problem = Problem::new("one file is both certificate and key");
        fields.refuse("key", problem.hint("the key is a file of its own, readable by its owner only"));
    }
    Some(ListenerTls { certificate: certificate?, key: key?, client_ca, client_certificates, crl })
}

pub(super) fn admin(fields: &mut Fields<'_>, taken: &mut Taken<'_>) -> Option<SocketAddr> {
    let bind = fields.required("bind", address)?;
    let place = fields.places().of("bind");
    taken.claim(bind, "the admin listener", place);
    if !bind.ip().is_loopback() {
        let problem = Problem::new(format!("the admin listener on `{bind}` can be reached from other machines"));
        fields.collector().warn(
            place,
            problem.hint("it answers whoever asks: bind it to 127.0.0.1, and let Prometheus ask a `metrics` listener"),
        );
    }
    Some(bind)
}

pub(super) fn metrics(fields: &mut Fields<'_>, taken: &mut Taken<'_>) -> Option<SocketAddr> {
    let bind = fields.required("bind", address)?;
    taken.claim(bind, "the metrics listener", fields.places().of("bind"));
    Some(bind)
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

/// The addresses that listeners have claimed, so that two of them do not meet at bind time, when it is too late.
pub(super) struct Taken<'a> {
    collector: &'a Collector<'a>,
    binds: Vec<(SocketAddr, &'static str, Place)>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(collector: &'a Collector<'a>) -> Taken<'a> {
        Taken { collector, binds: Vec::new() }
    }

    fn claim(&mut self, bind: SocketAddr, who: &'static str, place: Place) {
        if let Some((other, _, first)) = self.binds.iter().find(|(other, ..)| collide(*other, bind)) {
            let message = format!("`{bind}` meets `{other}`, taken at {}", self.collector.cite(*first));
            self.collector.fault(place, Problem::new(message).hint("give each listener a port of its own"));
        }
        self.binds.push((bind, who, place));
    }

    /// What is written may also meet a default that is not.
    pub(super) fn check_defaults(&self, fields: &Fields<'_>, settings: &Settings) {
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

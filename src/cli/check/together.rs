//! Whether a configuration and a register fit together: what is declared and can never happen on these listeners.

use std::net::{IpAddr, SocketAddr};

use super::configuration::Found;
use crate::config::Settings;
use crate::destination::{AddressRules, Host, HostPattern};
use crate::register::fault::Problem;
use crate::register::{Endpoint, Register, Source};
use crate::users::file::Table;

pub(super) fn examine(settings: &Settings, register: &Register, found: &Found<'_>) {
    for source in &register.sources {
        proofs(settings, source, found);
        reach(settings, source, found);
    }
    users(settings, register, found);
    let rules = AddressRules { internal: settings.internal_destinations.clone(), own: Vec::new() };
    let of_recipients = register.recipients.iter().flat_map(|recipient| &recipient.endpoints);
    let endpoints: Vec<&Endpoint> =
        of_recipients.chain(register.allowances.iter().flat_map(|allowance| &allowance.to)).collect();
    for endpoint in &endpoints {
        opened(settings, &rules, endpoint, found);
    }
    for name in settings.upstream.hosts.keys() {
        let host = Host::Name(name.clone());
        if !endpoints.iter().any(|endpoint| endpoint.host.matches(&host)) {
            let problem = Problem::new(format!("`{name}` is no destination of the register"));
            found.warn("upstream.hosts", problem.hint("only declared names are ever resolved"));
        }
    }
}

/// What a source must prove, some listener must ask for.
fn proofs(settings: &Settings, source: &Source, found: &Found<'_>) {
    let asks =
        settings.listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()));
    if source.client_certificate.is_some() && !asks {
        let problem =
            Problem::new(format!("the source `{}` is known by a certificate, and no listener asks for one", source.id));
        found.fault(
            "listeners",
            problem.hint("write `tls` with `client_ca` on a listener, or the source never matches"),
        );
    }
    if source.user.is_some() && settings.users.is_none() {
        let problem = Problem::new(format!("the source `{}` is known by a user, and there are no `users`", source.id));
        let hint = "write `users: FILE`, made with `tasrih passwd`, or the source never matches";
        found.fault("listeners", problem.hint(hint));
    }
}

/// Who a source wants to hear from must be somebody. A file that cannot be read is told of elsewhere.
fn users(settings: &Settings, register: &Register, found: &Found<'_>) {
    let Some(table) = settings.users.as_deref().and_then(|file| Table::read(file).ok()) else { return };
    for user in table.missing(register) {
        let problem = Problem::new(format!("a source wants the user `{user}`, who is not in the users file"));
        found.warn("users", problem.hint(format!("`tasrih passwd --users FILE {user}`, or the source never matches")));
    }
}

/// A listener on a loopback address is reached from this machine only.
fn reach(settings: &Settings, source: &Source, found: &Found<'_>) {
    let is_local = |network: &ipnetwork::IpNetwork| network.ip().is_loopback() || network.prefix() == 0;
    let inside_only = settings.listeners.iter().all(|listener| listener.bind.ip().is_loopback());
    if inside_only && !source.networks.is_empty() && !source.networks.iter().any(is_local) {
        let problem = Problem::new(format!(
            "the source `{}` can reach no listener: each is bound to this machine alone",
            source.id
        ));
        found.warn("listeners", problem.hint("bind an address that the source's network leads to"));
    }
}

/// A destination whose addresses are known beforehand must be one that may be dialled.
fn opened(settings: &Settings, rules: &AddressRules, endpoint: &Endpoint, found: &Found<'_>) {
    let HostPattern::Exact(host) = &endpoint.host else { return };
    let (key, addresses): (&str, Vec<IpAddr>) = match host {
        Host::Address(address) => ("internal_destinations", vec![*address]),
        Host::Name(name) => ("upstream.hosts", settings.upstream.hosts.get(name).cloned().unwrap_or_default()),
    };
    for address in addresses {
        let Err(class) = rules.check(SocketAddr::new(address, endpoint.port)) else { continue };
        let shown = if key == "upstream.hosts" { format!("`{host}` at {address}") } else { format!("`{host}`") };
        let problem =
            Problem::new(format!("the destination {shown} is always refused: its address is {}", class.as_str()));
        let problem = match class.can_be_opened() {
            true => problem.hint(format!("write `internal_destinations: [{address}]`, or its network")),
            false => problem.hint("nothing opens addresses of this kind"),
        };
        found.fault(key, problem);
    }
}

//! What must pass: that a legal upload would, and that the running proxy is the one that these files describe.
//!
//! Nothing is sent for it. A probe through the proxy would either carry data to a recipient or leave records of transfers
//! that never were; so the register is asked as `tasrih explain` asks it, with what a handshake with the declared
//! recipient shows, as `tasrih probe` makes it. That the proxy's own listener works is told by what it hands out, which
//! leaves no record.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Line, running};
use crate::cli::probe::{Eyes, Looked};
use crate::config::Settings;
use crate::destination::HostPattern;
use crate::proxy::error::told;
use crate::proxy::handout::Handout;
use crate::register::Register;
use crate::tls::bundle::{pem, trusted};

/// Destinations that are looked at until one passes.
const LOOKED_AT: usize = 4;

/// Whether a declared transfer would be let through now, to a recipient that answers.
pub(super) async fn transfer(settings: &Settings, register: Option<&Arc<Register>>) -> Line {
    let Some(register) = register else {
        return Line::warning("passing", "no register to ask", "mend the policy files");
    };
    if register.transfers.is_empty() {
        return Line::warning("passing", "no transfer is declared", "declare one: until then nothing passes");
    }
    let eyes = match Eyes::new(settings) {
        Ok(eyes) => eyes,
        Err(fault) => return Line::fault("passing", fault, "mend `upstream.roots`"),
    };
    let mut failed = Vec::new();
    for (recipient, endpoint) in destinations(register).take(LOOKED_AT) {
        let looked = eyes.look_at(register, recipient, endpoint, None).await;
        match would_pass(&looked) {
            Ok(found) => return Line::ok("passing", found),
            Err(why) => failed.push(why),
        }
    }
    let remedy = "`tasrih probe RECIPIENT` tells of each destination what is wrong with it";
    match failed.is_empty() {
        true => Line::warning(
            "passing",
            "every declared destination is a wildcard",
            "`tasrih probe RECIPIENT --host NAME` looks at one",
        ),
        false => Line::fault("passing", format!("no declared transfer would pass: {}", failed.join("; ")), remedy),
    }
}

/// Exact destinations of recipients that a transfer goes to.
fn destinations(
    register: &Register,
) -> impl Iterator<Item = (&crate::register::Recipient, &crate::register::Endpoint)> {
    let has_transfer = |recipient: &&Arc<crate::register::Recipient>| {
        register.transfers.iter().any(|transfer| transfer.to.id == recipient.id)
    };
    let recipients = register.recipients.iter().filter(has_transfer);
    let each =
        recipients.flat_map(|recipient| recipient.endpoints.iter().map(move |endpoint| (&**recipient, endpoint)));
    each.filter(|(_, endpoint)| matches!(endpoint.host, HostPattern::Exact(_)))
}

/// What would pass there, or why nothing would.
fn would_pass(looked: &Looked) -> Result<String, String> {
    let destination = &looked.destination;
    if let Some(fault) = &looked.fault {
        return Err(format!("{destination}: {fault}"));
    }
    let Some(well) = looked.addresses.iter().find(|address| address.is_well()) else {
        let faults = looked.addresses.iter().filter_map(|address| address.fault.clone());
        let why = faults.collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { "its key is none of the declared pins" } else { &why };
        return Err(format!("{destination}: {why}"));
    };
    match looked.verdicts.iter().find(|verdict| verdict.decision == "permit") {
        Some(verdict) => {
            let over = well.tls.map_or("in clear".to_owned(), |version| format!("over TLS {version}"));
            let (transfer, source) = (&verdict.transfer, &verdict.source);
            Ok(format!("{transfer} from {source} would pass; {destination} answers {over}; nothing was sent"))
        }
        None => {
            let each = looked.verdicts.iter();
            let reasons = each.map(|verdict| format!("{}: {}", verdict.transfer, verdict.reason.unwrap_or("none")));
            Err(format!("{destination}: {}", reasons.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Whether the proxy's listener answers, with the authority that lies in the files.
pub(super) async fn served(settings: &Settings, proxy: SocketAddr) -> Line {
    let file = &settings.interception.certificate;
    let path = Handout::Authority.path();
    let reply = match running::ask(proxy, path).await {
        Ok(reply) => reply,
        Err(fault) => return Line::fault("served", format!("http://{proxy}{path}: {fault}"), running::START),
    };
    let wanted = match trusted(file) {
        Ok(trusted) => trusted.iter().map(|one| pem(&one.der)).collect::<String>(),
        Err(fault) => return Line::fault("served", told(&fault), "name the authority's folder with --certs"),
    };
    match reply.status {
        200 if *reply.body == *wanted.as_bytes() => {
            Line::ok("served", format!("http://{proxy}{path} gives what lies in {}", file.display()))
        }
        200 => Line::warning(
            "served",
            format!("http://{proxy}{path} gives another authority than {}", file.display()),
            "restart the proxy if the file was changed (`tasrih ca rotate`), or name its folder with --certs",
        ),
        status => {
            let found = format!("http://{proxy}{path} answers {status}");
            Line::fault("served", found, "name the proxy's listener with --proxy")
        }
    }
}

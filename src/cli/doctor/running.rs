//! The running proxy: what it says of itself on the admin listener, and whether it refuses what it must.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::time::timeout;

use super::{Line, clients};
use crate::audit;
use crate::config::Settings;
use crate::demo::uploader::{Reply, Uploader};
use crate::descriptors::Descriptors;
use crate::register::Register;
use crate::tls::Trust;

/// A host that nobody can declare to any effect: the domain never resolves (RFC 6761 §6.4), so that nothing leaves even
/// where it is let through.
const UNDECLARED: &str = "tasrih-doctor.invalid:443";
/// The proxy answers within this time, or it hangs.
const ANSWER: Duration = Duration::from_secs(10);
/// What `run` needs to be told again.
pub(super) const START: &str = "start it (`systemctl start tasrih`), or name its listeners with --proxy and --admin";

pub(super) async fn examine(
    settings: &Settings,
    register: Option<&Register>,
    proxy: SocketAddr,
    admin: SocketAddr,
) -> Vec<Line> {
    let mut lines = vec![readiness(admin, register).await];
    match ask(admin, "/metrics").await {
        Ok(reply) => {
            let metrics = String::from_utf8_lossy(&reply.body).into_owned();
            lines.push(descriptors(settings, &metrics));
            lines.push(clients::distrust(settings, &metrics));
        }
        Err(fault) => lines.push(Line::fault("metrics", format!("http://{admin}/metrics: {fault}"), START)),
    }
    lines.push(refusal(settings, proxy).await);
    lines
}

/// Register and record, as `/readyz` tells them.
async fn readiness(admin: SocketAddr, register: Option<&Register>) -> Line {
    let reply = match ask(admin, "/readyz").await {
        Ok(reply) => reply,
        Err(fault) => return Line::fault("running", format!("http://{admin}/readyz: {fault}"), START),
    };
    let Ok(told) = serde_json::from_slice::<Value>(&reply.body) else {
        return Line::fault("running", format!("http://{admin}/readyz is not Tasrih's"), START);
    };
    let word = |key: &str| told[key].as_str().unwrap_or("unknown").to_owned();
    let (node, version, record) = (word("node"), word("register"), word("record"));
    let short: String = version.chars().take(12).collect();
    if reply.status != 200 {
        let remedy = told["remedy"].as_str().unwrap_or("read its log: everything is refused until this is mended");
        return Line::fault(
            "running",
            format!("{node} lets nothing through: the record is not available ({record})"),
            remedy,
        );
    }
    match register {
        Some(register) if *register.version.0 != *version => {
            let found = format!("{node} decides on register {short}, and the policy files say another");
            Line::warning("running", found, "have it read them again (`systemctl restart tasrih`)")
        }
        _ => Line::ok("running", format!("{node} decides on register {short}; the record is {record}")),
    }
}

fn descriptors(settings: &Settings, metrics: &str) -> Line {
    let (Some(open), Some(most)) = (value(metrics, "process_open_fds"), value(metrics, "process_max_fds")) else {
        return Line::warning("descriptors", "the metrics do not tell them", "see that /proc is mounted");
    };
    let places = settings.limits.connections;
    let wanted = f64::from(u32::try_from(Descriptors::wanted(places)).unwrap_or(u32::MAX));
    let found = format!("{open} of {most} open");
    let remedy = || format!("set LimitNOFILE={wanted}, or lower `limits.connections` ({places})");
    if open > most * 0.9 {
        return Line::fault("descriptors", found, remedy());
    }
    match most < wanted {
        true => Line::warning("descriptors", format!("{found}; {wanted} may be needed"), remedy()),
        false => Line::ok("descriptors", found),
    }
}

/// The value of a series without labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

/// An undeclared host must be refused, and the refusal must be on record.
async fn refusal(settings: &Settings, proxy: SocketAddr) -> Line {
    let opened = match client(proxy) {
        Ok(client) => timeout(ANSWER, client.open(UNDECLARED)).await,
        Err(fault) => return Line::fault("refusal", fault, START),
    };
    let reply = match opened {
        Err(_) => {
            return Line::fault("refusal", format!("{proxy} does not answer a CONNECT"), "read its log, restart it");
        }
        Ok(Err(fault)) => return Line::fault("refusal", format!("{proxy}: {fault}"), START),
        Ok(Ok(Ok(_))) => {
            let found = format!("a CONNECT to {UNDECLARED} was let in from this machine");
            let remedy = "look for `mode: observe`, or an allowance to `any`, that includes this machine";
            return Line::warning("refusal", found, remedy);
        }
        Ok(Ok(Err(reply))) => reply,
    };
    let (reason, record) = (reply.proxy_status("reason"), reply.proxy_status("record"));
    let (Some(reason), Some(record)) = (reason, record) else {
        let found = format!("{proxy} answers {} without saying that it is Tasrih", reply.status);
        return Line::fault("refusal", found, "name the proxy's listener with --proxy");
    };
    if reply.status != 403 {
        let found = format!("{UNDECLARED} was answered {} ({reason}), not refused by the register", reply.status);
        let remedy = "look for `mode: observe`, or an allowance to `any`, that includes this machine";
        return Line::warning("refusal", found, remedy);
    }
    match is_recorded(&settings.state, &record) {
        true => Line::ok("refusal", format!("an undeclared host is refused (403, {reason}) and on record as {record}")),
        false => {
            let found =
                format!("an undeclared host is refused, and record {record} is not in {}", settings.state.display());
            Line::fault("refusal", found, "name the running proxy's state folder with --state, or look as its user")
        }
    }
}

fn is_recorded(state: &Path, id: &str) -> bool {
    let Ok(records) = audit::read_newest(state) else { return false };
    let uid =
        |json: Vec<u8>| serde_json::from_slice::<Value>(&json).ok()?["metadata"]["uid"].as_str().map(str::to_owned);
    records.map_while(Result::ok).filter_map(uid).any(|uid| uid == id)
}

/// One page of the admin listener. A server must take the absolute form that a proxy is asked in (RFC 9112 §3.2.2).
pub(super) async fn ask(admin: SocketAddr, page: &str) -> Result<Reply, String> {
    let request =
        Request::get(format!("http://{admin}{page}")).body(Bytes::new()).map_err(|fault| fault.to_string())?;
    match timeout(ANSWER, client(admin)?.send(request)).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(Err(fault)) => Err(fault.to_string()),
        Ok(Ok(reply)) => Ok(reply),
    }
}

fn client(proxy: SocketAddr) -> Result<Uploader, String> {
    let from = match proxy.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let trust = Trust::new(&[]).map_err(|fault| fault.to_string())?;
    Ok(Uploader { proxy, from, trust })
}

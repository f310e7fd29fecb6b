//! What `probe` found, for people.

use std::fmt;

use jiff::Timestamp;

use super::{Address, Looked, Report};
use crate::cli::check::counted;

/// A certificate that ends within this many days is pointed out.
const ENDING_DAYS: i64 = 30;

/// A report to be printed.
pub(super) struct Shown<'a>(pub(super) &'a Report);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { recipient, name, country, destinations } = self.0;
        writeln!(f, "{recipient}  {name} ({country})")?;
        for looked in destinations {
            destination(f, looked)?;
        }
        writeln!(f, "\nnothing was sent: TCP and TLS handshakes only, and no record")
    }
}

fn destination(f: &mut fmt::Formatter<'_>, looked: &Looked) -> fmt::Result {
    writeln!(f, "\n{}", looked.destination)?;
    if let Some(fault) = &looked.fault {
        writeln!(f, "  FAULT        {fault}")?;
    }
    if let Some(time) = looked.resolved_ms {
        writeln!(f, "  resolves     to {} in {time} ms", counted(looked.addresses.len(), "address", "addresses"))?;
    }
    for address in &looked.addresses {
        self::address(f, address)?;
    }
    for verdict in &looked.verdicts {
        let reason = verdict.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let detail = verdict.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        writeln!(
            f,
            "  register     {} from {}: {}{reason}{detail}",
            verdict.transfer, verdict.source, verdict.decision
        )?;
        writeln!(f, "               {}", verdict.request)?;
    }
    if looked.verdicts.is_empty() && looked.fault.is_none() {
        writeln!(f, "  register     no transfer to this destination: everything is refused")?;
    }
    Ok(())
}

fn address(f: &mut fmt::Formatter<'_>, seen: &Address) -> fmt::Result {
    let connected = seen.connected_ms.map(|time| format!(", connected in {time} ms")).unwrap_or_default();
    writeln!(f, "  address      {} ({}){connected}", seen.address, seen.class)?;
    if let Some(fault) = &seen.fault {
        writeln!(f, "    FAULT      {fault}")?;
    }
    if let Some(version) = seen.tls {
        writeln!(f, "    tls        {version}, the chain leads to a trusted root")?;
    }
    for (place, certificate) in seen.chain.iter().enumerate() {
        let word = if place == 0 { "    shows     " } else { "    then      " };
        writeln!(f, "{word} {} by {}", certificate.subject, certificate.issuer)?;
        if place == 0 {
            writeln!(f, "    for        {}", certificate.names.join(", "))?;
        }
        let (from, until) = (day(certificate.not_before), day(certificate.not_after));
        let ending = match certificate.days_left {
            days if days < 0 => "EXPIRED".to_owned(),
            days if days < ENDING_DAYS => format!("ENDS in {days} days"),
            days => format!("{days} days left"),
        };
        writeln!(f, "    valid      {from} to {until} ({ending})")?;
        if place == 0 {
            let pinned = match seen.pin_matches {
                Some(true) => "is a declared pin",
                Some(false) => "FAULT: is none of the declared pins, tls-identity-mismatch",
                None => "no pin is declared",
            };
            writeln!(f, "    pin        tls_spki_sha256: [\"{}\"] ({pinned})", certificate.spki_sha256)?;
        }
    }
    Ok(())
}

fn day(time: Option<Timestamp>) -> String {
    time.map_or("an unreadable time".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

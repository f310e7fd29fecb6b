//! Whether the addresses of a configuration can be bound, and who has them otherwise.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::configuration::Found;
use crate::config::Settings;
use crate::register::fault::Problem;

/// State of a listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENS: &str = "0A";
/// A command name is cut to 15 bytes by the kernel; ours is shorter.
const OURSELVES: &str = "tasrih";

pub(super) fn examine(settings: &Settings, found: &Found<'_>) {
    let listeners = settings.listeners.iter().enumerate();
    let mut wanted: Vec<(String, SocketAddr)> =
        listeners.map(|(position, listener)| (format!("listeners[{position}].bind"), listener.bind)).collect();
    wanted.push(("admin.bind".to_owned(), settings.admin));
    wanted.extend(settings.metrics.map(|bind| ("metrics.bind".to_owned(), bind)));
    for (key, address) in wanted {
        if let Err(fault) = TcpListener::bind(address) {
            tell(&key, address, &fault, found);
        }
    }
}

fn tell(key: &str, address: SocketAddr, fault: &io::Error, found: &Found<'_>) {
    let problem = |message: String| Problem::new(message);
    match fault.kind() {
        ErrorKind::AddrInUse => match holder(address) {
            // systemd hands its sockets over, and a proxy that runs gives its own back.
            Some(Holder { id: 1, .. }) => {}
            Some(Holder { name, id }) if name == OURSELVES => {
                let message = format!("`{address}` is taken by a {OURSELVES} that runs (process {id})");
                found.warn(key, problem(message).hint("it can be bound once that one has stopped"));
            }
            Some(Holder { name, id }) => {
                let message = format!("`{address}` is taken by `{name}` (process {id})");
                found.fault(key, problem(message).hint("stop it, or take another port"));
            }
            None => {
                let message = format!("`{address}` is taken by another process");
                found.fault(key, problem(message).hint("root can see which: `ss -ltnp`"));
            }
        },
        ErrorKind::AddrNotAvailable => {
            let message = format!("no interface of this machine has the address of `{address}`");
            found.fault(key, problem(message).hint("`ip address` lists them; `[::]` and `0.0.0.0` are all of them"));
        }
        ErrorKind::PermissionDenied => {
            let message = format!("this user may not bind `{address}`");
            found.fault(key, problem(message).hint("take a port from 1024 on, or let systemd hold the socket"));
        }
        _ => found.fault(key, problem(format!("`{address}` cannot be bound: {fault}"))),
    }
}

/// A process that listens.
struct Holder {
    name: String,
    id: u32,
}

/// Who listens where `address` would; `None` where that cannot be seen.
fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listening(table, address)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |id: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.to_str() == Some(socket)))
    };
    // systemd keeps a socket that it has handed over: then the lowest id, which is its own, tells.
    let id = ids.filter(holds).min()?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned();
    Some(Holder { name, id })
}

/// The sockets of a table that listen where `address` would, as links of descriptors name them.
fn listening(table: &str, address: SocketAddr) -> Vec<String> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let meets = |local: &str| {
        let Some((ip, port)) = local.split_once(':') else { return false };
        let bound = address_of(ip);
        u16::from_str_radix(port, 16) == Ok(address.port())
            && bound.is_some_and(|bound| {
                bound == address.ip().to_canonical() || bound.is_unspecified() || address.ip().is_unspecified()
            })
    };
    rows.filter(|row| row.len() > 9 && row[3] == LISTENS && meets(row[1]))
        .map(|row| format!("socket:[{}]", row[9]))
        .collect()
}

/// Reads an address of the table: words of 32 bits in the machine's order, in hex.
fn address_of(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = hex
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let bytes = words?.concat();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_found_by_its_socket() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = held.local_addr().expect("bound");
        let holder = holder(address).expect("this process");
        assert_eq!(holder.id, std::process::id());
        let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), address.port());
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        assert!(!listening(&table, address).is_empty() && listening(&table, elsewhere).is_empty());
        drop(held);
    }

    #[test]
    fn addresses_of_the_table_are_read() {
        let little = cfg!(target_endian = "little");
        assert_eq!(address_of(if little { "0100007F" } else { "7F000001" }), Some([127, 0, 0, 1].into()));
        assert_eq!(address_of("00000000000000000000000000000000"), Some(Ipv6Addr::UNSPECIFIED.into()));
        assert_eq!(address_of("xyz"), None);
    }
}

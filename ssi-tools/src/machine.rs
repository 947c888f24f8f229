// SPDX-License-Identifier: GPL-2.0-or-later
//! What this machine says of itself: names, interfaces, routes, running programs. Only looks; sends nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

use anyhow::Context as _;
use nix::net::if_::InterfaceFlags;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Whether it is up.
    pub up: bool,
    /// Whether it leads to this machine alone.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its MAC address.
    pub mac: Option<String>,
}

/// The interfaces by name.
pub type Interfaces = BTreeMap<String, Interface>;

/// The host name as the kernel has it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A host name's part up to the first dot.
pub fn short_name(host_name: &str) -> &str {
    host_name.split('.').next().unwrap_or(host_name)
}

/// The machine id of `machine-id(5)`, if the machine has one.
pub fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// The interfaces.
///
/// # Errors
/// What the system said.
pub fn interfaces() -> anyhow::Result<Interfaces> {
    let mut found = Interfaces::new();
    for entry in nix::ifaddrs::getifaddrs().context("reading the network interfaces (getifaddrs)")? {
        let interface = found.entry(entry.interface_name).or_default();
        interface.up = entry.flags.contains(InterfaceFlags::IFF_UP);
        interface.loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            interface.addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            interface.addresses.push(IpAddr::V6(v6.ip()));
        } else if let Some(mac) = address.as_link_addr().and_then(|l| l.addr()).filter(|m| *m != [0; 6]) {
            let bytes: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
            interface.mac = Some(bytes.join(":"));
        }
    }
    Ok(found)
}

/// Which address packets to `target` would leave from; connecting a UDP socket asks the routing table and sends nothing.
///
/// # Errors
/// What the routing table said.
pub fn source_towards(target: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((target, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Whether other machines can reach an address at all: not this machine's own, not bound to one link.
pub fn is_for_others(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified() && !v4.is_multicast(),
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified() && !v6.is_multicast()
        }
    }
}

/// The address to propose for this machine: the one the default route goes out from, else the first on an interface
/// that is up and that others can reach. `default_source` gives the former.
pub fn propose_address(interfaces: &Interfaces, default_source: Option<IpAddr>) -> Option<IpAddr> {
    let own: Vec<IpAddr> = interfaces
        .values()
        .filter(|i| i.up && !i.loopback)
        .flat_map(|i| i.addresses.iter().copied())
        .filter(is_for_others)
        .collect();
    default_source.filter(|a| own.contains(a)).or_else(|| {
        // IPv4 first: it is what a site without a plan most likely has on all machines.
        own.iter().find(|a| a.is_ipv4()).or(own.first()).copied()
    })
}

/// The address the default route goes out from.
pub fn default_source() -> Option<IpAddr> {
    // TEST-NET-3 and the documentation prefix (RFC 5737, RFC 3849): nobody has a more special route to them.
    let far: [IpAddr; 2] =
        [Ipv4Addr::new(203, 0, 113, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    far.into_iter().find_map(|target| source_towards(target).ok())
}

/// The MAC address of the interface that has an address.
pub fn mac_of(interfaces: &Interfaces, address: IpAddr) -> Option<String> {
    interfaces.values().find(|i| i.addresses.contains(&address)).and_then(|i| i.mac.clone())
}

/// Whether a program of this name runs in a place that this process can see.
pub fn runs(name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())
            && std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// The permission bits of a file; `None` when it is not there.
///
/// # Errors
/// What the system said, if it is something else than that the file is not there.
pub fn mode_of(path: &Path) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.permissions().mode() & 0o7777)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(addresses: &[&str], up: bool) -> Interface {
        Interface {
            up,
            loopback: false,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            mac: Some("52:54:00:00:00:01".into()),
        }
    }

    #[test]
    fn the_default_routes_address_is_proposed_first() {
        let mut all = Interfaces::new();
        all.insert("eth0".into(), interface(&["fe80::1", "192.0.2.1"], true));
        all.insert("eth1".into(), interface(&["198.51.100.1"], true));
        let second = "198.51.100.1".parse().ok();
        assert_eq!(propose_address(&all, second), second);
        assert_eq!(propose_address(&all, None), "192.0.2.1".parse().ok());
        // The default route's own answer is not believed when no interface has it.
        assert_eq!(propose_address(&all, "203.0.113.9".parse().ok()), "192.0.2.1".parse().ok());
    }

    #[test]
    fn a_machine_with_no_reachable_address_gets_no_guess() {
        let mut all = Interfaces::new();
        all.insert("lo".into(), Interface { loopback: true, ..interface(&["192.0.2.9"], true) });
        all.insert("eth0".into(), interface(&["192.0.2.1"], false));
        all.insert("eth1".into(), interface(&["fe80::1", "169.254.3.4"], true));
        assert_eq!(propose_address(&all, None), None);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        assert!(interfaces().unwrap().values().any(|i| i.loopback));
        assert!(!host_name().is_empty());
        assert_eq!(source_towards("127.0.0.1".parse().unwrap()).unwrap().to_string(), "127.0.0.1");
        assert_eq!(short_name("node1.example.org"), "node1");
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(runs(own.trim_end()));
        assert!(!runs("no such program runs"));
    }
}

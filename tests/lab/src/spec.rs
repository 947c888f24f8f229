// SPDX-License-Identifier: GPL-2.0-or-later
//! The plan of a lab: what the owner asks for and the keeper builds. Pure.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A node's number: 1 and up; 0 is the client.
pub type NodeNumber = u32;

/// The client's number.
pub const CLIENT: NodeNumber = 0;
/// The last octet of the client's addresses.
const CLIENT_OCTET: u8 = 200;
/// The most nodes a lab has: numbers are last octets, and the client's comes after them.
pub const MAX_NODES: u32 = 99;

/// What a node is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Namespaces of this kernel: up in well under a second.
    Ns,
    /// A QEMU guest with Debian's kernel.
    Vm,
}

/// A file of the host that each node gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Path on the host: a file, or a directory, which is copied with all that is in it.
    pub from: PathBuf,
    /// Absolute path in the nodes.
    pub to: PathBuf,
    /// Permission bits of a file; a directory's content keeps its own.
    pub mode: u32,
}

/// A lab to be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Its name, unique on this machine.
    pub name: String,
    /// What its nodes are made of.
    pub kind: Kind,
    /// How many nodes it has.
    pub nodes: u32,
    /// The networks' first three octets; one or two networks.
    pub networks: Vec<[u8; 3]>,
    /// What goes into the nodes.
    pub install: Vec<Install>,
    /// A directory that all namespace nodes share, at this path in each.
    pub shared: Option<PathBuf>,
    /// PID 1 of the nodes, where it is not the agent (namespaces) or systemd (VM).
    pub init: Option<Vec<String>>,
    /// Debian packages in the guests beside the usual ones.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Words added to the guests' kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Memory of a guest in MiB.
    pub memory_mib: u32,
    /// Size in MiB of what a namespace node may write.
    pub disk_mib: u32,
    /// Whether guests may be restored from a saved snapshot, and saved to one.
    pub snapshot: bool,
    /// Whether nodes are started with the lab; else each waits for `start`.
    pub boot: bool,
}

impl LabSpec {
    /// Checks what the keeper relies on.
    ///
    /// # Errors
    /// [`Error::Spec`] naming the first thing that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::Spec { message });
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(good) {
            return refuse(format!("a lab's name has 1 to 32 letters, digits, '-' and '_'; '{}' does not", self.name));
        }
        if self.nodes == 0 || self.nodes > MAX_NODES {
            return refuse(format!("a lab has 1 to {MAX_NODES} nodes, not {}", self.nodes));
        }
        if self.networks.is_empty() || self.networks.len() > 2 {
            return refuse(format!("a lab has one or two networks, not {}", self.networks.len()));
        }
        if self.networks.len() == 2 && self.networks[0] == self.networks[1] {
            return refuse("the two networks have the same prefix; give the second another one".to_owned());
        }
        if self.shared.is_some() && self.kind == Kind::Vm {
            return refuse("a directory shared by all nodes is there for namespace nodes only".to_owned());
        }
        for install in &self.install {
            if !install.to.is_absolute() {
                return refuse(format!(
                    "'{}' is to be installed at '{}', which is no absolute path",
                    install.from.display(),
                    install.to.display()
                ));
            }
            if let Err(error) = std::fs::metadata(&install.from) {
                return refuse(format!(
                    "'{}' is to be installed in the nodes, but cannot be read: {error}",
                    install.from.display()
                ));
            }
        }
        Ok(())
    }

    /// A node's host name.
    #[must_use]
    pub fn host_name(&self, node: NodeNumber) -> String {
        if node == CLIENT { "client".to_owned() } else { format!("node{node}") }
    }

    /// A node's address on a network.
    #[must_use]
    pub fn address(&self, network: usize, node: NodeNumber) -> Option<Ipv4Addr> {
        let [a, b, c] = *self.networks.get(network)?;
        let last = if node == CLIENT { CLIENT_OCTET } else { u8::try_from(node).ok()? };
        Some(Ipv4Addr::new(a, b, c, last))
    }

    /// A node's addresses, one a network.
    #[must_use]
    pub fn addresses(&self, node: NodeNumber) -> Vec<Ipv4Addr> {
        (0..self.networks.len()).filter_map(|network| self.address(network, node)).collect()
    }

    /// A node's hardware address on a network.
    #[must_use]
    pub fn mac(&self, network: usize, node: NodeNumber) -> String {
        format!("52:54:00:77:{network:02x}:{:02x}", if node == CLIENT { u32::from(CLIENT_OCTET) } else { node })
    }

    /// All numbers: the client first, then the nodes.
    #[must_use]
    pub fn everyone(&self) -> Vec<NodeNumber> {
        (CLIENT..=self.nodes).collect()
    }

    /// The nodes' `/etc/hosts`; names lead to the first network, `-b` names to the second.
    #[must_use]
    pub fn hosts(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        for (network, suffix) in (0..self.networks.len()).zip(["", "-b"]) {
            for node in self.everyone() {
                if let Some(address) = self.address(network, node) {
                    text.push_str(&format!("{address} {}{suffix}\n", self.host_name(node)));
                }
            }
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> LabSpec {
        LabSpec {
            name: "t".to_owned(),
            kind: Kind::Ns,
            nodes: 2,
            networks: vec![[10, 77, 0], [10, 78, 0]],
            install: Vec::new(),
            shared: None,
            init: None,
            packages: Vec::new(),
            kernel_arguments: Vec::new(),
            memory_mib: 256,
            disk_mib: 64,
            snapshot: true,
            boot: true,
        }
    }

    #[test]
    fn addresses_follow_numbers() {
        let spec = spec();
        assert_eq!(spec.address(0, 2).map(|a| a.to_string()).as_deref(), Some("10.77.0.2"));
        assert_eq!(spec.address(1, CLIENT).map(|a| a.to_string()).as_deref(), Some("10.78.0.200"));
        assert_eq!(spec.address(2, 1), None);
        assert!(spec.hosts().contains("10.78.0.1 node1-b\n"));
    }

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", "../x", "a b", "x/y", &"n".repeat(33)] {
            assert!(LabSpec { name: name.to_owned(), ..spec() }.check().is_err(), "{name}");
        }
        assert!(spec().check().is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(LabSpec { nodes: 0, ..spec() }.check().is_err());
        assert!(LabSpec { nodes: 100, ..spec() }.check().is_err());
        assert!(LabSpec { networks: vec![[10, 0, 0]; 2], ..spec() }.check().is_err());
        let relative = Install { from: "/bin/sh".into(), to: "bin/x".into(), mode: 0o755 };
        assert!(LabSpec { install: vec![relative], ..spec() }.check().is_err());
        let missing = Install { from: "/nowhere".into(), to: "/bin/x".into(), mode: 0o755 };
        assert!(LabSpec { install: vec![missing], ..spec() }.check().is_err());
    }
}

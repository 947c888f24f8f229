// SPDX-License-Identifier: GPL-2.0-or-later
//! Which node is this machine?
//!
//! ```text
//!  1. what was said       ssi.node=N on the kernel's command line; SSI_NODE=N in the environment of process 1
//!  2. what it is          the [[node]] whose machine_id, product_uuid or mac is this machine's
//!  3. otherwise           an error that tells what was looked at and what to add: a number is never guessed
//! ```
//!
//! A container shares its host's command line, so where both say something, the environment of process 1 holds: only
//! who made the container can have set it. (On a machine that is no container the kernel hands `SSI_NODE=N` on its
//! command line on to process 1 as environment; a command line that says two numbers is refused.)
//!
//! [`own_node`] looks at the machine; [`decide`] is the decision alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::NodeId;
use crate::config::{Config, MacAddr};

/// What can be known of a machine. What could not be read is kept with the reason: it is told when nothing else decides.
#[derive(Debug, Default)]
pub struct Evidence {
    /// `/proc/cmdline` (`proc(5)`).
    pub cmdline: Looked<Vec<u8>>,
    /// `/proc/1/environ` (`proc_pid_environ(5)`): `NAME=value`, each ended by a NUL.
    pub environ: Looked<Vec<u8>>,
    /// `/etc/machine-id` (`machine-id(5)`).
    pub machine_id: Looked<String>,
    /// `/sys/class/dmi/id/product_uuid`; only root may read it.
    pub product_uuid: Looked<String>,
    /// `/sys/class/net/*/address`.
    pub macs: Looked<BTreeSet<MacAddr>>,
}

/// What looking at one thing gave.
#[derive(Debug, Default)]
pub enum Looked<T> {
    /// It is not there, or says nothing.
    #[default]
    Nothing,
    /// This.
    Found(T),
    /// The system refused.
    Refused(io::Error),
}

impl<T> Looked<T> {
    fn found(&self) -> Option<&T> {
        match self {
            Looked::Found(found) => Some(found),
            Looked::Nothing | Looked::Refused(_) => None,
        }
    }

    fn refused(&self) -> Option<&io::Error> {
        match self {
            Looked::Refused(error) => Some(error),
            Looked::Nothing | Looked::Found(_) => None,
        }
    }

    fn from_read(read: io::Result<T>) -> Self {
        match read {
            Ok(found) => Looked::Found(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Looked::Nothing,
            Err(error) => Looked::Refused(error),
        }
    }
}

/// Why this machine's number is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A number was given and is none.
    #[error("{place} says {text}, which is not a node's number: give a whole number from 1 to {max}", max = NodeId::MAX)]
    BadNumber {
        /// Where it was given.
        place: &'static str,
        /// The word that gives it.
        text: String,
    },
    /// A number was given that no `[[node]]` has.
    #[error("{place} says that this is node {node}, but cluster.toml has no [[node]] with id = {node}; it has {known}")]
    NotConfigured {
        /// Where it was given.
        place: &'static str,
        /// The number.
        node: NodeId,
        /// The numbers there are, for people.
        known: String,
    },
    /// Two numbers were given.
    #[error("{place} says both node {first} and node {second}: leave one of the two out")]
    Contradiction {
        /// Where they were given.
        place: &'static str,
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// More than one `[[node]]` describes this machine.
    #[error(
        "cluster.toml describes this machine as more than one node: {found}. Give each of these nodes only what is its \
         own, or put ssi.node= with the right number on the kernel's command line"
    )]
    Ambiguous {
        /// Each node and by what, for people.
        found: String,
    },
    /// Nothing tells.
    #[error(
        "which node this machine is cannot be told: {looked}. Put ssi.node= with its number on the kernel's command \
         line (for a container: SSI_NODE= in the environment of its process 1), or add to its [[node]] in \
         cluster.toml: {add}"
    )]
    Unknown {
        /// All that was looked at and what it gave.
        looked: String,
        /// A line for cluster.toml that would tell.
        add: String,
    },
}

const CMDLINE: &str = "the kernel's command line";
const ENVIRON: &str = "the environment of process 1";

/// The number of this machine.
///
/// Only root may read the environment of process 1 and the product UUID: what runs for others asks `ssi-clusterd`.
///
/// # Errors
/// [`IdentityError`]: what was looked at, and what to add.
pub fn own_node(config: &Config) -> Result<NodeId, IdentityError> {
    decide(config, &Evidence::of_this_machine())
}

/// The number of the machine that this is known of.
///
/// # Errors
/// [`IdentityError`]: what was looked at, and what to add.
pub fn decide(config: &Config, evidence: &Evidence) -> Result<NodeId, IdentityError> {
    let cmdline = evidence.cmdline.found().map_or(&[][..], Vec::as_slice);
    let environ = evidence.environ.found().map_or(&[][..], Vec::as_slice);
    let words = words(cmdline);
    let named = |name: &'static str| words.iter().filter_map(move |w| w.strip_prefix(name.as_bytes()));
    let on_cmdline = said(CMDLINE, "ssi.node=", named("ssi.node="))?;
    let handed_on = said(CMDLINE, "SSI_NODE=", named("SSI_NODE="))?;
    let in_environ =
        said(ENVIRON, "SSI_NODE=", environ.split(|b| *b == 0).filter_map(|v| v.strip_prefix(b"SSI_NODE=")))?;

    match (on_cmdline, handed_on) {
        (Some(first), Some(second)) if first != second => {
            return Err(IdentityError::Contradiction { place: CMDLINE, first, second });
        }
        _ => {}
    }
    let told = in_environ.map(|n| (n, ENVIRON)).or(on_cmdline.map(|n| (n, CMDLINE)));
    match told {
        Some((node, _)) if config.node(node).is_some() => Ok(node),
        Some((node, place)) => Err(IdentityError::NotConfigured { place, node, known: known(config) }),
        None => by_description(config, evidence),
    }
}

/// The number that one place gives; given more than once, it must be the same.
fn said<'w>(
    place: &'static str,
    name: &str,
    values: impl Iterator<Item = &'w [u8]>,
) -> Result<Option<NodeId>, IdentityError> {
    let mut told: Option<NodeId> = None;
    for value in values {
        let text: String = String::from_utf8_lossy(value).chars().take(40).collect();
        let node: NodeId = text.parse().map_err(|_| IdentityError::BadNumber { place, text: shown(name, &text) })?;
        match told {
            Some(first) if first != node => {
                return Err(IdentityError::Contradiction { place, first, second: node });
            }
            _ => told = Some(node),
        }
    }
    Ok(told)
}

fn shown(name: &str, value: &str) -> String {
    format!("'{name}{}'", value.escape_debug())
}

/// The words of a kernel command line, as the kernel cuts it (`next_arg` in `lib/cmdline.c`): at white space that is
/// not between double quotes, and with the quotes taken off.
fn words(cmdline: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut quoted = false;
    for &byte in cmdline {
        match byte {
            b'"' => quoted = !quoted,
            b if b.is_ascii_whitespace() && !quoted => words.push(Vec::new()),
            b => {
                if let Some(word) = words.last_mut() {
                    word.push(b);
                }
            }
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// The node whose description fits; a description is right if any part of it fits.
fn by_description(config: &Config, evidence: &Evidence) -> Result<NodeId, IdentityError> {
    let machine_id = evidence.machine_id.found().map(|id| id.trim().to_ascii_lowercase());
    let product_uuid = evidence.product_uuid.found().map(|uuid| uuid.trim().to_ascii_lowercase());
    let macs = evidence.macs.found();
    let mut fitting: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
    for node in config.nodes.values() {
        let mut by = Vec::new();
        if node.machine_id.is_some() && node.machine_id == machine_id {
            by.push("machine_id".to_owned());
        }
        if node.product_uuid.is_some() && node.product_uuid == product_uuid {
            by.push("product_uuid".to_owned());
        }
        let own = |mac: &&MacAddr| macs.is_some_and(|macs| macs.contains(*mac));
        by.extend(node.mac.iter().filter(own).map(|mac| format!("mac {mac}")));
        if !by.is_empty() {
            fitting.insert(node.id, by);
        }
    }
    let mut ids = fitting.keys();
    match (ids.next(), ids.next()) {
        (Some(&node), None) => Ok(node),
        (None, _) => Err(unknown(evidence)),
        (Some(_), Some(_)) => {
            let found = fitting.iter().map(|(node, by)| format!("node {node} by its {}", by.join(" and ")));
            Err(IdentityError::Ambiguous { found: found.collect::<Vec<_>>().join(", ") })
        }
    }
}

fn unknown(evidence: &Evidence) -> IdentityError {
    let mut looked = Vec::new();
    looked.push(match &evidence.cmdline {
        Looked::Refused(error) => format!("{CMDLINE} (/proc/cmdline) cannot be read: {error}"),
        _ => format!("{CMDLINE} has no ssi.node="),
    });
    looked.push(match &evidence.environ {
        Looked::Refused(error) => format!("{ENVIRON} (/proc/1/environ) cannot be read: {error}"),
        _ => format!("{ENVIRON} has no SSI_NODE="),
    });
    let mut described = |what: &str, file: &str, found: Option<String>, refused: Option<&io::Error>| {
        looked.push(match (found, refused) {
            (Some(found), _) => format!("no [[node]] has its {what} {found}"),
            (None, Some(error)) => format!("its {what} ({file}) cannot be read: {error}"),
            (None, None) => format!("it has no {what} ({file})"),
        });
    };
    let machine_id = evidence.machine_id.found().map(|text| one_word(text));
    let uuid = evidence.product_uuid.found().map(|text| one_word(text));
    let macs = evidence.macs.found().filter(|macs| !macs.is_empty());
    let listed = macs.map(|macs| macs.iter().map(MacAddr::to_string).collect::<Vec<_>>().join(" or "));
    described("machine id", "/etc/machine-id", machine_id.clone(), evidence.machine_id.refused());
    described("product UUID", "/sys/class/dmi/id/product_uuid", uuid.clone(), evidence.product_uuid.refused());
    described("MAC address", "/sys/class/net/*/address", listed, evidence.macs.refused());
    let mac = macs.and_then(BTreeSet::first).map(|mac| format!("mac = \"{mac}\""));
    let add = mac
        .or_else(|| uuid.map(|uuid| format!("product_uuid = \"{uuid}\"")))
        .or_else(|| machine_id.map(|id| format!("machine_id = \"{id}\"")))
        .unwrap_or_else(|| "its machine_id, product_uuid or mac".to_owned());
    IdentityError::Unknown { looked: looked.join("; "), add }
}

/// The text of a file of one word, safe to show.
fn one_word(text: &str) -> String {
    text.trim().chars().take(64).flat_map(char::escape_debug).collect()
}

fn known(config: &Config) -> String {
    const NAMED: usize = 20;
    let named: Vec<String> = config.nodes.keys().take(NAMED).map(NodeId::to_string).collect();
    let more = config.nodes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

impl Evidence {
    /// Looks at this machine.
    pub fn of_this_machine() -> Self {
        Self::below(Path::new("/"))
    }

    /// Looks at the machine whose files are below `root`.
    pub fn below(root: &Path) -> Self {
        let text = |file: &str| match Looked::from_read(std::fs::read_to_string(root.join(file))) {
            // An image that is to get its id at its first boot has an empty file, or this word in it.
            Looked::Found(text) if matches!(text.trim(), "" | "uninitialized") => Looked::Nothing,
            looked => looked,
        };
        Self {
            cmdline: Looked::from_read(std::fs::read(root.join("proc/cmdline"))),
            environ: Looked::from_read(std::fs::read(root.join("proc/1/environ"))),
            machine_id: text("etc/machine-id"),
            product_uuid: text("sys/class/dmi/id/product_uuid"),
            macs: Looked::from_read(macs(&root.join("sys/class/net"))),
        }
    }
}

/// The addresses of all network devices. What is no card's address (loopback, tunnels, InfiniBand) is passed over, and
/// so is a device that goes away meanwhile.
fn macs(devices: &Path) -> io::Result<BTreeSet<MacAddr>> {
    let mut macs = BTreeSet::new();
    for device in std::fs::read_dir(devices)? {
        let address = std::fs::read_to_string(device?.path().join("address"));
        macs.extend(address.ok().and_then(|a| a.trim().parse::<MacAddr>().ok()));
    }
    Ok(macs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLUSTER: &[u8] = br#"
name = "alpha"
[membership]
engine = "corosync"
[[node]]
id = 1
name = "node1"
address = "192.0.2.11"
mac = ["52:54:00:00:00:01", "52:54:00:00:01:01"]
machine_id = "11111111111111111111111111111111"
[[node]]
id = 2
name = "node2"
address = "192.0.2.12"
mac = "52:54:00:00:00:02"
product_uuid = "22222222-2222-2222-2222-222222222222"
"#;

    fn config() -> Config {
        Config::parse(Path::new("cluster.toml"), CLUSTER).unwrap()
    }

    fn node(n: u32) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn said(cmdline: &str, environ: &str) -> Result<NodeId, IdentityError> {
        let evidence = Evidence {
            cmdline: Looked::Found(cmdline.into()),
            environ: Looked::Found(environ.into()),
            ..Evidence::default()
        };
        decide(&config(), &evidence)
    }

    fn with_macs(macs: &[&str]) -> Evidence {
        Evidence { macs: Looked::Found(macs.iter().map(|m| m.parse().unwrap()).collect()), ..Evidence::default() }
    }

    #[test]
    fn the_command_line_tells() {
        assert_eq!(said("BOOT_IMAGE=/vmlinuz root=UUID=1 ssi.node=2 quiet\n", "HOME=/\0"), Ok(node(2)));
        assert_eq!(said("ssi.node=\"1\" x=\"ssi.node=2 ssi.node=3\"", ""), Ok(node(1)));
        assert_eq!(said("ssi.node=2 ssi.node=2", ""), Ok(node(2)));
    }

    #[test]
    fn the_environment_of_process_1_tells_and_is_nearer_than_the_command_line_of_the_host() {
        assert_eq!(said("quiet", "TERM=linux\0SSI_NODE=2\0"), Ok(node(2)));
        assert_eq!(said("ssi.node=1", "SSI_NODE=2\0"), Ok(node(2)));
        assert_eq!(said("quiet", "XSSI_NODE=2\0").map_err(|e| matches!(e, IdentityError::Unknown { .. })), Err(true));
    }

    #[test]
    fn two_numbers_are_refused() {
        let place = CMDLINE;
        let error = IdentityError::Contradiction { place, first: node(1), second: node(2) };
        assert_eq!(said("ssi.node=1 ssi.node=2", ""), Err(error.clone()));
        assert_eq!(said("ssi.node=1 SSI_NODE=2", "SSI_NODE=2\0"), Err(error));
        let error = IdentityError::Contradiction { place: ENVIRON, first: node(1), second: node(2) };
        assert_eq!(said("", "SSI_NODE=1\0SSI_NODE=2\0"), Err(error));
    }

    #[test]
    fn a_wrong_number_is_never_passed_over_for_what_the_machine_is() {
        for wrong in ["0", "", "-1", "01", "one", "2,", "99999", "\u{fffd}"] {
            let mut evidence = with_macs(&["52:54:00:00:00:02"]);
            evidence.cmdline = Looked::Found(format!("ssi.node={wrong}").into_bytes());
            let error = decide(&config(), &evidence).unwrap_err();
            assert!(matches!(error, IdentityError::BadNumber { .. }), "{wrong:?}: {error}");
        }
        assert_eq!(
            said("ssi.node=7", "").unwrap_err().to_string(),
            "the kernel's command line says that this is node 7, but cluster.toml has no [[node]] with id = 7; it has 1, 2"
        );
        assert_eq!(
            said("ssi.node=0", "").unwrap_err().to_string(),
            "the kernel's command line says 'ssi.node=0', which is not a node's number: give a whole number from 1 to 9999"
        );
    }

    #[test]
    fn a_machine_is_known_by_any_part_of_its_description() {
        assert_eq!(decide(&config(), &with_macs(&["02:00:00:00:00:09", "52:54:00:00:01:01"])), Ok(node(1)));
        let id = Looked::Found("11111111111111111111111111111111\n".to_owned());
        assert_eq!(decide(&config(), &Evidence { machine_id: id, ..Evidence::default() }), Ok(node(1)));
        let uuid = Looked::Found("22222222-2222-2222-2222-222222222222\n".to_owned());
        assert_eq!(decide(&config(), &Evidence { product_uuid: uuid, ..Evidence::default() }), Ok(node(2)));
    }

    #[test]
    fn a_machine_described_as_two_nodes_is_refused() {
        let error = decide(&config(), &with_macs(&["52:54:00:00:00:01", "52:54:00:00:00:02"])).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, IdentityError::Ambiguous { .. }), "{told}");
        assert!(told.contains("node 1 by its mac 52:54:00:00:00:01, node 2 by its mac 52:54:00:00:00:02"), "{told}");
        // A disk that was copied from node 1 into node 2.
        let mut copied = with_macs(&["52:54:00:00:00:02"]);
        copied.machine_id = Looked::Found("11111111111111111111111111111111".to_owned());
        assert!(matches!(decide(&config(), &copied), Err(IdentityError::Ambiguous { .. })));
    }

    #[test]
    fn an_unknown_machine_is_told_all_that_was_looked_at_and_what_to_add() {
        let evidence = Evidence {
            cmdline: Looked::Found(b"quiet\n".to_vec()),
            environ: Looked::Refused(io::Error::from_raw_os_error(13)),
            machine_id: Looked::Found("33333333333333333333333333333333\n".to_owned()),
            product_uuid: Looked::Refused(io::Error::from_raw_os_error(13)),
            macs: with_macs(&["52:54:00:00:00:33"]).macs,
        };
        assert_eq!(
            decide(&config(), &evidence).unwrap_err().to_string(),
            "which node this machine is cannot be told: the kernel's command line has no ssi.node=; the environment of \
             process 1 (/proc/1/environ) cannot be read: Permission denied (os error 13); no [[node]] has its machine \
             id 33333333333333333333333333333333; its product UUID (/sys/class/dmi/id/product_uuid) cannot be read: \
             Permission denied (os error 13); no [[node]] has its MAC address 52:54:00:00:00:33. Put ssi.node= with \
             its number on the kernel's command line (for a container: SSI_NODE= in the environment of its process 1), \
             or add to its [[node]] in cluster.toml: mac = \"52:54:00:00:00:33\""
        );
    }

    #[test]
    fn a_machine_is_looked_at_through_its_files() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("proc/cmdline", "quiet\n");
        write("etc/machine-id", "uninitialized\n");
        write("sys/class/net/lo/address", "00:00:00:00:00:00\n");
        write("sys/class/net/ib0/address", "80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0f:ef\n");
        write("sys/class/net/eth0/address", "52:54:00:00:00:02\n");
        let evidence = Evidence::below(root.path());
        assert!(matches!(evidence.machine_id, Looked::Nothing) && matches!(evidence.environ, Looked::Nothing));
        assert_eq!(evidence.macs.found().map(BTreeSet::len), Some(1));
        assert_eq!(decide(&config(), &evidence), Ok(node(2)));
        write("proc/1/environ", "SSI_NODE=1\0");
        assert_eq!(decide(&config(), &Evidence::below(root.path())), Ok(node(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(cmdline in prop::collection::vec(any::<u8>(), 0..200), environ in prop::collection::vec(any::<u8>(), 0..200)) {
            let evidence = Evidence { cmdline: Looked::Found(cmdline), environ: Looked::Found(environ), ..Evidence::default() };
            prop_assert!(decide(&config(), &evidence).is_err());
        }

        #[test]
        fn a_number_among_any_other_words_is_found(before in "[ -~&&[^\"]]{0,40}", after in "[ -~&&[^\"]]{0,40}") {
            prop_assume!(!before.contains("ssi.node=") && !after.contains("ssi.node="));
            prop_assume!(!before.contains("SSI_NODE=") && !after.contains("SSI_NODE="));
            let said = said(&format!("{before} ssi.node=2 {after}"), "");
            prop_assert_eq!(said, Ok(node(2)));
        }
    }
}

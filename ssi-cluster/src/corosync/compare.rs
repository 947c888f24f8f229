// SPDX-License-Identifier: GPL-2.0-or-later
//! Where a `corosync.conf` that somebody wrote says otherwise than `cluster.toml`. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::NodeId;
use crate::config::Config;

/// What a `corosync.conf` says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    id: Option<String>,
    name: Option<String>,
    addresses: BTreeMap<String, String>,
}

/// One sentence for each thing about the nodes in which `text`, a `corosync.conf`, differs from `cluster.toml`.
///
/// Only the node numbers and addresses must agree; all else in the file is its writer's.
pub fn differences(config: &Config, text: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen = BTreeMap::new();
    for node in nodes(text) {
        let id = node.id.as_deref().and_then(|id| id.parse::<NodeId>().ok());
        let called = node.name.as_deref().or(node.addresses.values().next().map(String::as_str)).unwrap_or("?");
        match id {
            None => warnings.push(format!(
                "its node {called} has {}, and needs the number that cluster.toml gives it",
                node.id.as_ref().map_or("no nodeid".into(), |id| format!("the nodeid {id}"))
            )),
            Some(id) if config.node(id).is_none() => {
                warnings.push(format!("its node {id} ({called}) is not in cluster.toml"));
            }
            Some(id) => {
                if seen.insert(id, node).is_some() {
                    warnings.push(format!("it has the nodeid {id} twice"));
                }
            }
        }
    }
    for ours in config.nodes.values() {
        match seen.get(&ours.id) {
            None => warnings.push(format!("node {} ({}) of cluster.toml is not in it", ours.id, ours.name)),
            Some(theirs) => warnings.extend(theirs.addresses.iter().filter_map(|(key, address)| {
                // A name is resolved by corosync, on each machine for itself; that is not for here to judge.
                let address: IpAddr = address.parse().ok()?;
                let known = ours.addresses.contains(&address);
                (!known).then(|| format!("its {key} of node {}, {address}, is not in cluster.toml", ours.id))
            })),
        }
    }
    warnings
}

/// The nodes of the nodelist: sections in braces, `key: value` a line, as corosync's own parser (exec/coroparse.c)
/// takes them.
fn nodes(text: &str) -> Vec<Node> {
    let mut sections: Vec<&str> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(section) = line.strip_suffix('{') {
            sections.push(section.trim());
            if sections == ["nodelist", "node"] {
                nodes.push(Node::default());
            }
        } else if line.starts_with('}') {
            sections.pop();
        } else if sections == ["nodelist", "node"]
            && let (Some((key, value)), Some(node)) = (line.split_once(':'), nodes.last_mut())
        {
            let value = value.trim().to_owned();
            match key.trim() {
                "nodeid" => node.id = Some(value),
                "name" => node.name = Some(value),
                key if key.starts_with("ring") && key.ends_with("_addr") => {
                    node.addresses.insert(key.to_owned(), value);
                }
                _ => {}
            }
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::corosync::render;

    fn config() -> Config {
        let text = "name = \"alpha\"\n[membership]\nengine = \"corosync\"\n\
            [[node]]\nid = 1\nname = \"one\"\naddress = \"192.0.2.1\"\nmac = \"52:54:00:00:00:01\"\n\
            [[node]]\nid = 2\nname = \"two\"\naddress = \"192.0.2.2\"\nmac = \"52:54:00:00:00:02\"\n";
        Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_rendered_does_not_differ() {
        assert_eq!(differences(&config(), &render(&config())), Vec::<String>::new());
    }

    #[test]
    fn names_instead_of_addresses_are_left_to_corosync() {
        let text = render(&config()).replace("192.0.2.1", "one.example");
        assert_eq!(differences(&config(), &text), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_told() {
        let text = render(&config()).replace("nodeid: 2", "nodeid: 3").replace("192.0.2.1", "192.0.2.9");
        let expected = [
            "its node 3 (two) is not in cluster.toml",
            "its ring0_addr of node 1, 192.0.2.9, is not in cluster.toml",
            "node 2 (two) of cluster.toml is not in it",
        ];
        assert_eq!(differences(&config(), &text), expected);
        let none = differences(&config(), "totem {\n}\nnodelist {\n node {\n  ring0_addr: 192.0.2.1\n }\n}\n");
        assert!(none.iter().any(|w| w.contains("192.0.2.1 has no nodeid")), "{none:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "([a-z_]{0,8}[ :{}\n]{0,3}){0,40}") {
            let _ = differences(&config(), &text);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! From the bytes of `cluster.toml` to a [`Config`], key by key, with every mistake noted at its place.
//!
//! A key whose value is wrong is noted and read as if it were not there, and the reading goes on. A [`Config`] is made
//! only when nothing was noted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{At, Meant, NODE, Reader, Section, kind};
use super::mistake::{Notebook, nearest};
use super::values;
use super::{
    Config, ConfigErrors, EngineKind, FenceDevice, MAX_FILE, MAX_LINKS, MacAddr, Membership, NodeConfig, NodeWork,
    across,
};
use crate::NodeId;

/// One `[[node]]` as far as it could be read.
#[derive(Debug)]
pub(super) struct ReadNode {
    /// Its header.
    pub(super) header: Range<usize>,
    pub(super) id: Option<At<NodeId>>,
    pub(super) name: Option<At<String>>,
    /// One for each that is written, `None` where it is wrong, so that the places count the links.
    pub(super) addresses: Vec<At<Option<IpAddr>>>,
    pub(super) mac: Vec<At<MacAddr>>,
    pub(super) machine_id: Option<At<String>>,
    pub(super) product_uuid: Option<At<String>>,
    /// The variables by name, at their keys; `None` where the value is wrong.
    pub(super) context: BTreeMap<String, At<Option<String>>>,
    pub(super) speed_mhz: Option<u32>,
    pub(super) fence: Option<FenceDevice>,
}

impl ReadNode {
    /// What to call it in a message: by number, else by name.
    pub(super) fn called(&self) -> String {
        match (&self.id, &self.name) {
            (Some(id), _) => format!("node {}", id.value),
            (None, Some(name)) => format!("node \"{}\"", name.value),
            (None, None) => "this node".to_owned(),
        }
    }
}

/// Reads the whole file.
pub(super) fn config(file: &Path, bytes: &[u8]) -> Result<Config, ConfigErrors> {
    let text = as_text(file, bytes)?;
    let mut notebook = Notebook::new(text);
    let document = match DeTable::parse_recoverable(text) {
        (document, errors) if errors.is_empty() => document,
        (_, errors) => {
            // What the recovery made of a broken line would only add mistakes that nobody made.
            for error in errors {
                let (what, right) = match error.message().split_once(", expected ") {
                    Some((what, expected)) => (what, format!("expected here: {expected}")),
                    None => (error.message(), syntax_advice(error.message()).to_owned()),
                };
                notebook.wrong(error.span().unwrap_or(0..0), format!("this is not TOML: {what}"), right);
            }
            notebook.close(file)?;
            return Err(ConfigErrors::one(file, (1, 1), "this is not TOML".into(), None, "see https://toml.io".into()));
        }
    };
    let mut reader = Reader { notebook, text };
    let read = reader.document(document.get_ref());
    reader.notebook.close(file)?;
    // Every reason for which there is nothing to give was noted, so this is not reached with `None`.
    read.ok_or_else(|| {
        ConfigErrors::one(
            file,
            (1, 1),
            "the configuration is incomplete".into(),
            None,
            "see ssi-cluster.toml(5)".into(),
        )
    })
}

fn as_text<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, ConfigErrors> {
    if bytes.len() > MAX_FILE {
        return Err(ConfigErrors::one(
            file,
            (1, 1),
            format!("the file is longer than {} KiB", MAX_FILE >> 10),
            None,
            "a cluster.toml has some lines a node; is this the right file?".into(),
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (good, bad) = bytes.split_at(error.valid_up_to());
        let line = 1 + good.iter().filter(|b| **b == b'\n').count();
        let start = good.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let column = 1 + String::from_utf8_lossy(&good[start..]).chars().count();
        let shown = bad.first().map(|b| format!("\\x{b:02x}"));
        ConfigErrors::one(
            file,
            (line, column),
            "this byte is not part of UTF-8 text".into(),
            shown,
            "save the file as UTF-8 (TOML is always UTF-8)".into(),
        )
    })
}

/// What to do about a message of the TOML parser that says nothing of what it expected.
fn syntax_advice(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "it is set above already, keep one of the two"
    } else {
        "a line is  key = value,  [table]  or  [[node]]"
    }
}

impl Reader<'_> {
    fn document(&mut self, root: &DeTable<'_>) -> Option<Config> {
        let root = Section { title: "the file", header: 0..0, table: root };
        let meant = self.unknown_keys(&root, &["fence", "membership", "name", "node", "nodework"]);
        let name = self.string(&root, "name").map(|n| self.checked(&n, values::cluster_name(&n.value)));
        if root.get("name").is_none() && !meant.contains("name") {
            self.notebook.missing("the cluster has no name", "start the file with a line such as name = \"alpha\"");
        }
        let membership = self.membership(&root, &meant);
        let nodework = self.nodework(&root);
        let fence = self.fence_times(&root);
        let engine = membership.as_ref().map(|m| m.engine);
        let nodes = self.nodes(&root, engine, &meant);
        across::check(&mut self.notebook, engine, &nodes);
        self.ports(&root, membership.as_ref(), &nodes);
        let (name, membership, nodework) = (name??.value, membership?, nodework?);
        Some(Config { name, membership, nodework, fence: fence?, nodes: finished(nodes)? })
    }

    fn membership(&mut self, root: &Section<'_, '_>, meant: &Meant) -> Option<Membership> {
        if root.get("membership").is_none() {
            if meant.contains("membership") {
                return None;
            }
            self.notebook.missing(
                "the table [membership] is missing",
                "add [membership] with engine = \"corosync\", or engine = \"solo\" for a single machine",
            );
            return None;
        }
        let section = self.table(root, "membership", "[membership]")?;
        let meant = self.unknown_keys(&section, &["engine", "mtu", "port", "token_coefficient_ms", "token_ms"]);
        let engine = self.required_string(
            &section,
            "engine",
            &meant,
            "add engine = \"corosync\", or engine = \"solo\" for a single machine",
        );
        let engine = engine.and_then(|e| {
            let kind = e.value.parse::<EngineKind>().map_err(|_| {
                let right = match nearest(&e.value.to_lowercase(), &["corosync", "solo"]) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "it is \"corosync\", or \"solo\" for a single machine".to_owned(),
                };
                ("there is no membership engine of this name".to_owned(), right)
            });
            self.checked(&e, kind)
        });
        let token_ms = self.number(&section, "token_ms", 100..=60_000, "milliseconds");
        let token_coefficient_ms = self.number(&section, "token_coefficient_ms", 0..=10_000, "milliseconds");
        let port = self.number(&section, "port", 1..=65_535, "a UDP port");
        let mtu = self.number(&section, "mtu", 576..=65_535, "bytes");
        Some(Membership {
            engine: engine?.value,
            token_ms,
            token_coefficient_ms,
            port: port.and_then(|p| u16::try_from(p).ok()).unwrap_or(Membership::DEFAULT_PORT),
            mtu: mtu.and_then(|m| u16::try_from(m).ok()),
        })
    }

    fn nodework(&mut self, root: &Section<'_, '_>) -> Option<NodeWork> {
        if root.get("nodework").is_none() {
            return Some(NodeWork { timeout_s: NodeWork::DEFAULT_TIMEOUT_S });
        }
        let section = self.table(root, "nodework", "[nodework]")?;
        self.unknown_keys(&section, &["timeout_s"]);
        let timeout_s = self.number(&section, "timeout_s", 1..=3_600, "seconds");
        Some(NodeWork { timeout_s: timeout_s.unwrap_or(NodeWork::DEFAULT_TIMEOUT_S) })
    }

    fn nodes(&mut self, root: &Section<'_, '_>, engine: Option<EngineKind>, meant: &Meant) -> Vec<ReadNode> {
        let Some(value) = root.get("node") else {
            if meant.contains("node") {
                return Vec::new();
            }
            self.notebook.missing("the cluster has no nodes", "add a [[node]] with its id, name and address");
            return Vec::new();
        };
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                self.notebook.wrong(
                    value.span(),
                    "the cluster has no nodes",
                    "add a [[node]] with its id, name and address",
                );
                Vec::new()
            }
            DeValue::Array(items) => items.iter().filter_map(|item| self.node(item, engine)).collect(),
            DeValue::Table(_) => {
                self.notebook.wrong(value.span(), "a node is one of a list", "write [[node]], with two brackets");
                Vec::new()
            }
            other => {
                let what = format!("node must be a list of tables, this is {}", kind(other));
                self.notebook.wrong(value.span(), what, "write [[node]] and its keys on the lines below it");
                Vec::new()
            }
        }
    }

    fn node(&mut self, item: &Spanned<DeValue<'_>>, engine: Option<EngineKind>) -> Option<ReadNode> {
        let DeValue::Table(table) = item.get_ref() else {
            let what = format!("a node must be a table, this is {}", kind(item.get_ref()));
            self.notebook.wrong(item.span(), what, "write [[node]] and its keys on the lines below it");
            return None;
        };
        let section = Section { title: NODE, header: item.span(), table };
        let meant = self.unknown_keys(
            &section,
            &[
                "address",
                "addresses",
                "context",
                "fence",
                "id",
                "mac",
                "machine_id",
                "name",
                "product_uuid",
                "speed_mhz",
            ],
        );
        let id_range = format!("a whole number from 1 to {}", NodeId::MAX);
        let id = match section.get("id") {
            None if meant.contains("id") => None,
            None => {
                let right = format!("add id = followed by {id_range} that no other node has");
                self.notebook.wrong(item.span(), "this node has no number", right);
                None
            }
            Some(value) => {
                let span = value.span();
                let number = self.whole_number(value, "a node's number", &id_range);
                number.and_then(|n| match u32::try_from(n).ok().and_then(NodeId::new) {
                    Some(id) => Some(At { value: id, span }),
                    None => {
                        let what = "this cannot be a node's number";
                        self.notebook.wrong(span, what, format!("give {id_range} that no other node has"));
                        None
                    }
                })
            }
        };
        let name =
            self.required_string(&section, "name", &meant, "add name = with its host name, such as name = \"node1\"");
        let name = name.and_then(|n| self.checked(&n, values::node_name(&n.value)));
        let addresses = self.addresses(&section, engine, &meant);
        let mac = self.strings(&section, "mac").into_iter().filter_map(|at| {
            let text = At { value: at.value?, span: at.span };
            let mac = text.value.parse::<MacAddr>();
            self.checked(&text, mac.map_err(|e| ("this is not a network card's address", e.to_string())))
        });
        let mac = mac.collect();
        let machine_id = self.string(&section, "machine_id");
        let machine_id = machine_id.and_then(|m| self.checked(&m, values::machine_id(&m.value)));
        let product_uuid = self.string(&section, "product_uuid");
        let product_uuid = product_uuid.and_then(|u| self.checked(&u, values::product_uuid(&u.value)));
        let context = self.context(&section, name.as_ref().map(|n| n.value.len()));
        let speed_mhz = self.number(&section, "speed_mhz", 1..=100_000_000, "the summed MHz of all CPUs,");
        let fence = self.fence_device(&section);
        let header = item.span();
        Some(ReadNode { header, id, name, addresses, mac, machine_id, product_uuid, context, speed_mhz, fence })
    }

    fn addresses(
        &mut self,
        section: &Section<'_, '_>,
        engine: Option<EngineKind>,
        meant: &Meant,
    ) -> Vec<At<Option<IpAddr>>> {
        let (one, several) = (section.get("address"), section.get("addresses"));
        if let (Some(_), Some(several)) = (one, several) {
            let right = "keep one of the two: addresses = [..] when there is more than one link";
            self.notebook.wrong(several.span(), "this node has both address and addresses", right);
        }
        let none = one.is_none() && several.is_none() && !meant.contains("address") && !meant.contains("addresses");
        if none && engine == Some(EngineKind::Corosync) {
            let right = "corosync needs one: add address = \"..\", by which the other nodes reach this one";
            self.notebook.wrong(section.header.clone(), "this node has no address", right);
        }
        // `address` may be a list as well: what is meant is plain.
        let key = if several.is_some() { "addresses" } else { "address" };
        let texts = self.strings(section, key);
        let empty_list = section.get(key).filter(|_| texts.is_empty() && engine == Some(EngineKind::Corosync));
        if let Some(value) = empty_list {
            self.notebook.wrong(value.span(), "this node has no address", "corosync needs one for each link");
        }
        if let Some(ninth) = texts.get(MAX_LINKS) {
            let what = format!("this node has {} addresses", texts.len());
            let right = format!("keep {MAX_LINKS}: corosync has at most so many links");
            let ninth_text = ninth.value.as_deref().unwrap_or_default();
            self.notebook.wrong_value(ninth.span.clone(), ninth_text, what, right);
        }
        let read = texts.into_iter().map(|at| {
            let At { value, span } = at;
            let text = value.map(|value| At { value, span: span.clone() });
            let address = text.and_then(|t| self.checked(&t, values::address(&t.value, engine)));
            At { value: address.map(|a| a.value), span }
        });
        read.collect()
    }

    fn context(&mut self, node: &Section<'_, '_>, name_length: Option<usize>) -> BTreeMap<String, At<Option<String>>> {
        if node.get("context").is_none() {
            return BTreeMap::new();
        }
        let Some(section) = self.table(node, "context", "the node's context") else { return BTreeMap::new() };
        // Upper bounds, so that what is right here is right on every machine: uname(2) gives at most 64 bytes, a node's
        // number has at most 4 digits, a cluster's name 32 characters.
        let longest = |variable: &str| match variable {
            "nodename" => name_length.unwrap_or(63),
            "nodenum" => 4,
            "clustername" => 32,
            _ => 64,
        };
        let mut variables = BTreeMap::new();
        for (key, _) in section.table {
            let name: &str = key.get_ref();
            if let Err((what, right)) = values::variable(name) {
                self.notebook.wrong(key.span(), what, right);
                continue;
            }
            let value = self.string(&section, name);
            let value = value.and_then(|v| self.checked(&v, values::variable_value(&v.value, longest)));
            variables.insert(name.to_owned(), At { value: value.map(|v| v.value), span: key.span() });
        }
        variables
    }

    /// Each link takes a port of its own, from the first one up.
    fn ports(&mut self, root: &Section<'_, '_>, membership: Option<&Membership>, nodes: &[ReadNode]) {
        let links = nodes.iter().map(|n| n.addresses.len()).max().unwrap_or(0).min(MAX_LINKS);
        let Some(membership) = membership else { return };
        let last = usize::from(membership.port) + links.saturating_sub(1);
        let value = root.get("membership").and_then(|m| m.get_ref().as_table()?.get("port"));
        if let (true, Some(value)) = (last > 65_535, value) {
            let right = format!("use at most {}: each of the {links} links takes the next port", 65_536 - links);
            self.notebook.wrong(value.span(), "there are not enough ports above this one", right);
        }
    }
}

/// The nodes as they are wanted, if nothing is missing.
fn finished(nodes: Vec<ReadNode>) -> Option<BTreeMap<NodeId, NodeConfig>> {
    let node = |n: ReadNode| {
        let id = n.id?.value;
        let addresses: Option<_> = n.addresses.into_iter().map(|a| a.value).collect();
        let context: Option<_> = n.context.into_iter().map(|(name, at)| Some((name, at.value?))).collect();
        let config = NodeConfig {
            id,
            name: n.name?.value,
            addresses: addresses?,
            mac: n.mac.into_iter().map(|m| m.value).collect(),
            machine_id: n.machine_id.map(|m| m.value),
            product_uuid: n.product_uuid.map(|u| u.value),
            context: context?,
            speed_mhz: n.speed_mhz,
            fence: n.fence,
        };
        Some((id, config))
    };
    nodes.into_iter().map(node).collect()
}

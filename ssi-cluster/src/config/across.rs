// SPDX-License-Identifier: GPL-2.0-or-later
//! Node against node: what is right in each `[[node]]` alone and wrong in all of them together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use super::EngineKind;
use super::mistake::Notebook;
use super::read::ReadNode;

/// How many nodes a message names before it only counts them.
const NAMED: usize = 5;

/// Notes what the nodes contradict each other in.
pub(super) fn check(notebook: &mut Notebook<'_>, engine: Option<EngineKind>, nodes: &[ReadNode]) {
    numbers(notebook, nodes);
    names(notebook, nodes);
    addresses(notebook, nodes);
    identities(notebook, nodes);
    if engine == Some(EngineKind::Corosync) {
        links(notebook, nodes);
    }
    if let (Some(EngineKind::Solo), Some(second)) = (engine, nodes.get(1)) {
        let what = format!("the engine solo is for a single node, here are {}", nodes.len());
        notebook.wrong(second.header.clone(), what, "set engine = \"corosync\", or keep one [[node]]");
    }
    site_variables(notebook, nodes);
}

/// Where something was first seen, and on which node.
struct First<'n> {
    span: Range<usize>,
    node: &'n ReadNode,
}

fn numbers(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    let mut seen: BTreeMap<_, First<'_>> = BTreeMap::new();
    for node in nodes {
        let Some(id) = &node.id else { continue };
        match seen.get(&id.value) {
            None => {
                seen.insert(id.value, First { span: id.span.clone(), node });
            }
            Some(first) => {
                let holder = first.node.name.as_ref().map_or("another node".to_owned(), |n| format!("\"{}\"", n.value));
                let line = notebook.line(first.span.start);
                let right = format!("{holder} has it at line {line}, give this node a number of its own");
                notebook.wrong(id.span.clone(), "two nodes cannot have one number", right);
            }
        }
    }
}

fn names(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    let named = nodes.iter().filter_map(|n| Some((n, n.name.as_ref()?)));
    // Host names do not tell upper from lower case.
    let named = named.map(|(n, name)| (n, name.value.to_ascii_lowercase(), name.value.clone(), name.span.clone()));
    twice(notebook, named, "two nodes cannot have one name", "give this node its own");
}

fn addresses(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    let all = nodes.iter().flat_map(|n| n.addresses.iter().map(move |a| (n, a)));
    let all = all.filter_map(|(n, a)| Some((n, a.value?, a.value?.to_string(), a.span.clone())));
    twice(notebook, all, "two nodes cannot have one address", "give this node its own");
}

fn identities(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    let own = "each machine has its own, look at both";
    let macs = nodes.iter().flat_map(|n| n.mac.iter().map(move |m| (n, m.value, m.value.to_string(), m.span.clone())));
    twice(notebook, macs, "two nodes cannot have one MAC address", own);
    let ids = nodes.iter().filter_map(|n| Some((n, n.machine_id.as_ref()?)));
    let ids = ids.map(|(n, m)| (n, m.value.clone(), m.value.clone(), m.span.clone()));
    let renew = "each machine has its own; a copied disk needs a new one (systemd-machine-id-setup)";
    twice(notebook, ids, "two nodes cannot have one machine id", renew);
    let uuids = nodes.iter().filter_map(|n| Some((n, n.product_uuid.as_ref()?)));
    let uuids = uuids.map(|(n, u)| (n, u.value.clone(), u.value.clone(), u.span.clone()));
    twice(notebook, uuids, "two nodes cannot have one product UUID", own);
}

/// Notes each thing that comes a second time. An item: its node, the thing, how it is shown, where it stands.
fn twice<'n, K: Ord>(
    notebook: &mut Notebook<'_>,
    items: impl Iterator<Item = (&'n ReadNode, K, String, Range<usize>)>,
    what: &str,
    right: &str,
) {
    let mut seen: BTreeMap<K, First<'n>> = BTreeMap::new();
    for (node, key, shown, span) in items {
        let Some(first) = seen.get(&key) else {
            seen.insert(key, First { span, node });
            continue;
        };
        let line = notebook.line(first.span.start);
        if std::ptr::eq(first.node, node) {
            let right = format!("it stands at line {line} already, leave it out here");
            notebook.wrong_value(span, &shown, "this node has it twice", right);
        } else {
            let holder = first.node.called().replace("this node", "another node");
            notebook.wrong_value(span, &shown, what, format!("{holder} has it at line {line}; {right}"));
        }
    }
}

/// Every node has one address on each link, and a link is IPv4 or IPv6 (`corosync.conf(5)`, `ringX_addr`).
fn links(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    // A node without any address has been told of.
    let mut linked = nodes.iter().filter(|n| !n.addresses.is_empty());
    let Some(first) = linked.next() else { return };
    let family = |address: &IpAddr| if address.is_ipv4() { "an IPv4" } else { "an IPv6" };
    for node in linked {
        let (count, wanted) = (node.addresses.len(), first.addresses.len());
        if let (true, Some(last)) = (count != wanted, node.addresses.last()) {
            let line = notebook.line(first.header.start);
            let what =
                format!("this node has {}, {} (line {line}) has {wanted}", counted(count, "address"), first.called());
            let right = "give every node as many addresses as there are links";
            match last.value {
                Some(address) => notebook.wrong_value(last.span.clone(), &address.to_string(), what, right),
                None => notebook.wrong(last.span.clone(), what, right),
            }
        }
        for (link, (address, of_first)) in node.addresses.iter().zip(&first.addresses).enumerate() {
            let (Some(here), Some(there)) = (address.value, of_first.value) else { continue };
            if here.is_ipv4() != there.is_ipv4() {
                let (line, other) = (notebook.line(of_first.span.start), family(&there));
                let what = format!("link {} would mix IPv4 and IPv6", link + 1);
                let right = format!(
                    "{} has {other} address there (line {line}), give this node {other} one too",
                    first.called()
                );
                notebook.wrong_value(address.span.clone(), &here.to_string(), what, right);
            }
        }
    }
}

/// A variable that one node has, all must have: a link that uses it would point nowhere on the others.
fn site_variables(notebook: &mut Notebook<'_>, nodes: &[ReadNode]) {
    let mut holders: BTreeMap<&str, (Range<usize>, usize)> = BTreeMap::new();
    for node in nodes {
        for (name, at) in &node.context {
            holders.entry(name).or_insert_with(|| (at.span.clone(), 0)).1 += 1;
        }
    }
    for (name, (span, holding)) in holders {
        let lacking = nodes.len() - holding;
        if lacking == 0 {
            continue;
        }
        let of = nodes.iter().filter(|n| !n.context.contains_key(name));
        let of = of.take(NAMED).map(|n| match &n.id {
            Some(id) => id.value.to_string(),
            None => format!("at line {}", notebook.line(n.header.start)),
        });
        let named = of.collect::<Vec<_>>().join(", ");
        let more = if lacking > NAMED { format!(" and {} more", lacking - NAMED) } else { String::new() };
        let subject = if lacking == 1 { format!("node {named} lacks") } else { format!("nodes {named}{more} lack") };
        let what = format!("{subject} this variable, which every node must have");
        let right = format!("add context = {{ {name} = \"..\" }} there, or leave {name} out everywhere");
        notebook.wrong(span, what, right);
    }
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}es") }
}

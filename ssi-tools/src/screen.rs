// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi status`, `ssi node list` and `ssi node show` as text. Pure: a [`Picture`] in, lines out.

use ssi_cluster::NodeState;
use ssi_cluster::client::NodeStatus;

use crate::daemon::{Picture, Standing};
use crate::figures::{self, UNKNOWN};
use crate::output::{Paint, Tone};
use crate::table::{Cell, Side, render};

/// The tone of a state.
pub fn tone_of(state: &str) -> Tone {
    match state.parse() {
        Ok(NodeState::Up) => Tone::Good,
        Ok(NodeState::NeverUp | NodeState::Down) => Tone::Quiet,
        Ok(NodeState::KCleanup | NodeState::UCleanup) => Tone::Bad,
        Ok(NodeState::ComingUp | NodeState::Shutdown | NodeState::GoingDown) => Tone::Notice,
        Err(_) => Tone::Plain,
    }
}

/// `ssi status`.
pub fn status(picture: &Picture, paint: Paint) -> String {
    let mut text = head(picture, paint);
    if !picture.nodes.is_empty() {
        text.push('\n');
        text.push_str(&node_table(picture, paint));
    }
    let notes = notes(picture);
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            text.push_str(&paint.put(Tone::Notice, &note));
            text.push('\n');
        }
    }
    text
}

/// The lines above the table.
fn head(p: &Picture, paint: Paint) -> String {
    let up = p.up().count();
    let mut text = format!(
        "{}   view {}, members: {} of {}, UP: {up}\n",
        paint.put(Tone::Strong, &format!("Cluster {}", p.cluster)),
        p.view,
        p.members.len(),
        p.nodes.len().max(p.members.len()),
    );
    text.push_str(&match p.standing() {
        Standing::Member => format!("{}, {} is connected", paint.put(Tone::Good, "Quorum"), p.engine),
        Standing::Joining => {
            paint.put(Tone::Notice, "JOINING: there is quorum, and this node is getting in step with the other members")
        }
        Standing::NoQuorum => paint.put(
            Tone::Bad,
            "NO QUORUM: too few nodes see each other to act for the cluster; states below are the last agreed ones",
        ),
        Standing::EngineDown(why) => paint.put(
            Tone::Bad,
            &format!("NOT CONNECTED to {}: {why}", if p.engine.is_empty() { "the engine" } else { &p.engine }),
        ),
    });
    text.push('\n');
    let init = if p.init_node == 0 { "none".to_owned() } else { p.init_node.to_string() };
    text.push_str(&format!("This is node {} ({}); init node: {init}\n", p.own, p.own_name));
    text
}

/// What the table has no column for, a sentence each.
fn notes(p: &Picture) -> Vec<String> {
    let mut notes = Vec::new();
    for n in &p.nodes {
        if n.member && !n.attached {
            notes.push(format!("Node {} is a member, but its ssi-clusterd is not connected to the engine.", n.id));
        }
        if n.same_config == Some(false) {
            notes.push(format!("Node {} has another cluster.toml than this node.", n.id));
        }
        if let Some(version) = n.version.as_deref().filter(|v| n.member && *v != p.version) {
            notes.push(format!("Node {} runs ssi-clusterd {version}, this node {}.", n.id, p.version));
        }
    }
    let strangers: Vec<String> =
        p.members.iter().filter(|m| !p.nodes.iter().any(|n| n.id == **m)).map(u32::to_string).collect();
    if !strangers.is_empty() && !p.nodes.is_empty() {
        notes.push(format!("Members that are not in this node's cluster.toml: {}.", strangers.join(", ")));
    }
    notes
}

/// The table of nodes.
pub fn node_table(p: &Picture, paint: Paint) -> String {
    const HEADING: [(&str, Side); 8] = [
        ("NODE", Side::Right),
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("ROLE", Side::Left),
        ("LOAD", Side::Right),
        ("CPUS", Side::Right),
        ("MEMORY USED/TOTAL", Side::Right),
        ("UPTIME", Side::Right),
    ];
    let rows: Vec<Vec<Cell>> = p
        .nodes
        .iter()
        .map(|n| {
            vec![
                n.id.to_string().into(),
                Cell::new(if n.id == p.own { Tone::Strong } else { Tone::Plain }, n.name.as_str()),
                Cell::new(tone_of(&n.state), n.state.as_str()),
                role(n, p.own).into(),
                or_unknown(n.load.map(figures::load)),
                or_unknown(n.cpus.map(|c| c.to_string())),
                or_unknown(memory(n)),
                or_unknown(n.uptime_s.map(figures::span)),
            ]
        })
        .collect();
    render(&HEADING, &rows, paint)
}

fn or_unknown(text: Option<String>) -> Cell {
    text.unwrap_or_else(|| UNKNOWN.to_owned()).into()
}

fn role(n: &NodeStatus, own: u32) -> &'static str {
    match (n.init_node, n.id == own) {
        (true, true) => "init, this",
        (true, false) => "init",
        (false, true) => "this",
        (false, false) => "",
    }
}

fn memory(n: &NodeStatus) -> Option<String> {
    let total = n.memory_kib?;
    let used = n.available_kib.map(|a| figures::memory(total.saturating_sub(a)));
    Some(format!("{} / {}", used.as_deref().unwrap_or(UNKNOWN), figures::memory(total)))
}

/// What is known of a node, as lines of key and value; `ssi node show` and `cluster -V` print them. The keys are relied
/// on by scripts: add, never change.
pub fn node_facts(n: &NodeStatus, p: &Picture, utc: bool) -> Vec<(&'static str, String)> {
    let yes_no = |b: bool| if b { "yes" } else { "no" }.to_owned();
    let known = |v: Option<String>| v.unwrap_or_else(|| UNKNOWN.to_owned());
    vec![
        ("Node", n.id.to_string()),
        ("Name", n.name.clone()),
        ("Addresses", n.addresses.join(", ")),
        ("State", n.state.clone()),
        ("Since", if n.since_ms == 0 { UNKNOWN.to_owned() } else { figures::time(n.since_ms, utc) }),
        ("Member", yes_no(n.member)),
        ("Daemon connected", yes_no(n.attached)),
        ("Init node", yes_no(n.init_node)),
        ("This node", yes_no(n.id == p.own)),
        ("Load", known(n.load.map(figures::load))),
        ("CPUs", known(n.cpus.map(|c| c.to_string()))),
        ("MHz", known(n.mhz.map(|c| c.to_string()))),
        ("Memory", known(n.memory_kib.map(figures::memory))),
        ("Memory available", known(n.available_kib.map(figures::memory))),
        ("Uptime", known(n.uptime_s.map(figures::span))),
        ("Daemon version", known(n.version.clone())),
        ("Same cluster.toml", known(n.same_config.map(yes_no))),
    ]
}

/// The facts as text.
pub fn facts_text(facts: &[(&str, String)]) -> String {
    facts.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, state: &str) -> NodeStatus {
        NodeStatus {
            id,
            name: format!("node{id}"),
            addresses: vec![format!("192.0.2.{id}")],
            state: state.into(),
            since_ms: 1_700_000_000_000,
            ..NodeStatus::default()
        }
    }

    fn picture() -> Picture {
        let mut one = node(1, "UP");
        one.member = true;
        one.attached = true;
        one.init_node = true;
        one.load = Some(310);
        one.cpus = Some(4);
        one.memory_kib = Some(16 * 1024 * 1024);
        one.available_kib = Some(12 * 1024 * 1024);
        one.uptime_s = Some(3 * 86_400 + 4 * 3600);
        one.version = Some("0.1.0".into());
        one.same_config = Some(true);
        let mut two = node(2, "COMINGUP");
        two.member = true;
        two.same_config = Some(false);
        Picture {
            cluster: "alpha".into(),
            own: 2,
            own_name: "node2".into(),
            engine: "corosync".into(),
            engine_state: "connected".into(),
            view: 42,
            members: vec![1, 2],
            quorate: true,
            synced: true,
            init_node: 1,
            last_transition: 9,
            version: "0.1.0".into(),
            nodes: vec![one, two, node(10, "NEVERUP")],
        }
    }

    #[test]
    fn the_screen_of_a_cluster() {
        let wanted = "\
Cluster alpha   view 42, members: 2 of 3, UP: 1
Quorum, corosync is connected
This is node 2 (node2); init node: 1

NODE  NAME    STATE     ROLE  LOAD  CPUS   MEMORY USED/TOTAL  UPTIME
   1  node1   UP        init  0.31     4  4.0 GiB / 16.0 GiB   3d 4h
   2  node2   COMINGUP  this     -     -                   -       -
  10  node10  NEVERUP            -     -                   -       -

Node 2 is a member, but its ssi-clusterd is not connected to the engine.
Node 2 has another cluster.toml than this node.
";
        let got = status(&picture(), Paint::PLAIN);
        assert_eq!(got, wanted, "\n{got}");
    }

    #[test]
    fn want_of_quorum_cannot_be_overlooked() {
        let mut cut_off = picture();
        cut_off.quorate = false;
        assert!(status(&cut_off, Paint::PLAIN).contains("\nNO QUORUM: "));
        cut_off.engine_state = "corosync is not running".into();
        assert!(status(&cut_off, Paint::PLAIN).contains("\nNOT CONNECTED to corosync: corosync is not running\n"));
    }

    #[test]
    fn a_plain_screen_has_no_escape_sequences_and_a_coloured_one_has_the_same_words() {
        let plain = status(&picture(), Paint::PLAIN);
        assert!(!plain.contains('\x1b'));
        let mut coloured = status(&picture(), Paint::COLOUR);
        assert!(coloured.contains("\x1b[32mUP\x1b[0m"));
        for code in ["\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, plain);
    }

    #[test]
    fn a_node_as_keys_and_values() {
        let p = picture();
        let text = facts_text(&node_facts(&p.nodes[0], &p, true));
        assert!(
            text.starts_with(
                "Node: 1\nName: node1\nAddresses: 192.0.2.1\nState: UP\nSince: 2023-11-14T22:13:20.000Z\n"
            )
        );
        assert!(text.contains("\nMemory: 16.0 GiB\nMemory available: 12.0 GiB\nUptime: 3d 4h\n"), "{text}");
    }
}

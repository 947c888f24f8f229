// SPDX-License-Identifier: GPL-2.0-or-later
//! `corosync.conf` from `cluster.toml` (corosync.conf(5)). Pure.

use std::fmt::Write as _;

use crate::config::Config;

/// The token timeout of a small cluster, in milliseconds: with what follows from it, a dead node is agreed dead in
/// about a second.
const TOKEN_MS: u32 = 450;
/// Up to how many nodes that holds.
const SMALL: u32 = 5;
/// What each further node adds: its hop of the token's round, and the time until it gets a processor for it.
const TOKEN_MS_A_NODE: u32 = 50;

/// How fast corosync is to notice a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// `totem.token`, in milliseconds: how long the token may be missing until a new membership is formed.
    pub token_ms: u32,
    /// `totem.token_coefficient`, in milliseconds: what corosync adds to that for each node beyond the second.
    pub coefficient_ms: u32,
    /// How long it takes, in milliseconds, from the death of a node until the others agree on a membership without it.
    pub expected_failover_ms: u32,
}

/// The timings for this cluster: those of `cluster.toml`, else ones that suit its size.
///
/// The trade is speed against false evictions. A node whose corosync gets no processor, or whose link passes nothing,
/// for as long as the token timeout is taken for dead, however healthy it is. Corosync's own default (3 s, and 650 ms
/// more for each node beyond the second) forgives seconds, and takes 8 s to see one node of three die. Here it is 450 ms
/// for up to five nodes, and each further node adds 50 ms. With that, three nodes sharing two processors with eight busy
/// processes lost nobody in a minute, thanks to corosync's real-time priority. On machines that stall for longer
/// (overcommitted hosts of virtual machines, live migration, switches that relearn) give `token_ms` in cluster.toml.
///
/// The wait is 2.2 effective token timeouts, whatever the number of nodes: the token's loss is noticed after one, and
/// the survivors wait one consensus timeout, 1.2 token timeouts, for the lost one to join again. Measured with 3.1.7,
/// three and five nodes, a killed corosync and a cut link alike: 1.00 to 1.06 s.
pub fn timings(config: &Config) -> Timings {
    let nodes = count(config);
    let (given, per_node) = (config.membership.token_ms, config.membership.token_coefficient_ms);
    // A coefficient that is given stands for all growth with the number of nodes.
    let grown = if per_node.is_none() { nodes.saturating_sub(SMALL) * TOKEN_MS_A_NODE } else { 0 };
    let token_ms = given.unwrap_or(TOKEN_MS + grown);
    let coefficient_ms = per_node.unwrap_or(0);
    let effective = effective_token_ms(token_ms, coefficient_ms, nodes);
    Timings { token_ms, coefficient_ms, expected_failover_ms: u32::try_from(effective * 11 / 5).unwrap_or(u32::MAX) }
}

fn effective_token_ms(token_ms: u32, coefficient_ms: u32, nodes: u32) -> u64 {
    u64::from(token_ms) + u64::from(coefficient_ms) * u64::from(nodes.saturating_sub(2))
}

fn count(config: &Config) -> u32 {
    u32::try_from(config.nodes.len()).unwrap_or(u32::MAX)
}

/// The text of `corosync.conf` for this cluster; the same on every node.
pub fn render(config: &Config) -> String {
    let mut out = String::new();
    let links = config.nodes.values().map(|n| n.addresses.len()).min().unwrap_or(0);
    totem(&mut out, config, links);
    out.push_str("\nquorum {\n    provider: corosync_votequorum\n");
    if config.nodes.len() == 2 {
        // Of two, either may go on alone; so that they do not both start alone and never meet, each waits at its start
        // until it has seen the other once.
        out.push_str("    two_node: 1\n    wait_for_all: 1\n");
    }
    out.push_str("}\n\nnodelist {\n");
    for node in config.nodes.values() {
        out.push_str("    node {\n");
        statement(&mut out, 8, "nodeid", node.id);
        statement(&mut out, 8, "name", one_word(&node.name));
        for (link, address) in node.addresses.iter().take(links).enumerate() {
            statement(&mut out, 8, &format!("ring{link}_addr"), address);
        }
        out.push_str("    }\n");
    }
    out.push_str("}\n\nlogging {\n    to_syslog: yes\n    to_stderr: no\n    to_logfile: no\n    timestamp: on\n}\n");
    out
}

fn totem(out: &mut String, config: &Config, links: usize) {
    let Timings { token_ms, coefficient_ms, .. } = timings(config);
    out.push_str("totem {\n    version: 2\n");
    statement(out, 4, "cluster_name", one_word(&config.name));
    out.push_str("    transport: knet\n");
    // Of the two libraries, openssl is on every machine anyway.
    out.push_str("    crypto_model: openssl\n    crypto_cipher: aes256\n    crypto_hash: sha256\n");
    statement(out, 4, "token", token_ms);
    statement(out, 4, "token_coefficient", coefficient_ms);
    // consensus stays at its least, 1.2 tokens. Six tries within a token timeout instead of four: a lossy link must
    // not look like a dead node, and the time between two tries stays over corosync's bound of 30 ms.
    if token_ms >= 6 * 35 {
        out.push_str("    token_retransmits_before_loss_const: 6\n");
    }
    if let Some(mtu) = config.membership.mtu {
        statement(out, 4, "knet_mtu", mtu);
    }
    for link in 0..links {
        out.push_str("    interface {\n");
        statement(out, 8, "linknumber", link);
        let port = usize::from(config.membership.port) + link;
        statement(out, 8, "mcastport", port);
        let effective = effective_token_ms(token_ms, coefficient_ms, count(config));
        let (interval, timeout) = pings(effective, links);
        statement(out, 8, "knet_ping_interval", interval);
        statement(out, 8, "knet_ping_timeout", timeout);
        out.push_str("    }\n");
    }
    out.push_str("}\n");
}

/// How often a link is tried, and after how long without an answer it is down, in milliseconds.
///
/// With several links, one that fails must be left while the token still waits, with time for a try or two on the other
/// link: in all a third of the token timeout. (At half of it, a loaded machine lost memberships with a link.) A single
/// link has no other to be left for, and one that is marked down stays unused until two answers came: there, a stall shorter
/// than the token timeout would become a longer one. So it is not marked before the membership has noticed by itself.
fn pings(token_ms: u64, links: usize) -> (u64, u64) {
    if links > 1 {
        let interval = (token_ms / 9).max(40);
        (interval, 2 * interval)
    } else {
        ((token_ms / 4).max(50), (2 * token_ms).max(1000))
    }
}

fn statement(out: &mut String, indent: usize, key: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{key}: {value}", "");
}

/// Corosync's parser knows no quotes: what is not one plain word must not become a statement of its own.
fn one_word(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c.is_whitespace() || "{}:#".contains(c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn cluster(membership: &str, nodes: u32, links: u32) -> Config {
        let mut text = format!("name = \"alpha\"\n[membership]\nengine = \"corosync\"\n{membership}\n");
        for n in 1..=nodes {
            let addresses: Vec<String> = (0..links).map(|l| format!("\"192.0.{l}.{n}\"")).collect();
            let _ = write!(text, "[[node]]\nid = {n}\nname = \"node{n}\"\nmac = \"52:54:00:00:00:{n:02x}\"\n");
            let _ = writeln!(text, "addresses = [{}]", addresses.join(", "));
        }
        Config::parse(Path::new("cluster.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn three_nodes_with_two_links() {
        let text = render(&cluster("port = 6000", 3, 2));
        let expected = "totem {
    version: 2
    cluster_name: alpha
    transport: knet
    crypto_model: openssl
    crypto_cipher: aes256
    crypto_hash: sha256
    token: 450
    token_coefficient: 0
    token_retransmits_before_loss_const: 6
    interface {
        linknumber: 0
        mcastport: 6000
        knet_ping_interval: 50
        knet_ping_timeout: 100
    }
    interface {
        linknumber: 1
        mcastport: 6001
        knet_ping_interval: 50
        knet_ping_timeout: 100
    }
}

quorum {
    provider: corosync_votequorum
}

nodelist {
    node {
        nodeid: 1
        name: node1
        ring0_addr: 192.0.0.1
        ring1_addr: 192.0.1.1
    }
    node {
        nodeid: 2
        name: node2
        ring0_addr: 192.0.0.2
        ring1_addr: 192.0.1.2
    }
    node {
        nodeid: 3
        name: node3
        ring0_addr: 192.0.0.3
        ring1_addr: 192.0.1.3
    }
}

logging {
    to_syslog: yes
    to_stderr: no
    to_logfile: no
    timestamp: on
}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn exactly_two_nodes_may_go_on_alone() {
        for nodes in 1..=4 {
            let text = render(&cluster("", nodes, 1));
            assert_eq!(text.contains("two_node: 1"), nodes == 2, "{nodes} nodes");
            assert_eq!(text.contains("wait_for_all: 1"), nodes == 2, "{nodes} nodes");
        }
    }

    #[test]
    fn a_single_link_is_not_marked_down_before_the_token_is_lost() {
        let (interval, timeout) = pings(450, 1);
        assert!(timeout > 450 && interval * 2 < timeout);
        let (interval, timeout) = pings(450, 2);
        assert!(timeout < 450 && interval < timeout);
    }

    #[test]
    fn timings_suit_the_size_unless_given() {
        let of = |membership, nodes| timings(&cluster(membership, nodes, 1));
        assert_eq!(of("", 3), Timings { token_ms: 450, coefficient_ms: 0, expected_failover_ms: 990 });
        assert_eq!(of("", 5), of("", 3));
        assert_eq!(of("", 16).token_ms, 1000);
        let given = of("token_ms = 1000\ntoken_coefficient_ms = 650", 3);
        assert_eq!(given, Timings { token_ms: 1000, coefficient_ms: 650, expected_failover_ms: 3630 });
        assert_eq!(of("token_coefficient_ms = 100", 7).expected_failover_ms, (450 + 500) * 11 / 5);
        // Corosync applies the coefficient from the third node on.
        assert_eq!(of("token_ms = 1000\ntoken_coefficient_ms = 650", 2).expected_failover_ms, 2200);
    }

    #[test]
    fn a_name_cannot_become_a_statement() {
        let mut config = cluster("", 3, 1);
        config.name = "a }\nlogging { debug: on".into();
        let text = render(&config);
        assert!(text.contains("\n    cluster_name: a_____logging___debug__on\n") || text.contains("cluster_name: a_"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(!text.contains("debug: on"));
    }
}

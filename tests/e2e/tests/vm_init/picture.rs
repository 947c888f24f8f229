// SPDX-License-Identifier: GPL-2.0-or-later
//! What runs on a machine that has booted, as the distribution's own programs tell it, and what of that two inits may
//! tell differently.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ssi_lab::Node;

/// All that listens, and all sockets for datagrams that have a name: those count as connected, and not as listening, as long
/// as somebody is connected to them. The kernel's list comes in pieces, and a socket that another makes way for meanwhile is
/// left out: of several lists hardly in each.
const SOCKETS: &str = "for list in 1 2 3 4; do ss -H -ltnu; ss -H -lx | grep -v ^u_dgr; ss -H -xa | grep ^u_dgr; done | \
    awk '{print $1, $5}'";

/// What is asked, one line of the shell each.
const ASKED: [(&str, &str); 4] = [
    ("active units", "systemctl list-units --plain --no-legend --state=active --full | awk '{print $1, $3, $4}'"),
    ("sockets", SOCKETS),
    ("mounts", "findmnt -rn -o TARGET,SOURCE,FSTYPE,OPTIONS"),
    ("sysctls", "sysctl -a 2>/dev/null"),
];

/// Values of the kernel's that tell of the moment, or of how much memory happened to be free when it began, not of how the
/// machine is set up.
const OF_THE_MOMENT: [&str; 21] = [
    "fs.binfmt_misc.",
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.quota.",
    "kernel.cad_pid",
    "kernel.hostname",
    "kernel.ns_last_pid",
    "kernel.perf_event_max_sample_rate",
    "kernel.pty.nr",
    "kernel.random.",
    "kernel.sched_domain.",
    "kernel.tainted",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.netfilter.nf_conntrack_count",
    "vm.admin_reserve_kbytes",
    "vm.min_free_kbytes",
    "vm.stat_refresh",
    "vm.user_reserve_kbytes",
];

/// What systemd has and ssi-init has not, and why that is right.
const SYSTEMD_ALONE: [(&str, &str); 2] = [
    (
        "/run/systemd/io.system.ManagedOOM",
        "only systemd-oomd listens for it, and it says where units' limits are exceeded",
    ),
    (
        "/run/systemd/userdb/io.systemd.DynamicUser",
        "nss-systemd finds users of DynamicUser= by it; here they are looked up nowhere else",
    ),
];

/// One machine's answers.
pub(crate) struct Picture(Vec<(&'static str, BTreeSet<String>)>);

/// A number that is another one each time, as one letter.
fn without_numbers_after(line: &str, words: &[&str]) -> String {
    words.iter().fold(line.to_owned(), |line, word| {
        let mut parts = line.split(word);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + word + "N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
    })
}

/// A line as it is compared; `None`: it is not.
fn comparable(what: &str, line: &str, node: u32) -> Option<String> {
    let line = line.replace(&format!("10.77.0.{node}"), "10.77.0.N").replace(&format!("node{node}"), "nodeN");
    match what {
        "active units" => {
            // Who looks is in none; timers start what they start when they do.
            (!line.starts_with("session-")).then_some(line)
        }
        "sockets" => {
            // Sockets without a name, with one of the kernel's making, and those of the agent.
            let name = line.split(' ').nth(1).unwrap_or_default();
            let made = name
                .strip_prefix('@')
                .is_some_and(|rest| rest.len() == 5 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
            (name != "*" && !made && !line.contains("ssi-lab")).then_some(line)
        }
        "mounts" => {
            let line = without_numbers_after(&line, &["fd=", "pgrp=", "pipe_ino="]);
            // An automount's source is the name of the program that serves it.
            Some(line.replace(" systemd-1 autofs", " PID1 autofs").replace(" ssi-init autofs", " PID1 autofs"))
        }
        _ => (!OF_THE_MOMENT.iter().any(|begin| line.starts_with(begin))).then_some(line),
    }
}

impl Picture {
    /// Asks a node that has booted.
    ///
    /// # Errors
    /// What did not answer.
    pub(crate) fn of(node: &Node) -> Result<Self> {
        let mut all = Vec::new();
        for (what, line) in ASKED {
            let told = node.shell(line)?.text();
            let lines: BTreeSet<_> =
                told.lines().filter_map(|line| comparable(what, line.trim(), node.number())).collect();
            ensure!(lines.len() > 3, "'{line}' says next to nothing: {told}");
            all.push((what, lines));
        }
        Ok(Self(all))
    }

    /// What differs from a machine that systemd has booted, a line each; nothing, when all that does is explained.
    pub(crate) fn differences(&self, systemd: &Picture) -> String {
        let mut told = String::new();
        for ((what, ours), (_, theirs)) in self.0.iter().zip(&systemd.0) {
            let explained = |line: &String| SYSTEMD_ALONE.iter().any(|(part, _)| line.contains(part));
            for line in theirs.difference(ours).filter(|line| !explained(line)) {
                told.push_str(&format!("{what}, systemd alone: {line}\n"));
            }
            for line in ours.difference(theirs) {
                told.push_str(&format!("{what}, ssi-init alone: {line}\n"));
            }
        }
        told
    }
}

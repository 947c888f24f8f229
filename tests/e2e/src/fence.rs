// SPDX-License-Identifier: GPL-2.0-or-later
//! A power switch for namespace nodes, and the fence agent that works it: the agent runs on a node and leaves what it
//! wants in the folder that the lab shares; a thread outside of the nodes does it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ssi_lab::Lab;

use crate::Cluster;
use crate::scope::put_program;

/// Speaks as the fence-agents packages' programs do. With `broken=1`, or a file of that name, it does nothing and says so.
const AGENT: &str = r#"#!/usr/bin/perl
use strict; my %told;
while (my $line = <STDIN>) { chomp $line; my ($key, $value) = split(/=/, $line, 2); $told{$key} = $value }
if ($told{broken} or -e "/shared/switch/broken") { print STDERR "the switch does not answer\n"; exit 1 }
exit 0 if $told{action} eq 'status' or $told{action} eq 'monitor';
my $ask = "/shared/switch/$told{plug}-$told{action}-" . `hostname` =~ s/\s//r . "-$$";
open(my $file, '>', "$ask.new") or die "$ask: $!\n"; close $file; rename("$ask.new", "$ask.ask") or die "$!\n";
for (1 .. 300) { exit 0 if unlink "$ask.done"; select(undef, undef, undef, 0.1) }
print STDERR "the switch did not do it\n"; exit 1;
"#;

/// The switch; dropped, it does nothing any more.
#[derive(Debug)]
pub struct Switch {
    over: Arc<AtomicBool>,
    used: Arc<Mutex<BTreeMap<u32, u32>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Switch {
    /// Begins, and puts the agent at `/shared/fence_switch`.
    ///
    /// # Errors
    /// When the folder cannot be written, or the lab cannot be reached.
    pub fn start(lab: &str, folder: &Path) -> Result<Switch> {
        let asks = folder.join("switch");
        std::fs::create_dir_all(&asks).context("making the switch's folder")?;
        put_program(folder, "fence_switch", AGENT)?;
        let lab = Lab::attach(lab)?;
        let (over, used) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let thread = std::thread::spawn({
            let (over, used) = (Arc::clone(&over), Arc::clone(&used));
            move || {
                while !over.load(Ordering::Relaxed) {
                    for ask in std::fs::read_dir(&asks).into_iter().flatten().flatten() {
                        let path = ask.path();
                        let name = ask.file_name().to_string_lossy().into_owned();
                        let Some((node, rest)) = name.strip_suffix(".ask").and_then(|name| name.split_once('-')) else {
                            continue;
                        };
                        let Ok(node) = node.parse::<u32>() else { continue };
                        let _ = std::fs::remove_file(&path);
                        // One that is off already is not killed again.
                        let _ = lab.kill(node);
                        if let Ok(mut used) = used.lock() {
                            *used.entry(node).or_default() += 1;
                        }
                        let _ = std::fs::write(path.with_extension("done"), "");
                        if rest.starts_with("reboot") {
                            let _ = lab.start(node);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Ok(Switch { over, used, thread: Some(thread) })
    }

    /// How often each node was turned off.
    pub fn used(&self) -> BTreeMap<u32, u32> {
        self.used.lock().map(|used| used.clone()).unwrap_or_default()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Gives all nodes a cluster.toml that names the agent for each node; `more` are more lines for each.
///
/// # Errors
/// When a node does not take it.
pub fn configure(cluster: &Cluster, nodes: u32, more: &str) -> Result<()> {
    let mut text = String::from("[fence]\ndelay_s = 1\n");
    let mut number = 0;
    for line in cluster.cluster_toml().lines() {
        if line == "[[node]]" {
            number += 1;
        }
        text.push_str(&format!("{line}\n"));
        if line.starts_with("address") {
            text.push_str(&format!("[node.fence]\nagent = \"/shared/fence_switch\"\nplug = {number}\n{more}"));
        }
    }
    // A table comes after the keys of the file itself.
    let (name, rest) = text.split_once("name = \"lab\"\n").context("cluster.toml has another name")?;
    let text = format!("name = \"lab\"\n{name}{rest}");
    for number in 1..=nodes {
        let node = cluster.lab.node(number)?;
        node.put("/etc/ssi/cluster.toml", &text, 0o600)?;
        node.check(&["systemctl", "reload", "ssi-clusterd.service"])?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Context-dependent symbolic links on namespace nodes that share one root: a small one, with a static program in it,
//! at [`ROOT`] on every node.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::{eventually, programs};
use ssi_lab::{ExecOptions, Exit, Kind, Lab, Output};

/// Where the nodes have the root they share.
const ROOT: &str = "/shared";

struct Shared {
    lab: Lab,
}

impl Shared {
    /// A lab of so many nodes, of which the first `configured` are in `cluster.toml`.
    fn start(name: &str, nodes: u32, configured: u32) -> Result<Self> {
        let lab = Lab::builder(name).kind(Kind::Ns).nodes(nodes).shared(ROOT).install(programs(Kind::Ns)?).start()?;
        let shared = Self { lab };
        let first = shared.lab.node(1)?;
        // Static, so that nothing but the kernel has a hand in where its paths lead.
        first.shell(
            "mkdir -p /shared/bin /shared/etc/ssi /shared/cluster /shared/var/log/app /shared/proc /shared/tmp && \
             cp \"$(command -v busybox)\" /shared/bin/busybox && ! ldd /shared/bin/busybox",
        )?;
        first.put(&format!("{ROOT}/etc/hostname"), "shared\n", 0o644)?;
        shared.configure(configured)?;
        Ok(shared)
    }

    fn configure(&self, nodes: u32) -> Result<()> {
        let mut text = "name = \"shared\"\n[membership]\nengine = \"corosync\"\n".to_owned();
        for n in 1..=nodes {
            text.push_str(&format!("[[node]]\nid = {n}\nname = \"node{n}\"\naddress = \"10.77.0.{n}\"\n"));
        }
        Ok(self.lab.node(1)?.put(&format!("{ROOT}/etc/ssi/cluster.toml"), text, 0o644)?)
    }

    /// Runs `cdsl` for the shared root on a node.
    fn cdsl(&self, node: u32, words: &[&str]) -> Result<Output> {
        let argv: Vec<_> = ["cdsl", "--root", ROOT].into_iter().chain(words.iter().copied()).collect();
        Ok(self.lab.node(node)?.exec_with(&argv, &ExecOptions::default())?)
    }

    /// The same; it has to end well.
    fn done(&self, node: u32, words: &[&str]) -> Result<String> {
        let out = self.cdsl(node, words)?;
        ensure!(
            out.success(),
            "node {node}: cdsl {}: {:?} {}{}",
            words.join(" "),
            out.status,
            out.text(),
            out.error_text()
        );
        Ok(out.text())
    }

    /// Runs a line of the static shell, with the shared root as its root.
    fn inside(&self, node: u32, line: &str) -> Result<String> {
        let out = self.lab.node(node)?.check(&["chroot", ROOT, "/bin/busybox", "sh", "-c", line])?;
        Ok(out.text())
    }

    fn mount_all(&self, nodes: u32) -> Result<()> {
        (1..=nodes).try_for_each(|n| self.done(n, &["mount"]).map(drop))
    }
}

#[test]
fn three_nodes_on_one_tree_read_their_own_files() -> Result<()> {
    let shared = Shared::start("cdsl", 3, 3)?;
    shared.done(1, &["create", "/etc/hostname", "/var/log/app"])?;
    shared.mount_all(3)?;
    // Nothing but the path is said; the kernel does the rest.
    for n in 1..=3 {
        ensure!(shared.inside(n, "busybox cat /etc/hostname")? == "shared", "node {n} lost the content there was");
        shared.inside(n, &format!("echo node{n} >/etc/hostname; echo line{n} >>/var/log/app/log"))?;
    }
    for n in 1..=3 {
        let seen = shared.inside(n, "busybox cat /etc/hostname /var/log/app/log")?;
        ensure!(seen == format!("node{n}\nline{n}"), "node {n} reads {seen}");
    }
    // What one node wrote is where any node finds it by the other's number.
    let other = shared.lab.node(3)?.get("/shared/cluster/node2/etc/hostname")?;
    ensure!(other == b"node2\n", "{}", String::from_utf8_lossy(&other));
    let view = shared.done(1, &["exec", "--node", "2", "--", "/bin/busybox", "cat", "/etc/hostname"])?;
    ensure!(view == "node2", "exec --node 2 sees {view}");
    ensure!(shared.inside(1, "busybox cat /etc/hostname")? == "node1", "exec left its view behind on node 1");
    let resolved = shared.done(1, &["resolve", "--all", "--json", "/etc/hostname"])?;
    for n in 1..=3 {
        ensure!(resolved.contains(&format!("/cluster/node{n}/etc/hostname")), "{resolved}");
    }
    // Mounting again changes nothing, and unmounting leaves nothing.
    shared.mount_all(3)?;
    let mounts = |n| -> Result<usize> {
        Ok(shared.lab.node(n)?.check(&["cat", "/proc/self/mountinfo"])?.text().matches("node{nodenum}").count())
    };
    ensure!(mounts(2)? == 1, "{} mounts of the context directory", mounts(2)?);
    shared.done(2, &["umount"])?;
    ensure!(mounts(2)? == 0, "cdsl umount left its mount");
    let found = shared.cdsl(1, &["check"])?;
    ensure!(found.success(), "{} {}", found.text(), found.error_text());
    Ok(())
}

#[test]
fn a_node_without_a_number_is_told_so_and_gets_none() -> Result<()> {
    let shared = Shared::start("cdslnone", 2, 2)?;
    shared.done(1, &["create", "/etc/hostname"])?;
    // Node 2 is taken out of the configuration while it is up.
    shared.configure(1)?;
    let out = shared.cdsl(2, &["mount"])?;
    ensure!(!out.success(), "a node that is in no [[node]] was given a context");
    let said = out.error_text();
    ensure!(said.contains("cluster.toml") && said.contains("node"), "{said}");
    let mounts = shared.lab.node(2)?.check(&["cat", "/proc/self/mountinfo"])?.text();
    ensure!(!mounts.contains("node{nodenum}"), "{mounts}");
    // The others are none the worse for it.
    shared.done(1, &["mount"])?;
    ensure!(shared.inside(1, "busybox cat /etc/hostname")? == "shared");
    Ok(())
}

#[test]
fn a_fourth_node_is_added_while_the_others_run() -> Result<()> {
    let shared = Shared::start("cdslfour", 4, 3)?;
    shared.done(1, &["create", "/etc/hostname", "/var/log/app"])?;
    shared.mount_all(3)?;
    // Somebody reads on while it happens, and never misses the file.
    let reader = "i=0; while [ $i -lt 400 ]; do x=$(busybox cat /etc/hostname) && [ \"$x\" = shared ] || exit 1; i=$((i+1)); done";
    std::thread::scope(|scope| -> Result<()> {
        let reading = scope.spawn(|| shared.inside(2, reader));
        shared.configure(4)?;
        let before = shared.cdsl(1, &["check"])?;
        ensure!(before.status == Exit::Code(1), "a new node without copies is worth a word: {}", before.text());
        shared.done(1, &["node", "add", "4"])?;
        shared.done(4, &["mount"])?;
        reading.join().ok().context("the reader panicked")?.context("a path went away while a node was added")?;
        Ok(())
    })?;
    ensure!(shared.inside(4, "busybox cat /etc/hostname")? == "shared", "the new node's file is the template's");
    shared.inside(4, "echo node4 >/etc/hostname")?;
    ensure!(shared.inside(1, "busybox cat /etc/hostname")? == "shared");
    ensure!(shared.inside(4, "busybox cat /etc/hostname")? == "node4");
    let after = shared.cdsl(1, &["check"])?;
    ensure!(after.success(), "{} {}", after.text(), after.error_text());
    Ok(())
}

#[test]
fn commands_on_all_nodes_at_once_lose_nothing() -> Result<()> {
    let shared = Shared::start("cdslall", 3, 3)?;
    shared.mount_all(3)?;
    shared.inside(1, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i >/etc/f$i; done")?;
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (1..=3u32)
            .map(|n| {
                let shared = &shared;
                scope.spawn(move || -> Result<()> {
                    for i in (1..=12).filter(|i| i % 3 == n % 3) {
                        shared.done(n, &["create", &format!("/etc/f{i}")])?;
                    }
                    // All want this one; one makes it, the others are told that it is one already.
                    let _ = shared.cdsl(n, &["create", "/etc/hostname"])?;
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().ok().context("a worker panicked")?)
    })?;
    let list = shared.done(2, &["list"])?;
    for i in 1..=12 {
        ensure!(list.contains(&format!("/etc/f{i}")), "/etc/f{i} is in no inventory: {list}");
        for n in 1..=3 {
            ensure!(shared.inside(n, &format!("busybox cat /etc/f{i}"))? == i.to_string());
        }
    }
    let found = shared.cdsl(3, &["check"])?;
    ensure!(found.success(), "{} {}", found.text(), found.error_text());
    Ok(())
}

#[test]
fn a_killed_command_on_one_node_is_finished_by_another() -> Result<()> {
    let shared = Shared::start("cdslkill", 2, 2)?;
    shared.mount_all(2)?;
    for round in 0..8u32 {
        shared
            .inside(1, "mkdir -p /srv/tree; i=0; while [ $i -lt 200 ]; do echo $i >/srv/tree/f$i; i=$((i+1)); done")?;
        let after = 20 + round * 25;
        shared.lab.node(1)?.exec(&[
            "sh",
            "-c",
            &format!("cdsl --root {ROOT} create --recursive /srv/tree & sleep 0.{after:03}; kill -9 $!; wait $!; true"),
        ])?;
        // The other node mends what was cut, and nothing is missing.
        shared.done(2, &["check", "--repair"])?;
        eventually("the tree is whole on both nodes", || {
            for n in 1..=2 {
                let sum =
                    shared.inside(n, "busybox cat /srv/tree/f* | busybox sort -n | busybox uniq | busybox wc -l")?;
                if sum.trim() != "200" {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        let found = shared.cdsl(2, &["check"])?;
        ensure!(found.success(), "round {round}: {} {}", found.text(), found.error_text());
        shared.done(2, &["revert", "--all"])?;
        shared.done(2, &["check"])?;
        shared.inside(1, "rm -r /srv/tree")?;
    }
    Ok(())
}

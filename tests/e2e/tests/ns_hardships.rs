// SPDX-License-Identifier: GPL-2.0-or-later
//! What a node's `ssi-init` must stand without a service lost: unit files that cannot be read, a `/run` with no room,
//! 10,000 units. What needs a kernel of its own, a fork bomb and a clock that jumps, is in `vm_init`.

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::{Cluster, eventually, said};
use ssi_lab::{ExecOptions, Node};
use std::time::Duration;

/// For what takes long under load.
fn shell(node: &Node, line: &str) -> Result<String> {
    let options = ExecOptions { timeout: Some(Duration::from_secs(300)), ..ExecOptions::default() };
    let out = node.exec_with(&["sh", "-ec", line], &options)?;
    ensure!(out.success(), "{line}: {:?} {}{}", out.status, out.text(), out.error_text());
    Ok(out.text().trim().to_owned())
}

fn kill_manager(cluster: &Cluster, node: &Node) -> Result<()> {
    let before = said(node, &["pidof", "ssi-init-manager"])?;
    node.check(&["kill", "-KILL", &before])?;
    eventually("there is another manager", || {
        let now = said(node, &["pidof", "ssi-init-manager"])?;
        Ok(!now.is_empty() && now != before)
    })?;
    cluster.wait_booted(1)
}

const LASTING: &str = "[Service]\nExecStart=/bin/sleep 100000\n";

#[test]
fn unit_files_that_cannot_be_read_are_told_by_name_and_hold_nobody_up() -> Result<()> {
    let cluster = Cluster::alone("h-files")?;
    let node = cluster.lab.node(1)?;
    let system = "/etc/systemd/system";
    node.put(&format!("{system}/good.service"), LASTING, 0o644)?;
    shell(
        &node,
        "cd /etc/systemd/system; mkfifo pipe.service; mkdir folder.service; ln -s loop.service loop.service; \
         ln -s /nowhere/else.service dangling.service; head -c 100000 /dev/urandom >noise.service; \
         head -c 70000000 /dev/zero | tr '\\0' '#' >huge.service; : >empty.service; ln -s /dev/zero endless.service; \
         ln -s /dev/tty device.service; printf '[Service]\\nExecStart=/bin/true\\n\\000\\377' >nul.service; \
         mkdir -p good.service.d; mkfifo good.service.d/pipe.conf; mkdir good.service.d/folder.conf; \
         ln -s /proc/self/mem good.service.d/memory.conf",
    )?;
    node.check(&["systemctl", "daemon-reload"])?;
    for name in ["pipe", "folder", "loop", "noise", "huge", "empty", "endless", "device"] {
        let refused = node.exec(&["systemctl", "start", &format!("{name}.service")])?;
        ensure!(!refused.success(), "{name}.service was started");
        ensure!(refused.error_text().contains(name), "it is not said which: {}", refused.error_text());
    }
    // What is not understood in a drop-in is passed over, and the unit is there.
    node.check(&["systemctl", "start", "good.service"])?;
    let pid = cluster.main_process(1, "good.service")?;
    kill_manager(&cluster, &node)?;
    ensure!(cluster.main_process(1, "good.service")? == pid);
    ensure!(said(&node, &["systemctl", "is-system-running"])? == "running");
    Ok(())
}

#[test]
fn without_room_in_run_services_go_on_and_can_be_led() -> Result<()> {
    let cluster = Cluster::alone("h-room")?;
    let node = cluster.lab.node(1)?;
    node.put("/etc/systemd/system/good.service", LASTING, 0o644)?;
    node.put("/etc/systemd/system/other.service", LASTING, 0o644)?;
    node.check(&["systemctl", "start", "good.service"])?;
    let pid = cluster.main_process(1, "good.service")?;
    node.check(&["mount", "-o", "remount,size=16M", "/run"])?;
    node.fill("/run")?;
    ensure!(node.exec(&["sh", "-c", "echo more >/run/more"])?.status != ssi_lab::Exit::Code(0), "there is room still");
    node.check(&["systemctl", "start", "other.service"])?;
    node.check(&["systemctl", "stop", "other.service"])?;
    node.check(&["systemctl", "daemon-reload"])?;
    // A unit that would have to be written there is refused by what the system says.
    let refused = node.exec(&["systemd-run", "--unit=made", "sleep", "1000"])?;
    ensure!(!refused.success() && refused.error_text().contains("No space left"), "{}", refused.error_text());
    kill_manager(&cluster, &node)?;
    node.check(&["systemctl", "start", "other.service"])?;
    ensure!(cluster.main_process(1, "good.service")? == pid);
    node.unfill("/run")?;
    node.check(&["systemd-run", "--unit=made", "sleep", "1000"])?;
    for name in ["good", "other", "made"] {
        ensure!(said(&node, &["systemctl", "is-active", &format!("{name}.service")])? == "active", "{name}");
    }
    Ok(())
}

#[test]
fn ten_thousand_units() -> Result<()> {
    let cluster = Cluster::alone("h-many")?;
    let node = cluster.lab.node(1)?;
    shell(
        &node,
        "cd /etc/systemd/system; mkdir many.target.wants; printf '[Unit]\\nDescription=Many\\n' >many.target; mkdir /run/many; \
         for n in $(seq 10000); do \
         printf '[Unit]\\nDescription=Unit %s\\nConditionPathExists=/run/many/%s\\n[Service]\\nType=oneshot\\n\
         RemainAfterExit=yes\\nExecStart=/bin/true\\n' $n $n >many-$n.service; \
         ln -s ../many-$n.service many.target.wants/; done; \
         for n in $(seq 10 10 10000); do : >/run/many/$n; done; systemctl daemon-reload; systemctl start many.target",
    )?;
    let up = "systemctl list-units --plain --no-legend 'many-*.service' --state=active | wc -l";
    let known = "systemctl list-units --all --plain --no-legend 'many-*.service' | wc -l";
    let states = "systemctl list-units --all --plain --no-legend 'many-*.service' | awk '{print $3, $4}' | sort | uniq -c; \
                  journalctl -n 30 --no-pager";
    ensure!(shell(&node, up)? == "1000", "{} are up; {}", shell(&node, up)?, shell(&node, states)?);
    ensure!(shell(&node, known)? == "10000", "{} are known", shell(&node, known)?);
    kill_manager(&cluster, &node)?;
    ensure!(shell(&node, up)? == "1000", "{} are up after the manager's death", shell(&node, up)?);
    shell(&node, "systemctl daemon-reload; systemctl daemon-reexec")?;
    cluster.wait_booted(1)?;
    ensure!(shell(&node, up)? == "1000", "{} are up after daemon-reexec", shell(&node, up)?);
    shell(&node, "systemctl stop many.target 'many-*.service'")?;
    ensure!(shell(&node, up)? == "0");
    ensure!(said(&node, &["systemctl", "is-system-running"])? == "running");
    let pss = shell(&node, "awk '/^Pss:/ {print $2}' /proc/$(pidof ssi-init-manager)/smaps_rollup")?;
    let kib: u64 = pss.parse().context("the manager's memory")?;
    eprintln!("the manager has {kib} KiB with 10,000 units loaded once");
    ensure!(kib < 200 * 1024, "10,000 units take {kib} KiB");
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-init` as process 1 of virtual machines with an unmodified Debian, beside its systemd.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::{booted, eventually, programs};

use ssi_lab::{Boot, Kind, Lab, Node, Power};

mod picture;

use picture::Picture;

/// Servers of each kind: with sockets of systemd's, with a PID file, that notify, that fork, with users of their own.
const SERVERS: [&str; 9] = [
    "openssh-server",
    "nginx-light",
    "postgresql",
    "redis-server",
    "rsyslog",
    "cron",
    "chrony",
    "dbus",
    "libpam-systemd",
];

const SSI_INIT: &str = "/usr/sbin/ssi-init";

/// Two machines of the same image that are off; the first is for systemd, the second for ssi-init.
fn two(name: &str, packages: &[&str]) -> Result<Lab> {
    let builder = Lab::builder(name).kind(Kind::Vm).nodes(2).memory_mib(1024).packages(packages.iter().copied());
    Ok(builder.boot(false).install(programs(Kind::Vm)?).start()?)
}

/// Boots both at once, and waits until neither has anything left to do.
fn boot_both(lab: &Lab) -> Result<()> {
    lab.start(1)?;
    lab.start_with(2, Boot { init: Some(vec![SSI_INIT.to_owned()]), ..Boot::default() })?;
    for node in lab.nodes() {
        settled(&node)?;
    }
    let first =
        |node: u32| -> Result<String> { Ok(lab.node(node)?.shell("cat /proc/1/comm")?.text().trim().to_owned()) };
    ensure!(first(1)? == "systemd" && first(2)? == "ssi-init", "{} and {}", first(1)?, first(2)?);
    Ok(())
}

fn settled(node: &Node) -> Result<()> {
    eventually("the guest has booted", || booted(node))?;
    eventually("no job is left", || Ok(node.shell("systemctl list-jobs --no-legend")?.text().trim().is_empty()))
}

fn said(node: &Node, line: &str) -> Result<String> {
    Ok(node.exec(&["sh", "-c", line])?.text().trim().to_owned())
}

fn failed(node: &Node) -> Result<String> {
    said(node, "systemctl --failed --no-legend --plain | awk '{print $1}'")
}

/// Turns both off as a person would, and has fsck(8) say that their file systems are clean.
fn power_off_cleanly(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        // What is written last is what a shutdown may lose.
        node.shell("echo whole >/var/lib/last-words")?;
        // The machine may be off before it has answered.
        let _ = node.exec(&["systemctl", "--no-block", "poweroff"]);
    }
    for node in lab.nodes() {
        eventually("the guest is off", || {
            Ok(!lab.status()?.nodes.iter().any(|status| status.number == node.number() && status.power != Power::Off))
        })?;
        check_disk(lab, node.number()).with_context(|| format!("node {}'s disk", node.number()))?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let ended = Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    let told = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    ensure!(ended.status.success(), "{program} {arguments:?} ended with {}: {told}", ended.status);
    Ok(told)
}

fn check_disk(lab: &Lab, node: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let raw = folder.path().join("disk");
    let (disk, raw) = (lab.disk(node), raw.to_str().context("a temporary path")?);
    run("qemu-img", &["convert", "-O", "raw", disk.to_str().context("the disk's path")?, raw])?;
    let head = run("dumpe2fs", &["-h", raw])?;
    let state = head.lines().find(|line| line.starts_with("Filesystem state:")).unwrap_or_default();
    ensure!(state.ends_with(" clean"), "{state}");
    ensure!(!head.contains("needs_recovery"), "its journal was not written back: it was mounted to the end");
    run("e2fsck", &["-f", "-n", raw])?;
    let words = run("debugfs", &["-R", "cat /var/lib/last-words", raw])?;
    ensure!(words.contains("whole"), "{words}");
    Ok(())
}

#[test]
fn a_server_boots_to_what_systemd_boots_it_to() -> Result<()> {
    let lab = two("vm-servers", &SERVERS)?;
    boot_both(&lab)?;
    let (theirs, ours) = (lab.node(1)?, lab.node(2)?);
    ensure!(failed(&ours)?.is_empty(), "failed: {}", failed(&ours)?);
    ensure!(failed(&theirs)?.is_empty(), "failed with systemd: {}", failed(&theirs)?);
    ensure!(said(&ours, "systemctl is-system-running")? == "running");
    let differences = Picture::of(&ours)?.differences(&Picture::of(&theirs)?);
    ensure!(differences.is_empty(), "{differences}");
    // They are not only there: they serve.
    for line in [
        "curl -sS http://127.0.0.1/ | grep -q nginx",
        "redis-cli ping | grep -q PONG",
        "su postgres -c 'psql -Atc \"select 40 + 2\"' | grep -q 42",
        "logger -t vm-init came-through; sleep 1; grep -q came-through /var/log/syslog",
        "chronyc -n tracking",
        "busctl --system list --no-pager | grep -q org.freedesktop.login1",
        "ssh-keyscan 127.0.0.1 2>/dev/null | grep -q ed25519",
    ] {
        eventually(line, || Ok(ours.exec(&["sh", "-c", line])?.success()))?;
    }
    let pids = "systemctl show -P MainPID nginx redis-server rsyslog cron chrony ssh dbus systemd-logind | xargs";
    let before = said(&ours, pids)?;
    for verb in ["daemon-reload", "daemon-reexec"] {
        ours.check(&["systemctl", verb])?;
        settled(&ours)?;
        ensure!(said(&ours, pids)? == before, "{verb} has cost a service its process");
    }
    let differences = Picture::of(&ours)?.differences(&Picture::of(&theirs)?);
    ensure!(differences.is_empty(), "after daemon-reload and daemon-reexec: {differences}");
    power_off_cleanly(&lab)
}

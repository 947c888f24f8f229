// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-init` as process 1 of virtual machines with an unmodified Debian, beside its systemd.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ssi_e2e::{booted, eventually, programs, put_unit, wait_off};
use ssi_lab::{Boot, Kind, Lab, Node};

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
        wait_off(lab, node.number())?;
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

/// A person at the serial console.
struct Console {
    stream: UnixStream,
    log: PathBuf,
    seen: usize,
}

impl Console {
    fn open(lab: &Lab, node: u32) -> Result<Self> {
        let folder = lab.directory().join(format!("node{node}"));
        let stream = UnixStream::connect(folder.join("serial.sock")).context("going to the console")?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        // What is said is in the log; were it not read here too, the guest would wait with the rest.
        let mut said = stream.try_clone().context("reading the console")?;
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let log = folder.join("console.log");
        let seen = Self::read(&log)?.len();
        Ok(Self { stream, log, seen })
    }

    fn read(log: &Path) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(log)?).into_owned())
    }

    fn waits_for(&mut self, text: &str) -> Result<()> {
        let mut all = String::new();
        eventually("a text on the console", || {
            all = Self::read(&self.log)?;
            Ok(all.get(self.seen..).is_some_and(|new| new.contains(text)))
        })
        .with_context(|| format!("'{text}' is not in: {}", all.get(self.seen..).unwrap_or_default()))?;
        self.seen = all.len();
        Ok(())
    }

    fn types(&mut self, line: &str) -> Result<()> {
        Ok(self.stream.write_all(format!("{line}\n").as_bytes())?)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn a_fork_bomb_stays_in_its_unit(node: &Node) -> Result<()> {
    // No process of it stays long enough to be counted, and there are as many at once as it may have.
    put_unit(
        node,
        "bomb.service",
        "[Service]\nTasksMax=64\nTimeoutStopSec=5\nExecStart=/bin/bash -c 'bomb() { bomb | bomb & }; bomb; sleep 1000'\n",
    )?;
    put_unit(node, "beside.service", "[Service]\nExecStart=/bin/sleep 100000\n")?;
    node.check(&["systemctl", "start", "bomb.service"])?;
    eventually("the bomb has all the tasks it may have", || {
        Ok(said(node, "cat /sys/fs/cgroup/system.slice/bomb.service/pids.events")?.trim() != "max 0")
    })?;
    node.check(&["systemctl", "start", "beside.service"])?;
    ensure!(said(node, "systemctl is-active beside.service dbus.service | xargs")? == "active active");
    node.check(&["systemctl", "stop", "bomb.service"])?;
    ensure!(said(node, "test -e /sys/fs/cgroup/system.slice/bomb.service || echo gone")? == "gone");
    node.check(&["systemctl", "stop", "beside.service"])?;
    node.exec(&["systemctl", "reset-failed"])?;
    Ok(())
}

fn a_clock_that_jumps_an_hour_stops_nothing_and_repeats_nothing(node: &Node) -> Result<()> {
    put_unit(node, "hourly.timer", "[Timer]\nOnCalendar=hourly\nAccuracySec=1us\n")?;
    put_unit(node, "hourly.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date >>/run/hourly'\n")?;
    put_unit(node, "steady.timer", "[Timer]\nOnActiveSec=1\nOnUnitActiveSec=2\nAccuracySec=1us\n")?;
    put_unit(node, "steady.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date >>/run/steady'\n")?;
    put_unit(
        node,
        "watched.service",
        "[Service]\nType=notify\nNotifyAccess=all\nWatchdogSec=60\nTimeoutStartSec=300\n\
         ExecStart=/bin/sh -c 'systemd-notify --ready; while :; do systemd-notify WATCHDOG=1; sleep 2; done'\n",
    )?;
    // Far from a full hour on both sides.
    node.shell("date -s \"$(date +%H):20:00\"; systemctl daemon-reload")?;
    node.check(&["systemctl", "start", "watched.service", "hourly.timer", "steady.timer"])?;
    let count =
        |file: &str| -> Result<u32> { Ok(said(node, &format!("cat /run/{file} 2>/dev/null | wc -l"))?.parse()?) };
    let goes_on = |when: &str| -> Result<()> {
        let before = count("steady")?;
        eventually(&format!("the steady timer goes on {when}"), || Ok(count("steady")? >= before + 3))
    };
    let watched = said(node, "systemctl show -P MainPID watched.service")?;
    goes_on("before")?;
    ensure!(count("hourly")? == 0);
    node.shift_clock(3600)?;
    eventually("the hourly timer has elapsed", || Ok(count("hourly")? == 1))?;
    goes_on("after an hour forward")?;
    node.shift_clock(-3600)?;
    goes_on("after an hour back")?;
    ensure!(count("hourly")? == 1, "the hourly timer has elapsed {} times in one hour", count("hourly")?);
    ensure!(said(node, "systemctl show -P MainPID watched.service")? == watched, "the watchdog has hit");
    node.check(&["systemctl", "stop", "watched.service", "hourly.timer", "steady.timer"])?;
    Ok(())
}

#[test]
fn a_small_machine_is_led_by_systemctl_and_its_console() -> Result<()> {
    let lab = two("vm-small", &[])?;
    boot_both(&lab)?;
    let (theirs, ours) = (lab.node(1)?, lab.node(2)?);
    let differences = Picture::of(&ours)?.differences(&Picture::of(&theirs)?);
    ensure!(differences.is_empty(), "{differences}");
    ensure!(failed(&ours)? == failed(&theirs)?, "failed: {}, with systemd: {}", failed(&ours)?, failed(&theirs)?);
    // Rescue and emergency: a shell at the console, and back when it is left.
    ours.put("/look", "#!/bin/sh\nsystemctl is-active \"$1.target\" multi-user.target >\"/run/in-$1\"\n", 0o755)?;
    for mode in ["rescue", "emergency"] {
        let mut console = Console::open(&lab, 2)?;
        ours.check(&["systemctl", "--no-block", mode])?;
        console.waits_for("for maintenance")?;
        // What is typed before the shell reads would be thrown away.
        console.types("")?;
        console.waits_for("root@node2")?;
        console.types(&format!("/look {mode}"))?;
        console.waits_for("root@node2")?;
        let states = said(&ours, &format!("xargs </run/in-{mode}"))?;
        ensure!(states == "active inactive", "in {mode}: {states}");
        let runs = said(&ours, "systemctl is-active dbus.service cron.service ssh.service")?;
        ensure!(!runs.lines().any(|state| state == "active"), "in {mode} there are services: {runs}");
        console.types("exit")?;
        eventually("multi-user.target is back", || {
            Ok(said(&ours, "systemctl is-active multi-user.target")? == "active")
        })
        .with_context(|| format!("after {mode}, whose console says {:?}", Console::read(&console.log)))?;
        settled(&ours)?;
    }
    ours.check(&["systemctl", "isolate", "multi-user.target"])?;
    a_fork_bomb_stays_in_its_unit(&ours)?;
    a_clock_that_jumps_an_hour_stops_nothing_and_repeats_nothing(&ours)?;
    let boot = said(&ours, "cat /proc/sys/kernel/random/boot_id")?;
    let _ = ours.exec(&["systemctl", "--no-block", "reboot"]);
    eventually("the guest has booted again", || {
        let now = ours.exec(&["cat", "/proc/sys/kernel/random/boot_id"]);
        Ok(now.is_ok_and(|now| now.success() && now.text().trim() != boot))
    })?;
    settled(&ours)?;
    ensure!(said(&ours, "cat /proc/1/comm")? == "ssi-init");
    power_off_cleanly(&lab)
}

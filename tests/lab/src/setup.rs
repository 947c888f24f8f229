// SPDX-License-Identifier: GPL-2.0-or-later
//! Installing what the lab needs, with apt-get, on a Debian machine, as root.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::apt::{Sources, release_of_this_machine};
use crate::command::{exists, run, run_with};
use crate::error::Error;
use crate::keeper::RUN_DIRECTORY;
use crate::spec::Kind;

/// Programs that every lab runs or that scenes expect in a namespace node, and their packages.
const FOR_ALL: [(&str, &str); 15] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("ping", "iputils-ping"),
    ("pkill", "procps"),
    ("tar", "tar"),
    ("find", "findutils"),
    ("corosync", "corosync"),
    ("dbus-daemon", "dbus-daemon"),
    ("/usr/lib/systemd/system/dbus.socket", "dbus"),
    ("systemctl", "systemd"),
    ("curl", "curl"),
    ("strace", "strace"),
    ("busybox", "busybox-static"),
];

/// What guests need besides.
const FOR_GUESTS: [(&str, &str); 3] =
    [("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("qemu-img", "qemu-utils")];

/// The emulator and its package.
const EMULATOR: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");
/// The file that adds backports to the machine's sources.
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/ssi-lab-backports.sources";

/// Installs what is missing for labs of this kind; a few looks at the disk when nothing is.
///
/// # Errors
/// [`Error::Setup`] with what apt-get said.
pub fn ensure(kind: Kind, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if missing(kind).is_empty() && !emulator_missing(kind) {
        return Ok(());
    }
    install(kind, progress).map_err(|error| Error::Setup { message: format!("{error:#}") })
}

/// The packages of the programs that are not there, the emulator's apart.
fn missing(kind: Kind) -> Vec<&'static str> {
    let guests: &[(&str, &str)] = if kind == Kind::Vm { &FOR_GUESTS } else { &[] };
    let mut packages: Vec<_> =
        FOR_ALL.iter().chain(guests).filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn emulator_missing(kind: Kind) -> bool {
    kind == Kind::Vm && !exists(EMULATOR.0)
}

fn install(kind: Kind, progress: &mut dyn FnMut(&str)) -> Result<()> {
    // Several labs may begin at once, and one installation serves them all.
    fs::create_dir_all(RUN_DIRECTORY).with_context(|| format!("making {RUN_DIRECTORY} (are you root?)"))?;
    let lock = File::create(Path::new(RUN_DIRECTORY).join(".setup-lock")).context("making the lock for installing")?;
    flock(&lock, FlockOperation::LockExclusive).context("waiting for another installation")?;
    let packages = missing(kind);
    if packages.is_empty() && !emulator_missing(kind) {
        return Ok(());
    }
    if !exists("apt-get") {
        bail!("this machine has no apt-get; install the programs of these packages by hand: {}", packages.join(" "));
    }
    progress("reading the package lists");
    apt_get(&["update"])?;
    if !packages.is_empty() {
        progress(&format!("installing {}", packages.join(" ")));
        let mut words = vec!["install", "--yes", "--no-install-recommends"];
        words.extend(&packages);
        apt_get(&words)?;
    }
    if emulator_missing(kind) {
        progress(&format!("installing {}", EMULATOR.1));
        install_emulator()?;
    }
    Ok(())
}

/// From the release itself where that goes; a qemu-utils from backports wants the emulator from there.
fn install_emulator() -> Result<()> {
    let words = ["install", "--yes", "--no-install-recommends"];
    let plain: Vec<_> = words.into_iter().chain([EMULATOR.1]).collect();
    let simulated: Vec<_> = plain.iter().copied().chain(["--simulate", "--no-remove"]).collect();
    if apt_get(&simulated).is_ok() {
        return apt_get(&plain);
    }
    let release = release_of_this_machine()?;
    let suite = format!("{release}-backports");
    let policy = run("apt-cache", ["policy"])?;
    if !String::from_utf8_lossy(&policy).contains(&format!("n={suite}")) {
        let text = Sources::of_this_machine()?.backports(&release).with_context(|| {
            format!("apt's configuration has no source of {release} to take the backports' mirror from")
        })?;
        fs::write(BACKPORTS_FILE, text).with_context(|| format!("writing {BACKPORTS_FILE}"))?;
        apt_get(&["update"])?;
    }
    let backported: Vec<_> =
        words.into_iter().chain(["--no-remove", "--target-release", suite.as_str(), EMULATOR.1]).collect();
    apt_get(&backported)
}

fn apt_get(words: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=300"])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run_with(&mut command, b"").map(drop)
}

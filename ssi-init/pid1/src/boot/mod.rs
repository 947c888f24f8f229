// SPDX-License-Identifier: GPL-2.0-or-later
//! Boot, up to where units begin: file systems of the kernel, console, names, the node's number, contexts.
//!
//! All of it is done by a child of process 1. What it mounts and names stays; what it read and asked for goes with it;
//! and where it fails, or waits for a person in the emergency shell, process 1 goes on to reap, to pet the watchdog and
//! to answer Ctrl-Alt-Del. It tells what it found through a pipe.
//!
//! Not done here: SELinux, SMACK, IMA and AppArmor policies (none is loaded), the kernel's time zone for a hardware clock
//! that runs in local time, and credit for a random seed of the boot loader's.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::fs::OFlags;
use ssi_pid1::protocol::Greeting;

use crate::say::say;
use crate::settings::{self, Settings};
use crate::sys::{device, power, process};
use crate::{console, manager};

mod machine_id;
mod mounts;
mod names;
mod node;

/// What this is process 1 of, and what was said to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// A container or a namespace node: the kernel is another's.
    pub(crate) container: bool,
    /// The words of the kernel's command line; in a container, the arguments of process 1.
    pub(crate) words: Vec<Vec<u8>>,
    /// The arguments of process 1.
    pub(crate) arguments: Vec<OsString>,
}

/// The number of the first pid namespace's file; `PROC_PID_INIT_INO` of the kernel's `include/linux/proc_ns.h`.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

impl Machine {
    /// Looks at where this runs. `/proc` has to be there.
    pub(crate) fn look(arguments: Vec<OsString>) -> Self {
        let said = std::env::var_os("container").is_some_and(|kind| !kind.is_empty());
        let first = rustix::fs::stat("/proc/self/ns/pid").is_ok_and(|stat| stat.st_ino == FIRST_PID_NAMESPACE);
        let container = said || !first;
        let words = if container {
            arguments.iter().map(|a| a.as_bytes().to_vec()).collect()
        } else {
            settings::words(&std::fs::read("/proc/cmdline").unwrap_or_default())
        };
        Self { container, words, arguments }
    }
}

/// Mounts what looking needs, if it is not there: `/proc` and `/dev`. For process 1 itself, before anything else.
pub(crate) fn mount_first() {
    mounts::first();
}

/// What the child found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The node's number; 0: no cluster.
    pub(crate) node: u32,
    /// Of [`Greeting`].
    pub(crate) flags: u32,
}

/// The status of a child that found no way on, in a container where nobody can be asked.
pub(crate) const NO_WAY: i32 = 3;

/// Starts the child.
///
/// # Errors
/// fork(2)'s.
pub(crate) fn start(settings: &Settings, machine: &Machine, tell: &OwnedFd) -> Result<Pid, Errno> {
    process::fork(|| {
        process::plain_signals();
        let Some(found) = boot(settings, machine) else { return NO_WAY };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&found.node.to_le_bytes());
        bytes[4..].copy_from_slice(&found.flags.to_le_bytes());
        let told = tell.try_clone().map(std::fs::File::from).and_then(|mut pipe| pipe.write_all(&bytes));
        i32::from(told.is_err())
    })
}

/// What the child that has ended told. `None`: nothing.
pub(crate) fn found(pipe: &OwnedFd) -> Option<Found> {
    let mut bytes = [0; 8];
    let count = rustix::io::read(pipe, &mut bytes).ok()?;
    let [n0, n1, n2, n3, f0, f1, f2, f3] = bytes;
    let (node, flags) = (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes([f0, f1, f2, f3]));
    (count == 8).then_some(Found { node, flags })
}

fn boot(settings: &Settings, machine: &Machine) -> Option<Found> {
    // What the kernel starts process 1 with has no PATH; modprobe, cdsl and shells want one.
    let path = std::env::var_os("PATH").unwrap_or_else(|| manager::PATH.into());
    if let Err(what) = mounts::api(machine.container) {
        emergency(settings, machine, &what)?;
    }
    if !machine.container {
        console::reset();
        the_machine(&path);
    }
    raise_limits(machine.container);
    join_cgroup();
    if let Err(error) = loopback() {
        say!(Warning, "bringing the loopback device up: {}", error.desc());
    }
    let node = loop {
        match node::number_and_contexts(settings, &path) {
            Ok(node) => break node,
            Err(what) => emergency(settings, machine, &what)?,
        }
    };
    names::set_host_name(machine);
    let first = machine_id::set_up(machine);
    Some(Found { node, flags: if first { Greeting::FIRST_BOOT } else { 0 } })
}

/// What only the owner of the kernel sets.
fn the_machine(path: &OsString) {
    let told = |what: &str, done: Result<(), Errno>| {
        if let Err(error) = done {
            say!(Warning, "{what}: {}", error.desc());
        }
    };
    told("taking Ctrl-Alt-Del", power::ctrl_alt_del_to_init());
    // Without a keyboard and screen there is no tty0, or it knows no such key.
    if let Ok(tty) = rustix::fs::open("/dev/tty0", OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()) {
        let _ = device::accept_keyboard_signal(tty.as_fd());
    }
    // The journal's and our own lines in the kernel's log are not to be dropped while booting.
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    // Automount units need the kernel's side of autofs, a module in most distributions, before anything loads modules.
    if !std::path::Path::new("/sys/class/misc/autofs").exists() {
        match Command::new("modprobe").args(["-qb", "autofs4"]).env("PATH", path).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                say!(Note, "loading the module autofs4: modprobe ended with {status}; automounts will not work")
            }
            Err(error) => say!(Note, "loading the module autofs4: {error}; automounts will not work"),
        }
    }
}

/// Kernel limits that are too low for a machine full of services, raised as systemd(1) raises them: the queue of a
/// datagram socket (the journal's, the notify socket's), which each network namespace has of its own, and the number of
/// open files of the whole machine, which memory limits anyway.
fn raise_limits(container: bool) {
    const QUEUE: &str = "/proc/sys/net/unix/max_dgram_qlen";
    const LEAST: u64 = 512;
    let queue = std::fs::read_to_string(QUEUE).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if queue.is_some_and(|queue| queue < LEAST)
        && let Err(error) = std::fs::write(QUEUE, format!("{LEAST}\n"))
    {
        say!(Note, "raising {QUEUE} to {LEAST}: {error}");
    }
    const FILES: &str = "/proc/sys/fs/file-max";
    if !container && let Err(error) = std::fs::write(FILES, format!("{}\n", i64::MAX)) {
        say!(Note, "raising {FILES}: {error}");
    }
}

/// Puts process 1 into `init.scope` below the cgroup where it is: a cgroup with processes of its own cannot hand
/// controllers down (cgroups(7), "no internal processes").
fn join_cgroup() {
    let own = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return };
    if own.ends_with("/init.scope") {
        return;
    }
    let scope = std::path::Path::new("/sys/fs/cgroup").join(own.trim_matches('/')).join("init.scope");
    let joined = match std::fs::create_dir(&scope) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        // This child too, so that none is left behind.
        _ => std::fs::write(scope.join("cgroup.procs"), "1")
            .and_then(|()| std::fs::write(scope.join("cgroup.procs"), "0")),
    };
    if let Err(error) = joined {
        say!(Warning, "moving process 1 to the cgroup {}: {error}", scope.display());
    }
}

fn loopback() -> Result<(), Errno> {
    let errno = |e: rustix::io::Errno| Errno::from_raw(e.raw_os_error());
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    device::loopback_up(socket.map_err(errno)?.as_fd())
}

/// Boot cannot go on. A shell on the console, until its user leaves it; then what failed is tried again.
///
/// `None`: in a container without a terminal there is nobody to wait for.
fn emergency(settings: &Settings, machine: &Machine, what: &str) -> Option<()> {
    say!(Emergency, "{what}");
    if machine.container && !console::is_there() {
        return None;
    }
    say!(Emergency, "boot cannot go on. Mend it in this shell and leave it (exit, or Ctrl-D): it is tried again then");
    match console::start_shell(settings) {
        Ok(shell) => while nix::sys::wait::waitpid(shell, None) == Err(Errno::EINTR) {},
        Err(error) => say!(Error, "starting a shell on the console: {}", error.desc()),
    }
    // A console that ends every shell at once must not make this a busy loop.
    std::thread::sleep(Duration::from_secs(1));
    Some(())
}

/// The first line of a file that is neither empty nor a comment.
fn first_line(path: &str) -> Option<String> {
    let mut bytes = vec![];
    // Bounded: a mistake such as a link to a disk must not be read whole.
    std::fs::File::open(path).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
}

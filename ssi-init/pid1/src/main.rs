// SPDX-License-Identifier: GPL-2.0-or-later
//! Process 1: the process that does not die.
//!
//! ```text
//!                              ┌───────────── process 1 ─────────────┐
//!   kernel ── signals ───────> │ one thread, one epoll, no allocation│ ──> /dev/watchdog
//!   zombies ── waitid ───────> │ keeps: descriptors, snapshot        │
//!                              └──┬───────────────┬───────────────┬──┘
//!                             boots (child)   the manager     ends all (child)
//!                             mounts, names,  units, jobs,    kills, unmounts
//!                             node, contexts  sockets, D-Bus
//! ```
//!
//! It is small and dull: what can fail or hang is done by children. If the manager dies, it is started again and gets
//! back all that is kept; no exit is lost meanwhile ([`reap`]). If process 1 itself faults or panics, it executes itself
//! anew with all it keeps ([`pid1`]'s `rescue`); the kernel never sees it end.
//!
//! Where to start reading: [`pid1`] is the loop, [`reap`] how exits are kept, `ssi_pid1::protocol` (the library) what is
//! said, [`boot`] and [`shutdown`] the children, [`settings`] what can be set on the kernel's command line.
//!
//! Called as any other process than 1 it is the administrator's command, and hands over to the manager's program, which
//! knows its verbs (`verify`, `dump`, `replay`, …).
//!
//! Done without: an event loop crate and an async runtime (they allocate as they run, and this must not), a panic that
//! aborts (`panic = "unwind"` is what makes the rescue possible).

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use rustix::fs::{MemfdFlags, Mode, OFlags, open};

use crate::boot::Machine;
use crate::pid1::Pid1;
use crate::say::say;
use crate::settings::Settings;
use crate::state::Carried;
use crate::sys::counted::Counted;
use crate::sys::process::{Prepared, leave_open};

mod boot;
mod console;
mod keep;
mod manager;
mod pid1;
mod reap;
mod restart;
mod say;
mod settings;
mod shutdown;
mod signals;
mod state;
mod sys;
mod watchdog;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const STATE: &str = "--state=";
const TRY: &str = "--try=";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let first = arguments.first().and_then(|argument| argument.to_str()).unwrap_or_default();
    if let Some(format) = first.strip_prefix(TRY) {
        // Asked by the process 1 that would be replaced: does this program run here, and know the state?
        return if format == state::FORMAT.to_string() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if std::process::id() != 1 {
        return as_command(&arguments);
    }
    occupy_low_descriptors();
    let carried_at = first.strip_prefix(STATE).map(|number| number.parse::<RawFd>().unwrap_or(-1));
    let arguments: Vec<OsString> = arguments.into_iter().skip(usize::from(carried_at.is_some())).collect();
    // A panic before there is anything to rescue leaves what the rescue would: a shell. It is the kernel's panic else.
    let begun = std::panic::catch_unwind(|| begin(arguments, carried_at));
    std::panic::set_hook(Box::new(|panic| say!(Emergency, "{panic}")));
    let pid1 = match begun {
        Ok(Ok(pid1)) => pid1,
        Ok(Err(error)) => cannot_begin(error.desc()),
        Err(_) => cannot_begin("a fault in its own start"),
    };
    let pid1 = sys::crash::guard(Box::leak(pid1), Pid1::rescue);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pid1.run())) {
        Ok(never) => never,
        Err(_) => pid1.rescue(0),
    }
}

/// Everything that is asked for, is asked for here.
fn begin(arguments: Vec<OsString>, carried_at: Option<RawFd>) -> Result<Box<Pid1>, nix::errno::Errno> {
    boot::mount_first();
    let machine = Machine::look(arguments);
    if !machine.container {
        say::use_kernel_log();
    }
    let _ = std::env::set_current_dir("/");
    // The kernel starts process 1 with none: what its children made would be everybody's to write.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let _ = nix::unistd::setsid();
    raise_descriptor_limit();
    let settings = Settings::read(machine.words.iter().map(Vec::as_slice), |word, wanted| {
        say!(Warning, "{word} is not understood: {wanted} is wanted");
    });
    let (state, carried) = match carried_at.and_then(Carried::read) {
        Some((file, carried)) => (file, Some(carried)),
        None => {
            if carried_at.is_some() {
                say!(Emergency, "process 1 was executed anew, but its state cannot be read: it begins from the start");
            }
            let file = rustix::fs::memfd_create("ssi-init-state", MemfdFlags::CLOEXEC);
            (file.map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error()))?, None)
        }
    };
    let itself = Prepared::new(
        &own_path(),
        std::iter::once(format!("{STATE}{}", state.as_raw_fd()).into()).chain(machine.arguments.iter().cloned()),
    );
    Pid1::new(settings, machine, itself, state, carried).map(Box::new)
}

/// Standard streams, and the number that the manager finds its link at, are never anything else in process 1.
fn occupy_low_descriptors() {
    loop {
        // Before /dev is mounted there is only the root directory to open.
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .or_else(|_| open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()));
        match null {
            Ok(fd) if fd.as_raw_fd() <= ssi_pid1::LINK_FD => leave_open(fd),
            Ok(fd) => return drop::<OwnedFd>(fd),
            Err(_) => return,
        }
    }
}

/// Every socket of every unit is open here too.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let most: u64 = most.unwrap_or(1 << 20);
    let hard = getrlimit(Resource::Nofile).maximum;
    if setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).is_err() {
        // Without the right to raise it: as far as it goes.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    }
}

/// Where a newer version of this program is to be found: at the path of this one, also after that was replaced.
fn own_path() -> PathBuf {
    let path = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/usr/sbin/ssi-init".into());
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => path.into(),
        None => path,
    }
}

/// There is no process 1 to speak of. A shell, for as long as there is a machine.
fn cannot_begin(what: &str) -> ! {
    say!(Emergency, "process 1 cannot begin: {what}");
    loop {
        if let Ok(shell) = console::start_shell(&Settings::default()) {
            while nix::sys::wait::waitpid(shell, None).is_err_and(|error| error == nix::errno::Errno::EINTR) {}
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// As the administrator's command.
fn as_command(arguments: &[OsString]) -> ExitCode {
    let manager = Settings::default().manager;
    let error = Command::new(&manager).arg0("ssi-init").args(arguments).exec();
    eprintln!(
        "ssi-init: starting {}, which knows the verbs of this command: {error}. Is ssi-init installed whole?",
        manager.display()
    );
    ExitCode::FAILURE
}

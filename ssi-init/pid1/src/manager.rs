// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager as a process: its start, and what is known of a running one.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, open};
use ssi_pid1::LINK_FD;
use ssi_pid1::link::Link;

use crate::boot::Machine;
use crate::say::say;
use crate::settings::Settings;
use crate::sys::{Moment, process};

/// The environment that the manager finds.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How far the handover to a manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// `Hello` is next.
    Hello,
    /// The kept descriptor at this place is next.
    Kept(usize),
    /// The snapshot is next.
    Snapshot,
    /// `HandedOver` is next.
    End,
}

/// A manager that runs.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) pid: Pid,
    /// `None`: it has closed its end, and is being ended.
    pub(crate) link: Option<Link>,
    pub(crate) born: Moment,
    pub(crate) greeted: bool,
    /// `None`: nothing is being handed over.
    pub(crate) handover: Option<Handover>,
    pub(crate) heard: Moment,
    pub(crate) ending: Ending,
    /// Something is to be said and the link takes no more now.
    pub(crate) full: bool,
}

/// What was done to a manager that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It answers.
    No,
    /// It has got SIGABRT, for a core dump, at this moment.
    Aborted(Moment),
    /// It has closed its end of the link, at this moment: it is ending, as a rule.
    Leaving(Moment),
    /// It has got SIGKILL.
    Killed,
}

/// How long a manager that has closed its end has to end.
const LEAVE: Duration = Duration::from_secs(1);
/// How long a manager has for its core dump.
pub(crate) const DUMP: Duration = Duration::from_secs(5);

impl Manager {
    /// Starts one.
    ///
    /// # Errors
    /// No descriptors, no processes, no memory.
    pub(crate) fn start(settings: &Settings, machine: &Machine, node: u32) -> Result<Self, Errno> {
        let errno = |e: rustix::io::Errno| Errno::from_raw(e.raw_os_error());
        let (own, its) = Link::pair(rustix::net::SocketFlags::empty()).map_err(|e| errno(e.errno()))?;
        // Only this side: whether the manager's blocks is the manager's choice.
        rustix::io::ioctl_fionbio(&own, true).map_err(errno)?;
        let pid = process::fork(|| become_manager(&its, settings, machine, node))?;
        let now = Moment::now();
        Ok(Self {
            pid,
            link: Some(own),
            born: now,
            greeted: false,
            handover: None,
            heard: now,
            ending: Ending::No,
            full: false,
        })
    }

    /// When it is taken for hung, or is to be killed.
    pub(crate) fn deadline(&self, settings: &Settings) -> Option<Moment> {
        match self.ending {
            Ending::Aborted(at) => Some(at + DUMP),
            Ending::Leaving(at) => Some(at + LEAVE),
            Ending::Killed => None,
            Ending::No if !self.greeted => Some(self.born + settings.hello),
            Ending::No => (!settings.silence.is_zero()).then(|| self.heard + settings.silence),
        }
    }

    /// Ends it; its death is seen as any other's.
    pub(crate) fn kill(&mut self) {
        self.ending = Ending::Killed;
        // It is a child that was not reaped: the number is its own, and a signal to it cannot fail.
        let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGKILL);
    }

    /// Ends it with a core dump.
    pub(crate) fn abort(&mut self, now: Moment) {
        self.ending = Ending::Aborted(now);
        let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGABRT);
    }
}

/// Becomes the manager; the returned status is that of a child that could not.
fn become_manager(link: &Link, settings: &Settings, machine: &Machine, node: u32) -> i32 {
    process::plain_signals();
    // It stays in the process group of process 1, as all managers before and after it: the kernel lets one group alone
    // look behind an automount (autofs, `pgrp=`), and that is to be the same one after this manager's death.
    // Its standard streams: nothing to read, and messages to where process 1 has its own.
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = process::place(null.as_fd(), 0);
    }
    if !machine.container
        && let Ok(console) = open("/dev/console", OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
    {
        let _ = process::place(console.as_fd(), 1).and_then(|()| process::place(console.as_fd(), 2));
    }
    if let Err(error) = process::place(link.as_fd(), LINK_FD) {
        say!(Error, "giving the manager its link: {}", error.desc());
        return 126;
    }
    let mut manager = Command::new(&settings.manager);
    // What was said to process 1, such as "single" or "3", is the manager's to understand.
    manager.args(&machine.arguments).current_dir("/");
    if std::env::var_os("PATH").is_none() {
        manager.env("PATH", PATH);
    }
    if node != 0 {
        manager.env("SSI_NODE", node.to_string());
    }
    let error = manager.exec();
    say!(Error, "starting the manager {}: {error}", settings.manager.display());
    127
}

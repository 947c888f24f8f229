// SPDX-License-Identifier: GPL-2.0-or-later
//! The executor's half: the steps, in the order in which systemd takes them.
//!
//! The order carries meaning. Output is connected first, so that later failures are heard. Directories are made
//! while the process is still root. Limits come before the mount namespace, groups after it (its set-up needs
//! root's), the user after both; the working directory after the user, because on NFS root may have no access;
//! secure bits and "no new privileges" last, because after them nothing can be raised.

mod capabilities;
mod credentials;
mod directories;
mod identity;
mod journal;
mod mounts;
mod namespaces;
mod program;
mod scheduling;
mod slots;
mod streams;
mod sys;
mod terminal;
mod trouble;
mod utmp;

use crate::environment::{Variables, default_term};
use crate::plan::{ExecPlan, FIRST_SLOT_FD, Input, Output, WorkingPlace};
use crate::report::{Failure, Report};
use crate::step::Step;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use slots::Slots;
use std::os::fd::OwnedFd;
use trouble::{At, failure, plain};

/// The longest plan that is read, in bytes: more than execve(2) takes of arguments and environment.
const LONGEST_PLAN: u64 = 16 * 1024 * 1024;
/// How long a `Type=idle` program waits for the boot to calm down.
const IDLE_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What `ssi-exec` does: reads its plan at descriptor 3 and becomes the program. Comes back with the exit status
/// when it could not, or when a missing program is no failure.
pub fn main() -> u8 {
    let plan = match read_plan() {
        Ok(plan) => plan,
        Err(failed) => {
            eprintln!("ssi-exec: {failed}");
            return failed.step.exit_status();
        }
    };
    let mut start = Start { plan: &plan, reports: None };
    match start.run() {
        Ok(Done::Skipped(text)) => {
            journal::say(&plan, 6, false, &text);
            start.report(&Report::Skipped(text));
            0
        }
        Err(failed) => {
            let text =
                format!("failed at step {} spawning {}: {}", failed.step.name(), plan.command.program, failed.message);
            let status = failed.step.exit_status();
            journal::say(&plan, 3, true, &text);
            start.report(&Report::Failed(failed));
            status
        }
    }
}

fn read_plan() -> Result<ExecPlan, Failure> {
    let step = Step::Memory;
    let memfd = sys::adopt(FIRST_SLOT_FD, FIRST_SLOT_FD + 1).at(step, || "descriptor 3 is not open".into())?;
    let size = rustix::fs::fstat(&memfd).at(step, String::new)?.st_size as u64;
    if size > LONGEST_PLAN {
        return Err(failure(step, None, format!("{size} bytes are more than a plan can have")));
    }
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&memfd, rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(step, String::new),
        }
    }
    ExecPlan::decode(&bytes).map_err(|error| failure(step, None, error.to_string()))
}

/// A start that did not fail and yet left no program running.
enum Done {
    Skipped(String),
}

/// A start under way.
struct Start<'p> {
    plan: &'p ExecPlan,
    reports: Option<OwnedFd>,
}

impl Start<'_> {
    fn report(&self, report: &Report) {
        if let Some(pipe) = &self.reports {
            // Not read, or no longer: the exit status still tells. Where nobody can read any more, that is no reason to
            // be killed by SIGPIPE: the next manager knows of this process.
            let bytes = report.encode();
            if let Err(Errno::NOTSOCK) = rustix::net::send(pipe, &bytes, rustix::net::SendFlags::NOSIGNAL) {
                let _ = rustix::io::write(pipe, &bytes);
            }
        }
    }

    fn warn(&self, text: String) {
        journal::say(self.plan, 4, false, &text);
        self.report(&Report::Warning(text));
    }

    /// All steps, up to the program itself: comes back only when it does not run.
    fn run(&mut self) -> Result<Done, Failure> {
        let plan = self.plan;
        name_process(plan);
        sys::reset_signals(plan.ignore_sigpipe).at(Step::SignalMask, String::new)?;
        let slots = Slots::adopt(plan)?;
        self.reports = slots.reports(plan)?;
        for (protection, missing) in plan.shortfalls().into_iter().filter(|_| plan.sandboxed()) {
            self.report(&Report::Warning(format!("{}: {missing}", protection.directive())));
        }
        self.wait_for_idle(&slots)?;

        if !plan.same_process_group {
            match rustix::process::setsid() {
                // A leader already: a process that is one has the session it wants.
                Ok(_) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno).at(Step::Setsid, String::new),
            }
        }
        if uses_terminal(plan) {
            terminal::clean(&plan.streams.tty);
        }
        let who = identity::resolve(plan, &identity::Machine)?;
        if who.uid.is_some() || who.gid.is_some() {
            self.report(&Report::Identity { uid: who.uid, gid: who.gid });
        }
        let joins = namespaces::open_paths(plan)?;

        let opened = streams::set_up(plan, &slots, &mut |text| self.warn(text))?;
        scheduling::apply(plan)?;
        utmp::record(plan, who.name.as_deref());
        if let Some(uid) = who.uid {
            streams::own_terminal(plan, uid)?;
            self.hand_over_cgroup(uid, who.gid)?;
        }
        directories::make(plan, who.uid.unwrap_or(0), who.gid.unwrap_or(0), &mut |text| self.warn(text))?;
        let credentials = credentials::set_up(plan, who.uid, who.gid)?;
        let mut environment = self.environment(&who, &opened, credentials.as_deref());
        rustix::process::umask(Mode::from_raw_mode((plan.umask & 0o777) as _));
        scheduling::set_keyring(plan, who.uid, who.gid)?;

        if plan.sandboxed() {
            scheduling::set_limits(&plan.limits)?;
            namespaces::enter(plan, joins, &slots, credentials.as_deref())?;
        }
        if plan.takes_identity() {
            identity::take_groups(&who)?;
        } else {
            identity::take_users_groups(&who)?;
        }
        if plan.sandboxed() {
            namespaces::enter_user(plan, &who)?;
        }

        let path = match self.locate_in_root() {
            Ok(path) => path,
            Err(errno) if plan.command.ignore_failure && errno != Errno::NOMEM => {
                return Ok(Done::Skipped(format!("{} is missing, skipped: {}", plan.command.program, plain(errno))));
            }
            Err(errno) => return Err(errno).at(Step::Exec, || plan.command.program.clone()),
        };
        slots.place_passed(plan)?;

        let ambient = plan.capabilities.ambient;
        if plan.sandboxed() {
            if let Some(keep) = capabilities::bounding_set(plan) {
                capabilities::bound(keep)?;
            }
            if ambient != 0 {
                capabilities::inherit(ambient)?;
                capabilities::raise_ambient(ambient)?;
            }
        }
        if let Some(root) = &plan.root_directory
            && !(plan.sandboxed() && namespaces::needs_mounts(plan))
        {
            rustix::process::chroot(root).at(Step::Chroot, || root.clone())?;
            rustix::process::chdir("/").at(Step::Chroot, || root.clone())?;
        }
        if plan.takes_identity()
            && let Some(uid) = who.uid
        {
            identity::take_user(uid, plan.sandboxed() && (ambient != 0 || plan.capabilities.secure_bits != 0))?;
            if plan.sandboxed() && ambient != 0 {
                // The change of user has emptied the ambient set.
                capabilities::raise_ambient(ambient)?;
            }
        }
        self.change_directory(who.home.as_deref())?;
        if plan.sandboxed() {
            capabilities::secure(plan.capabilities)?;
            if plan.capabilities.no_new_privileges {
                rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges, String::new)?;
            }
        }

        environment.unset(&plan.environment.unset);
        let image = program::Image::new(&path, &plan.command, &environment)?;
        self.wait_for_word()?;
        self.report(&Report::Executing);
        Err(image.execute()).at(Step::Exec, || path)
    }

    /// Until the manager has this start on record. Should it die before, nothing has begun: the next manager has it on
    /// record too and sends SIGCONT, or ends this process and starts another.
    fn wait_for_word(&self) -> Result<(), Failure> {
        let Some(channel) = self.reports.as_ref().filter(|_| self.plan.gated) else { return Ok(()) };
        // Blocked before the manager can be missed: from then on none is lost.
        let next_manager = sys::Awaited::new(nix::sys::signal::Signal::SIGCONT).at(Step::SignalMask, String::new)?;
        let mut word = [0];
        loop {
            match rustix::io::read(channel, &mut word) {
                Err(Errno::INTR) => {}
                Ok(1) => break,
                _ => {
                    next_manager.wait();
                    break;
                }
            }
        }
        next_manager.over().at(Step::SignalMask, String::new)
    }

    /// `Type=idle`: until the manager has nothing else to start, so that a getty's prompt is not written over.
    fn wait_for_idle(&self, slots: &Slots) -> Result<(), Failure> {
        if let Some(slot) = self.plan.idle {
            let fd = slots.get(slot)?;
            // Interrupted or not: waiting less is no failure.
            let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&IDLE_WAIT));
        }
        Ok(())
    }

    /// `Delegate=`: the control group and the files in it that its owner writes belong to the unit's user.
    fn hand_over_cgroup(&self, uid: u32, gid: Option<u32>) -> Result<(), Failure> {
        let Some(cgroup) = self.plan.cgroup.as_ref().filter(|cgroup| cgroup.delegate) else { return Ok(()) };
        let owner = (Some(rustix::fs::Uid::from_raw(uid)), gid.map(rustix::fs::Gid::from_raw));
        for file in ["", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"] {
            let path = format!("{}{file}", cgroup.path);
            rustix::fs::chown(&*path, owner.0, owner.1).at(Step::Cgroup, || path)?;
        }
        // Not on every kernel.
        let _ = rustix::fs::chown(format!("{}/memory.oom.group", cgroup.path), owner.0, owner.1);
        Ok(())
    }

    fn environment(&self, who: &identity::Resolved, opened: &streams::Opened, credentials: Option<&str>) -> Variables {
        let plan = self.plan;
        let pid = rustix::process::getpid().as_raw_nonzero().get().to_string();
        let mut variables = Variables::new();
        variables.extend(&plan.environment.manager);
        let passed: Vec<&str> =
            plan.passed.sockets.iter().chain(&plan.passed.stored).map(|named| named.name.as_str()).collect();
        if !passed.is_empty() {
            variables.set("LISTEN_PID", &pid);
            variables.set("LISTEN_FDS", &passed.len().to_string());
            variables.set("LISTEN_FDNAMES", &passed.join(":"));
        }
        if let Some(usec) = plan.environment.watchdog_usec.filter(|usec| *usec > 0) {
            variables.set("WATCHDOG_PID", &pid);
            variables.set("WATCHDOG_USEC", &usec.to_string());
        }
        let account = [("HOME", &who.home), ("LOGNAME", &who.name), ("USER", &who.name), ("SHELL", &who.shell)];
        for (name, value) in account {
            if let Some(value) = value {
                variables.set(name, value);
            }
        }
        if uses_terminal(plan) {
            let term = plan.environment.term.as_deref().unwrap_or_else(|| default_term(plan.streams.tty.device()));
            variables.set("TERM", term);
        }
        if let Some((device, inode)) = opened.journal {
            variables.set("JOURNAL_STREAM", &format!("{device}:{inode}"));
        }
        if let Some(namespace) = &plan.streams.log.namespace {
            variables.set("LOG_NAMESPACE", namespace);
        }
        for (name, value) in directories::variables(plan) {
            variables.set(name, &value);
        }
        if let Some(directory) = credentials {
            variables.set("CREDENTIALS_DIRECTORY", directory);
        }
        variables.set("SYSTEMD_EXEC_PID", &pid);
        if !plan.command.search_path.is_empty() {
            variables.set("PATH", &plan.command.search_path.join(":"));
        }
        variables.extend(&plan.environment.unit);
        variables
    }

    /// The program, as the process will see it: a root directory that is entered later is looked into now.
    fn locate_in_root(&self) -> Result<String, Errno> {
        let plan = self.plan;
        match &plan.root_directory {
            Some(root) if !(plan.sandboxed() && namespaces::needs_mounts(plan)) => {
                // Symlinks in it may be absolute, so the kernel has the last word at execve.
                let inside = |path: &str| format!("{}/{}", root.trim_end_matches('/'), path.trim_start_matches('/'));
                let mut command = plan.command.clone();
                if command.program.contains('/') {
                    return Ok(command.program);
                }
                let places: Vec<String> = match command.search_path.is_empty() {
                    true => program::SEARCH_PATH.iter().map(|place| inside(place)).collect(),
                    false => command.search_path.iter().map(|place| inside(place)).collect(),
                };
                command.search_path = places;
                let found = program::locate(&command)?;
                Ok(found.strip_prefix(root.trim_end_matches('/')).unwrap_or(&found).to_owned())
            }
            _ => program::locate(&plan.command),
        }
    }

    fn change_directory(&self, home: Option<&str>) -> Result<(), Failure> {
        let working = &self.plan.working_directory;
        let place = match &working.place {
            WorkingPlace::Root => Ok("/"),
            WorkingPlace::Path(path) => Ok(path.as_str()),
            WorkingPlace::Home => home.ok_or(Errno::NXIO),
        };
        let changed = place.and_then(rustix::process::chdir);
        match changed {
            Err(_) if working.missing_ok => rustix::process::chdir("/").at(Step::Chdir, || "/".into()),
            done => done.at(Step::Chdir, || place.unwrap_or("the user's home").to_owned()),
        }
    }
}

/// In lists of processes the program's name in parentheses, until it runs.
fn name_process(plan: &ExecPlan) {
    let base = plan.command.program.rsplit('/').next().unwrap_or_default();
    // Fifteen bytes are kept; the end of a long name tells more than its beginning.
    let start = base.char_indices().map(|(at, _)| at).find(|at| base.len() - at <= 8 || base.len() <= 13);
    let name = format!("({})", &base[start.unwrap_or(0)..]);
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

fn uses_terminal(plan: &ExecPlan) -> bool {
    let streams = &plan.streams;
    matches!(streams.input, Input::Tty(_))
        || streams.output == Output::Tty
        || streams.error == Output::Tty
        || streams.tty.path.is_some() && (streams.tty.reset || streams.tty.vhangup || streams.tty.disallocate)
}

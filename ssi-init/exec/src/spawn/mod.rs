// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager's half: a new process that is the executor, with its plan and descriptors where it looks for them.
//!
//! clone3(2) with CLONE_VM and CLONE_VFORK: nothing of the manager is copied, however big it is, and the manager
//! waits only until the executor's execve. CLONE_INTO_CGROUP puts the process into its control group before its
//! first instruction, so nothing it does is counted elsewhere and nothing escapes a freeze or kill. CLONE_PIDFD
//! names it without the races of numbers. CLONE_PARENT, when asked for, makes it a child of the manager's parent
//! (PID 1), which then reaps it whether or not the manager lives.
//!
//! On kernels and in containers where clone3 or the control group flag is refused, clone(2) is taken, and the new
//! process moves itself.

mod clone;

use crate::plan::{ExecPlan, FIRST_SLOT_FD, PlanError, Slot};
use crate::report::{Outcome, Report, ReportReader};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The slots that every launch has: the plan, and the pipe for reports.
const RESERVED: u16 = 2;
const REPORTS: Slot = Slot(1);
/// The word to begin.
const GO: &[u8] = b"g";

/// Why no process came to be.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The executor's file could not be opened.
    #[error("cannot open the executor {path}: {errno}; is ssi-init wholly installed?")]
    OpenExecutor {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
    },
    /// No memory for the child's stack.
    #[error("cannot map a stack for new processes: {0}")]
    Stack(Errno),
    /// The plan cannot be written down.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan's memfd, or the pipe for reports.
    #[error("cannot {attempt} for a new process: {errno}")]
    Descriptors {
        /// What was tried.
        attempt: &'static str,
        /// What the system said.
        errno: Errno,
    },
    /// More descriptors than a plan can number.
    #[error("{0} descriptors are too many for one process")]
    TooMany(usize),
    /// The kernel makes no process: EAGAIN for pids.max and RLIMIT_NPROC, EBUSY for a control group that has
    /// children with controllers, ENODEV for one that was removed.
    #[error("cannot create a process: {0}")]
    Clone(Errno),
    /// The process was made and could not enter its control group. It is gone again.
    #[error("a new process cannot enter its control group: {0}")]
    Cgroup(Errno),
    /// The process was made and could not arrange its descriptors. It is gone again.
    #[error("a new process cannot arrange its descriptors: {0}")]
    Fds(Errno),
    /// The process was made and could not run the executor. It is gone again.
    #[error("a new process cannot run the executor: {0}")]
    Executor(Errno),
}

/// One start, ready to go.
#[derive(Debug)]
pub struct Launch<'fd> {
    /// What it does.
    pub plan: ExecPlan,
    /// The directory of its control group (cgroup v2).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Whose child it is.
    pub parent: ChildOf,
    /// Whether to make a pipe for reports.
    pub reports: bool,
    /// Whether the program is to wait for [`release`] before it begins. Takes a channel for reports.
    ///
    /// A manager that dies before has started nothing, then: the executor waits on, for SIGCONT of a next manager that
    /// knows of it, or for the signal that ends it.
    pub gated: bool,
    passed: Vec<BorrowedFd<'fd>>,
}

/// Whose child a new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChildOf {
    /// The caller's.
    #[default]
    Caller,
    /// The caller's parent's, which reaps it: CLONE_PARENT.
    CallersParent,
}

impl<'fd> Launch<'fd> {
    /// A start of `plan`, with reports, as the caller's child, in the caller's control group.
    pub fn new(plan: ExecPlan) -> Launch<'fd> {
        Launch { plan, cgroup: None, parent: ChildOf::Caller, reports: true, gated: false, passed: Vec::new() }
    }

    /// Sends a descriptor along; the slot is for the plan's fields.
    pub fn pass(&mut self, fd: BorrowedFd<'fd>) -> Slot {
        self.passed.push(fd);
        Slot((self.passed.len() - 1) as u16 + RESERVED)
    }
}

/// Lets the program of a gated start begin. `channel`: its [`Spawned::reports`].
///
/// # Errors
/// When the process is gone; its reports tell why.
pub fn release(channel: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::net::send(channel, GO, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// A process that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// Its number in the caller's PID namespace.
    pub pid: rustix::process::Pid,
    /// Its name without races; readable when it has ended. `None` on kernels before 5.3.
    pub pidfd: Option<OwnedFd>,
    /// Its [`Report`]s: non-blocking, at its end when the program runs.
    pub reports: Option<OwnedFd>,
}

impl Spawned {
    /// Waits for the end of the reports: until the program runs, or will not. For callers that may block.
    pub fn wait_reports(&mut self) -> (Vec<Report>, Outcome) {
        let mut reader = ReportReader::default();
        let mut reports = Vec::new();
        let Some(pipe) = self.reports.take() else { return (reports, Outcome::Vanished) };
        let mut buffer = [0u8; 4096];
        loop {
            match rustix::io::read(&pipe, &mut buffer) {
                Ok(0) => break,
                Ok(count) => reports.extend(reader.feed(&buffer[..count])),
                Err(Errno::AGAIN) => {
                    let mut poll = [rustix::event::PollFd::new(&pipe, rustix::event::PollFlags::IN)];
                    let _ = rustix::event::poll(&mut poll, None);
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        (reports, reader.outcome())
    }
}

/// Starts processes through one executor.
#[derive(Debug)]
pub struct Spawner {
    executor: OwnedFd,
    stack: clone::Stack,
    means: clone::Means,
}

impl Spawner {
    /// With the executor at `path`. It is opened once: an upgrade of the file does not mix versions.
    ///
    /// # Errors
    /// When it cannot be opened, or no stack can be mapped.
    pub fn new(path: &Path) -> Result<Spawner, SpawnError> {
        let executor = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SpawnError::OpenExecutor { path: path.to_owned(), errno })?;
        Spawner::from_fd(executor)
    }

    /// With an executor that is open already.
    ///
    /// # Errors
    /// When no stack can be mapped.
    pub fn from_fd(executor: OwnedFd) -> Result<Spawner, SpawnError> {
        let stack = clone::Stack::new().map_err(SpawnError::Stack)?;
        Ok(Spawner { executor, stack, means: clone::Means::default() })
    }

    /// The executor's descriptor, for handing it on to a new manager.
    pub fn executor(&self) -> BorrowedFd<'_> {
        self.executor.as_fd()
    }

    /// Takes the older ways of making a process, as on a kernel without clone3: for tests of that way.
    pub fn without_clone3(mut self) -> Spawner {
        self.means.clone3 = false;
        self
    }

    /// Starts a process. Returns when it has become the executor, about a third of a millisecond later.
    ///
    /// # Errors
    /// When no process came to be, or it could not become the executor; nothing is left of it then, except that with
    /// [`ChildOf::CallersParent`] the parent has one more exit to reap.
    pub fn spawn(&mut self, launch: &Launch<'_>) -> Result<Spawned, SpawnError> {
        let count = launch.passed.len() + usize::from(RESERVED);
        if count > usize::from(u16::MAX / 2) {
            return Err(SpawnError::TooMany(count));
        }
        let (reports, writer) = channel(launch)?;
        let slot = writer.as_ref().map(|_| REPORTS);
        let plan = if launch.plan.reports == slot && launch.plan.gated == launch.gated {
            launch.plan.encode()?
        } else {
            ExecPlan { reports: slot, gated: launch.gated, ..launch.plan.clone() }.encode()?
        };
        let plan = write_memfd(&plan)?;

        let mut sources = Vec::with_capacity(count);
        sources.push(plan.as_raw_fd());
        sources.push(writer.as_ref().map_or(plan.as_raw_fd(), |writer| writer.as_raw_fd()));
        sources.extend(launch.passed.iter().map(AsRawFd::as_raw_fd));

        let born = clone::run_executor(
            &mut self.means,
            &mut self.stack,
            clone::Birth {
                executor: self.executor.as_fd(),
                sources: &sources,
                first: FIRST_SLOT_FD,
                cgroup: launch.cgroup,
                parent: launch.parent,
            },
        )?;
        Ok(Spawned { pid: born.pid, pidfd: born.pidfd, reports })
    }
}

/// What the new process tells its reports by, this side's end first; none, when it is to tell none.
fn channel(launch: &Launch<'_>) -> Result<(Option<OwnedFd>, Option<OwnedFd>), SpawnError> {
    let fail = |attempt| move |errno| SpawnError::Descriptors { attempt, errno };
    if launch.gated {
        // Both ways: reports come, and the word to begin goes.
        let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(fail("make a socket pair"))?;
        // This end alone: the executor waits at its own.
        rustix::io::ioctl_fionbio(&ours, true).map_err(fail("set up a socket"))?;
        return Ok((Some(ours), Some(its)));
    }
    if launch.reports {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(fail("make a pipe"))?;
        return Ok((Some(reader), Some(writer)));
    }
    Ok((None, None))
}

fn write_memfd(bytes: &[u8]) -> Result<OwnedFd, SpawnError> {
    let fail = |attempt| move |errno| SpawnError::Descriptors { attempt, errno };
    let memfd = rustix::fs::memfd_create("ssi-exec-plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(fail("make a memfd"))?;
    let mut written = 0;
    while written < bytes.len() {
        // pwrite: the offset stays at the beginning, where the executor reads.
        match rustix::io::pwrite(&memfd, &bytes[written..], written as u64) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail("write the plan")(errno)),
        }
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memfd, seals).map_err(fail("seal the plan"))?;
    Ok(memfd)
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Reaping. The agent is PID 1 of a namespace node, so children it never started become its own;
//! whoever waits for a child it did start is told by this one thread.

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus, wait, waitid};

use crate::protocol::Exit;

use super::lock;

/// How long an orphan may stay a zombie when the agent has no child of its own to wait for.
const IDLE: Duration = Duration::from_millis(200);

/// Whoever is told how a child ended.
type Told = Box<dyn FnOnce(Exit) + Send>;

/// The table of children that somebody waits for.
#[derive(Clone, Default)]
pub(super) struct Children(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<i32, Told>>,
    started: Condvar,
}

/// A child just started.
pub(super) struct Started {
    /// The process, for its pipes; it is never waited for through this.
    pub(super) child: std::process::Child,
    /// Its number.
    pub(super) pid: Pid,
}

impl Children {
    /// Starts the reaping thread.
    pub(super) fn start() -> Self {
        let children = Self::default();
        let reaper = children.clone();
        std::thread::spawn(move || reaper.reap());
        children
    }

    /// Starts a child; `told` hears of its end, on the reaper's thread: it must be quick.
    pub(super) fn spawn(&self, command: &mut Command, told: impl FnOnce(Exit) + Send + 'static) -> io::Result<Started> {
        // The lock is held from before the start until the registration: the reaper takes it between
        // seeing a dead child and collecting it, so a child that dies at once is still known.
        let mut waiting = lock(&self.0.waiting);
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the new process has no number"))?;
        waiting.insert(pid.as_raw_nonzero().get(), Box::new(told));
        self.0.started.notify_one();
        Ok(Started { child, pid })
    }

    fn reap(&self) {
        loop {
            // NOWAIT only says that somebody is dead. Collecting waits for the lock, because starting a
            // child under it may have to collect one itself: the one whose program did not exist.
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => {
                    let waiting = lock(&self.0.waiting);
                    let waited = self.0.started.wait_timeout(waiting, IDLE);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                    continue;
                }
            }
            let mut waiting = lock(&self.0.waiting);
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if let Some(told) = waiting.remove(&pid.as_raw_nonzero().get()) {
                    told(exit_of(status));
                }
            }
        }
    }
}

/// How a collected child ended.
fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

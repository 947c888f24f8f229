// SPDX-License-Identifier: GPL-2.0-or-later
//! The descriptors that came with the plan.

use super::sys;
use super::trouble::{At, failure};
use crate::plan::{ExecPlan, FIRST_SLOT_FD, Input, Output, Protection, Slot};
use crate::report::Failure;
use crate::step::Step;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The descriptors, moved above the numbers that the program's own are to get.
pub(super) struct Slots {
    table: Vec<OwnedFd>,
    beyond: i32,
}

impl Slots {
    /// Takes them over and closes every other descriptor but the standard three.
    pub(super) fn adopt(plan: &ExecPlan) -> Result<Slots, Failure> {
        let count = slots_of(plan).map(|slot| slot.0).max().map_or(0, |highest| i32::from(highest) + 1);
        let passed = (plan.passed.sockets.len() + plan.passed.stored.len()) as i32;
        let beyond = FIRST_SLOT_FD + count.max(passed);
        sys::close_range(FIRST_SLOT_FD + count, None).at(Step::Fds, || "closing what is not passed on".to_owned())?;
        let table = (FIRST_SLOT_FD..FIRST_SLOT_FD + count)
            .map(|number| sys::adopt(number, beyond).at(Step::Fds, || format!("taking over descriptor {number}")))
            .collect::<Result<_, _>>()?;
        sys::close_range(FIRST_SLOT_FD, Some(beyond - 1)).at(Step::Fds, || "clearing the way".to_owned())?;
        Ok(Slots { table, beyond })
    }

    /// One of them.
    pub(super) fn get(&self, slot: Slot) -> Result<BorrowedFd<'_>, Failure> {
        self.table
            .get(usize::from(slot.0))
            .map(AsFd::as_fd)
            .ok_or_else(|| failure(Step::Fds, None, format!("the plan names descriptor {} and brings none", slot.fd())))
    }

    /// The pipe for reports, where placing the passed descriptors does not write over it.
    pub(super) fn reports(&self, plan: &ExecPlan) -> Result<Option<OwnedFd>, Failure> {
        let Some(slot) = plan.reports else { return Ok(None) };
        rustix::io::fcntl_dupfd_cloexec(self.get(slot)?, self.beyond).map(Some).at(Step::Fds, || "reports".into())
    }

    /// Puts the passed descriptors at 3 and on, open over execve, blocking or not as the unit wants its sockets.
    pub(super) fn place_passed(&self, plan: &ExecPlan) -> Result<(), Failure> {
        let sockets = plan.passed.sockets.iter().map(|named| (named, true));
        let stored = plan.passed.stored.iter().map(|named| (named, false));
        for (number, (named, is_socket)) in (FIRST_SLOT_FD..).zip(sockets.chain(stored)) {
            let fd = self.get(named.slot)?;
            if is_socket {
                set_nonblocking(fd, plan.passed.nonblocking)
                    .at(Step::Fds, || format!("setting the flags of {}", named.name))?;
            }
            sys::place(fd, number).at(Step::Fds, || format!("passing {} as descriptor {number}", named.name))?;
        }
        Ok(())
    }
}

/// Sets or clears O_NONBLOCK.
pub(super) fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    let wanted = if nonblocking { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK };
    if wanted == flags { Ok(()) } else { rustix::fs::fcntl_setfl(&fd, wanted) }
}

/// Every slot that the plan speaks of.
fn slots_of(plan: &ExecPlan) -> impl Iterator<Item = Slot> + '_ {
    let input = match plan.streams.input {
        Input::Fd(slot) => Some(slot),
        _ => None,
    };
    let output = |output: &Output| match output {
        Output::Fd(slot) => Some(*slot),
        _ => None,
    };
    let shares = plan.protections.iter().flat_map(|protection| match protection {
        Protection::PrivateNetwork(Some(share)) | Protection::PrivateIpc(Some(share)) => vec![share.take, share.put],
        _ => Vec::new(),
    });
    [input, output(&plan.streams.output), output(&plan.streams.error), plan.streams.socket, plan.idle, plan.reports]
        .into_iter()
        .flatten()
        .chain(plan.passed.sockets.iter().chain(&plan.passed.stored).map(|named| named.slot))
        .chain(shares)
}

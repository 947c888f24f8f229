// SPDX-License-Identifier: GPL-2.0-or-later
//! What an earlier manager had begun and not written down is undone: processes that it made in a turn it did not live to
//! commit ([`crate::memory`]).

use std::collections::BTreeSet;
use std::fs;

use ssi_launch::cgroup::signal_process;
use ssi_manager::core::system::Priority;

use crate::machine::{Inner, is_executor};
use crate::memory::Intent;

const SIGKILL: i32 = 9;

/// Kills the processes of these intents, apart from those that belong to units by what is written (`known`).
pub(crate) fn undo(inner: &mut Inner, intents: &[Intent], known: &BTreeSet<u32>) {
    for intent in intents {
        let group = match &intent.subgroup {
            Some(below) => format!("{}/{below}", intent.cgroup),
            None => intent.cgroup.clone(),
        };
        for pid in inner.groups.processes(&group) {
            if known.contains(&pid) || !is_made_by_manager(pid) {
                continue;
            }
            let text = format!(
                "process {pid} was made by a manager that died before it was on record: it is ended before it began"
            );
            inner.log(Priority::Notice, Some(&intent.unit), &text);
            if let Err(errno) = signal_process(pid, SIGKILL) {
                inner.log(Priority::Warning, Some(&intent.unit), &format!("ending process {pid}: {errno}"));
            }
        }
    }
}

/// Whether a manager made this process, and not a process of its unit that left it to process 1: the executor tells each
/// program its own number (systemd.exec(5), `$SYSTEMD_EXEC_PID`), or it is the executor still.
fn is_made_by_manager(pid: u32) -> bool {
    let parent = parent_of(pid);
    let executor = is_executor(pid);
    let told = format!("SYSTEMD_EXEC_PID={pid}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let named = environment.split(|byte| *byte == 0).any(|entry| entry == told.as_bytes());
    parent == Some(1) && (executor || named)
}

fn parent_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

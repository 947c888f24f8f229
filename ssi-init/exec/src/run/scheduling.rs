// SPDX-License-Identifier: GPL-2.0-or-later
//! Priorities, limits, personality: what a process tells the kernel about itself.

use super::sys;
use super::trouble::{At, failure};
use crate::plan::{ExecPlan, KeyringMode, Limit, Personality, Resource};
use crate::report::Failure;
use crate::step::Step;
use rustix::io::Errno;
use std::num::NonZeroU64;

/// <linux/personality.h>; the machine's own is 0.
const PER_LINUX32: std::ffi::c_ulong = 8;

/// Everything but the limits, in systemd's order.
pub(super) fn apply(plan: &ExecPlan) -> Result<(), Failure> {
    let scheduling = &plan.scheduling;
    if let Some(score) = scheduling.oom_score_adjust {
        match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
            // In a container without the right to lower it, the start goes on.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            done => done.at(Step::OomAdjust, || format!("score {score}"))?,
        }
    }
    if let Some(filter) = plan.coredump_filter {
        std::fs::write("/proc/self/coredump_filter", format!("0x{filter:x}"))
            .at(Step::Limits, || format!("core dump filter 0x{filter:x}"))?;
    }
    if let Some(nice) = scheduling.nice {
        set_nice(nice).at(Step::Nice, || format!("nice level {nice}"))?;
    }
    if let Some(cpu) = scheduling.cpu {
        sys::set_scheduler(cpu)
            .at(Step::SetScheduler, || format!("policy {} with priority {}", cpu.policy, cpu.priority))?;
    }
    if let Some(processors) = &scheduling.affinity {
        sys::set_affinity(processors).at(Step::CpuAffinity, || format!("processors {processors:?}"))?;
    }
    if let Some((policy, nodes)) = &scheduling.numa {
        match sys::set_memory_policy(*policy, nodes) {
            // A kernel without NUMA has nothing to prefer.
            Err(Errno::NOSYS) => {}
            done => done.at(Step::NumaPolicy, || format!("{policy:?} on nodes {nodes:?}"))?,
        }
    }
    if let Some(io) = scheduling.io {
        sys::set_io_priority(io).at(Step::Ioprio, || format!("{:?} {}", io.class, io.level))?;
    }
    if let Some(slack) = scheduling.timer_slack_nsec {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(slack))
            .at(Step::TimerSlack, || format!("{slack} ns"))?;
    }
    if let Some(personality) = plan.personality {
        let persona = match personality {
            Personality::Native => 0,
            Personality::Linux32 => PER_LINUX32,
        };
        sys::set_personality(persona).at(Step::Personality, || format!("{personality:?}"))?;
    }
    Ok(())
}

/// A nice level, or the nearest that RLIMIT_NICE allows: 20 - limit is the lowest.
fn set_nice(nice: i32) -> Result<(), Errno> {
    let set = |nice| rustix::process::setpriority_process(None, nice);
    match set(nice) {
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
            let (soft, _) = sys::get_limit(Resource::Nice)?;
            let lowest = 20 - soft.min(40) as i32;
            if lowest <= nice {
                return Err(errno);
            }
            set(lowest.min(19))
        }
        done => done,
    }
}

/// `Limit…=`. Who may not raise a hard limit gets as close to the wish as it may.
pub(super) fn set_limits(limits: &[Limit]) -> Result<(), Failure> {
    for limit in limits {
        let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        if soft > hard {
            let text = format!("{:?}: {soft} is above the hard limit {hard}", limit.resource);
            return Err(failure(Step::Limits, Some(Errno::INVAL), text));
        }
        let set = match sys::set_limit(limit.resource, soft, hard) {
            Err(errno @ Errno::PERM) => match sys::get_limit(limit.resource) {
                Ok((_, present)) if present < hard => sys::set_limit(limit.resource, soft.min(present), present),
                _ => Err(errno),
            },
            done => done,
        };
        set.at(Step::Limits, || format!("{:?} to {soft}:{hard}", limit.resource))?;
    }
    Ok(())
}

/// `KeyringMode=`. Kernels and containers without keyrings, and users without room for one more, go on.
pub(super) fn set_keyring(plan: &ExecPlan, uid: Option<u32>, gid: Option<u32>) -> Result<(), Failure> {
    if plan.keyring == KeyringMode::Inherit {
        return Ok(());
    }
    let passed_over = |errno: Errno| matches!(errno, Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT);
    let attempt = || -> Result<(), Errno> {
        // The keyring is charged to, and the user's keyring is that of, the real user.
        let before = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        sys::set_real_ids(uid, gid)?;
        let joined = sys::join_session_keyring().and_then(|()| match plan.keyring {
            KeyringMode::Shared => sys::link_user_keyring(),
            _ => Ok(()),
        });
        sys::set_real_ids(uid.map(|_| before.0), gid.map(|_| before.1))?;
        joined?;
        match &plan.invocation_id {
            Some(id) => sys::add_session_key(c"invocation_id", id),
            None => Ok(()),
        }
    };
    match attempt() {
        Err(errno) if passed_over(errno) => Ok(()),
        done => done.at(Step::Keyring, String::new),
    }
}

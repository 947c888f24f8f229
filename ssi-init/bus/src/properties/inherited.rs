// SPDX-License-Identifier: GPL-2.0-or-later
//! What this process runs under: processes inherit it where their units do not tell. And what shares of the machine are of.

use std::fs;

use rustix::process::{Resource as Kernel, getpriority_process, getrlimit};
use ssi_unit::config::exec::{Resource, ResourceLimit};

use super::figures::Inherited;

/// A limit of this process.
pub fn limit(resource: Resource) -> ResourceLimit {
    let kernel = match resource {
        Resource::Cpu => Kernel::Cpu,
        Resource::Fsize => Kernel::Fsize,
        Resource::Data => Kernel::Data,
        Resource::Stack => Kernel::Stack,
        Resource::Core => Kernel::Core,
        Resource::Rss => Kernel::Rss,
        Resource::Nofile => Kernel::Nofile,
        Resource::As => Kernel::As,
        Resource::Nproc => Kernel::Nproc,
        Resource::Memlock => Kernel::Memlock,
        Resource::Locks => Kernel::Locks,
        Resource::Sigpending => Kernel::Sigpending,
        Resource::Msgqueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::Rtprio => Kernel::Rtprio,
        Resource::Rttime => Kernel::Rttime,
    };
    let limit = getrlimit(kernel);
    let number = |limit: Option<u64>| limit.unwrap_or(ResourceLimit::INFINITY);
    ResourceLimit { soft: number(limit.current), hard: number(limit.maximum) }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// What else of this process others inherit.
pub fn inherited() -> Inherited {
    let known = Inherited::default();
    let filter = read("/proc/self/coredump_filter").and_then(|text| u64::from_str_radix(&text, 16).ok());
    let number = |path: &str| read(path).and_then(|text| text.parse::<i64>().ok());
    let score = number("/proc/self/oom_score_adj").and_then(|score| i32::try_from(score).ok());
    let slack = number("/proc/self/timerslack_ns").and_then(|slack| u64::try_from(slack).ok());
    Inherited {
        nice: getpriority_process(None).unwrap_or(known.nice),
        oom_score_adjust: score.unwrap_or(known.oom_score_adjust),
        coredump_filter: filter.unwrap_or(known.coredump_filter),
        timer_slack: slack.unwrap_or(known.timer_slack),
    }
}

/// Bytes of memory that the machine has.
pub fn physical_memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    // Its type is another one on machines with 32 bits.
    #[allow(clippy::useless_conversion)]
    let total = u64::from(info.totalram);
    Some(total.saturating_mul(u64::from(info.mem_unit.max(1))))
}

/// The most tasks the kernel makes.
pub fn most_tasks() -> Option<u64> {
    let number = |path: &str| read(path).and_then(|text| text.parse::<u64>().ok());
    Some(number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_limits() {
        let files = limit(Resource::Nofile);
        assert!(files.soft > 2 && files.soft <= files.hard);
        assert!(physical_memory() > Some(1 << 20) && most_tasks() > Some(100));
        assert!((-20..20).contains(&inherited().nice));
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Priorities, limits, capabilities: what the kernel keeps for a process.

use serde::{Deserialize, Serialize};

/// Everything about when and where a process runs. Nothing set leaves what the manager has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduling {
    /// `Nice=`, -20 to 19.
    pub nice: Option<i32>,
    /// `CPUSchedulingPolicy=` and its priority.
    pub cpu: Option<Scheduler>,
    /// `IOSchedulingClass=`, `IOSchedulingPriority=`.
    pub io: Option<IoPriority>,
    /// `OOMScoreAdjust=`, -1000 to 1000.
    pub oom_score_adjust: Option<i32>,
    /// `CPUAffinity=`: numbers of processors.
    pub affinity: Option<Vec<u32>>,
    /// `NUMAPolicy=`, `NUMAMask=`.
    pub numa: Option<(NumaPolicy, Vec<u32>)>,
    /// `TimerSlackNSec=`, nanoseconds.
    pub timer_slack_nsec: Option<u64>,
}

/// sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// The policy: 0 other, 1 fifo, 2 rr, 3 batch, 5 idle (SCHED_…).
    pub policy: i32,
    /// The static priority, 0 where the policy has none.
    pub priority: i32,
    /// `CPUSchedulingResetOnFork=`.
    pub reset_on_fork: bool,
}

/// ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// The level in it, 0 (first) to 7.
    pub level: u8,
}

/// The I/O scheduler's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IoClass {
    /// By the nice level.
    None = 0,
    /// First, always.
    Realtime = 1,
    /// In turns.
    BestEffort = 2,
    /// When nothing else wants the disk.
    Idle = 3,
}

/// set_mempolicy(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NumaPolicy {
    /// MPOL_DEFAULT.
    Default = 0,
    /// MPOL_PREFERRED.
    Preferred = 1,
    /// MPOL_BIND.
    Bind = 2,
    /// MPOL_INTERLEAVE.
    Interleave = 3,
    /// MPOL_LOCAL.
    Local = 4,
}

/// One `Limit…=`. `None` is infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which one.
    pub resource: Resource,
    /// What the process starts with: bytes, seconds, microseconds or a count, as setrlimit(2) has it.
    pub soft: Option<u64>,
    /// How far it may raise it.
    pub hard: Option<u64>,
}

/// setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of the man page
pub enum Resource {
    Cpu,
    Fsize,
    Data,
    Stack,
    Core,
    Rss,
    Nofile,
    As,
    Nproc,
    Memlock,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
    Rttime,
}

/// capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// `CapabilityBoundingSet=`: the bits that stay.
    pub bounding: Option<u64>,
    /// `AmbientCapabilities=`.
    pub ambient: u64,
    /// `SecureBits=`, the bits of prctl(2) PR_SET_SECUREBITS.
    pub secure_bits: u32,
    /// `NoNewPrivileges=`, or what implies it.
    pub no_new_privileges: bool,
}

/// `KeyringMode=`. keyrings(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeyringMode {
    /// The manager's.
    Inherit,
    /// A new session keyring.
    #[default]
    Private,
    /// A new one with the user's linked in.
    Shared,
}

/// `Personality=`. personality(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Personality {
    /// The machine's own.
    Native,
    /// The 32-bit sister: uname(2) says so.
    Linux32,
}

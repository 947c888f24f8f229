// SPDX-License-Identifier: GPL-2.0-or-later
//! Resources of a unit: systemd.resource-control(5). Control groups of version 2; settings that only version 1 knows
//! (`CPUShares=`, `MemoryLimit=`, `BlockIO…=`) are translated as systemd does on version 2.

use std::net::IpAddr;
use std::time::Duration;

use super::manager::ManagerDefaults;
use super::words::words;
use crate::name::UnitName;

/// A number of bytes that may be told as a share of what the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of a percent of the machine's memory.
    Percent {
        /// 10,000 is all of it.
        hundredths: u32,
    },
    /// No limit.
    Infinity,
}

/// A number of tasks that may be told as a share of what the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TasksMax {
    /// So many.
    Count(u64),
    /// So many hundredths of a percent of the machine's maximum.
    Percent {
        /// 10,000 is all of it.
        hundredths: u32,
    },
    /// No limit.
    Infinity,
}

/// A share of the processors among siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuWeight {
    /// 1 to 10,000; 100 is the kernel's default.
    Weight(u64),
    /// Only when nobody else wants the processor.
    Idle,
}

words! {
    /// Which devices are open besides those of `DeviceAllow=` (`DevicePolicy=`).
    pub enum DevicePolicy {
        /// All, unless `DeviceAllow=` is used.
        Auto = "auto",
        /// Also /dev/null and its kin.
        Closed = "closed",
        /// None.
        Strict = "strict",
    }
}

/// A device a unit may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAllow {
    /// Path in /dev, or `char-GROUP` or `block-GROUP` with patterns.
    pub device: String,
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
    /// May make nodes.
    pub mknod: bool,
}

words! {
    /// Resources the control-group tree can hand out.
    pub enum Controller {
        /// Time of the processors.
        Cpu = "cpu",
        /// Accounting of processor time (version 1, and by the kernel's own count in version 2).
        Cpuacct = "cpuacct",
        /// Which processors and memory nodes.
        Cpuset = "cpuset",
        /// Input and output.
        Io = "io",
        /// Input and output of version 1.
        Blkio = "blkio",
        /// Memory.
        Memory = "memory",
        /// Devices (version 1).
        Devices = "devices",
        /// Number of tasks.
        Pids = "pids",
        /// Packet filter, by BPF.
        BpfFirewall = "bpf-firewall",
        /// Devices, by BPF.
        BpfDevices = "bpf-devices",
        /// Other BPF programs.
        BpfForeign = "bpf-foreign",
        /// Binding of sockets, by BPF.
        BpfSocketBind = "bpf-socket-bind",
        /// Network interfaces, by BPF.
        BpfRestrictNetworkInterfaces = "bpf-restrict-network-interfaces",
    }
}

/// What `Delegate=` hands over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegate {
    /// All controllers the unit has.
    All,
    /// These; none at all is allowed.
    Controllers(Vec<Controller>),
}

words! {
    /// Whether systemd-oomd watches a unit (`ManagedOOM…=`).
    pub enum ManagedOom {
        /// As its parents have it.
        Auto = "auto",
        /// It does.
        Kill = "kill",
    }
}

words! {
    /// How willingly systemd-oomd picks a unit (`ManagedOOMPreference=`).
    pub enum OomPreference {
        /// As it comes.
        None = "none",
        /// Rather not.
        Avoid = "avoid",
        /// Never.
        Omit = "omit",
    }
}

words! {
    /// Whether the memory pressure of the unit is told to its processes (`MemoryPressureWatch=`, systemd 254).
    pub enum PressureWatch {
        /// When memory accounting is on.
        Auto = "auto",
        /// Always.
        On = "on" | "yes" | "true" | "1" | "y" | "t",
        /// They are to keep from watching.
        Off = "off" | "no" | "false" | "0" | "n" | "f",
        /// Nothing is told.
        Skip = "skip",
    }
}

/// A value for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerDevice<T> {
    /// Device node, or a file or directory on the device.
    pub path: String,
    /// The value.
    pub value: T,
}

/// A set of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPrefix {
    /// First address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub length: u8,
}

/// Ports a unit may or may not bind (`SocketBindAllow=`, `SocketBindDeny=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBind {
    /// 4 or 6; `None`: both.
    pub ip_version: Option<u8>,
    /// tcp or udp; `None`: both.
    pub tcp: Option<bool>,
    /// First and last port; `None`: any.
    pub ports: Option<(u16, u16)>,
}

/// A set of numbers of processors or memory nodes, as ranges in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuSet {
    /// First and last of each range; the ranges are in order and do not touch.
    pub ranges: Vec<(u32, u32)>,
}

impl CpuSet {
    /// Adds the numbers from `first` to `last`.
    pub fn add(&mut self, first: u32, last: u32) {
        self.ranges.push((first, last));
        self.ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl std::fmt::Display for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// Control group of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupConfig {
    /// The slice it is in; `None`: the default of its type.
    pub slice: Option<UnitName>,
    /// Account for processor time.
    pub cpu_accounting: bool,
    /// Share of the processors; `None`: the kernel's default.
    pub cpu_weight: Option<CpuWeight>,
    /// Share of the processors while the machine starts and stops.
    pub startup_cpu_weight: Option<CpuWeight>,
    /// Hundredths of a percent of one processor at most; `None`: no limit.
    pub cpu_quota: Option<u64>,
    /// Over which time `cpu_quota` is counted; `None`: the kernel's default.
    pub cpu_quota_period: Option<Duration>,
    /// Processors.
    pub allowed_cpus: CpuSet,
    /// Processors while the machine starts and stops.
    pub startup_allowed_cpus: CpuSet,
    /// Memory nodes.
    pub allowed_memory_nodes: CpuSet,
    /// Memory nodes while the machine starts and stops.
    pub startup_allowed_memory_nodes: CpuSet,
    /// Account for memory.
    pub memory_accounting: bool,
    /// Never reclaimed below this; `None`: the parent's `default_memory_min`.
    pub memory_min: Option<MemoryLimit>,
    /// Reclaimed below this only when nothing else is left; `None`: the parent's `default_memory_low`.
    pub memory_low: Option<MemoryLimit>,
    /// `memory_min` of children that are told nothing.
    pub default_memory_min: Option<MemoryLimit>,
    /// `memory_low` of children that are told nothing.
    pub default_memory_low: Option<MemoryLimit>,
    /// Slowed down above this.
    pub memory_high: MemoryLimit,
    /// Never more than this.
    pub memory_max: MemoryLimit,
    /// Never more swap than this.
    pub memory_swap_max: MemoryLimit,
    /// Never more compressed swap than this (systemd 253).
    pub memory_zswap_max: MemoryLimit,
    /// Account for tasks.
    pub tasks_accounting: bool,
    /// Most tasks; `None`: not told.
    pub tasks_max: Option<TasksMax>,
    /// Account for input and output.
    pub io_accounting: bool,
    /// Share of input and output, 1 to 10,000; `None`: the kernel's default.
    pub io_weight: Option<u64>,
    /// The same while the machine starts and stops.
    pub startup_io_weight: Option<u64>,
    /// Share of input and output for one device.
    pub io_device_weight: Vec<PerDevice<u64>>,
    /// Most bytes read in a second.
    pub io_read_bandwidth_max: Vec<PerDevice<u64>>,
    /// Most bytes written in a second.
    pub io_write_bandwidth_max: Vec<PerDevice<u64>>,
    /// Most reads in a second.
    pub io_read_iops_max: Vec<PerDevice<u64>>,
    /// Most writes in a second.
    pub io_write_iops_max: Vec<PerDevice<u64>>,
    /// Mean wait of input and output to be held.
    pub io_device_latency_target: Vec<PerDevice<Duration>>,
    /// Which devices are open.
    pub device_policy: DevicePolicy,
    /// Devices open besides.
    pub device_allow: Vec<DeviceAllow>,
    /// What is handed over to the unit's own processes; `None`: nothing.
    pub delegate: Option<Delegate>,
    /// Name of the group below its own in which its main process is put (systemd 254).
    pub delegate_subgroup: Option<String>,
    /// Controllers not to be used below it.
    pub disable_controllers: Vec<Controller>,
    /// Account for IP traffic.
    pub ip_accounting: bool,
    /// IP traffic that is allowed; checked first.
    pub ip_address_allow: Vec<IpPrefix>,
    /// IP traffic that is not.
    pub ip_address_deny: Vec<IpPrefix>,
    /// Paths of pinned BPF programs for packets coming in.
    pub ip_ingress_filter_path: Vec<String>,
    /// Paths of pinned BPF programs for packets going out.
    pub ip_egress_filter_path: Vec<String>,
    /// Other BPF programs: where they are attached, and their path.
    pub bpf_program: Vec<(String, String)>,
    /// Ports it may bind.
    pub socket_bind_allow: Vec<SocketBind>,
    /// Ports it may not bind.
    pub socket_bind_deny: Vec<SocketBind>,
    /// Network interfaces it may use (with `true`) or may not use (with `false`).
    pub restrict_network_interfaces: Option<(bool, Vec<String>)>,
    /// systemd-oomd watches its swap.
    pub managed_oom_swap: ManagedOom,
    /// systemd-oomd watches its memory pressure.
    pub managed_oom_memory_pressure: ManagedOom,
    /// Limit of that pressure in hundredths of a percent; `None`: oomd's default.
    pub managed_oom_memory_pressure_limit: Option<u32>,
    /// How willingly systemd-oomd picks it.
    pub managed_oom_preference: OomPreference,
    /// Whether its processes are told of memory pressure.
    pub memory_pressure_watch: PressureWatch,
    /// Pressure, in time over a second, from which they are told.
    pub memory_pressure_threshold: Option<Duration>,
    /// Take core dumps of the processes below it itself (systemd 255).
    pub coredump_receive: bool,
    /// `tasks_max` before any file was read.
    pub(crate) tasks_max_before: Option<TasksMax>,
}

impl CgroupConfig {
    /// The settings before anything is read.
    pub fn new(defaults: &ManagerDefaults) -> CgroupConfig {
        CgroupConfig {
            slice: None,
            cpu_accounting: defaults.cpu_accounting,
            cpu_weight: None,
            startup_cpu_weight: None,
            cpu_quota: None,
            cpu_quota_period: None,
            allowed_cpus: CpuSet::default(),
            startup_allowed_cpus: CpuSet::default(),
            allowed_memory_nodes: CpuSet::default(),
            startup_allowed_memory_nodes: CpuSet::default(),
            memory_accounting: defaults.memory_accounting,
            memory_min: None,
            memory_low: None,
            default_memory_min: None,
            default_memory_low: None,
            memory_high: MemoryLimit::Infinity,
            memory_max: MemoryLimit::Infinity,
            memory_swap_max: MemoryLimit::Infinity,
            memory_zswap_max: MemoryLimit::Infinity,
            tasks_accounting: defaults.tasks_accounting,
            tasks_max: Some(defaults.tasks_max),
            io_accounting: defaults.io_accounting,
            io_weight: None,
            startup_io_weight: None,
            io_device_weight: Vec::new(),
            io_read_bandwidth_max: Vec::new(),
            io_write_bandwidth_max: Vec::new(),
            io_read_iops_max: Vec::new(),
            io_write_iops_max: Vec::new(),
            io_device_latency_target: Vec::new(),
            device_policy: DevicePolicy::Auto,
            device_allow: Vec::new(),
            delegate: None,
            delegate_subgroup: None,
            disable_controllers: Vec::new(),
            ip_accounting: defaults.ip_accounting,
            ip_address_allow: Vec::new(),
            ip_address_deny: Vec::new(),
            ip_ingress_filter_path: Vec::new(),
            ip_egress_filter_path: Vec::new(),
            bpf_program: Vec::new(),
            socket_bind_allow: Vec::new(),
            socket_bind_deny: Vec::new(),
            restrict_network_interfaces: None,
            managed_oom_swap: ManagedOom::Auto,
            managed_oom_memory_pressure: ManagedOom::Auto,
            managed_oom_memory_pressure_limit: None,
            managed_oom_preference: OomPreference::None,
            memory_pressure_watch: PressureWatch::Auto,
            memory_pressure_threshold: Some(Duration::from_millis(200)),
            coredump_receive: false,
            tasks_max_before: Some(defaults.tasks_max),
        }
    }
}

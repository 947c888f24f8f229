// SPDX-License-Identifier: GPL-2.0-or-later
//! Control groups: what the kernel counts for a unit, and what it is limited to (systemd.resource-control(5)).
//!
//! Settings of control groups of version 1 are read as those of version 2 that they stand for, and shown as those; their
//! own properties say that nothing is set.

use std::net::IpAddr;
use std::time::Duration;

use ssi_unit::config::cgroup::{
    Controller, CpuSet, CpuWeight, Delegate, IpPrefix, MemoryLimit, PerDevice, SocketBind, TasksMax,
};
use zbus::zvariant::Value;

use super::value::{bits, text, usec};
use super::{Property, View, silent};

const AF_UNSPEC: i32 = 0;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// What `Delegate=yes` hands over: the controllers of version 2 that are handed over at all.
const DELEGATED: [Controller; 5] =
    [Controller::Cpu, Controller::Cpuset, Controller::Io, Controller::Memory, Controller::Pids];

fn counted(v: &View<'_>, figure: &str) -> Value<'static> {
    v.counted(figure).unwrap_or(u64::MAX).into()
}

fn weight(weight: Option<CpuWeight>) -> Value<'static> {
    match weight {
        None => u64::MAX,
        Some(CpuWeight::Weight(weight)) => weight,
        Some(CpuWeight::Idle) => 0,
    }
    .into()
}

/// So many hundredths of a percent of a number.
fn share(of: u64, hundredths: u32) -> u64 {
    u64::try_from(u128::from(of) * u128::from(hundredths) / 10_000).unwrap_or(u64::MAX)
}

fn memory(v: &View<'_>, limit: MemoryLimit) -> u64 {
    match limit {
        MemoryLimit::Bytes(bytes) => bytes,
        MemoryLimit::Infinity => u64::MAX,
        MemoryLimit::Percent { hundredths } => {
            // In whole pages, as the kernel counts.
            v.figures.physical_memory().map_or(u64::MAX, |all| share(all, hundredths) & !0xfff)
        }
    }
}

fn guarantee(v: &View<'_>, limit: Option<MemoryLimit>) -> Value<'static> {
    limit.map_or(0, |limit| memory(v, limit)).into()
}

fn tasks(v: &View<'_>, limit: Option<TasksMax>) -> u64 {
    match limit {
        None | Some(TasksMax::Infinity) => u64::MAX,
        Some(TasksMax::Count(count)) => count,
        Some(TasksMax::Percent { hundredths }) => v.figures.most_tasks().map_or(u64::MAX, |all| share(all, hundredths)),
    }
}

fn set(set: Option<&CpuSet>) -> Value<'static> {
    set.map(bits).unwrap_or_default().into()
}

fn per_device(all: &[PerDevice<u64>]) -> Value<'static> {
    Value::from(all.iter().map(|one| (one.path.clone(), one.value)).collect::<Vec<_>>())
}

fn per_device_usec(all: &[PerDevice<Duration>]) -> Value<'static> {
    Value::from(all.iter().map(|one| (one.path.clone(), usec(Some(one.value)))).collect::<Vec<_>>())
}

/// Of version 1: never set.
fn none_per_device() -> Value<'static> {
    per_device(&[])
}

/// `(iayu)`: family, address, how many bits count.
fn prefixes(all: &[IpPrefix]) -> Value<'static> {
    let row = |prefix: &IpPrefix| match prefix.address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec(), u32::from(prefix.length)),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec(), u32::from(prefix.length)),
    };
    Value::from(all.iter().map(row).collect::<Vec<_>>())
}

/// `(iiqq)`: family, protocol, how many ports, the first one.
fn binds(all: &[SocketBind]) -> Value<'static> {
    let row = |bind: &SocketBind| {
        let family = match bind.ip_version {
            None => AF_UNSPEC,
            Some(4) => AF_INET,
            Some(_) => AF_INET6,
        };
        let protocol = match bind.tcp {
            None => 0,
            Some(true) => 6,
            Some(false) => 17,
        };
        let (count, first) = match bind.ports {
            // All of them: 65,536 does not fit, and so is written as none.
            None => (0, 0),
            Some((first, last)) => (last.wrapping_sub(first).wrapping_add(1), first),
        };
        (family, protocol, count, first)
    };
    // The one that was read last stands first there.
    Value::from(all.iter().rev().map(row).collect::<Vec<(i32, i32, u16, u16)>>())
}

fn controllers(all: &[Controller]) -> Vec<&'static str> {
    Controller::ALL.iter().filter(|one| all.contains(one)).map(|one| one.as_str()).collect()
}

/// A path below the root of the tree.
fn group(v: &View<'_>) -> String {
    let Some(group) = v.unit.runtime.cgroup.as_deref() else { return String::new() };
    let path = format!("{}/{group}", v.figures.root_group().trim_end_matches('/'));
    if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path }
}

fn memory_limit(v: &View<'_>, limit: MemoryLimit) -> Value<'static> {
    memory(v, limit).into()
}

pub(super) const TABLE: &[Property] = &[
    silent("Slice", "s", |v| text(v.core.slice_of(v.id).map_or("", |slice| v.core.unit(slice).name.as_str()))),
    silent("ControlGroup", "s", |v| text(&group(v))),
    silent("ControlGroupId", "t", |v| v.counted("ControlGroupId").unwrap_or(0).into()),
    silent("MemoryCurrent", "t", |v| counted(v, "MemoryCurrent")),
    silent("MemoryAvailable", "t", |v| counted(v, "MemoryAvailable")),
    silent("CPUUsageNSec", "t", |v| counted(v, "CPUUsageNSec")),
    silent("EffectiveCPUs", "ay", |v| {
        set(v.unit.runtime.cgroup.as_deref().and_then(|group| v.figures.effective_cpus(group)).as_ref())
    }),
    silent("EffectiveMemoryNodes", "ay", |v| {
        set(v.unit.runtime.cgroup.as_deref().and_then(|group| v.figures.effective_memory_nodes(group)).as_ref())
    }),
    silent("TasksCurrent", "t", |v| counted(v, "TasksCurrent")),
    silent("IPIngressBytes", "t", |v| counted(v, "IPIngressBytes")),
    silent("IPIngressPackets", "t", |v| counted(v, "IPIngressPackets")),
    silent("IPEgressBytes", "t", |v| counted(v, "IPEgressBytes")),
    silent("IPEgressPackets", "t", |v| counted(v, "IPEgressPackets")),
    silent("IOReadBytes", "t", |v| counted(v, "IOReadBytes")),
    silent("IOReadOperations", "t", |v| counted(v, "IOReadOperations")),
    silent("IOWriteBytes", "t", |v| counted(v, "IOWriteBytes")),
    silent("IOWriteOperations", "t", |v| counted(v, "IOWriteOperations")),
    silent("Delegate", "b", |v| v.cgroup().delegate.is_some().into()),
    silent("DelegateControllers", "as", |v| {
        match &v.cgroup().delegate {
            None => Vec::new(),
            Some(Delegate::All) => controllers(&DELEGATED),
            Some(Delegate::Controllers(named)) => controllers(named),
        }
        .into()
    }),
    silent("CPUAccounting", "b", |v| v.cgroup().cpu_accounting.into()),
    silent("CPUWeight", "t", |v| weight(v.cgroup().cpu_weight)),
    silent("StartupCPUWeight", "t", |v| weight(v.cgroup().startup_cpu_weight)),
    silent("CPUShares", "t", |_| u64::MAX.into()),
    silent("StartupCPUShares", "t", |_| u64::MAX.into()),
    // Hundredths of a percent of a second.
    silent("CPUQuotaPerSecUSec", "t", |v| v.cgroup().cpu_quota.map_or(u64::MAX, |quota| quota * 100).into()),
    silent("CPUQuotaPeriodUSec", "t", |v| usec(v.cgroup().cpu_quota_period).into()),
    silent("AllowedCPUs", "ay", |v| bits(&v.cgroup().allowed_cpus).into()),
    silent("StartupAllowedCPUs", "ay", |v| bits(&v.cgroup().startup_allowed_cpus).into()),
    silent("AllowedMemoryNodes", "ay", |v| bits(&v.cgroup().allowed_memory_nodes).into()),
    silent("StartupAllowedMemoryNodes", "ay", |v| bits(&v.cgroup().startup_allowed_memory_nodes).into()),
    silent("IOAccounting", "b", |v| v.cgroup().io_accounting.into()),
    silent("IOWeight", "t", |v| v.cgroup().io_weight.unwrap_or(u64::MAX).into()),
    silent("StartupIOWeight", "t", |v| v.cgroup().startup_io_weight.unwrap_or(u64::MAX).into()),
    silent("IODeviceWeight", "a(st)", |v| per_device(&v.cgroup().io_device_weight)),
    silent("IOReadBandwidthMax", "a(st)", |v| per_device(&v.cgroup().io_read_bandwidth_max)),
    silent("IOWriteBandwidthMax", "a(st)", |v| per_device(&v.cgroup().io_write_bandwidth_max)),
    silent("IOReadIOPSMax", "a(st)", |v| per_device(&v.cgroup().io_read_iops_max)),
    silent("IOWriteIOPSMax", "a(st)", |v| per_device(&v.cgroup().io_write_iops_max)),
    silent("IODeviceLatencyTargetUSec", "a(st)", |v| per_device_usec(&v.cgroup().io_device_latency_target)),
    silent("BlockIOAccounting", "b", |_| false.into()),
    silent("BlockIOWeight", "t", |_| u64::MAX.into()),
    silent("StartupBlockIOWeight", "t", |_| u64::MAX.into()),
    silent("BlockIODeviceWeight", "a(st)", |_| none_per_device()),
    silent("BlockIOReadBandwidth", "a(st)", |_| none_per_device()),
    silent("BlockIOWriteBandwidth", "a(st)", |_| none_per_device()),
    silent("MemoryAccounting", "b", |v| v.cgroup().memory_accounting.into()),
    silent("DefaultMemoryLow", "t", |v| guarantee(v, v.cgroup().default_memory_low)),
    silent("DefaultMemoryMin", "t", |v| guarantee(v, v.cgroup().default_memory_min)),
    silent("MemoryMin", "t", |v| guarantee(v, v.cgroup().memory_min)),
    silent("MemoryLow", "t", |v| guarantee(v, v.cgroup().memory_low)),
    silent("MemoryHigh", "t", |v| memory_limit(v, v.cgroup().memory_high)),
    silent("MemoryMax", "t", |v| memory_limit(v, v.cgroup().memory_max)),
    silent("MemorySwapMax", "t", |v| memory_limit(v, v.cgroup().memory_swap_max)),
    silent("MemoryLimit", "t", |_| u64::MAX.into()),
    silent("DevicePolicy", "s", |v| text(v.cgroup().device_policy.as_str())),
    silent("DeviceAllow", "a(ss)", |v| {
        let rights = |[read, write, mknod]: [bool; 3]| {
            [(read, 'r'), (write, 'w'), (mknod, 'm')]
                .iter()
                .filter(|(has, _)| *has)
                .map(|(_, letter)| *letter)
                .collect()
        };
        let row = |allow: &ssi_unit::config::cgroup::DeviceAllow| -> (String, String) {
            (allow.device.clone(), rights([allow.read, allow.write, allow.mknod]))
        };
        // The one that was read last stands first there.
        Value::from(v.cgroup().device_allow.iter().rev().map(row).collect::<Vec<_>>())
    }),
    silent("TasksAccounting", "b", |v| v.cgroup().tasks_accounting.into()),
    silent("TasksMax", "t", |v| tasks(v, v.cgroup().tasks_max).into()),
    silent("IPAccounting", "b", |v| v.cgroup().ip_accounting.into()),
    silent("IPAddressAllow", "a(iayu)", |v| prefixes(&v.cgroup().ip_address_allow)),
    silent("IPAddressDeny", "a(iayu)", |v| prefixes(&v.cgroup().ip_address_deny)),
    silent("IPIngressFilterPath", "as", |v| v.cgroup().ip_ingress_filter_path.clone().into()),
    silent("IPEgressFilterPath", "as", |v| v.cgroup().ip_egress_filter_path.clone().into()),
    silent("DisableControllers", "as", |v| controllers(&v.cgroup().disable_controllers).into()),
    silent("ManagedOOMSwap", "s", |v| text(v.cgroup().managed_oom_swap.as_str())),
    silent("ManagedOOMMemoryPressure", "s", |v| text(v.cgroup().managed_oom_memory_pressure.as_str())),
    // A share of all 32 bits.
    silent("ManagedOOMMemoryPressureLimit", "u", |v| {
        let hundredths = v.cgroup().managed_oom_memory_pressure_limit.unwrap_or(0);
        u32::try_from((u64::from(hundredths) * u64::from(u32::MAX) + 5_000) / 10_000).unwrap_or(u32::MAX).into()
    }),
    silent("ManagedOOMPreference", "s", |v| text(v.cgroup().managed_oom_preference.as_str())),
    silent("BPFProgram", "a(ss)", |v| Value::from(v.cgroup().bpf_program.clone())),
    silent("SocketBindAllow", "a(iiqq)", |v| binds(&v.cgroup().socket_bind_allow)),
    silent("SocketBindDeny", "a(iiqq)", |v| binds(&v.cgroup().socket_bind_deny)),
    silent("RestrictNetworkInterfaces", "(bas)", |v| {
        Value::from(v.cgroup().restrict_network_interfaces.clone().unwrap_or_default())
    }),
];

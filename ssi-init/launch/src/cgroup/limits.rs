// SPDX-License-Identifier: GPL-2.0-or-later
//! From `CgroupConfig` to the files of a group: which file, which value, which controller. Pure.
//!
//! The files are those of the kernel's `Documentation/admin-guide/cgroup-v2.rst`; what a setting means is in
//! systemd.resource-control(5). Values are written even where they are the default, so that a unit that is reloaded
//! loses a limit that its file no longer has.

use std::time::Duration;

use ssi_unit::config::CgroupConfig;
use ssi_unit::config::cgroup::{
    Controller, CpuSet, CpuWeight, Delegate, DevicePolicy, ManagedOom, MemoryLimit, PerDevice, TasksMax,
};

/// The controllers of version 2 that settings speak of, by the kernel's names.
pub(super) const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The kernel's bounds of a quota's period, and the least quota (kernel/sched/core.c, `tg_set_cfs_bandwidth`).
const LONGEST_PERIOD: u64 = 1_000_000;
const SHORTEST_PERIOD: u64 = 1_000;
const LEAST_QUOTA: u64 = 1_000;
const USUAL_PERIOD: u64 = 100_000;
const USUAL_WEIGHT: u64 = 100;

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// The file.
    pub(super) file: &'static str,
    /// What is written.
    pub(super) value: String,
    /// The setting that says so.
    pub(super) setting: &'static str,
    /// The value is what a new group has, so nothing is lost where it cannot be written.
    pub(super) usual: bool,
}

/// What shares are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Tasks.
    pub(super) tasks: u64,
}

/// What a group takes from the slices above it where it is told nothing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Inherited {
    /// `DefaultMemoryMin=`.
    pub(super) memory_min: Option<MemoryLimit>,
    /// `DefaultMemoryLow=`.
    pub(super) memory_low: Option<MemoryLimit>,
}

/// The kernel's name of a controller, where version 2 has it.
fn kernel_name(controller: Controller) -> Option<&'static str> {
    match controller {
        Controller::Cpu => Some("cpu"),
        Controller::Cpuset => Some("cpuset"),
        Controller::Io | Controller::Blkio => Some("io"),
        Controller::Memory => Some("memory"),
        Controller::Pids => Some("pids"),
        _ => None,
    }
}

/// The controllers a unit does not let be used below it (`DisableControllers=`).
pub(super) fn disabled(config: &CgroupConfig) -> Vec<&'static str> {
    config.disable_controllers.iter().filter_map(|controller| kernel_name(*controller)).collect()
}

/// The controllers that the settings need in the group, which its parents have to hand down.
///
/// Processor time is counted in every group (`cpu.stat`), so `CPUAccounting=` needs none.
pub(super) fn needed(config: &CgroupConfig, starting: bool) -> Vec<&'static str> {
    let startup = |set: bool| set && starting;
    let delegated = |name: &str| match &config.delegate {
        None => false,
        Some(Delegate::All) => true,
        Some(Delegate::Controllers(list)) => list.iter().any(|controller| kernel_name(*controller) == Some(name)),
    };
    let limited = |limit: MemoryLimit| limit != MemoryLimit::Infinity;
    let wanted = |name: &str| match name {
        "cpu" => {
            config.cpu_weight.is_some() || startup(config.startup_cpu_weight.is_some()) || config.cpu_quota.is_some()
        }
        "cpuset" => {
            !config.allowed_cpus.is_empty()
                || !config.allowed_memory_nodes.is_empty()
                || startup(!config.startup_allowed_cpus.is_empty())
                || startup(!config.startup_allowed_memory_nodes.is_empty())
        }
        "io" => {
            config.io_accounting
                || config.io_weight.is_some()
                || startup(config.startup_io_weight.is_some())
                || !config.io_device_weight.is_empty()
                || !config.io_device_latency_target.is_empty()
                || !bandwidths(config).is_empty()
        }
        "memory" => {
            config.memory_accounting
                || config.memory_min.is_some()
                || config.memory_low.is_some()
                || limited(config.memory_high)
                || limited(config.memory_max)
                || limited(config.memory_swap_max)
                || limited(config.memory_zswap_max)
        }
        "pids" => config.tasks_accounting || config.tasks_max.is_some_and(|tasks| tasks != TasksMax::Infinity),
        _ => false,
    };
    CONTROLLERS.into_iter().filter(|name| wanted(name) || delegated(name)).collect()
}

/// Every file and its value, but for those with a line for each device.
pub(super) fn attributes(
    config: &CgroupConfig,
    inherited: Inherited,
    totals: Totals,
    starting: bool,
) -> Vec<Attribute> {
    let mut list = memory(config, inherited, totals);
    cpu(config, starting, &mut list);
    let cpus = chosen(&config.allowed_cpus, &config.startup_allowed_cpus, starting);
    let nodes = chosen(&config.allowed_memory_nodes, &config.startup_allowed_memory_nodes, starting);
    for (file, setting, set) in [("cpuset.cpus", "AllowedCPUs=", cpus), ("cpuset.mems", "AllowedMemoryNodes=", nodes)] {
        list.push(Attribute { file, value: set.to_string(), setting, usual: set.is_empty() });
    }
    let tasks = match config.tasks_max {
        None | Some(TasksMax::Infinity) => None,
        Some(TasksMax::Count(count)) => Some(count),
        Some(TasksMax::Percent { hundredths }) => Some(share(totals.tasks, hundredths).max(1)),
    };
    let value = tasks.map_or_else(|| "max".to_owned(), |tasks| tasks.to_string());
    list.push(Attribute { file: "pids.max", value, setting: "TasksMax=", usual: tasks.is_none() });
    let weight = config.startup_io_weight.filter(|_| starting).or(config.io_weight).unwrap_or(USUAL_WEIGHT);
    let (value, usual) = (format!("default {weight}"), weight == USUAL_WEIGHT);
    list.push(Attribute { file: "io.weight", value, setting: "IOWeight=", usual });
    // Read by the BFQ scheduler alone; its scale is shorter. Nothing is lost where there is no such scheduler.
    let value = bfq_weight(weight).to_string();
    list.push(Attribute { file: "io.bfq.weight", value, setting: "IOWeight=", usual: true });
    list
}

fn memory(config: &CgroupConfig, inherited: Inherited, totals: Totals) -> Vec<Attribute> {
    let bytes = |limit: MemoryLimit| match limit {
        MemoryLimit::Bytes(bytes) => bytes.to_string(),
        MemoryLimit::Percent { hundredths } => share(totals.memory, hundredths).to_string(),
        MemoryLimit::Infinity => "max".to_owned(),
    };
    let kept = |file, setting, own: Option<MemoryLimit>, above: Option<MemoryLimit>| {
        let limit = own.or(above).unwrap_or(MemoryLimit::Bytes(0));
        Attribute { file, value: bytes(limit), setting, usual: limit == MemoryLimit::Bytes(0) }
    };
    let most = |file, setting, limit: MemoryLimit| Attribute {
        file,
        value: bytes(limit),
        setting,
        usual: limit == MemoryLimit::Infinity,
    };
    vec![
        kept("memory.min", "MemoryMin=", config.memory_min, inherited.memory_min),
        kept("memory.low", "MemoryLow=", config.memory_low, inherited.memory_low),
        most("memory.high", "MemoryHigh=", config.memory_high),
        most("memory.max", "MemoryMax=", config.memory_max),
        most("memory.swap.max", "MemorySwapMax=", config.memory_swap_max),
        most("memory.zswap.max", "MemoryZSwapMax=", config.memory_zswap_max),
    ]
}

fn cpu(config: &CgroupConfig, starting: bool, list: &mut Vec<Attribute>) {
    let setting = "CPUWeight=";
    let weight = config.startup_cpu_weight.filter(|_| starting).or(config.cpu_weight);
    match weight {
        Some(CpuWeight::Idle) => {
            list.push(Attribute { file: "cpu.idle", value: "1".to_owned(), setting, usual: false });
        }
        None | Some(CpuWeight::Weight(_)) => {
            let weight = match weight {
                Some(CpuWeight::Weight(weight)) => weight,
                _ => USUAL_WEIGHT,
            };
            // First: the kernel takes no weight for a group that is idle.
            list.push(Attribute { file: "cpu.idle", value: "0".to_owned(), setting, usual: true });
            let usual = weight == USUAL_WEIGHT;
            list.push(Attribute { file: "cpu.weight", value: weight.to_string(), setting, usual });
        }
    }
    let period = config.cpu_quota_period.map_or(USUAL_PERIOD, micros).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    let value = match config.cpu_quota {
        None => format!("max {period}"),
        Some(quota) => {
            let (quota, period) = quota_in(quota, period);
            format!("{quota} {period}")
        }
    };
    list.push(Attribute { file: "cpu.max", value, setting: "CPUQuota=", usual: config.cpu_quota.is_none() });
}

/// Quota and period in microseconds, of a quota in hundredths of a percent. A quota that would be less than the kernel
/// takes gets a longer period, as long as there is one.
fn quota_in(hundredths: u64, period: u64) -> (u64, u64) {
    let of = |period: u64| period.saturating_mul(hundredths) / 10_000;
    let period = if of(period) < LEAST_QUOTA {
        (LEAST_QUOTA * 10_000).div_ceil(hundredths.max(1)).clamp(period, LONGEST_PERIOD)
    } else {
        period
    };
    (of(period).max(LEAST_QUOTA), period)
}

fn chosen<'a>(set: &'a CpuSet, startup: &'a CpuSet, starting: bool) -> &'a CpuSet {
    if starting && !startup.is_empty() { startup } else { set }
}

fn share(whole: u64, hundredths: u32) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(hundredths) / 10_000).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// 1..100..10000 on BFQ's 1..100..1000.
fn bfq_weight(weight: u64) -> u64 {
    if weight <= USUAL_WEIGHT { weight } else { 100 + (weight - 100) * 900 / 9_900 }
}

/// A line of a file that has one for each device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceLine {
    /// The device, or something on it.
    pub(super) path: String,
    /// What stands behind its number.
    pub(super) value: String,
}

/// A file with a line for each device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceFile {
    /// The file.
    pub(super) file: &'static str,
    /// The setting.
    pub(super) setting: &'static str,
    /// What takes a device's line away.
    pub(super) reset: &'static str,
    /// The lines.
    pub(super) lines: Vec<DeviceLine>,
}

/// Limits by device.
pub(super) fn device_files(config: &CgroupConfig) -> [DeviceFile; 3] {
    let lines =
        |list: Vec<(String, String)>| list.into_iter().map(|(path, value)| DeviceLine { path, value }).collect();
    let weights = config.io_device_weight.iter().map(|each| (each.path.clone(), each.value.to_string()));
    let latencies = config
        .io_device_latency_target
        .iter()
        .map(|each| (each.path.clone(), format!("target={}", micros(each.value))));
    [
        DeviceFile {
            file: "io.max",
            setting: "IO…Max=",
            reset: "rbps=max wbps=max riops=max wiops=max",
            lines: lines(bandwidths(config)),
        },
        DeviceFile { file: "io.weight", setting: "IODeviceWeight=", reset: "default", lines: lines(weights.collect()) },
        DeviceFile {
            file: "io.latency",
            setting: "IODeviceLatencyTargetSec=",
            reset: "target=0",
            lines: lines(latencies.collect()),
        },
    ]
}

/// `io.max` has all four limits of a device on one line.
fn bandwidths(config: &CgroupConfig) -> Vec<(String, String)> {
    let lists: [(&str, &[PerDevice<u64>]); 4] = [
        ("rbps", &config.io_read_bandwidth_max),
        ("wbps", &config.io_write_bandwidth_max),
        ("riops", &config.io_read_iops_max),
        ("wiops", &config.io_write_iops_max),
    ];
    let mut paths: Vec<&str> = Vec::new();
    for each in lists.iter().flat_map(|(_, list)| list.iter()) {
        if !paths.contains(&each.path.as_str()) {
            paths.push(&each.path);
        }
    }
    let line = |path: &str| {
        let value = |list: &[PerDevice<u64>]| {
            let own = list.iter().rev().find(|each| each.path == path).filter(|each| each.value != u64::MAX);
            own.map_or_else(|| "max".to_owned(), |each| each.value.to_string())
        };
        lists.map(|(word, list)| format!("{word}={}", value(list))).join(" ")
    };
    paths.into_iter().map(|path| (path.to_owned(), line(path))).collect()
}

/// Settings that need a program in the kernel (BPF) or another daemon, which nobody here gives.
pub(super) fn not_given(config: &CgroupConfig) -> Vec<&'static str> {
    let mut list = Vec::new();
    let mut note = |on: bool, setting| {
        if on {
            list.push(setting);
        }
    };
    note(config.device_policy != DevicePolicy::Auto, "DevicePolicy=");
    note(!config.device_allow.is_empty(), "DeviceAllow=");
    note(!config.ip_address_allow.is_empty(), "IPAddressAllow=");
    note(!config.ip_address_deny.is_empty(), "IPAddressDeny=");
    note(!config.ip_ingress_filter_path.is_empty(), "IPIngressFilterPath=");
    note(!config.ip_egress_filter_path.is_empty(), "IPEgressFilterPath=");
    note(!config.bpf_program.is_empty(), "BPFProgram=");
    note(!config.socket_bind_allow.is_empty(), "SocketBindAllow=");
    note(!config.socket_bind_deny.is_empty(), "SocketBindDeny=");
    note(config.restrict_network_interfaces.is_some(), "RestrictNetworkInterfaces=");
    note(config.managed_oom_swap == ManagedOom::Kill, "ManagedOOMSwap=");
    note(config.managed_oom_memory_pressure == ManagedOom::Kill, "ManagedOOMMemoryPressure=");
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::config::ManagerDefaults;

    const TOTALS: Totals = Totals { memory: 1_000_000, tasks: 20_000 };

    fn config(change: impl FnOnce(&mut CgroupConfig)) -> CgroupConfig {
        let mut config = CgroupConfig::new(&ManagerDefaults::default());
        change(&mut config);
        config
    }

    fn value(config: &CgroupConfig, file: &str, starting: bool) -> (String, bool) {
        let list = attributes(config, Inherited::default(), TOTALS, starting);
        let found: Vec<_> = list.iter().filter(|attribute| attribute.file == file).collect();
        assert_eq!(found.len(), 1, "{file}");
        (found[0].value.clone(), found[0].usual)
    }

    #[test]
    fn a_unit_that_says_nothing_has_what_a_new_group_has_but_for_its_share_of_tasks() {
        let plain = config(|_| {});
        let odd: Vec<_> = attributes(&plain, Inherited::default(), TOTALS, true)
            .into_iter()
            .filter(|attribute| !attribute.usual)
            .collect();
        assert_eq!(odd.len(), 1);
        assert_eq!((odd[0].file, odd[0].value.as_str()), ("pids.max", "3000"));
        assert_eq!(needed(&plain, true), ["memory", "pids"]);
        assert!(not_given(&plain).is_empty() && device_files(&plain).iter().all(|file| file.lines.is_empty()));
    }

    #[test]
    fn quotas_keep_to_what_the_kernel_takes() {
        let quota = |hundredths, period: Option<u64>| {
            let config = config(|config| {
                config.cpu_quota = Some(hundredths);
                config.cpu_quota_period = period.map(Duration::from_micros);
            });
            value(&config, "cpu.max", false).0
        };
        assert_eq!(quota(2_000, None), "20000 100000");
        assert_eq!(quota(20_000, Some(10_000)), "20000 10000");
        // Half a percent of 100 ms is too little: of 200 ms it is not.
        assert_eq!(quota(50, None), "1000 200000");
        assert_eq!(quota(1, None), "1000 1000000");
        assert_eq!(quota(5_000, Some(5_000_000)), "500000 1000000");
    }

    #[test]
    fn shares_of_the_machine_and_what_slices_hand_down() {
        let limited = config(|config| {
            config.memory_max = MemoryLimit::Percent { hundredths: 5_000 };
            config.memory_high = MemoryLimit::Bytes(4096);
        });
        assert_eq!(value(&limited, "memory.max", false), ("500000".to_owned(), false));
        assert_eq!(value(&limited, "memory.high", false), ("4096".to_owned(), false));
        assert_eq!(value(&limited, "memory.low", false), ("0".to_owned(), true));
        let above = Inherited { memory_low: Some(MemoryLimit::Bytes(7)), memory_min: None };
        let low = |config: &CgroupConfig| {
            let list = attributes(config, above, TOTALS, false);
            list.into_iter().find(|attribute| attribute.file == "memory.low").unwrap().value
        };
        assert_eq!(low(&limited), "7");
        assert_eq!(low(&config(|config| config.memory_low = Some(MemoryLimit::Bytes(0)))), "0");
    }

    #[test]
    fn startup_settings_hold_while_the_machine_starts() {
        let mut cpus = CpuSet::default();
        cpus.add(1, 1);
        let both = config(|config| {
            config.cpu_weight = Some(CpuWeight::Weight(50));
            config.startup_cpu_weight = Some(CpuWeight::Idle);
            config.startup_allowed_cpus = cpus;
        });
        assert_eq!(value(&both, "cpu.idle", true).0, "1");
        assert_eq!(value(&both, "cpu.weight", false).0, "50");
        assert_eq!(value(&both, "cpuset.cpus", true).0, "1");
        assert_eq!(value(&both, "cpuset.cpus", false).0, "");
        assert_eq!(needed(&both, true), ["cpu", "cpuset", "memory", "pids"]);
        assert_eq!(needed(&both, false), ["cpu", "memory", "pids"]);
    }

    #[test]
    fn one_line_a_device_with_all_its_limits() {
        let each = |path: &str, value| PerDevice { path: path.into(), value };
        let limited = config(|config| {
            config.io_read_bandwidth_max = vec![each("/dev/a", 5), each("/dev/a", 6), each("/dev/b", u64::MAX)];
            config.io_write_iops_max = vec![each("/dev/a", 7)];
        });
        let [max, ..] = device_files(&limited);
        let lines: Vec<_> = max.lines.iter().map(|line| (line.path.as_str(), line.value.as_str())).collect();
        assert_eq!(
            lines,
            [("/dev/a", "rbps=6 wbps=max riops=max wiops=7"), ("/dev/b", "rbps=max wbps=max riops=max wiops=max")]
        );
        assert!(needed(&limited, false).contains(&"io"));
    }

    #[test]
    fn what_is_delegated_is_needed() {
        let all = config(|config| config.delegate = Some(Delegate::All));
        assert_eq!(needed(&all, false), CONTROLLERS);
        let some = config(|config| {
            config.delegate = Some(Delegate::Controllers(vec![Controller::Cpu]));
            config.memory_accounting = false;
            config.tasks_accounting = false;
            config.tasks_max = None;
        });
        assert_eq!(needed(&some, false), ["cpu"]);
    }

    #[test]
    fn weights_of_bfq() {
        assert_eq!([1, 100, 10_000].map(bfq_weight), [1, 100, 1000]);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What this machine is doing, sampled once a second and told to the other members.
//!
//! The load is the mean length of the run queues over the last second, not a count at one instant: the kernel sums for
//! each CPU how long tasks ran and how long they waited to run (`/proc/schedstat`, kernel
//! `Documentation/scheduler/sched-stats.rst`, fields 7 and 8 of a `cpu` line, nanoseconds). What both grew by, over the
//! time that passed, is that mean. MOSIX's rule then smooths it ([`ssi_cluster::load`]).

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use ssi_cluster::load::{CpuCapacity, LoadMeter};

/// A load is told again at the latest after this many seconds, changed or not.
const TELL_ANYWAY_S: u32 = 5;

/// What a member tells of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Exported load: thousandths of one runnable task on one reference CPU.
    pub load: u64,
    /// CPUs online.
    pub cpus: u32,
    /// Their summed speed in MHz.
    pub mhz: u32,
    /// Memory in all, in KiB.
    pub memory_kib: u64,
    /// Memory available, in KiB.
    pub available_kib: u64,
    /// Seconds since boot.
    pub uptime_s: u64,
    /// The daemon's version.
    pub version: String,
    /// Fingerprint of its cluster.toml.
    pub config: String,
}

/// Looks at this machine once a second.
pub struct Sampler {
    proc: PathBuf,
    meter: LoadMeter,
    cpus: u32,
    mhz: u32,
    last: Option<(Instant, u64)>,
    told: Option<(Report, u32)>,
}

impl Sampler {
    /// One that reads below `proc` (`/proc`); `configured_mhz` is the summed speed if cluster.toml gives it.
    pub fn new(proc: &Path, configured_mhz: Option<u32>) -> Self {
        let cpuinfo = std::fs::read_to_string(proc.join("cpuinfo")).unwrap_or_default();
        let (cpus, measured) = cpu_speed(&cpuinfo);
        let mhz = configured_mhz.unwrap_or(measured);
        Self {
            proc: proc.to_owned(),
            meter: LoadMeter::new(CpuCapacity::new(cpus, mhz)),
            cpus,
            mhz,
            last: None,
            told: None,
        }
    }

    /// Takes a sample; gives the report if it is time to tell it.
    pub fn sample(&mut self, now: Instant, config: &str) -> Option<Report> {
        let queue = self.run_queue_milli(now)?;
        let load = self.meter.sample(queue);
        let (memory_kib, available_kib) = memory(&self.read("meminfo"));
        let report = Report {
            load: load.exported,
            cpus: self.cpus,
            mhz: self.mhz,
            memory_kib,
            available_kib,
            uptime_s: self.read("uptime").split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: config.to_owned(),
        };
        let quiet = self.told.as_ref().map(|(old, age)| (same_to_people(old, &report), *age));
        if let Some((true, age)) = quiet
            && age + 1 < TELL_ANYWAY_S
        {
            if let Some((_, age)) = &mut self.told {
                *age += 1;
            }
            return None;
        }
        self.told = Some((report.clone(), 0));
        Some(report)
    }

    /// Has the next sample told, whatever it is: somebody new may be listening.
    pub fn tell_next(&mut self) {
        self.told = None;
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc.join(file)).unwrap_or_default()
    }

    /// Mean length of the run queues since the last call, in thousandths of a task; `None` at the first.
    fn run_queue_milli(&mut self, now: Instant) -> Option<u64> {
        match queue_time(&self.read("schedstat")) {
            Some(sum) => {
                let (then, before) = self.last.replace((now, sum))?;
                let passed = now.saturating_duration_since(then).as_nanos().max(1);
                let grown = u128::from(sum.saturating_sub(before));
                Some(u64::try_from(grown * 1000 / passed).unwrap_or(u64::MAX))
            }
            // A kernel without scheduler statistics: the running tasks of this instant, this one left out.
            None => running_now(&self.read("loadavg")).map(|n| n.saturating_sub(1) * 1000),
        }
    }
}

/// Whether nobody would act differently on the one than on the other: the load within 5 %, memory within 1 %.
fn same_to_people(a: &Report, b: &Report) -> bool {
    let close = |x: u64, y: u64, part: u64, floor: u64| x.abs_diff(y) <= (x.max(y) / part).max(floor);
    close(a.load, b.load, 20, 20)
        && close(a.available_kib, b.available_kib, 100, 1024)
        && (a.cpus, a.mhz, a.memory_kib, &a.config) == (b.cpus, b.mhz, b.memory_kib, &b.config)
}

/// CPUs and their summed MHz from `/proc/cpuinfo`. Where the kernel gives no MHz (arm64), BogoMIPS / 2 stands in, and
/// where it gives neither, 1000 a CPU.
fn cpu_speed(cpuinfo: &str) -> (u32, u32) {
    let values = |key: &str| -> Vec<f64> {
        cpuinfo
            .lines()
            .filter_map(|l| l.split_once(':'))
            .filter(|(k, _)| k.trim().eq_ignore_ascii_case(key))
            .filter_map(|(_, v)| v.trim().parse().ok())
            .filter(|v: &f64| v.is_finite() && *v > 0.0)
            .collect()
    };
    let cpus = u32::try_from(values_count(cpuinfo)).unwrap_or(1).max(1);
    let sum = |v: Vec<f64>, scale: f64| (v.iter().sum::<f64>() * scale) as u32;
    let mhz = match (values("cpu MHz"), values("bogomips")) {
        (v, _) if !v.is_empty() => sum(v, 1.0),
        (_, v) if !v.is_empty() => sum(v, 0.5),
        _ => cpus * 1000,
    };
    (cpus, mhz.max(1))
}

fn values_count(cpuinfo: &str) -> usize {
    cpuinfo.lines().filter(|l| l.split_once(':').is_some_and(|(k, _)| k.trim() == "processor")).count()
}

/// The sum of running and waiting time of all CPUs in nanoseconds, from `/proc/schedstat`.
fn queue_time(schedstat: &str) -> Option<u64> {
    let mut sum = None;
    for line in schedstat.lines().filter(|l| l.starts_with("cpu")) {
        let mut fields = line.split_ascii_whitespace().skip(7).map(str::parse::<u64>);
        let (Some(Ok(ran)), Some(Ok(waited))) = (fields.next(), fields.next()) else { return None };
        sum = Some(sum.unwrap_or(0u64).wrapping_add(ran).wrapping_add(waited));
    }
    // A kernel built without CONFIG_SCHED_INFO prints zeros.
    sum.filter(|&s| s > 0)
}

/// The number of running tasks in `/proc/loadavg` (`proc_loadavg(5)`).
fn running_now(loadavg: &str) -> Option<u64> {
    loadavg.split_ascii_whitespace().nth(3)?.split('/').next()?.parse().ok()
}

/// MemTotal and MemAvailable in KiB from `/proc/meminfo`.
fn memory(meminfo: &str) -> (u64, u64) {
    let value = |key: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|l| l.trim_start_matches(':').split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (value("MemTotal"), value("MemAvailable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_queue_is_what_running_and_waiting_grew_by() {
        let before = "version 15\ncpu0 0 0 10 5 3 2 4000000000 1000000000 77\ncpu1 0 0 1 1 1 1 2000000000 500000000 7\ndomain0 3 1 2\n";
        assert_eq!(queue_time(before), Some(7_500_000_000));
        assert_eq!(queue_time("version 15\ncpu0 0 0 0 0 0 0 0 0 0\n"), None);
        assert_eq!(queue_time("version 15\ncpu0 1 2\n"), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut sampler = Sampler::new(Path::new("/proc"), None);
        let start = Instant::now();
        sampler.sample(start, "x");
        sampler.tell_next();
        let report = sampler.sample(start + std::time::Duration::from_secs(1), "x").unwrap();
        assert!(report.cpus >= 1 && report.mhz >= 1 && report.memory_kib > report.available_kib, "{report:?}");
    }

    #[test]
    fn an_unchanged_report_is_told_every_fifth_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("loadavg"), "0.1 0.1 0.1 1/100 7\n").unwrap();
        let mut sampler = Sampler::new(dir.path(), Some(2000));
        let now = Instant::now();
        let told: Vec<bool> = (0..11).map(|_| sampler.sample(now, "x").is_some()).collect();
        assert_eq!(told, [true, false, false, false, false, true, false, false, false, false, true]);
    }

    #[test]
    fn arm64_and_x86_tell_their_speed_differently() {
        assert_eq!(cpu_speed("processor : 0\ncpu MHz : 2100.5\nprocessor : 1\ncpu MHz : 2100.5\n"), (2, 4201));
        assert_eq!(cpu_speed("processor : 0\nBogoMIPS : 50.00\n"), (1, 25));
        assert_eq!(cpu_speed(""), (1, 1000));
    }
}

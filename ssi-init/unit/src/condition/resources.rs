// SPDX-License-Identifier: GPL-2.0-or-later
//! Conditions on what the machine has to give: controllers, memory, features of the processor, pressure.

use super::Machine;
use super::checks::{Answer, exists, text};
use crate::name::UnitName;

pub(super) fn controllers(parameter: &str, machine: &dyn Machine) -> bool {
    // By the kernel's names and systemd's names for what it does by BPF programs.
    const KNOWN: [&str; 13] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "io",
        "blkio",
        "memory",
        "devices",
        "pids",
        "bpf-firewall",
        "bpf-devices",
        "bpf-foreign",
        "bpf-socket-bind",
        "bpf-restrict-network-interfaces",
    ];
    let unified = text(machine, "/sys/fs/cgroup/cgroup.controllers");
    match parameter {
        "v2" => return unified.is_some(),
        "v1" => return unified.is_none(),
        _ => {}
    }
    let wanted: Vec<&str> = parameter.split_ascii_whitespace().filter(|word| KNOWN.contains(word)).collect();
    let offered: Vec<String> = match unified {
        Some(list) => list.split_ascii_whitespace().map(str::to_owned).collect(),
        None => {
            let table = text(machine, "/proc/cgroups").unwrap_or_default();
            let enabled = table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                (fields.get(3) == Some(&"1")).then(|| fields.first().map(|name| (*name).to_owned()))?
            });
            enabled.collect()
        }
    };
    // What is not a controller at all is let pass: a later version may know it.
    wanted.iter().all(|word| word.starts_with("bpf-") || offered.iter().any(|own| own == word))
}

/// Bytes, with a suffix of powers of 1024.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = text.split_at(digits);
    let exponent = match suffix.trim() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    let unit = 1024u128.pow(exponent);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() && !fraction.is_empty() { 0 } else { whole.parse().ok()? };
    let mut bytes = whole.checked_mul(unit)?;
    let mut worth = unit;
    for digit in fraction.chars() {
        worth /= 10;
        bytes += u128::from(digit.to_digit(10)?) * worth;
    }
    u64::try_from(bytes).ok()
}

pub(super) fn cpu_feature(flag: &str, machine: &dyn Machine) -> bool {
    // Where systemd's name, from CPUID, is not the kernel's.
    let flag = match flag {
        "fma3" => "fma",
        "pclmul" => "pclmulqdq",
        same => same,
    };
    let info = text(machine, "/proc/cpuinfo").unwrap_or_default();
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.any(|(name, flags)| {
        matches!(name.trim(), "flags" | "Features")
            && flags.split_ascii_whitespace().any(|own| own == flag || (flag == "osxsave" && own == "xsave"))
    })
}

pub(super) fn pressure(resource: &str, parameter: &str, machine: &dyn Machine) -> Answer {
    if !exists(machine, "/proc/pressure") {
        return Ok(true);
    }
    let wrong =
        || format!("\"{parameter}\" is not a limit of pressure; write one like \"20%\" or \"some.slice:20%/1min\"");
    let (slice, limit) = match parameter.split_once(':') {
        Some((slice, limit)) => (Some(slice.trim()), limit),
        None => (None, parameter),
    };
    let (percent, window) = limit.split_once('/').unwrap_or((limit, "5min"));
    let window = match window.trim_start() {
        window if window.starts_with("10sec") => "avg10=",
        window if window.starts_with("1min") => "avg60=",
        window if window.starts_with("5min") => "avg300=",
        _ => return Err(wrong()),
    };
    let limit = hundredths(percent).ok_or_else(wrong)?;
    let path = match slice {
        None => format!("/proc/pressure/{resource}"),
        Some(slice) => {
            let controllers = text(machine, "/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
            if !controllers.split_ascii_whitespace().any(|own| own == resource) {
                return Ok(true);
            }
            let mut next = Some(UnitName::new(slice).ok().filter(|name| name.is_valid_slice()).ok_or_else(wrong)?);
            let mut path = String::new();
            while let Some(slice) = next {
                next = slice.parent_slice();
                if next.is_some() {
                    path = format!("/{slice}{path}");
                }
            }
            format!("/sys/fs/cgroup{path}/{resource}.pressure")
        }
    };
    let Some(report) = text(machine, &path) else { return Ok(true) };
    // For processors of the whole machine "full" means nothing.
    let kinds = if resource == "cpu" && slice.is_none() { ["some ", "some "] } else { ["full ", "some "] };
    let line = kinds.into_iter().find_map(|kind| report.lines().find_map(|line| line.strip_prefix(kind)));
    let value = line.and_then(|line| line.split_ascii_whitespace().find_map(|field| field.strip_prefix(window)));
    let value = value.and_then(hundredths_plain).ok_or_else(|| format!("{path} does not tell the pressure"))?;
    Ok(value <= limit)
}

/// `20%`, `0.5%`, `5‰`, `50‱` in hundredths of a percent; none above 100 percent.
fn hundredths(text: &str) -> Option<u64> {
    let text = text.trim();
    let value = if let Some(number) = text.strip_suffix('%') {
        hundredths_plain(number)
            .filter(|_| number.split_once('.').is_none_or(|(_, digits)| (1..=2).contains(&digits.len())))?
    } else if let Some(number) = text.strip_suffix('\u{2030}') {
        number.parse::<u64>().ok()?.checked_mul(10)?
    } else {
        text.strip_suffix('\u{2031}')?.parse().ok()?
    };
    (value <= 10_000).then_some(value)
}

fn hundredths_plain(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut digits = fraction.chars().chain("00".chars()).map(|digit| digit.to_digit(10).map(u64::from));
    let fraction = digits.next()?? * 10 + digits.next()??;
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction)
}

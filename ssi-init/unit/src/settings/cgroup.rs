// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of systemd.resource-control(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::value::{self, BARE};
use super::{Outcome, Reader, Table};
use crate::config::CgroupConfig;
use crate::config::cgroup::{
    Controller, CpuSet, CpuWeight, Delegate, DeviceAllow, DevicePolicy, IpPrefix, ManagedOom, MemoryLimit,
    OomPreference, PerDevice, PressureWatch, SocketBind, TasksMax,
};
use crate::name::UnitType;
use crate::words::{Rules, Splitter};

/// Weights of control groups: least and most.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;

/// Where BPF programs of a control group are attached.
const BPF_PLACES: [&str; 18] = [
    "ingress",
    "egress",
    "sock_create",
    "sock_ops",
    "device",
    "bind4",
    "bind6",
    "connect4",
    "connect6",
    "post_bind4",
    "post_bind6",
    "sendmsg4",
    "sendmsg6",
    "sysctl",
    "recvmsg4",
    "recvmsg6",
    "getsockopt",
    "setsockopt",
];

/// The keys of systemd.resource-control(5).
pub(super) const CGROUP: Table<CgroupConfig> = &[
    ("Slice", |cgroup, value, reader| {
        let name = reader.unit(value)?;
        if name.unit_type() != UnitType::Slice {
            return Err(reader.bad(value, "the name of a slice"));
        }
        if reader.kind == UnitType::Slice {
            return Err(reader.bad(value, "for a slice to say: its place is in its name"));
        }
        cgroup.slice = Some(name);
        Ok(())
    }),
    ("AllowedCPUs", |cgroup, value, reader| set_cpus(&mut cgroup.allowed_cpus, value, reader)),
    ("StartupAllowedCPUs", |cgroup, value, reader| set_cpus(&mut cgroup.startup_allowed_cpus, value, reader)),
    ("AllowedMemoryNodes", |cgroup, value, reader| set_cpus(&mut cgroup.allowed_memory_nodes, value, reader)),
    ("StartupAllowedMemoryNodes", |cgroup, value, reader| {
        set_cpus(&mut cgroup.startup_allowed_memory_nodes, value, reader)
    }),
    ("CPUAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.cpu_accounting, value)),
    ("CPUWeight", |cgroup, value, reader| set_cpu_weight(&mut cgroup.cpu_weight, value, reader)),
    ("StartupCPUWeight", |cgroup, value, reader| set_cpu_weight(&mut cgroup.startup_cpu_weight, value, reader)),
    ("CPUShares", |cgroup, value, reader| set_cpu_shares(&mut cgroup.cpu_weight, value, reader)),
    ("StartupCPUShares", |cgroup, value, reader| set_cpu_shares(&mut cgroup.startup_cpu_weight, value, reader)),
    ("CPUQuota", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.cpu_quota = None;
            return Ok(());
        }
        let share = value::share(value, i32::MAX as u64).filter(|share| *share > 0);
        cgroup.cpu_quota = Some(share.ok_or_else(|| reader.bad(value, "a percentage above zero"))?);
        Ok(())
    }),
    ("CPUQuotaPeriodSec", |cgroup, value, reader| {
        cgroup.cpu_quota_period = if value.is_empty() { None } else { reader.span(value)? };
        Ok(())
    }),
    ("MemoryAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.memory_accounting, value)),
    ("MemoryMin", |cgroup, value, reader| set_guarantee(&mut cgroup.memory_min, value, reader)),
    ("MemoryLow", |cgroup, value, reader| set_guarantee(&mut cgroup.memory_low, value, reader)),
    ("DefaultMemoryMin", |cgroup, value, reader| set_guarantee(&mut cgroup.default_memory_min, value, reader)),
    ("DefaultMemoryLow", |cgroup, value, reader| set_guarantee(&mut cgroup.default_memory_low, value, reader)),
    ("MemoryHigh", |cgroup, value, reader| set_memory(&mut cgroup.memory_high, value, 1, reader)),
    ("MemoryMax", |cgroup, value, reader| set_memory(&mut cgroup.memory_max, value, 1, reader)),
    ("MemorySwapMax", |cgroup, value, reader| set_memory(&mut cgroup.memory_swap_max, value, 0, reader)),
    ("MemoryZSwapMax", |cgroup, value, reader| set_memory(&mut cgroup.memory_zswap_max, value, 0, reader)),
    ("MemoryLimit", |cgroup, value, reader| {
        reader.obsolete("is of control groups of version 1; write MemoryMax=");
        let mut limit = MemoryLimit::Infinity;
        set_memory(&mut limit, value, 1, reader)?;
        // As systemd translates it: the newer setting wins.
        if cgroup.memory_max == MemoryLimit::Infinity {
            cgroup.memory_max = limit;
        }
        Ok(())
    }),
    ("DeviceAllow", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.device_allow.clear();
            return Ok(());
        }
        let (device, rights) = device_and_rest(value, reader)?;
        let group = device.starts_with("block-") || device.starts_with("char-");
        if !group && !["/dev/", "/run/systemd/inaccessible/"].iter().any(|place| device.starts_with(place)) {
            return Err(reader.bad(&device, "a path in /dev, nor a group of devices such as char-pts"));
        }
        if !rights.chars().all(|right| matches!(right, 'r' | 'w' | 'm')) {
            return Err(reader.bad(value, "a device with rights of r, w and m"));
        }
        let right = |right| rights.is_empty() || rights.contains(right);
        cgroup.device_allow.push(DeviceAllow { device, read: right('r'), write: right('w'), mknod: right('m') });
        Ok(())
    }),
    ("DevicePolicy", |cgroup, value, reader| {
        reader.set_word(&mut cgroup.device_policy, value, DevicePolicy::from_word)
    }),
    ("IOAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.io_accounting, value)),
    ("IOWeight", |cgroup, value, reader| set_weight(&mut cgroup.io_weight, value, reader)),
    ("StartupIOWeight", |cgroup, value, reader| set_weight(&mut cgroup.startup_io_weight, value, reader)),
    ("IODeviceWeight", |cgroup, value, reader| {
        per_device(&mut cgroup.io_device_weight, value, reader, |text| {
            value::unsigned(text).filter(|weight| WEIGHTS.contains(weight))
        })
    }),
    ("IOReadBandwidthMax", |cgroup, value, reader| per_device(&mut cgroup.io_read_bandwidth_max, value, reader, speed)),
    ("IOWriteBandwidthMax", |cgroup, value, reader| {
        per_device(&mut cgroup.io_write_bandwidth_max, value, reader, speed)
    }),
    ("IOReadIOPSMax", |cgroup, value, reader| per_device(&mut cgroup.io_read_iops_max, value, reader, speed)),
    ("IOWriteIOPSMax", |cgroup, value, reader| per_device(&mut cgroup.io_write_iops_max, value, reader, speed)),
    ("IODeviceLatencyTargetSec", |cgroup, value, reader| {
        per_device(&mut cgroup.io_device_latency_target, value, reader, |text| {
            crate::time::parse_seconds(text).ok().map(|span| span.unwrap_or(Duration::MAX))
        })
    }),
    ("BlockIOAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.io_accounting, value)),
    ("BlockIOWeight", |cgroup, value, reader| set_block_weight(&mut cgroup.io_weight, value, reader)),
    ("StartupBlockIOWeight", |cgroup, value, reader| set_block_weight(&mut cgroup.startup_io_weight, value, reader)),
    ("BlockIODeviceWeight", |cgroup, value, reader| {
        reader.obsolete("is of control groups of version 1; write IODeviceWeight=");
        per_device(&mut cgroup.io_device_weight, value, reader, block_weight)
    }),
    ("BlockIOReadBandwidth", |cgroup, value, reader| {
        reader.obsolete("is of control groups of version 1; write IOReadBandwidthMax=");
        per_device(&mut cgroup.io_read_bandwidth_max, value, reader, speed)
    }),
    ("BlockIOWriteBandwidth", |cgroup, value, reader| {
        reader.obsolete("is of control groups of version 1; write IOWriteBandwidthMax=");
        per_device(&mut cgroup.io_write_bandwidth_max, value, reader, speed)
    }),
    ("TasksAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.tasks_accounting, value)),
    ("TasksMax", |cgroup, value, reader| {
        if value.is_empty() {
            // Back to what it was before any file was read.
            cgroup.tasks_max = cgroup.tasks_max_before;
            return Ok(());
        }
        cgroup.tasks_max = Some(tasks(value).ok_or_else(|| reader.bad(value, "a number of tasks or a percentage"))?);
        Ok(())
    }),
    ("Delegate", |cgroup, value, reader| {
        if !matches!(reader.kind, UnitType::Service | UnitType::Scope) {
            return Err(format!("Delegate= has no meaning for a {} unit, ignoring", reader.kind).into());
        }
        match value::boolean(value) {
            Some(true) => cgroup.delegate = Some(Delegate::All),
            Some(false) => cgroup.delegate = None,
            None if value.is_empty() => cgroup.delegate = Some(Delegate::Controllers(Vec::new())),
            None => {
                let mut named = match cgroup.delegate.take() {
                    Some(Delegate::All) => {
                        cgroup.delegate = Some(Delegate::All);
                        return Ok(());
                    }
                    Some(Delegate::Controllers(before)) => before,
                    None => Vec::new(),
                };
                let outcome = controllers(&mut named, value, reader);
                cgroup.delegate = Some(Delegate::Controllers(named));
                return outcome;
            }
        }
        Ok(())
    }),
    ("DelegateSubgroup", |cgroup, value, reader| {
        let plain = |name: &str| !name.contains('/') && !matches!(name, "." | "..") && !name.starts_with("cgroup.");
        reader.set_text(&mut cgroup.delegate_subgroup, value)?;
        if cgroup.delegate_subgroup.as_deref().is_some_and(|name| !plain(name)) {
            cgroup.delegate_subgroup = None;
            return Err(reader.bad(value, "the name of a control group"));
        }
        Ok(())
    }),
    ("DisableControllers", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.disable_controllers.clear();
            return Ok(());
        }
        controllers(&mut cgroup.disable_controllers, value, reader)
    }),
    ("IPAccounting", |cgroup, value, reader| reader.set_bool(&mut cgroup.ip_accounting, value)),
    ("IPAddressAllow", |cgroup, value, reader| prefixes(&mut cgroup.ip_address_allow, value, reader)),
    ("IPAddressDeny", |cgroup, value, reader| prefixes(&mut cgroup.ip_address_deny, value, reader)),
    ("IPIngressFilterPath", |cgroup, value, reader| filter(&mut cgroup.ip_ingress_filter_path, value, reader)),
    ("IPEgressFilterPath", |cgroup, value, reader| filter(&mut cgroup.ip_egress_filter_path, value, reader)),
    ("ManagedOOMSwap", |cgroup, value, reader| set_oom(&mut cgroup.managed_oom_swap, value, reader)),
    ("ManagedOOMMemoryPressure", |cgroup, value, reader| {
        set_oom(&mut cgroup.managed_oom_memory_pressure, value, reader)
    }),
    ("ManagedOOMMemoryPressureLimit", |cgroup, value, reader| {
        oomd_knows(reader)?;
        if value.is_empty() {
            cgroup.managed_oom_memory_pressure_limit = None;
            return Ok(());
        }
        let share = value::share(value, 10_000).and_then(|share| u32::try_from(share).ok());
        let share = share.ok_or_else(|| reader.bad(value, "a percentage up to 100%"))?;
        cgroup.managed_oom_memory_pressure_limit = (share > 0).then_some(share);
        Ok(())
    }),
    ("ManagedOOMPreference", |cgroup, value, reader| {
        reader.set_word(&mut cgroup.managed_oom_preference, value, OomPreference::from_word)
    }),
    ("MemoryPressureWatch", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.memory_pressure_watch = PressureWatch::Auto;
            return Ok(());
        }
        reader.set_word(&mut cgroup.memory_pressure_watch, value, PressureWatch::from_word)
    }),
    ("MemoryPressureThresholdSec", |cgroup, value, reader| {
        reader.set_span(&mut cgroup.memory_pressure_threshold, value)
    }),
    ("CoredumpReceive", |cgroup, value, reader| reader.set_bool(&mut cgroup.coredump_receive, value)),
    ("NetClass", |_, _, reader| super::service::no_effect(reader)),
    ("BPFProgram", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.bpf_program.clear();
            return Ok(());
        }
        let pair = value.split_once(':').filter(|(place, path)| BPF_PLACES.contains(place) && !path.is_empty());
        let (place, path) =
            pair.ok_or_else(|| reader.bad(value, "a place for a program and a path, with a colon between"))?;
        cgroup.bpf_program.push((place.to_owned(), reader.path(path)?));
        Ok(())
    }),
    ("SocketBindAllow", |cgroup, value, reader| bind(&mut cgroup.socket_bind_allow, value, reader)),
    ("SocketBindDeny", |cgroup, value, reader| bind(&mut cgroup.socket_bind_deny, value, reader)),
    ("RestrictNetworkInterfaces", |cgroup, value, reader| {
        if value.is_empty() {
            cgroup.restrict_network_interfaces = None;
            return Ok(());
        }
        let (add_to, words) = match value.strip_prefix('~') {
            Some(words) => (false, words),
            None => (true, value),
        };
        let words = reader.words(words, Rules::QUOTED);
        let (allow, names) = cgroup.restrict_network_interfaces.get_or_insert((add_to, Vec::new()));
        for word in words {
            if !value::is_interface(&word) {
                reader.skip(format!("{word} is not the name of a network interface, ignoring"));
                continue;
            }
            names.retain(|name| *name != word);
            if *allow == add_to {
                names.push(word);
            }
        }
        Ok(())
    }),
];

fn set_cpus(set: &mut CpuSet, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *set = CpuSet::default();
        return Ok(());
    }
    let text = reader.text(value)?;
    let more = value::cpu_set(&text).ok_or_else(|| reader.bad(&text, "a list of numbers and ranges"))?;
    for (first, last) in more.ranges {
        set.add(first, last);
    }
    Ok(())
}

fn set_weight(slot: &mut Option<u64>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let weight = value::unsigned(value).filter(|weight| WEIGHTS.contains(weight));
    *slot = Some(weight.ok_or_else(|| reader.bad(value, "a weight from 1 to 10000"))?);
    Ok(())
}

fn set_cpu_weight(slot: &mut Option<CpuWeight>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value == "idle" {
        *slot = Some(CpuWeight::Idle);
        return Ok(());
    }
    let mut weight = None;
    set_weight(&mut weight, value, reader)?;
    *slot = weight.map(CpuWeight::Weight);
    Ok(())
}

/// Shares of version 1, where 1024 is what 100 is now.
fn set_cpu_shares(slot: &mut Option<CpuWeight>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.obsolete("is of control groups of version 1; write CPUWeight=");
    let shares = value::unsigned(value).filter(|shares| (2..=262_144).contains(shares));
    if !value.is_empty() && shares.is_none() {
        return Err(reader.bad(value, "a number from 2 to 262144"));
    }
    // As systemd translates it: the newer setting wins.
    if slot.is_none() {
        *slot = shares.map(|shares| CpuWeight::Weight((shares * 100 / 1024).clamp(*WEIGHTS.start(), *WEIGHTS.end())));
    }
    Ok(())
}

/// A weight of version 1, where 500 is what 100 is now.
fn block_weight(text: &str) -> Option<u64> {
    let weight = value::unsigned(text).filter(|weight| (10..=1000).contains(weight))?;
    Some((weight * 100 / 500).clamp(*WEIGHTS.start(), *WEIGHTS.end()))
}

fn set_block_weight(slot: &mut Option<u64>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    let weight = block_weight(value);
    if !value.is_empty() && weight.is_none() {
        return Err(reader.bad(value, "a number from 10 to 1000"));
    }
    *slot = slot.or(weight);
    Ok(())
}

/// A limit of memory of at least `least` bytes; empty is none.
fn set_memory(slot: &mut MemoryLimit, value: &str, least: u64, reader: &Reader<'_>) -> Outcome {
    *slot = if value.is_empty() || value == "infinity" {
        MemoryLimit::Infinity
    } else if let Some(share) = value::share(value, 10_000).and_then(|share| u32::try_from(share).ok()) {
        if u64::from(share) < least {
            return Err(reader.bad(value, "more than nothing"));
        }
        MemoryLimit::Percent { hundredths: share }
    } else {
        let bytes = value::size(value, 1024).filter(|bytes| (least..u64::MAX).contains(bytes));
        MemoryLimit::Bytes(bytes.ok_or_else(|| reader.bad(value, "a number of bytes or a percentage"))?)
    };
    Ok(())
}

/// An amount of memory that is kept for the unit; empty is nothing at all.
fn set_guarantee(slot: &mut Option<MemoryLimit>, value: &str, reader: &Reader<'_>) -> Outcome {
    let mut limit = MemoryLimit::Bytes(0);
    if !value.is_empty() {
        set_memory(&mut limit, value, 0, reader)?;
    }
    *slot = Some(limit);
    Ok(())
}

/// A number of tasks.
pub(super) fn tasks(value: &str) -> Option<TasksMax> {
    if value == "infinity" {
        return Some(TasksMax::Infinity);
    }
    if let Some(share) = value::share(value, 10_000) {
        return Some(TasksMax::Percent { hundredths: u32::try_from(share).ok()? });
    }
    value::unsigned(value).filter(|count| (1..u64::MAX).contains(count)).map(TasksMax::Count)
}

/// A device's path, and what stands behind it.
fn device_and_rest(value: &str, reader: &Reader<'_>) -> Result<(String, String), super::Problem> {
    let mut splitter = Splitter::new(value.as_bytes());
    let path = splitter.next_word(Rules::QUOTED).map_err(|error| reader.bad(value, &error.to_string()))?;
    let path = path.and_then(|path| String::from_utf8(path).ok()).ok_or_else(|| reader.bad(value, "a device"))?;
    let rest = String::from_utf8_lossy(splitter.rest()).trim().to_owned();
    let path = reader.text(&path)?;
    if path.starts_with("block-") || path.starts_with("char-") {
        return Ok((path, rest));
    }
    let path = value::simple_path(&path);
    if !value::is_normal_path(&path) {
        return Err(reader.bad(&path, "a path without \"..\""));
    }
    Ok((path, rest))
}

/// A value for one device; a later one for the same device wins, an empty value takes all back.
fn per_device<T>(
    list: &mut Vec<PerDevice<T>>,
    value: &str,
    reader: &mut Reader<'_>,
    read: fn(&str) -> Option<T>,
) -> Outcome {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let (path, text) = device_and_rest(value, reader)?;
    let found = read(&text).ok_or_else(|| reader.bad(value, "a device and a value for it"))?;
    match list.iter_mut().find(|known| known.path == path) {
        Some(known) => known.value = found,
        None => list.push(PerDevice { path, value: found }),
    }
    Ok(())
}

/// So much in a second; `u64::MAX` is no limit.
fn speed(text: &str) -> Option<u64> {
    if text == "infinity" { Some(u64::MAX) } else { value::size(text, 1000).filter(|speed| *speed > 0) }
}

/// Adds controllers by name, each once.
fn controllers(list: &mut Vec<Controller>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    for word in reader.words(value, Rules::QUOTED) {
        match Controller::from_word(&word) {
            Some(controller) if list.contains(&controller) => {}
            Some(controller) => list.push(controller),
            None => reader.skip(format!("{}={word} is not a controller, ignoring", reader.key())),
        }
    }
    Ok(())
}

/// systemd-oomd ends whole services and scopes, and watches slices; it knows nothing of the rest.
fn oomd_knows(reader: &Reader<'_>) -> Outcome {
    match reader.kind {
        UnitType::Service | UnitType::Scope | UnitType::Slice => Ok(()),
        kind => Err(format!("{}= has no meaning for a {kind} unit, ignoring", reader.key()).into()),
    }
}

fn set_oom(slot: &mut ManagedOom, value: &str, reader: &Reader<'_>) -> Outcome {
    oomd_knows(reader)?;
    if value.is_empty() {
        *slot = ManagedOom::Auto;
        return Ok(());
    }
    reader.set_word(slot, value, ManagedOom::from_word)
}

/// Addresses with the number of bits that count, and words for common sets of them.
fn prefixes(list: &mut Vec<IpPrefix>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let v4 = |a, b, length| IpPrefix { address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), length };
    let v6 =
        |first, last, length| IpPrefix { address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)), length };
    for word in reader.words(value, BARE) {
        let found = match word.as_str() {
            "any" => vec![v4(0, 0, 0), v6(0, 0, 0)],
            "localhost" => vec![v4(127, 0, 8), v6(0, 1, 128)],
            "link-local" => vec![v4(169, 254, 16), v6(0xfe80, 0, 64)],
            "multicast" => vec![v4(224, 0, 4), v6(0xff00, 0, 8)],
            text => match prefix(text) {
                Some(prefix) => vec![prefix],
                None => {
                    reader.skip(format!("{}={text} is not an address or a prefix, ignoring", reader.key()));
                    continue;
                }
            },
        };
        list.extend(found.into_iter().filter(|prefix| !list.contains(prefix)).collect::<Vec<_>>());
    }
    Ok(())
}

fn prefix(text: &str) -> Option<IpPrefix> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    (length <= most).then_some(IpPrefix { address, length })
}

fn filter(list: &mut Vec<String>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let path = reader.path(value)?;
    if !list.contains(&path) {
        list.push(path);
    }
    Ok(())
}

/// `any`, or some of an IP version, a protocol and ports, with colons between: `ipv4:tcp:80-90`.
fn bind(list: &mut Vec<SocketBind>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    list.push(bind_rule(value).ok_or_else(|| reader.bad(value, "any, or an IP version, protocol and ports"))?);
    Ok(())
}

fn bind_rule(text: &str) -> Option<SocketBind> {
    let mut rule = SocketBind { ip_version: None, tcp: None, ports: None };
    if text == "any" {
        return Some(rule);
    }
    let mut parts = text.split(':').peekable();
    rule.ip_version = match parts.peek().copied() {
        Some("ipv4") => Some(4),
        Some("ipv6") => Some(6),
        _ => None,
    };
    if rule.ip_version.is_some() {
        parts.next();
    }
    rule.tcp = match parts.peek().copied() {
        Some("tcp") => Some(true),
        Some("udp") => Some(false),
        _ => None,
    };
    if rule.tcp.is_some() {
        parts.next();
    }
    let port = |text: &str| value::unsigned(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    match (parts.next(), parts.next()) {
        (None, _) => {}
        (Some(range), None) => {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            rule.ports = Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last);
            rule.ports?;
        }
        (Some(_), Some(_)) => return None,
    }
    (rule.ip_version.is_some() || rule.tcp.is_some() || rule.ports.is_some()).then_some(rule)
}

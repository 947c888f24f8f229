// SPDX-License-Identifier: GPL-2.0-or-later
//! Every key of every section with many values, sound and unsound: what is refused here is what systemd 252 refuses.

mod referee;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use ssi_unit::config::ManagerDefaults;
use ssi_unit::files::RootFiles;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::name::{UnitName, UnitType};
use ssi_unit::settings;
use ssi_unit::specifier::Host;

/// Values that mean something somewhere.
const VALUES: &[&str] = &[
    "",
    "yes",
    "no",
    "TRUE",
    "off",
    "1",
    "0",
    "-1",
    "5",
    "007",
    "0755",
    "0x10",
    "99",
    "100",
    "1000",
    "65536",
    "8192",
    "1000000",
    "99999999999999999999",
    "1.5",
    "infinity",
    "auto",
    "none",
    "default",
    "all",
    "any",
    "5s",
    "1min 30s",
    "2 weeks",
    "5 parsecs",
    "10%",
    "12.34%",
    "200%",
    "1.234%",
    "1K",
    "1.5G",
    "1M 1K",
    "1k",
    "3 4",
    "/a/b",
    "/a/../b",
    "/",
    "a/b",
    "../a",
    "-/a",
    "+/a",
    "-+/a",
    "~",
    "-~",
    "/a /b",
    "/a:/b",
    "/a:/b:norbind",
    "/a:/b:x",
    "/var/run/x",
    "a",
    "a b",
    "a=b",
    "A=b",
    "A=b C=d",
    "A",
    "_A=b",
    "'a b'",
    "'a",
    "a\\",
    "%n",
    "%i",
    "%%",
    "%z",
    "~a",
    "a:b",
    "a:b:c",
    "SIGTERM",
    "TERM",
    "SIGRTMIN+3",
    "SIGFOO",
    "15",
    "143",
    "CAP_CHOWN",
    "CAP_CHOWN CAP_KILL",
    "~CAP_CHOWN",
    "CAP_NOPE",
    "AF_INET",
    "AF_INET AF_UNIX",
    "~AF_INET",
    "AF_NOPE",
    "@system-service",
    "~@mount",
    "read",
    "~read:EPERM",
    "read:EPERM",
    "~read:kill",
    "native",
    "x86-64",
    "pdp11",
    "x.service",
    "x.socket",
    "x.slice",
    "x.target",
    "x@.service",
    "x@y.service",
    "x y.service",
    "x.nope",
    "journal",
    "journal+console",
    "syslog",
    "null",
    "tty",
    "tty-force",
    "socket",
    "data",
    "fd",
    "fd:x",
    "file:/a",
    "file:a",
    "append:/a",
    "truncate:/a",
    "inherit",
    "kmsg",
    "main",
    "exec",
    "cgroup",
    "simple",
    "oneshot",
    "notify",
    "idle",
    "dbus",
    "forking",
    "always",
    "on-failure",
    "on-abort",
    "mixed",
    "process",
    "control-group",
    "continue",
    "stop",
    "kill",
    "full",
    "strict",
    "read-only",
    "tmpfs",
    "invisible",
    "ptraceable",
    "pid",
    "shared",
    "slave",
    "private",
    "best-effort",
    "realtime",
    "rr",
    "fifo",
    "batch",
    "other",
    "daemon",
    "local7",
    "local8",
    "info",
    "debug",
    "warning",
    "noroot",
    "noroot keep-caps",
    "nope",
    "reboot",
    "poweroff-force",
    "exit",
    "isolate",
    "fail",
    "replace",
    "replace-irreversibly",
    "terminate",
    "abort",
    "inactive",
    "inactive-or-failed",
    "init",
    "login",
    "22",
    "127.0.0.1:80",
    "[::1]:80",
    "1.2.3.4",
    "::1",
    "10.0.0.0/8",
    "fe80::/64",
    "10.0.0.0/33",
    "localhost",
    "link-local",
    "multicast",
    "@abstract",
    "vsock:2:80",
    "vsock::1",
    "route 1",
    "kobject-uevent",
    "nope 1",
    "low-delay",
    "us",
    "ns",
    "sctp",
    "udplite",
    "both",
    "ipv6-only",
    "eth0",
    "lo all",
    "*",
    "cpu memory",
    "cpu nope",
    "closed",
    "/dev/null rw",
    "char-pts rwm",
    "char-* m",
    "/dev/null x",
    "/etc/passwd r",
    "/dev/sda 100",
    "/dev/sda 1M",
    "/dev/sda 5ms",
    "/dev/sda",
    "tcp:80",
    "ipv4:tcp:80-90",
    "ipv6:90-80",
    "udp",
    "ipv4",
    "tcp:0",
    "0-3",
    "0-3,8",
    "3-1",
    "0 1 2",
    "a-b",
    "numa",
    "bind",
    "preferred",
    "interleave",
    "local",
    "daily",
    "Mon..Fri",
    "*-*-* 25:00",
    "Sun *-*-1..7 1:00:00",
    "http://x",
    "man:a(1)",
    "ftp://x",
    "org.a.b",
    "org",
    "a.1",
    "1.a.b",
    "0022",
    "9999",
    "1024:4096",
    "4096:1024",
    "1:2:3",
    "+5",
    "-20",
    "-21",
    "19",
    "20",
    "-1000",
    "1001",
    "EPERM",
    "EFOO",
    "YWJj",
    "YWJ",
    "x86",
    "s390x",
    "uts ipc",
    "~uts",
    "uts nope",
    "avoid",
    "omit",
    "ingress:/a",
    "cgroup_inet_ingress:/a",
    "ext4",
    "~@basic-api",
    "root:ro",
    "ro",
    "nope:ro",
    "0123456789abcdef0123456789abcdef",
    "private/a",
    "a:link",
    "a b:c",
    "K:v",
    "K:%n",
    "K:/a",
    "ASCII ÄÖ",
    "0b11",
    "0o17",
    "1e3",
    "TAI",
    "unset",
    "data:x",
    "prefer",
    "1us",
    "50us",
    "1ns",
    "-5",
    "elf-headers",
    "private-anonymous shared-dax",
    "0x33",
    "ff",
];

/// Keys at which a wrong value ends the reading of the file: the rest of the file would not be compared.
const MAY_END: &[&str] = &[
    "User",
    "Group",
    "SupplementaryGroups",
    "SocketUser",
    "SocketGroup",
    "WorkingDirectory",
    "RootDirectory",
    "RootImage",
    "RootVerity",
    "DynamicUser",
    "SELinuxContext",
    "AppArmorProfile",
    "SmackProcessLabel",
    "PIDFile",
];

/// Keys that services have too, but with another meaning or for other types of units.
const OTHER_MEANING: &[&str] = &[
    "Slice",
    "Delegate",
    "Type",
    "TimeoutSec",
    "StartLimitBurst",
    "FailureAction",
    "ManagedOOMSwap",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureLimit",
];

/// Where we differ on purpose, with the reason.
fn is_known_difference(key: &str, value: &str) -> Option<&'static str> {
    match key {
        "SecureBits" | "CapabilityBoundingSet" | "AmbientCapabilities" | "DisableControllers" => {
            Some("systemd passes unknown names over without a word; we say that we do")
        }
        "SystemCallFilter" | "SystemCallLog" => {
            Some("names of system calls are looked up where the filter is made, not when the unit is read")
        }
        "RestrictFileSystems" => Some("names of file systems are looked up where the filter is made"),
        "RestrictAddressFamilies" if value == "AF_NOPE" => {
            Some("names of address families are looked up where the filter is made")
        }
        "CPUSchedulingPolicy" | "IOSchedulingClass" => {
            Some("systemd takes any number and fails when the unit is started; we take those the kernel has")
        }
        "Personality" => Some("a personality of another machine is refused at start"),
        "RootImageOptions" if value == "::1" => Some("an option that is a number is none"),
        _ if value == "/var/run/x" => Some("systemd says so more quietly than the rest"),
        "OnFailureIsolate" => Some("systemd says it is old without naming the line"),
        _ => None,
    }
}

/// The sections of systemd's own list of settings, with their keys.
fn known_keys() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new("/usr/lib/systemd/systemd").args(["--dump-configuration-items", "--no-pager"]).output();
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in String::from_utf8(output.unwrap().stdout).unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once('=') {
            sections.entry(section.clone()).or_default().insert(key.to_owned());
        }
    }
    sections
}

#[test]
fn every_key_of_systemd_is_known() {
    if !referee::has_systemd_252() {
        return;
    }
    for (section, theirs) in known_keys() {
        let kind = UnitType::ALL.into_iter().find(|kind| kind.section() == Some(&section)).unwrap_or(UnitType::Target);
        let ours = settings::keys(kind, &section);
        for key in theirs {
            assert!(ours.contains(&key), "[{section}] {key}= is not known");
        }
    }
}

/// One unit file of a comparison.
struct Trial {
    name: UnitName,
    /// What stands on each line, the first one first.
    lines: Vec<(String, String)>,
}

/// Units of one type, with each key and value on a line of its own: a file a key or, where a value may end the
/// reading, a file a value.
fn trials(kind: UnitType, section: &str, known: &BTreeSet<String>) -> Vec<Trial> {
    let values: Vec<&str> = VALUES.iter().copied().filter(|value| !value.ends_with('\\')).collect();
    let mut trials = Vec::new();
    let mut add = |lines: Vec<(String, String)>| {
        let name = UnitName::new(&format!("t{}.{kind}", trials.len())).unwrap();
        trials.push(Trial { name, lines });
    };
    for key in known.iter().filter(|key| !key.starts_with("Exec") || key.ends_with("Paths")) {
        let lines = values.iter().map(|value| (key.clone(), value.to_string()));
        if MAY_END.contains(&key.as_str()) {
            lines.for_each(|line| add(vec![line]));
        } else {
            add(lines.collect());
        }
    }
    for trial in &mut trials {
        trial.lines.insert(0, (format!("[{section}]"), String::new()));
    }
    trials
}

/// Compares which values are refused.
fn compare(kind: UnitType, section: &str) {
    if !referee::has_systemd_252() {
        return;
    }
    let folder = referee::tempfile_in(env!("CARGO_TARGET_TMPDIR").as_ref());
    let mut known = known_keys();
    let mut keys = known.remove(section).unwrap();
    if section != "Service" {
        // What sections share is asked of services.
        let shared = &known.get("Service").cloned().unwrap_or_default();
        keys.retain(|key| !shared.contains(key) || OTHER_MEANING.contains(&key.as_str()));
    }
    let trials = trials(kind, section, &keys);
    for trial in &trials {
        let mut text = String::new();
        for (key, value) in &trial.lines {
            let equals = if key.starts_with('[') { "" } else { "=" };
            writeln!(text, "{key}{equals}{value}").unwrap();
        }
        // Sound enough that nothing but the values is at fault.
        text.push_str("[Unit]\nDefaultDependencies=no\nSuccessAction=none\n");
        std::fs::write(folder.join(trial.name.as_str()), text).unwrap();
    }
    let verdict = referee::ask(&[&folder], &trials.iter().map(|trial| trial.name.to_string()).collect());
    let search = SearchPath::of([&folder]);
    let host = Host::read("/".as_ref());
    let mut loader = Loader::new(RootFiles::system(), search, host, ManagerDefaults::default());
    let mut complaints: BTreeMap<&Path, BTreeMap<u32, &str>> = BTreeMap::new();
    for ((file, line), text) in &verdict.complaints {
        complaints.entry(file).or_default().insert(*line, text);
    }
    let (mut compared, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for trial in &trials {
        let loaded = loader.load(&trial.name);
        let path = folder.join(trial.name.as_str());
        let said = |line: u32| {
            let at = loaded.warnings.iter().find(|warning| warning.at.as_ref().is_some_and(|at| at.line == line));
            // A fatal mistake is told with the place in its text.
            let place = format!("{}:{line}:", path.display());
            let fatal = loaded.error.as_ref().filter(|error| error.starts_with(&place));
            at.map(|warning| &warning.text).or(fatal)
        };
        let complaints = complaints.get(path.as_path()).cloned().unwrap_or_default();
        let last = complaints.keys().last();
        let state = verdict.value(trial.name.as_str(), "Unit Load State");
        let ended = matches!(state, Some("error" | "bad-setting"));
        for (index, (key, value)) in trial.lines.iter().enumerate().skip(1) {
            let line = u32::try_from(index + 1).unwrap();
            if ended && last.is_some_and(|last| line > *last) {
                break;
            }
            compared += 1;
            let theirs = complaints.get(&line);
            refused += u32::from(theirs.is_some());
            if theirs.is_some() != said(line).is_some() && is_known_difference(key, value).is_none() {
                let ours = said(line).map_or("taken", String::as_str);
                differences
                    .push(format!("{key}={value}: ours: {ours}; theirs: {}", theirs.map_or("taken", |text| text)));
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    eprintln!("{compared} lines of [{section}] compared, of which systemd refuses {refused}");
    assert!(compared > 500 && refused > 100, "{compared} lines, {refused} refused");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn values_of_services() {
    compare(UnitType::Service, "Service");
}

#[test]
fn values_of_any_unit() {
    compare(UnitType::Target, "Unit");
}

#[test]
fn values_of_sockets() {
    compare(UnitType::Socket, "Socket");
}

#[test]
fn values_of_timers() {
    compare(UnitType::Timer, "Timer");
}

#[test]
fn values_of_paths() {
    compare(UnitType::Path, "Path");
}

#[test]
fn values_of_mounts() {
    compare(UnitType::Mount, "Mount");
}

#[test]
fn values_of_automounts() {
    compare(UnitType::Automount, "Automount");
}

#[test]
fn values_of_swaps() {
    compare(UnitType::Swap, "Swap");
}

#[test]
fn values_of_slices() {
    compare(UnitType::Slice, "Slice");
}

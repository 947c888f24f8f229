// SPDX-License-Identifier: GPL-2.0-or-later
//! What is looked at for each kind of condition.

use super::compare::{Operator, braces, matches};
use super::virtualization::{self, Virtualization};
use super::{ConditionKind, FileKind, Machine, resources};
use crate::environment;
use crate::specifier;
use crate::words::{Rules, split};

/// What a look says: yes, no, or why it cannot be said.
pub(super) type Answer = Result<bool, String>;

pub(super) fn check(kind: ConditionKind, parameter: &str, machine: &dyn Machine) -> Answer {
    use ConditionKind as Kind;
    let look = |follow| machine.look(parameter, follow);
    let kind_is = |wanted, follow| look(follow).is_ok_and(|status| status.kind == wanted);
    Ok(match kind {
        Kind::PathExists => look(true).is_ok(),
        Kind::PathExistsGlob => return glob_exists(parameter, machine),
        Kind::PathIsDirectory => kind_is(FileKind::Directory, true),
        Kind::PathIsSymbolicLink => kind_is(FileKind::Link, false),
        Kind::PathIsMountPoint => machine.is_mount_point(parameter).unwrap_or(false),
        Kind::PathIsReadWrite => match machine.is_read_only(parameter) {
            Ok(read_only) => !read_only,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        },
        Kind::PathIsEncrypted => look(true).is_ok_and(|status| is_encrypted(status.device, machine)),
        Kind::DirectoryNotEmpty => match machine.list(parameter) {
            Ok(names) => names.iter().any(|name| !is_hidden_or_backup(name)),
            Err(error) => !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory),
        },
        Kind::FileNotEmpty => look(true).is_ok_and(|status| status.kind == FileKind::Regular && status.size > 0),
        Kind::FileIsExecutable => {
            look(true).is_ok_and(|status| status.kind == FileKind::Regular && status.mode & 0o111 != 0)
        }
        Kind::NeedsUpdate => needs_update(parameter, machine),
        Kind::KernelCommandLine => {
            let line = command_line(machine)?;
            let words =
                split(line.as_bytes(), Rules { open_end: true, ..Rules::QUOTED }).map_err(|bad| bad.to_string())?;
            words.iter().any(|word| is_or_assigns(&String::from_utf8_lossy(word), parameter))
        }
        Kind::Environment => match parameter.split_once('=') {
            Some((name, value)) => machine.variable(name).is_some_and(|set| set == value),
            None => machine.variable(parameter).is_some(),
        },
        Kind::KernelVersion => return kernel_version(parameter, machine),
        Kind::Credential => ["CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY"].into_iter().any(|variable| {
            is_file_name(parameter)
                && machine
                    .variable(variable)
                    .is_some_and(|folder| machine.look(&format!("{folder}/{parameter}"), false).is_ok())
        }),
        Kind::Virtualization => match parameter {
            "private-users" => in_user_namespace(machine),
            _ => {
                let found = virtualization::virtualization(machine);
                match (boolean(parameter), &found) {
                    (Some(wanted), _) => wanted == (found != Virtualization::None),
                    (None, Virtualization::None) => false,
                    (None, Virtualization::Vm(name)) => parameter == "vm" || parameter == *name,
                    (None, Virtualization::Container(name)) => parameter == "container" || parameter == *name,
                }
            }
        },
        Kind::Security => security(parameter, machine),
        Kind::Capability => return capability(parameter, machine),
        Kind::Host => return host(parameter, machine),
        Kind::ACPower => boolean(parameter).ok_or_else(|| not_boolean(parameter))? == on_mains(machine),
        Kind::Architecture => {
            let own = &machine.host().architecture;
            parameter == own || (parameter == "native" && own == specifier::architecture(std::env::consts::ARCH))
        }
        Kind::Firmware => return firmware(parameter, machine),
        Kind::FirstBoot => {
            boolean(parameter).ok_or_else(|| not_boolean(parameter))?
                == machine.look("/run/systemd/first-boot", true).is_ok()
        }
        Kind::User => user(parameter, machine),
        Kind::Group => {
            let groups = machine.user().groups;
            parameter.parse().map_or(parameter == "root" && groups.contains(&0), |id: u32| groups.contains(&id))
        }
        Kind::ControlGroupController => resources::controllers(parameter, machine),
        Kind::CPUs => {
            let (operator, rest) = Operator::take(parameter, false).unwrap_or((AT_LEAST, parameter));
            let wanted: u64 = rest.trim().parse().map_err(|_| format!("\"{rest}\" is not a number of processors"))?;
            operator.compare_numbers(machine.processors(), wanted).unwrap_or(false)
        }
        Kind::Memory => {
            let (operator, rest) = Operator::take(parameter, false).unwrap_or((AT_LEAST, parameter));
            let wanted = resources::size(rest).ok_or_else(|| format!("\"{rest}\" is not an amount of memory"))?;
            operator.compare_numbers(machine.memory(), wanted).unwrap_or(false)
        }
        Kind::CPUFeature => resources::cpu_feature(&parameter.to_ascii_lowercase(), machine),
        Kind::OSRelease => return os_release(parameter, machine),
        Kind::MemoryPressure => return resources::pressure("memory", parameter, machine),
        Kind::CPUPressure => return resources::pressure("cpu", parameter, machine),
        Kind::IOPressure => return resources::pressure("io", parameter, machine),
    })
}

const AT_LEAST: Operator = Operator::Order(std::cmp::Ordering::is_ge);

fn not_boolean(text: &str) -> String {
    format!("\"{text}\" is neither yes nor no")
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn text(machine: &dyn Machine, path: &str) -> Option<String> {
    machine.read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn exists(machine: &dyn Machine, path: &str) -> bool {
    machine.look(path, true).is_ok()
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/') && name.len() <= 255
}

/// How many names a pattern may be held against. The manager waits meanwhile, and `/*/*/*/*` is all there is.
const GLOB_NAMES: u32 = 100_000;

fn glob_exists(parameter: &str, machine: &dyn Machine) -> Answer {
    let mut left = GLOB_NAMES;
    for pattern in braces(parameter) {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        if fits_below("", &parts, machine, &mut left)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something below this folder fits, one component of the pattern a step; `left` counts the names down.
fn fits_below(base: &str, parts: &[&str], machine: &dyn Machine, left: &mut u32) -> Answer {
    let Some((part, rest)) = parts.split_first() else { return Ok(true) };
    if !part.contains(['*', '?', '[', '\\']) {
        let path = format!("{base}/{part}");
        return if machine.look(&path, false).is_ok() { fits_below(&path, rest, machine, left) } else { Ok(false) };
    }
    for name in machine.list(if base.is_empty() { "/" } else { base }).unwrap_or_default() {
        *left =
            left.checked_sub(1).ok_or_else(|| format!("more than {GLOB_NAMES} names would have to be looked at"))?;
        // A dot at the start has to be asked for, glob(7).
        let shown = !name.starts_with('.') || part.starts_with('.');
        if shown && matches(part, &name, false) && fits_below(&format!("{base}/{name}"), rest, machine, left)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_hidden_or_backup(name: &str) -> bool {
    let extensions = [
        "rpmnew",
        "rpmsave",
        "rpmorig",
        "dpkg-old",
        "dpkg-new",
        "dpkg-tmp",
        "dpkg-dist",
        "dpkg-bak",
        "dpkg-backup",
        "dpkg-remove",
        "ucf-new",
        "ucf-old",
        "ucf-dist",
        "swp",
        "bak",
        "old",
        "new",
    ];
    name.starts_with('.')
        || matches!(name, "lost+found" | "aquota.user" | "aquota.group")
        || name.ends_with('~')
        || name.rsplit_once('.').is_some_and(|(_, last)| extensions.contains(&last))
}

/// A device of the device mapper whose name says so, or all of whose lower devices are.
fn is_encrypted(device: u64, machine: &dyn Machine) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    encrypted_at(&format!("/sys/dev/block/{major}:{minor}"), machine, 10)
}

fn encrypted_at(folder: &str, machine: &dyn Machine, depth: u32) -> bool {
    if text(machine, &format!("{folder}/dm/uuid")).is_some_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    let lower = machine.list(&format!("{folder}/slaves")).unwrap_or_default();
    depth > 0
        && !lower.is_empty()
        && lower.iter().all(|name| encrypted_at(&format!("{folder}/slaves/{name}"), machine, depth - 1))
}

/// The kernel's command line; in a container that of its first process, which is all it was told.
fn command_line(machine: &dyn Machine) -> Result<String, String> {
    if virtualization::container(machine).is_some() {
        let line = text(machine, "/proc/1/cmdline").ok_or("cannot read /proc/1/cmdline")?;
        return Ok(line.trim_end_matches('\0').replace('\0', " "));
    }
    Ok(text(machine, "/proc/cmdline").ok_or("cannot read /proc/cmdline")?.trim_end().to_owned())
}

fn is_or_assigns(word: &str, wanted: &str) -> bool {
    if wanted.contains('=') {
        return word == wanted;
    }
    word.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn needs_update(path: &str, machine: &dyn Machine) -> bool {
    let line = command_line(machine).unwrap_or_default();
    let mut told = line.split_ascii_whitespace().filter_map(|word| match word.split_once('=') {
        Some(("systemd.condition-needs-update", value)) => boolean(value),
        None if word == "systemd.condition-needs-update" => Some(true),
        _ => None,
    });
    if let Some(told) = told.next_back() {
        return told;
    }
    if exists(machine, "/etc/initrd-release") || machine.is_read_only(path).unwrap_or(false) {
        return false;
    }
    let stamp = format!("{}/.updated", path.trim_end_matches('/'));
    let (Ok(updated), Ok(usr)) = (machine.look(&stamp, false), machine.look("/usr/", false)) else { return true };
    if usr.changed.0 != updated.changed.0 {
        return usr.changed.0 > updated.changed.0;
    }
    if usr.changed.1 == 0 || updated.changed.1 > 0 {
        return usr.changed.1 > updated.changed.1;
    }
    // The stamp lies on a file system with full seconds: it holds the time it stands for.
    let entries = machine.read(&stamp).ok().and_then(|text| environment::parse_file(&text).ok()).unwrap_or_default();
    let nanoseconds =
        entries.iter().find(|entry| entry.name == "TIMESTAMP_NSEC").and_then(|entry| entry.value.parse::<i128>().ok());
    let changed = i128::from(usr.changed.0) * 1_000_000_000 + i128::from(usr.changed.1);
    nanoseconds.is_none_or(|stamped| changed > stamped)
}

fn kernel_version(parameter: &str, machine: &dyn Machine) -> Answer {
    let words = split(parameter.as_bytes(), Rules::QUOTED).map_err(|bad| bad.to_string())?;
    let mut words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    let mut first = true;
    while let Some(word) = words.next() {
        let (operator, rest) =
            Operator::take(word.trim(), true).unwrap_or((Operator::Pattern { equal: true }, word.trim()));
        let mut wanted = rest.trim_start().to_owned();
        if wanted.is_empty() {
            // ">= 6.1", with a blank and no quotes: old files have it, and only in the first expression.
            let next = if first { words.next() } else { None };
            wanted = next.ok_or_else(|| format!("\"{parameter}\" ends with an operator"))?;
        }
        if !operator.compare(&machine.host().kernel_release, &wanted) {
            return Ok(false);
        }
        first = false;
    }
    Ok(true)
}

fn os_release(parameter: &str, machine: &dyn Machine) -> Answer {
    for word in split(parameter.as_bytes(), Rules::QUOTED).map_err(|bad| bad.to_string())? {
        let word = String::from_utf8_lossy(&word).into_owned();
        let wrong = || format!("\"{word}\" is not a comparison with a field of os-release");
        let at = word.find(['$', '!', '<', '>', '=']).ok_or_else(wrong)?;
        let (field, rest) = word.split_at(at);
        let (operator, wanted) = Operator::take(rest, true).ok_or_else(wrong)?;
        if !environment::is_name(field) || wanted.is_empty() || wanted.starts_with([' ', '\t', '\n', '\r']) {
            return Err(wrong());
        }
        let release = machine.host().os_release.as_ref().ok_or("there is no os-release file")?;
        if !operator.compare(release.get(field).unwrap_or_default(), wanted) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn in_user_namespace(machine: &dyn Machine) -> bool {
    for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        // Without the file the kernel has no user namespaces.
        let Some(map) = text(machine, map) else { return false };
        let numbers: Vec<&str> = map.split_ascii_whitespace().collect();
        if numbers != ["0", "0", "4294967295"] {
            return true;
        }
    }
    text(machine, "/proc/self/setgroups").is_some_and(|word| word.trim() == "deny")
}

fn is_efi(machine: &dyn Machine) -> bool {
    virtualization::container(machine).is_none() && exists(machine, "/sys/firmware/efi")
}

fn security(technique: &str, machine: &dyn Machine) -> bool {
    match technique {
        "selinux" => {
            // The file system alone says that the kernel can; a context that is not the kernel's, that a policy is in.
            let context = text(machine, "/proc/self/attr/current").unwrap_or_default();
            exists(machine, "/sys/fs/selinux/enforce") && context.trim_end_matches(['\0', '\n']) != "kernel"
        }
        "smack" => exists(machine, "/sys/fs/smackfs/"),
        "apparmor" => text(machine, "/sys/module/apparmor/parameters/enabled")
            .is_some_and(|word| boolean(word.trim()) == Some(true)),
        "audit" => machine.has_audit(),
        "ima" => exists(machine, "/sys/kernel/security/ima/"),
        "tomoyo" => exists(machine, "/sys/kernel/security/tomoyo/version"),
        "uefi-secureboot" => {
            let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            // Four bytes of attributes come before the value, Documentation/filesystems/efivarfs.rst.
            is_efi(machine) && machine.read(variable).is_ok_and(|value| value.get(4) == Some(&1))
        }
        "tpm2" => {
            let driver = machine.list("/sys/class/tpmrm").is_ok_and(|names| !names.is_empty());
            let firmware = ["/sys/firmware/acpi/tables/TPM2", "/sys/kernel/security/tpm0/binary_bios_measurements"];
            driver && is_efi(machine) && firmware.into_iter().any(|path| exists(machine, path))
        }
        _ => false,
    }
}

/// The capabilities in the order of their numbers, `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

fn capability(name: &str, machine: &dyn Machine) -> Answer {
    let unknown = || format!("\"{name}\" is not a capability");
    let number = match name.parse::<usize>() {
        Ok(number) if number < 63 => number,
        Ok(_) => return Err(unknown()),
        Err(_) => {
            let lower = name.to_ascii_lowercase();
            let known =
                lower.strip_prefix("cap_").and_then(|short| CAPABILITIES.iter().position(|known| *known == short));
            known.ok_or_else(unknown)?
        }
    };
    let status = text(machine, "/proc/self/status").ok_or("cannot read /proc/self/status")?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).map(str::trim);
    // A kernel that does not say what it bounds, bounds nothing.
    let set = set.map_or(Ok(u64::MAX), |set| u64::from_str_radix(set, 16)).map_err(|_| "CapBnd is not a number")?;
    Ok(set & 1 << number != 0)
}

fn host(parameter: &str, machine: &dyn Machine) -> Answer {
    let digits: String = parameter.chars().filter(|c| *c != '-').collect();
    let uuid =
        parameter.len() == 36 && [8, 13, 18, 23].into_iter().all(|at| parameter.as_bytes().get(at) == Some(&b'-'));
    if digits.len() == 32 && digits.bytes().all(|c| c.is_ascii_hexdigit()) && (uuid || parameter.len() == 32) {
        let own = machine.host().machine_id.as_ref().ok_or("this machine has no machine id")?;
        return Ok(digits.eq_ignore_ascii_case(own));
    }
    Ok(matches(parameter, &machine.host().host_name, true))
}

/// Whether the machine is on mains: a supply is on line, or no battery is being drained.
fn on_mains(machine: &dyn Machine) -> bool {
    let folder = "/sys/class/power_supply";
    let mut drained = false;
    for name in machine.list(folder).unwrap_or_default() {
        let field =
            |field: &str| text(machine, &format!("{folder}/{name}/{field}")).map(|value| value.trim().to_owned());
        match field("type").as_deref() {
            None => {}
            Some("Battery") => {
                let own = field("scope").as_deref() != Some("Device");
                drained |= own
                    && field("present").as_deref() != Some("0")
                    && field("status").as_deref() == Some("Discharging");
            }
            Some(kind) => {
                // A USB port that gives power to another device says so in brackets.
                let gives = kind == "USB" && source_role(&name, machine);
                if !gives
                    && field("online").and_then(|value| value.parse::<u32>().ok()).is_some_and(|online| online > 0)
                {
                    return true;
                }
            }
        }
    }
    !drained
}

fn source_role(supply: &str, machine: &dyn Machine) -> bool {
    let folder = format!("/sys/class/power_supply/{supply}/device/typec");
    let ports = machine.list(&folder).unwrap_or_default();
    !ports.is_empty()
        && !ports.iter().any(|port| {
            text(machine, &format!("{folder}/{port}/power_role")).is_some_and(|role| role.contains("[sink]"))
        })
}

fn firmware(parameter: &str, machine: &dyn Machine) -> Answer {
    let argument = |name: &str| parameter.strip_prefix(name)?.strip_prefix('(');
    match parameter {
        "device-tree" => return Ok(exists(machine, "/sys/firmware/devicetree/")),
        "uefi" => return Ok(is_efi(machine)),
        _ => {}
    }
    if let Some(wanted) = argument("device-tree-compatible") {
        let list = text(machine, "/proc/device-tree/compatible").unwrap_or_default();
        let wanted = wanted.strip_suffix(')');
        return Ok(list.ends_with('\0') && list.split_terminator('\0').any(|own| Some(own) == wanted));
    }
    if let Some(expression) = argument("smbios-field") {
        let wrong = || format!("\"{parameter}\" is not a comparison with a field of SMBIOS");
        let expression = expression.strip_suffix(')').ok_or_else(wrong)?;
        let at = expression.find(['$', '!', '<', '>', '=']).ok_or_else(wrong)?;
        let (field, rest) = expression.split_at(at);
        let field = field.trim_end();
        let (operator, rest) = Operator::take(rest, true).ok_or_else(wrong)?;
        let words = split(rest.as_bytes(), Rules::QUOTED).map_err(|bad| bad.to_string())?;
        let ([wanted], true) = (&words[..], is_file_name(field)) else { return Err(wrong()) };
        return Ok(match text(machine, &format!("/sys/class/dmi/id/{field}")) {
            Some(own) => operator.compare(own.trim_end(), &String::from_utf8_lossy(wanted)),
            None => false,
        });
    }
    Ok(false)
}

/// Names of others are not looked up: the name service may need the very unit that waits.
fn user(parameter: &str, machine: &dyn Machine) -> bool {
    const SYSTEM_MAX: u32 = 999;
    const NOBODY: u32 = 65534;
    let any = |test: &dyn Fn(u32) -> bool| machine.user().users.into_iter().any(test);
    match parameter {
        "root" => any(&|id| id == 0),
        "nobody" => any(&|id| id == NOBODY),
        "@system" => any(&|id| id <= SYSTEM_MAX),
        _ => parameter.parse().is_ok_and(|wanted: u32| any(&|id| id == wanted)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::condition::ThisMachine;
    use crate::specifier::Host;

    #[test]
    fn a_pattern_that_leads_everywhere_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            symlink(".", folder.path().join(name)).unwrap();
        }
        let machine = ThisMachine::new(Host::default());
        let exists = |pattern: String| glob_exists(&format!("{}{pattern}", folder.path().display()), &machine);
        assert_eq!(exists("/*".repeat(20)), Ok(true));
        assert_eq!(exists(format!("{}/c", "/*".repeat(5))), Ok(false));
        assert!(exists(format!("{}/c", "/*".repeat(20))).is_err());
    }
}

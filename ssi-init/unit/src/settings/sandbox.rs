// SPDX-License-Identifier: GPL-2.0-or-later
//! Settings of systemd.exec(5) that confine the processes of a unit.

use std::collections::BTreeSet;

use super::exec::without_dash;
use super::value::{self, BARE};
use super::{Outcome, Problem, Reader, Table};
use crate::config::Sandbox;
use crate::config::sandbox::{
    BindMount, CAPABILITIES, CapabilitySet, MountImage, MountPropagation, NameList, NamespaceKind, NamespacePath,
    ProcSubset, ProtectHome, ProtectProc, ProtectSystem, SecureBit, SecurityLabel, SyscallAction, SyscallEntry,
    SyscallFilter, TemporaryFileSystem,
};
use crate::words::{Rules, Splitter, split};

/// The parts of a disk image that may have mount options of their own.
const PARTITIONS: [&str; 10] =
    ["root", "usr", "home", "srv", "esp", "xbootldr", "tmp", "var", "root-verity", "usr-verity"];

/// Architectures whose system calls can be told apart.
const ARCHITECTURES: [&str; 20] = [
    "native",
    "x86",
    "x86-64",
    "x32",
    "arm",
    "arm64",
    "loongarch64",
    "mips",
    "mips64",
    "mips64-n32",
    "mips-le",
    "mips64-le",
    "mips64-le-n32",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64-le",
    "riscv64",
    "s390",
];

/// The keys of systemd.exec(5) that confine.
pub(super) const SANDBOX: Table<Sandbox> = &[
    ("RootDirectory", |sandbox, value, reader| must_path(&mut sandbox.root_directory, value, reader)),
    ("RootImage", |sandbox, value, reader| must_path(&mut sandbox.root_image, value, reader)),
    ("RootImageOptions", |sandbox, value, reader| {
        reader.extend(&mut sandbox.root_image_options, value, Rules::QUOTED, |reader, word| {
            let (partition, options) = word.trim_start_matches(':').split_once(':').unwrap_or(("root", word));
            if !PARTITIONS.contains(&partition) {
                return Err(reader.bad(word, "mount options of a partition that images have"));
            }
            Ok((partition.to_owned(), reader.text(options)?))
        })
    }),
    ("RootHash", |sandbox, value, reader| {
        let hash = value.len() >= 32 && value.len() % 2 == 0 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !value.is_empty() && !value.starts_with('/') && !hash {
            return Err(reader.bad(value, "a hash in hexadecimal, nor a path"));
        }
        sandbox.root_hash = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }),
    ("RootHashSignature", |sandbox, value, reader| {
        let encoded = value.strip_prefix("base64:").is_some_and(|text| value::base64(text).is_some());
        if !value.is_empty() && !value.starts_with('/') && !encoded {
            return Err(reader.bad(value, "base64: and a signature, nor a path"));
        }
        sandbox.root_hash_signature = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }),
    ("RootVerity", |sandbox, value, reader| must_path(&mut sandbox.root_verity, value, reader)),
    ("MountAPIVFS", |sandbox, value, reader| {
        if value.is_empty() {
            sandbox.mount_api_vfs = None;
            return Ok(());
        }
        let mut mount = false;
        reader.set_bool(&mut mount, value)?;
        sandbox.mount_api_vfs = Some(mount);
        Ok(())
    }),
    ("MountImages", |sandbox, value, reader| {
        reader.extend(&mut sandbox.mount_images, value, Rules::NAMES, |reader, word| image(word, true, reader))
    }),
    ("ExtensionImages", |sandbox, value, reader| {
        reader.extend(&mut sandbox.extension_images, value, Rules::NAMES, |reader, word| image(word, false, reader))
    }),
    ("ExtensionDirectories", |sandbox, value, reader| paths(&mut sandbox.extension_directories, value, reader)),
    ("ReadWritePaths", |sandbox, value, reader| paths(&mut sandbox.read_write_paths, value, reader)),
    ("ReadOnlyPaths", |sandbox, value, reader| paths(&mut sandbox.read_only_paths, value, reader)),
    ("InaccessiblePaths", |sandbox, value, reader| paths(&mut sandbox.inaccessible_paths, value, reader)),
    ("ReadWriteDirectories", |sandbox, value, reader| paths(&mut sandbox.read_write_paths, value, reader)),
    ("ReadOnlyDirectories", |sandbox, value, reader| paths(&mut sandbox.read_only_paths, value, reader)),
    ("InaccessibleDirectories", |sandbox, value, reader| paths(&mut sandbox.inaccessible_paths, value, reader)),
    ("ExecPaths", |sandbox, value, reader| paths(&mut sandbox.exec_paths, value, reader)),
    ("NoExecPaths", |sandbox, value, reader| paths(&mut sandbox.no_exec_paths, value, reader)),
    ("BindPaths", |sandbox, value, reader| bind_paths(sandbox, value, false, reader)),
    ("BindReadOnlyPaths", |sandbox, value, reader| bind_paths(sandbox, value, true, reader)),
    ("TemporaryFileSystem", |sandbox, value, reader| {
        reader.extend(&mut sandbox.temporary_file_systems, value, Rules::QUOTED, |reader, word| {
            let (path, options) = word.split_once(':').unwrap_or((word, ""));
            Ok(TemporaryFileSystem { path: reader.path(path)?, options: reader.text(options)? })
        })
    }),
    ("MountFlags", |sandbox, value, reader| {
        if value.is_empty() {
            sandbox.mount_flags = None;
            return Ok(());
        }
        let mut flags = MountPropagation::Shared;
        reader.set_word(&mut flags, value, MountPropagation::from_word)?;
        sandbox.mount_flags = Some(flags);
        Ok(())
    }),
    ("PrivateTmp", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_tmp, value)),
    ("PrivateDevices", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_devices, value)),
    ("PrivateNetwork", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_network, value)),
    ("NetworkNamespacePath", |sandbox, value, reader| reader.set_path(&mut sandbox.network_namespace_path, value)),
    ("PrivateIPC", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_ipc, value)),
    ("IPCNamespacePath", |sandbox, value, reader| reader.set_path(&mut sandbox.ipc_namespace_path, value)),
    ("PrivateUsers", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_users, value)),
    ("PrivateMounts", |sandbox, value, reader| reader.set_bool(&mut sandbox.private_mounts, value)),
    ("ProtectSystem", |sandbox, value, reader| {
        reader.set_word(&mut sandbox.protect_system, &value::in_lower_case(value), ProtectSystem::from_word)
    }),
    ("ProtectHome", |sandbox, value, reader| {
        reader.set_word(&mut sandbox.protect_home, &value::in_lower_case(value), ProtectHome::from_word)
    }),
    ("ProtectHostname", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_hostname, value)),
    ("ProtectClock", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_clock, value)),
    ("ProtectKernelTunables", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_kernel_tunables, value)),
    ("ProtectKernelModules", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_kernel_modules, value)),
    ("ProtectKernelLogs", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_kernel_logs, value)),
    ("ProtectControlGroups", |sandbox, value, reader| reader.set_bool(&mut sandbox.protect_control_groups, value)),
    ("ProtectProc", |sandbox, value, reader| reader.set_word(&mut sandbox.protect_proc, value, ProtectProc::from_word)),
    ("ProcSubset", |sandbox, value, reader| reader.set_word(&mut sandbox.proc_subset, value, ProcSubset::from_word)),
    ("RestrictAddressFamilies", |sandbox, value, reader| {
        if value == "none" {
            sandbox.restrict_address_families = Some(NameList { allow: true, names: BTreeSet::new() });
            return Ok(());
        }
        name_list(&mut sandbox.restrict_address_families, value, reader, |word| {
            word.strip_prefix("AF_").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            })
        })
    }),
    ("RestrictFileSystems", |sandbox, value, reader| {
        name_list(&mut sandbox.restrict_file_systems, value, reader, |word| !word.is_empty())
    }),
    ("RestrictNamespaces", set_namespaces),
    ("LockPersonality", |sandbox, value, reader| reader.set_bool(&mut sandbox.lock_personality, value)),
    ("MemoryDenyWriteExecute", |sandbox, value, reader| reader.set_bool(&mut sandbox.memory_deny_write_execute, value)),
    ("RestrictRealtime", |sandbox, value, reader| reader.set_bool(&mut sandbox.restrict_realtime, value)),
    ("RestrictSUIDSGID", |sandbox, value, reader| reader.set_bool(&mut sandbox.restrict_suid_sgid, value)),
    ("SystemCallFilter", |sandbox, value, reader| syscalls(&mut sandbox.system_call_filter, value, reader)),
    ("SystemCallLog", |sandbox, value, reader| syscalls(&mut sandbox.system_call_log, value, reader)),
    ("SystemCallErrorNumber", |sandbox, value, reader| {
        sandbox.system_call_error = match value {
            "" | "kill" => SyscallAction::Kill,
            error if value::is_error(error) => SyscallAction::Error(error.to_owned()),
            _ => return Err(reader.bad(value, "the name or number of an error")),
        };
        Ok(())
    }),
    ("SystemCallArchitectures", |sandbox, value, reader| {
        if value.is_empty() {
            sandbox.system_call_architectures = None;
            return Ok(());
        }
        for word in reader.words(value, Rules::QUOTED) {
            if ARCHITECTURES.contains(&word.as_str()) || word == "s390x" {
                sandbox.system_call_architectures.get_or_insert_default().insert(word);
            } else {
                reader.skip(format!("SystemCallArchitectures={word} is not an architecture, ignoring"));
            }
        }
        Ok(())
    }),
    ("NoNewPrivileges", |sandbox, value, reader| reader.set_bool(&mut sandbox.no_new_privileges, value)),
    ("CapabilityBoundingSet", |sandbox, value, reader| {
        capabilities(&mut sandbox.capability_bounding_set, CapabilitySet::ALL, value, reader)
    }),
    ("AmbientCapabilities", |sandbox, value, reader| {
        capabilities(&mut sandbox.ambient_capabilities, CapabilitySet::NONE, value, reader)
    }),
    ("SecureBits", |sandbox, value, reader| {
        if value.is_empty() {
            sandbox.secure_bits.clear();
            return Ok(());
        }
        for word in reader.words(value, Rules::QUOTED) {
            match SecureBit::from_word(&word) {
                Some(bit) => {
                    sandbox.secure_bits.insert(bit);
                }
                None => reader.skip(format!("SecureBits={word} is not a secure bit, ignoring")),
            }
        }
        Ok(())
    }),
    ("SELinuxContext", |sandbox, value, reader| label(&mut sandbox.selinux_context, value, reader)),
    ("AppArmorProfile", |sandbox, value, reader| label(&mut sandbox.apparmor_profile, value, reader)),
    ("SmackProcessLabel", |sandbox, value, reader| label(&mut sandbox.smack_process_label, value, reader)),
];

/// A path of the unit's own root; one that cannot be resolved makes the unit unusable.
fn must_path(slot: &mut Option<String>, value: &str, reader: &Reader<'_>) -> Outcome {
    reader.set_path(slot, value).map_err(|problem| match reader.specifiers.path(value) {
        Ok(_) => problem,
        Err(_) => super::fatal(problem),
    })
}

/// Paths with `-` and `+` before them.
fn paths(list: &mut Vec<NamespacePath>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    reader.extend(list, value, Rules::QUOTED, |reader, word| {
        let (word, optional) = without_dash(word);
        let (word, own_root) = word.strip_prefix('+').map_or((word, false), |rest| (rest, true));
        Ok(NamespacePath { path: reader.path(word)?, optional, own_root })
    })
}

/// `SOURCE[:DESTINATION[:OPTIONS]]`, several with blanks between. Both keys share one list, and an empty value of
/// either empties it.
fn bind_paths(sandbox: &mut Sandbox, value: &str, read_only: bool, reader: &mut Reader<'_>) -> Outcome {
    const PARTS: Rules = Rules { separators: b": \t\n\r", empty_words: true, ..Rules::QUOTED };
    if value.is_empty() {
        sandbox.bind_mounts.clear();
        return Ok(());
    }
    let mut splitter = Splitter::new(value.as_bytes());
    // Whether the part just read ended at a colon: the byte before what is left says so.
    let at_colon = |splitter: &Splitter<'_>| {
        let read = value.len() - splitter.rest().len();
        read > 0 && value.as_bytes().get(read - 1) == Some(&b':')
    };
    loop {
        let mut parts: Vec<String> = Vec::new();
        let mut more = true;
        while more {
            let rules = if parts.len() == 2 { Rules::QUOTED } else { PARTS };
            match splitter.next_word(rules) {
                Ok(Some(part)) => parts.push(String::from_utf8_lossy(&part).into_owned()),
                Ok(None) => break,
                Err(error) => return Err(reader.bad(value, &error.to_string())),
            }
            more = parts.len() < 3 && at_colon(&splitter);
        }
        match parts.as_slice() {
            [] => return Ok(()),
            // More than one blank between two mounts.
            [only] if only.is_empty() => {}
            parts => match bind_mount(parts, read_only, reader) {
                Ok(mount) => sandbox.bind_mounts.push(mount),
                Err(Problem::Ignored(text)) => reader.skip(text),
                Err(fatal) => return Err(fatal),
            },
        }
    }
}

fn bind_mount(parts: &[String], read_only: bool, reader: &Reader<'_>) -> Result<BindMount, Problem> {
    let source = parts.first().map(String::as_str).unwrap_or_default();
    let (source, optional) = without_dash(source);
    let source = reader.path(source)?;
    let destination = match parts.get(1) {
        Some(destination) => reader.path(destination)?,
        None => source.clone(),
    };
    let recursive = match parts.get(2).map(String::as_str) {
        None | Some("" | "rbind") => true,
        Some("norbind") => false,
        Some(other) => return Err(reader.bad(other, "rbind or norbind")),
    };
    Ok(BindMount { source, destination, read_only, recursive, optional })
}

/// `SOURCE[:DESTINATION][:OPTIONS]`, the options perhaps for each partition.
fn image(word: &str, has_destination: bool, reader: &Reader<'_>) -> Result<MountImage, Problem> {
    let parts = split(word.as_bytes(), Rules::COLONS).map_err(|error| reader.bad(word, &error.to_string()))?;
    let mut parts = parts.into_iter().map(|part| String::from_utf8_lossy(&part).into_owned());
    let source = parts.next().unwrap_or_default();
    let (source, optional) = without_dash(&source);
    let source = reader.path(source)?;
    let destination = if has_destination {
        let destination = parts.next().unwrap_or_default();
        if destination.is_empty() {
            return Err(reader.bad(word, "an image with the place to mount it at"));
        }
        Some(reader.path(&destination)?)
    } else {
        None
    };
    let rest: Vec<String> = parts.collect();
    let mut options = Vec::new();
    match rest.as_slice() {
        [] => {}
        [single] => options.push(("root".to_owned(), reader.text(single)?)),
        pairs => {
            for pair in pairs.chunks(2) {
                let [partition, text] = pair else {
                    return Err(reader.bad(word, "an image with options for each partition"));
                };
                if !PARTITIONS.contains(&partition.as_str()) {
                    return Err(reader.bad(partition, "a partition that images have"));
                }
                options.push((partition.clone(), reader.text(text)?));
            }
        }
    }
    Ok(MountImage { source, destination, options, optional })
}

/// Names that are allowed or, behind `~`, refused. The first line says which the list is; a line of the other sense
/// takes names out.
fn name_list(slot: &mut Option<NameList>, value: &str, reader: &mut Reader<'_>, is_name: fn(&str) -> bool) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let (allow, words) = match value.strip_prefix('~') {
        Some(words) => (false, words),
        None => (true, value),
    };
    let words = reader.words(words, Rules::QUOTED);
    let list = slot.get_or_insert(NameList { allow, names: BTreeSet::new() });
    for word in words {
        if !is_name(&word) {
            reader.skip(format!("{}={word} is not a name this setting knows, ignoring", reader.key()));
        } else if list.allow == allow {
            list.names.insert(word);
        } else {
            list.names.remove(&word);
        }
    }
    Ok(())
}

/// Kinds of namespaces that may be made; yes is none of them.
fn set_namespaces(sandbox: &mut Sandbox, value: &str, reader: &mut Reader<'_>) -> Outcome {
    match value::boolean(value) {
        Some(true) => {
            sandbox.restrict_namespaces = Some(BTreeSet::new());
            return Ok(());
        }
        Some(false) => {
            sandbox.restrict_namespaces = None;
            return Ok(());
        }
        None if value.is_empty() => {
            sandbox.restrict_namespaces = None;
            return Ok(());
        }
        None => {}
    }
    let (take_out, words) = value.strip_prefix('~').map_or((false, value), |words| (true, words));
    let mut named = BTreeSet::new();
    for word in reader.words(words, Rules::PLAIN) {
        named.insert(NamespaceKind::from_word(&word).ok_or_else(|| reader.bad(&word, "a kind of namespace"))?);
    }
    let all = || NamespaceKind::ALL.iter().copied().collect::<BTreeSet<_>>();
    sandbox.restrict_namespaces = Some(match (sandbox.restrict_namespaces.take(), take_out) {
        (None, true) => all().difference(&named).copied().collect(),
        (Some(before), true) => before.difference(&named).copied().collect(),
        (before, false) => before.unwrap_or_default().union(&named).copied().collect(),
    });
    Ok(())
}

/// Names of system calls and of groups of them, each perhaps with an error.
fn syscalls(slot: &mut Option<SyscallFilter>, value: &str, reader: &mut Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let (inverted, words) = value.strip_prefix('~').map_or((false, value), |words| (true, words));
    let words = reader.words(words, BARE);
    let filter = slot.get_or_insert(SyscallFilter { allow: !inverted, entries: Vec::new() });
    for word in words {
        let (name, action) = match word.split_once(':') {
            None => (word.as_str(), None),
            Some((name, "kill")) => (name, Some(SyscallAction::Kill)),
            Some((name, error)) if value::is_error(error) => (name, Some(SyscallAction::Error(error.to_owned()))),
            Some(_) => {
                reader.skip(format!("{}={word} does not end in the name of an error, ignoring", reader.key()));
                continue;
            }
        };
        if !inverted && action.is_some() {
            reader.skip(format!("{}={word}: what is allowed gives no error, ignoring", reader.key()));
            continue;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let bare = name.strip_prefix('@').unwrap_or(name);
        if bare.is_empty() || !bare.chars().all(plain) {
            reader.skip(format!("{}={word} is not the name of a system call or a group, ignoring", reader.key()));
            continue;
        }
        filter.entries.push(SyscallEntry { inverted, name: name.to_owned(), action });
    }
    Ok(())
}

/// Capabilities by name or number. A first value replaces what the set is without any; later ones add to it or, behind
/// `~`, take from it.
fn capabilities(set: &mut CapabilitySet, initial: CapabilitySet, value: &str, reader: &mut Reader<'_>) -> Outcome {
    let (inverted, words) = value.strip_prefix('~').map_or((false, value), |words| (true, words));
    let mut named = 0u64;
    for word in reader.words(words, Rules::QUOTED) {
        let lower = word.to_ascii_lowercase();
        let number = CAPABILITIES.iter().position(|name| *name == lower);
        match number.or_else(|| word.parse().ok().filter(|number| *number < 64)) {
            Some(number) => named |= 1 << number,
            None => reader.skip(format!("{}={word} is not a capability, ignoring", reader.key())),
        }
    }
    set.0 = match (inverted, named == 0 || *set == initial) {
        (true, true) => !named,
        (false, true) => named,
        (true, false) => set.0 & !named,
        (false, false) => set.0 | named,
    };
    Ok(())
}

/// The label of a security module.
fn label(slot: &mut Option<SecurityLabel>, value: &str, reader: &Reader<'_>) -> Outcome {
    if value.is_empty() {
        *slot = None;
        return Ok(());
    }
    let (text, optional) = without_dash(value);
    let label = match reader.text(text) {
        Ok(label) => label,
        Err(problem) if optional => return Err(problem),
        Err(problem) => return Err(super::fatal(problem)),
    };
    *slot = Some(SecurityLabel { label, optional });
    Ok(())
}

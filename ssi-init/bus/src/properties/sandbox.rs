// SPDX-License-Identifier: GPL-2.0-or-later
//! What confines processes: systemd.exec(5), "Sandboxing" and its neighbours. The parts stand in the order of systemd,
//! which goes to and fro between these and those of `exec.rs`.

use ssi_unit::config::Sandbox;
use ssi_unit::config::sandbox::{
    BindMount, MountImage, MountPropagation, NameList, NamespaceKind, NamespacePath, SecurityLabel, SyscallAction,
    SyscallFilter,
};
use zbus::zvariant::Value;

use super::names::error_number;
use super::value::{maybe, text};
use super::{Property, View, fixed};

/// What stands for "the process is killed" among numbers of errors.
const KILL: i32 = i32::MAX - 1;
/// `MS_REC`, mount(2)
const RECURSIVE: u64 = 1 << 14;

fn sandbox<'a>(v: &View<'a>) -> &'a Sandbox {
    &v.exec().sandbox
}

fn is_path(text: &&str) -> bool {
    text.starts_with('/')
}

/// A hash or signature that stands in the file itself, decoded.
fn inline(told: Option<&str>) -> Value<'static> {
    let bytes = told.filter(|told| !is_path(told)).and_then(|told| match told.strip_prefix("base64:") {
        Some(encoded) => decode_base64(encoded),
        None => decode_hexadecimal(told),
    });
    bytes.unwrap_or_default().into()
}

fn by_path(told: Option<&str>) -> Value<'static> {
    maybe(told.filter(is_path))
}

fn decode_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

/// RFC 4648; what is no digit is passed over, for the parser has refused what is none.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        word = word << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn paths(all: &[NamespacePath]) -> Value<'static> {
    let row = |one: &NamespacePath| {
        let (optional, own) = (if one.optional { "-" } else { "" }, if one.own_root { "+" } else { "" });
        format!("{optional}{own}{}", one.path)
    };
    Value::from(all.iter().map(row).collect::<Vec<_>>())
}

type Options = Vec<(String, String)>;

fn mount_images(all: &[MountImage]) -> Value<'static> {
    let row = |one: &MountImage| -> (String, String, bool, Options) {
        (one.source.clone(), one.destination.clone().unwrap_or_default(), one.optional, one.options.clone())
    };
    Value::from(all.iter().map(row).collect::<Vec<_>>())
}

fn extension_images(all: &[MountImage]) -> Value<'static> {
    let row = |one: &MountImage| -> (String, bool, Options) { (one.source.clone(), one.optional, one.options.clone()) };
    Value::from(all.iter().map(row).collect::<Vec<_>>())
}

/// `(ssbt)`: source, destination, whether it may be missing, flags of mount(2).
fn binds(v: &View<'_>, read_only: bool) -> Value<'static> {
    let row = |one: &BindMount| {
        let flags = if one.recursive { RECURSIVE } else { 0 };
        (one.source.clone(), one.destination.clone(), one.optional, flags)
    };
    Value::from(sandbox(v).bind_mounts.iter().filter(|one| one.read_only == read_only).map(row).collect::<Vec<_>>())
}

/// `(bas)`: whether the names are those that are allowed, and the names.
fn names(list: Option<&NameList>) -> Value<'static> {
    let list = list.cloned().unwrap_or_default();
    Value::from((list.allow, list.names.into_iter().collect::<Vec<_>>()))
}

/// The names of calls that pass, or do not. Groups stand as they were written.
fn calls(filter: Option<&SyscallFilter>) -> Value<'static> {
    let Some(filter) = filter else { return Value::from((false, Vec::<String>::new())) };
    let mut named = std::collections::BTreeMap::new();
    for entry in &filter.entries {
        if entry.inverted == filter.allow {
            // A line of the other sense takes names out; with an error of its own, it tells what happens there.
            match (&entry.action, filter.allow) {
                (Some(action), true) => named.insert(entry.name.clone(), Some(action.clone())),
                _ => named.remove(&entry.name),
            };
        } else {
            named.insert(entry.name.clone(), entry.action.clone());
        }
    }
    let word = |(name, action): (String, Option<SyscallAction>)| match action {
        None => name,
        Some(SyscallAction::Kill) => format!("{name}:kill"),
        Some(SyscallAction::Error(error)) => format!("{name}:{error}"),
    };
    Value::from((filter.allow, named.into_iter().map(word).collect::<Vec<_>>()))
}

/// `(bs)`: whether the start goes on without it, and the label.
fn label(label: Option<&SecurityLabel>) -> Value<'static> {
    match label {
        None => Value::from((false, String::new())),
        Some(label) => Value::from((label.optional, label.label.clone())),
    }
}

/// The bit of clone(2) for a kind of namespace.
pub(crate) fn namespace_bit(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Time => 0x80,
        NamespaceKind::Mnt => 0x0002_0000,
        NamespaceKind::Cgroup => 0x0200_0000,
        NamespaceKind::Uts => 0x0400_0000,
        NamespaceKind::Ipc => 0x0800_0000,
        NamespaceKind::User => 0x1000_0000,
        NamespaceKind::Pid => 0x2000_0000,
        NamespaceKind::Net => 0x4000_0000,
    }
}

macro_rules! flags {
    ($($name:literal $field:ident,)+) => { &[$(fixed($name, "b", |v| sandbox(v).$field.into()),)+] };
}

pub(super) const ROOT: &[Property] = &[
    fixed("RootDirectory", "s", |v| maybe(sandbox(v).root_directory.as_deref())),
    fixed("RootImage", "s", |v| maybe(sandbox(v).root_image.as_deref())),
    fixed("RootImageOptions", "a(ss)", |v| sandbox(v).root_image_options.clone().into()),
    fixed("RootHash", "ay", |v| inline(sandbox(v).root_hash.as_deref())),
    fixed("RootHashPath", "s", |v| by_path(sandbox(v).root_hash.as_deref())),
    fixed("RootHashSignature", "ay", |v| inline(sandbox(v).root_hash_signature.as_deref())),
    fixed("RootHashSignaturePath", "s", |v| by_path(sandbox(v).root_hash_signature.as_deref())),
    fixed("RootVerity", "s", |v| maybe(sandbox(v).root_verity.as_deref())),
    fixed("ExtensionDirectories", "as", |v| paths(&sandbox(v).extension_directories)),
    fixed("ExtensionImages", "a(sba(ss))", |v| extension_images(&sandbox(v).extension_images)),
    fixed("MountImages", "a(ssba(ss))", |v| mount_images(&sandbox(v).mount_images)),
];

pub(super) const CAPABILITIES: &[Property] = &[
    fixed("SecureBits", "i", |v| {
        sandbox(v).secure_bits.iter().fold(0i32, |all, bit| all | i32::try_from(bit.bit()).unwrap_or(0)).into()
    }),
    fixed("CapabilityBoundingSet", "t", |v| sandbox(v).capability_bounding_set.0.into()),
    fixed("AmbientCapabilities", "t", |v| sandbox(v).ambient_capabilities.0.into()),
];

pub(super) const PATHS: &[Property] = &[
    fixed("ReadWritePaths", "as", |v| paths(&sandbox(v).read_write_paths)),
    fixed("ReadOnlyPaths", "as", |v| paths(&sandbox(v).read_only_paths)),
    fixed("InaccessiblePaths", "as", |v| paths(&sandbox(v).inaccessible_paths)),
    fixed("ExecPaths", "as", |v| paths(&sandbox(v).exec_paths)),
    fixed("NoExecPaths", "as", |v| paths(&sandbox(v).no_exec_paths)),
];

pub(super) const MOUNT_FLAGS: &[Property] = &[fixed("MountFlags", "t", |v| {
    // MS_PRIVATE, MS_SLAVE and MS_SHARED of mount(2).
    match sandbox(v).mount_flags {
        None => 0u64,
        Some(MountPropagation::Private) => 1 << 18,
        Some(MountPropagation::Slave) => 1 << 19,
        Some(MountPropagation::Shared) => 1 << 20,
    }
    .into()
})];

pub(super) const PRIVATE: &[Property] = flags![
    "PrivateTmp" private_tmp,
    "PrivateDevices" private_devices,
    "ProtectClock" protect_clock,
    "ProtectKernelTunables" protect_kernel_tunables,
    "ProtectKernelModules" protect_kernel_modules,
    "ProtectKernelLogs" protect_kernel_logs,
    "ProtectControlGroups" protect_control_groups,
    "PrivateNetwork" private_network,
    "PrivateUsers" private_users,
    "PrivateMounts" private_mounts,
    "PrivateIPC" private_ipc,
];

pub(super) const PROTECT: &[Property] = &[
    fixed("ProtectHome", "s", |v| text(sandbox(v).protect_home.as_str())),
    fixed("ProtectSystem", "s", |v| text(sandbox(v).protect_system.as_str())),
];

pub(super) const LABELS: &[Property] = &[
    fixed("SELinuxContext", "(bs)", |v| label(sandbox(v).selinux_context.as_ref())),
    fixed("AppArmorProfile", "(bs)", |v| label(sandbox(v).apparmor_profile.as_ref())),
    fixed("SmackProcessLabel", "(bs)", |v| label(sandbox(v).smack_process_label.as_ref())),
];

pub(super) const CALLS: &[Property] = &[
    fixed("NoNewPrivileges", "b", |v| sandbox(v).no_new_privileges.into()),
    fixed("SystemCallFilter", "(bas)", |v| calls(sandbox(v).system_call_filter.as_ref())),
    fixed("SystemCallArchitectures", "as", |v| {
        let all = sandbox(v).system_call_architectures.iter().flatten();
        Value::from(all.cloned().collect::<Vec<_>>())
    }),
    fixed("SystemCallErrorNumber", "i", |v| {
        match &sandbox(v).system_call_error {
            SyscallAction::Kill => KILL,
            SyscallAction::Error(error) => error_number(error).unwrap_or(KILL),
        }
        .into()
    }),
    fixed("SystemCallLog", "(bas)", |v| calls(sandbox(v).system_call_log.as_ref())),
];

pub(super) const FAMILIES: &[Property] = &[
    fixed("LockPersonality", "b", |v| sandbox(v).lock_personality.into()),
    fixed("RestrictAddressFamilies", "(bas)", |v| names(sandbox(v).restrict_address_families.as_ref())),
];

pub(super) const RESTRICT: &[Property] = &[
    fixed("MemoryDenyWriteExecute", "b", |v| sandbox(v).memory_deny_write_execute.into()),
    fixed("RestrictRealtime", "b", |v| sandbox(v).restrict_realtime.into()),
    fixed("RestrictSUIDSGID", "b", |v| sandbox(v).restrict_suid_sgid.into()),
    // The kinds that may be made.
    fixed("RestrictNamespaces", "t", |v| match &sandbox(v).restrict_namespaces {
        None => u64::MAX.into(),
        Some(kinds) => kinds.iter().map(|kind| namespace_bit(*kind)).sum::<u64>().into(),
    }),
    fixed("RestrictFileSystems", "(bas)", |v| names(sandbox(v).restrict_file_systems.as_ref())),
    fixed("BindPaths", "a(ssbt)", |v| binds(v, false)),
    fixed("BindReadOnlyPaths", "a(ssbt)", |v| binds(v, true)),
    fixed("TemporaryFileSystem", "a(ss)", |v| {
        let rows = sandbox(v).temporary_file_systems.iter().map(|one| (one.path.clone(), one.options.clone()));
        Value::from(rows.collect::<Vec<_>>())
    }),
    fixed("MountAPIVFS", "b", |v| {
        let own_root = sandbox(v).root_directory.is_some() || sandbox(v).root_image.is_some();
        sandbox(v).mount_api_vfs.unwrap_or(own_root).into()
    }),
];

pub(super) const NAMESPACES: &[Property] = &[
    fixed("ProtectProc", "s", |v| text(sandbox(v).protect_proc.as_str())),
    fixed("ProcSubset", "s", |v| text(sandbox(v).proc_subset.as_str())),
    fixed("ProtectHostname", "b", |v| sandbox(v).protect_hostname.into()),
    fixed("NetworkNamespacePath", "s", |v| maybe(sandbox(v).network_namespace_path.as_deref())),
    fixed("IPCNamespacePath", "s", |v| maybe(sandbox(v).ipc_namespace_path.as_deref())),
];

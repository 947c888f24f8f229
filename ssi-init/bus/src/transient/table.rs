// SPDX-License-Identifier: GPL-2.0-or-later
//! Which setting says what a property says, of what type the property is, and how its value is written.
//!
//! A property that is shown under the name of its setting is of the type in which it is shown and needs no row, unless it
//! is written otherwise than others of that type; microseconds (`…USec`) are written with the setting `…Sec`. The types
//! are those of org.freedesktop.systemd1(5), and where they are others for setting than for showing, those that
//! systemd-run(1), systemctl(1) and logind send.

use ssi_unit::name::UnitType;
use zbus::zvariant::Value;

use super::command;
use super::form::{self, Lines, Write};
use super::words::Quoting;
use super::{bits, rows};
use crate::properties;

/// How a property is written.
pub(super) struct Found {
    /// The types it may have.
    pub(super) signatures: Vec<&'static str>,
    /// Its setting.
    pub(super) key: String,
    /// Whether it is of units of any type, and so of `[Unit]`.
    pub(super) of_any_unit: bool,
    /// How.
    pub(super) write: Write,
}

/// Property, types with blanks between, setting where it is called otherwise, and how.
type Row = (&'static str, &'static str, &'static str, Write);

fn bare(key: &str, value: &Value<'_>) -> Lines {
    form::list(key, value, Quoting::Bare)
}

fn of_c(key: &str, value: &Value<'_>) -> Lines {
    form::list(key, value, Quoting::C)
}

fn of_colons(key: &str, value: &Value<'_>) -> Lines {
    form::list(key, value, Quoting::Colons)
}

fn named_with_sense(key: &str, value: &Value<'_>) -> Lines {
    form::with_sense(key, value, Quoting::Quotes, "")
}

fn calls(key: &str, value: &Value<'_>) -> Lines {
    form::with_sense(key, value, Quoting::Bare, "")
}

fn families(key: &str, value: &Value<'_>) -> Lines {
    form::with_sense(key, value, Quoting::Quotes, "none")
}

fn in_file(key: &str, value: &Value<'_>) -> Lines {
    before_text("file:", key, value)
}

fn at_end_of_file(key: &str, value: &Value<'_>) -> Lines {
    before_text("append:", key, value)
}

fn in_new_file(key: &str, value: &Value<'_>) -> Lines {
    before_text("truncate:", key, value)
}

fn by_descriptor(key: &str, value: &Value<'_>) -> Lines {
    before_text("fd:", key, value)
}

fn before_text(kind: &str, key: &str, value: &Value<'_>) -> Lines {
    form::one(key, format!("{kind}{}", super::words::plain(form::string(value)?)))
}

fn of_client(_: &str, _: &Value<'_>) -> Lines {
    let why = "a descriptor of the client cannot be given to a unit here; name a file or a terminal instead";
    Err(super::Refusal::Wrong(why.to_owned()))
}

fn capabilities(key: &str, value: &Value<'_>) -> Lines {
    form::one(key, bits::capabilities(form::wide(value)?))
}

fn namespaces(key: &str, value: &Value<'_>) -> Lines {
    form::one(key, bits::namespaces(form::wide(value)?))
}

fn secure_bits(key: &str, value: &Value<'_>) -> Lines {
    let number = i64::try_from(form::integer(value)?).unwrap_or(i64::MAX);
    let words = bits::secure_bits(number);
    form::one(key, words.ok_or_else(|| super::Refusal::Wrong(format!("{number:#x} are not secure bits")))?)
}

const UNIT: &[Row] = &[
    ("Description", "s", "", form::sentence),
    ("Conditions", "a(sbbs)", "ConditionPathExists", rows::conditions),
    ("Asserts", "a(sbbs)", "AssertPathExists", rows::conditions),
    ("Documentation", "as", "", |key, value| form::list(key, value, Quoting::Quotes)),
    ("RequiresMountsFor", "as", "", |key, value| form::list(key, value, Quoting::Quotes)),
    ("FailureActionExitStatus", "i", "", form::number_or_none),
    ("SuccessActionExitStatus", "i", "", form::number_or_none),
];

const OWN: &[Row] = &[
    // ---- timers, paths, sockets ----
    ("TimersMonotonic", "a(st)", "OnActiveSec", rows::timers),
    ("TimersCalendar", "a(ss)", "OnCalendar", rows::calendars),
    ("Paths", "a(ss)", "PathExists", rows::watches),
    ("Listen", "a(ss)", "ListenStream", rows::listen),
    ("SocketProtocol", "i", "", |key, value| form::choice(key, value, bits::SOCKET_PROTOCOLS)),
    ("TCPCongestion", "s", "", form::raw),
    // ---- services ----
    ("SuccessExitStatus", "(aiai)", "", form::statuses),
    ("RestartPreventExitStatus", "(aiai)", "", form::statuses),
    ("RestartForceExitStatus", "(aiai)", "", form::statuses),
    // ---- processors ----
    ("CPUQuotaPerSecUSec", "t", "CPUQuota", form::quota),
    ("CPUWeight", "t", "", form::weight),
    ("StartupCPUWeight", "t", "", form::weight),
    ("CPUShares", "t", "", form::weight),
    ("StartupCPUShares", "t", "", form::weight),
    ("CPUAffinity", "ay", "", form::numbers),
    ("CPUAffinityFromNUMA", "b", "CPUAffinity", form::of_numa),
    ("CPUSchedulingPolicy", "i", "", |key, value| form::choice(key, value, bits::CPU_POLICIES)),
    ("AllowedCPUs", "ay", "", form::numbers),
    ("StartupAllowedCPUs", "ay", "", form::numbers),
    ("AllowedMemoryNodes", "ay", "", form::numbers),
    ("StartupAllowedMemoryNodes", "ay", "", form::numbers),
    ("NUMAMask", "ay", "", form::numbers),
    ("NUMAPolicy", "i", "", |key, value| form::choice(key, value, bits::NUMA_POLICIES)),
    ("TimerSlackNSec", "t", "", form::number),
    // ---- memory, tasks ----
    ("MemoryZSwapMax", "t", "", form::amount),
    ("MemoryMinScale", "u", "MemoryMin", form::share),
    ("MemoryLowScale", "u", "MemoryLow", form::share),
    ("DefaultMemoryMinScale", "u", "DefaultMemoryMin", form::share),
    ("DefaultMemoryLowScale", "u", "DefaultMemoryLow", form::share),
    ("MemoryHighScale", "u", "MemoryHigh", form::share),
    ("MemoryMaxScale", "u", "MemoryMax", form::share),
    ("MemorySwapMaxScale", "u", "MemorySwapMax", form::share),
    ("MemoryZSwapMaxScale", "u", "MemoryZSwapMax", form::share),
    ("MemoryLimitScale", "u", "MemoryLimit", form::share),
    ("TasksMaxScale", "u", "TasksMax", form::share),
    ("ManagedOOMMemoryPressureLimit", "u", "", form::share),
    ("CoredumpFilter", "t", "", form::mask),
    // ---- disks, devices ----
    ("IOWeight", "t", "", form::weight),
    ("StartupIOWeight", "t", "", form::weight),
    ("BlockIOWeight", "t", "", form::weight),
    ("StartupBlockIOWeight", "t", "", form::weight),
    ("IODeviceWeight", "a(st)", "", rows::per_device),
    ("IOReadBandwidthMax", "a(st)", "", rows::per_device),
    ("IOWriteBandwidthMax", "a(st)", "", rows::per_device),
    ("IOReadIOPSMax", "a(st)", "", rows::per_device),
    ("IOWriteIOPSMax", "a(st)", "", rows::per_device),
    ("IODeviceLatencyTargetUSec", "a(st)", "IODeviceLatencyTargetSec", rows::per_device),
    ("BlockIODeviceWeight", "a(st)", "", rows::per_device),
    ("BlockIOReadBandwidth", "a(st)", "", rows::per_device),
    ("BlockIOWriteBandwidth", "a(st)", "", rows::per_device),
    ("IOSchedulingClass", "i", "", |key, value| form::choice(key, value, bits::IO_CLASSES)),
    ("DeviceAllow", "a(ss)", "", rows::devices),
    // ---- networks ----
    ("IPAddressAllow", "a(iayu)", "", rows::networks),
    ("IPAddressDeny", "a(iayu)", "", rows::networks),
    ("IPIngressFilterPath", "as", "", form::each),
    ("IPEgressFilterPath", "as", "", form::each),
    ("BPFProgram", "a(ss)", "", rows::pairs),
    ("SocketBindAllow", "a(iiqq)", "", rows::binds),
    ("SocketBindDeny", "a(iiqq)", "", rows::binds),
    ("RestrictNetworkInterfaces", "(bas)", "", named_with_sense),
    ("DelegateControllers", "as", "Delegate", |key, value| form::list(key, value, Quoting::Quotes)),
    // ---- environment, streams, log ----
    ("Environment", "as", "", of_c),
    ("UnsetEnvironment", "as", "", of_c),
    ("EnvironmentFiles", "a(sb)", "EnvironmentFile", rows::files),
    ("ExecSearchPath", "as", "", form::with_colons),
    ("StandardInputData", "ay", "", form::encoded),
    ("StandardInputFile", "s", "StandardInput", in_file),
    ("StandardOutputFile", "s", "StandardOutput", in_file),
    ("StandardErrorFile", "s", "StandardError", in_file),
    ("StandardOutputFileToAppend", "s", "StandardOutput", at_end_of_file),
    ("StandardErrorFileToAppend", "s", "StandardError", at_end_of_file),
    ("StandardOutputFileToTruncate", "s", "StandardOutput", in_new_file),
    ("StandardErrorFileToTruncate", "s", "StandardError", in_new_file),
    ("StandardInputFileDescriptorName", "s", "StandardInput", by_descriptor),
    ("StandardOutputFileDescriptorName", "s", "StandardOutput", by_descriptor),
    ("StandardErrorFileDescriptorName", "s", "StandardError", by_descriptor),
    ("StandardInputFileDescriptor", "h", "StandardInput", of_client),
    ("StandardOutputFileDescriptor", "h", "StandardOutput", of_client),
    ("StandardErrorFileDescriptor", "h", "StandardError", of_client),
    ("TTYRows", "u q", "", form::number_or_none),
    ("TTYColumns", "u q", "", form::number_or_none),
    ("LogExtraFields", "aay", "", form::fields),
    // ---- users, secrets, directories ----
    ("UMask", "u", "", form::mode),
    ("SupplementaryGroups", "as", "", bare),
    ("SetCredential", "a(say)", "", rows::secrets),
    ("SetCredentialEncrypted", "a(say)", "", rows::secrets),
    ("LoadCredential", "a(ss)", "", rows::pairs),
    ("LoadCredentialEncrypted", "a(ss)", "", rows::pairs),
    ("RuntimeDirectory", "as", "", of_colons),
    ("StateDirectory", "as", "", of_colons),
    ("CacheDirectory", "as", "", of_colons),
    ("LogsDirectory", "as", "", of_colons),
    ("ConfigurationDirectory", "as", "", of_colons),
    ("RuntimeDirectorySymlink", "a(sst)", "RuntimeDirectory", rows::links),
    ("StateDirectorySymlink", "a(sst)", "StateDirectory", rows::links),
    ("CacheDirectorySymlink", "a(sst)", "CacheDirectory", rows::links),
    ("LogsDirectorySymlink", "a(sst)", "LogsDirectory", rows::links),
    // ---- what confines ----
    ("RootImageOptions", "a(ss)", "", rows::quoted_pairs),
    ("RootHash", "ay", "", form::digits),
    ("RootHashPath", "s", "RootHash", form::raw),
    ("RootHashSignature", "ay", "", form::signature),
    ("RootHashSignaturePath", "s", "RootHashSignature", form::raw),
    ("MountImages", "a(ssba(ss))", "", rows::images),
    ("ExtensionImages", "a(sba(ss))", "", rows::images),
    ("BindPaths", "a(ssbt)", "", rows::bound_paths),
    ("BindReadOnlyPaths", "a(ssbt)", "", rows::bound_paths),
    ("TemporaryFileSystem", "a(ss)", "", rows::quoted_pairs),
    ("MountFlags", "t", "", |key, value| form::choice(key, value, bits::PROPAGATIONS)),
    ("CapabilityBoundingSet", "t", "", capabilities),
    ("AmbientCapabilities", "t", "", capabilities),
    ("SecureBits", "i", "", secure_bits),
    ("RestrictNamespaces", "t", "", namespaces),
    ("RestrictFileSystems", "(bas)", "", named_with_sense),
    ("RestrictAddressFamilies", "(bas)", "", families),
    ("SystemCallFilter", "(bas)", "", calls),
    ("SystemCallLog", "(bas)", "", calls),
    ("SystemCallErrorNumber", "i", "", form::error_or_kill),
    ("SELinuxContext", "s (bs)", "", form::label),
    ("AppArmorProfile", "(bs)", "", form::label),
    ("SmackProcessLabel", "(bs)", "", form::label),
];

/// The lists of commands.
const COMMANDS: [&str; 8] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPre",
    "ExecStopPost",
];

/// How a property of such a unit is written; `None`: there is none that could be set.
pub(super) fn find(kind: UnitType, name: &str) -> Option<Found> {
    let in_table = |table: &'static [Row], of_any_unit: bool| {
        let (_, types, key, write) = table.iter().find(|(own, ..)| *own == name)?;
        let key = if key.is_empty() { name } else { key };
        Some(Found { signatures: types.split(' ').collect(), key: key.to_owned(), of_any_unit, write: *write })
    };
    let command = |signature, key: &str| {
        let known = COMMANDS.contains(&key);
        let found =
            Found { signatures: vec![signature], key: key.to_owned(), of_any_unit: false, write: command::lines };
        known.then_some(found)
    };
    in_table(UNIT, true)
        .or_else(|| in_table(OWN, false))
        .or_else(|| command("a(sasb)", name))
        .or_else(|| command("a(sasas)", name.strip_suffix("Ex")?))
        .or_else(|| shown(kind, name))
}

/// By how it is shown.
fn shown(kind: UnitType, name: &str) -> Option<Found> {
    let (interface, signature) = properties::interfaces(kind).iter().find_map(|interface| {
        let property = properties::list(interface).iter().find(|property| property.name == name)?;
        Some((*interface, property.signature))
    })?;
    let of_any_unit = interface == properties::UNIT;
    let (key, write): (String, Write) = match (name.strip_suffix("USec"), signature) {
        (Some(stem), "t") => (format!("{stem}Sec"), form::span),
        (_, "u") if name.ends_with("Mode") => (name.to_owned(), form::mode),
        // What is a list there and of all units is of names of units, but for those of the table.
        (_, "as") if of_any_unit => (name.to_owned(), |key, value| form::list(key, value, Quoting::Names)),
        _ => (name.to_owned(), form::by_type(signature)?),
    };
    Some(Found { signatures: vec![signature], key, of_any_unit, write })
}

/// The properties of the tables.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    UNIT.iter().chain(OWN).map(|(name, ..)| *name).chain(COMMANDS)
}

/// Whether a line of that property may be one of this setting, too: the rows of some name their settings.
#[cfg(test)]
pub(super) fn is_one_of_rows(property: &str, key: &str) -> bool {
    match property {
        "TimersMonotonic" => key.starts_with("On"),
        "Paths" => key.starts_with("Path") || key == "DirectoryNotEmpty",
        "Listen" => key.starts_with("Listen"),
        "Conditions" => key.starts_with("Condition"),
        "Asserts" => key.starts_with("Assert"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_unit::settings;

    #[test]
    fn each_row_has_a_setting_and_is_needed() {
        let sections = ["Unit", "Service", "Socket", "Timer", "Path", "Mount", "Swap", "Slice", "Scope", "Automount"];
        let known: Vec<String> = UnitType::ALL
            .iter()
            .flat_map(|kind| sections.map(|section| settings::keys(*kind, section)))
            .flatten()
            .collect();
        for (name, types, key, _) in UNIT.iter().chain(OWN) {
            let key = if key.is_empty() { name } else { key };
            assert!(known.iter().any(|known| known == key), "{name}: there is no {key}=");
            assert!(types.split(' ').all(|signature| zbus::zvariant::Signature::try_from(signature).is_ok()), "{name}");
            assert_eq!(UNIT.iter().chain(OWN).filter(|(other, ..)| other == name).count(), 1, "{name} is there twice");
        }
    }

    #[test]
    fn settings_that_nothing_can_set() {
        // Each setting of services, by the properties that are shown: old names and those of later versions are left.
        let shown: Vec<String> = properties::interfaces(UnitType::Service)
            .iter()
            .flat_map(|interface| properties::list(interface))
            .map(|property| property.name.to_owned())
            .chain(UNIT.iter().chain(OWN).map(|(name, ..)| (*name).to_owned()))
            .filter_map(|name| find(UnitType::Service, &name))
            .map(|found| found.key)
            .collect();
        let left = |section: &str| -> Vec<String> {
            let keys = settings::keys(UnitType::Service, section);
            keys.into_iter().filter(|key| !shown.contains(key) && !key.starts_with("Limit")).collect()
        };
        let unit: Vec<String> = left("Unit")
            .into_iter()
            .filter(|key| !key.starts_with("Condition") && !key.starts_with("Assert"))
            .collect();
        let old_or_new = [
            "BindTo",
            "IgnoreOnSnapshot",
            "OnFailureIsolate",
            "PropagateReloadFrom",
            "PropagateReloadTo",
            "RequiresOverridable",
            "RequisiteOverridable",
            "StartLimitInterval",
            "WantsMountsFor",
        ];
        assert_eq!(unit, old_or_new);
        let old_or_new = [
            "BusPolicy",
            "Capabilities",
            "CoredumpReceive",
            "DelegateSubgroup",
            "FileDescriptorStorePreserve",
            "ImportCredential",
            "InaccessibleDirectories",
            "LogFilterPatterns",
            "MemoryPressureThresholdSec",
            "MemoryPressureWatch",
            "NetClass",
            "PermissionsStartOnly",
            "ReadOnlyDirectories",
            "ReadWriteDirectories",
            "ReloadSignal",
            "RestartMaxDelaySec",
            "RestartMode",
            "RestartSteps",
            "Sockets",
            "StandardInputText",
            "StartLimitInterval",
            "SysVStartPriority",
            "TimeoutSec",
        ];
        assert_eq!(left("Service"), old_or_new);
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written is read back, and nothing else can be written by it.

use ssi_unit::config::UnitConfig;
use zbus::zvariant::{OwnedValue, Signature, Structure, StructureBuilder, Value};

use super::*;

fn owned<'a>(value: impl Into<Value<'a>>) -> OwnedValue {
    OwnedValue::try_from(value.into()).unwrap()
}

fn text(name: &str, properties: &[(&str, OwnedValue)]) -> Result<String, CommandError> {
    let own = properties.iter().map(|(name, value)| ((*name).to_owned(), value.try_clone().unwrap())).collect();
    unit_text(&UnitName::new(name).unwrap(), own)
}

fn read(name: &str, properties: &[(&str, OwnedValue)]) -> UnitConfig {
    let text = text(name, properties).unwrap();
    let name = UnitName::new(name).unwrap();
    let file = file::parse(text.as_bytes(), Path::new("x"));
    let host = Host::default();
    let reading = settings::read(&Specifiers::of(&host, &name), &ManagerDefaults::default(), Some(&file), []);
    assert!(reading.warnings.is_empty(), "{text}\n{:?}", reading.warnings);
    reading.config
}

fn command(path: &str, arguments: &[&str]) -> OwnedValue {
    let arguments: Vec<&str> = arguments.to_vec();
    owned(vec![(path, arguments, false)])
}

#[test]
fn what_systemd_run_sends_is_read_back() {
    let arguments = ["echo", "a b", "%h", "$HOME", "", ";", "it's \"so\"", "line\nend", "back\\slash"];
    let config = read(
        "run-1.service",
        &[
            ("Description", owned("100% of it")),
            ("Type", owned("exec")),
            ("RemainAfterExit", owned(true)),
            ("Nice", owned(5i32)),
            ("User", owned("nobody")),
            ("Environment", owned(vec!["A=b c", "D=%n"])),
            ("RuntimeMaxUSec", owned(1_500_000u64)),
            ("TasksMax", owned(u64::MAX)),
            ("MemoryMaxScale", owned(u32::MAX / 2)),
            ("CPUQuotaPerSecUSec", owned(250_000u64)),
            ("LimitNOFILE", owned(4096u64)),
            ("LimitNOFILESoft", owned(1024u64)),
            ("ExecStart", command("/bin/echo", &arguments)),
        ],
    );
    assert_eq!(config.unit.description.as_deref(), Some("100% of it"));
    let service = config.service().unwrap();
    let start = &service.exec_start[0];
    assert_eq!((start.program.as_str(), start.arguments.len()), ("/bin/echo", arguments.len()));
    assert_eq!(start.arguments, arguments);
    assert_eq!(service.runtime_max, Some(std::time::Duration::from_millis(1500)));
    let exec = config.exec().unwrap();
    assert_eq!(exec.nice, Some(5));
    assert_eq!(exec.environment, ["A=b c", "D=%n"]);
}

#[test]
fn nothing_gets_into_the_next_line() {
    for value in ["/x\nExecStart=/bin/sh", "/x\\", "/x\r", "/a\n[Service]", "/a ", " /a"] {
        let error = text("a.service", &[("PIDFile", owned(value))]).unwrap_err();
        assert_eq!(error.name, errors::INVALID_ARGUMENTS, "{value:?}");
    }
    // Within quotes it is a character like others, and in a text for people a blank.
    let config = read("a.service", &[("Environment", owned(vec!["A=x\nUser=root"]))]);
    assert_eq!(config.exec().unwrap().environment, ["A=x\nUser=root"]);
    let config = read("a.service", &[("Description", owned("sh -c a\nExecStart=/bin/sh\n"))]);
    assert_eq!(config.unit.description.as_deref(), Some("sh -c a ExecStart=/bin/sh"));
    for name in ["Desc\nription", "", "Description=x\n", "a b", "[Service]"] {
        let error = text("a.service", &[(name, owned("x"))]).unwrap_err();
        assert_eq!(error.name, names::PROPERTY_READ_ONLY, "{name:?}");
    }
    let long = "x".repeat(file::LINE_MAX);
    assert_eq!(text("a.service", &[("Description", owned(long))]).unwrap_err().name, errors::INVALID_ARGUMENTS);
}

/// Some value of a type, with this text wherever one can be.
fn value_of(signature: &Signature, hostile: &str) -> Value<'static> {
    match signature {
        Signature::Bool => Value::Bool(true),
        Signature::U8 => Value::U8(7),
        Signature::U16 => Value::U16(7),
        Signature::I32 => Value::I32(2),
        Signature::U32 => Value::U32(7),
        Signature::I64 => Value::I64(7),
        Signature::U64 => Value::U64(0x4000),
        Signature::Str => Value::from(hostile.to_owned()),
        Signature::Array(child) if matches!(**child, Signature::U8) => Value::from(hostile.as_bytes().to_vec()),
        Signature::Array(child) => {
            let mut array = zbus::zvariant::Array::new(child);
            array.append(value_of(child, hostile)).unwrap();
            array.append(value_of(child, hostile)).unwrap();
            Value::from(array)
        }
        Signature::Structure(fields) => {
            let row =
                fields.iter().fold(StructureBuilder::new(), |row, field| row.append_field(value_of(field, hostile)));
            Value::from(row.build().unwrap())
        }
        other => panic!("no property is of the type {other}"),
    }
}

#[test]
fn no_text_in_any_property_sets_another() {
    const EVIL: &str = "\nEvil=1\n[Evil]\nEvil=2\n";
    let hostile: Vec<String> =
        ["", "/", "/a", "A=", "/a\\", "\"", "'", "a:", "a.service ", "man:", "OnActiveSec", "Stream"]
            .iter()
            .flat_map(|begin| [format!("{begin}{EVIL}"), format!("{begin}{EVIL}\\")])
            .chain(["/a\\\" \r".to_owned(), "A=\\\" \r".to_owned()])
            .collect();
    let (mut written, mut refused) = (0, 0);
    let mut tried = std::collections::BTreeSet::new();
    for kind in UnitType::ALL {
        let shown = crate::properties::interfaces(kind).iter().flat_map(|interface| crate::properties::list(interface));
        let names = shown.map(|property| property.name).chain(table::names());
        for property in names.collect::<std::collections::BTreeSet<_>>() {
            // Limits are numbers, and two of them one setting.
            let Some(found) = table::find(kind, property).filter(|_| limit::of(property).is_none()) else { continue };
            // What many types of units have is the same in all of them.
            let known = Known::of(kind).section_of(&found.key, found.of_any_unit).is_some();
            if !known || !tried.insert((property, found.key.clone())) {
                continue;
            }
            for signature in found.signatures.iter().filter(|signature| **signature != "h") {
                let signature = Signature::try_from(*signature).unwrap();
                for text_in_it in &hostile {
                    let value = OwnedValue::try_from(value_of(&signature, text_in_it)).unwrap();
                    let Ok(text) = text(&format!("a.{kind}"), &[(property, value)]) else {
                        refused += 1;
                        continue;
                    };
                    written += 1;
                    let file = file::parse(text.as_bytes(), Path::new("x"));
                    assert!(file.error.is_none() && file.sections.len() <= 1, "{property}: {text}");
                    let keys = |key: &str| key == found.key || table::is_one_of_rows(property, key);
                    assert!(file.assignments.iter().all(|line| keys(&line.key)), "{property}: {text}");
                    // A head, an empty line, the section, and a line for each assignment, each of which is that line.
                    let lines = if file.sections.is_empty() { 1 } else { 3 + file.assignments.len() };
                    assert_eq!(text.lines().count(), lines, "{property}: {text}");
                }
            }
        }
    }
    assert!(written > 1000 && refused > 1000, "{written} {refused}");
}

#[test]
fn a_property_of_another_type_is_refused_by_its_name() {
    let others: [(&str, &dyn Fn() -> OwnedValue); 6] = [
        ("s", &|| owned("yes")),
        ("b", &|| owned(true)),
        ("u", &|| owned(1u32)),
        ("t", &|| owned(1u64)),
        ("as", &|| owned(vec!["yes"])),
        ("a(ss)", &|| owned(vec![("a", "b")])),
    ];
    let mut compared = 0;
    for interface in crate::properties::interfaces(UnitType::Service) {
        for property in crate::properties::list(interface) {
            let Some(found) = table::find(UnitType::Service, property.name) else { continue };
            for (signature, value) in others.iter().filter(|(signature, _)| !found.signatures.contains(signature)) {
                let error = text("a.service", &[(property.name, value())]).unwrap_err();
                assert_eq!(error.name, errors::INVALID_ARGUMENTS, "{} {signature}", property.name);
                assert!(
                    error.message.contains(property.name) && error.message.contains(signature),
                    "{}",
                    error.message
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn what_is_unknown_or_no_value_is_refused_by_its_name() {
    let unknown = text("a.service", &[("NoSuchThing", owned(true))]).unwrap_err();
    assert_eq!(unknown.name, names::PROPERTY_READ_ONLY);
    assert_eq!(unknown.message, "Cannot set property NoSuchThing, or unknown property.");
    // A slice has no user.
    assert_eq!(text("a.slice", &[("User", owned("root"))]).unwrap_err().name, names::PROPERTY_READ_ONLY);
    for (name, value) in [("Type", owned("nonsense")), ("Nice", owned(90i32)), ("UMask", owned("x"))] {
        let error = text("a.service", &[(name, value)]).unwrap_err();
        assert_eq!(error.name, errors::INVALID_ARGUMENTS, "{name}");
        assert!(error.message.contains(name), "{}", error.message);
    }
}

/// What is written of one property.
fn written(unit: &str, property: &str, value: OwnedValue) -> String {
    let text = text(unit, &[(property, value)]).unwrap();
    let lines: Vec<&str> = text.lines().skip(3).collect();
    lines.join("\n")
}

#[test]
fn rows_become_lines() {
    let network = (10i32, std::net::Ipv6Addr::LOCALHOST.octets().to_vec(), 128u32);
    let no_options = Vec::<(&str, &str)>::new();
    let rows: [(&str, &str, OwnedValue, &str); 24] = [
        ("a.timer", "TimersMonotonic", owned(vec![("OnActiveSec", 30_000_000u64)]), "OnActiveSec=30000000us"),
        ("a.timer", "TimersMonotonic", owned(vec![("OnBootUSec", u64::MAX)]), "OnBootSec=infinity"),
        ("a.timer", "TimersCalendar", owned(vec![("OnCalendar", "*-*-* 03:00:00")]), "OnCalendar=*-*-* 03:00:00"),
        ("a.path", "Paths", owned(vec![("PathExists", "/run/x y%")]), "PathExists=/run/x y%%"),
        (
            "a.socket",
            "Listen",
            owned(vec![("Stream", "127.0.0.1:80"), ("FIFO", "/x")]),
            "ListenStream=127.0.0.1:80\nListenFIFO=/x",
        ),
        (
            "a.service",
            "IPAddressAllow",
            owned(vec![(2i32, vec![127u8, 0, 0, 0], 8u32), network]),
            "IPAddressAllow=127.0.0.0/8\nIPAddressAllow=::1/128",
        ),
        ("a.service", "IPAddressDeny", owned(Vec::<(i32, Vec<u8>, u32)>::new()), "IPAddressDeny="),
        (
            "a.slice",
            "DeviceAllow",
            owned(vec![("/dev/a b", "rw"), ("char-pts", "")]),
            "DeviceAllow=\"/dev/a b\" rw\nDeviceAllow=char-pts",
        ),
        ("a.slice", "IODeviceWeight", owned(vec![("/dev/sda", 200u64)]), "IODeviceWeight=/dev/sda 200"),
        ("a.slice", "IOReadBandwidthMax", owned(vec![("/dev/sda", u64::MAX)]), "IOReadBandwidthMax=/dev/sda infinity"),
        (
            "a.slice",
            "IODeviceLatencyTargetUSec",
            owned(vec![("/dev/sda", 7u64)]),
            "IODeviceLatencyTargetSec=/dev/sda 7us",
        ),
        ("a.service", "SocketBindAllow", owned(vec![(2i32, 6i32, 11u16, 80u16)]), "SocketBindAllow=ipv4:tcp:80-90"),
        ("a.service", "SocketBindDeny", owned(vec![(0i32, 0i32, 0u16, 0u16)]), "SocketBindDeny=any"),
        (
            "a.service",
            "Conditions",
            owned(vec![("ConditionPathExists", true, true, "/a%")]),
            "ConditionPathExists=|!/a%%",
        ),
        ("a.service", "Asserts", owned(vec![("AssertUser", false, false, "root")]), "AssertUser=root"),
        ("a.service", "EnvironmentFiles", owned(vec![("/a b", true)]), "EnvironmentFile=-/a b"),
        ("a.service", "BindPaths", owned(vec![("/a b", "/c:d", true, 0x4000u64)]), "BindPaths=-/a\\ b:/c\\:d:rbind"),
        (
            "a.service",
            "LoadCredential",
            owned(vec![("a", "/b c"), ("d", "")]),
            "LoadCredential=a:/b c\nLoadCredential=d",
        ),
        ("a.service", "SetCredential", owned(vec![("a", b" %\n\\".to_vec())]), "SetCredential=a:\\x20%\\n\\x5c"),
        (
            "a.service",
            "SetCredentialEncrypted",
            owned(vec![("a", b"hello".to_vec())]),
            "SetCredentialEncrypted=a:aGVsbG8=",
        ),
        (
            "a.service",
            "TemporaryFileSystem",
            owned(vec![("/a b", "ro"), ("/c", "")]),
            "TemporaryFileSystem=\"/a b:ro\"\nTemporaryFileSystem=/c",
        ),
        ("a.service", "StateDirectorySymlink", owned(vec![("a b", "c", 0u64)]), "StateDirectory=a\\x20b:c"),
        (
            "a.service",
            "MountImages",
            owned(vec![("/a:b", "/c", true, vec![("root", "ro")])]),
            "MountImages=-/a\\:b:/c:root:ro",
        ),
        ("a.service", "ExtensionImages", owned(vec![("/a", false, no_options)]), "ExtensionImages=/a"),
    ];
    for (unit, property, value, lines) in rows {
        assert_eq!(written(unit, property, value), lines, "{property}");
    }
    for (property, value) in [
        ("Conditions", owned(vec![("ExecStart", false, false, "/bin/sh")])),
        ("Conditions", owned(vec![("ConditionPathExists", false, false, "!/a")])),
        ("Conditions", owned(vec![("ConditionPathExists", false, false, "")])),
        ("IPAddressAllow", owned(vec![(2i32, vec![127u8; 16], 8u32)])),
        ("IPAddressAllow", owned(vec![(2i32, vec![127u8; 4], 33u32)])),
        ("BindPaths", owned(vec![("/a", "/b", false, 1u64)])),
        ("SocketBindAllow", owned(vec![(2i32, 6i32, 11u16, 65530u16)])),
        ("LoadCredential", owned(vec![("a:b", "/c")])),
    ] {
        assert_eq!(text("a.service", &[(property, value)]).unwrap_err().name, errors::INVALID_ARGUMENTS, "{property}");
    }
    for (unit, property, row) in [
        ("a.path", "Paths", ("Unit", "a.service")),
        ("a.socket", "Listen", ("Stream=1\nEvil", "/x")),
        ("a.timer", "TimersCalendar", ("Unit", "x")),
    ] {
        assert_eq!(
            text(unit, &[(property, owned(vec![row]))]).unwrap_err().name,
            errors::INVALID_ARGUMENTS,
            "{property}"
        );
    }
}

#[test]
fn numbers_that_are_words_in_files() {
    let sense = |allowed: bool, names: Vec<&'static str>| owned(Structure::from((allowed, names)));
    let rows: [(&str, OwnedValue, &str); 36] = [
        ("CapabilityBoundingSet", owned(1u64 | 1 << 21), "CapabilityBoundingSet=cap_chown cap_sys_admin"),
        ("CPUSchedulingPolicy", owned(5i32), "CPUSchedulingPolicy=idle"),
        ("IOSchedulingClass", owned(3i32), "IOSchedulingClass=idle"),
        ("NUMAPolicy", owned(-1i32), "NUMAPolicy="),
        ("CPUAffinity", owned(vec![0b101u8, 1]), "CPUAffinity=0 2 8"),
        ("CPUAffinityFromNUMA", owned(true), "CPUAffinity=numa"),
        ("SystemCallFilter", sense(false, vec!["mount", "@clock"]), "SystemCallFilter=~mount @clock"),
        ("RestrictAddressFamilies", sense(true, vec![]), "RestrictAddressFamilies=none"),
        ("RestrictAddressFamilies", sense(false, vec![]), "RestrictAddressFamilies="),
        ("SystemCallErrorNumber", owned(i32::MAX - 1), "SystemCallErrorNumber=kill"),
        ("LogLevelMax", owned(4i32), "LogLevelMax=4"),
        ("RestrictNamespaces", owned(0x0002_0000u64), "RestrictNamespaces=mnt"),
        ("SecureBits", owned(0x10i32), "SecureBits=keep-caps"),
        ("MountFlags", owned(1u64 << 19), "MountFlags=slave"),
        ("RuntimeDirectoryMode", owned(0o750u32), "RuntimeDirectoryMode=0750"),
        ("UMask", owned(0o27u32), "UMask=0027"),
        ("CoredumpFilter", owned(0x33u64), "CoredumpFilter=0x33"),
        ("CPUQuotaPerSecUSec", owned(1_255_000u64), "CPUQuota=125.50%"),
        ("CPUQuotaPerSecUSec", owned(u64::MAX), "CPUQuota="),
        ("CPUWeight", owned(0u64), "CPUWeight=idle"),
        ("IOWeight", owned(u64::MAX), "IOWeight="),
        ("MemoryMaxScale", owned(u32::MAX / 2), "MemoryMax=50.00%"),
        ("MemoryMax", owned(u64::MAX), "MemoryMax=infinity"),
        ("ManagedOOMMemoryPressureLimit", owned(u32::MAX), "ManagedOOMMemoryPressureLimit=100.00%"),
        ("TTYRows", owned(24u32), "TTYRows=24"),
        ("TTYColumns", owned(u16::MAX), "TTYColumns="),
        ("SuccessExitStatus", owned(Structure::from((vec![7i32], vec![10i32]))), "SuccessExitStatus=7 USR1"),
        ("RootHash", owned(vec![0xabu8; 16]), "RootHash=abababababababababababababababab"),
        ("RootHashSignature", owned(b"hello".to_vec()), "RootHashSignature=base64:aGVsbG8="),
        ("StandardInputData", owned(b"hello".to_vec()), "StandardInputData=aGVsbG8="),
        ("StandardOutputFileToAppend", owned("/a%"), "StandardOutput=append:/a%%"),
        ("StandardInputFileDescriptorName", owned("x"), "StandardInput=fd:x"),
        ("DelegateControllers", owned(vec!["cpu", "pids"]), "Delegate=cpu pids"),
        ("LimitRTTIMESoft", owned(5u64), "LimitRTTIME=5us"),
        ("LimitNICE", owned(25u64), "LimitNICE=25"),
        ("RuntimeMaxUSec", owned(u64::MAX), "RuntimeMaxSec=infinity"),
    ];
    for (property, value, line) in rows {
        assert_eq!(written("a.service", property, value), line, "{property}");
    }
}

#[test]
fn words_of_lists_are_read_back() {
    let config = read(
        "a.service",
        &[
            ("After", owned(vec!["dev-x\\x2dy.device", "a@b.service"])),
            ("RequiresMountsFor", owned(vec!["/a \"b\" 'c' \\ 100%"])),
            ("StateDirectory", owned(vec!["a:b", "c d\\e\"", "%n"])),
            ("ReadWritePaths", owned(vec!["-+/a b", "/c\\\"d%n"])),
            ("SupplementaryGroups", owned(vec!["daemon", "a b"])),
            ("UnsetEnvironment", owned(vec!["A=b c\n%n"])),
            ("ExecSearchPath", owned(vec!["/a b", "/c%n"])),
            ("BindPaths", owned(vec![("/a b:c", "/d\\\"'", false, 0u64)])),
            ("LogNamespace", owned("foo")),
            ("BusName", owned("a.b")),
        ],
    );
    let after = |name: &str| config.unit.dependencies.iter().any(|(_, other)| other.as_str() == name);
    assert!(after("dev-x\\x2dy.device") && after("a@b.service"));
    assert_eq!(config.unit.requires_mounts_for, ["/a \"b\" 'c' \\ 100%"]);
    let exec = config.exec().unwrap();
    let directories = exec.directories(ssi_unit::config::exec::DirectoryKind::State);
    assert_eq!(directories.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["%n", "a:b", "c d\\e\""]);
    let paths = &exec.sandbox.read_write_paths;
    assert!(paths[0].optional && paths[0].own_root && paths[0].path == "/a b");
    assert_eq!(paths[1].path, "/c\\\"d%n");
    assert_eq!(exec.supplementary_groups, ["daemon", "a b"]);
    assert_eq!(exec.unset_environment, ["A=b c\n%n"]);
    assert_eq!(exec.exec_search_path, ["/a b", "/c%n"]);
    let bind = &exec.sandbox.bind_mounts[0];
    assert_eq!((bind.source.as_str(), bind.destination.as_str(), bind.recursive), ("/a b:c", "/d\\\"'", false));
    assert!(text("a.service", &[("After", owned(vec!["a b.service"]))]).is_err());
    assert!(text("a.service", &[("ExecSearchPath", owned(vec!["/a:b"]))]).is_err());
}

#[test]
fn signs_before_commands() {
    let with = |signs: Vec<&'static str>| owned(vec![("/bin/x y", vec!["name", "%n"], signs)]);
    let line = written("a.service", "ExecStopEx", with(vec!["privileged", "ignore-failure", "no-env-expand"]));
    assert_eq!(line, "ExecStop=\"-:+@/bin/x y\" name %%n");
    assert_eq!(written("a.service", "ExecStopPost", owned(Vec::<(&str, Vec<&str>, bool)>::new())), "ExecStopPost=");
    for wrong in
        [with(vec!["quickly"]), with(vec!["privileged", "no-setuid"]), owned(vec![("x", vec!["x"], vec!["ambient"])])]
    {
        let error = text("a.service", &[("ExecStopEx", wrong)]).unwrap_err();
        assert_eq!(error.name, errors::INVALID_ARGUMENTS);
    }
    let nothing = owned(vec![("/bin/x", Vec::<&str>::new(), false)]);
    assert!(text("a.service", &[("ExecStart", nothing)]).is_err());
}

#[test]
fn limits_are_halves_of_one_setting() {
    let text = text("a.service", &[("LimitNOFILESoft", owned(10u64)), ("LimitNOFILE", owned(20u64))]).unwrap();
    assert!(text.ends_with("\n[Service]\nLimitNOFILE=10:20\n"), "{text}");
    assert_eq!(written("a.service", "LimitCORE", owned(u64::MAX)), "LimitCORE=infinity");
    assert_eq!(super::limit::of("LimitNOFILESoft"), Some(("LimitNOFILE", true)));
    assert_eq!(super::limit::of("LimitXSoft"), None);
}

#[test]
fn a_container_s_scope_is_what_it_asks_for() {
    let devices = [("/dev/char/1:3", "rwm"), ("char-*", "m"), ("/dev/net/tun", "rw")];
    let config = read(
        "libpod-1.scope",
        &[
            ("Delegate", owned(true)),
            ("DefaultDependencies", owned(false)),
            ("MemoryAccounting", owned(true)),
            ("MemoryMax", owned(1u64 << 30)),
            ("MemorySwapMax", owned(u64::MAX)),
            ("TasksMax", owned(2048u64)),
            ("CPUWeight", owned(100u64)),
            ("CPUQuotaPerSecUSec", owned(1_500_000u64)),
            ("CPUQuotaPeriodUSec", owned(100_000u64)),
            ("AllowedCPUs", owned(vec![0x0fu8])),
            ("DevicePolicy", owned("strict")),
            ("DeviceAllow", owned(devices.to_vec())),
            ("TimeoutStopUSec", owned(10_000_000u64)),
            ("RuntimeMaxUSec", owned(u64::MAX)),
            ("CollectMode", owned("inactive-or-failed")),
        ],
    );
    let cgroup = config.cgroup().unwrap();
    assert_eq!((cgroup.cpu_quota, cgroup.allowed_cpus.to_string().as_str()), (Some(15_000), "0-3"));
    assert_eq!(cgroup.cpu_quota_period, Some(std::time::Duration::from_millis(100)));
    assert_eq!(cgroup.device_allow.len(), devices.len());
    assert_eq!(cgroup.memory_max, ssi_unit::config::cgroup::MemoryLimit::Bytes(1 << 30));
    assert!(!config.unit.default_dependencies && cgroup.delegate.is_some());
}

#[test]
fn logind_s_scope_is_what_it_asks_for() {
    let config = read(
        "session-1.scope",
        &[
            ("Slice", owned("user-1000.slice")),
            ("Description", owned("Session 1 of User u")),
            ("Wants", owned(vec!["user-runtime-dir@1000.service"])),
            ("After", owned(vec!["systemd-logind.service", "systemd-user-sessions.service"])),
            ("SendSIGHUP", owned(true)),
            ("TasksMax", owned(u64::MAX)),
            ("RequiresMountsFor", owned(vec!["/home/a b"])),
        ],
    );
    assert_eq!(config.unit.description.as_deref(), Some("Session 1 of User u"));
    assert!(config.kill().unwrap().send_sighup);
}

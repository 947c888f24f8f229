// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written is read back, and nothing else can be written by it.

use ssi_unit::config::UnitConfig;
use zbus::zvariant::{OwnedValue, Structure, Value};

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
    for value in ["x\nExecStart=/bin/sh", "x\\", "x\r", "a\n[Service]"] {
        let error = text("a.service", &[("Description", owned(value))]).unwrap_err();
        assert_eq!(error.name, errors::INVALID_ARGUMENTS, "{value:?}");
    }
    // Within quotes it is a character like others.
    let config = read("a.service", &[("Environment", owned(vec!["A=x\nUser=root"]))]);
    assert_eq!(config.exec().unwrap().environment, ["A=x\nUser=root"]);
    for name in ["Desc\nription", "", "Description=x\n", "a b", "[Service]"] {
        let error = text("a.service", &[(name, owned("x"))]).unwrap_err();
        assert_eq!(error.name, names::PROPERTY_READ_ONLY, "{name:?}");
    }
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

#[test]
fn times_paths_and_addresses_become_lines() {
    let monotonic = owned(vec![("OnActiveSec", 30_000_000u64)]);
    let calendar = owned(vec![("OnCalendar", "*-*-* 03:00:00")]);
    let timer = text("a.timer", &[("TimersMonotonic", monotonic), ("TimersCalendar", calendar)]).unwrap();
    assert!(timer.ends_with("[Timer]\nOnActiveSec=30000000us\nOnCalendar=*-*-* 03:00:00\n"), "{timer}");
    let paths = owned(vec![("PathExists", "/run/x")]);
    assert!(text("a.path", &[("Paths", paths)]).unwrap().ends_with("[Path]\nPathExists=/run/x\n"));
    let listen = owned(vec![("Stream", "127.0.0.1:80")]);
    assert!(text("a.socket", &[("Listen", listen)]).unwrap().ends_with("ListenStream=127.0.0.1:80\n"));
    let row = (2i32, vec![127u8, 0, 0, 0], 8u32);
    let allow = text("a.service", &[("IPAddressAllow", owned(vec![row]))]).unwrap();
    assert!(allow.ends_with("IPAddressAllow=127.0.0.0/8\n"), "{allow}");
}

#[test]
fn numbers_that_are_words_in_files() {
    let filter = owned(Structure::from((false, vec!["mount", "@clock"])));
    let text = text(
        "a.service",
        &[
            ("CapabilityBoundingSet", owned(1u64 | 1 << 21)),
            ("CPUSchedulingPolicy", owned(5i32)),
            ("CPUAffinity", owned(vec![0b101u8, 1])),
            ("SystemCallFilter", filter),
            ("LogLevelMax", owned(4i32)),
            ("RestrictNamespaces", owned(0x0002_0000u64)),
            ("RuntimeDirectoryMode", owned(0o750u32)),
        ],
    )
    .unwrap();
    for line in [
        "CapabilityBoundingSet=cap_chown cap_sys_admin",
        "CPUSchedulingPolicy=idle",
        "CPUAffinity=0 2 8",
        "SystemCallFilter=~mount @clock",
        "LogLevelMax=warning",
        "RestrictNamespaces=mnt",
        "RuntimeDirectoryMode=0750",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
    }
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

// SPDX-License-Identifier: GPL-2.0-or-later
//! The units of Debian packages, read here and by systemd 252, side by side.

mod referee;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ssi_unit::config::exec::{DirectoryKind, ResourceLimit};
use ssi_unit::config::{KindConfig, ManagerDefaults, WarningKind};
use ssi_unit::files::RootFiles;
use ssi_unit::load::{LoadState, Loaded, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::process_end::signal_name;
use ssi_unit::specifier::Host;
use ssi_unit::time::format_span;

/// Settings that came after systemd 252, which the referee does not know.
const LATER: &[&str] = &[
    "RestartMode",
    "RestartSteps",
    "RestartMaxDelaySec",
    "FileDescriptorStorePreserve",
    "ReloadSignal",
    "ImportCredential",
    "WantsMountsFor",
    "DelegateSubgroup",
    "MemoryPressureWatch",
    "CoredumpReceive",
    "UpheldBy",
];

/// All units with files in a folder, and for each template an instance.
fn load_all(folder: &PathBuf) -> Vec<Loaded> {
    let search = SearchPath::of([folder]);
    let host = Host::read("/".as_ref());
    let mut loader = Loader::new(RootFiles::system(), search, host, ManagerDefaults::default());
    let names: BTreeSet<UnitName> = loader.tree().unit_names().cloned().collect();
    let usable =
        names.iter().map(|name| if name.is_template() { name.instantiate("tty1").unwrap() } else { name.clone() });
    let usable: BTreeSet<UnitName> = usable.collect();
    let mut seen = BTreeSet::new();
    let loaded: Vec<Loaded> = usable.iter().map(|name| loader.load(name)).collect();
    loaded.into_iter().filter(|loaded| seen.insert(loaded.id.clone())).collect()
}

#[test]
fn every_unit_of_the_packages_loads() {
    let folder = referee::package_units();
    let all = load_all(&folder);
    assert!(all.len() > 100, "only {} units in {}", all.len(), folder.display());
    for unit in &all {
        assert!(
            matches!(unit.state, LoadState::Loaded | LoadState::Masked),
            "{}: {:?}: {:?}",
            unit.id,
            unit.state,
            unit.error
        );
        for warning in &unit.warnings {
            assert!(
                !matches!(warning.kind, WarningKind::UnknownKey | WarningKind::UnknownSection),
                "{}: {warning}",
                unit.id
            );
        }
    }
}

#[test]
fn complaints_are_those_of_systemd() {
    if !referee::has_systemd_252() {
        return;
    }
    let folder = referee::package_units();
    let all = load_all(&folder);
    let verdict = referee::ask(&[&folder], &all.iter().map(|unit| unit.id.to_string()).collect());
    let mut ours = BTreeSet::new();
    for unit in &all {
        for warning in &unit.warnings {
            if let Some(at) = &warning.at {
                ours.insert((at.file.to_path_buf(), at.line));
                assert!(
                    verdict.complaints.contains_key(&(at.file.to_path_buf(), at.line)),
                    "systemd does not mind what we do: {warning}"
                );
            }
        }
    }
    for ((file, line), text) in &verdict.complaints {
        let later = LATER.iter().any(|key| text.contains(&format!("'{key}'")));
        assert!(later || ours.contains(&(file.clone(), *line)), "we do not mind {}:{line}: {text}", file.display());
    }
}

/// One thing both sides say of a unit.
struct Fact {
    key: &'static str,
    ours: Vec<String>,
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn span(value: Option<Duration>) -> String {
    format_span(value, Duration::from_micros(1))
}

fn limit(value: u64) -> String {
    if value == ResourceLimit::INFINITY { "infinity".to_owned() } else { value.to_string() }
}

/// What we say of a unit, by the keys of systemd's dump.
fn facts(unit: &Loaded) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut say = |key: &'static str, ours: Vec<String>| facts.push(Fact { key, ours });
    let section = &unit.config.unit;
    say("Unit Load State", vec![unit.state.as_str().to_owned()]);
    if unit.state == LoadState::Masked {
        return facts;
    }
    say("Fragment Path", unit.fragment.iter().map(|path| path.display().to_string()).collect());
    say("DropIn Path", unit.dropins.iter().map(|path| path.display().to_string()).collect());
    if let Some(description) = &section.description {
        say("Description", vec![description.clone()]);
    }
    say("Documentation", section.documentation.clone());
    say("StopWhenUnneeded", vec![yes_no(section.stop_when_unneeded)]);
    say("RefuseManualStart", vec![yes_no(section.refuse_manual_start)]);
    say("RefuseManualStop", vec![yes_no(section.refuse_manual_stop)]);
    say("DefaultDependencies", vec![yes_no(section.default_dependencies)]);
    say("OnSuccessJobMode", vec![section.on_success_job_mode.to_string()]);
    say("OnFailureJobMode", vec![section.on_failure_job_mode.to_string()]);
    say("IgnoreOnIsolate", vec![yes_no(section.ignore_on_isolate)]);
    if let Some(exec) = unit.config.exec() {
        say("UMask", vec![format!("{:04o}", exec.umask)]);
        say("PrivateTmp", vec![yes_no(exec.sandbox.private_tmp)]);
        say("PrivateDevices", vec![yes_no(exec.sandbox.private_devices)]);
        say("PrivateNetwork", vec![yes_no(exec.sandbox.private_network)]);
        say("PrivateUsers", vec![yes_no(exec.sandbox.private_users)]);
        say("ProtectKernelTunables", vec![yes_no(exec.sandbox.protect_kernel_tunables)]);
        say("ProtectKernelModules", vec![yes_no(exec.sandbox.protect_kernel_modules)]);
        say("ProtectKernelLogs", vec![yes_no(exec.sandbox.protect_kernel_logs)]);
        say("ProtectClock", vec![yes_no(exec.sandbox.protect_clock)]);
        say("ProtectControlGroups", vec![yes_no(exec.sandbox.protect_control_groups)]);
        say("ProtectHome", vec![exec.sandbox.protect_home.to_string()]);
        say("ProtectSystem", vec![exec.sandbox.protect_system.to_string()]);
        say("ProtectHostname", vec![yes_no(exec.sandbox.protect_hostname)]);
        say("ProtectProc", vec![exec.sandbox.protect_proc.to_string()]);
        say("ProcSubset", vec![exec.sandbox.proc_subset.to_string()]);
        say("IgnoreSIGPIPE", vec![yes_no(exec.ignore_sigpipe)]);
        say("MemoryDenyWriteExecute", vec![yes_no(exec.sandbox.memory_deny_write_execute)]);
        say("RestrictRealtime", vec![yes_no(exec.sandbox.restrict_realtime)]);
        say("RestrictSUIDSGID", vec![yes_no(exec.sandbox.restrict_suid_sgid)]);
        say("KeyringMode", vec![exec.keyring_mode.to_string()]);
        say("Environment", exec.environment.clone());
        say(
            "EnvironmentFile",
            exec.environment_files
                .iter()
                .map(|file| format!("{}{}", if file.optional { "-" } else { "" }, file.path))
                .collect(),
        );
        say("User", exec.user.iter().cloned().collect());
        say("Group", exec.group.iter().cloned().collect());
        say("DynamicUser", vec![yes_no(exec.dynamic_user)]);
        say("PAMName", exec.pam_name.iter().cloned().collect());
        say("Nice", exec.nice.iter().map(i32::to_string).collect());
        // Where nothing is told, the referee shows its own.
        if let Some(adjust) = exec.oom_score_adjust {
            say("OOMScoreAdjust", vec![adjust.to_string()]);
        }
        for (kind, key) in [
            (DirectoryKind::Runtime, "RuntimeDirectory"),
            (DirectoryKind::State, "StateDirectory"),
            (DirectoryKind::Cache, "CacheDirectory"),
            (DirectoryKind::Logs, "LogsDirectory"),
            (DirectoryKind::Configuration, "ConfigurationDirectory"),
        ] {
            say(key, exec.directories(kind).iter().map(|directory| directory.path.clone()).collect());
        }
        for (resource, value) in &exec.limits {
            let (soft, hard) = match resource.as_str() {
                "NOFILE" => ("LimitNOFILESoft", "LimitNOFILE"),
                "MEMLOCK" => ("LimitMEMLOCKSoft", "LimitMEMLOCK"),
                "NPROC" => ("LimitNPROCSoft", "LimitNPROC"),
                "CORE" => ("LimitCORESoft", "LimitCORE"),
                _ => continue,
            };
            say(soft, vec![limit(value.soft)]);
            say(hard, vec![limit(value.hard)]);
        }
    }
    if let Some(kill) = unit.config.kill() {
        say("KillMode", vec![kill.mode.to_string()]);
        say("KillSignal", vec![format!("SIG{}", signal_name(kill.kill_signal))]);
        say("FinalKillSignal", vec![format!("SIG{}", signal_name(kill.final_kill_signal))]);
        say("SendSIGKILL", vec![yes_no(kill.send_sigkill)]);
        say("SendSIGHUP", vec![yes_no(kill.send_sighup)]);
    }
    match &unit.config.kind {
        KindConfig::Service(service) => {
            say("Type", vec![service.service_type.to_string()]);
            say("Restart", vec![service.restart.to_string()]);
            say("NotifyAccess", vec![service.notify_access.to_string()]);
            say("RemainAfterExit", vec![yes_no(service.remain_after_exit)]);
            say("GuessMainPID", vec![yes_no(service.guess_main_pid)]);
            say("PermissionsStartOnly", vec![yes_no(service.permissions_start_only)]);
            say("OOMPolicy", vec![service.oom_policy.to_string()]);
            say("RestartSec", vec![span(service.restart_pause)]);
            say("TimeoutStartSec", vec![span(service.timeout_start)]);
            say("TimeoutStopSec", vec![span(service.timeout_stop)]);
            say("RuntimeMaxSec", vec![span(service.runtime_max)]);
            say("WatchdogSec", vec![span(service.watchdog)]);
            say("PIDFile", service.pid_file.iter().cloned().collect());
            say("BusName", service.bus_name.iter().cloned().collect());
            say(
                "File Descriptor Store Max",
                match service.file_descriptor_store_max {
                    0 => Vec::new(),
                    max => vec![max.to_string()],
                },
            );
            let commands = [
                &service.exec_condition,
                &service.exec_start_pre,
                &service.exec_start,
                &service.exec_start_post,
                &service.exec_reload,
                &service.exec_stop,
                &service.exec_stop_post,
            ];
            let lines = commands
                .into_iter()
                .flatten()
                .map(|command| ssi_unit::environment::quote_arguments(&command.arguments));
            say("Command Line", lines.collect());
        }
        KindConfig::Socket(socket) => {
            say("SocketMode", vec![format!("{:04o}", socket.socket_mode)]);
            say("DirectoryMode", vec![format!("{:04o}", socket.directory_mode)]);
            say("Backlog", vec![socket.backlog.to_string()]);
            say("RemoveOnStop", vec![yes_no(socket.remove_on_stop)]);
            say("PassCredentials", vec![yes_no(socket.pass_credentials)]);
            say("PassSecurity", vec![yes_no(socket.pass_security)]);
            say("Broadcast", vec![yes_no(socket.broadcast)]);
            say("KeepAlive", vec![yes_no(socket.keep_alive)]);
            say("Writable", vec![yes_no(socket.writable)]);
        }
        KindConfig::Mount(mount) => {
            say("Where", mount.mount_point.iter().cloned().collect());
            say("What", mount.what.iter().cloned().collect());
            say("File System Type", mount.fs_type.iter().cloned().collect());
            say("Options", vec![mount.options.clone().unwrap_or_else(|| "n/a".to_owned())]);
            say("DirectoryMode", vec![format!("{:04o}", mount.directory_mode)]);
        }
        KindConfig::Automount(automount) => {
            say("Where", automount.mount_point.iter().cloned().collect());
        }
        KindConfig::Timer(timer) => {
            say("Persistent", vec![yes_no(timer.persistent)]);
            say("WakeSystem", vec![yes_no(timer.wake_system)]);
            say("Accuracy", vec![span(timer.accuracy)]);
            say("RemainAfterElapse", vec![yes_no(timer.remain_after_elapse)]);
            say("FixedRandomDelay", vec![yes_no(timer.fixed_random_delay)]);
        }
        KindConfig::Path(path) => {
            say("MakeDirectory", vec![yes_no(path.make_directory)]);
            say("DirectoryMode", vec![format!("{:04o}", path.directory_mode)]);
            for watch in &path.watches {
                say(watch.event.as_str(), vec![watch.path.clone()]);
            }
        }
        _ => {}
    }
    facts
}

#[test]
fn settings_are_those_of_systemd() {
    if !referee::has_systemd_252() {
        return;
    }
    let folder = referee::package_units();
    let all = load_all(&folder);
    let verdict = referee::ask(&[&folder], &all.iter().map(|unit| unit.id.to_string()).collect());
    let mut differences = Vec::new();
    let mut compared = 0;
    for unit in &all {
        let id = unit.id.as_str();
        if !verdict.units.contains_key(id) {
            differences.push(format!("{id}: systemd does not know it"));
            continue;
        }
        for fact in facts(unit) {
            compared += 1;
            let theirs: Vec<&str> = verdict.values(id, fact.key);
            if theirs != fact.ours {
                differences.push(format!("{id}: {}: ours {:?}, theirs {theirs:?}", fact.key, fact.ours));
            }
        }
    }
    eprintln!("{compared} facts about {} units compared", all.len());
    assert!(compared > 1000);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

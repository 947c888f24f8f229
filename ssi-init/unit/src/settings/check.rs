// SPDX-License-Identifier: GPL-2.0-or-later
//! What follows from all settings of a unit together: defaults that depend on others, and combinations no unit can
//! have.

use crate::config::cgroup::{DeviceAllow, DevicePolicy};
use crate::config::exec::CredentialSource;
use crate::config::kill::KillMode;
use crate::config::sandbox::{ProtectHome, ProtectSystem};
use crate::config::service::{ExitType, Restart, ServiceType};
use crate::config::socket::{Listen, SocketStyle};
use crate::config::unit::EmergencyAction;
use crate::config::{
    CgroupConfig, ExecConfig, KindConfig, ManagerDefaults, MountConfig, ServiceConfig, SocketConfig, UnitConfig,
    Warning, WarningKind,
};
use crate::dependency::Dependency;
use crate::name::{UnitName, UnitType};

/// Capabilities that some protections take away, capabilities(7).
mod capability {
    pub(super) const SYS_MODULE: u64 = 1 << 16;
    pub(super) const SYS_RAWIO: u64 = 1 << 17;
    pub(super) const SYS_TIME: u64 = 1 << 25;
    pub(super) const MKNOD: u64 = 1 << 27;
    pub(super) const SYSLOG: u64 = 1 << 34;
    pub(super) const WAKE_ALARM: u64 = 1 << 35;
}

/// Decides what the files left open.
pub(super) fn finish(config: &mut UnitConfig, defaults: &ManagerDefaults, name: &UnitName) {
    match &mut config.kind {
        KindConfig::Service(service) => {
            service.finish(defaults);
            finish_exec(&mut service.exec, &mut service.cgroup, defaults, name);
        }
        KindConfig::Socket(socket) => finish_exec(&mut socket.exec, &mut socket.cgroup, defaults, name),
        KindConfig::Mount(mount) => {
            mount.mount_point = mount.mount_point.take().or_else(|| name.to_path().ok());
            finish_exec(&mut mount.exec, &mut mount.cgroup, defaults, name);
        }
        KindConfig::Swap(swap) => {
            swap.what = swap.what.take().or_else(|| name.to_path().ok());
            finish_exec(&mut swap.exec, &mut swap.cgroup, defaults, name);
        }
        KindConfig::Automount(automount) => {
            automount.mount_point = automount.mount_point.take().or_else(|| name.to_path().ok());
        }
        KindConfig::Target
        | KindConfig::Device
        | KindConfig::Timer(_)
        | KindConfig::Path(_)
        | KindConfig::Slice(_)
        | KindConfig::Scope(_) => {}
    }
}

/// Defaults of the manager, and what one protection brings along with it.
fn finish_exec(exec: &mut ExecConfig, cgroup: &mut CgroupConfig, defaults: &ManagerDefaults, name: &UnitName) {
    for (resource, limit) in &defaults.limits {
        exec.limits.entry(*resource).or_insert(*limit);
    }
    let sandbox = &mut exec.sandbox;
    let mut taken = 0;
    if sandbox.private_devices {
        taken |= capability::MKNOD | capability::SYS_RAWIO;
    }
    if sandbox.protect_kernel_modules {
        taken |= capability::SYS_MODULE;
    }
    if sandbox.protect_kernel_logs {
        taken |= capability::SYSLOG;
    }
    if sandbox.protect_clock {
        taken |= capability::SYS_TIME | capability::WAKE_ALARM;
    }
    sandbox.capability_bounding_set.0 &= !taken;
    if exec.dynamic_user {
        let user = exec.user.get_or_insert_with(|| dynamic_user_name(name)).clone();
        exec.group.get_or_insert(user);
        // Such a user's number is given to another later: nothing of it may stay behind.
        exec.remove_ipc = true;
        sandbox.private_tmp = true;
        sandbox.protect_system = ProtectSystem::Strict;
        if sandbox.protect_home == ProtectHome::No {
            sandbox.protect_home = ProtectHome::ReadOnly;
        }
        sandbox.no_new_privileges = true;
        sandbox.restrict_suid_sgid = true;
    }
    for directories in exec.directories.values_mut() {
        directories.directories.sort_by(|a, b| a.path.cmp(&b.path));
    }
    if sandbox.private_devices && cgroup.device_policy == DevicePolicy::Auto {
        cgroup.device_policy = DevicePolicy::Closed;
    }
    // What else the settings need must be open where not everything is.
    if cgroup.device_policy == DevicePolicy::Auto && cgroup.device_allow.is_empty() {
        return;
    }
    let mut open = |device: &str, write: bool, mknod: bool| {
        cgroup.device_allow.push(DeviceAllow { device: device.to_owned(), read: true, write, mknod });
    };
    if sandbox.root_image.is_some() || !sandbox.mount_images.is_empty() {
        open("/dev/loop-control", true, false);
        open("/dev/mapper/control", true, false);
        for group in ["block-loop", "block-blkext", "block-device-mapper"] {
            open(group, true, true);
        }
    }
    if sandbox.protect_clock {
        open("char-rtc", false, false);
    }
    if exec.credentials.iter().any(|credential| credential.encrypted && credential.source != CredentialSource::Import) {
        open("/dev/tpmrm0", true, false);
    }
}

/// The name of a user that exists only while its service runs: the unit's prefix where that can be a name, else one
/// made from it.
fn dynamic_user_name(name: &UnitName) -> String {
    let prefix = name.prefix();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let starts_well = prefix.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if prefix.len() <= 31 && starts_well && prefix.chars().all(plain) {
        return prefix.to_owned();
    }
    // Names of users are short; this one only has to be the same at every start.
    format!("_du{:016x}", crate::name::siphash24(prefix.as_bytes()))
}

/// Why a unit with these settings cannot be used, if so. `warnings` takes what is only odd.
pub(super) fn check(config: &UnitConfig, name: &UnitName, warnings: &mut Vec<Warning>) -> Option<String> {
    let mut note = |text: &str| {
        warnings.push(Warning { at: None, kind: WarningKind::Note, text: format!("{name}: {text}") });
    };
    let unit = &config.unit;
    if let (Some(running), Some(whole)) = (unit.job_running_timeout, unit.job_timeout)
        && running > whole
    {
        note("JobRunningTimeoutSec= is longer than JobTimeoutSec= and has no effect");
    }
    // An isolated unit must be one.
    for (mode, kind) in
        [(unit.on_failure_job_mode, Dependency::OnFailure), (unit.on_success_job_mode, Dependency::OnSuccess)]
    {
        if mode == crate::config::unit::JobMode::Isolate && unit.units(kind).count() > 1 {
            return Some(format!("{name}: more than one unit in {kind}=, which isolate cannot start"));
        }
    }
    let wrong = match &config.kind {
        KindConfig::Service(service) => check_service(service, config, &mut note),
        KindConfig::Socket(socket) => check_socket(socket),
        KindConfig::Mount(mount) => check_mount(mount, name),
        KindConfig::Swap(swap) => match &swap.what {
            Some(what) if !is_named_for(name, what) => Some("What= is not the path in the unit's name"),
            Some(_) => None,
            None => Some("there is no What= and the name holds no path"),
        },
        KindConfig::Automount(automount) => match automount.mount_point.as_deref() {
            Some("/") => Some("the root cannot be mounted on first use"),
            Some(path) if !is_named_for(name, path) => Some("Where= is not the path in the unit's name"),
            Some(_) => None,
            None => Some("there is no Where= and the name holds no path"),
        },
        KindConfig::Timer(timer)
            if timer.triggers.is_empty() && !timer.on_clock_change && !timer.on_timezone_change =>
        {
            Some("there is nothing that would make the timer elapse, such as OnCalendar=")
        }
        KindConfig::Path(path) if path.watches.is_empty() => Some("there is no path to watch, such as PathExists="),
        KindConfig::Slice(_) if !name.is_valid_slice() => Some("the name of a slice is parts between single dashes"),
        KindConfig::Slice(_)
        | KindConfig::Timer(_)
        | KindConfig::Path(_)
        | KindConfig::Scope(_)
        | KindConfig::Target
        | KindConfig::Device => None,
    };
    let pam = config.exec().is_some_and(|exec| exec.pam_name.is_some());
    let kills_all = match config.kill().map(|kill| kill.mode) {
        Some(KillMode::Mixed) => name.unit_type() == UnitType::Service,
        Some(mode) => mode == KillMode::ControlGroup,
        None => true,
    };
    let wrong = wrong.or((pam && !kills_all).then_some("PAMName= needs KillMode=control-group or, of services, mixed"));
    wrong.map(|text| format!("{name}: {text}"))
}

/// What services cannot be: systemd.service(5) and systemd's `service_verify`.
fn check_service(service: &ServiceConfig, config: &UnitConfig, note: &mut impl FnMut(&str)) -> Option<&'static str> {
    let oneshot = service.service_type == ServiceType::Oneshot;
    let starts = service.exec_start.len();
    let no_success_action = config.unit.success_action == EmergencyAction::None;
    if starts == 0 && service.exec_stop.is_empty() && no_success_action {
        return Some("the service has no ExecStart=, ExecStop= or SuccessAction=");
    }
    if starts == 0 && !oneshot {
        return Some("the service has no ExecStart=, which only Type=oneshot can do without");
    }
    if starts == 0 && !service.remain_after_exit && no_success_action {
        return Some("the service has no ExecStart= and no SuccessAction=, and does not have RemainAfterExit=yes");
    }
    if starts > 1 && !oneshot {
        return Some("the service has more than one ExecStart=, which only Type=oneshot can have");
    }
    if oneshot && matches!(service.restart, Restart::Always | Restart::OnSuccess) {
        return Some("Restart=always and Restart=on-success would run a Type=oneshot service without end");
    }
    if oneshot && !service.restart_force_exit_status.is_empty() {
        return Some("RestartForceExitStatus= is not for Type=oneshot services");
    }
    if oneshot && service.exit_type == ExitType::Cgroup {
        return Some("ExitType=cgroup is not for Type=oneshot services");
    }
    if service.service_type == ServiceType::Dbus && service.bus_name.is_none() {
        return Some("a Type=dbus service needs BusName=");
    }
    if service.usb_function_descriptors.is_some() != service.usb_function_strings.is_some() {
        note("USBFunctionDescriptors= and USBFunctionStrings= need each other and are ignored");
    }
    if oneshot && service.runtime_max.is_some() {
        note("RuntimeMaxSec= has no effect on a Type=oneshot service");
    }
    if service.runtime_max.is_none() && !service.runtime_randomized_extra.is_zero() {
        note("RuntimeRandomizedExtraSec= has no effect without RuntimeMaxSec=");
    }
    None
}

/// What sockets cannot be.
fn check_socket(socket: &SocketConfig) -> Option<&'static str> {
    if socket.listen.is_empty() {
        return Some("there is nothing to listen on, such as ListenStream=");
    }
    let connects =
        |listen: &Listen| matches!(listen, Listen::Socket(SocketStyle::Stream | SocketStyle::SequentialPacket, _));
    if socket.accept && !socket.listen.iter().all(connects) {
        return Some("Accept=yes is for sockets with connections only");
    }
    if socket.accept && socket.max_connections == 0 {
        return Some("Accept=yes with MaxConnections=0 would take no connection at all");
    }
    if socket.accept && socket.service.is_some() {
        return Some("with Accept=yes the service is the template of the same name, and Service= cannot name another");
    }
    let nodes = socket.listen.iter().filter(|listen| listen.path().is_some()).count();
    if !socket.symlinks.is_empty() && nodes != 1 {
        return Some("Symlinks= needs exactly one path that is listened on");
    }
    None
}

/// What mounts cannot be.
fn check_mount(mount: &MountConfig, name: &UnitName) -> Option<&'static str> {
    let Some(path) = &mount.mount_point else {
        return Some("there is no Where= and the name holds no path");
    };
    if !is_named_for(name, path) {
        return Some("Where= is not the path in the unit's name");
    }
    if is_api_mount(path) {
        return Some("this file system is mounted before any unit is started");
    }
    None
}

/// Whether a path is the one a unit's name was made from.
fn is_named_for(name: &UnitName, path: &str) -> bool {
    UnitName::from_path(path, name.unit_type()).is_ok_and(|own| own == *name)
}

/// Mount points that PID 1 makes for itself, and those of the kernel's control groups.
fn is_api_mount(path: &str) -> bool {
    const POINTS: [&str; 16] = [
        "/proc",
        "/sys",
        "/dev",
        "/dev/shm",
        "/dev/pts",
        "/run",
        // Debian's.
        "/run/lock",
        "/sys/kernel/security",
        "/sys/fs/smackfs",
        "/sys/fs/cgroup",
        "/sys/fs/pstore",
        "/sys/firmware/efi/efivars",
        "/sys/fs/bpf",
        "/sys/fs/selinux",
        "/dev/console",
        "/proc/kmsg",
    ];
    POINTS.contains(&path) || path.starts_with("/sys/fs/cgroup/")
}

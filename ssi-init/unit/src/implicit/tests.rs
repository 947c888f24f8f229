// SPDX-License-Identifier: GPL-2.0-or-later
//! Each rule of the manual pages on a unit that shows it. The same units under systemd 252 give the same lists: see
//! `tests/systemd_edges.rs`.

use super::*;
use crate::config::ManagerDefaults;
use crate::config::exec::{ServiceDirectories, ServiceDirectory};

fn config(kind: UnitType) -> UnitConfig {
    UnitConfig::new(kind, &ManagerDefaults::default())
}

fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

/// Edges of one kind, as names in order of the alphabet.
fn edges(unit: &str, change: impl FnOnce(&mut UnitConfig), kind: Dependency) -> Vec<String> {
    let name = name(unit);
    let mut config = config(name.unit_type());
    change(&mut config);
    let found = relations(Subject::from_file(&name, &config), &Surroundings::default());
    let mut names: Vec<String> =
        found.edges.into_iter().filter(|edge| edge.kind == kind).map(|edge| edge.to.to_string()).collect();
    names.sort();
    names
}

#[test]
fn a_service_waits_for_the_basics_and_goes_at_shutdown() {
    let plain = |_: &mut UnitConfig| {};
    assert_eq!(edges("a.service", plain, Dependency::Requires), ["sysinit.target", "system.slice"]);
    let after = ["basic.target", "sysinit.target", "system.slice", "systemd-journald.socket"];
    let settle = |config: &mut UnitConfig| {
        if let KindConfig::Service(service) = &mut config.kind {
            service.finish(&ManagerDefaults::default());
        }
    };
    assert_eq!(edges("a.service", settle, Dependency::After), after);
    assert_eq!(edges("a.service", plain, Dependency::Conflicts), ["shutdown.target"]);
    assert_eq!(edges("a.service", plain, Dependency::Before), ["shutdown.target"]);
    let none = |config: &mut UnitConfig| config.unit.default_dependencies = false;
    assert_eq!(edges("a.service", none, Dependency::Requires), ["system.slice"]);
    assert_eq!(edges("a.service", none, Dependency::Conflicts), [""; 0]);
}

#[test]
fn instances_share_a_slice() {
    assert_eq!(edges("get-ty@1.service", |_| {}, Dependency::InSlice), [r"system-get\x2dty.slice"]);
    assert_eq!(edges("init.scope", |_| {}, Dependency::InSlice), ["-.slice"]);
    assert_eq!(edges("a-b.slice", |_| {}, Dependency::InSlice), ["a.slice"]);
    assert_eq!(edges("a.slice", |_| {}, Dependency::Requires), ["-.slice"]);
    assert_eq!(edges("-.slice", |_| {}, Dependency::Requires), [""; 0]);
    assert_eq!(edges("system.slice", |_| {}, Dependency::Conflicts), [""; 0]);
}

#[test]
fn what_triggers_starts_before_what_it_triggers() {
    for unit in ["a.socket", "a.timer", "a.path"] {
        assert_eq!(edges(unit, |_| {}, Dependency::Triggers), ["a.service"]);
        assert!(edges(unit, |_| {}, Dependency::Before).contains(&"a.service".to_owned()));
    }
    assert_eq!(edges("a-b.automount", |_| {}, Dependency::Triggers), ["a-b.mount"]);
    let other = |config: &mut UnitConfig| {
        if let KindConfig::Timer(timer) = &mut config.kind {
            timer.unit = Some(name("b.target"));
        }
    };
    assert_eq!(edges("a.timer", other, Dependency::Triggers), ["b.target"]);
}

#[test]
fn directories_need_their_mounts() {
    let name = name("a.service");
    let mut config = config(UnitType::Service);
    let KindConfig::Service(service) = &mut config.kind else { unreachable!() };
    let directory = ServiceDirectory { path: "x/y".to_owned(), symlinks: Vec::new() };
    service
        .exec
        .directories
        .insert(DirectoryKind::State, ServiceDirectories { directories: vec![directory], mode: 0o755 });
    service.exec.sandbox.private_tmp = true;
    let found = relations(Subject::from_file(&name, &config), &Surroundings::default());
    let paths: Vec<&str> = found.mounts_for.iter().map(|mounts| mounts.path.as_str()).collect();
    assert_eq!(paths, ["/var/lib/x/y", "/var/tmp"]);
    let after = |to: &str| found.edges.iter().any(|edge| edge.kind == Dependency::After && edge.to == to);
    assert!(after("systemd-remount-fs.service") && after("tmp.mount") && after("systemd-tmpfiles-setup.service"));
}

#[test]
fn mounts_above_a_path_begin_at_the_root() {
    let names = |path| mounts_above(path).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names("/var/lib/x-y"), ["-.mount", "var.mount", "var-lib.mount", r"var-lib-x\x2dy.mount"]);
    assert_eq!(names("/"), ["-.mount"]);
}

fn mounted(unit: &str, what: &str, fs_type: &str, options: &str) -> impl Fn(Dependency) -> Vec<String> {
    let (unit, what, fs_type, options) = (unit.to_owned(), what.to_owned(), fs_type.to_owned(), options.to_owned());
    move |kind| {
        let change = |config: &mut UnitConfig| {
            if let KindConfig::Mount(mount) = &mut config.kind {
                (mount.what, mount.fs_type) = (Some(what.clone()), Some(fs_type.clone()));
                mount.options = Some(options.clone());
            }
        };
        edges(&unit, change, kind)
    }
}

#[test]
fn a_local_mount() {
    let mount = mounted("srv.mount", "/dev/sdb1", "ext4", "noatime,usrquota");
    assert_eq!(mount(Dependency::Requires), ["dev-sdb1.device", "system.slice"]);
    assert_eq!(mount(Dependency::StopPropagatedFrom), ["dev-sdb1.device"]);
    let before = ["local-fs.target", "quotaon.service", "systemd-quotacheck.service", "umount.target"];
    assert_eq!(mount(Dependency::Before), before);
    let after = [
        "blockdev@dev-sdb1.target",
        "dev-sdb1.device",
        "local-fs-pre.target",
        "system.slice",
        "systemd-journald.socket",
    ];
    assert_eq!(mount(Dependency::After), after);
    assert_eq!(mount(Dependency::Conflicts), ["umount.target"]);
    let bound = mounted("srv.mount", "/dev/sdb1", "ext4", "x-systemd.device-bound,nofail");
    assert_eq!(bound(Dependency::BindsTo), ["dev-sdb1.device"]);
    assert_eq!(bound(Dependency::StopPropagatedFrom), [""; 0]);
    assert_eq!(bound(Dependency::Before), ["umount.target"]);
}

#[test]
fn a_network_mount_and_a_tmpfs() {
    let nfs = mounted("srv.mount", "server:/x", "nfs4", "");
    assert_eq!(nfs(Dependency::Wants), ["network-online.target"]);
    assert_eq!(nfs(Dependency::Before), ["remote-fs.target", "umount.target"]);
    assert!(nfs(Dependency::After).contains(&"network.target".to_owned()));
    let tmpfs = mounted("srv.mount", "tmpfs", "tmpfs", "");
    assert!(tmpfs(Dependency::After).contains(&"swap.target".to_owned()));
    let api = mounted("proc-x.mount", "x", "x", "");
    assert_eq!(api(Dependency::Conflicts), [""; 0]);
    assert_eq!(api(Dependency::InSlice), ["-.slice"]);
}

#[test]
fn the_last_of_fail_and_nofail_counts() {
    let may_fail =
        |options: &str| MountParameters { options: Some(options.to_owned()), ..Default::default() }.may_fail();
    assert!(may_fail("nofail") && may_fail("fail,x=1,nofail") && !may_fail("nofail,fail") && !may_fail(r"x\,nofail"));
}

#[test]
fn a_container_has_no_devices() {
    let name = name("srv.mount");
    let mut config = config(UnitType::Mount);
    if let KindConfig::Mount(mount) = &mut config.kind {
        mount.what = Some("/dev/sdb1".to_owned());
    }
    let surroundings = Surroundings { devices: false, container: true, ..Surroundings::default() };
    let found = relations(Subject::from_file(&name, &config), &surroundings);
    assert!(!found.edges.iter().any(|edge| edge.to.unit_type() == UnitType::Device));
}

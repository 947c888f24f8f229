// SPDX-License-Identifier: GPL-2.0-or-later
//! Conditions on this very machine, side by side with `systemd-analyze condition`.

mod chance;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use chance::{Chance, program, rounds};
use ssi_unit::condition::{Condition, ConditionKind, ThisMachine, evaluate};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::{Host, Specifiers};

/// Setting lines that are compared one by one; a folder made for the test stands for `@`.
const SCENES: &[&str] = &[
    "PathExists=/",
    "PathExists=/nowhere",
    "PathExists=!/nowhere",
    "PathExists=|/nowhere",
    "PathExists=@/dangling",
    "PathExists=relative",
    "PathExists=//usr/./bin",
    "PathExists=%t",
    "PathExistsGlob=/e*c/pass*",
    "PathExistsGlob=/e*c/nope*",
    "PathExistsGlob=@/{full,none}/*",
    "PathExistsGlob=@/{none,empty}/*",
    "PathExistsGlob=@/hidden/*",
    "PathExistsGlob=@/hidden/.*",
    "PathIsDirectory=/usr",
    "PathIsDirectory=/etc/passwd",
    "PathIsDirectory=@/link",
    "PathIsSymbolicLink=@/link",
    "PathIsSymbolicLink=@/dangling",
    "PathIsSymbolicLink=/usr",
    "PathIsMountPoint=/",
    "PathIsMountPoint=/proc",
    "PathIsMountPoint=/usr/bin",
    "PathIsReadWrite=/tmp",
    "PathIsReadWrite=/proc/sys",
    "PathIsReadWrite=/nowhere",
    "PathIsReadWrite=/sys",
    "PathIsEncrypted=/",
    "PathIsEncrypted=/nowhere",
    "DirectoryNotEmpty=@/full",
    "DirectoryNotEmpty=@/empty",
    "DirectoryNotEmpty=@/hidden",
    "DirectoryNotEmpty=@/backup",
    "DirectoryNotEmpty=/etc/passwd",
    "DirectoryNotEmpty=/nowhere",
    "FileNotEmpty=/etc/passwd",
    "FileNotEmpty=@/zero",
    "FileNotEmpty=/usr",
    "FileIsExecutable=/bin/sh",
    "FileIsExecutable=/etc/passwd",
    "FileIsExecutable=/usr",
    "NeedsUpdate=/etc",
    "NeedsUpdate=/var",
    "NeedsUpdate=@/full",
    "NeedsUpdate=@/old",
    "KernelCommandLine=quiet",
    "KernelCommandLine=!quiet",
    "KernelCommandLine=nowhere=1",
    "KernelCommandLine=console",
    "KernelCommandLine=init",
    "KernelVersion=*",
    "KernelVersion=>=3",
    "KernelVersion=>= 3",
    "KernelVersion=<3",
    "KernelVersion=>=3 <99",
    "KernelVersion=>=3 >99",
    "KernelVersion=[0-9]*",
    "KernelVersion==3",
    "KernelVersion=!$=3*",
    "KernelVersion=>3 <",
    "KernelVersion=<",
    "KernelVersion=\"> 3\"",
    "Credential=x",
    "Credential=../x",
    "Virtualization=yes",
    "Virtualization=no",
    "Virtualization=container",
    "Virtualization=vm",
    "Virtualization=docker",
    "Virtualization=kvm",
    "Virtualization=qemu",
    "Virtualization=private-users",
    "Virtualization=!container",
    "Security=selinux",
    "Security=apparmor",
    "Security=audit",
    "Security=ima",
    "Security=tomoyo",
    "Security=smack",
    "Security=uefi-secureboot",
    "Security=tpm2",
    "Security=nonsense",
    "Capability=CAP_SYS_ADMIN",
    "Capability=cap_chown",
    "Capability=CAP_SYS_MODULE",
    "Capability=chown",
    "Capability=12",
    "Capability=nonsense",
    "Capability=CAP_CHECKPOINT_RESTORE",
    "Host=*",
    "Host=nowhere",
    "Host=%H",
    "Host=%m",
    "Host=00000000000000000000000000000001",
    "Host=00000000-0000-0000-0000-000000000001",
    "ACPower=yes",
    "ACPower=no",
    "ACPower=maybe",
    "Architecture=x86-64",
    "Architecture=native",
    "Architecture=arm64",
    "Architecture=nonsense",
    "Firmware=uefi",
    "Firmware=device-tree",
    "Firmware=device-tree-compatible(x)",
    "Firmware=smbios-field(sys_vendor = QEMU)",
    "Firmware=smbios-field(nonsense=1)",
    "Firmware=smbios-field(sys_vendor $= \"*\")",
    "Firmware=smbios-field(",
    "Firmware=nonsense",
    "FirstBoot=yes",
    "FirstBoot=no",
    "FirstBoot=maybe",
    "User=root",
    "User=nobody",
    "User=@system",
    "User=0",
    "User=12345",
    "Group=0",
    "Group=12345",
    "Group=root",
    "ControlGroupController=v1",
    "ControlGroupController=v2",
    "ControlGroupController=cpu",
    "ControlGroupController=memory pids",
    "ControlGroupController=nonsense",
    "ControlGroupController=nonsense memory",
    "ControlGroupController=hugetlb",
    "CPUs=1",
    "CPUs=>0",
    "CPUs=<1",
    "CPUs=9999",
    "CPUs==x",
    "CPUs=<>9999",
    "Memory=1",
    "Memory=1K",
    "Memory=<1M",
    "Memory=1.5G",
    "Memory=9P",
    "Memory=x",
    "Memory=>= 1M",
    "Environment=PATH",
    "Environment=NOWHERE",
    "Environment=SSI_TEST=one two",
    "Environment=SSI_TEST=one",
    "Environment=SSI_TES",
    "CPUFeature=fpu",
    "CPUFeature=SSE2",
    "CPUFeature=nonsense",
    "CPUFeature=avx2",
    "CPUFeature=syscall",
    "CPUFeature=rdtscp",
    "OSRelease=ID=debian",
    "OSRelease=ID=fedora",
    "OSRelease=VERSION_ID>=11",
    "OSRelease=VERSION_ID<11",
    "OSRelease=ID$=deb*",
    "OSRelease=ID",
    "OSRelease=NOWHERE=x",
    "OSRelease=NOWHERE!=x",
    "OSRelease=ID=debian VERSION_ID>=99",
    "OSRelease=ID= debian",
    "MemoryPressure=100%",
    "MemoryPressure=0%",
    "MemoryPressure=x",
    "CPUPressure=100%/10sec",
    "IOPressure=99%/1min",
    "CPUPressure=system.slice:100%",
    "CPUPressure=nonsense:100%",
    "MemoryPressure=50%/2min",
    "MemoryPressure=101%",
];

fn folder() -> String {
    let folder = format!("{}/conditions", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_dir_all(&folder);
    for sub in ["full", "empty", "hidden", "backup", "old"] {
        std::fs::create_dir_all(format!("{folder}/{sub}")).unwrap();
    }
    for file in ["full/file", "hidden/.file", "backup/file~", "backup/x.dpkg-old", "zero", "old/.updated"] {
        std::fs::write(format!("{folder}/{file}"), "").unwrap();
    }
    std::fs::File::open(format!("{folder}/old/.updated")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    std::os::unix::fs::symlink("/usr", format!("{folder}/link")).unwrap();
    std::os::unix::fs::symlink("/nowhere", format!("{folder}/dangling")).unwrap();
    folder
}

/// The referee's view: the list holds, or it does not (for whatever reason).
fn theirs(settings: &[String]) -> bool {
    Command::new("systemd-analyze").arg("condition").args(settings).output().unwrap().status.success()
}

fn ours(settings: &[String], machine: &ThisMachine, host: &Host) -> bool {
    let name = UnitName::new("test.service").unwrap();
    let mut lists = [Vec::new(), Vec::new()];
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        let (kind, assert) = ConditionKind::from_setting(key).unwrap();
        let list = &mut lists[usize::from(assert)];
        match Condition::parse(kind, value, &Specifiers::of(host, &name)) {
            Ok(Some(condition)) => list.push(condition),
            Ok(None) => list.clear(),
            // The unit would load without it.
            Err(_) => {}
        }
    }
    lists.iter().all(|list| evaluate(list, machine).holds)
}

fn scenes() -> Vec<String> {
    let folder = folder();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    SCENES
        .iter()
        .map(|scene| scene.replace('@', &folder).replace(&format!("{folder}system"), "@system"))
        .filter(|scene| seen.insert(scene.clone()))
        .collect()
}

#[test]
fn each_condition_by_itself_and_in_lists() {
    if program("systemd-analyze").is_none() {
        return;
    }
    let host = Host::read(Path::new("/"));
    let machine = ThisMachine::new(host.clone());
    let scenes = scenes();
    let mut differences = Vec::new();
    let mut compare = |settings: Vec<String>| {
        let (own, other) = (ours(&settings, &machine, &host), theirs(&settings));
        if own != other {
            differences.push(format!("{settings:?}: we {own}, systemd {other}"));
        }
    };
    for scene in &scenes {
        compare(vec![format!("Condition{scene}")]);
    }
    let mut chance = Chance::new(31);
    for _ in 0..rounds(120) {
        let list = (0..=chance.below(4)).map(|_| {
            let scene = scenes[usize::try_from(chance.below(scenes.len() as u64)).unwrap()].clone();
            let (kind, value) = scene.split_once('=').unwrap();
            let kind = format!("{}{kind}", if chance.once_in(4) { "Assert" } else { "Condition" });
            match chance.below(5) {
                0 if !value.starts_with('!') => format!("{kind}=!{value}"),
                1 if !value.starts_with('|') => format!("{kind}=|{value}"),
                2 if !value.starts_with(['!', '|']) => format!("{kind}=|!{value}"),
                _ => format!("{kind}={value}"),
            }
        });
        compare(list.collect());
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Which mounts a plan's protections come down to. Pure: what acts is in `namespaces.rs`.
//!
//! Each directive gives *entries*: a path, what is put there, and whether what is at and below it is read-only or
//! not executable. Entries for one path merge, the stricter wins; an entry below a closed path is dropped. A path's
//! attributes hold for every mount below it down to the next entry that says otherwise.

use super::directories;
use crate::plan::{
    BindMount, ExecPlan, MountPropagation, PathRule, ProtectHome, ProtectProc, ProtectSystem, Protection,
};
use std::path::{Path, PathBuf};

/// What is put at a path. The order is that of strictness: the first wins where two meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Put {
    /// Nothing can be seen or done there.
    Closed,
    /// Another place of the file system.
    Bind { source: String, recursive: bool },
    /// A small /dev.
    Devices,
    /// /proc anew, with these options.
    Proc(String),
    /// The message queues of a new IPC namespace.
    MessageQueues,
    /// An empty file system with these options.
    Empty(String),
    /// What is there already.
    Same,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) put: Put,
    pub(super) read_only: Option<bool>,
    pub(super) no_exec: Option<bool>,
    /// Skipped when the path, or what is bound there, does not exist.
    pub(super) missing_ok: bool,
    /// The attributes are for this mount alone, not for those below.
    pub(super) shallow: bool,
}

impl Entry {
    fn new(path: impl Into<PathBuf>, put: Put) -> Entry {
        Entry { path: path.into(), put, read_only: None, no_exec: None, missing_ok: false, shallow: false }
    }

    fn read_only(path: &str) -> Entry {
        Entry { read_only: Some(true), missing_ok: true, ..Entry::new(path, Put::Same) }
    }

    fn writable(path: &str) -> Entry {
        Entry { read_only: Some(false), missing_ok: true, ..Entry::new(path, Put::Same) }
    }

    fn closed(path: &str) -> Entry {
        Entry { missing_ok: true, ..Entry::new(path, Put::Closed) }
    }
}

/// How mounts pass between the machine and the new namespace.
pub(super) fn propagation(plan: &ExecPlan) -> MountPropagation {
    plan.protections
        .iter()
        .find_map(|protection| match protection {
            Protection::MountFlags(propagation) => Some(*propagation),
            _ => None,
        })
        .unwrap_or(MountPropagation::Slave)
}

/// Whether a mount namespace is needed at all.
pub(super) fn needed(plan: &ExecPlan) -> bool {
    plan.protections.iter().any(Protection::needs_mounts) || !private_places(plan).is_empty()
}

/// The `private/` directories of a dynamic user, which only root may pass, and what the unit has in them.
fn private_places(plan: &ExecPlan) -> Vec<(PathBuf, PathBuf)> {
    directories::writable_paths(plan)
        .into_iter()
        .filter_map(|path| {
            let path = PathBuf::from(path);
            let private = path.ancestors().find(|above| above.ends_with("private"))?.to_owned();
            plan.identity.dynamic.as_ref().map(|_| (private, path))
        })
        .collect()
}

/// The entries of a plan, as the directives give them.
pub(super) fn entries(plan: &ExecPlan, credentials: Option<&str>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut proc_options: Vec<&str> = Vec::new();
    for protection in &plan.protections {
        add(&mut entries, &mut proc_options, protection);
    }
    if !proc_options.is_empty() {
        entries.push(Entry::new("/proc", Put::Proc(proc_options.join(","))));
    }
    for path in directories::writable_paths(plan) {
        entries.push(Entry::writable(&path));
    }
    for (private, path) in private_places(plan) {
        entries.push(Entry { read_only: Some(true), ..Entry::new(private, Put::Empty("mode=0755".into())) });
        let source = path.display().to_string();
        entries.push(Entry { read_only: Some(false), ..Entry::new(path, Put::Bind { source, recursive: true }) });
    }
    match credentials {
        Some(own) => {
            let empty = Put::Empty("mode=0750".into());
            entries.push(Entry { read_only: Some(true), ..Entry::new("/run/credentials", empty) });
            let bind = Put::Bind { source: own.to_owned(), recursive: false };
            entries.push(Entry { read_only: Some(true), ..Entry::new(own, bind) });
        }
        None => entries.push(Entry::closed("/run/credentials")),
    }
    entries
}

fn add(entries: &mut Vec<Entry>, proc_options: &mut Vec<&'static str>, protection: &Protection) {
    let rule = |rule: &PathRule, entry: Entry| Entry { missing_ok: rule.missing_ok, ..entry };
    match protection {
        Protection::ReadWritePaths(rules) => {
            entries.extend(rules.iter().map(|r| rule(r, Entry::writable(&r.path))));
        }
        Protection::ReadOnlyPaths(rules) => {
            entries.extend(rules.iter().map(|r| rule(r, Entry::read_only(&r.path))));
        }
        Protection::InaccessiblePaths(rules) => {
            entries.extend(rules.iter().map(|r| rule(r, Entry::closed(&r.path))));
        }
        Protection::ExecPaths(rules) => entries
            .extend(rules.iter().map(|r| rule(r, Entry { no_exec: Some(false), ..Entry::new(&r.path, Put::Same) }))),
        Protection::NoExecPaths(rules) => entries
            .extend(rules.iter().map(|r| rule(r, Entry { no_exec: Some(true), ..Entry::new(&r.path, Put::Same) }))),
        Protection::BindPaths(binds) => entries.extend(binds.iter().map(bind)),
        Protection::TemporaryFileSystem(list) => {
            for (path, options) in list {
                let words: Vec<&str> = options.split(',').filter(|word| !word.is_empty()).collect();
                let read_only = words.contains(&"ro");
                let rest: Vec<&str> = words.into_iter().filter(|word| !matches!(*word, "ro" | "rw")).collect();
                let options = if rest.iter().any(|word| word.starts_with("mode=")) {
                    rest.join(",")
                } else {
                    std::iter::once("mode=0755").chain(rest).collect::<Vec<_>>().join(",")
                };
                let read_only = read_only.then_some(true);
                entries.push(Entry { read_only, ..Entry::new(path, Put::Empty(options)) });
            }
        }
        Protection::PrivateTmp { tmp, var_tmp } => {
            for (path, source) in [("/tmp", tmp), ("/var/tmp", var_tmp)] {
                let bind = Put::Bind { source: source.clone(), recursive: true };
                entries.push(Entry { read_only: Some(false), ..Entry::new(path, bind) });
            }
        }
        Protection::PrivateDevices => {
            let devices = Entry::new("/dev", Put::Devices);
            entries.push(Entry { read_only: Some(true), no_exec: Some(true), shallow: true, ..devices });
        }
        Protection::ProtectKernelTunables => {
            for path in ["acpi", "apm", "asound", "bus", "fs", "irq", "latency_stats", "mtrr", "scsi", "sys"] {
                entries.push(Entry::read_only(&format!("/proc/{path}")));
            }
            entries.push(Entry::read_only("/proc/sysrq-trigger"));
            entries.push(Entry::read_only("/proc/timer_stats"));
            entries.push(Entry::closed("/proc/kallsyms"));
            entries.push(Entry::closed("/proc/kcore"));
            for path in ["/sys", "/sys/fs/bpf", "/sys/kernel/debug", "/sys/kernel/tracing"] {
                entries.push(Entry::read_only(path));
            }
            // What has a directive of its own.
            entries.push(Entry::writable("/sys/fs/cgroup"));
            entries.push(Entry::writable("/sys/fs/selinux"));
        }
        Protection::ProtectKernelModules => {
            entries.extend(["/lib/modules", "/usr/lib/modules"].map(Entry::closed));
        }
        Protection::ProtectKernelLogs => entries.extend(["/proc/kmsg", "/dev/kmsg"].map(Entry::closed)),
        Protection::ProtectControlGroups => entries.push(Entry::read_only("/sys/fs/cgroup")),
        Protection::ProtectHostname => {
            entries.extend(["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"].map(Entry::read_only));
        }
        Protection::ProtectHome(how) => {
            for (path, mode) in [("/home", "mode=0755"), ("/run/user", "mode=0755"), ("/root", "mode=0700")] {
                entries.push(match how {
                    ProtectHome::Yes => Entry::closed(path),
                    ProtectHome::ReadOnly => Entry::read_only(path),
                    ProtectHome::Tmpfs => {
                        Entry { read_only: Some(true), missing_ok: true, ..Entry::new(path, Put::Empty(mode.into())) }
                    }
                });
            }
        }
        Protection::ProtectSystem(how) => {
            let usual = ["/usr", "/boot", "/efi", "/lib", "/lib64", "/bin", "/sbin"];
            match how {
                ProtectSystem::Yes => entries.extend(usual.map(Entry::read_only)),
                ProtectSystem::Full => entries.extend(usual.iter().chain(&["/etc"]).map(|path| Entry::read_only(path))),
                ProtectSystem::Strict => {
                    entries.push(Entry::read_only("/"));
                    // What has a directive of its own.
                    for path in ["/proc", "/sys", "/dev", "/home", "/run/user", "/root"] {
                        entries.push(Entry::writable(path));
                    }
                }
            }
        }
        Protection::ProtectProc(how) => proc_options.push(match how {
            ProtectProc::NoAccess => "hidepid=noaccess",
            ProtectProc::Invisible => "hidepid=invisible",
            ProtectProc::Ptraceable => "hidepid=ptraceable",
        }),
        Protection::ProcSubsetPid => proc_options.push("subset=pid"),
        Protection::PrivateIpc(_) | Protection::IpcNamespacePath(_) => {
            entries.push(Entry { missing_ok: true, ..Entry::new("/dev/mqueue", Put::MessageQueues) });
        }
        Protection::MountApiVfs => {
            for path in ["/proc", "/sys", "/dev"] {
                let bind = Put::Bind { source: path.to_owned(), recursive: true };
                entries.push(Entry { missing_ok: true, ..Entry::new(path, bind) });
            }
            entries.push(Entry { missing_ok: true, ..Entry::new("/run", Put::Empty("mode=0755".into())) });
        }
        _ => {}
    }
}

fn bind(bind: &BindMount) -> Entry {
    let put = Put::Bind { source: bind.source.clone(), recursive: bind.recursive };
    Entry { read_only: Some(bind.read_only), missing_ok: bind.missing_ok, ..Entry::new(&bind.destination, put) }
}

/// One entry a path, parents before children, nothing below a closed path.
pub(super) fn settle(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.put.cmp(&b.put)));
    let mut settled: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        if settled
            .iter()
            .any(|above| above.put == Put::Closed && entry.path.starts_with(&above.path) && entry.path != above.path)
        {
            continue;
        }
        match settled.last_mut().filter(|last| last.path == entry.path) {
            None => settled.push(entry),
            Some(last) => {
                let stricter = |one: Option<bool>, other: Option<bool>| match (one, other) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (None, None) => None,
                };
                last.read_only = stricter(last.read_only, entry.read_only);
                last.no_exec = stricter(last.no_exec, entry.no_exec);
                last.missing_ok &= entry.missing_ok;
            }
        }
    }
    drop_needless(settled)
}

/// Takes out entries that change nothing: what is there already, with the attributes that the entries above give it.
fn drop_needless(settled: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(settled.len());
    for entry in settled {
        let above = |says: fn(&Entry) -> Option<bool>| {
            let mut above = kept.iter().filter(|above| entry.path.starts_with(&above.path) && !above.shallow);
            above.rfind(|above| says(above).is_some()).and_then(says).unwrap_or(false)
        };
        let same = |asked: Option<bool>, given: bool| asked.is_none_or(|asked| asked == given);
        let needless = entry.put == Put::Same
            && same(entry.read_only, above(|e| e.read_only))
            && same(entry.no_exec, above(|e| e.no_exec));
        if !needless {
            kept.push(entry);
        }
    }
    kept
}

/// Which of the namespace's mounts become read-only and not executable. `mounts` are the paths of all mounts.
pub(super) fn attributes<'m>(entries: &[Entry], mounts: &'m [PathBuf]) -> Vec<(&'m Path, bool, bool)> {
    let nearest = |mount: &Path, says: fn(&Entry) -> Option<bool>| {
        entries
            .iter()
            .filter(|entry| mount.starts_with(&entry.path) && (!entry.shallow || entry.path == mount))
            .filter_map(|entry| Some((entry.path.as_os_str().len(), says(entry)?)))
            .max_by_key(|(length, _)| *length)
            .is_some_and(|(_, value)| value)
    };
    mounts
        .iter()
        .map(|mount| (mount.as_path(), nearest(mount, |e| e.read_only), nearest(mount, |e| e.no_exec)))
        .filter(|(_, read_only, no_exec)| *read_only || *no_exec)
        .collect()
}

/// The mount points in the text of /proc/self/mountinfo. proc(5).
pub(super) fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> =
        mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| unescape(field).into()).collect();
    points.sort();
    points.dedup();
    points
}

/// Space, tab, newline and backslash stand there in octal.
fn unescape(field: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.first_chunk::<3>()).flatten();
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Command, DirectoryKind, DirectorySet, DynamicUser, ManagedDirectory};

    fn plan(protections: Vec<Protection>) -> ExecPlan {
        let mut plan = ExecPlan::new("a.service", Command::default());
        plan.protections = protections;
        plan
    }

    fn rules(paths: &[&str]) -> Vec<PathRule> {
        paths.iter().map(|p| PathRule { path: p.to_string(), missing_ok: false, in_root: false }).collect()
    }

    fn told(plan: &ExecPlan, mounts: &[&str]) -> Vec<(String, bool, bool)> {
        let entries = settle(entries(plan, None));
        let mounts: Vec<PathBuf> = mounts.iter().map(PathBuf::from).collect();
        attributes(&entries, &mounts).into_iter().map(|(p, ro, ne)| (p.display().to_string(), ro, ne)).collect()
    }

    #[test]
    fn strict_leaves_the_kernels_own_and_what_is_told() {
        let plan = plan(vec![
            Protection::ProtectSystem(ProtectSystem::Strict),
            Protection::ReadWritePaths(rules(&["/var/lib/x"])),
        ]);
        let mounts = ["/", "/dev", "/dev/shm", "/proc", "/var", "/var/lib/x", "/var/lib/x/y", "/srv"];
        let names: Vec<String> = told(&plan, &mounts).into_iter().map(|(path, ..)| path).collect();
        assert_eq!(names, ["/", "/var", "/srv"]);
    }

    #[test]
    fn the_nearest_entry_decides_each_attribute_by_itself() {
        let plan = plan(vec![
            Protection::NoExecPaths(rules(&["/"])),
            Protection::ExecPaths(rules(&["/usr"])),
            Protection::ReadOnlyPaths(rules(&["/usr"])),
        ]);
        assert_eq!(
            told(&plan, &["/", "/usr", "/home"]),
            [("/".into(), false, true), ("/usr".into(), true, false), ("/home".into(), false, true)]
        );
    }

    #[test]
    fn the_stricter_of_two_wins_and_nothing_lies_below_a_closed_door() {
        let plan = plan(vec![
            Protection::ProtectHome(ProtectHome::Yes),
            Protection::ReadWritePaths(rules(&["/home/alice", "/homes"])),
            Protection::ReadOnlyPaths(rules(&["/homes"])),
        ]);
        let settled = settle(entries(&plan, None));
        assert!(settled.iter().all(|entry| entry.path != Path::new("/home/alice")));
        let homes = settled.iter().find(|entry| entry.path == Path::new("/homes")).unwrap();
        assert_eq!(homes.read_only, Some(true));
    }

    #[test]
    fn what_changes_nothing_is_no_mount() {
        let plan = plan(vec![
            Protection::ReadWritePaths(rules(&["/srv"])),
            Protection::ReadOnlyPaths(rules(&["/etc", "/etc/ssl"])),
            Protection::ReadWritePaths(rules(&["/etc/run"])),
        ]);
        let kept: Vec<PathBuf> = settle(entries(&plan, None)).into_iter().map(|entry| entry.path).collect();
        assert_eq!(kept, ["/etc", "/etc/run", "/run/credentials"].map(PathBuf::from));
    }

    #[test]
    fn a_private_dev_keeps_its_terminals_writable() {
        let plan = plan(vec![Protection::PrivateDevices]);
        assert_eq!(told(&plan, &["/dev", "/dev/pts", "/dev/shm"]), [("/dev".into(), true, true)]);
    }

    #[test]
    fn a_dynamic_users_directories_are_reached_through_the_guarded_one() {
        for kind in [DirectoryKind::State, DirectoryKind::Cache, DirectoryKind::Logs] {
            let mut plan = plan(vec![]);
            plan.identity.dynamic = Some(DynamicUser { name: "a".into(), id: 61_184 });
            plan.directories.sets.push(DirectorySet {
                kind,
                mode: 0o755,
                entries: vec![ManagedDirectory { path: "a".into(), symlinks: vec![] }],
                preserve: false,
            });
            assert!(needed(&plan));
            let private = Path::new(kind.place()).join("private");
            let settled = settle(entries(&plan, None));
            assert!(settled.iter().any(|e| e.path == private && matches!(e.put, Put::Empty(_))));
            assert!(settled.iter().any(|e| e.path == private.join("a") && matches!(e.put, Put::Bind { .. })));
        }
    }

    #[test]
    fn mount_points_are_unescaped() {
        let text = "1 2 0:1 / / rw - ext4 x rw\n3 1 0:2 / /a\\040b\\134 rw - tmpfs t rw\n4 1 0:2 / /x\\ rw - t t rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/"), PathBuf::from("/a b\\"), PathBuf::from("/x\\")]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,100}", field in "[\\\\0-9ü]{0,12}") {
            let _ = mount_points(&text);
            let _ = unescape(&field);
        }
    }
}

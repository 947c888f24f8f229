// SPDX-License-Identifier: GPL-2.0-or-later
//! Directories that are made for a unit, its credentials, and what its namespaces hide.

mod scene;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use scene::{Extra, Told, is_root, run, run_with, script, with_own_run};
use ssi_exec::plan::*;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ssi-exec-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Others must be able to pass, whatever the tester's umask.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn with_directory(prefix: &Path, kind: DirectoryKind, mode: u32) -> ExecPlan {
    let mut plan = script("env | grep DIRECTORY");
    plan.directories.prefix = Some(prefix.display().to_string());
    let entries = vec![
        ManagedDirectory { path: "app".into(), symlinks: vec!["alias".into(), "deep/alias".into()] },
        ManagedDirectory { path: "app/sub/dir".into(), symlinks: vec![] },
    ];
    plan.directories.sets = vec![DirectorySet { kind, mode, entries, preserve: false }];
    plan
}

#[test]
fn directories_belong_to_the_user_with_their_mode() {
    if !is_root("directories_belong_to_the_user_with_their_mode") {
        return;
    }
    let scratch = Scratch::new("directories");
    let root = &scratch.0;
    // Left by a version that ran as root: the owner of the top tells that all of it has to change.
    std::fs::create_dir_all(root.join("var/lib/app/old")).unwrap();
    std::fs::write(root.join("var/lib/app/old/file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("var/lib/app/old/link")).unwrap();
    let passwd = std::fs::metadata("/etc/passwd").unwrap().uid();
    let mut plan = with_directory(root, DirectoryKind::State, 0o750);
    plan.identity.user = Some("daemon".into());
    let told = run(plan.clone());
    let base = root.join("var/lib");
    assert_eq!(told.line("STATE_DIRECTORY="), format!("{0}/app:{0}/app/sub/dir", base.display()), "{told:?}");
    for path in ["app", "app/sub/dir"] {
        let meta = std::fs::metadata(base.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1, 1, 0o750), "{path}");
    }
    for path in ["app/old", "app/old/file", "app/old/link"] {
        assert_eq!(std::fs::symlink_metadata(base.join(path)).unwrap().uid(), 1, "{path}");
    }
    assert_eq!(std::fs::metadata("/etc/passwd").unwrap().uid(), passwd, "no link was followed");
    assert_eq!(std::fs::read_link(base.join("alias")).unwrap(), Path::new("app"));
    assert_eq!(std::fs::read_link(base.join("deep/alias")).unwrap(), Path::new("../app"));
    assert_eq!(run(plan).status, 0, "a second start finds it done");

    // Configuration keeps its owner, and a mode of its own is told.
    let mut plan = with_directory(root, DirectoryKind::Configuration, 0o700);
    plan.identity.user = Some("daemon".into());
    std::fs::create_dir_all(root.join("etc/app")).unwrap();
    let told = run(plan);
    assert_eq!(told.status, 0);
    assert_eq!(std::fs::metadata(root.join("etc/app")).unwrap().uid(), 0);
    assert!(format!("{:?}", told.reports).contains("etc/app has mode"), "{told:?}");
}

#[test]
fn a_dynamic_user_moves_the_directory_below_private_and_back() {
    if !is_root("a_dynamic_user_moves_the_directory_below_private_and_back") {
        return;
    }
    let scratch = Scratch::new("dynamic");
    let root = &scratch.0;
    let base = root.join("var/lib");
    let mut plan = with_directory(root, DirectoryKind::State, 0o755);
    plan.directories.sets[0].entries.truncate(1);
    plan.command.arguments[2] =
        "id -u; cat $STATE_DIRECTORY/kept; echo more >> $STATE_DIRECTORY/kept; ls -d $ALIAS/kept".into();
    plan.environment.unit.push(("ALIAS".into(), base.join("alias").display().to_string()));
    std::fs::create_dir_all(base.join("app")).unwrap();
    std::fs::write(base.join("app/kept"), "kept\n").unwrap();
    let plain = plan.clone();
    plan.identity.dynamic = Some(DynamicUser { name: "dyn".into(), id: 61_333 });
    let told = run(plan);
    assert_eq!(
        (told.status, &*told.output),
        (0, &*format!("61333\nkept\n{}/alias/kept\n", base.display())),
        "{told:?}"
    );
    assert_eq!(std::fs::read_link(base.join("app")).unwrap(), Path::new("private/app"));
    let private = std::fs::metadata(base.join("private")).unwrap();
    assert_eq!((private.uid(), private.mode() & 0o7777), (0, 0o700));

    let told = run(plain);
    assert_eq!(told.output.lines().nth(2), Some("more"), "{told:?}");
    assert!(std::fs::symlink_metadata(base.join("app")).unwrap().is_dir(), "back in its place");
    assert_eq!(std::fs::metadata(base.join("app/kept")).unwrap().uid(), 0);
}

#[test]
fn credentials_are_the_users_alone_and_read_only() {
    if !is_root("credentials_are_the_users_alone_and_read_only") {
        return;
    }
    with_own_run(|| {
        std::fs::create_dir_all("/run/stuff").unwrap();
        std::fs::write("/run/stuff/secret", "s3cret").unwrap();
        let mut plan = script(
            "cd $CREDENTIALS_DIRECTORY; pwd; for f in *; do echo $f=$(cat $f),$(stat -c %U:%a $f); done; stat -c %U:%a .; touch x; echo $?; findmnt -no FSTYPE,OPTIONS -T .",
        );
        plan.identity.user = Some("daemon".into());
        plan.credentials.stores = vec!["/run/nowhere".into(), "/run/stuff".into()];
        plan.credentials.entries = vec![
            ("file".into(), CredentialSource::Path("/run/stuff/secret".into())),
            ("dir".into(), CredentialSource::Path("/run/stuff".into())),
            ("store".into(), CredentialSource::Store("secret".into())),
            ("absent".into(), CredentialSource::Store("absent".into())),
            ("set".into(), CredentialSource::Bytes(b"inline".to_vec())),
            ("file".into(), CredentialSource::Bytes(b"second choice".to_vec())),
        ];
        plan.streams.error = Output::Null;
        let mut again = plan.clone();
        again.command.arguments[2] = "cat $CREDENTIALS_DIRECTORY/file".into();
        let told = run(plan);
        let seen: Vec<&str> = told.output.lines().collect();
        assert_eq!(told.status, 0, "{told:?}");
        assert_eq!(
            seen[..7],
            [
                "/run/credentials/scene.service",
                "dir_secret=s3cret,daemon:400",
                "file=s3cret,daemon:400",
                "set=inline,daemon:400",
                "store=s3cret,daemon:400",
                "daemon:500",
                "1"
            ],
            "{told:?}"
        );
        // A second process of the unit finds what the first one left, whatever became of the sources.
        std::fs::remove_dir_all("/run/stuff").unwrap();
        assert_eq!(run(again).output, "s3cret");
        assert!(seen[7].starts_with("ramfs") && seen[7].contains("ro,nosuid,nodev,noexec"), "{told:?}");
    });
}

fn confined(script_text: &str, protections: Vec<Protection>) -> Told {
    let mut plan = script(script_text);
    plan.protections = protections;
    // In a /run of its own: nodes that closed paths are made of stay there.
    let told = with_own_run(|| run(plan));
    assert!(!matches!(told.outcome, ssi_exec::report::Outcome::Failed(_)), "{told:?}");
    told
}

fn rules(paths: &[&str]) -> Vec<PathRule> {
    paths.iter().map(|path| PathRule { path: path.to_string(), missing_ok: false, in_root: false }).collect()
}

#[test]
fn what_is_protected_cannot_be_written() {
    if !is_root("what_is_protected_cannot_be_written") {
        return;
    }
    let scratch = Scratch::new("protect");
    let own = scratch.0.display().to_string();
    let attempts = format!(
        "for d in /usr /etc /var/lib {own}; do touch $d/.ssi-probe 2>/dev/null && echo $d && rm $d/.ssi-probe; done; :"
    );
    let expect = |how: Option<ProtectSystem>| {
        let mut protections = vec![Protection::ReadWritePaths(rules(&[&own]))];
        protections.extend(how.map(Protection::ProtectSystem));
        confined(&attempts, protections).output
    };
    assert_eq!(expect(None), format!("/usr\n/etc\n/var/lib\n{own}\n"));
    assert_eq!(expect(Some(ProtectSystem::Yes)), format!("/etc\n/var/lib\n{own}\n"));
    assert_eq!(expect(Some(ProtectSystem::Full)), format!("/var/lib\n{own}\n"));
    assert_eq!(expect(Some(ProtectSystem::Strict)), format!("{own}\n"));
    let dev = confined(
        "echo x > /dev/null && echo fine; touch /dev/.x 2>/dev/null || echo closed",
        vec![Protection::ProtectSystem(ProtectSystem::Strict), Protection::PrivateDevices],
    );
    assert_eq!(dev.output, "fine\nclosed\n");
}

#[test]
fn homes_temporary_files_and_devices_are_its_own() {
    if !is_root("homes_temporary_files_and_devices_are_its_own") {
        return;
    }
    let home = "ls -A /root 2>/dev/null | wc -l; stat -c %a /root; touch /root/.ssi-probe 2>/dev/null || echo no";
    assert_eq!(confined(home, vec![Protection::ProtectHome(ProtectHome::Yes)]).output, "0\n0\nno\n");
    assert_eq!(confined(home, vec![Protection::ProtectHome(ProtectHome::Tmpfs)]).output, "0\n700\nno\n");
    let read_only = confined(home, vec![Protection::ProtectHome(ProtectHome::ReadOnly)]);
    assert!(read_only.output.ends_with("no\n") && !read_only.output.starts_with("0\n"), "{read_only:?}");

    let private = ssi_exec::private_tmp::PrivateTmp::make(Path::new("/"), "0123", "scene.service").unwrap();
    let (tmp, _) = private.paths();
    let told = confined("ls -A /tmp /var/tmp; stat -c %a /tmp; echo hidden > /tmp/file", vec![private.protection()]);
    assert_eq!(told.output, "/tmp:\n\n/var/tmp:\n1777\n");
    assert_eq!(std::fs::read_to_string(tmp.join("tmp/file")).unwrap(), "hidden\n");
    assert_eq!(std::fs::metadata(tmp).unwrap().mode() & 0o7777, 0o700);
    private.remove().unwrap();
    assert!(!tmp.exists());

    let dev = confined(
        "ls /dev | tr '\\n' ' '; echo; echo x > /dev/null; head -c2 /dev/zero | od -An -tx1; grep CapBnd /proc/self/status; [ -c /dev/pts/ptmx ] && echo terminals",
        vec![Protection::PrivateDevices],
    );
    assert!(dev.output.contains("fd full "), "{dev:?}");
    assert!(
        !dev.output.contains("vda") && dev.output.contains(" 00 00\n") && dev.output.contains("terminals"),
        "{dev:?}"
    );
    let bounding = u64::from_str_radix(dev.line("CapBnd:"), 16).unwrap();
    assert_eq!(bounding & (1 << 27 | 1 << 17), 0, "neither mknod nor raw I/O");
}

#[test]
fn paths_are_closed_bound_and_empty() {
    if !is_root("paths_are_closed_bound_and_empty") {
        return;
    }
    let scratch = Scratch::new("paths");
    let own = |name: &str| scratch.0.join(name).display().to_string();
    for name in ["a", "b"] {
        std::fs::create_dir(own(name)).unwrap();
        std::fs::write(format!("{}/file", own(name)), format!("{name}\n")).unwrap();
    }
    let bind = |source: String, destination: String, read_only| BindMount {
        source,
        destination,
        read_only,
        recursive: true,
        missing_ok: false,
    };
    let text = format!(
        "cd {}; cat b/file; cat new/dir/file; touch b/x 2>/dev/null || echo ro; touch new/dir/x && echo rw; rm new/dir/x; cat closed 2>/dev/null || echo gone; ls empty | wc -l",
        scratch.0.display()
    );
    std::fs::write(own("closed"), "x").unwrap();
    std::fs::create_dir(own("empty")).unwrap();
    std::fs::write(own("empty/one"), "x").unwrap();
    let told = confined(
        &text,
        vec![
            Protection::BindPaths(vec![bind(own("a"), own("b"), true), bind(own("b"), own("new/dir"), false)]),
            Protection::InaccessiblePaths(rules(&[&own("closed")])),
            Protection::TemporaryFileSystem(vec![(own("empty"), "ro,size=1m".into())]),
        ],
    );
    // Root may read a file without rights; that it is another, empty one shows.
    assert!(told.output.starts_with("a\nb\nro\nrw\n"), "{told:?}");
    assert!(told.output.ends_with("\n0\n") || told.output.ends_with("gone\n0\n"), "{told:?}");
    assert!(!told.output.contains('x'), "{told:?}");

    let no_exec = confined(
        "cp /bin/true $D/true; $D/true 2>/dev/null || echo refused; /bin/true && echo runs"
            .replace("$D", &own("a"))
            .as_str(),
        vec![Protection::NoExecPaths(rules(&["/"])), Protection::ExecPaths(rules(&["/usr", "/bin", "/lib", "/lib64"]))],
    );
    assert_eq!(no_exec.output, "refused\nruns\n");
}

#[test]
fn networks_are_its_own_and_shared_when_told() {
    if !is_root("networks_are_its_own_and_shared_when_told") {
        return;
    }
    let show = "readlink /proc/self/ns/net; cat /sys/class/net/lo/flags; grep -c : /proc/net/dev";
    let alone = confined(show, vec![Protection::PrivateNetwork(None)]);
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_ne!(alone.output.lines().next(), Some(&*host));
    assert_eq!(alone.output.lines().nth(2), Some("1"), "loopback alone: {alone:?}");
    let up =
        confined("ip -o link show lo 2>/dev/null || cat /proc/net/if_inet6", vec![Protection::PrivateNetwork(None)]);
    assert!(up.output.contains("UP") || up.output.contains("lo"), "{up:?}");

    let (put, take) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let shared = || {
        let extra = Extra { fds: vec![take.as_fd(), put.as_fd()], ..Extra::default() };
        run_with(script("readlink /proc/self/ns/net"), extra, |plan, slots| {
            let share = NamespaceShare { take: slots[0], put: slots[1] };
            plan.protections = vec![Protection::PrivateNetwork(Some(share))];
        })
        .output
    };
    let first = shared();
    assert_ne!(first.trim(), host);
    assert_eq!(shared(), first);
    assert_eq!(shared(), first);
}

#[test]
fn users_names_and_queues_are_its_own() {
    if !is_root("users_names_and_queues_are_its_own") {
        return;
    }
    let mut plan = script(
        "cat /proc/self/uid_map | tr -s ' '; id -u; hostname inside; hostname; readlink /proc/self/ns/ipc; grep mqueue /proc/self/mountinfo | wc -l",
    );
    plan.command.privileges = Privileges::Unit;
    plan.protections = vec![Protection::PrivateUsers, Protection::ProtectHostname, Protection::PrivateIpc(None)];
    let before = rustix::system::uname().nodename().to_owned();
    let told = run(plan.clone());
    let lines: Vec<&str> = told.output.lines().collect();
    assert_eq!(lines[..2], [" 0 0 1", "0"], "{told:?}");
    assert_eq!(rustix::system::uname().nodename(), &*before, "the machine's name is what it was");
    assert!(!told.output.contains(&std::fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string()));

    plan.identity.user = Some("daemon".into());
    let told = run(plan);
    let lines: Vec<&str> = told.output.lines().collect();
    assert_eq!(lines[..3], [" 0 0 1", " 1 1 1", "1"], "{told:?}");
}

#[test]
fn another_root_with_and_without_mounts() {
    if !is_root("another_root_with_and_without_mounts") {
        return;
    }
    let scratch = Scratch::new("root");
    for directory in ["bin", "proc", "dev", "sys", "run", "data"] {
        std::fs::create_dir(scratch.0.join(directory)).unwrap();
    }
    let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists()) else {
        eprintln!("another_root_with_and_without_mounts: skipped, busybox is not on this machine");
        return;
    };
    std::fs::copy(busybox, scratch.0.join("bin/busybox")).unwrap();
    let mut plan = script("");
    plan.command = Command::new("busybox", &["ls", "/"]);
    plan.root_directory = Some(scratch.0.display().to_string());
    let told = run(plan.clone());
    assert_eq!(told.output, "bin\ndata\ndev\nproc\nrun\nsys\n", "{told:?}");

    plan.command = Command::new("/bin/busybox", &["ls", "/data", "/proc/self/exe", "/dev/null"]);
    let bind = BindMount {
        source: "/etc/alternatives".into(),
        destination: "/data".into(),
        read_only: true,
        recursive: true,
        missing_ok: false,
    };
    plan.protections = vec![Protection::MountApiVfs, Protection::BindPaths(vec![bind])];
    let told = run(plan);
    assert!(told.output.contains("/proc/self/exe\n") && told.output.contains("/dev/null\n"), "{told:?}");
    assert!(told.output.contains("awk\n"), "what was bound is seen: {told:?}");
}

#[test]
fn kernels_files_are_closed() {
    if !is_root("kernels_files_are_closed") {
        return;
    }
    let told = confined(
        "( echo 1 > /proc/sys/kernel/printk ) 2>/dev/null || echo ro; [ -w /sys/kernel ] || echo sysro; head -c1 /proc/kcore 2>/dev/null | wc -c; ls /lib/modules 2>/dev/null | wc -l; grep CapBnd /proc/self/status",
        vec![
            Protection::ProtectKernelTunables,
            Protection::ProtectKernelModules,
            Protection::ProtectKernelLogs,
            Protection::ProtectClock,
            Protection::ProtectControlGroups,
        ],
    );
    let lines: Vec<&str> = told.output.lines().collect();
    assert_eq!(lines[..4], ["ro", "sysro", "0", "0"], "{told:?}");
    let bounding = u64::from_str_radix(told.line("CapBnd:"), 16).unwrap();
    let proc = vec![Protection::ProcSubsetPid, Protection::ProtectProc(ProtectProc::Invisible)];
    let told = confined("ls -d /proc/sys 2>/dev/null || echo no sys; findmnt -no OPTIONS /proc", proc);
    assert!(told.output.starts_with("no sys\n"), "{told:?}");
    assert!(told.output.contains("hidepid=invisible") && told.output.contains("subset=pid"), "{told:?}");
    assert_eq!(bounding & (1 << 16 | 1 << 34 | 1 << 25 | 1 << 35), 0, "modules, syslog, time, wake-up");
}

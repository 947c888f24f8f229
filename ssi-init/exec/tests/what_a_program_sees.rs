// SPDX-License-Identifier: GPL-2.0-or-later
//! Each setting shown by a program that prints what it sees. systemd.exec(5) says what it should be;
//! `beside_systemd.rs` asks systemd itself.

mod scene;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use scene::{Extra, is_root, run, run_with, script};
use ssi_exec::plan::*;
use std::os::fd::AsFd;

#[test]
fn exit_status_and_arguments_come_through() {
    let told = run(script("exit 42"));
    assert_eq!(told.status, 42);
    assert_eq!(told.outcome, ssi_exec::report::Outcome::Running);

    let mut plan = script("");
    plan.command = Command::new("/usr/bin/printf", &["[%s]", "$WORDS", "${WORDS}", "$$HOME", "$UNSET"]);
    plan.environment.unit.push(("WORDS".into(), "a 'b c'".into()));
    assert_eq!(run(plan).output, "[a][b c][a 'b c'][$HOME]");
}

#[test]
fn the_environment_is_the_plans_and_nothing_else() {
    let mut plan = script("env | sort; echo pid $$");
    plan.environment.manager = vec![("PATH".into(), "/bin:/usr/bin".into()), ("A".into(), "manager".into())];
    plan.environment.unit = vec![("A".into(), "unit".into()), ("B".into(), "x=y z".into()), ("C".into(), "c".into())];
    plan.environment.unset = vec!["C".into()];
    plan.environment.watchdog_usec = Some(30_000_000);
    let told = run(plan);
    let pid = told.line("pid ");
    let shown: Vec<&str> = told.output.lines().filter(|line| !line.starts_with("pid ")).collect();
    let (exec, watchdog) = (format!("SYSTEMD_EXEC_PID={pid}"), format!("WATCHDOG_PID={pid}"));
    assert_eq!(shown, ["A=unit", "B=x=y z", "PATH=/bin:/usr/bin", "PWD=/", &exec, &watchdog, "WATCHDOG_USEC=30000000"]);
}

#[test]
fn sockets_come_at_three_and_nothing_else_is_open() {
    let pair = || socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let ((a, _a), (b, _b), (c, _c)) = (pair(), pair(), pair());
    rustix::io::ioctl_fionbio(&c, true).unwrap();
    let inode = |fd: &std::os::fd::OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    let wanted = [inode(&a), inode(&b), inode(&c)];
    for by_clone2 in [false, true] {
        let plan = script(
            "echo self $$; echo listen $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES; for f in 3 4 5; do echo fd$f $(readlink /proc/$$/fd/$f); done; grep -h flags /proc/$$/fdinfo/[345]",
        );
        let extra = Extra { fds: vec![c.as_fd(), b.as_fd(), a.as_fd()], by_clone2, ..Extra::default() };
        let told = run_with(plan, extra, |plan, slots| {
            plan.passed.sockets = vec![
                NamedFd { slot: slots[2], name: "web".into() },
                NamedFd { slot: slots[1], name: "web-tls".into() },
            ];
            plan.passed.stored = vec![NamedFd { slot: slots[0], name: "stored".into() }];
            plan.passed.nonblocking = true;
        });
        for (number, inode) in wanted.iter().enumerate() {
            assert_eq!(told.line(&format!("fd{} ", number + 3)), format!("socket:[{inode}]"));
        }
        assert_eq!(told.line("listen "), format!("{} 3 web:web-tls:stored", told.line("self ")));
        let nonblocking =
            told.output.lines().filter(|line| line.starts_with("flags:") && line.contains("4002")).count();
        assert_eq!(nonblocking, 3, "{}", told.output);
    }
}

#[test]
fn nothing_else_is_open() {
    // One that was opened without close-on-exec, as by a careless library.
    let leaked = rustix::fs::open("/etc/passwd", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let mut plan = script("");
    plan.command = Command::new("/bin/ls", &["-l", "/proc/self/fd"]);
    let told = run(plan);
    assert!(told.output.contains("3 -> /proc/") && !told.output.contains("4 -> "), "ls has its own 3: {told:?}");
    drop(leaked);
}

#[test]
fn many_descriptors_find_their_numbers() {
    let files: Vec<_> = (0..200)
        .map(|number| {
            let fd = rustix::fs::memfd_create(format!("n{number}"), rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&fd, format!("{number}\n").as_bytes()).unwrap();
            rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).unwrap();
            fd
        })
        .collect();
    let plan = script("for n in $(seq 3 202); do cat /proc/self/fd/$n; done");
    let extra = Extra { fds: files.iter().rev().map(AsFd::as_fd).collect(), ..Extra::default() };
    let told = run_with(plan, extra, |plan, slots| {
        let named = slots.iter().rev().map(|slot| NamedFd { slot: *slot, name: "n".into() });
        plan.passed.sockets = named.collect();
    });
    let expected: String = (0..200).map(|number| format!("{number}\n")).collect();
    assert_eq!(told.output, expected);
}

#[test]
fn user_group_and_supplementary_groups() {
    if !is_root("user_group_and_supplementary_groups") {
        return;
    }
    let who =
        "echo uid $(id -u) $(id -ru); echo gid $(id -g); echo groups $(id -G); echo env $HOME $USER $LOGNAME $SHELL";
    let mut plan = script(who);
    plan.identity.user = Some("daemon".into());
    plan.identity.supplementary = vec!["adm".into(), "24".into()];
    let told = run(plan.clone());
    assert_eq!((told.line("uid "), told.line("gid "), told.line("groups ")), ("1 1", "1", "1 4 24"));
    assert_eq!(told.line("env "), "/usr/sbin daemon daemon");

    plan.command.privileges = Privileges::KeepIdentity;
    let told = run(plan.clone());
    assert_eq!((told.line("uid "), told.line("env ")), ("0 0", "/usr/sbin daemon daemon"));

    plan.command.privileges = Privileges::Unit;
    plan.identity.user = None;
    plan.identity.group = Some("sys".into());
    let told = run(plan);
    assert_eq!((told.line("uid "), told.line("gid ")), ("0 0", "3"));
}

#[test]
fn home_and_working_directories() {
    if !is_root("home_and_working_directories") {
        return;
    }
    let go = |place: WorkingPlace, missing_ok, user: &str| {
        let mut plan = script("pwd");
        plan.working_directory = WorkingDirectory { place, missing_ok };
        plan.identity.user = Some(user.into());
        run(plan)
    };
    assert_eq!(go(WorkingPlace::Root, false, "root").output, "/\n");
    assert_eq!(go(WorkingPlace::Home, false, "root").output, "/root\n");
    assert_eq!(go(WorkingPlace::Path("/usr/bin".into()), false, "root").output, "/usr/bin\n");
    assert_eq!(go(WorkingPlace::Path("/nowhere".into()), true, "root").output, "/\n");
    assert_eq!(go(WorkingPlace::Path("/nowhere".into()), false, "root").status, 200);
    // Only the user's own rights count: /root is closed to daemon.
    assert_eq!(go(WorkingPlace::Path("/root".into()), false, "daemon").status, 200);
}

#[test]
fn priorities_and_limits() {
    if !is_root("priorities_and_limits") {
        return;
    }
    let mut plan = script(
        "echo nice $(nice); echo oom $(cat /proc/self/oom_score_adj); echo io $(ionice); echo umask $(umask); \
         echo slack $(cat /proc/$$/timerslack_ns); echo filter $(cat /proc/self/coredump_filter); \
         echo cpus $(grep Cpus_allowed_list /proc/self/status); echo arch $(uname -m); ulimit -n; \
         grep 'open files' /proc/self/limits; grep 'core file' /proc/self/limits; grep 'realtime timeout' /proc/self/limits",
    );
    plan.umask = 0o027;
    plan.coredump_filter = Some(0x21);
    plan.personality = Some(Personality::Linux32);
    plan.scheduling = Scheduling {
        nice: Some(7),
        io: Some(IoPriority { class: IoClass::BestEffort, level: 6 }),
        oom_score_adjust: Some(321),
        affinity: Some(vec![0]),
        timer_slack_nsec: Some(123_456),
        ..Scheduling::default()
    };
    plan.limits = vec![
        Limit { resource: Resource::Nofile, soft: Some(1234), hard: Some(2345) },
        Limit { resource: Resource::Core, soft: Some(0), hard: None },
        Limit { resource: Resource::Rttime, soft: Some(500_000), hard: Some(600_000) },
    ];
    let told = run(plan.clone());
    let lines =
        [("nice ", "7"), ("oom ", "321"), ("io ", "best-effort: prio 6"), ("umask ", "0027"), ("slack ", "123456")];
    for (name, value) in lines.into_iter().chain([
        ("filter ", "00000021"),
        ("cpus ", "Cpus_allowed_list: 0"),
        ("Max open files ", "1234                 2345                 files"),
        ("Max core file size ", "0                    unlimited            bytes"),
        ("Max realtime timeout ", "500000               600000               us"),
    ]) {
        assert_eq!(told.line(name), value, "{name}: {}", told.output);
    }
    if cfg!(target_arch = "x86_64") {
        assert_eq!(told.line("arch "), "i686");
    }

    let mut plan = script("chrt -p $$");
    plan.scheduling.cpu = Some(Scheduler { policy: 3, priority: 0, reset_on_fork: true });
    let told = run(plan);
    assert!(told.output.contains("SCHED_BATCH|SCHED_RESET_ON_FORK"), "{}", told.output);
}

#[test]
fn signals_are_as_new() {
    // The test blocks and ignores some, which must not reach the program.
    use nix::sys::signal::{SigSet, Signal};
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let mut plan = script("");
    plan.command = Command::new("/bin/cat", &["/proc/self/status"]);
    let told = run(plan.clone());
    for (name, value) in
        [("SigBlk:", "0000000000000000"), ("SigIgn:", "0000000000001000"), ("SigCgt:", "0000000000000000")]
    {
        assert_eq!(told.line(name), value, "{name}");
    }
    plan.ignore_sigpipe = false;
    assert_eq!(run(plan).line("SigIgn:"), "0000000000000000");
    assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1), "the spawner's own mask is put back");
}

#[test]
fn a_session_of_its_own_or_the_parents() {
    let told = run(script("cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$"));
    let lines: Vec<&str> = told.output.lines().collect();
    assert_eq!(lines[0], lines[1], "process group and session are the process itself");
    let mut plan = script("cut -d' ' -f6 /proc/$$/stat");
    plan.same_process_group = true;
    // Not getsid(): it is 0, which rustix does not take, when the session began outside our process namespace.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(3)).unwrap();
    assert_eq!(run(plan).output.trim(), own);
}

#[test]
fn an_idle_start_waits_for_the_managers_word() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let start = std::time::Instant::now();
    let manager = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(400));
        drop(writer);
    });
    let extra = Extra { fds: vec![reader.as_fd()], ..Extra::default() };
    let told = run_with(script("echo ran"), extra, |plan, slots| plan.idle = Some(slots[0]));
    assert_eq!(told.output, "ran\n");
    let waited = start.elapsed().as_millis();
    assert!((350..4000).contains(&waited), "{waited} ms");
    manager.join().unwrap();
}

#[test]
fn capabilities_bounding_ambient_and_secure_bits() {
    if !is_root("capabilities_bounding_ambient_and_secure_bits") {
        return;
    }
    const NET_BIND: u64 = 1 << 10;
    const KILL: u64 = 1 << 5;
    let show = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let mut plan = script(show);
    plan.capabilities.bounding = Some(NET_BIND | KILL);
    let told = run(plan.clone());
    assert_eq!((told.line("CapBnd:"), told.line("CapEff:")), ("0000000000000420", "0000000000000420"));

    plan.identity.user = Some("daemon".into());
    let told = run(plan.clone());
    assert_eq!((told.line("CapBnd:"), told.line("CapEff:")), ("0000000000000420", "0000000000000000"));

    plan.capabilities.ambient = NET_BIND;
    plan.capabilities.no_new_privileges = true;
    let told = run(plan.clone());
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(told.line(name), "0000000000000400", "{name}");
    }
    assert_eq!(told.line("NoNewPrivs:"), "1");

    let mut plan = script("capsh --print | grep -i securebits");
    plan.capabilities.secure_bits = 0b11; // noroot, noroot-locked
    let told = run(plan.clone());
    assert!(told.output.contains("00000003") || told.output.contains("0x3"), "{}", told.output);
    plan.identity.user = Some("daemon".into());
    assert!(run(plan).output.contains("0x3"));

    let mut plan = script(show);
    plan.capabilities.bounding = Some(0);
    plan.command.privileges = Privileges::Full;
    assert_ne!(run(plan).line("CapBnd:"), "0000000000000000");
}

#[test]
fn a_control_group_from_birth() {
    if !is_root("a_control_group_from_birth") {
        return;
    }
    let Some(mount) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|path| std::path::Path::new(path).join("cgroup.procs").exists())
    else {
        eprintln!("a_control_group_from_birth: skipped, no cgroup v2 is mounted");
        return;
    };
    let path = format!("{mount}/ssi-exec-test-{}", std::process::id());
    std::fs::create_dir(&path).unwrap();
    let group = std::fs::File::open(&path).unwrap();
    for by_clone2 in [false, true] {
        let mut plan = script("echo in $(grep ^0:: /proc/self/cgroup); stat -c 'own %U' $GROUP $GROUP/cgroup.procs");
        plan.environment.unit.push(("GROUP".into(), path.clone()));
        plan.identity.user = Some("daemon".into());
        plan.cgroup = Some(CgroupPlace { path: path.clone(), delegate: true });
        let told = run_with(plan, Extra { cgroup: Some(group.as_fd()), by_clone2, ..Extra::default() }, |_, _| {});
        assert!(told.line("in ").ends_with(path.strip_prefix(mount).unwrap()), "{}", told.output);
        assert_eq!(told.output.matches("own daemon").count(), 2, "{}", told.output);
    }
    std::fs::remove_dir(&path).unwrap();
}

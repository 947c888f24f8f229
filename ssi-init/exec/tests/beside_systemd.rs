// SPDX-License-Identifier: GPL-2.0-or-later
//! The same settings under systemd itself and under the executor: one program, which prints what it sees.
//!
//! A scene is a unit's `[Service]` lines and the plan that says the same. systemd, the one installed here, boots in
//! namespaces (`referee/boot.sh`), runs all scenes as services, and what they print is held against what the plans
//! print. Where there is no systemd, or no root, this shows nothing and says so.

mod scene;

use scene::{run, script};
use ssi_exec::plan::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What every scene prints.
const PROBE: &str = "echo ids $(id -u) $(id -ru) $(id -g); echo groups $(id -G); echo umask $(umask); echo cwd $(pwd); \
    echo nice $(nice); echo io $(ionice); echo cpu $(chrt -p $$ | sed s/.*:.//); echo oom $(cat /proc/self/oom_score_adj); \
    echo slack $(cat /proc/self/timerslack_ns); echo filter $(cat /proc/self/coredump_filter); echo machine $(uname -m); \
    grep -E '^(SigIgn|SigBlk|Cap|NoNewPrivs|Cpus_allowed_list)' /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat | \
    sed \"s/$$/self/g\"; readlink /proc/$$/fd/0; env | grep -vE '^(INVOCATION_ID|SYSTEMD_EXEC_PID)=' | sort; ";

/// Which places may be written.
const WRITABLE: &str = "for d in / /usr /etc /boot /var /var/lib /tmp /var/tmp /dev /dev/shm /proc /proc/sys /sys \
    /sys/fs/cgroup /run /home /root /lib /usr/lib/modules; do [ -w $d ] && echo writable $d; done; ";

struct Scene {
    name: &'static str,
    unit: &'static str,
    text: String,
    plan: Box<dyn Fn(&mut ExecPlan) + Sync>,
}

fn scene(name: &'static str, unit: &'static str, more: &str, plan: impl Fn(&mut ExecPlan) + Sync + 'static) -> Scene {
    Scene { name, unit, text: format!("{PROBE}{more}"), plan: Box::new(plan) }
}

fn own(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn rules(paths: &[&str]) -> Vec<PathRule> {
    paths.iter().map(|path| PathRule { path: path.to_string(), missing_ok: false, in_root: false }).collect()
}

fn protect(list: Vec<Protection>) -> impl Fn(&mut ExecPlan) + Sync {
    move |plan| plan.protections = list.clone()
}

fn scenes() -> Vec<Scene> {
    let set = |kind, mode, path: &str, links: &[&str]| DirectorySet {
        kind,
        mode,
        entries: vec![ManagedDirectory {
            path: path.to_owned(),
            symlinks: links.iter().map(|link| link.to_string()).collect(),
        }],
        preserve: false,
    };
    let homes = "ls -A /root | wc -l; stat -c %a /root /home /run/user; ";
    vec![
        scene("plain", "", "", |_| {}),
        scene("user", "User=daemon", "", |plan| plan.identity.user = own("daemon")),
        scene("user-number", "User=1", "", |plan| plan.identity.user = own("1")),
        scene("user-root", "User=root", "", |plan| plan.identity.user = own("root")),
        scene("user-group", "User=nobody\nGroup=adm\nSupplementaryGroups=cdrom tape", "", |plan| {
            plan.identity.user = own("nobody");
            plan.identity.group = own("adm");
            plan.identity.supplementary = vec!["cdrom".into(), "tape".into()];
        }),
        scene("group-only", "Group=games", "", |plan| plan.identity.group = own("games")),
        scene("supplementary-only", "SupplementaryGroups=games", "", |plan| {
            plan.identity.supplementary = vec!["games".into()];
        }),
        scene(
            "priorities",
            "Nice=5\nOOMScoreAdjust=77\nIOSchedulingClass=idle\nCPUSchedulingPolicy=batch\nTimerSlackNSec=70us\n\
             CPUAffinity=1\nCoredumpFilter=0x33\nPersonality=x86\nUMask=0027",
            "",
            |plan| {
                plan.umask = 0o027;
                plan.coredump_filter = Some(0x33);
                plan.personality = Some(Personality::Linux32);
                plan.scheduling = Scheduling {
                    nice: Some(5),
                    cpu: Some(Scheduler { policy: 3, priority: 0, reset_on_fork: false }),
                    // As the directive has it: the level stays at its default.
                    io: Some(IoPriority { class: IoClass::Idle, level: 0 }),
                    oom_score_adjust: Some(77),
                    affinity: Some(vec![1]),
                    numa: None,
                    timer_slack_nsec: Some(70_000),
                };
            },
        ),
        scene(
            "limits",
            "LimitNOFILE=333:444\nLimitCORE=infinity\nLimitNPROC=5000",
            "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc; ulimit -p",
            |plan| {
                let limit = |resource, soft, hard| Limit { resource, soft, hard };
                plan.limits = vec![
                    limit(Resource::Nofile, Some(333), Some(444)),
                    limit(Resource::Core, None, None),
                    limit(Resource::Nproc, Some(5000), Some(5000)),
                ];
            },
        ),
        scene("bounding", "CapabilityBoundingSet=CAP_KILL CAP_CHOWN", "", |plan| {
            plan.capabilities.bounding = Some(1 << 5 | 1);
        }),
        scene("bounding-user", "User=daemon\nCapabilityBoundingSet=CAP_KILL CAP_CHOWN", "", |plan| {
            plan.identity.user = own("daemon");
            plan.capabilities.bounding = Some(1 << 5 | 1);
        }),
        scene("ambient-user", "User=daemon\nAmbientCapabilities=CAP_KILL CAP_NET_RAW", "", |plan| {
            plan.identity.user = own("daemon");
            plan.capabilities.ambient = 1 << 5 | 1 << 13;
        }),
        scene("ambient-root", "AmbientCapabilities=CAP_KILL", "", |plan| plan.capabilities.ambient = 1 << 5),
        scene("secure-bits", "SecureBits=noroot", "capsh --print | grep -i ^Securebits", |plan| {
            plan.capabilities.secure_bits = 1;
        }),
        scene("no-new-privileges", "NoNewPrivileges=yes\nUser=daemon", "", |plan| {
            plan.identity.user = own("daemon");
            plan.capabilities.no_new_privileges = true;
        }),
        scene("sigpipe", "IgnoreSIGPIPE=no", "", |plan| plan.ignore_sigpipe = false),
        scene("home", "User=daemon\nWorkingDirectory=~", "", |plan| {
            plan.identity.user = own("daemon");
            plan.working_directory = WorkingDirectory { place: WorkingPlace::Home, missing_ok: false };
        }),
        scene("chdir-missing-ok", "WorkingDirectory=-/nowhere", "", |plan| {
            plan.working_directory =
                WorkingDirectory { place: WorkingPlace::Path("/nowhere".into()), missing_ok: true };
        }),
        scene("environment", "Environment=A=1 B=2 A=3 LANG=xx\nUnsetEnvironment=B LANG=yy", "", |plan| {
            plan.environment.unit =
                [("A", "1"), ("B", "2"), ("A", "3"), ("LANG", "xx")].map(|(n, v)| (n.into(), v.into())).to_vec();
            plan.environment.unset = vec!["B".into(), "LANG=yy".into()];
        }),
        scene(
            "directories",
            "User=daemon\nRuntimeDirectory=ssi-beside/a ssi-beside/b\nRuntimeDirectoryMode=0711\n\
             StateDirectory=ssi-beside:ssi-beside-link\nLogsDirectory=ssi-beside\nLogsDirectoryMode=0700",
            "stat -c '%n %U %G %a' /run/ssi-beside /run/ssi-beside/a /run/ssi-beside/b /var/lib/ssi-beside /var/log/ssi-beside; \
             readlink /var/lib/ssi-beside-link",
            move |plan| {
                plan.identity.user = own("daemon");
                let mut runtime = set(DirectoryKind::Runtime, 0o711, "ssi-beside/a", &[]);
                runtime.entries.push(ManagedDirectory { path: "ssi-beside/b".into(), symlinks: vec![] });
                plan.directories.sets = vec![
                    runtime,
                    set(DirectoryKind::State, 0o755, "ssi-beside", &["ssi-beside-link"]),
                    set(DirectoryKind::Logs, 0o700, "ssi-beside", &[]),
                ];
            },
        ),
        scene(
            "credentials",
            "User=daemon\nSetCredential=one:first\nLoadCredential=two:/etc/hostname\nLoadCredential=absent",
            "cd $CREDENTIALS_DIRECTORY; for f in *; do echo $f $(stat -Lc %a $f); done; cat one; stat -c %a .; \
             touch x 2>/dev/null || echo closed",
            |plan| {
                plan.unit = "credentials.service".into();
                plan.identity.user = own("daemon");
                plan.credentials.entries = vec![
                    ("two".into(), CredentialSource::Path("/etc/hostname".into())),
                    ("absent".into(), CredentialSource::Store("absent".into())),
                    ("one".into(), CredentialSource::Bytes(b"first".to_vec())),
                ];
            },
        ),
        scene(
            "system-yes",
            "ProtectSystem=yes",
            WRITABLE,
            protect(vec![Protection::ProtectSystem(ProtectSystem::Yes)]),
        ),
        scene(
            "system-full",
            "ProtectSystem=full",
            WRITABLE,
            protect(vec![Protection::ProtectSystem(ProtectSystem::Full)]),
        ),
        scene("system-strict", "ProtectSystem=strict\nReadWritePaths=/var/lib", WRITABLE, {
            let strict = Protection::ProtectSystem(ProtectSystem::Strict);
            protect(vec![strict, Protection::ReadWritePaths(rules(&["/var/lib"]))])
        }),
        scene("home-yes", "ProtectHome=yes", homes, protect(vec![Protection::ProtectHome(ProtectHome::Yes)])),
        // The manual says read-only and modes of 0755 and 0700, which the executor gives; systemd 252 loses both on the
        // way (its table of these mounts is copied without options), so only what agrees is asked.
        scene("home-tmpfs", "ProtectHome=tmpfs", "ls -A /root | wc -l; ls -A /home | wc -l", {
            protect(vec![Protection::ProtectHome(ProtectHome::Tmpfs)])
        }),
        scene("home-read-only", "ProtectHome=read-only", WRITABLE, {
            protect(vec![Protection::ProtectHome(ProtectHome::ReadOnly)])
        }),
        scene(
            "devices",
            "PrivateDevices=yes",
            "ls /dev | sort | tr '\\n' ' '; echo x > /dev/null && echo null; readlink /dev/log /dev/fd; touch /dev/x 2>&1",
            protect(vec![Protection::PrivateDevices]),
        ),
        scene("network", "PrivateNetwork=yes", "cat /proc/net/dev | wc -l; cat /sys/class/net/lo/operstate", {
            protect(vec![Protection::PrivateNetwork(None)])
        }),
        scene(
            "users",
            "PrivateUsers=yes\nUser=daemon",
            "tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map",
            {
                |plan: &mut ExecPlan| {
                    plan.identity.user = own("daemon");
                    plan.protections = vec![Protection::PrivateUsers];
                }
            },
        ),
        scene(
            "kernel",
            "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectKernelLogs=yes\nProtectControlGroups=yes\nProtectClock=yes",
            &format!("{WRITABLE}ls /usr/lib/modules | wc -l; wc -c < /proc/kallsyms; "),
            protect(vec![
                Protection::ProtectKernelTunables,
                Protection::ProtectKernelModules,
                Protection::ProtectKernelLogs,
                Protection::ProtectControlGroups,
                Protection::ProtectClock,
            ]),
        ),
        scene(
            "proc",
            "ProtectProc=invisible\nProcSubset=pid\nUser=daemon",
            "ls -d /proc/1 /proc/sys 2>&1; findmnt -no OPTIONS /proc | tail -n1",
            {
                |plan: &mut ExecPlan| {
                    plan.identity.user = own("daemon");
                    plan.protections = vec![Protection::ProtectProc(ProtectProc::Invisible), Protection::ProcSubsetPid];
                }
            },
        ),
        scene(
            "paths",
            "InaccessiblePaths=/srv /etc/issue\nTemporaryFileSystem=/opt:ro,size=1m\nBindReadOnlyPaths=/etc/alternatives:/mnt\n\
             BindPaths=/etc/hostname:/opt/name",
            "stat -c '%n %a %F' /srv /etc/issue; ls /mnt | wc -l; ls /opt; [ -w /mnt ] || echo ro; [ -w /opt ] || echo ro; [ -w /opt/name ] && echo rw",
            {
                let bind = |source: &str, destination: &str, read_only| BindMount {
                    source: source.into(),
                    destination: destination.into(),
                    read_only,
                    recursive: true,
                    missing_ok: false,
                };
                protect(vec![
                    Protection::InaccessiblePaths(rules(&["/srv", "/etc/issue"])),
                    Protection::TemporaryFileSystem(vec![("/opt".into(), "ro,size=1m".into())]),
                    Protection::BindPaths(vec![
                        bind("/etc/alternatives", "/mnt", true),
                        bind("/etc/hostname", "/opt/name", false),
                    ]),
                ])
            },
        ),
        scene(
            "exec-paths",
            "NoExecPaths=/\nExecPaths=/usr /bin /lib /lib64",
            "printf '#!/bin/sh\\necho ran\\n' > /dev/shm/ssi-beside; chmod +x /dev/shm/ssi-beside; /dev/shm/ssi-beside 2>&1 | sed s/.*://; rm /dev/shm/ssi-beside",
            protect(vec![
                Protection::NoExecPaths(rules(&["/"])),
                Protection::ExecPaths(rules(&["/usr", "/bin", "/lib", "/lib64"])),
            ]),
        ),
        // Starts that fail.
        scene("no-user", "User=54321", "", |plan| plan.identity.user = own("54321")),
        scene("no-group", "Group=54321", "", |plan| plan.identity.group = own("54321")),
        scene("no-directory", "WorkingDirectory=/nowhere", "", |plan| {
            plan.working_directory.place = WorkingPlace::Path("/nowhere".into());
        }),
        scene("closed-directory", "WorkingDirectory=/root\nUser=daemon", "", |plan| {
            plan.identity.user = own("daemon");
            plan.working_directory.place = WorkingPlace::Path("/root".into());
        }),
        scene("no-input", "StandardInput=file:/nowhere/in", "", |plan| {
            plan.streams.input = Input::File("/nowhere/in".into());
        }),
        scene(
            "no-namespace",
            "ReadOnlyPaths=/nowhere",
            "",
            protect(vec![Protection::ReadOnlyPaths(rules(&["/nowhere"]))]),
        ),
        scene("no-root", "RootDirectory=/nowhere", "", |plan| {
            plan.root_directory = own("/nowhere");
            plan.protections = vec![Protection::MountApiVfs];
        }),
        scene("no-program", "ExecStart=\nExecStart=/nowhere/prog", "", |plan| {
            plan.command.program = "/nowhere/prog".into()
        }),
        scene("no-program-ok", "ExecStart=\nExecStart=-/nowhere/prog", "", |plan| {
            plan.command.program = "/nowhere/prog".into();
            plan.command.ignore_failure = true;
        }),
        scene(
            "privileged",
            "ExecStart=\nExecStart=+/bin/sh -c '. /out/privileged.sh'\nUser=daemon\nCapabilityBoundingSet=\nLimitNOFILE=77",
            "ulimit -n | grep -c ^77$",
            |plan| {
                plan.identity.user = own("daemon");
                plan.capabilities.bounding = Some(0);
                plan.limits = vec![Limit { resource: Resource::Nofile, soft: Some(77), hard: Some(77) }];
                plan.command.privileges = Privileges::Full;
            },
        ),
        scene(
            "keep-identity",
            "ExecStart=\nExecStart=!/bin/sh -c '. /out/keep-identity.sh'\nUser=daemon\nCapabilityBoundingSet=CAP_KILL",
            "",
            |plan| {
                plan.identity.user = own("daemon");
                plan.capabilities.bounding = Some(1 << 5);
                plan.command.privileges = Privileges::KeepIdentity;
            },
        ),
        scene(
            "words",
            "Environment=\"W=a 'b c' \\\\d\" E=\nExecStart=\nExecStart=/usr/bin/printf '[%%s]' $W ${W} x${W}y $$W $NONE ${NONE} $E z$W",
            "",
            |plan| {
                plan.environment.unit = vec![("W".into(), "a 'b c' \\d".into()), ("E".into(), String::new())];
                let words = ["[%s]", "$W", "${W}", "x${W}y", "$$W", "$NONE", "${NONE}", "$E", "z$W"];
                plan.command = Command::new("/usr/bin/printf", &words);
            },
        ),
    ]
}

/// What came of a scene: how it ended, and what was printed.
#[derive(Debug, PartialEq)]
struct Seen {
    status: String,
    lines: Vec<String>,
}

struct Referee {
    place: PathBuf,
}

impl Referee {
    /// Runs all scenes under systemd.
    fn run(scenes: &[Scene]) -> Option<(Referee, BTreeMap<&'static str, Seen>)> {
        let place = std::env::temp_dir().join(format!("ssi-exec-referee-{}", std::process::id()));
        for directory in ["units", "out", "root"] {
            std::fs::create_dir_all(place.join(directory)).unwrap();
        }
        let referee = Referee { place };
        let units = referee.place.join("units");
        let mut wants = String::new();
        for scene in scenes {
            let _ = write!(wants, " {}.service", scene.name);
            std::fs::write(referee.place.join(format!("out/{}.sh", scene.name)), &scene.text).unwrap();
            let text = format!(
                "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nStandardOutput=append:/out/{0}.out\nStandardError=inherit\n\
                 ExecStart=/bin/sh -c '. /out/{0}.sh'\n{1}\n",
                scene.name, scene.unit
            );
            std::fs::write(units.join(format!("{}.service", scene.name)), text).unwrap();
        }
        let target = format!("[Unit]\nDefaultDependencies=no\nWants={wants} last.service\n");
        std::fs::write(units.join("scenes.target"), target).unwrap();
        let last = format!(
            "[Unit]\nDefaultDependencies=no\nAfter={wants}\n[Service]\nType=oneshot\nExecStart=/bin/sh /out/last.sh\n"
        );
        std::fs::write(units.join("last.service"), last).unwrap();
        let show = "for unit in $UNITS; do systemctl show --value -p ExecMainStatus $unit > /out/${unit%.service}.result; done; \
                    touch /out/finished";
        std::fs::write(referee.place.join("out/last.sh"), show.replace("$UNITS", &wants)).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/referee/boot.sh");
        let mut process = std::process::Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"])
            .args(["--propagation", "private", "bash", script])
            .arg(&referee.place)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let finished = referee.place.join("out/finished");
        while !finished.exists() && start.elapsed() < Duration::from_secs(60) && process.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let done = finished.exists();
        let _ = process.kill();
        let _ = process.wait();
        if !done {
            return None;
        }
        let seen = scenes.iter().map(|scene| (scene.name, referee.seen(scene.name))).collect();
        Some((referee, seen))
    }

    fn seen(&self, name: &str) -> Seen {
        let read =
            |what: &str| std::fs::read_to_string(self.place.join(format!("out/{name}.{what}"))).unwrap_or_default();
        Seen { status: read("result").trim().to_owned(), lines: lines(&read("out")) }
    }
}

impl Drop for Referee {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// The printed lines. Two signals belong to the C library, which lets systemd not reset them when whoever ran this
/// test had them ignored; the executor does reset them.
fn lines(text: &str) -> Vec<String> {
    let known = |line: &str| line.replace("SigIgn:\t000000018000", "SigIgn:\t000000000000");
    text.lines().map(known).collect()
}

#[test]
fn every_scene_looks_the_same() {
    if !scene::is_root("every_scene_looks_the_same") {
        return;
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        eprintln!("every_scene_looks_the_same: skipped, there is no systemd on this machine to compare with");
        return;
    }
    let scenes = scenes();
    let (_referee, theirs) = Referee::run(&scenes).expect("systemd did not finish the scenes; see its output above");
    let mut differences = String::new();
    for scene in &scenes {
        let ours = scene::with_own_run(|| {
            std::fs::create_dir_all("/run/user").unwrap();
            let mut plan = script(&scene.text);
            plan.unit = format!("{}.service", scene.name);
            plan.environment.manager = vec![
                ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
                ("LANG".into(), "C.UTF-8".into()),
            ];
            (scene.plan)(&mut plan);
            let told = run(plan);
            Seen { status: told.status.to_string(), lines: lines(&told.output) }
        });
        let theirs = &theirs[scene.name];
        if &ours == theirs {
            continue;
        }
        let _ = writeln!(differences, "== {}: status {:?}, systemd {:?}", scene.name, ours.status, theirs.status);
        for line in theirs.lines.iter().filter(|line| !ours.lines.contains(line)) {
            let _ = writeln!(differences, "  systemd  {line}");
        }
        for line in ours.lines.iter().filter(|line| !theirs.lines.contains(line)) {
            let _ = writeln!(differences, "  executor {line}");
        }
    }
    for left in ["/var/lib/ssi-beside", "/var/log/ssi-beside"] {
        let _ = std::fs::remove_dir_all(left);
    }
    let _ = std::fs::remove_file("/var/lib/ssi-beside-link");
    assert!(differences.is_empty(), "{differences}");
    println!("{} scenes alike", scenes.len());
}

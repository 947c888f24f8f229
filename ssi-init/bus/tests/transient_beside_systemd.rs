// SPDX-License-Identifier: GPL-2.0-or-later
//! What becomes of properties that clients set, beside systemd itself: the same systemd-run(1) and systemctl(1) set one
//! after the other there, where it is booted in namespaces, and here. Then what each unit shows otherwise than one that
//! was given nothing must be the same in both places, and what one refuses the other must refuse.
//!
//! Here the file that is written is read back before it is shown, so this shows too that it says what was meant.
//!
//! Where there is no systemd 252, or no root, this shows nothing and says so.

mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use scene::Scene;

type Shown = BTreeMap<String, String>;

/// A property of a service, a case each.
const OF_SERVICES: &str = include_str!("transient/service_properties");

/// What else is asked: the unit that is looked at, and the command, in which `NAME` is the name of the case.
const COMMANDS: &[(&str, &str)] = &[
    ("timer", "systemd-run --unit=NAME --on-active=30 --on-boot=1h /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-startup=1d --on-unit-active=2d --on-unit-inactive=3d /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-calendar='*-*-* 03:00' --on-calendar='Mon 2099-01-01' /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property=AccuracySec=7s /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property=RandomizedDelaySec=7s /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property=Persistent=yes /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property=FixedRandomDelay=yes /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property=RemainAfterElapse=no /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-active=3d --timer-property='Description=a 100% sure' /bin/true"),
    ("timer", "systemd-run --unit=NAME --on-timezone-change --on-clock-change /bin/true"),
    ("service", "systemd-run --unit=NAME --on-active=3d --nice=5 -E A=b --uid=root --gid=0 /bin/true"),
    (
        "path",
        "systemd-run --unit=NAME --path-property=PathExists=/absent --path-property='PathModified=/a b%' /bin/true",
    ),
    ("path", "systemd-run --unit=NAME --path-property=PathExistsGlob='/absent/*' /bin/true"),
    (
        "path",
        "systemd-run --unit=NAME --path-property=DirectoryNotEmpty=/absent --path-property=DirectoryMode=0700 /bin/true",
    ),
    ("path", "systemd-run --unit=NAME --path-property=PathChanged=/absent --path-property=MakeDirectory=no /bin/true"),
    ("socket", SOCKET),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenDatagram=127.0.0.1:7 --socket-property=IPTTL=7 /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property='ListenFIFO=/run/a b' --socket-property=PipeSize=8K /bin/true",
    ),
    ("socket", "systemd-run --unit=NAME --socket-property=ListenStream=@NAME --socket-property=Accept=yes /bin/true"),
    ("socket", "systemd-run --unit=NAME --socket-property='ListenNetlink=route 1' --socket-property=Mark=3 /bin/true"),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=[::1]:9 --socket-property=BindIPv6Only=both /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property='Symlinks=/run/a /run/b' /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property=ReceiveBuffer=1M /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property=Timestamping=us /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property=KeepAliveTimeSec=7 /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property=FileDescriptorName=x /bin/true",
    ),
    (
        "socket",
        "systemd-run --unit=NAME --socket-property=ListenStream=/run/s --socket-property=TriggerLimitBurst=7 /bin/true",
    ),
    (
        "service",
        "systemd-run --unit=NAME -r -p DefaultDependencies=no --working-directory=/ --slice=a-b.slice /bin/true",
    ),
    (
        "service",
        "systemd-run --unit=NAME -r -p DefaultDependencies=no --service-type=oneshot --description='a % b' /bin/true",
    ),
    ("service", ODD_WORDS),
    ("service", SCRIPT),
    ("service", "systemd-run --unit=NAME -r -p DefaultDependencies=no -p NoSuchThing=1 /bin/true"),
    ("service", "systemctl set-property --runtime base.service MemoryMax=64M MemoryHigh=50% TasksMax=33 CPUQuota=33%"),
    (
        "service",
        "systemctl set-property --runtime base.service CPUWeight=7 IOWeight=8 'DeviceAllow=/dev/null r' IPAddressDeny=any",
    ),
    ("service", "systemctl set-property --runtime base.service 'Description=other % words'"),
    ("mount", MOUNT),
    ("slice", "systemctl set-property --runtime NAME.slice MemoryMax=64M TasksMax=30 AllowedCPUs=0"),
];

/// What depends on the moment or tells how the process fared, which here is none.
const OF_THE_MOMENT: [&str; 39] = [
    "ActiveState",
    "AssertResult",
    "CPUUsageNSec",
    "CanClean",
    "CanStart",
    "CanStop",
    "ConditionResult",
    "ControlGroup",
    "ControlGroupId",
    "ControlPID",
    "DropInPaths",
    "EffectiveCPUs",
    "EffectiveMemoryNodes",
    "ExecMainCode",
    "ExecMainPID",
    "ExecMainStatus",
    "FragmentPath",
    "GID",
    "Id",
    "InvocationID",
    "Job",
    "LastTriggerUSec",
    "MainPID",
    "MemoryAvailable",
    "MemoryCurrent",
    "Names",
    "NeedDaemonReload",
    "NextElapseUSecMonotonic",
    "NextElapseUSecRealtime",
    "IPEgressBytes",
    "IPEgressPackets",
    "IPIngressBytes",
    "IPIngressPackets",
    "LastTriggerUSecMonotonic",
    "Result",
    "StatusErrno",
    "SubState",
    "TasksCurrent",
    "UID",
];

/// Where the two differ, by command and property; "" is the refusal itself.
const OTHERWISE: &[(&str, &str)] = &[
    // systemd refuses these, which its unit files may have.
    ("RestrictAddressFamilies=none", ""),
    ("JobTimeoutSec=7", ""),
    // It was built without them.
    ("RestrictFileSystems=ext4 tmpfs", "RestrictFileSystems"),
    // It shows a policy that was not asked for.
    ("NUMAMask=0", "NUMAPolicy"),
    // There it is nothing until the next reload, and no limit after that, as it is here from the start.
    ("TimeoutStopSec=0", "TimeoutStopUSec"),
    ("TimeoutStopSec=0", "TimeoutAbortUSec"),
    // A double of the kernel has no mounts, and says nothing of their options.
    (MOUNT, "Options"),
    // A description is one line here, without blanks at its ends; there what follows a line's end is settings.
    (SCRIPT, "Description"),
    (ODD_WORDS, "Description"),
    // Those of the machine, and of who runs the tests.
    ("", "LimitNOFILE"),
    ("", "LimitNOFILESoft"),
    ("", "TasksMax"),
    (MOUNT, "LimitNOFILE"),
    (MOUNT, "LimitNOFILESoft"),
    (MOUNT, "TasksMax"),
    (SOCKET, "LimitNOFILE"),
    (SOCKET, "LimitNOFILESoft"),
    (SOCKET, "TasksMax"),
];

const MOUNT: &str = "systemd-mount --no-block --fsck=no -t tmpfs -o 'size=1M,mode=0700' tmpfs /mnt/NAME";
const SOCKET: &str =
    "systemd-run --unit=NAME --socket-property=ListenStream=/run/NAME --socket-property=SocketMode=0600 /bin/true";
const ODD_WORDS: &str = "systemd-run --unit=NAME -r -p DefaultDependencies=no -E A='b c' -E 'D=%n $x \"q\"' /bin/echo \
    '$A' '%n' ';' ''";
const SCRIPT: &str = "systemd-run --unit=NAME -r -p DefaultDependencies=no /bin/sh -c 'echo a\necho \"b\" \\n'";

fn can_be_booted() -> bool {
    let output = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default()
    };
    let found =
        output("/lib/systemd/systemd", &["--version"]).starts_with(b"systemd 252") && output("id", &["-u"]) == b"0\n";
    if !found {
        eprintln!("skipped: without systemd 252 and root there is nothing to compare with");
    }
    found
}

/// A command, and the unit that is looked at.
struct Case {
    said: String,
    /// Nothing of it is to be seen.
    unseen: bool,
    command: String,
    unit: String,
}

fn cases() -> Vec<Case> {
    let properties = OF_SERVICES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of_services = std::iter::once("(nothing) ").chain(properties).map(|line| {
        let (unseen, property) = line.strip_prefix("(nothing) ").map_or((false, line), |property| (true, property));
        let quoted = property.replace('\'', "'\\''");
        let option = if property.is_empty() { String::new() } else { format!("-p '{quoted}'") };
        let command = format!("systemd-run --unit=NAME -r -p DefaultDependencies=no {option} /bin/true");
        (property, unseen, "service", command)
    });
    let others = COMMANDS.iter().map(|(kind, command)| (*command, false, *kind, (*command).to_owned()));
    let case = |(number, (said, unseen, kind, command)): (usize, (&str, bool, &str, String))| {
        let name = format!("case{number}");
        let unit = match kind {
            "service" if command.contains(" base.service") => "base.service".to_owned(),
            "mount" => format!("mnt-{name}.mount"),
            kind => format!("{name}.{kind}"),
        };
        let command = command.replace("NAME", &name).replace("systemd-run ", "systemd-run --quiet --no-block ");
        Case { said: said.to_owned(), unseen, command, unit }
    };
    of_services.chain(others).enumerate().map(case).collect()
}

/// A script that leaves what is said, how it ends and what is shown then.
fn script(cases: &[Case], first: usize) -> String {
    let mut script = String::from("export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=\ncd \"$1\"\n");
    for (number, Case { command, unit, .. }) in cases.iter().enumerate() {
        let number = number + first;
        script += &format!(
            "{command} >{number}.said 2>&1; echo $? >{number}.status\nsystemctl show --all -- {unit} >{number}.shown\n"
        );
    }
    script
}

/// What a command said, if it failed, and what the unit shows then.
type Answers = Vec<(Option<String>, Shown)>;

fn read(folder: &Path, cases: &[Case]) -> Answers {
    let text = |number: usize, what: &str| {
        String::from_utf8_lossy(&fs::read(folder.join(format!("{number}.{what}"))).unwrap_or_default()).into_owned()
    };
    let of = |(number, case): (usize, &Case)| {
        let failed = (text(number, "status") != "0\n").then(|| text(number, "said"));
        (failed, read_shown(&text(number, "shown"), &case.unit))
    };
    cases.iter().enumerate().map(of).collect()
}

/// The lines `Name=value`. A name may come several times, as `ListenStream=` does.
fn read_shown(text: &str, unit: &str) -> Shown {
    let mut shown = Shown::new();
    let mut last = String::new();
    let name_of_case = unit.split('.').next().unwrap_or(unit);
    for line in text.replace(name_of_case, "NAME").lines() {
        // Commands show their last run, and timers when they are due.
        let line = line.split(" ; start_time=").next().unwrap_or(line);
        let line = line.split(" ; next_elapse=").next().unwrap_or(line);
        let name = line.split_once('=').filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        match name {
            Some((name, value)) => {
                last = name.to_owned();
                let known = shown.entry(last.clone()).or_default();
                *known = if known.is_empty() { value.to_owned() } else { format!("{known}\n{value}") };
            }
            // The rest of a value of several lines.
            None => *shown.entry(last.clone()).or_default() += &format!("\n{line}"),
        }
    }
    shown
}

/// Boots systemd and has it do all this.
fn of_systemd(cases: &[Case]) -> Answers {
    let place = PathBuf::from(format!("/tmp/ssi-transient-{}", std::process::id()));
    for folder in ["root", "units", "out"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(place.join(path), text).unwrap();
    write("units/stage.target", "[Unit]\nDefaultDependencies=no\nWants=play.service\n");
    write("units/base.service", BASE);
    write("units/play.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh /out/begin.sh\n");
    write("out/begin.sh", "systemctl start base.service && sh /out/play.sh /out\ntouch /out/finished\n");
    write("out/play.sh", &script(cases, 0));
    // Process 1 logs to its console, and takes only a terminal for one.
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&terminal).unwrap();
    let slave = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let held = fs::OpenOptions::new().read(true).write(true).open(&slave).unwrap();
    let console = std::thread::spawn(move || {
        let mut lines = Vec::new();
        let _ = std::io::Read::read_to_end(&mut fs::File::from(terminal), &mut lines);
        String::from_utf8_lossy(&lines).into_owned()
    });
    let mut process = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"])
        .args(["--propagation", "private", "bash"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../manager/tests/referee/boot.sh"))
        .arg(&place)
        .arg(&slave)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let finished = place.join("out/finished");
    while !finished.exists() && start.elapsed() < Duration::from_secs(180) && process.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let done = finished.exists();
    let _ = process.kill();
    let _ = process.wait();
    drop(held);
    let console = console.join().unwrap();
    let answers = read(&place.join("out"), cases);
    fs::remove_dir_all(&place).unwrap();
    assert!(done, "systemd did not come to the end:\n{console}");
    answers
}

/// A unit that has a file.
const BASE: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n";

fn of_this(cases: &[Case]) -> Answers {
    let scene = Scene::new(&[("base.service", BASE)]);
    scene.systemctl(&["start", "base.service"]);
    let out = scene.path().join("out");
    fs::create_dir(&out).unwrap();
    for (chunk, some) in cases.chunks(10).enumerate() {
        let path = scene.path().join("play.sh");
        fs::write(&path, script(some, chunk * 10)).unwrap();
        let ended = scene.program("sh", &[path.to_str().unwrap(), out.to_str().unwrap()]);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    read(&out, cases)
}

/// Words and rows in an order of their own, where theirs is that of a hash table.
fn in_order(name: &str, value: &str) -> String {
    const LISTS: [&str; 12] = [
        "After",
        "Before",
        "Conflicts",
        "IPAddressAllow",
        "IPAddressDeny",
        "LoadCredential",
        "Requires",
        "RequiresMountsFor",
        "RestrictNetworkInterfaces",
        "SetCredential",
        "Triggers",
        "Wants",
    ];
    if !LISTS.contains(&name) {
        return value.to_owned();
    }
    value.split([' ', '\n']).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

/// What a unit shows otherwise than one of its type that was given nothing.
fn changed(shown: &Shown, plain: &Shown) -> Shown {
    let names: BTreeSet<&String> = shown.keys().chain(plain.keys()).collect();
    let of_the_moment = |name: &str| name.contains("Timestamp") || OF_THE_MOMENT.contains(&name);
    let of = |shown: &Shown, name: &str| shown.get(name).map(|value| in_order(name, value)).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| !of_the_moment(name) && of(shown, name) != of(plain, name))
        .map(|name| (name.clone(), of(shown, name)))
        .collect()
}

#[test]
fn clients_bring_about_what_they_do_under_systemd() {
    if !can_be_booted() {
        return;
    }
    let cases = cases();
    let (theirs, ours) = (of_systemd(&cases), of_this(&cases));
    let (mut wrong, mut compared, mut refused) = (Vec::new(), 0, 0);
    for (number, case) in cases.iter().enumerate() {
        let otherwise = |name: &str| OTHERWISE.iter().any(|(said, known)| *said == case.said && *known == name);
        let ((their_error, theirs_shown), (our_error, ours_shown)) = (&theirs[number], &ours[number]);
        if their_error.is_some() || our_error.is_some() {
            refused += usize::from(their_error.is_some() && our_error.is_some());
            if their_error.is_some() != our_error.is_some() && !otherwise("") {
                wrong.push(format!("{}:\n    here  {our_error:?}\n    there {their_error:?}", case.said));
            }
            continue;
        }
        // What the first of its type shows is compared in full.
        let kind = |case: &Case| case.unit.rsplit('.').next().unwrap_or_default().to_owned();
        let first = cases.iter().position(|other| kind(other) == kind(case)).unwrap_or(number);
        let plain = |answers: &Answers| if first < number { answers[first].1.clone() } else { Shown::new() };
        let (there, here) = (changed(theirs_shown, &plain(&theirs)), changed(ours_shown, &plain(&ours)));
        if there.is_empty() != case.unseen && first < number {
            wrong.push(format!("{}: shows under systemd {there:?}", case.said));
        }
        for name in there.keys().chain(here.keys()).collect::<BTreeSet<_>>() {
            compared += 1;
            // systemd shows no limit from when it starts, which may be before it is looked at or after; nothing else passes.
            let started = name == "WatchdogUSec"
                && !case.said.contains("Watchdog")
                && [there.get(name), here.get(name)].into_iter().flatten().all(|value| value == "infinity");
            if there.get(name) != here.get(name) && !otherwise(name) && !started {
                let (here, there) = (here.get(name), there.get(name));
                wrong.push(format!("{} {name}:\n    here  {here:?}\n    there {there:?}", case.said));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 300 && refused > 5, "{compared} values and {refused} refusals are too few");
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What units show, beside systemd itself: it is booted in namespaces with the unit files of `tests/properties`, and
//! `systemctl show --all` of each is held against what this manager shows of the same files.
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

/// What depends on the moment, on the machine's own units or on what else runs there.
const OF_THE_MOMENT: [&str; 19] = [
    "After",
    "Before",
    "CPUUsageNSec",
    "Conflicts",
    "ControlGroup",
    "ControlGroupId",
    "EffectiveCPUs",
    "EffectiveMemoryNodes",
    "InvocationID",
    "LimitNOFILE",
    "LimitNOFILESoft",
    "MemoryAvailable",
    "MemoryCurrent",
    "NeedDaemonReload",
    "RequiredBy",
    "Requires",
    "SliceOf",
    "TasksCurrent",
    "WantedBy",
];

/// What stands in no file, or in none of the units of the scene.
const MORE: [&str; 5] = ["absent.service", "-.slice", "system.slice", "init.scope", "-.mount"];

/// What is shown otherwise; the unit is left open where it is so of all.
const OTHERWISE: [(&str, &str); 27] = [
    // A share of what the machine has, which systemd has raised.
    ("accept.socket", "TasksMax"),
    ("bad.service", "TasksMax"),
    ("exec.service", "TasksMax"),
    ("listen.socket", "TasksMax"),
    ("plain.service", "TasksMax"),
    ("refused.service", "TasksMax"),
    ("sandbox.service", "TasksMax"),
    ("absent.service", "TasksMax"),
    ("init.scope", "TasksMax"),
    // systemd adds what every program calls and takes groups apart; here names stand as they are written.
    ("sandbox.service", "SystemCallFilter"),
    // systemd was built without it.
    ("sandbox.service", "RestrictFileSystems"),
    // Known here to be one of the kinds, and not to that systemd.
    ("refused.service", "RestrictNamespaces"),
    // A unit that cannot be used is in no slice here.
    ("bad.service", "Slice"),
    // Here scopes go on when one of their processes is killed for want of memory, unless told.
    ("init.scope", "OOMPolicy"),
    // Its parts are other ones.
    ("system.slice", "CanFreeze"),
    // A double of the kernel has no mounts, and the namespaces of systemd no swap and no autofs.
    ("-.mount", "Options"),
    ("-.mount", "Type"),
    ("-.mount", "What"),
    ("srv-auto.automount", "CanStart"),
    ("srv-auto.automount", "CanStop"),
    ("swapfile.swap", "CanStart"),
    ("swapfile.swap", "CanStop"),
    ("srv-auto.mount", "TasksMax"),
    ("srv-data.mount", "TasksMax"),
    ("swapfile.swap", "TasksMax"),
    ("-.mount", "TasksMax"),
    // The images' modules are not asked for.
    ("sandbox.service", "Wants"),
];

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

fn read_units() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/properties");
    let mut units: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    units.sort();
    assert!(units.len() > 8);
    units
}

/// The lines `Name=value`. A name may come several times, as `ListenStream=` does.
fn read_shown(text: &str) -> Shown {
    let mut shown = Shown::new();
    let mut last = String::new();
    for line in text.lines() {
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

/// The names that are asked for: a template has nothing to show.
fn asked(units: &[(String, String)]) -> impl Iterator<Item = &str> {
    units.iter().map(|(name, _)| name.as_str()).filter(|name| !name.contains("@.")).chain(MORE)
}

/// Boots systemd with the units and asks it.
fn of_systemd(units: &[(String, String)]) -> BTreeMap<String, Shown> {
    let place = PathBuf::from(format!("/tmp/ssi-properties-{}", std::process::id()));
    for folder in ["root", "units", "out"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let mut script = String::new();
    for (name, text) in units {
        fs::write(place.join("units").join(name), text).unwrap();
    }
    for name in asked(units) {
        script += &format!("systemctl show --all -- '{name}' >'/out/{name}'\n");
    }
    let write = |path: &str, text: &str| fs::write(place.join(path), text).unwrap();
    write("units/stage.target", "[Unit]\nDefaultDependencies=no\nWants=play.service\n");
    write("units/play.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh /out/play.sh\n");
    write("out/play.sh", &format!("export LC_ALL=C.UTF-8 SYSTEMD_COLORS=0\n{script}touch /out/finished\n"));
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
    while !finished.exists() && start.elapsed() < Duration::from_secs(60) && process.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let done = finished.exists();
    let _ = process.kill();
    let _ = process.wait();
    drop(held);
    let console = console.join().unwrap();
    let shown = asked(units)
        .map(|name| {
            let text = fs::read_to_string(place.join("out").join(name)).unwrap_or_default();
            (name.to_owned(), read_shown(&text))
        })
        .collect();
    fs::remove_dir_all(&place).unwrap();
    assert!(done, "systemd did not come to the end:\n{console}");
    shown
}

/// Words and rows in an order of their own, where theirs is that of a hash table.
fn in_order(name: &str, value: &str) -> String {
    const LISTS: [&str; 9] = [
        "IPAddressAllow",
        "IPAddressDeny",
        "Names",
        "RequiresMountsFor",
        "RestrictFileSystems",
        "RestrictNetworkInterfaces",
        "Wants",
        "LoadCredential",
        "Triggers",
    ];
    if !LISTS.contains(&name) {
        return value.to_owned();
    }
    value.split([' ', '\n']).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn units_show_what_they_show_under_systemd() {
    if !can_be_booted() {
        return;
    }
    let units = read_units();
    let theirs = of_systemd(&units);
    let files: Vec<(&str, &str)> = units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let scene = Scene::new(&files);
    let mut wrong = Vec::new();
    let mut compared = 0;
    for name in asked(&units) {
        let ours = read_shown(&scene.systemctl(&["show", "--all", "--", name]));
        let theirs = &theirs[name];
        assert!(theirs.len() > 50, "{name}: {theirs:?}");
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for property in names {
            let otherwise =
                |(unit, known): &(&str, &str)| (unit.is_empty() || *unit == name) && *known == property.as_str();
            if property.contains("Timestamp")
                || OF_THE_MOMENT.contains(&property.as_str())
                || OTHERWISE.iter().any(otherwise)
            {
                continue;
            }
            compared += 1;
            let of = |shown: &Shown| shown.get(property).map(|value| in_order(property, value));
            if of(&ours) != of(theirs) {
                wrong.push(format!("{name} {property}:\n    here  {:?}\n    there {:?}", of(&ours), of(theirs)));
            }
        }
    }
    assert!(compared > 2000, "{compared} values are too few");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

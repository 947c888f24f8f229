// SPDX-License-Identifier: GPL-2.0-or-later
//! ssi-init beside this machine's systemd, each as PID 1 of namespaces on an overlay of this machine's root, with the
//! distribution's units and some of the bench's own.
//!
//! A script that runs as a service measures, and writes `name figure` lines; both boot the same way
//! (`ssi-init/daemon/tests/stage/boot.sh`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::Settings;
use super::figures::Row;
use crate::place::Place;
use crate::progress::Progress;

/// How long one boot with all that is measured in it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is measured: the script's word, a name, a unit.
const MEASURED: [(&str, &str, &str); 7] = [
    ("boot", "user space until multi-user.target", "s"),
    ("pss", "PSS of process 1 and the manager", "MB"),
    ("oneshot", "1,000 one-shot services with control groups", "starts/s"),
    ("lasting", "1,000 lasting services with control groups", "starts/s"),
    ("pss-1000", "PSS with 1,000 services running", "MB"),
    ("restart", "a service's death until it runs again", "ms"),
    ("reload", "daemon-reload with 200 units", "ms"),
];

/// The service that measures.
const SCRIPT: &str = r#"
now() { date +%s%N; }
say() { echo "$1 $2" >>/out/figures; }
pss() { local sum=0 pid; for pid in 1 $(pidof ssi-init-manager); do
	sum=$((sum + $(awk '/^Pss:/ {print $2}' /proc/$pid/smaps_rollup))); done; awk "BEGIN {print $sum / 1024}"; }
say ready $(now)
sleep 1
say pss $(pss)
for run in 1 2; do
	begun=$(now)
	systemctl start $(seq -f 'bench-one@%g.service' $(((run - 1) * 500 + 1)) $((run * 500))) || exit
	spent=$((spent + $(now) - begun))
done
say oneshot $(awk "BEGIN {print 1000 * 1e9 / $spent}")
spent=0
for run in 1 2; do
	begun=$(now)
	systemctl start $(seq -f 'bench-long@%g.service' $(((run - 1) * 500 + 1)) $((run * 500))) || exit
	spent=$((spent + $(now) - begun))
done
say lasting $(awk "BEGIN {print 1000 * 1e9 / $spent}")
say pss-1000 $(pss)
systemctl stop 'bench-long@*.service'
systemctl start bench-again.service
until [ -s /run/again ]; do sleep 0.01; done
for run in $(seq 20); do
	count=$(wc -l </run/again)
	pid=$(systemctl show -P MainPID bench-again.service)
	begun=$(now)
	kill -9 $pid
	until [ $(wc -l </run/again) -gt $count ]; do sleep 0.001; done
	echo $((($(tail -n 1 /run/again) - begun) / 1000))
	sleep 0.02
done | sort -n | sed -n 10p >/run/median
say restart $(awk '{print $1 / 1000}' /run/median)
systemctl start bench-many.target
for run in 1 2 3 4 5; do
	begun=$(now)
	systemctl daemon-reload || exit
	echo $((($(now) - begun) / 1000))
done | sort -n | sed -n 3p >/run/median
say reload $(awk '{print $1 / 1000}' /run/median)
touch /out/finished
"#;

/// See this file's head.
pub(super) fn measure(place: &Place, settings: &Settings, progress: &Progress) -> Result<Vec<Row>> {
    ensure!(Path::new("/lib/systemd/systemd").exists(), "the peer is missing: apt-get install systemd");
    let mut figures: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for run in 1..=settings.runs {
        for player in ["systemd", "ssi-init"] {
            progress.say(&format!("run {run}: {player}"));
            let told = boot(place, player).with_context(|| format!("measuring {player}"))?;
            for (word, _, _) in MEASURED {
                let figure = told.get(word).with_context(|| format!("{player} gave no figure for '{word}'"))?;
                figures.entry((word, player)).or_default().push(*figure);
            }
        }
    }
    let of = |word, player| figures.get(&(word, player)).cloned().unwrap_or_default();
    let row = |(word, name, unit): (&'static str, &'static str, &'static str)| Row {
        name: name.to_owned(),
        unit,
        peer_name: "systemd".to_owned(),
        ours: of(word, "ssi-init"),
        peer: of(word, "systemd"),
    };
    Ok(MEASURED.into_iter().map(row).collect())
}

fn units() -> Vec<(String, String)> {
    let unit = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let mut units = vec![
        unit("stage.target", "[Unit]\nRequires=multi-user.target\nWants=bench.service\n"),
        unit(
            "bench.service",
            "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/bin/bash /out/bench.sh\n\
             StandardOutput=file:/out/said\nStandardError=file:/out/said\n",
        ),
        unit("bench-one@.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        unit("bench-long@.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        unit(
            "bench-again.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=0\n\
             ExecStart=/bin/sh -c 'date +%%s%%N >>/run/again; exec sleep 1000'\n",
        ),
    ];
    let mut many = "[Unit]\n".to_owned();
    for number in 0..200 {
        many.push_str(&format!("Wants=bench-many-{number}.service\n"));
        let text = format!(
            "[Unit]\nDescription=Unit {number}\nAfter=network.target\nConditionPathExists=/bin/sh\n[Service]\nType=oneshot\n\
             RemainAfterExit=yes\nEnvironment=A={number}\nExecStart=/bin/true\nProtectSystem=full\nLimitNOFILE=4096\n"
        );
        units.push((format!("bench-many-{number}.service"), text));
    }
    units.push(("bench-many.target".to_owned(), many));
    units
}

/// One boot; the figures it told.
fn boot(place: &Place, player: &str) -> Result<BTreeMap<String, f64>> {
    let directory = tempfile::Builder::new().prefix("ssi-bench-").tempdir().context("making a directory")?;
    let at = directory.path();
    for folder in ["root", "units", "out"] {
        fs::create_dir(at.join(folder))?;
    }
    for (name, text) in units() {
        fs::write(at.join("units").join(name), text)?;
    }
    fs::write(at.join("out/bench.sh"), SCRIPT)?;
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("making a console")?;
    grantpt(&main)?;
    unlockpt(&main)?;
    let console = ptsname(&main, Vec::new())?.into_string().context("naming the console")?;
    let log = at.join("console");
    let drain = std::thread::spawn({
        let log = log.clone();
        move || {
            let (mut main, mut all, mut buffer) = (fs::File::from(main), Vec::new(), [0; 65536]);
            while let Ok(count @ 1..) = main.read(&mut buffer) {
                all.extend_from_slice(&buffer[..count]);
            }
            // For the message of a bench that failed, nothing more.
            let _ = fs::write(log, all);
        }
    });
    // As long as this is open, the console does not hang up between two writers.
    let held = fs::OpenOptions::new().read(true).write(true).open(&console).context("opening the console")?;
    let begun = SystemTime::now();
    let mut child = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"])
        .args(["--propagation", "private", "bash"])
        .arg(place.root.join("ssi-init/daemon/tests/stage/boot.sh"))
        .args([at.as_os_str(), console.as_ref(), player.as_ref()])
        .arg(place.binaries())
        .stdin(Stdio::null())
        .spawn()
        .context("starting unshare")?;
    let since = Instant::now();
    let finished: PathBuf = at.join("out/finished");
    while !finished.exists() && since.elapsed() < PATIENCE && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let done = finished.exists();
    child.kill().context("ending the boot")?;
    child.wait()?;
    drop(held);
    // The last writer of the console is gone with its PID 1.
    let _ = drain.join();
    let read = |path: &str| fs::read_to_string(at.join(path)).unwrap_or_default();
    if !done {
        bail!("it did not come to its end: {}\n{}\n{}", read("out/figures"), read("out/said"), read("console"));
    }
    let mut figures = BTreeMap::new();
    for line in read("out/figures").lines() {
        if let Some((word, Ok(figure))) = line.split_once(' ').map(|(word, figure)| (word, figure.parse::<f64>())) {
            figures.insert(word.to_owned(), figure);
        }
    }
    let began = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    if let Some(ready) = figures.get("ready").copied() {
        figures.insert("boot".to_owned(), ready / 1e9 - began);
    }
    Ok(figures)
}

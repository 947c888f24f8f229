// SPDX-License-Identifier: GPL-2.0-or-later
//! A stage on which a scene is played twice: to systemd, the one installed here, and to ssi-init.
//!
//! A scene is a file: unit files and one script, each after a line `=== NAME`. The script, `=== script`, runs as a
//! service with `seen` to say what it saw: what it prints goes into `/out/seen`, and that is compared. Between units the
//! words `systemctl` and `journalctl` are those of this machine.

#![allow(dead_code, unreachable_pub)]

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Which init plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    Systemd,
    SsiInit,
}

impl Player {
    fn word(self) -> &'static str {
        match self {
            Player::Systemd => "systemd",
            Player::SsiInit => "ssi-init",
        }
    }
}

/// A scene.
pub struct Scene {
    pub name: String,
    pub units: Vec<(String, String)>,
    pub script: String,
    /// Words more for ssi-init's command line, with blanks between.
    pub words: &'static str,
}

impl Scene {
    /// Reads one.
    pub fn read(path: &Path) -> Scene {
        let text = fs::read_to_string(path).unwrap();
        let mut scene = Scene {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            units: Vec::new(),
            script: String::new(),
            words: "",
        };
        for part in text.split("\n=== ").skip(1) {
            let (name, body) = part.split_once('\n').unwrap_or((part, ""));
            let body = format!("{body}\n");
            match name.trim() {
                "script" => scene.script = body,
                unit => scene.units.push((unit.to_owned(), body)),
            }
        }
        assert!(!scene.script.is_empty(), "{} has no script", path.display());
        scene
    }
}

/// What came of a scene.
#[derive(Debug, Default)]
pub struct Played {
    /// What the script said.
    pub seen: String,
    /// What the init wrote to the console.
    pub console: String,
    /// Whether the script came to its end.
    pub finished: bool,
}

/// Whether there is systemd 252 and root; says so when not.
pub fn can_be_played() -> bool {
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

/// What every script can say.
const PROLOGUE: &str = r#"
exec 9>>/out/seen
seen() { echo "$*" >&9; }
# states UNIT…: what they are in, one line each
states() { for unit; do seen "$unit: $(systemctl show -P LoadState,ActiveState "$unit" 2>/dev/null | tr '\n' ' ')$(systemctl show -P SubState "$unit") $(systemctl show -P Result "$unit")"; done; }
# until COMMAND…: waits, ten seconds at most
until_() { for try in $(seq 200); do eval "$*" && return 0; sleep 0.05; done; seen "never: $*"; return 1; }
try() { "$@" >/tmp/said 2>&1; seen "$* -> $?"; }
"#;

/// How long a scene may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays a scene.
pub fn play(scene: &Scene, player: Player) -> Played {
    play_for(scene, player, PATIENCE)
}

/// Plays a scene that may take so long.
pub fn play_for(scene: &Scene, player: Player, patience: Duration) -> Played {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_ssi-init-manager")).parent().unwrap().to_owned();
    for program in ["ssi-init", "ssi-exec"] {
        assert!(programs.join(program).exists(), "{program} is not built: cargo build --workspace --bins");
    }
    let place = std::env::temp_dir().join(format!("ssi-stage-{}-{}-{}", std::process::id(), scene.name, player.word()));
    for folder in ["root", "units", "out"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let units = place.join("units");
    for (unit, text) in &scene.units {
        let path = units.join(unit);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.trim().strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let stage = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\nWants=play.service\n";
    fs::write(units.join("stage.target"), stage).unwrap();
    let play = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\n[Service]\nExecStart=/bin/bash /out/play.sh\n\
                StandardOutput=file:/out/said\nStandardError=file:/out/said\nTimeoutStopSec=2\n";
    fs::write(units.join("play.service"), play).unwrap();
    fs::write(place.join("out/words"), scene.words).unwrap();
    fs::write(place.join("out/play.sh"), format!("{PROLOGUE}\n{}\ntouch /out/finished\n", scene.script)).unwrap();

    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let name = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
    let terminal = fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut raw = rustix::termios::tcgetattr(&terminal).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, &raw).unwrap();
    rustix::io::ioctl_fionbio(main.as_fd(), true).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stage/boot.sh");
    let mut child = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"])
        .args(["--propagation", "private", "bash"])
        .arg(script)
        .arg(&place)
        .arg(&name)
        .arg(player.word())
        .arg(&programs)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut console = Vec::new();
    let mut main = File::from(main);
    let finished = loop {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = main.read(&mut buffer) {
            console.extend_from_slice(&buffer[..count]);
        }
        if place.join("out/finished").exists() {
            break true;
        }
        if begun.elapsed() > patience || child.try_wait().unwrap().is_some() {
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // PID 1 is what unshare started; with it all others end.
    child.kill().unwrap();
    child.wait().unwrap();
    let seen = fs::read_to_string(place.join("out/seen")).unwrap_or_default();
    let said = fs::read_to_string(place.join("out/said")).unwrap_or_default();
    let mut console = String::from_utf8_lossy(&console).into_owned();
    console.push_str(&said);
    // The mounts are gone with the namespace; what is left is empty or small.
    let _ = fs::remove_dir_all(&place);
    Played { seen, console, finished }
}

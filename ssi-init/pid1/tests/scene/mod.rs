// SPDX-License-Identifier: GPL-2.0-or-later
//! A scene: the real `ssi-init` as process 1 of namespaces of its own, in a root on a tmpfs that has little but the
//! host's `/usr` (read-only), with `examples/small_manager` as its manager. `/lab` inside is a directory of the test's.
//!
//! Needs root, `unshare` and `pivot_root` (util-linux).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SETUP: &str = r#"
set -e
root=$1 lab=$2 programs=$3; shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir usr etc lab programs proc sys dev run tmp old var cluster
ln -s usr/bin bin; ln -s usr/sbin sbin; ln -s usr/lib lib; ln -s usr/lib64 lib64
mount --rbind /usr usr; mount -o remount,bind,ro usr
mount --bind "$lab" lab
mount --bind "$programs" programs
mount -t tmpfs -o mode=755 dev dev
for node in null zero urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
if [ -f lab/setup ]; then . lab/setup; fi
pivot_root . old
exec "$@" <dev/null >>lab/console 2>&1
"#;

pub struct Scene {
    directory: tempfile::TempDir,
    unshare: Child,
    pid1: i32,
}

/// Where the programs are. `cargo test` builds examples beside the tests; with `--test NAME` it does not.
fn programs() -> PathBuf {
    static BUILT: std::sync::Once = std::sync::Once::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_ssi-init")).parent().unwrap().to_owned();
    BUILT.call_once(|| {
        if !programs.join("examples/small_manager").exists() {
            let arguments = ["build", "--package", env!("CARGO_PKG_NAME"), "--example", "small_manager"];
            assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
        }
    });
    programs
}

impl Scene {
    /// Starts process 1; `setup` is run by the shell before, in what becomes the root.
    pub fn with(setup: &str, arguments: &[&str]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: they make namespaces and mounts");
        let directory = tempfile::tempdir().unwrap();
        let (lab, root) = (directory.path().join("lab"), directory.path().join("root"));
        fs::create_dir(&lab).unwrap();
        fs::create_dir(&root).unwrap();
        // A copy, so that a test can replace it.
        fs::copy(env!("CARGO_BIN_EXE_ssi-init"), lab.join("ssi-init")).unwrap();
        fs::write(lab.join("setup"), setup).unwrap();
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            SETUP,
            "sh",
        ]);
        command.args([&root, &lab, &programs()]);
        command.args(["/lab/ssi-init", "ssi.init.manager=/programs/examples/small_manager"]).args(arguments);
        let unshare = command.stdin(Stdio::null()).spawn().unwrap();
        let mut scene = Self { directory, unshare, pid1: 0 };
        scene.until("process 1", |scene| {
            let children = format!("/proc/{0}/task/{0}/children", scene.unshare.id());
            let pid = fs::read_to_string(children).ok()?.trim().parse().ok()?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (name.trim() == "ssi-init").then(|| scene.pid1 = pid)
        });
        scene
    }

    pub fn new(arguments: &[&str]) -> Self {
        Self::with("", arguments)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("lab").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Gives the manager orders, and waits until it has them.
    pub fn order(&mut self, orders: &str) {
        fs::write(self.file("orders"), orders).unwrap();
        fs::rename(self.file("orders"), self.file("do")).unwrap();
        self.until("the manager to take its orders", |scene| (!scene.file("do").exists()).then_some(()));
    }

    /// How many lines of the log begin so.
    pub fn count(&self, begin: &str) -> usize {
        self.read("log").lines().filter(|line| line.starts_with(begin)).count()
    }

    /// Waits for a line of the log that holds this; gives it.
    pub fn heard(&mut self, part: &str) -> String {
        self.until(part, |scene| scene.read("log").lines().find(|line| line.contains(part)).map(str::to_owned))
    }

    /// Waits for something, and tells all if it does not come.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if begun.elapsed() > Duration::from_secs(30) {
                let ended = self.unshare.try_wait();
                panic!(
                    "waited in vain for {what}; process 1 {}: {ended:?}\n--- console\n{}\n--- log\n{}",
                    self.pid1,
                    self.read("console"),
                    self.read("log").lines().rev().take(40).collect::<Vec<_>>().join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The host's number of process 1.
    pub fn pid1(&self) -> i32 {
        self.pid1
    }

    /// The host's number of the manager that runs.
    pub fn manager(&mut self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.pid1);
        self.until("a manager", |_| {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().find_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                // What it starts is a child of process 1 too, and in its session; it alone leads that, from its first step.
                let (name, rest) = stat.rsplit_once(") ")?;
                let fields: Vec<&str> = rest.split(' ').collect();
                let alive = fields[0] != "Z" && fields[3] == pid;
                (name.ends_with("(small_manager") && alive).then(|| pid.parse().ok())?
            })
        })
    }

    pub fn signal(&self, signal: i32) {
        assert_eq!(unsafe_free_kill(self.pid1, signal), 0, "signalling process 1");
    }

    pub fn kill_manager(&mut self) {
        let manager = self.manager();
        kill(Pid::from_raw(manager), Signal::SIGKILL).unwrap();
    }

    /// Waits for the end of process 1.
    pub fn end(&mut self) -> ExitStatus {
        self.until("the end", |scene| scene.unshare.try_wait().unwrap())
    }
}

/// By the command, since signals beyond the standard ones have no type.
fn unsafe_free_kill(pid: i32, signal: i32) -> i32 {
    let status = Command::new("/bin/kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
    status.code().unwrap_or(-1)
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Ends process 1, and with it all that is in its namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // What stays is the empty cgroup that it made for itself below the test's. Another scene may be in it: then
        // that one takes it away.
        const SWEEP: &str =
            "mount -t cgroup2 sweep \"$1\" && rmdir \"$1/$(sed -n s/^0:://p /proc/self/cgroup)/init.scope\"";
        let mut sweep = Command::new("unshare");
        sweep.args(["--mount", "sh", "-c", SWEEP, "sh"]).arg(self.directory.path().join("root"));
        let _ = sweep.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Scenes for `examples/counting_manager`: below the real process 1, in namespaces of their own, in a root on a tmpfs
//! that has little but the host's `/usr` (read-only); or standalone.
//!
//! Need root, `unshare` and `pivot_root` (util-linux).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

const ROOT: &str = r#"
set -e
root=$1 lab=$2 programs=$3; shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir usr etc lab programs proc sys dev run tmp old var cluster
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
mount --rbind /usr usr; mount -o remount,bind,ro usr
mount --bind "$lab" lab
mount --bind "$programs" programs
mount -t tmpfs -o mode=755 dev dev
for node in null zero urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
pivot_root . old
exec "$@" <dev/null >>lab/console 2>&1
"#;

/// The folder with the built programs; they are built first where that is needed.
pub fn programs() -> PathBuf {
    static BUILT: Once = Once::new();
    // …/target/debug/deps/this
    let programs = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    BUILT.call_once(|| {
        for what in [["ssi-pid1", "--bin", "ssi-init"], ["ssi-keep", "--example", "counting_manager"]] {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--package"]).args(what);
            assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success(), "{what:?}");
        }
    });
    programs
}

pub struct Scene {
    directory: tempfile::TempDir,
    first: Child,
    /// The host's number of process 1, or of the manager where there is none.
    pub head: i32,
}

impl Scene {
    fn lab() -> (tempfile::TempDir, PathBuf) {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: they make namespaces and mounts");
        let directory = tempfile::tempdir().unwrap();
        let lab = directory.path().join("lab");
        fs::create_dir(&lab).unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        (directory, lab)
    }

    /// The real process 1, with the manager below it.
    pub fn with_process_1(settings: &[&str]) -> Self {
        let (directory, lab) = Self::lab();
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child", "sh", "-c", ROOT, "sh"]);
        unshare.args([&directory.path().join("root"), &lab, &programs()]);
        unshare.args(["/programs/ssi-init", "ssi.init.manager=/programs/examples/counting_manager"]).args(settings);
        let first = unshare.stdin(Stdio::null()).spawn().unwrap();
        let mut scene = Self { directory, first, head: 0 };
        scene.head = scene.until("process 1", |scene| child_named(scene.first.id(), "ssi-init"));
        scene
    }

    /// The manager as an ordinary process, or as process 1 of a namespace.
    pub fn standalone(own_namespace: bool) -> Self {
        let (directory, lab) = Self::lab();
        let manager = programs().join("examples/counting_manager");
        let mut command = Command::new(if own_namespace { Path::new("unshare") } else { &manager });
        if own_namespace {
            command.args(["--pid", "--fork", "--kill-child"]).arg(&manager);
        }
        command.arg(format!("lab={}", lab.display()));
        let first = command.stdin(Stdio::null()).spawn().unwrap();
        let mut scene = Self { directory, first, head: 0 };
        scene.head = if own_namespace {
            scene.until("the manager", |scene| child_named(scene.first.id(), "counting_manage"))
        } else {
            scene.first.id() as i32
        };
        scene
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("lab").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// How many lines a file has.
    pub fn lines(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    pub fn touch(&self, name: &str) {
        fs::write(self.file(name), "").unwrap();
    }

    /// The manager below process 1: the one that runs its program in process 1's own process group. What it starts leads
    /// groups of its own, or is not its program any more.
    pub fn manager(&self) -> Option<i32> {
        children(self.head as u32).into_iter().find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
            fields.is_some_and(|fields| fields[0] != "Z" && fields[2] == self.head.to_string())
                && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("counting"))
        })
    }

    /// Waits for something, and tells all if it does not come.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if begun.elapsed() > Duration::from_secs(120) {
                let files =
                    ["console", "broken", "begun", "count"].map(|name| format!("--- {name}\n{}", self.read(name)));
                panic!("waited in vain for {what}: {:?}\n{}", self.first.try_wait(), files.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// No more processes; then every one that was born is counted, once, with its own status.
    pub fn all_counted(&mut self) -> usize {
        self.touch("stop");
        self.until("every exit to be counted", |scene| {
            let born: Vec<u64> = scene.read("born").lines().filter_map(|line| line.parse().ok()).collect();
            let counted = scene.read("count") == format!("{} {}\n", born.len(), born.iter().sum::<u64>());
            let idle = children(scene.head as u32).iter().all(|pid| Some(*pid) == scene.manager());
            (counted && idle).then_some(born.len())
        })
    }

    /// Waits for the end of process 1, or of the manager where there is none.
    pub fn end(&mut self) -> ExitStatus {
        self.until("the end", |scene| scene.first.try_wait().unwrap())
    }
}

fn children(pid: u32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn child_named(parent: u32, name: &str) -> Option<i32> {
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name);
    children(parent).into_iter().find(named)
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
        // What stays is the empty cgroup that process 1 made for itself below the test's. Another scene may be in it:
        // then that one takes it away.
        const SWEEP: &str =
            "mount -t cgroup2 sweep \"$1\" && rmdir \"$1/$(sed -n s/^0:://p /proc/self/cgroup)/init.scope\"";
        let mut sweep = Command::new("unshare");
        sweep.args(["--mount", "sh", "-c", SWEEP, "sh"]).arg(self.directory.path().join("root"));
        let _ = sweep.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

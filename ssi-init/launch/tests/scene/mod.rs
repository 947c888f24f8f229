// SPDX-License-Identifier: GPL-2.0-or-later
//! A stage for units: a unit file as text, its commands run for real, below a root and in a control group of the
//! test's own.
#![allow(dead_code, unreachable_pub)] // each scene uses what it needs

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use ssi_launch::cgroup::Cgroups;
use ssi_launch::{ChildOf, Launched, Launcher, Messages, Outcome, Report, Request};
use ssi_unit::config::ManagerDefaults;
use ssi_unit::exec_line::ExecCommand;
use ssi_unit::files::MemoryFiles;
use ssi_unit::load::{LoadState, Loaded, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

/// The executor: `SSI_EXEC_BIN`, or the one of this build, which is brought up to date.
pub fn executor() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(given) = std::env::var_os("SSI_EXEC_BIN") {
                return given.into();
            }
            let own = std::env::current_exe().unwrap();
            // target/PROFILE/deps/this-test
            let profile = own.parent().and_then(Path::parent).unwrap().to_owned();
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
            build.args(["build", "--quiet", "-p", "ssi-exec", "--bin", "ssi-exec"]);
            build.args(profile.ends_with("release").then_some("--release"));
            build.current_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(build.status().unwrap().success(), "the executor does not build");
            profile.join("ssi-exec")
        })
        .clone()
}

/// The root of a control-group tree of version 2 in which groups can be made. Where the machine has none mounted, it
/// is mounted, for this thread alone.
///
/// # Panics
/// Without it nothing of this crate can be shown, so a machine where there is none fails the test.
pub fn tree() -> Cgroups {
    assert!(rustix::process::geteuid().is_root(), "these tests start processes in control groups: run them as root");
    for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if let Ok(tree) = Cgroups::at(Path::new(mount))
            && tree.is_writable()
        {
            return tree;
        }
    }
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    #[allow(deprecated)]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS)
        .expect("mounts of this test's own");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), None::<&std::ffi::CStr>)
        .expect("a control-group tree of version 2: this kernel has none, and these tests need one");
    Cgroups::at(Path::new("/sys/fs/cgroup")).unwrap()
}

/// Reads a unit's text as the manager would. Mistakes in it fail the test.
pub fn unit(name: &str, text: &str) -> Loaded {
    let mut files = MemoryFiles::new();
    files.file(format!("/etc/systemd/system/{name}"), text);
    let mut loader = Loader::new(files, SearchPath::system(), Host::read(Path::new("/")), ManagerDefaults::default());
    let loaded = loader.load(&UnitName::new(name).unwrap());
    assert_eq!(loaded.state, LoadState::Loaded, "{:?} {:?}", loaded.error, loaded.warnings);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded
}

/// The first command of `ExecStart=`.
pub fn main_command(unit: &Loaded) -> &ExecCommand {
    &unit.config.service().unwrap().exec_start[0]
}

/// How a process ended, and what it told before.
#[derive(Debug)]
pub struct Ended {
    /// Exit status, or 128 and the signal.
    pub status: i32,
    pub outcome: Outcome,
    pub reports: Vec<Report>,
    pub warnings: Vec<String>,
}

/// The root, group and launcher of one test; all gone at its end.
pub struct Stage {
    pub root: tempfile::TempDir,
    pub tree: Cgroups,
    pub group: String,
    pub launcher: Launcher,
    pub environment: BTreeMap<String, String>,
}

impl Stage {
    pub fn new() -> Stage {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut tree = tree();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let group = format!("ssi-launch-test-{}-{number}", std::process::id());
        let plain = unit("plain.service", "[Service]\nExecStart=/bin/true\n");
        tree.make(&group, plain.config.cgroup().unwrap()).unwrap();
        // Not below /tmp, which a unit may have for itself.
        let root = tempfile::tempdir_in("/run").unwrap();
        for directory in ["run", "tmp", "var/tmp", "var/lib", "var/cache", "var/log", "etc"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        // Users other than root reach into it.
        rustix::fs::chmod(root.path(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let passed = [("PASSED".to_owned(), "on".to_owned()), ("NOT_PASSED".to_owned(), "x".to_owned())];
        let launcher = Launcher::new(&executor(), tree.root())
            .unwrap()
            .children_of(ChildOf::Caller)
            .below(root.path())
            .own_environment(passed.into())
            .messages(Messages::Silent);
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]);
        Stage { root, tree, group, launcher, environment }
    }

    /// Makes the group of a unit and gives its path.
    pub fn group_of(&mut self, unit: &Loaded) -> String {
        let path = format!("{}/{}", self.group, unit.id);
        self.tree.make(&path, unit.config.cgroup().unwrap()).unwrap();
        path
    }

    /// Starts the main process, with the request changed by `change`.
    pub fn launch<'a>(&mut self, unit: &'a Loaded, change: impl FnOnce(&mut Request<'a>)) -> Launched {
        // They live as long as the descriptors that `change` adds; a test's process is soon gone.
        let group: &str = self.group_of(unit).leak();
        let environment = Box::leak(Box::new(self.environment.clone()));
        let mut request = Request::new(&unit.id, &unit.config, main_command(unit), group, environment);
        request.wait_for_exec = true;
        change(&mut request);
        self.launcher.launch(&request).unwrap()
    }

    /// Starts it and waits for its end.
    pub fn run<'a>(&mut self, unit: &'a Loaded, change: impl FnOnce(&mut Request<'a>)) -> Ended {
        let launched = self.launch(unit, change);
        finish(launched)
    }

    /// Runs a script in a unit with these lines in its `[Service]` section; what it printed. `$` is the shell's.
    pub fn told<'a>(&mut self, lines: &str, script: &str, change: impl FnOnce(&mut Request<'a>)) -> String {
        let output = self.root.path().join("output");
        let path = self.root.path().join("script");
        std::fs::write(&path, script).unwrap();
        let text = format!(
            "[Service]\nStandardOutput=truncate:{}\nStandardError=inherit\nExecStart=:/bin/sh {}\n{lines}\n",
            output.display(),
            path.display()
        );
        let unit = Box::leak(Box::new(unit("told.service", &text)));
        let ended = self.run(unit, change);
        let told = std::fs::read_to_string(output).unwrap_or_default();
        assert_eq!((ended.status, &ended.outcome), (0, &Outcome::Running), "{told} {:?}", ended.reports);
        told.trim_end().to_owned()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.tree.kill(&self.group, 9, &[]);
        until(|| !self.tree.populated(&self.group));
        // A process that has ended counts for a moment longer.
        until(|| self.tree.remove(&self.group).is_ok());
    }
}

/// Reads reports to their end, and waits for the process.
pub fn finish(mut launched: Launched) -> Ended {
    let (outcome, reports) = reports(&mut launched);
    Ended { status: wait(launched.pid), outcome, reports, warnings: launched.warnings }
}

/// Reads reports to their end: until the program runs or will not.
pub fn reports(launched: &mut Launched) -> (Outcome, Vec<Report>) {
    let mut pipe = launched.report.take().unwrap();
    let mut all = Vec::new();
    loop {
        let progress = pipe.read();
        all.extend(progress.reports);
        if let Some(outcome) = progress.outcome {
            return (outcome, all);
        }
        let mut poll = [rustix::event::PollFd::new(&pipe, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None).unwrap();
    }
}

/// Waits for a process: its exit status, or 128 and the signal.
pub fn wait(pid: u32) -> i32 {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
}

/// Waits until something holds; whether it came to hold within ten seconds.
pub fn until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Two connected stream sockets.
pub fn pair() -> (OwnedFd, OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! A stage for plans: runs one and tells what the program printed, how it ended and what was reported.
#![allow(dead_code, unreachable_pub)] // each scene uses what it needs

use rustix::process::{WaitId, WaitIdOptions, waitid};
use ssi_exec::plan::{Command, ExecPlan, Messages, Output, Slot};
use ssi_exec::report::{Outcome, Report};
use ssi_exec::spawn::{Launch, Spawner};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// The executor under test: the one just built, or another, for instance the static one, by `SSI_EXEC_BIN`.
pub fn executor() -> PathBuf {
    std::env::var_os("SSI_EXEC_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ssi-exec").into(), PathBuf::from)
}

/// What came of a plan.
#[derive(Debug)]
pub struct Told {
    pub output: String,
    /// Exit status, or 128 and the signal.
    pub status: i32,
    pub outcome: Outcome,
    pub reports: Vec<Report>,
}

impl Told {
    /// The value of a line `name value` that the program printed.
    pub fn line(&self, name: &str) -> &str {
        self.output.lines().find_map(|line| line.strip_prefix(name)).map_or("(nothing)", str::trim)
    }
}

/// What goes along with a plan.
#[derive(Default)]
pub struct Extra<'a> {
    pub fds: Vec<BorrowedFd<'a>>,
    pub cgroup: Option<BorrowedFd<'a>>,
    pub by_clone2: bool,
}

/// A plan that runs a shell script.
pub fn script(text: &str) -> ExecPlan {
    let mut plan = ExecPlan::new("scene.service", Command::new("/bin/sh", &["-c", text]));
    plan.command.expand = false;
    plan.messages = Messages::Silent;
    plan.environment.manager.push(("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()));
    plan.keyring = ssi_exec::plan::KeyringMode::Inherit;
    plan
}

/// Runs a plan with standard output and error in a pipe.
pub fn run(plan: ExecPlan) -> Told {
    run_with(plan, Extra::default(), |_, _| {})
}

/// As `run`, with descriptors whose slots `place` puts into the plan.
pub fn run_with(plan: ExecPlan, extra: Extra<'_>, place: impl FnOnce(&mut ExecPlan, &[Slot])) -> Told {
    let spawner = Spawner::new(&executor()).unwrap();
    let mut spawner = if extra.by_clone2 { spawner.without_clone3() } else { spawner };
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut spawned = {
        let mut launch = Launch::new(plan);
        let output = launch.pass(writer.as_fd());
        let slots: Vec<Slot> = extra.fds.iter().map(|fd| launch.pass(*fd)).collect();
        launch.cgroup = extra.cgroup;
        if launch.plan.streams.output == Output::Inherit {
            launch.plan.streams.output = Output::Fd(output);
        }
        place(&mut launch.plan, &slots);
        spawner.spawn(&launch).unwrap()
    };
    drop(writer);
    let (reports, outcome) = spawned.wait_reports();
    let mut output = Vec::new();
    std::fs::File::from(reader).read_to_end(&mut output).unwrap();
    let status = waitid(WaitId::Pid(spawned.pid), WaitIdOptions::EXITED).unwrap().unwrap();
    let status = status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
    Told { output: String::from_utf8_lossy(&output).into_owned(), status, outcome, reports }
}

/// Whether this test has a machine's root, without which it shows nothing; says so when not.
pub fn is_root(scene: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("{scene}: skipped, it needs root");
    }
    root
}

/// Runs `scene` on a thread with mounts of its own: an empty /run, and nothing done there outlives it.
pub fn with_own_run<T: Send>(scene: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
            use rustix::thread::UnshareFlags;
            // Namespaces of mounts are a thread's own once it shares no root directory with the others.
            #[allow(deprecated)]
            rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=0755")).unwrap();
            scene()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The keeper: the one process that owns a lab, from the first bridge to the last byte in /run.
//!
//! ```text
//!   owner ==pipe==> [keeper] --control.sock--> [serve: a thread a call] --> [cluster] --> nodes
//!     (its end is the end of the lab)                                          |
//!   owner <==progress==                              [link: a node's channel] <+
//! ```
//!
//! Its main thread starts all long-lived children, because they are to die with it and the kernel
//! counts the death of a *thread* (prctl(2), PR_SET_PDEATHSIG). It leaves when its owner's pipe
//! closes, on SIGTERM or SIGINT, or when asked; killed outright, it takes everything but an empty
//! directory and empty cgroups along, which the next lab sweeps away.

mod cluster;
mod guests;
pub(crate) mod link;
mod serve;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::ns::cgroup;
use crate::spec::LabSpec;
use crate::vm::cache;

use cluster::Cluster;

/// Where labs have their directories.
pub(crate) const RUN_DIRECTORY: &str = "/run/ssi-lab";
/// The keeper's socket in a lab's directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";
/// What the owner writes to its pipe to let the lab live on without it.
pub(crate) const DETACH: u8 = b'd';

/// What the keeper tells its owner while the lab comes up, one JSON value a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// A step that takes a while has begun.
    Step(String),
    /// The lab is up.
    Ready,
    /// It will not come up.
    Failed(String),
}

/// What the main thread does.
pub(crate) enum Job {
    /// Run this here, because it starts a child that is to live on.
    Here(Box<dyn FnOnce() + Send>),
    /// The lab's coming up has come this far.
    Report(Progress),
    /// Tear down and leave.
    Leave(String),
}

/// A lab's directory.
pub(crate) fn directory_of(lab: &str) -> PathBuf {
    Path::new(RUN_DIRECTORY).join(lab)
}

/// Is the keeper until the lab ends: reads the plan from standard input, reports on standard output.
///
/// # Errors
/// When the lab could not be brought up; the owner has been told by then.
pub fn keep() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).context("reading the lab's plan")?;
    let spec: LabSpec = serde_json::from_str(&line).context("understanding the lab's plan")?;
    let report = |progress: &Progress| {
        let mut out = std::io::stdout().lock();
        if let Ok(text) = serde_json::to_string(progress) {
            // An owner that went away is noticed at its pipe.
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    };
    let result = keep_lab(spec, input, &report);
    if let Err(error) = &result {
        report(&Progress::Failed(format!("{error:#}")));
    }
    result
}

fn keep_lab(spec: LabSpec, owner: impl Read + Send + 'static, report: &dyn Fn(&Progress)) -> Result<()> {
    spec.check()?;
    // Ctrl-C at the owner's terminal is the owner's; its end reaches us by the pipe.
    let _ = rustix::process::setsid();
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().context("blocking signals")?;
    let directory = directory_of(&spec.name);
    let registry = lock_registry()?;
    sweep_locked();
    let lock = claim(&directory, &spec.name)?;
    drop(registry);
    let log = File::create(directory.join("keeper.log")).context("making the keeper's log")?;
    rustix::stdio::dup2_stderr(&log).context("writing errors to the keeper's log")?;
    // Mounts made from here on end with the keeper and its nodes.
    unshare(CloneFlags::CLONE_NEWNS).context("parting from the host's mounts (are you root?)")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("parting from the host's mounts")?;
    let (jobs, work) = channel();
    watch_owner(owner, jobs.clone());
    watch_signals(signals, jobs.clone());
    let name = spec.name.clone();
    let listener = UnixListener::bind(directory.join(CONTROL_SOCKET)).context("making the control socket")?;
    let result = Cluster::new(spec, directory.clone(), jobs.clone()).and_then(|cluster| {
        let cluster = Arc::new(cluster);
        let result = work_until_told(&cluster, &work, &jobs, listener, report);
        cluster.tear_down();
        result
    });
    save_logs(&directory);
    let registry = lock_registry();
    remove(&name, &directory);
    drop((lock, registry));
    result
}

/// The main thread's life: brings the cluster up, serves, and returns when it is time to leave.
fn work_until_told(
    cluster: &Arc<Cluster>,
    work: &Receiver<Job>,
    jobs: &Sender<Job>,
    listener: UnixListener,
    report: &dyn Fn(&Progress),
) -> Result<()> {
    // On a thread, so that an owner that goes away while the lab comes up is noticed.
    let (starter, reports) = (cluster.clone(), jobs.clone());
    std::thread::spawn(move || {
        let step = |step: String| drop(reports.send(Job::Report(Progress::Step(step))));
        let end = match starter.bring_up(&step) {
            Ok(()) => Progress::Ready,
            Err(error) => Progress::Failed(format!("{error:#}")),
        };
        // The main thread is there until the process ends.
        let _ = reports.send(Job::Report(end));
    });
    let mut listener = Some(listener);
    for job in work {
        match job {
            Job::Here(job) => job(),
            Job::Report(Progress::Failed(message)) => bail!(message),
            Job::Report(progress) => {
                if let Progress::Ready = progress
                    && let Some(listener) = listener.take()
                {
                    serve::start(listener, cluster.clone(), jobs.clone());
                }
                report(&progress);
            }
            Job::Leave(why) => {
                eprintln!("leaving: {why}");
                break;
            }
        }
    }
    Ok(())
}

/// Makes the lab's directory and locks it for as long as the keeper lives.
fn claim(directory: &Path, name: &str) -> Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("making {} (are you root?)", directory.display()))?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    let lock = File::create(directory.join("lock")).context("making the lab's lock")?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("a lab named '{name}' is up already: end it with `ssi-lab down --name {name}`, or choose another name");
    }
    Ok(lock)
}

/// Removes what keepers left that were killed outright.
pub(crate) fn sweep() {
    if let Ok(_registry) = lock_registry() {
        sweep_locked();
    }
}

/// Held while labs' directories come and go: a directory whose lock is not taken yet, because its
/// keeper is just making it, looks like a dead one's.
fn lock_registry() -> Result<File> {
    fs::create_dir_all(RUN_DIRECTORY).with_context(|| format!("making {RUN_DIRECTORY} (are you root?)"))?;
    let path = Path::new(RUN_DIRECTORY).join(".registry-lock");
    let lock = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
    Ok(lock)
}

fn sweep_locked() {
    for entry in fs::read_dir(RUN_DIRECTORY).into_iter().flatten().flatten() {
        let directory = entry.path();
        let Ok(lock) = File::open(directory.join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.file_name().to_string_lossy(), &directory);
        }
    }
}

fn remove(name: &str, directory: &Path) {
    if let Ok(path) = cgroup::of_lab(name) {
        cgroup::remove(&path);
    }
    let _ = fs::remove_dir_all(cache::run_directory(name));
    // Mounts are there in the keeper's own namespace only; a mount point cannot be removed in it.
    for below in subdirectories(directory) {
        for place in [directory.join(&below), directory.join(&below).join("disk")] {
            let _ = umount2(&place, MntFlags::MNT_DETACH);
        }
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        eprintln!("{} could not be removed: {error}", directory.display());
    }
}

/// Keeps the logs where `SSI_LAB_LOGS` says, for whoever has to find out what went wrong.
fn save_logs(directory: &Path) {
    let Some(to) = std::env::var_os("SSI_LAB_LOGS").map(PathBuf::from) else { return };
    let Some(lab) = directory.file_name() else { return };
    for place in [Path::new("")].into_iter().map(Path::to_owned).chain(subdirectories(directory)) {
        for log in fs::read_dir(directory.join(&place)).into_iter().flatten().flatten() {
            if log.path().extension().is_some_and(|end| end == "log") {
                let target = to.join(lab).join(&place);
                let _ = fs::create_dir_all(&target).and_then(|()| fs::copy(log.path(), target.join(log.file_name())));
            }
        }
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into()).collect()
}

/// Leaves when the owner's pipe closes without the word that lets the lab live on.
fn watch_owner(mut owner: impl Read + Send + 'static, jobs: Sender<Job>) {
    std::thread::spawn(move || {
        let mut byte = [0];
        loop {
            match owner.read(&mut byte) {
                Ok(1..) if byte == [DETACH] => return,
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = jobs.send(Job::Leave("the owner is gone".to_owned()));
    });
}

fn watch_signals(signals: SigSet, jobs: Sender<Job>) {
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            let _ = jobs.send(Job::Leave(format!("{signal} came")));
        }
    });
}

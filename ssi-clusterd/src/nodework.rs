// SPDX-License-Identifier: GPL-2.0-or-later
//! Runs the scripts of a work on this node, one after the other, and tells everyone how far they are.
//!
//! What is to be run is decided in [`crate::agreement`]; here it is done. A script is run by a process of its own
//! ([`crate::script`]) that outlives this daemon, so a daemon that comes back finds out how it ended, or waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, watch};

use ssi_cluster::NodeId;

use crate::agreement::message::{Message, ScriptBegan, ScriptEnded};
use crate::agreement::shared::{Outcome, WorkKind};
use crate::script::{Progress, ScriptFiles, ScriptResult};

/// How many scripts a folder may hold; more are not run, and the daemon's log says so.
pub const SCRIPTS_MAX: usize = 32;

/// What a script finds its programs by.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// There when PID 1 runs units (sd_booted(3)).
pub(crate) const BOOTED_WITH_UNITS: &str = "/run/systemd/system";

/// How often a running script is looked after.
const LOOK: Duration = Duration::from_millis(25);

/// Where things are, and how long a script may take.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder with `nodeup.d` and `nodedown.d`.
    pub etc: PathBuf,
    /// The folder for a work's files, gone with a reboot.
    pub run: PathBuf,
    /// This program, which is the runner too.
    pub program: PathBuf,
    /// How long one script may take.
    pub timeout: Duration,
}

/// One work to be run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its transition.
    pub transition: u64,
    /// Which folder.
    pub kind: WorkKind,
    /// The node that came or went.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Scripts that came to their ends already.
    pub ended: Vec<String>,
}

/// The works that run here.
pub struct NodeWork {
    places: Places,
    tell: mpsc::Sender<Message>,
    running: BTreeMap<u64, watch::Sender<Order>>,
}

/// What a work's task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Go on.
    Go,
    /// Leave everything as it is: another task goes on with it.
    Yield,
    /// End what runs: the work is no longer this node's.
    End,
}

impl NodeWork {
    /// `tell` takes what all members are to know.
    pub fn new(places: Places, tell: mpsc::Sender<Message>) -> Self {
        Self { places, tell, running: BTreeMap::new() }
    }

    /// Starts a work, or goes on with it and tells again what was told.
    pub fn start(&mut self, job: Job) {
        self.running.retain(|_, order| !order.is_closed());
        let (order, orders) = watch::channel(Order::Go);
        if let Some(before) = self.running.insert(job.transition, order) {
            let _ = before.send(Order::Yield);
        }
        let (places, tell) = (self.places.clone(), self.tell.clone());
        tokio::spawn(async move {
            if let Err(e) = run_work(&places, &job, &tell, orders).await {
                tracing::error!("{} work for {}: {e:#}", job.kind.name(), job.node_name);
            }
        });
    }

    /// Ends a work that is no longer this node's; nothing more is told of it. When it is `over`, its files go: a
    /// transition's number is never used again.
    pub fn abort(&mut self, transition: u64, over: bool) {
        if let Some(order) = self.running.remove(&transition) {
            let _ = order.send(Order::End);
        }
        if over {
            let _ = std::fs::remove_dir_all(self.places.run.join(transition.to_string()));
        }
    }
}

async fn run_work(
    places: &Places,
    job: &Job,
    tell: &mpsc::Sender<Message>,
    mut orders: watch::Receiver<Order>,
) -> Result<()> {
    let folder = places.etc.join(format!("{}.d", job.kind.name()));
    let files_dir = places.run.join(job.transition.to_string());
    std::fs::create_dir_all(&files_dir).with_context(|| format!("cannot make {}", files_dir.display()))?;
    let ended: BTreeSet<&str> = job.ended.iter().map(String::as_str).collect();
    for script in scripts(&folder) {
        if ended.contains(script.as_str()) {
            // Another ran it to its end while this node was away from the work; one that still runs here is too late.
            end_script(&ScriptFiles::new(&files_dir, &script));
            continue;
        }
        if *orders.borrow() != Order::Go {
            return Ok(());
        }
        let began = ScriptBegan { transition: job.transition, script: script.clone() };
        let _ = tell.send(Message::ScriptBegan(began)).await;
        let path = folder.join(&script);
        let result = match unfit(&path) {
            Some(why) => Some(ScriptResult { outcome: Outcome::Failed, status: 126, output: why }),
            None => run_script(places, job, &files_dir, &script, &path, &mut orders).await,
        };
        let Some(result) = result else { return Ok(()) };
        if result.outcome == Outcome::Done {
            tracing::info!("{} for {}: done", path.display(), job.node_name);
        } else {
            let what = result.outcome.name();
            tracing::error!(
                "{} for {}: {what}, status {}: {}",
                path.display(),
                job.node_name,
                result.status,
                result.output
            );
        }
        let ScriptResult { outcome, status, output } = result;
        let ended = ScriptEnded { transition: job.transition, script, outcome, status, output };
        let _ = tell.send(Message::ScriptEnded(ended)).await;
    }
    if *orders.borrow() == Order::Go {
        let _ = tell.send(Message::WorkDone { transition: job.transition }).await;
    }
    Ok(())
}

/// Runs one script, or waits for one that a runner of an earlier daemon still runs. `None`: the work was taken away.
async fn run_script(
    places: &Places,
    job: &Job,
    files_dir: &Path,
    script: &str,
    path: &Path,
    orders: &mut watch::Receiver<Order>,
) -> Option<ScriptResult> {
    let failed = |output: String| Some(ScriptResult { outcome: Outcome::Failed, status: 126, output });
    let files = ScriptFiles::new(files_dir, script);
    if files.progress() == Progress::New
        && let Err(e) = spawn_runner(places, job, &files, path).await
    {
        return failed(format!("{e:#}"));
    }
    let mut unstarted = 0;
    loop {
        match files.progress() {
            // Ended by an earlier abort, and now it is this node's again: it is run anew.
            Progress::Ended(result) if result.outcome == Outcome::Lost => {
                let _ = std::fs::remove_file(&files.run);
                let _ = std::fs::remove_file(&files.result);
                if *orders.borrow() != Order::Go {
                    return None;
                }
                if let Err(e) = spawn_runner(places, job, &files, path).await {
                    return failed(format!("{e:#}"));
                }
            }
            Progress::Ended(result) => return Some(result),
            Progress::Vanished => {
                return failed("the process that ran it was killed; how far it came is not known".into());
            }
            Progress::Running(_) => {
                let order = *orders.borrow();
                if order == Order::End {
                    end_script(&files);
                }
                if order != Order::Go {
                    return None;
                }
            }
            Progress::New => {
                unstarted += 1;
                if unstarted > 400 {
                    return failed("the process that should run it did not start".into());
                }
            }
        }
        // A closed channel cannot be: the sender is dropped only after an order to end.
        let _ = tokio::time::timeout(LOOK, orders.changed()).await;
        if *orders.borrow() != Order::Go && files.progress() == Progress::New {
            return None;
        }
    }
}

/// Has a script that runs here ended, if it does; its runner ends it and what it started.
fn end_script(files: &ScriptFiles) {
    if let Progress::Running(pid) = files.progress()
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Starts the process that runs one script. Where systemd, or an init with its tongue, is PID 1, in a unit of its own:
/// outside this daemon's sandbox, where a script may do what its administrator means it to, and outside its control
/// group, so that stopping the daemon does not stop the script.
async fn spawn_runner(places: &Places, job: &Job, files: &ScriptFiles, path: &Path) -> Result<()> {
    let environment = [
        ("SSI_EVENT", job.kind.name().to_owned()),
        ("SSI_EVENT_NODE", job.node.to_string()),
        ("SSI_EVENT_NAME", job.node_name.clone()),
        ("SSI_TRANSITION", job.transition.to_string()),
    ];
    let mut runner: Vec<OsString> = vec![places.program.clone().into(), "run-script".into()];
    runner.extend(["--run".into(), files.run.clone().into(), "--result".into(), files.result.clone().into()]);
    runner.extend(["--timeout-ms".into(), places.timeout.as_millis().to_string().into(), "--".into()]);
    runner.extend([path.into(), job.node.to_string().into(), job.node_name.clone().into()]);

    if !Path::new(BOOTED_WITH_UNITS).is_dir() {
        let program = runner.remove(0);
        let mut command = std::process::Command::new(&program);
        command.args(runner).env_clear().env("PATH", PATH).envs(environment);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", places.program.display()))?;
        // Its end is told by its files; this only takes it out of the process table.
        std::thread::spawn(move || child.wait());
        return Ok(());
    }
    let script = path.file_name().unwrap_or_default().to_string_lossy();
    let mut command = tokio::process::Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--property=KillMode=process"]);
    command.arg(format!("--unit=ssi-{}-{}-{script}", job.kind.name(), job.transition));
    command.arg(format!("--description={} for {}", path.display(), job.node_name));
    command.arg(format!("--setenv=PATH={PATH}"));
    command.args(environment.map(|(name, value)| format!("--setenv={name}={value}")));
    let out = command.arg("--").args(runner).output().await.context("cannot run systemd-run")?;
    if !out.status.success() {
        bail!("cannot be started: systemd-run: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// The scripts of a folder in the order they are run: plain names sorted by their bytes, as run-parts(8) does.
fn scripts(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !n.starts_with('.'))
        .filter(|n| !n.contains(".dpkg-") && !n.contains(".rpm") && !n.ends_with(".bak"))
        .filter(|n| folder.join(n).metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
        .collect();
    names.sort();
    for name in names.iter().skip(SCRIPTS_MAX) {
        tracing::error!("{} is not run: a folder may hold {SCRIPTS_MAX} scripts", folder.join(name).display());
    }
    names.truncate(SCRIPTS_MAX);
    names
}

/// Why a script is not to be run with this daemon's rights.
fn unfit(path: &Path) -> Option<String> {
    let meta = path.metadata().map_err(|e| format!("cannot look at it: {e}"));
    match meta {
        Err(why) => Some(why),
        Ok(m) if m.mode() & 0o002 != 0 => Some("not run: everybody may write to it; try: chmod o-w".into()),
        Ok(m) if m.uid() != 0 && m.uid() != rustix::process::geteuid().as_raw() => {
            Some("not run: it is not root's; try: chown root".into())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_sorted_and_editors_leftovers_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("20-b", 0o755),
            ("10-a", 0o755),
            ("15-off", 0o644),
            ("10-a~", 0o755),
            ("10-a.dpkg-old", 0o755),
            (".x", 0o755),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(scripts(dir.path()), ["10-a", "20-b"]);
        assert!(scripts(&dir.path().join("not-there")).is_empty());
        std::fs::set_permissions(dir.path().join("10-a"), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(unfit(&dir.path().join("10-a")).is_some());
        assert_eq!(unfit(&dir.path().join("20-b")), None);
    }
}

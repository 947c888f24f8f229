// SPDX-License-Identifier: GPL-2.0-or-later
//! Programs the agent keeps running under a name, as an init would: daemons of a test, until there
//! is an init to be tested.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, create_dir_all};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::protocol::{Exit, ProcessAction, ProcessStatus, Spawn};

use super::children::Children;
use super::lock;

/// Where the logs are, in the node.
pub(super) const LOG_DIRECTORY: &str = "/var/log/ssi-lab";
/// How long a respawning program stays down.
const PAUSE: Duration = Duration::from_millis(200);

/// All named programs of this node.
#[derive(Clone)]
pub(super) struct Background {
    children: Children,
    named: Arc<Mutex<HashMap<String, Arc<Mutex<Kept>>>>>,
}

/// One named program.
struct Kept {
    spawn: Spawn,
    pid: Option<Pid>,
    restarts: u32,
    last_exit: Option<Exit>,
    stopping: bool,
}

impl Background {
    pub(super) fn new(children: Children) -> Self {
        Self { children, named: Arc::default() }
    }

    /// Starts a program under its name; one that runs already under it is an error.
    pub(super) fn spawn(&self, spawn: Spawn) -> Result<ProcessStatus, String> {
        let name = spawn.name.clone();
        if name.is_empty() || name.contains('/') {
            return Err(format!("'{name}' is no name for a program kept in the background"));
        }
        let mut named = lock(&self.named);
        if let Some(pid) = named.get(&name).and_then(|kept| lock(kept).pid) {
            return Err(format!("'{name}' runs already, as process {}: stop it first", pid.as_raw_nonzero()));
        }
        let kept = Kept { spawn, pid: None, restarts: 0, last_exit: None, stopping: false };
        let kept = Arc::new(Mutex::new(kept));
        self.start(&kept)?;
        named.insert(name, kept.clone());
        drop(named);
        Ok(status(&lock(&kept)))
    }

    fn start(&self, kept: &Arc<Mutex<Kept>>) -> Result<(), String> {
        let mut entry = lock(kept);
        let (program, arguments) = entry.spawn.argv.split_first().ok_or("no program was named")?;
        let log = open_log(&entry.spawn.name)?;
        let errors = log.try_clone().map_err(|error| format!("the log could not be opened: {error}"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(&entry.spawn.env)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let (sender, end) = channel();
        let started = self
            .children
            .spawn(&mut command, move |exit| sender.send(exit).unwrap_or_default())
            .map_err(|error| format!("'{program}' could not be started: {error}"))?;
        entry.pid = Some(started.pid);
        drop(entry);
        let (background, kept) = (self.clone(), kept.clone());
        std::thread::spawn(move || {
            let exit = end.recv().ok();
            let mut entry = lock(&kept);
            entry.pid = None;
            entry.last_exit = exit;
            let again = entry.spawn.respawn && !entry.stopping;
            drop(entry);
            if !again {
                return;
            }
            std::thread::sleep(PAUSE);
            if lock(&kept).stopping {
                return;
            }
            lock(&kept).restarts += 1;
            // A program that has gone from the disk stays down; its status shows it.
            let _ = background.start(&kept);
        });
        Ok(())
    }

    /// Does something with a named program.
    pub(super) fn act(&self, name: &str, action: ProcessAction) -> Result<ProcessStatus, String> {
        let kept = lock(&self.named).get(name).cloned();
        let kept = kept.ok_or_else(|| format!("no program was started here under the name '{name}'"))?;
        match action {
            ProcessAction::Status => {}
            ProcessAction::Signal(number) => {
                let pid = lock(&kept).pid.ok_or_else(|| format!("'{name}' is not running"))?;
                let signal = Signal::from_named_raw(number).ok_or_else(|| format!("there is no signal {number}"))?;
                kill_process(pid, signal).map_err(|error| format!("'{name}' could not be signalled: {error}"))?;
            }
            ProcessAction::Stop { patience_ms } => {
                lock(&kept).stopping = true;
                let deadline = Instant::now() + Duration::from_millis(patience_ms);
                let running = || lock(&kept).pid;
                if let Some(pid) = running() {
                    // It may end between the look and the signal.
                    let _ = kill_process_group(pid, Signal::TERM);
                }
                while let Some(pid) = running() {
                    if Instant::now() >= deadline {
                        let _ = kill_process_group(pid, Signal::KILL);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(status(&lock(&kept)))
    }
}

fn status(kept: &Kept) -> ProcessStatus {
    ProcessStatus {
        pid: kept.pid.map(|pid| pid.as_raw_nonzero().get()),
        restarts: kept.restarts,
        last_exit: kept.last_exit,
        log: format!("{LOG_DIRECTORY}/{}.log", kept.spawn.name),
    }
}

fn open_log(name: &str) -> Result<File, String> {
    let path = format!("{LOG_DIRECTORY}/{name}.log");
    create_dir_all(LOG_DIRECTORY)
        .and_then(|()| OpenOptions::new().create(true).append(true).open(&path))
        .map_err(|error| format!("the log {path} could not be opened: {error}"))
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! Runs a fence agent: a program that turns a machine off, as the fence-agents packages have them for power switches,
//! management boards and hypervisors.
//!
//! What an agent is told goes to its standard input, a `name=value` a line, and its exit status says how it went
//! (ClusterLabs, *FenceAgentAPI.md*). So no secret is seen in the list of processes.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::NodeId;
use crate::config::FenceDevice;

/// Where agents are looked for that are given by name.
pub const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];

/// How much of the end of what an agent prints is kept, in bytes.
const OUTPUT_KEPT: u64 = 600;

/// Why an agent did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// There is no such program.
    #[error(
        "the fence agent {0} is not installed; Debian's package fence-agents has most of them, Fedora's fence-agents-all"
    )]
    Missing(String),
    /// It could not be started.
    #[error("cannot run the fence agent {agent}: {source}")]
    Start {
        /// Which.
        agent: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran and did not succeed.
    #[error("the fence agent {agent} {how}{output}")]
    Failed {
        /// Which.
        agent: String,
        /// Its exit status, or that it took too long.
        how: String,
        /// The last of what it printed, after a colon; nothing if there was nothing.
        output: String,
    },
}

/// The program of an agent.
///
/// # Errors
/// When it is not installed.
pub fn program(agent: &str) -> Result<PathBuf, FenceError> {
    let places: Vec<PathBuf> = match agent.starts_with('/') {
        true => vec![PathBuf::from(agent)],
        false => FOLDERS.iter().map(|folder| Path::new(folder).join(agent)).collect(),
    };
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| FenceError::Missing(agent.to_owned()))
}

/// What goes to an agent's standard input.
fn told(device: &FenceDevice, node: NodeId, name: &str, action: &str) -> String {
    let mut lines: Vec<(&str, String)> =
        device.options.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    lines.push(("action", action.to_owned()));
    lines.push(("nodename", name.to_owned()));
    // Most agents call the machine among many `plug`; who has one machine alone does not mind.
    if !["plug", "port"].iter().any(|key| device.options.contains_key(*key)) {
        lines.push(("plug", node.to_string()));
    }
    lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Has an agent do something: `off` or `reboot` with the machine, or `status` or `monitor` to see whether it could. Waits for
/// it for so long, and ends it then.
///
/// # Errors
/// See [`FenceError`]. Nothing that is not an agent's word counts as success.
pub fn run(device: &FenceDevice, node: NodeId, name: &str, action: &str, limit: Duration) -> Result<(), FenceError> {
    let agent = || device.agent.clone();
    let program = program(&device.agent)?;
    let start = |source| FenceError::Start { agent: agent(), source };
    // Output goes to a file without a name: an agent's child that outlives it can hold it open without holding us.
    let mut output = tempfile::tempfile().map_err(start)?;
    let (out, err) = (output.try_clone().map_err(start)?, output.try_clone().map_err(start)?);
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(out).stderr(err).process_group(0);
    let mut child = command.spawn().map_err(start)?;
    let until = Instant::now() + limit;
    if let Some(mut stdin) = child.stdin.take() {
        // Less than a pipe holds, so an agent that reads nothing does not hold us; one that has gone says why itself.
        let _ = stdin.write_all(told(device, node, name, action).as_bytes());
    }
    let status = wait(&mut child, until);
    let mut text = String::new();
    let length = output.seek(SeekFrom::End(0)).unwrap_or(0);
    let _ = output.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_KEPT)));
    let mut bytes = Vec::new();
    if output.take(OUTPUT_KEPT).read_to_end(&mut bytes).is_ok() {
        let kept: Vec<String> = String::from_utf8_lossy(&bytes).split_whitespace().map(str::to_owned).collect();
        text = kept.join(" ");
    }
    let how = match status {
        Some(status) if status.success() => return Ok(()),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        },
        None => format!("did not end within {} s", limit.as_secs()),
    };
    let output = if text.is_empty() { text } else { format!(": {text}") };
    Err(FenceError::Failed { agent: agent(), how, output })
}

/// Waits until then; `None`: it took longer, and was killed with all its children.
fn wait(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            _ => break,
        }
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn device(script: &str, folder: &Path) -> FenceDevice {
        let path = folder.join("agent");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = [("ip", "192.0.2.9"), ("password_script", "/etc/ssi/pw")];
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        FenceDevice { agent: path.display().to_string(), action: "reboot".into(), options }
    }

    fn fence(script: &str, limit: Duration) -> Result<(), FenceError> {
        let folder = tempfile::tempdir().unwrap();
        run(&device(script, folder.path()), NodeId::new(3).unwrap(), "node3", "off", limit)
    }

    #[test]
    fn an_agent_is_told_on_its_standard_input_and_says_by_its_status_how_it_went() {
        let long = Duration::from_secs(20);
        let expected = "ip=192.0.2.9\\npassword_script=/etc/ssi/pw\\naction=off\\nnodename=node3\\nplug=3\\n";
        fence(&format!("test \"$(cat; echo .)\" = \"$(printf '{expected}'; echo .)\""), long).unwrap();
        let failed = fence("cat >/dev/null; echo no such plug >&2; exit 1", long).unwrap_err().to_string();
        assert!(failed.ends_with("agent ended with status 1: no such plug"), "{failed}");
    }

    #[test]
    fn an_agent_that_hangs_is_ended_with_its_children_and_did_not_succeed() {
        let late = fence("sleep 1000 & sleep 1000", Duration::from_millis(200)).unwrap_err().to_string();
        assert!(late.contains("did not end within"), "{late}");
        fence("kill -9 $$", Duration::from_secs(20)).unwrap_err();
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let missing = FenceDevice { agent: "fence_nobody".into(), action: "off".into(), options: Default::default() };
        let said = run(&missing, NodeId::new(1).unwrap(), "a", "off", Duration::ZERO).unwrap_err().to_string();
        assert!(said.starts_with("the fence agent fence_nobody is not installed"), "{said}");
    }
}

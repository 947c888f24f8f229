// SPDX-License-Identifier: GPL-2.0-or-later
//! Runs a fence agent for the daemon: in a process, and where units run in a unit, of its own. Agents talk over the
//! network and write where they like, which the daemon's sandbox does not allow.
//!
//! The process (`ssi-clusterd run-fence`) reads cluster.toml itself, so that no secret is on a command line, and writes
//! into a file how it went.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use ssi_cluster::config::Config;
use ssi_cluster::{NodeId, fence};

use crate::nodework::{BOOTED_WITH_UNITS, PATH};
use crate::store::replace_file;

/// How often it is looked whether the agent has ended.
const LOOK: Duration = Duration::from_millis(25);

/// How much longer than the agent the process around it may take.
const GRACE: Duration = Duration::from_secs(15);

/// How an agent's run went; `failed` says why it did.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    failed: Option<String>,
}

/// What is to be done to whom.
#[derive(Clone, Debug)]
pub struct Job {
    /// cluster.toml.
    pub config: PathBuf,
    /// The folder for results, gone with a reboot.
    pub folder: PathBuf,
    /// The node.
    pub node: NodeId,
    /// Differs from run to run.
    pub number: u64,
    /// How long the agent may take.
    pub limit: Duration,
}

/// The whole life of the process: runs the agent that cluster.toml names for the node.
///
/// # Errors
/// When the result cannot be written; an agent that fails is a result.
pub fn main(config: &Path, node: NodeId, result: &Path) -> Result<()> {
    let ran = || -> Result<()> {
        let config = Config::load(config)?;
        let known = config.node(node).with_context(|| format!("there is no node {node} in cluster.toml"))?;
        let device =
            known.fence.as_ref().with_context(|| format!("node {node} has no [node.fence] in cluster.toml"))?;
        let limit = Duration::from_secs(config.fence.timeout_s.into());
        Ok(fence::run(device, node, &known.name, &device.action, limit)?)
    };
    let outcome = Outcome { failed: ran().err().map(|e| format!("{e:#}")) };
    replace_file(result, &serde_json::to_vec(&outcome)?).context("cannot tell how the fence agent ended")
}

/// Has it done, and waits until it is.
///
/// # Errors
/// Why the machine cannot be taken for turned off.
pub async fn run(job: &Job) -> Result<(), String> {
    let result = job.folder.join(format!("{}-{}.json", job.node, job.number));
    let outcome = match start(job, &result).await {
        Ok(()) => wait(&result, job.limit + GRACE).await,
        Err(e) => Err(format!("{e:#}")),
    };
    let _ = std::fs::remove_file(&result);
    outcome
}

async fn start(job: &Job, result: &Path) -> Result<()> {
    std::fs::create_dir_all(&job.folder).with_context(|| format!("cannot make {}", job.folder.display()))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut runner: Vec<OsString> = vec!["--config".into(), job.config.clone().into(), "run-fence".into()];
    runner.extend(["--node".into(), job.node.to_string().into(), "--result".into(), result.into()]);
    let mut command = if Path::new(BOOTED_WITH_UNITS).is_dir() {
        let mut command = tokio::process::Command::new("systemd-run");
        command.args(["--quiet", "--collect", &format!("--unit=ssi-fence-{}-{}", job.node, job.number)]);
        command.arg(format!("--description=Turning node {} off", job.node));
        command.arg(format!("--setenv=PATH={PATH}"));
        command.arg("--").arg(&program).args(runner);
        command
    } else {
        let mut command = tokio::process::Command::new(&program);
        command.args(runner).env_clear().env("PATH", PATH).process_group(0);
        command
    };
    let out = command.output().await.with_context(|| format!("cannot start {}", program.display()))?;
    anyhow::ensure!(
        out.status.success(),
        "the fence agent cannot be started: {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}

async fn wait(result: &Path, limit: Duration) -> Result<(), String> {
    let until = Instant::now() + limit;
    loop {
        if let Some(outcome) = std::fs::read(result).ok().and_then(|b| serde_json::from_slice::<Outcome>(&b).ok()) {
            return outcome.failed.map_or(Ok(()), Err);
        }
        if Instant::now() >= until {
            return Err(format!("the fence agent did not end within {} s", limit.as_secs()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

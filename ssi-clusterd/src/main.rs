// SPDX-License-Identifier: GPL-2.0-or-later
//! `ssi-clusterd`: the command line of the membership daemon. What it does is in the library, see its first page.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use ssi_clusterd::daemon::{LoadedConfig, Paths};
use ssi_clusterd::{daemon, logging, script};

/// Cluster membership daemon
#[derive(Parser)]
#[command(name = "ssi-clusterd", version)]
struct Cli {
    /// The cluster's configuration
    #[arg(long, default_value = ssi_cluster::CLUSTER_TOML, global = true)]
    config: PathBuf,
    /// Folder for what is gone with a reboot
    #[arg(long, default_value = "/run/ssi/clusterd")]
    run_dir: PathBuf,
    /// Folder for what is kept over a reboot
    #[arg(long, default_value = "/var/lib/ssi/clusterd")]
    state_dir: PathBuf,
    /// Socket for peers on this machine
    #[arg(long, default_value = ssi_cluster::CLUSTERD_SOCKET)]
    socket: PathBuf,
    /// Where this node's unit manager serves its own socket
    #[arg(long, hide = true, default_value = "/run/systemd/private")]
    manager_socket: PathBuf,
    /// The engine's helper process, if it is not in one of the usual places
    #[arg(long)]
    engine_helper: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write the engine's own configuration from cluster.toml, and end; for a unit that runs before the engine
    EngineConfig,
    /// Run a node's fence agent and write down how it ended; started by the daemon
    #[command(hide = true)]
    RunFence {
        #[arg(long)]
        node: ssi_cluster::NodeId,
        #[arg(long)]
        result: PathBuf,
    },
    /// Run one script of nodeup.d or nodedown.d and write down how it ended; started by the daemon
    #[command(hide = true)]
    RunScript {
        #[arg(long)]
        run: PathBuf,
        #[arg(long)]
        result: PathBuf,
        #[arg(long)]
        timeout_ms: u64,
        #[arg(last = true, required = true)]
        script: Vec<String>,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::RunScript { run, result, timeout_ms, script }) => {
            script::hold_term()?;
            let (path, args) = script.split_first().context("no script given")?;
            let files = script::ScriptFiles { run, result };
            script::run(&files, path.as_ref(), args, Duration::from_millis(timeout_ms))
        }
        Some(Command::RunFence { node, result }) => ssi_clusterd::fence_run::main(&cli.config, node, &result),
        Some(Command::EngineConfig) => {
            logging::start(None);
            let loaded = LoadedConfig::read(&cli.config)?;
            daemon::write_engine_config(&loaded.config, false);
            Ok(())
        }
        None => {
            let loaded = LoadedConfig::read(&cli.config)?;
            let own = ssi_cluster::identity::own_node(&loaded.config)?;
            logging::start(Some(own));
            let paths = Paths {
                config: cli.config,
                run: cli.run_dir,
                state: cli.state_dir,
                socket: cli.socket,
                helper: cli.engine_helper,
                manager: cli.manager_socket,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(daemon::run(paths, own, loaded))
        }
    }
}

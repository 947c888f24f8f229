// SPDX-License-Identifier: GPL-2.0-or-later
//! From the arguments to the exit status: which command it is, a run-time for it, and what is said when it fails.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{self, Command, NodeSubcommand, Ssi};
use crate::commands;
use crate::outcome::{Ending, Exit, Failure};
use crate::output::Output;

/// A command that was understood.
enum Asked {
    Ssi(Ssi),
    Cluster(cli::openssi::Cluster),
    ClusterName(cli::openssi::ClusterName),
    ClusterNodeNum(cli::openssi::ClusterNodeNum),
    ClusterNodeGetState(cli::openssi::ClusterNodeGetState),
    Loads(cli::openssi::Loads),
}

/// Does what the arguments ask for. The first is the name the program was called by.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let called = args.first().and_then(|a| Path::new(a).file_name()).map(|n| n.to_string_lossy().into_owned());
    let name = called.filter(|n| cli::openssi::NAMES.contains(&n.as_str())).unwrap_or_else(|| "ssi".to_owned());
    let asked = match understand(&name, args) {
        Ok(asked) => asked,
        Err(e) => {
            // Wrong use goes to standard error; --help and --version are no mistakes and go to standard output.
            let _ = e.print();
            return if e.use_stderr() { Exit::WrongUse } else { Exit::Done }.into();
        }
    };
    let out = Output::stdout();
    let ending = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(carry_out(asked, &out)),
        Err(e) => Err(Failure::failed(format!("cannot set up timers and sockets: {e}"))),
    };
    match ending {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !matches!(failure, Failure::ReaderGone) {
                out.remark(&format!("{name}: {failure}"));
            }
            failure.exit().into()
        }
    }
}

fn understand(name: &str, args: Vec<OsString>) -> Result<Asked, clap::Error> {
    use cli::openssi::*;
    Ok(match name {
        "cluster" => Asked::Cluster(Cluster::try_parse_from(args)?),
        "clustername" => Asked::ClusterName(ClusterName::try_parse_from(args)?),
        "clusternode_num" => Asked::ClusterNodeNum(ClusterNodeNum::try_parse_from(args)?),
        "clusternode_getstate" => Asked::ClusterNodeGetState(ClusterNodeGetState::try_parse_from(args)?),
        "loads" => Asked::Loads(Loads::try_parse_from(args)?),
        _ => Asked::Ssi(Ssi::try_parse_from(args)?),
    })
}

async fn carry_out(asked: Asked, out: &Output) -> Ending {
    match asked {
        Asked::Ssi(Ssi { places, command }) => match command {
            Command::Status(args) => commands::status::run(&args, &places, out).await,
            Command::Node(node) => match node.command {
                NodeSubcommand::List(args) => commands::node::list(&args, &places, out).await,
                NodeSubcommand::Show(args) => commands::node::show(&args, &places, out).await,
                NodeSubcommand::Add(args) => commands::node_add::run(&args, &places, out).await,
                NodeSubcommand::Remove(args) => commands::node_remove::run(&args, &places, out).await,
                NodeSubcommand::Shutdown(args) => commands::node::shutdown(&args, &places, out).await,
                NodeSubcommand::Drain(args) => commands::node::drain(&args, &places, out).await,
                NodeSubcommand::Resume(args) => commands::node::resume(&args, &places).await,
            },
            Command::Fence(fence) => commands::fence::run(&fence.command, &places, out).await,
            Command::DaemonReload(args) => commands::unit_files::reload(&args, &places, out).await,
            Command::Service(service) => commands::service::run(&service.command, &places, out).await,
            Command::Shutdown(args) => commands::node::shutdown_some(args, &places, out).await,
            Command::Wait(args) => commands::wait::run(&args, &places, out).await,
            Command::Log(args) => commands::log::run(&args, &places, out).await,
            Command::Create(args) => commands::create::run(&args, &places, out),
            Command::Doctor(args) => commands::doctor::run(&args, &places, out).await,
            Command::Completions(args) => commands::completions::run(&args, out),
        },
        Asked::Cluster(args) => commands::openssi::cluster(&args, out).await,
        Asked::ClusterName(args) => commands::openssi::clustername(&args, out).await,
        Asked::ClusterNodeNum(args) => commands::openssi::clusternode_num(&args, out).await,
        Asked::ClusterNodeGetState(args) => commands::openssi::clusternode_getstate(&args, out).await,
        Asked::Loads(args) => commands::openssi::loads(&args, out).await,
    }
}

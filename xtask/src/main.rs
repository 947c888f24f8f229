// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask`: whatever is done with this checkout, in one word.
//!
//! ```text
//!   demo   a cluster of virtual machines, a tour of it, and a shell in it
//!   test   everything that says whether the checkout is good
//!   bench  figures of ours beside a peer's, measured in one run
//!   fuzz   input that nobody thought of, to whatever reads input
//!   man    manual pages and completions, as a package ships them
//! ```
//!
//! Each installs what it needs when root runs it. This program stands on the lab and on the command `ssi`, but not on
//! the engine's helper process, so that it builds on a machine without corosync's headers and can install them.
//!
//! Start reading at [`test::run`], or at `demo/tour.rs` for what a cluster does.

mod bench;
mod command;
mod demo;
mod fuzz;
mod man;
mod packages;
mod place;
mod progress;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ssi_lab::Kind;

use place::Place;
use progress::{Mark, Progress, line};

/// Whatever is done with this checkout, in one word.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show it: a cluster on this machine, a tour of what it does, and a shell on its first node
    Demo(Demo),
    /// Check everything: format, lint, licences, manual pages, unit tests, and tests in clusters
    Test(Test),
    /// Measure ours beside a peer
    Bench(Bench),
    /// Try input that nobody thought of on whatever reads input
    Fuzz(Fuzz),
    /// Write the manual pages and the shells' completions to a directory
    Man(Man),
}

/// What the nodes of a cluster are made of.
#[derive(Clone, Copy, ValueEnum)]
enum NodeKind {
    /// Virtual machines, with Debian's own kernel and init
    Vm,
    /// Namespaces of this machine's kernel; up in well under a second
    Ns,
}

impl From<NodeKind> for Kind {
    fn from(kind: NodeKind) -> Self {
        match kind {
            NodeKind::Vm => Kind::Vm,
            NodeKind::Ns => Kind::Ns,
        }
    }
}

#[derive(Args)]
struct Demo {
    /// End after the tour, with status 0 when all of it was seen to work
    #[arg(long)]
    no_shell: bool,
    /// How many nodes; of three or more, one can be lost and the others go on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=16))]
    nodes: u32,
    /// What they are made of
    #[arg(long, value_enum, default_value = "vm")]
    kind: NodeKind,
}

#[derive(Args)]
#[command(arg_required_else_help = true)]
struct Bench {
    /// The bench
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Tell which there are
    #[arg(long, exclusive = true)]
    list: bool,
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each thing is measured
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// What the nodes are made of
    #[arg(long, value_enum, default_value = "ns")]
    kind: NodeKind,
}

#[derive(Args)]
struct Test {
    /// Leave out what needs virtual machines, and fuzzing
    #[arg(long)]
    quick: bool,
    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct Fuzz {
    /// The targets [default: all]
    names: Vec<String>,
    /// How long for all of them together
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Tell which there are
    #[arg(long, exclusive = true)]
    list: bool,
}

#[derive(Args)]
struct Man {
    /// The directory [default: man in the directory cargo builds into]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let place = Place::find()?;
    match &arguments.command {
        Command::Demo(demo) => {
            let demo = demo::Demo { kind: demo.kind.into(), nodes: demo.nodes, shell: !demo.no_shell };
            demo::run(&place, &demo)
        }
        Command::Bench(bench) => {
            let Some(name) = bench.name.as_deref().filter(|_| !bench.list) else {
                bench::list();
                return Ok(true);
            };
            let settings = bench::Settings { kind: bench.kind.into(), runs: bench.runs };
            bench::run(&place, name, &settings, bench.json.as_deref()).map(|()| true)
        }
        Command::Test(test) => test::run(&place, test.quick, test.json.as_deref()),
        Command::Fuzz(fuzz) => run_fuzz(&place, fuzz),
        Command::Man(man) => {
            let directory = man.directory.clone().unwrap_or_else(|| place.target.join("man"));
            let written = man::write(&place, &directory)?;
            let (pages, completions) = (written.pages.len(), written.completions.len());
            line(&format!("{pages} manual pages and {completions} completions are in {}", directory.display()));
            Ok(true)
        }
    }
}

fn run_fuzz(place: &Place, asked: &Fuzz) -> Result<bool> {
    let targets = fuzz::chosen(place, &asked.names)?;
    if asked.list {
        targets.iter().for_each(|target| line(&target.name));
        return Ok(true);
    }
    let progress = Progress::begin("building");
    let programs = fuzz::build(place, &targets, &mut |what| progress.say(what))?;
    progress.end(Mark::Good, &format!("{} targets", targets.len()));
    let each = Duration::from_secs(asked.minutes * 60) / u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
    let mut good = true;
    for target in &targets {
        let progress = Progress::begin(&target.name);
        let ran = fuzz::run(place, target, &programs, each, &mut |what| progress.say(what))?;
        let mark = if ran.broken.is_none() { Mark::Good } else { Mark::Bad };
        progress.end(mark, &format!("{} inputs, {} MiB at most", ran.inputs, ran.peak_mib));
        if let Some(broken) = ran.broken {
            good = false;
            line(&broken);
        }
    }
    Ok(good)
}

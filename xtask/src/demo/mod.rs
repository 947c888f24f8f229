// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask demo`: a cluster on this machine, a tour of what it does, and a shell in it.
//!
//! What the tour shows is in `tour.rs`, one function a stop. Each stop is checked as well as shown: the tour ends well
//! only when everything it tells of was seen to happen.

mod tour;

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ssi_e2e::{Cluster, Options};
use ssi_lab::Kind;

use crate::packages;
use crate::place::Place;
use crate::progress::{Mark, Progress, line};
use tour::{Scene, TOUR};

/// What the cluster is to be.
pub(crate) struct Demo {
    /// What its nodes are made of.
    pub(crate) kind: Kind,
    /// How many there are.
    pub(crate) nodes: u32,
    /// Whether a shell on node 1 comes after the tour.
    pub(crate) shell: bool,
}

/// Brings the cluster up, goes on the tour, and tells whether all of it was seen to work.
pub(crate) fn run(place: &Place, demo: &Demo) -> Result<bool> {
    step("packages", |progress| {
        packages::ensure(place, &packages::BUILD, &mut |what| progress.say(what))?;
        ssi_lab::setup::ensure(demo.kind, &mut |what| progress.say(what)).context("preparing this machine for labs")
    })?;
    step("programs", |progress| place.build(&mut |what| progress.say(what)))?;
    let of = match demo.kind {
        Kind::Ns => "namespace nodes",
        Kind::Vm => "virtual machines",
    };
    let name = format!("cluster of {} {of}", demo.nodes);
    let cluster = step(&name, |progress| start(demo, progress))?;
    let good = tour(&cluster, demo.nodes);
    if good && demo.shell {
        shell(place, &cluster)?;
    }
    Ok(good)
}

fn start(demo: &Demo, progress: &Progress) -> Result<Cluster> {
    Cluster::start_with(Options::new("demo", demo.kind, demo.nodes), progress.listener())
}

/// Does a step of the preparation, and shows that and how long.
fn step<T>(name: &str, act: impl FnOnce(&Progress) -> Result<T>) -> Result<T> {
    let progress = Progress::begin(name);
    let done = act(&progress);
    progress.end(if done.is_ok() { Mark::Good } else { Mark::Bad }, "");
    done
}

fn tour(cluster: &Cluster, nodes: u32) -> bool {
    let mut scene = Scene::new(cluster, nodes);
    for stop in TOUR {
        line("");
        line(&format!("  {}", stop.about));
        let progress = Progress::begin(stop.title);
        match (stop.act)(&mut scene) {
            Ok(seen) => {
                progress.end(Mark::Good, &seen.finding);
                for text in seen.shown.lines() {
                    line(format!("    {text}").trim_end());
                }
            }
            Err(error) => {
                progress.end(Mark::Bad, &format!("{error:#}"));
                line("");
                line("The tour ends here: what comes next stands on this.");
                return false;
            }
        }
    }
    line("");
    line(&format!("All {} stops of the tour were seen to work.", TOUR.len()));
    true
}

fn shell(place: &Place, cluster: &Cluster) -> Result<()> {
    line("");
    line(
        "A shell on node 1; try `ssi status --watch`, `ssi node show 2`, `ssi doctor`. The cluster ends with the shell.",
    );
    let program = place.binaries().join("ssi-lab");
    let mut command = Command::new(&program);
    command.args(["shell", "--name", cluster.lab.name(), "1"]);
    // A shell's own status is that of its last command, and says nothing about the demo.
    let status = command.status().with_context(|| format!("starting {}", program.display()))?;
    if status.code().is_none() {
        bail!("the shell on node 1 ended with {status}");
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask bench`: figures of ours beside a peer's, measured in one run on one machine, taking turns.
//!
//! A bench is a function in a file of its own, and a line in [`BENCHES`]. Nothing here judges: the figures depend on
//! the machine, and whoever reads them knows it.

mod cdsl;
mod figures;
mod init;
mod membership;
mod rest;
mod scope;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use ssi_lab::Kind;

use crate::packages;
use crate::place::Place;
use crate::progress::{Mark, Progress, line};
use figures::{Row, table};

/// How a bench is to be run.
pub(crate) struct Settings {
    /// What the nodes are made of.
    pub(crate) kind: Kind,
    /// How often each thing is measured.
    pub(crate) runs: u32,
}

/// Set for the run that measures, in which the programs are built and found.
const BUILT: &str = "SSI_BENCH_BUILT";

type Measure = fn(&Place, &Settings, &Progress) -> Result<Vec<Row>>;

/// The benches: name, what is measured, and how.
const BENCHES: [(&str, &str, Measure); 4] = [
    (
        "membership",
        "a node is lost: seconds until the others know and have cleaned up; what clusterd costs at rest",
        membership::measure,
    ),
    (
        "cdsl",
        "a look through a CDSL beside a plain file and a plain link; making 10,000 beside cp; checking 100,000 beside find",
        cdsl::measure,
    ),
    (
        "init",
        "ssi-init beside systemd: boot, memory, 1,000 one-shot and 1,000 lasting starts, restarts, reload of 200 units",
        init::measure,
    ),
    (
        "scope",
        "a node that serves loses power: seconds until another answers, beside Pacemaker; what placing 10,000 units costs",
        scope::measure,
    ),
];

/// Lists the benches.
pub(crate) fn list() {
    for (name, about, _) in BENCHES {
        line(&format!("{name:<12} {about}"));
    }
}

/// Runs one of them, shows its table, and writes its figures to `json`.
pub(crate) fn run(place: &Place, name: &str, settings: &Settings, json: Option<&Path>) -> Result<()> {
    let Some((_, _, measure)) = BENCHES.iter().find(|bench| bench.0 == name) else {
        bail!("there is no bench '{name}'; `cargo xtask bench --list` tells which there are");
    };
    let place = place.optimised();
    if std::env::var_os(BUILT).is_none() {
        prepare(&place, settings)?;
        return again(&place);
    }
    let progress = Progress::begin(&format!("bench {name}"));
    let rows = match measure(&place, settings, &progress) {
        Ok(rows) => rows,
        Err(error) => {
            progress.end(Mark::Bad, "");
            return Err(error);
        }
    };
    progress.end(Mark::Good, "");
    line("");
    for text in table(&rows) {
        line(&text);
    }
    if let Some(file) = json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let text = serde_json::to_string_pretty(&json!(rows)).context("writing the figures")?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Runs this program once more, for which the programs are those that were just built: the lab looks for them in its
/// own environment, and a process with threads can't change that safely.
fn again(place: &Place) -> Result<()> {
    let own = std::env::current_exe().context("looking for this program's own file")?;
    let mut command = Command::new(&own);
    command.args(std::env::args_os().skip(1)).env(BUILT, "1");
    command.env("SSI_BIN_DIR", place.binaries()).env("SSI_LAB_BIN", place.binaries());
    Err(command.exec()).with_context(|| format!("starting {} again", own.display()))
}

fn prepare(place: &Place, settings: &Settings) -> Result<()> {
    let progress = Progress::begin("packages and programs");
    let done = (|| {
        packages::ensure(place, &packages::BUILD, &mut |what| progress.say(what))?;
        ssi_lab::setup::ensure(settings.kind, &mut |what| progress.say(what))?;
        place.build(&mut |what| progress.say(what))
    })();
    progress.end(if done.is_ok() { Mark::Good } else { Mark::Bad }, "");
    done
}

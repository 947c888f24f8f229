// SPDX-License-Identifier: GPL-2.0-or-later
//! `cargo xtask bench`: figures of ours beside a peer's, measured in one run on one machine, taking turns.
//!
//! A bench is a function in a file of its own, and a line in [`BENCHES`]. Nothing here judges: the figures depend on
//! the machine, and whoever reads them knows it.

mod figures;
mod membership;
mod rest;

use std::fs;
use std::path::Path;

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

type Measure = fn(&Settings, &Progress) -> Result<Vec<Row>>;

/// The benches: name, what is measured, and how.
const BENCHES: [(&str, &str, Measure); 1] = [(
    "membership",
    "a node is lost: seconds until the others know and have cleaned up; what clusterd costs at rest",
    membership::measure,
)];

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
    prepare(place, settings)?;
    let progress = Progress::begin(&format!("bench {name}"));
    let rows = match measure(settings, &progress) {
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

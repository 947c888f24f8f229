// SPDX-License-Identifier: GPL-2.0-or-later
//! The steps of `cargo xtask test`, one function each, in the order in which they run: what is quick and finds most
//! comes first.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ssi_lab::Kind;

use super::counts::{Counts, count};
use super::licences;
use crate::command::{self, Finished};
use crate::fuzz;
use crate::man;
use crate::packages;
use crate::place::{BUILD_LIMIT, Place};
use crate::progress::Progress;

/// What came of a step.
pub(super) enum Verdict {
    /// All is well; a few words about what was seen.
    Good(String),
    /// It is not; the words to show.
    Bad(String),
    /// It could not be done here, and why.
    Left(String),
    /// A test program ran, or should have.
    Ran(Finished, Counts),
}

/// What a step has to do with.
pub(super) struct Scene<'a> {
    pub(super) place: &'a Place,
    pub(super) progress: &'a Progress,
}

/// What is done in a step.
type Act = Box<dyn Fn(&Scene<'_>) -> Result<Verdict>>;

/// One step.
pub(super) struct Step {
    /// Its name in the table.
    pub(super) name: String,
    /// The step it cannot do without.
    pub(super) needs: Option<&'static str>,
    /// What it does.
    pub(super) act: Act,
}

/// How long one file of cluster tests may take.
const CLUSTER_LIMIT: Duration = Duration::from_secs(1200);

/// Where the cluster's tests are, each file a program.
const CLUSTER_TESTS: &str = "tests/e2e/tests";

const PACKAGES: &str = "packages";
const BINARIES: &str = "binaries";
const NS: &str = "namespace nodes";
const VM: &str = "VM nodes";

/// All steps; `quick` leaves out what needs virtual machines, and fuzzing.
pub(super) fn steps(place: &Place, quick: bool) -> Result<Vec<Step>> {
    let step = |name: &str, needs, act: fn(&Scene<'_>) -> Result<Verdict>| Step {
        name: name.to_owned(),
        needs,
        act: Box::new(act),
    };
    let mut steps = vec![
        step("format", None, format),
        step("licences", None, licence_step),
        step("advisories", None, advisories),
        step(PACKAGES, None, install_packages),
        step("lint", Some(PACKAGES), lint),
        step("manual pages", Some(PACKAGES), manual_pages),
        // Before the tests of single crates: these too run beside systemd, dbus and busybox.
        step(NS, Some(PACKAGES), |scene| prepare(scene, Kind::Ns)),
        step("unit and property tests", Some(NS), unit_tests),
        step(BINARIES, Some(PACKAGES), binaries),
    ];
    let (namespace, machine) = cluster_tests(place)?;
    if namespace.is_empty() || (!quick && machine.is_empty()) {
        steps.push(step("cluster tests", None, no_cluster_tests));
    }
    steps.extend(namespace.into_iter().map(|name| cluster_step(name, NS)));
    if !quick {
        steps.push(step("fuzz targets", Some(PACKAGES), fuzz_targets));
        steps.push(step(VM, None, |scene| prepare(scene, Kind::Vm)));
        steps.extend(machine.into_iter().map(|name| cluster_step(name, VM)));
    }
    Ok(steps)
}

/// A while of each: enough for what breaks at once. `cargo xtask fuzz` takes longer.
const FUZZ_EACH: Duration = Duration::from_secs(8);

fn fuzz_targets(scene: &Scene<'_>) -> Result<Verdict> {
    let targets = fuzz::chosen(scene.place, &[])?;
    let programs = fuzz::build(scene.place, &targets, &mut |what| scene.progress.say(what))?;
    let (mut inputs, mut broken) = (0, String::new());
    for target in &targets {
        let ran = fuzz::run(scene.place, target, &programs, FUZZ_EACH, &mut |what| scene.progress.say(what))?;
        inputs += ran.inputs;
        broken.extend(ran.broken);
    }
    Ok(match broken.is_empty() {
        true => Verdict::Good(format!("{} targets, {inputs} inputs", targets.len())),
        false => Verdict::Bad(broken),
    })
}

/// The names of the cluster's tests: those for namespace nodes, and those for VM nodes.
fn cluster_tests(place: &Place) -> Result<(Vec<String>, Vec<String>)> {
    let directory = place.root.join(CLUSTER_TESTS);
    let mut names = Vec::new();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        entries => entries.with_context(|| format!("looking for tests in {}", directory.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", directory.display()))?.path();
        let test = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
        if let (Some(name), true) = (path.file_stem(), test) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    // A file that is neither would never be run; it is better to run it than to pass over it.
    Ok(names.into_iter().partition(|name| !name.starts_with("vm_")))
}

fn run(scene: &Scene<'_>, log: &str, command: Command, limit: Duration) -> Result<Finished> {
    command::run(command, &scene.place.log(log), limit, &mut |line| scene.progress.say(line))
}

fn good_or_bad(finished: Finished, note: &str) -> Verdict {
    if finished.success { Verdict::Good(note.to_owned()) } else { Verdict::Ran(finished, Counts::default()) }
}

fn format(scene: &Scene<'_>) -> Result<Verdict> {
    let command = scene.place.cargo(&["fmt", "--all", "--check"]);
    Ok(good_or_bad(run(scene, "format", command, Duration::from_secs(120))?, ""))
}

fn install_packages(scene: &Scene<'_>) -> Result<Verdict> {
    let wanted = [&packages::BUILD[..], &packages::MANUAL[..]].concat();
    packages::ensure(scene.place, &wanted, &mut |what| scene.progress.say(what))?;
    Ok(Verdict::Good(String::new()))
}

fn lint(scene: &Scene<'_>) -> Result<Verdict> {
    let command = scene.place.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(good_or_bad(run(scene, "lint", command, BUILD_LIMIT)?, ""))
}

fn has_cargo_deny(place: &Place) -> bool {
    let asked = place.cargo(&["deny", "--version"]).output();
    asked.is_ok_and(|output| output.status.success())
}

fn licence_step(scene: &Scene<'_>) -> Result<Verdict> {
    let place = scene.place;
    if has_cargo_deny(place) {
        let command = place.cargo(&["deny", "check", "bans", "licenses", "sources"]);
        return Ok(good_or_bad(run(scene, "licences", command, Duration::from_secs(300))?, ""));
    }
    let mut command = place.cargo(&["metadata", "--format-version", "1", "--locked"]);
    let output = command.output().context("starting cargo metadata")?;
    if !output.status.success() {
        return Ok(Verdict::Bad(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let deny = place.root.join("deny.toml");
    let deny = fs::read_to_string(&deny).with_context(|| format!("reading {}", deny.display()))?;
    let (number, wrong) = licences::check(&deny, &String::from_utf8_lossy(&output.stdout))?;
    if wrong.is_empty() {
        Ok(Verdict::Good(format!("{number} packages, by their own word: cargo-deny is not installed")))
    } else {
        Ok(Verdict::Bad(wrong.join("\n")))
    }
}

fn advisories(scene: &Scene<'_>) -> Result<Verdict> {
    if !has_cargo_deny(scene.place) {
        return Ok(Verdict::Left("cargo-deny is not installed (cargo install cargo-deny)".to_owned()));
    }
    let command = scene.place.cargo(&["deny", "check", "advisories"]);
    let finished = run(scene, "advisories", command, Duration::from_secs(300))?;
    // What it found has a code in brackets after `error`; a database that could not be had has none.
    let found = ["error[vulnerability]", "error[unmaintained]", "error[unsound]", "error[yanked]", "error[notice]"];
    if !finished.success && !found.iter().any(|code| finished.output.contains(code)) {
        return Ok(Verdict::Left(format!("the database could not be had; see {}", finished.log.display())));
    }
    Ok(good_or_bad(finished, ""))
}

fn manual_pages(scene: &Scene<'_>) -> Result<Verdict> {
    let directory = tempfile::tempdir().context("making a directory for the manual pages")?;
    let pages = man::write(scene.place, directory.path())?.pages;
    // The generator's own roff draws warnings that no text of ours can mend; pages written by hand shall have none.
    let by_hand = man::pages_in(&scene.place.root.join("man"))?;
    for (level, log, files) in [("error", "manual-pages", &pages), ("warning", "manual-pages-by-hand", &by_hand)] {
        if files.is_empty() {
            continue;
        }
        let mut command = Command::new("mandoc");
        command.args(["-T", "lint", "-W", level]).args(files);
        let finished = run(scene, log, command, Duration::from_secs(60))?;
        if !finished.success {
            return Ok(good_or_bad(finished, ""));
        }
    }
    Ok(Verdict::Good(format!("{} pages", pages.len())))
}

fn unit_tests(scene: &Scene<'_>) -> Result<Verdict> {
    let arguments = ["test", "--workspace", "--exclude", "ssi-e2e", "--no-fail-fast"];
    let finished = run(scene, "unit-tests", scene.place.cargo(&arguments), BUILD_LIMIT)?;
    let counts = count(&finished.output);
    Ok(Verdict::Ran(finished, counts))
}

fn binaries(scene: &Scene<'_>) -> Result<Verdict> {
    Ok(good_or_bad(run(scene, "binaries", scene.place.build_command(), BUILD_LIMIT)?, ""))
}

fn prepare(scene: &Scene<'_>, kind: Kind) -> Result<Verdict> {
    match ssi_lab::setup::ensure(kind, &mut |what| scene.progress.say(what)) {
        Ok(()) => Ok(Verdict::Good(String::new())),
        Err(error) => Ok(Verdict::Bad(error.to_string())),
    }
}

/// A checkout without them is not a good one.
fn no_cluster_tests(_: &Scene<'_>) -> Result<Verdict> {
    Ok(Verdict::Bad(format!("{CLUSTER_TESTS} lacks tests for namespace nodes (ns_*.rs) or for VM nodes (vm_*.rs)")))
}

fn cluster_step(name: String, needs: &'static str) -> Step {
    let act = {
        let name = name.clone();
        move |scene: &Scene<'_>| cluster_test(scene, &name)
    };
    Step { name, needs: Some(needs), act: Box::new(act) }
}

fn cluster_test(scene: &Scene<'_>, name: &str) -> Result<Verdict> {
    // With `--workspace` the dependencies are built as for the steps before, and not once more.
    let mut command =
        scene.place.cargo(&["test", "--workspace", "--exclude", "xtask", "--test", name, "--", "--test-threads=1"]);
    command.env("SSI_BIN_DIR", scene.place.binaries()).env("SSI_LAB_BIN", scene.place.binaries());
    let finished = run(scene, name, command, CLUSTER_LIMIT)?;
    let counts = count(&finished.output);
    Ok(Verdict::Ran(finished, counts))
}

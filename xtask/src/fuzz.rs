// SPDX-License-Identifier: GPL-2.0-or-later
//! Fuzz targets: each is built with libFuzzer, by the compiler that everything else is built with, and run for a while from
//! its seeds and from what earlier runs have found.
//!
//! ```text
//!   CRATE/fuzz/fuzz_targets/NAME.rs   the target, in a workspace of its own: libFuzzer is no part of the other builds
//!   CRATE/fuzz/seeds/NAME/            where it begins; kept in the repository
//!   CRATE/fuzz/corpus/NAME/           what was found to reach new code; kept beside them, on this machine
//!   CRATE/fuzz/artifacts/NAME/        what broke it
//! ```
//!
//! The flags are those of cargo-fuzz without a sanitizer, which takes a nightly compiler: coverage by inline counters, and
//! what is compared. Debug assertions and checks of overflow are on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{self, tail};
use crate::packages;
use crate::place::{BUILD_LIMIT, Place};

/// What libFuzzer itself is built with.
const PACKAGES: [&str; 1] = ["g++"];

const FLAGS: [&str; 9] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// What a target may use, in MiB: a parser of small input has no reason to come near it.
const MEMORY_MIB: u32 = 1024;
/// How long one input may take, in seconds; the machine may be busy.
const ONE_INPUT: u32 = 60;
/// What a run may take beyond the time it is given: reading its corpus, and starting.
const GRACE: Duration = Duration::from_secs(300);

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Its name, one in the whole checkout.
    pub(crate) name: String,
    /// The folder of its workspace.
    folder: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Inputs tried.
    pub(crate) inputs: u64,
    /// The most memory it had, in MiB.
    pub(crate) peak_mib: u64,
    /// What broke it: the end of what it said.
    pub(crate) broken: Option<String>,
}

/// All targets of the checkout, by name.
pub(crate) fn targets(place: &Place) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for depth in ["*/fuzz", "*/*/fuzz"] {
        for folder in folders(&place.root, depth)? {
            let sources = folder.join("fuzz_targets");
            for entry in fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))? {
                let path = entry?.path();
                if path.extension().is_some_and(|end| end == "rs")
                    && let Some(name) = path.file_stem()
                {
                    found.push(Target { name: name.to_string_lossy().into_owned(), folder: folder.clone() });
                }
            }
        }
    }
    found.sort();
    if let Some(pair) = found.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!(
            "two fuzz targets are called {}: in {} and {}",
            pair[0].name,
            pair[0].folder.display(),
            pair[1].folder.display()
        );
    }
    Ok(found)
}

/// The folders with a workspace of fuzz targets that a pattern of `*` and names leads to.
fn folders(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut at = vec![root.to_owned()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for folder in at {
            if part != "*" {
                next.push(folder.join(part));
                continue;
            }
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let entry = entry?;
                let hidden = entry.file_name().to_string_lossy().starts_with('.') || entry.file_name() == "target";
                if entry.file_type()?.is_dir() && !hidden {
                    next.push(entry.path());
                }
            }
        }
        at = next;
    }
    at.retain(|folder| folder.join("fuzz_targets").is_dir());
    Ok(at)
}

/// Builds the targets; where the programs are.
pub(crate) fn build(place: &Place, targets: &[Target], say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    packages::ensure(place, &PACKAGES, say)?;
    let host = host(place)?;
    let into = place.target.join("fuzz");
    let mut folders: Vec<&PathBuf> = targets.iter().map(|target| &target.folder).collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        let shown = folder.strip_prefix(&place.root).unwrap_or(folder).display().to_string();
        say(&format!("building {shown}"));
        let mut command = place.cargo(&["build", "--release", "--target", &host, "--manifest-path"]);
        command.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&into);
        for target in targets.iter().filter(|target| target.folder == *folder) {
            command.args(["--bin", &target.name]);
        }
        command.env("RUSTFLAGS", FLAGS.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
        let finished = command::run(command, &place.log(&format!("fuzz-build-{shown}")), BUILD_LIMIT, say)?;
        if !finished.success {
            let (_, last) = tail(&finished.output, 40);
            bail!("the fuzz targets in {shown} could not be built ({}):\n{}", finished.how, last.join("\n"));
        }
    }
    Ok(into.join(host).join("release"))
}

/// The triple of this machine: with it, build scripts and macros are built without the flags.
fn host(place: &Place) -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(&place.root).output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}

/// Runs one for that long. It is told as broken when an input makes it panic, hang, or take too much memory.
pub(crate) fn run(
    place: &Place,
    target: &Target,
    programs: &Path,
    time: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Ran> {
    let Target { name, folder } = target;
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts").join(name));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    let mut command = Command::new(programs.join(name));
    command.arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.args([
        format!("-max_total_time={}", time.as_secs().max(1)),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-timeout={ONE_INPUT}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    command.current_dir(folder);
    let log = place.log(&format!("fuzz-{name}"));
    let finished = command::run(command, &log, time + GRACE, &mut |line| {
        if line.starts_with('#') {
            say(&format!("{name}: {line}"));
        }
    })?;
    let stat = |key: &str| -> u64 {
        let lines = finished.output.lines();
        lines.filter_map(|line| line.strip_prefix(key)?.trim().parse().ok()).next_back().unwrap_or(0)
    };
    let (inputs, peak_mib) = (stat("stat::number_of_executed_units:"), stat("stat::peak_rss_mb:"));
    let broken = (!finished.success).then(|| {
        let (_, last) = tail(&finished.output, 40);
        format!("{name} {}; all of it is in {}:\n{}", finished.how, log.display(), last.join("\n"))
    });
    ensure!(broken.is_some() || inputs > 0, "{name} has tried nothing; see {}", log.display());
    Ok(Ran { inputs, peak_mib, broken })
}

/// Those of these names, or all.
pub(crate) fn chosen(place: &Place, names: &[String]) -> Result<Vec<Target>> {
    let all = targets(place)?;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|target| target.name == **name)) {
        let known: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        bail!("there is no fuzz target {unknown}; there are {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|target| names.is_empty() || names.contains(&target.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found_and_has_a_name_of_its_own() -> Result<()> {
        let place = Place::find()?;
        let all = targets(&place)?;
        for name in ["cluster_toml", "unit_file", "notify", "dispatch", "protocol"] {
            assert!(all.iter().any(|target| target.name == name), "{name} is not among {all:?}");
        }
        assert!(chosen(&place, &["nothing".to_owned()]).is_err());
        assert_eq!(chosen(&place, &["notify".to_owned()])?.len(), 1);
        Ok(())
    }
}

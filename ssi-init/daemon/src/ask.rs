// SPDX-License-Identifier: GPL-2.0-or-later
//! What people ask this program on a command line. Without a word it is the manager.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;
use ssi_unit::config::Protection;
use ssi_unit::files::RootFiles;
use ssi_unit::load::{LoadState, Loaded, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::settings::manager::SystemConf;
use ssi_unit::specifier::Host;
use ssi_unit::verify::{Severity, Surroundings, verify};

use crate::inspect;

/// Exit statuses, as DESIGN has them.
pub(crate) const FAILED: u8 = 1;
pub(crate) const WRONG_USE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "ssi-init", about = "Asks the unit manager, and its rules about unit files", version)]
struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Say what is unknown, unsupported or wrong in unit files
    ///
    /// The status is 1 if a unit cannot be used, or a start of it must fail.
    Verify {
        /// Units by name, or files by path
        #[arg(required_unless_present = "all")]
        units: Vec<String>,
        /// All units of the system
        #[arg(long, conflicts_with = "units")]
        all: bool,
        /// Another system's tree
        #[arg(long, default_value = "/")]
        root: PathBuf,
        /// A list of objects, for programs
        #[arg(long)]
        json: bool,
        /// Only what is at least so grave
        #[arg(long, default_value = "warning", value_parser = ["error", "unprotected", "warning", "note"])]
        least: String,
    },
    /// Print all that the running manager knows: units, jobs, deadlines, descriptors
    Dump {
        /// Only units whose names fit one of these patterns
        #[arg(conflicts_with = "json")]
        patterns: Vec<String>,
        /// One object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Record all that enters the running manager and all that it does, for `ssi-init replay`
    ///
    /// The manager executes itself anew to begin with it: no service notices.
    Record {
        #[command(subcommand)]
        act: inspect::RecordAct,
    },
    /// Do again what was recorded, in memory alone, and say where this build acts otherwise
    ///
    /// The status is 1 if it does.
    Replay {
        /// A recording
        file: PathBuf,
        /// Stop after this step, and print all that the manager knew then
        #[arg(long, value_name = "STEP")]
        until: Option<usize>,
        /// An object a line, for programs
        #[arg(long)]
        json: bool,
        /// Steps in which nothing happened as well
        #[arg(long)]
        all: bool,
    },
}

/// Answers, if something was asked.
pub(crate) fn answer(arguments: &[String]) -> Option<ExitCode> {
    // Process 1 of a container passes its own arguments on: `systemd.unit=rescue.target`, `-s`. A service of it may ask
    // as well, though.
    let is_question = arguments.first().is_some_and(|first| Question::has_subcommand(first));
    let by_process1 = rustix::process::getppid().is_some_and(rustix::process::Pid::is_init);
    if arguments.is_empty() || (by_process1 && !is_question) {
        return None;
    }
    let parsed = Arguments::try_parse_from(std::iter::once("ssi-init".to_owned()).chain(arguments.iter().cloned()));
    let status = match parsed {
        Ok(Arguments { question: Question::Verify { units, all, root, json, least } }) => {
            verify_units(&units, all, root, json, &least)
        }
        Ok(Arguments { question: Question::Dump { patterns, json } }) => inspect::dump(&patterns, json),
        Ok(Arguments { question: Question::Record { act } }) => inspect::record(act),
        Ok(Arguments { question: Question::Replay { file, until, json, all } }) => {
            inspect::replay_file(&file, until, json, all)
        }
        Err(error) => {
            let status = if error.use_stderr() { WRONG_USE } else { 0 };
            // Where nobody reads it there is nobody to tell.
            let _ = error.print();
            status
        }
    };
    Some(ExitCode::from(status))
}

#[derive(Serialize)]
struct Line<'a> {
    unit: &'a str,
    severity: String,
    text: &'a str,
}

struct System {
    loader: Loader<RootFiles>,
    unheld: BTreeSet<String>,
}

impl Surroundings for System {
    fn load_state(&mut self, unit: &UnitName) -> LoadState {
        self.loader.load(unit).state
    }

    fn holds(&self, protection: Protection) -> bool {
        !self.unheld.contains(protection.key())
    }
}

fn verify_units(units: &[String], all: bool, root: PathBuf, json: bool, least: &str) -> u8 {
    let least = match least {
        "error" => Severity::Error,
        "unprotected" => Severity::Unprotected,
        "warning" => Severity::Warning,
        _ => Severity::Note,
    };
    let files = RootFiles::below(&root);
    let conf = SystemConf::load(&files);
    let mut search = SearchPath::system();
    let mut names = Vec::new();
    for unit in units {
        match named(unit) {
            Ok((name, folder)) => {
                if let Some(folder) = folder {
                    // A file that is not installed counts before one of its name that is.
                    search = SearchPath::of(std::iter::once(folder).chain(search.folders().iter().cloned()));
                }
                names.push(name);
            }
            Err(text) => {
                eprintln!("ssi-init: {text}");
                return WRONG_USE;
            }
        }
    }
    let loader = Loader::new(files.clone(), search, Host::read(&root), conf.defaults);
    if all {
        names = loader.tree().unit_names().filter(|name| !name.is_template()).cloned().collect();
    }
    let mut system = System { loader, unheld: BTreeSet::new() };
    let mut failed = false;
    let mut lines = Vec::new();
    for name in names {
        let loaded: Loaded = system.loader.load(&name);
        system.unheld = loaded.config.exec().map(shortfalls).unwrap_or_default();
        for finding in verify(&loaded, &files, &mut system) {
            failed |= finding.severity == Severity::Error;
            if finding.severity <= least {
                lines.push(finding);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    let written = if json {
        let objects: Vec<Line<'_>> = lines
            .iter()
            .map(|line| Line { unit: line.unit.as_str(), severity: line.severity.to_string(), text: &line.text })
            .collect();
        serde_json::to_string_pretty(&objects).map_err(std::io::Error::other).and_then(|text| writeln!(out, "{text}"))
    } else {
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("ssi-init: writing what was found: {error}");
            FAILED
        }
        _ => u8::from(failed),
    }
}

/// The settings of a unit that the executor does not hold to, at least not wholly.
fn shortfalls(exec: &ssi_unit::config::ExecConfig) -> BTreeSet<String> {
    ssi_launch::shortfalls(exec).into_iter().map(|(directive, _)| directive.trim_end_matches('=').to_owned()).collect()
}

/// A unit's name, and for a path the folder it is in.
fn named(unit: &str) -> Result<(UnitName, Option<PathBuf>), String> {
    if !unit.contains('/') {
        let name = UnitName::new(unit).map_err(|error| format!("'{unit}' is no unit's name: {error}"))?;
        return Ok((name, None));
    }
    let path = std::path::absolute(unit).map_err(|error| format!("{unit}: {error}"))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = UnitName::new(name).map_err(|error| format!("{unit} is not called as a unit is: {error}"))?;
    Ok((name, path.parent().map(PathBuf::from)))
}

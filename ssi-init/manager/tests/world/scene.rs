// SPDX-License-Identifier: GPL-2.0-or-later
//! Scenes: unit files, what is done, and what is to be seen. The same file is played here and to systemd itself.
//!
//! ```text
//! # What the scene shows.
//! --- a.service                       a unit file; without any line, a masked unit
//! [Unit]
//! Requires=b.service
//! --- steps
//! start a.service fail                a verb, units, and a job mode if it is not replace
//!   jobs a.service/start b.service/start        the jobs of the transaction, by name
//!   ends b.service/start/done a.service/start/done      the jobs that ended, in order, when nothing moves any more
//!   queued a.service/start            the jobs that are left
//!   is active a.service b.service     what the units are then
//!   error TransactionIsDestructive    instead of all that
//!   warns ordering cycle              the log says so
//! release b.service                   what it is held in is over
//! cancel a.service                    its job is taken back
//! ```

#![allow(dead_code, reason = "each test file uses a part of this")]

use ssi_manager::job::{JobMode, Request};

use super::World;

pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) units: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) verb: String,
    pub(crate) units: Vec<String>,
    pub(crate) mode: Option<JobMode>,
    /// What is to be seen: a word and what follows it.
    pub(crate) seen: Vec<(usize, String, String)>,
}

/// All scenes of the folder, by name.
pub(crate) fn all() -> Vec<Scene> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenes");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let scene = |path: std::path::PathBuf| {
        Scene::parse(path.file_stem().unwrap().to_str().unwrap(), &std::fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(scene).collect()
}

impl Scene {
    pub(crate) fn parse(name: &str, text: &str) -> Scene {
        let mut scene = Scene { name: name.to_owned(), units: Vec::new(), steps: Vec::new() };
        let mut in_steps = false;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(part) = line.strip_prefix("--- ") {
                in_steps = part == "steps";
                if !in_steps {
                    scene.units.push((part.to_owned(), String::new()));
                }
            } else if !in_steps {
                if let Some((_, text)) = scene.units.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            } else if let Some(seen) = line.strip_prefix("  ") {
                let (word, rest) = seen.split_once(' ').unwrap_or((seen, ""));
                scene.steps.last_mut().unwrap().seen.push((number, word.to_owned(), rest.to_owned()));
            } else if !line.is_empty() && !line.starts_with('#') {
                let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                let mode = words.last().and_then(|word| JobMode::from_word(word));
                if mode.is_some() {
                    words.pop();
                }
                let verb = words.remove(0);
                scene.steps.push(Step { line: number, verb, units: words, mode, seen: Vec::new() });
            }
        }
        assert!(!scene.steps.is_empty(), "{name}: no steps");
        scene
    }

    /// Plays the scene in a world; what is not as it should be.
    pub(crate) fn play(&self) -> Vec<String> {
        let mut world = World::new(self.units.iter().map(|(unit, text)| (unit, text)));
        let mut wrong = Vec::new();
        for step in &self.steps {
            world.ended.clear();
            world.notices.clear();
            let (mut jobs, mut errors) = (Vec::new(), Vec::new());
            for unit in &step.units {
                match step.verb.as_str() {
                    "release" => world.release(unit),
                    "cancel" => {
                        let job = world.queue.job_of(world.id(unit)).map(|job| job.id);
                        let there = job.is_some_and(|job| world.queue.cancel(&world.graph, &world.rows, job));
                        assert!(there, "{}:{}: {unit} has no job", self.name, step.line);
                        world.tell();
                    }
                    "die" => world.change(world.id(unit), ssi_manager::core::state::ActiveState::Failed),
                    "isolate" => match world.wish(unit, Request::Start, JobMode::Isolate) {
                        Ok(plan) => jobs = world.planned(&plan),
                        Err(error) => errors.push(error),
                    },
                    verb => {
                        let request = Request::from_word(verb)
                            .unwrap_or_else(|| panic!("{}:{}: no verb {verb}", self.name, step.line));
                        match world.wish(unit, request, step.mode.unwrap_or(JobMode::Replace)) {
                            Ok(plan) => jobs = world.planned(&plan),
                            Err(error) => errors.push(error),
                        }
                    }
                }
            }
            world.drain();
            let mut expected_error = false;
            for (line, word, expected) in &step.seen {
                let words = || expected.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                let mut differ = |found: &dyn std::fmt::Debug| {
                    wrong.push(format!("{}:{line}: {word} should be {expected:?}, is {found:?}", self.name));
                };
                match word.as_str() {
                    "jobs" if jobs != words() => differ(&jobs),
                    "ends" if world.ended != words() => differ(&world.ended),
                    "queued" if world.queued() != words() => differ(&world.queued()),
                    "is" => {
                        let mut words = words().into_iter();
                        let state = words.next().unwrap();
                        for unit in words {
                            if world.active(&unit).word() != state {
                                differ(&(&unit, world.active(&unit)));
                            }
                        }
                    }
                    "error" => {
                        expected_error = true;
                        let named = |name: &str| name.rsplit('.').next() == Some(expected.as_str());
                        if !errors.iter().any(|error| named(error.bus_name())) {
                            differ(&errors);
                        }
                    }
                    "warns" if !world.notices.iter().any(|notice| notice.to_string().contains(expected.as_str())) => {
                        differ(&world.notices);
                    }
                    "jobs" | "ends" | "queued" | "warns" => {}
                    other => panic!("{}:{line}: nothing is called {other}", self.name),
                }
            }
            if !expected_error && !errors.is_empty() {
                wrong.push(format!("{}:{}: {errors:?}", self.name, step.line));
            }
        }
        wrong
    }
}

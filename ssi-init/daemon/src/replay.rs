// SPDX-License-Identifier: GPL-2.0-or-later
//! Doing again what was recorded ([`crate::record`]): the core is entered as it was, is answered as it was, and is to
//! ask the same. What it asks otherwise is a difference between this build and the one that was recorded.
//!
//! Nothing is done to the machine this runs on, and nothing is read from it but the time zones' rules.
//!
//! What counts is acts and questions, in their order. When the clock was looked at, which files were read, and lines of
//! the log may be otherwise: a build that says the same in other words does the same.

mod player;
mod story;

use std::io::BufRead;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;
use ssi_manager::core::{Core, FileLoads};
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::settings::manager::SystemConf;

use crate::record::{About, Line};
use player::{PlayedFiles, Player};
pub use story::{Change, Happened};

/// Why a recording cannot be done again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It could not be read.
    #[error("reading the recording, line {line}: {error}")]
    Read {
        /// Which line.
        line: usize,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is none of a recording.
    #[error("line {line} is none of a recording, or of another version's: {error}")]
    NotUnderstood {
        /// Which line.
        line: usize,
        /// Why.
        error: serde_json::Error,
    },
    /// There is no manager in it.
    #[error("it does not begin with a manager: it is no recording, or its begin is missing")]
    NoBegin,
}

/// Where this build acts otherwise than the recorded one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In which step.
    pub step: usize,
    /// In which line of the recording.
    pub line: usize,
    /// What the recorded build did; `None`: nothing more in this step.
    pub recorded: Option<String>,
    /// What this one does; `None`: nothing more in this step.
    pub now: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |what: &Option<String>| what.clone().unwrap_or_else(|| "does nothing more".to_owned());
        writeln!(f, "step {} (line {} of the recording) is not as it was:", self.step, self.line)?;
        writeln!(f, "  recorded: {}", word(&self.recorded))?;
        write!(f, "  now:      {}", word(&self.now))
    }
}

/// How it went.
pub struct Outcome {
    /// Steps that were done again.
    pub steps: usize,
    /// The first difference; nothing was done after it.
    pub difference: Option<Difference>,
    /// What the recorded manager said of its end.
    pub ended: Option<String>,
    /// What is worth knowing besides: files that were not read then.
    pub notes: Vec<String>,
    /// The core as it was left.
    pub core: Option<Core>,
    /// The last manager of the recording.
    pub about: About,
}

/// Reads a recording. A last line that was cut off, as of a manager that was killed, is left out.
///
/// # Errors
/// When it is none.
pub fn read(from: impl BufRead) -> Result<Vec<Line<'static>>, ReplayError> {
    let mut lines = Vec::new();
    let mut bad: Option<(usize, serde_json::Error)> = None;
    for (number, text) in from.split(b'\n').enumerate() {
        let line = number + 1;
        let text = text.map_err(|error| ReplayError::Read { line, error })?;
        // Bad, and not the last.
        if let Some((line, error)) = bad {
            return Err(ReplayError::NotUnderstood { line, error });
        }
        match serde_json::from_slice(&text) {
            Ok(read) => lines.push(read),
            Err(error) if error.is_eof() => bad = Some((line, error)),
            Err(error) => return Err(ReplayError::NotUnderstood { line, error }),
        }
    }
    match lines.first() {
        Some(Line::Begin(_)) => Ok(lines),
        _ => Err(ReplayError::NoBegin),
    }
}

/// Does it again, up to and with that step; `each` hears what happened in each step.
///
/// # Errors
/// When it is no recording.
pub fn replay(lines: Vec<Line<'static>>, until: usize, mut each: impl FnMut(Happened)) -> Result<Outcome, ReplayError> {
    let player = Player::new(lines);
    let mut outcome =
        Outcome { steps: 0, difference: None, ended: None, notes: Vec::new(), core: None, about: About::default() };
    while let Some(about) = player.next_part() {
        let mut core = core_of(&about, &player);
        let mut story = story::Story::default();
        each(Happened::begin(outcome.steps, &about));
        outcome.about = *about;
        while outcome.difference.is_none() && outcome.steps < until {
            let Some(entry) = player.next_entry() else { break };
            outcome.steps += 1;
            let words = story::words(&entry);
            let result = core.enter_again(entry);
            outcome.difference = player.end_of_step(outcome.steps, result.err());
            each(story.tell(outcome.steps, words, &mut core, &player));
        }
        outcome.core = Some(core);
        if outcome.difference.is_some() || outcome.steps >= until {
            break;
        }
    }
    if outcome.core.is_none() {
        return Err(ReplayError::NoBegin);
    }
    outcome.ended = player.ending();
    outcome.notes = player.notes();
    Ok(outcome)
}

/// A core that reads what was read and asks the player.
fn core_of(about: &About, player: &Rc<Player>) -> Core {
    let files = PlayedFiles(Rc::clone(player));
    let defaults = SystemConf::load(&files).defaults;
    let loader = Loader::new(files, search_path(), about.host.clone(), defaults);
    Core::new(player.machine(), Box::new(FileLoads(loader)), about.surroundings.clone())
}

/// Where a system's unit files are.
fn search_path() -> SearchPath {
    SearchPath::of(SearchPath::system().folders().iter().map(PathBuf::from))
}

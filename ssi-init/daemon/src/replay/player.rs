// SPDX-License-Identifier: GPL-2.0-or-later
//! A machine that answers as another one did, and sees whether it is asked the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ssi_manager::core::entry::{Entry, NoSuchUnit};
use ssi_manager::core::system::{Moment, Priority, System};
use ssi_unit::files::{DirEntry, FileFacts, Files};
use ssi_unit::name::UnitName;

use super::Difference;
use super::story::Said;
use crate::record::call::{Answer, Call, Deck, Tapped};
use crate::record::files::{ENOENT, FileAnswer, FileAsk};
use crate::record::{About, Line};

/// How many notes are kept.
const NOTES: usize = 100;

/// What was asked otherwise: recorded, and now.
type Otherwise = (Option<String>, Option<String>);

struct Play {
    lines: Vec<Line<'static>>,
    at: usize,
    clock: Moment,
    files: HashMap<FileAsk, FileAnswer>,
    otherwise: Option<Otherwise>,
    /// The recording is over in the middle of a step.
    over: bool,
    acts: Vec<String>,
    said: Vec<Said>,
    notes: Vec<String>,
    ending: Option<String>,
}

impl Play {
    /// Goes past what is not asked for: the clock, and files.
    fn skip(&mut self) {
        loop {
            match self.lines.get(self.at) {
                Some(Line::Now(moment)) => self.clock = *moment,
                Some(Line::File { ask, answer }) => {
                    self.files.insert(ask.clone(), answer.clone());
                }
                _ => return,
            }
            self.at += 1;
        }
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < NOTES {
            self.notes.push(text);
        }
    }

    fn answer<T: Answer>(&mut self, call: &Call) -> T {
        if self.over || self.otherwise.is_some() {
            return T::none(call);
        }
        self.skip();
        let otherwise = match self.lines.get(self.at) {
            Some(Line::Call { ask, answer }) if ask == call => match serde_json::from_value(answer.clone()) {
                Ok(answer) => {
                    self.at += 1;
                    if call.is_act() {
                        self.acts.push(call.to_string());
                    }
                    return answer;
                }
                Err(error) => (Some(format!("an answer that is none to {call}: {error}")), Some(call.to_string())),
            },
            Some(Line::Call { ask, .. }) => (Some(ask.to_string()), Some(call.to_string())),
            Some(Line::Enter(_)) => (None, Some(call.to_string())),
            // The manager died, or the recording was ended, in the middle of this.
            _ => {
                self.over = true;
                return T::none(call);
            }
        };
        self.otherwise = Some(otherwise);
        T::none(call)
    }

    fn read(&mut self, ask: FileAsk) -> FileAnswer {
        // It is in the recording here if it is not as it was before.
        while let Some(Line::Now(_) | Line::File { .. }) = self.lines.get(self.at) {
            let this = matches!(&self.lines[self.at], Line::File { ask: other, .. } if *other == ask);
            if let Line::File { ask, answer } = &self.lines[self.at] {
                self.files.insert(ask.clone(), answer.clone());
            } else if let Line::Now(moment) = &self.lines[self.at] {
                self.clock = *moment;
            }
            self.at += 1;
            if this {
                break;
            }
        }
        if let Some(answer) = self.files.get(&ask) {
            return answer.clone();
        }
        if !self.over {
            self.note(format!("{ask:?} is read, which was not when it was recorded"));
        }
        FileAnswer::Error { errno: ENOENT, said: "it is not in the recording".to_owned() }
    }
}

/// The recording that is done again.
pub(super) struct Player(RefCell<Play>);

impl Player {
    pub(super) fn new(lines: Vec<Line<'static>>) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Play {
            lines,
            at: 0,
            clock: Moment::default(),
            files: HashMap::new(),
            otherwise: None,
            over: false,
            acts: Vec::new(),
            said: Vec::new(),
            notes: Vec::new(),
            ending: None,
        })))
    }

    /// The machine that a core is to act on.
    pub(super) fn machine(self: &Rc<Self>) -> Box<dyn System> {
        Box::new(Tapped(Hand(Rc::clone(self))))
    }

    /// Goes to the next manager.
    pub(super) fn next_part(&self) -> Option<Box<About>> {
        let play = &mut *self.0.borrow_mut();
        loop {
            let line = play.lines.get(play.at)?;
            play.at += 1;
            match line {
                Line::Begin(about) => {
                    let about = about.clone();
                    play.over = false;
                    play.ending = None;
                    play.clock = about.at;
                    return Some(about);
                }
                Line::End(why) => play.ending = Some(why.clone()),
                _ => {}
            }
        }
    }

    /// How the core was entered next; `None`: this manager is over.
    pub(super) fn next_entry(&self) -> Option<Entry<'static>> {
        let play = &mut *self.0.borrow_mut();
        play.skip();
        match play.lines.get(play.at) {
            Some(Line::Enter(entry)) if !play.over => {
                play.at += 1;
                Some(entry.clone())
            }
            Some(Line::End(why)) => {
                play.ending = Some(why.clone());
                None
            }
            _ => None,
        }
    }

    /// Whether all is as it was in the step that is over.
    pub(super) fn end_of_step(&self, step: usize, error: Option<NoSuchUnit>) -> Option<Difference> {
        let play = &mut *self.0.borrow_mut();
        play.skip();
        if play.otherwise.is_none() {
            if let Some(NoSuchUnit(unit)) = error {
                play.otherwise = Some((Some(format!("knows {unit}")), Some(format!("does not know {unit}"))));
            } else if let Some(Line::Call { ask, .. }) = play.lines.get(play.at)
                && !play.over
            {
                play.otherwise = Some((Some(ask.to_string()), None));
            }
        }
        let (recorded, now) = play.otherwise.clone()?;
        Some(Difference { step, line: play.at + 1, recorded, now })
    }

    /// What was done and said since it was last asked for, and when it is now.
    pub(super) fn take_acts(&self) -> (Vec<String>, Vec<Said>, Moment) {
        let play = &mut *self.0.borrow_mut();
        (std::mem::take(&mut play.acts), std::mem::take(&mut play.said), play.clock)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.0.borrow().notes.clone()
    }

    pub(super) fn ending(&self) -> Option<String> {
        let play = self.0.borrow();
        match play.lines.get(play.at) {
            Some(Line::End(why)) => Some(why.clone()),
            _ => play.ending.clone(),
        }
    }
}

/// What a core holds of it.
struct Hand(Rc<Player>);

impl Deck for Hand {
    fn ask<T: Answer>(&self, call: impl FnOnce() -> Call, _: impl FnOnce(&mut dyn System) -> T) -> T {
        self.0.0.borrow_mut().answer(&call())
    }

    fn now(&self) -> Moment {
        let play = &mut *self.0.0.borrow_mut();
        if !play.over
            && play.otherwise.is_none()
            && let Some(Line::Now(moment)) = play.lines.get(play.at)
        {
            play.clock = *moment;
            play.at += 1;
        }
        play.clock
    }

    fn log(&self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        let play = &mut *self.0.0.borrow_mut();
        play.said.push(Said { priority, unit: unit.map(ToString::to_string), text: text.to_owned() });
    }

    fn entered(&self, _: &Entry<'_>) {}

    fn left(&self) {}
}

/// Unit files as they were read.
pub(super) struct PlayedFiles(pub(super) Rc<Player>);

impl PlayedFiles {
    fn ask(&self, ask: FileAsk) -> io::Result<FileAnswer> {
        match self.0.0.borrow_mut().read(ask) {
            FileAnswer::Error { errno: 0, said } => Err(io::Error::other(said)),
            FileAnswer::Error { errno, .. } => Err(io::Error::from_raw_os_error(errno)),
            answer => Ok(answer),
        }
    }
}

/// A line of another kind than the question's, as of a recording that was changed by hand.
fn odd<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, "the recording answers another question"))
}

impl Files for PlayedFiles {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        match self.ask(FileAsk::List(directory.to_owned()))? {
            FileAnswer::Names(names) => {
                Ok(names.into_iter().map(|(name, kind)| DirEntry { name: name.into(), kind: kind.into() }).collect())
            }
            _ => odd(),
        }
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        match self.ask(FileAsk::Read(file.to_owned()))? {
            FileAnswer::Text(text) => Ok(text.into_bytes()),
            FileAnswer::Bytes(bytes) => Ok(bytes),
            _ => odd(),
        }
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        match self.ask(FileAsk::Link(link.to_owned()))? {
            FileAnswer::Target(target) => Ok(target),
            _ => odd(),
        }
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        match self.ask(FileAsk::Facts(path.to_owned()))? {
            FileAnswer::Facts { kind, length, is_null_device, modified } => {
                Ok(FileFacts { kind: kind.into(), length, is_null_device, modified })
            }
            _ => odd(),
        }
    }
}

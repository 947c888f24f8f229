// SPDX-License-Identifier: GPL-2.0-or-later
//! Recordings: all that went into the core, and all that it was answered, so that it can be done again elsewhere.
//!
//! A recording is a text, one JSON object ([`Line`]) a line, so that who sends it to somebody can read it before. It has
//! one or more *parts*; each begins with a manager ([`Line::Begin`]) and what it took up from the one before it
//! ([`ssi_manager::core::entry::Entry::Restore`]). Recording starts with a new manager that takes over, for that is the
//! one moment at which all that the core knows is what is written down. A manager that dies is followed by another part.
//!
//! | file | subject |
//! | --- | --- |
//! | `call.rs` | what the core asks of the machine, as values |
//! | `files.rs` | what the loader reads |
//! | `redaction.rs` | what is left out |
//!
//! # What is left out
//!
//! Values of variables and credentials in unit files and in what processes are given, texts and data that services read
//! as their input, fields of notifications that the manager does not know, and lines of the log (doing it again writes
//! them anew). Files that services read (`EnvironmentFile=`, …) are read by none of what is recorded. Command lines are
//! in it as the unit files have them.

pub mod call;
pub mod files;
pub mod redaction;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ssi_manager::core::Event;
use ssi_manager::core::entry::Entry;
use ssi_manager::core::system::{Moment, Priority, System};
use ssi_unit::implicit::Surroundings;
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

use self::call::{Answer, Call, Deck, Tapped};
use self::files::{FileAnswer, FileAsk};

pub use self::files::RecordedFiles;

/// What a recording may grow to unless told, in bytes.
pub const LIMIT: u64 = 64 << 20;
/// Room for the last line.
const RESERVE: u64 = 256;
/// So much waits in memory at most, in bytes.
const BUFFER: usize = 64 << 10;

/// A manager begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    pub version: String,
    /// Its program: [`build_id`].
    pub build: String,
    /// When.
    pub at: Moment,
    /// How many managers there were since the boot before it.
    pub starts: u32,
    /// What specifiers in unit files stand for.
    pub host: Host,
    /// What of the machine decides about edges.
    pub surroundings: Surroundings,
}

/// A line of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Line<'a> {
    /// A manager begins.
    Begin(Box<About>),
    /// The loader read something, for the first time or with another answer than the last.
    File {
        /// What.
        ask: FileAsk,
        /// What it found.
        answer: FileAnswer,
    },
    /// The core was entered.
    Enter(Entry<'a>),
    /// What time it was, when the core looked.
    Now(Moment),
    /// The core asked the machine for something.
    Call {
        /// For what.
        ask: Call,
        /// What came of it.
        answer: Value,
    },
    /// The recording ends, and why.
    End(String),
}

/// How a recording stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It goes on.
    pub recording: bool,
    /// Bytes in it.
    pub bytes: u64,
    /// Most bytes in it.
    pub limit: u64,
    /// Why it ended, if it did.
    pub ended: Option<String>,
}

struct Reel {
    out: Box<dyn Write>,
    buffer: Vec<u8>,
    /// With what is in the buffer.
    bytes: u64,
    limit: u64,
    ended: Option<String>,
    /// An entry is under way.
    inside: bool,
    /// What the loader was told last, as hashes.
    files: HashMap<FileAsk, u64>,
}

/// Where lines are written to. All copies write to the same.
#[derive(Clone)]
pub struct Tape(Rc<RefCell<Reel>>);

impl Tape {
    /// A recording to be written to `out`, of at most `limit` bytes, of which `bytes` are there.
    pub fn new(out: Box<dyn Write>, limit: u64, bytes: u64) -> Self {
        let (buffer, files) = (Vec::new(), HashMap::new());
        Self(Rc::new(RefCell::new(Reel { out, buffer, bytes, limit, ended: None, inside: false, files })))
    }

    /// A manager begins.
    pub fn begin(&self, about: About) {
        self.put(&Line::Begin(Box::new(about)));
        self.0.borrow_mut().write_out();
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let reel = self.0.borrow();
        Standing { recording: reel.ended.is_none(), bytes: reel.bytes, limit: reel.limit, ended: reel.ended.clone() }
    }

    /// Ends it.
    pub fn end(&self, why: &str) {
        self.0.borrow_mut().end(why);
    }

    /// Writes out what waits in memory: another manager goes on with the file.
    pub fn write_out(&self) {
        self.0.borrow_mut().write_out();
    }

    fn put(&self, line: &Line<'_>) {
        let reel = &mut *self.0.borrow_mut();
        if reel.ended.is_some() {
            return;
        }
        match serde_json::to_vec(line) {
            Ok(text) if reel.bytes + text.len() as u64 + RESERVE > reel.limit => {
                let why = format!("the limit of {} bytes is reached", reel.limit);
                reel.end(&why);
            }
            Ok(text) => reel.add(&text),
            Err(error) => reel.end(&format!("a line could not be put into words: {error}")),
        }
    }

    fn put_file(&self, ask: FileAsk, answer: FileAnswer) {
        let mut hasher = DefaultHasher::new();
        answer.hash(&mut hasher);
        let hash = hasher.finish();
        if self.0.borrow_mut().files.insert(ask.clone(), hash) != Some(hash) {
            self.put(&Line::File { ask, answer });
        }
    }

    fn is_inside(&self) -> bool {
        let reel = self.0.borrow();
        reel.inside && reel.ended.is_none()
    }
}

impl Reel {
    fn add(&mut self, text: &[u8]) {
        self.buffer.extend_from_slice(text);
        self.buffer.push(b'\n');
        self.bytes += text.len() as u64 + 1;
        if self.buffer.len() > BUFFER {
            self.write_out();
        }
    }

    fn end(&mut self, why: &str) {
        if self.ended.is_some() {
            return;
        }
        if let Ok(text) = serde_json::to_vec(&Line::End(why.to_owned())) {
            self.add(&text);
        }
        self.write_out();
        self.ended.get_or_insert_with(|| why.to_owned());
    }

    fn write_out(&mut self) {
        let result = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        if let Err(error) = result {
            self.ended.get_or_insert_with(|| format!("writing it failed: {error}"));
        }
    }
}

impl Drop for Reel {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.write_out();
        }
    }
}

/// A machine that notes what it is asked and what it answers.
pub fn recorder(machine: Box<dyn System>, tape: Tape) -> Box<dyn System> {
    Box::new(Tapped(Recorder { machine: RefCell::new(machine), tape }))
}

struct Recorder {
    machine: RefCell<Box<dyn System>>,
    tape: Tape,
}

impl Deck for Recorder {
    fn ask<T: Answer>(&self, call: impl FnOnce() -> Call, act: impl FnOnce(&mut dyn System) -> T) -> T {
        let answer = act(&mut **self.machine.borrow_mut());
        // What others than the core ask through it does not happen again when the core does the same again.
        if self.tape.is_inside() {
            match serde_json::to_value(&answer) {
                Ok(answer) => self.tape.put(&Line::Call { ask: call(), answer }),
                Err(error) => self.tape.end(&format!("an answer could not be put into words: {error}")),
            }
        }
        answer
    }

    fn now(&self) -> Moment {
        let now = self.machine.borrow().now();
        if self.tape.is_inside() {
            self.tape.put(&Line::Now(now));
        }
        now
    }

    fn log(&self, priority: Priority, unit: Option<&UnitName>, text: &str) {
        self.machine.borrow_mut().log(priority, unit, text);
    }

    fn entered(&self, entry: &Entry<'_>) {
        let told = match entry {
            Entry::Event(event) => match &**event {
                Event::Notified(message) => {
                    Entry::Event(Cow::Owned(Event::Notified(redaction::of_notification(message))))
                }
                _ => entry.clone(),
            },
            _ => entry.clone(),
        };
        self.tape.put(&Line::Enter(told));
        let reel = &mut *self.tape.0.borrow_mut();
        // What the core dies of is to be in it.
        if reel.ended.is_none() {
            reel.write_out();
        }
        reel.inside = true;
    }

    fn left(&self) {
        self.tape.0.borrow_mut().inside = false;
    }
}

/// What tells one build of this program from another: the linker's build id (`NT_GNU_BUILD_ID` in elf(5)), in
/// hexadecimal digits. `None` where there is none.
pub fn build_id(program: &[u8]) -> Option<String> {
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at.checked_add(size)?)?;
        let value = bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    // 64 bits, little endian: what this is built for. Elf64_Ehdr, Elf64_Phdr.
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (headers, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let header = headers.checked_add(index.checked_mul(size)?)?;
        let (kind, mut at, length) = (number(header, 4)?, number(header + 8, 8)?, number(header + 32, 8)?);
        let end = at.checked_add(length)?;
        // PT_NOTE: name size, description size, type, then both, each padded to four bytes.
        while kind == 4 && at.checked_add(12)? <= end {
            let (name, description, note) = (number(at, 4)?, number(at + 4, 4)?, number(at + 8, 4)?);
            let begin = at.checked_add(12)?.checked_add(name.checked_next_multiple_of(4)?)?;
            let bytes = program.get(begin..begin.checked_add(description)?)?;
            if note == 3 && program.get(at + 12..at + 16)? == b"GNU\0" {
                return Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
            }
            at = begin.checked_add(description.checked_next_multiple_of(4)?)?;
        }
    }
    None
}

/// The build id of the program that runs.
pub fn own_build() -> String {
    /// The notes are at the begin.
    const ENOUGH: u64 = 64 << 10;
    let mut begin = Vec::new();
    let read = std::fs::File::open("/proc/self/exe")
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, ENOUGH), &mut begin));
    read.ok().and_then(|_| build_id(&begin)).unwrap_or_else(|| "unknown".to_owned())
}

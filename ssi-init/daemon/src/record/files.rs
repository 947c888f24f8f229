// SPDX-License-Identifier: GPL-2.0-or-later
//! What the loader of unit files reads, noted: each question with its answer when that is not what it was before.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use ssi_unit::files::{DirEntry, FileFacts, FileKind, Files};

use super::{Tape, redaction};

/// `errno(3)`: no such file or directory.
pub(crate) const ENOENT: i32 = 2;

/// A question of the loader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileAsk {
    /// What is in a folder.
    List(PathBuf),
    /// What a file holds.
    Read(PathBuf),
    /// Where a link leads.
    Link(PathBuf),
    /// What a file is.
    Facts(PathBuf),
}

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Kind {
    Regular,
    Directory,
    Link,
    Other,
}

impl From<FileKind> for Kind {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Regular => Kind::Regular,
            FileKind::Directory => Kind::Directory,
            FileKind::Link => Kind::Link,
            FileKind::Other => Kind::Other,
        }
    }
}

impl From<Kind> for FileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Regular => FileKind::Regular,
            Kind::Directory => FileKind::Directory,
            Kind::Link => FileKind::Link,
            Kind::Other => FileKind::Other,
        }
    }
}

/// What the loader was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileAnswer {
    /// A folder's names.
    Names(Vec<(String, Kind)>),
    /// A file's text, without what is left out.
    Text(String),
    /// As [`FileAnswer::Text`], of one that is no UTF-8.
    Bytes(Vec<u8>),
    /// A link's text.
    Target(PathBuf),
    /// What a file is.
    Facts {
        /// Its kind.
        kind: Kind,
        /// Its length.
        length: u64,
        /// It is a device like /dev/null.
        is_null_device: bool,
        /// When it was changed last.
        modified: SystemTime,
    },
    /// It could not be told.
    Error {
        /// `errno(3)`; 0 when there is none.
        errno: i32,
        /// What the system said.
        said: String,
    },
}

impl FileAnswer {
    fn of<T>(result: &io::Result<T>, good: impl FnOnce(&T) -> Self) -> Self {
        match result {
            Ok(value) => good(value),
            Err(error) => {
                // Trees in memory have no numbers; that something is not there is what counts.
                let missing = if error.kind() == io::ErrorKind::NotFound { ENOENT } else { 0 };
                FileAnswer::Error { errno: error.raw_os_error().unwrap_or(missing), said: error.to_string() }
            }
        }
    }
}

/// Files whose answers are noted.
pub struct RecordedFiles<F> {
    files: F,
    tape: Tape,
}

impl<F: Files> RecordedFiles<F> {
    /// These, noted there.
    pub fn new(files: F, tape: Tape) -> Self {
        Self { files, tape }
    }
}

impl<F: Files> Files for RecordedFiles<F> {
    fn list(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let result = self.files.list(directory);
        let answer = FileAnswer::of(&result, |entries| {
            let name = |entry: &DirEntry| (entry.name.to_string_lossy().into_owned(), entry.kind.into());
            FileAnswer::Names(entries.iter().map(name).collect())
        });
        self.tape.put_file(FileAsk::List(directory.to_owned()), answer);
        result
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let result = self.files.read(file);
        let answer = FileAnswer::of(&result, |bytes| match String::from_utf8(redaction::of_unit_file(bytes)) {
            Ok(text) => FileAnswer::Text(text),
            Err(error) => FileAnswer::Bytes(error.into_bytes()),
        });
        self.tape.put_file(FileAsk::Read(file.to_owned()), answer);
        result
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        let result = self.files.read_link(link);
        let answer = FileAnswer::of(&result, |target| FileAnswer::Target(target.clone()));
        self.tape.put_file(FileAsk::Link(link.to_owned()), answer);
        result
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let result = self.files.facts(path);
        let answer = FileAnswer::of(&result, |facts| FileAnswer::Facts {
            kind: facts.kind.into(),
            length: facts.length,
            is_null_device: facts.is_null_device,
            modified: facts.modified,
        });
        self.tape.put_file(FileAsk::Facts(path.to_owned()), answer);
        result
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The lists of what is to differ from node to node: `/usr/lib/ssi/cdsl.d/*.toml`, shipped by packages, and
//! `/etc/ssi/cdsl.d/*.toml`, the site's. `cdsl apply` makes what they ask for, `cdsl check` tells what is otherwise.
//!
//! ```toml
//! [when]                     # optional: only where the root's os-release(5) says so
//! id = "debian"              # its ID, or one of its ID_LIKE
//! version = ["12"]           # its VERSION_ID; left out, any
//!
//! [[cdsl]]
//! path = "/etc/hostname"
//! var = "nodenum"            # the default
//! mode = "each"              # the default; or "default": one for all until `cdsl own`
//! kind = "file"              # or "directory": what it is, and what is made where it is missing
//! optional = false           # the default; true: where it is missing, or a link, it is left alone
//! content = "text"           # what the others get: "copy" (the default), "empty", "skeleton" (directories only), "text"
//! text = "{nodename}\n"      # with the node's variables filled in
//! reason = "The name of one machine."
//!
//! [[shared]]                 # is to be one for all; holds for what is below it too
//! path = "/etc/ssh"
//! reason = "…"
//! ```
//!
//! A file below /etc masks the one of the same name below /usr/lib, and what it says of a path goes before what any
//! file below /usr/lib says of it. Two files of one place that say different things of one path are a mistake.
//!
//! Reading the text is pure; [`Lists::read`] alone looks at a root.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::OFlags;
use serde::Deserialize;
use toml::Spanned;

use crate::inventory::{Kind, Mode};
use crate::layout::{self, Variable};
use crate::os_release::OsRelease;
use crate::path::{TreePath, shown};
use crate::tree::Root;
use crate::tree::root::is_absent;

/// Where packages put theirs.
pub const SHIPPED: &str = "/usr/lib/ssi/cdsl.d";
/// Where the site puts its own.
pub const SITE: &str = "/etc/ssi/cdsl.d";

/// The longest list that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What those get that the original does not go to: the other nodes and the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A copy.
    Copy,
    /// A file or directory without content, with the owner and mode of the original.
    Empty,
    /// The directories of a directory, without the files.
    Skeleton,
    /// A file with this text, the node's variables filled in; in the template they stay as they are.
    Text(String),
}

/// A path that is to be a CDSL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The path.
    pub path: TreePath,
    /// By what it goes.
    pub var: Variable,
    /// [`Mode::Each`] or [`Mode::Default`].
    pub mode: Mode,
    /// [`Kind::File`] or [`Kind::Directory`].
    pub kind: Kind,
    /// Where it is missing, it stays so.
    pub optional: bool,
    /// What the others get.
    pub content: Content,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub said: Said,
}

/// A path that is to be no CDSL, nor anything below it that is not named itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The path.
    pub path: TreePath,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub said: Said,
}

/// The place of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The list's name without its directory.
    pub list: String,
    /// The whole path of the list, for people.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something wrong with the lists.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// One could not be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// The file or directory.
        file: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A mistake in one.
    #[error("{file}:{line}: {what}")]
    Mistake {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    when: Option<When>,
    #[serde(default)]
    cdsl: Vec<Cdsl>,
    #[serde(default)]
    shared: Vec<SharedEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    id: String,
    version: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cdsl {
    path: Spanned<String>,
    var: Option<Spanned<String>>,
    mode: Option<Spanned<String>>,
    kind: Spanned<String>,
    #[serde(default)]
    optional: bool,
    content: Option<Spanned<String>>,
    text: Option<Spanned<String>>,
    reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedEntry {
    path: Spanned<String>,
    reason: Spanned<String>,
}

/// One list, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    wanted: Vec<Wanted>,
    shared: Vec<Shared>,
}

/// All lists of a root, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    wanted: BTreeMap<TreePath, Wanted>,
    shared: BTreeMap<TreePath, Shared>,
}

/// A text being read.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn wrong(&self, at: usize, what: impl Into<String>) -> ListError {
        ListError::Mistake { file: self.file.to_owned(), line: self.line(at), what: what.into() }
    }

    fn said(&self, at: usize) -> Said {
        let list = self.file.rsplit('/').next().unwrap_or(self.file).to_owned();
        Said { list, file: self.file.to_owned(), line: self.line(at) }
    }

    fn path(&self, path: &Spanned<String>) -> Result<TreePath, ListError> {
        let wrong = |what: String| self.wrong(path.span().start, what);
        let parsed = TreePath::parse(path.get_ref().as_bytes()).map_err(|error| wrong(error.to_string()))?;
        if parsed.is_root() || parsed.starts_with(&layout::cluster()) {
            return Err(wrong(format!("{parsed} can be neither node-specific nor named as shared")));
        }
        if parsed.as_bytes() != path.get_ref().as_bytes() {
            return Err(wrong(format!("{:?} is written otherwise than it is meant: {parsed}", path.get_ref())));
        }
        Ok(parsed)
    }

    fn reason(&self, reason: &Spanned<String>) -> Result<String, ListError> {
        if reason.get_ref().trim().is_empty() {
            return Err(self.wrong(reason.span().start, "an entry says why: reason = \"…\""));
        }
        Ok(reason.get_ref().clone())
    }

    fn wanted(&self, entry: &Cdsl) -> Result<Wanted, ListError> {
        let path = self.path(&entry.path)?;
        let wrong = |value: &Spanned<String>, right: &str| {
            self.wrong(value.span().start, format!("{:?} is none of {right}", value.get_ref()))
        };
        let var = match &entry.var {
            None => Variable::nodenum(),
            Some(var) => {
                Variable::parse(var.get_ref()).map_err(|error| self.wrong(var.span().start, error.to_string()))?
            }
        };
        let mode = match entry.mode.as_ref().map(|mode| (mode, mode.get_ref().as_str())) {
            None | Some((_, "each")) => Mode::Each,
            Some((_, "default")) => Mode::Default,
            Some((mode, _)) => return Err(wrong(mode, "\"each\", \"default\"")),
        };
        let kind = match entry.kind.get_ref().as_str() {
            "file" => Kind::File,
            "directory" => Kind::Directory,
            _ => return Err(wrong(&entry.kind, "\"file\", \"directory\"")),
        };
        let content = match (entry.content.as_ref().map(|content| (content, content.get_ref().as_str())), &entry.text) {
            (Some((_, "text")), Some(text)) => Content::Text(text.get_ref().clone()),
            (Some((content, "text")), None) => {
                return Err(self.wrong(content.span().start, "content = \"text\" needs the text: text = \"…\""));
            }
            (_, Some(text)) => return Err(self.wrong(text.span().start, "text = goes with content = \"text\"")),
            (None | Some((_, "copy")), None) => Content::Copy,
            (Some((_, "empty")), None) => Content::Empty,
            (Some((_, "skeleton")), None) => Content::Skeleton,
            (Some((content, _)), None) => {
                return Err(wrong(content, "\"copy\", \"empty\", \"skeleton\", \"text\""));
            }
        };
        let fits = match (&content, kind) {
            (Content::Skeleton, Kind::File) | (Content::Text(_), Kind::Directory) => false,
            (Content::Copy, _) => true,
            _ => mode == Mode::Each,
        };
        if let (false, Some(content)) = (fits, &entry.content) {
            return Err(self.wrong(
                content.span().start,
                "\"skeleton\" is for directories, \"text\" for files, and what all share with mode = \"default\" is the original",
            ));
        }
        let reason = self.reason(&entry.reason)?;
        let said = self.said(entry.path.span().start);
        Ok(Wanted { path, var, mode, kind, optional: entry.optional, content, reason, said })
    }
}

impl List {
    /// What a list says; `None` when it is for another system. `file` is its name for messages.
    ///
    /// # Errors
    /// The first mistake in it, also where it is for another system.
    pub fn parse(file: &str, text: &str, system: &OsRelease) -> Result<Option<List>, ListError> {
        let source = Source { file, text };
        let read: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.wrong(at, error.message())
        })?;
        let wanted = read.cdsl.iter().map(|entry| source.wanted(entry)).collect::<Result<Vec<_>, _>>()?;
        let shared = read.shared.iter().map(|entry| {
            let (path, reason) = (source.path(&entry.path)?, source.reason(&entry.reason)?);
            Ok(Shared { path, reason, said: source.said(entry.path.span().start) })
        });
        let shared = shared.collect::<Result<Vec<_>, ListError>>()?;
        let meant = read.when.is_none_or(|when| system.is(&when.id, when.version.as_deref()));
        Ok(meant.then_some(List { wanted, shared }))
    }
}

/// What lists of one place say of paths.
#[derive(Default)]
struct Place {
    wanted: BTreeMap<TreePath, Wanted>,
    shared: BTreeMap<TreePath, Shared>,
}

fn twice(first: &Said, second: &Said, path: &TreePath) -> ListError {
    ListError::Mistake {
        file: second.file.clone(),
        line: second.line,
        what: format!("{first} says something else of {path}: take one of the two away"),
    }
}

impl Place {
    fn of(lists: Vec<List>) -> Result<Self, ListError> {
        let mut place = Self::default();
        for list in lists {
            for wanted in list.wanted {
                let before = place.wanted.get(&wanted.path).map(|before| {
                    let like = Wanted { said: before.said.clone(), reason: before.reason.clone(), ..wanted.clone() };
                    (like == *before, before.said.clone())
                });
                let shared = place.shared.get(&wanted.path).map(|before| (false, before.said.clone()));
                match before.or(shared) {
                    Some((false, said)) => return Err(twice(&said, &wanted.said, &wanted.path)),
                    Some((true, _)) => {}
                    None => drop(place.wanted.insert(wanted.path.clone(), wanted)),
                }
            }
            for shared in list.shared {
                if let Some(before) = place.wanted.get(&shared.path) {
                    return Err(twice(&before.said, &shared.said, &shared.path));
                }
                place.shared.entry(shared.path.clone()).or_insert(shared);
            }
        }
        place.not_inside_each_other()?;
        Ok(place)
    }

    /// A CDSL inside another cannot be made: what the outer one leads to is the node's own already.
    fn not_inside_each_other(&self) -> Result<(), ListError> {
        let mut outer: Option<&Wanted> = None;
        for wanted in self.wanted.values() {
            match outer {
                Some(outer) if wanted.path.starts_with(&outer.path) => {
                    return Err(ListError::Mistake {
                        file: wanted.said.file.clone(),
                        line: wanted.said.line,
                        what: format!(
                            "{} is inside {}, which {} makes node-specific as a whole: take one of the two away",
                            wanted.path, outer.path, outer.said
                        ),
                    });
                }
                _ => outer = Some(wanted),
            }
        }
        Ok(())
    }
}

impl Lists {
    /// Puts them together: what the site says of a path, or of a directory around or below it, goes before what
    /// packages say.
    ///
    /// # Errors
    /// Two lists of one place that contradict each other.
    pub fn merge(shipped: Vec<List>, site: Vec<List>) -> Result<Self, ListError> {
        let shipped = Place::of(shipped)?;
        let site = Place::of(site)?;
        let overlaps = |path: &TreePath| {
            let cdsl = site.wanted.keys().any(|said| said.starts_with(path) || path.starts_with(said));
            cdsl || site.shared.contains_key(path)
        };
        let wanted = shipped.wanted.into_iter().filter(|(path, _)| !overlaps(path)).collect::<Vec<_>>();
        let shared = shipped.shared.into_iter().filter(|(path, _)| !site.wanted.contains_key(path)).collect::<Vec<_>>();
        Ok(Self {
            wanted: site.wanted.into_iter().chain(wanted).collect(),
            shared: shared.into_iter().chain(site.shared).collect(),
        })
    }

    /// The lists of a root, those that are meant for its system.
    ///
    /// # Errors
    /// When one cannot be read or has a mistake.
    pub fn read(root: &Root) -> Result<Self, ListError> {
        let system = OsRelease::read(root)
            .map_err(|error| ListError::Read { file: "os-release of the root".to_owned(), error })?;
        let site = names(root, SITE)?;
        let mut shipped = names(root, SHIPPED)?;
        shipped.retain(|name| !site.contains(name));
        let read = |directory: &str, names: Vec<OsString>| -> Result<Vec<List>, ListError> {
            let lists = names.iter().map(|name| read_list(root, directory, name, &system));
            Ok(lists.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        };
        Self::merge(read(SHIPPED, shipped)?, read(SITE, site)?)
    }

    /// What is to be made, in the order of the paths.
    pub fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.values()
    }

    /// What a list says of making this path.
    pub fn wants(&self, path: &TreePath) -> Option<&Wanted> {
        self.wanted.get(path)
    }

    /// What says that this path is to be one for all: the entry for it or for the closest directory around it. What a
    /// list wants to be a CDSL is not.
    pub fn shares(&self, path: &TreePath) -> Option<&Shared> {
        if self.wanted.contains_key(path) {
            return None;
        }
        let around = std::iter::successors(Some(path.clone()), TreePath::parent);
        around.into_iter().find_map(|at| self.shared.get(&at))
    }

    /// Whether no list says anything.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.shared.is_empty()
    }
}

fn directory(text: &str) -> TreePath {
    TreePath::root().join(OsStr::new(text.trim_start_matches('/')))
}

/// The names of the lists in a directory, sorted; none when there is no directory.
fn names(root: &Root, at: &str) -> Result<Vec<OsString>, ListError> {
    let path = directory(at);
    let failed = |error: std::io::Error| ListError::Read { file: root.shown(&path), error };
    let open = match root.lookup(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(open) => open,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = crate::tree::copy::names(&open).map_err(failed)?;
    names.retain(|name| name.as_bytes().ends_with(b".toml") && !name.as_bytes().starts_with(b"."));
    names.sort();
    Ok(names)
}

fn read_list(root: &Root, at: &str, name: &OsStr, system: &OsRelease) -> Result<Option<List>, ListError> {
    let path = directory(at).join(name);
    let file = root.shown(&path);
    let failed = |error: std::io::Error| ListError::Read { file: file.clone(), error };
    let mut bytes = Vec::new();
    let open = root.lookup(&path, OFlags::RDONLY).map_err(failed)?;
    std::fs::File::from(open).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ListError::Mistake { file, line: 1, what: format!("a list has at most {MAX_FILE} bytes") });
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        ListError::Mistake {
            file: file.clone(),
            line,
            what: format!("no UTF-8: {}", shown(&bytes[error.valid_up_to()..][..1])),
        }
    })?;
    List::parse(&file, text, system)
}

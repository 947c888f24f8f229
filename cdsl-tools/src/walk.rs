// SPDX-License-Identifier: GPL-2.0-or-later
//! Where a path leads on a node: a walk as the kernel does it (`path_resolution(7)`, `fs/namei.c`), but for the context
//! directories, where it goes on in the directory that the node has mounted there.
//!
//! It agrees with `openat2(2)` and `RESOLVE_IN_ROOT` in that node's mounts, for who may look everywhere: the same file,
//! or the same error. Only the links of /proc that stand for open files are taken by their text.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::FileType;
use rustix::io::Errno;
use ssi_cluster::Context;

use crate::layout::{Variable, context_directory, good_value, holder};
use crate::path::{TreePath, shown};
use crate::tree::Root;

/// So many links may be on a way (`MAXSYMLINKS`, `include/linux/namei.h`).
const LINKS_MAX: usize = 40;

/// One step that was more than going into a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A link was followed.
    Link {
        /// Where it is.
        at: TreePath,
        /// Its text.
        text: Vec<u8>,
    },
    /// A context directory was entered.
    Context {
        /// Which.
        at: TreePath,
        /// The variable it goes by.
        variable: Variable,
        /// The variable's value on the node.
        value: String,
        /// The directory that the node has mounted there.
        to: TreePath,
    },
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The hops, in their order.
    pub hops: Vec<Hop>,
    /// The last place that was reached, or was to be: for one that is not there, where it would be made.
    pub end: TreePath,
    /// What is there, or what the kernel says in its stead.
    pub found: Result<Found, Errno>,
}

/// What is at the end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What kind of thing it is.
    pub kind: FileType,
    /// Its file system and number, which name it.
    pub identity: (u64, u64),
}

/// A context directory, and what belongs there on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextDirectory {
    /// The variable it goes by.
    pub variable: Variable,
    /// The variable's value on the node.
    pub value: String,
    /// The directory with the braces.
    pub at: TreePath,
    /// The directory that the node mounts there.
    pub from: TreePath,
}

/// The context directories of a node. A variable that no CDSL can go by has none, nor has a value that cannot be the name
/// of a directory.
pub fn contexts(context: &Context) -> Vec<ContextDirectory> {
    let variables = context.vars().filter(|(_, value)| good_value(value));
    variables
        .filter_map(|(name, value)| {
            let variable = Variable::parse(name).ok()?;
            let (at, from) = (context_directory(&variable), holder(&variable, value));
            Some(ContextDirectory { variable, value: value.to_owned(), at, from })
        })
        .collect()
}

/// Walks a path: bytes as a program would give them to `open(2)`. Links are followed, the last part's too.
pub fn walk(root: &Root, path: &[u8], context: &Context) -> Way {
    let contexts = contexts(context);
    let mut way = Way { hops: Vec::new(), end: TreePath::root(), found: Err(Errno::NOENT) };
    way.found = go(root, path, &contexts, &mut way.hops, &mut way.end);
    way
}

fn go(
    root: &Root,
    path: &[u8],
    contexts: &[ContextDirectory],
    hops: &mut Vec<Hop>,
    end: &mut TreePath,
) -> Result<Found, Errno> {
    // The limit holds for what a program gives; a link's text has its own, by being stored.
    const PATH_MAX: usize = 4096;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let mut rest: VecDeque<Vec<u8>> = split(path).into();
    let mut at = TreePath::root();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match part.as_slice() {
            // A slash at the end, or two in a row: what came before has to be a directory.
            b"" | b"." => {
                look(root, &at).and_then(directory)?;
                continue;
            }
            b".." => {
                look(root, &at).and_then(directory)?;
                at = up(&at);
                *end = at.clone();
                continue;
            }
            name => {
                const NAME_MAX: usize = 255;
                look(root, &at).and_then(directory)?;
                if name.len() > NAME_MAX {
                    return Err(Errno::NAMETOOLONG);
                }
                at = at.join(OsStr::from_bytes(name));
                *end = at.clone();
            }
        }
        // What this machine has mounted there by now says nothing about the node that is asked for: even where that
        // node's directory is missing, only what would be in it counts.
        if let Some(context) = contexts.iter().find(|context| context.at == at)
            && look(root, &at).and_then(directory).is_ok()
        {
            let ContextDirectory { variable, value, at: here, from } = context.clone();
            at = from.clone();
            hops.push(Hop::Context { at: here, variable, value, to: from });
            *end = at.clone();
            continue;
        }
        if let Some(text) = root.readlink(&at).map_err(errno)? {
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            hops.push(Hop::Link { at: at.clone(), text: text.clone() });
            if text.is_empty() {
                return Err(Errno::NOENT);
            }
            at = if text.first() == Some(&b'/') { TreePath::root() } else { up(&at) };
            *end = at.clone();
            // A slash after the link's own name is in `rest` already, as an empty part.
            for part in split(&text).into_iter().rev() {
                rest.push_front(part);
            }
        }
    }
    *end = at.clone();
    look(root, &at)
}

/// The parts between slashes; empty ones only where they ask for a directory.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
    if path.last() == Some(&b'/') {
        parts.push(Vec::new());
    }
    parts
}

fn up(at: &TreePath) -> TreePath {
    at.parent().unwrap_or_else(TreePath::root)
}

fn look(root: &Root, at: &TreePath) -> Result<Found, Errno> {
    let stat = root.lstat(at).map_err(errno)?;
    Ok(Found { kind: FileType::from_raw_mode(stat.st_mode), identity: (stat.st_dev, stat.st_ino) })
}

fn directory(found: Found) -> Result<Found, Errno> {
    if found.kind == FileType::Directory { Ok(found) } else { Err(Errno::NOTDIR) }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl Hop {
    /// For people.
    pub fn line(&self) -> String {
        match self {
            Self::Link { at, text } => format!("{at} -> {}", shown(text)),
            Self::Context { at, variable, value, to } => format!("{at} is {to}  ({{{variable}}} = {value:?})"),
        }
    }
}

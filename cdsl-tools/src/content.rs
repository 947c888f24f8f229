// SPDX-License-Identifier: GPL-2.0-or-later
//! What the other nodes get in place of a copy, where a list says so: nothing, directories only, or a text with the
//! node's variables filled in.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Mode, OFlags, openat};
use ssi_cluster::Context;

use crate::inventory::Kind;
use crate::layout::state_directory;
use crate::lists::Content;
use crate::path::TreePath;
use crate::tree::copy::{copy, copy_looks, names};
use crate::tree::{Place, Root, TreeError};

/// A text is shorter; what is longer is not one that was put there from a list.
const MAX_TEXT: u64 = 1 << 20;

/// Where things are made before they are put in place. What is there belongs to the command that has the lock.
pub fn staging() -> TreePath {
    state_directory().join(OsStr::new("staging"))
}

/// A text for a node, its variables filled in; for the template, as it is.
pub fn expand(text: &str, context: Option<&Context>) -> Vec<u8> {
    context.map_or_else(|| text.as_bytes().to_vec(), |context| context.expand(text.as_bytes()).text)
}

/// Makes at `at`, where nothing may be, what somebody gets in place of a copy of `original`. It has the owner, mode and
/// attributes of the original. `context` is that of the node; `None` for the template.
///
/// # Errors
/// What could not be made.
pub fn make(
    root: &Root,
    content: &Content,
    original: &TreePath,
    context: Option<&Context>,
    at: &TreePath,
) -> Result<(), TreeError> {
    let failed = |error: io::Error| TreeError::new("open the directory of", root.shown(original), error);
    let from = root.place(original).map_err(failed)?;
    let to = root.make_place(at, None)?;
    let kind = from.look()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
    match (content, kind) {
        (Content::Empty | Content::Skeleton, Some(FileType::Directory)) => {
            directory(&from, &to, *content == Content::Skeleton)
        }
        (Content::Empty, Some(FileType::RegularFile)) => file(&from, &to, b""),
        (Content::Text(text), Some(FileType::RegularFile)) => file(&from, &to, &expand(text, context)),
        _ => copy(&from, &to, &mut |_| {}).map(drop),
    }
}

/// A directory like another, with the directories in it or with nothing.
fn directory(from: &Place, to: &Place, deep: bool) -> Result<(), TreeError> {
    let failed = |error: io::Error| TreeError::new("make the directory", to.shown.clone(), error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(&from.directory, &from.name, flags, Mode::empty())
        .map_err(|error| TreeError::new("read the directory", from.shown.clone(), error))?;
    // Nobody else looks in before it has its own mode.
    rustix::fs::mkdirat(&to.directory, &to.name, Mode::RWXU).map_err(|error| failed(error.into()))?;
    let target = openat(&to.directory, &to.name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let inside = if deep { names(&source).map_err(failed)? } else { Vec::new() };
    for name in inside {
        let shown = format!("{}/{}", from.shown, crate::path::shown(name.as_bytes()));
        let inner = Place { directory: source.try_clone().map_err(failed)?, name: name.clone(), shown };
        if inner.look()?.is_none_or(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory) {
            continue;
        }
        let shown = format!("{}/{}", to.shown, crate::path::shown(name.as_bytes()));
        let copy = Place { directory: target.try_clone().map_err(failed)?, name, shown };
        directory(&inner, &copy, true)?;
    }
    copy_looks(&source, &target).map_err(failed)
}

/// A file like another, with this content.
fn file(from: &Place, to: &Place, content: &[u8]) -> Result<(), TreeError> {
    let failed = |error: io::Error| TreeError::new("write", to.shown.clone(), error);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(&from.directory, &from.name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(
        openat(&to.directory, &to.name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?,
    );
    target.write_all(content).map_err(failed)?;
    let target = std::os::fd::OwnedFd::from(target);
    copy_looks(&source, &target).map_err(failed)
}

/// Makes an original that a list wants and that is not there.
///
/// # Errors
/// What could not be made.
pub fn make_anew(
    root: &Root,
    kind: Kind,
    content: &Content,
    context: Option<&Context>,
    at: &TreePath,
) -> Result<(), TreeError> {
    let place = root.make_place(at, None)?;
    if kind == Kind::Directory {
        return root.make_directory(at, None);
    }
    let failed = |error: io::Error| TreeError::new("write", place.shown.clone(), error);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file =
        File::from(openat(&place.directory, &place.name, flags, mode).map_err(|error| failed(error.into()))?);
    if let Content::Text(text) = content {
        file.write_all(&expand(text, context)).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

/// Whether a file has exactly this content.
///
/// # Errors
/// When it cannot be read; that it is not there is no error.
pub fn is_text(root: &Root, at: &TreePath, text: &[u8]) -> Result<bool, TreeError> {
    let failed = |error: io::Error| TreeError::new("read", root.shown(at), error);
    let Ok(stat) = root.lstat(at) else { return Ok(false) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        || u64::try_from(stat.st_size).ok() != Some(text.len() as u64)
    {
        return Ok(false);
    }
    let Some(file) = root.read_file(at).map_err(failed)? else { return Ok(false) };
    let mut content = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut content).map_err(failed)?;
    Ok(content == text)
}

/// Puts the text for a node in place of the one that a copy from the template has, where that is still as the template
/// has it. Tells whether it did.
///
/// # Errors
/// What could not be read or written; the copy is as it was then.
pub fn fill(root: &Root, content: &Content, context: &Context, at: &TreePath) -> Result<bool, TreeError> {
    let Content::Text(text) = content else { return Ok(false) };
    let filled = expand(text, Some(context));
    if filled == text.as_bytes() || !is_text(root, at, text.as_bytes())? {
        return Ok(false);
    }
    let failed = |error: io::Error| TreeError::new("open the directory of", root.shown(at), error);
    let place = root.place(at).map_err(failed)?;
    let new = place.sibling(crate::journal::temporary("text", 0))?;
    new.unlink()?;
    file(&place, &new, &filled)?;
    new.replace(&place)?;
    place.sync()?;
    Ok(true)
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The inventory's file, and other small files of the commands: read as a stream, replaced whole or not at all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write};

use rustix::fs::{Mode, OFlags, openat};

use crate::inventory::{Entry, InventoryError, Reader, head, write_entry};
use crate::layout::state_directory;
use crate::lock::Lock;
use crate::path::TreePath;
use crate::tree::{Place, Root, TreeError};

/// How much is read and written at once.
const BUFFER: usize = 64 * 1024;

/// The inventory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not as it should be.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The system refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What is to become of an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// These are there afterwards, in place of entries for the same paths.
    pub add: Vec<Entry>,
    /// These are not.
    pub drop: Vec<TreePath>,
}

/// `/cluster/.cdsl/inventory.toml`
pub fn inventory_path() -> TreePath {
    state_directory().join(OsStr::new("inventory.toml"))
}

/// The entries, in the file's order. A file that is not there has none.
///
/// # Errors
/// When it cannot be opened.
pub fn read(root: &Root) -> Result<Reader<BufReader<File>>, StoreError> {
    let path = inventory_path();
    let file = root.read_file(&path).map_err(|error| TreeError::new("open the inventory", root.shown(&path), error))?;
    match file {
        Some(file) => Ok(Reader::new(root.shown(&path), BufReader::with_capacity(BUFFER, file))),
        None => Ok(Reader::new(root.shown(&path), BufReader::with_capacity(BUFFER, empty()?))),
    }
}

/// An inventory without entries.
fn empty() -> Result<File, TreeError> {
    let fail = |error: std::io::Error| TreeError::new("make", "a memory file", error);
    let fd =
        rustix::fs::memfd_create("inventory", rustix::fs::MemfdFlags::CLOEXEC).map_err(|error| fail(error.into()))?;
    let mut file = File::from(fd);
    file.write_all(head().as_bytes()).map_err(fail)?;
    std::io::Seek::rewind(&mut file).map_err(fail)?;
    Ok(file)
}

/// The entries in the order of their paths. A file that a person left in another order is put in order in memory, and
/// `notice` is told so.
///
/// # Errors
/// As [`read()`], and when it has a mistake before its order is known.
pub fn read_sorted(
    root: &Root,
    notice: &mut dyn FnMut(&str),
) -> Result<Box<dyn Iterator<Item = Result<Entry, InventoryError>>>, StoreError> {
    let mut last: Option<TreePath> = None;
    let mut sorted = true;
    for entry in read(root)? {
        let entry = entry?;
        sorted &= last.as_ref().is_none_or(|last| *last < entry.path);
        last = Some(entry.path);
        if !sorted {
            break;
        }
    }
    if sorted {
        return Ok(Box::new(read(root)?));
    }
    notice(&format!("{} is not in the order of its paths; it is read into memory", root.shown(&inventory_path())));
    let mut entries = read(root)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Box::new(entries.into_iter().map(Ok)))
}

/// The entry for a path.
///
/// # Errors
/// As [`read()`].
pub fn find(root: &Root, path: &TreePath) -> Result<Option<Entry>, StoreError> {
    for entry in read(root)? {
        let entry = entry?;
        if entry.path == *path {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Changes the inventory: the old one is read as the new one is written, and then replaced.
///
/// # Errors
/// The old one is as it was then.
pub fn change(root: &Root, _lock: &Lock, change: Change) -> Result<(), StoreError> {
    let Change { mut add, drop } = change;
    if add.is_empty() && drop.is_empty() {
        return Ok(());
    }
    add.sort_by(|a, b| a.path.cmp(&b.path));
    add.dedup_by(|later, earlier| later.path == earlier.path);
    let gone: BTreeSet<_> = drop.into_iter().chain(add.iter().map(|entry| entry.path.clone())).collect();
    let mut notice = |_: &str| {};
    let old = read_sorted(root, &mut notice)?;
    let mut merged = add.into_iter().peekable();
    replace(root, &inventory_path(), 0o644, |out| {
        out.write_all(head().as_bytes())?;
        for entry in old {
            let entry = entry.map_err(std::io::Error::other)?;
            while let Some(new) = merged.next_if(|new| new.path < entry.path) {
                out.write_all(write_entry(&new).as_bytes())?;
            }
            if !gone.contains(&entry.path) {
                out.write_all(write_entry(&entry).as_bytes())?;
            }
        }
        merged.by_ref().try_for_each(|new| out.write_all(write_entry(&new).as_bytes()))
    })?;
    Ok(())
}

/// Writes a whole new inventory of these entries, which come in the order of their paths.
///
/// # Errors
/// The old one is as it was then.
pub fn write_all(root: &Root, _lock: &Lock, entries: impl Iterator<Item = Entry>) -> Result<(), StoreError> {
    let mut entries = entries;
    replace(root, &inventory_path(), 0o644, |out| {
        out.write_all(head().as_bytes())?;
        entries.try_for_each(|entry| out.write_all(write_entry(&entry).as_bytes()))
    })?;
    Ok(())
}

/// Writes a file anew: to another name, onto the disk, and then in place of the old one.
///
/// # Errors
/// The old one is as it was then.
pub fn replace(
    root: &Root,
    path: &TreePath,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), TreeError> {
    let fail = |error: std::io::Error| TreeError::new("write", root.shown(path), error);
    let place = root.make_place(path, None)?;
    let mut name = place.name.clone();
    name.push(".new");
    let new = place.sibling(name)?;
    // What a command that was cut off left.
    new.unlink()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(
        openat(&new.directory, &new.name, flags, Mode::from_raw_mode(mode)).map_err(|error| fail(error.into()))?,
    );
    let written = (|| {
        // Whatever the umask is.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        let mut out = BufWriter::with_capacity(BUFFER, &file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()
    })();
    if let Err(error) = written {
        new.unlink()?;
        return Err(fail(error));
    }
    new.replace(&place)?;
    place.sync()
}

/// The lines of a small file; none when it is not there.
///
/// # Errors
/// What the system said.
pub fn lines(root: &Root, path: &TreePath) -> Result<Vec<String>, TreeError> {
    let fail = |error: std::io::Error| TreeError::new("read", root.shown(path), error);
    let Some(file) = root.read_file(path).map_err(fail)? else { return Ok(Vec::new()) };
    BufReader::new(file).lines().collect::<Result<_, _>>().map_err(fail)
}

/// Removes a small file; not being there is no error.
///
/// # Errors
/// What the system said.
pub fn remove(root: &Root, path: &TreePath) -> Result<(), TreeError> {
    let place: Place = match root.place(path) {
        Ok(place) => place,
        Err(error) if crate::tree::root::is_absent(&error) => return Ok(()),
        Err(error) => return Err(TreeError::new("remove", root.shown(path), error)),
    };
    place.unlink()?;
    place.sync()
}

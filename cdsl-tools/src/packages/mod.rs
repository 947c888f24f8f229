// SPDX-License-Identifier: GPL-2.0-or-later
//! CDSLs and package managers: what dpkg and rpm do to a file of theirs that has become a link, and what is done so
//! that an upgrade goes as it would for a plain file.
//!
//! | the file | dpkg | rpm |
//! | --- | --- | --- |
//! | a directory | keeps the link, works behind it | the same |
//! | no configuration | puts a plain file in place of the link | the same |
//! | a conffile, `%config` | leaves the new version beside the link as `.dpkg-new` and forgets it | puts the new file in place of the link, and the link aside as `.rpmsave` |
//! | `%config(noreplace)` | | leaves the new version beside the link as `.rpmnew`, edited or not |
//!
//! (Found by trying it with dpkg 1.21 and 1.22 and rpm 4.18; `tests/packages.rs` tries it again. That dpkg forgets is an
//! oversight there: `tarobject()` in `src/main/archives.c` takes a success of `conffderef()` for a failure.)
//!
//! For dpkg the answer is its own: each CDSL is diverted (`dpkg-divert(1)`) to the place it leads to, before dpkg runs.
//! dpkg then works on this node's copy as on a plain file, its questions and checksums included. See [`dpkg`].
//!
//! rpm knows nothing of the kind. What it did is put right after each package, while the database still has the old
//! version beside the new one, so that a file that nobody edited can be told from one that somebody did. See [`rpm`].
//!
//! In both cases the other nodes' copies follow where they were the same as this node's before.

pub mod dpkg;
pub mod rpm;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, OFlags};
use sha2::{Digest as _, Sha256};

use crate::check::CheckError;
use crate::check::finding::Finding;
use crate::inventory::{Entry, Kind};
use crate::layout;
use crate::ops::{kind_of, places};
use crate::path::TreePath;
use crate::site::Site;
use crate::store;
use crate::tree::copy::{copy, names};
use crate::tree::root::is_absent;
use crate::tree::{Attic, Root, TreeError};

/// What package managers leave beside a file.
const LEFT: [(&str, &str); 3] = [
    (".dpkg-new", "a version that dpkg unpacked and did not install"),
    (".rpmnew", "a version that rpm did not install"),
    (".rpmsave", "the link that rpm put aside"),
];

/// A package manager's program, or the tree, did not do as it should.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// As in a check.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A program could not be run.
    #[error("cannot run {program}: {error}")]
    Run {
        /// The program with its arguments.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {said}")]
    Program {
        /// The program with its arguments.
        program: String,
        /// What it said.
        said: String,
    },
    /// dpkg would write into the wrong place.
    #[error("{0}")]
    Refused(String),
}

impl From<TreeError> for PackagesError {
    fn from(error: TreeError) -> Self {
        Self::Check(error.into())
    }
}

impl From<crate::ops::OpError> for PackagesError {
    fn from(error: crate::ops::OpError) -> Self {
        Self::Check(error.into())
    }
}

/// What was done beside mending findings, for people.
#[derive(Debug, Default)]
pub struct Settled {
    /// A line each.
    pub lines: Vec<String>,
    /// What went to the attic: from, to.
    pub attic: Vec<(TreePath, TreePath)>,
}

/// The CDSLs that are not only kept, in order.
///
/// # Errors
/// What is wrong with the inventory.
pub fn entries(site: &Site) -> Result<Vec<Entry>, CheckError> {
    let mut all = Vec::new();
    for entry in store::read_sorted(&site.root, &mut |_| {})? {
        let entry = entry?;
        if !entry.kept {
            all.push(entry);
        }
    }
    Ok(all)
}

/// Looks at the paths of CDSLs only: what stands in place of a link, and what was left beside it. A link that is
/// missing is not told: a package that was removed took it along.
///
/// # Errors
/// What could not be looked at.
pub fn look(root: &Root, entries: &[Entry], found: &mut dyn FnMut(Finding)) -> Result<(), TreeError> {
    let mut last: Option<(TreePath, BTreeSet<OsString>)> = None;
    for entry in entries {
        let parent = entry.path.parent().unwrap_or_else(TreePath::root);
        let failed = |error: io::Error| TreeError::new("look at", root.shown(&entry.path), error);
        if last.as_ref().is_none_or(|(at, _)| *at != parent) {
            let inside = match root.open_below(&parent, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(open) => names(&open).map_err(failed)?.into_iter().collect(),
                Err(error) if is_absent(&error) => BTreeSet::new(),
                Err(error) => return Err(failed(error)),
            };
            last = Some((parent.clone(), inside));
        }
        let Some((_, inside)) = &last else { continue };
        if !inside.contains(entry.path.name()) {
            continue;
        }
        let stat = root.lstat(&entry.path).map_err(failed)?;
        let by = kind_of(&stat);
        if by != Some(Kind::Symlink) {
            found(Finding::LinkReplaced { path: entry.path.clone(), by });
        }
        for (suffix, what) in LEFT {
            let mut name = entry.path.name().to_owned();
            name.push(suffix);
            let at = parent.join(&name);
            let ours =
                || root.readlink(&at).map(|text| text.as_deref() == Some(&layout::link_text(&entry.var, &entry.path)));
            if inside.contains(&name) && (suffix != ".rpmsave" || ours().map_err(failed)?) {
                found(Finding::LeftBeside { path: entry.path.clone(), at, what });
            }
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal; `None` for what is no file, or not there.
///
/// # Errors
/// When it cannot be read.
pub fn digest(root: &Root, path: &TreePath) -> Result<Option<String>, TreeError> {
    let failed = |error: io::Error| TreeError::new("read", root.shown(path), error);
    let stat = match root.lstat(path) {
        Ok(stat) => stat,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let Some(mut file) = root.read_file(path).map_err(failed)? else { return Ok(None) };
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Some(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// This node's copy of a CDSL; the template where all share it, or where it is not known which node this is.
///
/// # Errors
/// When the configuration cannot be used.
pub fn own_copy(site: &Site, entry: &Entry) -> Result<TreePath, CheckError> {
    let template = layout::template_of(&entry.path);
    let Some(node) = site.node_if_known() else { return Ok(template) };
    let contexts = site.contexts()?;
    let Some(value) = contexts.get(&node).and_then(|context| context.get(entry.var.as_str())) else {
        return Ok(template);
    };
    let copy = layout::copy_of(&entry.var, value, &entry.path);
    let text = site.root.readlink(&copy).map_err(|error| TreeError::new("look at", site.root.shown(&copy), error))?;
    Ok(if text.as_deref() == Some(template.as_bytes()) { template } else { copy })
}

/// Has the copies that were the same as this node's was before an upgrade follow it: those whose SHA-256 is `before`
/// become copies of `own`. What they were goes to the attic.
///
/// # Errors
/// What could not be read or copied; a copy is the old one or the new one.
pub fn follow(
    site: &Site,
    entry: &Entry,
    own: &TreePath,
    before: &str,
    attic: &mut Attic,
) -> Result<Vec<TreePath>, CheckError> {
    let root = &site.root;
    let mut followed = Vec::new();
    for place in places(site, entry)? {
        if place == *own || digest(root, &place)?.as_deref() != Some(before) {
            continue;
        }
        let failed = |error: io::Error| TreeError::new("open the directory of", root.shown(&entry.path), error);
        let (from, to) = (root.place(own).map_err(failed)?, root.place(&place).map_err(failed)?);
        let new = to.sibling(crate::journal::temporary("copy", 0))?;
        new.remove_all()?;
        copy(&from, &new, &mut |_| {})?;
        // A second name for the old one, so that there is no moment without.
        let kept = place.below(attic.directory());
        to.hard_link(&root.make_place(&kept, None)?)?;
        new.replace(&to)?;
        to.sync()?;
        attic.put.push((place.clone(), kept));
        followed.push(place);
    }
    Ok(followed)
}

/// Whether what the links lead to is there: on this node, the context directories are mounted, or the kernel fills in
/// variables itself.
///
/// # Errors
/// The sentence to be told, when it is not.
pub fn leads_somewhere(site: &Site, entries: &[Entry]) -> Result<(), PackagesError> {
    let variables: BTreeSet<_> = entries.iter().map(|entry| &entry.var).collect();
    for variable in variables {
        let context = layout::context_directory(variable);
        let value = site.own_value(variable).map_err(CheckError::from)?;
        let holder = layout::holder(variable, &value);
        let inode = |path: &TreePath| {
            let open = site.root.lookup(path, OFlags::PATH | OFlags::DIRECTORY)?;
            let stat = rustix::fs::fstat(open)?;
            Ok::<_, io::Error>((stat.st_dev, stat.st_ino))
        };
        let (Ok(found), Ok(own)) = (inode(&context), inode(&holder)) else {
            return Err(PackagesError::Refused(format!(
                "{} or {} is not there, and packages would be unpacked into nothing: `cdsl mount` first",
                site.root.shown(&context),
                site.root.shown(&holder)
            )));
        };
        if found != own {
            return Err(PackagesError::Refused(format!(
                "{} does not lead to {}, and packages would be unpacked where nobody finds it: `cdsl mount` first",
                site.root.shown(&context),
                site.root.shown(&holder)
            )));
        }
    }
    Ok(())
}

/// Runs a package manager's program and gives what it wrote. `may_fail` takes what it wrote for as much as there is.
fn run(program: &str, arguments: &[OsString], may_fail: bool) -> Result<Vec<u8>, PackagesError> {
    let shown = || {
        let few = arguments.iter().take(6).map(|argument| crate::path::shown(argument.as_bytes()));
        let more = if arguments.len() > 6 { " …" } else { "" };
        format!("{program} {}{more}", few.collect::<Vec<_>>().join(" "))
    };
    let output = std::process::Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| PackagesError::Run { program: shown(), error })?;
    if !output.status.success() && !may_fail {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { output.status.to_string() } else { said };
        return Err(PackagesError::Program { program: shown(), said });
    }
    Ok(output.stdout)
}

/// `--root DIR`, where it is not the machine's.
fn root_arguments(root: &Root) -> Vec<OsString> {
    if root.is_machine() { Vec::new() } else { vec![OsString::from("--root"), root.directory().as_os_str().to_owned()] }
}

/// Whether a file is there, for telling which package manager a root has.
fn has(root: &Root, path: &str) -> bool {
    root.lookup(&TreePath::root().join(OsStr::new(path)), OFlags::PATH).is_ok()
}

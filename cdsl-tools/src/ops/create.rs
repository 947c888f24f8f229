// SPDX-License-Identifier: GPL-2.0-or-later
//! A path becomes a CDSL.
//!
//! The original itself becomes this node's copy, by one `rename` that exchanges it with the link (`RENAME_EXCHANGE`,
//! `rename(2)`). So nobody who has it open notices, and there is no moment without the path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Stat, StatxFlags, statx};
use ssi_cluster::{Context, NodeId};

use super::mounted::Mounts;
use super::{Made, OpError, Source, Step, Switch};
use crate::inventory::{Entry, Kind, Mode};
use crate::journal::{Act, Journal, temporary};
use crate::layout::{self, Variable};
use crate::path::TreePath;
use crate::site::Site;
use crate::store;
use crate::tree::copy::{Copied, copy};
use crate::tree::{Attic, TreeError};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Create {
    /// By what it goes.
    pub var: Variable,
    /// Whose content it has; the value of [`Mode::Only`] is one of the variable's.
    pub mode: Mode,
    /// `command`, or the name of the list that asks for it.
    pub origin: String,
    /// Go on where that means a moment without the path, a busy original, or copies that are there already.
    pub force: bool,
}

/// File systems whose content is made by the kernel: what is copied from there means nothing elsewhere
/// (`include/uapi/linux/magic.h`, `statfs(2)`).
const KERNELS_OWN: [(u64, &str); 12] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0xcafe_4a11, "bpf"),
    (0x1cd1, "devpts"),
    (0x6165_676c, "pstore"),
    (0xde5e_81e4, "efivarfs"),
    (0x7363_6673, "securityfs"),
    (0x1980_0202, "mqueue"),
];

/// What is to be done for these paths; looks, and changes nothing. Paths that are CDSLs of that kind already are left
/// out, and told to `already`.
///
/// # Errors
/// Why one of them cannot become one.
pub fn plan(
    site: &Site,
    paths: &[TreePath],
    request: &Create,
    already: &mut dyn FnMut(&TreePath),
) -> Result<Vec<Step>, OpError> {
    let values = site.values(&request.var)?;
    if let Mode::Only(value) = &request.mode
        && !values.contains_key(value)
    {
        let known = values.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(OpError::Refused(format!("no node has {value} as its {{{}}}; there are {known}", request.var)));
    }
    let mut steps = Vec::new();
    let around = Around { values, contexts: site.contexts()?, mounts: Mounts::of(&site.root) };
    for path in paths {
        if let Some(step) = plan_one(site, path, request, &around, already)? {
            steps.push(step);
        }
    }
    steps.sort_by(|a: &Step, b| a.entry.path.cmp(&b.entry.path));
    steps.dedup_by(|a, b| a.entry.path == b.entry.path);
    if let Some(pair) = steps.windows(2).find(|pair| pair[1].entry.path.starts_with(&pair[0].entry.path)) {
        return Err(OpError::Refused(format!(
            "{} is inside {}, which becomes node-specific as a whole: name only one of the two",
            pair[1].entry.path, pair[0].entry.path
        )));
    }
    Ok(steps)
}

/// What is the same for all paths of a command.
struct Around {
    values: BTreeMap<String, Vec<NodeId>>,
    contexts: BTreeMap<NodeId, Context>,
    mounts: Mounts,
}

fn plan_one(
    site: &Site,
    path: &TreePath,
    request: &Create,
    Around { values, contexts, mounts }: &Around,
    already: &mut dyn FnMut(&TreePath),
) -> Result<Option<Step>, OpError> {
    let refuse = |why: String| OpError::Refused(format!("{}: {why}", site.root.shown(path)));
    let fail = |error: std::io::Error| TreeError::new("look at", site.root.shown(path), error);
    if path.is_root() {
        return Err(refuse("the root cannot be node-specific".to_owned()));
    }
    let path = site.root.canonical(path).map_err(fail)?;
    if path.starts_with(&layout::cluster()) || layout::cluster().starts_with(&path) {
        return Err(refuse(
            "it is in a node's own part of the tree already, below /cluster, or holds all of them".to_owned(),
        ));
    }
    if crate::site::config_path().starts_with(&path) {
        return Err(refuse(
            "cluster.toml is there, which every node reads before it knows which node it is".to_owned(),
        ));
    }
    if let Some(text) = site.root.readlink(&path).map_err(fail)?
        && let Some((variable, target)) = layout::parse_link(&text)
    {
        if variable == request.var && target == path {
            already(&path);
            return Ok(None);
        }
        return Err(refuse(format!("it is a CDSL already, by {{{variable}}} for {target}: `cdsl remove` it first")));
    }
    let known = |name: &str| contexts.values().any(|context| context.get(name).is_some());
    if let Some(name) = layout::variable_in(&path, known) {
        return Err(refuse(format!(
            "the name itself holds {{{name}}}, which a kernel that resolves variables would fill in: rename it first"
        )));
    }
    let stat = site.root.lstat(&path).map_err(fail)?;
    let kind = kind_of(&stat).ok_or_else(|| {
        refuse("a socket belongs to the process that listens there and cannot be copied: stop it and make its directory node-specific".to_owned())
    })?;
    let parent = path.parent().unwrap_or_else(TreePath::root);
    if let Some(name) = kernels_own(magic_of(site, &parent).map_err(fail)?) {
        return Err(refuse(format!(
            "it is on a file system that the kernel makes ({name}): every node has its own there anyway"
        )));
    }
    if let Some(point) = mounts.at_or_below(&path) {
        return Err(refuse(format!(
            "something is mounted on {}: make what is in it node-specific, or mount it elsewhere",
            site.root.shown(point)
        )));
    }
    let mine =
        site.node_if_known().and_then(|node| contexts.get(&node)).and_then(|context| context.get(request.var.as_str()));
    let template = layout::template_of(&path);
    let copy_for = |value: &String| layout::copy_of(&request.var, value, &path);
    let home = match &request.mode {
        Mode::Each => mine.map_or_else(|| template.clone(), |value| copy_for(&value.to_owned())),
        Mode::Only(value) => copy_for(value),
        Mode::Default => template.clone(),
    };
    let mut made = Vec::new();
    let mut others: Vec<TreePath> = match &request.mode {
        Mode::Only(_) => Vec::new(),
        _ => values.keys().map(copy_for).chain((request.mode == Mode::Each).then(|| template.clone())).collect(),
    };
    others.retain(|place| *place != home);
    for place in others {
        if site.root.exists(&place).map_err(fail)? {
            if request.force {
                // What is there already stays that node's own.
                continue;
            }
            return Err(refuse(format!(
                "{} is there already, kept from before or made by hand: --force takes it as that node's own, `cdsl remove --purge` or moving it away makes room",
                site.root.shown(&place)
            )));
        }
        let from = match request.mode {
            Mode::Default => Source::Link(template.as_bytes().to_vec()),
            _ => Source::Copy(path.clone()),
        };
        made.push(Made { at: place, from });
    }
    if site.root.exists(&home).map_err(fail)? {
        return Err(refuse(format!(
            "{} is there already: move it away, it would be in the way of the original",
            site.root.shown(&home)
        )));
    }
    let switch =
        switch_between(site, kind, &stat, &parent, &home.parent().unwrap_or_else(TreePath::root)).map_err(fail)?;
    if switch == Switch::Across && in_memory(magic_of(site, &parent).map_err(fail)?) {
        return Err(refuse(
            "it is on a file system in memory, of which every machine has its own, until it is switched off".to_owned(),
        ));
    }
    if switch == Switch::Moves && !request.force {
        return Err(refuse(
            "this file system cannot exchange a directory and a link in one step: there would be a moment without the path. --force does it so; a command that is cut off in that moment is finished by the next one".to_owned(),
        ));
    }
    if switch == Switch::Across && !request.force {
        let users = crate::busy::users(&site.root, &path, &stat);
        if !users.is_empty() {
            return Err(refuse(format!(
                "it is on another file system than /cluster, so its content has to be copied, and it is in use by {}: stop that, or --force leaves it with the old file, which goes to the attic",
                users.join(", ")
            )));
        }
    }
    let entry = Entry {
        path,
        var: request.var.clone(),
        mode: request.mode.clone(),
        kind,
        uid: stat.st_uid,
        gid: stat.st_gid,
        perm: stat.st_mode & 0o7777,
        made: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        origin: request.origin.clone(),
        kept: false,
    };
    let whole = super::whole::find(&site.root, &entry.path, kind)?;
    Ok(Some(Step { act: Act::Create, entry, home, whole, made, switch, purge: Vec::new() }))
}

/// What kind of thing it is; a socket is none of them.
pub fn kind_of(stat: &Stat) -> Option<Kind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::CharacterDevice | FileType::BlockDevice => Some(Kind::Device),
        FileType::Fifo => Some(Kind::Fifo),
        _ => None,
    }
}

/// The name of the kernel's own file system with this magic number, if it is one.
pub fn kernels_own(magic: u64) -> Option<&'static str> {
    KERNELS_OWN.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// The file system that a directory is on, by its magic number.
fn magic_of(site: &Site, directory: &TreePath) -> std::io::Result<u64> {
    let open = site.root.open_below(directory, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY)?;
    Ok(rustix::fs::fstatfs(&open)?.f_type as u64)
}

/// Whether a file system is in memory only: tmpfs, devtmpfs, ramfs (`include/uapi/linux/magic.h`).
fn in_memory(magic: u64) -> bool {
    matches!(magic, 0x0102_1994 | 0x8584_58f6)
}

/// File systems that cannot exchange two names, by their magic numbers: the rename of each refuses flags that it does not
/// know (`fs/nfs/dir.c`, `fs/ceph/dir.c`, `fs/ocfs2/namei.c`, `fs/smb/client/inode.c`, `fs/9p/vfs_inode_dotl.c`,
/// `fs/afs/dir.c`).
const WITHOUT_EXCHANGE: [u64; 7] =
    [0x6969, 0x00c3_6400, 0x7461_636f, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6b41_4653];

/// How something in the directory `from` can be exchanged with a name in a directory that may not be there yet.
pub(super) fn switch_between(
    site: &Site,
    kind: Kind,
    stat: &Stat,
    from: &TreePath,
    directory: &TreePath,
) -> std::io::Result<Switch> {
    let mut above = directory.clone();
    while !site.root.exists(&above)? {
        above = above.parent().unwrap_or_else(TreePath::root);
    }
    // Two mounts of one file system are as far apart as two file systems (EXDEV, rename(2)).
    if site.root.lstat(&above)?.st_dev != stat.st_dev || mount_of(site, &above)? != mount_of(site, from)? {
        return Ok(Switch::Across);
    }
    if !WITHOUT_EXCHANGE.contains(&magic_of(site, &above)?) {
        return Ok(Switch::Exchange);
    }
    Ok(if kind == Kind::Directory { Switch::Moves } else { Switch::HardLink })
}

/// The number of the mount that a directory is seen through; a kernel before 5.8 tells none.
fn mount_of(site: &Site, directory: &TreePath) -> std::io::Result<Option<u64>> {
    let open = site.root.open_below(directory, rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY)?;
    let found = statx(&open, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok((found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id))
}

/// Makes the copies, each under its temporary name first, and puts the link where the original will be.
pub(super) fn prepare(
    site: &Site,
    journal: &Journal,
    number: usize,
    step: &Step,
    progress: &mut dyn FnMut(Copied),
) -> Result<Copied, OpError> {
    let mut all = Copied::default();
    let fail =
        |error: std::io::Error| TreeError::new("open the directory of", site.root.shown(&step.entry.path), error);
    for link in &step.whole {
        let beside = site.root.place(&step.entry.path).map_err(fail)?.sibling(temporary(&journal.id, number))?;
        super::whole::set(&site.root, link, &beside)?;
    }
    for made in &step.made {
        let place = site.root.make_place(&made.at, Some(&step.entry.path))?;
        let new = place.sibling(temporary(&journal.id, number))?;
        match &made.from {
            Source::Copy(from) => {
                let from = site.root.place(from).map_err(fail)?;
                let copied = copy(&from, &new, &mut |copied| {
                    progress(Copied { entries: all.entries + copied.entries, bytes: all.bytes + copied.bytes, ..all });
                })?;
                all.entries += copied.entries;
                all.bytes += copied.bytes;
                all.sockets = all.sockets.max(copied.sockets);
            }
            Source::Link(text) => new.make_link(text)?,
        }
        new.move_to(&place)?;
    }
    let text = layout::link_text(&step.entry.var, &step.entry.path);
    // The context directory has to be there for the link to lead anywhere once it is mounted on.
    site.root.make_directory(&layout::context_directory(&step.entry.var), None)?;
    let home = site.root.make_place(&step.home, Some(&step.entry.path))?;
    match step.switch {
        Switch::Exchange => home.make_link(&text)?,
        Switch::HardLink | Switch::Moves => {
            site.root
                .place(&step.entry.path)
                .map_err(fail)?
                .sibling(temporary(&journal.id, number))?
                .make_link(&text)?;
        }
        Switch::Across => {
            let from = site.root.place(&step.entry.path).map_err(fail)?;
            let new = home.sibling(temporary(&journal.id, number))?;
            let copied = copy(&from, &new, &mut |_| {})?;
            all.entries += copied.entries;
            all.bytes += copied.bytes;
            new.move_to(&home)?;
            from.sibling(temporary(&journal.id, number))?.make_link(&text)?;
        }
    }
    Ok(all)
}

/// The one step after which the path is a CDSL.
pub(super) fn switch(
    site: &Site,
    journal: &Journal,
    number: usize,
    step: &Step,
    attic: &mut Attic,
) -> Result<(), OpError> {
    let fail =
        |error: std::io::Error| TreeError::new("open the directory of", site.root.shown(&step.entry.path), error);
    let path = site.root.place(&step.entry.path).map_err(fail)?;
    let home = site.root.place(&step.home).map_err(fail)?;
    match step.switch {
        Switch::Exchange => {
            if !path.exchange(&home)? {
                if step.entry.kind == Kind::Directory {
                    return Err(OpError::Refused(format!(
                        "{}: this file system cannot exchange a directory with {} in one step",
                        path.shown, home.shown
                    )));
                }
                let link = path.sibling(temporary(&journal.id, number))?;
                link.make_link(&layout::link_text(&step.entry.var, &step.entry.path))?;
                home.unlink()?;
                path.hard_link(&home)?;
                link.replace(&path)?;
            }
        }
        Switch::HardLink => {
            path.hard_link(&home)?;
            path.sibling(temporary(&journal.id, number))?.replace(&path)?;
        }
        Switch::Moves => {
            path.move_to(&home)?;
            path.sibling(temporary(&journal.id, number))?.move_to(&path)?;
        }
        Switch::Across => {
            let link = path.sibling(temporary(&journal.id, number))?;
            if path.exchange(&link)? {
                // The temporary name has the original now.
                let old = step.entry.path.parent().unwrap_or_else(TreePath::root).join(&link.name);
                attic.put(&site.root, &old)?;
            } else {
                return Err(OpError::Refused(format!(
                    "{}: its file system cannot exchange it with a link",
                    path.shown
                )));
            }
        }
    }
    Ok(())
}

/// All values of a variable and the template, as places for a path: where copies may be.
pub fn places(site: &Site, entry: &Entry) -> Result<Vec<TreePath>, OpError> {
    let values = site.values(&entry.var)?;
    let copies = values.keys().map(|value| layout::copy_of(&entry.var, value, &entry.path));
    Ok(copies.chain([layout::template_of(&entry.path)]).collect())
}

/// The entry for a path that is a CDSL.
///
/// # Errors
/// When it is none.
pub fn entry_of(site: &Site, path: &TreePath) -> Result<Entry, OpError> {
    let canonical =
        site.root.canonical(path).map_err(|error| TreeError::new("look at", site.root.shown(path), error))?;
    store::find(&site.root, &canonical)?.ok_or_else(|| no_entry(site, path))
}

/// The entries for paths that are CDSLs, in their order; the inventory is read once for all of them.
///
/// # Errors
/// When one of them is none.
pub fn entries_of(site: &Site, paths: &[TreePath]) -> Result<Vec<Entry>, OpError> {
    let mut found: BTreeMap<TreePath, Option<Entry>> = BTreeMap::new();
    let mut canonical = Vec::with_capacity(paths.len());
    for path in paths {
        let real =
            site.root.canonical(path).map_err(|error| TreeError::new("look at", site.root.shown(path), error))?;
        found.insert(real.clone(), None);
        canonical.push(real);
    }
    for entry in store::read(&site.root)? {
        let entry = entry?;
        if let Some(wanted) = found.get_mut(&entry.path) {
            *wanted = Some(entry);
        }
    }
    let mut entries = Vec::with_capacity(paths.len());
    for (path, real) in paths.iter().zip(&canonical) {
        // One that was named twice is there once.
        match found.remove(real) {
            Some(Some(entry)) => entries.push(entry),
            Some(None) => return Err(no_entry(site, path)),
            None => {}
        }
    }
    Ok(entries)
}

fn no_entry(site: &Site, path: &TreePath) -> OpError {
    OpError::Refused(format!(
        "{} is no CDSL that the inventory has; `cdsl check` tells what is amiss",
        site.root.shown(path)
    ))
}

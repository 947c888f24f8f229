// SPDX-License-Identifier: GPL-2.0-or-later
//! dpkg: each CDSL of a package is diverted to the place it leads to.
//!
//! ```text
//!   pre-invoke ─▶ before(): is the context mounted?  divert CDSLs, undivert what is none any more;
//!                           note what this node's copies are
//!   dpkg       ─▶ unpacks /etc/x as /cluster/node{nodenum}/etc/x, asks its questions about that
//!   trigger    ─▶ after():  put right what was replaced or left all the same; other nodes' copies follow
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;

use super::{PackagesError, Settled, digest, follow, has, own_copy, root_arguments, run};
use crate::check::finding::Finding;
use crate::inventory::{Entry, Kind};
use crate::layout;
use crate::path::TreePath;
use crate::site::Site;
use crate::store;
use crate::tree::{Attic, Root, TreeError};

/// How many paths are asked about at once; the kernel takes 128 KiB of arguments at least (`execve(2)`).
const AT_ONCE: usize = 200;
/// Directories that may be links into /usr, so that dpkg knows a file by the shorter name.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// dpkg's word for a diversion that is nobody's package's.
const LOCAL: &[u8] = b":";

/// Whether this root has dpkg's database.
pub fn is_used(root: &Root) -> bool {
    has(root, "var/lib/dpkg/status")
}

/// What this node's copies were before dpkg ran.
fn noted_path() -> TreePath {
    layout::state_directory().join(OsStr::new("dpkg-before"))
}

/// A diversion: of a path, to another, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Diversion {
    from: Vec<u8>,
    to: Vec<u8>,
    local: bool,
}

/// The lines of `/var/lib/dpkg/diversions`, three for each.
fn parse_diversions(text: &[u8]) -> Vec<Diversion> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let full = lines.chunks_exact(3).filter(|lines| !lines[0].is_empty());
    full.map(|lines| Diversion { from: lines[0].to_vec(), to: lines[1].to_vec(), local: lines[2] == LOCAL }).collect()
}

fn diversions(root: &Root) -> Result<Vec<Diversion>, TreeError> {
    let path = TreePath::root().join(OsStr::new("var/lib/dpkg/diversions"));
    let failed = |error: std::io::Error| TreeError::new("read", root.shown(&path), error);
    let Some(mut file) = root.read_file(&path).map_err(failed)? else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut text).map_err(failed)?;
    Ok(parse_diversions(&text))
}

/// Which of these paths belong to packages, and by which name dpkg knows each.
fn owned(root: &Root, entries: &[&Entry]) -> Result<BTreeMap<TreePath, Vec<u8>>, PackagesError> {
    let mut by_name: BTreeMap<Vec<u8>, TreePath> = BTreeMap::new();
    for entry in entries {
        let path = entry.path.as_bytes();
        by_name.insert(path.to_vec(), entry.path.clone());
        let below = path.strip_prefix(b"/usr/".as_slice());
        let first = below.and_then(|below| below.split(|byte| *byte == b'/').next());
        if let (Some(below), Some(first)) = (below, first)
            && MERGED.iter().any(|merged| merged.as_bytes() == first)
        {
            by_name.insert([b"/", below].concat(), entry.path.clone());
        }
    }
    let names: Vec<&Vec<u8>> = by_name.keys().filter(|name| is_plain(name)).collect();
    let mut found = BTreeMap::new();
    for some in names.chunks(AT_ONCE) {
        let mut arguments = root_arguments(root);
        arguments.extend([OsString::from("--search"), OsString::from("--")]);
        arguments.extend(some.iter().map(|name| OsString::from_vec(name.to_vec())));
        // It fails when one of them is nobody's, and tells of the others all the same.
        let answer = run("dpkg-query", &arguments, true)?;
        for line in answer.split(|byte| *byte == b'\n') {
            let Some(name) = owned_name(line) else { continue };
            if let Some(path) = by_name.get(name) {
                found.insert(path.clone(), name.to_vec());
            }
        }
    }
    Ok(found)
}

/// dpkg-query takes a name for a pattern when one of these is in it; no package has such files.
fn is_plain(name: &[u8]) -> bool {
    !name.iter().any(|byte| b"*?[\\\n".contains(byte))
}

/// The path of a line `package, package: /path`; lines about diversions have no package.
fn owned_name(line: &[u8]) -> Option<&[u8]> {
    let at = line.windows(3).position(|three| three == b": /")?;
    let said = &line[..at];
    let diversion = [b"diversion by ".as_slice(), b"local diversion "].iter().any(|word| said.starts_with(word));
    (!diversion).then(|| &line[at + 2..])
}

/// Makes dpkg's diversions those of the CDSLs there are. Tells of each change.
///
/// # Errors
/// What dpkg's programs said.
pub fn divert(site: &Site, entries: &[Entry], settled: &mut Settled) -> Result<BTreeSet<TreePath>, PackagesError> {
    let root = &site.root;
    // dpkg keeps a link to a directory, and cannot divert directories.
    let files: Vec<&Entry> = entries.iter().filter(|entry| entry.kind != Kind::Directory).collect();
    let owned = owned(root, &files)?;
    let mut wanted: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for entry in &files {
        if let Some(name) = owned.get(&entry.path) {
            wanted.insert(name.clone(), layout::link_text(&entry.var, &entry.path));
        }
    }
    let there = diversions(root)?;
    for diversion in &there {
        if !diversion.local || layout::parse_link(&diversion.to).is_none() {
            continue;
        }
        // A package that is gone, or a CDSL that is.
        let still = files.iter().any(|entry| layout::link_text(&entry.var, &entry.path) == diversion.to);
        if wanted.get(&diversion.from) != Some(&diversion.to) && !still {
            call(root, &["--remove", "--local", "--no-rename"], &diversion.from, None)?;
            settled.lines.push(format!("{} is not diverted any more", crate::path::shown(&diversion.from)));
        }
    }
    for (from, to) in &wanted {
        match there.iter().find(|diversion| diversion.from == *from) {
            Some(diversion) if diversion.to == *to => {}
            Some(diversion) => settled.lines.push(format!(
                "{} is diverted to {} already, so dpkg does not follow the CDSL there",
                crate::path::shown(from),
                crate::path::shown(&diversion.to)
            )),
            None => {
                call(root, &["--add", "--local", "--no-rename"], from, Some(to))?;
                settled.lines.push(format!("dpkg follows the CDSL {} now", crate::path::shown(from)));
            }
        }
    }
    Ok(owned.into_keys().collect())
}

/// Takes all diversions of CDSLs away, for a machine that is to have none any more.
///
/// # Errors
/// What dpkg's programs said.
pub fn undivert(root: &Root) -> Result<Settled, PackagesError> {
    let mut settled = Settled::default();
    for diversion in diversions(root)? {
        if diversion.local && layout::parse_link(&diversion.to).is_some() {
            call(root, &["--remove", "--local", "--no-rename"], &diversion.from, None)?;
            settled.lines.push(format!("{} is not diverted any more", crate::path::shown(&diversion.from)));
        }
    }
    Ok(settled)
}

/// Takes the diversions of CDSLs away that are none any more: dpkg is to write a shared file to where it is.
///
/// # Errors
/// What dpkg's programs said.
pub fn undivert_gone(root: &Root, gone: &[Entry]) -> Result<Settled, PackagesError> {
    let mut settled = Settled::default();
    let texts: BTreeSet<Vec<u8>> = gone.iter().map(|entry| layout::link_text(&entry.var, &entry.path)).collect();
    for diversion in diversions(root)? {
        if diversion.local && texts.contains(&diversion.to) {
            call(root, &["--remove", "--local", "--no-rename"], &diversion.from, None)?;
            settled.lines.push(format!("{} is not diverted any more", crate::path::shown(&diversion.from)));
        }
    }
    Ok(settled)
}

fn call(root: &Root, options: &[&str], from: &[u8], to: Option<&[u8]>) -> Result<(), PackagesError> {
    let mut arguments = root_arguments(root);
    arguments.push(OsString::from("--quiet"));
    if let Some(to) = to {
        arguments.extend([OsString::from("--divert"), OsString::from_vec(to.to_vec())]);
    }
    arguments.extend(options.iter().map(OsString::from));
    arguments.push(OsString::from_vec(from.to_vec()));
    run("dpkg-divert", &arguments, false).map(drop)
}

/// Before dpkg runs.
///
/// # Errors
/// [`PackagesError::Refused`] when dpkg must not run now; else what could not be done.
pub fn before(site: &Site, entries: &[Entry]) -> Result<Settled, PackagesError> {
    let mut settled = Settled::default();
    super::leads_somewhere(site, entries)?;
    let owned = divert(site, entries, &mut settled)?;
    // apt runs dpkg several times for one upgrade; what was noted before the first of them holds.
    let mut noted = noted(&site.root)?;
    for entry in entries.iter().filter(|entry| owned.contains(&entry.path)) {
        if noted.contains_key(&entry.path) {
            continue;
        }
        let own = own_copy(site, entry)?;
        if let Some(sum) = digest(&site.root, &own)? {
            noted.insert(entry.path.clone(), sum);
        }
    }
    if !noted.is_empty() {
        store::replace(&site.root, &noted_path(), 0o600, |out| {
            noted.iter().try_for_each(|(path, sum)| {
                out.write_all(sum.as_bytes())?;
                out.write_all(b" ")?;
                out.write_all(path.as_bytes())?;
                out.write_all(b"\0")
            })
        })?;
    }
    Ok(settled)
}

fn noted(root: &Root) -> Result<BTreeMap<TreePath, String>, TreeError> {
    let path = noted_path();
    let failed = |error: std::io::Error| TreeError::new("read", root.shown(&path), error);
    let Some(mut file) = root.read_file(&path).map_err(failed)? else { return Ok(BTreeMap::new()) };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).map_err(failed)?;
    Ok(parse_noted(&bytes))
}

fn parse_noted(bytes: &[u8]) -> BTreeMap<TreePath, String> {
    let records = bytes.split(|byte| *byte == 0).filter_map(|record| {
        let (sum, path) = record.split_at_checked(64)?;
        let sum = std::str::from_utf8(sum).ok()?.to_owned();
        Some((TreePath::parse(path.strip_prefix(b" ")?).ok()?, sum))
    });
    records.collect()
}

/// After dpkg ran: a version that was left beside a link is put in place where nobody edited the old one, and copies
/// that were the same as this node's follow it. Links that were replaced are mended already.
///
/// # Errors
/// What could not be done.
pub fn after(site: &Site, entries: &[Entry], left: &[Finding]) -> Result<Settled, PackagesError> {
    let mut settled = Settled::default();
    let mut attic = Attic::new(&crate::ops::batch_id());
    let noted = noted(&site.root)?;
    for finding in left {
        let Finding::LeftBeside { path, at, .. } = finding else { continue };
        let Some(entry) = entries.iter().find(|entry| entry.path == *path) else { continue };
        if at.as_bytes().ends_with(b".dpkg-new") {
            let line = left_beside(site, entry, at, &mut attic)?;
            settled.lines.push(line);
        }
    }
    for entry in entries {
        let Some(before) = noted.get(&entry.path) else { continue };
        let own = own_copy(site, entry)?;
        if digest(&site.root, &own)?.is_none_or(|now| now == *before) {
            continue;
        }
        for copy in follow(site, entry, &own, before, &mut attic)? {
            settled.lines.push(format!("{copy} was as this node's before, and follows it"));
        }
    }
    store::remove(&site.root, &noted_path())?;
    settled.attic = attic.put;
    Ok(settled)
}

/// dpkg unpacked a version beside a link that was not diverted yet, and forgot it there.
fn left_beside(site: &Site, entry: &Entry, at: &TreePath, attic: &mut Attic) -> Result<String, PackagesError> {
    let root = &site.root;
    let failed = |error: std::io::Error| TreeError::new("open the directory of", root.shown(at), error);
    let own = own_copy(site, entry)?;
    let place = root.place(at).map_err(failed)?;
    if digest(root, at)? == digest(root, &own)? {
        attic.put(root, at)?;
        return Ok(format!("{at} is what {own} is already"));
    }
    if !is_as_packaged(root, entry, &own)? {
        let mut name = entry.path.name().to_owned();
        name.push(".dpkg-dist");
        let dist = place.sibling(&name)?;
        let beside = entry.path.parent().unwrap_or_else(TreePath::root).join(&name);
        attic.put(root, &beside)?;
        place.move_to(&dist)?;
        return Ok(format!("{own} was edited and stays; the package's new version is {beside}"));
    }
    let to = root.place(&own).map_err(failed)?;
    let new = to.sibling(crate::journal::temporary("copy", 0))?;
    new.remove_all()?;
    let before = digest(root, &own)?;
    crate::tree::copy::copy(&place, &new, &mut |_| {})?;
    if let Some(old) = to.look()? {
        // dpkg leaves the mode of an unpacked file to the moment it installs it, and keeps that of the old one.
        crate::tree::copy::set_owner_and_mode(&new, old.st_uid, old.st_gid, Some(old.st_mode & 0o7777))
            .map_err(|error| TreeError::new("change the mode of", new.shown.clone(), error))?;
    }
    attic.put(root, &own)?;
    new.move_to(&to)?;
    to.sync()?;
    place.unlink()?;
    if let Some(before) = before {
        follow(site, entry, &own, &before, attic)?;
    }
    Ok(format!("{own} is the package's new version now"))
}

/// Whether a copy is what dpkg's database says the package had: nobody edited it.
fn is_as_packaged(root: &Root, entry: &Entry, own: &TreePath) -> Result<bool, PackagesError> {
    let owned = owned(root, &[entry])?;
    let Some(name) = owned.get(&entry.path) else { return Ok(false) };
    let mut arguments = root_arguments(root);
    arguments.extend(["--showformat=${Conffiles}\\n", "--show"].map(OsString::from));
    let answer = run("dpkg-query", &arguments, false)?;
    let record = answer.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(b" ")?.strip_prefix(name.as_slice())?.strip_prefix(b" ")?;
        Some(String::from_utf8_lossy(rest.get(..32)?).into_owned())
    });
    let Some(record) = record else { return Ok(false) };
    let file = root.directory().join(own.relative());
    let sum = run("md5sum", &[OsString::from("--zero"), OsString::from("--"), file.into_os_string()], false)?;
    Ok(sum.starts_with(record.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_diversions_is_read_by_threes() {
        let text = b"/etc/x\n/cluster/node{nodenum}/etc/x\n:\n/bin/sh\n/bin/sh.distrib\ndash\n";
        let read = parse_diversions(text);
        assert_eq!(read.len(), 2);
        assert!(read[0].local && layout::parse_link(&read[0].to).is_some());
        assert!(!read[1].local);
        assert_eq!(parse_diversions(b""), []);
        assert_eq!(parse_diversions(b"half\n"), []);
    }

    #[test]
    fn owners_are_told_from_diversions() {
        assert_eq!(owned_name(b"adduser: /etc/adduser.conf"), Some(b"/etc/adduser.conf".as_slice()));
        assert_eq!(owned_name(b"a, b:amd64: /usr/share/x: /y"), Some(b"/usr/share/x: /y".as_slice()));
        assert_eq!(owned_name(b"diversion by dash from: /bin/sh"), None);
        assert_eq!(owned_name(b"local diversion from: /etc/adduser.conf"), None);
        assert_eq!(owned_name(b""), None);
    }

    #[test]
    fn notes_are_read_as_they_are_written() {
        let sum = "0123456789abcdef".repeat(4);
        let text = format!("{sum} /etc/a b\n{sum}\0{sum} /etc/x\0short\0");
        let read = parse_noted(text.as_bytes());
        let paths: Vec<_> = read.keys().map(|path| path.as_bytes().to_vec()).collect();
        assert_eq!(paths, [format!("/etc/a b\n{sum}").into_bytes(), b"/etc/x".to_vec()]);
    }
}

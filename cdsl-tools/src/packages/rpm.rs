// SPDX-License-Identifier: GPL-2.0-or-later
//! rpm: what it did to the links is put right after each package.
//!
//! A file trigger (`%filetriggerin`, rpm-file-triggers in rpm's documentation) runs when a package's files are in place
//! and the old version is still in the database. So a copy that is as the old package had it is told from one that
//! somebody edited, as rpm itself tells them for plain files.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::{PackagesError, Settled, digest, follow, has, own_copy, root_arguments, run};
use crate::check::finding::Finding;
use crate::inventory::Entry;
use crate::layout;
use crate::path::TreePath;
use crate::site::Site;
use crate::tree::{Attic, Root, TreeError};

/// How many paths are asked about at once.
const AT_ONCE: usize = 200;
/// A line for each file of each package: when that was installed, the digest, the name.
const FORMAT: &str = "[%{=INSTALLTIME} %{=DBINSTANCE} %{FILEDIGESTS} %{FILENAMES}\\n]";

/// Whether this root has rpm's database.
pub fn is_used(root: &Root) -> bool {
    has(root, "usr/lib/sysimage/rpm") || has(root, "var/lib/rpm")
}

/// The digests that packages have of a path, the oldest package first.
pub type Versions = BTreeMap<TreePath, Vec<String>>;

/// What the database has of these paths. A file has two digests in the middle of an upgrade.
///
/// # Errors
/// What rpm said.
pub fn versions(root: &Root, entries: &[Entry]) -> Result<Versions, PackagesError> {
    let mut found = Versions::new();
    for some in entries.chunks(AT_ONCE) {
        let mut arguments = root_arguments(root);
        arguments.extend(["-q", "--qf", FORMAT, "-f"].map(OsString::from));
        arguments.extend(some.iter().map(|entry| entry.path.to_os_string()));
        // It fails when one of them is nobody's, and tells of the others all the same.
        let answer = run("rpm", &arguments, true)?;
        for (path, digests) in parse(&answer) {
            if some.iter().any(|entry| entry.path == path) {
                found.insert(path, digests);
            }
        }
    }
    Ok(found)
}

fn parse(answer: &[u8]) -> Versions {
    let mut all: BTreeMap<TreePath, Vec<(u64, u64, String)>> = BTreeMap::new();
    for line in answer.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let mut field = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
        let (Some(time), Some(number), Some(digest)) = (
            field().and_then(|time| time.parse().ok()),
            field().and_then(|number| number.parse().ok()),
            // Directories and links have none.
            field().filter(|digest| digest.len() == 64).map(str::to_owned),
        ) else {
            continue;
        };
        if let Some(path) = fields.next().and_then(|path| TreePath::parse(path).ok()) {
            let versions = all.entry(path).or_default();
            if !versions.contains(&(time, number, digest.clone())) {
                versions.push((time, number, digest));
            }
        }
    }
    let sorted = all.into_iter().map(|(path, mut versions)| {
        // Two packages installed in one second are told apart by their numbers in the database.
        versions.sort();
        (path, versions.into_iter().map(|(_, _, digest)| digest).collect())
    });
    sorted.collect()
}

/// After rpm ran, or in the middle of it: what it left beside links is put where it belongs, and copies that were as the
/// old package had them follow. Links that were replaced are mended already.
///
/// # Errors
/// What could not be done.
pub fn after(site: &Site, entries: &[Entry], left: &[Finding]) -> Result<Settled, PackagesError> {
    let root = &site.root;
    let mut settled = Settled::default();
    let mut attic = Attic::new(&crate::ops::batch_id());
    let versions = versions(root, entries)?;
    let failed = |at: &TreePath, error: std::io::Error| TreeError::new("open the directory of", root.shown(at), error);
    for finding in left {
        let Finding::LeftBeside { path, at, .. } = finding else { continue };
        let Some(entry) = entries.iter().find(|entry| entry.path == *path) else { continue };
        let place = root.place(at).map_err(|error| failed(at, error))?;
        if at.as_bytes().ends_with(b".rpmsave") {
            // It is the link, and the link is in its place again.
            let text = root.readlink(at).map_err(|error| failed(at, error))?;
            if text == Some(layout::link_text(&entry.var, &entry.path)) {
                place.unlink()?;
            }
        } else if at.as_bytes().ends_with(b".rpmnew") {
            let own = own_copy(site, entry)?;
            // Only in the middle of an upgrade there is something to compare with; it was told then.
            let Some([old, .., _]) = versions.get(path).map(Vec::as_slice) else { continue };
            if digest(root, &own)?.as_ref() != Some(old) {
                settled.lines.push(format!("{own} was edited and stays; the package's new version is {at}"));
                continue;
            }
            let to = root.place(&own).map_err(|error| failed(&own, error))?;
            let new = to.sibling(crate::journal::temporary("copy", 0))?;
            new.remove_all()?;
            crate::tree::copy::copy(&place, &new, &mut |_| {})?;
            attic.put(root, &own)?;
            new.move_to(&to)?;
            to.sync()?;
            place.unlink()?;
            settled.lines.push(format!("{own} is the package's new version now"));
        }
    }
    for entry in entries {
        let Some([old, .., new]) = versions.get(&entry.path).map(Vec::as_slice) else { continue };
        let own = own_copy(site, entry)?;
        if old == new || digest(root, &own)?.as_ref() != Some(new) {
            continue;
        }
        for copy in follow(site, entry, &own, old, &mut attic)? {
            settled.lines.push(format!("{copy} was as the old package had it, and follows this node's"));
        }
    }
    settled.attic = attic.put;
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_comes_first() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let answer = format!(
            "20 7 {b} /etc/x\n10 3 {a} /etc/x\n20 7  /etc/x.d\n20 7 {b} /etc/a b\nfile /etc/y is not owned by any package\n20 7 {b} /etc/x\n"
        );
        let read = parse(answer.as_bytes());
        assert_eq!(read.len(), 2);
        assert_eq!(read[&TreePath::parse(b"/etc/x").unwrap()], [a, b.clone()]);
        assert_eq!(read[&TreePath::parse(b"/etc/a b").unwrap()], [b]);
    }
}

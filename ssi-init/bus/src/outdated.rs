// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether a unit's files are other ones than those that were read: `NeedDaemonReload`, by which systemctl(1) warns.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ssi_manager::core::unit::Unit;

/// Looks at the unit's file and at the drop-ins in folders of its own names. Folders are searched in this order.
pub(crate) fn is_outdated(unit: &Unit, folders: &[PathBuf]) -> bool {
    if unit.runtime.needs_reload {
        return true;
    }
    if unit.fragment.as_ref().is_some_and(|path| modified(path) != unit.fragment_modified) {
        return true;
    }
    let stems: Vec<OsString> =
        std::iter::once(&unit.name).chain(&unit.aliases).map(|name| OsString::from(format!("{name}.d"))).collect();
    let own = |path: &&PathBuf| {
        path.parent().and_then(Path::file_name).is_some_and(|name| stems.iter().any(|stem| stem == name))
    };
    let read: BTreeSet<&PathBuf> = unit.dropins.iter().filter(own).collect();
    let there = dropins(&stems, folders);
    read != there.iter().collect() || unit.dropins.iter().any(|path| modified(path) > unit.dropins_modified)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

/// The drop-ins that count: of those with one name the one in the folder that comes first.
fn dropins(stems: &[OsString], folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for stem in stems {
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder.join(stem)) else { continue };
            for entry in entries.flatten() {
                if Path::new(&entry.file_name()).extension().is_some_and(|end| end == "conf") {
                    found.entry(entry.file_name()).or_insert_with(|| entry.path());
                }
            }
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssi_manager::graph::UnitId;
    use ssi_unit::name::UnitName;

    #[test]
    fn a_file_that_changed_and_a_drop_in_that_came() {
        let place = tempfile::tempdir().unwrap();
        let folders = [place.path().join("first"), place.path().join("second")];
        for folder in &folders {
            fs::create_dir_all(folder.join("a.service.d")).unwrap();
        }
        let file = folders[1].join("a.service");
        fs::write(&file, "[Service]\n").unwrap();
        let mut unit = Unit::stub(UnitId(1), UnitName::new("a.service").unwrap());
        unit.fragment_modified = modified(&file);
        unit.fragment = Some(file.clone());
        assert!(!is_outdated(&unit, &folders));
        let dropin = folders[1].join("a.service.d/x.conf");
        fs::write(&dropin, "").unwrap();
        assert!(is_outdated(&unit, &folders));
        unit.dropins_modified = modified(&dropin);
        unit.dropins.push(dropin);
        assert!(!is_outdated(&unit, &folders));
        // One that counts more takes its place.
        fs::write(folders[0].join("a.service.d/x.conf"), "").unwrap();
        assert!(is_outdated(&unit, &folders));
        unit.dropins = vec![folders[0].join("a.service.d/x.conf")];
        unit.dropins_modified = modified(&unit.dropins[0]);
        assert!(!is_outdated(&unit, &folders));
        fs::remove_file(file).unwrap();
        assert!(is_outdated(&unit, &folders));
    }
}

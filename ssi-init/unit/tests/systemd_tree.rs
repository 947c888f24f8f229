// SPDX-License-Identifier: GPL-2.0-or-later
//! Trees of unit files by chance (aliases, templates, masks, drop-ins, dependency folders in several places): which
//! file a unit has, under which names, and what goes with it, as systemd 252 finds it.

mod chance;
mod referee;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use chance::Chance;
use ssi_unit::config::ManagerDefaults;
use ssi_unit::dependency::Dependency;
use ssi_unit::files::RootFiles;
use ssi_unit::load::{LoadState, Loader, SearchPath};
use ssi_unit::name::UnitName;
use ssi_unit::specifier::Host;

/// Names of files and links.
const NAMES: [&str; 12] = [
    "a.service",
    "b.service",
    "c.service",
    "a-b.service",
    "a-b-c.service",
    "t@.service",
    "t@i.service",
    "u@.service",
    "u@i.service",
    "u@j.service",
    "a.socket",
    "a.target",
];

/// What folders may be named for, besides those names.
const STEMS: [&str; 8] =
    ["service", "a-.service", "a-b-.service", "t@.service", "u@.service", "t@j.service", "a.service", "t@i.service"];

/// What units are asked for.
const ASKED: [&str; 14] = [
    "a.service",
    "b.service",
    "c.service",
    "a-b.service",
    "a-b-c.service",
    "t@i.service",
    "t@j.service",
    "u@i.service",
    "u@j.service",
    "u@k.service",
    "a.target",
    "a-x.service",
    "t@a-b.service",
    "gone.service",
];

const UNIT: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/true\n";

/// Fills one folder of the search path.
fn fill(folder: &Path, chance: &mut Chance) {
    for name in NAMES {
        let path = folder.join(name);
        match chance.below(8) {
            0 | 1 => fs::write(path, UNIT).unwrap(),
            2 => symlink("/dev/null", path).unwrap(),
            3 => fs::write(path, "").unwrap(),
            4 | 5 => {
                let target = chance.pick(&NAMES);
                // The referee works on a copy, in which the folders have the same names.
                match chance.below(4) {
                    folder @ 0..3 => symlink(format!("../{folder}/{target}"), path).unwrap(),
                    _ => symlink(target, path).unwrap(),
                }
            }
            _ => {}
        }
    }
    for _ in 0..chance.below(6) {
        let stem = if chance.below(2) == 0 { chance.pick(&STEMS) } else { chance.pick(&NAMES) };
        match chance.below(3) {
            0 => {
                let place = folder.join(format!("{stem}.d"));
                fs::create_dir_all(&place).unwrap();
                let file =
                    place.join(chance.pick(&["10-x.conf", "20-y.conf", "x.conf", "y.txt", ".z.conf", "w.conf~"]));
                let _ = match chance.below(4) {
                    0 => symlink("/dev/null", file),
                    _ => fs::write(file, "[Unit]\nDescription=dropped in\n"),
                };
            }
            which => {
                let place = folder.join(format!("{stem}.{}", if which == 1 { "wants" } else { "requires" }));
                fs::create_dir_all(&place).unwrap();
                let entry = chance.pick(&["x.service", "y.target", "b.service", "t@z.service", "u@.service", "plain"]);
                let link = place.join(entry);
                let _ = match chance.below(5) {
                    0 => symlink("/dev/null", link),
                    1 => fs::write(link, ""),
                    2 => fs::write(link, "no link"),
                    _ => symlink(format!("../{entry}"), link),
                };
            }
        }
    }
}

#[test]
fn units_are_found_where_systemd_finds_them() {
    if !referee::has_systemd_252() {
        return;
    }
    let trees = chance::rounds(40) as u64;
    let mut compared = 0;
    let mut masked = 0;
    for seed in 0..trees {
        let mut chance = Chance::new(seed * 7919 + 13);
        let root = referee::tempfile_in(env!("CARGO_TARGET_TMPDIR").as_ref());
        let folders: Vec<PathBuf> = ["0", "1", "2"].iter().map(|name| root.join(name)).collect();
        folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        for folder in &folders {
            fill(folder, &mut chance);
        }
        let asked: BTreeSet<String> = ASKED.iter().map(|name| (*name).to_owned()).collect();
        let places: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        let verdict = referee::ask(&places, &asked);
        let host = Host::read("/".as_ref());
        let mut loader = Loader::new(RootFiles::system(), SearchPath::of(&folders), host, ManagerDefaults::default());
        let all: Vec<_> = ASKED.iter().map(|name| (*name, loader.load(&UnitName::new(name).unwrap()))).collect();
        for (name, loaded) in &all {
            // An instance with a file of its own that is also what an alias of its template leads to: systemd has
            // whichever of the two files it met first, and depends on the order it was asked in.
            let own_file = |unit: &UnitName| {
                unit.is_instance() && folders.iter().any(|folder| folder.join(unit.as_str()).symlink_metadata().is_ok())
            };
            let disputed = loaded.names.len() > 1 && loaded.names.iter().any(own_file)
                || all
                    .iter()
                    .any(|(other, found)| other != name && own_file(&loaded.id) && found.names.contains(&loaded.id));
            if disputed {
                continue;
            }
            let about = format!("tree {seed}, {name}");
            // The referee lists a unit under its own name, with the others as aliases.
            let listed = verdict.units.keys().find(|unit| unit == name || verdict.values(unit, "Alias").contains(name));
            let Some(listed) = listed else {
                panic!("{about}: the referee does not know it");
            };
            compared += 1;
            masked += u32::from(loaded.state == LoadState::Masked);
            let state = verdict.value(listed, "Unit Load State");
            if loaded.state == LoadState::Masked && state == Some("error") {
                // Two aliases of one masked unit: systemd cannot make one unit of what it found masked twice.
                continue;
            }
            assert_eq!(state, Some(loaded.state.as_str()), "{about}");
            if loaded.state == LoadState::NotFound {
                continue;
            }
            assert_eq!(
                verdict.value(listed, "Fragment Path"),
                loaded.fragment.as_ref().and_then(|path| path.to_str()),
                "{about}"
            );
            if loaded.state == LoadState::Masked {
                continue;
            }
            assert_eq!(listed, loaded.id.as_str(), "{about}");
            let mut names: BTreeSet<&str> = verdict.values(listed, "Alias").into_iter().collect();
            names.insert(listed);
            assert_eq!(names, loaded.names.iter().map(UnitName::as_str).collect(), "{about}");
            let dropins: Vec<String> = loaded.dropins.iter().map(|path| path.display().to_string()).collect();
            assert_eq!(verdict.values(listed, "DropIn Path"), dropins, "{about}");
            for kind in [Dependency::Wants, Dependency::Requires] {
                let theirs: BTreeSet<&str> = verdict
                    .values(listed, kind.name())
                    .into_iter()
                    .filter_map(|value| value.strip_suffix(" (origin-file)"))
                    .filter(|unit| !unit.ends_with(".slice") && !unit.ends_with(".mount"))
                    .collect();
                // The referee shows the other's own name, and nothing where that is the unit itself.
                let listed_name = |unit: &UnitName| {
                    let mut listed = verdict.units.keys();
                    let found = listed.find(|found| verdict.values(found, "Alias").contains(&unit.as_str()));
                    found.cloned().unwrap_or_else(|| unit.to_string())
                };
                let ours = loaded.folder_dependencies.iter().filter(|(found, _)| *found == kind);
                let ours: BTreeSet<String> =
                    ours.map(|(_, unit)| listed_name(unit)).filter(|unit| unit != listed).collect();
                assert_eq!(theirs, ours.iter().map(String::as_str).collect(), "{about} {kind}");
            }
        }
        fs::remove_dir_all(root).unwrap();
    }
    eprintln!("{compared} units of {trees} trees compared, {masked} of them masked");
}

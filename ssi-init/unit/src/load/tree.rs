// SPDX-License-Identifier: GPL-2.0-or-later
//! The names in the folders of the search path: which file a unit has, under which names, and which folders go with
//! it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::{FileKind, Files, is_mask_target};
use crate::name::{UnitName, UnitType};

/// Most links from alias to alias.
const ALIAS_HOPS_MAX: usize = 8;

/// Where unit files are looked for, the most important folder first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    folders: Vec<PathBuf>,
}

/// The folders of the system's manager. Both /usr/lib and /lib are listed for systems where they differ.
const SYSTEM: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// Folders that only the manager and its generators write.
const OWN: [&str; 6] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
];

impl SearchPath {
    /// The folders of the system's manager.
    pub fn system() -> SearchPath {
        SearchPath { folders: SYSTEM.iter().map(PathBuf::from).collect() }
    }

    /// These folders, the most important one first.
    pub fn of(folders: impl IntoIterator<Item = impl Into<PathBuf>>) -> SearchPath {
        SearchPath { folders: folders.into_iter().map(Into::into).collect() }
    }

    /// The folders, the most important one first.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// To a file with settings, or to a mask.
    File(PathBuf),
    /// To another name.
    Alias(UnitName),
}

/// What a name was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: UnitName,
    pub(super) names: BTreeSet<UnitName>,
    pub(super) fragment: Option<PathBuf>,
}

/// The names in the folders of the search path.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Every name that a file or link has, with where it leads.
    entries: HashMap<UnitName, Entry>,
    /// For each unit (or template) with a file, every name that leads to it.
    names: HashMap<UnitName, Vec<UnitName>>,
    /// Folders such as `foo.service.d`, each with its places in the search path, in order.
    folders: HashMap<String, Vec<(usize, PathBuf)>>,
    /// Links to /dev/null, whether that exists here or not.
    null_links: BTreeSet<PathBuf>,
    /// When the folders of the search path were last changed, as of the listing.
    modified: Vec<Option<SystemTime>>,
    /// What could not be listed, and links that lead astray.
    warnings: Vec<String>,
}

impl Tree {
    /// Lists the folders.
    pub fn read(files: &dyn Files, search: &SearchPath) -> Tree {
        let mut tree = Tree { modified: folder_times(files, search), ..Tree::default() };
        // Folders may be links themselves; what points into the place they lead to is an alias all the same.
        let mut places: Vec<PathBuf> = Vec::new();
        let mut resolved_folders = Vec::new();
        for folder in search.folders() {
            places.push(folder.clone());
            let resolved = files.resolve(folder, false, false).unwrap_or_else(|_| folder.clone());
            if !places.contains(&resolved) {
                places.push(resolved.clone());
            }
            resolved_folders.push(resolved);
        }
        for (index, (folder, resolved)) in search.folders().iter().zip(&resolved_folders).enumerate() {
            match files.list(folder) {
                Ok(entries) => {
                    for entry in entries {
                        let Some(name) = entry.name.to_str() else { continue };
                        tree.add(files, &places, (index, folder, resolved), name, entry.kind);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tree.warnings.push(format!("{}: cannot be listed: {error}; going on without it", folder.display()));
                }
            }
        }
        tree.link_back(files);
        tree
    }

    /// Takes one name of one folder.
    fn add(
        &mut self,
        files: &dyn Files,
        places: &[PathBuf],
        (index, folder, resolved): (usize, &Path, &Path),
        name: &str,
        kind: FileKind,
    ) {
        let unit = UnitName::new(name).ok();
        if unit.is_none() {
            let is_folder = match kind {
                FileKind::Directory => true,
                FileKind::Link => files.facts(&folder.join(name)).is_ok_and(|facts| facts.kind == FileKind::Directory),
                FileKind::Regular | FileKind::Other => false,
            };
            if is_folder && is_unit_folder(name) {
                // The same place by two names counts once, at its first.
                let path = resolved.join(name);
                let known = self.folders.entry(name.to_owned()).or_default();
                if !known.iter().any(|(_, other)| *other == path) {
                    known.push((index, path));
                }
            }
            return;
        }
        let Some(unit) = unit.filter(|_| matches!(kind, FileKind::Regular | FileKind::Link)) else { return };
        if self.entries.contains_key(&unit) {
            return;
        }
        let path = folder.join(name);
        if kind == FileKind::Regular {
            self.entries.insert(unit, Entry::File(path));
            return;
        }
        let Ok(target) = files.read_link(&resolved.join(name)) else { return };
        if is_mask_target(&target) {
            self.null_links.insert(path.clone());
        }
        let absolute = if target.is_absolute() { target } else { folder.join(target) };
        let Ok(leads_to) = files.resolve(&absolute, true, true) else {
            self.warnings.push(format!("{}: the link goes in circles, ignoring", path.display()));
            return;
        };
        if !places.iter().any(|place| leads_to.starts_with(place) && leads_to != *place) {
            // A file from elsewhere, linked into the search path, or a mask.
            self.entries.insert(unit, Entry::File(path));
            return;
        }
        let target = leads_to.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match alias(&unit, target) {
            Ok(Some(target)) => {
                self.entries.insert(unit, Entry::Alias(target));
            }
            Ok(None) => {}
            Err(text) => self.warnings.push(format!("{}: {text}, ignoring", path.display())),
        }
    }

    /// Fills `names`: for each unit, who leads to it.
    fn link_back(&mut self, files: &dyn Files) {
        let mut names: HashMap<UnitName, Vec<UnitName>> = HashMap::new();
        for name in self.entries.keys() {
            let Ok(Some(path)) = self.follow(name) else { continue };
            if self.links_to_null(path) || files.facts(path).is_ok_and(|facts| facts.is_mask()) {
                continue;
            }
            let target = path.file_name().and_then(|file| file.to_str()).and_then(|file| UnitName::new(file).ok());
            let Some(mut target) = target else { continue };
            if let (true, Some(instance)) = (target.is_template(), name.instance()) {
                // A link from an instance to a template is an alias for this one instance.
                let Ok(instantiated) = target.instantiate(instance) else { continue };
                target = instantiated;
            }
            names.entry(target).or_default().push(name.clone());
        }
        for list in names.values_mut() {
            list.sort();
        }
        self.names = names;
    }

    /// The file a name leads to; `None` when nothing has that name.
    fn follow(&self, name: &UnitName) -> Result<Option<&Path>, String> {
        let mut at = name.clone();
        for hop in 0..ALIAS_HOPS_MAX {
            let entry = match self.entries.get(&at) {
                Some(entry) => entry,
                None if hop == 0 => return Ok(None),
                // An alias to an instance may mean its template's file.
                None => match at.template().and_then(|template| self.entries.get(&template)) {
                    Some(entry) => entry,
                    None => return Ok(None),
                },
            };
            match entry {
                Entry::File(path) => return Ok(Some(path)),
                Entry::Alias(target) => at = target.clone(),
            }
        }
        Err(format!("{name} is an alias of an alias, more than {ALIAS_HOPS_MAX} times over"))
    }

    /// Finds a unit's file and all its names.
    pub(super) fn find(&self, name: &UnitName) -> Result<Found, String> {
        let found = self.find_once(name)?;
        if found.id == *name {
            return Ok(found);
        }
        // The name is an alias of an instance, and that instance has a file of its own, not its template's.
        match self.follow(&found.id)? {
            Some(own) if Some(own) != found.fragment.as_deref() => {
                let mut other = self.find_once(&found.id)?;
                other.names.insert(name.clone());
                Ok(other)
            }
            _ => Ok(found),
        }
    }

    fn find_once(&self, name: &UnitName) -> Result<Found, String> {
        let mut names = BTreeSet::new();
        self.add_names(&mut names, name, name.instance(), None);
        let mut fragment = self.follow(name)?;
        if fragment.is_none()
            && let Some(template) = name.template()
        {
            fragment = self.follow(&template)?;
        }
        let mut id = name.clone();
        if let Some(path) = fragment {
            let file = path.file_name().and_then(|file| file.to_str()).and_then(|file| UnitName::new(file).ok());
            if let Some(file) = file {
                if file != *name {
                    self.add_names(&mut names, &file, name.instance(), Some(&file));
                }
                id = match name.instance() {
                    Some(instance) if file.is_template() => {
                        file.instantiate(instance).map_err(|error| error.to_string())?
                    }
                    _ => file,
                };
            }
        }
        if !id.is_template() {
            names.insert(id.clone());
        }
        Ok(Found { id, names, fragment: fragment.map(Path::to_owned) })
    }

    /// Adds a name and all that lead to it; of templates, their instances for `instance`.
    fn add_names(
        &self,
        names: &mut BTreeSet<UnitName>,
        name: &UnitName,
        instance: Option<&str>,
        fragment: Option<&UnitName>,
    ) {
        if !name.is_template() {
            names.insert(name.clone());
        }
        for alias in self.names.get(name).into_iter().flatten() {
            if !alias.is_template() {
                names.insert(alias.clone());
                continue;
            }
            let Some(instance) = instance else { continue };
            let Ok(instantiated) = alias.instantiate(instance) else { continue };
            // An instance that has a file of its own is another unit.
            let own = self.follow(&instantiated).ok().flatten().and_then(Path::file_name);
            let elsewhere = own.is_some_and(|own| fragment.is_some_and(|fragment| own != fragment.as_str()));
            if !elsewhere {
                names.insert(instantiated);
            }
        }
    }

    /// Whether a file of the search path is a link to /dev/null.
    pub(super) fn links_to_null(&self, path: &Path) -> bool {
        self.null_links.contains(path)
    }

    /// The folders with these stems and this suffix: by place in the search path, then by stem.
    pub(super) fn folders(&self, stems: &[String], suffix: &str) -> Vec<PathBuf> {
        let mut found: Vec<(usize, usize, &PathBuf)> = Vec::new();
        for (order, stem) in stems.iter().enumerate() {
            for (index, path) in self.folders.get(&format!("{stem}{suffix}")).into_iter().flatten() {
                found.push((*index, order, path));
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, path)| path.clone()).collect()
    }

    /// Every name that has a file or is an alias, in no order.
    pub fn unit_names(&self) -> impl Iterator<Item = &UnitName> {
        self.entries.keys()
    }

    /// Every name with the file it leads to, aliases followed; names that lead nowhere are left out.
    pub fn unit_files(&self) -> impl Iterator<Item = (&UnitName, &Path)> {
        self.entries.keys().filter_map(|name| Some((name, self.follow(name).ok()??)))
    }

    /// What could not be listed, and links that lead astray.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a folder changed since it was listed.
    pub(super) fn is_stale(&self, files: &dyn Files, search: &SearchPath) -> bool {
        folder_times(files, search) != self.modified
    }
}

fn folder_times(files: &dyn Files, search: &SearchPath) -> Vec<Option<SystemTime>> {
    let others = search.folders().iter().filter(|folder| !OWN.iter().any(|own| Path::new(own) == folder.as_path()));
    others.map(|folder| files.facts(folder).ok().map(|facts| facts.modified)).collect()
}

/// Whether a link named `from` may be an alias of a unit named `to`: `Ok(None)` when it is the very same name.
fn alias(from: &UnitName, to: &str) -> Result<Option<UnitName>, String> {
    if !from.unit_type().may_alias() {
        return Err(format!("{} units cannot have aliases", from.unit_type()));
    }
    if !from.is_plain() && from.unit_type() == UnitType::Device {
        return Err("device units have no templates".to_owned());
    }
    if from.as_str() == to {
        return Ok(None);
    }
    let target = UnitName::new(to).map_err(|error| error.to_string())?;
    let same_kind = (from.is_plain() && target.is_plain())
        || (from.is_template() && target.is_template())
        || (from.is_instance() && (target.is_instance() || target.is_template()));
    if !same_kind {
        return Err(format!("{from} cannot be an alias of {target}: one is a template, the other is not"));
    }
    if target.is_instance() && target.instance() != from.instance() {
        return Err(format!("{from} cannot be an alias of {target}, another instance"));
    }
    if target.unit_type() != from.unit_type() {
        return Err(format!("{from} cannot be an alias of {target}, a unit of another type"));
    }
    Ok(Some(target))
}

/// Whether a folder's name is that of a unit or a type with one of the suffixes that mean something.
fn is_unit_folder(name: &str) -> bool {
    [".wants", ".requires", ".upholds", ".d"].iter().any(|suffix| {
        let stem = name.strip_suffix(suffix);
        stem.is_some_and(|stem| UnitName::new(stem).is_ok() || stem.parse::<UnitType>().is_ok())
    })
}

/// Leftovers of editors and package managers, and hidden files.
pub(super) fn is_leftover(name: &str) -> bool {
    const ENDS: [&str; 17] = [
        "rpmnew",
        "rpmsave",
        "rpmorig",
        "dpkg-old",
        "dpkg-new",
        "dpkg-tmp",
        "dpkg-dist",
        "dpkg-bak",
        "dpkg-backup",
        "dpkg-remove",
        "ucf-new",
        "ucf-old",
        "ucf-dist",
        "swp",
        "bak",
        "old",
        "new",
    ];
    name.starts_with('.')
        || name.ends_with('~')
        || matches!(name, "lost+found" | "aquota.user" | "aquota.group")
        || name.rsplit_once('.').is_some_and(|(_, end)| ENDS.contains(&end))
}

/// The names whose folders hold for a unit, the most specific first: its own, for instances the template's, and those
/// of all prefixes that end in a dash.
pub(super) fn folder_stems(name: &UnitName) -> Vec<String> {
    let mut stems = Vec::new();
    add_stems(&mut stems, name);
    stems
}

fn add_stems(stems: &mut Vec<String>, name: &UnitName) {
    stems.push(name.to_string());
    if name.is_instance()
        && let Some(template) = name.template()
    {
        add_stems(stems, &template);
    }
    let Some(prefix) = name.dash_prefixes().first().copied() else { return };
    let shorter = match name.instance() {
        Some(instance) => format!("{prefix}@{instance}.{}", name.unit_type()),
        None => format!("{prefix}.{}", name.unit_type()),
    };
    if let Ok(shorter) = UnitName::new(&shorter) {
        add_stems(stems, &shorter);
    }
}

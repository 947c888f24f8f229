// SPDX-License-Identifier: GPL-2.0-or-later
//! From a unit's name to all that its files say: systemd.unit(5), "Unit File Load Path".
//!
//! ```text
//!   name ──► Tree: which file? which other names? ──► fragment   foo@.service (or a mask, or none)
//!                                  │
//!                                  ├──► folders    foo@x.service.wants/ .requires/ .upholds/   dependencies
//!                                  └──► drop-ins   service.d/ foo-.service.d/ foo@x.service.d/ *.conf
//!                                                        │
//!        Loaded ◄── settings::read(fragment, drop-ins) ◄─┘
//! ```
//!
//! The [`Tree`] is a list of the names in all folders of the search path, made once, so that loading a unit opens only
//! what belongs to it. [`Loader::refresh`] makes it anew, and [`Loader::is_stale`] says whether that is due.

mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use tree::{SearchPath, Tree};

use crate::config::{ManagerDefaults, UnitConfig, Warning, WarningKind};
use crate::dependency::Dependency;
use crate::file::{UnitFile, parse};
use crate::files::{FileKind, Files, is_mask_target};
use crate::implicit::is_perpetual;
use crate::name::{UnitName, UnitType};
use crate::settings;
use crate::specifier::{Host, Specifiers};

/// How loading a unit ended; the words are those of the `LoadState` property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadState {
    /// All was read.
    Loaded,
    /// There is no file, or it cannot be opened.
    NotFound,
    /// A setting makes the unit unusable.
    BadSetting,
    /// Its file cannot be read to the end.
    Error,
    /// The file is empty or /dev/null: the administrator does not want the unit.
    Masked,
}

impl LoadState {
    /// The word on the bus.
    pub fn as_str(self) -> &'static str {
        match self {
            LoadState::Loaded => "loaded",
            LoadState::NotFound => "not-found",
            LoadState::BadSetting => "bad-setting",
            LoadState::Error => "error",
            LoadState::Masked => "masked",
        }
    }
}

/// A unit as its files have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The unit's own name: that of its file, for instances with the instance.
    pub id: UnitName,
    /// All its names, `id` among them.
    pub names: BTreeSet<UnitName>,
    /// How it ended.
    pub state: LoadState,
    /// What went wrong, when `state` is neither loaded nor masked.
    pub error: Option<String>,
    /// Its file.
    pub fragment: Option<PathBuf>,
    /// When the file was last changed.
    pub fragment_modified: Option<SystemTime>,
    /// Its drop-ins, in the order they were read.
    pub dropins: Vec<PathBuf>,
    /// When the drop-in changed last was.
    pub dropins_modified: Option<SystemTime>,
    /// Dependencies from `.wants/`, `.requires/` and `.upholds/` folders.
    pub folder_dependencies: Vec<(Dependency, UnitName)>,
    /// The settings; defaults where nothing could be read.
    pub config: UnitConfig,
    /// What was passed over, or is worth a word.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// Everything the files ask for: from folders, then from settings.
    pub fn dependencies(&self) -> impl Iterator<Item = &(Dependency, UnitName)> {
        self.folder_dependencies.iter().chain(&self.config.unit.dependencies)
    }
}

/// Loads units from a tree of files.
#[derive(Debug)]
pub struct Loader<F> {
    files: F,
    search: SearchPath,
    host: Host,
    defaults: ManagerDefaults,
    tree: Tree,
    /// Names in drop-in and dependency folders, by folder.
    listings: HashMap<PathBuf, Arc<Vec<(OsString, FileKind)>>>,
    /// Drop-ins and templates that were read: many units share them.
    parsed: HashMap<PathBuf, Arc<UnitFile>>,
}

impl<F: Files> Loader<F> {
    /// A loader over `files`; lists the folders of the search path.
    pub fn new(files: F, search: SearchPath, host: Host, defaults: ManagerDefaults) -> Loader<F> {
        let tree = Tree::read(&files, &search);
        Loader { files, search, host, defaults, tree, listings: HashMap::new(), parsed: HashMap::new() }
    }

    /// Forgets everything that was read, and lists the folders again.
    pub fn refresh(&mut self) {
        self.tree = Tree::read(&self.files, &self.search);
        self.listings.clear();
        self.parsed.clear();
    }

    /// Whether a folder of the search path changed since it was listed. Those that only the manager and its
    /// generators write do not count.
    pub fn is_stale(&self) -> bool {
        self.tree.is_stale(&self.files, &self.search)
    }

    /// The names in the folders of the search path.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The search path.
    pub fn search_path(&self) -> &SearchPath {
        &self.search
    }

    /// What the manager's configuration has as defaults.
    pub fn defaults(&self) -> &ManagerDefaults {
        &self.defaults
    }

    /// What is known of the machine.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The files.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// Loads a unit by any of its names. Slices, scopes and devices need no file.
    pub fn load(&mut self, name: &UnitName) -> Loaded {
        // A scope is made over D-Bus and has a file then; but for the one that process 1 is in.
        let needs_file = match name.unit_type() {
            UnitType::Slice | UnitType::Device => false,
            UnitType::Scope => !is_perpetual(name),
            _ => true,
        };
        self.load_unit(name, needs_file)
    }

    /// Loads what the files add to a unit that exists without one: a mount of the kernel's table, a swap, a transient
    /// unit.
    pub fn load_existing(&mut self, name: &UnitName) -> Loaded {
        self.load_unit(name, false)
    }

    fn load_unit(&mut self, name: &UnitName, needs_file: bool) -> Loaded {
        let mut loaded = Loaded {
            id: name.clone(),
            names: BTreeSet::from([name.clone()]),
            state: LoadState::NotFound,
            error: None,
            fragment: None,
            fragment_modified: None,
            dropins: Vec::new(),
            dropins_modified: None,
            folder_dependencies: Vec::new(),
            config: UnitConfig::new(name.unit_type(), &self.defaults),
            warnings: Vec::new(),
        };
        if name.is_template() {
            loaded.error = Some(format!("{name} is a template; only its instances can be used"));
            return loaded;
        }
        let found = match self.tree.find(name) {
            Ok(found) => found,
            Err(error) => {
                loaded.error = Some(error);
                return loaded;
            }
        };
        loaded.id = found.id;
        loaded.names = found.names;
        let mut fragment_file = None;
        match found.fragment {
            Some(path) => {
                let is_mask_link = self.tree.links_to_null(&path);
                match self.files.facts(&path) {
                    _ if is_mask_link => loaded.state = LoadState::Masked,
                    Ok(facts) if facts.is_mask() => loaded.state = LoadState::Masked,
                    Ok(facts) => match self.parse(&path, loaded.id.is_instance()) {
                        Ok(file) => {
                            loaded.fragment_modified = Some(facts.modified);
                            loaded.state = LoadState::Loaded;
                            fragment_file = Some(file);
                        }
                        Err(error) => loaded.error = Some(format!("{}: cannot be read: {error}", path.display())),
                    },
                    Err(error) => loaded.error = Some(format!("{}: cannot be opened: {error}", path.display())),
                }
                if loaded.error.is_none() {
                    loaded.fragment = Some(path);
                }
            }
            None if needs_file => loaded.error = Some(format!("there is no file for {name} in the unit search path")),
            None => loaded.state = LoadState::Loaded,
        }
        if loaded.error.is_some() {
            return loaded;
        }
        if loaded.state == LoadState::Masked {
            return loaded;
        }
        self.folder_dependencies(&mut loaded);
        let dropins = self.dropins(&mut loaded);
        let resolved = loaded.fragment.as_ref().map(|path| self.files.resolve(path, false, true));
        let resolved = resolved.and_then(Result::ok);
        let specifiers = Specifiers {
            host: &self.host,
            name: &loaded.id,
            fragment: resolved.as_deref().or(loaded.fragment.as_deref()),
            slice: None,
        };
        let reading =
            settings::read(&specifiers, &self.defaults, fragment_file.as_deref(), dropins.iter().map(|file| &**file));
        loaded.config = reading.config;
        loaded.warnings.extend(reading.warnings);
        if let Some(error) = reading.error {
            loaded.state = LoadState::Error;
            loaded.error = Some(error.to_string());
        } else if let Some(text) = reading.bad_setting {
            loaded.state = LoadState::BadSetting;
            loaded.warnings.push(Warning { at: None, kind: WarningKind::Fatal, text: text.clone() });
            loaded.error = Some(text);
        }
        loaded
    }

    /// Reads and parses a file; remembers it when others will ask for it too.
    fn parse(&mut self, path: &Path, shared: bool) -> std::io::Result<Arc<UnitFile>> {
        if let Some(file) = self.parsed.get(path) {
            return Ok(file.clone());
        }
        let file = Arc::new(parse(&self.files.read(path)?, path));
        if shared {
            self.parsed.insert(path.to_owned(), file.clone());
        }
        Ok(file)
    }

    /// Reads the `.wants/`, `.requires/` and `.upholds/` folders of all names of a unit.
    fn folder_dependencies(&mut self, loaded: &mut Loaded) {
        for (suffix, kind) in
            [(".wants", Dependency::Wants), (".requires", Dependency::Requires), (".upholds", Dependency::Upholds)]
        {
            for (entry, (folder, file_kind)) in self.collect(loaded, suffix, "") {
                let path = folder.join(&entry);
                let mut warn = |text: String| {
                    let text = format!("{}: {text}", path.display());
                    loaded.warnings.push(Warning { at: None, kind: WarningKind::Note, text });
                };
                let target = self.files.read_link(&path).ok();
                let masked = target.as_deref().is_some_and(is_mask_target)
                    || self.files.facts(&path).is_ok_and(|facts| facts.is_mask());
                if masked {
                    continue;
                }
                let Some(target) = target.filter(|_| file_kind == FileKind::Link) else {
                    warn("is no link, so it makes no dependency; ignoring".to_owned());
                    continue;
                };
                let Some(name) = entry.to_str().and_then(|entry| UnitName::new(entry).ok()) else {
                    warn("is not the name of a unit; ignoring".to_owned());
                    continue;
                };
                let target_name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let same = target_name == name.as_str()
                    || name.template().is_some_and(|template| template.as_str() == target_name);
                if !same {
                    warn(format!("links to {target_name}, another name; the dependency is on {name}"));
                }
                match name.resolve_for(&loaded.id) {
                    Ok(name) => loaded.folder_dependencies.push((kind, name)),
                    Err(error) => warn(error.to_string()),
                }
            }
        }
    }

    /// Reads the drop-ins of all names of a unit, in order.
    fn dropins(&mut self, loaded: &mut Loaded) -> Vec<Arc<UnitFile>> {
        let mut files = Vec::new();
        for (entry, (folder, _)) in self.collect(loaded, ".d", ".conf") {
            let path = folder.join(entry);
            match self.parse(&path, true) {
                Ok(file) => {
                    files.push(file);
                    let modified = self.files.facts(&path).ok().map(|facts| facts.modified);
                    loaded.dropins_modified = loaded.dropins_modified.max(modified);
                    loaded.dropins.push(path);
                }
                Err(error) => {
                    let text = format!("{}: cannot be read: {error}; ignoring this drop-in", path.display());
                    loaded.warnings.push(Warning { at: None, kind: WarningKind::Syntax, text });
                }
            }
        }
        files
    }

    /// The files in all folders of a unit with this suffix, sorted by name. Of those with one name the one in the
    /// folder that comes first counts: own name before aliases before the whole type; within a name by search path,
    /// then from the most to the least specific.
    fn collect(&mut self, loaded: &Loaded, suffix: &str, file_suffix: &str) -> BTreeMap<OsString, (PathBuf, FileKind)> {
        let aliases = loaded.names.iter().filter(|name| **name != loaded.id);
        let mut folders: Vec<PathBuf> = Vec::new();
        for name in std::iter::once(&loaded.id).chain(aliases) {
            folders.extend(self.tree.folders(&tree::folder_stems(name), suffix));
        }
        folders.extend(self.tree.folders(&[loaded.id.unit_type().as_str().to_owned()], suffix));
        let mut found = BTreeMap::new();
        for folder in folders {
            for (entry, kind) in self.list(&folder).iter() {
                if entry.to_str().is_some_and(|entry| entry.ends_with(file_suffix)) && !found.contains_key(entry) {
                    found.insert(entry.clone(), (folder.clone(), *kind));
                }
            }
        }
        found
    }

    /// The files and links in a folder, without hidden ones and leftovers of editors and package managers.
    fn list(&mut self, folder: &Path) -> Arc<Vec<(OsString, FileKind)>> {
        if let Some(listing) = self.listings.get(folder) {
            return listing.clone();
        }
        let entries = self.files.list(folder).unwrap_or_default();
        let entries = entries.into_iter().filter(|entry| matches!(entry.kind, FileKind::Regular | FileKind::Link));
        let entries = entries.filter(|entry| entry.name.to_str().is_none_or(|name| !tree::is_leftover(name)));
        let listing = Arc::new(entries.map(|entry| (entry.name, entry.kind)).collect::<Vec<_>>());
        self.listings.insert(folder.to_owned(), listing.clone());
        listing
    }
}

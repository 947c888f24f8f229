// SPDX-License-Identifier: GPL-2.0-or-later
//! Finding the file behind a name: through aliases and links, to `[Install]` and the units of `Also=`.

use std::io;
use std::path::{Path, PathBuf};

use super::{InstallError, Work};
use crate::file;
use crate::files::{FileKind, Files, is_mask_target};
use crate::name::{UnitName, UnitType};
use crate::specifier::{SpecifierError, Specifiers};
use crate::words::{Rules, Splitter};

/// How many links are followed from one name.
const FOLLOW_MAX: usize = 64;

/// How far a unit is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    /// Read `[Install]`.
    load: bool,
    /// Follow links in the administrator's folders.
    follow_config: bool,
}

impl Depth {
    /// Whether it is there.
    pub(super) const PLAIN: Depth = Depth { load: false, follow_config: false };
    /// What it is called.
    pub(super) const NAME: Depth = Depth { load: false, follow_config: true };
    /// All of it, but no link of the administrator's is taken for the unit.
    pub(super) const OWN: Depth = Depth { load: true, follow_config: false };
    /// All of it.
    pub(super) const FULL: Depth = Depth { load: true, follow_config: true };
}

/// What a unit's file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Regular,
    /// A link to a file outside of the folders.
    Linked,
    /// A link to another name.
    Alias,
    Masked,
}

/// One unit on the way.
#[derive(Clone, Debug)]
pub(super) struct Info {
    pub(super) name: UnitName,
    pub(super) path: Option<PathBuf>,
    pub(super) mode: Option<Mode>,
    pub(super) aliases: Vec<String>,
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) default_instance: Option<String>,
    target: Option<PathBuf>,
    /// Only named by `Also=`.
    pub(super) auxiliary: bool,
    pub(super) processed: bool,
}

impl Info {
    pub(super) fn new(name: UnitName, path: Option<PathBuf>, auxiliary: bool) -> Info {
        Info {
            name,
            path,
            mode: None,
            aliases: Vec::new(),
            wanted_by: Vec::new(),
            required_by: Vec::new(),
            upheld_by: Vec::new(),
            also: Vec::new(),
            default_instance: None,
            target: None,
            auxiliary,
            processed: false,
        }
    }

    pub(super) fn has_rules(&self) -> bool {
        [&self.aliases, &self.wanted_by, &self.required_by, &self.upheld_by].into_iter().any(|list| !list.is_empty())
    }

    /// The path as text, else the name: what messages speak of.
    pub(super) fn shown(&self) -> String {
        self.path.as_ref().map_or_else(|| self.name.to_string(), |path| path.display().to_string())
    }
}

/// The units of one operation, in the order in which they came up.
#[derive(Default)]
pub(super) struct Context {
    infos: Vec<Info>,
}

impl Context {
    pub(super) fn info(&self, index: usize) -> &Info {
        &self.infos[index]
    }

    pub(super) fn info_mut(&mut self, index: usize) -> &mut Info {
        &mut self.infos[index]
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.infos.iter().any(|info| info.name == *name)
    }

    pub(super) fn add(&mut self, name: UnitName, path: Option<PathBuf>, auxiliary: bool) -> usize {
        if let Some(index) = self.infos.iter().position(|info| info.name == name) {
            self.infos[index].auxiliary &= auxiliary;
            return index;
        }
        self.infos.push(Info::new(name, path, auxiliary));
        self.infos.len() - 1
    }

    /// The first unit nothing was done about, which from now on counts as done.
    pub(super) fn next(&mut self) -> Option<usize> {
        let index = self.infos.iter().position(|info| !info.processed)?;
        self.infos[index].processed = true;
        Some(index)
    }
}

/// Why a name did not lead to a unit.
#[derive(Debug)]
pub(super) enum Lost {
    NotFound,
    /// An alias whose unit is not there.
    Dangling,
    /// A link that must not be followed here, or too many of them.
    Link,
    /// An alias that cannot be one.
    Mismatch,
    /// A name that is none, or a type that cannot have templates.
    Invalid,
    Io(io::Error),
}

impl Lost {
    pub(super) fn told(self, unit: &str) -> InstallError {
        let unit = unit.to_owned();
        match self {
            Lost::NotFound | Lost::Dangling => InstallError::NotFound(unit),
            Lost::Link => InstallError::Linked(unit),
            Lost::Mismatch => InstallError::CannotAlias { alias: unit.clone(), unit },
            Lost::Invalid => InstallError::Invalid(unit),
            Lost::Io(error) => InstallError::Io(unit, error.to_string()),
        }
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Lost {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => Lost::NotFound,
            _ => Lost::Io(error),
        }
    }
}

pub(super) fn may_have_templates(kind: UnitType) -> bool {
    matches!(kind, UnitType::Service | UnitType::Socket | UnitType::Target | UnitType::Timer | UnitType::Path)
}

/// Whether a link called `alias` may lead to the unit `target`. `Ok(false)`: it is the unit itself.
pub(super) fn check_alias(alias: &str, target: &str) -> Result<bool, Lost> {
    let alias = UnitName::new(alias).map_err(|_| Lost::Invalid)?;
    let kind = alias.unit_type();
    if !kind.may_alias() || (!alias.is_plain() && !may_have_templates(kind)) {
        return Err(Lost::Mismatch);
    }
    if alias == *target {
        return Ok(false);
    }
    let target = UnitName::new(target).map_err(|_| Lost::Mismatch)?;
    let fits = (alias.is_plain() && target.is_plain())
        || (alias.is_template() && target.is_template())
        || (alias.is_instance() && (target.is_template() || target.instance() == alias.instance()));
    if fits && !(alias.is_instance() && target.is_plain()) && kind == target.unit_type() {
        Ok(true)
    } else {
        Err(Lost::Mismatch)
    }
}

impl Work<'_> {
    /// Follows a name (or an absolute path) to the unit it stands for.
    pub(super) fn discover(&self, context: &mut Context, unit: &str, depth: Depth) -> Result<usize, InstallError> {
        let found = self.add(context, unit).and_then(|start| self.traverse(context, start, depth));
        found.map_err(|lost| lost.told(unit))
    }

    fn add(&self, context: &mut Context, unit: &str) -> Result<usize, Lost> {
        let path = unit.starts_with('/').then(|| PathBuf::from(unit));
        let name = unit.rsplit('/').next().unwrap_or(unit);
        let name = if path.is_some() { name } else { unit };
        Ok(context.add(UnitName::new(name).map_err(|_| Lost::Invalid)?, path, false))
    }

    /// What the state of a file says of whether a unit may be worked on.
    pub(super) fn check(&self, info: &Info) -> Result<(), InstallError> {
        let folders = self.installer.folders;
        if info.mode == Some(Mode::Masked) {
            return Err(InstallError::Masked(info.shown()));
        }
        match &info.path {
            Some(path) if folders.is_generated(path) || folders.is_transient(path) => {
                Err(InstallError::Generated(info.shown()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn exists(&self, unit: &str) -> bool {
        self.discover(&mut Context::default(), unit, Depth::PLAIN).is_ok()
    }

    /// Follows aliases and links from a unit to the file behind it.
    pub(super) fn traverse(&self, context: &mut Context, start: usize, depth: Depth) -> Result<usize, Lost> {
        self.search(context, start, depth)?;
        let mut at = start;
        let mut followed = 0;
        while matches!(context.info(at).mode, Some(Mode::Alias | Mode::Linked)) {
            followed += 1;
            let info = context.info(at);
            let in_config = info.path.as_ref().is_some_and(|path| self.installer.folders.is_config(path));
            if followed > FOLLOW_MAX || (!depth.follow_config && in_config) {
                return Err(Lost::Link);
            }
            let target = info.target.clone().ok_or(Lost::NotFound)?;
            let base = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if info.mode == Some(Mode::Linked) || info.name == *base {
                self.follow(context, at, target, depth)?;
                continue;
            }
            let mut name = UnitName::new(&base).map_err(|_| Lost::Invalid)?;
            if let (Some(instance), true) = (info.name.instance(), name.is_template()) {
                name = name.instantiate(instance).map_err(|_| Lost::Invalid)?;
                if name == info.name {
                    self.follow(context, at, target, depth)?;
                    continue;
                }
            }
            at = context.add(name, None, false);
            self.search(context, at, depth).map_err(|lost| match lost {
                Lost::NotFound => Lost::Dangling,
                other => other,
            })?;
        }
        Ok(at)
    }

    fn follow(&self, context: &mut Context, at: usize, target: PathBuf, depth: Depth) -> Result<(), Lost> {
        let info = context.info_mut(at);
        (info.path, info.mode, info.target) = (Some(target.clone()), None, None);
        self.open(context, at, &target, depth)
    }

    pub(super) fn search(&self, context: &mut Context, at: usize, depth: Depth) -> Result<(), Lost> {
        let info = context.info(at);
        if info.mode.is_some() {
            return Ok(());
        }
        if let Some(path) = info.path.clone() {
            return self.open(context, at, &path, depth);
        }
        let name = info.name.clone();
        let template = name.template().filter(|_| name.is_instance());
        let names = std::iter::once(name.as_str()).chain(template.as_ref().map(UnitName::as_str));
        let folders = &self.installer.folders.search;
        let paths = names.flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let mut found = None;
        for path in paths {
            match self.open(context, at, &path, depth) {
                Ok(()) => {
                    found = Some(path);
                    break;
                }
                Err(Lost::NotFound) => {}
                Err(lost) => return Err(lost),
            }
        }
        context.info_mut(at).path = Some(found.ok_or(Lost::NotFound)?);
        if depth.load && context.info(at).mode != Some(Mode::Masked) {
            for path in self.drop_ins(&name, template.as_ref()) {
                let text = self.tree.read(&path).map_err(Lost::from)?;
                self.read_install(context, at, &text, &path)?;
            }
        }
        Ok(())
    }

    /// Drop-ins in the order of their names; of two with one name the folder that counts more has its way.
    fn drop_ins(&self, name: &UnitName, template: Option<&UnitName>) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        for name in std::iter::once(name).chain(template) {
            for folder in &self.installer.folders.search {
                let folder = folder.join(format!("{name}.d"));
                for entry in self.tree.list(&folder).unwrap_or_default() {
                    let conf = entry.name.to_string_lossy().ends_with(".conf");
                    if conf && found.iter().all(|known| known.file_name() != Some(&entry.name)) {
                        found.push(folder.join(entry.name));
                    }
                }
            }
        }
        found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let usable = |path: &PathBuf| {
            self.tree.facts(path).is_ok_and(|facts| facts.kind == FileKind::Regular && !facts.is_mask())
        };
        found.retain(usable);
        found
    }

    /// Looks at a file, or at where a link leads.
    fn open(&self, context: &mut Context, at: usize, path: &Path, depth: Depth) -> Result<(), Lost> {
        let name = &context.info(at).name;
        if !name.is_plain() && !may_have_templates(name.unit_type()) {
            return Err(Lost::Invalid);
        }
        let Some(text) = self.tree.link_text(path)? else {
            let facts = self.tree.facts(path)?;
            let mode = match facts.kind {
                _ if facts.is_mask() => Mode::Masked,
                FileKind::Regular => Mode::Regular,
                _ => return Err(Lost::Io(io::ErrorKind::IsADirectory.into())),
            };
            context.info_mut(at).mode = Some(mode);
            if mode == Mode::Regular && depth.load {
                let text = self.tree.read(path)?;
                self.read_install(context, at, &text, path)?;
            }
            return Ok(());
        };
        let whole = path.parent().unwrap_or(Path::new("/")).join(&text);
        let target = self.tree.resolve(&whole, true, true)?;
        let inside = self.installer.folders.is_above(&target);
        if inside {
            let base =
                |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !check_alias(&base(path), &base(&target))? {
                return Err(Lost::Link);
            }
        }
        let masked = is_mask_target(&target) || self.tree.facts(&target).is_ok_and(|facts| facts.is_mask());
        let info = context.info_mut(at);
        info.target = Some(target);
        info.mode = Some(match (masked, inside) {
            (true, _) => Mode::Masked,
            (false, true) => Mode::Alias,
            (false, false) => Mode::Linked,
        });
        Ok(())
    }

    fn read_install(&self, context: &mut Context, at: usize, text: &[u8], path: &Path) -> Result<(), Lost> {
        let words = |value: &str, rules| {
            let mut splitter = Splitter::new(value.as_bytes());
            let next = move || splitter.next_word(rules).ok().flatten();
            std::iter::from_fn(next).map(|word| String::from_utf8_lossy(&word).into_owned()).collect::<Vec<_>>()
        };
        for assignment in file::parse(text, path).assignments {
            if &*assignment.section != "Install" {
                continue;
            }
            let value = assignment.value.as_str();
            let info = context.info_mut(at);
            let list = match assignment.key.as_str() {
                "Alias" if info.name.unit_type().may_alias() => &mut info.aliases,
                "WantedBy" => &mut info.wanted_by,
                "RequiredBy" => &mut info.required_by,
                "UpheldBy" => &mut info.upheld_by,
                "Also" => {
                    self.read_also(
                        context,
                        at,
                        words(value, Rules { backslash: crate::words::Backslash::Quotes, ..Rules::PLAIN }),
                    )?;
                    continue;
                }
                "DefaultInstance" => {
                    self.read_default_instance(context.info_mut(at), value);
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                list.clear();
            }
            list.extend(words(value, Rules::NAMES));
        }
        Ok(())
    }

    fn read_also(&self, context: &mut Context, at: usize, words: Vec<String>) -> Result<(), Lost> {
        for word in words {
            // systemd takes no offence at a specifier here, only passes the rest of the line over.
            let Ok(name) = self.expand(context.info(at), &word) else { return Ok(()) };
            let name = UnitName::new(&name).map_err(|_| Lost::Invalid)?;
            context.info_mut(at).also.push(name.to_string());
            context.add(name, None, true);
        }
        Ok(())
    }

    fn read_default_instance(&self, info: &mut Info, value: &str) {
        if !info.name.is_template() {
            return;
        }
        if let Ok(instance) = self.expand(info, value) {
            let valid = instance.is_empty() || info.name.instantiate(&instance).is_ok();
            if valid {
                info.default_instance = Some(instance).filter(|instance| !instance.is_empty());
            }
        }
    }

    /// Replaces specifiers in a word of `[Install]`; a template stands for its default instance.
    pub(super) fn expand(&self, info: &Info, word: &str) -> Result<String, SpecifierError> {
        let instance = info.default_instance.as_deref().filter(|_| info.name.is_template());
        let name =
            instance.and_then(|instance| info.name.instantiate(instance).ok()).unwrap_or_else(|| info.name.clone());
        Specifiers::of(self.installer.host, &name).name(word)
    }

    /// Where a unit's file is, for one that is linked from elsewhere; else the name itself.
    pub(super) fn path_or_name(&self, unit: &str) -> String {
        if unit.contains('/') {
            return unit.to_owned();
        }
        let mut context = Context::default();
        let found = self.discover(&mut context, unit, Depth::FULL).ok();
        let path = found.and_then(|at| context.info(at).path.clone());
        path.map_or_else(|| unit.to_owned(), |path| path.display().to_string())
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! The links that enabling makes.

use std::path::{Path, PathBuf};

use super::discover::{Context, Depth, Info, Mode, check_alias};
use super::{Change, InstallError, Notice, Stopped, Work};
use crate::files::Files;
use crate::name::{UnitName, UnitType};
use crate::specifier::SpecifierError;

impl Work<'_> {
    pub(super) fn enable(&mut self, units: &[&str]) -> Result<(), Stopped> {
        let mut context = Context::default();
        for unit in units {
            self.discover_and_check(&mut context, unit, Depth::FULL)?;
        }
        self.apply(&mut context, Depth::OWN, false)
    }

    pub(super) fn discover_and_check(
        &mut self,
        context: &mut Context,
        unit: &str,
        depth: Depth,
    ) -> Result<usize, Stopped> {
        let found = self.discover(context, unit, depth).and_then(|at| self.check(context.info(at)).map(|()| at));
        found.or_else(|error| self.fail(error))
    }

    /// Makes the links of all units; with `lenient`, as presets have it, a template without instance is passed over.
    pub(super) fn apply(&mut self, context: &mut Context, depth: Depth, lenient: bool) -> Result<(), Stopped> {
        while let Some(at) = context.next() {
            let name = context.info(at).name.to_string();
            if let Err(lost) = self.traverse(context, at, depth) {
                if context.info(at).auxiliary {
                    self.outcome.notices.push(Notice::NoAuxiliary(name));
                    continue;
                }
                return self.fail(lost.told(&name));
            }
            let info = context.info(at).clone();
            match info.mode {
                Some(Mode::Masked) => {
                    self.outcome.notices.push(Notice::Masked(info.shown()));
                    // Something could have been enabled, so there is no hint about an empty [Install].
                    self.outcome.carries_install_info += 1;
                }
                Some(Mode::Regular) => self.install(&info, lenient),
                _ => {}
            }
        }
        if self.outcome.errors.is_empty() { Ok(()) } else { Err(Stopped) }
    }

    /// Errors are noted and the next link is tried, but for the link that all others would lead to.
    fn install(&mut self, info: &Info, lenient: bool) {
        let Some(path) = info.path.clone() else { return };
        let folder = self.installer.config_folder().to_owned();
        if !self.installer.folders.holds(&path) {
            let link = folder.join(info.name.as_str());
            if self.create_link(&path, &link, self.installer.force).is_err() {
                return;
            }
        }
        let mut any = self.alias_links(info, &path, &folder);
        for (list, suffix) in
            [(&info.wanted_by, "wants"), (&info.required_by, "requires"), (&info.upheld_by, "upholds")]
        {
            any |= self.dependency_links(info, &path, &folder, list, suffix, lenient);
        }
        self.outcome.carries_install_info += usize::from(any);
    }

    fn expand_or_note(&mut self, info: &Info, word: &str) -> Option<String> {
        match self.expand(info, word) {
            Ok(text) => Some(text),
            Err(SpecifierError::Unknown(_)) => {
                self.outcome.errors.push(InstallError::Specifier(word.to_owned()));
                None
            }
            Err(_) => {
                self.outcome.errors.push(InstallError::Unresolved(word.to_owned()));
                None
            }
        }
    }

    fn alias_links(&mut self, info: &Info, path: &Path, folder: &Path) -> bool {
        let mut any = false;
        for word in &info.aliases {
            let Some(alias) = self.expand_or_note(info, word) else { continue };
            match verify_alias(info, &alias) {
                Ok(Some(alias)) => any |= self.create_link(path, &folder.join(alias), self.installer.force).is_ok(),
                Ok(None) => {}
                Err(error) => self.outcome.errors.push(error),
            }
        }
        any
    }

    fn dependency_links(
        &mut self,
        info: &Info,
        path: &Path,
        folder: &Path,
        list: &[String],
        suffix: &str,
        lenient: bool,
    ) -> bool {
        if list.is_empty() {
            return false;
        }
        let mut name = info.name.clone();
        let mut any_destination = true;
        if info.name.is_template() {
            match info.default_instance.as_deref().map(|instance| info.name.instantiate(instance)) {
                Some(Ok(instance)) => {
                    let mut context = Context::default();
                    let at = context.add(instance.clone(), None, false);
                    if let Err(lost) = self.search(&mut context, at, Depth::NAME) {
                        self.outcome.errors.push(lost.told(instance.as_str()));
                        return false;
                    }
                    if context.info(at).mode == Some(Mode::Masked) {
                        self.outcome.errors.push(InstallError::Masked(context.info(at).shown()));
                        return false;
                    }
                    name = instance;
                }
                // The instance will be that of the unit that wants it.
                Some(Err(_)) | None => any_destination = false,
            }
        }
        let mut any = false;
        for word in list {
            let Some(to) = self.expand_or_note(info, word) else { continue };
            let error = match UnitName::new(&to) {
                Ok(unit) if any_destination || !unit.is_plain() => {
                    let link = folder.join(format!("{unit}.{suffix}")).join(name.as_str());
                    any |= self.create_link(path, &link, true).is_ok();
                    if !self.exists(unit.as_str()) {
                        self.outcome.notices.push(Notice::NoDestination(path.display().to_string(), to));
                    }
                    continue;
                }
                Ok(_) => InstallError::NotTemplate(to, name.to_string()),
                Err(_) => InstallError::BadName(to),
            };
            if !lenient {
                self.outcome.errors.push(error);
            }
        }
        any
    }

    /// Makes a link, unless one that means the same is there.
    pub(super) fn create_link(&mut self, target: &Path, path: &Path, force: bool) -> Result<(), Stopped> {
        let old = match self.tree.link_text(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return self.fail(InstallError::Io(path.display().to_string(), error.to_string())),
            Ok(None) => return self.fail(InstallError::Exists(path.to_owned(), None)),
            Ok(Some(old)) => Some(old),
        };
        if let Some(old) = old {
            if self.is_same(path, &old, target) {
                return Ok(());
            }
            if !force {
                return self.fail(InstallError::Exists(path.to_owned(), Some(old)));
            }
            self.outcome.changes.push(Change::Unlink(path.to_owned()));
        }
        self.tree.make_link(path, target);
        self.outcome.changes.push(Change::Link { path: path.to_owned(), target: target.to_owned() });
        Ok(())
    }

    /// Two targets of one link mean the same when they are one file, or one name in the folders of unit files.
    fn is_same(&self, path: &Path, a: &Path, b: &Path) -> bool {
        let whole = |target: &Path| -> PathBuf { path.parent().unwrap_or(Path::new("/")).join(target) };
        let (a, b) = (whole(a), whole(b));
        let real = |path: &Path| self.tree.resolve(path, false, false).ok();
        a == b
            || real(&a).is_some_and(|place| Some(place) == real(&b))
            || (a.file_name() == b.file_name()
                && self.installer.folders.is_above(&a)
                && self.installer.folders.is_above(&b))
    }

    pub(super) fn link(&mut self, paths: &[&Path]) -> Result<(), Stopped> {
        let folders = self.installer.folders;
        let mut todo: Vec<&Path> = Vec::new();
        for path in paths {
            let shown = path.display().to_string();
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            if !path.is_absolute() {
                return self.fail(InstallError::Invalid(shown));
            }
            if UnitName::new(&name).is_err() {
                return self.fail(InstallError::BadName(shown));
            }
            let kind = self.tree.link_text(path).and_then(|link| match link {
                Some(_) => Ok(crate::files::FileKind::Link),
                None => self.tree.facts(path).map(|facts| facts.kind),
            });
            match kind {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return self.fail(InstallError::NotFound(shown));
                }
                Err(error) => return self.fail(InstallError::Io(shown, error.to_string())),
                Ok(crate::files::FileKind::Regular) => {}
                Ok(crate::files::FileKind::Link) => return self.fail(InstallError::Linked(shown)),
                Ok(_) => return self.fail(InstallError::Invalid(shown)),
            }
            if folders.holds(path) {
                continue;
            }
            if folders.is_above(path) {
                return self.fail(InstallError::UnderFolders(path.to_path_buf()));
            }
            if !todo.contains(path) {
                todo.push(path);
            }
        }
        for path in todo {
            if let Some(name) = path.file_name() {
                let link = self.installer.config_folder().join(name);
                let _ = self.create_link(path, &link, self.installer.force);
            }
        }
        Ok(())
    }

    pub(super) fn add_dependency(&mut self, units: &[&str], target: &str, requires: bool) -> Result<(), Stopped> {
        if UnitName::new(target).is_err() {
            return self.fail(InstallError::BadName(target.to_owned()));
        }
        let mut context = Context::default();
        let to = self.discover_and_check(&mut context, target, Depth::NAME)?;
        let to = context.info(to).name.to_string();
        for unit in units {
            let at = self.discover_and_check(&mut context, unit, Depth::NAME)?;
            let info = context.info_mut(at);
            *if requires { &mut info.required_by } else { &mut info.wanted_by } = vec![to.clone()];
        }
        self.apply(&mut context, Depth::NAME, false)
    }

    pub(super) fn set_default(&mut self, target: &str) -> Result<(), Stopped> {
        let is_target = UnitName::new(target).is_ok_and(|name| name.unit_type() == UnitType::Target);
        if !is_target || target == "default.target" {
            return self.fail(InstallError::Invalid(target.to_owned()));
        }
        let mut context = Context::default();
        let at = self.discover_and_check(&mut context, target, Depth::PLAIN)?;
        let path = context.info(at).path.clone().unwrap_or_default();
        let link = self.installer.folders.persistent.join("default.target");
        self.create_link(&path, &link, self.installer.force)
    }
}

/// The name of the link an alias asks for; `None` when it is the unit's own.
fn verify_alias(info: &Info, alias: &str) -> Result<Option<String>, InstallError> {
    let refused = |alias: &str| InstallError::CannotAlias { alias: alias.to_owned(), unit: info.name.to_string() };
    if let Some((folder, link)) = alias.rsplit_once('/') {
        // An old way to say WantedBy=.
        let unit = folder.strip_suffix(".wants").or_else(|| folder.strip_suffix(".requires"));
        let unit = unit.and_then(|unit| UnitName::new(unit).ok()).ok_or_else(|| refused(alias))?;
        return if fits_dependency_link(link, &info.name, unit.is_template()) {
            Ok(Some(alias.to_owned()))
        } else {
            Err(refused(alias))
        };
    }
    let mut name = alias.to_owned();
    if let Ok(template) = UnitName::new(alias)
        && template.is_template()
        && let Some(instance) = info.name.instance()
    {
        name = template.instantiate(instance).map_err(|_| refused(alias))?.to_string();
    }
    match check_alias(&name, info.name.as_str()) {
        Ok(true) => Ok(Some(name)),
        Ok(false) => Ok(None),
        Err(_) => Err(refused(&name)),
    }
}

/// Whether a link in a `.wants/` folder may stand for the unit.
fn fits_dependency_link(link: &str, unit: &UnitName, propagates: bool) -> bool {
    let Ok(name) = UnitName::new(link) else { return false };
    if name == *unit && !name.is_template() {
        return true;
    }
    unit.is_template() && name.template().as_ref() == Some(unit) && (name.is_instance() || propagates)
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What `systemctl is-enabled` says.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::discover::{Context, Depth, Info, Mode};
use super::{InstallError, Work};
use crate::files::{FileKind, Files};
use crate::name::UnitName;

/// How far a unit is installed; the words are systemctl's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnitFileState {
    /// Linked to from the administrator's folders.
    Enabled,
    /// The same, until the next boot.
    EnabledRuntime,
    /// The file lies elsewhere and is linked into the folders.
    Linked,
    /// The same, until the next boot.
    LinkedRuntime,
    /// The name is another one's.
    Alias,
    /// It cannot be started.
    Masked,
    /// The same, until the next boot.
    MaskedRuntime,
    /// There is nothing to enable.
    Static,
    /// It can be enabled.
    Disabled,
    /// It is enabled under another name, or only by `Also=`.
    Indirect,
    /// A generator made the file.
    Generated,
    /// The file was made at run time.
    Transient,
    /// Its files cannot be read.
    Bad,
}

impl UnitFileState {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            UnitFileState::Enabled => "enabled",
            UnitFileState::EnabledRuntime => "enabled-runtime",
            UnitFileState::Linked => "linked",
            UnitFileState::LinkedRuntime => "linked-runtime",
            UnitFileState::Alias => "alias",
            UnitFileState::Masked => "masked",
            UnitFileState::MaskedRuntime => "masked-runtime",
            UnitFileState::Static => "static",
            UnitFileState::Disabled => "disabled",
            UnitFileState::Indirect => "indirect",
            UnitFileState::Generated => "generated",
            UnitFileState::Transient => "transient",
            UnitFileState::Bad => "bad",
        }
    }
}

impl fmt::Display for UnitFileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What links to a unit in one folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A link of the unit's own name to its file elsewhere.
    SameName,
    Link,
}

impl Work<'_> {
    pub(super) fn state(&self, unit: &str) -> Result<UnitFileState, InstallError> {
        let name = UnitName::new(unit).map_err(|_| InstallError::BadName(unit.to_owned()))?;
        let mut context = Context::default();
        let at = self.discover(&mut context, unit, Depth::FULL)?;
        let info = context.info(at);
        let folders = self.installer.folders;
        let path = info.path.as_deref().unwrap_or(Path::new("/"));
        if info.mode == Some(Mode::Masked) {
            return Ok(if self.is_runtime(path, true) { UnitFileState::MaskedRuntime } else { UnitFileState::Masked });
        }
        let other_name = path.file_name().is_none_or(|file| file.to_string_lossy() != name.as_str());
        if other_name && !info.name.is_instance() {
            return Ok(UnitFileState::Alias);
        }
        if folders.is_generated(path) {
            return Ok(UnitFileState::Generated);
        }
        if folders.is_transient(path) {
            return Ok(UnitFileState::Transient);
        }
        if let Some(state) = self.links_to(info, true) {
            return Ok(state);
        }
        Ok(if self.links_to(info, false).is_some() {
            UnitFileState::Indirect
        } else if info.has_rules() {
            UnitFileState::Disabled
        } else if info.also.is_empty() {
            UnitFileState::Static
        } else {
            UnitFileState::Indirect
        })
    }

    fn is_runtime(&self, path: &Path, parent: bool) -> bool {
        let folder = if parent { path.parent().unwrap_or(path) } else { path };
        path.starts_with("/run") || *folder == self.installer.folders.runtime
    }

    /// Looks for links to the unit: with `known` only those that its `[Install]` asks for.
    fn links_to(&self, info: &Info, known: bool) -> Option<UnitFileState> {
        let folders = self.installer.folders;
        let (mut runtime, mut elsewhere, mut same_runtime, mut same_config) = (false, false, false, false);
        // Links of the unit's own name count only in folders before that of its file.
        let mut past = false;
        for folder in &folders.search {
            match self.links_in(info, folder, known, past) {
                Found::Link if *folder == folders.persistent => return Some(UnitFileState::Enabled),
                Found::Link if self.is_runtime(folder, false) => runtime = true,
                Found::Link => elsewhere = true,
                Found::SameName if *folder == folders.persistent => same_config = true,
                Found::SameName if self.is_runtime(folder, false) => same_runtime = true,
                Found::SameName | Found::Nothing => {}
            }
            past |= info.path.as_ref().is_some_and(|path| path.starts_with(folder));
        }
        if runtime {
            Some(UnitFileState::EnabledRuntime)
        } else if elsewhere && info.name.is_instance() {
            Some(UnitFileState::Static)
        } else if same_config {
            Some(UnitFileState::Linked)
        } else {
            same_runtime.then_some(UnitFileState::LinkedRuntime)
        }
    }

    fn links_in(&self, info: &Info, folder: &Path, known: bool, past: bool) -> Found {
        let mut found = Found::Nothing;
        for entry in self.tree.list(folder).unwrap_or_default() {
            let name = entry.name.to_string_lossy();
            let dependencies = [".wants", ".requires", ".upholds"].iter().any(|suffix| name.ends_with(suffix));
            if entry.kind != FileKind::Directory || !dependencies {
                continue;
            }
            for link in self.tree.list(&folder.join(&entry.name)).unwrap_or_default() {
                let link_name = link.name.to_string_lossy();
                let own = info.name == *link_name;
                let instance = UnitName::new(&link_name).is_ok_and(|name| name.template().as_ref() == Some(&info.name));
                if link.kind == FileKind::Link && (own || instance) && (!known || is_known(info, &link_name)) {
                    return Found::Link;
                }
            }
        }
        for link in self.tree.list(folder).unwrap_or_default() {
            if link.kind != FileKind::Link {
                continue;
            }
            let link_name = link.name.to_string_lossy();
            let target = self.tree.link_text(&folder.join(&link.name)).ok().flatten();
            let leads_here = target
                .as_ref()
                .and_then(|target| target.file_name())
                .is_some_and(|name| info.name == *name.to_string_lossy());
            let own_name = !past && info.name == *link_name;
            if own_name && leads_here {
                found = Found::SameName;
            } else if (own_name || leads_here) && (!known || is_known(info, &link_name)) {
                return Found::Link;
            }
        }
        found
    }
}

fn is_known(info: &Info, link: &str) -> bool {
    let default = info.default_instance.as_deref().and_then(|instance| info.name.instantiate(instance).ok());
    info.name == *link
        || info.aliases.iter().any(|alias| alias == link)
        || (info.name.is_template() && default.is_some_and(|name| name == *link))
}

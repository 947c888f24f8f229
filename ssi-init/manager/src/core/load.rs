// SPDX-License-Identifier: GPL-2.0-or-later
//! From a name to a unit with its edges, and all that its files name with it.
//!
//! A unit that is named and was not looked for is a stub; stubs wait in a queue until [`Core::load_pending`] reads their
//! files, which names more units. `daemon-reload` takes back every edge that files asked for and reads them all again:
//! what is going on with the units ([`super::unit::Runtime`]) is not touched.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

use ssi_unit::config::UnitConfig;
use ssi_unit::dependency::{Atoms, Dependency, Origins};
use ssi_unit::files::Files;
use ssi_unit::implicit::{Subject, mounts_above, orders_default_target, relations};
use ssi_unit::load::{LoadState, Loaded, Loader};
use ssi_unit::name::{UnitName, UnitType};

use super::entry::Entry;
use super::system::Priority;
use super::unit::Unit;
use super::{Core, Outgoing, kinds};
use crate::graph::UnitId;

/// Units that are there whatever the files say.
const ALWAYS: [&str; 4] = ["-.slice", "system.slice", "init.scope", "-.mount"];

/// Where unit files are read from.
pub trait Loads {
    /// Reads a unit by any of its names.
    fn load(&mut self, name: &UnitName) -> Loaded;
    /// Reads what the files add to a unit that is there without one.
    fn load_existing(&mut self, name: &UnitName) -> Loaded;
    /// Lists the folders again.
    fn refresh(&mut self);
    /// Whether a folder changed since it was listed.
    fn is_stale(&self) -> bool;
}

/// The loader of unit files as [`Loads`].
pub struct FileLoads<F>(pub Loader<F>);

impl<F: Files> Loads for FileLoads<F> {
    fn load(&mut self, name: &UnitName) -> Loaded {
        self.0.load(name)
    }

    fn load_existing(&mut self, name: &UnitName) -> Loaded {
        self.0.load_existing(name)
    }

    fn refresh(&mut self) {
        self.0.refresh();
    }

    fn is_stale(&self) -> bool {
        self.0.is_stale()
    }
}

/// A name that this program itself has written.
pub(super) fn known(name: &str) -> UnitName {
    match UnitName::new(name) {
        Ok(name) => name,
        Err(error) => unreachable!("{name} is a unit's name: {error}"),
    }
}

impl Core {
    /// Brings the units that are always there.
    pub fn begin(&mut self) {
        self.enter(&Entry::Begin);
        for name in ALWAYS {
            let id = self.named(&known(name));
            self.load_pending();
            kinds::always_there(self, id);
        }
        self.settle();
        self.leave();
    }

    /// The unit of that name, loaded with all that it names.
    pub fn load(&mut self, name: &UnitName) -> UnitId {
        self.enter(&Entry::Load(Cow::Borrowed(name)));
        let id = self.named(name);
        // A file may have been put there since the folders were listed; systemd looks again as well.
        let is_there = !matches!(self.unit(id).load, None | Some(LoadState::NotFound));
        if !is_there && self.loader.is_stale() {
            self.loader.refresh();
            if self.table.get_mut(id).load.take().is_some() {
                self.to_load.push_back(id);
            }
        }
        self.load_pending();
        self.leave();
        // It may have turned out to be another name of a unit that was there.
        self.table.find(name).unwrap_or(id)
    }

    /// The unit of that name; a stub, to be loaded, where there was none.
    pub(super) fn named(&mut self, name: &UnitName) -> UnitId {
        if let Some(id) = self.table.find(name) {
            return id;
        }
        let id = self.graph.add_unit();
        self.table.put(Unit::stub(id, name.clone()));
        self.to_load.push_back(id);
        self.to_forget.insert(id);
        self.out.push_back(Outgoing::UnitNew(id));
        id
    }

    /// Loads all stubs, and those that they name.
    pub(super) fn load_pending(&mut self) {
        let mut loaded = BTreeSet::new();
        while let Some(id) = self.to_load.pop_front() {
            if self.table.contains(id) && self.unit(id).load.is_none() {
                loaded.insert(self.load_files(id));
            }
        }
        for id in loaded {
            self.order_targets(id);
        }
    }

    /// Reads the files of one unit. The unit it became: another one, where its name was one of another's.
    fn load_files(&mut self, id: UnitId) -> UnitId {
        let name = self.unit(id).name.clone();
        let exists = kinds::exists_without_file(self.unit(id));
        let loaded = if exists { self.loader.load_existing(&name) } else { self.loader.load(&name) };
        let id = self.settle_names(id, &loaded);
        for warning in &loaded.warnings {
            self.log(Priority::Warning, id, &warning.to_string());
        }
        let folder_dependencies = loaded.folder_dependencies.clone();
        let unit = self.table.get_mut(id);
        unit.load = Some(loaded.state);
        unit.load_error = loaded.error;
        unit.fragment = loaded.fragment;
        unit.fragment_modified = loaded.fragment_modified;
        unit.dropins = loaded.dropins;
        unit.dropins_modified = loaded.dropins_modified;
        unit.config = Rc::new(loaded.config);
        if exists && unit.load == Some(LoadState::NotFound) {
            unit.load = Some(LoadState::Loaded);
            unit.load_error = None;
        }
        if unit.is_loaded() {
            kinds::complete(self, id);
            self.add_edges(id, &folder_dependencies);
        }
        self.note_scope(id);
        self.touch(id);
        id
    }

    /// Gives a unit the names its files say it has; a unit that had one of them becomes one with it.
    fn settle_names(&mut self, id: UnitId, loaded: &Loaded) -> UnitId {
        let mut kept = self.table.find(&loaded.id).unwrap_or(id);
        if kept == id && self.unit(id).name != loaded.id {
            // The name it was asked for by is only another name of it.
            let unit = self.table.get_mut(id);
            let old = std::mem::replace(&mut unit.name, loaded.id.clone());
            unit.aliases.insert(old);
            unit.aliases.remove(&loaded.id);
            self.table.add_name(id, loaded.id.clone());
        }
        if kept != id {
            kept = self.merge(kept, id);
        }
        for name in &loaded.names {
            match self.table.find(name) {
                Some(other) if other != kept => {
                    kept = self.merge(kept, other);
                }
                Some(_) => {}
                None => self.table.add_name(kept, name.clone()),
            }
        }
        kept
    }

    /// Two units turned out to be one. The one that is kept: that with something going on.
    fn merge(&mut self, kept: UnitId, gone: UnitId) -> UnitId {
        let busy = |core: &Core, id| !core.unit(id).active().is_inactive_or_failed() || core.queue.job_of(id).is_some();
        if busy(self, gone) {
            // Only files that were changed while the unit ran lead here: it goes on under the name it has.
            let text = format!("is not made one with {}: it is in use", self.unit(kept).name);
            self.log(Priority::Warning, gone, &text);
            return kept;
        }
        let dropped = self.graph.merge(kept, gone).unwrap_or_default();
        for kind in dropped {
            let text = format!("the dependency {} on itself by another name is dropped", kind.name());
            self.log(Priority::Warning, kept, &text);
        }
        self.deadlines.forget(gone);
        self.to_look_at.remove(&gone);
        self.to_forget.remove(&gone);
        if let Some(unit) = self.table.take(gone) {
            for name in unit.aliases.into_iter().chain([unit.name]) {
                self.table.add_name(kept, name);
            }
        }
        for users in self.mounts_for.values_mut() {
            users.remove(&gone);
        }
        kept
    }

    /// Adds all edges that a unit's files and its type ask for.
    fn add_edges(&mut self, id: UnitId, folders: &[(Dependency, UnitName)]) {
        for (kind, name) in folders {
            self.depend(id, *kind, name, Origins::FILE);
        }
        let unit = self.unit(id);
        let (name, config): (UnitName, Rc<UnitConfig>) = (unit.name.clone(), Rc::clone(&unit.config));
        let in_kernel = kinds::in_kernel(unit);
        let subject =
            Subject { name: &name, config: &config, has_file: unit.fragment.is_some(), in_kernel: in_kernel.as_ref() };
        let relations = relations(subject, &self.surroundings);
        for edge in relations.edges {
            self.depend(id, edge.kind, &edge.to, edge.origins);
        }
        let unit = self.table.get_mut(id);
        unit.default_dependencies = relations.default_dependencies;
        unit.mounts_for = relations.mounts_for;
        let wanted: Vec<(String, UnitName)> = self
            .unit(id)
            .mounts_for
            .iter()
            .flat_map(|needed| mounts_above(&needed.path))
            .filter_map(|mount| Some((mount.to_path().ok()?, mount)))
            .collect();
        for (path, mount) in wanted {
            self.mounts_for.entry(path).or_default().insert(id);
            self.named(&mount);
        }
        self.order_mounts(id);
        if self.unit(id).unit_type() == UnitType::Mount {
            let path = name.to_path().unwrap_or_default();
            let users: Vec<UnitId> = self.mounts_for.get(&path).into_iter().flatten().copied().collect();
            for user in users {
                self.order_mounts(user);
            }
        }
    }

    /// An edge to a unit by its name.
    pub(super) fn depend(&mut self, id: UnitId, kind: Dependency, name: &UnitName, origins: Origins) {
        let to = self.named(name);
        self.graph.depend(id, kind, to, origins);
    }

    /// The order after the mounts a unit needs, of those that are loaded.
    fn order_mounts(&mut self, id: UnitId) {
        for needed in self.unit(id).mounts_for.clone() {
            for name in mounts_above(&needed.path) {
                let Some(mount) = self.table.find(&name) else { continue };
                if mount == id || !self.unit(mount).is_loaded() {
                    continue;
                }
                self.graph.depend(id, Dependency::After, mount, needed.origins);
                if self.unit(mount).fragment.is_some() {
                    self.graph.depend(id, needed.kind, mount, needed.origins);
                }
            }
        }
    }

    /// The default order of targets after what they pull in.
    fn order_targets(&mut self, id: UnitId) {
        if !self.table.contains(id) {
            return;
        }
        let mut pairs: Vec<(UnitId, UnitId)> = Vec::new();
        if self.unit(id).unit_type() == UnitType::Target {
            pairs.extend(self.graph.with(id, Atoms::QUEUE_DEFAULT_TARGET).map(|other| (id, other)));
        }
        let targets = self.graph.with(id, Atoms::DEFAULT_TARGET);
        pairs.extend(
            targets.filter(|other| self.unit(*other).unit_type() == UnitType::Target).map(|target| (target, id)),
        );
        for (target, other) in pairs {
            let (one, two) = (self.unit(target), self.unit(other));
            let before = self.graph.has(target, Atoms::BEFORE, other);
            if one.is_loaded()
                && two.is_loaded()
                && orders_default_target(one.default_dependencies, two.default_dependencies, before)
            {
                self.graph.depend(target, Dependency::After, other, Origins::DEFAULT);
            }
        }
    }

    /// Reads all files again (`daemon-reload`).
    pub fn reload_files(&mut self) {
        self.enter(&Entry::ReloadFiles);
        self.loader.refresh();
        self.mounts_for.clear();
        let ids: Vec<UnitId> = self.table.iter().map(|unit| unit.id).collect();
        // What the kernel's tables and udev asked for does not come from files.
        let of_files = Origins::ALL.without(Origins::MOUNT_TABLE | Origins::SWAP_TABLE | Origins::UDEV);
        for id in &ids {
            self.graph.take_back(*id, of_files);
            let unit = self.table.get_mut(*id);
            unit.load = None;
            unit.runtime.needs_reload = false;
            self.to_load.push_back(*id);
        }
        self.load_pending();
        for id in ids {
            if self.table.contains(id) {
                kinds::reloaded(self, id);
                self.to_look_at.insert(id);
                self.to_forget.insert(id);
            }
        }
        self.renew_specs();
        self.settle();
        self.leave();
    }

    /// Forgets units that nothing names, holds or runs.
    pub(super) fn forget_unused(&mut self) {
        while let Some(id) = self.to_forget.pop_first() {
            if !self.may_be_forgotten(id) {
                continue;
            }
            let named: Vec<UnitId> = self.graph.with(id, Atoms::REFERENCES).collect();
            self.deadlines.forget(id);
            self.drop_group(id);
            self.close_connection(id);
            self.graph.remove_unit(id);
            self.to_look_at.remove(&id);
            for users in self.mounts_for.values_mut() {
                users.remove(&id);
            }
            if let Some(unit) = self.table.take(id) {
                self.forgotten.push(unit.name.clone());
                self.out.push_back(Outgoing::UnitRemoved { name: unit.name });
            }
            self.to_forget.extend(named);
        }
    }

    fn may_be_forgotten(&self, id: UnitId) -> bool {
        use ssi_unit::config::unit::CollectMode;
        if !self.table.contains(id) {
            return false;
        }
        let unit = self.unit(id);
        let active = unit.active();
        let at_rest = match unit.config.unit.collect_mode {
            CollectMode::Inactive => active == super::state::ActiveState::Inactive,
            CollectMode::InactiveOrFailed => active.is_inactive_or_failed(),
        };
        at_rest
            && unit.load.is_some()
            && self.queue.job_of(id).is_none()
            && self.queue.nop_of(id).is_none()
            && !ssi_unit::implicit::is_perpetual(&unit.name)
            && unit.runtime.held_by.is_empty()
            && kinds::may_be_forgotten(self, id)
            && !self.is_held_for_cluster(id)
            && self.graph.with(id, Atoms::REFERENCED_BY).next().is_none()
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit shows: the properties of `org.freedesktop.systemd1.Unit` and of the interface of its type, as systemd 252
//! has them (org.freedesktop.systemd1(5)).
//!
//! ```text
//!   unit.rs                                        every unit
//!   service.rs socket.rs mount.rs swap.rs          its type   ──┐ then, on the same interface,
//!   slice.rs scope.rs                                           ├─▶ cgroup.rs, exec.rs, kill.rs
//!   timer.rs path.rs automount.rs device.rs        its type   ──┘ where the type has processes
//! ```
//!
//! A property is a row of a table: name, signature, what clients are told of changes, and a function from a [`View`] to
//! the value. What is neither in a unit's files nor in the manager's memory is asked of [`Figures`].
//!
//! A number that is not known or not limited is [`u64::MAX`] or [`u32::MAX`], which systemctl(1) shows as such.

mod automount;
mod cgroup;
mod commands;
mod device;
mod exec;
mod figures;
pub mod inherited;
mod kill;
mod mount;
mod names;
mod path;
pub(crate) mod sandbox;
mod scope;
mod service;
mod slice;
mod socket;
mod swap;
mod timer;
mod unit;
mod value;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use ssi_manager::core::Core;
use ssi_manager::core::unit::Unit;
use ssi_manager::graph::UnitId;
use ssi_unit::config::{CgroupConfig, ExecConfig, KillConfig, ManagerDefaults};
use ssi_unit::name::UnitType;
use zbus::zvariant::{OwnedValue, Value};

pub use crate::interface::Emits;
pub use figures::{Figures, Inherited, Unknown};

/// The interface that all units have.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// A unit that is looked at.
pub struct View<'a> {
    core: &'a Core,
    id: UnitId,
    unit: &'a Unit,
    figures: &'a dyn Figures,
    /// What the kernel counted for its control group: asked once for all properties.
    counted: OnceCell<BTreeMap<&'static str, u64>>,
}

impl<'a> View<'a> {
    fn new(core: &'a Core, id: UnitId, figures: &'a dyn Figures) -> Self {
        Self { core, id, unit: core.unit(id), figures, counted: OnceCell::new() }
    }

    fn exec(&self) -> &'a ExecConfig {
        static NONE: LazyLock<ExecConfig> = LazyLock::new(|| ExecConfig::new(&ManagerDefaults::default()));
        self.unit.config.exec().unwrap_or(&NONE)
    }

    fn kill(&self) -> &'a KillConfig {
        static NONE: LazyLock<KillConfig> = LazyLock::new(KillConfig::default);
        self.unit.config.kill().unwrap_or(&NONE)
    }

    fn cgroup(&self) -> &'a CgroupConfig {
        static NONE: LazyLock<CgroupConfig> = LazyLock::new(|| CgroupConfig::new(&ManagerDefaults::default()));
        self.unit.config.cgroup().unwrap_or(&NONE)
    }

    /// A figure of its control group, if there is the group and the kernel counts that.
    fn counted(&self, figure: &str) -> Option<u64> {
        let group = self.unit.runtime.cgroup.as_deref()?;
        self.counted.get_or_init(|| self.figures.of_group(group)).get(figure).copied()
    }
}

type Getter = for<'a> fn(&View<'a>) -> Value<'static>;

/// A property of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its D-Bus signature.
    pub signature: &'static str,
    /// What clients are told when it changes.
    pub emits: Emits,
    get: Getter,
}

/// One that changes only when the unit's files are read anew.
const fn fixed(name: &'static str, signature: &'static str, get: Getter) -> Property {
    Property { name, signature, emits: Emits::Const, get }
}

/// One whose new value is told.
const fn told(name: &'static str, signature: &'static str, get: Getter) -> Property {
    Property { name, signature, emits: Emits::Change, get }
}

/// One of which is told that it changed.
const fn invalidated(name: &'static str, signature: &'static str, get: Getter) -> Property {
    Property { name, signature, emits: Emits::Invalidation, get }
}

/// One of whose changes nothing is told.
const fn silent(name: &'static str, signature: &'static str, get: Getter) -> Property {
    Property { name, signature, emits: Emits::Nothing, get }
}

/// Interfaces with their properties; those of a type follow the order of systemd, which clients print them in.
static INTERFACES: LazyLock<Vec<(&'static str, Vec<Property>)>> = LazyLock::new(|| {
    let processes = [
        cgroup::TABLE,
        exec::ENVIRONMENT,
        exec::LIMITS,
        exec::WORKING_DIRECTORY,
        sandbox::ROOT,
        exec::SCHEDULING_AND_STREAMS,
        sandbox::CAPABILITIES,
        exec::USER,
        sandbox::PATHS,
        exec::SEARCH_PATH,
        sandbox::MOUNT_FLAGS,
        sandbox::PRIVATE,
        sandbox::PROTECT,
        exec::UTMP,
        sandbox::LABELS,
        exec::SIGPIPE,
        sandbox::CALLS,
        exec::PERSONALITY,
        sandbox::FAMILIES,
        exec::DIRECTORIES,
        sandbox::RESTRICT,
        exec::KEYRING,
        sandbox::NAMESPACES,
        kill::TABLE,
    ]
    .concat();
    let with_processes = |own: &[Property]| [own, &processes].concat();
    vec![
        (UNIT, unit::TABLE.to_vec()),
        ("org.freedesktop.systemd1.Service", with_processes(&service::TABLE)),
        ("org.freedesktop.systemd1.Socket", with_processes(socket::TABLE)),
        ("org.freedesktop.systemd1.Mount", with_processes(mount::TABLE)),
        ("org.freedesktop.systemd1.Swap", with_processes(swap::TABLE)),
        ("org.freedesktop.systemd1.Slice", [slice::TABLE, cgroup::TABLE].concat()),
        ("org.freedesktop.systemd1.Scope", [scope::TABLE, cgroup::TABLE, kill::TABLE].concat()),
        ("org.freedesktop.systemd1.Target", Vec::new()),
        ("org.freedesktop.systemd1.Device", device::TABLE.to_vec()),
        ("org.freedesktop.systemd1.Automount", automount::TABLE.to_vec()),
        ("org.freedesktop.systemd1.Timer", timer::TABLE.to_vec()),
        ("org.freedesktop.systemd1.Path", path::TABLE.to_vec()),
    ]
});

/// The interfaces of a unit of this type, in full.
pub fn interfaces(kind: UnitType) -> &'static [&'static str] {
    match kind {
        UnitType::Service => &[UNIT, "org.freedesktop.systemd1.Service"],
        UnitType::Socket => &[UNIT, "org.freedesktop.systemd1.Socket"],
        UnitType::Target => &[UNIT, "org.freedesktop.systemd1.Target"],
        UnitType::Device => &[UNIT, "org.freedesktop.systemd1.Device"],
        UnitType::Mount => &[UNIT, "org.freedesktop.systemd1.Mount"],
        UnitType::Automount => &[UNIT, "org.freedesktop.systemd1.Automount"],
        UnitType::Swap => &[UNIT, "org.freedesktop.systemd1.Swap"],
        UnitType::Timer => &[UNIT, "org.freedesktop.systemd1.Timer"],
        UnitType::Path => &[UNIT, "org.freedesktop.systemd1.Path"],
        UnitType::Slice => &[UNIT, "org.freedesktop.systemd1.Slice"],
        UnitType::Scope => &[UNIT, "org.freedesktop.systemd1.Scope"],
    }
}

/// The properties of an interface of units; none for another one.
pub fn list(interface: &str) -> &'static [Property] {
    INTERFACES.iter().find(|(name, _)| *name == interface).map_or(&[], |(_, list)| list)
}

/// The names of those whose new values are put into `PropertiesChanged`.
pub fn changing(interface: &str) -> impl Iterator<Item = &'static str> {
    list(interface).iter().filter(|property| property.emits == Emits::Change).map(|property| property.name)
}

/// The value of a property of a unit; `None` where the interface has none of that name, or the unit not that interface.
pub fn get(core: &Core, id: UnitId, interface: &str, name: &str, figures: &dyn Figures) -> Option<OwnedValue> {
    if !interfaces(core.unit(id).unit_type()).contains(&interface) {
        return None;
    }
    let property = list(interface).iter().find(|property| property.name == name)?;
    OwnedValue::try_from((property.get)(&View::new(core, id, figures))).ok()
}

/// All properties of a unit on an interface.
pub fn all(core: &Core, id: UnitId, interface: &str, figures: &dyn Figures) -> Vec<(&'static str, OwnedValue)> {
    if !interfaces(core.unit(id).unit_type()).contains(&interface) {
        return Vec::new();
    }
    let view = View::new(core, id, figures);
    let value = |property: &Property| Some((property.name, OwnedValue::try_from((property.get)(&view)).ok()?));
    list(interface).iter().filter_map(value).collect()
}

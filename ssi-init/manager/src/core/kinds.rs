// SPDX-License-Identifier: GPL-2.0-or-later
//! What the types of units have in common for those who do not care which type one is.

use serde::{Deserialize, Serialize};
use ssi_unit::implicit::{MountParameters, is_perpetual};
use ssi_unit::name::UnitType;

use super::automount::{self, AutomountRuntime};
use super::device::{self, DeviceRuntime};
use super::mount::{self, MountRuntime};
use super::path::{self, PathRuntime};
use super::scope::{self, ScopeRuntime};
use super::service::{self, ServiceRuntime};
use super::slice::{self, SliceRuntime};
use super::socket::{self, SocketRuntime};
use super::state::ActiveState;
use super::swap::{self, SwapRuntime};
use super::system::{Exit, Feature, Pid};
use super::target::{self, TargetRuntime};
use super::timer::{self, TimerRuntime};
use super::unit::Unit;
use super::{Core, Deadline};
use crate::graph::UnitId;
use crate::job::Reply;

/// Defines [`KindRuntime`] with its accessors: asked for a type the unit is not of, they give a resting one, so that no
/// mistake in the core can end the manager.
macro_rules! kinds {
    ($($variant:ident $runtime:ident $get:ident $get_mut:ident,)+) => {
        /// What is going on with a unit, by its type.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum KindRuntime {
            $(#[doc = concat!("A ", stringify!($variant), ".")] $variant(Box<$runtime>),)+
        }

        impl KindRuntime {
            /// Of a unit nothing has happened to.
            pub fn new(kind: UnitType) -> Self {
                match kind { $(UnitType::$variant => Self::$variant(Box::default()),)+ }
            }

            /// The coarse state.
            pub fn active(&self) -> ActiveState {
                match self { $(Self::$variant(runtime) => runtime.state.active(),)+ }
            }

            /// The word of the `SubState` property.
            pub fn sub_state(&self) -> &'static str {
                match self { $(Self::$variant(runtime) => runtime.state.word(),)+ }
            }

            $(
                #[doc = concat!("As a ", stringify!($variant), "; of another type, one at rest.")]
                pub fn $get(&self) -> &$runtime {
                    static REST: std::sync::LazyLock<$runtime> = std::sync::LazyLock::new($runtime::default);
                    match self {
                        Self::$variant(runtime) => runtime,
                        _ => &REST,
                    }
                }

                #[doc = concat!("As a ", stringify!($variant), "; of another type, it becomes one at rest.")]
                pub fn $get_mut(&mut self) -> &mut $runtime {
                    if !matches!(self, Self::$variant(_)) {
                        *self = Self::$variant(Box::default());
                    }
                    match self {
                        Self::$variant(runtime) => runtime,
                        _ => unreachable!("it was made one above"),
                    }
                }
            )+
        }
    };
}

kinds! {
    Service ServiceRuntime service service_mut,
    Socket SocketRuntime socket socket_mut,
    Target TargetRuntime target target_mut,
    Device DeviceRuntime device device_mut,
    Mount MountRuntime mount mount_mut,
    Automount AutomountRuntime automount automount_mut,
    Swap SwapRuntime swap swap_mut,
    Timer TimerRuntime timer timer_mut,
    Path PathRuntime path path_mut,
    Slice SliceRuntime slice slice_mut,
    Scope ScopeRuntime scope scope_mut,
}

// ---- what a type of unit does ------------------------------------------------------------------------------------

/// Whether a job can start it: devices come by themselves.
pub(super) fn can_start(unit: &Unit) -> bool {
    match unit.unit_type() {
        UnitType::Device => false,
        UnitType::Slice | UnitType::Scope | UnitType::Mount => !is_perpetual(&unit.name),
        _ => true,
    }
}

/// Whether a job can stop it.
pub(super) fn can_stop(unit: &Unit) -> bool {
    unit.unit_type() != UnitType::Device && !is_perpetual(&unit.name)
}

/// Whether it knows how to read its configuration anew.
pub(super) fn can_reload(unit: &Unit) -> bool {
    match unit.unit_type() {
        UnitType::Service => service::can_reload(unit),
        UnitType::Mount => mount::can_reload(unit),
        _ => false,
    }
}

/// Whether starts are counted against `StartLimitBurst=`.
pub(super) fn limits_starts(unit: &Unit) -> bool {
    use UnitType::*;
    matches!(unit.unit_type(), Service | Socket | Mount | Automount | Swap | Timer | Path)
}

/// Whether it can be started only once: a scope is made with the processes it has.
pub(super) fn once_only(unit: &Unit) -> bool {
    unit.unit_type() == UnitType::Scope
}

/// Whether units of its type work on this machine.
pub(super) fn supported(core: &Core, id: UnitId) -> bool {
    match core.unit(id).unit_type() {
        UnitType::Automount => core.sys.supports(Feature::Automount),
        UnitType::Swap => core.sys.supports(Feature::Swap),
        UnitType::Device => core.sys.supports(Feature::Devices),
        _ => true,
    }
}

/// The unit that does its work: of several names of one device, the one by its place in sysfs.
pub(super) fn following(core: &Core, id: UnitId) -> Option<UnitId> {
    match core.unit(id).unit_type() {
        UnitType::Device => device::following(core, id),
        _ => None,
    }
}

/// Whether it is there though no file may speak of it.
pub(super) fn exists_without_file(unit: &Unit) -> bool {
    match unit.unit_type() {
        UnitType::Mount => unit.runtime.kind.mount().in_kernel.is_some() || unit.name.as_str() == "-.mount",
        UnitType::Swap => unit.runtime.kind.swap().in_kernel.is_some(),
        _ => unit.runtime.transient && unit.fragment.is_none(),
    }
}

/// What the kernel's table has for it.
pub(super) fn in_kernel(unit: &Unit) -> Option<MountParameters> {
    match unit.unit_type() {
        UnitType::Mount => mount::in_kernel(unit),
        UnitType::Swap => swap::in_kernel(unit),
        _ => None,
    }
}

/// Its files were read: what its type adds to them before its edges are looked for.
pub(super) fn complete(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Mount => mount::complete(core, id),
        UnitType::Swap => swap::complete(core, id),
        UnitType::Device => device::complete(core, id),
        _ => {}
    }
}

/// Its files were read again while it may be up.
pub(super) fn reloaded(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Timer => timer::reloaded(core, id),
        UnitType::Socket => socket::reloaded(core, id),
        UnitType::Path => path::reloaded(core, id),
        // Who an instance is for is in no file.
        UnitType::Service => socket::tie(core, id),
        _ => {}
    }
    core.limit_group(id);
}

/// A unit that is there whatever the files say comes up.
pub(super) fn always_there(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Slice => slice::always_there(core, id),
        UnitType::Scope => scope::always_there(core, id),
        UnitType::Mount => mount::always_there(core, id),
        _ => {}
    }
}

/// The state of before is taken up by a new manager: descriptors, watches and groups are there again.
pub(super) fn resume(core: &mut Core, id: UnitId) {
    core.adopt_group(id);
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::resume(core, id),
        UnitType::Timer => timer::resume(core, id),
        UnitType::Path => path::resume(core, id),
        UnitType::Service => service::resume(core, id),
        UnitType::Mount => mount::resume(core, id),
        UnitType::Automount => automount::resume(core, id),
        UnitType::Swap => swap::resume(core, id),
        UnitType::Scope => scope::resume(core, id),
        UnitType::Target | UnitType::Device | UnitType::Slice => {}
    }
}

/// Whether nothing of it is left that would be lost.
pub(super) fn may_be_forgotten(core: &Core, id: UnitId) -> bool {
    let unit = core.unit(id);
    match unit.unit_type() {
        UnitType::Service => unit.runtime.kind.service().stored.is_empty(),
        UnitType::Socket => {
            unit.runtime.kind.socket().ports.is_empty() && socket::connections(core, id).next().is_none()
        }
        _ => true,
    }
}

/// The status its end would give the manager's own.
pub(super) fn exit_status(unit: &Unit) -> Option<u8> {
    match unit.runtime.kind.service().main_ran.exit {
        Some(Exit::Code(code)) => Some(code),
        _ => None,
    }
}

/// It is to come up. It may: conditions, assertions and limits were looked at.
pub(super) fn start(core: &mut Core, id: UnitId) -> Reply {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::start(core, id),
        UnitType::Timer => timer::start(core, id),
        UnitType::Path => path::start(core, id),
        UnitType::Service => service::start(core, id),
        UnitType::Target => target::start(core, id),
        UnitType::Device => Reply::NotApplicable,
        UnitType::Mount => mount::start(core, id),
        UnitType::Automount => automount::start(core, id),
        UnitType::Swap => swap::start(core, id),
        UnitType::Slice => slice::start(core, id),
        UnitType::Scope => scope::start(core, id),
    }
}

/// It is to go down. It is not down.
pub(super) fn stop(core: &mut Core, id: UnitId) -> Reply {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::stop(core, id),
        UnitType::Timer => timer::stop(core, id),
        UnitType::Path => path::stop(core, id),
        UnitType::Service => service::stop(core, id),
        UnitType::Target => target::stop(core, id),
        UnitType::Device => return Reply::NotApplicable,
        UnitType::Mount => mount::stop(core, id),
        UnitType::Automount => automount::stop(core, id),
        UnitType::Swap => swap::stop(core, id),
        UnitType::Slice => slice::stop(core, id),
        UnitType::Scope => scope::stop(core, id),
    }
    Reply::Underway
}

/// It is to read its configuration anew. It is up, and can.
pub(super) fn reload(core: &mut Core, id: UnitId) -> Reply {
    match core.unit(id).unit_type() {
        UnitType::Service => service::reload(core, id),
        UnitType::Mount => mount::reload(core, id),
        _ => return Reply::Already,
    }
    Reply::Underway
}

/// Its failure is forgotten.
pub(super) fn reset_failed(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::reset_failed(core, id),
        UnitType::Timer => timer::reset_failed(core, id),
        UnitType::Path => path::reset_failed(core, id),
        UnitType::Service => service::reset_failed(core, id),
        UnitType::Mount => mount::reset_failed(core, id),
        UnitType::Automount => automount::reset_failed(core, id),
        UnitType::Swap => swap::reset_failed(core, id),
        UnitType::Scope => scope::reset_failed(core, id),
        UnitType::Target | UnitType::Device | UnitType::Slice => {}
    }
}

/// It was to be started, too often.
pub(super) fn start_limit_hit(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::start_limit_hit(core, id),
        UnitType::Timer => timer::start_limit_hit(core, id),
        UnitType::Path => path::start_limit_hit(core, id),
        UnitType::Service => service::start_limit_hit(core, id),
        UnitType::Mount => mount::start_limit_hit(core, id),
        UnitType::Automount => automount::start_limit_hit(core, id),
        UnitType::Swap => swap::start_limit_hit(core, id),
        _ => {}
    }
}

/// A process of it ended.
pub(super) fn exited(core: &mut Core, id: UnitId, pid: Pid, exit: Exit) {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::exited(core, id, pid, exit),
        UnitType::Service => service::exited(core, id, pid, exit),
        UnitType::Mount => mount::exited(core, id, pid, exit),
        UnitType::Swap => swap::exited(core, id, pid, exit),
        _ => core.unwatch(pid),
    }
}

/// The last process of its control group is gone.
pub(super) fn group_empty(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Service => service::group_empty(core, id),
        UnitType::Scope => scope::group_empty(core, id),
        _ if core.unit(id).active().is_inactive_or_failed() => core.drop_group(id),
        _ => {}
    }
}

/// The kernel killed one of its processes for want of memory.
pub(super) fn out_of_memory(core: &mut Core, id: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Service => service::out_of_memory(core, id),
        UnitType::Scope => scope::out_of_memory(core, id),
        _ => {}
    }
}

/// Something it waited for is due.
pub(super) fn deadline(core: &mut Core, id: UnitId, which: Deadline) {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::deadline(core, id, which),
        UnitType::Timer => timer::deadline(core, id, which),
        UnitType::Path => path::deadline(core, id, which),
        UnitType::Service => service::deadline(core, id, which),
        UnitType::Mount => mount::deadline(core, id, which),
        UnitType::Automount => automount::deadline(core, id, which),
        UnitType::Swap => swap::deadline(core, id, which),
        UnitType::Scope => scope::deadline(core, id, which),
        UnitType::Target | UnitType::Device | UnitType::Slice => {}
    }
}

/// The state, or the job, of a unit that it triggers changed.
pub(super) fn triggered_changed(core: &mut Core, id: UnitId, other: UnitId) {
    match core.unit(id).unit_type() {
        UnitType::Socket => socket::triggered_changed(core, id, other),
        UnitType::Timer => timer::triggered_changed(core, id, other),
        UnitType::Path => path::triggered_changed(core, id, other),
        UnitType::Automount => automount::triggered_changed(core, id, other),
        _ => {}
    }
}

/// Its main process, and the command that runs beside it or is all that runs.
pub(super) fn processes(unit: &Unit) -> (Option<Pid>, Option<Pid>) {
    match unit.unit_type() {
        UnitType::Service => (unit.runtime.kind.service().main, unit.runtime.kind.service().control),
        UnitType::Socket => (None, socket::control_process(unit)),
        UnitType::Mount => (None, mount::control_process(unit)),
        UnitType::Swap => (None, swap::control_process(unit)),
        _ => (None, None),
    }
}

// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit is told to be: every setting of its files as a typed field.
//!
//! ```text
//!   Assignment (section, key, value, place)
//!        │  the table of the section: key → what to do with the value
//!        ▼
//!   UnitConfig ── unit:    [Unit]       what it needs, when it may start, what a failure does
//!              ├─ install: [Install]    where `enable` puts links
//!              ├─ cluster: [X-SSI]      where in the cluster it runs
//!              └─ kind:    [Service] …  what its type adds
//!                            └ exec, sandbox, kill, cgroup: shared by the types that have processes
//! ```
//!
//! Reading never fails as a whole. A key nobody knows and a value that cannot be read each leave a [`Warning`] and the
//! setting as it was; for the few values where going on would run something else than was asked, the unit is marked
//! as one with a bad setting ([`Reading::bad_setting`](crate::settings::Reading)), as systemd does.
//!
//! One file a section: [`mod@unit`], [`service`], [`socket`], [`mount`] (with automount and swap), [`timer`], [`path`],
//! [`scope`] (with slice); what they share is in [`exec`], [`sandbox`], [`kill`] and [`cgroup`]. [`manager`] holds the
//! defaults of system.conf(5). The reference for each setting is the man page named at its section.

pub mod cgroup;
pub mod exec;
pub mod kill;
pub mod manager;
pub mod mount;
pub mod path;
pub mod protection;
pub mod sandbox;
pub mod scope;
pub mod service;
pub mod socket;
pub mod timer;
pub mod unit;

mod words;

pub use cgroup::CgroupConfig;
pub use exec::ExecConfig;
pub use kill::KillConfig;
pub use manager::ManagerDefaults;
pub use mount::{AutomountConfig, MountConfig, SwapConfig};
pub use path::PathConfig;
pub use protection::Protection;
pub use sandbox::Sandbox;
pub use scope::{ScopeConfig, SliceConfig};
pub use service::ServiceConfig;
pub use socket::SocketConfig;
pub use timer::TimerConfig;
pub use unit::{ClusterSection, InstallSection, UnitSection};

use crate::file::Place;
use crate::name::UnitType;

/// What is wrong with a unit's files, or worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where; `None` for what is true of the unit as a whole.
    pub at: Option<Place>,
    /// What kind of trouble.
    pub kind: WarningKind,
    /// A sentence for the administrator.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Kinds of trouble with a unit's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningKind {
    /// A section nobody knows; it is skipped.
    UnknownSection,
    /// A key its section does not have; it is skipped.
    UnknownKey,
    /// A value that cannot be read; the setting stays as it was.
    BadValue,
    /// A line that is no assignment; it is skipped.
    Syntax,
    /// A setting that is out of date or has no effect; taken as far as it can be.
    Obsolete,
    /// Taken as it stands, but likely a mistake.
    Note,
    /// The unit cannot be used with this.
    Fatal,
}

/// All settings of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitConfig {
    /// `[Unit]`.
    pub unit: UnitSection,
    /// `[Install]`.
    pub install: InstallSection,
    /// `[X-SSI]`.
    pub cluster: ClusterSection,
    /// The section of the unit's type.
    pub kind: KindConfig,
}

/// The settings of a unit's own type.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one a unit, and most units are of the large kinds")]
pub enum KindConfig {
    /// A service.
    Service(ServiceConfig),
    /// A mount point.
    Mount(MountConfig),
    /// Swap space.
    Swap(SwapConfig),
    /// Sockets.
    Socket(SocketConfig),
    /// A target has no settings of its own.
    Target,
    /// A device has no settings of its own.
    Device,
    /// A mount made on first use.
    Automount(AutomountConfig),
    /// A timer.
    Timer(TimerConfig),
    /// Watched paths.
    Path(PathConfig),
    /// A slice.
    Slice(SliceConfig),
    /// A scope.
    Scope(ScopeConfig),
}

impl UnitConfig {
    /// What a unit of this type is when no file speaks of it.
    pub fn new(kind: UnitType, defaults: &ManagerDefaults) -> UnitConfig {
        let mut unit = UnitSection::new(defaults);
        // Types that are not stopped by `systemctl isolate` unless told.
        unit.ignore_on_isolate = matches!(
            kind,
            UnitType::Mount
                | UnitType::Automount
                | UnitType::Swap
                | UnitType::Slice
                | UnitType::Scope
                | UnitType::Device
        );
        let kind = match kind {
            UnitType::Service => KindConfig::Service(ServiceConfig::new(defaults)),
            UnitType::Mount => KindConfig::Mount(MountConfig::new(defaults)),
            UnitType::Swap => KindConfig::Swap(SwapConfig::new(defaults)),
            UnitType::Socket => KindConfig::Socket(SocketConfig::new(defaults)),
            UnitType::Target => KindConfig::Target,
            UnitType::Device => KindConfig::Device,
            UnitType::Automount => KindConfig::Automount(AutomountConfig::default()),
            UnitType::Timer => KindConfig::Timer(TimerConfig::new(defaults)),
            UnitType::Path => KindConfig::Path(PathConfig::default()),
            UnitType::Slice => KindConfig::Slice(SliceConfig::new(defaults)),
            UnitType::Scope => KindConfig::Scope(ScopeConfig::new(defaults)),
        };
        UnitConfig { unit, install: InstallSection::default(), cluster: ClusterSection::default(), kind }
    }

    /// Its `[Service]` section, if it is a unit of that type.
    pub fn service(&self) -> Option<&ServiceConfig> {
        match &self.kind {
            KindConfig::Service(service) => Some(service),
            _ => None,
        }
    }

    /// Its `[Socket]` section, if it is a unit of that type.
    pub fn socket(&self) -> Option<&SocketConfig> {
        match &self.kind {
            KindConfig::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Its `[Mount]` section, if it is a unit of that type.
    pub fn mount(&self) -> Option<&MountConfig> {
        match &self.kind {
            KindConfig::Mount(mount) => Some(mount),
            _ => None,
        }
    }

    /// Its `[Automount]` section, if it is a unit of that type.
    pub fn automount(&self) -> Option<&AutomountConfig> {
        match &self.kind {
            KindConfig::Automount(automount) => Some(automount),
            _ => None,
        }
    }

    /// Its `[Swap]` section, if it is a unit of that type.
    pub fn swap(&self) -> Option<&SwapConfig> {
        match &self.kind {
            KindConfig::Swap(swap) => Some(swap),
            _ => None,
        }
    }

    /// Its `[Timer]` section, if it is a unit of that type.
    pub fn timer(&self) -> Option<&TimerConfig> {
        match &self.kind {
            KindConfig::Timer(timer) => Some(timer),
            _ => None,
        }
    }

    /// Its `[Path]` section, if it is a unit of that type.
    pub fn path(&self) -> Option<&PathConfig> {
        match &self.kind {
            KindConfig::Path(path) => Some(path),
            _ => None,
        }
    }

    /// Its `[Scope]` section, if it is a unit of that type.
    pub fn scope(&self) -> Option<&ScopeConfig> {
        match &self.kind {
            KindConfig::Scope(scope) => Some(scope),
            _ => None,
        }
    }

    /// How its processes are run, where its type has any.
    pub fn exec(&self) -> Option<&ExecConfig> {
        match &self.kind {
            KindConfig::Service(service) => Some(&service.exec),
            KindConfig::Socket(socket) => Some(&socket.exec),
            KindConfig::Mount(mount) => Some(&mount.exec),
            KindConfig::Swap(swap) => Some(&swap.exec),
            _ => None,
        }
    }

    /// How its processes are ended, where its type has any.
    pub fn kill(&self) -> Option<&KillConfig> {
        match &self.kind {
            KindConfig::Service(service) => Some(&service.kill),
            KindConfig::Socket(socket) => Some(&socket.kill),
            KindConfig::Mount(mount) => Some(&mount.kill),
            KindConfig::Swap(swap) => Some(&swap.kill),
            KindConfig::Scope(scope) => Some(&scope.kill),
            _ => None,
        }
    }

    /// Its control group, where its type has one.
    pub fn cgroup(&self) -> Option<&CgroupConfig> {
        match &self.kind {
            KindConfig::Service(service) => Some(&service.cgroup),
            KindConfig::Socket(socket) => Some(&socket.cgroup),
            KindConfig::Mount(mount) => Some(&mount.cgroup),
            KindConfig::Swap(swap) => Some(&swap.cgroup),
            KindConfig::Slice(slice) => Some(&slice.cgroup),
            KindConfig::Scope(scope) => Some(&scope.cgroup),
            _ => None,
        }
    }
}

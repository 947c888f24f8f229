// SPDX-License-Identifier: GPL-2.0-or-later
//! All the edges a unit brings along: those its files ask for, and those its type and settings imply.
//!
//! ```text
//!   name + UnitConfig + Surroundings ──relations()──▶ Relations { edges, mounts_for, default_dependencies }
//!                                                        │
//!   the manager adds each edge with its inverse, and for each of mounts_for looks at mounts_above(path)
//!   when all are loaded:  orders_default_target()  for each target and what it pulls in
//! ```
//!
//! What is implied is written down in the sections "Implicit Dependencies" and "Default Dependencies" of
//! systemd.unit(5), systemd.service(5), systemd.socket(5), systemd.exec(5) and so on; the order and the origins are
//! those of systemd 252. 230 of Debian's packaged units switch the default dependencies off and order by hand around
//! them, so each of these edges matters, and each that is not here matters as well.
//!
//! Edges from `.wants/` and `.requires/` folders are in what the loader gives, not here.

mod mount;

use serde::{Deserialize, Serialize};

use crate::config::cgroup::ManagedOom;
use crate::config::exec::DirectoryKind;
use crate::config::service::ServiceType;
use crate::config::socket::{Listen, SocketStyle};
use crate::config::timer::TimerTrigger;
use crate::config::{ExecConfig, KindConfig, ServiceConfig, SocketConfig, UnitConfig};
use crate::dependency::{Dependency, Origins};
use crate::name::{self, UnitName, UnitType};
use crate::specifier::Directories;

pub use mount::{MountParameters, is_extrinsic};

/// What of the machine decides about edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Device units exist: not in a container, and `/sys` is writable.
    pub devices: bool,
    /// The system is a container.
    pub container: bool,
    /// The system is an initial RAM disk.
    pub initrd: bool,
    /// The memory controller is there on cgroup version 2, so that systemd-oomd could do its work.
    pub memory_controller: bool,
    /// Where services keep things.
    pub directories: Directories,
}

impl Default for Surroundings {
    /// A booted machine.
    fn default() -> Surroundings {
        Surroundings {
            devices: true,
            container: false,
            initrd: false,
            memory_controller: true,
            directories: Directories::default(),
        }
    }
}

/// One edge from the unit to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// What the other is to the unit.
    pub kind: Dependency,
    /// The other.
    pub to: UnitName,
    /// Who asks for it.
    pub origins: Origins,
}

/// A path whose mounts the unit needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountsFor {
    /// Absolute and tidy.
    pub path: String,
    /// `Requires` or `Wants`: what a mount with a file becomes, besides being ordered before the unit.
    pub kind: Dependency,
    /// Who asks for it.
    pub origins: Origins,
}

/// All that [`relations`] finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relations {
    /// The edges, in the order systemd adds them; none to the unit itself.
    pub edges: Vec<Edge>,
    /// Paths whose mounts are needed; each once.
    pub mounts_for: Vec<MountsFor>,
    /// Whether `DefaultDependencies=` holds: false also for the few units that have none whatever their file says.
    pub default_dependencies: bool,
}

/// A unit whose edges are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a UnitName,
    /// Its settings.
    pub config: &'a UnitConfig,
    /// It has a file of its own; mounts and swaps may come from the kernel alone.
    pub has_file: bool,
    /// What the kernel's table has for a mount or swap that is in use.
    pub in_kernel: Option<&'a MountParameters>,
}

impl<'a> Subject<'a> {
    /// A unit from its file.
    #[must_use]
    pub fn from_file(name: &'a UnitName, config: &'a UnitConfig) -> Subject<'a> {
        Subject { name, config, has_file: true, in_kernel: None }
    }
}

/// The edges of a unit.
#[must_use]
pub fn relations(subject: Subject<'_>, surroundings: &Surroundings) -> Relations {
    let mut found = Finder {
        subject,
        surroundings,
        relations: Relations {
            edges: Vec::new(),
            mounts_for: Vec::new(),
            default_dependencies: subject.config.unit.default_dependencies && !is_perpetual(subject.name),
        },
    };
    found.written();
    match &subject.config.kind {
        KindConfig::Service(service) => found.service(service),
        KindConfig::Socket(socket) => found.socket(socket),
        KindConfig::Target => found.shutdown("shutdown.target"),
        KindConfig::Timer(timer) => {
            if timer.unit.is_none() {
                found.triggers_namesake(UnitType::Service);
            }
            if timer.persistent {
                found.mounts_for("/var/lib/systemd/timers", Origins::FILE);
            }
            found.default_to("timers.target");
            if found.relations.default_dependencies
                && timer.triggers.iter().any(|t| matches!(t, TimerTrigger::Calendar(_)))
            {
                found.after("time-sync.target", Origins::DEFAULT);
                found.after("time-set.target", Origins::DEFAULT);
            }
            found.shutdown("shutdown.target");
        }
        KindConfig::Path(path) => {
            if path.unit.is_none() {
                found.triggers_namesake(UnitType::Service);
            }
            for watch in &path.watches {
                found.mounts_for(&watch.path, Origins::FILE);
            }
            found.default_to("paths.target");
            found.shutdown("shutdown.target");
        }
        KindConfig::Slice(_) => {
            if subject.config.cgroup().is_none_or(|cgroup| cgroup.slice.is_none())
                && let Some(parent) = subject.name.parent_slice()
            {
                found.add(Dependency::InSlice, parent, Origins::IMPLICIT);
            }
            found.shutdown("shutdown.target");
        }
        KindConfig::Scope(_) => {
            found.default_slice();
            found.shutdown("shutdown.target");
        }
        KindConfig::Mount(config) => found.mount(config),
        KindConfig::Automount(config) => found.automount(config),
        KindConfig::Swap(config) => found.swap(config),
        KindConfig::Device => {}
    }
    found.below_slice();
    found.oomd();
    found.relations
}

/// Whether a unit is always there and cannot be stopped: the root of the slices, its two children that hold the
/// system, and the root of the file systems.
#[must_use]
pub fn is_perpetual(name: &UnitName) -> bool {
    matches!(name.as_str(), "-.slice" | "system.slice" | "init.scope" | "-.mount")
}

/// The mount units that lie above a path, the root first; the path's own is among them.
///
/// A unit that needs the path's mounts is ordered after each of these that is loaded, and requires (or wants) those
/// that have a file.
#[must_use]
pub fn mounts_above(path: &str) -> Vec<UnitName> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    let prefixes = std::iter::once("/").chain(ends.filter_map(|end| path.get(..end)).filter(|prefix| prefix.len() > 1));
    prefixes.filter_map(|prefix| UnitName::from_path(prefix, UnitType::Mount).ok()).collect()
}

/// Whether a target is ordered after a unit that it pulls in, for no other reason than that it does.
///
/// Both have to be loaded and to have default dependencies, and nobody may have asked for the opposite order
/// (`before_already`: the target is `Before` the unit).
#[must_use]
pub fn orders_default_target(target_has_defaults: bool, unit_has_defaults: bool, before_already: bool) -> bool {
    target_has_defaults && unit_has_defaults && !before_already
}

struct Finder<'a> {
    subject: Subject<'a>,
    surroundings: &'a Surroundings,
    relations: Relations,
}

impl Finder<'_> {
    fn add(&mut self, kind: Dependency, to: UnitName, origins: Origins) {
        if to == *self.subject.name {
            return;
        }
        match self.relations.edges.iter_mut().find(|edge| edge.kind == kind && edge.to == to) {
            Some(edge) => edge.origins |= origins,
            None => self.relations.edges.push(Edge { kind, to, origins }),
        }
    }

    /// Adds an edge to a unit whose name is fixed.
    fn add_special(&mut self, kinds: &[Dependency], to: &str, origins: Origins) {
        if let Ok(to) = UnitName::new(to) {
            for kind in kinds {
                self.add(*kind, to.clone(), origins);
            }
        }
    }

    fn after(&mut self, to: &str, origins: Origins) {
        self.add_special(&[Dependency::After], to, origins);
    }

    fn mounts_for(&mut self, path: &str, origins: Origins) {
        self.need_mounts(path, Dependency::Requires, origins);
    }

    fn need_mounts(&mut self, path: &str, kind: Dependency, origins: Origins) {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if !path.starts_with('/') || parts.contains(&"..") {
            return;
        }
        let path = format!("/{}", parts.join("/"));
        if self.relations.mounts_for.iter().all(|known| known.path != path || known.kind != kind) {
            self.relations.mounts_for.push(MountsFor { path, kind, origins });
        }
    }

    /// What stands in the file.
    fn written(&mut self) {
        let config = self.subject.config;
        for (kind, to) in &config.unit.dependencies {
            self.add(*kind, to.clone(), Origins::FILE);
        }
        for path in &config.unit.requires_mounts_for {
            self.mounts_for(path, Origins::FILE);
        }
        for path in &config.unit.wants_mounts_for {
            self.need_mounts(path, Dependency::Wants, Origins::FILE);
        }
        let triggered = match &config.kind {
            KindConfig::Timer(timer) => timer.unit.as_ref(),
            KindConfig::Path(path) => path.unit.as_ref(),
            _ => None,
        };
        if let Some(unit) = triggered {
            self.add(Dependency::Before, unit.clone(), Origins::FILE);
            self.add(Dependency::Triggers, unit.clone(), Origins::FILE);
        }
        if let KindConfig::Service(service) = &config.kind {
            for socket in &service.sockets {
                for kind in [Dependency::Wants, Dependency::After, Dependency::TriggeredBy] {
                    self.add(kind, socket.clone(), Origins::FILE);
                }
            }
        }
        if let Some(slice) = config.cgroup().and_then(|cgroup| cgroup.slice.clone()) {
            self.add(Dependency::InSlice, slice, Origins::SLICE_PROPERTY);
        }
    }

    fn triggers_namesake(&mut self, kind: UnitType) {
        if let Ok(unit) = self.subject.name.with_type(kind) {
            self.add(Dependency::Before, unit.clone(), Origins::IMPLICIT);
            self.add(Dependency::Triggers, unit, Origins::IMPLICIT);
        }
    }

    /// The rule of sockets, timers and paths: part of their target, and up only when the basics are.
    fn default_to(&mut self, target: &str) {
        if self.relations.default_dependencies {
            self.add_special(&[Dependency::Before], target, Origins::DEFAULT);
            self.add_special(&[Dependency::After, Dependency::Requires], "sysinit.target", Origins::DEFAULT);
        }
    }

    /// Down at shutdown.
    fn shutdown(&mut self, target: &str) {
        if self.relations.default_dependencies {
            self.add_special(&[Dependency::Before, Dependency::Conflicts], target, Origins::DEFAULT);
        }
    }

    fn service(&mut self, service: &ServiceConfig) {
        self.exec(&service.exec);
        self.default_slice();
        if self.relations.default_dependencies {
            self.add_special(&[Dependency::After, Dependency::Requires], "sysinit.target", Origins::DEFAULT);
            self.after("basic.target", Origins::DEFAULT);
        }
        self.shutdown("shutdown.target");
        if service.service_type == ServiceType::Dbus && service.bus_name.is_some() {
            self.add_special(&[Dependency::Requires, Dependency::After], "dbus.socket", Origins::FILE);
        }
    }

    fn socket(&mut self, socket: &SocketConfig) {
        let accepting =
            |listen: &Listen| matches!(listen, Listen::Socket(SocketStyle::Stream | SocketStyle::SequentialPacket, _));
        if !socket.accept || !socket.listen.iter().all(accepting) {
            match &socket.service {
                Some(service) => {
                    self.add(Dependency::Before, service.clone(), Origins::IMPLICIT);
                    self.add(Dependency::Triggers, service.clone(), Origins::IMPLICIT);
                }
                None => self.triggers_namesake(UnitType::Service),
            }
        }
        for path in socket.listen.iter().filter_map(Listen::path) {
            self.mounts_for(path, Origins::FILE);
        }
        if let Some(interface) = socket.bind_to_device.as_deref().filter(|name| *name != "lo") {
            let device = format!("/sys/subsystem/net/devices/{interface}");
            self.device(&device, Dependency::BindsTo, Origins::FILE);
        }
        let commands = [&socket.exec_start_pre, &socket.exec_start_post, &socket.exec_stop_pre, &socket.exec_stop_post];
        if commands.iter().any(|list| !list.is_empty()) {
            self.exec(&socket.exec);
        }
        self.default_slice();
        self.default_to("sockets.target");
        self.shutdown("shutdown.target");
    }

    /// What a process needs to be run as it is told: systemd.exec(5).
    fn exec(&mut self, exec: &ExecConfig) {
        if let Some(directory) = &exec.working_directory
            && let (Some(path), false) = (&directory.path, directory.missing_ok)
        {
            self.mounts_for(path, Origins::FILE);
        }
        for path in [&exec.sandbox.root_directory, &exec.sandbox.root_image].into_iter().flatten() {
            self.mounts_for(path, Origins::FILE);
        }
        let roots = &self.surroundings.directories;
        let mut written_to = false;
        for (kind, directories) in &exec.directories {
            let root = match kind {
                DirectoryKind::Runtime => &roots.runtime,
                DirectoryKind::State => &roots.state,
                DirectoryKind::Cache => &roots.cache,
                DirectoryKind::Logs => &roots.logs,
                DirectoryKind::Configuration => &roots.configuration,
            };
            let kept = matches!(kind, DirectoryKind::State | DirectoryKind::Cache | DirectoryKind::Logs);
            written_to |= kept && !directories.directories.is_empty();
            for directory in &directories.directories {
                self.mounts_for(&format!("{root}/{}", directory.path), Origins::FILE);
            }
        }
        if written_to {
            // /var may lie on the root, which is not writable before.
            self.after("systemd-remount-fs.service", Origins::FILE);
        }
        if exec.sandbox.private_tmp {
            // Wanted and not required, because many mask tmp.mount.
            self.add_special(&[Dependency::After, Dependency::Wants], "tmp.mount", Origins::FILE);
            self.mounts_for("/var/tmp", Origins::FILE);
            self.after("systemd-tmpfiles-setup.service", Origins::FILE);
        }
        if exec.sandbox.root_image.is_some() {
            // The loop device has to appear.
            self.after("systemd-udevd.service", Origins::FILE);
        }
        match &exec.log_namespace {
            Some(namespace) => {
                for prefix in ["systemd-journald", "systemd-journald-varlink"] {
                    let socket = format!("{prefix}@{namespace}.socket");
                    self.add_special(&[Dependency::After, Dependency::Requires], &socket, Origins::FILE);
                }
            }
            // The root is mounted long before anything can log.
            None if exec.is_logged() && self.subject.name.as_str() != "-.mount" => {
                self.after("systemd-journald.socket", Origins::FILE)
            }
            None => {}
        }
    }

    /// The slice of a unit that names none.
    fn default_slice(&mut self) {
        let name = self.subject.name;
        if self.relations.edges.iter().any(|edge| edge.kind == Dependency::InSlice) {
            return;
        }
        let slice = if name.is_instance() {
            // All instances of a template share one; a dash in the prefix must not make it a deeper one.
            format!("system-{}.slice", name::escape(name.prefix().as_bytes()))
        } else if is_perpetual(name) || self.is_extrinsic_mount() {
            "-.slice".to_owned()
        } else {
            "system.slice".to_owned()
        };
        self.add_special(&[Dependency::InSlice], &slice, Origins::SLICE_PROPERTY);
    }

    /// Every unit with a control group is up only while its slice is.
    fn below_slice(&mut self) {
        if self.subject.config.cgroup().is_none() || self.subject.name.as_str() == "-.slice" {
            return;
        }
        let own = self.subject.name.unit_type() == UnitType::Slice;
        let origins = if own { Origins::IMPLICIT } else { Origins::FILE };
        let slice =
            self.relations.edges.iter().find(|edge| edge.kind == Dependency::InSlice).map(|edge| edge.to.clone());
        let slice = slice.map_or_else(|| "-.slice".to_owned(), |slice| slice.as_str().to_owned());
        self.add_special(&[Dependency::After, Dependency::Requires], &slice, origins);
    }

    fn oomd(&mut self) {
        let Some(cgroup) = self.subject.config.cgroup() else { return };
        let watched = [cgroup.managed_oom_swap, cgroup.managed_oom_memory_pressure].contains(&ManagedOom::Kill);
        if watched && self.relations.default_dependencies && self.surroundings.memory_controller {
            self.add_special(&[Dependency::After, Dependency::Wants], "systemd-oomd.service", Origins::FILE);
        }
    }

    /// An edge to the device unit of a path in `/dev` or `/sys`, and the order after it.
    fn device(&mut self, path: &str, kind: Dependency, origins: Origins) {
        if !self.surroundings.devices || !is_device_path(path) {
            return;
        }
        if let Ok(device) = UnitName::from_path(path, UnitType::Device) {
            self.add(Dependency::After, device.clone(), origins);
            self.add(kind, device, origins);
        }
    }

    /// The order after what prepares a block device (`blockdev@….target`, which crypt set-ups hook into).
    fn block_device(&mut self, path: &str, origins: Origins) {
        if self.surroundings.devices
            && path.starts_with("/dev/")
            && let Ok(escaped) = name::escape_path(path)
        {
            self.after(&format!("blockdev@{escaped}.target"), origins);
        }
    }
}

fn is_device_path(path: &str) -> bool {
    ["/dev/", "/sys/"]
        .into_iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| !rest.trim_matches('/').is_empty()))
}

#[cfg(test)]
mod tests;

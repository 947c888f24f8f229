// SPDX-License-Identifier: GPL-2.0-or-later
//! From a program that was just started to a core with units: the system's settings, the places it has in `/run`, then
//! either a boot, or going on where an earlier manager stopped.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::process::{Resource as KernelResource, Rlimit, getrlimit, setrlimit};
use ssi_init_manager::record::{RecordedFiles, Tape, recorder};
use ssi_manager::core::system::{Priority, System};
use ssi_manager::core::{Core, FileLoads, Loads};
use ssi_unit::condition::{ThisMachine, Virtualization, virtualization};
use ssi_unit::config::exec::{Resource, ResourceLimit};
use ssi_unit::files::{Files, RootFiles};
use ssi_unit::implicit::Surroundings;
use ssi_unit::load::{Loader, SearchPath};
use ssi_unit::settings::manager::SystemConf;
use ssi_unit::specifier::Host;

use crate::boot::command_line::CommandLine;
use crate::boot::environment;

/// What descriptors a program may have open unless told: the soft limit that select(2) bears, and a hard one that lets
/// those who know better raise it (systemd-system.conf(5), `DefaultLimitNOFILE=`).
const FILES: ResourceLimit = ResourceLimit { soft: 1024, hard: 524_288 };
/// How many bytes a program may lock in memory unless told, the same page: 8 MiB.
const LOCKED: ResourceLimit = ResourceLimit { soft: 8 << 20, hard: 8 << 20 };

/// The system as its files and its kernel describe it.
pub(crate) struct Settings {
    pub(crate) conf: SystemConf,
    pub(crate) host: Host,
    pub(crate) command_line: CommandLine,
    pub(crate) surroundings: Surroundings,
    /// What the whole runs in, in systemd-detect-virt(1)'s words.
    pub(crate) virtualization: &'static str,
    pub(crate) log_least: Priority,
}

impl Settings {
    /// Reads all of them. `devices`: udev tells of devices; `memory`: the memory controller is there.
    pub(crate) fn read(container: bool, devices: bool, memory: bool) -> Self {
        let mut conf = SystemConf::load(&RootFiles::system());
        conf.defaults.limits.entry(Resource::Nofile).or_insert(FILES);
        conf.defaults.limits.entry(Resource::Memlock).or_insert(LOCKED);
        let host = Host::read(Path::new("/"));
        let found = virtualization(&ThisMachine::new(host.clone()));
        let (virtualization, contained) = match found {
            Virtualization::None => ("", false),
            Virtualization::Vm(kind) => (kind, false),
            Virtualization::Container(kind) => (kind, true),
        };
        let container = container || contained;
        let text = if container {
            // What a container's manager was asked is what its process 1 was started with.
            let arguments = fs::read("/proc/1/cmdline").unwrap_or_default();
            let words: Vec<_> = arguments.split(|byte| *byte == 0).skip(1).map(String::from_utf8_lossy).collect();
            words.join(" ")
        } else {
            fs::read("/proc/cmdline").map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
        };
        let command_line = CommandLine::read(&text);
        let initrd = Path::new("/etc/initrd-release").exists();
        let directories = host.directories.clone();
        let surroundings = Surroundings { devices, container, initrd, memory_controller: memory, directories };
        let log_least = if command_line.debug || conf.other("LogLevel") == Some("debug") {
            Priority::Debug
        } else {
            Priority::Info
        };
        Self { conf, host, command_line, surroundings, virtualization, log_least }
    }

    /// What every process finds in its environment at boot.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        // Where /bin is its own folder, programs are in it that are nowhere else.
        let split = fs::symlink_metadata("/bin").is_ok_and(|facts| facts.is_dir());
        let locale = fs::read("/etc/locale.conf").or_else(|_| fs::read("/etc/default/locale")).ok();
        environment::first(split, locale.as_deref(), &self.conf.defaults.environment, &self.command_line.environment)
    }

    /// A core without units that reads the system's unit files.
    ///
    /// With a tape, all that goes in and comes out is recorded there.
    pub(crate) fn core(&self, sys: Box<dyn System>, tape: Option<&Tape>) -> Core {
        let (sys, loads) = match tape {
            Some(tape) => {
                let files = RecordedFiles::new(RootFiles::system(), tape.clone());
                // Read for the recording's sake: it has to hold what the defaults came from.
                SystemConf::load(&files);
                (recorder(sys, tape.clone()), self.loads(files))
            }
            None => (sys, self.loads(RootFiles::system())),
        };
        Core::new(sys, loads, self.surroundings.clone())
    }

    fn loads(&self, files: impl Files + 'static) -> Box<dyn Loads> {
        let loader = Loader::new(files, SearchPath::system(), self.host.clone(), self.conf.defaults.clone());
        Box::new(FileLoads(loader))
    }

    /// What to boot into: the command line's word for it, else the default.
    pub(crate) fn goal(&self) -> String {
        self.command_line.unit.clone().unwrap_or_else(|| "default.target".to_owned())
    }
}

/// As many descriptors as the kernel allows: each listening socket, each connection, each stored descriptor is one. The
/// limits that units get are their own ([`FILES`]).
pub(crate) fn raise_limits() {
    let now = getrlimit(KernelResource::Nofile);
    let most = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let most: Option<u64> = most.or(now.maximum);
    if setrlimit(KernelResource::Nofile, Rlimit { current: most, maximum: most }).is_err() {
        // Not root in the machine's own namespace: as far as it goes.
        let _ = setrlimit(KernelResource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
}

/// Makes the places in `/run` by which libsystemd and the distribution's programs know what runs the machine
/// (sd_booted(3)), and tell what it is.
///
/// # Errors
/// What could not be made.
pub(crate) fn make_places(settings: &Settings) -> std::io::Result<()> {
    for (place, mode) in [
        ("/run/systemd/system", 0o755),
        ("/run/systemd/units", 0o755),
        ("/run/systemd/ask-password", 0o755),
        ("/run/systemd/inaccessible", 0o755),
        ("/run/systemd/inaccessible/dir", 0o000),
        ("/run/ssi", 0o755),
    ] {
        fs::DirBuilder::new().recursive(true).mode(mode).create(place)?;
    }
    let container = Path::new("/run/systemd/container");
    if settings.surroundings.container && !container.exists() {
        let word = if settings.virtualization.is_empty() { "container-other" } else { settings.virtualization };
        fs::write(container, format!("{word}\n"))?;
    }
    Ok(())
}

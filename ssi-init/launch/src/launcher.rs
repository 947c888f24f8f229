// SPDX-License-Identifier: GPL-2.0-or-later
//! [`Launcher`]: makes what a start needs, makes the plan, makes the process.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use ssi_exec::plan::{Command, ExecPlan, Messages, NamedFd, NamespaceShare, Privileges};
use ssi_exec::spawn::{ChildOf, Launch, SpawnError, Spawner};
use ssi_unit::config::cgroup::CpuSet;
use ssi_unit::config::{ExecConfig, UnitConfig};
use ssi_unit::name::UnitName;

use crate::environment;
use crate::plan::{self, Found, Slots};
use crate::request::{LaunchError, Launched, Reports, Request};
use crate::runtime::{self, DynamicUsers, Share, Shares};

/// Starts the processes of units.
#[derive(Debug)]
pub struct Launcher {
    spawner: Spawner,
    cgroup_root: PathBuf,
    root: PathBuf,
    parent: ChildOf,
    report_always: bool,
    gated: bool,
    messages: Messages,
    own_environment: BTreeMap<String, String>,
    boot_id: String,
    shares: Shares,
    users: DynamicUsers,
}

impl Launcher {
    /// With the executor `ssi-exec` at `executor`, and the control-group tree (version 2) that is mounted, or begins,
    /// at `cgroup_root`: every group of a request is below it.
    ///
    /// Processes become children of the caller's parent (process 1, which reaps them whether or not the caller lives),
    /// unless the caller is process 1 itself.
    ///
    /// # Errors
    /// When the executor cannot be opened.
    pub fn new(executor: &Path, cgroup_root: &Path) -> Result<Launcher, SpawnError> {
        Ok(Launcher::with(Spawner::new(executor)?, cgroup_root))
    }

    /// As [`Launcher::new`], with an executor that is open already.
    ///
    /// # Errors
    /// When there is no memory for the stack of new processes.
    pub fn from_fd(executor: OwnedFd, cgroup_root: &Path) -> Result<Launcher, SpawnError> {
        Ok(Launcher::with(Spawner::from_fd(executor)?, cgroup_root))
    }

    fn with(spawner: Spawner, cgroup_root: &Path) -> Launcher {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // The kernel lets process 1 of a namespace make no siblings.
        let parent = if rustix::process::getpid().is_init() { ChildOf::Caller } else { ChildOf::CallersParent };
        Launcher {
            spawner,
            cgroup_root: cgroup_root.to_owned(),
            root: PathBuf::from("/"),
            parent,
            report_always: true,
            gated: false,
            messages: Messages::Journal,
            own_environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            boot_id: boot_id.trim().replace('-', ""),
            shares: Shares::default(),
            users: DynamicUsers::below(Path::new("/")),
        }
    }

    /// Whose children the processes become.
    #[must_use]
    pub fn children_of(mut self, parent: ChildOf) -> Launcher {
        self.parent = parent;
        self
    }

    /// Makes directories of units below `root` instead of `/`: runtime, state, cache, logs, configuration and
    /// temporary directories, the register of dynamic users, and what journald is told. For tests and for trees of
    /// another system. Credentials stay where the executor puts them.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Launcher {
        self.root = root.to_owned();
        self.users = DynamicUsers::below(root);
        self
    }

    /// Where the executor's own messages go; the journal unless told.
    #[must_use]
    pub fn messages(mut self, messages: Messages) -> Launcher {
        self.messages = messages;
        self
    }

    /// Whether [`Launched::report`] is there for every start, so that warnings are heard; it is unless told.
    #[must_use]
    pub fn report_always(mut self, always: bool) -> Launcher {
        self.report_always = always;
        self
    }

    /// Whether programs wait for [`Reports::release`] before they begin; they do not unless told.
    #[must_use]
    pub fn gated(mut self, gated: bool) -> Launcher {
        self.gated = gated;
        self
    }

    /// The variables that `PassEnvironment=` picks from; those of this process unless told.
    #[must_use]
    pub fn own_environment(mut self, variables: BTreeMap<String, String>) -> Launcher {
        self.own_environment = variables;
        self
    }

    /// The descriptors that a new manager needs to go on with namespaces its predecessor's units share, with names to
    /// keep them under.
    pub fn kept(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.shares.all()
    }

    /// Takes back a descriptor that [`Launcher::kept`] gave.
    ///
    /// # Errors
    /// The descriptor itself, when the name is not one that `kept` gives.
    pub fn adopt(&mut self, name: &str, fd: OwnedFd) -> Result<(), OwnedFd> {
        self.shares.adopt(name, fd)
    }

    /// Starts a process. It is in its control group from birth.
    ///
    /// # Errors
    /// When there is no process. What goes wrong between the process and its program is told by its report and by its
    /// exit status, as systemd.exec(5) lists them.
    pub fn launch(&mut self, request: &Request<'_>) -> Result<Launched, LaunchError> {
        let unit = request.unit.as_str();
        let exec = request.config.exec().ok_or_else(|| LaunchError::NoProcesses { unit: unit.to_owned() })?;
        let mut warnings = Vec::new();
        let mut warn = |text: String| warnings.push(text);

        let cgroup = self.cgroup_root.join(request.cgroup.trim_start_matches('/'));
        let group = open_group(unit, &cgroup, request.subgroup)?;
        let sandboxed = plan::privileges(request) != Privileges::Full;
        let holder = request.namespaces_of.map_or(unit, UnitName::as_str);
        self.make_shares(exec, unit, holder, sandboxed)?;
        let found = self.find(request, exec, holder, sandboxed, cgroup, &mut warn)?;
        if let Err(error) = runtime::tell(&self.root, unit, request.invocation, exec) {
            warn(format!("the journal is not told of this run: {error}"));
        }

        // The plan names descriptors by their slots, which the launch gives out: first they, then the plan.
        let mut launch = Launch::new(ExecPlan::new(unit, Command::default()));
        launch.cgroup = Some(std::os::fd::AsFd::as_fd(&group));
        launch.parent = self.parent;
        launch.gated = self.gated;
        launch.reports = launch.gated || request.wait_for_exec || self.report_always;
        let slots = pass(&mut launch, request, &self.shares, holder);
        launch.plan = plan::plan(request, exec, found, slots, &mut warn)?;
        if !launch.reports && sandboxed {
            let shortfalls = launch.plan.shortfalls();
            warnings.extend(shortfalls.iter().map(|(what, missing)| format!("{}: {missing}", what.directive())));
        }
        let spawned =
            self.spawner.spawn(&launch).map_err(|source| LaunchError::Spawn { unit: unit.to_owned(), source })?;
        Ok(Launched {
            pid: spawned.pid.as_raw_nonzero().get().unsigned_abs(),
            pidfd: spawned.pidfd,
            report: spawned.reports.map(Reports::new),
            warnings,
        })
    }

    /// Removes what a unit had as long as it ran: runtime directories as `RuntimeDirectoryPreserve=` has it, private
    /// temporary directories, credentials, namespaces that its processes shared, its dynamic user, and what journald
    /// was told. `restart`: it is to be started again. What cannot be removed is told, and the rest is.
    pub fn remove_directories(&mut self, unit: &UnitName, config: &UnitConfig, restart: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut warn = |text: String| problems.push(text);
        let Some(exec) = config.exec() else { return problems };
        let name = unit.as_str();
        runtime::remove_runtime_directories(&self.root, exec, restart, &mut warn);
        if exec.sandbox.private_tmp {
            runtime::remove_private_tmp(&self.root, &self.boot_id, name, &mut warn);
        }
        if !exec.credentials.is_empty() {
            runtime::remove_credentials(name, &mut warn);
        }
        self.shares.drop_of(name);
        if exec.dynamic_user {
            self.users.release(name, &mut warn);
        }
        if !restart {
            runtime::forget(&self.root, name);
        }
        problems
    }

    fn make_shares(&mut self, exec: &ExecConfig, unit: &str, holder: &str, wanted: bool) -> Result<(), LaunchError> {
        let kinds = [(exec.sandbox.private_network, Share::Network), (exec.sandbox.private_ipc, Share::Ipc)];
        for (_, share) in kinds.into_iter().filter(|(on, _)| *on && wanted) {
            let made = self.shares.ensure(holder, share);
            made.map_err(|errno| LaunchError::Share { unit: unit.to_owned(), errno })?;
        }
        Ok(())
    }

    /// Looks up and makes what the plan speaks of.
    fn find(
        &self,
        request: &Request<'_>,
        exec: &ExecConfig,
        holder: &str,
        sandboxed: bool,
        cgroup: PathBuf,
        warn: &mut dyn FnMut(String),
    ) -> Result<Found, LaunchError> {
        let unit = request.unit.as_str();
        let private_tmp = if exec.sandbox.private_tmp && sandboxed {
            let made = runtime::private_tmp(&self.root, &self.boot_id, holder);
            Some(made.map_err(|source| LaunchError::PrivateTmp { unit: unit.to_owned(), source })?.protection())
        } else {
            None
        };
        let own = |name: &str| self.own_environment.get(name).cloned();
        Ok(Found {
            variables: environment::of_unit(exec, unit, &self.own_environment, warn)?,
            term: own("TERM"),
            own_credentials: own("CREDENTIALS_DIRECTORY"),
            private_tmp,
            dynamic_user: self.users.take(unit, exec)?,
            nodes: if exec.numa_policy.is_some() { node_list("online") } else { CpuSet::default() },
            node_processors: exec.numa_mask.as_ref().map_or_else(CpuSet::default, processors_of),
            cgroup,
            prefix: (self.root != Path::new("/")).then(|| self.root.display().to_string()),
            messages: self.messages,
        })
    }
}

/// Sends the descriptors of a request along.
fn pass<'fd>(launch: &mut Launch<'fd>, request: &Request<'fd>, shares: &'fd Shares, holder: &str) -> Slots {
    let mut named = |list: &[(BorrowedFd<'fd>, String)]| -> Vec<NamedFd> {
        list.iter().map(|(fd, name)| NamedFd { slot: launch.pass(*fd), name: name.clone() }).collect()
    };
    let (sockets, stored) = (named(&request.sockets), named(&request.stored));
    let mut share = |share| {
        let [take, put] = shares.get(holder, share)?;
        Some(NamespaceShare { take: launch.pass(take), put: launch.pass(put) })
    };
    let (network, ipc) = (share(Share::Network), share(Share::Ipc));
    Slots {
        sockets,
        stored,
        connection: request.connection.map(|fd| launch.pass(fd)),
        idle: request.idle.map(|fd| launch.pass(fd)),
        network,
        ipc,
    }
}

/// The directory of the group that the process is born in.
fn open_group(unit: &str, group: &Path, below: Option<&str>) -> Result<OwnedFd, LaunchError> {
    let fail = |attempt, path: &Path| {
        let (unit, path) = (unit.to_owned(), path.to_owned());
        move |errno| LaunchError::Cgroup { unit, attempt, path, errno }
    };
    let path = match below {
        None => group.to_owned(),
        Some(name) => {
            let path = group.join(name);
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(fail("make", &path)(errno)),
            }
            path
        }
    };
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(fail("open", &path))
}

/// A list of memory nodes that the kernel gives, `0-1,3`; empty where it has none.
fn node_list(name: &str) -> CpuSet {
    let text = std::fs::read_to_string(format!("/sys/devices/system/node/{name}")).unwrap_or_default();
    let mut set = CpuSet::default();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
            set.add(first, last);
        }
    }
    set
}

/// The processors of memory nodes (`CPUAffinity=numa`).
fn processors_of(nodes: &CpuSet) -> CpuSet {
    let mut set = CpuSet::default();
    let there = node_list("online");
    for node in there.ranges.iter().flat_map(|(first, last)| *first..=*last) {
        if nodes.ranges.iter().any(|(first, last)| (first..=last).contains(&&node)) {
            for (first, last) in node_list(&format!("node{node}/cpulist")).ranges {
                set.add(first, last);
            }
        }
    }
    set
}

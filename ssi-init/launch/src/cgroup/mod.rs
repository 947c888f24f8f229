// SPDX-License-Identifier: GPL-2.0-or-later
//! The control-group tree, version 2: `Documentation/admin-guide/cgroup-v2.rst` of the kernel.
//!
//! Groups are named by their path below a root that the caller gives (`system.slice/a.service`; a `/` before it does
//! no harm): on a machine the mount, in a container the group it was started in. What is above is none of our business.
//!
//! ```text
//!   root/                cgroup.subtree_control: what its children may limit, as much as any of them needs
//!   ├── init.scope/      the manager: a group that hands controllers down holds no processes itself
//!   └── system.slice/
//!       └── a.service/   memory.max, pids.max …   cgroup.events ──► Watch
//!           └── .control/  commands beside the main one, where the group itself is delegated
//! ```
//!
//! What a kernel, or a tree, does not have is told as a warning and not an error: a unit runs without its limits
//! rather than not at all, as systemd.resource-control(5) has it.

mod devices;
mod limits;
mod signal;
mod watch;

pub use signal::send as signal_process;
pub use watch::{GroupEvent, Watch};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use ssi_unit::config::CgroupConfig;

use limits::{DeviceFile, Inherited, Totals};

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// Where the tree is mounted, and where on machines that have version 1 beside it.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// How often the processes of a group are looked through anew while it forks faster than it is killed.
const KILL_ROUNDS: usize = 64;
/// Groups are not nested deeper than this; the kernel's own bound is higher (`cgroup.max.depth`).
const DEEPEST: usize = 128;
const SIGKILL: i32 = 9;

/// What could not be done to a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {attempt} {}: {errno}", .path.display())]
pub struct CgroupError {
    /// What was tried, as in "cannot make PATH".
    pub attempt: &'static str,
    /// The group's directory, or a file in it.
    pub path: PathBuf,
    /// What the system said.
    pub errno: Errno,
}

fn fail(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |error| CgroupError { attempt, path, errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) }
}

/// Writes to a file that the kernel made; to make one is refused in a way that says nothing.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The tree.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    /// What `/proc/PID/cgroup` has before our paths; `/` at its end is left out.
    prefix: String,
    controllers: Vec<String>,
    /// What groups mean for those below them.
    above: BTreeMap<String, Above>,
    /// The machine starts or stops: `Startup…=` settings hold.
    starting: bool,
    /// Limits that nearly every unit has and this tree does not know: told of once.
    told: BTreeSet<&'static str>,
}

#[derive(Debug, Clone, Default)]
struct Above {
    disabled: Vec<&'static str>,
    inherited: Inherited,
}

impl Cgroups {
    /// The tree at `root`: where it is mounted, or a directory in it.
    ///
    /// # Errors
    /// When that is no tree of version 2 (`INVAL`), or cannot be read.
    pub fn at(root: &Path) -> Result<Cgroups, CgroupError> {
        let error = |errno| CgroupError { attempt: "use the control-group tree at", path: root.to_owned(), errno };
        let root_path = std::fs::canonicalize(root).map_err(fail("find the control-group tree at", root))?;
        let stat = rustix::fs::statfs(&root_path).map_err(error)?;
        if stat.f_type as u64 != CGROUP2_MAGIC {
            return Err(error(Errno::INVAL));
        }
        let controllers = std::fs::read_to_string(root_path.join("cgroup.controllers"))
            .map_err(fail("read the controllers of", root))?;
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Ok(Cgroups {
            prefix: prefix_of(&root_path, &mountinfo),
            root: root_path,
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            above: BTreeMap::new(),
            starting: false,
            told: BTreeSet::new(),
        })
    }

    /// The tree of this machine, from the group on that this process is in; `own` is the group below it that the
    /// manager settles in (`init.scope`), and is taken off.
    ///
    /// # Errors
    /// When version 2 is mounted nowhere.
    pub fn find(own: &str) -> Result<Cgroups, CgroupError> {
        let mut last = None;
        for mount in MOUNTS {
            match Cgroups::at(Path::new(mount)) {
                Ok(whole) => {
                    let here = whole.group_of(std::process::id()).unwrap_or_default();
                    let here = here.strip_suffix(own.trim_matches('/')).unwrap_or(&here).trim_matches('/');
                    return if here.is_empty() { Ok(whole) } else { Cgroups::at(&whole.path(here)) };
                }
                Err(error) => last = last.or(Some(error)),
            }
        }
        Err(last.unwrap_or(CgroupError {
            attempt: "find the control-group tree at",
            path: MOUNTS[0].into(),
            errno: Errno::NOENT,
        }))
    }

    /// Where the tree begins.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a group.
    pub fn path(&self, group: &str) -> PathBuf {
        self.root.join(group.trim_matches('/'))
    }

    /// The controllers that the tree has.
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// Whether groups can be made here.
    pub fn is_writable(&self) -> bool {
        let read_only =
            rustix::fs::statvfs(&self.root).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
        !read_only && rustix::fs::access(&self.root, rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// Whether the machine starts or stops, so that `StartupCPUWeight=` and its like hold. Groups that are there keep
    /// what they have until they are made anew.
    pub fn set_starting(&mut self, starting: bool) {
        self.starting = starting;
    }

    /// Moves the processes at the root into a group below it, which is made: with processes in it, the root of a
    /// container could hand no controller down. Kernel threads stay.
    ///
    /// # Errors
    /// When the group cannot be made, or this process cannot be moved.
    pub fn settle(&self, own: &str) -> Result<(), CgroupError> {
        let group = self.path(own);
        std::fs::create_dir_all(&group).map_err(fail("make", &group))?;
        let file = group.join("cgroup.procs");
        let me = std::process::id();
        for pid in pids_in(&self.root) {
            match std::fs::write(&file, pid.to_string()) {
                Err(error) if pid == me => return Err(fail("move this process into", &group)(error)),
                // It has ended, or is a kernel thread.
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a group and those it is in, has the controllers it needs handed down to it, and writes its limits; for a
    /// group that is there it brings the limits up to date. What cannot be done with this kernel or tree is returned.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn make(&mut self, group: &str, config: &CgroupConfig) -> Result<Vec<String>, CgroupError> {
        let mut warnings = Vec::new();
        let name = group.trim_matches('/');
        let needed = limits::needed(config, self.starting);
        let (mut at, mut below) = (self.root.clone(), String::new());
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| matches!(*part, "." | "..")) || parts.len() > DEEPEST {
            return Err(CgroupError { attempt: "make a group named", path: name.into(), errno: Errno::INVAL });
        }
        let (mut inherited, mut allowed) = (Inherited::default(), needed.clone());
        for part in &parts {
            if let Some(above) = self.above.get(&below) {
                // The nearest slice that says something wins.
                inherited.memory_min = above.inherited.memory_min.or(inherited.memory_min);
                inherited.memory_low = above.inherited.memory_low.or(inherited.memory_low);
                allowed.retain(|controller| !above.disabled.contains(controller));
            }
            hand_down(&at, &allowed, &mut warnings);
            at.push(part);
            below = if below.is_empty() { (*part).to_owned() } else { format!("{below}/{part}") };
            match std::fs::create_dir(&at) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
                Err(error) => return Err(fail("make", &at)(error)),
            }
        }
        let above = Above {
            disabled: limits::disabled(config),
            inherited: Inherited { memory_min: config.default_memory_min, memory_low: config.default_memory_low },
        };
        take_back(&at, &above.disabled);
        self.above.insert(below, above);
        // The root has no limits of its own: they are its container's, or the machine's.
        if !parts.is_empty() {
            self.limit(&at, config, inherited, &mut warnings);
            for setting in limits::not_given(config) {
                warnings.push(format!("{setting} is not applied"));
            }
            if config.delegate.is_some() {
                // What marks a group as somebody else's, <https://systemd.io/CGROUP_DELEGATION>. Not all kernels and
                // containers take both.
                for attribute in ["trusted.delegate", "user.delegate"] {
                    let _ = rustix::fs::setxattr(&at, attribute, b"1", XattrFlags::empty());
                }
            }
        }
        Ok(warnings)
    }

    fn limit(&mut self, at: &Path, config: &CgroupConfig, inherited: Inherited, warnings: &mut Vec<String>) {
        let totals = self.totals();
        for attribute in limits::attributes(config, inherited, totals, self.starting) {
            let path = at.join(attribute.file);
            let mut problem = None;
            match overwrite(&path, &format!("{}\n", attribute.value)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !attribute.usual {
                        problem = Some(format!("there is no {} in the group", attribute.file));
                    }
                }
                // What a new group has needs no word, whatever the kernel has against it.
                Err(_) if attribute.usual => {}
                Err(error) => {
                    problem = Some(format!("cannot write {} to {}: {error}", attribute.value, path.display()))
                }
            }
            // Nearly every unit has a limit of tasks, by default.
            let common = attribute.file == "pids.max";
            if let Some(problem) = problem
                && (!common || self.told.insert(attribute.setting))
            {
                warnings.push(format!("{} is not applied: {problem}", attribute.setting));
            }
        }
        for file in limits::device_files(config) {
            by_device(at, &file, warnings);
        }
    }

    /// What a percentage is of: the least of the machine's and, in a container, of the root's own limit.
    /// How many tasks there can be in the tree, of which `TasksMax=` takes shares.
    pub fn most_tasks(&self) -> u64 {
        self.totals().tasks
    }

    fn totals(&self) -> Totals {
        let own = |file: &str| number(&self.root.join(file)).unwrap_or(u64::MAX);
        let kernel = |file: &str| number(&Path::new("/proc/sys/kernel").join(file)).unwrap_or(u64::MAX);
        let memory = keyed(Path::new("/proc/meminfo"), "MemTotal:").map_or(u64::MAX, |kib| kib.saturating_mul(1024));
        Totals {
            memory: memory.min(own("memory.max")),
            tasks: kernel("pid_max").min(kernel("threads-max")).min(own("pids.max")),
        }
    }

    /// `OOMPolicy=kill`: when the kernel kills one process of the group for want of memory, it kills all of them.
    ///
    /// # Errors
    /// When the group has no memory controller, or is not there.
    pub fn set_oom_group(&self, group: &str, on: bool) -> Result<(), CgroupError> {
        let path = self.path(group).join("memory.oom.group");
        std::fs::write(&path, if on { "1" } else { "0" }).map_err(fail("write", &path))
    }

    /// Gives a delegated group to a user and group: the directory and the files that its owner writes.
    /// A process that is started with `User=` has that done by the executor; scopes have not.
    ///
    /// # Errors
    /// When it is not there, or may not be given.
    pub fn hand_over(&self, group: &str, uid: u32, gid: u32) -> Result<(), CgroupError> {
        let path = self.path(group);
        let chown = |path: &Path| std::os::unix::fs::chown(path, Some(uid), Some(gid));
        chown(&path).map_err(fail("change the owner of", &path))?;
        // What the kernel itself lists as the owner's, cgroup-v2.rst, "Model of Delegation".
        let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
        let known = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
        for file in known.into_iter().chain(listed.lines()).collect::<BTreeSet<_>>() {
            let file = path.join(file);
            match chown(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(fail("change the owner of", &file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a process is in the group or below it. A group that is not there is empty; a zombie is no process.
    pub fn populated(&self, group: &str) -> bool {
        populated(&self.path(group))
    }

    /// Whether the group is there.
    pub fn exists(&self, group: &str) -> bool {
        self.path(group).is_dir()
    }

    /// The processes in the group and below it.
    pub fn processes(&self, group: &str) -> Vec<u32> {
        let mut found = Vec::new();
        walk(&self.path(group), DEEPEST, &mut |directory| found.extend(pids_in(directory)));
        found
    }

    /// A number that the kernel tells of the group, such as `memory.current` or `pids.current`; `None` where it does
    /// not, or says `max`.
    pub fn figure(&self, group: &str, file: &str) -> Option<u64> {
        number(&self.path(group).join(file))
    }

    /// A number that stands behind a word in a file of the group, such as `usage_usec` in `cpu.stat`.
    pub fn figure_of(&self, group: &str, file: &str, word: &str) -> Option<u64> {
        keyed(&self.path(group).join(file), word)
    }

    /// Sends a signal to the processes in the group and below it, but for those in `except`; how many got it. What they
    /// fork meanwhile gets it too.
    ///
    /// # Errors
    /// The first refusal of the kernel; the others were sent the signal all the same.
    pub fn kill(&self, group: &str, signal: i32, except: &[u32]) -> Result<usize, CgroupError> {
        let path = self.path(group);
        // A frozen process can be killed and cannot fork: what forks all the time does not outrun us.
        let frozen = signal == SIGKILL && self.freeze(group, true).is_ok();
        let mut done: BTreeSet<u32> = except.iter().copied().collect();
        let (mut count, mut first, mut over) = (0, None, false);
        for _ in 0..KILL_ROUNDS {
            let new: Vec<u32> = self.processes(group).into_iter().filter(|pid| done.insert(*pid)).collect();
            over = new.is_empty();
            if over {
                break;
            }
            for pid in new {
                match signal::send(pid, signal) {
                    Ok(sent) => count += usize::from(sent),
                    Err(errno) => first = first.or(Some(errno)),
                }
            }
        }
        if signal == SIGKILL && except.is_empty() && !over {
            // The kernel's own way, since 5.14, and only now: after it, kernels from 6.15 or so (seen with 6.18) kill
            // every process that is born into the group by CLONE_INTO_CGROUP. `cgroup_css_set_fork` notes how often the
            // parent's group was killed, and `cgroup_post_fork` compares that with the new one's.
            let file = path.join("cgroup.kill");
            std::fs::write(&file, "1").map_err(fail("kill by", &file))?;
        }
        if frozen {
            let _ = self.freeze(group, false);
        }
        match first {
            None => Ok(count),
            Some(errno) => Err(CgroupError { attempt: "signal the processes of", path, errno }),
        }
    }

    /// Stops the group's processes from running, or lets them run again. The kernel does it a little later:
    /// `cgroup.events` has `frozen 1` then.
    ///
    /// # Errors
    /// When it is not there.
    pub fn freeze(&self, group: &str, on: bool) -> Result<(), CgroupError> {
        let path = self.path(group).join("cgroup.freeze");
        std::fs::write(&path, if on { "1" } else { "0" }).map_err(fail("write", &path))
    }

    /// Moves processes into a group. Those that are gone are passed over.
    ///
    /// # Errors
    /// The first that could not be moved; the others are.
    pub fn move_to(&self, group: &str, pids: &[u32]) -> Result<(), CgroupError> {
        let file = self.path(group).join("cgroup.procs");
        let mut result = Ok(());
        for pid in pids {
            match std::fs::write(&file, pid.to_string()) {
                Err(error) if error.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                    result = result.and(Err(fail("move a process into", &file)(error)));
                }
                _ => {}
            }
        }
        result
    }

    /// The group a process is in, by our names; `None` when it is gone or not below our root.
    pub fn group_of(&self, pid: u32) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        // A zombie's group may have been removed under it; the kernel then says so behind the path.
        let line = line.strip_suffix(" (deleted)").unwrap_or(line);
        let below = line.strip_prefix(self.prefix.as_str())?;
        below.strip_prefix('/').map(|below| below.trim_end_matches('/').to_owned())
    }

    /// Removes a group and those below it, innermost first. What is there no more is fine; the root stays.
    ///
    /// # Errors
    /// The first that could not be removed, as there are processes in it (`BUSY`); the others are.
    pub fn remove(&mut self, group: &str) -> Result<(), CgroupError> {
        let name = group.trim_matches('/');
        if name.is_empty() {
            return Ok(());
        }
        let inside = format!("{name}/");
        self.above.retain(|known, _| known != name && !known.starts_with(&inside));
        let mut directories = Vec::new();
        walk(&self.path(name), DEEPEST, &mut |directory| directories.push(directory.to_owned()));
        let mut result = Ok(());
        for directory in directories.into_iter().rev() {
            match rustix::fs::rmdir(&directory) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    result = result.and(Err(CgroupError { attempt: "remove", path: directory, errno }));
                }
            }
        }
        result
    }

    /// A watch of groups of this tree.
    ///
    /// # Errors
    /// When there is no inotify instance to be had.
    pub fn watch(&self) -> Result<Watch, CgroupError> {
        Watch::new(&self.root)
    }

    /// Makes a group without any settings in one that is there, such as `.control` of a delegated unit.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_plain(&self, group: &str) -> Result<(), CgroupError> {
        let path = self.path(group);
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(CgroupError { attempt: "make", path, errno }),
        }
    }
}

/// What `/proc/PID/cgroup` has before a path below `root`: where the mount that it is in begins in the tree, and the
/// way from there to `root`.
fn prefix_of(root: &Path, mountinfo: &str) -> String {
    let mut best: Option<(PathBuf, String)> = None;
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        let (Some(top), Some(point)) = (fields.next(), fields.next()) else { continue };
        let point = PathBuf::from(unescape(point));
        // The last of those that cover each other is the one that is seen.
        let deeper = best.as_ref().is_none_or(|(known, _)| point.as_os_str().len() >= known.as_os_str().len());
        if kind.starts_with("cgroup2 ") && root.starts_with(&point) && deeper {
            best = Some((point, unescape(top)));
        }
    }
    let Some((point, top)) = best else { return String::new() };
    let way = root.strip_prefix(&point).map(|way| way.display().to_string()).unwrap_or_default();
    let top = top.trim_end_matches('/');
    if way.is_empty() { top.to_owned() } else { format!("{top}/{way}") }
}

/// The kernel writes blanks in paths as `\040`, octal.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Has a group hand controllers down to its children, as far as it has them itself.
fn hand_down(at: &Path, wanted: &[&'static str], warnings: &mut Vec<String>) {
    let file = at.join("cgroup.subtree_control");
    let list = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let (there, has) = (list(&at.join("cgroup.controllers")), list(&file));
    let named = |list: &str, controller: &str| list.split_whitespace().any(|name| name == controller);
    // One by one: one that is refused takes no other with it.
    for controller in wanted.iter().filter(|controller| named(&there, controller) && !named(&has, controller)) {
        if let Err(error) = std::fs::write(&file, format!("+{controller}")) {
            let why = match Errno::from_io_error(&error) {
                Some(Errno::BUSY) => " (there are processes in the group itself)",
                _ => "",
            };
            warnings.push(format!("cannot hand the controller {controller} down in {}: {error}{why}", at.display()));
        }
    }
}

/// `DisableControllers=`: takes controllers from the groups below.
fn take_back(at: &Path, disabled: &[&str]) {
    for controller in disabled {
        // One that is not handed down is refused: fine.
        let _ = std::fs::write(at.join("cgroup.subtree_control"), format!("-{controller}"));
    }
}

/// Writes the lines of a file that has one for each device, and takes away those of devices not named any more.
fn by_device(at: &Path, file: &DeviceFile, warnings: &mut Vec<String>) {
    let path = at.join(file.file);
    let Ok(present) = std::fs::read_to_string(&path) else {
        if !file.lines.is_empty() {
            warnings.push(format!("{} is not applied: there is no {} in the group", file.setting, file.file));
        }
        return;
    };
    let mut written = Vec::new();
    for line in &file.lines {
        let done = devices::number_of(&line.path).and_then(|number| {
            written.push(number.clone());
            std::fs::write(&path, format!("{number} {}\n", line.value))
        });
        if let Err(error) = done {
            warnings.push(format!("{} is not applied to {}: {error}", file.setting, line.path));
        }
    }
    let old = present.lines().filter_map(|line| line.split_whitespace().next()).filter(|number| number.contains(':'));
    for number in old.filter(|number| !written.iter().any(|own| own == number)) {
        // A device that is gone has lost its line already.
        let _ = std::fs::write(&path, format!("{number} {}\n", file.reset));
    }
}

fn populated(directory: &Path) -> bool {
    keyed(&directory.join("cgroup.events"), "populated") == Some(1)
}

/// The number behind a word at the beginning of a line.
fn keyed(path: &Path, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(word))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn pids_in(directory: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of another PID namespace.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// A group and all below it, outer ones first.
fn walk(directory: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) {
    if depth == 0 || !directory.is_dir() {
        return;
    }
    visit(directory);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth - 1, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_root_as_proc_tells_it() {
        let plain = "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let bound = "25 1 0:22 /box\\040a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n30 1 0:5 / /sys/fs rw - sysfs s rw\n";
        let prefix = |root: &str, mountinfo| prefix_of(Path::new(root), mountinfo);
        assert_eq!(prefix("/sys/fs/cgroup", plain), "");
        assert_eq!(prefix("/sys/fs/cgroup/a/b", plain), "/a/b");
        assert_eq!(prefix("/sys/fs/cgroup", bound), "/box a");
        assert_eq!(prefix("/sys/fs/cgroup/x", bound), "/box a/x");
        assert_eq!(prefix("/elsewhere", plain), "");
        assert_eq!(unescape("/a\\040b\\134c\\9"), "/a b\\c\\9");
    }

    #[test]
    fn a_tree_that_is_none_is_refused() {
        let error = Cgroups::at(Path::new("/proc")).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
        assert!(error.to_string().contains("/proc"));
        assert_eq!(Cgroups::at(Path::new("/nowhere")).unwrap_err().errno, Errno::NOENT);
    }
}

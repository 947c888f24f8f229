// SPDX-License-Identifier: GPL-2.0-or-later
//! The kernel's autofs, mounted directly on a place: who looks there waits until the pipe's reader has answered
//! (the kernel's `Documentation/filesystems/autofs.rst` and `autofs-mount-control.rst`).
//!
//! ```text
//!   open() ── mount(2), a pipe ──▶ somebody looks ──pipe──▶ Ask::Mount ── answer() by /dev/autofs ──▶ it goes on
//!                                  expire() ─── pipe ─────▶ Ask::Expire ─ answer() ─────────────────▶ the thread ends
//! ```
//!
//! A process of the group that the autofs was mounted for (`pgrp=`) is let through. That is the manager's own group, and
//! mount(8) has to run in it, or it would wait for itself. A manager that takes up where another left off has to be in the
//! same group: it could not look at the place otherwise while somebody waits there, and a look is what it takes to have the
//! kernel told of another group. [`Autofs::adopt`] does so where nobody waits, and gives up where somebody does.
//!
//! The end of the pipe that is read from is what has to be kept beyond the manager: while somebody has it open the kernel
//! lets lookers wait instead of turning them away.

pub mod packet;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::pipe::PipeFlags;
use ssi_manager::core::Event;
use ssi_manager::core::automount::Ask;
use ssi_manager::core::system::FdKey;
use ssi_unit::name::UnitName;

use crate::error::{Result, Tried, WatchError};
use crate::nest::{AT_ONCE, Nest};
use crate::sys::{AutofsCommand, AutofsRequest, autofs, opened_mount};
use crate::tables::mountinfo;

/// The control device.
const DEVICE: &str = "/dev/autofs";
/// What the tables of mounts show as mounted.
const WHAT: &str = "ssi-init";
/// The protocol that is spoken, the only one that has direct mounts.
const PROTOCOL: u32 = 5;

/// How long is waited, at the start of a manager of another group, for a look at an autofs of the one before.
const PATIENCE: Duration = Duration::from_millis(500);

/// A mounted autofs.
#[derive(Debug)]
struct Mount {
    unit: UnitName,
    key: FdKey,
    place: PathBuf,
    /// Number of its device, as stat(2) has it.
    device: u64,
    pipe: OwnedFd,
    /// A thread waits for what expires.
    expiring: Arc<AtomicBool>,
    /// The pipe has come to its end, and is read no more.
    ended: bool,
}

/// All that are mounted.
#[derive(Debug)]
pub struct Autofs {
    device: Arc<OwnedFd>,
    /// This process's table of mounts.
    table: PathBuf,
    nest: Nest,
    numbers: BTreeMap<FdKey, u64>,
    mounts: BTreeMap<u64, Mount>,
    next: u64,
    said: mpsc::Sender<WatchError>,
    heard: mpsc::Receiver<WatchError>,
}

/// This process's group, which the kernel lets see what is below an autofs.
///
/// # Errors
/// `ESRCH` where it is one of an outer PID namespace, and has no number here.
fn own_group() -> std::result::Result<i32, Errno> {
    match nix::unistd::getpgrp().as_raw() {
        0 => Err(Errno::SRCH),
        group => Ok(group),
    }
}

impl Autofs {
    /// Opens the control device. `table`: this process's table of mounts ([`crate::tables::MOUNTINFO`]).
    ///
    /// # Errors
    /// When there is no autofs here: the kernel has none, or this is a container.
    pub fn new(table: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let device = rustix::fs::open(DEVICE, flags, Mode::empty()).tried(|| format!("cannot open {DEVICE}"))?;
        let (said, heard) = mpsc::channel();
        Ok(Self {
            device: Arc::new(device),
            table: table.to_owned(),
            nest: Nest::new()?,
            numbers: BTreeMap::new(),
            mounts: BTreeMap::new(),
            next: 0,
            said,
            heard,
        })
    }

    /// Readable when the kernel asks for something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.nest.fd()
    }

    /// Mounts an autofs on a directory; gives the pipe's end to be kept. `options`: more options for the mount, between
    /// commas. `expire_idle`: how long it is to be out of use before [`Autofs::expire`] finds something, in microseconds.
    ///
    /// # Errors
    /// The first step that failed; nothing is mounted then.
    pub fn open(
        &mut self,
        unit: &UnitName,
        place: &Path,
        key: &FdKey,
        options: Option<&str>,
        expire_idle: Option<u64>,
    ) -> Result<OwnedFd> {
        let what = || format!("cannot mount autofs on {}", place.display());
        let (pipe, written) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).tried(what)?;
        // Ours only: the kernel waits when there is no room.
        rustix::io::ioctl_fionbio(&pipe, true).tried(what)?;
        // With another group this very process would wait for itself at its next look.
        let ours = |option: &str| ["fd=", "pgrp=", "minproto=", "maxproto="].iter().any(|own| option.starts_with(own));
        if options.unwrap_or_default().split(',').any(ours) {
            let text = format!("{}: of the options, fd=, pgrp= and the protocol are the manager's", what());
            return Err(WatchError::found(text, Errno::INVAL));
        }
        let group = own_group().tried(what)?;
        let mut text =
            format!("fd={},pgrp={group},minproto={PROTOCOL},maxproto={PROTOCOL},direct", written.as_raw_fd(),);
        if let Some(options) = options.filter(|options| !options.is_empty()) {
            text.push(',');
            text.push_str(options);
        }
        let text = CString::new(text).map_err(|_| WatchError::found(what(), Errno::INVAL))?;
        let below = hold(place).tried(what)?;
        let target = format!("/proc/self/fd/{}", below.as_raw_fd());
        rustix::mount::mount(WHAT, target, "autofs", MountFlags::empty(), Some(text.as_c_str())).tried(what)?;
        drop(written);
        let kept = pipe.try_clone();
        let done = hold(place).and_then(|top| rustix::fs::fstat(&top)).tried(what).and_then(|status| {
            let kept = kept.tried(what)?;
            self.take_up(unit, place, key, status.st_dev, pipe, expire_idle)?;
            Ok(kept)
        });
        if done.is_err() {
            let _ = rustix::mount::unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        done
    }

    /// Goes on with an autofs whose pipe was kept for an earlier manager. What was asked meanwhile waits in the pipe.
    ///
    /// Where the earlier manager was of another process group there is a new pipe, which is to be kept instead.
    ///
    /// # Errors
    /// When it is not mounted at this place any more, or a step failed. `EDEADLK`, after half a second, when the earlier
    /// manager was of another group and somebody waits there, who will do so until it is killed.
    pub fn adopt(
        &mut self,
        unit: &UnitName,
        place: &Path,
        key: &FdKey,
        pipe: OwnedFd,
        expire_idle: Option<u64>,
    ) -> Result<Option<OwnedFd>> {
        let what = || format!("cannot go on with the autofs on {}", place.display());
        let inode = rustix::fs::fstat(&pipe).tried(what)?.st_ino;
        let table = std::fs::read(&self.table).tried(what)?;
        let (entries, _) = mountinfo::parse(&table);
        // The kernel tells whose pipe it is by the inode (fs/autofs/inode.c, autofs_show_options).
        let wanted = format!("pipe_ino={inode}");
        let found = entries.into_iter().find(|entry| {
            entry.mounted.kind == "autofs"
                && Path::new(&entry.mounted.place) == place
                && entry.mounted.options.split(',').any(|option| option == wanted)
        });
        let Some(entry) = found else {
            return Err(WatchError::found(format!("{}: it is not mounted any more", what()), Errno::NOENT));
        };
        rustix::io::ioctl_fionbio(&pipe, true).tried(what)?;
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let group = format!("pgrp={}", own_group().tried(what)?);
        if entry.mounted.options.split(',').any(|option| option == group) {
            self.take_up(unit, place, key, device, pipe, expire_idle)?;
            return Ok(None);
        }
        let pipe = self.take_over(place, device)?;
        let kept = pipe.try_clone().tried(what)?;
        self.take_up(unit, place, key, device, pipe, expire_idle)?;
        Ok(Some(kept))
    }

    /// Makes this process's group the one that is let through, with a new pipe.
    fn take_over(&self, place: &Path, device: u64) -> Result<OwnedFd> {
        let what =
            || format!("cannot take over the autofs on {} from a manager of another process group", place.display());
        // Where somebody waits, the kernel has whoever comes wait as well: so a thread goes there. One that is stuck does
        // no harm, and ends with the process.
        let (opened, open) = mpsc::channel();
        let (control_device, path) = (Arc::clone(&self.device), place.to_owned());
        let look = move || {
            // Nobody takes it any more when it comes too late; then it is closed.
            let _ = opened.send(control(control_device.as_fd(), &path, device));
        };
        std::thread::Builder::new().name("autofs".into()).stack_size(128 * 1024).spawn(look).tried(what)?;
        let control = match open.recv_timeout(PATIENCE) {
            Ok(control) => control?,
            Err(_) => {
                let text = format!("{}: somebody waits there, and nobody can answer any more", what());
                return Err(WatchError::found(text, Errno::DEADLK));
            }
        };
        let (pipe, written) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).tried(what)?;
        rustix::io::ioctl_fionbio(&pipe, true).tried(what)?;
        // The kernel takes a pipe only for a mount that has none (fs/autofs/dev-ioctl.c).
        for (command, argument) in
            [(AutofsCommand::Catatonic, 0), (AutofsCommand::SetPipe, written.as_raw_fd().cast_unsigned())]
        {
            let mut request = AutofsRequest::new(control.as_raw_fd(), [argument, 0]);
            autofs(self.device.as_fd(), command, &mut request).tried(what)?;
        }
        Ok(pipe)
    }

    fn take_up(
        &mut self,
        unit: &UnitName,
        place: &Path,
        key: &FdKey,
        device: u64,
        pipe: OwnedFd,
        expire_idle: Option<u64>,
    ) -> Result<()> {
        let what = || format!("cannot control the autofs on {}", place.display());
        let control = control(self.device.as_fd(), place, device)?;
        let mut request = AutofsRequest::new(control.as_raw_fd(), [0, 0]);
        autofs(self.device.as_fd(), AutofsCommand::ProtocolVersion, &mut request).tried(what)?;
        if request.arguments[0] != PROTOCOL {
            let text = format!("{}: it speaks version {} of the protocol", what(), request.arguments[0]);
            return Err(WatchError::found(text, Errno::PROTONOSUPPORT));
        }
        // In whole seconds, rounded up; 0: it never expires.
        let seconds = expire_idle.map_or(0, |idle| idle.div_ceil(1_000_000));
        let halves = seconds.to_ne_bytes();
        let half =
            |at: usize| halves.get(at..).and_then(|half| half.first_chunk()).map_or(0, |h| u32::from_ne_bytes(*h));
        let mut request = AutofsRequest::new(control.as_raw_fd(), [half(0), half(4)]);
        autofs(self.device.as_fd(), AutofsCommand::Timeout, &mut request).tried(what)?;
        self.forget(key);
        let number = self.next;
        self.nest.add(pipe.as_fd(), number, EventFlags::IN).tried(what)?;
        self.next += 1;
        self.numbers.insert(key.clone(), number);
        let mount = Mount {
            unit: unit.clone(),
            key: key.clone(),
            place: place.to_owned(),
            device,
            pipe,
            expiring: Arc::new(AtomicBool::new(false)),
            ended: false,
        };
        self.mounts.insert(number, mount);
        Ok(())
    }

    fn forget(&mut self, key: &FdKey) -> Option<Mount> {
        let mount = self.numbers.remove(key).and_then(|number| self.mounts.remove(&number))?;
        if !mount.ended {
            self.nest.remove(mount.pipe.as_fd());
        }
        Some(mount)
    }

    fn mount(&self, key: &FdKey) -> Result<&Mount> {
        let found = self.numbers.get(key).and_then(|number| self.mounts.get(number));
        found.ok_or_else(|| WatchError::found(format!("there is no autofs {}", key.0), Errno::BADF))
    }

    /// Answers what the kernel asked for: 0, or a negative `errno(3)`.
    ///
    /// # Errors
    /// The first refusal of the kernel; the other tokens are answered.
    pub fn answer(&mut self, key: &FdKey, tokens: &[u32], status: i32) -> Result<()> {
        let mount = self.mount(key)?;
        let control = control(self.device.as_fd(), &mount.place, mount.device)?;
        let mut done = Ok(());
        for token in tokens {
            let (command, second) = match status {
                0 => (AutofsCommand::Ready, 0),
                status => (AutofsCommand::Fail, status.cast_unsigned()),
            };
            let mut request = AutofsRequest::new(control.as_raw_fd(), [*token, second]);
            let one = autofs(self.device.as_fd(), command, &mut request)
                .tried(|| format!("cannot answer token {token} of the autofs on {}", mount.place.display()));
            done = done.and(one);
        }
        done
    }

    /// Has the kernel look, in a thread of its own, whether what is mounted there is out of use; it asks by
    /// [`Ask::Expire`] if so. While one is at it already there is nothing to do.
    ///
    /// # Errors
    /// When there is no such mount, or no thread.
    pub fn expire(&mut self, key: &FdKey) -> Result<()> {
        let mount = self.mount(key)?;
        if mount.expiring.load(Ordering::Acquire) {
            return Ok(());
        }
        let what = format!("cannot have the mount on {} expire", mount.place.display());
        let control = control(self.device.as_fd(), &mount.place, mount.device)?;
        mount.expiring.store(true, Ordering::Release);
        let device = Arc::clone(&self.device);
        let (busy, said, text) = (Arc::clone(&mount.expiring), self.said.clone(), what.clone());
        let work = move || {
            let error = loop {
                // "When it was not used for its time" is the number 0; one look settles one mount.
                let mut request = AutofsRequest::new(control.as_raw_fd(), [0, 0]);
                match autofs(device.as_fd(), AutofsCommand::Expire, &mut request) {
                    Ok(()) | Err(Errno::INTR) => {}
                    Err(error) => break error,
                }
            };
            // Nothing (more) is out of use.
            if error != Errno::AGAIN {
                // Who would hear it is gone when the manager ends.
                let _ = said.send(WatchError::found(text, error));
            }
            drop(control);
            busy.store(false, Ordering::Release);
        };
        let started = std::thread::Builder::new().name("autofs expire".into()).stack_size(128 * 1024).spawn(work);
        if started.is_err() {
            mount.expiring.store(false, Ordering::Release);
        }
        started.map(|_| ()).tried(|| what)
    }

    /// Closes the pipe and takes the autofs away. With a file system on top of it, it stays below that and lets everybody
    /// through from then on; then it is told so. An unknown key is nothing to close.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn close(&mut self, key: &FdKey) -> Result<()> {
        let Some(mount) = self.forget(key) else { return Ok(()) };
        let what = || format!("cannot unmount the autofs on {}", mount.place.display());
        let top = hold(&mount.place).and_then(|top| rustix::fs::fstat(&top));
        let on_top = match &top {
            Ok(status) => status.st_dev == mount.device,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(*error).tried(what),
        };
        // Nobody is to wait for what will never come; also who looks while it is unmounted.
        let silenced = match control(self.device.as_fd(), &mount.place, mount.device) {
            Ok(control) => {
                let mut request = AutofsRequest::new(control.as_raw_fd(), [0, 0]);
                autofs(self.device.as_fd(), AutofsCommand::Catatonic, &mut request).tried(what)
            }
            Err(error) => Err(error),
        };
        if on_top {
            return rustix::mount::unmount(&mount.place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).tried(what);
        }
        match silenced {
            // It was unmounted by somebody else.
            Err(_) if mount.ended => Ok(()),
            other => other,
        }
    }

    /// What the kernel asks for.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for number in self.nest.ready() {
            let Some(mount) = self.mounts.get_mut(&number) else { continue };
            while events.len() < AT_ONCE && !mount.ended {
                let mut room = [0_u8; packet::PACKET];
                // The kernel writes whole packets, and the pipe keeps them apart.
                let ask = match rustix::io::read(&mount.pipe, &mut room) {
                    Ok(0) => {
                        mount.ended = true;
                        Ask::Unmounted
                    }
                    Ok(length) => packet::ask(room.get(..length).unwrap_or_default()),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => break,
                    Err(error) => {
                        mount.ended = true;
                        Ask::Broken(format!("cannot read what autofs asks on {}: {error}", mount.place.display()))
                    }
                };
                if mount.ended {
                    self.nest.remove(mount.pipe.as_fd());
                }
                events.push(Event::AutomountAsked { unit: mount.unit.clone(), ask });
            }
        }
        events
    }

    /// The keys of what is mounted.
    pub fn keys(&self) -> impl Iterator<Item = &FdKey> {
        self.mounts.values().map(|mount| &mount.key)
    }

    /// What went wrong since, for the log.
    pub fn troubles(&mut self) -> Vec<WatchError> {
        self.heard.try_iter().collect()
    }
}

/// Opens a mount for the control device. Not for longer than a call: what is open cannot be unmounted.
fn control(control: BorrowedFd<'_>, place: &Path, device: u64) -> Result<OwnedFd> {
    let what = || format!("cannot control the autofs on {}", place.display());
    let number = u32::try_from(device).map_err(|_| WatchError::found(what(), Errno::OVERFLOW))?;
    let mut request = AutofsRequest::new(-1, [number, 0])
        .with_path(place.as_os_str().as_bytes())
        .ok_or_else(|| WatchError::found(what(), Errno::NAMETOOLONG))?;
    autofs(control, AutofsCommand::OpenMount, &mut request).tried(what)?;
    opened_mount(&request).ok_or_else(|| WatchError::found(what(), Errno::BADF))
}

/// Holds what is on top at a place, without looking into it.
fn hold(place: &Path) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

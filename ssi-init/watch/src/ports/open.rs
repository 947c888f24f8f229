// SPDX-License-Identifier: GPL-2.0-or-later
//! Opens what a socket unit listens on: all of it or nothing.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};
use rustix::process::{Gid, Uid};
use rustix::time::Timespec;
use ssi_unit::config::SocketConfig;
use ssi_unit::config::socket::{BindIpv6Only, Listen, SocketAddress, SocketProtocol, SocketStyle};

use super::address::{Bind, bind_address, without_ipv6};
use super::options::{self, Notes};
use crate::error::{Result, Tried, WatchError};
use crate::sys;

/// Who names mean: of a user its number and that of its group, of a group its number. Also for names that are numbers.
pub struct Owners<'a> {
    /// `SocketUser=`
    pub user: &'a dyn Fn(&str) -> Option<(u32, u32)>,
    /// `SocketGroup=`
    pub group: &'a dyn Fn(&str) -> Option<u32>,
}

/// What was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// The descriptors, by their places in the configuration's list.
    pub fds: Vec<(usize, OwnedFd)>,
    /// What could not be done and is no reason to fail: for the log.
    pub notes: Vec<String>,
}

/// Who is to own the paths; `None`: it stays as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

fn owner(config: &SocketConfig, owners: &Owners<'_>) -> Result<Owner> {
    let mut owner = Owner::default();
    if let Some(name) = &config.user {
        let (user, group) = (owners.user)(name)
            .ok_or_else(|| WatchError::found(format!("SocketUser={name}: there is no such user"), Errno::SRCH))?;
        owner = Owner { user: Some(user), group: Some(group) };
    }
    if let Some(name) = &config.group {
        let group = (owners.group)(name)
            .ok_or_else(|| WatchError::found(format!("SocketGroup={name}: there is no such group"), Errno::SRCH))?;
        owner.group = Some(group);
    }
    Ok(owner)
}

/// What was made in the file system; taken back when it is dropped.
#[derive(Debug, Default)]
struct Made {
    paths: Vec<PathBuf>,
    queues: Vec<CString>,
}

impl Made {
    fn stays(mut self) {
        self.paths.clear();
        self.queues.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // What is gone already need not go.
            let _ = rustix::fs::unlink(path);
        }
        for name in &self.queues {
            let _ = sys::remove_queue(name);
        }
    }
}

/// What one unit is opened with.
struct Opening<'a> {
    config: &'a SocketConfig,
    owner: Owner,
    made: Made,
    notes: Notes,
}

/// Opens what a socket unit listens on, but for the places in the list that are kept from before; then makes its links.
///
/// A path is taken from whoever had it (a socket cannot be bound to one that is there), as systemd does. Its mode and
/// owner are right from the moment it can be used.
///
/// # Errors
/// The first that could not be opened. Everything that was opened is closed again, and what was made is removed.
pub fn open(config: &SocketConfig, kept: &BTreeSet<usize>, owners: &Owners<'_>) -> Result<Opened> {
    let owner = owner(config, owners)?;
    let mut opening = Opening { config, owner, made: Made::default(), notes: Notes::new() };
    if config.smack_label.is_some() {
        opening.notes.push("SmackLabel= is not supported, and is passed over".into());
    }
    let mut fds = Vec::new();
    for (place, listen) in config.listen.iter().enumerate().filter(|(place, _)| !kept.contains(place)) {
        fds.push((place, opening.open(listen)?));
    }
    opening.link();
    let Opening { made, notes, .. } = opening;
    made.stays();
    Ok(Opened { fds, notes })
}

impl Opening<'_> {
    fn open(&mut self, listen: &Listen) -> Result<OwnedFd> {
        match listen {
            Listen::Socket(style, address) => self.socket(*style, address, &listen.describe()),
            Listen::Netlink(family, group) => self.netlink(family, *group),
            Listen::Fifo(path) => self.fifo(Path::new(path)),
            Listen::Special(path) => self.special(Path::new(path)),
            Listen::MessageQueue(name) => self.queue(name),
            Listen::UsbFunction(path) => Err(WatchError::found(
                format!("ListenUSBFunction={path} is not supported by this manager"),
                Errno::OPNOTSUPP,
            )),
        }
    }

    // ---- sockets -------------------------------------------------------------------------------------------------

    fn socket(&mut self, style: SocketStyle, address: &SocketAddress, text: &str) -> Result<OwnedFd> {
        let what = || format!("cannot listen on {text}");
        let bind = bind_address(address).tried(what)?;
        let unavailable = |error: &WatchError| {
            let errno = error.errno();
            [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|known| errno == Some(known.raw_os_error()))
        };
        match (self.bound(style, &bind, address), without_ipv6(&bind)) {
            (Err(error), Some(other)) if unavailable(&error) => {
                self.notes.push(format!("there is no IPv6 here: {text} is listened on by IPv4 alone"));
                self.bound(style, &other, address)
            }
            (done, _) => done,
        }
        .map_err(|error| WatchError { what: format!("cannot listen on {text}: {}", error.what), ..error })
    }

    fn bound(&mut self, style: SocketStyle, bind: &Bind, address: &SocketAddress) -> Result<OwnedFd> {
        let family = bind.family();
        let internet = matches!(family, AddressFamily::INET | AddressFamily::INET6);
        let kind = match style {
            SocketStyle::Stream => SocketType::STREAM,
            SocketStyle::Datagram => SocketType::DGRAM,
            SocketStyle::SequentialPacket => SocketType::SEQPACKET,
        };
        let protocol = match (self.config.protocol, style) {
            (Some(SocketProtocol::Sctp), SocketStyle::Stream | SocketStyle::SequentialPacket) if internet => {
                Some(ipproto::SCTP)
            }
            (Some(SocketProtocol::UdpLite), SocketStyle::Datagram) if internet => Some(ipproto::UDPLITE),
            _ => None,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, kind, flags, protocol).tried(|| "socket(2)".into())?;
        if family == AddressFamily::INET6 && self.config.bind_ipv6_only != BindIpv6Only::Default {
            let only = self.config.bind_ipv6_only == BindIpv6Only::Ipv6Only;
            rustix::net::sockopt::set_ipv6_v6only(&fd, only).tried(|| "setting IPV6_V6ONLY".into())?;
        }
        options::before_bind(fd.as_fd(), family, self.config, &mut self.notes).tried(|| "setsockopt(2)".into())?;
        match address {
            SocketAddress::Unix(path) => self.bind_path(fd.as_fd(), bind, Path::new(path))?,
            _ => bind.bind(fd.as_fd()).tried(|| "bind(2)".into())?,
        }
        options::set(fd.as_fd(), family, self.config, &mut self.notes);
        if style != SocketStyle::Datagram {
            let backlog = i32::try_from(self.config.backlog).unwrap_or(i32::MAX);
            rustix::net::listen(&fd, backlog).tried(|| "listen(2)".into())?;
        }
        if let SocketAddress::Unix(path) = address {
            touch(path);
        }
        Ok(fd)
    }

    fn bind_path(&mut self, fd: BorrowedFd<'_>, bind: &Bind, path: &Path) -> Result<()> {
        make_parents(path, self.config.directory_mode);
        let mode = Mode::from_raw_mode(self.config.socket_mode);
        // The file gets the mode of the socket's own inode (net/unix/af_unix.c, unix_bind_bsd), less the umask: so nobody
        // can come in before the mode is right. No owner can be given that way, so until then it is for root alone.
        let first = if self.owner.is_kept() { mode } else { Mode::RUSR | Mode::WUSR };
        rustix::fs::fchmod(fd, first).tried(|| "fchmod(2) of the socket".into())?;
        match bind.bind(fd) {
            Err(Errno::ADDRINUSE) => {
                rustix::fs::unlink(path).map_err(|_| Errno::ADDRINUSE).tried(|| "bind(2)".into())?;
                bind.bind(fd).tried(|| "bind(2)".into())?;
            }
            other => other.tried(|| "bind(2)".into())?,
        }
        self.made.paths.push(path.to_owned());
        self.own(path, mode, FileType::Socket)
    }

    // ---- files ---------------------------------------------------------------------------------------------------

    /// Gives what was just made its owner and mode. It is held by a descriptor: what somebody else may have put there
    /// since is not touched.
    fn own(&self, path: &Path, mode: Mode, kind: FileType) -> Result<()> {
        let what = || format!("cannot give {} its owner and mode", path.display());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::open(path, flags, Mode::empty()).tried(what)?;
        let status = rustix::fs::fstat(&held).tried(what)?;
        if FileType::from_raw_mode(status.st_mode) != kind {
            return Err(WatchError::found(what(), Errno::EXIST));
        }
        self.own_fd(held.as_fd()).tried(what)?;
        // A descriptor of this kind has no fchmod(2); its name in /proc leads to the inode and nowhere else.
        rustix::fs::chmod(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held)), mode).tried(what)
    }

    fn own_fd(&self, held: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        if self.owner.is_kept() {
            return Ok(());
        }
        let (user, group) = (self.owner.user.map(Uid::from_raw), self.owner.group.map(Gid::from_raw));
        rustix::fs::chownat(held, "", user, group, AtFlags::EMPTY_PATH)
    }

    /// Whether what is there is as this unit would have made it.
    fn is_ours(&self, status: &rustix::fs::Stat) -> bool {
        let user = self.owner.user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let group = self.owner.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        status.st_mode & 0o777 == self.config.socket_mode & 0o777 && status.st_uid == user && status.st_gid == group
    }

    fn fifo(&mut self, path: &Path) -> Result<OwnedFd> {
        let what = || format!("cannot open the FIFO {}", path.display());
        make_parents(path, self.config.directory_mode);
        let mode = Mode::from_raw_mode(self.config.socket_mode);
        let first = if self.owner.is_kept() { mode } else { Mode::RUSR | Mode::WUSR };
        match rustix::fs::mkfifoat(CWD, path, first) {
            Ok(()) => {
                self.made.paths.push(path.to_owned());
                self.own(path, mode, FileType::Fifo)?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error).tried(what),
        }
        // For writing too, so that there is always a writer and readers see no end.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, Mode::empty()).tried(what)?;
        let status = rustix::fs::fstat(&fd).tried(what)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Fifo || !self.is_ours(&status) {
            let text = format!("{}: what is there is no FIFO of this mode and owner", what());
            return Err(WatchError::found(text, Errno::EXIST));
        }
        options::set_pipe(fd.as_fd(), self.config, &mut self.notes);
        Ok(fd)
    }

    fn special(&self, path: &Path) -> Result<OwnedFd> {
        let what = || format!("cannot open {}", path.display());
        let access = if self.config.writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, Mode::empty()).tried(what)?;
        let status = rustix::fs::fstat(&fd).tried(what)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile | FileType::CharacterDevice => Ok(fd),
            _ => Err(WatchError::found(format!("{}: it is no file and no character device", what()), Errno::EXIST)),
        }
    }

    fn queue(&mut self, name: &str) -> Result<OwnedFd> {
        let what = || format!("cannot open the message queue {name}");
        let text = CString::new(name).map_err(|_| WatchError::found(what(), Errno::INVAL))?;
        let (messages, length) = (self.config.message_queue_max_messages, self.config.message_queue_message_size);
        let size = (messages > 0 && length > 0).then_some((messages, length));
        match sys::queue(&text, Some((self.config.socket_mode, size))) {
            Ok(fd) => {
                self.made.queues.push(text);
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(self.config.socket_mode)).tried(what)?;
                Ok(fd)
            }
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {
                let fd = sys::queue(&text, None).tried(what)?;
                let status = rustix::fs::fstat(&fd).tried(what)?;
                let own =
                    Opening { config: self.config, owner: Owner::default(), made: Made::default(), notes: vec![] };
                if own.is_ours(&status) {
                    return Ok(fd);
                }
                let text = format!("{}: the one that is there has another mode or owner", what());
                Err(WatchError::found(text, Errno::EXIST))
            }
            Err(error) => Err(error).tried(what),
        }
    }

    // ---- netlink -------------------------------------------------------------------------------------------------

    fn netlink(&mut self, family: &str, group: u32) -> Result<OwnedFd> {
        let what = || format!("cannot listen on netlink {family} {group}");
        let number = netlink_number(family).ok_or_else(|| WatchError::found(what(), Errno::PROTONOSUPPORT))?;
        let protocol = NonZeroU32::new(number).map(Protocol::from_raw);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol).tried(what)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, group)).tried(what)?;
        options::set(fd.as_fd(), AddressFamily::NETLINK, self.config, &mut self.notes);
        Ok(fd)
    }

    // ---- links ---------------------------------------------------------------------------------------------------

    fn link(&mut self) {
        let Some(target) = link_target(self.config) else { return };
        for link in &self.config.symlinks {
            let path = Path::new(link);
            make_parents(path, self.config.directory_mode);
            let mut done = rustix::fs::symlink(target, path);
            if done == Err(Errno::EXIST) {
                let there = rustix::fs::readlink(path, Vec::new());
                if there.is_ok_and(|there| there.as_bytes() == target.as_bytes()) {
                    continue;
                }
                if self.config.remove_on_stop && rustix::fs::unlink(path).is_ok() {
                    done = rustix::fs::symlink(target, path);
                }
            }
            if let Err(error) = done {
                self.notes.push(format!("cannot make the link {link} to {target}: {error}"));
            }
        }
    }
}

impl Owner {
    /// Whether it is to stay with who makes it.
    fn is_kept(self) -> bool {
        self.user.is_none() && self.group.is_none()
    }
}

/// The one path that links lead to; with several there is none.
fn link_target(config: &SocketConfig) -> Option<&str> {
    let mut paths = config.listen.iter().filter(|listen| matches!(listen, Listen::Socket(..) | Listen::Fifo(_)));
    let mut paths = paths.by_ref().filter_map(Listen::path);
    let first = paths.next()?;
    paths.next().is_none().then_some(first)
}

/// Netlink's protocols (netlink(7), `linux/netlink.h`) by systemd's names; or by number.
pub(super) fn netlink_number(family: &str) -> Option<u32> {
    const FAMILIES: [(&str, u32); 17] = [
        ("route", 0),
        ("firewall", 3),
        ("inet-diag", 4),
        ("nflog", 5),
        ("xfrm", 6),
        ("selinux", 7),
        ("iscsi", 8),
        ("audit", 9),
        ("fib-lookup", 10),
        ("connector", 11),
        ("netfilter", 12),
        ("ip6-fw", 13),
        ("dnrtmsg", 14),
        ("kobject-uevent", 15),
        ("scsitransport", 18),
        ("ecryptfs", 19),
        ("rdma", 20),
    ];
    let known = FAMILIES.iter().find(|(name, _)| *name == family);
    known.map(|(_, number)| *number).or_else(|| family.parse().ok())
}

/// Makes the directories above a path. What goes wrong shows when something is to be made in them.
fn make_parents(path: &Path, mode: u32) {
    let mode = Mode::from_raw_mode(mode);
    let mut missing: Vec<&Path> = Vec::new();
    for place in path.ancestors().skip(1) {
        match make_directory(place, mode) {
            Err(Errno::NOENT) => missing.push(place),
            _ => break,
        }
    }
    for place in missing.iter().rev() {
        if make_directory(place, mode).is_err() {
            break;
        }
    }
}

/// Makes one, with all of its mode whatever the umask.
fn make_directory(place: &Path, mode: Mode) -> std::result::Result<(), Errno> {
    rustix::fs::mkdir(place, mode)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty()).and_then(|made| rustix::fs::fchmod(made, mode))
}

/// Has those who wait for the socket by inotify(7) look again: when it was bound it did not listen yet.
fn touch(path: &str) {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = Timestamps { last_access: NOW, last_modification: NOW };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Removes a unit's sockets, FIFOs, queues and links from the file system (`RemoveOnStop=`); gives what could not be.
pub fn remove(config: &SocketConfig) -> Vec<WatchError> {
    let mut errors = Vec::new();
    let gone = |done: std::result::Result<(), std::io::Error>| match done {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(()),
        other => other,
    };
    let paths = config.listen.iter().filter(|listen| matches!(listen, Listen::Socket(..) | Listen::Fifo(_)));
    let paths = paths.filter_map(Listen::path).chain(config.symlinks.iter().map(String::as_str));
    for path in paths {
        let done = gone(rustix::fs::unlink(path).map_err(Into::into));
        errors.extend(done.tried(|| format!("cannot remove {path}")).err());
    }
    for listen in &config.listen {
        if let Listen::MessageQueue(name) = listen
            && let Ok(text) = CString::new(name.as_str())
        {
            errors.extend(gone(sys::remove_queue(&text)).tried(|| format!("cannot remove the queue {name}")).err());
        }
    }
    errors
}

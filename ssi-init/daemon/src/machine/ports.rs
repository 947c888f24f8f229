// SPDX-License-Identifier: GPL-2.0-or-later
//! What socket units listen on, and the manager itself.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result as AnyResult};
use rustix::io::Errno;
use ssi_manager::core::service::Notification;
use ssi_manager::core::system::{FdKey, Peer, Priority, Result, SystemError};
use ssi_unit::config::SocketConfig;
use ssi_unit::name::UnitName;
use ssi_watch::notify::{NotifySocket, Received};
use ssi_watch::ports;

use super::{Inner, names};
use crate::poller::Source;

/// What services tell.
const NOTIFY_KEY: &str = "ssi/notify";
/// Where systemctl asks.
const PRIVATE_KEY: &str = "ssi/private";

/// The beginnings of keys of what services have stored: whose other end is watched, and not (`FDPOLL=0`).
const WATCHED: &str = "store/";
const UNWATCHED: &str = "store-unwatched/";

fn not_open(what: &str, key: &FdKey) -> SystemError {
    SystemError {
        what: format!("{what} {}", key.0),
        said: "it is not open".to_owned(),
        errno: Errno::BADF.raw_os_error(),
    }
}

impl Inner {
    pub(super) fn open_ports(&mut self, unit: &UnitName, config: &SocketConfig, keys: &[FdKey]) -> Result<()> {
        let mut kept = BTreeSet::new();
        for (place, (listen, key)) in config.listen.iter().zip(keys).enumerate() {
            if self.kept.get(key).is_some_and(|fd| ports::same(fd, listen)) {
                kept.insert(place);
            } else {
                // The configuration is another one since.
                self.let_go(key);
            }
        }
        let user = names::user;
        let group = names::group;
        let opened = ports::open(config, &kept, &ports::Owners { user: &user, group: &group })?;
        for note in opened.notes {
            self.log(Priority::Warning, Some(unit), &note);
        }
        for (place, fd) in opened.fds {
            if let Some(key) = keys.get(place) {
                self.keep(key.clone(), fd);
            }
        }
        Ok(())
    }

    pub(super) fn watch_ports(&mut self, unit: &UnitName, keys: &[FdKey], on: bool) {
        if !on {
            self.kernel.ports.unwatch(keys);
            return;
        }
        for key in keys {
            let watched = match self.kept.get(key) {
                Some(fd) => self.kernel.ports.watch(unit, key, fd).map_err(SystemError::from),
                None => Err(not_open("waiting for something to read at", key)),
            };
            if let Err(error) = watched {
                self.log(Priority::Warning, Some(unit), &error.to_string());
            }
        }
    }

    pub(super) fn accept(&mut self, port: &FdKey, key: &FdKey) -> Result<Peer> {
        // An earlier manager took it, and ended before it was written down whose it is.
        if let Some(taken) = self.kept.get(key) {
            match ports::peer(taken) {
                Ok(peer) => return Ok(peer),
                Err(error) => {
                    self.log(Priority::Debug, None, &format!("a connection that was waiting is gone: {error}"));
                    self.let_go(key);
                }
            }
        }
        let listening = self.kept.get(port).ok_or_else(|| not_open("taking a connection from", port))?;
        let (fd, peer) = ports::accept(listening)?;
        // The service it is for reads and writes as from a terminal or a file; one that wants it otherwise says so
        // (`NonBlocking=`).
        rustix::io::ioctl_fionbio(&fd, false).map_err(|errno| super::failed("readying a connection", errno))?;
        self.keep(key.clone(), fd);
        Ok(peer)
    }

    pub(super) fn flush(&mut self, port: &FdKey) {
        if let Some(fd) = self.kept.get(port) {
            ports::flush(fd);
        }
    }

    pub(super) fn close(&mut self, keys: &[FdKey]) {
        self.kernel.ports.unwatch(keys);
        for key in keys {
            self.let_go(key);
        }
    }

    pub(super) fn remove_ports(&mut self, unit: &UnitName, config: &SocketConfig) {
        for error in ports::remove(config) {
            self.log(Priority::Warning, Some(unit), &error.to_string());
        }
    }

    /// Listens for what services tell: where an earlier manager did, or anew.
    pub(crate) fn listen_for_notifications(&mut self, path: &str) -> AnyResult<()> {
        let what = || format!("listening for services at {path}");
        let key = FdKey(NOTIFY_KEY.to_owned());
        let path = Path::new(path);
        let kept = self.kept.take(&key).and_then(|fd| NotifySocket::adopt(fd, path).ok());
        let socket = match kept {
            Some(socket) => socket,
            None => {
                let socket = NotifySocket::open(path).with_context(what)?;
                let copy = socket.fd().try_clone_to_owned().with_context(what)?;
                self.keep(key, copy);
                socket
            }
        };
        self.poller.set(Source::Notify, socket.fd(), false).with_context(what)?;
        self.kernel.notifications = Some(socket);
        Ok(())
    }

    /// Has it told when nothing can come of a stored descriptor any more (sd_pid_notify_with_fds(3), `FDSTORE=1`).
    fn watch_stored(&mut self, key: &FdKey) {
        let Some(fd) = self.kept.get(key) else { return };
        let number = self.stored.last_key_value().map_or(0, |(last, _)| last.wrapping_add(1));
        // What has no other end cannot be watched, and need not be.
        if self.poller.set_hang_up(Source::Stored(number), fd).is_ok() {
            self.stored.insert(number, key.clone());
        }
    }

    /// The same for all that earlier managers have kept.
    pub(crate) fn watch_all_stored(&mut self) {
        let keys: Vec<FdKey> = self.kept.keys().filter(|key| key.0.starts_with(WATCHED)).cloned().collect();
        keys.iter().for_each(|key| self.watch_stored(key));
    }

    /// To be called before it is closed: process 1 has it too, so that closing it here would not end the watch.
    pub(crate) fn unwatch_stored(&mut self, key: &FdKey) {
        let Some(number) = self.stored.iter().find(|(_, known)| *known == key).map(|(number, _)| *number) else {
            return;
        };
        self.stored.remove(&number);
        if let Some(fd) = self.kept.get(key) {
            self.poller.remove(Source::Stored(number), fd);
        }
    }

    /// The message that is next at that socket: `None`, there is none; `Some(None)`, one that is not the core's.
    pub(crate) fn peek_notification(&mut self) -> Option<Option<Notification>> {
        let (mut message, fds) = match self.kernel.notifications.as_ref()?.peek()? {
            Received::Message { message, fds, .. } => (message, fds),
            // What came before it is on record: reading it away closes the descriptor that its sender looks at.
            Received::Barrier(_) => return Some(None),
            Received::Dropped(why) => {
                self.log(Priority::Warning, None, &why);
                return Some(None);
            }
        };
        if message.get("FDSTORE") == Some("1") {
            // Whether it is watched is in the key: the next manager knows it by that.
            let folder = if message.get("FDPOLL") == Some("0") { UNWATCHED } else { WATCHED };
            for fd in fds {
                let key = FdKey(format!("{folder}{:032x}", super::random()));
                self.keep(key.clone(), fd);
                if folder == WATCHED {
                    self.watch_stored(&key);
                }
                message.fds.push(key);
            }
        }
        Some(Some(message))
    }

    /// What follows from that message is on record.
    pub(crate) fn consume_notification(&mut self) {
        if let Some(socket) = &self.kernel.notifications {
            socket.consume();
        }
    }

    /// The manager's own socket for systemctl: of an earlier manager, or a new one.
    pub(crate) fn listener(&mut self, path: &str) -> AnyResult<UnixListener> {
        let what = || format!("listening at {path}");
        let key = FdKey(PRIVATE_KEY.to_owned());
        let kept = self.kept.take(&key);
        // Somebody may have removed it; then nobody finds what was kept.
        let there = Path::new(path).exists();
        let listener = match kept.filter(|_| there) {
            Some(fd) => UnixListener::from(fd),
            None => {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(what),
                    _ => {}
                }
                let listener = UnixListener::bind(path).with_context(what)?;
                // Root's, whatever the folder lets others do.
                std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                    .with_context(what)?;
                let copy: OwnedFd = listener.try_clone().with_context(what)?.into();
                self.keep(key, copy);
                listener
            }
        };
        listener.set_nonblocking(true).with_context(what)?;
        Ok(listener)
    }
}
